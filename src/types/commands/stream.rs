//! Streams.
//!
//! ```text
//! XADD key id ( field value )*                           for each entry; or, where there is none,
//! XADD key MAXLEN 0 0-1 x y                              which leaves an empty stream
//! XSETID key last-id ENTRIESADDED n MAXDELETEDID id
//! for each group:
//!   XGROUP CREATE key group last-id ENTRIESREAD n        -1 when that is not known
//!   XGROUP CREATECONSUMER key group consumer             for each consumer with nothing pending, and for others:
//!   XCLAIM key group consumer 0 id* TIME ms RETRYCOUNT n JUSTID FORCE
//!   XNACK key group FAIL IDS n id* RETRYCOUNT n FORCE    for what was handed back, in the order it was
//! XTRIM key MINID first-id                               see below
//! XDEL key id*                                           see below
//! XCFGSET key IDMP-DURATION s IDMP-MAXSIZE n             once a producer was heard of
//! XIDMPRECORD key producer production id                 for each of its productions, the oldest first
//! ```
//!
//! Only an entry that is in the stream can be claimed, but one may be pending that no longer is. Redis forgets it when it
//! loads what it wrote. Here an entry is put in its place, and taken out again when everybody has claimed it.
//!
//! What no command says is left out, as Redis does: when a consumer was last seen and active, and what was ever counted of
//! producers. A counter beyond what commands take, which only files can bring, is written as the greatest they do.

use super::{BATCH, Writer};
use crate::types::stream::{Entry, Group, IdText, Idmp, Log, Pending, Stream, StreamId};

pub(super) fn write(key: &[u8], stream: &Stream, w: &mut Writer) {
    let log = stream.log();
    let gone = gone(stream);
    entries(key, log, &gone, w);
    position(key, log, w);
    for (name, of) in stream.groups() {
        group(key, name, of, w);
    }
    remove(key, log, &gone, w);
    if let Some(idmp) = stream.idmp() {
        producers(key, idmp, log.last_id(), w);
    }
}

/// The ids of what is pending and no longer in the stream, in order. Without those for which no place can be held: they
/// are above the last id, or would leave a greatest deleted id, or be more than were ever added. There are none unless
/// XSETID went back.
fn gone(stream: &Stream) -> Vec<StreamId> {
    let log = stream.log();
    let pending = stream.groups().flat_map(|(_, group)| all_pending(group));
    let mut ids: Vec<StreamId> = pending.map(|(id, _)| id).collect();
    ids.sort_unstable();
    ids.dedup();
    let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
        return ids;
    };
    let mut there = log.range(*first, *last).map(|entry| entry.id).peekable();
    ids.retain(|id| {
        while there.next_if(|other| other < id).is_some() {}
        let trimmed = log.is_empty() || *id < log.first_id();
        there.peek() != Some(id)
            && *id != StreamId::MIN
            && *id <= log.last_id()
            && (trimmed || *id <= log.max_deleted_id())
    });
    let most = log.entries_added().saturating_sub(log.len());
    ids.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    ids
}

fn all_pending(group: &Group) -> impl Iterator<Item = (StreamId, Pending)> {
    group.pending_range(StreamId::MIN, StreamId::MAX, None)
}

/// The entries, and one for each that is `gone`.
fn entries(key: &[u8], log: &Log, gone: &[StreamId], w: &mut Writer) {
    let mut gone = gone.iter().copied().peekable();
    if log.is_empty() && gone.peek().is_none() {
        w.command("XADD", key, 5);
        let words = ["MAXLEN", "0", "0-1", "x", "y"];
        return words.iter().for_each(|word| w.word(word));
    }
    for Entry { id, fields } in log.range(StreamId::MIN, StreamId::MAX) {
        while let Some(before) = gone.next_if(|gone| *gone < id) {
            stand_in(key, before, w);
        }
        w.command("XADD", key, 1 + 2 * fields.len());
        w.id(id);
        for (name, value) in fields {
            w.element(name);
            w.element(value);
        }
    }
    gone.for_each(|id| stand_in(key, id, w));
}

fn stand_in(key: &[u8], id: StreamId, w: &mut Writer) {
    w.command("XADD", key, 3);
    w.id(id);
    w.word("x");
    w.word("y");
}

/// Before the groups: newer servers hold what a group has read against what was added.
fn position(key: &[u8], log: &Log, w: &mut Writer) {
    w.command("XSETID", key, 5);
    w.id(log.last_id());
    w.word("ENTRIESADDED");
    w.counter(log.entries_added());
    w.word("MAXDELETEDID");
    w.id(log.max_deleted_id().min(log.last_id()));
}

/// Takes out again what was put in the place of what is `gone`. What was trimmed is trimmed again, since XDEL would set
/// the greatest deleted id; what stood behind the first entry was deleted, and that id is set already.
fn remove(key: &[u8], log: &Log, gone: &[StreamId], w: &mut Writer) {
    let trimmed = match log.is_empty() {
        true => gone.len(),
        false => gone.partition_point(|id| *id < log.first_id()),
    };
    if trimmed > 0 {
        w.command("XTRIM", key, 2);
        match log.is_empty() {
            true => ["MAXLEN", "0"].iter().for_each(|word| w.word(word)),
            false => {
                w.word("MINID");
                w.id(log.first_id());
            }
        }
    }
    for ids in gone.get(trimmed..).unwrap_or_default().chunks(BATCH) {
        w.command("XDEL", key, ids.len());
        ids.iter().for_each(|id| w.id(*id));
    }
}

fn group(key: &[u8], name: &[u8], group: &Group, w: &mut Writer) {
    w.subcommand("CREATE", key, name, 3);
    w.id(group.last_id());
    w.word("ENTRIESREAD");
    match group.entries_read() {
        Some(read) => w.counter(read),
        None => w.int(-1),
    }
    for (no, consumer) in group.consumers() {
        if consumer.pending() == 0 {
            w.subcommand("CREATECONSUMER", key, name, 1);
            w.word(consumer.name());
        }
        let own = group.pending_range(StreamId::MIN, StreamId::MAX, Some(no));
        alike(own, |ids, pending| {
            w.command("XCLAIM", key, 9 + ids.len());
            w.word(name);
            w.word(consumer.name());
            w.word("0");
            ids.iter().for_each(|id| w.id(*id));
            w.word("TIME");
            w.int(pending.time());
            w.word("RETRYCOUNT");
            w.counter(pending.count());
            w.word("JUSTID");
            w.word("FORCE");
        });
    }
    let handed_back = group.handed_back();
    let handed_back = handed_back.filter_map(|id| Some((id, group.pending(id)?)));
    alike(handed_back, |ids, pending| {
        w.command("XNACK", key, 7 + ids.len());
        w.word(name);
        w.word("FAIL");
        w.word("IDS");
        w.count(ids.len());
        ids.iter().for_each(|id| w.id(*id));
        w.word("RETRYCOUNT");
        w.counter(pending.count());
        w.word("FORCE");
    });
}

/// Tells pending entries together that stand together and were delivered at the same time, equally often: those of one
/// XREADGROUP. Redis has a command for each.
fn alike(
    entries: impl Iterator<Item = (StreamId, Pending)>,
    mut tell: impl FnMut(&[StreamId], Pending),
) {
    let mut entries = entries.peekable();
    let mut ids = Vec::with_capacity(BATCH);
    while let Some((id, pending)) = entries.next() {
        ids.push(id);
        let same =
            |other: &Pending| (other.time(), other.count()) == (pending.time(), pending.count());
        let more = entries.peek().is_some_and(|(_, next)| same(next));
        if !more || ids.len() == BATCH {
            tell(&ids, pending);
            ids.clear();
        }
    }
}

/// Without productions that no command can record: of nobody, or of entries that are yet to come since XSETID went back.
fn producers(key: &[u8], idmp: &Idmp, last_id: StreamId, w: &mut Writer) {
    let config = idmp.config();
    w.command("XCFGSET", key, 4);
    w.word("IDMP-DURATION");
    w.int(config.duration.clamp(1, 86_400).into());
    w.word("IDMP-MAXSIZE");
    w.int(config.max_size.clamp(1, 10_000).into());
    for (pid, productions) in idmp.producers() {
        for (iid, id) in productions {
            if pid.is_empty() || iid.is_empty() || id > last_id {
                continue;
            }
            w.command("XIDMPRECORD", key, 3);
            w.word(pid);
            w.word(iid);
            w.id(id);
        }
    }
}

impl Writer {
    fn id(&mut self, id: StreamId) {
        self.word(id.text(&mut IdText::default()));
    }

    /// A number that commands take as a signed one.
    fn counter(&mut self, n: u64) {
        self.int(i64::try_from(n).unwrap_or(i64::MAX));
    }

    /// Begins a subcommand of XGROUP; so many words follow.
    fn subcommand(&mut self, name: &str, key: &[u8], group: &[u8], more: usize) {
        self.0.array(4 + more);
        self.word("XGROUP");
        self.word(name);
        self.word(key);
        self.word(group);
    }
}
