//! A server that has things go wrong, crashes, and is started again.

use super::builder::{Builder, StartError};
use super::handle::Server;
use crate::embed::{Crashed, Faults};

impl Server {
    /// What is to go wrong on this server: errors, delays, connections and disks that break, a server that stands still.
    pub fn faults(&self) -> Faults {
        Faults::of(self.node().clone())
    }

    /// Ends the server at once, as SIGKILL and the loss of power do: nobody is answered any more, nothing is saved, and of
    /// what was written to the disk only that survives which was synced. So what is there again after a
    /// [`restart`](Crashed::restart) is what `appendfsync` promises. Without a directory nothing is.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let server = redkeep::Server::builder()
    ///     .config("dir", dir.path().to_str().unwrap())
    ///     .config("appendonly", "yes")
    ///     .config("appendfsync", "always")
    ///     .start()?;
    /// server.client()?.call(["SET", "order", "4711"])?;
    /// let server = server.crash().restart()?;
    /// assert_eq!(server.client()?.call(["GET", "order"])?.to_string(), "\"4711\"");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn crash(mut self) -> Crashed<Builder> {
        let fragile = self.fragile.take();
        if let Some(disk) = &fragile {
            disk.sever();
        }
        // Before anything can be heard of the disk: nobody is answered.
        self.node().stop();
        self.end();
        let ports = [self.addrs().first().copied(), self.tls_addr()];
        let [plain, tls] = ports.map(|addr| addr.map(|addr| addr.port()));
        let builder = self.made_by.take().map(|builder| builder.at(plain, tls));
        drop(self);
        Crashed::losing(fragile.as_ref(), builder)
    }
}

impl Crashed<Builder> {
    /// Starts it again, as it was made: on the same ports and on the same directory. Its faults, its clients and what CONFIG
    /// SET has changed are gone.
    ///
    /// # Errors
    /// As [`Builder::start`]; and when the disk could not take back what was not synced.
    pub fn restart(self) -> Result<Server, StartError> {
        self.into_builder()?.start()
    }
}
