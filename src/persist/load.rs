//! An RDB file taken apart as it comes in.
//!
//! Bytes go in by [`Loader::feed`], items come out by [`Loader::next`], each as soon as it is there. Objects say nothing of
//! their length: one that has not come in whole is [passed over](Span) from where its bytes ended until it has, so that
//! none of them is looked at more than a few times, and nothing is made of it twice.

use super::input::Input;
use crate::ds::bytes::TinyBytes;
use crate::keyspace::Arrival;
use crate::rdb::file::{self, HEADER, Item};
use crate::rdb::span::{Reach, Span};
use crate::rdb::{Corrupt, Reader, payload};
use crate::types::dump::{self, Limits, Read};
use crate::util::digest::crc64;

/// What came out of a file.
#[derive(Debug)]
pub enum Loaded {
    /// A key.
    Key(Arrival),
    /// A key with a collection without elements, which is no key.
    Empty(TinyBytes),
    /// What follows is in this database.
    Select(u64),
    /// So many keys follow in this database.
    Sizes(u64),
    /// A fact about the file.
    Fact(Vec<u8>, Vec<u8>),
    /// The code of a library of functions.
    Function(Vec<u8>),
    /// A module of this name wrote something beside its values; it was passed over.
    Module(String),
    /// The end of the file.
    End,
}

/// What a [batch](Loader::batch) has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// There is more.
    More,
    /// More bytes are needed.
    Hungry,
    /// That was all.
    Ended,
}

/// Why a file cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at offset {offset}: {what}")]
pub struct LoadError {
    /// Where the item begins that cannot be read.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
    /// The key that it is wrong with, if that could be read.
    pub key: Option<Vec<u8>>,
}

/// Reads a file.
#[derive(Debug)]
pub struct Loader {
    input: Input,
    /// The next item, if it was tried before it had come in whole.
    span: Option<Span>,
    version: Option<u16>,
    checked: bool,
    /// The checksum of the file up to here.
    sum: u64,
    summed: u64,
    /// The checksum at the end.
    written: Option<u64>,
    ended: bool,
}

impl Loader {
    /// Reads a file whose checksum is looked at if `checked`.
    pub fn new(checked: bool) -> Loader {
        Loader {
            input: Input::default(),
            span: None,
            version: None,
            checked,
            sum: 0,
            summed: 0,
            written: None,
            ended: false,
        }
    }

    /// Takes the next bytes of the file; none say that it ends.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.sum_up();
        self.input.feed(bytes);
    }

    /// Bytes of the file that were read.
    pub fn position(&self) -> u64 {
        self.input.position()
    }

    /// Whatever follows the file, as far as it came in.
    pub fn rest(&self) -> &[u8] {
        self.input.rest()
    }

    /// The next items, of about so many bytes, each behind the place where it begins. What is no key is the last of them.
    ///
    /// # Errors
    /// As [`next`](Loader::next).
    pub fn batch(
        &mut self,
        bytes: u64,
        limits: &Limits,
        now: i64,
        into: &mut Vec<(u64, Loaded)>,
    ) -> Result<Batch, LoadError> {
        let until = self.position() + bytes;
        while self.position() < until {
            let at = self.position();
            match self.next(limits, now)? {
                None => return Ok(Batch::Hungry),
                Some(Loaded::End) => return Ok(Batch::Ended),
                Some(loaded) => {
                    let is_key = matches!(loaded, Loaded::Key(_) | Loaded::Empty(_));
                    into.push((at, loaded));
                    if !is_key {
                        // How keys are read that follow may depend on it.
                        break;
                    }
                }
            }
        }
        Ok(Batch::More)
    }

    /// The checksum that the file ends in, once it was read: 0 if none was made, none in old files.
    pub fn checksum(&self) -> Option<u64> {
        self.written
    }

    /// The next item; none when more bytes are needed.
    ///
    /// # Errors
    /// When the file is damaged or ends too soon, is of an unknown version, or holds what cannot be read.
    pub fn next(&mut self, limits: &Limits, now: i64) -> Result<Option<Loaded>, LoadError> {
        if self.ended {
            return Ok(Some(Loaded::End));
        }
        let Some(version) = self.version else {
            return self.begin(limits, now);
        };
        let left = self.input.rest();
        if left.is_empty() && self.input.complete {
            return Err(self.error("the file ends too soon"));
        }
        let tried = self.span.is_some();
        if let Some(span) = &mut self.span
            && !self.input.complete
            && span.go_on(left, version) == Reach::Short
        {
            return Ok(None);
        }
        let mut r = Reader::new(left);
        match item(&mut r, version, limits, now) {
            Ok(loaded) => {
                let used = left.len() - r.left().len();
                self.take(used, loaded)
            }
            Err(_) if r.ran_out() && !self.input.complete && !tried => {
                self.span = Some(Span::default());
                self.next(limits, now)
            }
            Err(fault) if r.ran_out() && self.input.complete => Err(LoadError {
                what: "the file ends too soon".to_owned(),
                ..self.faulty(fault)
            }),
            Err(fault) => Err(self.faulty(fault)),
        }
    }

    fn begin(&mut self, limits: &Limits, now: i64) -> Result<Option<Loaded>, LoadError> {
        let Some(header) = self.rest().first_chunk::<HEADER>() else {
            if self.input.complete {
                return Err(self.error("the file ends too soon"));
            }
            return Ok(None);
        };
        let Some(version) = file::version(*header) else {
            return Err(self.error("wrong signature: this is no RDB file"));
        };
        if !(1..=payload::NEWEST).contains(&version) {
            return Err(self.error(&format!("can't handle RDB format version {version}")));
        }
        self.version = Some(version);
        self.input.read(HEADER);
        self.next(limits, now)
    }

    fn take(&mut self, used: usize, read: Found) -> Result<Option<Loaded>, LoadError> {
        let loaded = match read {
            Found::Item(loaded) => loaded,
            Found::End(sum) => {
                self.sum_up();
                let is = crc64(self.sum, self.rest().get(..1).unwrap_or_default());
                // Zero is what is written where no checksum was made.
                if let Some(sum) = sum
                    && self.checked
                    && sum != 0
                    && sum != is
                {
                    let what = format!("RDB CRC error: expected {sum:x}, and it is {is:x}");
                    return Err(self.error(&what));
                }
                (self.ended, self.written) = (true, sum);
                Loaded::End
            }
        };
        self.input.read(used);
        self.span = None;
        Ok(Some(loaded))
    }

    /// Brings the checksum up to where the reading stands.
    fn sum_up(&mut self) {
        if self.checked {
            self.sum = crc64(self.sum, self.input.passed(self.summed));
            self.summed = self.position();
        }
    }

    #[cold]
    fn error(&self, what: &str) -> LoadError {
        self.faulty(what.into())
    }

    #[cold]
    fn faulty(&self, Fault { what, key }: Fault) -> LoadError {
        LoadError {
            offset: self.position(),
            what,
            key,
        }
    }
}

enum Found {
    Item(Loaded),
    End(Option<u64>),
}

/// Why an item cannot be read.
struct Fault {
    what: String,
    key: Option<Vec<u8>>,
}

impl From<&str> for Fault {
    fn from(what: &str) -> Fault {
        Fault {
            what: what.to_owned(),
            key: None,
        }
    }
}

/// Reads one item whole.
fn item(r: &mut Reader<'_>, version: u16, limits: &Limits, now: i64) -> Result<Found, Fault> {
    let broken = |_: Corrupt| Fault::from("the file is damaged");
    let loaded = match file::next(r, version).map_err(broken)? {
        Item::End(sum) => return Ok(Found::End(sum)),
        Item::Aux(name, value) => Loaded::Fact(name, value),
        Item::Select(db) => Loaded::Select(db),
        Item::Sizes(keys, _) => Loaded::Sizes(keys),
        Item::Function(code) => Loaded::Function(code),
        Item::FunctionOld => {
            return Err("functions of a release candidate of 7.0 cannot be read".into());
        }
        Item::ModuleAux(name) => Loaded::Module(name),
        Item::Other => Loaded::Module(String::new()),
        Item::ModuleValue(name) => {
            return Err(format!("a value of the module '{name}' cannot be read")
                .as_str()
                .into());
        }
        Item::Key(head) => {
            let name = head.key.into_small();
            match dump::read(head.tag, r, limits, now) {
                Ok(Read::Value(value)) => Loaded::Key(Arrival {
                    name,
                    value,
                    deadline: head.deadline,
                    idle: head.idle,
                    frequency: head.frequency,
                }),
                Ok(Read::Empty | Read::Over) => Loaded::Empty(name),
                Err(refused) => {
                    return Err(Fault {
                        what: refused.to_string(),
                        key: Some(name[..].to_vec()),
                    });
                }
            }
        }
    };
    Ok(Found::Item(loaded))
}
