//! What a sentinel publishes.

use super::common::client::Got;
use super::common::{Client, Reply};
use super::node::Node;
use std::time::Duration;

/// A subscriber to everything.
pub struct Ear {
    c: Client,
    heard: Vec<Event>,
}

/// Channel and payload.
pub type Event = (String, String);

impl Ear {
    pub fn at(sentinel: &Node) -> Ear {
        let mut c = sentinel.client().unwrap();
        let reply = c.run("PSUBSCRIBE *");
        assert_eq!(reply.items()[0].text(), "psubscribe");
        Ear {
            c,
            heard: Vec::new(),
        }
    }

    /// All that was published up to now; or was until the sentinel ended.
    pub fn heard(&mut self) -> &[Event] {
        // What was published before this is answered comes before the answer.
        let _ = self.c.send(&["PING"]);
        while let Ok(Got::Reply(message)) = self.c.receive(Duration::from_secs(2)) {
            let words: Vec<String> = message.items().iter().map(Reply::text).collect();
            match &words[..] {
                [_, _, channel, payload] => self.heard.push((channel.clone(), payload.clone())),
                [pong, _] if pong == "pong" => break,
                _ => panic!("{message:?}"),
            }
        }
        &self.heard
    }

    /// The payloads on one channel.
    pub fn on(&mut self, channel: &str) -> Vec<String> {
        let here = self.heard().iter().filter(|(c, _)| c == channel);
        here.map(|(_, payload)| payload.clone()).collect()
    }

    /// Forgets what was heard.
    pub fn clear(&mut self) {
        self.heard();
        self.heard.clear();
    }
}
