//! Sorted sets: members with scores, in the order of scores and, among equal ones, of the members' bytes.
//!
//! Small ones are a listpack, others a hash table with an ordered tree, which OBJECT ENCODING calls a skip list. A rank
//! is the number of members before one; every range, by score or by member, is a range of ranks.

pub mod algebra;
mod big;
mod packed;
mod random;
mod range;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::{DataType, Value};
use crate::ds::listpack::{self, Listpack};
use crate::ds::slim::SlimBox;
use crate::ds::table::Seed;

pub use big::Big;
pub use packed::Packed;
pub use range::{InvalidRange, LexBound, LexRange, RankRange, ScoreBound, ScoreRange};

/// A sorted set.
#[derive(Clone, Debug)]
pub enum ZSet {
    /// A listpack.
    Packed(Packed),
    /// A hash table and an ordered tree.
    Big(SlimBox<Big>),
}

const _: () = assert!(size_of::<ZSet>() == 12 && align_of::<ZSet>() == 4);

/// Up to where a sorted set is a listpack, and what hashes are seeded with beyond.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most members.
    pub entries: usize,
    /// Longest member.
    pub value: usize,
    /// The secret of the hash table.
    pub seed: Seed,
}

/// What became of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// It is new.
    Added,
    /// Its score is another.
    Updated,
}

/// Which end of a sorted set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The member of the lowest score.
    Min,
    /// The member of the highest score.
    Max,
}

impl ZSet {
    /// An empty set that is to hold about `count` members, the first of them `length` bytes long.
    #[must_use]
    pub fn new(limits: Limits, count: usize, length: usize) -> Self {
        if count <= limits.entries && length <= limits.value {
            Self::Packed(Packed::default())
        } else {
            Self::Big(SlimBox::new(Big::new(limits.seed)))
        }
    }

    /// A set of members that are all different, given in order; in the smallest encoding that can hold them.
    #[must_use]
    pub fn from_sorted<'a>(
        pairs: impl ExactSizeIterator<Item = (&'a [u8], f64)> + Clone,
        limits: Limits,
    ) -> Self {
        let longest = pairs.clone().map(|(member, _)| member.len()).max();
        let mut set = Self::new(limits, pairs.len(), longest.unwrap_or(0));
        for (member, score) in pairs {
            set.push(member, score);
        }
        set
    }

    /// A set from a stored listpack, which is checked; one of too many members becomes a tree.
    ///
    /// # Errors
    /// When it is not the listpack of a sorted set.
    pub fn from_listpack(listpack: &Listpack, limits: Limits) -> Result<Self, listpack::Corrupt> {
        let packed = Packed::from_listpack(listpack).ok_or(listpack::Corrupt)?;
        let count = packed.len();
        let mut set = Self::Packed(packed);
        set.expect(count, limits);
        Ok(set)
    }

    /// Number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.len(),
            Self::Big(big) => big.len(),
        }
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The score of a member.
    #[must_use]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Packed(packed) => packed.find(member).map(|(_, score)| score),
            Self::Big(big) => big.score(member),
        }
    }

    /// The rank of a member, and its score.
    #[must_use]
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            Self::Packed(packed) => packed.rank(member),
            Self::Big(big) => big.rank(member),
        }
    }

    /// Gives a member this score.
    pub fn add(&mut self, member: &[u8], score: f64, limits: Limits) -> Change {
        self.update(member, limits, |_| Some(score))
    }

    /// Gives a member the score, never NaN, that `decide` makes of its present score; none leaves all as it is.
    pub fn update(
        &mut self,
        member: &[u8],
        limits: Limits,
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Change {
        let packed = match self {
            Self::Packed(packed) => packed,
            Self::Big(big) => return big.update(member, decide),
        };
        if let Some((at, old)) = packed.find(member) {
            return match decide(Some(old)) {
                Some(score) if score != old => {
                    packed.remove_at(at);
                    packed.insert(member, score);
                    Change::Updated
                }
                _ => Change::None,
            };
        }
        let Some(score) = decide(None) else {
            return Change::None;
        };
        let bytes = packed.heap_size() + member.len();
        let fits = packed.len() < limits.entries
            && member.len() <= limits.value
            && bytes <= listpack::MAX_BYTES;
        if fits {
            packed.insert(member, score);
            return Change::Added;
        }
        self.unpack(limits);
        self.add(member, score, limits)
    }

    /// Appends a member that is not there and comes after all others, whatever the limits.
    fn push(&mut self, member: &[u8], score: f64) {
        match self {
            Self::Packed(packed) => packed.push(member, score),
            Self::Big(big) => big.push(member, score),
        }
    }

    /// Removes a member; gives its score.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Packed(packed) => {
                let (at, score) = packed.find(member)?;
                packed.remove_at(at);
                Some(score)
            }
            Self::Big(big) => big.remove(member),
        }
    }

    /// Removes the members of these ranks; `visit` sees them in order.
    pub fn remove_ranks(
        &mut self,
        ranks: Range<usize>,
        mut visit: impl FnMut(listpack::Value<'_>, f64),
    ) {
        match self {
            Self::Packed(packed) => {
                let pairs = packed.iter(ranks.start, ranks.len());
                pairs.for_each(|(member, score)| visit(member, score));
                packed.remove(ranks);
            }
            Self::Big(big) => big.remove_ranks(ranks, |member, score| {
                visit(listpack::Value::Str(member), score);
            }),
        }
    }

    /// Takes the member at one end out.
    pub fn pop(&mut self, end: End) -> Option<(Vec<u8>, f64)> {
        let rank = match end {
            End::Min => 0,
            End::Max => self.len().checked_sub(1)?,
        };
        let mut popped = None;
        self.remove_ranks(rank..rank + 1, |member, score| {
            popped = Some((member.to_vec(), score));
        });
        popped
    }

    /// The ranks of the scores in a range.
    #[must_use]
    pub fn score_ranks(&self, range: &ScoreRange) -> Range<usize> {
        match self {
            _ if range.is_empty() => 0..0,
            Self::Packed(packed) => packed.score_ranks(range),
            Self::Big(big) => big.score_ranks(range),
        }
    }

    /// The ranks of the members in a range. Where scores differ, what that is depends on the encoding, and on whether
    /// the members are wanted in `reverse` order.
    #[must_use]
    pub fn lex_ranks(&self, range: &LexRange<'_>, reverse: bool) -> Range<usize> {
        match self {
            _ if range.is_empty() => 0..0,
            Self::Packed(packed) => packed.lex_ranks(range, reverse),
            Self::Big(big) => big.lex_ranks(range),
        }
    }

    /// All members with their scores, in order.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        self.range(0..self.len())
    }

    /// All members with their scores, from the last to the first.
    #[must_use]
    pub fn iter_rev(&self) -> Iter<'_> {
        self.range_rev(0..self.len())
    }

    /// The members of these ranks, in order.
    #[must_use]
    pub fn range(&self, ranks: Range<usize>) -> Iter<'_> {
        let (from, count) = (ranks.start, ranks.len());
        Iter(match self {
            Self::Packed(packed) => Either::Packed(packed.iter(from, count)),
            Self::Big(big) => Either::Big(big.iter(from, count)),
        })
    }

    /// The members of these ranks, from the last to the first.
    #[must_use]
    pub fn range_rev(&self, ranks: Range<usize>) -> Iter<'_> {
        let count = ranks.len();
        let from = ranks.end.saturating_sub(1);
        Iter(match self {
            Self::Packed(packed) => Either::Packed(packed.iter_back(from, count)),
            Self::Big(big) => Either::Big(big.iter_back(from, count)),
        })
    }

    /// The member of a rank, with its score.
    #[must_use]
    pub fn get(&self, rank: usize) -> Option<(listpack::Value<'_>, f64)> {
        if rank < self.len() {
            self.range(rank..rank + 1).next()
        } else {
            None
        }
    }

    /// One step of a scan: `visit` sees about `count` members from `cursor` on; where to go on, 0 at the end. Every
    /// member that is there all the while is seen, and seen once as long as the set is not a listpack. A listpack is
    /// seen as a whole.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(listpack::Value<'a>, f64),
    ) -> u64 {
        match self {
            Self::Packed(packed) => {
                let pairs = packed.iter(0, packed.len());
                pairs.for_each(|(member, score)| visit(member, score));
                0
            }
            Self::Big(big) => big.scan(cursor, count, visit),
        }
    }

    /// Makes a tree of a listpack that is to hold `count` members, if that is more than it may.
    pub fn expect(&mut self, count: usize, limits: Limits) {
        if count > limits.entries {
            self.unpack(limits);
        }
    }

    /// Makes a tree of a listpack, whatever its size.
    pub fn unpack(&mut self, limits: Limits) {
        let Self::Packed(packed) = self else { return };
        let mut big = Big::new(limits.seed);
        let mut digits = itoa::Buffer::new();
        for (member, score) in packed.iter(0, packed.len()) {
            big.push(member.bytes(&mut digits), score);
        }
        *self = Self::Big(SlimBox::new(big));
    }
}

/// Members with their scores in order, either way.
#[derive(Clone, Debug)]
pub struct Iter<'a>(Either<'a>);

#[derive(Clone, Debug)]
enum Either<'a> {
    Packed(packed::Iter<'a>),
    Big(big::Iter<'a>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (listpack::Value<'a>, f64);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Either::Packed(pairs) => pairs.next(),
            Either::Big(pairs) => pairs.next(),
        }
    }
}

impl DataType for ZSet {
    const NAME: &'static str = "zset";

    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::ZSet(it) => Some(it),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::ZSet(it) => Some(it),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::ZSet(self)
    }

    fn encoding(&self) -> &'static str {
        match self {
            Self::Packed(_) => "listpack",
            Self::Big(_) => "skiplist",
        }
    }

    fn heap_size(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.heap_size(),
            Self::Big(big) => big.heap_size(),
        }
    }

    fn is_vanished(&self) -> bool {
        self.is_empty()
    }
}
