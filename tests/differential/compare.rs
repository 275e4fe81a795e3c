//! When two replies count as the same, and the differences that are meant.

use super::common::{Argv, Reply};
use redkeep::ds::listpack::Listpack;
use redkeep::rdb::Reader;

/// What a comparison says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Same,
    /// Different on purpose, and so is what both hold from now on: nothing after this compares.
    Apart,
    Different,
}

/// Whether a difference is this one: of the command's name and arguments, their reply and ours.
type Holds = fn(name: &[u8], argv: &[Vec<u8>], theirs: &Reply, ours: &Reply) -> bool;

/// A difference that stays. docs/COMPATIBILITY.md lists the same.
struct Known {
    /// Why the replies differ on purpose.
    #[expect(dead_code, reason = "it says why the entry is there")]
    reason: &'static str,
    /// Whether the servers hold the same afterwards.
    verdict: Verdict,
    holds: Holds,
}

const KNOWN: &[Known] = &[
    Known {
        reason: "Since 7.2 a script may call WAIT, which does not wait there.",
        verdict: Verdict::Same,
        holds: |name, _, theirs, _| {
            name == b"WAIT"
                && theirs.bytes() == b"ERR This Redis command is not allowed from script"
        },
    },
    Known {
        reason: "Which small integers Redis happens to share is not remembered by key.",
        verdict: Verdict::Same,
        holds: |name, argv, theirs, ours| {
            let count = argv
                .get(1)
                .is_some_and(|w| w.eq_ignore_ascii_case(b"REFCOUNT"));
            name == b"OBJECT"
                && count
                && theirs.int() == Some(1)
                && ours.int() == Some(2_147_483_647)
        },
    },
    Known {
        reason: "Small lists and sets are listpacks since 7.2.",
        verdict: Verdict::Same,
        holds: |name, _, theirs, ours| {
            name == b"OBJECT"
                && ours.bytes() == b"listpack"
                && [b"quicklist".as_slice(), b"hashtable"].contains(&theirs.bytes())
        },
    },
    Known {
        reason: "The texts of HELP are our own.",
        verdict: Verdict::Same,
        holds: |_, argv, theirs, ours| {
            let help = argv.get(1).is_some_and(|w| w.eq_ignore_ascii_case(b"HELP"));
            help && !theirs.items().is_empty() && !ours.items().is_empty()
        },
    },
    Known {
        reason: "Since 7.2 the error names the command and the id that is wanted.",
        verdict: Verdict::Same,
        holds: |_, _, theirs, ours| {
            theirs
                .bytes()
                .starts_with(b"ERR Unbalanced XREAD list of streams")
                && ours.bytes().starts_with(b"ERR Unbalanced 'xread")
        },
    },
    Known {
        reason: "Redis counts keys whose time is over until it comes upon them.",
        verdict: Verdict::Same,
        holds: |name, _, theirs, ours| {
            name == b"DBSIZE" && ours.int().is_some() && theirs.int() > ours.int()
        },
    },
    Known {
        reason: "Errors are text: what is no UTF-8 is shown as U+FFFD.",
        verdict: Verdict::Same,
        holds: |_, _, theirs, ours| {
            theirs.is_error()
                && ours.is_error()
                && String::from_utf8_lossy(theirs.bytes()).as_bytes() == ours.bytes()
        },
    },
    Known {
        reason: "Redis shares the objects of small numbers, with their counts and clocks; Redkeep does not.",
        verdict: Verdict::Same,
        holds: |name, argv, theirs, ours| {
            let of_the_object = argv.get(1).map(|w| w.to_ascii_uppercase());
            let numbers = theirs.int().is_some() && ours.int().is_some();
            name == b"OBJECT"
                && numbers
                && of_the_object.is_some_and(|w| w == b"REFCOUNT" || w == b"IDLETIME")
        },
    },
    Known {
        reason: "Redis compares texts up to a zero byte only.",
        verdict: Verdict::Same,
        holds: |name, argv, theirs, ours| {
            let zero = |r: &Reply| r.items().iter().any(|i| i.bytes().contains(&0));
            name.starts_with(b"SORT")
                && has(argv, b"ALPHA")
                && (zero(theirs) || zero(ours))
                && theirs.items().len() == ours.items().len()
        },
    },
    Known {
        reason: "Since 7.2 a rank without a counterpart is out of range.",
        verdict: Verdict::Same,
        holds: |name, _, _, ours| {
            name == b"LPOS"
                && ours
                    .bytes()
                    .starts_with(b"ERR value is out of range, value must between -")
        },
    },
    Known {
        reason: "Since 7.2 a timeout beyond the clock is out of range.",
        verdict: Verdict::Same,
        holds: |_, _, theirs, ours| {
            theirs.bytes() == b"ERR timeout is negative"
                && ours.bytes() == b"ERR timeout is out of range"
        },
    },
    Known {
        reason: "Once it has met a number out of range, Redis takes those of later SORTs for such, too.",
        verdict: Verdict::Same,
        holds: |name, argv, theirs, ours| {
            name.starts_with(b"SORT")
                && !has(argv, b"STORE")
                && theirs.bytes() == NO_NUMBERS
                && !ours.is_error()
        },
    },
    Known {
        reason: "The same where the result is stored.",
        verdict: Verdict::Apart,
        holds: |name, argv, theirs, ours| {
            name == b"SORT"
                && has(argv, b"STORE")
                && theirs.bytes() == NO_NUMBERS
                && !ours.is_error()
        },
    },
    Known {
        reason: "Since 7.2 a rank may be asked for with the score.",
        verdict: Verdict::Same,
        holds: |name, argv, theirs, _| {
            (name == b"ZRANK" || name == b"ZREVRANK")
                && argv.len() == 4
                && theirs.bytes().starts_with(b"ERR wrong number of arguments")
        },
    },
    Known {
        reason: "Since 8.8 sorted sets may be combined by counting them.",
        verdict: Verdict::Apart,
        holds: |name, argv, theirs, ours| {
            let counts = |pair: &[Vec<u8>]| {
                pair[0].eq_ignore_ascii_case(b"AGGREGATE") && pair[1].eq_ignore_ascii_case(b"COUNT")
            };
            name.starts_with(b"Z")
                && argv.windows(2).any(counts)
                && theirs.bytes() == b"ERR syntax error"
                && !ours.is_error()
        },
    },
    Known {
        reason: "Since 7.2 an id below one that was deleted is refused.",
        verdict: Verdict::Apart,
        holds: |name, _, theirs, ours| {
            name == b"XSETID" && *theirs == Reply::ok() && ours.bytes() == BELOW_DELETED
        },
    },
];

const NO_NUMBERS: &[u8] = b"ERR One or more scores can't be converted into double";
const BELOW_DELETED: &[u8] =
    b"ERR The ID specified in XSETID is smaller than current max_deleted_entry_id";

/// Compares what both servers said to a command, apart from what no two servers say alike.
pub fn verdict(argv: &Argv, theirs: &Reply, ours: &Reply) -> Verdict {
    if theirs == ours {
        // An error changes nothing here; Redis keeps what it did before it came upon the fault.
        let halfway = theirs.bytes().starts_with(b"INVALIDOBJ");
        return if halfway {
            Verdict::Apart
        } else {
            Verdict::Same
        };
    }
    let argv = unwrapped(argv);
    let name = argv
        .first()
        .map(|n| n.to_ascii_uppercase())
        .unwrap_or_default();
    if same(&name, argv, theirs, ours) {
        return Verdict::Same;
    }
    let known = KNOWN.iter().find(|k| (k.holds)(&name, argv, theirs, ours));
    known.map_or(Verdict::Different, |k| k.verdict)
}

fn same(name: &[u8], argv: &[Vec<u8>], theirs: &Reply, ours: &Reply) -> bool {
    match name {
        b"TTL" | b"EXPIRETIME" | b"OBJECT" => near(theirs, ours, 2),
        b"PTTL" | b"PEXPIRETIME" => near(theirs, ours, 3000),
        // What a hash table holds comes in an order of each server's own.
        b"KEYS" | b"HKEYS" | b"HVALS" | b"SMEMBERS" | b"SINTER" | b"SUNION" | b"SDIFF"
        | b"SPOP" => sorted(theirs) == sorted(ours),
        // Where texts tie, and where a set is not sorted, the order is each server's own.
        b"SORT" | b"SORT_RO" if may_tie(argv) => match (theirs, ours) {
            (Reply::Array(a), Reply::Array(b)) if has(argv, b"LIMIT") => a.len() == b.len(),
            _ => sorted(theirs) == sorted(ours),
        },
        // Which members are up to chance; how many is not.
        b"SRANDMEMBER" | b"ZRANDMEMBER" => as_many(theirs, ours),
        b"HGETALL" => pairs(theirs) == pairs(ours),
        b"ZSCAN" => match (theirs.items(), ours.items()) {
            ([c, a], [d, b]) => {
                let whole = [c, d].iter().all(|c| c.bytes() == b"0");
                let flat = |r| Reply::Array(pairs(r).concat());
                !whole || same_numbers(&flat(a), &flat(b))
            }
            _ => false,
        },
        // Since 7.2 doubles are printed with the fewest digits that tell them apart.
        _ if name.starts_with(b"Z") || name.starts_with(b"BZ") => same_numbers(theirs, ours),
        b"SCAN" | b"SSCAN" => match (theirs.items(), ours.items()) {
            // The order of keys is each server's own, so only a whole scan in one call compares.
            ([c, a], [d, b]) => {
                let cursor = argv.get(if name == b"SCAN" { 1 } else { 2 });
                let whole =
                    [c, d].iter().all(|c| c.bytes() == b"0") && cursor.is_some_and(|c| c == b"0");
                !whole || sorted(a) == sorted(b)
            }
            _ => false,
        },
        b"HSCAN" => match (theirs.items(), ours.items()) {
            ([c, a], [d, b]) => {
                let whole = [c, d].iter().all(|c| c.bytes() == b"0")
                    && argv.get(2).is_some_and(|c| c == b"0");
                !whole || pairs(a) == pairs(b)
            }
            _ => false,
        },
        // Which fields is up to chance; how many is not.
        b"HRANDFIELD" => match (theirs, ours) {
            (Reply::Array(a), Reply::Array(b)) => a.len() == b.len(),
            (Reply::Bulk(_), Reply::Bulk(_)) => true,
            _ => false,
        },
        b"DUMP" => same_payload(theirs.bytes(), ours.bytes()),
        b"CONFIG" if !theirs.items().is_empty() => pairs(theirs) == pairs(ours),
        // Which key is up to chance; that there is one is not.
        b"RANDOMKEY" => matches!((theirs, ours), (Reply::Bulk(_), Reply::Bulk(_))),
        b"XPENDING" | b"XINFO" => similar(&without(theirs, LATER), &without(ours, LATER)),
        _ => false,
    }
}

/// Whether there are as many things, whatever they are.
fn as_many(a: &Reply, b: &Reply) -> bool {
    match (a, b) {
        (Reply::Array(a), Reply::Array(b)) => a.len() == b.len(),
        (Reply::Bulk(_), Reply::Bulk(_)) => true,
        _ => false,
    }
}

/// Whether replies are the same but for the digits of numbers.
fn same_numbers(a: &Reply, b: &Reply) -> bool {
    let number = |r: &Reply| std::str::from_utf8(r.bytes()).ok()?.parse::<f64>().ok();
    match (a, b) {
        (Reply::Array(a), Reply::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_numbers(a, b))
        }
        (Reply::Bulk(_), Reply::Bulk(_)) if a != b => number(a).is_some() && number(a) == number(b),
        _ => a == b,
    }
}

/// Whether SORT compares texts found elsewhere, or nothing at all.
fn may_tie(argv: &[Vec<u8>]) -> bool {
    let constant =
        |pair: &[Vec<u8>]| pair[0].eq_ignore_ascii_case(b"BY") && !pair[1].contains(&b'*');
    has(argv, b"BY") && (has(argv, b"ALPHA") || argv.windows(2).any(constant))
}

fn has(argv: &[Vec<u8>], token: &[u8]) -> bool {
    argv.iter().any(|a| a.eq_ignore_ascii_case(token))
}

/// Sets and hashes in the order of a hash table, and streams with times in them: at least as long. Lists whose elements
/// the versions put into other nodes, and scores of which they write more or fewer digits.
fn same_payload(theirs: &[u8], ours: &[u8]) -> bool {
    const SET: u8 = 2;
    const HASH: u8 = 4;
    const PACKED_ZSET: u8 = 17;
    const LIST: u8 = 18;
    const STREAM: u8 = 19;
    match (theirs.first().copied(), ours.first().copied()) {
        (Some(LIST), Some(LIST)) => list_of(theirs).is_some_and(|l| Some(l) == list_of(ours)),
        // Since 7.2 scores are stored with the fewest digits, too.
        (Some(PACKED_ZSET), Some(PACKED_ZSET)) => match (packed(theirs), packed(ours)) {
            (Some(a), Some(b)) => same_numbers(&a, &b),
            _ => false,
        },
        (Some(SET | HASH | STREAM), _) => {
            theirs.first() == ours.first() && theirs.len() == ours.len()
        }
        _ => false,
    }
}

/// The elements of a dumped listpack.
fn packed(payload: &[u8]) -> Option<Reply> {
    let bytes = Reader::new(payload.get(1..)?).string().ok()?.into_vec();
    let listpack = Listpack::from_bytes(bytes).ok()?;
    let elements = listpack.iter().map(|(_, e)| Reply::Bulk(e.to_vec()));
    Some(Reply::Array(elements.collect()))
}

/// The elements of a dumped list.
fn list_of(payload: &[u8]) -> Option<Vec<Vec<u8>>> {
    const PLAIN: u64 = 1;
    let mut r = Reader::new(payload.get(1..)?);
    let mut out = Vec::new();
    for _ in 0..r.length().ok()? {
        let plain = r.length().ok()? == PLAIN;
        let node = r.string().ok()?.into_vec();
        if plain {
            out.push(node);
        } else {
            let listpack = Listpack::from_bytes(node).ok()?;
            out.extend(listpack.iter().map(|(_, element)| element.to_vec()));
        }
    }
    Some(out)
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

/// Leaves out some fields of maps, however deep.
fn without(r: &Reply, fields: &[&[u8]]) -> Reply {
    let Reply::Array(v) = r else { return r.clone() };
    let mut out = Vec::with_capacity(v.len());
    let mut i = 0;
    while i < v.len() {
        if matches!(&v[i], Reply::Bulk(b) if fields.contains(&b.as_slice())) && i + 1 < v.len() {
            i += 2;
        } else {
            out.push(without(&v[i], fields));
            i += 1;
        }
    }
    Reply::Array(out)
}

/// Fields that came after 7.0.
const LATER: &[&[u8]] = &[b"active-time", b"inactive"];
/// The command that a script of the generator calls, or the command itself.
pub fn unwrapped(argv: &[Vec<u8>]) -> &[Vec<u8>] {
    let wrapped = argv.len() > 3
        && argv[0].eq_ignore_ascii_case(b"EVAL")
        && argv[1] == CALL_ARGUMENTS.as_bytes();
    if wrapped { &argv[3..] } else { argv }
}

/// The script that calls its arguments as a command.
pub const CALL_ARGUMENTS: &str = "return redis.pcall(unpack(ARGV))";
