//! Values as the commands that make them again: what the base of an append-only file is written as with
//! `aof-use-rdb-preamble no`, for every server and every tool that knows commands, and for people.
//!
//! ```text
//! string      SET key value
//! list        RPUSH key element*                         from head to tail
//! set         SADD key member*
//! sorted set  ZADD key ( score member )*                 in order
//! hash        HMSET key ( field value )*
//!             HPEXPIREAT key deadline FIELDS n field*    for each deadline
//! stream      see `stream.rs`
//! deadline    PEXPIREAT key deadline
//! ```
//!
//! They are the commands that Redis writes, in its order. They add to what is there, so the key must not exist; none of
//! them fails then, whatever the value. What is over is written too: who reads it does not let it expire meanwhile.

mod stream;
#[cfg(test)]
mod tests;

use super::Value;
use super::hash::Hash;
use super::list::List;
use super::set::Set;
use super::string::Str;
use super::zset::ZSet;
use crate::ds::listpack::Value as Element;
use crate::resp::{Proto, ReplyBuf};

/// Most elements of one command, as in Redis: nobody waits long for one that is read, nor needs much memory.
const BATCH: usize = 64;

/// The latest deadline that a field can be given. Files may say a later one.
const LATEST: i64 = (1 << 46) - 1;

/// Appends the commands that make `key` again, with this value and deadline in Unix milliseconds.
pub fn write(key: &[u8], value: &Value, deadline: Option<i64>, out: &mut Vec<u8>) {
    let mut w = Writer::default();
    w.0.swap(out);
    match value {
        Value::Str(text) => string(key, text, &mut w),
        Value::List(list) => elements(key, list, &mut w),
        Value::Hash(hash) => fields(key, hash, &mut w),
        Value::Set(set) => members(key, set, &mut w),
        Value::ZSet(zset) => scores(key, zset, &mut w),
        Value::Stream(stream) => stream::write(key, stream, &mut w),
    }
    if let Some(at) = deadline {
        w.command("PEXPIREAT", key, 1);
        w.int(at);
    }
    w.0.swap(out);
}

/// Writes commands word by word. They have the form of replies: arrays of strings.
#[derive(Debug)]
struct Writer(ReplyBuf);

impl Default for Writer {
    fn default() -> Writer {
        Writer(ReplyBuf::new(Proto::Resp2))
    }
}

impl Writer {
    /// Begins a command on a key; so many words follow.
    fn command(&mut self, name: &str, key: &[u8], more: usize) {
        self.0.array(2 + more);
        self.word(name);
        self.word(key);
    }

    fn word(&mut self, word: impl AsRef<[u8]>) {
        self.0.bulk(word.as_ref());
    }

    fn int(&mut self, n: i64) {
        self.0.bulk_int(n);
    }

    fn count(&mut self, n: usize) {
        self.int(i64::try_from(n).unwrap_or(i64::MAX));
    }

    fn element(&mut self, element: Element<'_>) {
        match element {
            Element::Int(n) => self.int(n),
            Element::Str(text) => self.word(text),
        }
    }
}

/// Spreads the elements of a value over commands.
struct Batches<'a> {
    name: &'static str,
    key: &'a [u8],
    /// Words of an element.
    words: usize,
    /// Elements that are not in a command yet.
    left: usize,
    /// Elements that the present command has yet to get.
    room: usize,
}

impl<'a> Batches<'a> {
    /// For `count` elements of so many words each.
    fn new(name: &'static str, key: &'a [u8], words: usize, count: usize) -> Batches<'a> {
        Batches {
            name,
            key,
            words,
            left: count,
            room: 0,
        }
    }

    /// The next element follows, if it is one of those that were counted.
    fn next(&mut self, w: &mut Writer) -> bool {
        if self.room == 0 {
            self.room = self.left.min(BATCH);
            if self.room == 0 {
                return false;
            }
            self.left -= self.room;
            w.command(self.name, self.key, self.room * self.words);
        }
        self.room -= 1;
        true
    }
}

fn string(key: &[u8], text: &Str, w: &mut Writer) {
    w.command("SET", key, 1);
    match text {
        Str::Int(n) => w.int(*n),
        other => other.with(|bytes| w.word(bytes)),
    }
}

fn elements(key: &[u8], list: &List, w: &mut Writer) {
    let mut batches = Batches::new("RPUSH", key, 1, list.len());
    list.for_each(0, list.len(), false, |element| {
        let counted = batches.next(w);
        if counted {
            w.element(element);
        }
        counted
    });
}

fn members(key: &[u8], set: &Set, w: &mut Writer) {
    let mut batches = Batches::new("SADD", key, 1, set.len());
    for member in set.iter() {
        if batches.next(w) {
            w.element(member);
        }
    }
}

/// Scores have the shortest digits that are read as the same number; Redis writes seventeen. Only a score of -0 comes back
/// as 0, as in Redis: in a listpack, as which every sorted set begins, there is no other.
fn scores(key: &[u8], zset: &ZSet, w: &mut Writer) {
    let mut batches = Batches::new("ZADD", key, 2, zset.len());
    for (member, score) in zset.iter() {
        if batches.next(w) {
            w.0.double(score);
            w.element(member);
        }
    }
}

/// Fields that are over at the same time are told in one command, where Redis 7.4 has one for each field.
fn fields(key: &[u8], hash: &Hash, w: &mut Writer) {
    let mut batches = Batches::new("HMSET", key, 2, hash.total());
    let mut timed = Vec::new();
    for entry in hash.iter(i64::MIN) {
        if batches.next(w) {
            w.element(entry.name);
            w.element(entry.value);
            timed.extend(entry.deadline.map(|at| (at.min(LATEST), entry.name)));
        }
    }
    timed.sort_unstable_by_key(|(at, _)| *at);
    for together in timed.chunk_by(|a, b| a.0 == b.0) {
        for some in together.chunks(BATCH) {
            w.command("HPEXPIREAT", key, 3 + some.len());
            w.int(some.first().map_or(LATEST, |(at, _)| *at));
            w.word("FIELDS");
            w.count(some.len());
            some.iter().for_each(|(_, name)| w.element(*name));
        }
    }
}
