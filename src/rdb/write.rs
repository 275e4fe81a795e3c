//! Putting RDB bytes together.

use super::{ENCODED, INT_8, INT_16, INT_32, LEN_14, LEN_32, LEN_64, LZF, Tag};
use crate::ds::listpack::Value;
use crate::ds::lzf;
use crate::util::num;

/// Strings of up to this many bytes are not worth a try at compression.
const NOT_COMPRESSED: usize = 20;
/// At least so many bytes must be gained.
const GAIN: usize = 4;
/// Longest decimal form of what is written as an integer.
const INT_TEXT: usize = 11;

/// Writes at the end of a buffer, which may be drained between objects.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    compress: bool,
}

impl<'a> Writer<'a> {
    /// Writes at the end of `out`, strings compressed where that makes them shorter, if `compress`.
    pub fn new(out: &'a mut Vec<u8>, compress: bool) -> Self {
        Writer { out, compress }
    }

    /// Bytes in the buffer.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// What makes this string shorter, if it is to be tried.
    #[must_use]
    pub fn compressor(&self, text: &[u8]) -> Option<lzf::Compressor> {
        let tried = self.compress && text.len() > NOT_COMPRESSED;
        tried.then(|| lzf::Compressor::new(text.len(), text.len() - GAIN))
    }

    /// What stands before the bytes of a string that has been compressed.
    pub fn packed_head(&mut self, packed: usize, unpacked: usize) {
        self.out.push(ENCODED << 6 | LZF);
        self.count(packed);
        self.count(unpacked);
    }

    /// A tag.
    pub fn tag(&mut self, tag: Tag) {
        self.out.push(tag as u8);
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A number written as a length.
    pub fn length(&mut self, len: u64) {
        let [.., high, low] = len.to_be_bytes();
        match len {
            0..=0x3F => self.out.push(low),
            0x40..=0x3FFF => self.bytes(&[LEN_14 << 6 | high, low]),
            _ => match u32::try_from(len) {
                Ok(len) => {
                    self.out.push(LEN_32);
                    self.bytes(&len.to_be_bytes());
                }
                Err(_) => {
                    self.out.push(LEN_64);
                    self.bytes(&len.to_be_bytes());
                }
            },
        }
    }

    /// The number of things that follow.
    pub fn count(&mut self, count: usize) {
        self.length(count as u64);
    }

    /// A string, as an integer or compressed where that is shorter.
    pub fn string(&mut self, text: &[u8]) {
        if text.len() <= INT_TEXT
            && let Some(n) = num::parse_i64(text)
            && self.small_int(n)
        {
            return;
        }
        if self.compress
            && text.len() > NOT_COMPRESSED
            && let Some(packed) = lzf::compress(text, text.len() - GAIN)
        {
            return self.packed(&packed, text.len());
        }
        self.verbatim(text);
    }

    /// The decimal form of an integer.
    pub fn int(&mut self, n: i64) {
        if !self.small_int(n) {
            self.verbatim(itoa::Buffer::new().format(n).as_bytes());
        }
    }

    /// An element.
    pub fn value(&mut self, value: Value<'_>) {
        match value {
            Value::Int(n) => self.int(n),
            Value::Str(text) => self.string(text),
        }
    }

    /// A string that has been compressed.
    pub fn packed(&mut self, packed: &[u8], unpacked: usize) {
        self.packed_head(packed.len(), unpacked);
        self.bytes(packed);
    }

    /// A double in eight bytes.
    pub fn double(&mut self, n: f64) {
        self.bytes(&n.to_le_bytes());
    }

    /// Milliseconds.
    pub fn millis(&mut self, time: i64) {
        self.bytes(&time.to_le_bytes());
    }

    fn verbatim(&mut self, text: &[u8]) {
        self.count(text.len());
        self.bytes(text);
    }

    /// Writes an integer of up to 32 bits; a longer one is not written.
    fn small_int(&mut self, n: i64) -> bool {
        if let Ok(n) = i8::try_from(n) {
            self.out.push(ENCODED << 6 | INT_8);
            self.bytes(&n.to_le_bytes());
        } else if let Ok(n) = i16::try_from(n) {
            self.out.push(ENCODED << 6 | INT_16);
            self.bytes(&n.to_le_bytes());
        } else if let Ok(n) = i32::try_from(n) {
            self.out.push(ENCODED << 6 | INT_32);
            self.bytes(&n.to_le_bytes());
        } else {
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::Reader;
    use proptest::prelude::*;

    fn written(compress: bool, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut Writer::new(&mut out, compress));
        out
    }

    #[test]
    fn strings_take_the_shortest_form() {
        for (text, bytes) in [
            ("", &b"\0"[..]),
            ("ab", b"\x02ab"),
            ("127", b"\xc0\x7f"),
            ("128", b"\xc1\x80\0"),
            ("-32769", b"\xc2\xff\x7f\xff\xff"),
            ("2147483648", b"\x0a2147483648"),
            ("012", b"\x03012"),
            ("aaaaaaaaaaaaaaaaaaaa", b"\x14aaaaaaaaaaaaaaaaaaaa"),
        ] {
            assert_eq!(
                written(true, |w| w.string(text.as_bytes())),
                bytes,
                "{text}"
            );
        }
        let long = [b'a'; 21];
        let packed = written(true, |w| w.string(&long));
        assert_eq!(packed.first(), Some(&0xc3));
        assert!(packed.len() < 12);
        assert_eq!(written(false, |w| w.string(&long)).len(), 22);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            text in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..100),
                prop::collection::vec(b'a'..b'c', 0..20_000),
                any::<i64>().prop_map(|n| n.to_string().into_bytes()),
                any::<i16>().prop_map(|n| n.to_string().into_bytes()),
            ],
            len in prop_oneof![0u64..70, 16_380u64..16_390, any::<u32>().prop_map(u64::from), any::<u64>()],
            n in any::<i64>(),
            compress in any::<bool>(),
        ) {
            let bytes = written(compress, |w| {
                w.string(&text);
                w.length(len);
                w.value(Value::Int(n));
                w.double(1.5);
                w.millis(n);
            });
            let mut r = Reader::new(&bytes);
            prop_assert_eq!(r.string().unwrap().into_vec(), text);
            prop_assert_eq!(r.length().unwrap(), len);
            prop_assert_eq!(r.string().unwrap().into_vec(), n.to_string().into_bytes());
            prop_assert_eq!(r.double().unwrap(), 1.5);
            prop_assert_eq!(r.millis().unwrap(), n);
            prop_assert!(r.left().is_empty());
        }

        #[test]
        fn reading_anything_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Reader::new(&bytes).string();
            let _ = Reader::new(&bytes).count(1);
            let _ = Reader::new(&bytes).old_double();
        }
    }
}
