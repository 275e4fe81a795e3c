//! The rules of an instance, and which of them strike.
//!
//! They are shared by the engine, its disk and whoever commands them: nobody needs the engine to change them, which may be
//! frozen. Who asks for nothing of the kind finds a zero.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::{
    DiskOp, Effect, Entry, Failure, Fault, FaultError, Kind, Moment, OnCommands, OnConnections,
    OnDisk, What,
};
use crate::spec::{Categories, CommandId, Registry};
use crate::util::glob;
use crate::util::rng::Rng;

/// How many there may be.
const MOST: usize = 1000;

/// A fault that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FaultId(pub u64);

impl std::fmt::Display for FaultId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What is known of a fault.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Which one.
    pub id: FaultId,
    /// What it is.
    pub fault: Fault,
    /// How many it could have struck.
    pub met: u64,
    /// How many it has struck.
    pub hits: u64,
}

/// How the talk with a client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its connection ends.
    Drop,
    /// Nothing is heard of it any more, and it hears nothing.
    Hang,
}

/// A command that is about to run.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// Which one.
    pub command: CommandId,
    /// Of which container it is a subcommand.
    pub parent: Option<CommandId>,
    /// What it belongs to.
    pub categories: Categories,
    /// It is one of those that only a rule for itself strikes.
    pub is_spared: bool,
    /// Who runs it.
    pub caller: Caller<'a>,
    /// Its keys, if somebody wants to know.
    pub keys: &'a dyn Fn() -> Vec<&'a [u8]>,
}

impl std::fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("command", &self.command)
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

/// A client.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// CLIENT ID.
    pub id: u64,
    /// CLIENT SETNAME.
    pub name: &'a [u8],
    /// As whom it has logged in.
    pub user: &'a [u8],
    /// Where it comes from.
    pub addr: &'a str,
}

/// What is to happen to a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strike {
    /// How much later it is answered.
    pub delay: Duration,
    /// And what else.
    pub what: Striking,
}

/// What else is to happen to a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Striking {
    /// Nothing.
    #[default]
    Nothing,
    /// It is refused with this text.
    Fail(String),
    /// It does not run.
    Before(End),
    /// It runs, and is not answered.
    After(End),
}

/// What is to happen to a connection that is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// It is closed.
    Refuse,
    /// It is told this, and closed.
    Fail(String),
    /// It is open, and not heard.
    Hang,
}

/// The rules of an instance.
#[derive(Debug, Default)]
pub struct Rules {
    /// How many are about commands; and how many sessions have to do with any that strikes.
    commands: AtomicUsize,
    connections: AtomicUsize,
    disk: AtomicUsize,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    rules: Vec<Rule>,
    last: u64,
}

#[derive(Debug)]
struct Rule {
    id: FaultId,
    fault: Fault,
    matches: Matches,
    rng: Option<Rng>,
    met: u64,
    hits: u64,
}

/// Which commands a rule is about, as the table of commands has them.
#[derive(Debug)]
enum Matches {
    All,
    Command(CommandId),
    Category(Categories),
}

impl Rules {
    /// Adds a fault for an instance that has these commands.
    ///
    /// # Errors
    /// When there cannot be such a fault.
    pub fn add<H>(&self, fault: Fault, commands: &Registry<H>) -> Result<FaultId, FaultError> {
        fault.check()?;
        let matches = Matches::of(&fault, commands)?;
        let mut list = self.list.lock();
        if list.rules.len() >= MOST {
            return Err(FaultError::TooMany);
        }
        list.last += 1;
        let id = FaultId(list.last);
        let rng = fault.when.chance.map(|(_, seed)| Rng::seed_from_u64(seed));
        self.count(&fault).fetch_add(1, Ordering::Release);
        list.rules.push(Rule {
            id,
            fault,
            matches,
            rng,
            met: 0,
            hits: 0,
        });
        Ok(id)
    }

    /// Takes a fault away; whether it was there.
    pub fn remove(&self, id: FaultId) -> bool {
        let mut list = self.list.lock();
        let Some(at) = list.rules.iter().position(|rule| rule.id == id) else {
            return false;
        };
        let rule = list.rules.remove(at);
        self.count(&rule.fault).fetch_sub(1, Ordering::Release);
        true
    }

    /// Takes all of them away. What has struck already stays struck.
    pub fn clear(&self) {
        let mut list = self.list.lock();
        for rule in std::mem::take(&mut list.rules) {
            self.count(&rule.fault).fetch_sub(1, Ordering::Release);
        }
    }

    /// All of them, in the order in which they were added.
    pub fn list(&self) -> Vec<Listed> {
        let list = self.list.lock();
        let listed = list.rules.iter().map(|rule| Listed {
            id: rule.id,
            fault: rule.fault.clone(),
            met: rule.met,
            hits: rule.hits,
        });
        listed.collect()
    }

    fn count(&self, fault: &Fault) -> &AtomicUsize {
        match fault.kind {
            Kind::Commands(..) => &self.commands,
            Kind::Connections(..) => &self.connections,
            Kind::Disk(..) => &self.disk,
        }
    }

    /// Whether there is anything to look at before a command runs.
    #[inline]
    pub fn concern_commands(&self) -> bool {
        self.commands.load(Ordering::Relaxed) > 0
    }

    /// A session has to do with a fault until further notice, or does so no longer.
    pub fn concerns_session(&self, does: bool) {
        match does {
            true => self.commands.fetch_add(1, Ordering::Relaxed),
            false => self.commands.fetch_sub(1, Ordering::Relaxed),
        };
    }

    /// What is to happen to a command: the first that is not just a delay, and all delays together. A command that a script
    /// calls can only be refused.
    #[cold]
    pub fn strike(&self, call: &Call<'_>, by_script: bool) -> Strike {
        let mut strike = Strike::default();
        for rule in &mut self.list.lock().rules {
            let Kind::Commands(on, effect) = &rule.fault.kind else {
                continue;
            };
            let fails = matches!(effect, Effect::Fail(_));
            if by_script && !fails || !rule.matches.call(call) || !on.applies(call) {
                continue;
            }
            let effect = effect.clone();
            if !rule.hits() {
                continue;
            }
            match effect {
                Effect::Delay(by) => strike.delay = strike.delay.saturating_add(by),
                Effect::Fail(text) => strike.what = Striking::Fail(text),
                Effect::End(end, Moment::Before) => strike.what = Striking::Before(end),
                Effect::End(end, Moment::After) => strike.what = Striking::After(end),
            }
            if strike.what != Striking::Nothing {
                break;
            }
        }
        strike
    }

    /// What is to happen to a connection from this address, if anything.
    #[inline]
    pub fn at_door(&self, addr: &str) -> Option<Door> {
        match self.connections.load(Ordering::Relaxed) {
            0 => None,
            _ => self.strike_at_door(addr),
        }
    }

    #[cold]
    fn strike_at_door(&self, addr: &str) -> Option<Door> {
        for rule in &mut self.list.lock().rules {
            if let Kind::Connections(OnConnections { addr: wanted }, entry) = &rule.fault.kind
                && fits(wanted.as_deref(), addr.as_bytes())
            {
                let door = match entry {
                    Entry::Refuse => Door::Refuse,
                    Entry::Fail(text) => Door::Fail(text.clone()),
                    Entry::Hang => Door::Hang,
                };
                if rule.hits() {
                    return Some(door);
                }
            }
        }
        None
    }

    /// What is to happen to an operation of the disk, if anything.
    #[inline]
    pub fn on_disk(&self, op: DiskOp, path: &Path) -> Option<Failure> {
        match self.disk.load(Ordering::Acquire) {
            0 => None,
            _ => self.strike_disk(op, path),
        }
    }

    #[cold]
    fn strike_disk(&self, op: DiskOp, path: &Path) -> Option<Failure> {
        let path = path.as_os_str().as_encoded_bytes();
        for rule in &mut self.list.lock().rules {
            if let Kind::Disk(OnDisk { op: on, path: file }, failure) = &rule.fault.kind
                && (*on == DiskOp::Any || *on == op)
                && fits(file.as_deref(), path)
            {
                let failure = *failure;
                if rule.hits() {
                    return Some(failure);
                }
            }
        }
        None
    }
}

impl Rule {
    /// It could strike: whether it does.
    fn hits(&mut self) -> bool {
        let when = &self.fault.when;
        self.met += 1;
        if self.met <= when.skip || when.times.is_some_and(|most| self.hits >= most) {
            return false;
        }
        if let (Some((p, _)), Some(rng)) = (when.chance, &mut self.rng)
            && !rng.chance(p)
        {
            return false;
        }
        self.hits += 1;
        true
    }
}

impl Matches {
    fn of<H>(fault: &Fault, commands: &Registry<H>) -> Result<Matches, FaultError> {
        let Kind::Commands(OnCommands { what, .. }, _) = &fault.kind else {
            return Ok(Matches::All);
        };
        match what {
            What::Any => Ok(Matches::All),
            What::Named(name) => {
                let entry = commands.by_full_name(name.as_bytes());
                let entry = entry.ok_or_else(|| FaultError::UnknownCommand(name.clone()))?;
                Ok(Matches::Command(entry.id))
            }
            What::Category(name) => {
                let category = Categories::named(name.as_bytes());
                let category = category.ok_or_else(|| FaultError::UnknownCategory(name.clone()))?;
                Ok(Matches::Category(category))
            }
        }
    }

    fn call(&self, call: &Call<'_>) -> bool {
        match self {
            Matches::All => !call.is_spared,
            Matches::Command(id) => call.command == *id || call.parent == Some(*id),
            Matches::Category(category) => !call.is_spared && call.categories.has(*category),
        }
    }
}

impl OnCommands {
    fn applies(&self, call: &Call<'_>) -> bool {
        let Caller {
            id,
            name,
            user,
            addr,
        } = call.caller;
        self.client.is_none_or(|wanted| wanted == id)
            && self.user.as_deref().is_none_or(|wanted| wanted == user)
            && fits(self.name.as_deref(), name)
            && fits(self.addr.as_deref(), addr.as_bytes())
            && self.key.as_deref().is_none_or(|pattern| {
                let mut keys = (call.keys)().into_iter();
                keys.any(|key| glob::matches(pattern, key, false))
            })
    }
}

fn fits(pattern: Option<&[u8]>, text: &[u8]) -> bool {
    pattern.is_none_or(|pattern| glob::matches(pattern, text, false))
}
