//! Whether what is kept up to date by difference is what it would be counted anew: for tests and fuzzing.

use super::State;
use super::session::{Session, Sessions};

impl State {
    /// Counts all anew that is counted by difference: keys and values, and what waits for clients.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn audit(&self) -> Result<(), String> {
        self.ks.audit()?;
        self.sessions.audit()
    }
}

impl Sessions {
    fn audit(&self) -> Result<(), String> {
        let counted: usize = self.all().map(Session::counted).sum();
        let uncounted = self.all().find(|s| s.outbox.len() > s.counted());
        match uncounted {
            Some(session) => Err(format!(
                "{} bytes wait for client {}, {} are counted",
                session.outbox.len(),
                session.id,
                session.counted()
            )),
            None if self.queued() != counted => Err(format!(
                "bytes in outboxes: {} in all, {counted} of each",
                self.queued()
            )),
            None => Ok(()),
        }
    }
}
