//! Replies to Lua values, and Lua values to replies.

use mlua::{Either, Lua, Result, Table, Value};

use super::fault::{self, error_reply, is_counted};
use super::slot::Run;
use super::vm::Vm;
use super::watch::{self, BYTES_PER_LOOK, STEP};
use crate::exec::CmdError;
use crate::resp::{Deferred, ReplyBuf};

/// A value on its way to Lua. UTF-8 crosses without a reference.
pub(super) type Item<'a> = Either<&'a str, Value>;

/// What a command answered.
pub(super) enum Answer<'a> {
    /// Anything but an error.
    Value(Item<'a>),
    /// An error, without the leading `-`.
    Error(&'a [u8]),
}

/// Reads the reply of a command: RESP that this server wrote itself, so that what is missing reads as empty.
pub(super) struct Reader<'a, 'r> {
    lua: &'r Lua,
    run: &'r mut Run,
    /// The memory limit of scripts.
    limit: usize,
    rest: &'a [u8],
    values: u32,
}

/// After so many values it is looked at the clock and at the memory in use.
const VALUES_PER_LOOK: u32 = 1 << 12;

impl<'a, 'r> Reader<'a, 'r> {
    pub(super) fn new(
        lua: &'r Lua,
        run: &'r mut Run,
        limit: usize,
        reply: &'a [u8],
    ) -> Reader<'a, 'r> {
        Reader {
            lua,
            run,
            limit,
            rest: reply,
            values: 0,
        }
    }

    /// The reply as a whole.
    pub(super) fn answer(&mut self) -> Result<Answer<'a>> {
        if self.rest.first() == Some(&b'-') {
            self.skip();
            return Ok(Answer::Error(self.line()));
        }
        self.value().map(Answer::Value)
    }

    fn skip(&mut self) {
        self.rest = self.rest.get(1..).unwrap_or_default();
    }

    fn line(&mut self) -> &'a [u8] {
        let end = memchr::memchr(b'\r', self.rest).unwrap_or(self.rest.len());
        self.take(end)
    }

    /// The next `n` bytes; the line break after them is skipped.
    fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(n.min(self.rest.len()));
        self.rest = rest.get(2..).unwrap_or_default();
        taken
    }

    fn number(&mut self) -> i64 {
        crate::util::num::parse_i64(self.line()).unwrap_or_default()
    }

    fn value(&mut self) -> Result<Item<'a>> {
        self.values = self.values.wrapping_add(1);
        if self.values.is_multiple_of(VALUES_PER_LOOK) {
            watch::look(self.lua, self.run, self.limit, 0)?;
        }
        let lua = self.lua;
        let kind = self.rest.first().copied().unwrap_or_default();
        self.skip();
        Ok(match kind {
            b':' => plain(Value::Number(self.number() as f64)),
            b'$' => match usize::try_from(self.number()) {
                Ok(n) => text(lua, self.take(n))?,
                Err(_) => plain(Value::Boolean(false)),
            },
            b'+' => {
                let line = self.line();
                plain(pair(lua, "ok", text(lua, line)?)?)
            }
            b'-' => {
                let line = self.line();
                plain(Value::Table(error_table(lua, line)?))
            }
            b'*' | b'>' => match usize::try_from(self.number()) {
                Ok(n) => plain(self.array(n)?),
                Err(_) => plain(Value::Boolean(false)),
            },
            b'_' => {
                self.line();
                plain(Value::Nil)
            }
            b'#' => plain(Value::Boolean(self.line() == b"t")),
            b',' => {
                let number = double(self.line());
                plain(pair(lua, "double", plain(Value::Number(number)))?)
            }
            b'(' => {
                let digits = self.line();
                plain(pair(lua, "big_number", text(lua, digits)?)?)
            }
            b'=' => {
                let n = usize::try_from(self.number()).unwrap_or_default();
                plain(verbatim(lua, self.take(n))?)
            }
            b'%' => plain(self.map()?),
            b'~' => plain(self.set()?),
            b'|' => {
                // Attributes are not for scripts: they and what they hold are passed over.
                for _ in 0..self.number() * 2 {
                    self.value()?;
                }
                self.value()?
            }
            _ => plain(Value::Nil),
        })
    }

    fn array(&mut self, n: usize) -> Result<Value> {
        let lua = self.lua;
        let mut failed = None;
        let items = (0..n).map_while(|_| match self.value() {
            Ok(item) => Some(item),
            Err(e) => {
                failed = Some(e);
                None
            }
        });
        let table = lua.create_sequence_from(items)?;
        failed.map_or(Ok(Value::Table(table)), Err)
    }

    fn map(&mut self) -> Result<Value> {
        let n = self.number();
        // Scripts walk over it in the order that comes of growing.
        let map = self.lua.create_table()?;
        for _ in 0..n {
            let key = self.value()?;
            map.raw_set(key, self.value()?)?;
        }
        pair(self.lua, "map", plain(Value::Table(map)))
    }

    fn set(&mut self) -> Result<Value> {
        let n = self.number();
        let set = self.lua.create_table()?;
        for _ in 0..n {
            set.raw_set(self.value()?, true)?;
        }
        pair(self.lua, "set", plain(Value::Table(set)))
    }
}

fn plain<'a>(value: Value) -> Item<'a> {
    Either::Right(value)
}

pub(super) fn text<'a>(lua: &Lua, bytes: &'a [u8]) -> Result<Item<'a>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Either::Left(text)),
        Err(_) => Ok(plain(Value::String(lua.create_string(bytes)?))),
    }
}

fn pair(lua: &Lua, key: &str, value: Item<'_>) -> Result<Value> {
    Ok(Value::Table(lua.create_table_from([(key, value)])?))
}

/// An error of a command, as redis.pcall answers it. Errorstats have it already.
pub(super) fn error_table(lua: &Lua, text: &[u8]) -> Result<Table> {
    let table = lua.create_table_with_capacity(0, 2)?;
    table.raw_set("err", lua.create_string(text)?)?;
    table.raw_set(fault::COUNTED, true)?;
    Ok(table)
}

fn verbatim(lua: &Lua, bytes: &[u8]) -> Result<Value> {
    let (format, text) = bytes.split_at(3.min(bytes.len()));
    let inner = lua.create_table_with_capacity(0, 2)?;
    inner.raw_set("format", lua.create_string(format)?)?;
    inner.raw_set(
        "string",
        lua.create_string(text.get(1..).unwrap_or_default())?,
    )?;
    pair(lua, "verbatim_string", plain(Value::Table(inner)))
}

fn double(line: &[u8]) -> f64 {
    match line {
        b"nan" | b"-nan" => f64::NAN,
        line => crate::util::num::parse_f64(line).unwrap_or_default(),
    }
}

/// How deep tables may nest in a reply. Each level holds a reference, of which there can be 7995 at once.
const DEEPEST: usize = 7000;

/// Writes a script's value as its reply. An error comes back to be written and counted by the pipeline.
pub(super) fn reply(
    vm: &Vm,
    run: &mut Run,
    value: &Value,
    script_is_resp3: bool,
    out: &mut ReplyBuf,
) -> std::result::Result<(), CmdError> {
    let mut writer = Writer {
        vm,
        run,
        resp3: script_is_resp3,
        due: 0,
        stack: Vec::new(),
    };
    let Value::Table(table) = value else {
        writer.scalar(value, out);
        return Ok(());
    };
    let written = match vm.shape(table) {
        Ok((1, Value::String(text), _)) => {
            let text = String::from_utf8_lossy(up_to_zero(&text.as_bytes())).into_owned();
            return Err(error_reply(text, is_counted(table)));
        }
        Ok(shape) => writer
            .shaped(table, shape, out)
            .and_then(|()| writer.rest(out)),
        Err(e) => Err(e),
    };
    written.map_err(|e| {
        let text = fault::text_of(&e);
        let text = String::from_utf8_lossy(&text);
        // Why a script must end has its code already.
        match fault::thrown(&e) {
            Some(_) => CmdError::new(text),
            None => CmdError::new(format!("ERR {text}")),
        }
    })
}

/// Writes nested values with a stack of its own, so that no script can exhaust the thread's.
struct Writer<'a> {
    vm: &'a Vm,
    run: &'a mut Run,
    resp3: bool,
    /// Bytes since it was looked at the clock.
    due: usize,
    stack: Vec<Frame>,
}

/// A table that is being written.
enum Frame {
    /// Elements from `next` on, to the first nil.
    Array {
        table: Table,
        next: usize,
        header: Deferred,
    },
    /// Elements, keys and values, or keys alone, still to be written.
    Rest(std::vec::IntoIter<Value>),
}

impl Writer<'_> {
    /// What is left of the tables that were begun.
    fn rest(&mut self, out: &mut ReplyBuf) -> Result<()> {
        while let Some(frame) = self.stack.pop() {
            match frame {
                Frame::Array {
                    table,
                    next,
                    header,
                } => match table.raw_get::<Value>(next)? {
                    Value::Nil => header.finish(out, next - 1),
                    value => {
                        self.stack.push(Frame::Array {
                            table,
                            next: next + 1,
                            header,
                        });
                        self.one(&value, out)?;
                    }
                },
                Frame::Rest(mut values) => {
                    if let Some(value) = values.next() {
                        self.stack.push(Frame::Rest(values));
                        self.one(&value, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn one(&mut self, value: &Value, out: &mut ReplyBuf) -> Result<()> {
        // What a table holds many times over is written as often.
        self.due += match value {
            Value::String(text) => text.as_bytes().len() + STEP,
            _ => STEP,
        };
        if self.due >= BYTES_PER_LOOK {
            self.vm.look(self.run, out.len() + self.due)?;
            self.due = 0;
        }
        let Value::Table(table) = value else {
            self.scalar(value, out);
            return Ok(());
        };
        if self.stack.len() >= DEEPEST {
            out.error("ERR reached lua stack limit");
            return Ok(());
        }
        self.shaped(table, self.vm.shape(table)?, out)
    }

    fn scalar(&self, value: &Value, out: &mut ReplyBuf) {
        match value {
            Value::String(text) => out.bulk(&text.as_bytes()),
            Value::Integer(n) => out.int(*n),
            Value::Number(n) => out.int(truncated(*n)),
            Value::Boolean(b) if self.resp3 => out.bool(*b),
            Value::Boolean(true) => out.int(1),
            _ => out.null(),
        }
    }

    /// A table, as what it is: see [`Vm::shape`].
    fn shaped(
        &mut self,
        table: &Table,
        (kind, value, extra): (u8, Value, Value),
        out: &mut ReplyBuf,
    ) -> Result<()> {
        match (kind, value, extra) {
            (1, Value::String(text), counted) => {
                self.error(up_to_zero(&text.as_bytes()), &counted, out)
            }
            (2, Value::String(text), _) => out.simple_bytes(up_to_zero(&text.as_bytes())),
            (3, Value::Number(n), _) => out.double(n),
            (3, Value::Integer(n), _) => out.double(n as f64),
            (4, Value::Table(map), _) => {
                let mut values = Vec::new();
                map.for_each(|key: Value, value: Value| {
                    values.push(key);
                    values.push(value);
                    Ok(())
                })?;
                out.map(values.len() / 2);
                self.stack.push(Frame::Rest(values.into_iter()));
            }
            (5, Value::Table(set), _) => {
                let mut values = Vec::new();
                set.for_each(|key: Value, _: Value| {
                    values.push(key);
                    Ok(())
                })?;
                out.set(values.len());
                self.stack.push(Frame::Rest(values.into_iter()));
            }
            (6, Value::String(digits), _) => out.big_number(&one_line(&digits.as_bytes())),
            (7, Value::String(text), Value::String(format)) => {
                let mut name = format.to_string_lossy();
                name.retain(|c| c.is_ascii());
                let name = format!("{name:<3.3}");
                out.verbatim(&name, &text.as_bytes());
            }
            _ => {
                if self.stack.len() < SHALLOW
                    && let Some(values) = few(table)?
                {
                    out.array(values.len());
                    self.stack.push(Frame::Rest(values.into_iter()));
                    return Ok(());
                }
                let header = out.deferred_array();
                self.stack.push(Frame::Array {
                    table: table.clone(),
                    next: 1,
                    header,
                });
            }
        }
        Ok(())
    }

    fn error(&mut self, text: &[u8], counted: &Value, out: &mut ReplyBuf) {
        if !matches!(counted, Value::Boolean(true)) {
            let code = text.split(|&b| b == b' ').next().unwrap_or_default();
            self.run
                .state
                .sys
                .stats
                .error(&String::from_utf8_lossy(code));
        }
        out.error_bytes(text);
    }
}

/// So many elements are taken out of a table at once, in tables nested so deep: each holds a reference.
const FEW: usize = 64;
const SHALLOW: usize = 32;

/// The elements of a table up to the first nil, if they are few.
fn few(table: &Table) -> Result<Option<Vec<Value>>> {
    if table.raw_len() > FEW {
        return Ok(None);
    }
    let mut values = Vec::new();
    for value in table.sequence_values().take(FEW) {
        values.push(value?);
    }
    Ok(Some(values))
}

/// The part of a line that Redis sends: its lines end at a zero byte.
pub(super) fn up_to_zero(text: &[u8]) -> &[u8] {
    text.split(|&b| b == 0).next().unwrap_or_default()
}

/// Line breaks become spaces, also where the protocol would allow them.
fn one_line(text: &[u8]) -> Vec<u8> {
    let space = |b: &u8| if matches!(b, b'\r' | b'\n') { b' ' } else { *b };
    text.iter().map(space).collect()
}

/// A number as an integer. What does not fit becomes the smallest integer, as on x86-64.
pub(super) fn truncated(n: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&n) {
        n as i64
    } else {
        i64::MIN
    }
}
