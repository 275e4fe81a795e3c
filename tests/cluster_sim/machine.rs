//! A node, or a sentinel: its disk, its clock, and what runs on it while it is up.

use super::host::{ConfigFile, OnDisk, configuration};
use super::jobs::Job;
use super::link::Link;
use super::net::ConnId;
use super::queue::Alarm;
use super::sentinel::Lookout;
use super::serve::Served;
use super::world::{START, address};
use crate::common::instance::{DIR, load_engine_by_hand, start_by_hand};
use crate::common::sim_disk::SimDisk;
use redkeep::engine::{Engine, Options};
use redkeep::exec::session::Peer;
use redkeep::exec::{Action, Args, SessionId};
use redkeep::persist::aof::Writer;
use redkeep::resp::{Proto, ReplyBuf, Value, parse_reply};
use redkeep::util::clock::{Clock, ManualClock};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Whom a node was told by the operator to follow last. It is remembered when the node is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Lead,
    Follow(usize),
    /// It is to listen to nobody until it hears more.
    Wait,
}

/// Where nobody is.
pub const NOWHERE: &str = "10.9.9.9";

impl Told {
    /// The words behind REPLICAOF.
    pub fn whom(self) -> [String; 2] {
        match self {
            Told::Lead => ["NO".into(), "ONE".into()],
            Told::Follow(node) => [address(node), super::world::PORT.to_string()],
            Told::Wait => [NOWHERE.into(), "1".into()],
        }
    }
}

pub struct Machine {
    pub disk: SimDisk,
    pub clock: ManualClock,
    /// Its clock shows this at the beginning, in microseconds.
    pub origin: i64,
    /// Since then, up to where the clock has come.
    ticked: i64,
    /// How often it was started.
    pub starts: u64,
    pub told: Told,
    /// Until then nothing happens here: it is stopped, or waits for its disk.
    pub stalled: i64,
    /// Its disk is slow, for its server.
    pub slow: bool,
    pub up: Option<Up>,
}

/// What runs.
pub struct Up {
    /// Those that write a log.
    pub writers: VecDeque<Writer>,
    pub engine: Engine,
    pub served: BTreeMap<ConnId, Served>,
    pub sessions: BTreeMap<SessionId, ConnId>,
    /// What is still to be done.
    pub actions: Vec<Action>,
    pub link: Option<Link>,
    pub jobs: Vec<Job>,
    /// When the engine is looked at next, and whether the log is to be written.
    pub wake: Alarm,
    pub writes: bool,
    /// Its configuration, where that is in a file.
    pub file: Option<ConfigFile>,
    /// What only a sentinel has.
    pub lookout: Option<Lookout>,
    operator: SessionId,
}

impl Machine {
    pub fn new(node: usize, skew: i64) -> Machine {
        let origin = START * 1000 + skew;
        let clock = ManualClock::at_ms(origin / 1000);
        clock.advance_us(origin % 1000);
        Machine {
            disk: SimDisk::new(DIR),
            clock,
            origin,
            ticked: 0,
            starts: 0,
            told: if node == 0 {
                Told::Lead
            } else {
                Told::Follow(0)
            },
            stalled: 0,
            slow: false,
            up: None,
        }
    }

    /// Its clock is set.
    pub fn jump(&mut self, ms: i64) {
        self.clock.set_ms(self.clock.now_ms() + ms);
        self.origin = self.clock.now_us() - self.ticked;
    }

    /// Time goes on.
    pub fn sync_clock(&mut self, now: i64) {
        self.clock.advance_us(now - self.ticked);
        self.ticked = now;
    }

    /// Starts on what the disk holds.
    pub fn start(&mut self, now: i64, options: &[(String, String)], seed: u64) {
        self.sync_clock(now);
        self.starts += 1;
        let mut all: Vec<(&str, &str)> = options
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let whom = self.told.whom().join(" ");
        if self.told != Told::Lead {
            all.push(("replicaof", &whom));
        }
        let started = start_by_hand(&self.disk, &all, &self.clock, seed);
        let (engine, writer) = started.unwrap_or_else(|e| panic!("it does not start: {e}"));
        self.run(engine, writer, None, None);
    }

    /// Starts as its file has it, on what else the disk holds.
    pub fn start_by_file(&mut self, now: i64, seed: u64) -> Result<(), String> {
        self.sync_clock(now);
        self.starts += 1;
        let (_, settings) = configuration(&self.disk, false)?;
        let (host, file) = OnDisk::new(&self.disk, None);
        let engine = Engine::new(Options {
            settings,
            clock: Arc::new(self.clock.clone()),
            host: Box::new(host),
            seed: Some(seed),
            sentinel: None,
            ..Options::default()
        });
        let (engine, writer) = load_engine_by_hand(engine, &self.disk)?;
        self.run(engine, writer, Some(file), None);
        Ok(())
    }

    /// An engine runs here from now on.
    pub fn run(
        &mut self,
        mut engine: Engine,
        writer: Option<Writer>,
        file: Option<ConfigFile>,
        lookout: Option<Lookout>,
    ) {
        let mut actions = Vec::new();
        let operator = hold(&mut engine, &mut actions, join);
        self.up = Some(Up {
            writers: writer.into_iter().collect(),
            engine,
            served: BTreeMap::new(),
            sessions: BTreeMap::new(),
            actions,
            link: None,
            jobs: Vec::new(),
            wake: Alarm::default(),
            writes: false,
            file,
            lookout,
            operator,
        });
    }

    /// Whether nothing happens here for now.
    pub const fn is_stalled(&self, now: i64) -> bool {
        now < self.stalled
    }

    pub const fn is_up(&self) -> bool {
        self.up.is_some()
    }

    /// Whether it takes itself for the leader.
    pub fn leads(&mut self) -> bool {
        let up = self.up.as_mut();
        up.is_some_and(|up| up.engine.state().sys.repl.upstream.is_none())
    }
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

    /// Runs a command past the network. What it leads to is among the actions.
    pub fn call(&mut self, words: &[&str]) -> Value {
        let argv: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let mut reply = ReplyBuf::new(Proto::Resp2);
        let operator = self.operator();
        self.hold(|engine| engine.execute(operator, Args::new(&argv), &mut reply));
        let (value, _) = parse_reply(reply.as_slice())
            .unwrap()
            .unwrap_or((Value::Null, 0));
        value
    }

    /// INFO replication.
    pub fn facts(&mut self) -> Facts {
        let info = self.call(&["INFO", "replication"]);
        let text = String::from_utf8_lossy(info.as_bytes().unwrap()).into_owned();
        let fields = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        Facts(fields.collect())
    }
}

/// Somebody connects whom nobody keeps out.
pub fn join(engine: &mut Engine) -> SessionId {
    engine.connect(Peer {
        trusted: true,
        ..Peer::default()
    })
}

/// Does something with an engine, and notes what that leads to.
pub fn hold<T>(
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

/// What a node says of itself.
#[derive(Clone, Debug, Default)]
pub struct Facts(BTreeMap<String, String>);

impl Facts {
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value)
    }

    pub fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or(-1)
    }

    pub fn leads(&self) -> bool {
        self.text("role") == "master"
    }

    pub fn id(&self) -> &str {
        self.text("master_replid")
    }

    pub fn offset(&self) -> u64 {
        u64::try_from(self.number("master_repl_offset")).unwrap_or(0)
    }

    pub fn is_linked(&self) -> bool {
        self.text("master_link_status") == "up"
    }
}
