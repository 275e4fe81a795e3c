use super::keys::{Argv, KeyError, KeyFlags, KeyRef, Keys};
use super::*;

type Handler = fn() -> u8;

fn one() -> u8 {
    1
}

fn set_keys(args: &dyn Argv, out: &mut Keys) -> Result<(), KeyError> {
    let get = (3..args.len()).any(|i| args.arg(i).eq_ignore_ascii_case(b"get"));
    let flags = if get {
        KeyFlags::RW.with(KeyFlags::ACCESS)
    } else {
        KeyFlags::OW
    };
    out.push(KeyRef {
        pos: 1,
        flags: flags.with(KeyFlags::UPDATE),
    });
    Ok(())
}

static ROWS: &[Row<Handler>] = &[
    Row::new("get", 2, one as Handler)
        .since("1.0.0")
        .group(Group::String)
        .read()
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key")
        .summary("x")
        .complexity("O(1)")
        .checked(),
    Row::new("set", -3, one as Handler)
        .since("1.0.0")
        .group(Group::String)
        .write(Propagate::MayRewrite)
        .flags(&[flag::DENYOOM])
        .keys(&[KeySpec::at(1).rw().access().update().variable()])
        .keys_fn(set_keys)
        .syntax("key:key value")
        .summary("x")
        .complexity("O(1)")
        .checked(),
    Row::container("xgroup", -2)
        .since("5.0.0")
        .group(Group::Stream)
        .summary("x")
        .subs(&[
            Row::new("destroy", 4, one as Handler)
                .since("5.0.0")
                .group(Group::Stream)
                .write(Propagate::Verbatim)
                .keys(&[KeySpec::at(2).rw().delete()])
                .syntax("key:key group")
                .summary("x")
                .complexity("O(N)")
                .checked(),
            Row::new("help", 2, one as Handler)
                .since("5.0.0")
                .group(Group::Stream)
                .flags(&[flag::LOADING, flag::STALE])
                .summary("x")
                .complexity("O(1)")
                .checked(),
        ])
        .checked(),
    Row::new("xread", -4, one as Handler)
        .since("5.0.0")
        .group(Group::Stream)
        .read()
        .flags(&[flag::BLOCKING])
        .keys(&[KeySpec::keyword("STREAMS", 1).range(-1, 1, 2).ro().access()])
        .syntax("[COUNT^count:int] [BLOCK^milliseconds:int] STREAMS^streams={key:key... ID:string...=key}")
        .summary("x")
        .complexity("O(N)")
        .checked(),
    Row::new("zunion", -3, one as Handler)
        .since("6.2.0")
        .group(Group::SortedSet)
        .read()
        .keys(&[KeySpec::at(1).keynum(0, 1, 1).ro().access()])
        .syntax("numkeys:int key:key...=numkeys")
        .summary("x")
        .complexity("O(N)")
        .checked(),
    Row::new("mset", -3, one as Handler)
        .since("1.0.1")
        .group(Group::String)
        .write(Propagate::Verbatim)
        .keys(&[KeySpec::at(1).range(-1, 2, 0).ow().update()])
        .syntax("data={key:key value}...")
        .summary("x")
        .complexity("O(N)")
        .checked(),
];

fn registry() -> Registry<Handler> {
    Registry::new(&[ROWS])
}

fn call(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn key_positions(line: &str) -> Result<Vec<u32>, KeyError> {
    let (reg, args) = (registry(), call(line));
    let e = reg
        .find(args[0].as_bytes(), args.get(1).map(|s| s.as_bytes()))
        .found()
        .unwrap();
    e.keys(&args).map(|k| k.iter().map(|k| k.pos).collect())
}

#[test]
fn commands_and_subcommands_are_found_in_any_case() {
    let reg = registry();
    assert_eq!(&*reg.find(b"GeT", Some(b"k")).found().unwrap().name, "get");
    assert_eq!(
        &*reg.find(b"XGROUP", Some(b"Destroy")).found().unwrap().name,
        "xgroup|destroy"
    );
    assert_eq!(&*reg.find(b"xgroup", None).found().unwrap().name, "xgroup");
    assert!(
        matches!(reg.find(b"xgroup", Some(b"nope")), Lookup::UnknownSub(e) if &*e.name == "xgroup")
    );
    assert!(matches!(reg.find(b"nope", None), Lookup::Unknown));
    assert!(matches!(reg.find(b"", None), Lookup::Unknown));
    assert_eq!(
        &*reg.by_full_name(b"XGROUP|HELP").unwrap().name,
        "xgroup|help"
    );
    assert!(reg.by_full_name(b"get|x").is_none());
    let names: Vec<_> = reg.iter().map(|e| &*e.name).collect();
    assert_eq!(names[2..5], ["xgroup", "xgroup|destroy", "xgroup|help"]);
    assert!(reg.iter().enumerate().all(|(i, e)| e.id.index() == i));
}

#[test]
fn flags_and_categories_are_derived() {
    let reg = registry();
    let e = reg.by_full_name(b"xread").unwrap();
    assert_eq!(
        e.flags.names().collect::<Vec<_>>(),
        ["readonly", "blocking", "movablekeys"]
    );
    assert_eq!(
        e.categories.names().collect::<Vec<_>>(),
        ["read", "stream", "slow", "blocking"]
    );
    let e = reg.by_full_name(b"xgroup").unwrap();
    assert_eq!(e.categories.names().collect::<Vec<_>>(), ["slow"]);
    assert_eq!(reg.by_full_name(b"mset").unwrap().legacy_range, (1, -1, 2));
    assert_eq!(
        reg.by_full_name(b"xgroup|destroy").unwrap().legacy_range,
        (2, 2, 1)
    );
    assert!(reg.by_full_name(b"get").unwrap().arity_ok(2));
    assert!(!reg.by_full_name(b"get").unwrap().arity_ok(3));
    assert!(reg.by_full_name(b"set").unwrap().arity_ok(9));
}

#[test]
fn keys_are_extracted() {
    assert_eq!(key_positions("get k"), Ok(vec![1]));
    assert_eq!(
        key_positions("xread COUNT 1 streams a b 0 0"),
        Ok(vec![4, 5])
    );
    assert_eq!(key_positions("xread COUNT 1 a b"), Ok(vec![]));
    assert_eq!(key_positions("zunion 2 a b"), Ok(vec![2, 3]));
    assert_eq!(key_positions("zunion 3 a b"), Err(KeyError));
    assert_eq!(key_positions("zunion x a b"), Err(KeyError));
    assert_eq!(key_positions("zunion 0 a"), Err(KeyError));
    assert_eq!(
        key_positions("zunion 9223372036854775807 a b"),
        Err(KeyError)
    );
    assert_eq!(key_positions("mset a 1 b 2"), Ok(vec![1, 3]));
    assert_eq!(key_positions("xgroup destroy k g"), Ok(vec![2]));
    let reg = registry();
    let set = reg.by_full_name(b"set").unwrap();
    assert!(!set.keys(&call("set k v")).unwrap()[0].flags.reads());
    assert!(set.keys(&call("set k v GET")).unwrap()[0].flags.reads());
}
