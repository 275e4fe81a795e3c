//! What a sentinel publishes.

use super::common::{Client, Reply};
use super::node::Node;

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

    /// All that was heard up to now.
    pub fn heard(&mut self) -> &[Event] {
        while let Ok(Some(message)) = self.c.poll() {
            let words: Vec<String> = message.items().iter().map(Reply::text).collect();
            let [_, _, channel, payload] = &words[..] else {
                panic!("{message:?}");
            };
            self.heard.push((channel.clone(), payload.clone()));
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
