//! An element in the form that a listpack stores.

use super::super::listpack::{backlen_size, put_backlen, put_int};
use crate::util::num::parse_i64;

/// An element on its way into a listpack.
pub(super) struct Entry<'a> {
    head: Head,
    data: &'a [u8],
}

/// Tag and length of a string, or all of an integer.
#[derive(Default)]
struct Head {
    bytes: [u8; 9],
    len: usize,
}

impl Extend<u8> for Head {
    #[inline]
    fn extend<T: IntoIterator<Item = u8>>(&mut self, more: T) {
        for (place, byte) in self.bytes.iter_mut().skip(self.len).zip(more) {
            *place = byte;
            self.len += 1;
        }
    }
}

impl Head {
    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

impl<'a> Entry<'a> {
    /// Encodes a string, as an integer when it reads as one.
    #[inline]
    pub(super) fn new(value: &'a [u8]) -> Self {
        let mut head = Head::default();
        if let Some(n) = parse_i64(value) {
            put_int(&mut head, n);
            return Self { head, data: &[] };
        }
        match value.len() {
            // Each arm keeps what fits a byte.
            n @ 0..=63 => {
                head.bytes[0] = 0x80 | n as u8;
                head.len = 1;
            }
            n @ 64..=4095 => head.extend([0xE0 | (n >> 8) as u8, n as u8]),
            n => {
                head.extend([0xF0]);
                head.extend(u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes());
            }
        }
        Self { head, data: value }
    }

    /// Bytes without the backlen.
    #[inline]
    fn size(&self) -> usize {
        self.head.len + self.data.len()
    }

    /// Bytes in all.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.size() + backlen_size(self.size())
    }

    /// Writes it to a place of exactly its length.
    #[inline]
    pub(super) fn write(&self, place: &mut [u8]) {
        let (head, rest) = place.split_at_mut(self.head.len);
        let (data, backlen) = rest.split_at_mut(self.data.len());
        head.copy_from_slice(self.head.as_slice());
        data.copy_from_slice(self.data);
        let (size, width) = (self.size(), backlen.len());
        for (i, byte) in backlen.iter_mut().rev().enumerate() {
            let more = if i + 1 == width { 0 } else { 0x80 };
            // The lowest seven bits.
            *byte = (size >> (7 * i)) as u8 & 0x7F | more;
        }
    }

    #[inline]
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.head.as_slice());
        out.extend_from_slice(self.data);
        match self.size() {
            // A backlen of one byte is the size itself.
            size @ 0..=127 => out.push(size as u8),
            size => put_backlen(out, size),
        }
    }
}
