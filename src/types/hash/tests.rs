use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::util::rng::Rng;

const NOW: i64 = 1_000;

fn limits(entries: usize, value: usize) -> Limits {
    Limits {
        entries,
        value,
        seed: Seed::random(|| 7),
    }
}

fn of(fields: &[(&str, &str)], limits: Limits) -> Hash {
    let mut hash = Hash::new();
    for (name, value) in fields {
        hash.set(name.as_bytes(), value.as_bytes(), limits);
    }
    hash
}

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

fn contents(hash: &Hash, now: i64) -> Model {
    let mut model = Model::new();
    for entry in hash.iter(now) {
        let before = model.insert(entry.name.to_vec(), (entry.value.to_vec(), entry.deadline));
        assert_eq!(before, None, "no name comes twice");
    }
    model
}

fn names(hash: &Hash) -> Vec<String> {
    let name = |e: Entry<'_>| String::from_utf8(e.name.to_vec()).unwrap();
    hash.iter(NOW).map(name).collect()
}

#[test]
fn a_listpack_becomes_a_table_when_redis_says_so() {
    let small = limits(2, 4);
    let mut hash = of(&[("a", "1"), ("b", "2")], small);
    assert_eq!(hash.encoding(), "listpack");
    hash.set(b"b", b"3333", small);
    assert_eq!(hash.encoding(), "listpack");
    hash.clone().set(b"c", b"1", small);
    let mut other = hash.clone();
    other.set(b"b", b"33333", small);
    assert_eq!(other.encoding(), "hashtable");
    hash.set(b"c", b"1", small);
    assert_eq!(hash.encoding(), "hashtable");
    hash.remove(b"a");
    hash.remove(b"b");
    assert_eq!((hash.encoding(), hash.len(NOW)), ("hashtable", 1));
    // So many words at once, though they name one field.
    let mut hash = Hash::new();
    let words: [&[u8]; 6] = [b"a", b"1", b"a", b"2", b"a", b"3"];
    hash.prepare(words.into_iter(), small);
    assert_eq!(hash.encoding(), "hashtable");
    let mut hash = Hash::new();
    hash.prepare([b"a".as_slice(), b"12345"].into_iter(), small);
    assert_eq!(hash.encoding(), "hashtable");
    // A limit that became lower is noticed by whatever is set.
    let mut hash = of(&[("a", "1"), ("b", "2"), ("c", "3")], limits(9, 9));
    assert!(!hash.update(b"a", b"1", small));
    assert_eq!(hash.encoding(), "hashtable");
    // No field at all fits.
    assert_eq!(of(&[("a", "1")], limits(0, 64)).encoding(), "hashtable");
}

#[test]
fn entries_with_deadlines_stand_as_redis_has_them() {
    let mut hash = of(
        &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")],
        limits(9, 9),
    );
    hash.allow_deadlines();
    assert_eq!(hash.encoding(), "listpackex");
    assert!(hash.set_deadline(b"c", Some(NOW + 5)));
    assert!(hash.set_deadline(b"d", Some(NOW + 2)));
    assert_eq!(names(&hash), ["d", "c", "a", "b"]);
    assert!(hash.set_deadline(b"a", Some(NOW + 5)));
    assert_eq!(names(&hash), ["d", "a", "c", "b"]);
    assert!(hash.set_deadline(b"d", None));
    assert_eq!(names(&hash), ["a", "c", "b", "d"]);
    hash.set(b"a", b"5", limits(9, 9));
    assert_eq!(names(&hash), ["c", "b", "d", "a"]);
    hash.update(b"c", b"6", limits(9, 9));
    assert_eq!(names(&hash), ["c", "b", "d", "a"]);
    assert_eq!(hash.next_deadline(), Some(NOW + 5));
    assert!(!hash.set_deadline(b"nosuch", Some(NOW)));
    let again = Hash::from_timed(&hash.to_listpack(true)).unwrap();
    assert_eq!(contents(&again, NOW), contents(&hash, NOW));
}

#[test]
fn what_is_over_is_not_seen_and_goes_in_order() {
    for entries in [9, 0] {
        let mut hash = of(&[("a", "1"), ("b", "2"), ("7", "3")], limits(entries, 9));
        hash.set_deadline(b"7", Some(NOW + 1));
        hash.set_deadline(b"a", Some(NOW + 2));
        let later = NOW + 3;
        assert_eq!(
            (hash.len(NOW), hash.len(NOW + 1), hash.len(NOW + 2)),
            (3, 3, 2)
        );
        assert_eq!((hash.len(later), hash.total()), (1, 3));
        assert_eq!(hash.get(b"7", later), None);
        assert!(hash.get(b"7", NOW + 1).is_some());
        assert_eq!(contents(&hash, later).len(), 1);
        assert!(!hash.is_over(later));
        hash.set_deadline(b"b", Some(NOW + 2));
        assert!(hash.is_over(later) && !hash.is_over(NOW + 2));
        hash.set_deadline(b"b", None);
        let mut gone = Vec::new();
        assert_eq!(hash.expire(later, 1, |name| gone.push(name.to_vec())), 1);
        assert_eq!(hash.expire(later, 9, |name| gone.push(name.to_vec())), 1);
        assert_eq!(gone, [b"7", b"a"]);
        assert_eq!((hash.next_deadline(), hash.total()), (None, 1));
    }
}

#[test]
fn listpacks_from_outside_are_checked() {
    let of = |items: &[&str]| {
        let mut lp = Listpack::new();
        items.iter().for_each(|item| lp.push(item.as_bytes()));
        lp
    };
    assert!(Hash::from_packed(&of(&["a", "1", "b", "1"])).is_ok());
    assert!(Hash::from_packed(&of(&["a", "1", "a", "2"])).is_err());
    assert!(Hash::from_packed(&of(&["a", "1", "b"])).is_err());
    assert!(Hash::from_timed(&of(&["a", "1", "5", "b", "1", "5", "c", "1", "0"])).is_ok());
    assert!(Hash::from_timed(&of(&["a", "1", "0", "b", "1", "5"])).is_err());
    assert!(Hash::from_timed(&of(&["a", "1", "6", "b", "1", "5"])).is_err());
    assert!(Hash::from_timed(&of(&["a", "1", "-6"])).is_err());
    assert!(Hash::from_timed(&of(&["a", "1", "x"])).is_err());
    assert!(Hash::from_timed(&of(&["a", "1"])).is_err());
    assert!(Hash::from_timed(&of(&["a", "1", "5", "a", "1", "5"])).is_err());
}

#[test]
fn draws_are_fair_and_samples_whole() {
    let mut rng = Rng::seed_from_u64(5);
    for (entries, n) in [(100, 20), (0, 20), (0, 400)] {
        let mut hash = Hash::new();
        for i in 0..n {
            hash.set(format!("f{i}").as_bytes(), b"v", limits(entries, 9));
        }
        // One that is over, in the way.
        if n == 20 {
            hash.set(b"gone", b"v", limits(entries, 9));
            hash.set_deadline(b"gone", Some(1));
        }
        let mut drawn = BTreeMap::new();
        let mut left = n * 100;
        hash.draw(NOW, &mut rng, |entry| {
            *drawn.entry(entry.name.to_vec()).or_insert(0) += 1;
            left -= 1;
            left > 0
        });
        assert_eq!(drawn.len(), n);
        assert!(
            drawn.values().all(|&times| (50..160).contains(&times)),
            "{drawn:?}"
        );
        let mut sampled = BTreeMap::new();
        for count in [0, 1, 5, n - 1, n, n + 1] {
            for _ in 0..50 {
                let mut seen = BTreeSet::new();
                hash.sample(count, NOW, &mut rng, |entry| {
                    assert!(seen.insert(entry.name.to_vec()));
                    *sampled.entry(entry.name.to_vec()).or_insert(0) += 1;
                });
                assert_eq!(seen.len(), count.min(n));
            }
        }
        assert_eq!(sampled.len(), n);
    }
}

fn recounted(hash: &Hash) -> usize {
    match hash {
        Hash::Packed(pack) => pack.recounted(),
        Hash::Table(fields) => fields.recounted(),
    }
}

fn word() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(b'a'..b'd', 0..3),
        (-300i64..300).prop_map(|n| n.to_string().into_bytes()),
        Just(vec![b'x'; 30]),
        Just(vec![b'y'; 70]),
    ]
}

#[derive(Clone, Debug)]
enum Op {
    Set(Vec<u8>, Vec<u8>),
    Update(Vec<u8>, Vec<u8>),
    Remove(Vec<u8>),
    Deadline(Vec<u8>, Option<i64>),
    Expire(i64, usize),
    Allow,
}

fn op() -> impl Strategy<Value = Op> {
    let at = prop_oneof![Just(None), (NOW..NOW + 20).prop_map(Some)];
    prop_oneof![
        4 => (word(), word()).prop_map(|(n, v)| Op::Set(n, v)),
        2 => (word(), word()).prop_map(|(n, v)| Op::Update(n, v)),
        2 => word().prop_map(Op::Remove),
        4 => (word(), at).prop_map(|(n, at)| Op::Deadline(n, at)),
        1 => (NOW..NOW + 20, 0usize..4).prop_map(|(now, most)| Op::Expire(now, most)),
        1 => Just(Op::Allow),
    ]
}

proptest! {
    #[test]
    fn a_hash_does_what_a_map_does(
        ops in proptest::collection::vec(op(), 0..120),
        entries in prop_oneof![Just(0usize), Just(10), Just(512)],
        value in prop_oneof![Just(64usize), Just(100)],
    ) {
        let limits = limits(entries, value);
        let (mut hash, mut model) = (Hash::new(), Model::new());
        for op in ops {
            match op {
                Op::Set(name, value) => {
                    let created = hash.set(&name, &value, limits);
                    prop_assert_eq!(created, model.insert(name, (value, None)).is_none());
                }
                Op::Update(name, value) => {
                    let was = model.get(&name).cloned();
                    prop_assert_eq!(hash.update(&name, &value, limits), was.is_none());
                    model.insert(name, (value, was.and_then(|w| w.1)));
                }
                Op::Remove(name) => {
                    prop_assert_eq!(hash.remove(&name), model.remove(&name).is_some());
                }
                Op::Deadline(name, at) => {
                    let there = model.get_mut(&name).map(|field| field.1 = at);
                    prop_assert_eq!(hash.set_deadline(&name, at), there.is_some());
                }
                Op::Expire(now, most) => {
                    let due = model.values().filter(|f| f.1.is_some_and(|at| now > at)).count();
                    let n = hash.expire(now, most, |name| {
                        let (_, at) = model.remove(name).unwrap();
                        assert!(at.is_some_and(|at| now > at));
                    });
                    prop_assert_eq!(n, due.min(most));
                }
                Op::Allow => hash.allow_deadlines(),
            }
            prop_assert_eq!(hash.heap_size(), recounted(&hash));
            prop_assert_eq!(hash.total(), model.len());
            let next = model.values().filter_map(|field| field.1).min();
            prop_assert_eq!(hash.next_deadline(), next);
            for now in [NOW, NOW + 10] {
                let live = |at: Option<i64>| at.is_none_or(|at| now <= at);
                let mut left = model.clone();
                left.retain(|_, field| live(field.1));
                prop_assert_eq!(hash.len(now), left.len());
                prop_assert_eq!(hash.is_over(now), left.is_empty() && !model.is_empty());
                for (name, (value, at)) in &model {
                    let found = hash.entry(name, now).map(|e| (e.value.to_vec(), e.deadline));
                    prop_assert_eq!(found, live(*at).then(|| (value.clone(), *at)));
                }
                prop_assert_eq!(contents(&hash, now), left);
            }
            let again = match hash.repr() {
                Repr::Packed => Hash::from_packed(&hash.to_listpack(false)),
                Repr::Timed => Hash::from_timed(&hash.to_listpack(true)),
                Repr::Table => continue,
            };
            let again = again.unwrap();
            prop_assert_eq!(contents(&again, NOW), contents(&hash, NOW));
            prop_assert_eq!(again.heap_size(), hash.heap_size());
        }
    }

    /// Every field that is there from the first step to the last is visited: once by a table, and not at all less
    /// often when a listpack becomes one in between.
    #[test]
    fn a_walk_sees_what_stays(
        stays in 1usize..400,
        churn in proptest::collection::vec((0usize..600, any::<bool>()), 0..400),
        count in 1usize..40,
        entries in prop_oneof![Just(0usize), Just(100), Just(512)],
        every in 1usize..6,
    ) {
        let limits = limits(entries, 64);
        let mut hash = Hash::new();
        for i in 0..stays {
            hash.set(format!("stays{i}").as_bytes(), b"v", limits);
        }
        let began_as = hash.encoding();
        let (mut seen, mut cursor) = (BTreeMap::<Vec<u8>, usize>::new(), 0);
        let mut churn = churn.into_iter();
        loop {
            cursor = hash.scan(cursor, count, NOW, |entry| {
                *seen.entry(entry.name.to_vec()).or_default() += 1;
            });
            for (i, comes) in churn.by_ref().take(every * count) {
                let name = format!("comes{i}");
                if comes {
                    hash.set(name.as_bytes(), b"w", limits);
                } else {
                    hash.remove(name.as_bytes());
                }
            }
            if cursor == 0 {
                break;
            }
        }
        for i in 0..stays {
            let times = seen.get(format!("stays{i}").as_bytes()).copied();
            let name = format!("stays{i}");
            prop_assert_eq!(times, Some(1), "{} in a {}", name, began_as);
        }
    }
}
