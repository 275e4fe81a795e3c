//! Against a deque of strings.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

#[derive(Clone, Debug)]
enum Op {
    PushBack(Vec<u8>),
    PushFront(Vec<u8>),
    PopBack,
    PopFront,
    Insert(usize, Vec<u8>),
    Replace(usize, Vec<u8>),
    Remove(usize, usize),
    RemoveEqual(usize, bool),
    SplitAndAppend(usize),
    Fill(bool, Vec<u8>, usize),
    Shrink,
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        (-5000i64..5000).prop_map(|n| n.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..70),
        (60usize..5000).prop_map(|n| vec![b'x'; n]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let at = 0usize..40;
    prop_oneof![
        3 => element().prop_map(Op::PushBack),
        3 => element().prop_map(Op::PushFront),
        2 => Just(Op::PopBack),
        2 => Just(Op::PopFront),
        1 => (at.clone(), element()).prop_map(|(i, e)| Op::Insert(i, e)),
        1 => (at.clone(), element()).prop_map(|(i, e)| Op::Replace(i, e)),
        1 => (at.clone(), 0usize..5).prop_map(|(i, n)| Op::Remove(i, n)),
        1 => (at.clone(), any::<bool>()).prop_map(|(i, b)| Op::RemoveEqual(i, b)),
        1 => at.prop_map(Op::SplitAndAppend),
        2 => (any::<bool>(), element(), 0usize..9000).prop_map(|(f, e, n)| Op::Fill(f, e, n)),
        1 => Just(Op::Shrink),
    ]
}

fn apply(packed: &mut Packed, model: &mut VecDeque<Vec<u8>>, op: Op) {
    match op {
        Op::PushBack(e) => {
            packed.push_back(&e);
            model.push_back(e);
        }
        Op::PushFront(e) => {
            packed.push_front(&e);
            model.push_front(e);
        }
        Op::PopBack => assert_eq!(packed.pop_back(|v| v.to_vec()), model.pop_back()),
        Op::PopFront => assert_eq!(packed.pop_front(|v| v.to_vec()), model.pop_front()),
        Op::Insert(i, e) => {
            packed.insert(i, &e);
            model.insert(i.min(model.len()), e);
        }
        Op::Replace(i, e) => {
            packed.replace(i, &e);
            if let Some(place) = model.get_mut(i) {
                *place = e;
            }
        }
        Op::Remove(i, n) => {
            packed.remove(i, n);
            let end = (i + n).min(model.len());
            model.drain(i.min(end)..end);
        }
        Op::RemoveEqual(i, backwards) => {
            let value = model.get(i).cloned().unwrap_or_default();
            let needle = Needle::new(&value);
            packed.remove_if(backwards, |v| needle.is(v));
            model.retain(|e| *e != value);
        }
        Op::SplitAndAppend(i) => {
            let rest = packed.split_off(i);
            assert_eq!(rest.len(), model.len().saturating_sub(i));
            packed.append(&rest);
        }
        Op::Fill(true, e, most) => {
            packed.fill_front(&e, most);
            model.push_front(e);
        }
        Op::Fill(false, e, most) => {
            packed.fill_back(&e, most);
            model.push_back(e);
        }
        Op::Shrink => {
            packed.shrink();
            assert!(packed.capacity() <= packed.byte_len() + packed.byte_len() / 32);
        }
    }
}

fn check(packed: &Packed, model: &VecDeque<Vec<u8>>) {
    let listpack = Listpack::from_bytes(packed.as_bytes().to_vec()).unwrap();
    assert_eq!((listpack.len(), packed.len()), (model.len(), model.len()));
    assert!(
        listpack
            .iter()
            .map(|(_, v)| v.to_vec())
            .eq(model.iter().cloned())
    );
    let view = packed.view();
    for index in 0..model.len() {
        let at = view.seek(index, model.len()).unwrap();
        let (value, next) = view.step(at).unwrap();
        assert_eq!(value.to_vec(), model[index]);
        assert_eq!(view.step_back(next), Some((value, at)));
    }
    assert_eq!(view.seek(model.len(), model.len()), Some(view.end()));
    assert_eq!(view.step_back(view.first()), None);
}

proptest! {
    #[test]
    fn it_is_a_listpack_and_a_deque(ops in prop::collection::vec(op(), 0..60)) {
        let (mut packed, mut model) = (Packed::new(), VecDeque::new());
        for op in ops {
            apply(&mut packed, &mut model, op);
            check(&packed, &model);
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        at in 0usize..70,
    ) {
        let view = View::new(&bytes);
        let _ = (view.step(at), view.step_back(at), view.seek(at, 50), view.end());
    }
}

/// Moves of the whole are counted by the changes of where it lies.
#[test]
fn growing_at_both_ends_moves_it_seldom() {
    for ends in ["b", "f", "bf", "bbbbf"] {
        let mut packed = Packed::new();
        let mut grown = 0;
        for end in ends.bytes().cycle().take(10_000) {
            let before = packed.capacity();
            match end {
                b'b' => packed.push_back(b"element"),
                _ => packed.push_front(b"element"),
            }
            grown += usize::from(packed.capacity() != before);
        }
        assert!(grown < 100, "{ends}: {grown}");
        assert!(packed.capacity() < packed.byte_len() * 2);
    }
}

#[test]
fn a_queue_stays_in_its_buffer() {
    let mut packed = Packed::new();
    for _ in 0..100 {
        packed.push_back(b"element");
    }
    for _ in 0..10_000 {
        packed.push_back(b"element");
        packed.pop_front(|_| ());
    }
    assert!(packed.capacity() < packed.byte_len() * 2);
    for _ in 0..99 {
        packed.pop_front(|_| ());
    }
    assert!(packed.capacity() <= 64, "{}", packed.capacity());
}

#[test]
fn what_is_filled_to_a_size_takes_that_size() {
    for front in [true, false] {
        let mut packed = Packed::new();
        while packed.byte_len() + 25 <= 8192 {
            match front {
                true => packed.fill_front(b"element:000000001", 8192),
                false => packed.fill_back(b"element:000000001", 8192),
            }
        }
        assert_eq!(packed.capacity(), 8192, "{front}");
        packed.shrink();
        assert_eq!(packed.capacity(), 8192, "it is not worth it");
    }
}
