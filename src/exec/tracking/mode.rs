//! How one client wants to hear of changes.

use std::collections::BTreeSet;

use super::super::session::{SessionId, Sessions};
use crate::ds::bytes::SmallBytes;
use crate::spec::CommandId;

/// Of which keys a client hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Of all that it reads.
    Read,
    /// Of those that the command after CLIENT CACHING YES reads.
    OptIn,
    /// Of all that it reads, but for the command after CLIENT CACHING NO.
    OptOut,
    /// Of all with its prefixes, read or not.
    Broadcast,
}

/// The client that is told instead. Slots are reused, ids are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redirect {
    /// Its slot.
    pub sid: SessionId,
    /// CLIENT ID.
    pub id: u64,
}

impl Redirect {
    /// Whether that client is still there.
    pub(super) fn is_there(self, sessions: &Sessions) -> bool {
        let session = sessions.get(self.sid);
        session.is_some_and(|s| s.id == self.id && !s.closing)
    }
}

/// What CLIENT TRACKING ON asked for.
#[derive(Debug)]
pub struct Mode {
    /// Of which keys.
    pub scope: Scope,
    /// Not of those that it changed itself.
    pub noloop: bool,
    /// Who is told instead.
    pub redirect: Option<Redirect>,
    /// That client was gone when there was something to tell.
    pub broken: bool,
    /// CLIENT CACHING was called and holds for what comes next, but for commands of this container.
    pub caching: Option<CommandId>,
    /// Prefixes, if it broadcasts.
    pub prefixes: BTreeSet<SmallBytes>,
}

impl Mode {
    /// Whether the keys that the running command reads are remembered.
    pub(super) fn remembers(&self) -> bool {
        match self.scope {
            Scope::Read => true,
            Scope::OptIn => self.caching.is_some(),
            Scope::OptOut => self.caching.is_none(),
            Scope::Broadcast => false,
        }
    }

    /// The id that CLIENT GETREDIR tells.
    pub fn redirect_id(&self) -> u64 {
        self.redirect.map_or(0, |to| to.id)
    }
}
