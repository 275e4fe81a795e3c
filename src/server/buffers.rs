//! Buffers of connections: what a worker thread lends, and what a connection owns.

use std::cell::Cell;
use std::ops::Range;

use crate::resp::{Batch, Proto, ReplyBuf};

/// Bytes read at once.
pub(super) const READ: usize = 64 * 1024;

/// A hold of the lock ends when this much has been answered.
pub(super) const REPLY_PER_HOLD: usize = 256 * 1024;

/// A buffer up to this size stays with its connection when it is empty: most connections are idle.
const KEEP: usize = 512;

/// So much room is made for what a client announces.
const ANNOUNCED: usize = 512 * 1024;

/// From this size on a buffer is taken over and not copied.
const LARGE: usize = 16 * 1024;

/// What a worker thread lends to the connection that it polls.
pub(super) struct Worker {
    /// Always [`READ`] bytes.
    pub(super) read: Vec<u8>,
    pub(super) batch: Batch,
    pub(super) reply: ReplyBuf,
}

thread_local! {
    static WORKER: Cell<Option<Box<Worker>>> = const { Cell::new(None) };
}

impl Worker {
    /// The buffers of this thread, or new ones while those are lent.
    pub(super) fn borrow() -> Box<Self> {
        WORKER.take().unwrap_or_else(|| {
            Box::new(Self {
                read: vec![0; READ],
                batch: Batch::new(),
                reply: ReplyBuf::new(Proto::Resp2),
            })
        })
    }

    pub(super) fn give_back(mut self: Box<Self>) {
        self.reply.clear();
        if self.reply.capacity() > 4 * REPLY_PER_HOLD {
            let _ = self.reply.take();
        }
        WORKER.set(Some(self));
    }
}

/// Bytes that come in at the back and go out at the front.
#[derive(Default)]
pub(super) struct Queue {
    buf: Vec<u8>,
    start: usize,
}

impl Queue {
    pub(super) fn bytes(&self) -> &[u8] {
        self.buf.get(self.start..).unwrap_or_default()
    }

    pub(super) const fn len(&self) -> usize {
        self.buf.len() - self.start
    }

    /// Room that is left without growing.
    pub(super) const fn spare(&self) -> usize {
        self.buf.capacity() - self.buf.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds bytes at the back. Where it has to grow it grows by a quarter, but not beyond what is `expected` to come, if
    /// that is known. Nobody gets much room for what he only announces.
    pub(super) fn extend(&mut self, bytes: &[u8], expected: usize) {
        let room = self.buf.capacity() - self.buf.len();
        if bytes.len() > room {
            let len = self.buf.len() + bytes.len();
            let more = match expected.saturating_sub(bytes.len()) {
                _ if expected == 0 => len / 4,
                rest @ ..=ANNOUNCED => rest,
                rest => (len / 4).min(rest),
            };
            self.buf.reserve_exact(bytes.len() + more);
        }
        self.buf.extend_from_slice(bytes);
    }

    /// Puts bytes back before all others.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        self.buf.splice(..self.start, bytes.iter().copied());
        self.start = 0;
    }

    /// Puts bytes in the place of others.
    pub(super) fn replace(&mut self, range: Range<usize>, bytes: &[u8]) {
        let at = |i: usize| (self.start + i).min(self.buf.len());
        let range = at(range.start)..at(range.end);
        self.buf.splice(range, bytes.iter().copied());
    }

    /// Takes over what `reply` holds behind its first `skip` bytes, without copying much.
    pub(super) fn take_reply(&mut self, reply: &mut ReplyBuf, skip: usize) {
        let rest = reply.as_slice().get(skip..).unwrap_or_default();
        if self.is_empty() && rest.len() > LARGE {
            reply.swap(&mut self.buf);
            self.start = skip;
        } else {
            self.buf.extend_from_slice(rest);
        }
    }

    /// Drops bytes from the front. The rest is moved only when it is the lesser part.
    pub(super) fn consume(&mut self, n: usize) {
        self.start += n;
        if self.is_empty() {
            self.clear();
        } else if self.start > self.buf.len() / 2 {
            self.buf.drain(..self.start);
            self.start = 0;
        }
    }

    pub(super) fn clear(&mut self) {
        self.start = 0;
        self.buf.clear();
        if self.buf.capacity() > KEEP {
            self.buf = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_gives_what_it_took_in_order() {
        let mut queue = Queue::default();
        let (mut next_in, mut next_out) = (0u32, 0u32);
        for round in 0..2000usize {
            for _ in 0..round % 7 {
                queue.extend(&next_in.to_le_bytes(), 0);
                next_in += 1;
            }
            for _ in 0..(round % 5).min(queue.len() / 4) {
                assert_eq!(queue.bytes().first_chunk(), Some(&next_out.to_le_bytes()));
                queue.consume(4);
                next_out += 1;
            }
        }
        assert_eq!(queue.len(), ((next_in - next_out) * 4) as usize);
        assert!(queue.buf.len() <= 2 * queue.len() + 8);
    }

    #[test]
    fn a_large_reply_is_taken_over_and_a_small_one_appended() {
        let mut queue = Queue::default();
        let mut reply = ReplyBuf::new(Proto::Resp2);
        reply.raw(&vec![b'x'; 100_000]);
        queue.take_reply(&mut reply, 10);
        assert_eq!(queue.len(), 99_990);
        reply.clear();
        reply.raw(b"0123");
        queue.take_reply(&mut reply, 1);
        assert!(queue.bytes().ends_with(b"xx123"));
    }

    #[test]
    fn what_is_replaced_stands_where_the_other_did() {
        let mut queue = Queue::default();
        queue.extend(b"0123456789", 0);
        queue.consume(3);
        queue.replace(1..3, b"abc");
        assert_eq!(queue.bytes(), b"3abc6789");
        queue.replace(8..9, b"!");
        assert_eq!(queue.bytes(), b"3abc6789!");
    }

    #[test]
    fn what_is_put_back_comes_first() {
        let mut queue = Queue::default();
        queue.extend(b"0123456789", 0);
        queue.consume(3);
        queue.put_back(b"ab");
        assert_eq!(queue.bytes(), b"ab3456789");
        let mut empty = Queue::default();
        empty.put_back(b"c");
        empty.extend(b"d", 0);
        assert_eq!(empty.bytes(), b"cd");
    }
}
