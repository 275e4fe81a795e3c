//! A server or a sentinel: its disk, its clock, and what runs on it while it is up.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use super::clock::MachineClock;
use super::disk::SimDisk;
use super::host::{ConfigFile, DIR, OnDisk, configuration};
use super::jobs::Job;
use super::link::Link;
use super::net::ConnId;
use super::parcel::{Outbox, Parcels};
use super::queue::Alarm;
use super::sentinel::Lookout;
use super::serve::Served;
use super::{Error, Event, START};
use crate::embed::{Node, jobs};
use crate::engine::{Engine, Options};
use crate::exec::persist::load::Loading;
use crate::exec::session::Peer;
use crate::exec::{Action, Args, SessionId};
use crate::persist::Disk;
use crate::persist::aof::Writer;
use crate::resp::{Proto, ReplyBuf, Value, parse_reply};
use crate::service::acl::Users;

/// Where something is: the number of a machine. The last place is that of whoever is outside.
pub type Place = usize;

/// A machine, up or down.
pub struct Machine {
    /// What it is called in the journal.
    pub name: String,
    /// Its disk.
    pub disk: SimDisk,
    /// It may be wrong.
    pub(super) clock: MachineClock,
    /// What its clock would have shown at the beginning, as it is set now, in microseconds since the Unix epoch.
    pub origin: i64,
    /// Since then, up to where the clock has come.
    ticked: i64,
    /// The port that it listens on.
    pub port: u16,
    /// It watches, and holds no data.
    pub is_sentinel: bool,
    /// Data sets are kept on its disk.
    pub lasting: bool,
    /// How often it was started.
    pub starts: u64,
    /// Until then nothing happens here: it stands still, or waits for its disk.
    pub(super) stalled: i64,
    /// It is frozen: what would have happened since waits.
    pub(super) frozen: Option<Vec<Event>>,
    /// Its disk is slow, for a log that is synced at every write.
    pub slow: bool,
    /// What runs on it.
    pub up: Option<Up>,
}

/// What runs.
pub struct Up {
    /// The engine.
    pub engine: Engine,
    /// Those that write a log.
    pub(super) writers: VecDeque<Writer>,
    pub(super) served: BTreeMap<ConnId, Served>,
    pub(super) sessions: BTreeMap<SessionId, ConnId>,
    /// What is still to be done.
    pub(super) actions: Vec<Action>,
    pub(super) link: Option<Link>,
    pub(super) jobs: VecDeque<Job>,
    /// When the engine is looked at next, and whether the log is to be written.
    pub(super) wake: Alarm,
    pub(super) writes: bool,
    pub(super) file: ConfigFile,
    /// Keys that are to be sent to other machines, and those on their way.
    pub(super) outbox: Outbox,
    pub(super) parcels: Parcels,
    /// What only a sentinel has.
    pub(super) lookout: Option<Lookout>,
    operator: SessionId,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("name", &self.name)
            .field("up", &self.is_up())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Up {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Up").finish_non_exhaustive()
    }
}

impl Machine {
    /// One that was never started and has an empty disk, with a clock that is wrong by so many microseconds.
    pub fn new(name: String, port: u16, is_sentinel: bool, skew: i64) -> Machine {
        let origin = START * 1000 + skew;
        Machine {
            name,
            disk: SimDisk::new(DIR),
            clock: MachineClock::at_us(origin),
            origin,
            ticked: 0,
            port,
            is_sentinel,
            lasting: true,
            starts: 0,
            stalled: 0,
            frozen: None,
            slow: false,
            up: None,
        }
    }

    /// Its clock is set by so many microseconds.
    pub(super) fn jump(&mut self, micros: i64) {
        self.clock.move_by(micros);
        self.origin += micros;
    }

    /// Time goes on, up to so many microseconds since the beginning.
    pub(super) fn sync_clock(&mut self, now: i64) {
        self.clock.move_by(now - self.ticked);
        self.ticked = now;
    }

    /// Starts as its file has it, on what else the disk holds.
    pub(super) fn start(&mut self, now: i64, seed: u64) -> Result<(), Error> {
        self.sync_clock(now);
        self.starts += 1;
        if self.is_sentinel {
            return self.start_sentinel(seed);
        }
        let (loaded, settings) = configuration(&self.disk, false)?;
        if !loaded.users.is_empty() || !loaded.config.aclfile.is_empty() {
            return Err(Error::Told("no users are kept in files here".to_owned()));
        }
        let mut users = Users::default();
        users.all_channels = loaded.config.acl_pubsub_default == "allchannels";
        users.require(&loaded.config.requirepass);
        let (host, file) = OnDisk::new(&self.disk, self.lasting);
        let engine = Engine::new(Options {
            settings,
            clock: Arc::new(self.clock.clone()),
            host: Box::new(host),
            seed: Some(seed),
            users,
            ..Options::default()
        });
        let (engine, writer) = match self.lasting {
            true => load(engine, &self.disk)?,
            false => (engine, None),
        };
        self.run(engine, writer, file, None);
        Ok(())
    }

    /// An engine runs here from now on.
    pub(super) fn run(
        &mut self,
        mut engine: Engine,
        writer: Option<Writer>,
        file: ConfigFile,
        lookout: Option<Lookout>,
    ) {
        let mut actions = Vec::new();
        let operator = hold(&mut engine, &mut actions, join);
        self.up = Some(Up {
            engine,
            writers: writer.into_iter().collect(),
            served: BTreeMap::new(),
            sessions: BTreeMap::new(),
            actions,
            link: None,
            jobs: VecDeque::new(),
            wake: Alarm::default(),
            writes: false,
            outbox: file.outbox(),
            parcels: Parcels::new(),
            file,
            lookout,
            operator,
        });
    }

    /// Whether nothing happens here for now.
    pub const fn is_stalled(&self, now: i64) -> bool {
        now < self.stalled || self.frozen.is_some()
    }

    /// Whether it is frozen.
    pub const fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Whether something runs on it.
    pub const fn is_up(&self) -> bool {
        self.up.is_some()
    }

    /// Whether it takes itself for the leader.
    pub fn leads(&mut self) -> bool {
        let up = self.up.as_mut();
        up.is_some_and(|up| up.engine.state().sys.repl.upstream.is_none())
    }
}

/// Loads what the disk holds, before anybody sees the databases.
fn load(mut engine: Engine, disk: &SimDisk) -> Result<(Engine, Option<Writer>), Error> {
    engine.state().sys.persist.loading = Some(Loading::default());
    let node = Node::new(engine);
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let writer = jobs::load_data_by_hand(&node, &disk)?;
    let engine = node.into_engine();
    let engine = engine.ok_or_else(|| Error::Told("somebody else has the engine".to_owned()))?;
    Ok((engine, writer))
}

impl Up {
    /// Does something with the engine. What that leads to is among the actions.
    pub fn hold<T>(&mut self, work: impl FnOnce(&mut Engine) -> T) -> T {
        hold(&mut self.engine, &mut self.actions, work)
    }

    /// Who runs commands past the network. Sentinels have all clients killed.
    fn operator(&mut self) -> SessionId {
        let was = self.operator;
        let session = self.engine.state().sessions.get(was);
        if session.is_none_or(|session| session.cut_off || session.closing) {
            self.operator = self.hold(|engine| {
                engine.disconnect(was);
                join(engine)
            });
        }
        self.operator
    }

    /// Runs a command past the network; null if it has to wait. What it leads to is among the actions.
    pub fn call(&mut self, words: &[&str]) -> Value {
        let argv: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let mut reply = ReplyBuf::new(Proto::Resp2);
        let operator = self.operator();
        self.hold(|engine| engine.execute(operator, Args::new(&argv), &mut reply));
        let parsed = parse_reply(reply.as_slice()).ok().flatten();
        parsed.map_or(Value::Null, |(value, _)| value)
    }
}

/// Somebody connects whom nobody keeps out.
pub(super) fn join(engine: &mut Engine) -> SessionId {
    engine.connect(Peer {
        trusted: true,
        ..Peer::default()
    })
}

/// Does something with an engine, and notes what that leads to.
pub(super) fn hold<T>(
    engine: &mut Engine,
    actions: &mut Vec<Action>,
    work: impl FnOnce(&mut Engine) -> T,
) -> T {
    engine.refresh_time();
    let done = work(engine);
    engine.settle();
    actions.extend(engine.take_actions());
    done
}
