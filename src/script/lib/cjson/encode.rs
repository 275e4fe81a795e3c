//! Lua values to JSON.

use mlua::{Error, Function, Lua, Result, Table, Value};

use super::{Call, DEEPEST, Options};
use crate::script::fault::located;
use crate::script::watch::Watch;

/// Writes a value.
pub(super) fn encode(lua: &Lua, call: &mut Call<'_>, value: &Value) -> Result<Vec<u8>> {
    let mut encoder = Encoder {
        lua,
        options: call.options,
        watch: &mut call.watch,
        advance: call.next,
        stack: Vec::new(),
        out: Vec::new(),
    };
    encoder.run(value)?;
    Ok(encoder.out)
}

struct Encoder<'a, 'w> {
    lua: &'a Lua,
    options: &'a Options,
    /// A table that holds others many times over is written as often.
    watch: &'a mut Watch<'w>,
    /// Lua's `next`.
    advance: &'a Function,
    stack: Vec<Frame>,
    out: Vec<u8>,
}

/// What a table is.
enum Form {
    /// So many elements, some of which may be nil.
    Array(i64),
    /// So many pairs.
    Object(usize),
}

/// A table that is being written. They are kept apart from the thread's stack, which is not deep enough for all.
enum Frame {
    Array {
        table: Table,
        next: i64,
        len: i64,
    },
    /// All pairs of a small table.
    Small(std::vec::IntoIter<(Value, Value)>),
    /// A large table, and the key written last.
    Large {
        table: Table,
        key: Value,
    },
}

/// So many pairs are taken out of a table at once, in tables nested so deep: each holds two references, of which
/// there are not many.
const SMALL: usize = 16;
const SHALLOW: usize = 64;

impl Encoder<'_, '_> {
    fn run(&mut self, value: &Value) -> Result<()> {
        self.value(value)?;
        while let Some(frame) = self.stack.pop() {
            match frame {
                Frame::Array { table, next, len } => {
                    if next > len {
                        self.out.push(b']');
                        continue;
                    }
                    if next > 1 {
                        self.out.push(b',');
                    }
                    let value = table.raw_get::<Value>(next)?;
                    self.stack.push(Frame::Array {
                        table,
                        next: next + 1,
                        len,
                    });
                    self.value(&value)?;
                }
                Frame::Small(mut pairs) => {
                    let Some((key, value)) = pairs.next() else {
                        self.out.push(b'}');
                        continue;
                    };
                    self.stack.push(Frame::Small(pairs));
                    self.pair(&key, &value)?;
                }
                Frame::Large { table, key } => {
                    let next: (Value, Value) = self.advance.call((&table, key))?;
                    let (Value::Nil, _) = next else {
                        let (key, value) = next;
                        self.stack.push(Frame::Large {
                            table,
                            key: key.clone(),
                        });
                        self.pair(&key, &value)?;
                        continue;
                    };
                    self.out.push(b'}');
                }
            }
        }
        Ok(())
    }

    /// Writes a value, or begins a table.
    fn value(&mut self, value: &Value) -> Result<()> {
        self.watch.step(self.out.len(), 0)?;
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::LightUserData(p) if p.0.is_null() => self.out.extend_from_slice(b"null"),
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Integer(n) => self.number(*n as f64)?,
            Value::Number(n) => self.number(*n)?,
            Value::String(text) => self.string(&text.as_bytes())?,
            Value::Table(table) => return self.table(table),
            other => return Err(self.refused(other, "type not supported")),
        }
        Ok(())
    }

    fn refused(&self, value: &Value, why: &str) -> Error {
        let name = match value {
            Value::Integer(_) => "number",
            Value::LightUserData(_) => "userdata",
            other => other.type_name(),
        };
        located(self.lua, format!("Cannot serialise {name}: {why}"))
    }

    fn table(&mut self, table: &Table) -> Result<()> {
        let depth = self.stack.len() as i64 + 1;
        if depth > self.options.encode_depth.min(DEEPEST) {
            let text = format!("Cannot serialise, excessive nesting ({depth})");
            return Err(located(self.lua, text));
        }
        let frame = match self.form(table)? {
            Form::Array(len) => Frame::Array {
                table: table.clone(),
                next: 1,
                len,
            },
            Form::Object(n) if n <= SMALL && self.stack.len() < SHALLOW => {
                let pairs: Result<Vec<_>> = table.pairs::<Value, Value>().collect();
                Frame::Small(pairs?.into_iter())
            }
            Form::Object(_) => Frame::Large {
                table: table.clone(),
                key: Value::Nil,
            },
        };
        let open = if matches!(frame, Frame::Array { .. }) {
            b'['
        } else {
            b'{'
        };
        self.out.push(open);
        self.stack.push(frame);
        Ok(())
    }

    /// An array has positive whole numbers for keys, and not too few of them. The largest is kept in 32 bits, as there:
    /// beyond them it counts as the smallest of all.
    fn form(&mut self, table: &Table) -> Result<Form> {
        let (mut max, mut items, mut others) = (0_i32, 0_i64, 0);
        for pair in table.pairs::<Value, bool>() {
            self.watch.step(self.out.len(), 0)?;
            let number = match pair?.0 {
                Value::Integer(n) => n as f64,
                Value::Number(n) => n,
                _ => f64::NAN,
            };
            if number >= 1.0 && number.floor() == number {
                if number > f64::from(max) {
                    max = if number <= f64::from(i32::MAX) {
                        number as i32
                    } else {
                        i32::MIN
                    };
                }
                items += 1;
            } else {
                others += 1;
            }
            // What is known by now is enough.
            if others > 0 && items + others > SMALL as i64 {
                break;
            }
        }
        let object = Form::Object(usize::try_from(items + others).unwrap_or(usize::MAX));
        if others > 0 {
            return Ok(object);
        }
        let max = i64::from(max);
        let Options {
            sparse_convert,
            sparse_ratio,
            sparse_safe,
            ..
        } = *self.options;
        if sparse_ratio > 0 && max > items * sparse_ratio && max > sparse_safe {
            if !sparse_convert {
                let text = "Cannot serialise table: excessively sparse array";
                return Err(located(self.lua, text));
            }
            return Ok(object);
        }
        Ok(if max > 0 { Form::Array(max) } else { object })
    }

    /// Writes a key and its value.
    fn pair(&mut self, key: &Value, value: &Value) -> Result<()> {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        match key {
            Value::Integer(n) => self.number_key(*n as f64)?,
            Value::Number(n) => self.number_key(*n)?,
            Value::String(text) => self.string(&text.as_bytes())?,
            other => return Err(self.refused(other, "table key must be a number or string")),
        }
        self.out.push(b':');
        self.value(value)
    }

    fn number_key(&mut self, n: f64) -> Result<()> {
        self.out.push(b'"');
        self.number(n)?;
        self.out.push(b'"');
        Ok(())
    }

    fn number(&mut self, n: f64) -> Result<()> {
        if n.is_finite() {
            general(&mut self.out, n, self.options.precision);
            return Ok(());
        }
        let text: &[u8] = match self.options.encode_invalid {
            0 => {
                let value = Value::Number(n);
                return Err(self.refused(&value, "must not be NaN or Inf"));
            }
            2 => b"null",
            _ if n.is_nan() => b"nan",
            _ if n > 0.0 => b"inf",
            _ => b"-inf",
        };
        self.out.extend_from_slice(text);
        Ok(())
    }

    fn string(&mut self, text: &[u8]) -> Result<()> {
        self.watch.step(self.out.len(), text.len())?;
        self.out.push(b'"');
        for &b in text {
            match b {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'/' => self.out.extend_from_slice(b"\\/"),
                0x08 => self.out.extend_from_slice(b"\\b"),
                0x0c => self.out.extend_from_slice(b"\\f"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                0..=0x1f | 0x7f => self.out.extend_from_slice(format!("\\u{b:04x}").as_bytes()),
                b => self.out.push(b),
            }
        }
        self.out.push(b'"');
        Ok(())
    }
}

/// A finite number as `%.{precision}g` prints it.
fn general(out: &mut Vec<u8>, n: f64, precision: usize) {
    const EXACT: f64 = 1e14;
    if n.trunc() == n && n.abs() < EXACT && precision == 14 && (n != 0.0 || n.is_sign_positive()) {
        return crate::util::num::write_i64(out, n as i64);
    }
    let scientific = format!("{:.*e}", precision.saturating_sub(1), n);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let plain = (-4..precision as i32).contains(&exponent);
    let text = if plain {
        let decimals = usize::try_from(precision as i32 - 1 - exponent).unwrap_or_default();
        format!("{n:.decimals$}")
    } else {
        mantissa.to_owned()
    };
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    out.extend_from_slice(text.as_bytes());
    if !plain {
        let sign = if exponent < 0 { '-' } else { '+' };
        let power = format!("e{sign}{:02}", exponent.unsigned_abs());
        out.extend_from_slice(power.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_in_c() {
        for (n, precision, text) in [
            (0.1, 14, "0.1"),
            (1.0 / 3.0, 3, "0.333"),
            (1e14, 14, "1e+14"),
            (1e100, 14, "1e+100"),
            (123_456_789_012_345_680.0, 14, "1.2345678901235e+17"),
            (-0.0, 14, "-0"),
            (12345.678, 14, "12345.678"),
            (0.0001, 14, "0.0001"),
            (0.00001, 14, "1e-05"),
            (99.99, 3, "100"),
            (1234.0, 3, "1.23e+03"),
            (5e-324, 14, "4.9406564584125e-324"),
        ] {
            let mut out = Vec::new();
            general(&mut out, n, precision);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
