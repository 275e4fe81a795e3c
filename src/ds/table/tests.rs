use super::*;

#[derive(Clone, Debug, PartialEq)]
struct Pair(Vec<u8>, u64);

impl Keyed for Pair {
    fn key(&self) -> &[u8] {
        &self.0
    }
}

fn rng(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn pair(n: u64) -> Pair {
    Pair(format!("key:{n}").into_bytes(), n)
}

#[test]
fn grows_to_many_and_shrinks_to_nothing() {
    let mut table = Table::new(Seed::random(rng(1)));
    assert_eq!(table.memory(), 0);
    for n in 0..100_000 {
        assert_eq!(table.insert(pair(n)), None);
    }
    assert_eq!(table.len(), 100_000);
    for n in 0..100_000 {
        assert_eq!(table.get(&pair(n).0), Some(&pair(n)));
    }
    assert!(!table.contains(b"none"));
    for n in 0..100_000 {
        assert_eq!(table.remove(&pair(n).0), Some(pair(n)));
    }
    assert!(table.is_empty());
    assert_eq!(table.memory(), 0);
}
