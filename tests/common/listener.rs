//! A subscriber to all keyspace notifications, and events as one writes them down.

use super::{Client, Reply, Server};
use std::{fmt, io};

/// Something that happened to a key, as subscribers are told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    pub name: String,
    pub key: Vec<u8>,
    pub db: usize,
    pub to: To,
}

/// Which channels an event was published to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum To {
    Both,
    /// The key's alone.
    Key,
    /// The event's alone.
    Name,
}

impl Event {
    fn is_followed_by(&self, next: &Event) -> bool {
        let same = (&self.name, &self.key, self.db) == (&next.name, &next.key, next.db);
        same && (self.to, next.to) == (To::Key, To::Name)
    }
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
        if self.db != 0 {
            write!(f, "@{}", self.db)?;
        }
        match self.to {
            To::Both => Ok(()),
            To::Key => write!(f, " (only to the key's channel)"),
            To::Name => write!(f, " (only to its own channel)"),
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
        loop {
            let reply = self.0.reply()?;
            if reply.text().starts_with("BUSY ") {
                return Ok(events);
            }
            let words: Vec<_> = reply.items().iter().map(Reply::bytes).collect();
            match words[..] {
                [b"pmessage", _, channel, text] => {
                    let event = read(channel, text);
                    match events.last_mut() {
                        // An event is said to the key's channel, then at once to its own.
                        Some(last) if last.is_followed_by(&event) => last.to = To::Both,
                        _ => events.push(event),
                    }
                }
                [b"pong", b""] => return Ok(events),
                _ => panic!("the listener got {reply:?}"),
            }
        }
    }
}

/// The event of a message.
fn read(channel: &[u8], text: &[u8]) -> Event {
    let by_key = channel.starts_with(b"__keyspace@");
    let rest = &channel[b"__keyspace@".len()..];
    let end = rest.iter().position(|&b| b == b'_').expect("a database");
    let db = String::from_utf8_lossy(&rest[..end]);
    let (db, name) = (db.parse().expect("a number"), &rest[end + 3..]);
    let (name, key) = if by_key { (text, name) } else { (name, text) };
    Event {
        name: String::from_utf8_lossy(name).into_owned(),
        key: key.to_vec(),
        db,
        to: if by_key { To::Key } else { To::Name },
    }
}
