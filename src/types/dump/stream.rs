//! Streams.
//!
//! ```text
//! Stream   = nodes:length ( id:string listpack:string )*  len:length  last-id
//!            groups:length group*
//! Stream2  = as Stream, with first-id max-deleted-id entries-added:length behind last-id
//! Stream3  = as Stream2
//! Stream4  = as Stream3, then producers
//! Stream5  = as Stream4
//!
//! group    = name:string last-id
//!            entries-read:length                  from Stream2 on; 2^64 - 1 when that is not known
//!            pending:length ( id*16 time count:length )*
//!            consumers:length consumer*
//!            handed-back:length ( id*16 )*        from Stream5 on, in the order they were
//! consumer = name:string  seen:time
//!            active:time                          from Stream3 on; -1 for never
//!            pending:length ( id*16 )*
//! producers = duration:length  max-size:length
//!             producers:length ( pid:string  count:length ( iid:string id )* )*
//!             added:length  duplicates:length
//! id       = ms:length seq:length; as a string, or where it takes sixteen bytes: both in eight, big endian
//! ```
//!
//! Each pending entry belongs to one consumer or was handed back.

use super::Refused;
use super::pieces::At;
use crate::rdb::{Corrupt, Reader, Tag, Writer};
use crate::types::stream::{
    ConsumerNo, Counted, Group, Idmp, IdmpConfig, Log, Node, Stream, StreamId,
};

/// Bytes of an id written as its sixteen bytes.
const ID: usize = 16;
/// Entries read, when that is not known.
const UNKNOWN: u64 = u64::MAX;
/// The greatest that may have been counted: more than XSETID takes, and no counter ever comes to its end from there.
const MOST: u64 = (1 << 63) + (1 << 40);

/// The oldest tag that has a place for all there is; the times of activity alone ask for none.
pub(super) fn tag(stream: &Stream) -> Tag {
    if stream.groups().any(|(_, group)| group.nacked() > 0) {
        Tag::Stream5
    } else if stream.idmp().is_some() {
        Tag::Stream4
    } else {
        Tag::Stream2
    }
}

pub(super) fn write(stream: &Stream, w: &mut Writer<'_>) {
    begin(stream, w);
    go_on(stream, StreamId::MIN, usize::MAX, w);
}

pub(super) fn begin(stream: &Stream, w: &mut Writer<'_>) -> At {
    w.count(stream.log().node_count());
    At::Entries(StreamId::MIN)
}

pub(super) fn go_on(stream: &Stream, from: StreamId, bytes: usize, w: &mut Writer<'_>) -> At {
    let mut work = 0;
    for (own, node) in stream.log().nodes_from(from) {
        if work >= bytes {
            return At::Entries(own);
        }
        work += node.as_bytes().len();
        w.string(&own.to_be_bytes());
        w.string(node.as_bytes());
    }
    write_rest(stream, w);
    At::End
}

/// What stands behind the entries.
fn write_rest(stream: &Stream, w: &mut Writer<'_>) {
    let (tag, log) = (tag(stream), stream.log());
    w.length(log.len());
    write_id(log.last_id(), w);
    write_id(log.first_id(), w);
    write_id(log.max_deleted_id(), w);
    w.length(log.entries_added());
    let groups = stream.groups();
    w.count(groups.len());
    groups.for_each(|(name, group)| write_group(name, group, tag, w));
    if tag as u8 >= Tag::Stream4 as u8 {
        write_producers(stream.idmp().unwrap_or(&Idmp::default()), w);
    }
}

fn write_id(id: StreamId, w: &mut Writer<'_>) {
    w.length(id.ms);
    w.length(id.seq);
}

fn write_group(name: &[u8], group: &Group, tag: Tag, w: &mut Writer<'_>) {
    w.string(name);
    write_id(group.last_id(), w);
    w.length(group.entries_read().unwrap_or(UNKNOWN));
    w.count(group.pending_len());
    for (id, pending) in group.pending_range(StreamId::MIN, StreamId::MAX, None) {
        w.bytes(&id.to_be_bytes());
        w.millis(pending.time());
        w.length(pending.count());
    }
    w.count(group.consumer_count());
    for (no, consumer) in group.consumers() {
        w.string(consumer.name());
        w.millis(consumer.seen());
        if tag as u8 >= Tag::Stream3 as u8 {
            w.millis(consumer.active());
        }
        w.count(consumer.pending());
        for (id, _) in group.pending_range(StreamId::MIN, StreamId::MAX, Some(no)) {
            w.bytes(&id.to_be_bytes());
        }
    }
    if tag == Tag::Stream5 {
        w.count(group.nacked());
        group
            .handed_back()
            .for_each(|id| w.bytes(&id.to_be_bytes()));
    }
}

fn write_producers(idmp: &Idmp, w: &mut Writer<'_>) {
    let config = idmp.config();
    w.length(config.duration.into());
    w.length(config.max_size.into());
    let producers = idmp.producers();
    w.count(producers.len());
    for (pid, productions) in producers {
        w.string(pid);
        w.count(productions.len());
        for (iid, id) in productions {
            w.string(iid);
            write_id(id, w);
        }
    }
    let (added, duplicates) = idmp.totals();
    w.length(added);
    w.length(duplicates);
}

pub(super) fn read(tag: Tag, r: &mut Reader<'_>) -> Result<Stream, Refused> {
    let log = read_log(tag, r).map_err(|_| Refused("Stream listpack integrity check failed"))?;
    let mut stream = Stream::with_log(log);
    // Name, id, and three counts.
    for _ in 0..r.count(6)? {
        let name = r.string()?.into_vec();
        let group = read_group(tag, stream.log(), r)?;
        if !stream.add_group(&name, group) {
            return Err(Refused("Duplicate stream consumer group detected"));
        }
    }
    if tag as u8 >= Tag::Stream4 as u8
        && let Some(idmp) = read_producers(r)?
    {
        stream.restore_idmp(idmp);
    }
    Ok(stream)
}

fn read_log(tag: Tag, r: &mut Reader<'_>) -> Result<Log, Corrupt> {
    let count = r.count(2 + ID)?;
    let mut nodes = Vec::with_capacity(count);
    for _ in 0..count {
        let own = r.string()?.with(|own| own.try_into());
        let own = StreamId::from_be_bytes(own.map_err(|_| Corrupt)?);
        let node = Node::from_bytes(r.string()?.into_vec(), own).map_err(|_| Corrupt)?;
        nodes.push((own, node));
    }
    let counted = read_counted(tag, r)?;
    Log::restore(nodes, counted).map_err(|_| Corrupt)
}

fn read_counted(tag: Tag, r: &mut Reader<'_>) -> Result<Counted, Corrupt> {
    let len = r.length()?;
    let last_id = read_id(r)?;
    if tag == Tag::Stream {
        // Nothing is known of what was deleted.
        return Ok(Counted {
            len,
            last_id,
            max_deleted_id: StreamId::MIN,
            entries_added: len,
        });
    }
    // The first id follows from the entries.
    read_id(r)?;
    Ok(Counted {
        len,
        last_id,
        max_deleted_id: read_id(r)?,
        entries_added: counter(r.length()?)?,
    })
}

fn counter(n: u64) -> Result<u64, Corrupt> {
    if n <= MOST { Ok(n) } else { Err(Corrupt) }
}

fn read_id(r: &mut Reader<'_>) -> Result<StreamId, Corrupt> {
    Ok(StreamId::new(r.length()?, r.length()?))
}

fn read_raw_id(r: &mut Reader<'_>) -> Result<StreamId, Corrupt> {
    r.array().map(StreamId::from_be_bytes)
}

/// Pending entries of a group, before they are given to their consumers.
struct Pending(Vec<Entry>);

/// One of them.
struct Entry {
    id: StreamId,
    time: i64,
    count: u64,
    given: bool,
}

impl Pending {
    fn read(r: &mut Reader<'_>) -> Result<Pending, Corrupt> {
        let count = r.count(ID + 9)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(Entry {
                id: read_raw_id(r)?,
                time: r.millis()?,
                count: r.length()?,
                given: false,
            });
        }
        match entries.is_sorted_by(|a: &Entry, b| a.id < b.id) {
            true => Ok(Pending(entries)),
            false => Err(Corrupt),
        }
    }

    /// Gives the ids that follow to a consumer, or back to the group.
    fn give(
        &mut self,
        r: &mut Reader<'_>,
        group: &mut Group,
        owner: Option<ConsumerNo>,
    ) -> Result<(), Corrupt> {
        for _ in 0..r.count(ID)? {
            let id = read_raw_id(r)?;
            let at = self.0.binary_search_by_key(&id, |e| e.id);
            let at = at.map_err(|_| Corrupt)?;
            let entry = self.0.get_mut(at).filter(|e| !e.given).ok_or(Corrupt)?;
            entry.given = true;
            group.restore_pending(id, entry.time, entry.count, owner);
        }
        Ok(())
    }
}

fn read_group(tag: Tag, log: &Log, r: &mut Reader<'_>) -> Result<Group, Refused> {
    let last_id = read_id(r)?;
    let entries_read = match tag {
        Tag::Stream => log.rank_of(last_id),
        _ => match r.length()? {
            UNKNOWN => None,
            read => Some(counter(read)?),
        },
    };
    let mut group = Group::new(last_id, entries_read);
    let mut pending = Pending::read(r)?;
    // Name, time, and a count.
    for _ in 0..r.count(10)? {
        let name = r.string()?.into_vec();
        let seen = r.millis()?.max(0);
        let active = match tag {
            Tag::Stream | Tag::Stream2 => seen,
            _ => r.millis()?.max(-1),
        };
        let (no, added) = group.add_consumer(&name, seen);
        if !added {
            return Err(Refused("Duplicate stream consumer detected"));
        }
        group.restore_times(no, seen, active);
        pending.give(r, &mut group, Some(no))?;
    }
    if tag == Tag::Stream5 {
        pending.give(r, &mut group, None)?;
    }
    match pending.0.iter().all(|e| e.given) {
        true => Ok(group),
        false => Err(Refused("Stream entry pending for nobody detected")),
    }
}

/// What is remembered of producers; nothing when none is and nothing is set.
fn read_producers(r: &mut Reader<'_>) -> Result<Option<Idmp>, Corrupt> {
    let mut number = || match u32::try_from(r.length()?) {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(Corrupt),
    };
    let config = IdmpConfig {
        duration: number()?,
        max_size: number()?,
    };
    let mut idmp = Idmp::new(config);
    let producers = r.count(2)?;
    for _ in 0..producers {
        let pid = r.string()?.into_vec();
        for _ in 0..r.count(3)? {
            let iid = r.string()?.into_vec();
            if !idmp.restore(&pid, &iid, read_id(r)?) {
                return Err(Corrupt);
            }
        }
    }
    let (added, duplicates) = (r.length()?, r.length()?);
    idmp.restore_totals(added, duplicates);
    let used = producers + usize::from(added > 0 || duplicates > 0) > 0;
    Ok((used || config != IdmpConfig::default()).then_some(idmp))
}
