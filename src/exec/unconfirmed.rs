//! Which replies wait for replicas (`sync-replicas`): those that show what enough of them have not confirmed.
//!
//! Whoever writes waits for its own write. Whoever reads waits for the last write to the keys that it names, if that is
//! unconfirmed; who reads without naming keys waits for all of them. What others leave for a client (messages, the end
//! of its wait) may show whatever was done before. Nobody else waits.
//!
//! Keys are remembered by their hash, whatever their database: two that share one wait for each other, and that is all.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::replication::{feed, leader};
use super::session::{Session, SessionId, Sessions};
use super::{Args, Effects, Entry, State, System};
use crate::ds::table::Seed;
use crate::keyspace::{Interest, Keyspace};
use crate::replication::gate::{Answers, Gate, Pass};
use crate::resp::{Proto, ReplyBuf, reply_len};
use crate::spec::{Group, flag};

/// More keys than this are not told apart: then everything waits for everything.
const KEYS_MOST: usize = 1 << 18;

/// Replicas that have not answered are asked again after so many milliseconds, if there is more to ask for.
const ASK_AGAIN: i64 = 100;

/// What is not confirmed, and what the running batch of commands has to wait for.
#[derive(Debug)]
pub struct Unconfirmed {
    gate: Arc<Gate>,
    on: bool,
    seed: Seed,
    /// By hash of a key: the offset behind its last write.
    keys: HashMap<u64, u64>,
    /// The same, in order; also of writes that were not the last.
    order: VecDeque<(u64, u64)>,
    /// Every key may have been written up to here.
    every_key: u64,
    /// The offset behind the last write.
    last: u64,
    unit: Unit,
    batch: Batch,
    asked: Option<Asked>,
    /// It is to be looked how far the replicas are.
    looks: bool,
    /// What the batch waited for when nothing could be confirmed any more.
    ended: Option<Pass>,
}

/// What the running unit of work does.
#[derive(Debug, Default)]
struct Unit {
    /// It has changed something that is propagated.
    wrote: bool,
    /// These keys, by their hashes.
    keys: Vec<u64>,
    /// Or all keys.
    every_key: bool,
    /// The offset behind the last unconfirmed write to what it has read.
    read: u64,
}

/// What the replies of the running batch wait for.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    offset: u64,
    answers: Answers,
}

/// A question to the replicas that is on its way.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// Behind this offset.
    offset: u64,
    at: i64,
}

impl Unconfirmed {
    /// Nobody waits.
    pub fn new(seed: Seed) -> Unconfirmed {
        Unconfirmed {
            gate: Arc::default(),
            on: false,
            seed,
            keys: HashMap::default(),
            order: VecDeque::new(),
            every_key: 0,
            last: 0,
            unit: Unit::default(),
            batch: Batch::default(),
            asked: None,
            looks: false,
            ended: None,
        }
    }

    /// What those who wait stand in front of.
    pub const fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Whether anybody has to wait at all.
    #[inline]
    pub const fn is_on(&self) -> bool {
        self.on
    }

    /// Bytes used.
    pub fn memory(&self) -> usize {
        const PAIR: usize = 16;
        // A table is about three quarters full.
        self.keys.capacity() * PAIR * 4 / 3 + self.order.capacity() * PAIR
    }

    fn is_all_confirmed(&self) -> bool {
        self.last <= self.gate.confirmed()
    }

    /// The running command has changed something that is propagated.
    #[inline]
    pub(super) fn note_write(&mut self) {
        self.unit.wrote = true;
    }

    /// It has changed this key.
    pub(super) fn note_key(&mut self, key: &[u8]) {
        if self.unit.keys.len() < KEYS_MOST {
            self.unit.keys.push(self.seed.hash(key));
        } else {
            self.unit.every_key = true;
        }
    }

    /// It has changed all keys of a database.
    pub(super) fn note_every_key(&mut self) {
        self.unit.every_key = true;
    }

    /// The running command has found out something about keys that it does not name.
    pub(crate) fn note_read_of_all(&mut self) {
        self.unit.read = self.unit.read.max(self.last);
    }

    /// A command has run that may have read something.
    pub(super) fn note_reads(&mut self, row: &'static Entry, args: Args<'_>) {
        if self.is_all_confirmed() {
            return;
        }
        if row.row.group == Group::Scripting {
            // What a script reads, its own commands do. Functions are no keys.
            self.unit.read = self.unit.read.max(self.every_key);
        } else if row.flags.has(flag::READONLY) || row.flags.has(flag::WRITE) {
            self.note_keys_read(row, args);
        }
    }

    fn note_keys_read(&mut self, row: &'static Entry, args: Args<'_>) {
        let all = args.all();
        let Ok(keys) = row.keys(&all) else {
            return;
        };
        if keys.is_empty() || reads_others(row, all) {
            return self.note_read_of_all();
        }
        for key in keys {
            let hash = self.seed.hash(args.at(key.pos as usize));
            let written = self.keys.get(&hash).copied().unwrap_or(0);
            self.unit.read = self.unit.read.max(written).max(self.every_key);
        }
    }

    /// The unit of work is over; its effects end at this offset. Gives what its reply has to wait for; 0 is nothing.
    fn end_unit(&mut self, end: u64) -> u64 {
        let read = std::mem::take(&mut self.unit.read);
        if !std::mem::take(&mut self.unit.wrote) {
            // Keys that changed without being propagated are nobody else's.
            self.unit.keys.clear();
            self.unit.every_key = false;
            return if read > self.gate.confirmed() {
                read
            } else {
                0
            };
        }
        // What belongs to no key, such as functions, is found out by whoever looks.
        let every_key = std::mem::take(&mut self.unit.every_key) || self.unit.keys.is_empty();
        if every_key || self.order.len() + self.unit.keys.len() > KEYS_MOST {
            self.forget_keys();
            self.every_key = end;
        }
        for hash in self.unit.keys.drain(..) {
            if !every_key && self.keys.insert(hash, end) != Some(end) {
                self.order.push_back((end, hash));
            }
        }
        self.unit.keys.shrink_to(1024);
        self.last = end;
        end
    }

    fn forget_keys(&mut self) {
        self.keys = HashMap::default();
        self.order = VecDeque::new();
    }

    /// What is confirmed need not be remembered.
    fn prune(&mut self) {
        let confirmed = self.gate.confirmed();
        while let Some(&(offset, hash)) = self.order.front()
            && offset <= confirmed
        {
            self.order.pop_front();
            // Unless it was written again.
            if self.keys.get(&hash) == Some(&offset) {
                self.keys.remove(&hash);
            }
        }
    }

    /// A command of the batch has answered here, if anything, and its reply waits for this offset.
    #[cold]
    pub(crate) fn answered(&mut self, range: Range<usize>, offset: u64) {
        if !range.is_empty() {
            self.batch.offset = self.batch.offset.max(offset);
            self.batch.answers.add(range);
        }
    }

    /// Begins another batch, and gives what the one so far has to wait for.
    pub(crate) fn take_batch(&mut self) -> Batch {
        std::mem::take(&mut self.batch)
    }

    /// Goes on with a batch.
    pub(crate) fn resume_batch(&mut self, batch: Batch) {
        self.batch = batch;
    }
}

/// Whether a command reads keys beside those that it names, as SORT does with BY and GET.
fn reads_others(row: &Entry, args: &[&[u8]]) -> bool {
    let is_pattern =
        |arg: &&[u8]| arg.eq_ignore_ascii_case(b"by") || arg.eq_ignore_ascii_case(b"get");
    matches!(row.row.name, "sort" | "sort_ro") && args.iter().any(is_pattern)
}

/// The configuration may have changed, or the part that this instance plays.
pub(super) fn configure(ks: &mut Keyspace, sys: &mut System) {
    let needed = match sys.repl.is_replica() {
        true => 0,
        false => sys.cfg.sync_replicas,
    };
    let patience = i64::try_from(sys.cfg.sync_replicas_timeout).unwrap_or(i64::MAX);
    let this = &mut sys.unconfirmed;
    this.on = needed > 0;
    this.looks = this.on;
    this.gate.configure(needed, patience, sys.repl.offset());
    if !this.on {
        this.forget_keys();
        (this.every_key, this.last, this.asked) = (0, 0, None);
        this.batch = Batch::default();
    }
    ks.log.interest.set(Interest::UNCONFIRMED, needed > 0);
}

/// This instance has a data set that it was given, or loaded, and leads from now on. Whether enough replicas have what the
/// last writes to it have left nobody knows: it is shown to nobody before they have everything that is there.
pub fn doubt(state: &mut State) {
    let State {
        ks, sys, sessions, ..
    } = state;
    let this = &mut sys.unconfirmed;
    let offset = sys.repl.offset();
    let is_empty = (0..ks.databases()).all(|db| ks.db(db).is_none_or(|db| db.is_empty()));
    if !this.on || offset == 0 && is_empty && sys.libraries.is_empty() {
        return;
    }
    // Where there was no stream yet, whoever has anything of it has all that was there.
    this.forget_keys();
    this.every_key = offset + 1;
    this.last = offset + 1;
    this.looks = true;
    this.gate.doubt();
    // Something to have of it, so that the first answer is enough.
    feed::say(sys, sessions, &[b"PING"]);
}

/// Sees to it that there is a stream for replicas to confirm, whether or not there is one of them.
pub(crate) fn begin(state: &mut State) {
    if state.sys.unconfirmed.on && !state.sys.repl.leads() {
        feed::begin_stream(state);
    }
}

/// This instance follows another one from now on: whoever waits has waited in vain.
pub(super) fn give_up(state: &mut State) {
    let State { ks, sys, .. } = state;
    sys.unconfirmed.ended = pass(sys);
    sys.unconfirmed.gate.end_history();
    configure(ks, sys);
}

/// The offset behind everything that was done.
fn end(sys: &System, fx: &Effects) -> u64 {
    sys.repl.offset() + fx.streamed_len() as u64
}

/// A unit of work is over. Gives what its reply has to wait for; 0 is nothing.
#[inline]
pub(crate) fn end_unit(state: &mut State) -> u64 {
    match state.sys.unconfirmed.on {
        true => note_unit(state),
        false => 0,
    }
}

fn note_unit(state: &mut State) -> u64 {
    begin(state);
    let end = end(&state.sys, &state.fx);
    state.sys.unconfirmed.end_unit(end)
}

/// Moves what waits in a client's outbox to `out`. It may show whatever was done before.
#[inline]
pub fn hand_over(state: &mut State, sid: SessionId, out: &mut ReplyBuf) {
    let from = out.len();
    state.sessions.hand_over(sid, out);
    if state.sys.unconfirmed.on && out.len() > from {
        note_handed_over(state, sid, from, out.as_slice());
    }
}

#[cold]
fn note_handed_over(state: &mut State, sid: SessionId, from: usize, out: &[u8]) {
    let end = end(&state.sys, &state.fx);
    let this = &mut state.sys.unconfirmed;
    // What a unit has done that is not over is known to replicas as soon as anything is that comes behind.
    let offset = if this.unit.wrote { end + 1 } else { this.last };
    let Some(session) = state.sessions.get(sid) else {
        return;
    };
    if offset <= this.gate.confirmed() || session.is_replica() {
        return;
    }
    this.batch.offset = this.batch.offset.max(offset);
    let left = out.get(from..).unwrap_or_default();
    if !only_hears(session) && holds_reply(left) {
        this.batch.answers.add(from..out.len());
    }
}

/// Whether what others leave for a client cannot be told from replies, and is none.
fn only_hears(session: &Session) -> bool {
    session.monitors || session.subscriptions.is_some() && session.proto == Proto::Resp2
}

/// Whether there is more in this than pushes: the end of a wait.
fn holds_reply(mut left: &[u8]) -> bool {
    while left.starts_with(b">") {
        left = reply_len(left)
            .and_then(|len| left.get(len..))
            .unwrap_or_default();
    }
    !left.is_empty()
}

/// The end of a batch of commands: before its effects go into the stream.
#[inline]
pub(super) fn settle(state: &mut State) {
    if state.sys.unconfirmed.on {
        settle_batch(state);
    }
}

fn settle_batch(state: &mut State) {
    // Units that no client's command began.
    note_unit(state);
    let State { sys, sessions, .. } = state;
    if std::mem::take(&mut sys.unconfirmed.looks) {
        look(sys, sessions);
    }
    if is_to_ask(sys, sessions) {
        feed::ask(sys);
    }
}

/// What the replies have to wait for that were written or handed over, if they must.
#[inline]
pub(super) fn pass(sys: &mut System) -> Option<Pass> {
    let this = &mut sys.unconfirmed;
    if this.batch.offset == 0 && this.ended.is_none() {
        return None;
    }
    this.gate.tick(sys.clock.0.now_ms());
    let Batch { offset, answers } = this.take_batch();
    let ended = this.ended.take();
    ended.or_else(|| (offset > this.gate.confirmed()).then(|| this.gate.pass(offset, answers)))
}

/// Whether the replicas are to be asked how far they are: they have not said so of everything, and are not asked already.
fn is_to_ask(sys: &mut System, sessions: &Sessions) -> bool {
    // Who is not there yet is asked when it is.
    if sys.unconfirmed.is_all_confirmed() || leader::online(sys, sessions).next().is_none() {
        return false;
    }
    let at = sys.now_us / 1000;
    let this = &mut sys.unconfirmed;
    let offset = this.last;
    let waits = this.asked.is_some_and(|asked| {
        let open = asked.offset > this.gate.confirmed();
        open && (at - asked.at < ASK_AGAIN || asked.offset >= offset)
    });
    if !waits {
        this.asked = Some(Asked { offset, at });
    }
    !waits
}

/// A replica follows the stream from now on: it was not asked anything yet.
pub(super) fn joined(sys: &mut System) {
    sys.unconfirmed.asked = None;
    sys.unconfirmed.looks = true;
}

/// Replicas have come, gone or said how far they are.
pub(super) fn look(sys: &mut System, sessions: &Sessions) {
    if !sys.unconfirmed.on {
        return;
    }
    let needed = usize::try_from(sys.cfg.sync_replicas).unwrap_or(usize::MAX);
    let durable = sys.cfg.sync_replicas_durable;
    let mut reached: Vec<u64> = leader::online(sys, sessions)
        .map(|replica| {
            if durable {
                replica.durable
            } else {
                replica.acknowledged
            }
        })
        .collect();
    reached.sort_unstable_by(|a, b| b.cmp(a));
    if let Some(&offset) = needed.checked_sub(1).and_then(|n| reached.get(n)) {
        sys.unconfirmed.gate.confirm(offset);
        sys.unconfirmed.prune();
    }
}
