//! Names to numbers without regard to ASCII case: one probe, no allocation.
//!
//! Open addressing in a power-of-two array that is at most half full. A slot holds the first eight bytes
//! in lower case and the length, which settle the comparison of short names; the bytes beyond are compared
//! with the stored name.

const EMPTY: u16 = u16::MAX;
/// Longest name.
const MAX: usize = 64;

#[derive(Clone, Copy, Debug)]
struct Slot {
    head: u64,
    len: u8,
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
            slots: vec![
                Slot {
                    head: 0,
                    len: 0,
                    name: EMPTY
                };
                8
            ],
            names: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn get(&self, name: &[u8]) -> Option<u16> {
        let len = name.len();
        if len == 0 || len > MAX {
            return None;
        }
        let (head, tail) = split(name);
        let head = lower(head);
        let mask = self.slots.len() - 1;
        let mut at = hash(head, tail, len) & mask;
        loop {
            let slot = self.slots.get(at)?;
            if slot.name == EMPTY {
                return None;
            }
            if slot.head == head && slot.len as usize == len {
                let (stored, id) = self.names.get(slot.name as usize)?;
                if tail.is_empty() || stored.get(8..)?.eq_ignore_ascii_case(tail) {
                    return Some(*id);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a name unless it is there; false when it can be no name.
    pub(super) fn insert(&mut self, name: &[u8], id: u16) -> bool {
        if name.is_empty() || name.len() > MAX || self.names.len() >= EMPTY as usize {
            return false;
        }
        if self.get(name).is_none() {
            self.names.push((name.to_ascii_lowercase().into(), id));
            if self.names.len() * 2 > self.slots.len() {
                self.index();
            } else {
                self.place(self.names.len() - 1);
            }
        }
        true
    }

    fn index(&mut self) {
        let size = (self.names.len() * 2).next_power_of_two().max(8);
        self.slots.clear();
        self.slots.resize(
            size,
            Slot {
                head: 0,
                len: 0,
                name: EMPTY,
            },
        );
        for i in 0..self.names.len() {
            self.place(i);
        }
    }

    fn place(&mut self, i: usize) {
        let name = &self.names[i].0;
        let (head, tail) = split(name);
        let mask = self.slots.len() - 1;
        let mut at = hash(head, tail, name.len()) & mask;
        while self.slots[at].name != EMPTY {
            at = (at + 1) & mask;
        }
        self.slots[at] = Slot {
            head,
            len: name.len() as u8,
            name: i as u16,
        };
    }
}

/// The first eight bytes as a number, zeros where there are fewer, and the rest.
#[inline]
fn split(name: &[u8]) -> (u64, &[u8]) {
    if let Some((head, tail)) = name.split_first_chunk::<8>() {
        return (u64::from_le_bytes(*head), tail);
    }
    let n = name.len();
    let head = match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        (Some(a), Some(b)) => {
            let (a, b) = (u32::from_le_bytes(*a), u32::from_le_bytes(*b));
            u64::from(a) | u64::from(b) << ((n - 4) * 8)
        }
        _ => name.iter().rev().fold(0, |h, &b| h << 8 | u64::from(b)),
    };
    (head, &[])
}

/// Eight ASCII bytes in lower case at once.
#[inline]
const fn lower(w: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let low7 = w & (ONES * 0x7f);
    let above_z = low7 + ONES * (0x7f - b'Z' as u64);
    let from_a = low7 + ONES * (0x80 - b'A' as u64);
    let upper = (from_a ^ above_z) & !w & (ONES * 0x80);
    w | upper >> 2
}

/// Of the bytes beyond the head only the last few take part: names that share the head differ there.
#[inline]
fn hash(head: u64, tail: &[u8], len: usize) -> usize {
    let end = tail.last_chunk::<4>().map_or_else(
        || tail.iter().fold(0, |h, &b| h << 8 | u32::from(b)),
        |c| u32::from_le_bytes(*c),
    );
    // Setting bit 5 of every byte makes the case of letters irrelevant.
    let end = u64::from(end | 0x2020_2020) << 8 | len as u64;
    let h = (head ^ end.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (h >> 40) as usize ^ (h >> 20) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_matches_the_plain_way_for_every_byte() {
        for b in 0..=255u8 {
            for shift in 0..8 {
                let mut w = [0x7fu8; 8];
                w[shift] = b;
                assert_eq!(
                    lower(u64::from_le_bytes(w)).to_le_bytes().to_vec(),
                    w.to_ascii_lowercase()
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
