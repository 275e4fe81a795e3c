//! A server's time in the hands of its owner.

use super::builder::Builder;
use super::handle::Server;
use crate::util::clock::ManualClock;

impl Builder {
    /// Gives the server a clock. Several servers may have the same: whoever moves it moves all of them.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redkeep::util::clock::ManualClock;
    ///
    /// let clock = ManualClock::at_ms(1_700_000_000_000);
    /// let server = redkeep::Server::builder().clock(clock.clone()).start()?;
    /// let mut client = server.client()?;
    /// client.call(["SET", "lock", "token", "PX", "30000"])?;
    /// // As in Redis, a key is there still in the millisecond of its deadline.
    /// clock.advance(Duration::from_millis(30_000));
    /// assert_eq!(client.call(["PTTL", "lock"])?.to_string(), "(integer) 0");
    /// clock.advance(Duration::from_millis(1));
    /// assert_eq!(client.call(["EXISTS", "lock"])?.to_string(), "(integer) 0");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clock(mut self, clock: ManualClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Gives the server a clock that stands, at the machine's time, until [`Server::clock`] moves it.
    pub fn manual_clock(self) -> Self {
        self.clock(ManualClock::frozen())
    }
}

impl Server {
    /// The clock that everything goes by which is time in this server. Unless it was given another, it runs as the
    /// machine's does, and can be stopped, moved and set at any time.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let server = redkeep::Server::builder().start()?;
    /// let mut client = server.client()?;
    /// client.call(["SET", "session", "42", "EX", "1800"])?;
    /// server.clock().advance(Duration::from_secs(1801));
    /// assert_eq!(client.call(["EXISTS", "session"])?.to_string(), "(integer) 0");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn clock(&self) -> &ManualClock {
        &self.clock
    }
}
