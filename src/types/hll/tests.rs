use super::*;
use crate::util::digest;
use proptest::prelude::*;

const SPARSE_MAX: usize = 3000;

fn sha1(bytes: &[u8]) -> String {
    String::from_utf8(digest::sha1_hex(bytes).to_vec()).unwrap()
}

/// PFADD, one element at a time.
fn add(bytes: &mut Vec<u8>, prefix: &str, numbers: std::ops::Range<usize>, sparse_max: usize) {
    for n in numbers {
        let element = format!("{prefix}:{n}");
        let mut hll = HllMut::of(bytes, sparse_max).unwrap();
        if hll.add_all(&[element.as_bytes()]).unwrap() > 0 {
            outdate(bytes);
        }
    }
}

fn count(bytes: &[u8]) -> u64 {
    Hll::of(bytes).unwrap().count().unwrap()
}

#[test]
fn bytes_and_counts_are_those_that_a_real_redis_gave() {
    // Elements, length and digest of the string, PFCOUNT, digest of the string after it.
    let recorded = [
        (
            1,
            21,
            "b33bfe0ce90cf30c4bbcb0b09a669ea0cddce721",
            1,
            "31e2ec4a847222cec420b87110755880445804c3",
        ),
        (
            2,
            24,
            "5105c4d7b3e201a20d5027ded7986ba3a7b7f1d6",
            2,
            "2bbf5b3b0ec02af33377dc5615ff071ad19ac1eb",
        ),
        (
            10,
            47,
            "e7b45d81f74e9234606d727fa0bb34382bc690e1",
            10,
            "c5ad167daacab2dc1e3128b9928c00383a631da7",
        ),
        (
            100,
            289,
            "3ddcb243ac84a387efe8a1725c825a99f5960848",
            100,
            "e9e1a4c263a2f00bb92e5d4c9c14948cccf69979",
        ),
        (
            500,
            1055,
            "be20f69f1f86e2e014647399a780d8420f4cb928",
            502,
            "a6d145da45dce28d7f6339b2d24e60fadffef50b",
        ),
        (
            900,
            1718,
            "2561ed3352fc035298d441208acfe59f59bf3b24",
            897,
            "a831c47f76b369dbf45c2d88b01a08985c8967e6",
        ),
        (
            1100,
            2066,
            "05d7e3bfda76f0f05b9bdc0649c4945e8a487f9c",
            1104,
            "542d7d3afd57cfa5ee9e35ab8666f000af39dfb3",
        ),
        (
            1300,
            2391,
            "72b9e7a64a29f9231718b699bfb6290b6bbc7cb2",
            1304,
            "22e4ed14d0a3203bfcb81af4453275f1fe4f3a94",
        ),
        (
            1500,
            2729,
            "813b622b9c307d2724d733836a3500e72d4c9123",
            1500,
            "92b975836946012019b90f7f6a17ef1e9dce5faa",
        ),
        (
            2000,
            12304,
            "e2c0fc867f1507263d5f7f29d9e1391f2eaa857d",
            2005,
            "c7788f6f8ef126e99b933db46d5fe301456bdccc",
        ),
        (
            10000,
            12304,
            "fc19946c34e6442ff4903002c7192b7b00bda903",
            10087,
            "9b59d43db327a444c37e649b7f2878a757a18a7c",
        ),
        (
            100_000,
            12304,
            "47486193fdcbb4614fbbb9d66fcbce5ae45cad3f",
            99778,
            "cc32100baa27548919d756b4eeda7c31151a9cad",
        ),
    ];
    let mut bytes = empty();
    let mut added = 0;
    for (elements, len, digest, cardinality, digest_after) in recorded {
        add(&mut bytes, "ele", added..elements, SPARSE_MAX);
        added = elements;
        assert_eq!((bytes.len(), &*sha1(&bytes)), (len, digest), "{elements}");
        assert_eq!(Hll::of(&bytes).unwrap().cached(), None);
        assert_eq!(count(&bytes), cardinality, "{elements}");
        cache(&mut bytes, cardinality);
        assert_eq!(Hll::of(&bytes).unwrap().cached(), Some(cardinality));
        assert_eq!(sha1(&bytes), digest_after, "{elements}");
    }
}

#[test]
fn a_merge_gives_the_bytes_that_a_real_redis_gave() {
    let (mut a, mut b) = (empty(), empty());
    add(&mut a, "a", 0..300, SPARSE_MAX);
    add(&mut b, "b", 0..300, SPARSE_MAX);
    let mut union = Registers::default();
    union.merge(Hll::of(&a).unwrap()).unwrap();
    union.merge(Hll::of(&b).unwrap()).unwrap();
    let mut target = empty();
    let mut hll = HllMut::of(&mut target, SPARSE_MAX).unwrap();
    hll.raise_all(&union).unwrap();
    outdate(&mut target);
    assert_eq!(target.len(), 1221);
    assert_eq!(sha1(&target), "d6aee545baeb16ae361583311c49852e402bcc9f");
    assert_eq!((count(&target), union.count()), (604, 604));
}

#[test]
fn the_limit_of_the_sparse_encoding_is_that_of_redis() {
    let mut bytes = empty();
    add(&mut bytes, "s", 0..60, 100);
    assert_eq!(bytes.len(), HEADER + dense::SIZE);
    assert_eq!(sha1(&bytes), "52960c837eb647af145d02bb0417ad1b77f4088e");
}

#[test]
fn elements_raise_the_registers_that_they_raise_in_redis() {
    for (element, place) in [
        ("", (5938, 2)),
        ("a", (12711, 2)),
        ("hello", (9216, 1)),
        ("12345678", (10579, 3)),
        ("123456789", (9293, 2)),
    ] {
        assert_eq!(hash::place(element.as_bytes()), place, "{element}");
    }
}

#[test]
fn what_is_no_hyperloglog_is_refused() {
    let mut dense = empty();
    HllMut::of(&mut dense, 0).unwrap().make_dense().unwrap();
    assert!(Hll::of(&dense).is_ok());
    for bytes in [
        &b""[..],
        b"HYLL",
        b"HYLL\x01\0\0\0\0\0\0\0\0\0\0",
        b"HYLl\x01\0\0\0\0\0\0\0\0\0\0\0",
        b"HYLL\x02\0\0\0\0\0\0\0\0\0\0\0",
        b"HYLL\x00\0\0\0\0\0\0\0\0\0\0\0",
        &dense[..dense.len() - 1],
    ] {
        assert_eq!(Hll::of(bytes).err(), Some(Invalid));
    }
}

#[test]
fn a_corrupt_one_is_left_as_it_was() {
    // 100 registers: elements beyond them cannot be added, those inside can.
    let mut bytes = empty();
    bytes.truncate(HEADER);
    bytes.extend_from_slice(&[0x40, 99]);
    let before = bytes.clone();
    let elements: Vec<String> = (0..1000).map(|n| format!("e:{n}")).collect();
    let elements: Vec<&[u8]> = elements.iter().map(|e| e.as_bytes()).collect();
    let inside: Vec<&[u8]> = elements
        .iter()
        .copied()
        .filter(|e| hash::place(e).0 < 100)
        .collect();
    assert!(!inside.is_empty());
    let mut hll = HllMut::of(&mut bytes, SPARSE_MAX).unwrap();
    assert_eq!(hll.add_all(&elements), Err(Corrupt));
    assert_eq!(hll.make_dense(), Err(Corrupt));
    assert_eq!(*hll.bytes, before);
    assert!(hll.add_all(&inside).unwrap() > 0);
    assert_eq!(Hll::of(&bytes).unwrap().count(), Err(Corrupt));
}

#[test]
fn runs_that_could_have_been_joined_do_not_lead_astray() {
    // VAL 1, VAL 1, ZERO, VAL 1, and zeros to the end: no Redis writes the first two apart.
    let mut bytes = empty();
    bytes.truncate(HEADER);
    bytes.extend_from_slice(&[0x80, 0x80, 0x00, 0x80, 0x7f, 0xfb]);
    let mut model = registers(&bytes);
    let mut union = Registers::default();
    for (register, value) in [(2, 1), (3, 2), (5, 1)] {
        union.0[register] = value;
        model[register] = value;
    }
    let mut hll = HllMut::of(&mut bytes, SPARSE_MAX).unwrap();
    hll.raise_all(&union).unwrap();
    assert_eq!(registers(&bytes), model);
}

#[test]
fn an_impossible_dense_one_counts_as_in_redis() {
    let mut bytes = empty();
    HllMut::of(&mut bytes, 0).unwrap().make_dense().unwrap();
    bytes[HEADER..].fill(0xff);
    assert_eq!(count(&bytes) as i64, i64::MIN);
    bytes[HEADER..].fill(0);
    assert_eq!(count(&bytes), 0);
}

#[test]
fn the_self_test_passes() {
    let mut rng = crate::util::rng::Rng::seed_from_u64(1);
    assert_eq!(self_test(SPARSE_MAX, || rng.next_u64()), Ok(()));
    assert_eq!(self_test(0, || rng.next_u64()), Ok(()));
}

fn registers(bytes: &[u8]) -> Vec<u8> {
    let mut all = Registers::default();
    all.merge(Hll::of(bytes).unwrap()).unwrap();
    all.0.to_vec()
}

proptest! {
    #[test]
    fn both_encodings_hold_the_greatest_of_what_they_are_given(
        raises in prop::collection::vec((0usize..300, 1u8..=34), 1..400),
        far in prop::collection::vec((0usize..REGISTERS, 1u8..=3), 0..200),
        sparse_max in prop_oneof![Just(0usize), Just(60), Just(SPARSE_MAX)],
    ) {
        let mut model = vec![0; REGISTERS];
        let (mut first, mut second) = (empty(), empty());
        let mut hll = HllMut::of(&mut first, sparse_max).unwrap();
        let mut dense = HllMut::of(&mut second, 0).unwrap();
        dense.make_dense().unwrap();
        for (register, value) in raises.into_iter().chain(far) {
            let raised = value > model[register];
            model[register] = value.max(model[register]);
            prop_assert_eq!(hll.raise(register, value), Ok(raised));
            prop_assert_eq!(dense.raise(register, value), Ok(raised));
        }
        prop_assert_eq!(&registers(&first), &model);
        prop_assert_eq!(&registers(&second), &model);
        prop_assert_eq!(&dense::registers(Hll::of(&second).unwrap().body()).collect::<Vec<_>>(), &model);
        prop_assert_eq!(count(&first), count(&second));
        prop_assert!(first.len() == second.len() || first.len() <= sparse_max.max(empty().len()));
    }

    #[test]
    fn raising_all_gives_the_bytes_of_raising_one_by_one(
        before in prop::collection::vec((0usize..120, 1u8..=4), 0..200),
        raises in prop::collection::vec((0usize..120, 1u8..=5), 0..200),
        far in prop::collection::vec((0usize..REGISTERS, 1u8..=3), 0..50),
        sparse_max in prop_oneof![Just(60), Just(SPARSE_MAX)],
    ) {
        let mut all = empty();
        let mut hll = HllMut::of(&mut all, sparse_max).unwrap();
        for (register, value) in before {
            hll.raise(register, value).unwrap();
        }
        let mut single = all.clone();
        let mut registers = Registers::default();
        for (register, value) in raises.into_iter().chain(far) {
            registers.0[register] = value.max(registers.0[register]);
        }
        HllMut::of(&mut all, sparse_max).unwrap().raise_all(&registers).unwrap();
        let mut hll = HllMut::of(&mut single, sparse_max).unwrap();
        for (register, value) in registers.0.iter().enumerate().filter(|(_, v)| **v > 0) {
            hll.raise(register, *value).unwrap();
        }
        prop_assert_eq!(all, single);
    }

    #[test]
    fn mutated_bytes_never_panic(
        elements in 0usize..80,
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
        tail in prop::collection::vec(any::<u8>(), 0..6),
        make_dense in any::<bool>(),
        sparse_max in prop_oneof![Just(0usize), Just(100), Just(SPARSE_MAX)],
    ) {
        let mut bytes = empty();
        add(&mut bytes, "m", 0..elements, SPARSE_MAX);
        if make_dense {
            HllMut::of(&mut bytes, 0).unwrap().make_dense().unwrap();
        }
        for (at, byte) in mutations {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        bytes.extend_from_slice(&tail);
        exercise(bytes, sparse_max);
    }

    #[test]
    fn arbitrary_runs_never_panic(
        body in prop::collection::vec(any::<u8>(), 0..200),
        sparse_max in prop_oneof![Just(0usize), Just(100), Just(SPARSE_MAX)],
    ) {
        let mut bytes = empty();
        bytes.truncate(HEADER);
        bytes.extend_from_slice(&body);
        exercise(bytes, sparse_max);
    }
}

#[test]
fn a_string_that_ends_in_the_midst_of_its_last_run_stays_whole() {
    // Two runs of zeros, the second of which lacks its second byte.
    let mut bytes = empty();
    bytes.truncate(HEADER);
    bytes.extend_from_slice(&[0x62, 0xfe, 0x5d]);
    let mut hll = HllMut::of(&mut bytes, SPARSE_MAX).unwrap();
    assert_eq!(hll.raise(10_000, 3), Ok(true));
    assert_eq!(hll.raise(REGISTERS - 1, 2), Ok(true));
    let mut registers = Registers::default();
    assert_eq!(registers.merge(Hll::of(&bytes).unwrap()), Ok(()));
    let raised: Vec<_> = (0..REGISTERS).filter(|r| registers.0[*r] > 0).collect();
    assert_eq!(raised, [10_000, REGISTERS - 1]);
}

/// Does everything there is to do with a string that may be any.
fn exercise(mut bytes: Vec<u8>, sparse_max: usize) {
    let Ok(hll) = Hll::of(&bytes) else {
        assert!(HllMut::of(&mut bytes, sparse_max).is_err());
        return;
    };
    let counted = hll.count();
    let merged = Registers::default().merge(hll);
    // Whatever can be merged can be counted.
    assert!(merged.is_err() || counted.is_ok());
    let _ = (hll.cached(), sparse::runs(hll.body()).count());
    let elements: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    let elements: Vec<&[u8]> = elements.iter().map(|e| e.as_bytes()).collect();
    let before = bytes.clone();
    let mut hll = HllMut::of(&mut bytes, sparse_max).unwrap();
    let added = hll.add_all(&elements);
    assert!(added.is_ok() || *hll.bytes == before);
    // What is whole stays whole and takes everything.
    assert!(merged.is_err() || added.is_ok());
    let dense = hll.make_dense();
    assert!(merged.is_err() || dense.is_ok());
    assert!(Hll::of(&bytes).is_ok());
}
