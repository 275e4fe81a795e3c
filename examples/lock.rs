//! A lock that one holds at a time, that ends by itself when its holder is gone, and that does no harm in the hands of one
//! who has slept through its end: each holder has a number, and what the lock protects refuses a smaller one than it has
//! seen.
//!
//! Without sockets and without a runtime: a program that needs locks of its own among its threads.
//!
//! ```sh
//! cargo run --example lock
//! ```
#![allow(clippy::print_stdout, reason = "a program may speak")]

use std::error::Error;
use std::thread;
use std::time::Duration;

use redkeep::embed::CallError;
use redkeep::{Client, Server, Value};

struct Lock<'a> {
    name: &'a str,
    /// How long a holder has it who does not extend it.
    lease: Duration,
}

impl Lock<'_> {
    /// Takes it, unless somebody has it. A holder's number is greater than those of all before.
    fn take(&self, client: &mut Client) -> Result<Option<i64>, CallError> {
        let counter = format!("{}:holders", self.name);
        let Value::Int(number) = client.call(["INCR", &counter])? else {
            return Ok(None);
        };
        let (holder, lease) = (number.to_string(), self.lease.as_millis().to_string());
        let taken = client.call(["SET", self.name, &holder, "NX", "PX", &lease])?;
        Ok((taken != Value::Null).then_some(number))
    }

    /// Keeps it for another lease. False: it is lost.
    fn extend(&self, client: &mut Client, number: i64) -> Result<bool, CallError> {
        let (holder, lease) = (number.to_string(), self.lease.as_millis().to_string());
        let kept = client.call(["SET", self.name, &holder, "IFEQ", &holder, "PX", &lease])?;
        Ok(kept != Value::Null)
    }

    /// Gives it back. False: it was lost.
    fn release(&self, client: &mut Client, number: i64) -> Result<bool, CallError> {
        let released = client.call(["DELEX", self.name, "IFEQ", &number.to_string()])?;
        Ok(released == Value::Int(1))
    }
}

/// What the lock protects.
#[derive(Default)]
struct Ledger {
    latest: i64,
    balance: i64,
}

impl Ledger {
    fn book(&mut self, amount: i64, number: i64) -> Result<(), &'static str> {
        if number < self.latest {
            return Err("somebody has had the lock since");
        }
        self.latest = number;
        self.balance += amount;
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::builder().start()?;
    one_sleeps_too_long(&server)?;
    many_wait_for_each_other(&server)
}

fn one_sleeps_too_long(server: &Server) -> Result<(), Box<dyn Error>> {
    let (mut ada, mut bob) = (server.client()?, server.client()?);
    let mut ledger = Ledger::default();
    let lock = Lock {
        name: "ledger",
        lease: Duration::from_millis(500),
    };

    let first = lock.take(&mut ada)?.ok_or("it is free")?;
    println!("bob gets {:?}", lock.take(&mut bob)?); // -> bob gets None
    println!("ada extends: {}", lock.extend(&mut ada, first)?); // -> ada extends: true

    thread::sleep(lock.lease + lock.lease / 10); // Ada is not as quick as she thinks.
    let second = lock.take(&mut bob)?.ok_or("its time is over")?;
    println!("bob is later: {}", second > first); // -> bob is later: true
    println!("bob books: {:?}", ledger.book(100, second)); // -> bob books: Ok(())
    println!("ada books: {:?}", ledger.book(100, first)); // -> ada books: Err("somebody has had the lock since")
    println!("ada releases: {}", lock.release(&mut ada, first)?); // -> ada releases: false
    println!("bob releases: {}", lock.release(&mut bob, second)?); // -> bob releases: true
    println!("balance {}", ledger.balance); // -> balance 100
    Ok(())
}

/// Reads, and writes what it has read and one more: which comes to the right sum if nobody else does so meanwhile.
fn many_wait_for_each_other(server: &Server) -> Result<(), Box<dyn Error>> {
    let lock = Lock {
        name: "sum",
        lease: Duration::from_secs(30),
    };
    let count = |mut client: Client| -> Result<(), CallError> {
        for _ in 0..25 {
            let number = loop {
                match lock.take(&mut client)? {
                    Some(number) => break number,
                    None => thread::sleep(Duration::from_micros(200)),
                }
            };
            let so_far = match client.call(["GET", "total"])? {
                Value::Bulk(digits) => String::from_utf8_lossy(&digits).parse().unwrap_or(0),
                _ => 0,
            };
            client.call(["SET", "total", &(so_far + 1).to_string()])?;
            lock.release(&mut client, number)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for _ in 0..4 {
            let client = server.client()?;
            workers.push(scope.spawn(|| count(client)));
        }
        for worker in workers {
            worker.join().map_err(|_| "a worker panicked")??;
        }
        Ok::<(), Box<dyn Error>>(())
    })?;
    println!("total {}", server.client()?.call(["GET", "total"])?); // -> total "100"
    Ok(())
}
