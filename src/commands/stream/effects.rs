//! What stream commands write to the log of effects in place of themselves, as Redis does.

use crate::exec::Effects;
use crate::types::stream::{Group, IdText, StreamId};

/// A group as an effect names it.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    pub(super) key: &'a [u8],
    pub(super) group: &'a [u8],
}

impl Of<'_> {
    /// What a pending entry is now: its owner, time and count, whatever it was, and up to where the group has read. An entry
    /// no longer pending was acknowledged.
    pub(super) fn pending(self, fx: &mut Effects, group: &Group, id: StreamId) {
        if !fx.wanted() {
            return;
        }
        let (mut text, mut last) = (IdText::default(), IdText::default());
        let id_text = id.text(&mut text);
        let Some(pending) = group.pending(id) else {
            fx.push(&[b"XACK", self.key, self.group, id_text]);
            return;
        };
        let owner = pending.owner().and_then(|no| group.consumer(no));
        let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
        let count = count.format(pending.count()).as_bytes();
        match owner {
            Some(owner) => fx.push(&[
                b"XCLAIM",
                self.key,
                self.group,
                owner.name(),
                b"0",
                id_text,
                b"TIME",
                time.format(pending.time()).as_bytes(),
                b"RETRYCOUNT",
                count,
                b"FORCE",
                b"JUSTID",
                b"LASTID",
                group.last_id().text(&mut last),
            ]),
            None => fx.push(&[
                b"XNACK",
                self.key,
                self.group,
                b"FAIL",
                b"IDS",
                b"1",
                id_text,
                b"RETRYCOUNT",
                count,
                b"FORCE",
            ]),
        }
    }

    /// Where the group stands.
    pub(super) fn position(self, fx: &mut Effects, group: &Group) {
        if !fx.wanted() {
            return;
        }
        let (mut text, mut read) = (IdText::default(), itoa::Buffer::new());
        let read = match group.entries_read() {
            Some(n) => read.format(n),
            None => read.format(-1),
        };
        let id = group.last_id().text(&mut text);
        fx.push(&[
            b"XGROUP",
            b"SETID",
            self.key,
            self.group,
            id,
            b"ENTRIESREAD",
            read.as_bytes(),
        ]);
    }

    /// A consumer came into being.
    pub(super) fn consumer(self, fx: &mut Effects, name: &[u8]) {
        fx.push(&[b"XGROUP", b"CREATECONSUMER", self.key, self.group, name]);
    }
}
