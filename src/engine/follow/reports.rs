//! What a leader is told of how far its replica has come.

use std::collections::VecDeque;

use crate::exec::State;
use crate::resp::encode_command;

/// How often a leader is told how far we are, in milliseconds, if that has not changed.
const ACK_EVERY: i64 = 1000;

/// And if it has.
const ACK_SOON: i64 = 100;

/// So many places are remembered of which it is not known whether they are on the disk.
const UNSYNCED_MOST: usize = 64;

/// What the leader has been told, and what it is to be told next.
#[derive(Debug)]
pub(super) struct Reports {
    /// When the leader was told something last.
    told: i64,
    /// And which offset; and to which we have come.
    acknowledged: u64,
    reached: u64,
    durable: u64,
    /// The leader wants to know how far we are.
    pub(super) asked: bool,
    /// Places of the own log, and the offsets that were reached there, of which it is not known whether they are on the disk.
    unsynced: VecDeque<(u64, u64)>,
}

impl Reports {
    /// Nothing was told since this time.
    pub(super) const fn begun(now: i64) -> Reports {
        Reports {
            told: now,
            acknowledged: 0,
            reached: 0,
            durable: 0,
            asked: false,
            unsynced: VecDeque::new(),
        }
    }

    /// The stream goes on from this offset, and the leader is to hear so at once.
    pub(super) const fn begin_at(&mut self, offset: u64) {
        self.acknowledged = offset;
        self.asked = true;
    }

    /// Whether the leader is to hear, for want of anything else, that we are still there; then it does.
    pub(super) fn is_sign_of_life_due(&mut self, now: i64) -> bool {
        let due = self.next_sign_of_life() <= now;
        if due {
            self.told = now;
        }
        due
    }

    /// When that is due.
    pub(super) const fn next_sign_of_life(&self) -> i64 {
        self.told + ACK_EVERY
    }

    /// How far the own log is on the disk.
    pub(super) fn look_at_log(&mut self, state: &mut State) {
        let offset = state.sys.repl.offset();
        let Some(logging) = &state.sys.persist.logging else {
            return;
        };
        let log = &logging.log;
        let at = log.appended() + state.fx.lasting_len() as u64;
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

    /// Tells the leader that we have come to this offset, if it is to know now.
    pub(super) fn acknowledge(&mut self, offset: u64, now: i64, out: &mut Vec<u8>) {
        self.reached = offset;
        if !self.asked && self.next() > now {
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
        encode_command(out, &words);
    }

    /// When the leader is to be told how far we are, whether or not it asks.
    pub(super) const fn next(&self) -> i64 {
        let wait = match self.reached == self.acknowledged {
            true => ACK_EVERY,
            false => ACK_SOON,
        };
        self.told + wait
    }
}
