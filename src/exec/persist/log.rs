//! The append-only log as the engine sees it.
//!
//! At the end of each batch of commands [`settle`] hands over what they did. What concerns the log as a whole (it is
//! switched on or off, it is rewritten) happens there as well, where no unit of work is half done: the snapshot that is
//! the new base and the new file begin at the same moment.

use std::sync::Arc;

use super::save::{self, Purpose};
use super::{Persistence, System};
use crate::exec::replication::{self, feed, sync};
use crate::exec::{Action, CmdError, Session, SessionId, State, call, unit};
use crate::persist::aof::log::{News, Order};
use crate::persist::aof::{self, Log, Place, Policy, Ticket, note_time};
use crate::replication::Position;

/// What is written is synced after this many milliseconds (`appendfsync everysec`).
const SYNC_AFTER: i64 = 1000;

/// What could not be written is tried again after this many milliseconds.
const RETRY_AFTER: i64 = 1000;

/// A log that is written.
#[derive(Debug)]
pub struct Logging {
    /// What it is handed to.
    pub log: Arc<Log>,
    /// Where it is.
    place: Place,
    /// There is no base yet: until there is one, nothing that is logged is safe.
    pub starting: bool,
    /// When what is written is to be synced, in unix milliseconds.
    sync_at: Option<i64>,
    /// When to try again to write what could not be written.
    retry_at: Option<i64>,
    /// The time that was noted last, in unix seconds.
    noted: i64,
    /// It has grown since it was last looked whether it is to be rewritten.
    grown: bool,
}

impl Logging {
    /// A log that begins, or goes on.
    pub fn new(log: Arc<Log>, place: Place, starting: bool) -> Logging {
        Logging {
            log,
            place,
            starting,
            sync_at: None,
            retry_at: None,
            noted: 0,
            grown: false,
        }
    }
}

impl Persistence {
    pub(super) fn log_was_rewritten(&mut self, done: bool) {
        if let Some(logging) = &mut self.logging {
            logging.starting &= !done;
        }
    }

    /// Bytes that wait to be written to the log.
    pub fn log_memory(&self) -> usize {
        let unwritten = self.logging.as_ref().map_or(0, |l| l.log.unwritten());
        usize::try_from(unwritten).unwrap_or(usize::MAX)
    }

    /// Whether a base is being written.
    pub fn is_rewriting(&self) -> bool {
        let saving = self.saving.as_ref();
        saving.is_some_and(|saving| saving.purpose == Purpose::Base)
    }
}

/// What the configuration asks for.
fn policy(sys: &System) -> Policy {
    let safe = sys.persist.logging.as_ref().is_some_and(|l| !l.starting);
    if sys.cfg.no_appendfsync_on_rewrite && sys.persist.saving.is_some() {
        return Policy::No;
    }
    match sys.cfg.appendfsync {
        "always" if safe => Policy::Always,
        "no" => Policy::No,
        _ => Policy::EverySecond,
    }
}

/// The log follows the configuration, and whether something is being saved.
pub(super) fn apply_policy(sys: &System) {
    if let Some(logging) = &sys.persist.logging {
        logging.log.set_policy(policy(sys));
        let spikes = sys.cfg.latency_monitor_threshold.unsigned_abs();
        logging.log.watch_spikes(spikes);
        logging.log.keep_history(sys.cfg.aof_disable_auto_gc);
        logging.log.set_delay(sys.debug.log_delay);
    }
}

/// Where the log is.
pub fn place(sys: &System) -> Place {
    Place::new(
        &sys.cfg.dir,
        &sys.cfg.appenddirname,
        &sys.cfg.appendfilename,
    )
}

/// The configuration may have changed.
pub fn configure(sys: &mut System) {
    sys.persist.is_unsettled |= !is_as_configured(sys);
    let logging = sys.persist.logging.as_ref();
    let kept = logging.is_some_and(|l| !l.starting && l.log.keeps_history());
    apply_policy(sys);
    if let Some(logging) = &sys.persist.logging
        && kept
        && !logging.log.keeps_history()
    {
        // Whoever wants the files gone finds them gone. If the log is in trouble, they go later.
        let _ = logging.log.flush();
    }
}

/// Whether there is a log if there is to be one, and where it is to be.
fn is_as_configured(sys: &System) -> bool {
    let wanted = sys.persist.lasting && sys.cfg.appendonly;
    match &sys.persist.logging {
        None => !wanted,
        Some(logging) => wanted && logging.place == place(sys),
    }
}

/// The log was opened, or loaded: from now on it is written.
pub fn opened(state: &mut State, log: Arc<Log>) {
    let place = place(&state.sys);
    state.sys.persist.logging = Some(Box::new(Logging::new(log, place, false)));
    begin_file(state);
    apply_policy(&state.sys);
}

/// The end of a batch of commands: hands over what they did. Gives what must be reached before anybody is answered who
/// has seen it.
#[inline]
pub fn settle(state: &mut State) -> Option<Ticket> {
    if state.sys.persist.is_unsettled {
        follow(state);
    }
    if state.sys.persist.logging.is_none() && !state.sys.repl.leads() {
        return None;
    }
    let wrote = hand_over(state);
    if state.sys.repl.asks {
        feed::say_question(&mut state.sys, &mut state.sessions);
    }
    let logging = state.sys.persist.logging.as_ref()?;
    logging.log.ticket(wrote)
}

/// Whoever reads what is written from here on has selected nothing, and knows of no position.
fn begin_file(state: &mut State) {
    state.sys.persist.noted = None;
    replication::want_effects(state);
}

/// What must be reached before anybody is answered, if nothing was done meanwhile.
pub fn ticket(sys: &System) -> Option<Ticket> {
    let logging = sys.persist.logging.as_ref()?;
    logging.log.ticket(false)
}

/// Hands over what was logged; whether anything was that is to last.
pub(in crate::exec) fn hand_over(state: &mut State) -> bool {
    let State {
        sys, fx, sessions, ..
    } = state;
    if fx.logged().is_empty() {
        return false;
    }
    if sys.repl.leads() && fx.streamed_len() > 0 {
        feed::feed(sys, sessions, &fx.streamed(), fx.selected());
    }
    let position = sys.repl.position();
    let Some(logging) = &mut sys.persist.logging else {
        fx.forget_logged();
        return true;
    };
    let lasting = fx.lasting();
    if lasting.is_empty() {
        fx.forget_logged();
        return false;
    }
    let now = sys.now_us / 1000;
    if sys.cfg.aof_timestamp_enabled && now / 1000 > logging.noted {
        logging.noted = now / 1000;
        let mut noted = Vec::with_capacity(lasting.len() + 16);
        note_time(&mut noted, logging.noted);
        noted.extend_from_slice(&lasting);
        logging.log.append(&noted);
    } else {
        logging.log.append(&lasting);
    }
    if let Some(position) = position {
        note_position(&logging.log, &mut sys.persist.noted, position);
    }
    fx.forget_logged();
    logging.grown = true;
    logging.sync_at.get_or_insert(now + SYNC_AFTER);
    true
}

/// Says in the log where it is in the history, if it does not say so.
fn say_position(state: &mut State) {
    let persist = &mut state.sys.persist;
    if let (Some(logging), Some(position)) = (&persist.logging, state.sys.repl.position())
        && persist.noted.as_ref() != Some(&position)
    {
        note_position(&logging.log, &mut persist.noted, position);
    }
}

/// Says in the log where it is in the history.
fn note_position(log: &Log, noted: &mut Option<Position>, position: Position) {
    let mut line = Vec::with_capacity(96);
    let is_named = noted.as_ref().is_some_and(|last| last.id == position.id);
    let mark = aof::Mark {
        id: (!is_named).then_some(&*position.id),
        offset: position.offset,
        db: position.db,
    };
    aof::note_position(&mut line, mark);
    log.append(&line);
    *noted = Some(position);
}

/// A client has written: what it did is on the disk once the log is, up to here.
pub fn note_writer(state: &mut State, sid: SessionId) {
    let logging = state.sys.persist.logging.as_ref();
    let position = logging.map(|l| l.log.appended() + state.fx.lasting_len() as u64);
    if let Some(session) = state.sessions.get_mut(sid) {
        session.wrote_at = position.unwrap_or(session.wrote_at);
        session.wrote_offset = state.sys.repl.reached();
    }
}

/// A client has seen what others wrote: as Redis does, it waits (WAIT) for the replicas to have that as well.
#[inline]
pub fn note_reader(state: &mut State, sid: SessionId) {
    if state.sys.repl.leads()
        && let Some(session) = state.sessions.get_mut(sid)
    {
        session.wrote_offset = state.sys.repl.reached();
    }
}

/// Whether everything that a client wrote is on the disk.
pub fn is_synced(sys: &System, session: &Session) -> bool {
    let logging = sys.persist.logging.as_ref();
    logging.is_some_and(|logging| logging.log.synced() >= session.wrote_at)
}

/// A client waits until replicas have what it wrote: it is woken to look again whenever one says that it has more.
pub fn await_replicas(sys: &mut System, sid: SessionId) {
    sys.persist.awaiting.insert(sid);
}

/// A client waits until what it wrote is on the disk: it is woken to look again whenever more is.
pub fn await_disk(sys: &mut System, sid: SessionId, position: u64) {
    await_replicas(sys, sid);
    if let Some(logging) = &sys.persist.logging {
        logging.log.listen(true);
        if logging.log.synced() >= position {
            // It has come to that meanwhile, and may not have known that somebody listens.
            logging.log.order(Order::Look);
        }
    }
}

/// Wakes those who wait until more is on the disk.
fn wake_waiting(state: &mut State) {
    if state.sys.repl.is_replica() {
        // Its leader may want to know.
        state.sys.actions.push(Action::Follow);
    }
    if let Some(logging) = &state.sys.persist.logging {
        logging.log.listen(false);
    }
    for sid in std::mem::take(&mut state.sys.persist.awaiting) {
        unit::wake(state, sid);
        unit::end_unit(state);
    }
}

/// Does what was put off to a moment when no unit of work is half done.
#[cold]
fn follow(state: &mut State) {
    state.sys.persist.is_unsettled = false;
    // While a data set is loading, whoever loads it opens the log.
    if state.sys.persist.loading.is_none() && !is_as_configured(&state.sys) {
        if state.sys.persist.logging.is_some() {
            switch_off(state);
        }
        if state.sys.cfg.appendonly {
            switch_on(state);
        }
    }
    if state.sys.persist.rewrites.scheduled {
        // What is in its way is in the log; it stays scheduled then.
        let _ = rewrite(state);
    }
    if std::mem::take(&mut state.sys.persist.looks) {
        wake_waiting(state);
    }
    if state.sys.repl.stream.is_some() {
        // What was done is in the stream; what a snapshot of now does not hold comes behind it.
        replication::want_for_stream(state);
        hand_over(state);
        sync::look_at_parted(state);
        sync::begin_sync(state);
    }
}

fn switch_on(state: &mut State) {
    if state.sys.persist.is_rewriting() {
        // What came since it began was not logged.
        tracing::info!(
            "AOF was enabled but there is already an AOF rewriting in background. Stopping background AOF and starting \
             a rewrite now."
        );
        save::give_up_running(&mut state.ks, &mut state.sys);
    } else if state.sys.persist.saving.is_some() {
        tracing::info!(
            "AOF was enabled but there is already another background operation. An AOF background was scheduled to \
             start when possible."
        );
    } else {
        tracing::info!("AOF was enabled. An AOF background was scheduled to start when possible.");
    }
    // Clients remember where they wrote last.
    let ended = state.sys.persist.log_ended;
    let log = Arc::new(Log::behind(ended, Policy::EverySecond));
    let logging = Logging::new(Arc::clone(&log), place(&state.sys), true);
    state.sys.persist.logging = Some(Box::new(logging));
    apply_policy(&state.sys);
    begin_file(state);
    let last = state.sys.persist.closed.take();
    state.sys.actions.push(Action::Log { log, last });
    let rewrites = &mut state.sys.persist.rewrites;
    rewrites.scheduled = true;
    rewrites.tried_at = state.sys.now_us / 1000;
}

fn switch_off(state: &mut State) {
    hand_over(state);
    // What was said in the stream since, and changed nothing, is part of where its data stand.
    say_position(state);
    let logging = state.sys.persist.logging.take();
    state.sys.persist.noted = None;
    replication::want_effects(state);
    if let Some(logging) = logging {
        state.sys.persist.log_ended = logging.log.appended();
        logging.log.order(Order::Close);
        state.sys.persist.closed = Some(logging.log);
    }
    wake_waiting(state);
    if state.sys.persist.is_rewriting() {
        tracing::info!("Killing AOF child: the rewrite is given up");
        save::give_up_running(&mut state.ks, &mut state.sys);
    }
    state.sys.persist.rewrites.scheduled = false;
}

/// Another data set has come, and what is logged from here on does not follow from what was: the log begins anew, with a
/// base of what is there when the batch ends.
pub(crate) fn restart(state: &mut State) {
    if state.sys.persist.logging.is_some() {
        switch_off(state);
        switch_on(state);
        state.sys.persist.is_unsettled = true;
    }
}

/// How far a log is that has begun [anew](restart).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// What it holds is what there is, or there is none.
    Over,
    /// Its base is being written. Until then the one before it is what would be loaded.
    GoesOn,
    /// Its base cannot be written: that is tried again later.
    Failed,
}

/// Tells how far the log is, having heard what there is to hear of it.
pub fn beginning(state: &mut State) -> Beginning {
    hear(state);
    let persist = &state.sys.persist;
    match &persist.logging {
        Some(logging) if !logging.starting => Beginning::Over,
        None if !(persist.lasting && state.sys.cfg.appendonly) => Beginning::Over,
        Some(_) if persist.is_rewriting() => Beginning::GoesOn,
        _ => Beginning::Failed,
    }
}

/// Ends the log for good, as the instance does: whatever was handed over is written, and nothing more is.
pub fn close(state: &mut State) {
    if state.sys.persist.logging.is_some() {
        switch_off(state);
    }
}

/// Begins to write a new base, and a new file to follow it.
fn rewrite(state: &mut State) -> Result<(), CmdError> {
    let State { ks, sys, .. } = state;
    if sys.persist.saving.is_some() || sys.persist.loading.is_some() {
        return Err(CmdError::fixed("ERR a save is being written"));
    }
    let mut start = Vec::new();
    let id = save::begin_save(ks, sys, Purpose::Base, &mut start)?;
    let pid = std::process::id();
    tracing::info!("Background append only file rewriting started by pid {pid}");
    let rewrites = &mut sys.persist.rewrites;
    rewrites.scheduled = false;
    rewrites.begun += 1;
    rewrites.tried_at = sys.now_us / 1000;
    sys.stats.background_saves += 1;
    sys.actions.push(Action::Save { id, start });
    hand_over(state);
    if let Some(logging) = &mut state.sys.persist.logging {
        let time = state.sys.now_us / 1_000_000;
        logging.log.order(Order::Cut { id, time });
        logging.noted = time;
        begin_file(state);
        say_position(state);
    }
    apply_policy(&state.sys);
    Ok(())
}

/// A rewrite is wanted: it begins with the end of the batch, or when nothing is in its way.
pub fn schedule_rewrite(sys: &mut System) {
    sys.persist.rewrites.scheduled = true;
    sys.persist.is_unsettled = true;
}

/// Why writes are refused, if they are because the log cannot be written.
#[cold]
pub(crate) fn refuses_writes(sys: &System) -> Option<CmdError> {
    let trouble = sys.persist.logging.as_ref()?.log.trouble()?;
    Some(CmdError::new(format!(
        "MISCONF Errors writing to the AOF file: {}",
        trouble.why
    )))
}

/// Does what is due.
pub(super) fn tick(state: &mut State) {
    let now = state.sys.now_us / 1000;
    hear(state);
    let rewriting = state.sys.persist.saving.is_some();
    let unsynced = state.sys.cfg.no_appendfsync_on_rewrite && rewriting;
    let Some(logging) = &mut state.sys.persist.logging else {
        // It could not be opened.
        let persist = &mut state.sys.persist;
        let missing = persist.lasting && state.sys.cfg.appendonly;
        persist.is_unsettled |= missing && persist.rewrites.next_mending() <= now;
        return;
    };
    if logging.sync_at.is_some_and(|at| at <= now) {
        logging.sync_at = None;
        match state.sys.cfg.appendfsync {
            "everysec" if unsynced => logging.sync_at = Some(now + SYNC_AFTER),
            "no" => {}
            _ => logging.log.order(Order::Sync),
        }
    }
    if logging.retry_at.is_some_and(|at| at <= now) {
        logging.retry_at = logging.log.is_troubled().then_some(now + RETRY_AFTER);
        logging.log.order(Order::Retry);
    }
}

/// What the log has to tell.
fn hear(state: &mut State) {
    let Some(logging) = &state.sys.persist.logging else {
        return;
    };
    if !logging.log.has_news() {
        return;
    }
    for news in logging.log.take_news() {
        let State { ks, sys, .. } = &mut *state;
        match news {
            News::Cut(_, Ok(())) => {}
            News::Synced => wake_waiting(state),
            News::Cut(id, Err(why)) => {
                tracing::warn!("Can't open the next file of the append-only log: {why}");
                save::end_save(ks, sys, id, false);
            }
            News::Rebased(id, done) => {
                match &done {
                    Ok(()) => tracing::info!("Background AOF rewrite finished successfully"),
                    Err(why) => tracing::warn!("Background AOF rewrite failed: {why}"),
                }
                save::end_save(ks, sys, id, done.is_ok());
            }
            News::Refused(_) => {
                switch_off(state);
                let rewrites = &mut state.sys.persist.rewrites;
                rewrites.failed = true;
                rewrites.failures = rewrites.failures.saturating_add(1);
                return;
            }
            News::Took(event, micros) => call::note_spike(state, event, micros),
            News::Trouble(trouble) => {
                let now = sys.now_us / 1000;
                if let Some(logging) = &mut sys.persist.logging {
                    logging.retry_at = trouble.map(|_| now + RETRY_AFTER);
                }
            }
        }
    }
}

/// Whether a rewrite is due that nobody asked for.
pub(super) fn is_rewrite_due(sys: &mut System) -> bool {
    let now = sys.now_us / 1000;
    let persist = &mut sys.persist;
    let Some(logging) = &mut persist.logging else {
        return false;
    };
    let lost = logging.log.trouble().is_some_and(|trouble| trouble.lost);
    if lost || logging.starting {
        return persist.rewrites.next_mending() <= now;
    }
    if !std::mem::take(&mut logging.grown) || sys.cfg.auto_aof_rewrite_percentage == 0 {
        return false;
    }
    let (size, base) = (logging.log.size(), logging.log.base_size().max(1));
    let growth = (size.saturating_mul(100) / base).saturating_sub(100);
    let due = size >= sys.cfg.auto_aof_rewrite_min_size
        && growth >= u64::from(sys.cfg.auto_aof_rewrite_percentage);
    if !due || persist.rewrites.is_too_early(now) {
        // It grows no further by itself, but its time comes.
        logging.grown |= due;
        return false;
    }
    tracing::info!("Starting automatic rewriting of AOF on {growth}% growth");
    true
}

/// Whether [`tick`] must look again before long.
#[inline]
pub(super) fn is_to_be_watched(sys: &System) -> bool {
    let persist = &sys.persist;
    if persist.logging.is_none() {
        return sys.cfg.appendonly;
    }
    persist
        .logging
        .as_ref()
        .is_some_and(|logging| logging.grown || logging.starting || logging.log.is_troubled())
}

/// When [`tick`] has something to do next.
#[inline]
pub(super) fn next_look(persist: &Persistence) -> Option<i64> {
    let logging = persist.logging.as_ref()?;
    let both = [logging.sync_at, logging.retry_at];
    both.into_iter().flatten().min()
}
