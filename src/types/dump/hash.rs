//! Hashes.
//!
//! ```text
//! Hash                  = count:length ( field:string value:string )*
//! HashZipmap            = zipmap:string
//! HashZiplist           = ziplist:string                    field value …
//! HashListpack          = listpack:string                   field value …
//! HashDeadlines         = least:time count:length ( since:length field:string value:string )*
//! HashListpackDeadlines = least:time listpack:string        field value deadline … in the order of the deadlines
//! ```
//!
//! Deadlines are Unix milliseconds, 0 for none. `least` is the first of all; `since` is one more than what a deadline
//! is behind it, 0 for none. The older forms of the last two have no `least`, and deadlines in place of `since`.

use super::pieces::{At, TOGETHER, weight};
use crate::ds::listpack::Listpack;
use crate::rdb::{Corrupt, Reader, Tag, Writer, zipmap};
use crate::types::hash::{Entry, Hash, Limits, Repr};

/// Deadlines have 48 bits.
const LATEST: u64 = (1 << 48) - 1;

/// The oldest tag that has a place for all there is.
pub(super) fn tag(hash: &Hash) -> Tag {
    match (hash.repr(), hash.next_deadline()) {
        (Repr::Packed | Repr::Timed, None) => Tag::HashListpack,
        (Repr::Packed | Repr::Timed, Some(_)) => Tag::HashListpackDeadlines,
        (Repr::Table, None) => Tag::Hash,
        (Repr::Table, Some(_)) => Tag::HashDeadlines,
    }
}

/// Fields whose time is over are written too: who reads them knows.
pub(super) fn write(hash: &Hash, w: &mut Writer<'_>) {
    let least = hash.next_deadline();
    least.into_iter().for_each(|at| w.millis(at));
    match (hash.repr(), least) {
        (Repr::Table, least) => write_table(hash, least, w),
        (_, least) => w.string(hash.to_listpack(least.is_some()).as_bytes()),
    }
}

fn write_table(hash: &Hash, least: Option<i64>, w: &mut Writer<'_>) {
    w.count(hash.total());
    for entry in hash.iter(i64::MIN) {
        write_entry(entry, least, w);
    }
}

fn write_entry(entry: Entry<'_>, least: Option<i64>, w: &mut Writer<'_>) {
    if let Some(least) = least {
        w.length(entry.deadline.map_or(0, |at| at.abs_diff(least) + 1));
    }
    w.value(entry.name);
    w.value(entry.value);
}

/// Only a table is worth it.
pub(super) fn begin(hash: &Hash, w: &mut Writer<'_>) -> Option<At> {
    if hash.repr() != Repr::Table {
        return None;
    }
    hash.next_deadline().into_iter().for_each(|at| w.millis(at));
    w.count(hash.total());
    Some(At::Cursor(0))
}

pub(super) fn go_on(hash: &Hash, mut cursor: u64, bytes: usize, w: &mut Writer<'_>) -> At {
    let least = hash.next_deadline();
    let mut work = 0;
    while work < bytes {
        cursor = hash.scan(cursor, TOGETHER, i64::MIN, |entry| {
            work += weight(entry.name) + weight(entry.value);
            write_entry(entry, least, w);
        });
        if cursor == 0 {
            return At::End;
        }
    }
    At::Cursor(cursor)
}

pub(super) fn read(tag: Tag, r: &mut Reader<'_>, limits: Limits) -> Result<Hash, Corrupt> {
    let mut hash = match tag {
        Tag::Hash => read_pairs(r, limits)?,
        Tag::HashDeadlinesOld => read_timed_pairs(None, r, limits)?,
        Tag::HashDeadlines => {
            let least = deadline(r.millis()?.cast_unsigned())?;
            read_timed_pairs(Some(least), r, limits)?
        }
        Tag::HashListpackDeadlinesOld => read_timed(r)?,
        Tag::HashListpackDeadlines => {
            r.millis()?;
            read_timed(r)?
        }
        Tag::HashZipmap => read_zipmap(r, limits)?,
        Tag::HashZiplist => packed(super::from_ziplist(&r.string()?)?)?,
        _ => packed(super::listpack(r)?)?,
    };
    hash.fit(limits);
    Ok(hash)
}

fn packed(lp: Listpack) -> Result<Hash, Corrupt> {
    Hash::from_packed(&lp).map_err(|_| Corrupt)
}

fn read_timed(r: &mut Reader<'_>) -> Result<Hash, Corrupt> {
    let hash = Hash::from_timed(&super::listpack(r)?).map_err(|_| Corrupt)?;
    let late = |at: i64| at.cast_unsigned() > LATEST;
    let any_late = hash.iter(i64::MIN).any(|e| e.deadline.is_some_and(late));
    if any_late { Err(Corrupt) } else { Ok(hash) }
}

fn read_zipmap(r: &mut Reader<'_>, limits: Limits) -> Result<Hash, Corrupt> {
    let (mut lp, mut longest) = (Listpack::new(), 0);
    r.string()?.with(|bytes| {
        lp.append(|out| {
            zipmap::read(bytes, |field, value| {
                longest = longest.max(field.len()).max(value.len());
                out.push(field);
                out.push(value);
                Ok(())
            })
        })
    })?;
    // A zipmap, unlike all others, is never written empty.
    if lp.is_empty() {
        return Err(Corrupt);
    }
    let mut hash = packed(lp)?;
    if longest > limits.value {
        hash.fit(Limits {
            entries: 0,
            ..limits
        });
    }
    Ok(hash)
}

/// A listpack is filled, and checked as a whole, as long as it fits; from there on it is a table.
fn read_pairs(r: &mut Reader<'_>, limits: Limits) -> Result<Hash, Corrupt> {
    let mut left = r.count(2)?;
    let mut lp = Listpack::new();
    let mut hash = None;
    if left > limits.entries {
        hash = Some(Hash::new_table(limits));
    }
    let (mut name_buf, mut value_buf) = (itoa::Buffer::new(), itoa::Buffer::new());
    while left > 0 {
        left -= 1;
        let (name, value) = (r.string()?, r.string()?);
        let (name, value) = (name.bytes(&mut name_buf), value.bytes(&mut value_buf));
        let fits = name.len() <= limits.value && value.len() <= limits.value;
        if hash.is_none() && fits {
            lp.append(|out| {
                out.push(name);
                out.push(value);
            });
            continue;
        }
        let table = match &mut hash {
            Some(table) => table,
            None => {
                let mut table = packed(std::mem::take(&mut lp))?;
                table.fit(Limits {
                    entries: 0,
                    ..limits
                });
                hash.insert(table)
            }
        };
        if !table.set(name, value, limits) {
            return Err(Corrupt);
        }
    }
    hash.map_or_else(|| packed(lp), Ok)
}

fn read_timed_pairs(
    least: Option<i64>,
    r: &mut Reader<'_>,
    limits: Limits,
) -> Result<Hash, Corrupt> {
    let count = r.count(3)?;
    let mut hash = if count > limits.entries {
        Hash::new_table(limits)
    } else {
        Hash::new()
    };
    for _ in 0..count {
        let at = match (r.length()?, least) {
            (0, _) => None,
            (at, None) => Some(deadline(at)?),
            (since, Some(least)) => {
                let at = least
                    .cast_unsigned()
                    .checked_add(since - 1)
                    .ok_or(Corrupt)?;
                Some(deadline(at)?)
            }
        };
        let (name, value) = (r.string()?, r.string()?);
        name.with(|name| {
            if !value.with(|value| hash.set(name, value, limits)) {
                return Err(Corrupt);
            }
            // 0 as a deadline would mean that there is none.
            let at = at.map(|at| at.max(1));
            if at.is_some() {
                hash.set_deadline(name, at);
            }
            Ok(())
        })?;
    }
    Ok(hash)
}

fn deadline(at: u64) -> Result<i64, Corrupt> {
    match i64::try_from(at) {
        Ok(signed) if at <= LATEST => Ok(signed),
        _ => Err(Corrupt),
    }
}
