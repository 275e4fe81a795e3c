//! What can be sorted: lists, sets and sorted sets.

use std::ops::Range;

use crate::ds::bytes::SmallBytes;
use crate::ds::listpack::Value as Element;
use crate::keyspace::{Keyspace, WrongType};
use crate::types::Value;
use crate::types::list::List;
use crate::types::set::Set;
use crate::types::zset::ZSet;

/// A collection to be sorted.
pub(super) enum Source<'k> {
    /// There is no such key.
    Nothing,
    List(&'k List),
    Set(&'k Set),
    ZSet(&'k ZSet),
}

impl<'k> Source<'k> {
    /// What is at a key.
    pub(super) fn at(ks: &'k Keyspace, key: &[u8]) -> Result<Source<'k>, WrongType> {
        match ks.read_any(key).map(|record| record.value()) {
            None => Ok(Source::Nothing),
            Some(Value::List(list)) => Ok(Source::List(list)),
            Some(Value::Set(set)) => Ok(Source::Set(set)),
            Some(Value::ZSet(zset)) => Ok(Source::ZSet(zset)),
            Some(_) => Err(WrongType),
        }
    }

    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        match self {
            Source::Nothing => 0,
            Source::List(list) => list.len(),
            Source::Set(set) => set.len(),
            Source::ZSet(zset) => zset.len(),
        }
    }

    /// Whether it has an order of its own.
    pub(super) fn is_ordered(&self) -> bool {
        matches!(self, Source::List(_) | Source::ZSet(_))
    }

    /// Calls `f` with all elements.
    pub(super) fn each(&self, mut f: impl FnMut(Element<'_>)) {
        match self {
            Source::Nothing => {}
            Source::List(list) => list.for_each(0, usize::MAX, false, |element| {
                f(element);
                true
            }),
            Source::Set(set) => set.iter().for_each(f),
            Source::ZSet(zset) => zset.iter().for_each(|(element, _)| f(element)),
        }
    }

    /// The elements of a range of its own order, or of the reverse of it.
    pub(super) fn range(&self, range: Range<usize>, reverse: bool) -> Vec<SmallBytes> {
        let mut out = Vec::with_capacity(range.len());
        let mut take = |element: Element<'_>| {
            out.push(SmallBytes::from(element.bytes(&mut itoa::Buffer::new())));
        };
        match self {
            Source::Nothing => {}
            Source::List(list) => {
                let start = match reverse {
                    true => list.len().saturating_sub(range.start + 1),
                    false => range.start,
                };
                list.for_each(start, range.len(), reverse, |element| {
                    take(element);
                    true
                });
            }
            Source::Set(set) => set
                .iter()
                .skip(range.start)
                .take(range.len())
                .for_each(take),
            Source::ZSet(zset) if reverse => {
                let len = zset.len();
                let ranks = len - range.end..len - range.start;
                zset.range_rev(ranks).for_each(|(member, _)| take(member));
            }
            Source::ZSet(zset) => zset.range(range).for_each(|(member, _)| take(member)),
        }
        out
    }
}
