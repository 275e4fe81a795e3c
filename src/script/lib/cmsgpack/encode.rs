//! Lua values to MessagePack.

use mlua::{Result, Table, Value};

use crate::script::watch::Watch;

/// Tables nested deeper than this are written as nil.
const DEEPEST: usize = 16;

/// Writes values.
pub(super) struct Encoder<'a, 'w> {
    watch: &'a mut Watch<'w>,
    out: Vec<u8>,
}

/// The headers of what has a length: for up to so many, the length is within the first byte; then for 8 (where there is
/// that), 16 and 32 bits.
struct Header {
    short: u8,
    shortest: usize,
    long: [Option<u8>; 3],
}

const TEXT: Header = Header {
    short: 0xa0,
    shortest: 31,
    long: [Some(0xd9), Some(0xda), Some(0xdb)],
};
const ARRAY: Header = Header {
    short: 0x90,
    shortest: 15,
    long: [None, Some(0xdc), Some(0xdd)],
};
const MAP: Header = Header {
    short: 0x80,
    shortest: 15,
    long: [None, Some(0xde), Some(0xdf)],
};

impl<'a, 'w> Encoder<'a, 'w> {
    pub(super) fn new(watch: &'a mut Watch<'w>) -> Encoder<'a, 'w> {
        Encoder {
            watch,
            out: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Writes a value that is nested so deep.
    pub(super) fn value(&mut self, value: &Value, depth: usize) -> Result<()> {
        self.watch.step(self.out.len(), 0)?;
        match value {
            Value::Boolean(true) => self.out.push(0xc3),
            Value::Boolean(false) => self.out.push(0xc2),
            Value::Integer(n) => self.integer(*n),
            Value::Number(n) => self.number(*n),
            Value::String(text) => self.text(&text.as_bytes())?,
            Value::Table(table) if depth < DEEPEST => return self.table(table, depth),
            // What has no form of its own is nil as well.
            _ => self.out.push(0xc0),
        }
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Result<()> {
        self.watch.step(self.out.len(), text.len())?;
        self.header(&TEXT, text.len());
        self.out.extend_from_slice(text);
        Ok(())
    }

    fn header(&mut self, header: &Header, len: usize) {
        let [byte, word, long] = header.long;
        if len <= header.shortest {
            self.out.push(header.short | len as u8);
        } else if let Some(first) = byte
            && len <= 0xff
        {
            self.out.extend_from_slice(&[first, len as u8]);
        } else if let Some(first) = word
            && len <= 0xffff
        {
            self.out.push(first);
            self.out.extend_from_slice(&(len as u16).to_be_bytes());
        } else {
            self.out.push(long.unwrap_or_default());
            self.out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }

    /// A number that is whole is written as an integer.
    fn number(&mut self, n: f64) {
        const LIMIT: f64 = 9_223_372_036_854_775_808.0;
        if (-LIMIT..LIMIT).contains(&n) && n.trunc() == n {
            return self.integer(n as i64);
        }
        let short = n as f32;
        if f64::from(short) == n {
            self.out.push(0xca);
            self.out.extend_from_slice(&short.to_be_bytes());
        } else {
            self.out.push(0xcb);
            self.out.extend_from_slice(&n.to_be_bytes());
        }
    }

    /// In as few bytes as hold it.
    fn integer(&mut self, n: i64) {
        match n {
            -32..=127 => self.out.push(n as u8),
            128..=0xff => self.out.extend_from_slice(&[0xcc, n as u8]),
            0x100..=0xffff => self.sized(0xcd, &(n as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.sized(0xce, &(n as u32).to_be_bytes()),
            0x1_0000_0000.. => self.sized(0xcf, &n.to_be_bytes()),
            -0x80..=-33 => self.out.extend_from_slice(&[0xd0, n as u8]),
            -0x8000..=-0x81 => self.sized(0xd1, &(n as i16).to_be_bytes()),
            -0x8000_0000..=-0x8001 => self.sized(0xd2, &(n as i32).to_be_bytes()),
            _ => self.sized(0xd3, &n.to_be_bytes()),
        }
    }

    fn sized(&mut self, first: u8, bytes: &[u8]) {
        self.out.push(first);
        self.out.extend_from_slice(bytes);
    }

    fn table(&mut self, table: &Table, depth: usize) -> Result<()> {
        if self.is_array(table)? {
            let len = table.raw_len();
            self.header(&ARRAY, len);
            for at in 1..=len {
                self.value(&table.raw_get(at)?, depth + 1)?;
            }
            return Ok(());
        }
        let mut len = 0;
        for pair in table.pairs::<Value, bool>() {
            pair?;
            self.watch.step(self.out.len(), 0)?;
            len += 1;
        }
        self.header(&MAP, len);
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            self.value(&key, depth + 1)?;
            self.value(&value, depth + 1)?;
        }
        Ok(())
    }

    /// Whether the keys of a table are the numbers from 1 on without a gap.
    fn is_array(&mut self, table: &Table) -> Result<bool> {
        let (mut count, mut most) = (0, 0);
        for pair in table.pairs::<Value, bool>() {
            self.watch.step(self.out.len(), 0)?;
            match pair?.0 {
                Value::Integer(n) if (1..=i64::from(i32::MAX)).contains(&n) => {
                    most = most.max(n);
                    count += 1;
                }
                _ => return Ok(false),
            }
        }
        Ok(count == most)
    }
}
