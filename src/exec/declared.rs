//! What scripts say about themselves, as far as the gate must know before they run.

use super::session::SessionId;
use super::{Args, Entry, State};
use crate::spec::{Code, Flags, flag};

/// What a script declares in its first line. A script without such a line declares nothing: it may do whatever the
/// commands that it calls may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Declared {
    /// It does not write.
    pub no_writes: bool,
    /// It may run when memory is over its limit.
    pub allow_oom: bool,
    /// It may run on a replica whose data is stale.
    pub allow_stale: bool,
}

/// Reads what a script declares; none if that is nothing, or cannot be read.
pub type ReadDeclared = fn(&[u8]) -> Option<Declared>;

impl Declared {
    /// The flags of a command that runs such a script.
    fn flags(self, row: Flags) -> Flags {
        let mut flags = row
            .without(flag::STALE)
            .without(flag::DENYOOM)
            .without(flag::WRITE)
            .without(flag::MAY_REPLICATE);
        if !self.no_writes {
            flags = flags.with(flag::WRITE);
            if !self.allow_oom {
                flags = flags.with(flag::DENYOOM);
            }
        }
        if self.allow_stale {
            flags = flags.with(flag::STALE);
        }
        flags
    }
}

/// The flags of a call: those of its row, but for a script those that it declares, and for EXEC also those of what
/// is queued.
pub(super) fn flags_of(
    state: &State,
    sid: SessionId,
    row: &'static Entry,
    args: Args<'_>,
) -> Flags {
    if let Some(code) = row.row.code {
        let declared = match code {
            Code::Text => (state.sys.declared)(args.at(1)),
            Code::Sha => {
                let body = state.sys.scripts.get(args.at(1));
                body.and_then(|body| (state.sys.declared)(body))
            }
        };
        return declared.map_or(row.flags, |declared| declared.flags(row.flags));
    }
    if row.flags.has(flag::ENDS_TXN)
        && let Some(multi) = state.sessions.get(sid).and_then(|s| s.multi.as_ref())
    {
        // By itself it does nothing.
        return row.flags.without(flag::MAY_REPLICATE).with(multi.flags);
    }
    row.flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_takes_the_place_of_the_row() {
        let row = flag::MAY_REPLICATE.with(flag::NOSCRIPT).with(flag::STALE);
        let declares = |no_writes, allow_oom, allow_stale| {
            let declared = Declared {
                no_writes,
                allow_oom,
                allow_stale,
            };
            let mut names: Vec<_> = declared.flags(row).all_names().collect();
            names.sort_unstable();
            names.join(" ")
        };
        assert_eq!(declares(false, false, false), "denyoom noscript write");
        assert_eq!(declares(false, true, true), "noscript stale write");
        assert_eq!(declares(true, false, false), "noscript");
    }
}
