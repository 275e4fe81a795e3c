//! Whether what is kept up to date by difference is what it would be counted anew: for tests and fuzzing.

use super::State;
use super::session::Sessions;

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
        let waiting: usize = self.all().map(|session| session.outbox.len()).sum();
        match self.queued() == waiting {
            true => Ok(()),
            false => Err(format!(
                "bytes in outboxes: {} are kept, {waiting} are there",
                self.queued()
            )),
        }
    }
}
