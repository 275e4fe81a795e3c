//! What holds replies back until enough replicas have what they show (`sync-replicas`).
//!
//! The engine says, under its lock, how far the replicas have come and what time it is; a reply that has to wait has a
//! [`Pass`], which its connection looks at without that lock. Offsets count the bytes of the stream of effects. They can
//! be compared within one history only: where that ends, nobody waits any longer.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};
use smallvec::SmallVec;

use crate::resp::reply_len;
use crate::util::waiting::{Confirmed, Reached};

type Tell = Box<dyn Fn() + Send + Sync>;

/// Where in a buffer the replies stand that have to wait, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    ranges: SmallVec<[Range<usize>; 1]>,
    replies: usize,
}

impl Answers {
    /// One more, behind the others. A command that answers nothing does not count.
    pub fn add(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        self.replies += 1;
        match self.ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.ranges.push(range),
        }
    }
}

/// Shared by the engine, which opens it, and those who wait in front of it.
pub struct Gate {
    /// How many replicas must have acknowledged an offset; 0 while nobody has to wait.
    needed: AtomicU32,
    /// How long a reply waits, in milliseconds.
    patience: AtomicI64,
    /// So many have acknowledged everything up to here.
    confirmed: AtomicU64,
    /// The history that offsets belong to, by number.
    history: AtomicU64,
    /// The time as the engine said it last, unix milliseconds.
    now: AtomicI64,
    /// The engine will look at the time then. No deadline of a [`Waiter`] is earlier.
    watched: AtomicI64,
    /// Somebody may have to be woken.
    due: AtomicBool,
    waiting: Mutex<Vec<Waiter>>,
    /// Has the engine's driver look at [`Gate::next_deadline`] again.
    tell: Mutex<Option<Tell>>,
    /// The longest wait that is over, in milliseconds.
    worst: AtomicI64,
    /// Replies that were given up.
    timeouts: AtomicU64,
}

struct Waiter {
    offset: u64,
    history: u64,
    since: i64,
    deadline: i64,
    /// Replies that wait with it.
    replies: usize,
    who: Arc<dyn Confirmed>,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate {
            needed: AtomicU32::new(0),
            patience: AtomicI64::new(0),
            confirmed: AtomicU64::new(u64::MAX),
            history: AtomicU64::new(0),
            now: AtomicI64::new(0),
            watched: AtomicI64::new(i64::MAX),
            due: AtomicBool::new(false),
            waiting: Mutex::default(),
            tell: Mutex::default(),
            worst: AtomicI64::new(0),
            timeouts: AtomicU64::new(0),
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("needed", &self.needed)
            .field("confirmed", &self.confirmed)
            .finish_non_exhaustive()
    }
}

/// What is told of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Replies that wait.
    pub waiting: usize,
    /// How long one has waited at most, in milliseconds: one that has gone out, or still waits.
    pub worst_wait: i64,
    /// Replies that were given up, and errors in their place.
    pub timeouts: u64,
}

impl Gate {
    /// Whether anybody has to wait at all.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.needed.load(Ordering::Relaxed) > 0
    }

    /// Sets what is called, by whoever begins to wait, when [`next_deadline`](Self::next_deadline) has become earlier.
    /// It must not wait for the engine.
    pub fn on_earlier(&self, tell: impl Fn() + Send + Sync + 'static) {
        *self.tell.lock() = Some(Box::new(tell));
    }

    /// From now on so many replicas are needed, and waited for so many milliseconds. The stream has come to `offset`:
    /// what was done while none were needed is never waited for. If none are needed any more, nobody waits.
    pub fn configure(&self, needed: u32, patience: i64, offset: u64) {
        self.patience.store(patience, Ordering::Relaxed);
        let before = self.needed.swap(needed, Ordering::SeqCst);
        if needed == 0 {
            self.set_confirmed(u64::MAX);
        } else if before == 0 {
            // Not less than anybody's offset who waited when it was switched off.
            self.set_confirmed(offset);
        }
    }

    /// The history ends: whoever waits has lost, and offsets begin anew behind this one. Nobody is needed for now.
    pub fn end_history(&self) {
        self.history.fetch_add(1, Ordering::SeqCst);
        self.needed.store(0, Ordering::SeqCst);
        self.set_confirmed(u64::MAX);
    }

    fn set_confirmed(&self, offset: u64) {
        self.confirmed.store(offset, Ordering::SeqCst);
        self.due.store(true, Ordering::SeqCst);
    }

    /// Nobody is known to have acknowledged anything.
    pub fn doubt(&self) {
        self.set_confirmed(0);
    }

    /// Enough replicas have acknowledged everything up to this offset. Those who wait for that are woken by
    /// [`wake`](Self::wake).
    pub fn confirm(&self, offset: u64) {
        if self.confirmed.fetch_max(offset, Ordering::SeqCst) < offset {
            self.due.store(true, Ordering::SeqCst);
        }
    }

    /// Up to where they have; everything while none are needed.
    #[inline]
    pub fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Acquire)
    }

    /// The time goes on, in unix milliseconds. Who has waited for too long is woken by [`wake`](Self::wake).
    #[inline]
    pub fn tick(&self, now: i64) {
        self.now.store(now, Ordering::SeqCst);
        if now >= self.watched.load(Ordering::Acquire) {
            self.look_at_deadlines(now);
        }
    }

    #[cold]
    fn look_at_deadlines(&self, now: i64) {
        let waiting = self.waiting.lock();
        let deadlines = waiting.iter().map(|waiter| waiter.deadline);
        let next = deadlines.filter(|&at| at > now).min();
        self.watched
            .store(next.unwrap_or(i64::MAX), Ordering::Release);
        self.due.store(true, Ordering::SeqCst);
    }

    /// When [`tick`](Self::tick) has something to do next.
    #[inline]
    pub fn next_deadline(&self) -> Option<i64> {
        let at = self.watched.load(Ordering::Acquire);
        (at != i64::MAX).then_some(at)
    }

    /// Wakes those whose wait is over; whether there may have been any. Best called without the engine's lock: they will
    /// want it.
    #[inline]
    pub fn wake(&self) -> bool {
        let due = self.due.load(Ordering::Relaxed) && self.due.swap(false, Ordering::SeqCst);
        if due {
            self.wake_done();
        }
        due
    }

    fn wake_done(&self) {
        let mut waiting = self.waiting.lock();
        let is_done = |waiter: &mut Waiter| {
            self.look(waiter.history, waiter.offset, waiter.deadline) != Reached::Later
        };
        let done: Vec<_> = waiting.extract_if(.., is_done).collect();
        drop(waiting);
        let now = self.now.load(Ordering::Relaxed);
        for waiter in done {
            self.worst.fetch_max(now - waiter.since, Ordering::Relaxed);
            waiter.who.confirmed();
        }
    }

    fn look(&self, history: u64, offset: u64, deadline: i64) -> Reached {
        if history != self.history.load(Ordering::SeqCst) {
            Reached::TimedOut
        } else if self.confirmed() >= offset {
            Reached::Yes
        } else if self.now.load(Ordering::SeqCst) >= deadline {
            Reached::TimedOut
        } else {
            Reached::Later
        }
    }

    /// A pass for replies that show what the stream says up to `offset`. To be called by the engine, at the time that it
    /// said last.
    pub fn pass(self: &Arc<Gate>, offset: u64, answers: Answers) -> Pass {
        let since = self.now.load(Ordering::Relaxed);
        let patience = self.patience.load(Ordering::Relaxed);
        Pass {
            gate: Arc::clone(self),
            offset,
            history: self.history.load(Ordering::Relaxed),
            since,
            deadline: since.saturating_add(patience),
            needed: self.needed.load(Ordering::Relaxed),
            answers,
        }
    }

    /// What there is to be told.
    pub fn figures(&self) -> Figures {
        let waiting = self.waiting.lock();
        let now = self.now.load(Ordering::Relaxed);
        let waits = waiting.iter().map(|waiter| now - waiter.since);
        let worst = self.worst.load(Ordering::Relaxed);
        Figures {
            waiting: waiting.iter().map(|waiter| waiter.replies).sum(),
            worst_wait: waits.fold(worst, i64::max),
            timeouts: self.timeouts.load(Ordering::Relaxed),
        }
    }

    /// Counts from here on (CONFIG RESETSTAT).
    pub fn reset_figures(&self) {
        self.worst.store(0, Ordering::Relaxed);
        self.timeouts.store(0, Ordering::Relaxed);
    }
}

/// What some replies wait for.
#[derive(Debug, Clone)]
pub struct Pass {
    gate: Arc<Gate>,
    offset: u64,
    history: u64,
    since: i64,
    deadline: i64,
    needed: u32,
    /// Where those replies stand, in the buffer that they were written to.
    answers: Answers,
}

impl PartialEq for Pass {
    fn eq(&self, other: &Pass) -> bool {
        let of = |pass: &Pass| (pass.offset, pass.history, pass.since, pass.deadline);
        Arc::ptr_eq(&self.gate, &other.gate)
            && of(self) == of(other)
            && self.answers == other.answers
    }
}

impl Eq for Pass {}

impl Pass {
    /// Whether there are replies among what waits.
    pub const fn has_answers(&self) -> bool {
        self.answers.replies > 0
    }

    /// Whether they may go.
    pub fn reached(&self) -> Reached {
        self.gate.look(self.history, self.offset, self.deadline)
    }

    /// The same; if they may not yet, `who` is told when that changes.
    pub fn reached_or_tell(&self, who: &Arc<dyn Confirmed>) -> Reached {
        let gate = &*self.gate;
        let mut waiting = gate.waiting.lock();
        // Under the lock: whoever opens the gate looks at the list behind that.
        let reached = self.reached();
        if reached != Reached::Later {
            return reached;
        }
        waiting.push(Waiter {
            offset: self.offset,
            history: self.history,
            since: self.since,
            deadline: self.deadline,
            replies: self.answers.replies,
            who: Arc::clone(who),
        });
        let earlier = self.deadline < gate.watched.load(Ordering::Acquire);
        if earlier {
            gate.watched.store(self.deadline, Ordering::Release);
        }
        drop(waiting);
        if earlier && let Some(tell) = gate.tell.lock().as_ref() {
            tell();
        }
        reached
    }

    /// Waits; says how that ended.
    pub fn wait(&self) -> Reached {
        let bell = Arc::new(Bell::default());
        let who: Arc<dyn Confirmed> = Arc::clone(&bell) as _;
        loop {
            match self.reached_or_tell(&who) {
                Reached::Later => bell.wait(),
                reached => return reached,
            }
        }
    }

    /// Puts an error in the place of each reply that has waited in vain. `written` is the buffer that they were written
    /// to. What the client did not ask for stays.
    pub fn refuse(&self, written: &[u8]) -> Vec<u8> {
        let error = self.error();
        let mut out = Vec::with_capacity(written.len().min(4096) + error.len());
        let (mut at, mut refused) = (0, 0);
        for range in &self.answers.ranges {
            let start = range.start.clamp(at, written.len());
            let end = range.end.clamp(start, written.len());
            out.extend_from_slice(written.get(at..start).unwrap_or_default());
            refused += replace(
                written.get(start..end).unwrap_or_default(),
                &error,
                &mut out,
            );
            at = end;
        }
        out.extend_from_slice(written.get(at..).unwrap_or_default());
        self.gate.timeouts.fetch_add(refused, Ordering::Relaxed);
        out
    }

    fn error(&self) -> Vec<u8> {
        let noun = if self.needed == 1 {
            "replica"
        } else {
            "replicas"
        };
        let until = match self.gate.history.load(Ordering::Relaxed) == self.history {
            true => format!("within {} ms", self.deadline.saturating_sub(self.since)),
            false => "before this server began to follow another one".to_owned(),
        };
        let needed = self.needed;
        format!("-NOREPLICAS the write was applied here, but not confirmed by {needed} {noun} {until}\r\n")
            .into_bytes()
    }
}

/// Copies replies with an `error` in place of each, and pushes as they are; returns how many errors there are.
fn replace(mut replies: &[u8], error: &[u8], out: &mut Vec<u8>) -> u64 {
    let mut replaced = 0;
    while !replies.is_empty() {
        let len = reply_len(replies).unwrap_or(replies.len());
        let (reply, rest) = replies.split_at(len);
        if reply.starts_with(b">") {
            out.extend_from_slice(reply);
        } else {
            out.extend_from_slice(error);
            replaced += 1;
        }
        replies = rest;
    }
    replaced
}

/// What a thread waits for that has nothing else to do.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    condvar: Condvar,
}

impl Bell {
    fn wait(&self) {
        let mut rung = self.rung.lock();
        while !std::mem::take(&mut *rung) {
            self.condvar.wait(&mut rung);
        }
    }
}

impl Confirmed for Bell {
    fn confirmed(&self) {
        *self.rung.lock() = true;
        self.condvar.notify_one();
    }
}

#[cfg(test)]
mod tests;
