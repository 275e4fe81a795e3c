//! What is left of a server that has crashed.

use std::io;

use super::FragileDisk;

/// What a crash has left of a server ([`Server::crash`](crate::Server::crash)) or of an instance
/// ([`Instance::crash`](super::Instance::crash)): what was synced of its files, and how it was made.
#[derive(Debug)]
#[must_use = "it can be started again"]
pub struct Crashed<B> {
    builder: Option<B>,
    lost: io::Result<()>,
}

impl<B> Crashed<B> {
    /// Has what was not synced be gone. The disk was [severed](FragileDisk::sever), and nobody has one of its files open.
    pub(crate) fn losing(fragile: Option<&FragileDisk>, builder: Option<B>) -> Self {
        let lost = fragile.map_or(Ok(()), FragileDisk::lose_unsynced);
        Self { builder, lost }
    }

    /// What it was made by.
    ///
    /// # Errors
    /// When the disk could not take back what was not synced, or it was made by no builder.
    pub(crate) fn into_builder(self) -> io::Result<B> {
        self.lost?;
        self.builder
            .ok_or_else(|| io::ErrorKind::Unsupported.into())
    }
}
