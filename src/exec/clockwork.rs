//! Clients that have the clock moved (REDKEEP CLOCK).
//!
//! ```text
//! handler ─ Action::Clock ─► a thread of its own moves the clock, without the lock ─► moved ─► handler again
//! ```
//! Whoever moves the clock has the engine do what is due on the way, and waits until it is done. So it can be neither the one
//! who has the engine, nor one of those who are waited for.

use std::collections::HashSet;
use std::time::Duration;

use super::State;
use crate::util::clock::Ms;

/// What is to be done with the clock that may take a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// It goes forward, with all that is due on the way.
    By(Duration),
    /// It is set, to unix milliseconds.
    To(Ms),
}

/// Clients for whom the clock was moved, and who have not been told yet.
#[derive(Debug, Default)]
pub struct Moves {
    done: HashSet<u64>,
}

impl Moves {
    /// Whether the clock was moved for a client. It is asked once.
    pub fn take_done(&mut self, client: u64) -> bool {
        self.done.remove(&client)
    }
}

/// The clock was moved for a client. The command that waits for that runs again.
pub fn moved(state: &mut State, client: u64) {
    let State { sys, sessions, .. } = state;
    let Some(sid) = sessions.by_id(client) else {
        return;
    };
    let session = sessions.get_mut(sid);
    if let Some(blocked) = session.and_then(|session| session.blocked.as_mut()) {
        sys.moves.done.insert(client);
        let now = sys.now_us / 1000;
        sys.waiters.reschedule(sid, &mut blocked.block, Some(now));
    }
}
