//! Sets: a sorted run of integers, a few members of any kind, or a hash table.
//!
//! A set of integers is an [`Intset`], byte for byte as in Redis, a small one of anything else a [`Pack`], to the outside
//! a listpack; a big one is a [`Members`]. Adding turns one into the next when a limit is crossed, at the moments of Redis 7.2, and
//! removing never turns back; only what builds a set anew ([`Set::pop_many`], intersections) may come out smaller.

mod algebra;
mod members;
mod random;
mod small;
#[cfg(test)]
mod tests;

use super::{DataType, Value as AnyValue};
use crate::ds::intset::Intset;
use crate::ds::listpack::{Listpack, MAX_BYTES, Value};
use crate::ds::pack::{Elements, Pack};
use crate::ds::slim::SlimBox;
use crate::ds::table::Seed;
use crate::util::num::parse_i64;

pub use algebra::{
    difference, each_of_difference, each_of_intersection, each_of_union, intersection, union,
};
pub use members::Members;
pub use random::Draws;
pub use small::Small;

/// More integers than this are never an intset.
const INTSET_MOST: usize = 1 << 30;

/// A set.
#[derive(Debug, Clone)]
pub enum Set {
    /// Integers only, or a few members of any kind.
    Small(Small),
    /// Many members, or long ones.
    Table(SlimBox<Members>),
}

const _: () = assert!(size_of::<Set>() == 12 && align_of::<Set>() == 4);

/// What the members of a set are kept in.
#[derive(Debug, Clone, Copy)]
pub enum Repr<'a> {
    /// Integers only.
    Ints(Intset<&'a [u8]>),
    /// A few members of any kind.
    Packed(&'a Pack),
    /// Many members, or long ones.
    Table(&'a Members),
}

/// When a set takes the next encoding.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `set-max-intset-entries`.
    pub max_intset: usize,
    /// `set-max-listpack-entries`.
    pub max_packed: usize,
    /// `set-max-listpack-value`: bytes of a member.
    pub max_value: usize,
    /// Of the hashes of tables that come into being.
    pub seed: Seed,
}

impl Limits {
    fn max_intset(&self) -> usize {
        self.max_intset.min(INTSET_MOST)
    }
}

/// What was to be a set has a member twice, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid set")]
pub struct Corrupt;

impl Set {
    /// An empty set that is to take `count` members, of which `first` is one.
    pub fn expecting(first: &[u8], count: usize, limits: Limits) -> Set {
        if count <= limits.max_intset && parse_i64(first).is_some() {
            Set::ints()
        } else if count <= limits.max_packed {
            Set::packed()
        } else {
            Set::Table(SlimBox::new(Members::new(limits.seed)))
        }
    }

    /// An empty set of integers.
    pub fn ints() -> Set {
        Set::Small(Small::of_ints(Intset::new()))
    }

    /// An empty set of members of any kind.
    pub fn packed() -> Set {
        Set::Small(Small::of_pack(Pack::new()))
    }

    /// A set of these integers.
    pub fn from_ints(ints: Intset, limits: Limits) -> Set {
        let mut set = Set::Small(Small::of_ints(ints));
        set.check_ints(limits);
        set
    }

    /// A set of the elements of a listpack.
    ///
    /// # Errors
    /// [`Corrupt`] when there is none, or one is there twice.
    pub fn from_packed(packed: &Listpack, limits: Limits) -> Result<Set, Corrupt> {
        let mut seen = Members::new(limits.seed);
        let mut text = itoa::Buffer::new();
        let distinct = packed.iter().all(|(_, v)| seen.add(v.bytes(&mut text)));
        if !distinct || seen.is_empty() {
            return Err(Corrupt);
        }
        Ok(if seen.len() > limits.max_packed {
            Set::Table(SlimBox::new(seen))
        } else {
            Set::Small(Small::of_pack(Pack::from_listpack(packed)))
        })
    }

    /// A set of members in a table.
    pub fn from_members(members: Members) -> Set {
        Set::Table(SlimBox::new(members))
    }

    /// What the members are kept in.
    #[inline]
    pub fn repr(&self) -> Repr<'_> {
        match self {
            Set::Small(small) => small.repr(),
            Set::Table(members) => Repr::Table(members),
        }
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        match self.repr() {
            Repr::Ints(ints) => ints.len(),
            Repr::Packed(pack) => pack.len(),
            Repr::Table(members) => members.len(),
        }
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        match self.repr() {
            Repr::Ints(ints) => ints.is_empty(),
            Repr::Packed(pack) => pack.is_empty(),
            Repr::Table(members) => members.is_empty(),
        }
    }

    /// The members: integers ascending, those of a pack as they were added, those of a table in no order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'_>> {
        let (ints, packed, table) = match self.repr() {
            Repr::Ints(ints) => (Some(ints), None, None),
            Repr::Packed(pack) => (None, Some(pack), None),
            Repr::Table(members) => (None, None, Some(members)),
        };
        let ints = ints.into_iter().flat_map(Intset::into_ints).map(Value::Int);
        let packed = packed.into_iter().flat_map(Pack::iter).map(|(_, v)| v);
        let table = table.into_iter().flat_map(Members::iter).map(Value::Str);
        ints.chain(packed).chain(table)
    }

    /// Whether there is such a member.
    pub fn contains(&self, member: &[u8]) -> bool {
        match self.repr() {
            Repr::Ints(ints) => parse_i64(member).is_some_and(|n| ints.contains(n)),
            Repr::Packed(pack) => pack.find(member, 1).is_some(),
            Repr::Table(members) => members.contains(member),
        }
    }

    /// Whether there is such a member, given as another set has it.
    pub fn contains_value(&self, member: Value<'_>) -> bool {
        match (self.repr(), member) {
            (Repr::Ints(ints), Value::Int(n)) => ints.contains(n),
            (_, member) => self.contains(member.bytes(&mut itoa::Buffer::new())),
        }
    }

    /// Makes ready for an addition of `count` members: what cannot hold so many becomes a table at once.
    pub fn expect(&mut self, count: usize, limits: Limits) {
        let too_many = match self.repr() {
            Repr::Ints(_) => count > limits.max_intset,
            Repr::Packed(_) => count > limits.max_packed,
            Repr::Table(_) => false,
        };
        if too_many {
            self.make_table(limits.seed);
        }
    }

    /// Adds a member; returns whether it was not in yet.
    pub fn add(&mut self, member: &[u8], limits: Limits) -> bool {
        let packs = match self {
            Set::Table(members) => return members.add(member),
            Set::Small(small) => match small.repr() {
                Repr::Packed(pack) if pack.find(member, 1).is_some() => return false,
                Repr::Packed(pack) => {
                    pack.len() < limits.max_packed && fits(member, pack.heap_size(), limits)
                }
                Repr::Ints(ints) => match parse_i64(member) {
                    Some(n) => return self.add_int(n, limits),
                    // No integer takes more than nine bytes of a pack.
                    None => {
                        ints.len() < limits.max_packed
                            && longest(ints) <= limits.max_value
                            && fits(member, ints.len().saturating_mul(9), limits)
                    }
                },
                Repr::Table(_) => false,
            },
        };
        if packs {
            self.make_packed().push(member);
        } else {
            self.make_table(limits.seed).add(member);
        }
        true
    }

    /// Adds a member, given as another set has it; returns whether it was not in yet.
    pub fn add_value(&mut self, member: Value<'_>, limits: Limits) -> bool {
        match (self.repr(), member) {
            (Repr::Ints(_), Value::Int(n)) => self.add_int(n, limits),
            (_, member) => self.add(member.bytes(&mut itoa::Buffer::new()), limits),
        }
    }

    /// Removes a member; returns whether it was in.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let small = match self {
            Set::Table(members) => return members.remove(member),
            Set::Small(small) => small,
        };
        match small.repr() {
            Repr::Packed(pack) => {
                let from = pack.find(member, 1);
                let to = from.and_then(|from| pack.skip(from, 1));
                if let (Some(from), Some(to)) = (from, to) {
                    small.pack_mut().remove(from..to, 1);
                }
                to.is_some()
            }
            _ => parse_i64(member).is_some_and(|n| small.remove_int(n)),
        }
    }

    /// Removes a member, given as another set has it; returns whether it was in.
    pub fn remove_value(&mut self, member: Value<'_>) -> bool {
        match (&mut *self, member) {
            (Set::Small(small), Value::Int(n)) if small.is_ints() => small.remove_int(n),
            (_, member) => self.remove(member.bytes(&mut itoa::Buffer::new())),
        }
    }

    /// Visits about `count` members from a cursor on, and returns where to go on; 0 is the start and the end. What is
    /// no table is visited as a whole.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Value<'_>)) -> u64 {
        match self {
            Set::Table(members) => members.scan(cursor, count, |m| visit(Value::Str(m))),
            _ => {
                self.iter().for_each(visit);
                0
            }
        }
    }

    fn add_int(&mut self, value: i64, limits: Limits) -> bool {
        match self {
            Set::Small(small) if small.is_ints() => {
                let added = small.add_int(value);
                if added {
                    self.check_ints(limits);
                }
                added
            }
            _ => self.add(itoa::Buffer::new().format(value).as_bytes(), limits),
        }
    }

    /// Too many integers go straight to a table.
    fn check_ints(&mut self, limits: Limits) {
        if matches!(self.repr(), Repr::Ints(ints) if ints.len() > limits.max_intset()) {
            self.make_table(limits.seed);
        }
    }

    /// If integers are all there is, and not too many, they become an intset.
    fn make_ints(&mut self, limits: Limits) {
        if matches!(self.repr(), Repr::Ints(_)) || self.len() > limits.max_intset() {
            return;
        }
        let number = |v: Value<'_>| match v {
            Value::Int(n) => Some(n),
            Value::Str(s) => parse_i64(s),
        };
        let mut ints = Intset::new();
        let all = self.iter().all(|v| number(v).is_some_and(|n| ints.add(n)));
        if all {
            *self = Set::Small(Small::of_ints(ints));
        }
    }

    fn make_packed(&mut self) -> &mut Pack {
        if !matches!(self.repr(), Repr::Packed(_)) {
            let mut members = Elements::new();
            self.iter().for_each(|v| members.push_value(v));
            *self = Set::Small(Small::of_pack(Pack::of(&members)));
        }
        match self {
            Set::Small(small) => small.pack_mut(),
            Set::Table(_) => unreachable!("made a pack just above"),
        }
    }

    fn make_table(&mut self, seed: Seed) -> &mut Members {
        if !matches!(self, Set::Table(_)) {
            let mut members = Members::new(seed);
            let mut text = itoa::Buffer::new();
            self.iter().for_each(|v| {
                members.add(v.bytes(&mut text));
            });
            *self = Set::Table(SlimBox::new(members));
        }
        match self {
            Set::Table(members) => members,
            Set::Small(_) => unreachable!("made a table just above"),
        }
    }
}

/// Whether a pack of this size may take this member.
fn fits(member: &[u8], size: usize, limits: Limits) -> bool {
    member.len() <= limits.max_value && member.len().saturating_add(size) <= MAX_BYTES
}

/// Bytes of the longest integer as text: it is the least or the greatest.
fn longest(ints: Intset<&[u8]>) -> usize {
    let digits = |n: Option<i64>| n.map_or(0, |n| itoa::Buffer::new().format(n).len());
    digits(ints.min()).max(digits(ints.max()))
}

impl DataType for Set {
    const NAME: &'static str = "set";

    fn of(value: &AnyValue) -> Option<&Self> {
        match value {
            AnyValue::Set(set) => Some(set),
            _ => None,
        }
    }

    fn of_mut(value: &mut AnyValue) -> Option<&mut Self> {
        match value {
            AnyValue::Set(set) => Some(set),
            _ => None,
        }
    }

    fn into_value(self) -> AnyValue {
        AnyValue::Set(self)
    }

    fn encoding(&self) -> &'static str {
        match self.repr() {
            Repr::Ints(_) => "intset",
            Repr::Packed(_) => "listpack",
            Repr::Table(_) => "hashtable",
        }
    }

    fn heap_size(&self) -> usize {
        match self {
            Set::Small(small) => small.heap_size(),
            Set::Table(members) => size_of::<Members>() + members.memory(),
        }
    }

    fn is_vanished(&self) -> bool {
        self.is_empty()
    }
}
