//! A client that behaves, while others do not: it is served all the time.

use crate::common::{Client, Server};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The longest that it may have to wait, on a machine that has other things to do.
const LONGEST: Duration = Duration::from_secs(5);

/// Asks something every now and then until it is asked what it has seen.
pub struct Witness {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Seen, String>>>,
}

struct Seen {
    answers: usize,
    longest: Duration,
}

impl Witness {
    pub fn of(server: &Server) -> Witness {
        Witness::who_says(server, &[])
    }

    /// It says that first.
    pub fn who_says(server: &Server, greeting: &[&str]) -> Witness {
        let mut client = server.client();
        if !greeting.is_empty() {
            assert_eq!(client.call(greeting).unwrap().text(), "OK");
        }
        let over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&over);
        let thread = thread::spawn(move || watch(&mut client, &ends));
        Witness {
            over,
            thread: Some(thread),
        }
    }

    /// It has been served all the time.
    pub fn was_served(mut self) {
        let seen = self.end().expect("nobody has asked yet");
        let seen = seen.unwrap_or_else(|error| panic!("the witness: {error}"));
        assert!(seen.answers > 0);
        assert!(
            seen.longest < LONGEST,
            "the witness has waited for {:?}",
            seen.longest
        );
    }

    fn end(&mut self) -> Option<Result<Seen, String>> {
        self.over.store(true, Ordering::Relaxed);
        let joined = self.thread.take()?.join();
        Some(joined.unwrap_or_else(|_| Err("it panicked".into())))
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn watch(client: &mut Client, over: &AtomicBool) -> Result<Seen, String> {
    const EVERY: Duration = Duration::from_millis(5);
    let mut seen = Seen {
        answers: 0,
        longest: Duration::ZERO,
    };
    loop {
        let asked = Instant::now();
        let answer = client.call(&["PING"]).map_err(|e| e.to_string())?;
        if answer.text() != "PONG" {
            return Err(answer.text());
        }
        seen.answers += 1;
        seen.longest = seen.longest.max(asked.elapsed());
        if over.load(Ordering::Relaxed) {
            return Ok(seen);
        }
        thread::sleep(EVERY);
    }
}
