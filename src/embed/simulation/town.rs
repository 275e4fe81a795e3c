//! The world, and the clients in it, each with what has come for it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Ways;
use crate::embed::CallError;
use crate::embed::message::is_push;
use crate::embed::world::{ConnId, Down, News, Piece, Place, World};
use crate::resp::{Value, encode_command, parse_reply};

/// A world with clients.
#[derive(Debug)]
pub(super) struct Town {
    pub(super) world: World,
    clients: BTreeMap<usize, Mailbox>,
    next: usize,
}

/// What a client has, and what has come for it.
#[derive(Debug)]
struct Mailbox {
    conn: ConnId,
    place: Place,
    received: Vec<u8>,
    /// Requests whose replies have not come, oldest first: whether anybody still waits for it.
    asked: VecDeque<bool>,
    replies: VecDeque<Value>,
    messages: VecDeque<Value>,
    /// The connection is gone.
    ended: Option<CallError>,
}

/// No time is longer.
const MOST_MICROS: i64 = i64::MAX / 4;

/// A time as the world counts it.
fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).map_or(MOST_MICROS, |micros| micros.min(MOST_MICROS))
}

impl Town {
    pub(super) const fn new(world: World) -> Town {
        Town {
            world,
            clients: BTreeMap::new(),
            next: 0,
        }
    }

    /// Somebody connects to a machine.
    pub(super) fn join(&mut self, place: Place) -> usize {
        let id = self.next;
        self.next += 1;
        let from = self.world.outside();
        let conn = self.world.call(id, true, from, place);
        self.clients.insert(
            id,
            Mailbox {
                conn,
                place,
                received: Vec::new(),
                asked: VecDeque::new(),
                replies: VecDeque::new(),
                messages: VecDeque::new(),
                ended: None,
            },
        );
        id
    }

    pub(super) fn leave(&mut self, id: usize) {
        if let Some(mailbox) = self.clients.remove(&id)
            && mailbox.ended.is_none()
        {
            self.world.close(mailbox.conn);
        }
    }

    /// A client sends a request.
    pub(super) fn ask(&mut self, id: usize, args: &[&[u8]]) -> Result<(), CallError> {
        let Some(mailbox) = self.clients.get_mut(&id) else {
            return Err(CallError::Closed);
        };
        if let Some(ended) = &mailbox.ended {
            return Err(ended.clone());
        }
        mailbox.asked.push_back(true);
        let mut bytes = Vec::new();
        encode_command(&mut bytes, args);
        self.world.send(mailbox.conn, &bytes);
        let name = &self.world.machines[mailbox.place].name;
        let text = format!("client {id} asks {name}: {}", Shortened(args));
        self.note(&text);
        Ok(())
    }

    /// Whether a client waits for replies.
    pub(super) fn waits(&self, id: usize) -> bool {
        let mailbox = self.clients.get(&id);
        mailbox.is_some_and(|m| !m.replies.is_empty() || m.asked.iter().any(|wanted| *wanted))
    }

    /// The next reply to what a client has asked, if that has come within some time.
    pub(super) fn reply(&mut self, id: usize, patience: Duration) -> Result<Value, CallError> {
        let reply = self.wait_for(id, patience, |mailbox| mailbox.replies.pop_front())?;
        if let Some(reply) = reply {
            return Ok(reply);
        }
        // Who comes too late finds nobody.
        let asked = self.clients.get_mut(&id).map(|mailbox| &mut mailbox.asked);
        if let Some(wanted) = asked.and_then(|asked| asked.iter_mut().find(|wanted| **wanted)) {
            *wanted = false;
        }
        self.note(&format!("client {id} waits no longer"));
        Err(CallError::NoAnswer(patience))
    }

    /// The next message for a client, if one comes within some time.
    pub(super) fn message(
        &mut self,
        id: usize,
        patience: Duration,
    ) -> Result<Option<Value>, CallError> {
        self.wait_for(id, patience, |mailbox| mailbox.messages.pop_front())
    }

    /// Waits until there is something in a mailbox.
    fn wait_for<T>(
        &mut self,
        id: usize,
        patience: Duration,
        look: impl Fn(&mut Mailbox) -> Option<T>,
    ) -> Result<Option<T>, CallError> {
        let until = self.world.now().saturating_add(micros(patience));
        loop {
            let mailbox = self.clients.get_mut(&id).ok_or(CallError::Closed)?;
            if let Some(found) = look(mailbox) {
                return Ok(Some(found));
            }
            if let Some(ended) = &mailbox.ended {
                return Err(ended.clone());
            }
            if !self.step_until(until) {
                return Ok(None);
            }
        }
    }

    /// Does what happens next, unless that is later than this. Whether it was not.
    fn step_until(&mut self, until: i64) -> bool {
        let is_due = self.world.next_at().is_some_and(|at| at <= until);
        if !is_due {
            self.world.pass(until);
            return false;
        }
        self.world.step();
        self.deliver();
        true
    }

    pub(super) fn advance(&mut self, time: Duration) {
        let until = self.world.now().saturating_add(micros(time));
        while self.step_until(until) {}
    }

    /// What has come for clients is put into their mailboxes.
    fn deliver(&mut self) {
        while let Some(news) = self.world.take_news() {
            if let News::Received {
                client,
                conn,
                piece,
            } = news
            {
                self.receive(client, conn, piece);
            }
        }
    }

    fn receive(&mut self, id: usize, conn: ConnId, piece: Piece) {
        let Some(mailbox) = self.clients.get_mut(&id) else {
            return;
        };
        match piece {
            Piece::Open => {}
            Piece::End => {
                self.world.forget(conn);
                mailbox.ended = Some(match self.world.machines[mailbox.place].is_up() {
                    true => CallError::Closed,
                    false => CallError::Stopped,
                });
                self.note(&format!("client {id} is disconnected"));
            }
            Piece::Bytes(bytes) => {
                mailbox.received.extend_from_slice(&bytes);
                for text in mailbox.sort() {
                    self.note(&format!("client {id} is answered: {text}"));
                }
            }
        }
    }

    fn note(&mut self, text: &str) {
        let now = self.world.now();
        self.world.journal.note(now, format_args!("{text}"));
    }

    pub(super) fn take_down(&mut self, place: Place, down: Down) {
        self.world.take_down(place, down);
    }

    pub(super) fn part(&mut self, ways: &Ways) {
        ways.all().for_each(|(from, to)| self.world.block(from, to));
        self.note(&format!(
            "{} are cut off from {}",
            self.names(&ways.0),
            self.names(&ways.1)
        ));
    }

    pub(super) fn heal(&mut self) {
        self.world.unblock_all();
        self.note("all lines are whole");
    }

    pub(super) fn delay(&mut self, ways: &Ways, delay: Duration) {
        let delay = micros(delay);
        ways.all()
            .for_each(|(from, to)| self.world.delay(from, to, delay));
    }

    pub(super) fn lose(&mut self, ways: &Ways, probability: f64) {
        let probability = probability.clamp(0.0, 0.99);
        ways.all()
            .for_each(|(from, to)| self.world.lose(from, to, probability));
    }

    fn names(&self, places: &[Place]) -> String {
        let machines = places
            .iter()
            .filter_map(|place| self.world.machines.get(*place));
        let names: Vec<&str> = machines.map(|machine| machine.name.as_str()).collect();
        names.join(", ")
    }
}

impl Mailbox {
    /// Sorts what was received into replies and messages. Tells what they are.
    fn sort(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        let mut at = 0;
        while let Some(rest @ [_, ..]) = self.received.get(at..) {
            let (value, used) = match parse_reply(rest) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => break,
                Err(e) => {
                    self.ended = Some(e.into());
                    break;
                }
            };
            at += used;
            told.push(shortened(&value.to_string()));
            if is_push(&value) {
                self.messages.push_back(value);
                continue;
            }
            match self.asked.pop_front() {
                Some(true) => self.replies.push_back(value),
                Some(false) => {}
                None => self.messages.push_back(value),
            }
        }
        self.received.drain(..at.min(self.received.len()));
        told
    }
}

/// Characters of a text that the journal shows.
const SHOWN: usize = 200;

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The words of a request.
struct Shortened<'a>(&'a [&'a [u8]]);

impl std::fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = self.0.iter().take(SHOWN);
        let words: Vec<_> = words
            .map(|word| word.get(..SHOWN).unwrap_or(word).escape_ascii().to_string())
            .collect();
        f.write_str(&shortened(&words.join(" ")))
    }
}
