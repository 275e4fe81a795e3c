//! A server for each test. They use the same keys at the same time and never meet, and nothing is to be cleaned up: a
//! server starts in less than a millisecond, and what it has is gone when it is dropped.
//!
//! ```sh
//! cargo test --example parallel_tests
//! ```
#![allow(clippy::print_stdout, reason = "a program may speak")]

use redis::{Connection, RedisResult};

/// What is tested: lets everybody in so many times.
struct Turnstile {
    visits: i64,
    seconds: i64,
}

impl Turnstile {
    fn lets_in(&self, redis: &mut Connection, who: &str) -> RedisResult<bool> {
        let key = format!("visits:{who}");
        let (visits,): (i64,) = redis::pipe()
            .atomic()
            .cmd("INCR")
            .arg(&key)
            .cmd("EXPIRE")
            .arg(&key)
            .arg(self.seconds)
            .arg("NX")
            .ignore()
            .query(redis)?;
        Ok(visits <= self.visits)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = redkeep::Server::builder().start()?;
    let mut redis = redis::Client::open(server.url())?.get_connection()?;
    let turnstile = Turnstile {
        visits: 2,
        seconds: 60,
    };
    for visit in 1..=3 {
        println!("{visit}: {}", turnstile.lets_in(&mut redis, "ada")?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use redkeep::Server;
    use std::thread;

    const TURNSTILE: Turnstile = Turnstile {
        visits: 2,
        seconds: 60,
    };

    /// A server of its own, and a connection to it. The server lives as long as it is held.
    fn fresh() -> (Server, Connection) {
        let server = Server::builder().start().unwrap();
        let client = redis::Client::open(server.url()).unwrap();
        let connection = client.get_connection().unwrap();
        (server, connection)
    }

    #[test]
    fn two_visits_are_let_in_and_a_third_is_not() {
        let (_server, mut redis) = fresh();
        let visits = [(); 3].map(|()| TURNSTILE.lets_in(&mut redis, "ada").unwrap());
        assert_eq!(visits, [true, true, false]);
    }

    #[test]
    fn everybody_is_counted_alone() {
        let (_server, mut redis) = fresh();
        for who in ["ada", "bob", "ada", "bob"] {
            assert!(TURNSTILE.lets_in(&mut redis, who).unwrap(), "{who}");
        }
    }

    #[test]
    fn a_visitor_is_forgotten_in_time() {
        let (server, mut redis) = fresh();
        TURNSTILE.lets_in(&mut redis, "ada").unwrap();
        TURNSTILE.lets_in(&mut redis, "ada").unwrap();
        // The server is at hand: what is in it can be asked without a connection.
        let ttl = server
            .client()
            .unwrap()
            .call(["TTL", "visits:ada"])
            .unwrap();
        assert_eq!(ttl, redkeep::Value::Int(60));
    }

    #[test]
    fn thirty_of_them_at_once_do_not_meet() {
        thread::scope(|scope| {
            for _ in 0..30 {
                scope.spawn(two_visits_are_let_in_and_a_third_is_not);
            }
        });
    }

    #[test]
    fn an_outage_is_an_error_and_lets_nobody_in() {
        let (server, mut redis) = fresh();
        server.shutdown();
        assert!(TURNSTILE.lets_in(&mut redis, "ada").is_err());
    }
}
