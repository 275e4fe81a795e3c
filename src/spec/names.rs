//! Names to numbers without regard to ASCII case: mostly one probe, no allocation.
//!
//! Open addressing in a power-of-two array that is at most a quarter full. A slot holds the first eight bytes, the last eight
//! bytes and the length, which settle the comparison of all names of up to sixteen bytes; of longer ones the bytes between
//! are compared with the stored name.
//!
//! Case is never folded when a name is looked up. Setting bit 5 of every byte makes it irrelevant to the hash; and a byte may
//! differ from a stored one in that bit alone where the stored one is a letter, as its mask tells.

/// Longest name.
const MAX: usize = 64;

/// Bit 5 of eight bytes, by which letters of either case differ.
const CASE: u64 = 0x2020_2020_2020_2020;

/// Eight bytes of a name in lower case, and the bits in which whatever equals them must agree.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    lower: u64,
    exact: u64,
}

impl Word {
    fn new(word: u64) -> Self {
        let bytes = word.to_le_bytes();
        let exact = bytes.map(|b| if b.is_ascii_alphabetic() { !0x20 } else { !0 });
        Self {
            lower: u64::from_le_bytes(bytes.map(|b| b.to_ascii_lowercase())),
            exact: u64::from_le_bytes(exact),
        }
    }

    #[inline]
    const fn is(self, word: u64) -> bool {
        (self.lower ^ word) & self.exact == 0
    }
}

/// A place for a name; a length of 0 says that there is none.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    head: Word,
    tail: Word,
    len: u16,
    id: u16,
    /// Index of the whole name.
    name: u16,
}

/// A map from names to numbers.
#[derive(Debug)]
pub(super) struct NameTable {
    slots: Vec<Slot>,
    names: Vec<(Box<[u8]>, u16)>,
}

impl NameTable {
    pub(super) fn new() -> Self {
        Self {
            slots: vec![Slot::default(); 8],
            names: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn get(&self, name: &[u8]) -> Option<u16> {
        let (head, tail) = ends(name)?;
        let len = name.len();
        let mut at = hash(head, tail, len);
        loop {
            let slot = self.slots.get(at & (self.slots.len() - 1))?;
            if slot.len as usize == len && slot.head.is(head) && slot.tail.is(tail) {
                if len <= 16 || self.is_named(slot, name) {
                    return Some(slot.id);
                }
            } else if slot.len == 0 {
                return None;
            }
            at += 1;
        }
    }

    #[cold]
    fn is_named(&self, slot: &Slot, name: &[u8]) -> bool {
        let stored = self.names.get(slot.name as usize);
        stored.is_some_and(|(stored, _)| stored.eq_ignore_ascii_case(name))
    }

    /// Adds a name unless it is there; false when it can be no name.
    pub(super) fn insert(&mut self, name: &[u8], id: u16) -> bool {
        if name.is_empty() || name.len() > MAX || self.names.len() >= usize::from(u16::MAX) {
            return false;
        }
        if self.get(name).is_none() {
            self.names.push((name.to_ascii_lowercase().into(), id));
            if self.names.len() * 4 > self.slots.len() {
                self.index();
            } else {
                self.place(self.names.len() - 1);
            }
        }
        true
    }

    fn index(&mut self) {
        let size = (self.names.len() * 4).next_power_of_two();
        self.slots.clear();
        self.slots.resize(size, Slot::default());
        for i in 0..self.names.len() {
            self.place(i);
        }
    }

    fn place(&mut self, i: usize) {
        let (name, id) = &self.names[i];
        let Some((head, tail)) = ends(name) else {
            return;
        };
        let mask = self.slots.len() - 1;
        let mut at = hash(head, tail, name.len()) & mask;
        while self.slots[at].len != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = Slot {
            head: Word::new(head),
            tail: Word::new(tail),
            len: name.len() as u16,
            id: *id,
            name: i as u16,
        };
    }
}

/// The first and the last bytes of a name, up to eight of each: together all of it, if it is of no more than sixteen bytes.
#[inline]
fn ends(name: &[u8]) -> Option<(u64, u64)> {
    if let Some(head) = name.first_chunk::<8>() {
        let tail = name.last_chunk::<8>()?;
        return Some((u64::from_le_bytes(*head), u64::from_le_bytes(*tail)));
    }
    if let Some(head) = name.first_chunk::<4>() {
        let (head, tail) = (*head, *name.last_chunk::<4>()?);
        let word = u64::from(u32::from_le_bytes(head)) | u64::from(u32::from_le_bytes(tail)) << 32;
        return Some((word, 0));
    }
    match *name {
        [a, b, c] => Some((u64::from_le_bytes([a, b, c, 0, 0, 0, 0, 0]), 0)),
        [a, b] => Some((u64::from_le_bytes([a, b, 0, 0, 0, 0, 0, 0]), 0)),
        [a] => Some((u64::from(a), 0)),
        _ => None,
    }
}

#[inline]
const fn hash(head: u64, tail: u64, len: usize) -> usize {
    let word = (head | CASE) ^ (tail | CASE).rotate_left(29) ^ len as u64;
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_every_spelling_of_it_and_nothing_else() {
        for stored in 0..=255u8 {
            for byte in 0..=255u8 {
                let word = |b: u8| u64::from_le_bytes([0x7f, b, 0x40, b, 0x60, 0, 0xff, b]);
                assert_eq!(
                    Word::new(word(stored)).is(word(byte)),
                    stored.eq_ignore_ascii_case(&byte)
                );
            }
        }
    }

    #[test]
    fn names_of_every_length_are_found_in_any_case() {
        let names: Vec<String> = (1..=MAX)
            .map(|n| "abcdefgh-xyz|".chars().cycle().take(n).collect())
            .collect();
        let mut t = NameTable::new();
        for (i, n) in names.iter().enumerate() {
            assert!(t.insert(n.as_bytes(), i as u16));
        }
        for (i, n) in names.iter().enumerate() {
            assert_eq!(t.get(n.as_bytes()), Some(i as u16));
            assert_eq!(t.get(n.to_uppercase().as_bytes()), Some(i as u16));
            let mut other = n.clone().into_bytes();
            *other.last_mut().unwrap() = b'@';
            assert_eq!(t.get(&other), None);
            other.push(0);
            assert_eq!(t.get(&other), None);
        }
        assert_eq!(t.get(b"abc\0"), None);
        assert!(!t.insert(&[b'a'; MAX + 1], 1));
    }
}
