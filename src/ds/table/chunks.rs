//! A vector in chunks of one size: it grows without copying, and leaves no holes of odd sizes
//! behind in the allocator.

use std::ops::{Index, IndexMut};

// Invariant: all chunks but the last are full and have capacity `PER`; the last is empty only
// for a moment of hysteresis after removals. A lone chunk grows in small steps, so that small
// tables stay small.
#[derive(Debug)]
pub(super) struct Chunks<E> {
    chunks: Vec<Vec<E>>,
    len: usize,
}

impl<E> Chunks<E> {
    /// Entries per chunk, about 4 KiB: a power of two.
    const PER: usize = {
        let mut per = 64;
        while per > 8 && per * size_of::<E>() > 4096 {
            per /= 2;
        }
        per
    };

    pub(super) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, entry: E) {
        let at = self.len / Self::PER;
        self.len += 1;
        if let Some(chunk) = self.chunks.get_mut(at) {
            if chunk.len() == chunk.capacity() {
                let step = (chunk.len() / 2).max(2);
                chunk.reserve_exact(step.min(Self::PER - chunk.len()));
            }
            chunk.push(entry);
            return;
        }
        let mut chunk = Vec::with_capacity(if at == 0 { 1 } else { Self::PER });
        chunk.push(entry);
        if self.chunks.len() == self.chunks.capacity() {
            self.chunks.reserve_exact(1 + self.chunks.len() / 4);
        }
        self.chunks.push(chunk);
    }

    /// Removes the entry at `index`, which must be there; the last entry takes its place.
    pub(super) fn swap_remove(&mut self, index: usize) -> E {
        let last = self.len - 1;
        let tail = self.chunks[last / Self::PER].swap_remove(last % Self::PER);
        self.len = last;
        let removed = match index {
            _ if index == last => tail,
            _ => std::mem::replace(&mut self[index], tail),
        };
        self.give_back();
        removed
    }

    // One empty chunk may stay, so that a run of add and remove at a boundary allocates once.
    fn give_back(&mut self) {
        if self.chunks.len() > self.len / Self::PER + 2 {
            self.chunks.pop();
        }
        if self.len == 0 {
            self.chunks = Vec::new();
        } else if self.chunks.capacity() > 4 + 2 * self.chunks.len() {
            self.chunks.shrink_to_fit();
        }
        if let [chunk] = self.chunks.as_mut_slice()
            && chunk.capacity() > 4 + 4 * chunk.len()
        {
            chunk.shrink_to(2 * chunk.len());
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &E> {
        self.chunks.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut E> {
        self.chunks.iter_mut().flatten()
    }

    /// Bytes allocated here.
    #[inline]
    pub(super) fn heap(&self) -> usize {
        let room = match self.chunks.as_slice() {
            [] => 0,
            [chunk] => chunk.capacity(),
            more => more.len() * Self::PER,
        };
        self.chunks.capacity() * size_of::<Vec<E>>() + room * size_of::<E>()
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
        self.chunks.into_iter().flatten()
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
        let mut chunks = Chunks::<[u64; 8]>::new();
        let check = |chunks: &Chunks<[u64; 8]>| {
            let counted: usize = chunks.chunks.iter().map(|c| c.capacity() * 64).sum();
            assert_eq!(chunks.heap(), counted + chunks.chunks.capacity() * 24);
            assert_eq!(chunks.iter().count(), chunks.len());
        };
        for i in 0..1000 {
            chunks.push([i; 8]);
            check(&chunks);
        }
        assert!(chunks.heap() < 1000 * 64 * 11 / 10);
        for i in (0..1000).rev() {
            chunks.swap_remove((i / 3) as usize);
            check(&chunks);
        }
        assert_eq!(chunks.heap(), 0);
    }
}
