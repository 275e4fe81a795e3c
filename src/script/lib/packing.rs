//! The `struct` library: bytes from numbers and strings and back, as a format says, with the texts and limits of
//! Roberto Ierusalimschy's library as Redis has it.
//!
//! A format is a row of letters. `<` and `>` choose the order of bytes, `!n` aligns what follows to at most n bytes.
//! `b h l i` are signed integers of 1, 2, 8, 4 bytes, their upper case unsigned; `in` has n bytes; `T` is as `L`; `f`
//! and `d` are floats; `s` ends with a zero byte; `cn` is n bytes, `c0` the whole string, or as long as the number
//! before it; `x` is a byte of padding.

use mlua::{Lua, Result, Table, Value};

use super::{Out, Read, STACK, function, results};
use crate::script::convert::truncated;
use crate::script::fault::{bad_argument, located};
use crate::script::passed::Passed;
use crate::script::watch::Watch;

/// The library.
pub(super) fn library(lua: &Lua, limit: usize) -> Result<Table> {
    let library = lua.create_table()?;
    library.raw_set("pack", function(lua, limit, pack)?)?;
    library.raw_set("unpack", function(lua, limit, unpack)?)?;
    library.raw_set("size", function(lua, limit, size)?)?;
    Ok(library)
}

/// Integers have at most so many bytes.
const LARGEST: usize = 32;

/// A format that is being read.
struct Format<'a> {
    lua: &'a Lua,
    /// It ends at a zero byte.
    rest: &'a [u8],
    little: bool,
    align: usize,
}

/// What a letter stands for.
struct Field {
    letter: u8,
    size: usize,
    /// Bytes before it, so that it is aligned.
    padding: usize,
}

impl<'a> Format<'a> {
    fn new(lua: &'a Lua, text: &'a [u8]) -> Format<'a> {
        let end = memchr::memchr(0, text).unwrap_or(text.len());
        Format {
            lua,
            rest: text.get(..end).unwrap_or_default(),
            little: cfg!(target_endian = "little"),
            align: 1,
        }
    }

    /// The next field, at a position.
    fn next(&mut self, at: usize) -> Result<Option<Field>> {
        let Some((&letter, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        self.rest = rest;
        let size = match letter {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'f' => 4,
            b'L' | b'l' | b'T' | b'd' => 8,
            b'c' => self.number(1)?,
            b'i' | b'I' => self.integer_size()?,
            _ => 0,
        };
        let padding = self.padding(at, letter, size);
        Ok(Some(Field {
            letter,
            size,
            padding,
        }))
    }

    fn integer_size(&mut self) -> Result<usize> {
        let size = self.number(4)?;
        if size > LARGEST {
            let why = format!("integral size {size} is larger than limit of {LARGEST}");
            return Err(located(self.lua, why));
        }
        Ok(size)
    }

    /// A number in digits, or what is meant without one.
    fn number(&mut self, default: usize) -> Result<usize> {
        const MOST: usize = i32::MAX as usize;
        if !self.rest.first().is_some_and(u8::is_ascii_digit) {
            return Ok(default);
        }
        let mut number = 0;
        while let Some((digit @ b'0'..=b'9', rest)) = self.rest.split_first() {
            number = number * 10 + usize::from(digit - b'0');
            if number > MOST {
                return Err(located(self.lua, "integral size overflow"));
            }
            self.rest = rest;
        }
        Ok(number)
    }

    fn padding(&self, at: usize, letter: u8, size: usize) -> usize {
        if size == 0 || letter == b'c' {
            return 0;
        }
        // For sizes that are no power of two this is as it comes.
        let size = size.min(self.align);
        size.wrapping_sub(at & (size - 1)) & (size - 1)
    }

    /// A letter that stands for no value.
    fn control(&mut self, letter: u8) -> Result<()> {
        match letter {
            b' ' => {}
            b'<' => self.little = true,
            b'>' => self.little = false,
            b'!' => {
                let align = self.number(8)?;
                if !align.is_power_of_two() {
                    let why = format!("alignment {align} is not a power of 2");
                    return Err(located(self.lua, why));
                }
                self.align = align;
            }
            _ => {
                let why = [b"invalid format option '", &[letter][..], b"'"].concat();
                return Err(bad_argument(self.lua, 1, why));
            }
        }
        Ok(())
    }

    /// Bytes of a number in the order of the format, from those in big-endian order or back.
    fn order<const N: usize>(&self, mut bytes: [u8; N]) -> [u8; N] {
        if self.little {
            bytes.reverse();
        }
        bytes
    }
}

fn pack(args: &Passed<'_>, watch: &mut Watch<'_>) -> Result<Value> {
    let format = args.text(0)?;
    let format = format.as_bytes();
    let mut format = Format::new(args.lua, &format);
    let args = &args.before_nil();
    let mut out = Vec::new();
    let mut arg = 1;
    while let Some(field) = format.next(out.len())? {
        let Field { letter, size, .. } = field;
        watch.step(out.len(), 0)?;
        out.resize(out.len() + field.padding, 0);
        match letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                integer(&mut out, args.number(arg)?, size, format.little);
            }
            b'x' => {
                out.push(0);
                continue;
            }
            b'f' => {
                let number = args.number(arg)? as f32;
                out.extend_from_slice(&format.order(number.to_be_bytes()));
            }
            b'd' => out.extend_from_slice(&format.order(args.number(arg)?.to_be_bytes())),
            b'c' | b's' => {
                let text = args.text(arg)?;
                let text = text.as_bytes();
                let size = if size == 0 { text.len() } else { size };
                let Some(taken) = text.get(..size) else {
                    // It is the argument behind it that is blamed.
                    return Err(args.wrong(arg + 1, "string too short"));
                };
                watch.step(out.len(), size)?;
                out.extend_from_slice(taken);
                if letter == b's' {
                    out.push(0);
                }
            }
            _ => {
                format.control(letter)?;
                continue;
            }
        }
        arg += 1;
    }
    Ok(Value::String(args.lua.create_string(out)?))
}

/// A number without its fraction in so many bytes: the lower 64 bits, then zeros.
fn integer(out: &mut Vec<u8>, n: f64, size: usize, little: bool) {
    let value = if n < 0.0 {
        truncated(n).cast_unsigned()
    } else {
        unsigned(n)
    };
    let mut bytes = [0; LARGEST];
    for (byte, new) in bytes.iter_mut().zip(value.to_le_bytes()) {
        *byte = new;
    }
    let bytes = bytes.get_mut(..size).unwrap_or_default();
    if !little {
        bytes.reverse();
    }
    out.extend_from_slice(bytes);
}

/// A number as an unsigned integer. What does not fit becomes what x86-64 makes of it.
fn unsigned(n: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    if n >= HALF {
        truncated(n - HALF).cast_unsigned() ^ (1 << 63)
    } else {
        truncated(n).cast_unsigned()
    }
}

fn unpack(args: &Passed<'_>, watch: &mut Watch<'_>) -> Result<mlua::Variadic<Out>> {
    let lua = args.lua;
    let format = args.text(0)?;
    let data = args.text(1)?;
    let offset = args.integer_or(2, 1)?;
    if offset == 0 {
        return Err(args.wrong(2, "offset must be 1 or greater"));
    }
    let (format, data) = (format.as_bytes(), data.as_bytes());
    let mut format = Format::new(lua, &format);
    // A negative offset is beyond every string.
    let mut at = offset.wrapping_sub(1).cast_unsigned() as usize;
    let mut values: Vec<Read<'_>> = Vec::new();
    let too_short = || args.wrong(1, "data string too short");
    while let Some(field) = format.next(at)? {
        let Field { letter, size, .. } = field;
        watch.step(0, 0)?;
        at = at.wrapping_add(field.padding);
        let rest = data.get(at..).ok_or_else(too_short)?;
        let bytes = rest.get(..size).ok_or_else(too_short)?;
        if args.len() + values.len() + 2 > STACK {
            return Err(located(lua, "stack overflow (too many results)"));
        }
        let mut taken = size;
        match letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let signed = letter.is_ascii_lowercase();
                let number = read_integer(bytes, signed, format.little);
                values.push(Read::Value(Value::Number(number)));
            }
            b'x' => {}
            b'f' => {
                let number = f32::from_be_bytes(format.order(fixed(bytes)));
                values.push(Read::Value(Value::Number(f64::from(number))));
            }
            b'd' => {
                let number = f64::from_be_bytes(format.order(fixed(bytes)));
                values.push(Read::Value(Value::Number(number)));
            }
            b'c' if size == 0 => {
                taken = length(lua, &mut values)?;
                values.push(Read::Text(rest.get(..taken).ok_or_else(too_short)?));
            }
            b'c' => values.push(Read::Text(bytes)),
            b's' => {
                let Some(end) = memchr::memchr(0, rest) else {
                    return Err(located(lua, "unfinished string in data"));
                };
                taken = end + 1;
                values.push(Read::Text(rest.get(..end).unwrap_or_default()));
            }
            _ => format.control(letter)?,
        }
        at += taken;
    }
    let next = at.wrapping_add(1).cast_signed() as f64;
    values.push(Read::Value(Value::Number(next)));
    results(lua, values)
}

fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap_or([0; N])
}

/// The number that was read last, as the length of what follows; it is no result then.
fn length(lua: &Lua, values: &mut Vec<Read<'_>>) -> Result<usize> {
    let number = match values.pop() {
        Some(read) => lua.coerce_number(
            read.item(lua)?
                .either(|text| lua.create_string(text).map(Value::String), Ok)?,
        )?,
        None => None,
    };
    match number {
        Some(n) if n < 0.0 => Ok(truncated(n).cast_unsigned() as usize),
        Some(n) => Ok(unsigned(n) as usize),
        None => Err(located(lua, "format 'c0' needs a previous size")),
    }
}

/// Of more than 64 bits, the lower ones.
fn read_integer(bytes: &[u8], signed: bool, little: bool) -> f64 {
    let add = |n: u64, &byte: &u8| (n << 8) | u64::from(byte);
    let number = if little {
        bytes.iter().rev().fold(0, add)
    } else {
        bytes.iter().fold(0, add)
    };
    if !signed {
        return number as f64;
    }
    let sign = u64::MAX.wrapping_shl((bytes.len() as u32 * 8).wrapping_sub(1));
    let extended = if number & sign != 0 {
        number | sign
    } else {
        number
    };
    extended.cast_signed() as f64
}

/// How many bytes a format takes that has a fixed size.
fn size(args: &Passed<'_>, _: &mut Watch<'_>) -> Result<f64> {
    let format = args.text(0)?;
    let format = format.as_bytes();
    let mut format = Format::new(args.lua, &format);
    let mut size: usize = 0;
    while let Some(field) = format.next(size)? {
        size = size.wrapping_add(field.padding);
        match field.letter {
            b's' => return Err(args.wrong(0, "option 's' has no fixed size")),
            b'c' if field.size == 0 => {
                return Err(args.wrong(0, "option 'c0' has no fixed size"));
            }
            letter if !letter.is_ascii_alphanumeric() => format.control(letter)?,
            _ => {}
        }
        size = size.wrapping_add(field.size);
    }
    Ok(size as f64)
}
