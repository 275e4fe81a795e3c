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
    fn from(value: Value) -> Self {
        let (Value::Push(mut words) | Value::Array(mut words)) = value else {
            return Self::Other(value);
        };
        match &mut words[..] {
            [Value::Bulk(kind), Value::Bulk(channel), Value::Bulk(text)]
                if kind == b"message" || kind == b"smessage" =>
            {
                Self::Published {
                    pattern: None,
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
                channel: std::mem::take(channel),
                text: std::mem::take(text),
            },
            _ => Self::Other(Value::Push(words)),
        }
    }
}

/// Whether a value answers no request: a push, or what RESP2 has in its place.
pub(super) fn is_push(value: &Value) -> bool {
    match value {
        Value::Push(_) => true,
        Value::Array(words) => {
            let kind = words.first().and_then(Value::as_bytes);
            match (kind, words.len()) {
                (Some(b"message" | b"smessage"), 3) | (Some(b"pmessage"), 4) => true,
                _ => false,
            }
        }
        _ => false,
    }
}
