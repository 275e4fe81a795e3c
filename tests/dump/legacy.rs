//! Payloads of versions that nobody writes any more, and of those newer than the real server at hand: put together
//! here, by what is known of the formats.

use super::common::Argv;
use super::samples::commands;
use redkeep::rdb::payload;

/// Seals an object under a tag.
pub fn sealed(tag: u8, version: u16, object: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![tag];
    object.iter().for_each(|part| out.extend_from_slice(part));
    payload::seal(&mut out, version);
    out
}

/// A length.
pub fn len(n: usize) -> Vec<u8> {
    match n {
        0..=63 => vec![n as u8],
        64..=16383 => vec![0x40 | (n >> 8) as u8, n as u8],
        _ => [&[0x80][..], &(n as u32).to_be_bytes()].concat(),
    }
}

/// A string as it is.
pub fn raw(bytes: &[u8]) -> Vec<u8> {
    [&len(bytes.len()), bytes].concat()
}

/// Strings, one after the other.
fn raws(items: &[&str]) -> Vec<u8> {
    items.iter().flat_map(|item| raw(item.as_bytes())).collect()
}

/// A ziplist of integers, where items read as such, and strings.
pub fn ziplist(items: &[&str]) -> Vec<u8> {
    let (mut entries, mut previous, mut tail) = (Vec::new(), 0, 10);
    for item in items {
        tail = 10 + entries.len();
        let before = entries.len();
        if previous < 254 {
            entries.push(previous as u8);
        } else {
            entries.push(254);
            entries.extend_from_slice(&(previous as u32).to_le_bytes());
        }
        entry(item, &mut entries);
        previous = entries.len() - before;
    }
    let mut out = (entries.len() as u32 + 11).to_le_bytes().to_vec();
    out.extend_from_slice(&(tail as u32).to_le_bytes());
    out.extend_from_slice(&(items.len() as u16).to_le_bytes());
    out.extend_from_slice(&entries);
    out.push(0xFF);
    out
}

fn entry(item: &str, out: &mut Vec<u8>) {
    let number = item.parse::<i64>().ok().filter(|n| n.to_string() == item);
    match (number, item.len()) {
        (Some(n @ 0..=12), _) => out.push(0xF1 + n as u8),
        (Some(n @ -128..=127), _) => out.extend_from_slice(&[0xFE, n as u8]),
        (Some(n @ -32768..=32767), _) => {
            out.push(0xC0);
            out.extend_from_slice(&(n as i16).to_le_bytes());
        }
        (Some(n @ -0x80_0000..=0x7F_FFFF), _) => {
            out.push(0xF0);
            out.extend_from_slice(&n.to_le_bytes()[..3]);
        }
        (Some(n @ -0x8000_0000..=0x7FFF_FFFF), _) => {
            out.push(0xD0);
            out.extend_from_slice(&(n as i32).to_le_bytes());
        }
        (Some(n), _) => {
            out.push(0xE0);
            out.extend_from_slice(&n.to_le_bytes());
        }
        (None, n @ 0..=63) => out.push(n as u8),
        (None, n @ 64..=16383) => out.extend_from_slice(&[0x40 | (n >> 8) as u8, n as u8]),
        (None, n) => {
            out.push(0x80);
            out.extend_from_slice(&(n as u32).to_be_bytes());
        }
    }
    if number.is_none() {
        out.extend_from_slice(item.as_bytes());
    }
}

/// A zipmap whose values are each followed by `free` unused bytes.
fn zipmap(pairs: &[(&str, &str)], free: u8) -> Vec<u8> {
    let length = |n: usize| match n {
        0..=253 => vec![n as u8],
        _ => [&[254][..], &(n as u32).to_le_bytes()].concat(),
    };
    let mut out = vec![pairs.len().min(254) as u8];
    for (field, value) in pairs {
        out.extend(length(field.len()));
        out.extend_from_slice(field.as_bytes());
        out.extend(length(value.len()));
        out.push(free);
        out.extend_from_slice(value.as_bytes());
        out.extend(vec![b'-'; free.into()]);
    }
    out.push(0xFF);
    out
}

/// A listpack of items as they are pushed.
pub fn listpack(items: &[&str]) -> Vec<u8> {
    let mut lp = redkeep::ds::listpack::Listpack::new();
    items.iter().for_each(|item| lp.push(item.as_bytes()));
    lp.as_bytes().to_vec()
}

fn intset(width: u8, numbers: &[i64]) -> Vec<u8> {
    let mut out = u32::from(width).to_le_bytes().to_vec();
    out.extend_from_slice(&(numbers.len() as u32).to_le_bytes());
    for n in numbers {
        out.extend_from_slice(&n.to_le_bytes()[..width.into()]);
    }
    out
}

/// A score in its old form.
fn old_double(text: &str) -> Vec<u8> {
    match text {
        "nan" => vec![253],
        "inf" => vec![254],
        "-inf" => vec![255],
        _ => [&[text.len() as u8], text.as_bytes()].concat(),
    }
}

fn zset(scores: &[(&str, &str)]) -> Vec<u8> {
    let mut out = len(scores.len());
    for (member, score) in scores {
        out.extend(raw(member.as_bytes()));
        out.extend(old_double(score));
    }
    out
}

fn millis(at: i64) -> [u8; 8] {
    at.to_le_bytes()
}

/// A raw id.
fn id(ms: u64, seq: u64) -> Vec<u8> {
    [ms.to_be_bytes(), seq.to_be_bytes()].concat()
}

/// The one node of a stream with entries 1-0 and 2-0, field `f`, values 10 and 20.
fn nodes() -> Vec<u8> {
    let lp = listpack(&[
        "2", "0", "1", "f", "0", "2", "0", "0", "10", "4", "2", "1", "0", "20", "4",
    ]);
    [len(1), raw(&id(1, 0)), raw(&lp)].concat()
}

/// Length 2, last id 2-0.
const COUNTED: &[u8] = &[2, 2, 0];
/// As [`COUNTED`], first id 1-0, nothing deleted, two added.
const COUNTED_2: &[u8] = &[2, 2, 0, 1, 0, 0, 0, 2];
/// When entries were delivered and consumers seen.
const THEN: i64 = 1_600_000_000_000;
/// Deadlines that are far away.
const LATE: i64 = 9_000_000_000_000;

/// The group `g`, which has read 1-0 for `c`; `active` is there or not.
fn group(read: &[u8], active: &[u8]) -> Vec<u8> {
    let then = millis(THEN);
    let parts: [&[u8]; 11] = [
        &raw(b"g"),
        &[1, 0],
        read,
        &[1],
        &id(1, 0),
        &then,
        &[1],
        &[1],
        &raw(b"c"),
        &then,
        active,
    ];
    [&parts.concat()[..], &[1], &id(1, 0)].concat()
}

/// Name, payload, and commands that make the same at `k`.
pub fn samples() -> Vec<(&'static str, Vec<u8>, Vec<Argv>)> {
    let all = [lists(), sets(), hashes(), zsets(), streams()].concat();
    let made = |lines: &str| {
        lines
            .lines()
            .flat_map(|line| commands(line.trim()))
            .collect()
    };
    all.into_iter()
        .map(|(name, payload, lines)| (name, payload, made(lines)))
        .collect()
}

type Samples = Vec<(&'static str, Vec<u8>, &'static str)>;

fn lists() -> Samples {
    let long = "x".repeat(300);
    let items = [
        "0",
        "12",
        "-128",
        "300",
        "-8388608",
        "2147483647",
        "-9223372036854775808",
        "text",
        "",
        &long,
        "y",
    ];
    let same = "RPUSH k 0 12 -128 300 -8388608 2147483647 -9223372036854775808 text \"\" x*300 y";
    vec![
        (
            "list as strings",
            sealed(1, 6, &[&len(items.len()), &raws(&items)]),
            same,
        ),
        (
            "list as strings, integers and compressed",
            sealed(
                1,
                6,
                &[
                    &[4],
                    b"\xc0\x05\xc1\x00\x80\xc2\x00\x00\x00\x80",
                    b"\xc3\x05\x0b\x00a\xe0\x01\x00",
                ],
            ),
            "RPUSH k 5 -32768 -2147483648 a*11",
        ),
        (
            "list as a ziplist",
            sealed(10, 6, &[&raw(&ziplist(&items))]),
            same,
        ),
        (
            "list as ziplists, one of them empty",
            sealed(
                14,
                9,
                &[
                    &[3],
                    &raw(&ziplist(&items[..5])),
                    &raw(&ziplist(&[])),
                    &raw(&ziplist(&items[5..])),
                ],
            ),
            same,
        ),
        (
            "list as listpacks and plain nodes",
            sealed(
                18,
                10,
                &[
                    &[4, 2],
                    &raw(&listpack(&["a", "1"])),
                    &[1],
                    &raw(b"plain"),
                    &[2],
                    &raw(&listpack(&[])),
                    &[1],
                    &raw(b"7"),
                ],
            ),
            "RPUSH k a 1 plain 7",
        ),
    ]
}

fn sets() -> Samples {
    vec![
        (
            "set as strings",
            sealed(2, 6, &[&[3], &raws(&["a", "1", "b"])]),
            "SADD k a 1 b",
        ),
        (
            "set as strings that are integers",
            sealed(2, 6, &[&[3], &raws(&["3", "1", "2"])]),
            "SADD k 1 2 3",
        ),
        (
            "set of integers",
            sealed(11, 6, &[&raw(&intset(2, &[-5, 1, 300]))]),
            "SADD k -5 1 300",
        ),
        (
            "set of wide integers",
            sealed(11, 6, &[&raw(&intset(8, &[-5, 1 << 40]))]),
            "SADD k -5 1099511627776",
        ),
        (
            "set as a listpack",
            sealed(20, 11, &[&raw(&listpack(&["a", "1", "b"]))]),
            "SADD k a 1 b",
        ),
    ]
}

fn hashes() -> Samples {
    let pairs = [("f", "v"), ("number", "12"), ("empty", "")];
    let flat = ["f", "v", "number", "12", "empty", ""];
    let long = "v".repeat(300);
    let same = "HSET k f v number 12 empty \"\"";
    let timed = "HSET k a 1 b 2 c 3\nHPEXPIREAT k 9000000000005 FIELDS 1 a\nHPEXPIREAT k 9000000000000 FIELDS 1 c";
    let triples = |c: &str, a: &str| listpack(&["c", "3", c, "a", "1", a, "b", "2", "0"]);
    let lp = triples("9000000000000", "9000000000005");
    let relative = [
        &[3, 6][..],
        &raws(&["a", "1"]),
        &[0],
        &raws(&["b", "2"]),
        &[1],
        &raws(&["c", "3"]),
    ]
    .concat();
    let at = |n: i64| [&[0x81][..], &n.to_be_bytes()].concat();
    let absolute = [
        &[3][..],
        &at(LATE + 5),
        &raws(&["a", "1"]),
        &[0],
        &raws(&["b", "2"]),
        &at(LATE),
        &raws(&["c", "3"]),
    ]
    .concat();
    vec![
        ("hash as strings", sealed(4, 6, &[&[3], &raws(&flat)]), same),
        (
            "hash as a zipmap",
            sealed(9, 3, &[&raw(&zipmap(&pairs, 0))]),
            same,
        ),
        (
            "hash as a zipmap with free bytes",
            sealed(9, 3, &[&raw(&zipmap(&pairs, 3))]),
            same,
        ),
        (
            "hash as a zipmap with a long value",
            sealed(9, 3, &[&raw(&zipmap(&[("f", &long)], 0))]),
            "HSET k f v*300",
        ),
        (
            "hash as a ziplist",
            sealed(13, 6, &[&raw(&ziplist(&flat))]),
            same,
        ),
        (
            "hash as a listpack",
            sealed(16, 10, &[&raw(&listpack(&flat))]),
            same,
        ),
        (
            "hash with deadlines",
            sealed(24, 12, &[&millis(LATE), &relative]),
            timed,
        ),
        (
            "hash with deadlines, old",
            sealed(22, 12, &[&absolute]),
            timed,
        ),
        (
            "hash with deadlines as a listpack",
            sealed(25, 12, &[&millis(LATE), &raw(&lp)]),
            timed,
        ),
        (
            "hash with deadlines as a listpack, old",
            sealed(23, 12, &[&raw(&lp)]),
            timed,
        ),
        (
            "hash with a field whose time is over",
            sealed(
                25,
                12,
                &[&millis(1000), &raw(&triples("1000", "9000000000005"))],
            ),
            "HSET k a 1 b 2\nHPEXPIREAT k 9000000000005 FIELDS 1 a",
        ),
    ]
}

fn zsets() -> Samples {
    let flat = [
        "min", "-inf", "a", "1", "b", "1.5", "7", "1e+20", "max", "inf",
    ];
    let same = "ZADD k 1 a 1.5 b -inf min 1e20 7 inf max";
    let scores = [
        ("a", "1"),
        ("b", "1.5"),
        ("min", "-inf"),
        ("7", "1e+20"),
        ("max", "inf"),
    ];
    let binary: Vec<u8> = [("x", 0.1f64), ("y", -3.0)]
        .iter()
        .flat_map(|(member, score)| [raw(member.as_bytes()), score.to_le_bytes().to_vec()].concat())
        .collect();
    vec![
        (
            "sorted set with scores as text",
            sealed(3, 6, &[&zset(&scores)]),
            same,
        ),
        (
            "sorted set with binary scores",
            sealed(5, 8, &[&[2], &binary]),
            "ZADD k 0.1 x -3 y",
        ),
        (
            "sorted set as a ziplist",
            sealed(12, 6, &[&raw(&ziplist(&flat))]),
            same,
        ),
        (
            "sorted set as a listpack",
            sealed(17, 10, &[&raw(&listpack(&flat))]),
            same,
        ),
    ]
}

fn streams() -> Samples {
    let entries = "XADD k 1-0 f 10\nXADD k 2-0 f 20\nXGROUP CREATE k g 0\nXREADGROUP GROUP g c COUNT 1 STREAMS k >";
    let nodes = nodes();
    let active = millis(THEN);
    let defaults: &[u8] = &[0x40, 100, 0x40, 100, 0, 0, 0];
    let idmp = [
        &[0x40, 100, 0x40, 100, 1][..],
        &raw(b"p"),
        &[1],
        &raw(b"i"),
        &[2, 0, 1, 0],
    ]
    .concat();
    let nacked = [
        &raw(b"g")[..],
        &[1, 0],
        &[1],
        &[1],
        &id(1, 0),
        &millis(0),
        &[1],
        &[1],
        &raw(b"c"),
        &millis(THEN),
        &active,
        &[0],
        &[1],
        &id(1, 0),
    ];
    vec![
        (
            "stream",
            sealed(15, 9, &[&nodes, COUNTED, &[1], &group(&[], &[])]),
            entries,
        ),
        (
            "stream of 7.0",
            sealed(19, 10, &[&nodes, COUNTED_2, &[1], &group(&[1], &[])]),
            entries,
        ),
        (
            "stream of 7.2",
            sealed(21, 11, &[&nodes, COUNTED_2, &[1], &group(&[1], &active)]),
            entries,
        ),
        (
            "stream of 8.6",
            sealed(
                26,
                13,
                &[&nodes, COUNTED_2, &[1], &group(&[1], &active), &idmp],
            ),
            entries,
        ),
        (
            "stream of 8.8",
            sealed(
                27,
                14,
                &[&nodes, COUNTED_2, &[1], &nacked.concat(), defaults],
            ),
            "XADD k 1-0 f 10\nXADD k 2-0 f 20\nXGROUP CREATE k g 0\nXREADGROUP GROUP g c COUNT 1 STREAMS k >\n\
             XNACK k g FAIL IDS 1 1-0",
        ),
    ]
}

/// Well formed as bytes, and wrong as values.
pub fn broken() -> Vec<(&'static str, Vec<u8>)> {
    let nodes = nodes();
    let lp = |items: &[&str]| raw(&listpack(items));
    let zl = |items: &[&str]| raw(&ziplist(items));
    let twice = [&group(&[1], &[])[..], &group(&[1], &[])].concat();
    let (then, one) = (millis(THEN), id(1, 0));
    let unowned = [&raw(b"g")[..], &[1, 0, 1, 1], &one, &then, &[1, 0]].concat();
    let unknown = [
        &raw(b"g")[..],
        &[1, 0, 1, 0, 1],
        &raw(b"c"),
        &then,
        &[1],
        &one,
    ]
    .concat();
    let two_owners = [
        &raw(b"g")[..],
        &[1, 0, 1, 1],
        &one,
        &then,
        &[1, 2],
        &raw(b"c"),
        &then,
        &[1],
        &one,
        &raw(b"d"),
        &then,
        &[1],
        &one,
    ];
    let overlapping = [&[2][..], &nodes[1..], &nodes[1..]].concat();
    vec![
        ("no list", sealed(1, 6, &[&[0]])),
        ("no list in ziplists", sealed(14, 9, &[&[1], &zl(&[])])),
        ("no list in listpacks", sealed(18, 10, &[&[1, 2], &lp(&[])])),
        ("a node of no kind", sealed(18, 10, &[&[1, 3], &lp(&["a"])])),
        (
            "more elements than bytes",
            sealed(1, 6, &[&[0x80, 0xFF, 0xFF, 0xFF, 0xFF], &raws(&["a"])]),
        ),
        ("no set", sealed(2, 6, &[&[0]])),
        ("a member twice", sealed(2, 6, &[&[2], &raws(&["a", "a"])])),
        (
            "an integer twice",
            sealed(2, 6, &[&[2], &raw(b"7"), &[0xC0, 7]]),
        ),
        (
            "integers out of order",
            sealed(11, 6, &[&raw(&intset(2, &[5, 1]))]),
        ),
        (
            "integers of three bytes",
            sealed(11, 6, &[&raw(&intset(3, &[1, 5]))]),
        ),
        ("no integers", sealed(11, 6, &[&raw(&intset(2, &[]))])),
        (
            "a member twice in a listpack",
            sealed(20, 11, &[&lp(&["a", "b", "a"])]),
        ),
        ("no hash", sealed(4, 6, &[&[0]])),
        (
            "a field twice",
            sealed(4, 6, &[&[2], &raws(&["a", "1", "a", "2"])]),
        ),
        (
            "a field twice in a zipmap",
            sealed(9, 3, &[&raw(&zipmap(&[("a", "1"), ("a", "2")], 0))]),
        ),
        ("no zipmap", sealed(9, 3, &[&raw(&zipmap(&[], 0))])),
        (
            "a field twice in a ziplist",
            sealed(13, 6, &[&zl(&["a", "1", "a", "2"])]),
        ),
        (
            "a field without a value",
            sealed(13, 6, &[&zl(&["a", "1", "b"])]),
        ),
        (
            "a field twice in a listpack",
            sealed(16, 10, &[&lp(&["a", "1", "a", "2"])]),
        ),
        (
            "a field without a value in a listpack",
            sealed(16, 10, &[&lp(&["a"])]),
        ),
        ("no hash in a listpack", sealed(16, 10, &[&lp(&[])])),
        (
            "deadlines out of order",
            sealed(
                25,
                12,
                &[
                    &millis(5),
                    &lp(&["a", "1", "9000000000006", "b", "1", "9000000000005"]),
                ],
            ),
        ),
        (
            "a deadline that is text",
            sealed(25, 12, &[&millis(5), &lp(&["a", "1", "x"])]),
        ),
        (
            "a deadline out of range",
            sealed(
                22,
                12,
                &[&[1, 0x81, 1, 0, 0, 0, 0, 0, 0, 0], &raws(&["a", "1"])],
            ),
        ),
        (
            "deadlines that overflow",
            sealed(
                24,
                12,
                &[
                    &millis(5),
                    &[1, 0x81, 255, 255, 255, 255, 255, 255, 255, 255],
                    &raws(&["a", "1"]),
                ],
            ),
        ),
        ("no sorted set", sealed(5, 8, &[&[0]])),
        (
            "a score that is no number",
            sealed(5, 8, &[&[1], &raw(b"a"), &f64::NAN.to_le_bytes()]),
        ),
        (
            "an old score that is no number",
            sealed(3, 6, &[&zset(&[("a", "nan")])]),
        ),
        (
            "an old score that is text",
            sealed(3, 6, &[&zset(&[("a", "x")])]),
        ),
        (
            "a sorted member twice",
            sealed(3, 6, &[&zset(&[("a", "1"), ("a", "2")])]),
        ),
        (
            "a sorted member twice in a listpack",
            sealed(17, 10, &[&lp(&["a", "1", "a", "2"])]),
        ),
        (
            "a sorted member without a score",
            sealed(17, 10, &[&lp(&["a", "1", "b"])]),
        ),
        (
            "a score in a listpack that is text",
            sealed(17, 10, &[&lp(&["a", "x"])]),
        ),
        (
            "a score in a listpack that is no number",
            sealed(17, 10, &[&lp(&["a", "nan"])]),
        ),
        (
            "scores out of order",
            sealed(17, 10, &[&lp(&["a", "2", "b", "1"])]),
        ),
        (
            "members out of order",
            sealed(12, 6, &[&zl(&["b", "1", "a", "1"])]),
        ),
        (
            "nodes that overlap",
            sealed(15, 9, &[&overlapping, &[4, 2, 0, 0]]),
        ),
        (
            "a stream of another length",
            sealed(15, 9, &[&nodes, &[3, 2, 0, 0]]),
        ),
        (
            "entries above the last id",
            sealed(15, 9, &[&nodes, &[2, 1, 0, 0]]),
        ),
        (
            "fewer added than there are",
            sealed(19, 10, &[&nodes, &[2, 2, 0, 1, 0, 0, 0, 1, 0]]),
        ),
        (
            "a group twice",
            sealed(19, 10, &[&nodes, COUNTED_2, &[2], &twice]),
        ),
        (
            "a pending entry without an owner",
            sealed(19, 10, &[&nodes, COUNTED_2, &[1], &unowned]),
        ),
        (
            "an owned entry that is not pending",
            sealed(19, 10, &[&nodes, COUNTED_2, &[1], &unknown]),
        ),
        (
            "a pending entry with two owners",
            sealed(19, 10, &[&nodes, COUNTED_2, &[1], &two_owners.concat()]),
        ),
        ("a value of a module", sealed(7, 10, &[&[1, 2, 3]])),
        ("a tag that does not exist", sealed(99, 10, &[&raw(b"x")])),
        ("no tag", {
            let mut out = Vec::new();
            payload::seal(&mut out, 10);
            out
        }),
    ]
}
