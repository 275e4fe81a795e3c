//! The end of the stream of effects, kept once for the backlog and for all replicas.
//!
//! Who reads it holds nothing but an offset; how far back it reaches is for the owner to say by [`Stream::trim`].

use std::collections::VecDeque;
use std::mem;

/// The largest chunk.
const LARGE: usize = 64 * 1024;

/// The smallest one.
const SMALL: usize = 1024;

/// So many chunks have a place at any time.
const LEAST_PLACES: usize = 64;

/// The last bytes of a stream, in chunks.
///
/// The first byte that ever was has offset 1. Offsets are `i64` in the protocol: who takes one from outside makes sure
/// that it is one, so that no sum overflows here.
///
/// 1. The chunks abut, and the last one ends at `end`.
/// 2. None is empty, and bytes that are there never move: all but the last are full.
/// 3. A chunk's size is a power of two, from what suits `keep` when it is made up to a quarter of it and [`LARGE`]: what is
///    kept beyond `keep` is a part of it.
#[derive(Debug)]
pub struct Stream {
    chunks: VecDeque<Chunk>,
    /// The buffer of a chunk that was forgotten, for the next one: a stream that only goes on allocates nothing.
    spare: Option<Vec<u8>>,
    keep: usize,
    end: u64,
    /// Bytes of all buffers.
    buffers: usize,
}

#[derive(Debug)]
struct Chunk {
    /// The offset of its first byte.
    start: u64,
    /// Never longer than its capacity at the beginning.
    bytes: Vec<u8>,
}

impl Stream {
    /// Nothing of a stream that has come to offset `end`; `keep` bytes are to stay whoever needs them.
    #[must_use]
    pub fn new(keep: usize, end: u64) -> Self {
        Self {
            chunks: VecDeque::new(),
            spare: None,
            keep,
            end,
            buffers: 0,
        }
    }

    /// Appends to the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        if let Some(last) = self.chunks.back_mut() {
            rest = last.fill(rest);
        }
        while !rest.is_empty() {
            let mut chunk = Chunk {
                start: self.end + 1 + (bytes.len() - rest.len()) as u64,
                bytes: self.buffer(rest.len()),
            };
            rest = chunk.fill(rest);
            self.chunks.push_back(chunk);
        }
        self.end += bytes.len() as u64;
    }

    /// The offset of the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The offset of the first byte that is still there; `end() + 1` if none is.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.chunks
            .front()
            .map_or(self.end + 1, |chunk| chunk.start)
    }

    /// Bytes that are there.
    #[must_use]
    pub fn len(&self) -> usize {
        // It was allocated, so it is a `usize`.
        (self.end + 1 - self.first()) as usize
    }

    /// Whether no byte is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many bytes stay whoever needs them.
    #[must_use]
    pub fn keep(&self) -> usize {
        self.keep
    }

    /// Changes [`Self::keep`]; what is too much goes at the next [`Self::trim`].
    pub fn set_keep(&mut self, keep: usize) {
        self.keep = keep;
        self.set_spare(None);
    }

    /// Whether somebody who has everything before `offset` can go on from here.
    #[must_use]
    pub fn holds(&self, offset: u64) -> bool {
        (self.first()..=self.end + 1).contains(&offset)
    }

    /// Hands out at most `most` bytes from offset `from` on, chunk by chunk; says how many. None if it does not hold
    /// `from`.
    pub fn read<'a>(&'a self, from: u64, most: usize, out: &mut impl FnMut(&'a [u8])) -> usize {
        if from < self.first() {
            return 0;
        }
        let at = self.chunks.partition_point(|chunk| chunk.next() <= from);
        let mut done = 0;
        for chunk in self.chunks.range(at..) {
            if done == most {
                break;
            }
            let skip = from.saturating_sub(chunk.start) as usize;
            let piece = &chunk.bytes[skip..];
            let piece = &piece[..piece.len().min(most - done)];
            out(piece);
            done += piece.len();
        }
        done
    }

    /// Forgets, from the front, the chunks that hold only bytes before `needed` that are not among the last
    /// [`Self::keep`].
    pub fn trim(&mut self, needed: u64) {
        let kept = (self.end + 1).saturating_sub(self.keep as u64);
        let bound = needed.min(kept);
        while let Some(chunk) = self.chunks.pop_front_if(|chunk| chunk.next() <= bound) {
            self.forget(chunk.bytes);
        }
        // Their places are given back once most of them are free.
        if self.chunks.capacity() > LEAST_PLACES && self.chunks.len() < self.chunks.capacity() / 4 {
            self.chunks
                .shrink_to(LEAST_PLACES.max(self.chunks.len() * 2));
        }
    }

    /// Bytes that are allocated.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.buffers + self.chunks.capacity() * mem::size_of::<Chunk>()
    }

    /// The size of chunks that small pieces share.
    fn usual(&self) -> usize {
        let part = (self.keep / 16).clamp(SMALL, LARGE);
        1 << part.ilog2()
    }

    /// The size of the largest chunk: a quarter of what is kept, so that what is too much soon goes.
    fn largest(&self) -> usize {
        let part = (self.keep / 4).clamp(SMALL, LARGE);
        1 << part.ilog2()
    }

    /// An empty buffer for a chunk that begins with `len` bytes: a large piece is cut up as little as may be.
    fn buffer(&mut self, len: usize) -> Vec<u8> {
        let most = self.largest();
        let size = len.min(most).next_power_of_two().clamp(self.usual(), most);
        match self.spare.take_if(|spare| spare.capacity() == size) {
            Some(spare) => spare,
            None => {
                let buffer = Vec::with_capacity(size);
                self.buffers += buffer.capacity();
                buffer
            }
        }
    }

    fn forget(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() == self.usual() {
            buffer.clear();
            self.set_spare(Some(buffer));
        } else {
            self.buffers -= buffer.capacity();
        }
    }

    /// `spare` is counted already.
    fn set_spare(&mut self, spare: Option<Vec<u8>>) {
        if let Some(old) = mem::replace(&mut self.spare, spare) {
            self.buffers -= old.capacity();
        }
    }
}

impl Chunk {
    /// The offset behind its last byte.
    fn next(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Takes as many bytes as it has room for; what is left of them.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let room = self.bytes.capacity() - self.bytes.len();
        let (now, rest) = bytes.split_at(room.min(bytes.len()));
        self.bytes.extend_from_slice(now);
        rest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything from `from` on, at most `most` bytes.
    fn read(stream: &Stream, from: u64, most: usize) -> Vec<u8> {
        let mut got = Vec::new();
        let n = stream.read(from, most, &mut |piece| {
            assert!(!piece.is_empty());
            got.extend_from_slice(piece);
        });
        assert_eq!(n, got.len());
        got
    }

    /// As many bytes, none like its neighbours.
    fn bytes(seed: usize, len: usize) -> Vec<u8> {
        (seed..seed + len)
            .map(|n| (n * 7 + n / 256) as u8)
            .collect()
    }

    fn invariants(stream: &Stream) {
        let mut next = stream.first();
        for (n, chunk) in stream.chunks.iter().enumerate() {
            assert_eq!(chunk.start, next);
            assert!(!chunk.bytes.is_empty());
            assert!(chunk.bytes.capacity() <= LARGE);
            let full = chunk.bytes.len() == chunk.bytes.capacity();
            assert!(full || n + 1 == stream.chunks.len());
            next = chunk.next();
        }
        assert_eq!(next, stream.end() + 1);
        let all = stream.chunks.iter().map(|chunk| &chunk.bytes);
        let buffers = all.chain(&stream.spare).map(Vec::capacity);
        assert_eq!(stream.buffers, buffers.sum::<usize>());
    }

    #[derive(Debug, Clone)]
    enum Op {
        Push(usize),
        Trim(f64),
        Keep(usize),
        Read(f64, usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            6 => (0usize..600).prop_map(Op::Push),
            2 => (0usize..300_000).prop_map(Op::Push),
            3 => (0.0..1.2f64).prop_map(Op::Trim),
            1 => prop_oneof![0usize..5000, 0usize..2_000_000].prop_map(Op::Keep),
            4 => (0.0..1.2f64, prop_oneof![0usize..10, 0usize..400_000]).prop_map(|(at, most)| Op::Read(at, most)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn it_is_the_end_of_all_that_was_pushed(
            keep in prop_oneof![0usize..5000, 0usize..2_000_000],
            before in prop_oneof![Just(0u64), 0..1u64 << 62],
            ops in prop::collection::vec(op(), 1..40),
        ) {
            let mut stream = Stream::new(keep, before);
            // The whole history: byte n of it has offset before + 1 + n.
            let mut history = Vec::new();
            for op in ops {
                let first = stream.first();
                let place = |at: f64| before + (at * history.len() as f64) as u64;
                match op {
                    Op::Push(len) => {
                        let piece = bytes(history.len(), len);
                        stream.push(&piece);
                        history.extend(piece);
                        prop_assert_eq!(stream.first(), first);
                    }
                    Op::Trim(at) => {
                        let needed = place(at);
                        let bound = needed.min((stream.end() + 1).saturating_sub(stream.keep() as u64));
                        stream.trim(needed);
                        prop_assert!(stream.first() >= first);
                        prop_assert!(stream.first() <= bound.max(first));
                        // And nothing is left that could go.
                        let front = stream.chunks.front();
                        prop_assert!(front.is_none_or(|chunk| chunk.next() > bound));
                    }
                    Op::Keep(keep) => {
                        stream.set_keep(keep);
                        prop_assert_eq!(stream.keep(), keep);
                    }
                    Op::Read(at, most) => {
                        let from = place(at);
                        let expected = match usize::try_from(from - before) {
                            Ok(n) if from >= first && n >= 1 => history.get(n - 1..).unwrap_or_default(),
                            _ => &[],
                        };
                        let expected = &expected[..expected.len().min(most)];
                        prop_assert!(read(&stream, from, most) == expected);
                        prop_assert_eq!(stream.holds(from), from >= first && from <= stream.end() + 1);
                    }
                }
                invariants(&stream);
                prop_assert_eq!(stream.end(), before + history.len() as u64);
                prop_assert_eq!(stream.len() as u64, stream.end() + 1 - stream.first());
                prop_assert_eq!(stream.is_empty(), stream.first() == stream.end() + 1);
            }
            prop_assert!(read(&stream, stream.first(), usize::MAX) == history[history.len() - stream.len()..]);
        }
    }

    #[test]
    fn a_new_one_is_empty_and_goes_on_where_it_is_told() {
        let mut stream = Stream::new(1 << 20, 0);
        assert_eq!((stream.first(), stream.end(), stream.len()), (1, 0, 0));
        assert!(stream.is_empty() && stream.holds(1) && !stream.holds(0) && !stream.holds(2));
        assert_eq!(stream.memory(), 0);
        stream.push(b"ab");
        assert_eq!((stream.first(), stream.end(), stream.len()), (1, 2, 2));
        assert_eq!(read(&stream, 2, 9), b"b");
        assert!(stream.holds(3) && read(&stream, 3, 9).is_empty());

        let mut later = Stream::new(1 << 20, 41);
        later.push(b"x");
        assert_eq!((later.first(), later.end()), (42, 42));
        assert!(!later.holds(41) && read(&later, 41, 9).is_empty());
    }

    #[test]
    fn what_a_reader_needs_stays_and_so_does_what_is_kept() {
        let mut stream = Stream::new(16 * 1024, 0);
        for n in 0..1000 {
            stream.push(&bytes(n * 100, 100));
            stream.trim(1);
        }
        assert_eq!((stream.first(), stream.len()), (1, 100_000));
        stream.trim(50_000);
        assert!(stream.first() <= 50_000 && stream.first() + 1024 > 50_000);
        stream.trim(u64::MAX);
        assert!((16 * 1024..16 * 1024 + 1024).contains(&stream.len()));
        assert!(stream.holds(stream.end() + 1 - 16 * 1024));
        stream.set_keep(0);
        stream.trim(u64::MAX);
        assert!(stream.is_empty() && stream.holds(100_001));
        assert!(stream.buffers <= SMALL);
    }

    #[test]
    fn what_held_many_chunks_does_not_stay_large() {
        let mut stream = Stream::new(16 * 1024, 0);
        for _ in 0..4000 {
            stream.push(&[b'x'; 1000]);
            stream.trim(1);
        }
        assert!(stream.memory() > 4_000_000);
        stream.trim(u64::MAX);
        assert!(stream.memory() < 24 * 1024, "{}", stream.memory());
        // Nor do large pieces make it so.
        for _ in 0..100 {
            stream.push(&[b'x'; 50_000]);
            stream.trim(u64::MAX);
        }
        assert!(stream.memory() < 36 * 1024, "{}", stream.memory());
    }

    #[test]
    fn small_pieces_share_chunks_and_those_that_are_forgotten_are_used_again() {
        let mut stream = Stream::new(1 << 20, 0);
        for _ in 0..10_000 {
            stream.push(&[b'x'; 33]);
            stream.trim(u64::MAX);
        }
        assert_eq!(stream.chunks.len(), 330_000usize.div_ceil(LARGE));
        assert_eq!(stream.buffers, stream.chunks.len() * LARGE);

        let (mut reused, mut spare) = (0, None);
        for _ in 0..200_000 {
            stream.push(&[b'x'; 33]);
            if spare.is_some() && stream.spare.is_none() {
                let last = stream.chunks.back().unwrap();
                assert_eq!(Some(last.bytes.as_ptr()), spare, "the spare one is used");
                reused += 1;
            }
            stream.trim(u64::MAX);
            spare = stream.spare.as_ref().map(|spare| spare.as_ptr());
        }
        // But for those that the first MiB took, and where a piece happens to end with its chunk.
        let begun = 200_000 * 33 / LARGE;
        assert!(reused + 20 >= begun, "{reused} of {begun}");
        // 1 MiB, and where it begins and ends; and little for the list of the chunks.
        assert!(stream.buffers <= (1 << 20) + 2 * LARGE);
        assert!(stream.memory() - stream.buffers <= 64 * mem::size_of::<Chunk>());
    }

    #[test]
    fn a_small_backlog_takes_little_memory() {
        for keep in [1, 100, 5000, 16 * 1024, 100_000] {
            let mut stream = Stream::new(keep, 0);
            for _ in 0..10_000 {
                stream.push(&[b'x'; 33]);
                stream.trim(u64::MAX);
            }
            assert!(stream.len() >= keep);
            assert!(stream.buffers <= keep + keep / 8 + 3 * SMALL, "{keep}");
        }
    }

    #[test]
    fn a_large_piece_takes_large_chunks_and_leaves_as_it_came() {
        for (keep, size) in [(100, SMALL), (1 << 20, LARGE)] {
            let mut stream = Stream::new(keep, 0);
            stream.push(b"small");
            stream.push(&bytes(0, 10 << 20));
            assert_eq!(stream.chunks.len(), 1 + (10 << 20) / size);
            assert_eq!(read(&stream, 6, 10 << 20), bytes(0, 10 << 20));
            stream.trim(u64::MAX);
            assert!(stream.buffers <= keep + 3 * size, "{}", stream.buffers);
        }
    }

    #[test]
    fn a_large_piece_is_not_kept_for_a_small_backlog() {
        const KEEP: usize = 16 << 10;
        let mut stream = Stream::new(KEEP, 0);
        stream.push(&bytes(0, 3 * KEEP));
        stream.trim(u64::MAX);
        assert!((KEEP..=KEEP + KEEP / 4).contains(&stream.len()));
    }
}
