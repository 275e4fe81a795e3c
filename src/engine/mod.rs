//! The assembled core: bytes and time in, bytes and actions out. No socket, no thread, no runtime.
//!
//! ```
//! use redkeep::engine::{Engine, Options};
//! use redkeep::exec::{session::Peer, Args};
//! use redkeep::resp::{Proto, ReplyBuf};
//!
//! let mut engine = Engine::new(Options::default());
//! let client = engine.connect(Peer::default());
//! let mut reply = ReplyBuf::new(Proto::Resp2);
//! engine.refresh_time();
//! engine.execute(client, Args::new(&[b"SET", b"lock", b"token", b"NX"]), &mut reply);
//! assert_eq!(reply.as_slice(), b"+OK\r\n");
//! ```

mod adopt;
pub mod follow;
pub mod load;
mod replay;
mod report;
#[cfg(test)]
mod saves;
#[cfg(test)]
mod tests;

pub use adopt::NotRestored;
pub use report::{Slow, Told};

use std::sync::Arc;

use crate::commands;
use crate::exec;
use crate::exec::acl::Acl;
use crate::exec::admit::{self, Refusal};
use crate::exec::block::Unblock;
use crate::exec::busy::{self, BusyGate, BusyRequest};
use crate::exec::call::{self, Step};
use crate::exec::declared::ReadDeclared;
use crate::exec::evict;
use crate::exec::faults::Faults;
use crate::exec::functions::Policy;
use crate::exec::host::Alone;
use crate::exec::output;
use crate::exec::pause::Postponed;
use crate::exec::replication::{Replication, feed, leader};
use crate::exec::session::{Peer, Session, SessionId};
use crate::exec::ticket::{self, Ticket};
use crate::exec::tracking::{self, Tracking};
use crate::exec::txn::{Multi, Queued, Watchers};
use crate::exec::unconfirmed::{self, Unconfirmed};
use crate::exec::unit;
use crate::exec::weight;
use crate::exec::{
    Action, Args, CmdError, Commands, DebugSwitches, Effects, Host, HostBox, Origin, RunningScript,
    ScriptCall, ScriptHost, ScriptOrigin, Sessions, SharedClock, State, System, Waiters,
};
use smallvec::SmallVec;

use crate::ds::table::Seed;
use crate::keyspace::{AT_ONCE, Garbage, Interest, Keyspace, Touch};
use crate::resp::{Mark, Proto, ReplyBuf};
use crate::sentinel::{Input, Order, Sentinel};
use crate::service::acl::Users;
use crate::service::config::Settings;
use crate::service::faults::Rules;
use crate::service::latency::Latency;
use crate::service::slowlog::SlowLog;
use crate::service::stats::Stats;
use crate::util::clock::{Clock, Reading, SystemClock};
use crate::util::earliest::Earliest;
use crate::util::rng::Rng;

/// How many expired keys one tick deletes before others get their turn.
const EXPIRE_BATCH: usize = 1000;

/// What an engine is made of.
pub struct Options {
    /// Configuration.
    pub settings: Settings,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The surroundings.
    pub host: Box<dyn Host>,
    /// What all randomness begins with, if it is to be repeatable; `None` takes it from the operating system.
    pub seed: Option<u64>,
    /// What makes it a sentinel, if it is to be one.
    pub sentinel: Option<Box<Sentinel>>,
    /// Who may do what.
    pub users: Users,
    /// What is to go wrong on purpose.
    pub rules: Arc<Rules>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            settings: Settings::default(),
            clock: Arc::new(SystemClock::new()),
            host: Box::new(Alone),
            seed: None,
            sentinel: None,
            users: Users::default(),
            rules: Arc::default(),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("settings", &self.settings)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// How a client's command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered: go on with the next.
    Done,
    /// The client waits: run nothing more for it until its outbox is filled.
    Blocked,
    /// The connection ends after what is to be sent has been sent.
    Close,
    /// The connection ends at once: what is to be sent is dropped.
    Cut,
}

/// Output that a connection has taken over.
#[derive(Debug)]
pub struct Taken {
    /// What it must act on.
    pub outcome: Outcome,
    /// What must be reached before it is sent.
    pub ticket: Option<Ticket>,
    /// There may be more as soon as this is sent.
    pub more: bool,
    /// Small packets may be put off, to be sent with others.
    pub gathers: bool,
}

/// What the connection of a client must act on.
fn outcome_for(session: &Session) -> Outcome {
    if session.cut_off {
        Outcome::Cut
    } else if session.closing {
        Outcome::Close
    } else if session.waits() {
        Outcome::Blocked
    } else {
        Outcome::Done
    }
}

/// Ends a client's unit of work, before which so much was logged. Gives the offset of the last write that its reply shows and
/// that replicas have not confirmed.
#[inline]
fn end_unit(state: &mut State, sid: SessionId, logged: usize) -> u64 {
    unit::end_unit(state);
    if state.fx.logged().len() > logged {
        exec::persist::log::note_writer(state, sid);
    } else {
        exec::persist::log::note_reader(state, sid);
    }
    unconfirmed::end_unit(state)
}

/// The interpreter of scripts.
fn script_host() -> Box<dyn ScriptHost> {
    #[cfg(feature = "lua")]
    return Box::new(crate::script::LuaHost::new());
    #[cfg(not(feature = "lua"))]
    return Box::new(crate::exec::NoScripts);
}

/// Reads what a script declares.
const fn read_declared() -> ReadDeclared {
    #[cfg(feature = "lua")]
    return crate::script::declared;
    #[cfg(not(feature = "lua"))]
    return |_| None;
}

/// A whole server without its sockets.
pub struct Engine {
    /// Out while a script has it.
    state: Option<Box<State>>,
    host: Box<dyn ScriptHost>,
    gate: Arc<BusyGate>,
    /// A script of the running unit was busy: when the unit is over, the gate opens.
    was_busy: bool,
    /// When this turn began, in microseconds of real time.
    turn_began: i64,
    /// For whom the short way is free, see [`call::hurry`]: until anybody gets at the state.
    express: Option<SessionId>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine with empty databases.
    pub fn new(options: Options) -> Engine {
        let mut rng = Rng::new(options.seed);
        let gate = Arc::new(BusyGate::default());
        let databases = usize::try_from(options.settings.databases).unwrap_or(16);
        let ks = Keyspace::new(databases, || rng.next_u64());
        let tracking = Tracking::new(Seed::random(|| rng.next_u64()));
        let unconfirmed = Unconfirmed::new(Seed::random(|| rng.next_u64()));
        let Reading { now_us, real_us } = options.clock.read();
        let registry = Commands::new(match options.sentinel {
            Some(_) => commands::sentinel_registry(),
            None => commands::registry(),
        });
        let stats = Stats::new(registry.len());
        let mut state = State {
            ks,
            sessions: Sessions::default(),
            fx: Effects::default(),
            sys: System {
                registry,
                stats,
                cfg: options.settings,
                clock: SharedClock(options.clock),
                now_us,
                real_us,
                stint: Default::default(),
                started_ms: now_us / 1000,
                run_id: rng.hex_id_string(),
                repl: Replication::new(rng.hex_id_string()),
                rng,
                waiters: Waiters::default(),
                watchers: Watchers::default(),
                queued: Default::default(),
                pause: Default::default(),
                faults: Faults::new(options.rules),
                moves: Default::default(),
                declared: read_declared(),
                current: None,
                acl: Acl {
                    users: options.users,
                    ..Acl::default()
                },
                describe: commands::describe,
                persist: Default::default(),
                sentinel: options.sentinel,
                summons: Default::default(),
                ending: None,
                pubsub: Default::default(),
                tracking,
                unconfirmed,
                monitors: Default::default(),
                eviction: Default::default(),
                scales: Default::default(),
                overdue: Default::default(),
                actions: Vec::new(),
                scripts: Default::default(),
                libraries: Default::default(),
                running: None,
                gate: Arc::clone(&gate),
                slowlog: SlowLog::default(),
                large_requests: SlowLog::default(),
                large_replies: SlowLog::default(),
                migrations: Default::default(),
                alarms: exec::alarms::Alarms::default(),
                latency: Latency::default(),
                redact: Vec::new(),
                debug: DebugSwitches::default(),
                host: HostBox(options.host),
            },
        };
        state.sys.persist.saved_at = state.sys.started_ms;
        state.sys.persist.lasting = state.sys.host.0.disk().is_some();
        exec::configure(&mut state.ks, &mut state.sys);
        exec::replication::replica::begin(&mut state);
        unconfirmed::begin(&mut state);
        Engine {
            state: Some(Box::new(state)),
            host: script_host(),
            gate,
            was_busy: false,
            turn_began: real_us,
            express: None,
        }
    }

    /// The state. It is out only while a script runs, during which nobody else can call the engine.
    #[expect(
        clippy::expect_used,
        reason = "the host gives the state back in every case"
    )]
    #[inline]
    pub fn state(&mut self) -> &mut State {
        let state = self.state.as_mut().expect("no script runs");
        if self.express.take().is_some() {
            call::close_stint(state);
        }
        state
    }

    /// The gate that connections look at while they cannot get the lock.
    pub fn gate(&self) -> Arc<BusyGate> {
        Arc::clone(&self.gate)
    }

    /// Reads the clock: once per batch of commands. After each command it is read again by the pipeline.
    pub fn refresh_time(&mut self) {
        let sys = &mut self.state().sys;
        sys.refresh_time();
        self.turn_began = sys.real_us;
    }

    /// A client connects from inside of this process; nothing refuses it.
    pub fn connect(&mut self, peer: Peer) -> SessionId {
        admit::connect(self.state(), peer)
    }

    /// A client connects from outside.
    ///
    /// # Errors
    /// When `maxclients` are connected already, or protected mode keeps it out.
    pub fn admit(&mut self, peer: Peer) -> Result<SessionId, Refusal> {
        admit::admit(self.state(), peer)
    }

    /// A client is gone.
    pub fn disconnect(&mut self, sid: SessionId) {
        admit::forget(self.state(), sid);
    }

    /// Ends what a client waits for, as if its time were over.
    pub fn unblock(&mut self, sid: SessionId) {
        let State { sys, sessions, .. } = self.state();
        exec::block::unblock(sys, sessions, sid, Unblock::Timeout);
    }

    /// Runs one command of a client to its end and writes its reply, between what came for it before and what comes
    /// from the command itself.
    #[inline]
    pub fn execute(&mut self, sid: SessionId, args: Args<'_>, reply: &mut ReplyBuf) -> Outcome {
        match self.hurry(sid, args, reply) {
            // Nothing has come for it meanwhile.
            Some(outcome) => outcome,
            None => self.execute_with_care(sid, args, reply),
        }
    }

    fn execute_with_care(
        &mut self,
        sid: SessionId,
        args: Args<'_>,
        reply: &mut ReplyBuf,
    ) -> Outcome {
        let State {
            ks, sys, sessions, ..
        } = self.state();
        if ks.log.interest.has(Interest::TRACKED) {
            tracking::shrink(sys, sessions);
        }
        unconfirmed::hand_over(self.state(), sid, reply);
        let outcome = self.run_with_care(sid, args, reply);
        if outcome != Outcome::Cut {
            unconfirmed::hand_over(self.state(), sid, reply);
        }
        outcome
    }

    /// Runs one command of a client and writes its reply, nothing else: what the client gets without asking
    /// stays in its outbox.
    #[inline]
    pub fn run(&mut self, sid: SessionId, args: Args<'_>, reply: &mut ReplyBuf) -> Outcome {
        match self.hurry(sid, args, reply) {
            Some(outcome) => outcome,
            None => self.run_with_care(sid, args, reply),
        }
    }

    /// How many of a client's commands are worth looking at before they run, for [`foresee`](Self::foresee); 0 for none.
    pub fn foresight(&self) -> usize {
        let state = self.state.as_deref();
        state.map_or(0, |state| {
            let most = usize::try_from(state.sys.cfg.prefetch_batch_max_size);
            most.map_or(AT_ONCE, |most| most.min(AT_ONCE))
        })
    }

    /// Commands of a client are about to run that are likely to touch this: what they look at is fetched from memory, for all of
    /// them at the same time.
    pub fn foresee<'k>(&self, sid: SessionId, touched: impl Iterator<Item = Touch<'k>>) {
        if let Some(state) = &self.state
            && let Some(session) = state.sessions.get(sid)
        {
            state.ks.glance(session.db, touched);
        }
    }

    /// Runs a command that is about keys alone, if nothing stands in its way: see [`call::hurry`].
    #[inline]
    fn hurry(&mut self, sid: SessionId, args: Args<'_>, reply: &mut ReplyBuf) -> Option<Outcome> {
        let state = self.state.as_deref_mut()?;
        if self.express != Some(sid) {
            if self.was_busy || !call::is_free(state, sid) || !call::is_undisturbed(state) {
                return None;
            }
            self.express = Some(sid);
        }
        debug_assert!(call::is_free(state, sid), "the way is free no longer");
        let row = call::on_keys(state, args)?;
        if state.sys.cfg.maxmemory > 0 {
            evict::before_command(state);
            if state.is_out_of_memory() {
                return None;
            }
        }
        let (before, logged) = (reply.mark(), state.fx.logged().len());
        let step = call::hurry(state, sid, row, args, reply);
        let settled = match &step {
            Step::Settled => true,
            Step::Script(call, pending) => self.run_script(sid, call, pending, args, reply),
            _ => false,
        };
        if settled && let Some(state) = self.state.as_deref_mut() {
            let shows = end_unit(state, sid, logged);
            if !state.sys.overdue.has_cut_off() {
                return Some(Outcome::Done);
            }
            return Some(self.end_run(sid, args, before, shows, reply));
        }
        match step {
            Step::Script(_, pending) => self.spoil(sid, pending.mark, reply),
            step => self.go_on(sid, step, args, reply),
        }
        let shows = end_unit(self.state(), sid, logged);
        Some(self.end_run(sid, args, before, shows, reply))
    }

    fn run_with_care(&mut self, sid: SessionId, args: Args<'_>, reply: &mut ReplyBuf) -> Outcome {
        self.end_pause_if_over();
        if self.state().sys.scales.is_on() {
            let bytes = args.all().iter().map(|arg| arg.len()).sum();
            self.part_with_heavy(Some((sid, bytes)));
            if self.state().sessions.get(sid).is_none_or(|s| s.cut_off) {
                return Outcome::Cut;
            }
        }
        if self.state().sys.cfg.maxmemory > 0 {
            self.make_room(sid, reply);
        }
        let before = reply.mark();
        let shows = self.run_unit(sid, args, Origin::Client, reply);
        self.end_run(sid, args, before, shows, reply)
    }

    /// The command of a client is over that has answered from `before` on, and shows writes up to this offset.
    fn end_run(
        &mut self,
        sid: SessionId,
        args: Args<'_>,
        before: Mark,
        shows: u64,
        reply: &mut ReplyBuf,
    ) -> Outcome {
        self.spurn_replica(sid, args, reply, before);
        if shows > 0 {
            let from = reply.len() - reply.since(before).len();
            let range = from..reply.len();
            self.state().sys.unconfirmed.answered(range, shows);
        }
        self.change_part();
        self.run_ready();
        self.open_gate();
        let keeps_limit = self.keeps_limit(sid, reply);
        if self.state().sys.overdue.has_cut_off() {
            self.part_with_cut_off();
        }
        match self.state().sessions.get(sid) {
            None => Outcome::Close,
            Some(_) if !keeps_limit => Outcome::Cut,
            Some(session) => outcome_for(session),
        }
    }

    /// Makes room if memory is over its limit. What the client hears of keys that go is in front of the reply.
    fn make_room(&mut self, sid: SessionId, reply: &mut ReplyBuf) {
        if evict::before_command(self.state()) {
            unconfirmed::hand_over(self.state(), sid, reply);
        }
    }

    /// Parts with the heaviest clients if all together weigh too much.
    pub fn weigh_clients(&mut self) {
        let State { sys, sessions, .. } = self.state();
        let is_on = sys.scales.is_on();
        sessions.unsent().set_limited(is_on);
        if is_on {
            self.part_with_heavy(None);
        }
    }

    fn part_with_heavy(&mut self, running: Option<(SessionId, usize)>) {
        let state = self.state();
        for sid in weight::overweight(state, running) {
            let State {
                ks, sys, sessions, ..
            } = &mut *state;
            if let Some(session) = sessions.get(sid) {
                tracing::info!("Evicting client: {}", commands::describe(session, sys));
                admit::expel(sys, sessions, ks, sid);
                sys.stats.evicted_clients += 1;
            }
        }
    }

    /// Plays another part, if the command that is over has asked for that.
    #[inline]
    fn change_part(&mut self) {
        if self.state().sys.repl.is_to_change() {
            exec::replication::change(self.state());
        }
    }

    /// Opens the gate if a script was busy. Not before the unit is over: a transaction goes on behind its script, and
    /// nobody may come between.
    fn open_gate(&mut self) {
        if std::mem::take(&mut self.was_busy) {
            for request in self.gate.open() {
                self.serve_late(request);
            }
        }
    }

    /// Runs one command of a client, and whatever its end wakes. Gives the offset of the last write that its reply shows
    /// and that replicas have not confirmed.
    fn run_unit(
        &mut self,
        sid: SessionId,
        args: Args<'_>,
        origin: Origin,
        reply: &mut ReplyBuf,
    ) -> u64 {
        let logged = self.state().fx.logged().len();
        match call::start(self.state(), sid, args, reply, origin) {
            Step::Settled | Step::Blocked { .. } | Step::Postponed => {}
            step => self.go_on(sid, step, args, reply),
        }
        end_unit(self.state(), sid, logged)
    }

    /// Runs what a command has only begun: a script, a transaction.
    fn go_on(&mut self, sid: SessionId, step: Step, args: Args<'_>, reply: &mut ReplyBuf) {
        let mark = match step {
            Step::Settled | Step::Blocked { .. } | Step::Postponed => return,
            Step::Script(call, pending) => {
                self.run_script(sid, &call, &pending, args, reply);
                pending.mark
            }
            Step::LoadLog(pending) => {
                let loaded = self.reload_log();
                if loaded.is_ok() {
                    reply.ok();
                }
                call::finish(self.state(), &pending, args, loaded, reply);
                pending.mark
            }
            Step::Exec(multi, pending) => {
                call::silence(self.state(), sid, pending.mark, reply);
                self.run_transaction(sid, &multi, reply);
                call::finish_exec(self.state(), &pending, args, reply);
                pending.mark
            }
        };
        self.spoil(sid, mark, reply);
    }

    /// Sees to what faults make of a reply.
    fn spoil(&mut self, sid: SessionId, mark: Mark, reply: &mut ReplyBuf) {
        let State { sys, sessions, .. } = self.state();
        if sys.faults.are_on() {
            exec::faults::conclude(sys, sessions, sid, mark, reply);
        }
    }

    /// Ends CLIENT PAUSE if its time is over.
    fn end_pause_if_over(&mut self) {
        let state = self.state();
        if state.sys.pause.is_over(state.sys.now_us / 1000) {
            unit::end_pause(&mut state.ks, &mut state.sys);
            self.run_postponed();
        }
    }

    /// Runs what waited for the end of a pause, if one has ended.
    fn run_ready(&mut self) {
        if self.state().sys.pause.has_ready() {
            self.run_postponed();
        }
    }

    /// Runs what waited for the end of a pause, in the order in which it came. What must wait anew, because one of
    /// them began another pause, does.
    #[cold]
    fn run_postponed(&mut self) {
        while self.state().sys.pause.has_ready() {
            let last = self.state().sys.pause.last_call();
            while let Some((sid, Postponed { argv, origin, .. })) = {
                let state = self.state();
                state.sys.pause.take(&mut state.sessions, last)
            } {
                let Some(session) = self.state().sessions.get_mut(sid) else {
                    continue;
                };
                let mut outbox = session.lend_outbox();
                let args: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
                self.run_unit(sid, Args::new(&args), origin, &mut outbox);
                self.change_part();
                let State { sys, sessions, .. } = self.state();
                if let Some(session) = sessions.get_mut(sid) {
                    session.return_outbox(outbox);
                    output::may_wait(sys, session, sid, 0);
                    sys.actions.push(Action::Wake(sid));
                }
                sessions.recount(sid);
            }
        }
    }

    /// Drops what a replica is answered.
    fn spurn_replica(
        &mut self,
        sid: SessionId,
        args: Args<'_>,
        reply: &mut ReplyBuf,
        before: Mark,
    ) {
        let State {
            ks, sys, sessions, ..
        } = self.state();
        if !sys.repl.replicas.is_empty()
            && sys.repl.replicas.contains(&sid)
            && let answer @ [_, ..] = reply.since(before)
            && !leader::may_answer(ks, sys, sessions, sid, args, answer)
        {
            reply.rollback(before);
        }
    }

    /// Whether a client may have its replies, together with what waits already. If not they are dropped: it is cut off.
    fn keeps_limit(&mut self, sid: SessionId, reply: &mut ReplyBuf) -> bool {
        let State { sys, sessions, .. } = self.state();
        let Some(session) = sessions.get_mut(sid) else {
            return true;
        };
        let is_new = !session.cut_off;
        let keeps = output::may_wait(sys, session, sid, reply.len()) && is_new;
        if !keeps {
            if is_new {
                // The log will tell how much it was.
                session.outbox.raw(reply.as_slice());
            }
            reply.clear();
        }
        keeps
    }

    /// Parts with clients that had too much output waiting.
    #[cold]
    fn part_with_cut_off(&mut self) {
        let State {
            ks, sys, sessions, ..
        } = self.state();
        for sid in sys.overdue.take_cut_off() {
            if let Some(session) = sessions.get(sid) {
                let text = commands::describe(session, sys);
                tracing::warn!("Client {text} closed for overcoming of output buffer limits.");
                admit::expel(sys, sessions, ks, sid);
            }
        }
    }

    fn run_transaction(&mut self, sid: SessionId, multi: &Multi, reply: &mut ReplyBuf) {
        for Queued { row, argv } in &multi.queue {
            let args: SmallVec<[&[u8]; 16]> = argv.iter().map(Vec::as_slice).collect();
            let args = Args::new(&args);
            let step = call::queued(self.state(), sid, row, args, reply);
            if let Step::Script(call, pending) = step {
                self.run_script(sid, &call, &pending, args, reply);
            }
            // Whoever is cut off meanwhile: the transaction is run to its end.
            self.keeps_limit(sid, reply);
        }
    }

    /// Has the host run a script. Whether the short way was free for all of it and is free still.
    fn run_script(
        &mut self,
        sid: SessionId,
        call: &ScriptCall,
        pending: &call::Pending,
        args: Args<'_>,
        reply: &mut ReplyBuf,
    ) -> bool {
        let is_free = self.express == Some(sid);
        let Some(state) = self.state.take() else {
            return false;
        };
        let db = state.ks.current();
        let (state, result) =
            self.host
                .run(state, ScriptOrigin { sid, db, is_free }, call, args, reply);
        let state = self.state.insert(state);
        state.ks.select(db);
        if state.sys.running.as_ref().is_some_and(|r| r.panicked) {
            // Half of a unit may be done. The panic was reported where it happened.
            std::panic::resume_unwind(Box::new("a command called by a script panicked"));
        }
        let stays_free = |r: &RunningScript| r.is_free && !r.busy;
        if is_free && result.is_ok() && state.sys.running.as_ref().is_some_and(stays_free) {
            call::finish_script(state, pending, args);
            state.sys.running = None;
            return true;
        }
        call::finish(state, pending, args, result, reply);
        self.was_busy |= state.sys.running.take().is_some_and(|r| r.busy);
        false
    }

    /// A request that was posted while a script was busy and which it did not serve any more.
    fn serve_late(&mut self, request: BusyRequest) {
        let BusyRequest::Run {
            sid,
            requests,
            done,
        } = request
        else {
            return busy::serve(self.state(), request);
        };
        // The batch of whoever has run the script is not over.
        let batch = self.state().sys.unconfirmed.take_batch();
        let mut reply = ReplyBuf::new(self.proto_of(sid));
        let mut requests = requests.into_iter();
        for argv in requests.by_ref() {
            let args: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
            if !args.is_empty() && self.execute(sid, Args::new(&args), &mut reply) != Outcome::Done
            {
                break;
            }
        }
        unconfirmed::hand_over(self.state(), sid, &mut reply);
        let ticket = self.settle();
        let mut served = busy::answer(self.state(), sid, reply);
        served.ticket = ticket;
        served.unserved = requests.collect();
        self.state().sys.unconfirmed.resume_batch(batch);
        done(served);
    }

    fn proto_of(&mut self, sid: SessionId) -> crate::resp::Proto {
        self.state()
            .sessions
            .get(sid)
            .map_or(crate::resp::Proto::Resp2, |s| s.proto)
    }

    /// Puts the libraries of functions in place that a file has brought.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn restore_functions(&mut self, payload: &[u8]) -> Result<(), String> {
        let sid = self.connect(Peer {
            trusted: true,
            ..Peer::default()
        });
        let mut reply = ReplyBuf::new(Proto::Resp2);
        let call = ScriptCall::ReloadLibraries {
            payload: payload.to_vec(),
            policy: Policy::Flush,
            failed: CmdError::fixed("functions cannot be loaded"),
        };
        let Some(state) = self.state.take() else {
            return Err("a script runs".to_owned());
        };
        // Past the gate: what was saved is loaded, whatever `maxmemory` says now.
        let origin = ScriptOrigin {
            sid,
            db: 0,
            is_free: false,
        };
        let (state, result) =
            self.host
                .run(state, origin, &call, Args::new(&[b"FUNCTION"]), &mut reply);
        self.state = Some(state);
        self.disconnect(sid);
        result.map_err(|e| e.text().to_owned())
    }

    /// Ends a batch of commands: what they did is handed to the append-only log. Gives what must be reached before
    /// anybody is answered who has seen it.
    #[inline]
    pub fn settle(&mut self) -> Option<Ticket> {
        let began = self.turn_began;
        let state = self.state();
        let now = state.sys.real_us;
        // A clock that was set back makes a turn of no length.
        state
            .sys
            .stats
            .turn(u64::try_from(now - began).unwrap_or(0));
        if state.sys.sentinel.is_some() {
            exec::sentinel::settle(state);
        }
        let ticket = ticket::settle(state);
        self.turn_began = now;
        ticket
    }

    /// Moves what waits in a client's outbox to `out`, and the next piece of the stream if it is a replica and there is
    /// `room`.
    pub fn take(&mut self, sid: SessionId, out: &mut ReplyBuf, room: bool) -> Taken {
        let (outcome, more) = self.take_bytes(sid, out, room);
        let ticket = ticket::of_output(self.state());
        let State { sys, sessions, .. } = self.state();
        let is_replica = sessions.get(sid).is_some_and(Session::is_replica);
        Taken {
            outcome,
            // What a replica confirms must not wait for that.
            ticket: ticket.filter(|_| !is_replica),
            more,
            gathers: is_replica && sys.cfg.repl_disable_tcp_nodelay,
        }
    }

    /// As [`take`](Self::take), for somebody who has room and ends the batch himself.
    pub fn take_output(&mut self, sid: SessionId, out: &mut ReplyBuf) -> Outcome {
        self.take_bytes(sid, out, true).0
    }

    fn take_bytes(&mut self, sid: SessionId, out: &mut ReplyBuf, room: bool) -> (Outcome, bool) {
        let before = out.len();
        unconfirmed::hand_over(self.state(), sid, out);
        let State { sys, sessions, .. } = self.state();
        let Some(session) = sessions.get_mut(sid) else {
            return (Outcome::Cut, false);
        };
        let is_replica = session.is_replica() && !session.is_deaf();
        let more = is_replica && (!room || feed::pull(sys, session, out));
        let sent = (out.len() - before) as u64;
        session.net.sent += sent;
        sys.stats.net_output_bytes += sent;
        if session.replica.is_some() {
            sys.stats.repl_output_bytes += sent;
        }
        (outcome_for(session), more)
    }

    /// A client has sent something that is no command: an empty line, by which replicas say that they are busy.
    pub fn heard(&mut self, sid: SessionId) {
        let State { sys, sessions, .. } = self.state();
        if let Some(session) = sessions.get_mut(sid) {
            leader::heard(sys, session);
        }
    }

    /// Ends a batch of commands: takes what the outside must do.
    pub fn take_actions(&mut self) -> Vec<Action> {
        self.weigh_clients();
        // Replicas for which the stream was too fast.
        if self.state().sys.overdue.has_cut_off() {
            self.part_with_cut_off();
        }
        let State { sys, sessions, .. } = self.state();
        if sys.tracking.is_due() {
            tracking::broadcast(sys, sessions);
        }
        std::mem::take(&mut sys.actions)
    }

    /// Takes what was deleted and is still to be dropped: best done without the lock.
    pub fn take_garbage(&mut self) -> Vec<Garbage> {
        std::mem::take(&mut self.state().ks.garbage)
    }

    /// Does what is due: expires keys, ends waits, takes samples. Call it at [`next_deadline`](Self::next_deadline).
    pub fn tick(&mut self) {
        self.refresh_time();
        drop(self.take_garbage());
        self.end_pause_if_over();
        let state = self.state();
        state.sys.unconfirmed.gate().tick(state.sys.now_us / 1000);
        exec::shutdown::heed(state);
        if !state.sys.debug.cron_paused && state.sys.persist.loading.is_none() {
            unit::expire_keys(state, EXPIRE_BATCH);
            tracking::tick(&mut state.sys, &mut state.sessions);
        }
        evict::tick(state);
        unit::expire_waits(state);
        exec::faults::tick(state);
        exec::persist::tick(state);
        exec::replication::tick(state);
        exec::sentinel::tick(&mut state.sys);
        self.run_ready();
        let state = self.state();
        let now = state.sys.now_us / 1000;
        state.sys.stats.tick(now);
        let idle = state.sessions.close_idle(state.sys.cfg.timeout, now);
        state
            .sys
            .actions
            .extend(idle.into_iter().map(Action::Close));
        output::look_again(&mut state.sys, &mut state.sessions, now);
        self.weigh_clients();
        let state = self.state();
        if state.sys.overdue.has_cut_off() {
            self.part_with_cut_off();
        }
        self.time_tick();
    }

    /// Counts how long a tick took.
    fn time_tick(&mut self) {
        let began = self.turn_began;
        let sys = &mut self.state().sys;
        let now = sys.clock.0.read();
        sys.now_us = now.now_us.max(sys.now_us);
        sys.real_us = now.real_us;
        sys.stats.turns.tick_usec += u64::try_from(sys.real_us - began).unwrap_or(0);
    }

    /// When [`tick`](Self::tick) has something to do next, in unix milliseconds.
    pub fn next_deadline(&mut self) -> Option<i64> {
        let state = self.state();
        let sys = &state.sys;
        let mut first = Earliest::NEVER
            .or(evict::next_tick(sys))
            .or(exec::persist::next_look(sys))
            .or(sys.unconfirmed.gate().next_deadline())
            .or(exec::replication::next_tick(sys))
            .or(exec::sentinel::next_tick(sys))
            .or(exec::shutdown::next_heed(sys))
            .or(sys.waiters.next_deadline())
            .or(sys.faults.next_due())
            .or(sys.pause.current().map(|(_, until)| until))
            .or(sys.stats.next_tick())
            .or(state.sessions.next_idle_check(sys.cfg.timeout))
            .or(sys.overdue.next_look())
            .or(sys.scales.next_tick());
        if !sys.debug.cron_paused {
            first = first.or(sys.tracking.next_tick(sys.cfg.tracking_table_max_keys));
            if sys.persist.loading.is_none() {
                first = first.or(unit::next_expiry(state));
            }
        }
        first.get()
    }

    /// Has the sentinel begin, if this is one.
    pub fn sentinel_begin(&mut self) {
        let sys = &mut self.state().sys;
        let now = sys.now_us / 1000;
        if let Some(sentinel) = sys.sentinel.as_mut() {
            sentinel.begin(now);
        }
    }

    /// What a server said to keys that were sent to it.
    pub fn arrived(&mut self, report: exec::migrate::Report) {
        exec::migrate::arrived(self.state(), report);
    }

    /// What the sentinel wants done, if this is one. To be asked for when [`settle`](Self::settle) has been called: what was
    /// decided is lasting then.
    pub fn sentinel_orders(&mut self) -> Vec<Order> {
        let sentinel = self.state().sys.sentinel.as_mut();
        sentinel.map_or_else(Vec::new, |sentinel| sentinel.take_orders())
    }

    /// What has come of what the sentinel wanted done.
    pub fn sentinel_input(&mut self, input: Input<'_>) {
        let sys = &mut self.state().sys;
        let now = sys.now_us / 1000;
        if let Some(sentinel) = sys.sentinel.as_mut() {
            sentinel.input(now, input);
        }
    }

    /// Starts or stops collecting the log of effects; see [`take_effects`](Self::take_effects).
    pub fn collect_effects(&mut self, on: bool) {
        self.state().fx.set_wanted(on);
    }

    /// The effects logged since the last call: commands in RESP that bring an equal engine to the same state.
    pub fn take_effects(&mut self) -> Vec<u8> {
        self.state().fx.take()
    }
}
