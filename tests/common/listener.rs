//! A subscriber to all keyspace notifications, and events as one writes them down.

use super::{Client, Reply, Server};
use std::{fmt, io};

/// Something that happened to a key, as subscribers are told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    pub name: String,
    pub key: Vec<u8>,
    pub db: usize,
}

impl fmt::Display for Event {
    /// `set k`, or `set k@1` outside of the first database.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = !self.key.is_empty()
            && self
                .key
                .iter()
                .all(|b| b.is_ascii_graphic() && !b"\"@,".contains(b));
        write!(f, "{} ", self.name)?;
        if plain {
            write!(f, "{}", String::from_utf8_lossy(&self.key))?;
        } else {
            write!(f, "{}", super::notation::quote(&self.key))?;
        }
        match self.db {
            0 => Ok(()),
            db => write!(f, "@{db}"),
        }
    }
}

/// Events on one line.
pub fn show(events: &[Event]) -> String {
    let words: Vec<_> = events.iter().map(ToString::to_string).collect();
    words.join(", ")
}

/// A client that hears of every event.
pub struct Listener(Client);

impl Listener {
    /// Every class, to both kinds of channels.
    pub const CLASSES: &str = "AKEnm";

    /// Switches all notifications on and listens to them from now on.
    pub fn new(server: &Server) -> Listener {
        let mut client = server.client();
        let set = format!("CONFIG SET notify-keyspace-events {}", Self::CLASSES);
        assert_eq!(client.run(&set), Reply::ok());
        client.run("PSUBSCRIBE __key*__:*");
        Listener(client)
    }

    /// What happened since it was last asked. All that was published before a reply that somebody has got by now is
    /// in it.
    pub fn heard(&mut self) -> io::Result<Vec<Event>> {
        self.0.send(&["PING"])?;
        let mut events: Vec<Event> = Vec::new();
        let mut pending: Option<Event> = None;
        loop {
            let reply = self.0.reply()?;
            if reply.text().starts_with("BUSY ") {
                break;
            }
            let words: Vec<_> = reply.items().iter().map(Reply::bytes).collect();
            match words[..] {
                [b"pmessage", _, channel, text] => {
                    let (event, by_key) = read(channel, text);
                    // An event is said to the key's channel, then at once to its own.
                    match pending.take() {
                        None if by_key => pending = Some(event),
                        Some(first) if !by_key && first == event => events.push(event),
                        other => panic!("{event} after {other:?}"),
                    }
                }
                [b"pong", b""] => break,
                _ => panic!("the listener got {reply:?}"),
            }
        }
        assert_eq!(pending, None);
        Ok(events)
    }
}

/// The event of a message, and whether the channel is the key's.
fn read(channel: &[u8], text: &[u8]) -> (Event, bool) {
    let by_key = channel.starts_with(b"__keyspace@");
    let rest = &channel[b"__keyspace@".len()..];
    let end = rest.iter().position(|&b| b == b'_').expect("a database");
    let db = String::from_utf8_lossy(&rest[..end]);
    let (db, name) = (db.parse().expect("a number"), &rest[end + 3..]);
    let (name, key) = if by_key { (text, name) } else { (name, text) };
    let event = Event {
        name: String::from_utf8_lossy(name).into_owned(),
        key: key.to_vec(),
        db,
    };
    (event, by_key)
}
