//! What a connection has answered and its peer has not taken, and what of it has to wait for the disk or for replicas.

use std::collections::VecDeque;
use std::sync::Arc;

use super::buffers::Queue;
use crate::exec::ticket::Ticket;
use crate::resp::ReplyBuf;
use crate::util::waiting::{Confirmed, Reached};

/// Bytes on their way out, in order.
#[derive(Default)]
pub(super) struct Outgoing {
    queue: Queue,
    /// The parts that wait. What is between them goes with the one before.
    parts: VecDeque<Part>,
    /// How many of them keep the client from being served.
    stopping: usize,
    /// How many bytes have gone: positions count from the first byte ever.
    gone: u64,
}

/// Bytes that wait.
struct Part {
    start: u64,
    end: u64,
    ticket: Ticket,
}

/// Nobody can say whether what was answered will outlast a crash.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost;

impl Outgoing {
    pub(super) const fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether something waits.
    pub(super) fn is_held(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Whether the client has to be answered before it is served again. Else it could be kept from that for ever, by what
    /// others leave for it.
    pub(super) const fn stops(&self) -> bool {
        self.stopping > 0
    }

    /// What may be sent.
    pub(super) fn sendable(&self) -> &[u8] {
        let bytes = self.queue.bytes();
        match self.parts.front() {
            None => bytes,
            Some(part) => bytes.get(..self.index(part.start)).unwrap_or_default(),
        }
    }

    /// So much of it was sent.
    pub(super) fn consume(&mut self, n: usize) {
        self.queue.consume(n);
        self.gone += n as u64;
    }

    /// Takes over what `reply` holds behind its first `skip` bytes.
    pub(super) fn take_reply(&mut self, reply: &mut ReplyBuf, skip: usize) {
        self.queue.take_reply(reply, skip);
        reply.clear();
    }

    /// What stands in `reply` waits, if it must: it is taken over then. Otherwise it is left, as it is or with errors.
    pub(super) fn hold(
        &mut self,
        ticket: Ticket,
        reply: &mut ReplyBuf,
        who: &Arc<dyn Confirmed>,
    ) -> Result<(), Lost> {
        match ticket.reached_or_tell(who) {
            Reached::Yes => {}
            Reached::Later => {
                let start = self.end();
                self.take_reply(reply, 0);
                let end = self.end();
                self.stopping += usize::from(ticket.stops());
                self.parts.push_back(Part { start, end, ticket });
            }
            Reached::TimedOut => {
                let mut refused = ticket.refuse(reply.as_slice());
                reply.swap(&mut refused);
            }
            Reached::Lost => return Err(Lost),
        }
        Ok(())
    }

    /// Something that was waited for may have been reached, or may no longer be.
    pub(super) fn look(&mut self) -> Result<(), Lost> {
        while let Some(part) = self.parts.front() {
            match part.ticket.reached() {
                Reached::Later => break,
                Reached::Lost => return Err(Lost),
                Reached::Yes => drop(self.pop()),
                Reached::TimedOut => self.refuse_first(),
            }
        }
        Ok(())
    }

    fn pop(&mut self) -> Option<Part> {
        let part = self.parts.pop_front()?;
        self.stopping -= usize::from(part.ticket.stops());
        Some(part)
    }

    /// Replaces what waited in vain.
    #[cold]
    fn refuse_first(&mut self) {
        let Some(part) = self.pop() else {
            return;
        };
        let range = self.index(part.start)..self.index(part.end);
        let written = self.queue.bytes().get(range.clone()).unwrap_or_default();
        let refused = part.ticket.refuse(written);
        let (before, after) = (range.len() as u64, refused.len() as u64);
        self.queue.replace(range, &refused);
        for later in &mut self.parts {
            later.start = later.start - before + after;
            later.end = later.end - before + after;
        }
    }

    /// Where a position is in the queue. What waits has not gone.
    fn index(&self, position: u64) -> usize {
        usize::try_from(position.saturating_sub(self.gone)).unwrap_or(usize::MAX)
    }

    fn end(&self) -> u64 {
        self.gone + self.queue.len() as u64
    }

    pub(super) fn clear(&mut self) {
        self.gone = self.end();
        self.queue.clear();
        self.parts.clear();
        self.stopping = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::gate::{Answers, Gate};
    use crate::resp::Proto;
    use crate::server::signal::Signal;

    struct Rig {
        gate: Arc<Gate>,
        out: Outgoing,
        who: Arc<dyn Confirmed>,
        sent: String,
    }

    impl Rig {
        fn new() -> Rig {
            let gate = Arc::new(Gate::default());
            gate.configure(1, 100, 0);
            Rig {
                gate,
                out: Outgoing::default(),
                who: Arc::new(Signal::default()),
                sent: String::new(),
            }
        }

        /// Answers something that waits for an offset; 0 is nothing.
        fn answer(&mut self, text: &str, offset: u64) {
            let mut reply = ReplyBuf::new(Proto::Resp2);
            reply.simple(text);
            if offset > 0 {
                let mut answers = Answers::default();
                answers.add(0..reply.len());
                let pass = self.gate.pass(offset, answers);
                let ticket = Ticket::of(None, Some(pass)).unwrap();
                self.out.hold(ticket, &mut reply, &self.who).unwrap();
            }
            self.out.take_reply(&mut reply, 0);
        }

        /// Sends what may be sent, at most `n` bytes at once, and says all that was sent, errors as `!`.
        fn sent(&mut self, n: usize) -> String {
            self.out.look().unwrap();
            while let bytes @ [_, ..] = self.out.sendable() {
                let now = bytes.len().min(n);
                self.sent
                    .push_str(std::str::from_utf8(&bytes[..now]).unwrap());
                self.out.consume(now);
            }
            let lines = self.sent.lines().map(|line| match line.starts_with('-') {
                true => "!",
                false => &line[1..],
            });
            lines.collect::<Vec<_>>().join(" ")
        }
    }

    #[test]
    fn what_stood_before_goes_and_what_comes_behind_waits_too() {
        let mut rig = Rig::new();
        rig.answer("a", 0);
        rig.answer("b", 5);
        rig.answer("c", 0);
        rig.answer("d", 7);
        rig.answer("e", 0);
        assert_eq!(rig.sent(3), "a");
        assert!(rig.out.is_held() && rig.out.stops() && !rig.out.is_empty());
        rig.gate.confirm(5);
        assert_eq!(rig.sent(3), "a b c");
        rig.gate.confirm(7);
        assert_eq!(rig.sent(3), "a b c d e");
        assert!(!rig.out.is_held() && !rig.out.stops() && rig.out.is_empty());
    }

    #[test]
    fn what_others_have_left_does_not_keep_the_client_from_being_served() {
        let mut rig = Rig::new();
        let mut reply = ReplyBuf::new(Proto::Resp2);
        reply.simple("message");
        let pass = rig.gate.pass(5, Answers::default());
        let ticket = Ticket::of(None, Some(pass)).unwrap();
        rig.out.hold(ticket, &mut reply, &rig.who).unwrap();
        assert!(rig.out.is_held() && !rig.out.stops());
        rig.answer("a", 0);
        assert_eq!(rig.sent(9), "");
        // It comes late, and is no reply.
        rig.gate.tick(100);
        assert_eq!(rig.sent(9), "message a");
    }

    #[test]
    fn an_error_takes_the_place_of_what_waited_in_vain() {
        let mut rig = Rig::new();
        rig.answer("a", 0);
        rig.answer("b", 5);
        rig.answer("c", 0);
        rig.gate.tick(50);
        rig.answer("d", 6);
        rig.answer("e", 0);
        assert_eq!(rig.sent(100), "a");
        rig.gate.tick(100);
        assert_eq!(rig.sent(1), "a ! c");
        rig.gate.tick(150);
        assert_eq!(rig.sent(2), "a ! c ! e");
        assert_eq!(rig.gate.figures().timeouts, 2);
        // At once, where there is no time at all.
        rig.gate.configure(1, 0, 0);
        rig.answer("f", 9);
        assert_eq!(rig.sent(2), "a ! c ! e !");
    }

    #[test]
    fn nothing_is_held_that_was_dropped() {
        let mut rig = Rig::new();
        rig.answer("a", 5);
        rig.out.clear();
        assert!(!rig.out.is_held() && rig.out.is_empty());
        rig.answer("b", 0);
        rig.answer("c", 6);
        assert_eq!(rig.sent(9), "b");
        rig.gate.confirm(6);
        assert_eq!(rig.sent(9), "b c");
    }
}
