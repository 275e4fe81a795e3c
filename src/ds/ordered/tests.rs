use std::collections::BTreeSet;

use proptest::prelude::*;

use super::node::{FANOUT, LEAF};
use super::*;

/// An entry of the model: the id stands for itself, so that it orders entries of one score.
type Key = (i32, u32);

fn entry((score, id): Key) -> Entry {
    let score = f64::from(score);
    Entry { score, id }
}

/// The point before a key.
fn before((score, id): Key) -> impl Point {
    At {
        score: f64::from(score),
        tie: move |other| other < id,
    }
}

/// The point after a key.
fn after((score, id): Key) -> impl Point {
    At {
        score: f64::from(score),
        tie: move |other| other <= id,
    }
}

impl Ordered {
    fn all(&self) -> Vec<Key> {
        let keys = self.iter(0, usize::MAX).map(|e| (e.score as i32, e.id));
        keys.collect()
    }

    /// Asserts every invariant of the tree.
    fn check(&self) {
        let mut census = Census::default();
        let (len, _) = self
            .root
            .as_ref()
            .map_or((0, 0), |root| check_node(root, &mut census, true));
        assert_eq!((len, census), (self.len, self.census));
        let all = self.all();
        assert!(all.is_sorted_by(|a, b| a < b), "{all:?}");
        assert_eq!(all.len(), self.len);
    }
}

/// Checks what is below a node; how many entries, and how many levels.
fn check_node(node: &Node, census: &mut Census, root: bool) -> (usize, usize) {
    match node {
        Node::Leaf(leaf) => {
            census.leaves += 1;
            assert!((1..=LEAF).contains(&leaf.len()));
            (leaf.len(), 1)
        }
        Node::Inner(inner) => {
            census.inners += 1;
            assert!((if root { 2 } else { 1 }..=FANOUT).contains(&inner.edges.len()));
            assert!(!inner.edges.spilled());
            let (mut len, mut height) = (0, None);
            for edge in &inner.edges {
                let (below, levels) = check_node(&edge.node, census, false);
                assert_eq!(edge.count as usize, below);
                assert_eq!(
                    *height.get_or_insert(levels),
                    levels,
                    "leaves are of one depth"
                );
                let first = match &edge.node {
                    Node::Leaf(leaf) => leaf.get(0),
                    Node::Inner(inner) => inner.edges.first().map(Edge::first),
                };
                assert_eq!(first, Some(edge.first()));
                len += below;
            }
            (len, height.unwrap() + 1)
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(Key),
    Ascending(Key, u32),
    Descending(Key, u32),
    Remove(Key),
    Drain(usize, usize),
    Rescore(Key, i32),
    Rename(Key),
    Clone,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = || (0..12i32, (0..40u32).prop_map(|id| id * 100));
    let op = prop_oneof![
        6 => key().prop_map(Op::Insert),
        1 => (key(), 1..60u32).prop_map(|(k, n)| Op::Ascending(k, n)),
        1 => (key(), 1..60u32).prop_map(|(k, n)| Op::Descending(k, n)),
        6 => key().prop_map(Op::Remove),
        1 => (0..300usize, 0..80usize).prop_map(|(from, n)| Op::Drain(from, n)),
        3 => (key(), 0..12).prop_map(|(k, score)| Op::Rescore(k, score)),
        1 => key().prop_map(Op::Rename),
        1 => Just(Op::Clone),
    ];
    prop::collection::vec(op, 1..150)
}

fn insert(tree: &mut Ordered, model: &mut BTreeSet<Key>, key: Key) {
    if model.insert(key) {
        tree.insert(entry(key), before(key));
    }
}

fn apply(tree: &mut Ordered, model: &mut BTreeSet<Key>, op: &Op) {
    match *op {
        Op::Insert(key) => insert(tree, model, key),
        Op::Ascending((score, id), n) => {
            (id..id + n).for_each(|id| insert(tree, model, (score, id)));
        }
        Op::Descending((score, id), n) => {
            (id..id + n)
                .rev()
                .for_each(|id| insert(tree, model, (score, id)));
        }
        Op::Remove(key) => {
            if model.remove(&key) {
                assert_eq!(tree.remove(after(key)), Some(entry(key)));
            }
        }
        Op::Drain(from, count) => {
            let gone: Vec<Key> = model.iter().skip(from).take(count).copied().collect();
            let mut seen = Vec::new();
            tree.drain(from, count, |e| seen.push((e.score as i32, e.id)));
            assert_eq!(seen, gone);
            gone.iter().for_each(|key| assert!(model.remove(key)));
        }
        Op::Rescore((old, id), score) => {
            let new = (score, id);
            if !model.contains(&(old, id)) || model.contains(&new) {
                return;
            }
            if !tree.rescore(after((old, id)), f64::from(score), before(new)) {
                tree.remove(after((old, id)));
                tree.insert(entry(new), before(new));
            }
            model.remove(&(old, id));
            model.insert(new);
        }
        Op::Rename((score, id)) => {
            // The next id sorts next, so that it stands for the same.
            if model.contains(&(score, id)) && !model.contains(&(score, id + 1)) {
                tree.rename(after((score, id)), id + 1);
                model.remove(&(score, id));
                model.insert((score, id + 1));
            }
        }
        Op::Clone => *tree = tree.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn behaves_as_an_ordered_set_that_knows_ranks(ops in ops()) {
        let (mut tree, mut model) = (Ordered::new(), BTreeSet::new());
        for op in &ops {
            apply(&mut tree, &mut model, op);
            tree.check();
            let all: Vec<Key> = model.iter().copied().collect();
            prop_assert_eq!(tree.all(), all);
        }
        let all: Vec<Key> = model.iter().copied().collect();
        for (rank, &key) in all.iter().enumerate() {
            prop_assert_eq!(tree.rank(before(key)), rank);
            prop_assert_eq!(tree.rank(after(key)), rank + 1);
            prop_assert_eq!(tree.rank(|e: Entry| (e.score as i32, e.id) < key), rank);
            prop_assert_eq!(tree.get(rank), Some(entry(key)));
        }
        prop_assert_eq!(tree.get(all.len()), None);
    }

    #[test]
    fn walks_either_way_from_any_rank(n in 0..200u32, from in 0..220usize, count in 0..220usize) {
        let mut tree = Ordered::new();
        let mut model = BTreeSet::new();
        (0..n).for_each(|i| insert(&mut tree, &mut model, (0, i.wrapping_mul(7919) % 1009)));
        let all: Vec<Entry> = model.iter().map(|&key| entry(key)).collect();
        let up: Vec<Entry> = tree.iter(from, count).collect();
        prop_assert!(up.iter().eq(all.iter().skip(from).take(count)));
        let down: Vec<Entry> = tree.iter_back(from, count).collect();
        let want = all.iter().take(from + 1).rev().take(count);
        if from < all.len() {
            prop_assert!(down.iter().eq(want));
        } else {
            prop_assert!(down.is_empty());
        }
    }

    #[test]
    fn a_clone_stays_as_it_was(before_it in ops(), after_it in ops()) {
        let (mut tree, mut model) = (Ordered::new(), BTreeSet::new());
        before_it.iter().for_each(|op| apply(&mut tree, &mut model, op));
        let (frozen, all) = (tree.clone(), tree.all());
        after_it.iter().for_each(|op| apply(&mut tree, &mut model, op));
        frozen.check();
        prop_assert_eq!(frozen.all(), all);
    }
}

#[test]
fn entries_in_order_fill_leaves() {
    for descending in [false, true] {
        let mut tree = Ordered::new();
        for i in 0..10_000u32 {
            let key = (0, if descending { 10_000 - i } else { i });
            tree.insert(entry(key), before(key));
        }
        tree.check();
        assert_eq!(tree.census.leaves, 10_000usize.div_ceil(LEAF));
    }
}

#[test]
fn entries_at_random_leave_little_room() {
    let mut tree = Ordered::new();
    for i in 0..10_000u32 {
        let key = (0, i.wrapping_mul(2_654_435_761));
        tree.insert(entry(key), before(key));
    }
    tree.check();
    let room = tree.census.leaves * LEAF;
    assert!(room < 10_000 * 4 / 3, "{room} places for 10,000 entries");
}

#[test]
fn what_empties_gives_its_memory_back() {
    let mut tree = Ordered::new();
    for i in 0..5000u32 {
        tree.insert(entry((0, i)), before((0, i)));
    }
    let full = tree.heap_size();
    // One of eight stays.
    for i in (0..5000u32).filter(|i| i % 8 != 0) {
        assert!(tree.remove(after((0, i))).is_some());
    }
    tree.check();
    assert!(
        tree.heap_size() < full / 2,
        "{} of {full}",
        tree.heap_size()
    );
    tree.drain(0, usize::MAX, |_| {});
    assert_eq!((tree.heap_size(), tree.len()), (0, 0));
}
