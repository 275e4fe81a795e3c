//! Large values written piece by piece, so that nobody waits for the whole. What is written is what [`write`](super::write)
//! writes at once; the value must stay the same from the first piece to the last.
//!
//! An element is written at once, however large it is, and so are the groups of a stream.

use super::{Element, Writer, hash, list, set, stream, string, zset};
use crate::ds::lzf::Compressor;
use crate::types::Value;
use crate::types::stream::StreamId;

/// Values that take more than this are written in pieces.
const LARGE: usize = if cfg!(test) { 300 } else { 64 * 1024 };

/// Elements that are taken out of a table together.
pub(super) const TOGETHER: usize = 16;

/// The work that an element makes, in bytes.
pub(super) fn weight(element: Element<'_>) -> usize {
    const BESIDE: usize = 16;
    match element {
        Element::Int(_) => BESIDE,
        Element::Str(text) => BESIDE + text.len(),
    }
}

/// How far a value has been written.
#[derive(Debug)]
pub struct Progress {
    at: At,
    /// A buffer that is not needed any more. It may be as large as the value, so that dropping it takes long, too.
    spent: Vec<u8>,
}

/// Where to go on.
#[derive(Debug)]
pub(super) enum At {
    /// A string that is being compressed.
    Compressing(Compressor),
    /// A string, compressed or as it is, and how many bytes of it are written.
    Text(Option<Vec<u8>>, usize),
    /// A list: nodes written.
    Node(usize),
    /// A hash or a set: the cursor of a scan.
    Cursor(u64),
    /// A sorted set: members left.
    Left(usize),
    /// The entries of a stream, from this id on.
    Entries(StreamId),
    /// That was all.
    End,
}

impl Progress {
    /// Begins to write a value, if it is large: what stands before its elements.
    pub fn begin(value: &Value, w: &mut Writer<'_>) -> Option<Progress> {
        if value.heap_size() <= LARGE {
            return None;
        }
        let at = match value {
            Value::Str(text) => string::begin(text, w),
            Value::List(list) => list::begin(list, w),
            Value::Hash(hash) => hash::begin(hash, w)?,
            Value::Set(set) => set::begin(set, w)?,
            Value::ZSet(zset) => zset::begin(zset, w)?,
            Value::Stream(stream) => stream::begin(stream, w),
        };
        let spent = Vec::new();
        Some(Progress { at, spent })
    }

    /// Goes on with the value, for about as much work as so many bytes make; returns whether that was the end.
    pub fn go_on(&mut self, value: &Value, bytes: usize, w: &mut Writer<'_>) -> bool {
        let at = std::mem::replace(&mut self.at, At::End);
        self.at = match (value, at) {
            (Value::Str(text), at) => string::go_on(text, at, bytes, &mut self.spent, w),
            (Value::List(list), At::Node(at)) => list::go_on(list, at, bytes, w),
            (Value::Hash(hash), At::Cursor(at)) => hash::go_on(hash, at, bytes, w),
            (Value::Set(set), At::Cursor(at)) => set::go_on(set, at, bytes, w),
            (Value::ZSet(zset), At::Left(left)) => zset::go_on(zset, left, bytes, w),
            (Value::Stream(stream), At::Entries(from)) => stream::go_on(stream, from, bytes, w),
            _ => At::End,
        };
        matches!(self.at, At::End)
    }

    /// Bytes that it holds.
    pub fn memory(&self) -> usize {
        let held = match &self.at {
            At::Compressing(compressor) => compressor.memory(),
            At::Text(Some(packed), _) => packed.capacity(),
            _ => 0,
        };
        held + self.spent.capacity()
    }
}
