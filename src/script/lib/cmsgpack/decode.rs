//! MessagePack to Lua values.

use mlua::{Error, Lua, Result, Table, Value};

use crate::script::fault::{Thrown, located};
use crate::script::lib::{Read, STACK};
use crate::script::watch::Watch;

/// Reads values. Nested tables are kept apart from the thread's stack, and lengths are believed only as far as elements
/// come.
pub(super) struct Decoder<'a, 'w> {
    lua: &'a Lua,
    watch: &'a mut Watch<'w>,
    rest: &'a [u8],
    stack: Vec<Frame<'a>>,
    /// Slots in use on the stack that the library would need.
    slots: usize,
}

/// Each table that is being read holds a reference, of which there are not many more than slots.
const DEEPEST: usize = STACK - 100;

/// A table that is being read.
struct Frame<'a> {
    table: Table,
    kind: Kind<'a>,
    /// Elements or pairs that are still to come.
    left: u32,
}

enum Kind<'a> {
    /// The next index.
    Array(u32),
    /// The key whose value comes next.
    Map(Option<Read<'a>>),
}

impl Frame<'_> {
    fn slots(&self) -> usize {
        match self.kind {
            Kind::Array(_) | Kind::Map(Some(_)) => 2,
            Kind::Map(None) => 1,
        }
    }
}

/// What begins with a byte.
enum Next<'a> {
    Value(Read<'a>),
    Array(u32),
    Map(u32),
}

impl<'a, 'w> Decoder<'a, 'w> {
    /// `slots` are in use already.
    pub(super) fn new(
        lua: &'a Lua,
        watch: &'a mut Watch<'w>,
        text: &'a [u8],
        slots: usize,
    ) -> Decoder<'a, 'w> {
        Decoder {
            lua,
            watch,
            rest: text,
            stack: Vec::new(),
            slots,
        }
    }

    /// Whether everything was read.
    pub(super) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes were not read yet.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Reads a whole value.
    pub(super) fn value(&mut self) -> Result<Read<'a>> {
        loop {
            let mut done = match self.next()? {
                Next::Value(value) => value,
                Next::Array(0) | Next::Map(0) => {
                    Read::Value(Value::Table(self.lua.create_table()?))
                }
                Next::Array(left) => {
                    self.begin(Kind::Array(1), left)?;
                    continue;
                }
                Next::Map(left) => {
                    self.begin(Kind::Map(None), left)?;
                    continue;
                }
            };
            // What is complete goes into the table around it, which may be complete then.
            loop {
                let Some(frame) = self.stack.last_mut() else {
                    self.slots += 1;
                    return Ok(done);
                };
                let before = frame.slots();
                put(self.lua, frame, done)?;
                let (after, left) = (frame.slots(), frame.left);
                self.slots = self.slots - before + after;
                if left > 0 {
                    break;
                }
                self.slots -= after;
                match self.stack.pop() {
                    Some(frame) => done = Read::Value(Value::Table(frame.table)),
                    None => break,
                }
            }
        }
    }

    fn begin(&mut self, kind: Kind<'a>, left: u32) -> Result<()> {
        let table = self.lua.create_table()?;
        let frame = Frame { table, kind, left };
        self.slots += frame.slots();
        self.stack.push(frame);
        Ok(())
    }

    /// Reads what has no elements, or the beginning of what has.
    fn next(&mut self) -> Result<Next<'a>> {
        const MANY: &str =
            "too many return values at once; use unpack_one or unpack_limit instead.";
        self.watch.step(0, 0)?;
        let [first] = self.take()?;
        if self.slots + 1 > STACK || self.stack.len() >= DEEPEST {
            return Err(self.overflow(MANY));
        }
        let number = |n: f64| Ok(Next::Value(Read::Value(Value::Number(n))));
        match first {
            0x00..=0x7f => number(f64::from(first)),
            0x80..=0x8f => Ok(Next::Map(u32::from(first & 0x0f))),
            0x90..=0x9f => self.array(u32::from(first & 0x0f)),
            0xa0..=0xbf => self.text(usize::from(first & 0x1f)),
            0xc0 => Ok(Next::Value(Read::Value(Value::Nil))),
            0xc2 | 0xc3 => Ok(Next::Value(Read::Value(Value::Boolean(first == 0xc3)))),
            0xca => number(f64::from(f32::from_be_bytes(self.take()?))),
            0xcb => number(f64::from_be_bytes(self.take()?)),
            0xcc => number(f64::from(u8::from_be_bytes(self.take()?))),
            0xcd => number(f64::from(u16::from_be_bytes(self.take()?))),
            0xce => number(f64::from(u32::from_be_bytes(self.take()?))),
            // Both of 64 bits are signed here.
            0xcf | 0xd3 => number(i64::from_be_bytes(self.take()?) as f64),
            0xd0 => number(f64::from(i8::from_be_bytes(self.take()?))),
            0xd1 => number(f64::from(i16::from_be_bytes(self.take()?))),
            0xd2 => number(f64::from(i32::from_be_bytes(self.take()?))),
            0xd9..=0xdb => {
                let len = self.length(first - 0xd9)?;
                self.text(len as usize)
            }
            0xdc | 0xdd => {
                let len = self.length(first - 0xdc + 1)?;
                self.array(len)
            }
            0xde | 0xdf => Ok(Next::Map(self.length(first - 0xde + 1)?)),
            0xe0..=0xff => number(f64::from(first.cast_signed())),
            0xc1 | 0xc4..=0xc9 | 0xd4..=0xd8 => Err(located(self.lua, "Bad data format in input.")),
        }
    }

    /// A length of one, two or four bytes.
    fn length(&mut self, size: u8) -> Result<u32> {
        Ok(match size {
            0 => u32::from(u8::from_be_bytes(self.take()?)),
            1 => u32::from(u16::from_be_bytes(self.take()?)),
            _ => u32::from_be_bytes(self.take()?),
        })
    }

    fn array(&mut self, len: u32) -> Result<Next<'a>> {
        if self.slots + 2 > STACK {
            return Err(self.overflow("in function mp_decode_to_lua_array"));
        }
        Ok(Next::Array(len))
    }

    fn text(&mut self, len: usize) -> Result<Next<'a>> {
        let (text, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or_else(|| self.missing())?;
        self.rest = rest;
        Ok(Next::Value(Read::Text(text)))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| self.missing())?;
        self.rest = rest;
        Ok(*taken)
    }

    fn missing(&self) -> Error {
        located(self.lua, "Missing bytes in input.")
    }

    fn overflow(&self, what: &str) -> Error {
        located(self.lua, format!("stack overflow ({what})"))
    }
}

/// Puts a value into the table that it belongs to, or keeps it as the key of the next one.
fn put<'a>(lua: &Lua, frame: &mut Frame<'a>, value: Read<'a>) -> Result<()> {
    match &mut frame.kind {
        Kind::Array(next) => {
            frame.table.raw_set(*next, value.item(lua)?)?;
            *next = next.wrapping_add(1);
        }
        Kind::Map(key) => match key.take() {
            None => {
                *key = Some(value);
                return Ok(());
            }
            Some(Read::Value(Value::Nil)) => return Err(no_key("nil")),
            Some(Read::Value(Value::Number(n))) if n.is_nan() => return Err(no_key("NaN")),
            Some(key) => frame.table.raw_set(key.item(lua)?, value.item(lua)?)?,
        },
    }
    frame.left -= 1;
    Ok(())
}

/// The error of Lua itself, which knows no position in a library.
fn no_key(what: &str) -> Error {
    Thrown::Message(format!("table index is {what}").into_bytes()).into()
}
