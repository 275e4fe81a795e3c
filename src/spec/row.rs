//! The const declaration of one command.

use super::keys::KeysFn;
use super::{Categories, Flags, KeySpec, flag};

/// The family under which COMMAND DOCS lists a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Any key, whatever its type.
    Generic,
    /// Strings.
    String,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Hashes.
    Hash,
    /// Streams.
    Stream,
    /// Bits of strings.
    Bitmap,
    /// HyperLogLogs.
    HyperLogLog,
    /// Geographic indexes.
    Geo,
    /// Publish and subscribe.
    PubSub,
    /// MULTI and its like.
    Transactions,
    /// Scripts and functions.
    Scripting,
    /// The connection itself.
    Connection,
    /// The server itself.
    Server,
    /// Cluster mode.
    Cluster,
    /// Sentinel mode.
    Sentinel,
}

impl Group {
    /// The name on the wire (`sorted-set`, say).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Hash => "hash",
            Self::Stream => "stream",
            Self::Bitmap => "bitmap",
            Self::HyperLogLog => "hyperloglog",
            Self::Geo => "geo",
            Self::PubSub => "pubsub",
            Self::Transactions => "transactions",
            Self::Scripting => "scripting",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Cluster => "cluster",
            Self::Sentinel => "sentinel",
        }
    }
}

/// How a call that changed something reaches the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Propagate {
    /// It changes nothing that a replica has.
    Never,
    /// As it was called.
    Verbatim,
    /// As it was called, unless the handler gives other commands in its place.
    MayRewrite,
    /// The handler gives the commands itself, always.
    Explicit,
}

/// Where a command that runs code of a client's finds it: argument 1 tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// It is the code.
    Text,
    /// It is the SHA1 of a cached script.
    Sha,
    /// It is the name of a function.
    Function,
}

/// The channels that a command names, for access control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Channels {
    /// All arguments are channels, and not the first alone.
    pub all: bool,
    /// They are patterns of channels.
    pub patterns: bool,
}

impl Channels {
    /// The first argument is one.
    pub const FIRST: Self = Self {
        all: false,
        patterns: false,
    };
    /// Every argument is one.
    pub const ALL: Self = Self {
        all: true,
        patterns: false,
    };
    /// Every argument is a pattern of them.
    pub const PATTERNS: Self = Self {
        all: true,
        patterns: true,
    };

    /// Where they stand in a call of so many words, the name included.
    pub fn positions(self, words: usize) -> std::ops::Range<usize> {
        let end = if self.all { words } else { words.min(2) };
        1..end.max(1)
    }
}

/// One command (or subcommand), declared beside its handler of type `H`.
///
/// Built in const context and closed by [`Row::checked`], so that an impossible row does not compile.
#[derive(Debug)]
pub struct Row<H: 'static> {
    /// Name in lower case; of a subcommand, its own word only.
    pub name: &'static str,
    /// Number of arguments with the name (and the container's); negative: at least so many.
    pub arity: i16,
    /// The handler; `None` for a container that cannot be called itself.
    pub run: Option<H>,
    /// First version that had it.
    pub since: &'static str,
    /// The family it is listed under.
    pub group: Group,
    /// Flags as declared; [`super::Entry::flags`] adds the derived ones.
    pub flags: Flags,
    /// How its changes reach the log.
    pub propagate: Propagate,
    /// Where its keys are.
    pub keys: &'static [KeySpec],
    /// Finds the keys where the specs cannot.
    pub keys_fn: Option<KeysFn>,
    /// The channels that it publishes or subscribes to.
    pub channels: Option<Channels>,
    /// ACL categories beyond those derived from group and flags.
    pub acl: Categories,
    /// Whether the group gives an ACL category.
    pub acl_of_group: bool,
    /// The arguments, in the grammar of [`super::syntax`].
    pub syntax: &'static str,
    /// One line, in our own words.
    pub summary: &'static str,
    /// Cost of a call.
    pub complexity: &'static str,
    /// (version, what changed).
    pub history: &'static [(&'static str, &'static str)],
    /// Hints for proxies and clients.
    pub tips: &'static [&'static str],
    /// Subcommands.
    pub subs: &'static [Row<H>],
    /// (version, replacement), when deprecated.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Meant for servers to talk among themselves.
    pub syscmd: bool,
    /// The code that it runs, if it runs a client's.
    pub code: Option<Code>,
    /// What it does not do of what Redis or Valkey do; empty if it does all of it.
    pub limits: &'static str,
}

impl<H: 'static> Row<H> {
    /// A command that `run` executes.
    pub const fn new(name: &'static str, arity: i16, run: H) -> Self {
        Self::with(name, arity, Some(run))
    }

    /// A container: every call names one of its subcommands.
    pub const fn container(name: &'static str, arity: i16) -> Self {
        Self::with(name, arity, None)
    }

    /// The subcommand of a container that tells of the others.
    pub const fn help(since: &'static str, group: Group, run: H) -> Self {
        Self::new("help", 2, run)
            .since(since)
            .group(group)
            .flags(&[flag::LOADING, flag::STALE])
            .summary("Show the subcommands.")
            .complexity("O(1)")
    }

    const fn with(name: &'static str, arity: i16, run: Option<H>) -> Self {
        Self {
            name,
            arity,
            run,
            since: "",
            group: Group::Generic,
            flags: Flags::NONE,
            propagate: Propagate::Never,
            keys: &[],
            keys_fn: None,
            channels: None,
            acl: Categories::NONE,
            acl_of_group: true,
            syntax: "",
            summary: "",
            complexity: "",
            history: &[],
            tips: &[],
            subs: &[],
            deprecated: None,
            syscmd: false,
            code: None,
            limits: "",
        }
    }

    /// First version that had it.
    #[must_use]
    pub const fn since(mut self, version: &'static str) -> Self {
        self.since = version;
        self
    }

    /// The family it is listed under.
    #[must_use]
    pub const fn group(mut self, group: Group) -> Self {
        self.group = group;
        self
    }

    /// It reads keys and changes none.
    #[must_use]
    pub const fn read(mut self) -> Self {
        self.flags = self.flags.with(flag::READONLY);
        self
    }

    /// It may change values, and so reaches the log.
    #[must_use]
    pub const fn write(mut self, propagate: Propagate) -> Self {
        self.flags = self.flags.with(flag::WRITE);
        self.propagate = propagate;
        self
    }

    /// It may produce effects though it is no write command (EVAL, PUBLISH).
    #[must_use]
    pub const fn may_replicate(mut self, propagate: Propagate) -> Self {
        self.flags = self.flags.with(flag::MAY_REPLICATE);
        self.propagate = propagate;
        self
    }

    /// Adds flags.
    #[must_use]
    pub const fn flags(mut self, flags: &[Flags]) -> Self {
        let mut i = 0;
        while i < flags.len() {
            self.flags = self.flags.with(flags[i]);
            i += 1;
        }
        self
    }

    /// Where its keys are.
    #[must_use]
    pub const fn keys(mut self, keys: &'static [KeySpec]) -> Self {
        self.keys = keys;
        self
    }

    /// Finds keys and their flags where the specs are incomplete or variable.
    #[must_use]
    pub const fn keys_fn(mut self, find: KeysFn) -> Self {
        self.keys_fn = Some(find);
        self
    }

    /// The channels that it publishes or subscribes to.
    #[must_use]
    pub const fn channels(mut self, channels: Channels) -> Self {
        self.channels = Some(channels);
        self
    }

    /// Adds ACL categories.
    #[must_use]
    pub const fn acl(mut self, categories: &[Categories]) -> Self {
        let mut i = 0;
        while i < categories.len() {
            self.acl = self.acl.with(categories[i]);
            i += 1;
        }
        self
    }

    /// Sets the ACL categories; the group gives none.
    #[must_use]
    pub const fn acl_only(mut self, categories: &[Categories]) -> Self {
        self.acl_of_group = false;
        self.acl(categories)
    }

    /// The arguments, in the grammar of [`super::syntax`].
    #[must_use]
    pub const fn syntax(mut self, line: &'static str) -> Self {
        self.syntax = line;
        self
    }

    /// One line that says what it does.
    #[must_use]
    pub const fn summary(mut self, text: &'static str) -> Self {
        self.summary = text;
        self
    }

    /// Cost of a call.
    #[must_use]
    pub const fn complexity(mut self, text: &'static str) -> Self {
        self.complexity = text;
        self
    }

    /// What changed in later versions.
    #[must_use]
    pub const fn history(mut self, history: &'static [(&'static str, &'static str)]) -> Self {
        self.history = history;
        self
    }

    /// Hints for proxies and clients.
    #[must_use]
    pub const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    /// Subcommands.
    #[must_use]
    pub const fn subs(mut self, subs: &'static [Row<H>]) -> Self {
        self.subs = subs;
        self
    }

    /// Deprecated since a version, in favour of something else.
    #[must_use]
    pub const fn deprecated(mut self, since: &'static str, replaced_by: &'static str) -> Self {
        self.deprecated = Some((since, replaced_by));
        self
    }

    /// Meant for servers to talk among themselves.
    #[must_use]
    pub const fn syscmd(mut self) -> Self {
        self.syscmd = true;
        self
    }

    /// It runs code of a client's: what that declares stands for the flags.
    #[must_use]
    pub const fn runs(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    /// What it does not do of what Redis or Valkey do, options by name: `docs/COMPATIBILITY.md` shows it.
    #[must_use]
    pub const fn limits(mut self, text: &'static str) -> Self {
        self.limits = text;
        self
    }

    /// The same row, once it is found possible; otherwise the build stops with the reason.
    #[must_use]
    pub const fn checked(self) -> Self {
        assert!(
            !self.name.is_empty() && is_lower(self.name),
            "a name is in lower case"
        );
        assert!(self.name.len() <= 32, "a name has at most 32 bytes");
        assert!(self.arity != 0, "arity counts the name: it is never 0");
        assert!(!self.since.is_empty(), "since which version?");
        assert!(!self.summary.is_empty(), "a summary is missing");
        assert!(
            !self.complexity.is_empty() || self.run.is_none(),
            "the complexity is missing"
        );
        let (write, read) = (self.flags.has(flag::WRITE), self.flags.has(flag::READONLY));
        assert!(!(write && read), "both write and readonly");
        if write {
            assert!(
                !matches!(self.propagate, Propagate::Never),
                "a write must reach the log"
            );
            let wide = matches!(self.group, Group::Server | Group::Scripting);
            assert!(!self.keys.is_empty() || wide, "a write names its keys");
        } else {
            let may = self.flags.has(flag::MAY_REPLICATE);
            assert!(
                may || matches!(self.propagate, Propagate::Never),
                "only writes propagate"
            );
        }
        if self.run.is_none() {
            assert!(!self.subs.is_empty(), "neither a handler nor subcommands");
        }
        let mut i = 0;
        while i < self.keys.len() {
            self.keys[i].check(read, self.keys_fn.is_some());
            i += 1;
        }
        // A lone name (and its container's) needs no syntax; everything that takes arguments does.
        if self.syntax.is_empty() && self.subs.is_empty() {
            assert!(
                matches!(self.arity, 1 | 2 | -1 | -2),
                "the syntax is missing"
            );
        }
        check_brackets(self.syntax);
        self
    }
}

const fn is_lower(name: &str) -> bool {
    let (b, mut i) = (name.as_bytes(), 0);
    while i < b.len() {
        if b[i].is_ascii_uppercase() || b[i] == b' ' || b[i] == b'|' {
            return false;
        }
        i += 1;
    }
    true
}

const fn check_brackets(line: &str) {
    let (b, mut i) = (line.as_bytes(), 0);
    let (mut square, mut round, mut curly, mut quoted) = (0i32, 0i32, 0i32, false);
    while i < b.len() {
        match b[i] {
            b'\'' => quoted = !quoted,
            _ if quoted => {}
            b'[' => square += 1,
            b']' => square -= 1,
            b'(' => round += 1,
            b')' => round -= 1,
            b'{' => curly += 1,
            b'}' => curly -= 1,
            _ => {}
        }
        assert!(
            square >= 0 && round >= 0 && curly >= 0,
            "the syntax closes what is not open"
        );
        i += 1;
    }
    assert!(
        square == 0 && round == 0 && curly == 0 && !quoted,
        "the syntax leaves something open"
    );
}
