//! A stream as plain data.

use crate::types::stream::{Group, Log, Stream, StreamId};

/// A stream with everything that is known of it. Ids are as on the wire, `1700000000000-0`.
///
/// ```
/// let server = redkeep::Server::builder().start()?;
/// let mut client = server.client()?;
/// client.call(["XADD", "jobs", "1-1", "task", "mail"])?;
/// client.call(["XGROUP", "CREATE", "jobs", "workers", "0"])?;
/// client.call(["XREADGROUP", "GROUP", "workers", "w1", "STREAMS", "jobs", ">"])?;
///
/// let jobs = server.stream("jobs")?.expect("it is there");
/// assert_eq!(jobs.entries[0].fields, [(b"task".to_vec(), b"mail".to_vec())]);
/// let workers = jobs.group("workers").expect("it is there");
/// assert_eq!((workers.lag, workers.pending[0].deliveries), (Some(0), 1));
/// assert_eq!(workers.pending[0].consumer.as_deref(), Some(&b"w1"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamView {
    /// Its entries, oldest first.
    pub entries: Vec<EntryView>,
    /// The id of the last one that was added.
    pub last_id: String,
    /// The greatest id of one that was deleted, if one was.
    pub max_deleted_id: Option<String>,
    /// How many were added so far.
    pub added: u64,
    /// Its consumer groups, in the order of names.
    pub groups: Vec<GroupView>,
}

/// An entry of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EntryView {
    /// Its id.
    pub id: String,
    /// Fields and values, in the order in which they were given.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupView {
    /// Its name.
    pub name: Vec<u8>,
    /// The last id that was delivered.
    pub last_id: String,
    /// How many entries it has read, if that is known.
    pub read: Option<u64>,
    /// How many entries wait to be delivered, if that is known.
    pub lag: Option<i64>,
    /// Its consumers, in the order of names.
    pub consumers: Vec<ConsumerView>,
    /// What was delivered and is not acknowledged, in the order of ids.
    pub pending: Vec<PendingView>,
}

/// A consumer of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerView {
    /// Its name.
    pub name: Vec<u8>,
    /// How many entries it has not acknowledged.
    pub pending: usize,
    /// Milliseconds since it last asked for anything.
    pub idle_ms: i64,
    /// Milliseconds since it was last given anything, if it ever was.
    pub inactive_ms: Option<i64>,
}

/// An entry that was delivered and is not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingView {
    /// Its id.
    pub id: String,
    /// Who has it; nobody, if it was handed back (XNACK).
    pub consumer: Option<Vec<u8>>,
    /// How often it was delivered.
    pub deliveries: u64,
    /// Milliseconds since the last time; none if it was handed back.
    pub idle_ms: Option<i64>,
}

impl StreamView {
    /// The group of this name.
    pub fn group(&self, name: impl AsRef<[u8]>) -> Option<&GroupView> {
        let name = name.as_ref();
        self.groups.iter().find(|group| group.name == name)
    }

    pub(super) fn of(stream: &Stream, now: i64) -> StreamView {
        let log = stream.log();
        let entries = log.range(StreamId::MIN, StreamId::MAX);
        let max_deleted = Some(log.max_deleted_id()).filter(|id| *id != StreamId::MIN);
        StreamView {
            entries: entries
                .map(|entry| EntryView {
                    id: entry.id.to_string(),
                    fields: entry
                        .fields
                        .map(|(name, value)| (name.to_vec(), value.to_vec()))
                        .collect(),
                })
                .collect(),
            last_id: log.last_id().to_string(),
            max_deleted_id: max_deleted.map(|id| id.to_string()),
            added: log.entries_added(),
            groups: stream
                .groups()
                .map(|(name, group)| GroupView::of(name, group, log, now))
                .collect(),
        }
    }
}

impl GroupView {
    fn of(name: &[u8], group: &Group, log: &Log, now: i64) -> GroupView {
        let ago = |at: i64| now.saturating_sub(at).max(0);
        let owner = |no| group.consumer(no).map(|consumer| consumer.name().to_vec());
        let pending = group.pending_range(StreamId::MIN, StreamId::MAX, None);
        GroupView {
            name: name.to_vec(),
            last_id: group.last_id().to_string(),
            read: group.entries_read(),
            lag: log.lag(group.last_id(), group.entries_read()),
            consumers: group
                .consumers()
                .map(|(_, consumer)| ConsumerView {
                    name: consumer.name().to_vec(),
                    pending: consumer.pending(),
                    idle_ms: ago(consumer.seen()),
                    inactive_ms: Some(consumer.active()).filter(|at| *at >= 0).map(ago),
                })
                .collect(),
            pending: pending
                .map(|(id, pending)| PendingView {
                    id: id.to_string(),
                    consumer: pending.owner().and_then(owner),
                    deliveries: pending.count(),
                    idle_ms: Some(pending.idle(now)).filter(|ms| *ms >= 0),
                })
                .collect(),
        }
    }
}
