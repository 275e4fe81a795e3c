//! How long an item of a file is, found out while it comes in: nothing is made of it, and each byte is passed once.

use smallvec::SmallVec;

use super::file::{CHECKSUMMED, MODULE, MODULE_OLD, opcode};
use super::{Corrupt, Reader, Tag};

/// What items are made of.
#[derive(Clone, Copy, Debug)]
enum Part {
    /// A string in any form.
    Text,
    /// So many numbers written as lengths.
    Numbers(usize),
    /// A double in its old form.
    OldDouble,
    /// So many bytes.
    Bytes(usize),
    /// A number, and these so many times.
    Many(&'static [Part]),
    /// What a module wrote, to its end. It is the last part of an item.
    Module,
}

use Part::{Bytes, Many, Module, Numbers, OldDouble, Text};

/// A time, or a double in its binary form.
const EIGHT: Part = Bytes(8);

// Of a stream: see `types::dump`.
const NODES: Part = Many(&[Text, Text]);
const IDS: Part = Many(&[Bytes(16)]);
const PENDING: Part = Many(&[Bytes(16), EIGHT, Numbers(1)]);
const CONSUMERS: Part = Many(&[Text, EIGHT, IDS]);
const ACTIVE_CONSUMERS: Part = Many(&[Text, EIGHT, EIGHT, IDS]);
const GROUPS: Part = Many(&[Text, Numbers(2), PENDING, CONSUMERS]);
const GROUPS_2: Part = Many(&[Text, Numbers(3), PENDING, CONSUMERS]);
const GROUPS_3: Part = Many(&[Text, Numbers(3), PENDING, ACTIVE_CONSUMERS]);
const GROUPS_5: Part = Many(&[Text, Numbers(3), PENDING, ACTIVE_CONSUMERS, IDS]);
const PRODUCERS: Part = Many(&[Text, Many(&[Text, Numbers(2)])]);

/// A key and its object.
const fn key(tag: Tag) -> &'static [Part] {
    match tag {
        Tag::Str
        | Tag::HashZipmap
        | Tag::ListZiplist
        | Tag::SetIntset
        | Tag::ZSetZiplist
        | Tag::HashZiplist
        | Tag::HashListpack
        | Tag::ZSetListpack
        | Tag::SetListpack
        | Tag::HashListpackDeadlinesOld => &[Text, Text],
        Tag::List | Tag::Set | Tag::ListQuicklist => &[Text, Many(&[Text])],
        Tag::ZSet => &[Text, Many(&[Text, OldDouble])],
        Tag::Hash => &[Text, Many(&[Text, Text])],
        Tag::ZSet2 => &[Text, Many(&[Text, EIGHT])],
        Tag::ListQuicklist2 => &[Text, Many(&[Numbers(1), Text])],
        Tag::HashDeadlinesOld => &[Text, Many(&[Numbers(1), Text, Text])],
        Tag::HashDeadlines => &[Text, EIGHT, Many(&[Numbers(1), Text, Text])],
        Tag::HashListpackDeadlines => &[Text, EIGHT, Text],
        Tag::Stream => &[Text, NODES, Numbers(3), GROUPS],
        Tag::Stream2 => &[Text, NODES, Numbers(8), GROUPS_2],
        Tag::Stream3 => &[Text, NODES, Numbers(8), GROUPS_3],
        Tag::Stream4 => &[
            Text,
            NODES,
            Numbers(8),
            GROUPS_3,
            Numbers(2),
            PRODUCERS,
            Numbers(2),
        ],
        Tag::Stream5 => &[
            Text,
            NODES,
            Numbers(8),
            GROUPS_5,
            Numbers(2),
            PRODUCERS,
            Numbers(2),
        ],
    }
}

/// What follows the first byte of an item, and whether another such byte comes behind it.
fn begun(byte: u8, version: u16) -> Option<(&'static [Part], bool)> {
    let whole: &[Part] = match byte {
        opcode::DEADLINE => return Some((&[Bytes(4)], true)),
        opcode::DEADLINE_MS => return Some((&[EIGHT], true)),
        opcode::IDLE => return Some((&[Numbers(1)], true)),
        opcode::FREQUENCY => return Some((&[Bytes(1)], true)),
        opcode::END if version >= CHECKSUMMED => &[EIGHT],
        opcode::END | opcode::FUNCTION_OLD => &[],
        opcode::SELECT => &[Numbers(1)],
        opcode::SIZES => &[Numbers(2)],
        opcode::AUX => &[Text, Text],
        opcode::FUNCTION => &[Text],
        opcode::SLOT_INFO => &[Numbers(3)],
        opcode::MODULE_AUX => &[Numbers(1), Module],
        MODULE | MODULE_OLD => &[Text, Numbers(1)],
        byte => key(Tag::from_byte(byte)?),
    };
    Some((whole, false))
}

/// What follows the number that says of what kind a piece of a module is.
fn piece(kind: u64) -> Option<&'static [Part]> {
    Some(match kind {
        0 => &[],
        1 | 2 => &[Numbers(1), Module],
        3 => &[Bytes(4), Module],
        4 => &[EIGHT, Module],
        5 => &[Text, Module],
        _ => return None,
    })
}

/// An item on its way.
#[derive(Debug, Default)]
pub struct Span {
    /// Bytes that were passed.
    at: usize,
    /// What is to come, the innermost last.
    open: SmallVec<[Open; 4]>,
    /// The item ends with what is to come.
    last: bool,
}

/// Parts that come several times.
#[derive(Debug)]
struct Open {
    /// What is left of this time.
    left: &'static [Part],
    /// All of it comes so many times more.
    all: &'static [Part],
    again: u64,
}

/// How far an item has come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is whole, in so many bytes.
    Whole(usize),
    /// It goes on behind the bytes that there are.
    Short,
    /// It is none.
    Broken,
}

impl Span {
    /// Passes on, as far as these bytes go: the first of them is that of the item each time.
    pub fn go_on(&mut self, bytes: &[u8], version: u16) -> Reach {
        loop {
            let mut r = Reader::new(bytes.get(self.at..).unwrap_or_default());
            let passed = match self.open.last_mut() {
                None if self.last => return Reach::Whole(self.at),
                None => self.begin(&mut r, version),
                Some(open) => match open.left.split_first() {
                    Some((part, left)) => {
                        let part = *part;
                        self.pass(part, left, &mut r)
                    }
                    None if open.again > 0 => {
                        open.again -= 1;
                        open.left = open.all;
                        continue;
                    }
                    None => {
                        self.open.pop();
                        continue;
                    }
                },
            };
            match passed {
                Ok(()) => self.at = bytes.len() - r.left().len(),
                Err(Corrupt) if r.ran_out() => return Reach::Short,
                Err(Corrupt) => return Reach::Broken,
            }
        }
    }

    fn begin(&mut self, r: &mut Reader<'_>, version: u16) -> Result<(), Corrupt> {
        let (parts, goes_on) = begun(r.byte()?, version).ok_or(Corrupt)?;
        self.last = !goes_on;
        self.push(parts, 1);
        Ok(())
    }

    /// Passes one part, behind which these are left. If it is not whole, nothing has happened.
    fn pass(
        &mut self,
        part: Part,
        left: &'static [Part],
        r: &mut Reader<'_>,
    ) -> Result<(), Corrupt> {
        let (mut left, mut inner) = (left, None);
        match part {
            Text => r.pass_string()?,
            Numbers(count) => (0..count).try_for_each(|_| r.length().map(drop))?,
            OldDouble => r.pass_old_double()?,
            Bytes(count) => _ = r.bytes(count)?,
            Many(parts) => inner = Some((parts, r.length()?)),
            Module => left = piece(r.length()?).ok_or(Corrupt)?,
        }
        if let Some(open) = self.open.last_mut() {
            open.left = left;
        }
        if let Some((parts, times)) = inner {
            self.push(parts, times);
        }
        Ok(())
    }

    fn push(&mut self, parts: &'static [Part], times: u64) {
        if let Some(again) = times.checked_sub(1) {
            self.open.push(Open {
                left: parts,
                all: parts,
                again,
            });
        }
    }
}
