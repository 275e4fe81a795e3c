//! An RDB file in the making.

use crate::rdb::Writer;
use crate::rdb::file::{self, HEADER, opcode};
use crate::util::digest::{crc64, crc64_shifted};

/// Versions below this are not written.
const OLDEST: u16 = 10;

/// Puts the pieces of an RDB file behind one another. Which version the file is of is known only when all values are
/// written: the header is the last thing to be made, and the checksum is put together from that of the header and
/// that of the rest. Whoever sends the file on as it is made has to say it first, and says the oldest then: a reader who
/// knows what comes reads it under any version, and one who does not would refuse it under the right one, too.
#[derive(Debug, Default)]
pub struct Frame {
    checksum: bool,
    selected: Option<usize>,
    version: u16,
    /// It was said for good.
    fixed: bool,
    /// Checksum and length of everything behind the header.
    sum: u64,
    len: u64,
}

impl Frame {
    /// A file that begins with these facts. What is to be written is appended to `out`, a placeholder of the header
    /// first.
    pub fn begin(out: &mut Vec<u8>, checksum: bool, facts: &[(&str, String)]) -> Frame {
        let mut frame = Frame {
            checksum,
            selected: None,
            version: OLDEST,
            fixed: false,
            sum: 0,
            len: 0,
        };
        out.extend_from_slice(&file::header(OLDEST));
        frame.add(out, |w| {
            for (name, value) in facts {
                w.bytes(&[opcode::AUX]);
                w.string(name.as_bytes());
                w.string(value.as_bytes());
            }
        });
        frame
    }

    /// As [`begin`](Self::begin), but the header that is written is the one that the file keeps, whatever is
    /// [needed](Self::needs) later.
    pub fn begin_for_good(out: &mut Vec<u8>, checksum: bool, facts: &[(&str, String)]) -> Frame {
        Frame {
            fixed: true,
            ..Frame::begin(out, checksum, facts)
        }
    }

    /// Says how large a database is that comes next.
    pub fn sizes(&mut self, out: &mut Vec<u8>, db: usize, keys: usize, expiring: usize) {
        self.select(out, db);
        self.add(out, |w| {
            w.bytes(&[opcode::SIZES]);
            w.count(keys);
            w.count(expiring);
        });
    }

    /// Keys of a database, as [`walk_snapshot`](crate::keyspace::Keyspace::walk_snapshot) gives them.
    pub fn keys(&mut self, out: &mut Vec<u8>, db: usize, keys: &[u8]) {
        self.select(out, db);
        self.add(out, |w| w.bytes(keys));
    }

    /// A library of functions.
    pub fn function(&mut self, out: &mut Vec<u8>, code: &[u8]) {
        self.add(out, |w| {
            w.bytes(&[opcode::FUNCTION]);
            w.string(code);
        });
    }

    /// Something that was written needs a version.
    pub fn needs(&mut self, version: u16) {
        if !self.fixed {
            self.version = self.version.max(version);
        }
    }

    /// Ends the file; gives what its header must be.
    #[must_use]
    pub fn end(mut self, out: &mut Vec<u8>) -> [u8; HEADER] {
        self.add(out, |w| w.bytes(&[opcode::END]));
        let header = file::header(self.version);
        let sum = match self.checksum {
            true => crc64_shifted(crc64(0, &header), self.len) ^ self.sum,
            false => 0,
        };
        out.extend_from_slice(&sum.to_le_bytes());
        header
    }

    fn select(&mut self, out: &mut Vec<u8>, db: usize) {
        if self.selected.replace(db) != Some(db) {
            self.add(out, |w| {
                w.bytes(&[opcode::SELECT]);
                w.count(db);
            });
        }
    }

    fn add(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Writer<'_>)) {
        let at = out.len();
        write(&mut Writer::new(out, false));
        let added = out.get(at..).unwrap_or_default();
        self.len += added.len() as u64;
        if self.checksum {
            self.sum = crc64(self.sum, added);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_whole_whatever_the_version() {
        for (fixed, version) in [(false, 10), (false, 12), (true, 10), (true, 12)] {
            let mut out = Vec::new();
            let facts = [("redis-ver", "7.2.6".to_owned())];
            let mut frame = match fixed {
                true => Frame::begin_for_good(&mut out, true, &facts),
                false => Frame::begin(&mut out, true, &facts),
            };
            let sent = out.clone();
            frame.sizes(&mut out, 2, 1, 0);
            frame.keys(&mut out, 2, b"\0\x01k\x01v");
            frame.keys(&mut out, 0, b"\0\x01k\x01v");
            frame.function(&mut out, b"code");
            frame.needs(version);
            let header = frame.end(&mut out);
            assert!(!fixed || out.starts_with(&sent) && sent.starts_with(&header));
            out[..HEADER].copy_from_slice(&header);
            let says = if fixed { OLDEST } else { version };
            assert_eq!(file::version(header), Some(says));
            let (body, sum) = out.split_last_chunk::<8>().unwrap();
            assert_eq!(u64::from_le_bytes(*sum), crc64(0, body));
        }
    }
}
