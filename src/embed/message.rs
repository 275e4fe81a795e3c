//! What a client inside of the process gets without asking.

use crate::resp::Value;

/// Something that a client gets without asking.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Message {
    /// It was published to a channel that the client is subscribed to.
    Published {
        /// The pattern that the channel matches, where the client is subscribed to that.
        pattern: Option<Vec<u8>>,
        /// Whether it is a channel of a shard (SSUBSCRIBE).
        shard: bool,
        /// The channel.
        channel: Vec<u8>,
        /// What was published.
        text: Vec<u8>,
    },
    /// Anything else: that one of several subscriptions has begun or ended, a key that is to be forgotten, a line of
    /// MONITOR.
    Other(Value),
}

impl From<Value> for Message {
    fn from(mut value: Value) -> Self {
        let words: &mut [Value] = match &mut value {
            Value::Push(words) | Value::Array(words) => words,
            _ => &mut [],
        };
        match words {
            [Value::Bulk(kind), Value::Bulk(channel), Value::Bulk(text)]
                if kind == b"message" || kind == b"smessage" =>
            {
                Self::Published {
                    pattern: None,
                    shard: kind == b"smessage",
                    channel: std::mem::take(channel),
                    text: std::mem::take(text),
                }
            }
            [
                Value::Bulk(kind),
                Value::Bulk(pattern),
                Value::Bulk(channel),
                Value::Bulk(text),
            ] if kind == b"pmessage" => Self::Published {
                pattern: Some(std::mem::take(pattern)),
                shard: false,
                channel: std::mem::take(channel),
                text: std::mem::take(text),
            },
            _ => Self::Other(value),
        }
    }
}

/// Whether a value answers no request: a push, or what RESP2 has in its place.
pub(super) fn is_push(value: &Value) -> bool {
    match value {
        Value::Push(_) => true,
        Value::Array(words) => {
            let kind = words.first().and_then(Value::as_bytes);
            matches!(
                (kind, words.len()),
                (Some(b"message" | b"smessage"), 3) | (Some(b"pmessage"), 4)
            )
        }
        _ => false,
    }
}
