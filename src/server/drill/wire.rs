//! A connection to a server or a sentinel, from a client's side.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::resp::{Value, encode_command, parse_reply};
use crate::server::ask::{Address, Credentials};
use crate::server::channel::Channel;
use crate::server::tls::Secure;

/// Bytes that a reply may take; what is asked for comes in small pieces.
const MOST: usize = 64 << 20;

/// What a server says to a password that it did not ask for.
const NO_PASSWORD: &str = "without any password configured";

/// Room for what is read at once.
const READ: usize = 16 * 1024;

/// Why a call has no answer that one can work with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// Nobody answered in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection ended.
    #[error("the connection was closed")]
    Closed,
    /// There is no connection.
    #[error("cannot connect")]
    Refused,
    /// No sentinel names a leader, or it is none.
    #[error("no sentinel names a leader")]
    NoLeader,
    /// Something else than the protocol, or than what was asked for.
    #[error("an answer that is none")]
    Garbage,
    /// The server's error, without the leading `-`.
    #[error("{0}")]
    Reply(String),
}

impl Trouble {
    /// What errors are counted by: the server's code, or a name of ours, which is in lower case.
    pub(super) fn code(&self) -> &str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Refused => "refused",
            Self::NoLeader => "no-leader",
            Self::Garbage => "garbage",
            Self::Reply(text) => match text.split(' ').next() {
                Some(word) if is_code(word) => word,
                _ => "ERR",
            },
        }
    }
}

fn is_code(word: &str) -> bool {
    (1..=24).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_uppercase())
}

/// How often each kind of error was met.
pub(super) type Codes = BTreeMap<String, u64>;

/// A connection. After an error other than the server's it is of no use any more: answers would be mixed up.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) peer: Address,
    stream: Channel<TcpStream>,
    inbox: Vec<u8>,
}

impl Conn {
    /// Connects, and authenticates where there is a password, all in `patience`.
    pub(super) async fn open(
        peer: &Address,
        login: &Credentials,
        patience: Duration,
    ) -> Result<Self, Trouble> {
        let stream = match timeout(patience, reach(peer, login.tls.as_ref())).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) => return Err(Trouble::Refused),
            Err(_) => return Err(Trouble::Timeout),
        };
        let mut conn = Self {
            peer: peer.clone(),
            stream,
            inbox: Vec::new(),
        };
        if let Some(password) = &login.password {
            let words: Vec<&str> = ["AUTH"]
                .into_iter()
                .chain(login.user.as_deref())
                .chain([password.as_str()])
                .collect();
            match conn.call(&words, patience).await {
                // A server that asks for no password takes any.
                Err(Trouble::Reply(text)) if text.contains(NO_PASSWORD) => {}
                answer => drop(answer?),
            }
        }
        Ok(conn)
    }

    /// The answer to a command; an error reply is an error.
    pub(super) async fn call<A: AsRef<[u8]>>(
        &mut self,
        words: &[A],
        patience: Duration,
    ) -> Result<Value, Trouble> {
        match timeout(patience, self.exchange(words)).await {
            Ok(Ok(Value::Error(text))) => {
                Err(Trouble::Reply(String::from_utf8_lossy(&text).into_owned()))
            }
            Ok(answer) => answer,
            Err(_) => Err(Trouble::Timeout),
        }
    }

    async fn exchange<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Result<Value, Trouble> {
        self.send(words).await?;
        self.next().await
    }

    /// Sends a command without waiting for its answer.
    pub(super) async fn send<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Result<(), Trouble> {
        let mut out = Vec::new();
        encode_command(&mut out, words);
        let sending = async {
            self.stream.write_all(&out).await?;
            self.stream.flush().await
        };
        sending.await.map_err(|_| Trouble::Closed)
    }

    /// The next answer or message.
    pub(super) async fn next(&mut self) -> Result<Value, Trouble> {
        loop {
            if let Some((value, len)) = parse_reply(&self.inbox).map_err(|_| Trouble::Garbage)? {
                self.inbox.drain(..len);
                return Ok(value);
            }
            if self.inbox.len() > MOST {
                return Err(Trouble::Garbage);
            }
            self.inbox.reserve(READ);
            match self.stream.read_buf(&mut self.inbox).await {
                Ok(0) | Err(_) => return Err(Trouble::Closed),
                Ok(_) => {}
            }
        }
    }
}

async fn reach(peer: &Address, tls: Option<&Secure>) -> io::Result<Channel<TcpStream>> {
    let stream = TcpStream::connect((peer.host.as_str(), peer.port)).await?;
    // It only makes answers late.
    let _ = stream.set_nodelay(true);
    Ok(match tls {
        Some(tls) => Channel::Secure(Box::new(tls.shake_async(&peer.host, stream).await?)),
        None => Channel::Plain(stream),
    })
}

/// The text of a reply that is a string.
pub(super) fn text(value: &Value) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_their_first_word() {
        let code = |text: &str| Trouble::Reply(text.into()).code().to_owned();
        assert_eq!(code("READONLY You can't write"), "READONLY");
        assert_eq!(code("ERR unknown command"), "ERR");
        assert_eq!(code("what is this"), "ERR");
        assert_eq!(code(""), "ERR");
        assert_eq!(Trouble::Timeout.code(), "timeout");
    }
}
