//! Streams against plain models.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type OwnedPairs = Vec<(Vec<u8>, Vec<u8>)>;

type Model = BTreeMap<StreamId, OwnedPairs>;

fn id(ms: u64, seq: u64) -> StreamId {
    StreamId::new(ms, seq)
}

fn add(s: &mut Stream, at: StreamId, pairs: &[(Vec<u8>, Vec<u8>)], limits: NodeLimits) {
    let fields = pairs.iter().map(|(f, v)| (&f[..], &v[..]));
    s.append(at, fields, limits).unwrap();
}

fn simple(n: u64) -> Stream {
    let mut s = Stream::new();
    for i in 1..=n {
        let value = (b"f".to_vec(), i.to_string().into_bytes());
        add(&mut s, id(i, 0), &[value], limits(3));
    }
    s
}

fn limits(max_entries: u64) -> NodeLimits {
    NodeLimits {
        max_entries,
        max_bytes: 200,
    }
}

fn ids<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Vec<u64> {
    entries.map(|e| e.id.ms).collect()
}

fn content<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Vec<(StreamId, OwnedPairs)> {
    let pairs = |e: Entry<'_>| e.fields.map(|(f, v)| (f.to_vec(), v.to_vec())).collect();
    entries.map(|e| (e.id, pairs(e))).collect()
}

/// Recounts everything that is kept in running totals.
fn check(s: &Stream) {
    let bytes: usize = s.log.nodes.iter().map(|(_, n)| n.bytes()).sum();
    assert_eq!(s.log.node_bytes, bytes);
    assert_eq!(
        s.log.len,
        s.log.nodes.iter().map(|(_, n)| n.live()).sum::<u64>()
    );
    let first = s.log.range(StreamId::MIN, StreamId::MAX).next();
    assert_eq!(s.log.first_id, first.map_or(StreamId::MIN, |e| e.id));
    for (own, node) in s.log.nodes() {
        assert!(Node::from_bytes(node.as_bytes().to_vec(), own).is_ok());
    }
    let groups: usize = s
        .groups()
        .map(|(name, g)| name.len() + GROUP_OVERHEAD + g.memory())
        .sum();
    assert_eq!(s.group_bytes, groups);
    s.groups().for_each(|(_, g)| g.check());
}

#[derive(Clone, Debug)]
enum Op {
    Add(u64, Vec<(Vec<u8>, Vec<u8>)>),
    Delete(u64),
    MaxLen(u64),
    MinId(u64),
    Range(u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let name = prop_oneof![
        Just(b"a".to_vec()),
        Just(b"b".to_vec()),
        Just(b"17".to_vec())
    ];
    let value = prop_oneof![
        any::<i32>().prop_map(|n| n.to_string().into_bytes()),
        proptest::collection::vec(any::<u8>(), 0..70),
    ];
    prop_oneof![
        6 => (1u64..4, proptest::collection::vec((name, value), 1..4)).prop_map(|(d, f)| Op::Add(d, f)),
        3 => (0u64..120).prop_map(Op::Delete),
        1 => (0u64..60).prop_map(Op::MaxLen),
        1 => (0u64..120).prop_map(Op::MinId),
        1 => (0u64..120, 0u64..120).prop_map(|(a, b)| Op::Range(a, b)),
    ]
}

fn trim(threshold: Threshold) -> Trim {
    Trim {
        threshold,
        approx: false,
        limit: 0,
        refs: Refs::Keep,
    }
}

/// Ids as the model draws them: the sequence varies too, so that deltas within a node go below zero.
fn spread(n: u64) -> StreamId {
    id(n / 3, [5, 6, u64::MAX][usize::try_from(n % 3).unwrap()])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_log_behaves_like_a_btreemap(
        ops in proptest::collection::vec(op(), 0..80),
        per_node in 1u64..6,
    ) {
        let (mut s, mut model) = (Stream::new(), Model::new());
        let mut top = 0;
        for op in ops {
            match op {
                Op::Add(step, fields) => {
                    top += step;
                    add(&mut s, spread(top), &fields, limits(per_node));
                    model.insert(spread(top), fields);
                }
                Op::Delete(n) => prop_assert_eq!(s.delete(spread(n)), model.remove(&spread(n)).is_some()),
                Op::MaxLen(n) => {
                    let gone = s.trim(&trim(Threshold::MaxLen(n)));
                    let before = model.len() as u64;
                    while model.len() as u64 > n { model.pop_first(); }
                    prop_assert_eq!(gone, before - model.len() as u64);
                }
                Op::MinId(n) => {
                    let gone = s.trim(&trim(Threshold::MinId(spread(n))));
                    let rest = model.split_off(&spread(n));
                    prop_assert_eq!(gone, model.len() as u64);
                    model = rest;
                }
                Op::Range(a, b) => {
                    let (a, b) = (spread(a), spread(b));
                    let expected: Vec<_> = model.iter().filter(|(k, _)| **k >= a && **k <= b)
                        .map(|(k, v)| (*k, v.clone())).collect();
                    prop_assert_eq!(content(s.log().range(a, b)), expected.clone());
                    let back: Vec<_> = expected.into_iter().rev().collect();
                    prop_assert_eq!(content(s.log().range_back(a, b)), back);
                    prop_assert_eq!(s.log().contains(a), model.contains_key(&a));
                }
            }
            check(&s);
            prop_assert_eq!(s.len(), model.len() as u64);
        }
        let all: Vec<_> = model.iter().map(|(k, v)| (*k, v.clone())).collect();
        prop_assert_eq!(content(s.log().range(StreamId::MIN, StreamId::MAX)), all);
        prop_assert_eq!(s.log().top_id(), model.last_key_value().map_or(StreamId::MIN, |(k, _)| *k));
    }
}

#[test]
fn ids_rise_and_run_out() {
    let mut s = simple(1);
    let log = s.log();
    assert_eq!(log.new_id(NewId::Auto, 5), Ok(id(5, 0)));
    assert_eq!(log.new_id(NewId::Auto, 1), Ok(id(1, 1)));
    assert_eq!(log.new_id(NewId::AutoSeq(1), 0), Ok(id(1, 1)));
    assert_eq!(log.new_id(NewId::AutoSeq(2), 0), Ok(id(2, 0)));
    assert_eq!(log.new_id(NewId::AutoSeq(0), 0), Err(AppendError::NotAbove));
    assert_eq!(
        log.new_id(NewId::Exact(id(1, 0)), 0),
        Err(AppendError::NotAbove)
    );
    assert_eq!(
        Stream::new().log().new_id(NewId::AutoSeq(0), 0),
        Ok(id(0, 1))
    );
    s.set_id(StreamId::MAX, None, None);
    assert_eq!(s.log().new_id(NewId::Auto, 5), Err(AppendError::Exhausted));
}

#[test]
fn approximate_trims_take_whole_nodes_within_the_limit() {
    let approx = |max, limit| Trim {
        approx: true,
        limit,
        ..trim(Threshold::MaxLen(max))
    };
    let mut s = simple(10);
    assert_eq!(s.trim(&approx(5, 2)), 0);
    assert_eq!(s.trim(&approx(5, 5)), 3);
    assert_eq!(s.trim(&approx(5, 100)), 0);
    assert_eq!(s.trim(&approx(4, 100)), 3);
    let below = Trim {
        approx: true,
        ..trim(Threshold::MinId(id(10, 0)))
    };
    assert_eq!(s.trim(&below), 3);
    assert_eq!(ids(s.log().range(StreamId::MIN, StreamId::MAX)), [10]);
    check(&s);
}

fn group(s: &mut Stream, name: &[u8]) {
    assert!(s.add_group(name, Group::new(StreamId::MIN, None)));
}

fn read(s: &mut Stream, name: &[u8], consumer: &[u8], now: i64, count: Option<u64>) -> Vec<u64> {
    deliver(s, name, consumer, now, count, None)
        .into_iter()
        .map(|(id, ..)| id)
        .collect()
}

fn deliver(
    s: &mut Stream,
    name: &[u8],
    consumer: &[u8],
    now: i64,
    count: Option<u64>,
    claim: Option<i64>,
) -> Vec<(u64, i64, u64)> {
    let mut got = vec![];
    s.with_group(name, |log, g| {
        let to = g.add_consumer(consumer, now).0;
        let how = Deliver {
            to,
            now,
            noack: false,
            count,
            claim,
        };
        g.deliver(log, &how, |d| {
            got.push((d.id.ms, d.idle, d.count));
            true
        });
    });
    got
}

fn terms(g: &Group, name: &[u8], min_idle: i64, now: i64) -> Claim {
    Claim {
        to: g.find_consumer(name).unwrap(),
        min_idle,
        time: now,
        count: None,
        force: false,
        just_id: false,
        now,
    }
}

#[test]
fn entries_are_delivered_once_and_pend_until_acknowledged() {
    let mut s = simple(5);
    group(&mut s, b"g");
    assert_eq!(read(&mut s, b"g", b"a", 10, Some(2)), [1, 2]);
    assert_eq!(read(&mut s, b"g", b"b", 11, None), [3, 4, 5]);
    assert_eq!(read(&mut s, b"g", b"b", 11, None), [0u64; 0]);
    let g = s.group(b"g").unwrap();
    assert_eq!(
        (g.entries_read(), s.log().lag(g.last_id(), g.entries_read())),
        (Some(5), Some(0))
    );
    let owned = |g: &Group, name: &[u8]| {
        g.consumer(g.find_consumer(name).unwrap())
            .unwrap()
            .pending()
    };
    assert_eq!((owned(g, b"a"), owned(g, b"b"), g.pending_len()), (2, 3, 5));
    assert_eq!(
        s.with_group(b"g", |_, g| (g.ack(id(1, 0)), g.ack(id(1, 0)))),
        Some((true, false))
    );
    assert_eq!(
        s.with_group(b"g", |_, g| g.remove_consumer(b"b")),
        Some(Some(3))
    );
    assert_eq!(
        s.group(b"g").unwrap().pending_edges(),
        Some((id(2, 0), id(2, 0)))
    );
    check(&s);
}

#[test]
fn going_back_reassigns_what_is_pending() {
    let mut s = simple(2);
    group(&mut s, b"g");
    read(&mut s, b"g", b"a", 10, None);
    s.with_group(b"g", |_, g| g.set_id(StreamId::MIN, None));
    assert_eq!(read(&mut s, b"g", b"b", 20, Some(1)), [1]);
    let g = s.group(b"g").unwrap();
    let pending = g.pending(id(1, 0)).unwrap();
    assert_eq!(
        (pending.owner(), pending.time(), pending.count()),
        (g.find_consumer(b"b"), 20, 1)
    );
    check(&s);
}

#[test]
fn the_longest_idle_come_first() {
    let mut s = simple(4);
    group(&mut s, b"g");
    read(&mut s, b"g", b"a", 10, Some(1));
    read(&mut s, b"g", b"a", 20, Some(2));
    s.delete(id(2, 0));
    assert_eq!(
        deliver(&mut s, b"g", b"b", 30, Some(1), Some(15)),
        [(1, 20, 1)]
    );
    assert_eq!(
        deliver(&mut s, b"g", b"b", 40, None, Some(15)),
        [(3, 20, 1), (4, 0, 0)]
    );
    let g = s.group(b"g").unwrap();
    assert_eq!((g.pending_len(), g.idle_at(5)), (3, Some(35)));
    assert_eq!(
        deliver(&mut s, b"g", b"b", 41, None, Some(0)),
        [(1, 11, 2), (3, 1, 2), (4, 1, 1)]
    );
    check(&s);
}

#[test]
fn handed_back_entries_go_first_in_order() {
    let mut s = simple(3);
    group(&mut s, b"g");
    read(&mut s, b"g", b"a", 10, None);
    let back = |s: &mut Stream, n, mode| {
        s.with_group(b"g", |log, g| g.nack(log, id(n, 0), mode, None, false))
            .unwrap()
    };
    assert!(back(&mut s, 3, NackMode::Fail) && back(&mut s, 1, NackMode::Silent));
    assert!(back(&mut s, 3, NackMode::Fatal) && !back(&mut s, 9, NackMode::Fail));
    let g = s.group(b"g").unwrap();
    let pending = g.pending(id(1, 0)).unwrap();
    assert_eq!(
        (
            pending.owner(),
            pending.time(),
            pending.idle(99),
            pending.count()
        ),
        (None, 0, -1, 0)
    );
    assert_eq!(g.nacked(), 2);
    let max = i64::MAX.cast_unsigned();
    assert_eq!(
        deliver(&mut s, b"g", b"b", 20, None, Some(1000)),
        [(1, -1, 0), (3, -1, max)]
    );
    assert_eq!(s.group(b"g").unwrap().nacked(), 0);
    check(&s);
}

#[test]
fn claims_take_idle_entries_and_drop_deleted_ones() {
    let mut s = simple(4);
    group(&mut s, b"g");
    read(&mut s, b"g", b"a", 10, Some(3));
    s.delete(id(2, 0));
    s.with_group(b"g", |log, g| {
        g.add_consumer(b"b", 20);
        let t = terms(g, b"b", 10, 20);
        assert_eq!(g.claim(log, id(1, 0), &t), Claimed::Yes);
        assert_eq!(g.claim(log, id(1, 0), &t), Claimed::No);
        assert_eq!(g.claim(log, id(2, 0), &t), Claimed::Dropped);
        assert_eq!(g.claim(log, id(4, 0), &t), Claimed::No);
        let force = Claim {
            force: true,
            just_id: true,
            ..t
        };
        assert_eq!(g.claim(log, id(4, 0), &force), Claimed::Yes);
        assert_eq!(g.pending(id(4, 0)).map(Pending::count), Some(1));
        assert_eq!(g.pending(id(1, 0)).map(Pending::count), Some(2));
    });
    check(&s);
    let found = s
        .with_group(b"g", |log, g| {
            g.autoclaim(log, StreamId::MIN, 1, &terms(g, b"b", 5, 20))
        })
        .unwrap();
    assert_eq!((found.cursor, found.claimed), (id(4, 0), vec![id(3, 0)]));
    check(&s);
}

#[test]
fn policies_decide_about_references() {
    let mut s = simple(6);
    assert_eq!(s.delete_ex(id(6, 0), Refs::Acked), DeletedEx::Needed);
    group(&mut s, b"g");
    group(&mut s, b"h");
    read(&mut s, b"g", b"a", 10, None);
    read(&mut s, b"h", b"a", 10, Some(3));
    assert_eq!(s.ack_delete(b"g", id(1, 0), Refs::Acked), DeletedEx::Needed);
    assert_eq!(
        s.ack_delete(b"g", id(1, 0), Refs::Acked),
        DeletedEx::Missing {
            refs_dropped: false
        }
    );
    assert_eq!(
        s.ack_delete(b"h", id(1, 0), Refs::Acked),
        DeletedEx::Deleted
    );
    assert_eq!(s.delete_ex(id(2, 0), Refs::Delete), DeletedEx::Deleted);
    assert_eq!(s.group(b"h").unwrap().pending_len(), 1);
    s.delete(id(3, 0));
    assert_eq!(
        s.delete_ex(id(3, 0), Refs::Delete),
        DeletedEx::Missing { refs_dropped: true }
    );
    assert!(s.group(b"h").unwrap().pending_edges().is_none());
    let acked = Trim {
        refs: Refs::Acked,
        ..trim(Threshold::MaxLen(0))
    };
    s.with_group(b"g", |_, g| g.ack(id(5, 0)));
    assert_eq!(s.trim(&acked), 0);
    read(&mut s, b"h", b"a", 10, None);
    s.with_group(b"h", |_, g| g.ack(id(5, 0)));
    assert_eq!(s.trim(&acked), 1);
    assert_eq!(ids(s.log().range(StreamId::MIN, StreamId::MAX)), [4, 6]);
    check(&s);
}

#[test]
fn clones_share_until_written() {
    let mut s = simple(10);
    group(&mut s, b"g");
    read(&mut s, b"g", b"a", 10, Some(5));
    let frozen = s.clone();
    s.delete(id(1, 0));
    add(
        &mut s,
        id(11, 0),
        &[(b"f".to_vec(), b"x".to_vec())],
        limits(100),
    );
    s.with_group(b"g", |_, g| g.ack(id(2, 0)));
    assert_eq!(
        ids(frozen.log().range(StreamId::MIN, StreamId::MAX)).len(),
        10
    );
    assert_eq!(frozen.group(b"g").unwrap().pending_len(), 5);
    check(&s);
    check(&frozen);
}

#[test]
fn a_pending_entry_costs_less_than_sixteen_bytes() {
    let mut s = Stream::new();
    for i in 1..=20_000u64 {
        add(
            &mut s,
            id(i, 0),
            &[(b"f".to_vec(), b"v".to_vec())],
            NodeLimits::default(),
        );
    }
    group(&mut s, b"g");
    let before = s.memory();
    for now in 0..200 {
        read(
            &mut s,
            b"g",
            [b"a", b"b", b"c"][now % 3],
            now as i64,
            Some(100),
        );
    }
    assert!((s.memory() - before) / 20_000 < 16);
    check(&s);
}

#[derive(Clone, Debug)]
enum GroupOp {
    Read(u8, u64, bool),
    Ack(u64),
    Claim(u8, u64, i64, bool, bool),
    Auto(u8, u64, u64, i64),
    Nack(u64, bool),
    Again(u8, u64),
    Gone(u8),
    Delete(u64),
    Add,
}

fn group_op() -> impl Strategy<Value = GroupOp> {
    prop_oneof![
        3 => (0u8..3, 1u64..5, any::<bool>()).prop_map(|(c, n, k)| GroupOp::Read(c, n, k)),
        3 => (0u64..40).prop_map(GroupOp::Ack),
        2 => (0u8..3, 0u64..40, 0i64..6, any::<bool>(), any::<bool>())
            .prop_map(|(c, n, i, f, j)| GroupOp::Claim(c, n, i, f, j)),
        2 => (0u8..3, 0u64..40, 1u64..4, 0i64..6).prop_map(|(c, s, n, i)| GroupOp::Auto(c, s, n, i)),
        1 => (0u64..40, any::<bool>()).prop_map(|(n, f)| GroupOp::Nack(n, f)),
        1 => (0u8..3, 0u64..40).prop_map(|(c, n)| GroupOp::Again(c, n)),
        1 => (0u8..3).prop_map(GroupOp::Gone),
        1 => (0u64..40).prop_map(GroupOp::Delete),
        4 => Just(GroupOp::Add),
    ]
}

/// Owner (none once handed back), time, deliveries.
type Pel = BTreeMap<u64, (Option<u8>, i64, u64)>;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn groups_behave_like_a_plain_table(ops in proptest::collection::vec(group_op(), 0..120)) {
        let mut s = Stream::new();
        group(&mut s, b"g");
        let (mut pel, mut alive, mut last, mut top) = (Pel::new(), std::collections::BTreeSet::new(), 0, 0);
        for (now, op) in ops.into_iter().enumerate() {
            let now = now as i64;
            let idle = |p: &(Option<u8>, i64, u64), min: i64| p.0.is_none() || now - p.1 >= min;
            match op {
                GroupOp::Add => {
                    top += 1;
                    alive.insert(top);
                    add(&mut s, id(top, 0), &[(b"f".to_vec(), b"v".to_vec())], limits(4));
                }
                GroupOp::Delete(n) => { alive.remove(&n); s.delete(id(n, 0)); }
                GroupOp::Read(c, n, noack) => {
                    let got: Vec<u64> = alive.range(last + 1..).take(n as usize).copied().collect();
                    let mut seen = vec![];
                    s.with_group(b"g", |log, g| {
                        let to = g.add_consumer(&[c], now).0;
                        let how = Deliver { to, now, noack, count: Some(n), claim: None };
                        g.deliver(log, &how, |d| { seen.push(d.id.ms); true });
                    });
                    prop_assert_eq!(&seen, &got);
                    last = got.last().copied().unwrap_or(last);
                    if !noack { pel.extend(got.into_iter().map(|n| (n, (Some(c), now, 1)))); }
                }
                GroupOp::Ack(n) => {
                    let acked = s.with_group(b"g", |_, g| g.ack(id(n, 0)));
                    prop_assert_eq!(acked, Some(pel.remove(&n).is_some()));
                }
                GroupOp::Claim(c, n, min, force, just_id) => {
                    s.with_group(b"g", |log, g| {
                        g.add_consumer(&[c], now);
                        let t = Claim { force, just_id, ..terms(g, &[c], min, now) };
                        g.claim(log, id(n, 0), &t);
                    });
                    if !alive.contains(&n) {
                        pel.remove(&n);
                    } else if force || pel.contains_key(&n) {
                        let had = pel.get(&n).copied();
                        if had.is_none_or(|p| idle(&p, min)) {
                            let count = had.map_or(1, |p| p.2) + u64::from(!just_id);
                            pel.insert(n, (Some(c), now, count));
                        }
                    }
                }
                GroupOp::Auto(c, start, count, min) => {
                    let found = s.with_group(b"g", |log, g| {
                        g.add_consumer(&[c], now);
                        g.autoclaim(log, id(start, 0), count, &terms(g, &[c], min, now))
                    }).unwrap();
                    let (mut left, mut attempts, mut cursor) = (count, count * 10, 0);
                    for n in pel.range(start..).map(|(n, _)| *n).collect::<Vec<_>>() {
                        if left == 0 || attempts == 0 { cursor = n; break; }
                        attempts -= 1;
                        if !alive.contains(&n) {
                            pel.remove(&n);
                            left -= 1;
                        } else if idle(&pel[&n], min) {
                            let count = pel[&n].2 + 1;
                            pel.insert(n, (Some(c), now, count));
                            left -= 1;
                        }
                    }
                    prop_assert_eq!(found.cursor, id(cursor, 0));
                }
                GroupOp::Nack(n, force) => {
                    s.with_group(b"g", |log, g| g.nack(log, id(n, 0), NackMode::Fail, None, force));
                    if pel.contains_key(&n) || (force && alive.contains(&n)) {
                        let count = pel.get(&n).map_or(0, |p| p.2);
                        pel.insert(n, (None, 0, count));
                    }
                }
                GroupOp::Again(c, from) => {
                    let mut got = vec![];
                    s.with_group(b"g", |log, g| {
                        let to = g.add_consumer(&[c], now).0;
                        g.deliver_again(log, to, id(from, 0), Some(3), now, |d| {
                            got.push((d.id.ms, d.fields.is_some()));
                            true
                        });
                    });
                    let own = pel.range(from..).filter(|(_, p)| p.0 == Some(c)).take(3);
                    let expected: Vec<_> = own.map(|(n, _)| (*n, alive.contains(n))).collect();
                    for (n, there) in &expected {
                        let p = pel[n];
                        if *there { pel.insert(*n, (p.0, now, p.2 + 1)); }
                    }
                    prop_assert_eq!(got, expected);
                }
                GroupOp::Gone(c) => {
                    s.with_group(b"g", |_, g| g.remove_consumer(&[c]));
                    pel.retain(|_, p| p.0 != Some(c));
                }
            }
            let g = s.group(b"g").unwrap();
            let name = |p: &Pending| p.owner().map(|no| g.consumer(no).unwrap().name()[0]);
            let real: Pel = g.pending_range(StreamId::MIN, StreamId::MAX, None)
                .map(|(id, p)| (id.ms, (name(&p), p.time(), p.count()))).collect();
            prop_assert_eq!(&real, &pel);
            check(&s);
        }
    }
}
