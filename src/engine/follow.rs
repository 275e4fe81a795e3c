//! A link to a leader: greeting, payload and stream on their way into the engine, without sockets and clocks.
//!
//! Whoever drives it makes the connection and moves bytes: [`Follower::receive`] takes them without the engine (a data set
//! is loaded beside the one that is there, however long that takes), [`Follower::work`] does under the lock what follows
//! from them, in small steps, and [`Follower::take_output`] gives what is to be sent.

use std::collections::VecDeque;
use std::fmt;

use super::Engine;
use crate::exec::persist::staging::{Fed, Staging};
use crate::exec::persist::{STEP, load};
use crate::exec::replay::Replay;
use crate::exec::replication::replica::{self, LinkState};
use crate::exec::replication::{Replication, failover};
use crate::exec::session::Peer;
use crate::exec::{State, System};
use crate::replication::link::{Event, Greeting, Refused};
use crate::replication::{Link, Position};
use crate::resp::{Batch, Decoder, Limits, encode_command};
use crate::service::info::REDIS_VERSION;

/// How often a leader is told how far we are, in milliseconds, if that has not changed.
const ACK_EVERY: i64 = 1000;

/// And if it has.
const ACK_SOON: i64 = 100;

/// A transaction that has not ended may hold this many bytes.
const LONGEST_UNIT: usize = 4 << 30;

/// So many places are remembered of which it is not known whether they are on the disk.
const UNSYNCED_MOST: usize = 64;

/// Why a link is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parted {
    /// There is another leader to follow by now, or none.
    Superseded,
    /// What the leader says is refused, or it says nothing.
    Refused {
        /// What was wrong.
        why: String,
        /// The leader cannot serve now, but will.
        transient: bool,
    },
}

impl From<Refused> for Parted {
    fn from(Refused { why, transient }: Refused) -> Parted {
        Parted::Refused { why, transient }
    }
}

impl fmt::Display for Parted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Parted::Superseded => f.write_str("another leader is followed"),
            Parted::Refused { why, .. } => f.write_str(why),
        }
    }
}

fn refused(why: impl Into<String>) -> Parted {
    Parted::Refused {
        why: why.into(),
        transient: false,
    }
}

/// What a step of work has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// There is more to do at once.
    More,
    /// Bytes are waited for, or [`Follower::next_deadline`].
    Idle,
}

/// A link of which the connection is made.
#[derive(Debug)]
pub struct Follower {
    number: u64,
    link: Link,
    stage: Stage,
    /// Loaded into by a full synchronization.
    staging: Option<Box<Staging>>,
    stream: Incoming,
    out: Vec<u8>,
    /// Clients are told that the data set is loading.
    loads: bool,
    /// When the leader was heard, and whether it was since.
    heard: i64,
    hears: bool,
    /// When the leader was told something last.
    told: i64,
    /// And which offset, and where we are by now.
    acknowledged: u64,
    reached: u64,
    durable: u64,
    /// The leader wants to know how far we are.
    asked: bool,
    /// Places of the own log, and the offsets that were reached there, of which it is not known whether they are on the disk.
    unsynced: VecDeque<(u64, u64)>,
    timeout: i64,
    /// Both ends of the connection.
    peer: Peer,
}

#[derive(Debug)]
enum Stage {
    Greeting,
    /// A payload comes, of the history of this id up to this offset.
    Payload {
        of: Option<(String, u64)>,
        read: u64,
    },
    /// It is all there.
    Whole(Option<(String, u64)>),
    /// The leader goes on where we are, under this name.
    Continues(Option<String>),
    /// It does, and whoever followed us under another name was told to ask anew.
    Continued,
    /// Bytes are the stream.
    Stream,
}

/// The stream as it comes in.
#[derive(Debug, Default)]
struct Incoming {
    bytes: Vec<u8>,
    /// Where the unit begins that has not ended.
    unit: usize,
    /// Up to here commands were taken out.
    taken: usize,
    /// The database in which the unit has begun.
    from: usize,
    /// The unit changes something.
    counts: bool,
    decoder: Decoder,
    batch: Batch,
    replay: Option<Replay>,
}

impl Follower {
    /// Begins with a connection that was just made to the leader that there is; none if there is none, or a data set is
    /// still being loaded.
    pub fn begin(engine: &mut Engine) -> Option<Follower> {
        let State { ks, sys, .. } = engine.state();
        if sys.persist.loading.is_some() {
            return None;
        }
        let up = sys.repl.upstream.as_ref()?;
        let facts = sys.host.0.facts();
        let from = sys.repl.position().filter(|_| !up.starts_over);
        let port = match (sys.cfg.replica_announce_port, facts.tcp_port) {
            (0, 0) => sys.cfg.port,
            (0, port) => port,
            (port, _) => port,
        };
        let greeting = Greeting {
            user: String::from_utf8_lossy(&sys.cfg.masteruser).into_owned(),
            password: sys.cfg.masterauth.clone(),
            port,
            address: sys.cfg.replica_announce_ip.clone(),
            version: REDIS_VERSION,
            from: from.map(|position| (position.id, position.offset + 1)),
            failover: up.takes_over,
            rdb_only: false,
        };
        let now = sys.now_us / 1000;
        let follower = Follower {
            number: up.number,
            link: Link::new(greeting),
            stage: Stage::Greeting,
            staging: Some(Box::new(Staging::begin(ks, sys))),
            stream: Incoming::default(),
            out: Vec::new(),
            loads: false,
            heard: now,
            hears: false,
            told: now,
            acknowledged: 0,
            reached: 0,
            durable: 0,
            asked: false,
            unsynced: VecDeque::new(),
            timeout: i64::from(sys.cfg.repl_timeout) * 1000,
            peer: Peer {
                addr: format!("{}:{}", up.host, up.port),
                fd: -1,
                ..Peer::default()
            },
        };
        replica::set_state(sys, LinkState::Handshake);
        Some(follower)
    }

    /// Tells what the ends of the connection are called.
    #[must_use]
    pub fn between(mut self, peer: Peer) -> Follower {
        self.peer = peer;
        self
    }

    /// Takes bytes of the leader. The engine is not needed for that.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), Parted> {
        self.hears |= !bytes.is_empty();
        if let Stage::Stream | Stage::Continued | Stage::Continues(_) | Stage::Whole(_) = self.stage
        {
            self.stream.bytes.extend_from_slice(bytes);
            return Ok(());
        }
        self.link.receive(bytes);
        loop {
            match self.link.next()? {
                Event::Hungry => return Ok(()),
                Event::FullSync(of) => {
                    match &of {
                        Some((id, offset)) => {
                            tracing::info!("Full resync from master: {id}:{offset}");
                        }
                        None => tracing::info!("Full resync from a master that knows SYNC only"),
                    }
                    self.stage = Stage::Payload { of, read: 0 };
                }
                Event::Continue(id) => {
                    tracing::info!("Successful partial resynchronization with master.");
                    self.staging = None;
                    self.stage = Stage::Continues(id);
                }
                Event::Payload(piece) => {
                    if let Stage::Payload { read, .. } = &mut self.stage {
                        *read += piece.len() as u64;
                    }
                    let staging = self.staging.as_mut();
                    let fed = staging.map_or(Ok(Fed::Hungry), |staging| staging.feed(piece));
                    let fed = fed.map_err(|e| {
                        refused(format!(
                            "the data set that the master sends is damaged: {e}"
                        ))
                    })?;
                    if matches!(fed, Fed::Ended { rest } if rest > 0) {
                        let why = "the payload goes on behind the end of the data set";
                        return Err(refused(why));
                    }
                }
                Event::PayloadEnd => {
                    if !self.staging.as_ref().is_some_and(|s| s.is_whole()) {
                        let why = "the payload ended in the middle of the data set";
                        return Err(refused(why));
                    }
                    if let Stage::Payload { of, .. } = &mut self.stage {
                        self.stage = Stage::Whole(of.take());
                    }
                }
                Event::Stream(rest) => {
                    self.stream.bytes.extend_from_slice(&rest);
                    return Ok(());
                }
            }
        }
    }

    /// Does what follows from what has come, and from time.
    ///
    /// # Errors
    /// When the link is to be given up: [`lost`](Self::lost) is to be called then.
    pub fn work(&mut self, engine: &mut Engine) -> Result<Work, Parted> {
        let sys = &mut engine.state().sys;
        let now = sys.now_us / 1000;
        let Some(up) = sys
            .repl
            .upstream
            .as_mut()
            .filter(|up| up.number == self.number)
        else {
            return Err(Parted::Superseded);
        };
        if std::mem::take(&mut self.hears) {
            self.heard = now;
        }
        up.heard = self.heard;
        if std::mem::take(&mut up.killed) {
            return Err(Parted::Refused {
                why: "a client has killed the link".to_owned(),
                transient: true,
            });
        }
        self.timeout = i64::from(sys.cfg.repl_timeout) * 1000;
        if now - self.heard > self.timeout {
            let awaited = self.is_waiting_for();
            return Err(Parted::Refused {
                why: format!("MASTER timeout: no data nor PING received... {awaited} was expected"),
                transient: true,
            });
        }
        match std::mem::replace(&mut self.stage, Stage::Stream) {
            Stage::Stream => {}
            Stage::Continues(id) => {
                let state = engine.state();
                replica::goes_on(state, id);
                // Nobody is to see a link here before our replicas know that they have lost theirs.
                self.stage = Stage::Continued;
                return Ok(Work::More);
            }
            Stage::Continued => self.go_online(engine),
            Stage::Whole(of) => {
                self.adopt(engine, of)?;
                self.go_online(engine);
            }
            stage @ (Stage::Greeting | Stage::Payload { .. }) => {
                if let Stage::Payload { read, .. } = stage {
                    self.report(engine, read, now);
                }
                self.stage = stage;
                return Ok(Work::Idle);
            }
        }
        let more = self.replay(engine)?;
        self.look_at_log(engine.state());
        self.acknowledge(&engine.state().sys, now);
        Ok(if more { Work::More } else { Work::Idle })
    }

    /// Tells how far a payload has come, and the leader that we live.
    fn report(&mut self, engine: &mut Engine, read: u64, now: i64) {
        let State { ks, sys, .. } = engine.state();
        let is_empty = (0..ks.databases()).all(|db| ks.db(db).is_none_or(|db| db.is_empty()));
        let total = self.link.payload_length();
        if !self.loads && is_empty && sys.persist.loading.is_none() {
            // Nothing is there that could be shown meanwhile.
            load::begin_load(sys, total.unwrap_or(0));
            self.loads = true;
        }
        if let Some(loading) = &mut sys.persist.loading {
            loading.done = read;
        }
        let at = self.heard;
        replica::set_state(sys, LinkState::Syncing { total, read, at });
        if now - self.told >= ACK_EVERY {
            self.told = now;
            self.out.push(b'\n');
        }
    }

    /// Puts the data set in place that has come.
    fn adopt(&mut self, engine: &mut Engine, of: Option<(String, u64)>) -> Result<(), Parted> {
        let Some(staging) = self.staging.take() else {
            return Err(refused("there is no data set"));
        };
        self.stop_loading(engine);
        let counts = staging.loaded();
        let written = engine
            .adopt(*staging)
            .map_err(|e| refused(format!("the data set cannot be loaded: {e}")))?;
        let db = written.as_ref().and_then(|position| position.db);
        let state = engine.state();
        let position = match of {
            Some((id, offset)) => Position { id, offset, db },
            // Nobody shares a history that has no name.
            None => Position {
                id: state.sys.rng.hex_id_string(),
                offset: 0,
                db: None,
            },
        };
        replica::adopted(state, position);
        if let Some(up) = &mut state.sys.repl.upstream {
            up.starts_over = false;
        }
        tracing::info!(
            "MASTER <-> REPLICA sync: Finished with success, {} keys loaded",
            counts.keys
        );
        Ok(())
    }

    fn stop_loading(&mut self, engine: &mut Engine) {
        if std::mem::take(&mut self.loads) {
            load::end_load(&mut engine.state().sys);
        }
    }

    fn go_online(&mut self, engine: &mut Engine) {
        let state = engine.state();
        replica::set_state(&mut state.sys, LinkState::Online);
        self.stream.from = replica::selected(&state.sys);
        let repl: &mut Replication = &mut state.sys.repl;
        self.acknowledged = repl.offset();
        // The leader sends nothing before it hears of us.
        self.asked = true;
        // It leads by now: when the link is made anew there is nothing to take over.
        let asked = repl.upstream.as_mut().map(|up| &mut up.takes_over);
        if asked.is_some_and(std::mem::take) {
            failover::succeeded(state);
            engine.run_ready();
        }
        let db = self.stream.from;
        let state = engine.state();
        let replay = Replay::follow(state, self.peer.clone(), db);
        if let Some(up) = &mut state.sys.repl.upstream {
            up.session = Some(replay.sid);
        }
        self.stream.replay = Some(replay);
    }

    /// Does what of the stream has come, for about [`STEP`] bytes. Whether there is more.
    fn replay(&mut self, engine: &mut Engine) -> Result<bool, Parted> {
        let longest = usize::try_from(engine.state().sys.cfg.proto_max_bulk_len);
        let usual = Limits::default();
        let limits = Limits {
            max_bulk: longest.unwrap_or(usize::MAX).max(usual.max_bulk),
            ..usual
        };
        let done = self.stream.replay(engine, &limits, &mut self.asked);
        if let Err(Parted::Refused { .. }) = &done
            && let Some(up) = &mut engine.state().sys.repl.upstream
        {
            // It would say the same again.
            up.starts_over = true;
        }
        done
    }

    /// How far the own log is on the disk.
    fn look_at_log(&mut self, state: &mut State) {
        let offset = state.sys.repl.offset();
        let Some(logging) = &state.sys.persist.logging else {
            return;
        };
        let log = &logging.log;
        let at = log.appended() + state.fx.logged().len() as u64;
        let many = self.unsynced.len() >= UNSYNCED_MOST;
        match self.unsynced.back_mut() {
            Some((_, last)) if *last >= offset => {}
            Some(last) if many => *last = (at, offset),
            _ if offset > self.durable => self.unsynced.push_back((at, offset)),
            _ => {}
        }
        let synced = log.synced();
        while let Some(&(at, offset)) = self.unsynced.front()
            && at <= synced
            && !logging.starting
        {
            self.durable = offset;
            self.asked = true;
            self.unsynced.pop_front();
        }
        log.listen(!self.unsynced.is_empty());
    }

    /// Tells the leader how far we are, if it is to know now.
    fn acknowledge(&mut self, sys: &System, now: i64) {
        let offset = sys.repl.offset();
        self.reached = offset;
        if !self.asked && self.ack_at() > now {
            return;
        }
        self.asked = false;
        self.told = now;
        self.acknowledged = offset;
        let (mut a, mut b) = (itoa::Buffer::new(), itoa::Buffer::new());
        let mut words: Vec<&[u8]> = vec![b"REPLCONF", b"ACK", a.format(offset).as_bytes()];
        if self.durable > 0 {
            words.extend([&b"FACK"[..], b.format(self.durable).as_bytes()]);
        }
        encode_command(&mut self.out, &words);
    }

    fn ack_at(&self) -> i64 {
        let wait = match self.reached == self.acknowledged {
            true => ACK_EVERY,
            false => ACK_SOON,
        };
        self.told + wait
    }

    /// Takes what is to be sent to the leader.
    pub fn take_output(&mut self) -> Vec<u8> {
        let mut out = std::mem::take(self.link.output());
        out.append(&mut self.out);
        out
    }

    /// When [`work`](Self::work) has something to do although nothing has come, in unix milliseconds.
    pub fn next_deadline(&self) -> i64 {
        let silent = self.heard + self.timeout + 1;
        let ack = self.ack_at();
        silent.min(ack.max(self.told + 1))
    }

    /// What the leader is to say next, for the log.
    pub fn is_waiting_for(&self) -> &'static str {
        self.link.is_waiting_for()
    }

    /// Which of the leaders that there were it is that is followed.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The link is gone, whoever has ended it.
    pub fn lost(mut self, engine: &mut Engine) {
        self.stop_loading(engine);
        if let Some(replay) = self.stream.replay.take() {
            engine.end_replay(replay);
        }
        let state = engine.state();
        let ours = |up: &replica::Upstream| up.number == self.number;
        if !state.sys.repl.upstream.as_ref().is_some_and(ours) {
            return;
        }
        replica::lost(&mut state.sys);
        if state
            .sys
            .repl
            .upstream
            .as_ref()
            .is_some_and(|up| up.takes_over)
        {
            failover::refused(state);
            engine.run_ready();
        }
    }
}

impl Incoming {
    /// Does what has come, for about [`STEP`] bytes; whether there is more.
    fn replay(
        &mut self,
        engine: &mut Engine,
        limits: &Limits,
        asked: &mut bool,
    ) -> Result<bool, Parted> {
        let most = self.taken + STEP;
        loop {
            let bytes = std::mem::take(&mut self.bytes);
            let mut batch = std::mem::take(&mut self.batch);
            let fresh = bytes.get(self.taken..).unwrap_or_default();
            self.decoder.decode(fresh, limits, &mut batch);
            let done = self.run_batch(engine, &bytes, &batch, most, asked);
            let (error, none) = (batch.error(), batch.is_empty());
            self.bytes = bytes;
            self.batch = batch;
            let all = done?;
            if let Some(error) = error.filter(|_| all) {
                let why = format!("the master's stream makes no sense: {error}");
                return Err(refused(why));
            }
            if none || !all {
                self.shrink()?;
                return Ok(!all);
            }
        }
    }

    /// Runs commands until so much is taken; whether that was all of them.
    fn run_batch(
        &mut self,
        engine: &mut Engine,
        bytes: &[u8],
        batch: &Batch,
        most: usize,
        asked: &mut bool,
    ) -> Result<bool, Parted> {
        let at = self.taken;
        let fresh = bytes.get(at..).unwrap_or_default();
        for i in 0..batch.len() {
            if self.taken >= most {
                // Whatever was decoded behind that is decoded anew.
                self.decoder = Decoder::new();
                return Ok(false);
            }
            let argv = batch.argv(i, fresh);
            self.counts |= match argv.first() {
                Some(name) if name.eq_ignore_ascii_case(b"REPLCONF") => {
                    let what = argv.get(1).copied().unwrap_or_default();
                    *asked |= what.eq_ignore_ascii_case(b"GETACK");
                    false
                }
                Some(name) if name.eq_ignore_ascii_case(b"PING") => false,
                Some(name) => {
                    self.run(engine, &argv)?;
                    !name.eq_ignore_ascii_case(b"SELECT")
                }
                None => false,
            };
            self.taken = at + batch.end(i);
            self.end_command(engine, bytes);
        }
        if batch.consumed() > 0 && at + batch.consumed() > self.taken {
            self.taken = at + batch.consumed();
            if self.decoder.is_between() {
                // Empty lines are part of the stream as well.
                self.end_command(engine, bytes);
            }
        }
        Ok(true)
    }

    fn run(&mut self, engine: &mut Engine, argv: &[&[u8]]) -> Result<(), Parted> {
        let Some(replay) = &mut self.replay else {
            return Err(refused("the stream has not begun"));
        };
        engine
            .replay(replay, argv)
            .map_err(|e| refused(format!("{e} in the master's stream")))
    }

    /// A command has ended, and perhaps a unit.
    fn end_command(&mut self, engine: &mut Engine, bytes: &[u8]) {
        let Some(replay) = &self.replay else {
            return;
        };
        if engine.replays_transaction(replay) {
            return;
        }
        let to = engine.replay_selected(replay);
        let unit = bytes.get(self.unit..self.taken).unwrap_or_default();
        let counts = std::mem::take(&mut self.counts);
        replica::advance(engine.state(), unit, counts, self.from, to);
        self.unit = self.taken;
        self.from = to;
    }

    /// Forgets what was done.
    fn shrink(&mut self) -> Result<(), Parted> {
        /// Less than this is not worth moving what follows it.
        const WORTH: usize = 64 * 1024;
        if self.unit == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(4 * WORTH);
        } else if self.unit >= WORTH {
            self.bytes.drain(..self.unit);
        } else {
            return match self.taken - self.unit > LONGEST_UNIT {
                true => Err(refused("a transaction that does not end")),
                false => Ok(()),
            };
        }
        self.taken -= self.unit;
        self.unit = 0;
        Ok(())
    }
}
