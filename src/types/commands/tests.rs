use super::*;
use crate::ds::table::Seed;
use crate::resp::{self, parse_reply};
use crate::types::stream::{Group, NodeLimits, Stream, StreamId};
use crate::types::{DataType as _, hash, list, set, zset};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Words = Vec<Vec<u8>>;

/// The commands that make a value, each as its words.
fn told(value: Value, deadline: Option<i64>) -> Vec<Words> {
    // What is in front stays.
    let mut out = b"before".to_vec();
    write(b"k", &value, deadline, &mut out);
    let mut rest = out.strip_prefix(b"before").unwrap();
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (command, used) = parse_reply(rest).unwrap().unwrap();
        let resp::Value::Array(words) = command else {
            panic!("{command:?} is no command");
        };
        let word = |word: resp::Value| match word {
            resp::Value::Bulk(bytes) => bytes,
            other => panic!("{other:?} is no word"),
        };
        all.push(words.into_iter().map(word).collect());
        rest = &rest[used..];
    }
    all
}

fn lines(value: Value) -> Vec<String> {
    let line = |words: Words| String::from_utf8(words.join(&b' ')).unwrap();
    told(value, None).into_iter().map(line).collect()
}

fn seed() -> Seed {
    Seed::random(|| 7)
}

fn elements() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let element = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(element, 1..300)
}

/// What the commands of this name say behind the key, each of as many elements as it may.
fn said(commands: &[Words], name: &str, width: usize) -> Words {
    let (last, others) = commands.split_last().unwrap();
    assert!(others.iter().all(|words| words.len() == 2 + BATCH * width));
    assert!((2 + width..=2 + BATCH * width).contains(&last.len()));
    for words in commands {
        assert_eq!(words[..2], [name.as_bytes(), b"k"]);
    }
    commands.iter().flat_map(|w| w[2..].to_vec()).collect()
}

proptest! {
    #[test]
    fn every_element_is_told_once(elements in elements(), few in any::<bool>()) {
        let entries = if few { 8 } else { 1000 };
        let limits = list::Limits { fill: 4, depth: 1, ..Default::default() };
        let list = list::List::from_elements(&elements, limits);
        prop_assert_eq!(said(&told(list.into_value(), None), "RPUSH", 1), elements.clone());

        let limits = set::Limits { max_intset: 8, max_packed: entries, max_value: 20, seed: seed() };
        let mut set = set::Set::ints();
        let mut distinct = elements.clone();
        distinct.iter().for_each(|e| _ = set.add(e, limits));
        let mut members = said(&told(set.into_value(), None), "SADD", 1);
        members.sort();
        distinct.sort();
        distinct.dedup();
        prop_assert_eq!(members, distinct);

        let limits = zset::Limits { entries, value: 20, seed: seed() };
        let mut zset = zset::ZSet::new(limits, 0, 0);
        for (n, e) in elements.iter().enumerate() {
            zset.add(e, n as f64 / 3.0, limits);
        }
        let count = zset.len();
        let pairs = said(&told(zset.into_value(), None), "ZADD", 2);
        prop_assert_eq!(pairs.len(), 2 * count);
        for pair in pairs.chunks(2) {
            let score = crate::util::num::parse_f64(&pair[0]).unwrap();
            let place = elements.iter().rposition(|e| *e == pair[1]).unwrap();
            prop_assert_eq!(score, place as f64 / 3.0);
        }
    }

    #[test]
    fn every_field_is_told_with_its_deadline(
        fields in prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 0..4),
            (any::<i16>(), prop::option::of(prop_oneof![1..4i64, Just(1 << 47)])),
            1..300,
        ),
        few in any::<bool>(),
    ) {
        let entries = if few { 8 } else { 1000 };
        let limits = hash::Limits { entries, value: 20, seed: seed() };
        let mut made = Hash::new();
        made.allow_deadlines();
        for (name, (value, deadline)) in &fields {
            made.set(name, value.to_string().as_bytes(), limits);
            made.set_deadline(name, *deadline);
        }
        let commands = told(made.into_value(), None);
        let of_values = commands.iter().filter(|w| w[0] == b"HMSET").count();
        let (values, deadlines) = commands.split_at(of_values);
        let mut again = BTreeMap::new();
        for pair in said(values, "HMSET", 2).chunks(2) {
            again.insert(pair[0].clone(), (pair[1].clone(), None));
        }
        for words in deadlines {
            prop_assert_eq!(&words[..2], &[b"HPEXPIREAT".to_vec(), b"k".to_vec()]);
            prop_assert_eq!(&words[3..5], &[b"FIELDS".to_vec(), (words.len() - 5).to_string().into_bytes()]);
            prop_assert!(words.len() <= 5 + BATCH);
            for name in &words[5..] {
                let field = again.get_mut(name).unwrap();
                prop_assert_eq!(field.1.replace(words[2].clone()), None);
            }
        }
        // As few commands as there can be.
        let most = fields.values().filter(|(_, at)| at.is_some()).count() / BATCH + 4;
        prop_assert!(deadlines.len() <= most);
        let expected: BTreeMap<_, _> = fields.iter().map(|(name, (value, at))| {
            let at = at.map(|at| at.min(LATEST).to_string().into_bytes());
            (name.clone(), (value.to_string().into_bytes(), at))
        }).collect();
        prop_assert_eq!(again, expected);
    }

    #[test]
    fn strings_are_told_with_their_deadline(text in elements(), at in any::<Option<i64>>()) {
        let text = text.concat();
        let mut expected = vec![vec![b"SET".to_vec(), b"k".to_vec(), text.clone()]];
        expected.extend(at.map(|at| {
            vec![b"PEXPIREAT".to_vec(), b"k".to_vec(), at.to_string().into_bytes()]
        }));
        prop_assert_eq!(told(Str::from_bytes(&text).into_value(), at), expected);
    }
}

fn id(ms: u64) -> StreamId {
    StreamId::new(ms, 0)
}

/// A stream with entries of these ids.
fn stream(ids: &[u64]) -> Stream {
    let mut stream = Stream::new();
    for ms in ids {
        let pairs = [(&b"f"[..], &b"v"[..])].into_iter();
        stream
            .append(id(*ms), pairs, NodeLimits::default())
            .unwrap();
    }
    stream
}

#[test]
fn counters_beyond_what_commands_take_are_the_greatest() {
    let mut made = stream(&[1]);
    let most = u64::MAX / 2 + 5;
    made.set_id(id(3), Some(most), None);
    let mut group = Group::new(id(1), Some(most));
    let (no, _) = group.add_consumer(b"c", 5);
    group.restore_pending(id(1), i64::MIN, most, Some(no));
    made.add_group(b"g", group);
    assert_eq!(
        lines(made.into_value()),
        [
            "XADD k 1-0 f v",
            "XSETID k 3-0 ENTRIESADDED 9223372036854775807 MAXDELETEDID 0-0",
            "XGROUP CREATE k g 1-0 ENTRIESREAD 9223372036854775807",
            "XCLAIM k g c 0 1-0 TIME 0 RETRYCOUNT 9223372036854775807 JUSTID FORCE",
        ]
    );
}

#[test]
fn a_place_is_held_only_where_it_can_be_taken_back() {
    let mut made = stream(&[1, 2, 3, 4, 5, 6]);
    for ms in [1, 3] {
        made.delete(id(ms));
    }
    let mut group = Group::new(id(9), None);
    let (no, _) = group.add_consumer(b"c", 5);
    // 0 cannot be added, 1 and 3 were deleted, 2 is there, 7 was never given.
    for ms in [0, 1, 2, 3, 7] {
        group.restore_pending(id(ms), 5, 1, Some(no));
    }
    made.add_group(b"g", group);
    let claim = "XCLAIM k g c 0 0-0 1-0 2-0 3-0 7-0 TIME 5 RETRYCOUNT 1 JUSTID FORCE";
    let told = lines(made.clone().into_value());
    assert_eq!(told[0], "XADD k 1-0 x y");
    assert_eq!(told[2], "XADD k 3-0 x y");
    assert_eq!(told[6], "XSETID k 6-0 ENTRIESADDED 6 MAXDELETEDID 3-0");
    assert_eq!(told[8..], [claim, "XTRIM k MINID 2-0", "XDEL k 3-0"]);

    // Fewer were ever added than would be there.
    made.set_id(id(6), Some(5), None);
    let told = lines(made.into_value());
    assert_eq!(told[2], "XADD k 4-0 f v");
    assert_eq!(told[5], "XSETID k 6-0 ENTRIESADDED 5 MAXDELETEDID 3-0");
    assert_eq!(told[7..], [claim, "XTRIM k MINID 2-0"]);
}
