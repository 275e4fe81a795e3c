//! Sorting a part of a slice, by the quicksort of J. L. Bentley and M. D. McIlroy, "Engineering a Sort Function" (1993).
//!
//! Redis sorts with it where only some of the sorted elements are wanted. Which of several equal elements come first
//! depends on every step that is taken; these are the same steps.

use std::cmp::Ordering;
use std::ops::Range;

/// Fewer elements are sorted by insertion.
const FEW: usize = 7;
/// Of more elements the pivot is a median of medians.
const MANY: usize = 40;

/// Puts those elements into the places of `wanted` that a sort of the whole slice would put there, in their order.
pub fn sort_part<T>(
    items: &mut [T],
    wanted: Range<usize>,
    mut compare: impl FnMut(&T, &T) -> Ordering,
) {
    // A good pivot halves; so many bad ones in a row come from somebody who means to slow the sort down.
    let depth = 2 * (usize::BITS - items.len().leading_zeros());
    sort(items, wanted, &mut compare, depth);
}

fn sort<T>(
    items: &mut [T],
    wanted: Range<usize>,
    compare: &mut impl FnMut(&T, &T) -> Ordering,
    depth: u32,
) {
    let n = items.len();
    if wanted.start >= n || wanted.is_empty() {
        return;
    }
    if n < FEW {
        return insert(items, compare);
    }
    if depth == 0 {
        return items.sort_by(|a, b| compare(a, b));
    }
    let pivot = pivot(items, compare);
    items.swap(0, pivot);
    let (less, greater) = partition(items, compare);
    let wanted_less = wanted.start..wanted.end.min(less);
    sort(&mut items[..less], wanted_less, compare, depth - 1);
    let begin = n - greater;
    let wanted_greater = wanted.start.saturating_sub(begin)..wanted.end.saturating_sub(begin);
    sort(&mut items[begin..], wanted_greater, compare, depth - 1);
}

fn insert<T>(items: &mut [T], compare: &mut impl FnMut(&T, &T) -> Ordering) {
    for end in 1..items.len() {
        let mut at = end;
        while at > 0 && compare(&items[at - 1], &items[at]) == Ordering::Greater {
            items.swap(at, at - 1);
            at -= 1;
        }
    }
}

fn pivot<T>(items: &[T], compare: &mut impl FnMut(&T, &T) -> Ordering) -> usize {
    let n = items.len();
    let (mut low, mut middle, mut high) = (0, n / 2, n - 1);
    if n == FEW {
        return middle;
    }
    if n > MANY {
        let d = n / 8;
        low = median(items, [low, low + d, low + 2 * d], compare);
        middle = median(items, [middle - d, middle, middle + d], compare);
        high = median(items, [high - 2 * d, high - d, high], compare);
    }
    median(items, [low, middle, high], compare)
}

fn median<T>(
    items: &[T],
    [a, b, c]: [usize; 3],
    compare: &mut impl FnMut(&T, &T) -> Ordering,
) -> usize {
    let mut compare = |a: usize, b: usize| compare(&items[a], &items[b]);
    if compare(a, b) == Ordering::Less {
        match compare(b, c) {
            Ordering::Less => b,
            _ if compare(a, c) == Ordering::Less => c,
            _ => a,
        }
    } else {
        match compare(b, c) {
            Ordering::Greater => b,
            _ if compare(a, c) == Ordering::Less => a,
            _ => c,
        }
    }
}

/// Brings what is less than the first element to the beginning and what is greater to the end; returns how much of each
/// there is.
fn partition<T>(items: &mut [T], compare: &mut impl FnMut(&T, &T) -> Ordering) -> (usize, usize) {
    let n = items.len();
    // Equal ones are gathered at both ends: before `equal_end` and behind `equal_begin`.
    let (mut equal_end, mut low) = (1, 1);
    let (mut equal_begin, mut high) = (n - 1, n - 1);
    loop {
        while low <= high {
            match compare(&items[low], &items[0]) {
                Ordering::Greater => break,
                Ordering::Equal => {
                    items.swap(equal_end, low);
                    equal_end += 1;
                }
                Ordering::Less => {}
            }
            low += 1;
        }
        while low <= high {
            match compare(&items[high], &items[0]) {
                Ordering::Less => break,
                Ordering::Equal => {
                    items.swap(high, equal_begin);
                    equal_begin -= 1;
                }
                Ordering::Greater => {}
            }
            high -= 1;
        }
        if low > high {
            break;
        }
        items.swap(low, high);
        low += 1;
        high -= 1;
    }
    let (less, greater) = (low - equal_end, equal_begin - high);
    exchange(items, 0, low, less.min(equal_end));
    exchange(items, low, n, greater.min(n - 1 - equal_begin));
    (less, greater)
}

/// Exchanges `count` elements from `start` on with as many before `end`.
fn exchange<T>(items: &mut [T], start: usize, end: usize, count: usize) {
    for i in 0..count {
        items.swap(start + i, end - count + i);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_adversary_does_not_slow_it_down() {
        // Answers so that every pivot turns out to be among the least (M. D. McIlroy, "A Killer Adversary for
        // Quicksort").
        const N: usize = 1000;
        let values = std::cell::RefCell::new(vec![N; N]);
        let (mut solid, mut candidate, mut comparisons) = (0, 0, 0);
        let mut items: Vec<usize> = (0..N).collect();
        sort_part(&mut items, 0..N, |&a, &b| {
            comparisons += 1;
            let mut values = values.borrow_mut();
            if values[a] == N && values[b] == N {
                values[if a == candidate { a } else { b }] = solid;
                solid += 1;
            }
            if values[a] == N {
                candidate = a;
            } else if values[b] == N {
                candidate = b;
            }
            values[a].cmp(&values[b])
        });
        assert!(comparisons < 100_000, "{comparisons}");
        let values = values.into_inner();
        assert!(items.is_sorted_by_key(|i| values[*i]));
    }

    proptest! {
        #[test]
        fn the_part_is_that_of_the_whole(
            items in prop::collection::vec(0u8..50, 0..300),
            start in 0usize..300,
            len in 0usize..300,
        ) {
            let mut whole = items.clone();
            whole.sort_unstable();
            let mut part = items.clone();
            let wanted = start..start + len;
            sort_part(&mut part, wanted.clone(), Ord::cmp);
            let cut = |v: &[u8]| v.iter().copied().take(wanted.end).skip(start).collect::<Vec<_>>();
            prop_assert_eq!(cut(&part), cut(&whole));
            part.sort_unstable();
            prop_assert_eq!(part, whole);
        }
    }
}
