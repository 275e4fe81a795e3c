//! Strings: what reaches the log of effects, and the commands that no released Redis 7 can be asked about.

use std::sync::Arc;

use redkeep::engine::{Engine, Options};
use redkeep::exec::Args;
use redkeep::exec::session::{Peer, SessionId};
use redkeep::resp::{Proto, ReplyBuf};
use redkeep::types::stream::Stream;
use redkeep::types::{DataType as _, Value};
use redkeep::util::clock::ManualClock;

const NOW: i64 = 1_700_000_000_000;

struct Node {
    engine: Engine,
    client: SessionId,
    clock: Arc<ManualClock>,
}

impl Node {
    fn new() -> Node {
        let clock = Arc::new(ManualClock::at_ms(NOW));
        let mut engine = Engine::new(Options {
            clock: clock.clone(),
            seed: Some(1),
            ..Options::default()
        });
        let client = engine.connect(Peer::default());
        engine.collect_effects(true);
        Node {
            engine,
            client,
            clock,
        }
    }

    fn run_as(&mut self, proto: Proto, args: &[&[u8]]) -> String {
        let mut reply = ReplyBuf::new(proto);
        self.engine.refresh_time();
        self.engine
            .execute(self.client, Args::new(args), &mut reply);
        String::from_utf8_lossy(&reply.take())
            .trim_end()
            .replace("\r\n", " ")
    }

    /// The reply of a line; a word `''` is empty.
    fn run(&mut self, line: &str) -> String {
        let words = line.split(' ').map(|w| if w == "''" { "" } else { w });
        let args: Vec<&[u8]> = words.map(str::as_bytes).collect();
        self.run_as(Proto::Resp2, &args)
    }

    /// The effects since the last call, without SELECT, MULTI and EXEC.
    fn effects(&mut self) -> Vec<String> {
        let log = self.engine.take_effects();
        let text = String::from_utf8_lossy(&log).into_owned();
        let mut lines = text.split("\r\n");
        let mut all = Vec::new();
        while let Some(header) = lines.next().filter(|l| !l.is_empty()) {
            let Ok(n) = header[1..].parse::<usize>() else {
                panic!("no count of arguments: {header}");
            };
            let args: Vec<&str> = (0..n).filter_map(|_| lines.nth(1)).collect();
            if !["SELECT", "MULTI", "EXEC"].contains(&args[0]) {
                all.push(args.join(" "));
            }
        }
        all
    }

    /// Runs a line and checks its reply and its effects.
    fn check(&mut self, line: &str, reply: &str, effects: &[&str]) {
        assert_eq!(self.run(line), reply, "{line}");
        assert_eq!(self.effects(), effects, "{line}");
    }

    fn check_all(&mut self, cases: &[(&str, &str, &[&str])]) {
        for (line, reply, effects) in cases {
            self.check(line, reply, effects);
        }
    }

    /// Puts a value of another type.
    fn put_stream(&mut self, key: &str) {
        let value: Value = Stream::default().into_value();
        let ks = &mut self.engine.state().ks;
        ks.put(
            key.as_bytes(),
            value,
            redkeep::keyspace::Expiry::Clear,
            None,
        );
        ks.log.dirty = 0;
    }
}

const NIL: &str = "$-1";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";
const SYNTAX: &str = "-ERR syntax error";

#[test]
fn relative_times_reach_the_log_as_deadlines() {
    Node::new().check_all(&[
        ("SET k v EX 100", "+OK", &["SET k v PXAT 1700000100000"]),
        ("SET k v PX 5 NX", NIL, &[]),
        (
            "SET k w XX EXAT 9999999999 GET",
            "$1 v",
            &["SET k w PXAT 9999999999000"],
        ),
        ("set k v keepttl", "+OK", &["set k v keepttl"]),
        ("SETEX k 10 v", "+OK", &["SET k v PXAT 1700000010000"]),
        ("PSETEX k 10 v", "+OK", &["SET k v PXAT 1700000000010"]),
        ("GETEX k", "$1 v", &[]),
        ("GETEX k EX 10", "$1 v", &["PEXPIREAT k 1700000010000"]),
        ("GETEX k PERSIST", "$1 v", &["PERSIST k"]),
        ("GETEX k PERSIST", "$1 v", &[]),
        ("GETEX k PXAT 1", "$1 v", &["DEL k"]),
        ("GETEX k EX nonsense", NIL, &[]),
    ]);
}

#[test]
fn what_was_read_does_not_reach_the_log() {
    Node::new().check_all(&[
        ("set k v get nx", NIL, &["set k v nx"]),
        ("set k w get get", "$1 v", &["set k w"]),
        ("SET k x NX GET", "$1 w", &[]),
        ("GETSET k y", "$1 w", &["SET k y"]),
        ("GETDEL k", "$1 y", &["DEL k"]),
        ("GETDEL k", NIL, &[]),
        ("INCRBYFLOAT f 3.0e3", "$4 3000", &["SET f 3000 KEEPTTL"]),
        (
            "INCRBYFLOAT f 0.1",
            "$22 3000.10000000000000009",
            &["SET f 3000.10000000000000009 KEEPTTL"],
        ),
        ("MSETNX f 1 g 2", ":0", &[]),
        ("msetnx g 1 h 2", ":1", &["msetnx g 1 h 2"]),
        ("SETRANGE nokey 3 ''", ":0", &[]),
        ("append e ''", ":0", &["append e "]),
    ]);
}

#[test]
fn set_compares_with_the_value() {
    Node::new().check_all(&[
        ("SET k a IFEQ x", NIL, &[]),
        ("SET k a IFDEQ short", NIL, &[]),
        (
            "SET k a IFNE x EX 100",
            "+OK",
            &["SET k a PXAT 1700000100000"],
        ),
        ("SET k b IFEQ x GET", "$1 a", &[]),
        ("SET k b IFEQ a KEEPTTL GET", "$1 a", &["SET k b KEEPTTL"]),
        ("SET k c IFNE b", NIL, &[]),
        ("set k c ifne a", "+OK", &["SET k c"]),
        ("DIGEST k", "$16 8c40219a46b9f81b", &[]),
        ("SET k d IFDEQ 8C40219A46B9F81B", "+OK", &["SET k d"]),
        ("SET k e IFDEQ 8c40219a46b9f81b", NIL, &[]),
        ("SET k e IFDNE 8c40219a46b9f81b", "+OK", &["SET k e"]),
        (
            "SET k f IFDEQ 1f",
            "-ERR must be exactly 16 hexadecimal characters",
            &[],
        ),
        ("SET k f IFEQ e IFNE x", SYNTAX, &[]),
        ("SET k f NX IFEQ e", SYNTAX, &[]),
        ("SET k f IFEQ e NX", SYNTAX, &[]),
        ("SET k f IFEQ", SYNTAX, &[]),
    ]);
}

#[test]
fn a_digest_has_sixteen_digits() {
    let mut node = Node::new();
    let value = "v8lf0c11xh8ymlqztfd3eeq16kfn4sspw7fqmnuuq3k3t75em5wdizgcdw7uc26nnf961u2jkfzkjytls2kwlj7626sd";
    node.run(&format!("SET k {value}"));
    assert_eq!(node.run("DIGEST k"), "$16 00006c38adf31777");
    assert_eq!(node.run("DIGEST nokey"), NIL);
}

#[test]
fn delete_compares_with_the_value() {
    let mut node = Node::new();
    node.run("MSET k a l a m a");
    node.effects();
    node.check_all(&[
        ("DELEX k IFEQ b", ":0", &[]),
        ("DELEX k IFNE a", ":0", &[]),
        (
            "DELEX k IFEQ",
            "-ERR wrong number of arguments for 'delex' command",
            &[],
        ),
        (
            "DELEX k FOO a",
            "-ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE",
            &[],
        ),
        (
            "DELEX k IFDEQ ab",
            "-ERR must be exactly 16 hexadecimal characters",
            &[],
        ),
        ("DELEX nokey IFDEQ ab", ":0", &[]),
        ("delex k ifeq a", ":1", &["DEL k"]),
        ("DELEX l", ":1", &["DEL l"]),
        ("DELIFEQ m b", ":0", &[]),
        ("DELIFEQ m a", ":1", &["DEL m"]),
        ("DELIFEQ m a", ":0", &[]),
    ]);
}

#[test]
fn many_are_set_under_one_condition_and_time() {
    Node::new().check_all(&[
        (
            "MSETEX 2 a 1 b 2 NX EX 10",
            ":1",
            &["SET a 1 PXAT 1700000010000", "SET b 2 PXAT 1700000010000"],
        ),
        ("MSETEX 2 b 3 c 3 NX", ":0", &[]),
        ("MSETEX 2 b 3 c 3 XX", ":0", &[]),
        (
            "MSETEX 2 a 3 b 3 KEEPTTL XX",
            ":1",
            &["SET a 3 KEEPTTL", "SET b 3 KEEPTTL"],
        ),
        ("MSETEX 1 a 4", ":1", &["SET a 4"]),
        ("MSETEX a 1 b", "-ERR invalid numkeys value", &[]),
        ("MSETEX 0 a 1", "-ERR invalid numkeys value", &[]),
        ("MSETEX 2147483648 a 1", "-ERR invalid numkeys value", &[]),
        (
            "MSETEX 2147483647 a 1",
            "-ERR wrong number of key-value pairs",
            &[],
        ),
        (
            "MSETEX 2 a 1 b",
            "-ERR wrong number of key-value pairs",
            &[],
        ),
        ("MSETEX 1 a 1 what", SYNTAX, &[]),
        ("MSETEX 1 a 1 NX XX", SYNTAX, &[]),
        ("MSETEX 1 a 1 EX 10 KEEPTTL", SYNTAX, &[]),
        (
            "MSETEX 1 a 1 EX 0",
            "-ERR invalid expire time in 'msetex' command",
            &[],
        ),
    ]);
}

#[test]
fn a_bounded_counter_refuses_or_saturates() {
    Node::new().check_all(&[
        ("INCREX n", "*2 :1 :1", &["SET n 1 KEEPTTL"]),
        ("INCREX n BYINT 10 UBOUND 5", "*2 :1 :0", &[]),
        (
            "INCREX n BYINT 10 UBOUND 5 SATURATE",
            "*2 :5 :4",
            &["SET n 5 KEEPTTL"],
        ),
        (
            "INCREX n BYINT -10 LBOUND 0 SATURATE",
            "*2 :0 :-5",
            &["SET n 0 KEEPTTL"],
        ),
        ("INCREX absent BYINT 15 UBOUND 10", "*2 :0 :0", &[]),
        (
            "SET n 9223372036854775800",
            "+OK",
            &["SET n 9223372036854775800"],
        ),
        ("INCREX n BYINT 100", "*2 :9223372036854775800 :0", &[]),
        (
            "INCREX n BYINT 100 SATURATE",
            "*2 :9223372036854775807 :7",
            &["SET n 9223372036854775807 KEEPTTL"],
        ),
        (
            "INCREX n SATURATE UBOUND -9223372036854775808",
            "-ERR applied increment would overflow",
            &[],
        ),
        ("SET n 50", "+OK", &["SET n 50"]),
        ("INCREX n BYINT 5 UBOUND 30", "*2 :50 :0", &[]),
        (
            "INCREX n BYINT -25 UBOUND 30",
            "*2 :25 :-25",
            &["SET n 25 KEEPTTL"],
        ),
        (
            "INCREX n BYFLOAT 0.5 UBOUND 30",
            "*2 $4 25.5 $3 0.5",
            &["SET n 25.5 KEEPTTL"],
        ),
        (
            "INCREX n BYFLOAT 100 UBOUND 42.5 SATURATE",
            "*2 $4 42.5 $2 17",
            &["SET n 42.5 KEEPTTL"],
        ),
        (
            "INCREX n",
            "-ERR value is not an integer or out of range",
            &[],
        ),
    ]);
}

#[test]
fn a_bounded_counter_sets_the_ttl() {
    let mut node = Node::new();
    node.check_all(&[
        (
            "INCREX n EX 100 ENX",
            "*2 :1 :1",
            &["SET n 1 PXAT 1700000100000"],
        ),
        ("INCREX n EX 5 ENX", "*2 :2 :1", &["SET n 2 KEEPTTL"]),
        ("INCREX n BYINT 9 UBOUND 5 EX 5", "*2 :2 :0", &[]),
        ("INCREX n PERSIST", "*2 :3 :1", &["SET n 3"]),
        (
            "INCREX n PX 10",
            "*2 :4 :1",
            &["SET n 4 PXAT 1700000000010"],
        ),
        ("INCREX n EXAT 1 ENX", "*2 :5 :1", &["SET n 5 KEEPTTL"]),
        ("INCREX n EXAT 1", "*2 :6 :1", &["DEL n"]),
        ("GET n", NIL, &[]),
    ]);
    node.run("SET n 1 PX 10");
    node.effects();
    node.clock.advance_ms(11);
    node.check("INCREX n", "*2 :1 :1", &["DEL n", "SET n 1 KEEPTTL"]);
}

#[test]
fn a_bounded_counter_words_its_errors() {
    let mut node = Node::new();
    for line in [
        "INCREX n FOO",
        "INCREX n BYINT",
        "INCREX n BYINT 1 BYFLOAT 1.5",
        "INCREX n BYINT 1 BYINT 2",
        "INCREX n EX 10 PX 5000",
        "INCREX n EX 10 EX 20",
        "INCREX n PERSIST EX 10",
        "INCREX n PERSIST PERSIST",
        "INCREX n PERSIST ENX",
        "INCREX n SATURATE SATURATE",
        "INCREX n ENX ENX EX 10",
    ] {
        assert_eq!(node.run(line), SYNTAX, "{line}");
    }
    node.check_all(&[
        ("INCREX n ENX", "-ERR ENX flag requires an expiration", &[]),
        (
            "INCREX n BYINT 1.5",
            "-ERR Increment is not an integer or out of range",
            &[],
        ),
        (
            "INCREX n BYFLOAT abc",
            "-ERR Increment is not a valid float",
            &[],
        ),
        (
            "INCREX n UBOUND abc",
            "-ERR UBOUND is not an integer or out of range",
            &[],
        ),
        (
            "INCREX n LBOUND 10 UBOUND 5",
            "-ERR LBOUND can't be greater than UBOUND",
            &[],
        ),
        (
            "INCREX n EX 0",
            "-ERR invalid expire time in 'increx' command",
            &[],
        ),
        (
            "INCREX n BYFLOAT -inf",
            "-ERR BYFLOAT increment cannot be Infinity",
            &[],
        ),
    ]);
    node.run("SET n inf");
    assert_eq!(
        node.run("INCREX n BYFLOAT 1"),
        "-ERR value cannot be Infinity"
    );
}

#[test]
fn a_float_counter_answers_with_doubles_in_resp3() {
    let mut node = Node::new();
    let args: [&[u8]; 4] = [b"INCREX", b"n", b"BYFLOAT", b"0.1"];
    assert_eq!(node.run_as(Proto::Resp3, &args), "*2 ,0.1 ,0.1");
}

#[test]
fn other_types_are_refused() {
    let mut node = Node::new();
    node.put_stream("s");
    for line in [
        "GET s",
        "STRLEN s",
        "GETRANGE s 0 1",
        "DIGEST s",
        "APPEND s x",
        "SETRANGE s 0 x",
        "SETRANGE s 0 ''",
        "GETDEL s",
        "GETEX s",
        "GETSET s x",
        "SET s x GET",
        "SET s x NX GET",
        "SET s x IFEQ y",
        "SET s x IFDNE y",
        "INCR s",
        "INCRBYFLOAT s 1",
        "INCREX s",
        "DELIFEQ s x",
    ] {
        assert_eq!(node.run(line), WRONG_TYPE, "{line}");
    }
    node.check_all(&[
        ("MGET s nokey", "*2 $-1 $-1", &[]),
        ("SET s x NX", NIL, &[]),
        (
            "LCS s nokey",
            "-ERR The specified keys must contain string values",
            &[],
        ),
        (
            "DELEX s IFEQ x",
            "-ERR Key should be of string type if conditions are specified",
            &[],
        ),
        (
            "INCRBY s abc",
            "-ERR value is not an integer or out of range",
            &[],
        ),
        ("SETRANGE s -1 x", "-ERR offset is out of range", &[]),
        ("SET s x XX", "+OK", &["SET s x XX"]),
    ]);
}

#[test]
fn the_keys_of_set_and_delex_are_read_or_not() {
    use redkeep::spec::Lookup;
    let registry = redkeep::commands::registry();
    let flags = |line: &str| {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let Lookup::Found(entry) = registry.find(args[0], args.get(1).copied()) else {
            panic!("{line}");
        };
        let keys = entry.keys(&args.as_slice()).unwrap();
        let names: Vec<_> = keys[0].flags.names().collect();
        (keys.len(), names.join(" "))
    };
    assert_eq!(flags("SET k v"), (1, "OW update".into()));
    assert_eq!(flags("SET k v EX 1 GET"), (1, "RW access update".into()));
    assert_eq!(flags("SET k v ifeq x"), (1, "RW access update".into()));
    assert_eq!(flags("DELEX k"), (1, "RM delete".into()));
    assert_eq!(flags("DELEX k IFEQ x"), (1, "RW access delete".into()));
    assert_eq!(flags("MSETEX 2 a 1 b 2 NX"), (2, "OW update".into()));
}
