//! The bit sets of a row: command flags and ACL categories.
//!
//! Bits are numbered in the order in which COMMAND INFO (flags) and ACL CAT (categories) list them.

use super::Group;

/// A set of command flags; the constants hold one flag each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u32);

macro_rules! bits {
    ($set:ident: $($bit:literal $name:ident $wire:literal $doc:literal;)*) => {
        $(#[doc = $doc] pub const $name: $set = $set(1 << $bit);)*
        const ALL: &[($set, &str)] = &[$(($name, $wire)),*];
    };
}

/// The command flags.
pub mod flag {
    use super::Flags;

    bits! { Flags:
        0 WRITE "write" "May change a value.";
        1 READONLY "readonly" "Reads keys and never changes them.";
        2 DENYOOM "denyoom" "Refused when memory is over its limit.";
        3 ADMIN "admin" "For administrators.";
        4 PUBSUB "pubsub" "Belongs to publish and subscribe.";
        5 NOSCRIPT "noscript" "Not allowed from scripts.";
        6 BLOCKING "blocking" "May block the client.";
        7 LOADING "loading" "Allowed while a data set is loading.";
        8 STALE "stale" "Allowed on a replica whose data is stale.";
        9 SKIP_MONITOR "skip_monitor" "Not shown by MONITOR.";
        10 SKIP_SLOWLOG "skip_slowlog" "Not kept in the slow log.";
        11 ASKING "asking" "Implies ASKING in cluster mode.";
        12 FAST "fast" "Constant or logarithmic time.";
        13 NO_AUTH "no_auth" "Allowed before authentication.";
        14 MAY_REPLICATE "may_replicate" "May produce effects without being a write (not listed by COMMAND INFO).";
        15 SENTINEL "sentinel" "Exists in sentinel mode too (not listed).";
        16 ONLY_SENTINEL "only_sentinel" "Exists in sentinel mode only (not listed).";
        17 NO_MANDATORY_KEYS "no_mandatory_keys" "Has key arguments, yet may be called with none.";
        18 PROTECTED "protected" "Enabled by its own configuration parameter (not listed).";
        19 NO_ASYNC_LOADING "no_async_loading" "Not allowed while a replica loads beside its old data.";
        20 NO_MULTI "no_multi" "Not allowed inside MULTI.";
        21 MOVABLE_KEYS "movablekeys" "First, last and step do not tell all keys; derived.";
        22 ALLOW_BUSY "allow_busy" "Allowed while a script is too slow.";
        23 TOUCHES_ARBITRARY_KEYS "touches_arbitrary_keys" "Touches keys that it does not name (not listed).";
        24 TXN "txn" "Runs at once inside MULTI instead of being queued (not listed).";
        25 ENDS_TXN "ends_txn" "Runs what MULTI queued: refusing it drops that (not listed).";
        26 SUBSCRIBER "subscriber" "Allowed to a RESP2 client that is subscribed to something (not listed).";
        27 HEALTH "health" "Refused as writes are while these cannot be saved: whoever asks hears that something is wrong (not listed).";
    }

    /// Flags that COMMAND INFO keeps to itself.
    pub(super) const HIDDEN: Flags = Flags(
        MAY_REPLICATE.0
            | SENTINEL.0
            | ONLY_SENTINEL.0
            | PROTECTED.0
            | TOUCHES_ARBITRARY_KEYS.0
            | TXN.0
            | ENDS_TXN.0
            | SUBSCRIBER.0
            | HEALTH.0,
    );

    impl Flags {
        /// The names of all flags in the set.
        pub fn all_names(self) -> impl Iterator<Item = &'static str> + Clone {
            ALL.iter()
                .filter(move |(f, _)| self.has(*f))
                .map(|&(_, name)| name)
        }

        /// The names that COMMAND INFO reports, in its order.
        pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
            Flags(self.0 & !HIDDEN.0).all_names()
        }
    }
}

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether any flag of `other` is in this set.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A set of ACL categories; the constants hold one category each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Categories(u32);

/// The ACL categories.
pub mod category {
    use super::Categories;

    bits! { Categories:
        0 KEYSPACE "keyspace" "Keys, whatever they hold.";
        1 READ "read" "Reads values.";
        2 WRITE "write" "Changes values.";
        3 SET "set" "Sets.";
        4 SORTEDSET "sortedset" "Sorted sets.";
        5 LIST "list" "Lists.";
        6 HASH "hash" "Hashes.";
        7 STRING "string" "Strings.";
        8 BITMAP "bitmap" "Bits of strings.";
        9 HYPERLOGLOG "hyperloglog" "HyperLogLogs.";
        10 GEO "geo" "Geographic indexes.";
        11 STREAM "stream" "Streams.";
        12 PUBSUB "pubsub" "Publish and subscribe.";
        13 ADMIN "admin" "Administration.";
        14 FAST "fast" "Flagged fast.";
        15 SLOW "slow" "Not flagged fast.";
        16 BLOCKING "blocking" "May block.";
        17 DANGEROUS "dangerous" "To be granted with care.";
        18 CONNECTION "connection" "The connection itself.";
        19 TRANSACTION "transaction" "MULTI and its like.";
        20 SCRIPTING "scripting" "Scripts and functions.";
    }

    impl Categories {
        /// Every category with its name (without `@`), in the order of ACL CAT.
        pub fn all() -> impl Iterator<Item = (Categories, &'static str)> {
            ALL.iter().copied()
        }

        /// The category of this name, compared without regard to case.
        pub fn named(name: &[u8]) -> Option<Categories> {
            ALL.iter()
                .find(|(_, n)| n.as_bytes().eq_ignore_ascii_case(name))
                .map(|&(c, _)| c)
        }

        /// The names in this set (without `@`), in order.
        pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
            ALL.iter()
                .filter(move |(c, _)| self.has(*c))
                .map(|&(_, name)| name)
        }
    }
}

impl Categories {
    /// No category.
    pub const NONE: Self = Self(0);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any category of `other` is in this set.
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// What the group of a command puts it into.
    pub const fn of_group(group: Group) -> Self {
        match group {
            Group::Generic => category::KEYSPACE,
            Group::String => category::STRING,
            Group::List => category::LIST,
            Group::Set => category::SET,
            Group::SortedSet => category::SORTEDSET,
            Group::Hash => category::HASH,
            Group::Stream => category::STREAM,
            Group::Bitmap => category::BITMAP,
            Group::HyperLogLog => category::HYPERLOGLOG,
            Group::Geo => category::GEO,
            Group::Transactions => category::TRANSACTION,
            Group::Scripting => category::SCRIPTING,
            Group::Connection => category::CONNECTION,
            Group::PubSub | Group::Server | Group::Cluster | Group::Sentinel => Self::NONE,
        }
    }

    /// What the flags of a command put it into, whatever its row says.
    pub const fn of_flags(flags: Flags, scripting: bool) -> Self {
        let mut set = Self::NONE;
        if flags.has(flag::WRITE) {
            set = set.with(category::WRITE);
        }
        // The read-only forms of EVAL and FCALL are not in @read: what they read is up to the script.
        if flags.has(flag::READONLY) && !scripting {
            set = set.with(category::READ);
        }
        if flags.has(flag::ADMIN) {
            set = set.with(category::ADMIN).with(category::DANGEROUS);
        }
        if flags.has(flag::PUBSUB) {
            set = set.with(category::PUBSUB);
        }
        if flags.has(flag::BLOCKING) {
            set = set.with(category::BLOCKING);
        }
        set.with(if flags.has(flag::FAST) {
            category::FAST
        } else {
            category::SLOW
        })
    }
}
