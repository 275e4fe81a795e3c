//! Waiting for what another thread brings about: that something is on the disk, or with the replicas.

/// Whether what is waited for has come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// It has.
    Yes,
    /// Not yet.
    Later,
    /// It may never: whether the bytes are on the disk is unknown.
    Lost,
    /// It has not, and is no longer waited for: replicas did not confirm it in time.
    TimedOut,
}

/// Somebody who waits.
pub trait Confirmed: Send + Sync {
    /// It is worth looking again. Must not wait for anything, the engine least of all.
    fn confirmed(&self);
}
