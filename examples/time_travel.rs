//! Half a day of a service in a moment: its leases end, its sessions are forgotten, its workers give up waiting, its dead
//! consumers lose their jobs, each when it is time and not before. Nobody sleeps.
//!
//! ```sh
//! cargo run --example time_travel
//! ```
#![allow(clippy::print_stdout, reason = "a program may speak")]

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use redkeep::embed::CallError;
use redkeep::util::clock::ManualClock;
use redkeep::{Client, Server, Value};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

fn ask(client: &mut Client, line: &str) -> Result<Value, CallError> {
    client.call(line.split(' '))
}

fn a_lease_ends(clock: &ManualClock, client: &mut Client) -> Result<(), Box<dyn Error>> {
    ask(client, "SET lease ada PX 30000")?;
    // As in Redis, a key is there still in the millisecond of its deadline.
    clock.advance(30 * SECOND);
    println!("{} has it", ask(client, "GET lease")?); // -> "ada" has it
    clock.advance(MILLISECOND);
    println!("bob: {}", ask(client, "SET lease bob NX PX 30000")?); // -> bob: OK
    Ok(())
}

fn a_session_lives_as_long_as_it_is_used(
    clock: &ManualClock,
    client: &mut Client,
) -> Result<(), Box<dyn Error>> {
    ask(client, "HSET session user ada")?;
    for _ in 0..12 {
        ask(client, "EXPIRE session 1800")?;
        clock.advance(20 * MINUTE);
    }
    println!("after four hours: {}", ask(client, "EXISTS session")?); // -> after four hours: (integer) 1
    clock.advance(10 * MINUTE + MILLISECOND);
    println!("half an hour later: {}", ask(client, "EXISTS session")?); // -> half an hour later: (integer) 0
    Ok(())
}

fn a_worker_gives_up_waiting(
    clock: &ManualClock,
    mut worker: Client,
    mut boss: Client,
) -> Result<(), Box<dyn Error>> {
    let waits = thread::spawn(move || ask(&mut worker, "BLPOP jobs 3600"));
    // The worker is a thread like any other: it may not have come that far.
    let mut waiting = || Ok::<_, CallError>(ask(&mut boss, "INFO clients")?.to_string());
    while !waiting()?.contains("blocked_clients:1") {
        thread::yield_now();
    }
    clock.advance(HOUR - SECOND);
    println!("it still waits: {}", !waits.is_finished()); // -> it still waits: true
    clock.advance(SECOND);
    let reply = waits.join().map_err(|_| "the worker panicked")??;
    println!("it gives up: {}", reply == Value::NullArray); // -> it gives up: true
    Ok(())
}

fn a_dead_consumer_loses_its_job(
    clock: &ManualClock,
    client: &mut Client,
) -> Result<(), Box<dyn Error>> {
    ask(client, "XGROUP CREATE mails senders $ MKSTREAM")?;
    // The id is the time, and the same at every run: a quarter to four in the morning, and a bit.
    println!("{}", ask(client, "XADD mails * to ada")?); // -> "1700018730002-0"
    ask(client, "XREADGROUP GROUP senders dead STREAMS mails >")?;
    let mut others = || ask(client, "XAUTOCLAIM mails senders alive 60000 0 JUSTID");
    clock.advance(MINUTE - SECOND);
    println!("too soon: {}", claimed(&others()?)); // -> too soon: 0
    clock.advance(SECOND);
    println!("a minute has passed: {}", claimed(&others()?)); // -> a minute has passed: 1
    Ok(())
}

/// How many entries XAUTOCLAIM has given: they stand behind where it would go on.
fn claimed(reply: &Value) -> usize {
    match reply {
        Value::Array(parts) => match parts.as_slice() {
            [_, Value::Array(entries), ..] => entries.len(),
            _ => 0,
        },
        _ => 0,
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    // It is the 14th of November 2023, a quarter past ten in the evening; until somebody moves the clock.
    let clock = ManualClock::at_ms(1_700_000_100_000);
    let server = Server::builder().clock(clock.clone()).start()?;
    a_lease_ends(&clock, &mut server.client()?)?;
    a_session_lives_as_long_as_it_is_used(&clock, &mut server.client()?)?;
    a_worker_gives_up_waiting(&clock, server.client()?, server.client()?)?;
    a_dead_consumer_loses_its_job(&clock, &mut server.client()?)?;
    println!("all that in a moment: {}", began.elapsed() < 5 * SECOND); // -> all that in a moment: true
    Ok(())
}
