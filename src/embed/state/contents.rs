//! The contents of values, owned and in an order that does not change.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::hash::Hash;
use crate::types::list::List;
use crate::types::set::Set;
use crate::types::string::Str;
use crate::types::zset::ZSet;

/// A field of a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) value: Vec<u8>,
    /// When it is over, in unix milliseconds.
    pub(super) deadline: Option<i64>,
}

pub(super) fn text(string: &Str) -> Vec<u8> {
    string.with(<[u8]>::to_vec)
}

pub(super) fn elements(list: &List) -> Vec<Vec<u8>> {
    let mut all = Vec::with_capacity(list.len());
    list.for_each(0, usize::MAX, false, |element| {
        all.push(element.to_vec());
        true
    });
    all
}

/// The fields of a hash that are not over.
pub(super) fn fields(hash: &Hash, now: i64) -> BTreeMap<Vec<u8>, Field> {
    let fields = hash.iter(now).map(|entry| {
        let field = Field {
            value: entry.value.to_vec(),
            deadline: entry.deadline,
        };
        (entry.name.to_vec(), field)
    });
    fields.collect()
}

pub(super) fn members(set: &Set) -> BTreeSet<Vec<u8>> {
    set.iter().map(|member| member.to_vec()).collect()
}

/// In the order of scores, and of members where those are equal.
pub(super) fn scored(zset: &ZSet) -> Vec<(Vec<u8>, f64)> {
    let members = zset.iter().map(|(member, score)| (member.to_vec(), score));
    members.collect()
}
