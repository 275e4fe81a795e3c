use super::*;
use crate::ds::table::Seed;
use crate::types::hash::Hash;
use crate::types::list::{End, List};
use crate::types::set::Set;
use crate::types::stream::{Group, IdmpConfig, NackMode, NodeLimits, Stream, StreamId};
use crate::types::string::Str;
use crate::types::zset::ZSet;
use proptest::prelude::*;

const NOW: i64 = 1_700_000_000_000;

/// Limits that values of a few elements cross.
fn limits() -> Limits {
    let seed = Seed::random(|| 7);
    Limits {
        list: super::super::list::Limits {
            fill: 4,
            depth: 1,
            ..Default::default()
        },
        hash: super::super::hash::Limits {
            entries: 6,
            value: 20,
            seed,
        },
        set: super::super::set::Limits {
            max_intset: 8,
            max_packed: 5,
            max_value: 20,
            seed,
        },
        zset: super::super::zset::Limits {
            entries: 6,
            value: 20,
            seed,
        },
    }
}

/// Through a payload and back.
fn moved(value: Value, compress: bool) -> (Tag, Read) {
    let payload = to_payload(&value, compress);
    let object = payload::open(&payload, true).unwrap();
    let mut r = Reader::new(object);
    let tag = r.tag().unwrap();
    let read = read(tag, &mut r, &limits(), NOW).unwrap();
    assert!(r.left().is_empty());
    (tag, read)
}

fn value(read: Read) -> Value {
    match read {
        Read::Value(value) => value,
        other => panic!("{other:?}"),
    }
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        (-200i64..200).prop_map(|n| n.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..12),
        prop::collection::vec(b'a'..b'c', 0..60),
    ]
}

fn elements() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(element(), 1..25)
}

proptest! {
    #[test]
    fn strings_move(text in element(), compress in any::<bool>()) {
        let (tag, read) = moved(Str::from_bytes(&text).into_value(), compress);
        let read = value(read);
        prop_assert_eq!(tag, Tag::Str);
        prop_assert_eq!(read.encoding(), Str::from_bytes(&text).encoding());
        prop_assert!(matches!(read, Value::Str(s) if s.with(|s| s == text)));
    }

    #[test]
    fn lists_move(all in elements(), compress in any::<bool>()) {
        let mut list = List::new();
        all.iter().for_each(|e| list.push(End::Tail, e, limits().list));
        let (tag, read) = moved(list.into_value(), compress);
        prop_assert_eq!(tag, Tag::ListQuicklist2);
        let Value::List(list) = value(read) else { panic!() };
        let mut found = Vec::new();
        list.for_each(0, usize::MAX, false, |e| {
            found.push(e.to_vec());
            true
        });
        prop_assert_eq!(found, all);
    }

    #[test]
    fn sets_move(all in elements(), compress in any::<bool>()) {
        let mut set = Set::ints();
        all.iter().for_each(|e| _ = set.add(e, limits().set));
        let was = set.encoding();
        let (tag, read) = moved(set.into_value(), compress);
        prop_assert_eq!(tag, if was == "intset" { Tag::SetIntset } else { Tag::Set });
        let Value::Set(set) = value(read) else { panic!() };
        prop_assert_eq!(set.encoding(), was);
        let mut found: Vec<_> = set.iter().map(|e| e.to_vec()).collect();
        let mut all = all;
        found.sort();
        all.sort();
        all.dedup();
        prop_assert_eq!(found, all);
    }

    #[test]
    fn hashes_move_with_their_deadlines(
        all in prop::collection::btree_map(element(), (element(), prop::option::of(1i64..100_000)), 1..12),
        compress in any::<bool>(),
    ) {
        let mut hash = Hash::new();
        for (name, (value, at)) in &all {
            hash.set(name, value, limits().hash);
            if let Some(at) = at {
                hash.set_deadline(name, Some(NOW + at));
            }
        }
        let any = all.values().any(|(_, at)| at.is_some());
        let (tag, read) = moved(hash.into_value(), compress);
        prop_assert_eq!(tag.version(), if any { 12 } else { 10 });
        let Value::Hash(hash) = value(read) else { panic!() };
        prop_assert_eq!(hash.total(), all.len());
        for (name, (value, at)) in &all {
            let entry = hash.entry(name, NOW).unwrap();
            prop_assert_eq!(entry.value.to_vec(), value.clone());
            prop_assert_eq!(entry.deadline, at.map(|at| NOW + at));
        }
    }

    #[test]
    fn sorted_sets_move(
        all in prop::collection::btree_map(element(), prop_oneof![any::<i32>().prop_map(f64::from), any::<f64>()], 1..12),
        compress in any::<bool>(),
    ) {
        let mut zset = ZSet::new(limits().zset, 0, 0);
        let all: Vec<_> = all.into_iter().filter(|(_, score)| !score.is_nan()).collect();
        prop_assume!(!all.is_empty());
        all.iter().for_each(|(member, score)| _ = zset.add(member, *score, limits().zset));
        let was: Vec<_> = zset.iter().map(|(m, s)| (m.to_vec(), s)).collect();
        let (_, read) = moved(zset.into_value(), compress);
        let Value::ZSet(zset) = value(read) else { panic!() };
        let is: Vec<_> = zset.iter().map(|(m, s)| (m.to_vec(), s)).collect();
        prop_assert_eq!(is, was);
    }
}

#[test]
fn fields_whose_time_is_over_stay_behind() {
    let mut hash = Hash::new();
    hash.set(b"gone", b"1", limits().hash);
    hash.set_deadline(b"gone", Some(NOW - 1));
    let (_, read) = moved(hash.clone().into_value(), true);
    assert!(matches!(read, Read::Over));
    hash.set(b"there", b"1", limits().hash);
    let (_, read) = moved(hash.into_value(), true);
    assert!(matches!(value(read), Value::Hash(hash) if hash.total() == 1));
}

#[test]
fn a_hash_that_has_lost_its_deadlines_is_written_without() {
    let mut hash = Hash::new();
    hash.set(b"f", b"v", limits().hash);
    hash.set_deadline(b"f", Some(NOW + 1));
    hash.set_deadline(b"f", None);
    assert_eq!(hash.encoding(), "listpackex");
    let (tag, read) = moved(hash.into_value(), true);
    assert_eq!(tag, Tag::HashListpack);
    assert_eq!(value(read).encoding(), "listpack");
}

/// Entries 1-0, 2-0 and 3-0, of which the group `g` has delivered two to `c`.
fn stream() -> Stream {
    let mut stream = Stream::new();
    for ms in 1..=3 {
        let fields = [(&b"f"[..], &b"v"[..])];
        let id = StreamId::new(ms, 0);
        stream
            .append(id, fields.into_iter(), NodeLimits::default())
            .unwrap();
    }
    let mut group = Group::new(StreamId::new(2, 0), Some(2));
    let (no, _) = group.add_consumer(b"c", NOW);
    group.restore_times(no, NOW, NOW - 5);
    group.restore_pending(StreamId::new(1, 0), NOW, 1, Some(no));
    group.restore_pending(StreamId::new(2, 0), NOW, 2, Some(no));
    stream.add_group(b"g", group);
    stream
}

fn moved_stream(stream: Stream) -> (Tag, Stream) {
    let (tag, read) = moved(stream.into_value(), true);
    match value(read) {
        Value::Stream(stream) => (tag, *stream),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_takes_the_oldest_tag_that_holds_it() {
    let (tag, moved) = moved_stream(stream());
    assert_eq!(tag, Tag::Stream2);
    let group = moved.group(b"g").unwrap();
    let (_, consumer) = group.consumers().next().unwrap();
    // When it was active is not known to 7.0: it was seen then at the latest.
    assert_eq!((consumer.seen(), consumer.active()), (NOW, NOW));
    assert_eq!((group.pending_len(), consumer.pending()), (2, 2));
    assert!(moved.heap_size() <= stream().heap_size());
}

#[test]
fn what_producers_did_moves_with_the_stream() {
    let mut used = stream();
    let idmp = used.idmp_mut(IdmpConfig {
        duration: 60,
        max_size: 7,
    });
    idmp.record(b"p", b"a", StreamId::new(1, 0), 1);
    idmp.record(b"p", b"b", StreamId::new(2, 0), 2);
    idmp.record(b"q", b"a", StreamId::new(3, 0), 3);
    idmp.count_duplicate();
    let (tag, moved) = moved_stream(used.clone());
    assert_eq!((tag, tag.version()), (Tag::Stream4, 13));
    let idmp = moved.idmp().unwrap();
    assert_eq!(idmp.config(), used.idmp().unwrap().config());
    assert_eq!(idmp.totals(), (3, 1));
    assert_eq!(idmp.tracked(3), (2, 3));
    assert_eq!(idmp.peek(b"p", b"b", 3), Some(StreamId::new(2, 0)));
    assert_eq!(idmp.memory(), used.idmp().unwrap().memory());
    // Times of activity have a place there.
    let group = moved.group(b"g").unwrap();
    let (_, consumer) = group.consumers().next().unwrap();
    assert_eq!(consumer.active(), NOW - 5);
}

#[test]
fn entries_handed_back_move_in_their_order() {
    let mut nacked = stream();
    for ms in [2, 1] {
        let id = StreamId::new(ms, 0);
        nacked.with_group(b"g", |log, group| {
            assert!(group.nack(log, id, NackMode::Fail, None, false));
        });
    }
    let (tag, moved) = moved_stream(nacked);
    assert_eq!((tag, tag.version()), (Tag::Stream5, 14));
    assert!(moved.idmp().is_none());
    let group = moved.group(b"g").unwrap();
    let back: Vec<_> = group.handed_back().map(|id| id.ms).collect();
    assert_eq!((back, group.pending_len()), (vec![2, 1], 2));
    let pending = group.pending(StreamId::new(2, 0)).unwrap();
    assert_eq!((pending.owner(), pending.count()), (None, 2));
}
