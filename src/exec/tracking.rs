//! Client-side caching: which clients remember which keys, and what they are told when those change.

use super::session::{SessionId, Sessions};
use super::{Args, Entry, System};

/// Who remembers what.
#[derive(Debug, Default)]
pub struct Tracking {}

impl Tracking {
    /// Whether nobody remembers anything.
    pub fn is_empty(&self) -> bool {
        true
    }
}

/// A command has read its keys for a client.
pub(crate) fn remember(
    _sys: &mut System,
    _sessions: &mut Sessions,
    _sid: SessionId,
    _row: &'static Entry,
    _args: Args<'_>,
) {
}

/// A key changed, by the doing of a client or of time.
pub(crate) fn invalidate(
    _sys: &mut System,
    _sessions: &mut Sessions,
    _key: &[u8],
    _by: Option<SessionId>,
) {
}

/// All keys of a database, or of all, are gone.
pub(crate) fn invalidate_all(_sys: &mut System, _sessions: &mut Sessions) {}

/// A unit of work is over: those who hear of everything with some prefix hear of what it changed.
pub(crate) fn end_unit(_sys: &mut System, _sessions: &mut Sessions) {}
