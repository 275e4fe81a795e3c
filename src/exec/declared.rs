//! What scripts and functions say about themselves, and what the gate makes of it before they run.

use super::session::SessionId;
use super::{Args, Entry, State};
use crate::spec::{Code, Flags, flag};

/// What a script or function says about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScriptFlags(u8);

impl ScriptFlags {
    /// It does not write.
    pub const NO_WRITES: ScriptFlags = ScriptFlags(1);
    /// It may run when memory is over its limit.
    pub const ALLOW_OOM: ScriptFlags = ScriptFlags(2);
    /// It may run on a replica whose data is stale.
    pub const ALLOW_STALE: ScriptFlags = ScriptFlags(4);
    /// It does not run in a cluster.
    pub const NO_CLUSTER: ScriptFlags = ScriptFlags(8);
    /// It may use keys of several slots of a cluster.
    pub const ALLOW_CROSS_SLOT_KEYS: ScriptFlags = ScriptFlags(16);

    /// Each flag with its name, in the order in which FUNCTION LIST tells them.
    pub const ALL: &[(ScriptFlags, &str)] = &[
        (ScriptFlags::NO_WRITES, "no-writes"),
        (ScriptFlags::ALLOW_OOM, "allow-oom"),
        (ScriptFlags::ALLOW_STALE, "allow-stale"),
        (ScriptFlags::NO_CLUSTER, "no-cluster"),
        (ScriptFlags::ALLOW_CROSS_SLOT_KEYS, "allow-cross-slot-keys"),
    ];

    /// The set of these bits; bits that mean nothing are left out.
    pub fn from_bits(bits: u8) -> ScriptFlags {
        ScriptFlags(bits & 31)
    }

    /// The set as bits.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether any flag of `other` is in this set.
    pub fn has(self, other: ScriptFlags) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets together.
    #[must_use]
    pub fn with(self, other: ScriptFlags) -> ScriptFlags {
        ScriptFlags(self.0 | other.0)
    }

    /// The names of the flags in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        Self::ALL
            .iter()
            .filter(move |(flag, _)| self.has(*flag))
            .map(|&(_, name)| name)
    }

    /// Whether what it runs may need memory: then it does not begin when there is none left.
    pub fn needs_memory(self) -> bool {
        !self.has(Self::ALLOW_OOM.with(Self::NO_WRITES))
    }

    /// The flags of a command that runs such a script.
    fn flags(self, row: Flags) -> Flags {
        let told = flag::STALE
            .with(flag::DENYOOM)
            .with(flag::WRITE)
            .with(flag::MAY_REPLICATE);
        let mut flags = row.without(told);
        for (given, which) in [
            (self.needs_memory(), flag::DENYOOM),
            (!self.has(Self::NO_WRITES), flag::WRITE),
            (self.has(Self::ALLOW_STALE), flag::STALE),
        ] {
            if given {
                flags = flags.with(which);
            }
        }
        flags
    }
}

/// Reads what a script declares in its first line; none if it has no such line, or one that cannot be read. A script
/// that declares nothing may do whatever the commands that it calls may do.
pub type ReadDeclared = fn(&[u8]) -> Option<ScriptFlags>;

/// The flags of a call: those of its row, but for a script those that it declares, and for EXEC also those of what
/// is queued.
pub(super) fn flags_of(
    state: &State,
    sid: SessionId,
    row: &'static Entry,
    args: Args<'_>,
) -> Flags {
    if let Some(code) = row.row.code {
        let (declared, is_known) = match code {
            Code::Text => script(state, Some(args.at(1))),
            Code::Sha => script(
                state,
                state.sys.scripts.get(args.at(1)).map(|body| &body[..]),
            ),
            Code::Function => {
                let function = state.sys.libraries.find(args.at(1));
                (function.map(|(_, function)| function.flags), false)
            }
        };
        return match declared {
            Some(declared) => declared.flags(row.flags),
            // Only what says so may run on stale data. What is not known is told so there, too.
            None if is_known => row.flags.without(flag::STALE),
            None => row.flags,
        };
    }
    if row.flags.has(flag::ENDS_TXN)
        && let Some(multi) = state.sessions.get(sid).and_then(|s| s.multi.as_ref())
    {
        // By itself it does nothing.
        let flags = row.flags.without(flag::MAY_REPLICATE).with(multi.flags);
        return match multi.stale {
            true => flags,
            false => flags.without(flag::STALE),
        };
    }
    row.flags
}

/// What a script declares, and whether it is one that can declare nothing.
fn script(state: &State, body: Option<&[u8]>) -> (Option<ScriptFlags>, bool) {
    let declared = body.and_then(|body| (state.sys.declared)(body));
    (declared, body.is_some_and(|body| !body.starts_with(b"#!")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_takes_the_place_of_the_row() {
        let row = flag::MAY_REPLICATE.with(flag::NOSCRIPT).with(flag::STALE);
        let declares = |declared: ScriptFlags| {
            let mut names: Vec<_> = declared.flags(row).all_names().collect();
            names.sort_unstable();
            names.join(" ")
        };
        assert_eq!(declares(ScriptFlags::default()), "denyoom noscript write");
        let both = ScriptFlags::ALLOW_OOM.with(ScriptFlags::ALLOW_STALE);
        assert_eq!(declares(both), "noscript stale write");
        assert_eq!(declares(ScriptFlags::NO_WRITES), "noscript");
    }
}
