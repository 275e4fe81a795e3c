//! A link to a leader: greeting, payload and stream on their way into the engine, without sockets and clocks.
//!
//! Whoever drives it makes the connection and moves bytes: [`Follower::receive`] takes them without the engine (a data set
//! is loaded beside the one that is there, however long that takes), [`Follower::work`] does under the lock what follows
//! from them, in small steps, and [`Follower::take_output`] gives what is to be sent.

mod reports;
mod stream;

use std::fmt;
use std::time::Duration;

use self::reports::Reports;
use self::stream::Incoming;
use super::Engine;
use crate::exec::State;
use crate::exec::host::Milestone;
use crate::exec::persist::load::{self, Loading, Shows};
use crate::exec::persist::staging::{Fed, Staging};
use crate::exec::persist::{Counts, save};
use crate::exec::replay::Replay;
use crate::exec::replication::replica::{self, LinkState};
use crate::exec::replication::{Replication, failover};
use crate::exec::session::Peer;
use crate::replication::link::{Event, Greeting, Refused};
use crate::replication::{Link, Position};
use crate::resp::Limits;
use crate::service::info::REDIS_VERSION;

/// So many bytes of the stream are taken while they must wait (CLIENT PAUSE).
const UNAPPLIED_MOST: usize = 64 << 20;

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

/// What a leader offers is not taken if it has lost what is here.
fn part_with_forgetful(engine: &mut Engine, of: Option<&(String, u64)>) -> Result<(), Parted> {
    match of {
        Some((id, _)) if replica::is_forgetful(&mut engine.state().sys, id) => Err(refused(
            "it has lost acknowledged writes that are here (sync-replicas): its data set is not taken",
        )),
        _ => Ok(()),
    }
}

/// What clients may see while a data set comes in; none if nothing changes for them. `is_same` if it is of the history that
/// this instance belongs to.
fn shows(how: &str, is_same: bool, is_empty: bool) -> Option<Shows> {
    match how {
        "swapdb" if is_same => Some(Shows::OldData),
        "swapdb" => Some(Shows::Nothing),
        "on-empty-db" if is_empty => Some(Shows::Nothing),
        _ if is_empty => Some(Shows::NoData),
        _ => None,
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
    /// Keys of the data set that were counted, and those of them that are still to be waited for (`key-load-delay`).
    counted: u64,
    unwaited: u64,
    key_delay: i64,
    /// When the leader was heard, and whether it was since.
    heard: i64,
    hears: bool,
    /// Bytes that have come, and that were sent, of which the statistics do not know.
    moved: [u64; 2],
    /// What the leader is told of how far we are.
    reports: Reports,
    timeout: i64,
    /// There is no room for more of the stream until a pause has ended.
    full: bool,
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

impl Follower {
    /// Begins with a connection that was just made to the leader that there is; none if there is none, or a data set is
    /// still being loaded.
    pub fn begin(engine: &mut Engine) -> Option<Follower> {
        let State { ks, sys, .. } = engine.state();
        if sys.persist.loading.is_some() {
            return None;
        }
        let up = sys.repl.upstream.as_ref()?;
        let from = sys.repl.position().filter(|_| !up.starts_over);
        let port = match sys.cfg.replica_announce_port {
            0 => sys.cfg.announced_port(),
            port => port,
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
            stream: Incoming::of(up.number),
            out: Vec::new(),
            counted: 0,
            unwaited: 0,
            key_delay: sys.cfg.key_load_delay,
            heard: now,
            hears: false,
            moved: [0; 2],
            reports: Reports::begun(now),
            timeout: i64::from(sys.cfg.repl_timeout) * 1000,
            full: false,
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
        self.moved[0] += bytes.len() as u64;
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
                    let mut before = 0;
                    if let Stage::Payload { read, .. } = &mut self.stage {
                        before = *read;
                        *read += piece.len() as u64;
                    }
                    if before == 0 {
                        tracing::info!("MASTER <-> REPLICA sync: Loading DB in memory");
                    }
                    let Some(staging) = &mut self.staging else {
                        continue;
                    };
                    let fed = staging.feed(piece);
                    let Counts { keys, expired, .. } = staging.loaded();
                    let counted = std::mem::replace(&mut self.counted, keys + expired);
                    self.unwaited += self.counted - counted;
                    match fed {
                        Ok(Fed::Ended { rest }) if rest > 0 => {
                            return Err(self.damaged("the payload goes on behind its end"));
                        }
                        Ok(_) => {}
                        Err(e) => return Err(self.damaged(e)),
                    }
                }
                Event::PayloadEnd => {
                    if !self.staging.as_ref().is_some_and(|s| s.is_whole()) {
                        return Err(self.damaged("the payload ended in the middle of it"));
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
        let [received, sent] = std::mem::take(&mut self.moved);
        sys.stats.net_input_bytes += received;
        sys.stats.repl_input_bytes += received;
        sys.stats.net_output_bytes += sent;
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
        self.key_delay = sys.cfg.key_load_delay;
        if !self.full && now - self.heard > self.timeout {
            return Err(self.is_silent());
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
            Stage::Continued => {
                self.go_online(engine);
                engine.state().sys.host.0.reached(Milestone::Resumed);
            }
            Stage::Whole(of) => {
                part_with_forgetful(engine, of.as_ref())?;
                self.adopt(engine, of)?;
                self.go_online(engine);
            }
            stage @ (Stage::Greeting | Stage::Payload { .. }) => {
                if let Stage::Payload { of, read } = &stage {
                    part_with_forgetful(engine, of.as_ref())?;
                    self.report(engine, of.as_ref(), *read, now);
                }
                self.stage = stage;
                return Ok(Work::Idle);
            }
        }
        // What clients have paused is not done by the leader either (CLIENT PAUSE at a replica).
        let waits = engine.state().sys.pause.is_on();
        let more = !waits && self.replay(engine)?;
        let unapplied = self.stream.bytes.len() - self.stream.unit;
        if std::mem::replace(&mut self.full, waits && unapplied >= UNAPPLIED_MOST) {
            self.heard = now;
        }
        if let Some(up) = &mut engine.state().sys.repl.upstream {
            up.unapplied = unapplied as u64;
        }
        self.reports.look_at_log(engine.state());
        self.reports
            .acknowledge(engine.state().sys.repl.offset(), now, &mut self.out);
        Ok(if more { Work::More } else { Work::Idle })
    }

    /// What the leader has sent is no data set.
    fn damaged(&mut self, why: impl fmt::Display) -> Parted {
        self.staging = None;
        // Tools look for the first words.
        refused(format!(
            "Internal error in RDB: the data set that the master sends is damaged: {why}"
        ))
    }

    /// The leader has said nothing for too long.
    fn is_silent(&self) -> Parted {
        // Tools look for these words.
        let what = match self.stage {
            Stage::Greeting => "Timeout connecting to the MASTER...",
            Stage::Payload { .. } | Stage::Whole(_) => {
                "Timeout receiving bulk data from MASTER... If the problem persists try to set the 'repl-timeout' \
                 parameter to a larger value."
            }
            Stage::Continues(_) | Stage::Continued | Stage::Stream => {
                "MASTER timeout: no data nor PING received..."
            }
        };
        Parted::Refused {
            why: format!("{what} {} was expected", self.is_waiting_for()),
            transient: true,
        }
    }

    /// Tells how far a payload has come, and the leader that we live.
    fn report(&mut self, engine: &mut Engine, of: Option<&(String, u64)>, read: u64, now: i64) {
        let State { ks, sys, .. } = engine.state();
        let total = self.link.payload_length();
        if read > 0 && sys.persist.incoming.is_none() {
            let is_empty = (0..ks.databases()).all(|db| ks.db(db).is_none_or(|db| db.is_empty()));
            let is_same = of.is_some_and(|(id, _)| *id == sys.repl.id);
            let progress = Loading {
                began: now,
                total: total.unwrap_or(0),
                done: 0,
            };
            sys.persist.incoming = shows(sys.cfg.repl_diskless_load, is_same, is_empty)
                .map(|shows| load::Incoming { progress, shows });
        }
        if let Some(incoming) = &mut sys.persist.incoming {
            incoming.progress.done = read;
        }
        let at = self.heard;
        replica::set_state(sys, LinkState::Syncing { total, read, at });
        if self.reports.is_sign_of_life_due(now) {
            self.out.push(b'\n');
        }
    }

    /// How long to wait before more is loaded, as `key-load-delay` has it: to be asked for again thereafter.
    pub fn pause(&mut self) -> Option<Duration> {
        /// A change of the parameter is to be seen meanwhile.
        const MOST: u64 = 100_000;
        if self.unwaited == 0 || self.key_delay == 0 {
            self.unwaited = 0;
            return None;
        }
        let keys = match u64::try_from(self.key_delay) {
            Ok(each) => (MOST / each).clamp(1, self.unwaited),
            Err(_) => self.unwaited,
        };
        self.unwaited -= keys;
        // What the leader has sent meanwhile has not been read.
        self.hears = true;
        let keys = usize::try_from(keys).unwrap_or(usize::MAX);
        Some(Duration::from_micros(save::delay(self.key_delay, keys)))
    }

    /// Puts the data set in place that has come.
    fn adopt(&mut self, engine: &mut Engine, of: Option<(String, u64)>) -> Result<(), Parted> {
        let Some(staging) = self.staging.take() else {
            return Err(refused("there is no data set"));
        };
        engine.state().sys.persist.incoming = None;
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
        engine.state().sys.host.0.reached(Milestone::Synced);
        Ok(())
    }

    fn go_online(&mut self, engine: &mut Engine) {
        let state = engine.state();
        replica::set_state(&mut state.sys, LinkState::Online);
        self.stream.from = replica::selected(&state.sys);
        let repl: &mut Replication = &mut state.sys.repl;
        // The leader sends nothing before it hears of us.
        self.reports.begin_at(repl.offset());
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

    /// Does what of the stream has come, or a step of it. Whether there is more.
    fn replay(&mut self, engine: &mut Engine) -> Result<bool, Parted> {
        let longest = usize::try_from(engine.state().sys.cfg.proto_max_bulk_len);
        let usual = Limits::default();
        let limits = Limits {
            max_bulk: longest.unwrap_or(usize::MAX).max(usual.max_bulk),
            ..usual
        };
        let done = self.stream.replay(engine, &limits, &mut self.reports.asked);
        let Err(Parted::Refused { why, .. }) = &done else {
            return done;
        };
        tracing::warn!("== CRITICAL == This replica cannot go on with its master: {why}");
        if let Some(up) = &mut engine.state().sys.repl.upstream {
            // It would say the same again.
            up.starts_over = true;
        }
        Err(refused("all of its data is asked for anew"))
    }

    /// Takes what is to be sent to the leader.
    pub fn take_output(&mut self) -> Vec<u8> {
        let mut out = std::mem::take(self.link.output());
        out.append(&mut self.out);
        self.moved[1] += out.len() as u64;
        out
    }

    /// When [`work`](Self::work) has something to do although nothing has come, in unix milliseconds.
    pub fn next_deadline(&self) -> i64 {
        let silent = self.heard + self.timeout + 1;
        let tells = match self.stage {
            Stage::Greeting => silent,
            Stage::Payload { .. } | Stage::Whole(_) => self.reports.next_sign_of_life(),
            Stage::Continues(_) | Stage::Continued | Stage::Stream => self.reports.next(),
        };
        silent.min(tells)
    }

    /// Whether to read on. What is not read the leader keeps.
    pub const fn reads(&self) -> bool {
        !self.full
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
        if let Stage::Payload { read: 1.., .. } = self.stage
            && self.staging.is_some()
        {
            tracing::warn!(
                "Internal error in RDB: the data set that the master sends is not whole"
            );
        }
        engine.state().sys.persist.incoming = None;
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
