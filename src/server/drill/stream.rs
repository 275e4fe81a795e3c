//! Clients that fill a stream, and clients that empty it as a group.

use std::time::Duration;

use super::follow::Failed;
use super::ledger::{EntryId, Message};
use super::wire::{Trouble, text};
use super::work::Worker;
use crate::resp::Value;
use crate::util::num::{parse_i64, parse_u64};

/// The group that empties the stream.
pub(super) const GROUP: &str = "drill";

/// The field that holds the message.
const FIELD: &str = "message";

/// How long a consumer waits for entries.
const BLOCK: Duration = Duration::from_millis(200);

/// Entries that a consumer takes at once.
const AT_ONCE: &str = "20";

/// What somebody has left lying for so long is taken over, in milliseconds.
const ABANDONED: &str = "1500";

/// How often a consumer looks for what others have left.
const CLAIMS: Duration = Duration::from_millis(500);

/// How often a consumer crashes over what it has read.
const CRASHES: f64 = 0.01;

/// Appends messages until the time is up, each once.
pub(super) async fn produce(worker: &mut Worker) {
    let stream = worker.job.names.stream();
    let producer = worker.client;
    let mut number = 0;
    while !worker.job.is_over() {
        number += 1;
        let message = format!("{producer}-{number}");
        let answer = worker.write(&["XADD", &stream, "*", FIELD, &message]).await;
        if let Some(id) = answer.as_ref().and_then(entry_id) {
            let message = Message { producer, number };
            worker.ledger.entries.push((message, id));
        }
        worker.job.rest(worker.job.pace).await;
    }
}

/// Works off what there is until the time is up, and crashes now and then.
pub(super) async fn consume(worker: &mut Worker) {
    let clock = worker.job.place.clock;
    let mut life = 0;
    let mut claimed = clock.now();
    while !worker.job.is_over() {
        let me = format!("{}-{life}", worker.client);
        let mut taken = read(worker, &me).await;
        if clock.now() > claimed + CLAIMS {
            claimed = clock.now();
            taken.extend(claim(worker, &me, ABANDONED).await.unwrap_or_default());
        }
        if !taken.is_empty() && worker.rng.chance(CRASHES) {
            // What it has read it has not worked off, and it comes back as another.
            worker.session.hang_up();
            life += 1;
            continue;
        }
        finish(worker, taken).await;
        if worker.job.pace > Duration::ZERO {
            worker.job.rest(worker.job.pace).await;
        }
    }
}

/// Works off all that is left, without waiting.
pub(super) async fn drain(worker: &mut Worker) -> Result<(), Trouble> {
    let stream = worker.job.names.stream();
    let words = [
        "XREADGROUP",
        "GROUP",
        GROUP,
        "drain",
        "COUNT",
        "500",
        "STREAMS",
        &stream,
        ">",
    ];
    loop {
        let mut taken = match worker.session.call(&words, Duration::ZERO).await {
            Ok(answer) => entries_of_read(&answer),
            Err(failed) if regroup(worker, &failed).await => continue,
            Err(failed) => return Err(failed.trouble),
        };
        if taken.is_empty() {
            taken = claim(worker, "drain", "0").await?;
        }
        if taken.is_empty() {
            return Ok(());
        }
        finish(worker, taken).await;
    }
}

type Taken = Vec<(EntryId, Option<Message>)>;

async fn read(worker: &mut Worker, me: &str) -> Taken {
    let stream = worker.job.names.stream();
    let block = BLOCK.as_millis().to_string();
    let words = [
        "XREADGROUP",
        "GROUP",
        GROUP,
        me,
        "COUNT",
        AT_ONCE,
        "BLOCK",
        &block,
        "STREAMS",
        &stream,
        ">",
    ];
    match worker.session.call(&words, BLOCK).await {
        Ok(answer) => entries_of_read(&answer),
        Err(failed) => {
            regroup(worker, &failed).await;
            Vec::new()
        }
    }
}

/// Makes the group again where the leader has lost it. It may have lost entries, too; those that it has are all to be
/// read.
async fn regroup(worker: &mut Worker, failed: &Failed) -> bool {
    if !matches!(failed.trouble, Trouble::Reply(_)) || failed.trouble.code() != "NOGROUP" {
        return false;
    }
    let stream = worker.job.names.stream();
    let words = ["XGROUP", "CREATE", &stream, GROUP, "0", "MKSTREAM"];
    worker.write(&words).await.is_some()
}

/// What was left lying by others.
async fn claim(worker: &mut Worker, me: &str, idle: &str) -> Result<Taken, Trouble> {
    let stream = worker.job.names.stream();
    let words = [
        "XAUTOCLAIM",
        &stream,
        GROUP,
        me,
        idle,
        "0-0",
        "COUNT",
        "500",
    ];
    match worker.session.call(&words, Duration::ZERO).await {
        Ok(answer) => match answer.as_array() {
            Some([_, entries, ..]) => Ok(entries_of(entries)),
            _ => Err(Trouble::Garbage),
        },
        Err(failed) => Err(failed.trouble),
    }
}

/// Works off entries, and says so to the server. Where that fails they are read again some time.
async fn finish(worker: &mut Worker, taken: Taken) {
    if taken.is_empty() {
        return;
    }
    let messages = taken.iter().filter_map(|(_, message)| *message);
    worker.ledger.processed.extend(messages);
    let mut words = vec![
        "XACK".to_owned(),
        worker.job.names.stream(),
        GROUP.to_owned(),
    ];
    words.extend(taken.iter().map(|(id, _)| format!("{}-{}", id.0, id.1)));
    worker.write(&words).await;
}

fn entries_of_read(answer: &Value) -> Taken {
    match answer.as_array() {
        Some([stream]) => match stream.as_array() {
            Some([_, entries]) => entries_of(entries),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The entries of a reply. One that was deleted has no message.
pub(super) fn entries_of(entries: &Value) -> Taken {
    let entries = entries.as_array().unwrap_or_default();
    entries.iter().filter_map(entry).collect()
}

fn entry(entry: &Value) -> Option<(EntryId, Option<Message>)> {
    let [id, fields] = entry.as_array()? else {
        return None;
    };
    let message = fields.as_array().and_then(|fields| match fields {
        [_, message] => message_of(message),
        _ => None,
    });
    Some((entry_id(id)?, message))
}

fn entry_id(id: &Value) -> Option<EntryId> {
    let (ms, seq) = text(id)?.split_once('-')?;
    Some(EntryId(
        parse_u64(ms.as_bytes())?,
        parse_u64(seq.as_bytes())?,
    ))
}

fn message_of(value: &Value) -> Option<Message> {
    let (producer, number) = text(value)?.split_once('-')?;
    Some(Message {
        producer: u32::try_from(parse_i64(producer.as_bytes())?).ok()?,
        number: parse_u64(number.as_bytes())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.into())
    }

    #[test]
    fn entries_are_read_from_replies() {
        let fields = Value::Array(vec![bulk(FIELD), bulk("7-12")]);
        let entries = Value::Array(vec![
            Value::Array(vec![bulk("1000-2"), fields]),
            Value::Array(vec![bulk("1000-3"), Value::NullArray]),
            Value::Null,
        ]);
        let message = Message {
            producer: 7,
            number: 12,
        };
        let expected = vec![(EntryId(1000, 2), Some(message)), (EntryId(1000, 3), None)];
        assert_eq!(entries_of(&entries), expected);
        let read = Value::Array(vec![Value::Array(vec![bulk("s"), entries])]);
        assert_eq!(entries_of_read(&read), expected);
        assert_eq!(entries_of_read(&Value::NullArray), Vec::new());
    }
}
