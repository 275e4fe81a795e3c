//! The commands of one instance: those of its kind, and what `rename-command` has made of their names.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use super::{Args, Effects, Entry, Handler};
use crate::spec::{Lookup, Registry};

/// The commands of an instance. It finds them by the names that they have there; everything else about them is the same
/// everywhere, their own names included, which is what COMMAND, INFO, errors and the log of effects tell.
#[derive(Debug, Clone)]
pub struct Commands {
    all: &'static Registry<Handler>,
    /// What names stand for that have been changed, in small letters: another command, or none any more.
    names: Option<Arc<Names>>,
}

type Names = HashMap<Vec<u8>, Option<&'static Entry>>;

/// Why a command cannot have another name, as Redis words it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RenameError {
    /// No such command; a subcommand is none of its own.
    #[error("No such command in rename-command")]
    Unknown,
    /// The name is taken.
    #[error("Target command name already exists")]
    Taken,
}

impl Deref for Commands {
    type Target = Registry<Handler>;

    fn deref(&self) -> &Registry<Handler> {
        self.all
    }
}

impl Commands {
    /// All commands under their own names.
    pub const fn new(all: &'static Registry<Handler>) -> Self {
        Self { all, names: None }
    }

    /// All of them under their own names, as rules of access know them.
    pub const fn own(&self) -> &'static Registry<Handler> {
        self.all
    }

    /// Gives a command another name; an empty one takes it away from clients.
    ///
    /// # Errors
    /// When there is no such command, or one of the new name.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), RenameError> {
        let Lookup::Found(entry) = self.find(from, None) else {
            return Err(RenameError::Unknown);
        };
        let mut names = self.names.as_deref().cloned().unwrap_or_default();
        names.insert(from.to_ascii_lowercase(), None);
        if !to.is_empty() {
            let free = match names.get(&to.to_ascii_lowercase()) {
                Some(taken) => taken.is_none(),
                None => matches!(self.all.find(to, None), Lookup::Unknown),
            };
            if !free {
                return Err(RenameError::Taken);
            }
            names.insert(to.to_ascii_lowercase(), Some(entry));
        }
        self.names = Some(Arc::new(names));
        Ok(())
    }

    /// Finds the command of a call by its name and, of a container, by the word after it.
    #[inline]
    pub fn find(&self, name: &[u8], next: Option<&[u8]>) -> Lookup<'static, Handler> {
        match &self.names {
            None => self.all.find(name, next),
            Some(names) => self.find_among(names, name, next),
        }
    }

    #[cold]
    fn find_among(
        &self,
        names: &Names,
        name: &[u8],
        next: Option<&[u8]>,
    ) -> Lookup<'static, Handler> {
        match names.get(&name.to_ascii_lowercase()) {
            None => self.all.find(name, next),
            Some(None) => Lookup::Unknown,
            Some(Some(entry)) => self.all.find(entry.name.as_bytes(), next),
        }
    }

    /// The same for what a log says or a leader: there commands have their own names, unless somebody wrote them who sends
    /// on what clients say.
    pub fn find_logged(&self, name: &[u8], next: Option<&[u8]>) -> Lookup<'static, Handler> {
        match self.all.find(name, next) {
            Lookup::Unknown => self.find(name, next),
            found => found,
        }
    }

    /// Finds a command by its full name (`get`, `xgroup|create`), as it is called here.
    pub fn by_full_name(&self, name: &[u8]) -> Option<&'static Entry> {
        let mut words = name.splitn(2, |&b| b == b'|');
        let (name, sub) = (words.next().unwrap_or_default(), words.next());
        let found = self.find(name, sub).found()?;
        (found.parent.is_some() == sub.is_some()).then_some(found)
    }

    /// Whether clients can call it by some name.
    pub fn has(&self, entry: &Entry) -> bool {
        let Some(names) = &self.names else {
            return true;
        };
        let top = entry.parent.and_then(|id| self.all.get(id));
        let top = top.unwrap_or(entry);
        let here = |other: &Option<&'static Entry>| other.is_some_and(|e| e.id == top.id);
        !names.contains_key(top.name.as_bytes()) || names.values().any(here)
    }

    /// Every command that is not a subcommand and that clients can call, by number.
    pub fn commands(&self) -> impl Iterator<Item = &'static Entry> {
        self.all.commands().filter(|entry| self.has(entry))
    }

    /// Logs a call as it was made.
    #[inline]
    pub(super) fn log(&self, fx: &mut Effects, entry: &'static Entry, args: Args<'_>) {
        match self.names {
            None => fx.push(args.all()),
            Some(_) => {
                let mut words = args.all().to_vec();
                if let Some(first) = words.first_mut() {
                    *first = self.logged_name(entry, first);
                }
                fx.push(&words);
            }
        }
    }

    /// The first word under which a call of a command is logged: its own name, where it may have been called by another.
    #[inline]
    pub fn logged_name<'a>(&self, entry: &'static Entry, called: &'a [u8]) -> &'a [u8] {
        match self.names {
            None => called,
            Some(_) => entry.name.split('|').next().unwrap_or_default().as_bytes(),
        }
    }
}
