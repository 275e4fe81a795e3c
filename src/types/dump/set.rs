//! Sets.
//!
//! ```text
//! Set         = count:length  member:string*
//! SetIntset   = intset:string
//! SetListpack = listpack:string
//! ```

use super::pieces::{At, TOGETHER, weight};
use crate::ds::intset::Intset;
use crate::rdb::{Corrupt, Reader, Tag, Writer};
use crate::types::set::{Limits, Members, Repr, Set};

pub(super) fn tag(set: &Set) -> Tag {
    match set.repr() {
        Repr::Ints(_) => Tag::SetIntset,
        Repr::Packed(_) | Repr::Table(_) => Tag::Set,
    }
}

pub(super) fn write(set: &Set, w: &mut Writer<'_>) {
    if let Repr::Ints(ints) = set.repr() {
        return w.string(ints.as_bytes());
    }
    w.count(set.len());
    set.iter().for_each(|member| w.value(member));
}

/// Only a table is worth it.
pub(super) fn begin(set: &Set, w: &mut Writer<'_>) -> Option<At> {
    if !matches!(set.repr(), Repr::Table(_)) {
        return None;
    }
    w.count(set.len());
    Some(At::Cursor(0))
}

pub(super) fn go_on(set: &Set, mut cursor: u64, bytes: usize, w: &mut Writer<'_>) -> At {
    let mut work = 0;
    while work < bytes {
        cursor = set.scan(cursor, TOGETHER, |member| {
            work += weight(member);
            w.value(member);
        });
        if cursor == 0 {
            return At::End;
        }
    }
    At::Cursor(cursor)
}

pub(super) fn read(tag: Tag, r: &mut Reader<'_>, limits: Limits) -> Result<Set, Corrupt> {
    match tag {
        Tag::SetIntset => {
            let ints = Intset::from_bytes(r.string()?.into_vec()).map_err(|_| Corrupt)?;
            Ok(Set::from_ints(ints, limits))
        }
        Tag::SetListpack => {
            let packed = super::listpack(r)?;
            match packed.is_empty() {
                true => Ok(Set::packed()),
                false => Set::from_packed(&packed, limits).map_err(|_| Corrupt),
            }
        }
        _ => read_members(r, limits),
    }
}

fn read_members(r: &mut Reader<'_>, limits: Limits) -> Result<Set, Corrupt> {
    let count = r.count(1)?;
    let mut set = if count > limits.max_intset {
        Set::from_members(Members::new(limits.seed))
    } else {
        Set::ints()
    };
    for _ in 0..count {
        if !set.add_value(r.string()?.as_value(), limits) {
            return Err(Corrupt);
        }
    }
    Ok(set)
}
