//! Where the keys of a call are, and what is done to each.

use smallvec::SmallVec;

/// What a command does to a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyFlags(u16);

const KEY_FLAG_NAMES: [&str; 11] = [
    "RO",
    "RW",
    "OW",
    "RM",
    "access",
    "update",
    "insert",
    "delete",
    "not_key",
    "incomplete",
    "variable_flags",
];

impl KeyFlags {
    /// Reads the value, or a part of it.
    pub const RO: Self = Self(1);
    /// Changes the value, depending on what it was.
    pub const RW: Self = Self(1 << 1);
    /// Overwrites the value.
    pub const OW: Self = Self(1 << 2);
    /// Removes the key.
    pub const RM: Self = Self(1 << 3);
    /// Returns, copies or uses the user's data.
    pub const ACCESS: Self = Self(1 << 4);
    /// Changes the user's data.
    pub const UPDATE: Self = Self(1 << 5);
    /// Adds data and changes none.
    pub const INSERT: Self = Self(1 << 6);
    /// Deletes some of the content explicitly.
    pub const DELETE: Self = Self(1 << 7);
    /// Not a key, but routed like one (a shard channel).
    pub const NOT_KEY: Self = Self(1 << 8);
    /// The spec does not find all keys.
    pub const INCOMPLETE: Self = Self(1 << 9);
    /// The flags depend on the other arguments.
    pub const VARIABLE: Self = Self(1 << 10);

    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any flag of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether an ACL must grant reading the key.
    pub const fn reads(self) -> bool {
        self.has(Self::ACCESS)
    }

    /// Whether an ACL must grant writing the key.
    pub const fn writes(self) -> bool {
        self.has(Self(Self::INSERT.0 | Self::DELETE.0 | Self::UPDATE.0))
    }

    /// The names as COMMAND INFO spells them.
    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        KEY_FLAG_NAMES
            .iter()
            .enumerate()
            .filter(move |(i, _)| self.0 >> i & 1 == 1)
            .map(|(_, &n)| n)
    }
}

/// Where the search for keys begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At this position; the name is 0.
    Index(i32),
    /// After this word, looked for from a position (negative: backwards from the end).
    Keyword(&'static str, i32),
    /// Not to be told.
    Unknown,
}

/// Which arguments, from the beginning, are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Up to `last` (relative to the first; negative: to the end), every `step`-th. With a negative `last`
    /// a `limit` of 2 or more stops after that fraction of the arguments.
    Range {
        /// Last key.
        last: i32,
        /// Distance between keys.
        step: i32,
        /// Fraction.
        limit: i32,
    },
    /// As many as a number says.
    KeyNum {
        /// Position of the number.
        index: i32,
        /// Position of the first key.
        first: i32,
        /// Distance between keys.
        step: i32,
    },
    /// Not to be told.
    Unknown,
}

/// One rule that finds keys in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Where to begin.
    pub begin: Begin,
    /// What to take.
    pub find: Find,
    /// What happens to the keys.
    pub flags: KeyFlags,
    /// Why it is as it is, for those who read COMMAND INFO; mostly empty.
    pub note: &'static str,
}

impl KeySpec {
    const fn starting(begin: Begin, find: Find) -> Self {
        Self {
            begin,
            find,
            flags: KeyFlags(0),
            note: "",
        }
    }

    /// Says why it is as it is.
    #[must_use]
    pub const fn note(mut self, note: &'static str) -> Self {
        self.note = note;
        self
    }

    /// The one key at this position.
    pub const fn at(index: i32) -> Self {
        Self::starting(
            Begin::Index(index),
            Find::Range {
                last: 0,
                step: 1,
                limit: 0,
            },
        )
    }

    /// The one key after a word, which is looked for from position `start`.
    pub const fn keyword(word: &'static str, start: i32) -> Self {
        Self::starting(
            Begin::Keyword(word, start),
            Find::Range {
                last: 0,
                step: 1,
                limit: 0,
            },
        )
    }

    /// Keys that only a function finds.
    pub const fn unknown() -> Self {
        Self::starting(Begin::Unknown, Find::Unknown)
    }

    /// A range of keys.
    #[must_use]
    pub const fn range(mut self, last: i32, step: i32, limit: i32) -> Self {
        self.find = Find::Range { last, step, limit };
        self
    }

    /// A counted list of keys.
    #[must_use]
    pub const fn keynum(mut self, index: i32, first: i32, step: i32) -> Self {
        self.find = Find::KeyNum { index, first, step };
        self
    }

    const fn flag(mut self, flag: KeyFlags) -> Self {
        self.flags = self.flags.with(flag);
        self
    }

    /// Adds [`KeyFlags::RO`].
    #[must_use]
    pub const fn ro(self) -> Self {
        self.flag(KeyFlags::RO)
    }

    /// Adds [`KeyFlags::RW`].
    #[must_use]
    pub const fn rw(self) -> Self {
        self.flag(KeyFlags::RW)
    }

    /// Adds [`KeyFlags::OW`].
    #[must_use]
    pub const fn ow(self) -> Self {
        self.flag(KeyFlags::OW)
    }

    /// Adds [`KeyFlags::RM`].
    #[must_use]
    pub const fn rm(self) -> Self {
        self.flag(KeyFlags::RM)
    }

    /// Adds [`KeyFlags::ACCESS`].
    #[must_use]
    pub const fn access(self) -> Self {
        self.flag(KeyFlags::ACCESS)
    }

    /// Adds [`KeyFlags::UPDATE`].
    #[must_use]
    pub const fn update(self) -> Self {
        self.flag(KeyFlags::UPDATE)
    }

    /// Adds [`KeyFlags::INSERT`].
    #[must_use]
    pub const fn insert(self) -> Self {
        self.flag(KeyFlags::INSERT)
    }

    /// Adds [`KeyFlags::DELETE`].
    #[must_use]
    pub const fn delete(self) -> Self {
        self.flag(KeyFlags::DELETE)
    }

    /// Adds [`KeyFlags::NOT_KEY`].
    #[must_use]
    pub const fn not_key(self) -> Self {
        self.flag(KeyFlags::NOT_KEY)
    }

    /// Adds [`KeyFlags::INCOMPLETE`].
    #[must_use]
    pub const fn incomplete(self) -> Self {
        self.flag(KeyFlags::INCOMPLETE)
    }

    /// Adds [`KeyFlags::VARIABLE`].
    #[must_use]
    pub const fn variable(self) -> Self {
        self.flag(KeyFlags::VARIABLE)
    }

    /// Stops the build at an impossible spec.
    pub(super) const fn check(&self, readonly: bool, has_fn: bool) {
        let kinds = (self.flags.0 & 15).count_ones();
        assert!(
            kinds == 1 || self.flags.has(KeyFlags::NOT_KEY),
            "one of ro, rw, ow, rm"
        );
        assert!(
            !readonly || !self.flags.writes(),
            "a readonly command writes no key"
        );
        assert!(
            !matches!(self.find, Find::Unknown) || has_fn,
            "keys that no spec finds need a function"
        );
        match self.begin {
            Begin::Index(i) => assert!(i > 0, "keys stand after the name"),
            Begin::Keyword(_, start) => assert!(start != 0, "the name is no keyword"),
            Begin::Unknown => {}
        }
        match self.find {
            Find::Range { step, .. } | Find::KeyNum { step, .. } => assert!(step > 0, "no step"),
            Find::Unknown => {}
        }
    }
}

/// The arguments of a call, its name first.
pub trait Argv {
    /// How many, with the name.
    fn len(&self) -> usize;
    /// The argument at `i`; empty beyond the end.
    fn arg(&self, i: usize) -> &[u8];
    /// Whether there is not even a name.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: AsRef<[u8]>> Argv for &[T] {
    fn len(&self) -> usize {
        (**self).len()
    }
    fn arg(&self, i: usize) -> &[u8] {
        self.get(i).map_or(&[], AsRef::as_ref)
    }
}

impl<T: AsRef<[u8]>> Argv for Vec<T> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }
    fn arg(&self, i: usize) -> &[u8] {
        self.get(i).map_or(&[], AsRef::as_ref)
    }
}

/// A key in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRef {
    /// Position in the call.
    pub pos: u32,
    /// What happens to it.
    pub flags: KeyFlags,
}

/// The keys of a call, in the order of the specs.
pub type Keys = SmallVec<[KeyRef; 6]>;

/// Finds the keys of a call where specs are incomplete or their flags vary.
pub type KeysFn = fn(&dyn Argv, &mut Keys) -> Result<(), KeyError>;

/// The call is malformed: its keys cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the keys of the call cannot be told")]
pub struct KeyError;

/// Finds the keys of a call by its specs alone; what is only routed like a key is left out unless asked for.
pub fn by_specs(
    specs: &[KeySpec],
    args: &dyn Argv,
    not_keys: bool,
    out: &mut Keys,
) -> Result<(), KeyError> {
    for spec in specs {
        if !spec.flags.has(KeyFlags::NOT_KEY) || not_keys {
            spec.collect(args, out)?;
        }
    }
    Ok(())
}

impl KeySpec {
    fn collect(&self, args: &dyn Argv, out: &mut Keys) -> Result<(), KeyError> {
        let argc = i64::try_from(args.len()).map_err(|_| KeyError)?;
        let Some(first) = self.first(args, argc) else {
            return Ok(());
        };
        let (first, last, step) = match self.find {
            Find::Unknown => return Ok(()),
            Find::Range { last, step, limit } => {
                let end = match (last, limit) {
                    (0.., _) => first + i64::from(last),
                    (_, 0..2) => argc + i64::from(last),
                    (_, n) => first + (argc - first) / i64::from(n) + i64::from(last),
                };
                (first, end, step)
            }
            Find::KeyNum {
                index,
                first: skip,
                step,
            } => {
                let n = usize::try_from(first + i64::from(index)).map_err(|_| KeyError)?;
                if n >= args.len() {
                    return Err(KeyError);
                }
                let n = parse_count(args.arg(n)).ok_or(KeyError)?;
                let first = first + i64::from(skip);
                (first, first + (n - 1).saturating_mul(i64::from(step)), step)
            }
        };
        if first >= argc || last >= argc || last < first {
            return Err(KeyError);
        }
        for pos in (first..=last).step_by(usize::try_from(step).map_err(|_| KeyError)?) {
            let pos = u32::try_from(pos).map_err(|_| KeyError)?;
            out.push(KeyRef {
                pos,
                flags: self.flags,
            });
        }
        Ok(())
    }

    /// Position of the first candidate; `None` when the keyword is absent.
    fn first(&self, args: &dyn Argv, argc: i64) -> Option<i64> {
        match self.begin {
            Begin::Index(i) => Some(i64::from(i)),
            Begin::Unknown => None,
            // The last argument is never the keyword: nothing would follow it.
            Begin::Keyword(word, start) => {
                let is_word = |i: &i64| {
                    usize::try_from(*i)
                        .is_ok_and(|i| args.arg(i).eq_ignore_ascii_case(word.as_bytes()))
                };
                let start = i64::from(start);
                let at = if start > 0 {
                    (start..argc - 1).find(is_word)
                } else {
                    (1..=argc + start).rev().find(is_word)
                };
                at.map(|i| i + 1)
            }
        }
    }
}

/// A decimal count of keys, as strictly as Redis reads integers.
fn parse_count(text: &[u8]) -> Option<i64> {
    let n: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let plain =
        text.first().is_some_and(u8::is_ascii_digit) && (text.len() == 1 || text[0] != b'0');
    (plain && n <= i64::from(i32::MAX)).then_some(n)
}
