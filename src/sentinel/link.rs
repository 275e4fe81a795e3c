//! Connections to an instance: one for commands and, to servers, one for their hello channel. Bytes in, replies out.

use std::collections::VecDeque;

use super::instance::Id;
use crate::resp::{Value, encode_command, parse_reply};

/// The most bytes of a reply. The INFO of a leader with ten thousand replicas has less.
const LONGEST_REPLY: usize = 4 << 20;

/// The number of an instance's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// The number of one connection: never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Commands and their replies.
    Commands,
    /// What others publish in the hello channel.
    Hello,
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Nobody wants to know the answer.
    Any,
    /// PING.
    Ping,
    /// INFO.
    Info,
    /// PUBLISH of a hello.
    Publish,
    /// SENTINEL IS-MASTER-DOWN-BY-ADDR.
    IsMasterDown,
}

/// A connection.
#[derive(Debug, Clone)]
pub struct Socket {
    /// Its number.
    pub id: SocketId,
    /// When it was begun.
    pub since: i64,
    /// The address that it has on this side, once it is there.
    pub local_ip: Option<String>,
    /// Replies that are still to come to what was said when it was made.
    pub greetings: usize,
    /// What has come and is not whole.
    buffer: Vec<u8>,
}

/// Why what came on a connection is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// It is no RESP.
    #[error("Protocol error: {0}")]
    Protocol(#[from] crate::resp::ParseError),
    /// It does not end.
    #[error("Protocol error: a reply is too long")]
    TooLong,
}

impl Socket {
    fn new(id: SocketId, now: i64) -> Socket {
        Socket {
            id,
            since: now,
            local_ip: None,
            greetings: 0,
            buffer: Vec::new(),
        }
    }

    /// Takes what has come.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), ReplyError> {
        if self.buffer.len() + bytes.len() > LONGEST_REPLY {
            return Err(ReplyError::TooLong);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The next reply, if it is whole.
    pub fn next_reply(&mut self) -> Result<Option<Value>, ReplyError> {
        let Some((value, len)) = parse_reply(&self.buffer)? else {
            return Ok(None);
        };
        self.buffer.drain(..len);
        Ok(Some(value))
    }
}

/// The connections to an instance.
#[derive(Debug, Clone)]
pub struct Link {
    /// For commands.
    pub commands: Option<Socket>,
    /// For the hello channel.
    pub hello: Option<Socket>,
    /// Something of it has to be made anew.
    pub disconnected: bool,
    /// What was asked and is not answered, and about which instance.
    pub questions: VecDeque<(Question, Option<Id>)>,
    /// When something came last in the hello channel.
    pub hello_heard_at: i64,
    /// When PING was answered last in a way that shows that all is well.
    pub available_at: i64,
    /// When the first PING was sent that is not answered; none: all are.
    pub waits_since: Option<i64>,
    /// When PING was sent last; 0: never.
    pub pinged_at: i64,
    /// When it was answered last, in any way.
    pub answered_at: i64,
    /// When it was tried last to make the connections.
    pub tried_at: i64,
}

impl Link {
    /// Connections that are still to be made. An instance that has not yet answered has its time from now on.
    pub fn new(now: i64) -> Link {
        Link {
            commands: None,
            hello: None,
            disconnected: true,
            questions: VecDeque::new(),
            hello_heard_at: 0,
            available_at: now,
            waits_since: Some(now),
            pinged_at: 0,
            answered_at: now,
            tried_at: 0,
        }
    }

    /// Begins a connection.
    pub fn open(&mut self, purpose: Purpose, id: SocketId, now: i64) {
        let socket = Some(Socket::new(id, now));
        match purpose {
            Purpose::Commands => {
                self.commands = socket;
                self.questions.clear();
            }
            Purpose::Hello => {
                self.hello = socket;
                self.hello_heard_at = now;
            }
        }
    }

    /// Ends a connection, if there is one.
    pub fn close(&mut self, purpose: Purpose) -> Option<SocketId> {
        let socket = match purpose {
            Purpose::Commands => self.commands.take(),
            Purpose::Hello => self.hello.take(),
        }?;
        if purpose == Purpose::Commands {
            self.questions.clear();
        }
        self.disconnected = true;
        Some(socket.id)
    }

    /// The connection with this purpose.
    pub fn socket_mut(&mut self, purpose: Purpose) -> Option<&mut Socket> {
        match purpose {
            Purpose::Commands => self.commands.as_mut(),
            Purpose::Hello => self.hello.as_mut(),
        }
    }
}

/// A command as it is sent.
pub(super) fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_command(&mut bytes, words);
    bytes
}
