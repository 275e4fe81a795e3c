//! LZF: the light compression of RDB files, DUMP payloads and list nodes.
//!
//! ```text
//! 000lllll data               the next l + 1 bytes as they are
//! lllooooo o                  l + 2 bytes from o + 1 bytes back, l from 1 to 6
//! 111ooooo l o                l + 9 bytes from o + 1 bytes back
//! ```
//!
//! A match may overlap what it produces. The compressor looks at the last place where three bytes with the same 16-bit
//! hash stood, so that its output is the same as that of Redis.

/// Longest run of literals.
const MAX_LITERALS: usize = 32;
/// How far back a match may be.
const MAX_OFFSET: usize = 1 << 13;
/// Longest match.
const MAX_MATCH: usize = (1 << 8) + (1 << 3);
/// Bits of the hash.
const HASH_BITS: u32 = 16;

/// Why bytes cannot be decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not valid compressed data")]
pub struct Corrupt;

/// Compresses `input`; none where the result would have more than `limit` bytes.
#[must_use]
pub fn compress(input: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut compressor = Compressor::new(input.len(), limit);
    compressor.step(input, input.len())?;
    compressor.finish(input).ok()
}

/// Compresses in steps what stays the same meanwhile.
pub struct Compressor {
    seen: Places,
    out: Output,
    /// So far the input is compressed.
    at: usize,
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Compressor {
    /// For an input of this length, and a result of at most `limit` bytes.
    #[must_use]
    pub fn new(length: usize, limit: usize) -> Self {
        Self {
            seen: Places::new(length),
            out: Output::new(limit.min(length + length / 32 + 1), limit),
            at: 0,
        }
    }

    /// Goes on, over at least so many bytes of the input; returns whether it has come to the end. None where the result
    /// is too long.
    pub fn step(&mut self, input: &[u8], bytes: usize) -> Option<bool> {
        let until = self.at.saturating_add(bytes).min(input.len());
        let (seen, out) = (&mut self.seen, &mut self.out);
        let mut at = self.at;
        while at + 2 < input.len() && at < until {
            let before = seen.replace(hash(input, at), at);
            match before.map_or(0, |place| match_length(input, place, at)) {
                0 => {
                    out.literal(input[at])?;
                    at += 1;
                }
                length => {
                    let offset = at - before.unwrap_or_default() - 1;
                    out.reference(length, offset)?;
                    at += length;
                    if at + 2 >= input.len() {
                        break;
                    }
                    // Of the places inside the match the last two are remembered.
                    for place in [at - 2, at - 1] {
                        seen.replace(hash(input, place), place);
                    }
                }
            }
        }
        self.at = at;
        Some(at + 2 >= input.len())
    }

    /// The result, once it has come to the end.
    ///
    /// # Errors
    /// Where that is too long; with a buffer that is of no use.
    pub fn finish(mut self, input: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        let last = input.get(self.at..).unwrap_or_default();
        match self.out.finish(last) {
            Some(()) if !input.is_empty() => Ok(self.out.bytes),
            _ => Err(self.out.bytes),
        }
    }

    /// Bytes that it holds.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.seen.slots.capacity() * size_of::<(u16, u32)>() + self.out.bytes.capacity()
    }
}

/// Decompresses to exactly `length` bytes.
///
/// # Errors
/// [`Corrupt`] when the input ends early, a match begins before the output, or the output has another length.
pub fn decompress(input: &[u8], length: usize) -> Result<Vec<u8>, Corrupt> {
    let mut out = Vec::new();
    decompress_into(input, length, &mut out)?;
    Ok(out)
}

/// As [`decompress`], into a buffer that is cleared before.
///
/// # Errors
/// As [`decompress`].
pub fn decompress_into(input: &[u8], length: usize, out: &mut Vec<u8>) -> Result<(), Corrupt> {
    out.clear();
    // No input makes more than this of itself, so that a length from outside reserves nothing that is not earned.
    out.reserve_exact(length.min(input.len().saturating_mul(MAX_MATCH)));
    let mut rest = input;
    while let Some((&control, after)) = rest.split_first() {
        rest = after;
        if control < 32 {
            let count = usize::from(control) + 1;
            let (literals, after) = rest.split_at_checked(count).ok_or(Corrupt)?;
            if out.len() + count > length {
                return Err(Corrupt);
            }
            out.extend_from_slice(literals);
            rest = after;
            continue;
        }
        let mut count = usize::from(control >> 5) + 2;
        if count == 9 {
            let (&more, after) = rest.split_first().ok_or(Corrupt)?;
            count += usize::from(more);
            rest = after;
        }
        let (&low, after) = rest.split_first().ok_or(Corrupt)?;
        rest = after;
        let back = (usize::from(control & 0x1F) << 8 | usize::from(low)) + 1;
        let from = out.len().checked_sub(back).ok_or(Corrupt)?;
        if out.len() + count > length {
            return Err(Corrupt);
        }
        if back >= count {
            out.extend_from_within(from..from + count);
        } else {
            for i in from..from + count {
                out.push(out[i]);
            }
        }
    }
    if out.len() == length {
        Ok(())
    } else {
        Err(Corrupt)
    }
}

/// The hash of the three bytes at `at`.
#[inline]
fn hash(input: &[u8], at: usize) -> u16 {
    let v = u32::from(input[at]) << 16 | u32::from(input[at + 1]) << 8 | u32::from(input[at + 2]);
    // The lowest HASH_BITS bits.
    ((v >> (24 - HASH_BITS)).wrapping_sub(v.wrapping_mul(5))) as u16
}

/// How many bytes at `place` and at `at` are the same: 0 if fewer than three, or if the place is out of reach. The
/// very first byte of the input begins no match, and the last two end one only where it is short.
#[inline]
fn match_length(input: &[u8], place: usize, at: usize) -> usize {
    if place == 0 || at - place > MAX_OFFSET {
        return 0;
    }
    let most = match (input.len() - at - 2).min(MAX_MATCH) {
        most @ 0..=16 => most.max(3),
        most => most.max(19),
    };
    let pairs = input[place..].iter().zip(&input[at..at + most]);
    let same = pairs.take_while(|(a, b)| a == b).count();
    if same < 3 { 0 } else { same }
}

/// The last place of each hash, in a table as large as the input asks for.
struct Places {
    /// Hash and place, the latter plus one; 0 is empty. Hashes that meet in a slot stand one behind the other.
    slots: Vec<(u16, u32)>,
    mask: usize,
}

impl Places {
    fn new(length: usize) -> Self {
        let size = (length * 2).next_power_of_two().min(1 << HASH_BITS);
        Self {
            slots: vec![(0, 0); size],
            mask: size - 1,
        }
    }

    /// Sets the last place of a hash; gives what it was. Never more than half of the slots are taken, unless there is one
    /// for each hash.
    #[inline]
    fn replace(&mut self, hash: u16, place: usize) -> Option<usize> {
        let mut at = usize::from(hash) & self.mask;
        loop {
            let slot = &mut self.slots[at];
            if slot.1 == 0 || slot.0 == hash {
                let before = slot.1.checked_sub(1);
                *slot = (hash, u32::try_from(place + 1).unwrap_or(u32::MAX));
                return before.map(|place| place as usize);
            }
            at = (at + 1) & self.mask;
        }
    }
}

/// Compressed bytes, with a run of literals under way at the end.
struct Output {
    bytes: Vec<u8>,
    limit: usize,
    /// Where the control byte of the run is.
    run: usize,
}

impl Output {
    fn new(capacity: usize, limit: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity + 1);
        bytes.push(0);
        Self {
            bytes,
            limit,
            run: 0,
        }
    }

    /// Literals in the run.
    fn literals(&self) -> usize {
        self.bytes.len() - self.run - 1
    }

    fn literal(&mut self, byte: u8) -> Option<()> {
        if self.bytes.len() >= self.limit {
            return None;
        }
        self.bytes.push(byte);
        if self.literals() == MAX_LITERALS {
            self.end_run();
            self.begin_run();
        }
        Some(())
    }

    /// Ends the run; an empty one leaves nothing behind.
    fn end_run(&mut self) {
        match self.literals().checked_sub(1) {
            Some(count) => self.bytes[self.run] = count as u8,
            None => self.bytes.truncate(self.run),
        }
    }

    fn begin_run(&mut self) {
        self.run = self.bytes.len();
        self.bytes.push(0);
    }

    fn reference(&mut self, length: usize, offset: usize) -> Option<()> {
        self.end_run();
        // Redis wants room for this reference and a run behind it.
        if self.bytes.len() + 4 >= self.limit {
            return None;
        }
        let (high, low) = ((offset >> 8) as u8, offset as u8);
        match length - 2 {
            code @ 1..7 => self.bytes.push(high | (code as u8) << 5),
            code => self
                .bytes
                .extend_from_slice(&[high | 7 << 5, (code - 7) as u8]),
        }
        self.bytes.push(low);
        self.begin_run();
        Some(())
    }

    /// Adds the last bytes, two at most, which begin no match.
    fn finish(&mut self, last: &[u8]) -> Option<()> {
        // Redis wants room for three, however many there are.
        if self.bytes.len() + 3 > self.limit {
            return None;
        }
        for &byte in last {
            self.literal(byte)?;
        }
        self.end_run();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn compressed_bytes_are_those_of_redis() {
        // What a DUMP by Redis 7.0 holds of the string.
        for (text, compressed) in [
            ("a".repeat(40), &b"\x01aa\xe0\x1b\x00\x01aa"[..]),
            (
                "hello world, hello moon, hello world".to_owned(),
                b"\x0dhello world, h\x60\x0c\x03moon\xc0\x0b\x20\x18\x01ld",
            ),
            ("abc".repeat(9), b"\x03abca\xe0\x0c\x02\x01bc"),
            (
                "element:000000001element:000000002element:000000003".to_owned(),
                b"\x08element:0\xa0\x00\x011e\xe0\x06\x10\x002\xe0\x06\x10\x0103",
            ),
            ("ab".repeat(11), b"\x02aba\xe0\x0a\x01"),
        ] {
            let ours = compress(text.as_bytes(), text.len() - 4);
            assert_eq!(ours.as_deref(), Some(compressed), "{text}");
            assert_eq!(decompress(compressed, text.len()), Ok(text.into_bytes()));
        }
    }

    #[test]
    fn what_does_not_shrink_is_refused() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(compress(&all, all.len()), None);
        assert_eq!(compress(b"", 10), None);
        assert_eq!(compress(&[b'a'; 100], 5), None);
    }

    #[test]
    fn corrupt_input_is_refused() {
        for (input, length) in [
            (&b""[..], 1),
            (b"\x02ab", 3),
            (b"\x00a", 2),
            (b"\x01ab", 1),
            (b"\x00a\x20\x01", 4),
            (b"\x00a\x20", 4),
            (b"\x00a\xe0\x00", 10),
            (b"\x00a\x20\x00", 3),
        ] {
            assert_eq!(decompress(input, length), Err(Corrupt), "{input:?}");
        }
        assert_eq!(decompress(b"\x00a\x20\x00", 4), Ok(b"aaaa".to_vec()));
    }

    /// Text with something to find in it.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..40),
            (any::<u8>(), 0usize..700).prop_map(|(b, n)| vec![b; n]),
            Just(b"hello world, hello ".to_vec()),
            prop::collection::vec(0u8..3, 0..60),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn everything_comes_back(text in text()) {
            if let Some(compressed) = compress(&text, text.len()) {
                prop_assert!(compressed.len() <= text.len());
                prop_assert_eq!(decompress(&compressed, text.len()), Ok(text));
            }
        }

        #[test]
        fn steps_come_to_the_same(text in text(), limit in 0usize..2000, bytes in 1usize..100) {
            let mut steps = Compressor::new(text.len(), limit);
            let mut ended = Some(false);
            while ended == Some(false) {
                ended = steps.step(&text, bytes);
            }
            let compressed = ended.and_then(|_| steps.finish(&text).ok());
            prop_assert_eq!(compressed, compress(&text, limit));
        }

        #[test]
        fn any_input_ends_without_panic_and_within_its_length(
            mut input in prop::collection::vec(any::<u8>(), 0..200),
            text in text(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            length in 0usize..3000,
        ) {
            if let Ok(out) = decompress(&input, length) {
                prop_assert_eq!(out.len(), length);
            }
            if let Some(compressed) = compress(&text, text.len()) {
                input = compressed;
                let i = at.index(input.len());
                input[i] = byte;
                if let Ok(out) = decompress(&input, text.len()) {
                    prop_assert_eq!(out.len(), text.len());
                }
            }
        }

        #[test]
        fn long_texts_come_back(seed in any::<u64>(), length in 0usize..200_000) {
            let mut state = seed | 1;
            let text: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 33) as u8 & 7
                })
                .collect();
            if let Some(compressed) = compress(&text, text.len()) {
                prop_assert_eq!(decompress(&compressed, text.len()), Ok(text));
            }
        }
    }
}
