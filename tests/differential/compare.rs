//! When two replies count as the same, and the differences that are meant.

use super::common::{Argv, Reply};

/// A difference that stays, with its reason. docs/COMPATIBILITY.md lists the same.
struct Known {
    /// Why the replies differ on purpose; for the reader of this list.
    #[expect(dead_code, reason = "it says why the entry is there")]
    reason: &'static str,
    holds: fn(argv: &Argv, theirs: &Reply, ours: &Reply) -> bool,
}

const KNOWN: &[Known] = &[];

/// Whether both servers said the same to a command, apart from what no two servers say alike.
pub fn same(argv: &Argv, theirs: &Reply, ours: &Reply) -> bool {
    if theirs == ours {
        return true;
    }
    let name = argv
        .first()
        .map(|n| n.to_ascii_uppercase())
        .unwrap_or_default();
    let volatile = match name.as_slice() {
        b"TTL" | b"EXPIRETIME" | b"OBJECT" => near(theirs, ours, 2),
        b"PTTL" | b"PEXPIRETIME" => near(theirs, ours, 3000),
        b"KEYS" => sorted(theirs) == sorted(ours),
        b"SCAN" => match (theirs.items(), ours.items()) {
            // The order of keys is each server's own, so only a whole scan in one call compares.
            ([c, a], [d, b]) => {
                let whole = [c, d].iter().all(|c| c.bytes() == b"0")
                    && argv.get(1).is_some_and(|c| c == b"0");
                !whole || sorted(a) == sorted(b)
            }
            _ => false,
        },
        b"CONFIG" if !theirs.items().is_empty() => pairs(theirs) == pairs(ours),
        // Which key is up to chance; that there is one is not.
        b"RANDOMKEY" => matches!((theirs, ours), (Reply::Bulk(_), Reply::Bulk(_))),
        b"XPENDING" | b"XINFO" => similar(&as_in_7_0(theirs), &as_in_7_0(ours)),
        _ => false,
    };
    volatile || KNOWN.iter().any(|k| (k.holds)(argv, theirs, ours))
}

fn near(a: &Reply, b: &Reply, by: i64) -> bool {
    match (a, b) {
        (Reply::Int(a), Reply::Int(b)) => *a >= 0 && *b >= 0 && a.abs_diff(*b) <= by.unsigned_abs(),
        _ => false,
    }
}

fn sorted(r: &Reply) -> Reply {
    match r {
        Reply::Array(v) => {
            let mut v = v.clone();
            v.sort();
            Reply::Array(v)
        }
        other => other.clone(),
    }
}

/// Names with their values, in the order of the names.
fn pairs(r: &Reply) -> Vec<Vec<Reply>> {
    let mut v: Vec<_> = r.items().chunks(2).map(<[Reply]>::to_vec).collect();
    v.sort();
    v
}

/// Times since an event and times of events: equal within seconds.
fn similar(a: &Reply, b: &Reply) -> bool {
    match (a, b) {
        (Reply::Array(a), Reply::Array(b)) => {
            a.len() == b.len()
                && (0..a.len()).all(|i| {
                    let after = |name: &[u8]| i > 0 && a[i - 1].bytes() == name;
                    let is_idle = a.len() == 4 && i == 2 || after(b"idle");
                    let big = a[i].int().is_some_and(|n| n > 1_000_000_000_000);
                    (is_idle || big) && near(&a[i], &b[i], 20_000) || similar(&a[i], &b[i])
                })
        }
        _ => a == b,
    }
}

/// Leaves out the fields that later versions add.
fn as_in_7_0(r: &Reply) -> Reply {
    match r {
        Reply::Array(v) => {
            let mut out = Vec::with_capacity(v.len());
            let mut i = 0;
            while i < v.len() {
                if matches!(&v[i], Reply::Bulk(b) if LATER_FIELDS.contains(&b.as_slice()))
                    && i + 1 < v.len()
                {
                    i += 2;
                } else {
                    out.push(as_in_7_0(&v[i]));
                    i += 1;
                }
            }
            Reply::Array(out)
        }
        other => other.clone(),
    }
}

const LATER_FIELDS: &[&[u8]] = &[b"active-time", b"inactive"];
