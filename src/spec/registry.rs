//! All commands of a server: found by name, numbered, in stable order.

use super::keys::{Begin, Find, by_specs};
use super::names::NameTable;
use super::{Argv, Categories, Flags, Group, KeyError, KeyFlags, KeySpec, Keys, Row, flag};

/// A command's number in its registry: dense, from 0, subcommands included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId(pub u16);

impl CommandId {
    /// As an index.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A row in its registry, with what is derived from it.
#[derive(Debug)]
pub struct Entry<H: 'static> {
    /// What was declared.
    pub row: &'static Row<H>,
    /// Its number.
    pub id: CommandId,
    /// The full name: `xgroup|create` for a subcommand.
    pub name: Box<str>,
    /// The container of a subcommand.
    pub parent: Option<CommandId>,
    /// Declared and derived flags.
    pub flags: Flags,
    /// ACL categories.
    pub categories: Categories,
    /// First key, last key and step, as the old form of COMMAND INFO tells them.
    pub legacy_range: (i32, i32, i32),
    /// Index into the tables of subcommand names.
    sub_table: Option<usize>,
    /// Numbers of the subcommands: they follow their container.
    subs: std::ops::Range<usize>,
}

impl<H: 'static> Entry<H> {
    fn new(row: &'static Row<H>, id: u16, parent: Option<&Entry<H>>) -> Self {
        let (legacy_range, movable) = legacy_range(row.keys);
        let mut flags = row.flags;
        if movable {
            flags = flags.with(flag::MOVABLE_KEYS);
        }
        let group = if row.acl_of_group && (row.run.is_some() || row.flags != Flags::NONE) {
            Categories::of_group(row.group)
        } else {
            Categories::NONE
        };
        let scripting = matches!(row.group, Group::Scripting);
        let categories = group
            .with(row.acl)
            .with(Categories::of_flags(flags, scripting));
        let name = match parent {
            Some(p) => format!("{}|{}", p.name, row.name).into(),
            None => row.name.into(),
        };
        Self {
            row,
            id: CommandId(id),
            name,
            parent: parent.map(|p| p.id),
            flags,
            categories,
            legacy_range,
            sub_table: None,
            subs: 0..0,
        }
    }

    /// Whether a call of this many arguments, name included, has the right number.
    #[inline]
    pub const fn arity_ok(&self, argc: usize) -> bool {
        let n = self.row.arity.unsigned_abs() as usize;
        if self.row.arity < 0 {
            argc >= n
        } else {
            argc == n
        }
    }

    /// Whether it has subcommands.
    pub const fn is_container(&self) -> bool {
        self.sub_table.is_some()
    }

    /// Whether calls of it have keys. What is only routed like a key (a shard channel) is none.
    pub fn has_keys(&self) -> bool {
        let is_key = |s: &KeySpec| !s.flags.has(KeyFlags::NOT_KEY);
        self.row.keys_fn.is_some() || self.row.keys.iter().any(is_key)
    }

    /// The keys of a call. What is only routed like a key (a shard channel) is left out.
    ///
    /// The specs tell them, unless they are incomplete, their flags vary or they do not fit the call:
    /// then the row's own function has the word. Where keys are not mandatory, a call whose keys cannot be
    /// told has none.
    pub fn keys(&self, args: &dyn Argv) -> Result<Keys, KeyError> {
        match self.mandatory_keys(args) {
            Err(KeyError) if self.flags.has(flag::NO_MANDATORY_KEYS) => Ok(Keys::new()),
            keys => keys,
        }
    }

    fn mandatory_keys(&self, args: &dyn Argv) -> Result<Keys, KeyError> {
        let vague = KeyFlags::INCOMPLETE.with(KeyFlags::VARIABLE);
        let mut keys = Keys::new();
        let by_fn = self.row.keys_fn;
        let is_vague = |s: &KeySpec| s.flags.has(vague) || matches!(s.find, Find::Unknown);
        if by_fn.is_none() || !self.row.keys.iter().any(is_vague) {
            let found = by_specs(self.row.keys, args, false, &mut keys);
            if found.is_ok() || by_fn.is_none() {
                return found.map(|()| keys);
            }
            keys.clear();
        }
        match by_fn {
            Some(find) => find(args, &mut keys).map(|()| keys),
            None => Ok(keys),
        }
    }
}

/// What a name (and the word after it) stands for.
#[derive(Debug)]
pub enum Lookup<'r, H: 'static> {
    /// This command or subcommand. A container comes alone when no word follows its name: its arity
    /// refuses that, or it has a handler.
    Found(&'r Entry<H>),
    /// No such command.
    Unknown,
    /// This container has no such subcommand.
    UnknownSub(&'r Entry<H>),
}

impl<'r, H: 'static> Lookup<'r, H> {
    /// The command, if found.
    pub fn found(self) -> Option<&'r Entry<H>> {
        match self {
            Self::Found(e) => Some(e),
            _ => None,
        }
    }
}

/// All commands of a server.
#[derive(Debug)]
pub struct Registry<H: 'static> {
    entries: Vec<Entry<H>>,
    top: NameTable,
    sub_tables: Vec<NameTable>,
}

impl<H: 'static> Registry<H> {
    /// Numbers and indexes the rows of all families, in their order.
    ///
    /// Of two rows of one name the first is found by it; the tables' tests make sure there are none.
    pub fn new(families: &[&'static [Row<H>]]) -> Self {
        Self::with(families, |_| true)
    }

    /// The same of those rows, subcommands included, whose flags are as wanted.
    pub fn with(families: &[&'static [Row<H>]], wanted: impl Fn(Flags) -> bool) -> Self {
        let mut reg = Self {
            entries: Vec::new(),
            top: NameTable::new(),
            sub_tables: Vec::new(),
        };
        let rows = families.iter().copied().flatten();
        for row in rows.filter(|row| wanted(row.flags)) {
            reg.add(row, &wanted);
        }
        reg
    }

    fn add(&mut self, row: &'static Row<H>, wanted: &impl Fn(Flags) -> bool) {
        let at = self.entries.len();
        let Ok(id) = u16::try_from(at + row.subs.len()).map(|_| at as u16) else {
            return;
        };
        self.top.insert(row.name.as_bytes(), id);
        let mut entry = Entry::new(row, id, None);
        let mut subs = Vec::with_capacity(row.subs.len());
        if !row.subs.is_empty() {
            let mut table = NameTable::new();
            let kept = row.subs.iter().filter(|sub| wanted(sub.flags));
            for (sub, id) in kept.zip(id + 1..) {
                table.insert(sub.name.as_bytes(), id);
                subs.push(Entry::new(sub, id, Some(&entry)));
            }
            entry.sub_table = Some(self.sub_tables.len());
            entry.subs = at + 1..at + 1 + subs.len();
            self.sub_tables.push(table);
        }
        self.entries.push(entry);
        self.entries.append(&mut subs);
    }

    /// Finds the command of a call by its name and, of a container, by the word after it. Case does not
    /// matter, nothing is allocated.
    #[inline]
    pub fn find(&self, name: &[u8], next: Option<&[u8]>) -> Lookup<'_, H> {
        let Some(entry) = self
            .top
            .get(name)
            .and_then(|id| self.entries.get(id as usize))
        else {
            return Lookup::Unknown;
        };
        match (entry.sub_table, next) {
            (Some(table), Some(word)) => self.find_sub(entry, table, word),
            _ => Lookup::Found(entry),
        }
    }

    fn find_sub<'r>(&'r self, entry: &'r Entry<H>, table: usize, word: &[u8]) -> Lookup<'r, H> {
        let sub = self.sub_tables.get(table).and_then(|t| t.get(word));
        match sub.and_then(|id| self.entries.get(id as usize)) {
            Some(sub) => Lookup::Found(sub),
            None => Lookup::UnknownSub(entry),
        }
    }

    /// Finds a command by its full name (`get`, `xgroup|create`).
    pub fn by_full_name(&self, name: &[u8]) -> Option<&Entry<H>> {
        match memchr::memchr(b'|', name) {
            None => self.find(name, None).found(),
            Some(at) => {
                let (name, sub) = (&name[..at], &name[at + 1..]);
                self.find(name, Some(sub))
                    .found()
                    .filter(|e| e.parent.is_some())
            }
        }
    }

    /// The command of this number.
    #[inline]
    pub fn get(&self, id: CommandId) -> Option<&Entry<H>> {
        self.entries.get(id.index())
    }

    /// The subcommands of a command, in the order of their rows.
    pub fn subs(&self, entry: &Entry<H>) -> &[Entry<H>] {
        self.entries.get(entry.subs.clone()).unwrap_or_default()
    }

    /// Every command and subcommand, by number.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry<H>> {
        self.entries.iter()
    }

    /// Every command that is not a subcommand, by number.
    pub fn commands(&self) -> impl Iterator<Item = &Entry<H>> {
        self.entries.iter().filter(|e| e.parent.is_none())
    }

    /// How many commands and subcommands there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// The keys as (first, last, step) where specs allow it, and whether that misses any.
///
/// Only a spec that begins at an index and takes a range counts; of several, those which are adjacent and
/// have a step of one.
fn legacy_range(specs: &[KeySpec]) -> ((i32, i32, i32), bool) {
    let (mut range, mut movable, mut prev_last) = (None, false, None);
    for spec in specs {
        let (Begin::Index(pos), Find::Range { last, step, .. }) = (spec.begin, spec.find) else {
            movable = true;
            continue;
        };
        let apart = prev_last.is_some_and(|p| p != pos - 1);
        if (step != 1 && specs.len() > 1) || apart {
            movable = true;
            continue;
        }
        let abs = if last >= 0 { pos + last } else { last };
        prev_last = Some(abs);
        // A negative last key reaches to the end: it is beyond every other.
        range = Some(match range {
            None => (pos, abs, step),
            Some((f, l, s)) => {
                let l = if l < 0 || (abs >= 0 && l > abs) {
                    l
                } else {
                    abs
                };
                (pos.min(f), l, s)
            }
        });
    }
    (range.unwrap_or((0, 0, 0)), movable)
}
