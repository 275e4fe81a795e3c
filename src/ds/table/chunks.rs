//! A vector in chunks of one size: it grows without copying, and leaves no holes of odd sizes
//! behind in the allocator.

use crate::util::heap;
use std::ops::{Index, IndexMut};

// Invariant: the first `len` entries lie in full chunks of capacity `PER`, but for the last of them.
// That one grows in steps, so that no chunk has much room for nothing, and a lone one in smaller
// steps, so that small tables stay small. Behind it there may be an empty one, so that adding and
// removing at a boundary need not allocate each time.
#[derive(Debug)]
pub(super) struct Chunks<E> {
    chunks: Box<[Vec<E>]>,
    len: u32,
    /// Bytes allocated, in eights.
    eights: u32,
}

impl<E> Chunks<E> {
    /// Entries per chunk, at most 4 KiB: a power of two. Where an entry is some multiple of 8 bytes, the allocator has exactly
    /// this size, and those of its half and its quarter.
    const PER: usize = {
        let mut per = 1024;
        while per > 8 && per * size_of::<E>() > 4096 {
            per /= 2;
        }
        per
    };

    pub(super) fn new() -> Self {
        Self {
            chunks: Box::default(),
            len: 0,
            eights: 0,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn push(&mut self, entry: E) {
        self.push_of(0, entry);
    }

    /// Adds an entry, the next of so many that are known to come.
    pub(super) fn push_of(&mut self, size: usize, entry: E) {
        let at = self.len() / Self::PER;
        let full = |chunk: &Vec<E>| chunk.len() == chunk.capacity();
        if self.chunks.get(at).is_none_or(full) {
            self.grow(size.saturating_sub(self.len()));
            self.count();
        }
        self.chunks[at].push(entry);
        self.len += 1;
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let lone = self.chunks.len() <= 1;
        let at = self.len() / Self::PER;
        if let Some(chunk) = self.chunks.get_mut(at) {
            let len = chunk.len();
            let step = match lone {
                true if len < Self::PER / 4 => (len / 2).max(2),
                true => Self::PER / 8 - len % (Self::PER / 8),
                false => len.max(Self::PER / 4),
            };
            chunk.reserve_exact(step.max(more).min(Self::PER - len));
            return;
        }
        let room = match self.chunks.is_empty() {
            true => more.max(1),
            false => more.next_power_of_two().max(Self::PER / 4),
        };
        // Whoever asks for whole chunks one after the other while it gives up others gets memory with holes: up to a
        // third more than what it takes to begin with halves.
        let room = room.min(Self::PER / 2);
        self.set_chunks(self.chunks.len() + 1, room);
    }

    fn set_chunks(&mut self, count: usize, room: usize) {
        let mut chunks = std::mem::take(&mut self.chunks).into_vec();
        chunks.reserve_exact(count.saturating_sub(chunks.len()));
        chunks.resize_with(count, || Vec::with_capacity(room));
        self.chunks = chunks.into_boxed_slice();
    }

    /// Removes the entry at `index`, which must be there; the last entry takes its place.
    pub(super) fn swap_remove(&mut self, index: usize) -> E {
        let last = self.len() - 1;
        let tail = self.chunks[last / Self::PER].swap_remove(last % Self::PER);
        let removed = match index {
            _ if index == last => tail,
            _ => std::mem::replace(&mut self[index], tail),
        };
        self.len -= 1;
        if last.is_multiple_of(Self::PER / 4) {
            self.give_back();
            self.count();
        }
        removed
    }

    fn give_back(&mut self) {
        let len = self.len();
        // An empty chunk is worth its room only while the one before it is nearly full: what is evicted is to make room
        // for others, and not for its like in this segment alone.
        let in_last = len % Self::PER;
        let spare = len > 0 && (in_last == 0 || in_last >= Self::PER / 4 * 3);
        let keep = len.div_ceil(Self::PER) + usize::from(spare);
        if self.chunks.len() > keep {
            self.set_chunks(keep, 0);
        }
        let lone = self.chunks.len() == 1;
        if let Some(chunk) = self.chunks.get_mut(len / Self::PER) {
            let (len, room) = (chunk.len(), chunk.capacity());
            let fewer = match lone {
                true if room > 2 * len => len + len / 2,
                false if room > Self::PER / 4 && len <= room / 4 => room / 2,
                _ => return,
            };
            // Allocators that are asked for less than before, but not for half as much, leave it at that.
            let mut smaller = Vec::with_capacity(fewer);
            smaller.append(chunk);
            *chunk = smaller;
        }
    }

    #[inline]
    pub(super) fn iter(&self) -> impl Iterator<Item = &E> {
        self.chunks.iter().flatten()
    }

    #[inline]
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut E> {
        self.chunks.iter_mut().flatten()
    }

    /// Bytes allocated here.
    #[inline]
    pub(super) fn heap(&self) -> usize {
        self.eights as usize * 8
    }

    fn count(&mut self) {
        let size = |room: usize| heap::rounded(room * size_of::<E>());
        let full = self.chunks.len().saturating_sub(2);
        let rest = self.chunks.iter().skip(full);
        let rest: usize = rest.map(|chunk| size(chunk.capacity())).sum();
        let heap = heap::rounded(size_of_val(&*self.chunks)) + full * size(Self::PER) + rest;
        self.eights = u32::try_from(heap / 8).unwrap_or(u32::MAX);
    }

    /// The entry at an index, if there is one.
    #[inline]
    pub(super) fn get(&self, index: usize) -> Option<&E> {
        self.chunks.get(index / Self::PER)?.get(index % Self::PER)
    }
}

impl<E> Index<usize> for Chunks<E> {
    type Output = E;

    #[inline]
    fn index(&self, index: usize) -> &E {
        &self.chunks[index / Self::PER][index % Self::PER]
    }
}

impl<E> IndexMut<usize> for Chunks<E> {
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut E {
        &mut self.chunks[index / Self::PER][index % Self::PER]
    }
}

impl<E> IntoIterator for Chunks<E> {
    type Item = E;
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<Vec<E>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.chunks.into_vec().into_iter().flatten()
    }
}

impl<E: Clone> Clone for Chunks<E> {
    fn clone(&self) -> Self {
        let mut out = Self::new();
        self.iter().for_each(|entry| out.push(entry.clone()));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_its_memory_as_it_grows_and_shrinks() {
        let mut chunks = Chunks::<[usize; 8]>::new();
        let check = |chunks: &Chunks<[usize; 8]>| {
            let counted = chunks
                .chunks
                .iter()
                .map(|c| heap::rounded(c.capacity() * 64));
            let counted: usize = counted.sum();
            assert_eq!(
                chunks.heap(),
                counted + heap::rounded(chunks.chunks.len() * 24)
            );
            assert_eq!(chunks.iter().count(), chunks.len());
            let most = if chunks.len() > 16 {
                chunks.len() + 144
            } else {
                24
            };
            assert!(counted / 64 <= most);
        };
        for i in 0..1000 {
            chunks.push([i; 8]);
            check(&chunks);
        }
        assert!(chunks.heap() < 1000 * 64 * 11 / 10);
        for i in (0..1000).rev() {
            chunks.swap_remove(i / 3);
            check(&chunks);
        }
        assert_eq!(chunks.heap(), 0);
    }
}
