//! Lists against a deque of strings.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

#[derive(Clone, Debug)]
enum Op {
    Push(End, Vec<u8>),
    Extend(End, Vec<Vec<u8>>),
    Pop(End),
    Drop(End, usize),
    Keep(usize, usize),
    Insert(usize, bool, Vec<u8>),
    Replace(usize, Vec<u8>),
    RemoveEqual(usize, usize, End),
    Rotate(End, End),
    /// From here on both the list and a clone of it live.
    Clone,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Head), Just(End::Tail)]
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0u8..6).prop_map(|n| vec![b'a' + n]),
        4 => (-300i64..300).prop_map(|n| n.to_string().into_bytes()),
        2 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        3 => (0u8..3, 0usize..200).prop_map(|(b, n)| vec![b'x' + b; n]),
        1 => prop::collection::vec(any::<u8>(), 0..100),
        1 => (0u8..3, 3000usize..6000).prop_map(|(b, n)| vec![b'x' + b; n]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (end(), element()).prop_map(|(e, v)| Op::Push(e, v)),
        3 => (end(), prop::collection::vec(element(), 0..30)).prop_map(|(e, v)| Op::Extend(e, v)),
        4 => end().prop_map(Op::Pop),
        1 => (end(), 0usize..20).prop_map(|(e, n)| Op::Drop(e, n)),
        1 => (0usize..10, 0usize..80).prop_map(|(s, n)| Op::Keep(s, n)),
        4 => (any::<usize>(), any::<bool>(), element()).prop_map(|(i, a, v)| Op::Insert(i, a, v)),
        4 => (any::<usize>(), element()).prop_map(|(i, v)| Op::Replace(i, v)),
        1 => (any::<usize>(), 0usize..4, end()).prop_map(|(i, n, e)| Op::RemoveEqual(i, n, e)),
        2 => (end(), end()).prop_map(|(f, t)| Op::Rotate(f, t)),
        1 => Just(Op::Clone),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    let fill = prop_oneof![-5i32..0, 0i32..6, Just(100)];
    let plain_from = prop_oneof![3 => Just(1usize << 30), 1 => 1usize..8, 1 => Just(150)];
    (fill, 0i32..4, plain_from).prop_map(|(fill, depth, plain_from)| Limits {
        fill,
        depth,
        plain_from,
    })
}

fn pop_model(model: &mut VecDeque<Vec<u8>>, end: End) -> Option<Vec<u8>> {
    match end {
        End::Head => model.pop_front(),
        End::Tail => model.pop_back(),
    }
}

fn push_model(model: &mut VecDeque<Vec<u8>>, end: End, value: Vec<u8>) {
    match end {
        End::Head => model.push_front(value),
        End::Tail => model.push_back(value),
    }
}

fn apply(list: &mut List, model: &mut VecDeque<Vec<u8>>, op: &Op, limits: Limits) {
    let at = |i: usize| if model.is_empty() { 0 } else { i % model.len() };
    match op {
        Op::Push(end, value) => {
            list.push(*end, value, limits);
            push_model(model, *end, value.clone());
        }
        Op::Extend(end, values) => {
            let slices: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
            list.extend(*end, &slices, limits);
            for value in values {
                push_model(model, *end, value.clone());
            }
        }
        Op::Pop(end) => {
            let popped = list.pop(*end, limits, |e| e.to_vec());
            assert_eq!(popped, pop_model(model, *end));
        }
        Op::Drop(end, count) => {
            list.drop_end(*end, *count, limits);
            for _ in 0..*count {
                pop_model(model, *end);
            }
        }
        Op::Keep(start, count) => {
            list.keep(*start, *count, limits);
            *model = model.iter().skip(*start).take(*count).cloned().collect();
        }
        Op::Insert(i, after, value) => {
            let pivot = model.get(at(*i)).cloned().unwrap_or_default();
            let found = model.iter().position(|e| *e == pivot);
            assert_eq!(list.insert(&pivot, *after, value, limits), found.is_some());
            if let Some(i) = found {
                model.insert(i + usize::from(*after), value.clone());
            }
        }
        Op::Replace(i, value) => {
            let i = at(*i);
            let there = i < model.len();
            assert_eq!(list.replace(Some(i), value, limits), there);
            if there {
                model[i].clone_from(value);
            }
        }
        Op::RemoveEqual(i, most, from) => {
            let value = model.get(at(*i)).cloned().unwrap_or_default();
            let removed = list.remove_equal(&value, *most, *from, limits);
            let mut left = *most;
            let mut keep = |e: &Vec<u8>| {
                let hit = *e == value && left > 0;
                left -= usize::from(hit);
                !hit
            };
            let kept: Vec<_> = match from {
                End::Head => model.iter().filter(|e| keep(e)).cloned().collect(),
                End::Tail => {
                    let mut kept: Vec<_> =
                        model.iter().rev().filter(|e| keep(e)).cloned().collect();
                    kept.reverse();
                    kept
                }
            };
            assert_eq!(removed, model.len() - kept.len());
            *model = kept.into();
        }
        Op::Rotate(from, to) => {
            let moved = list.rotate(*from, *to, limits, <[u8]>::to_vec);
            let popped = pop_model(model, *from);
            assert_eq!(moved, popped);
            if let Some(value) = popped {
                push_model(model, *to, value);
            }
        }
        Op::Clone => {}
    }
}

/// Everything that can be read of a list, against the model.
fn check(list: &List, model: &VecDeque<Vec<u8>>) {
    assert_eq!(list.len(), model.len());
    list.recount();
    let mut forwards = Vec::new();
    list.for_each(0, usize::MAX, false, |e| {
        forwards.push(e.to_vec());
        true
    });
    assert!(forwards.iter().eq(model.iter()));
    let mut backwards = Vec::new();
    if !model.is_empty() {
        list.for_each(model.len() - 1, usize::MAX, true, |e| {
            backwards.push(e.to_vec());
            true
        });
    }
    assert!(backwards.iter().eq(model.iter().rev()));
    for index in [
        0,
        1,
        model.len() / 2,
        model.len().wrapping_sub(1),
        model.len(),
    ] {
        assert_eq!(list.get(index, |e| e.to_vec()).as_ref(), model.get(index));
    }
}

/// The same list by way of its nodes.
fn rebuilt(list: &List, limits: Limits) -> List {
    let mut builder = Builder::new(limits);
    for node in list.nodes() {
        let bytes = node.bytes().into_owned();
        if node.is_plain() {
            builder.plain(bytes);
        } else {
            builder.listpack(Listpack::from_bytes(bytes).unwrap());
        }
    }
    builder.finish(limits)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_list_is_a_deque(ops in prop::collection::vec(op(), 0..60), limits in limits()) {
        let (mut list, mut model) = (List::new(), VecDeque::new());
        let mut clones = Vec::new();
        for op in &ops {
            if matches!(op, Op::Clone) {
                clones.push((list.clone(), model.clone()));
            }
            apply(&mut list, &mut model, op, limits);
            check(&list, &model);
        }
        check(&rebuilt(&list, limits), &model);
        for (list, model) in clones {
            check(&list, &model);
        }
    }
}

fn numbered(count: usize, limits: Limits) -> List {
    let elements: Vec<_> = (0..count).map(|n| format!("element:{n:09}")).collect();
    let elements: Vec<_> = elements.iter().map(String::as_bytes).collect();
    let mut list = List::new();
    list.extend(End::Tail, &elements, limits);
    list
}

#[test]
fn short_lists_are_listpacks_up_to_their_limit() {
    for (fill, fits) in [(3, 3), (0, 1), (-1, 215), (-2, 430), (1000, 430)] {
        let limits = Limits {
            fill,
            ..Limits::default()
        };
        let mut list = List::new();
        let mut most = 0;
        while list.is_packed() {
            most = list.len();
            list.push(End::Tail, b"element:000000001", limits);
        }
        assert_eq!(most, fits, "{fill}");
        assert_eq!(list.encoding(), "quicklist");
    }
}

#[test]
fn a_long_list_becomes_a_listpack_at_half_the_limit() {
    let limits = Limits {
        fill: 10,
        ..Limits::default()
    };
    let mut list = numbered(11, limits);
    let mut lengths = Vec::new();
    while !list.is_packed() {
        lengths.push(list.len());
        list.pop(End::Tail, limits, |_| ());
    }
    assert_eq!((lengths.len(), list.len()), (6, 5));
}

#[test]
fn a_sorted_list_is_cut_as_if_nothing_were_configured() {
    let limits = Limits {
        fill: 10,
        depth: 1,
        ..Limits::default()
    };
    let sorted = |count: usize| List::from_elements((0..count).map(|n| n.to_string()), limits);
    assert_eq!(sorted(10).encoding(), "listpack");
    assert_eq!(
        sorted(11).layout().map(|l| (l.nodes, l.fill)),
        Some((1, -2))
    );
}

#[test]
fn an_element_moved_within_a_list_does_not_change_its_form() {
    let limits = Limits {
        fill: 4,
        ..Limits::default()
    };
    let mut list = numbered(5, limits);
    list.drop_end(End::Tail, 2, limits);
    assert!(!list.is_packed());
    list.rotate(End::Head, End::Tail, limits, |_| ());
    assert!(!list.is_packed(), "three are more than half of four");
}

#[test]
fn inner_nodes_are_compressed_and_the_outer_are_not() {
    let limits = Limits {
        fill: 10,
        depth: 2,
        ..Limits::default()
    };
    let mut list = numbered(100, limits);
    let states = |list: &List| -> String {
        list.nodes()
            .map(|n| if n.compressed().is_some() { 'c' } else { '-' })
            .collect()
    };
    assert_eq!(states(&list), "--cccccc--");
    list.push(End::Head, b"element:", limits);
    assert_eq!(states(&list), "--ccccccc--");
    list.drop_end(End::Head, 41, limits);
    assert_eq!(states(&list), "--cc--");
    list.replace(Some(25), b"another element", limits);
    assert_eq!(states(&list), "--cc--");
    assert_eq!(
        list.get(25, |e| e.to_vec()).as_deref(),
        Some(&b"another element"[..])
    );
}

#[test]
fn a_million_elements_take_little_more_than_their_bytes() {
    let list = numbered(1_000_000, Limits::default());
    // One byte of tag and one of backlen each, and what a node of 430 leaves free.
    assert!(list.heap_size() < 1_000_000 * 20, "{}", list.heap_size());
}
