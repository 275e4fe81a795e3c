//! Sorted sets.
//!
//! ```text
//! ZSet         = count:length ( member:string score:old double )*
//! ZSet2        = count:length ( member:string score:double )*
//! ZSetZiplist  = ziplist:string                     member score … in order
//! ZSetListpack = listpack:string                    member score … in order
//! ```
//!
//! The first two are written from the highest score to the lowest, and read in any order.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;

use super::pieces::{At, weight};
use crate::ds::listpack::Listpack;
use crate::rdb::{Corrupt, Reader, Tag, Writer};
use crate::types::zset::{Limits, ZSet};

pub(super) fn tag(zset: &ZSet) -> Tag {
    match zset {
        ZSet::Packed(_) => Tag::ZSetListpack,
        ZSet::Big(_) => Tag::ZSet2,
    }
}

pub(super) fn write(zset: &ZSet, w: &mut Writer<'_>) {
    match (zset, begin(zset, w)) {
        (ZSet::Packed(packed), _) => w.string(packed.to_listpack().as_bytes()),
        _ => _ = go_on(zset, zset.len(), usize::MAX, w),
    }
}

/// Only what is no listpack is worth it.
pub(super) fn begin(zset: &ZSet, w: &mut Writer<'_>) -> Option<At> {
    if let ZSet::Packed(_) = zset {
        return None;
    }
    w.count(zset.len());
    Some(At::Left(zset.len()))
}

pub(super) fn go_on(zset: &ZSet, mut left: usize, bytes: usize, w: &mut Writer<'_>) -> At {
    let mut work = 0;
    for (member, score) in zset.range_rev(0..left) {
        if work >= bytes {
            return At::Left(left);
        }
        work += weight(member);
        w.value(member);
        w.double(score);
        left -= 1;
    }
    At::End
}

pub(super) fn read(tag: Tag, r: &mut Reader<'_>, limits: Limits) -> Result<ZSet, Corrupt> {
    match tag {
        Tag::ZSet | Tag::ZSet2 => read_pairs(tag, r, limits),
        Tag::ZSetZiplist => packed(&super::from_ziplist(&r.string()?)?, limits),
        _ => packed(&super::listpack(r)?, limits),
    }
}

fn packed(lp: &Listpack, limits: Limits) -> Result<ZSet, Corrupt> {
    ZSet::from_listpack(lp, limits).map_err(|_| Corrupt)
}

type Pair<'a> = (Cow<'a, [u8]>, f64);

fn read_pairs(tag: Tag, r: &mut Reader<'_>, limits: Limits) -> Result<ZSet, Corrupt> {
    let count = r.count(2)?;
    let mut pairs: Vec<Pair<'_>> = Vec::with_capacity(count);
    for _ in 0..count {
        let member = r.string()?.into_cow();
        let score = match tag {
            Tag::ZSet => r.old_double()?,
            _ => r.double()?,
        };
        if score.is_nan() {
            return Err(Corrupt);
        }
        pairs.push((member, score));
    }
    // The usual order takes no sorting.
    pairs.reverse();
    if !pairs.is_sorted_by(|a, b| order(a, b) == Ordering::Less) {
        pairs.sort_unstable_by(order);
    }
    let mut seen = HashSet::with_capacity(count);
    if !pairs.iter().all(|(member, _)| seen.insert(&**member)) {
        return Err(Corrupt);
    }
    let pairs = pairs.iter().map(|(member, score)| (&**member, *score));
    Ok(ZSet::from_sorted(pairs, limits))
}

/// By score, then by member; no score is NaN.
fn order(a: &Pair<'_>, b: &Pair<'_>) -> Ordering {
    let scores = a.1.partial_cmp(&b.1).unwrap_or(Ordering::Equal);
    scores.then_with(|| a.0.cmp(&b.0))
}
