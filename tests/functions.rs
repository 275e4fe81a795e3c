//! Functions, through the engine: what ends them, what a failed load leaves behind, what is logged, what they may use;
//! and their payloads, to a real redis-server and from it.

#![cfg(feature = "lua")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::node::{Node, one};
use common::{Client, Reply, Server};
use redkeep::exec::SessionId;
use redkeep::exec::busy::{BusyGate, BusyRequest};
use redkeep::exec::session::Peer;
use redkeep::util::clock::{ManualClock, SystemClock};

fn node() -> Node {
    Node::new(Arc::new(SystemClock::new()), 1)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Calls for Node {
    fn call(&mut self, args: &[&str]) -> String {
        text(&self.run(args))
    }
}

trait Calls {
    fn call(&mut self, args: &[&str]) -> String;

    fn load(&mut self, code: &str) -> String {
        self.call(&["FUNCTION", "LOAD", "REPLACE", code])
    }

    /// Loads a library `lib` with a function `f`.
    fn function(&mut self, body: &str) {
        let code = format!(
            "#!lua name=lib\nredis.register_function('f', function(keys, args) {body} end)"
        );
        assert_eq!(self.load(&code), "$3\r\nlib\r\n");
    }

    fn f(&mut self) -> String {
        self.call(&["FCALL", "f", "0"])
    }

    fn info(&mut self, field: &str) -> u64 {
        let info = self.call(&["INFO", "memory"]);
        let value = info
            .lines()
            .find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap().trim().parse().unwrap()
    }
}

/// A node whose scripts are soon busy.
fn impatient() -> Node {
    let mut node = node();
    node.call(&["CONFIG", "SET", "busy-reply-threshold", "10"]);
    node
}

/// Posts requests for a client as soon as the gate is shut; gives the replies.
fn while_busy(gate: &BusyGate, sid: SessionId, requests: &[&[&str]]) -> String {
    let end = Instant::now() + Duration::from_secs(10);
    while !gate.is_shut() {
        assert!(Instant::now() < end, "no script became busy");
        thread::sleep(Duration::from_millis(1));
    }
    let (tx, rx) = mpsc::channel();
    let requests = requests
        .iter()
        .map(|args| args.iter().map(|a| a.as_bytes().to_vec()).collect())
        .collect();
    let posted = gate.post(BusyRequest::Run {
        sid,
        requests,
        done: Box::new(move |served| tx.send(served).unwrap()),
    });
    assert!(posted.is_ok());
    let served = rx.recv_timeout(Duration::from_secs(10)).unwrap();
    text(&served.bytes)
}

/// Runs a command that becomes busy, and others meanwhile.
fn busy(node: &mut Node, command: &[&str], others: &[&[&str]]) -> (String, String) {
    let other = node.engine.connect(Peer::default());
    let gate = node.engine.gate();
    let both = thread::scope(|scope| {
        let others = scope.spawn(|| while_busy(&gate, other, others));
        let reply = node.call(command);
        (others.join().unwrap(), reply)
    });
    assert!(!gate.is_shut());
    both
}

const BUSY_FUNCTION: &str =
    "-BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.\r\n";
const BUSY_SCRIPT: &str =
    "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";

#[test]
fn a_busy_function_is_killed_whatever_it_catches() {
    for body in [
        "while true do end",
        "while true do redis.call('ping') end",
        "while true do pcall(function() while true do end end) end",
        "while true do xpcall(function() while true do end end, function(e) while true do end end) end",
        "while true do coroutine.wrap(function() while true do end end)() end",
        "return (('a'):rep(1e6)):match('.-.-.-b')",
        "local t = {} for i = 1, 40 do t = {t, t} end cjson.encode(t)",
    ] {
        let mut node = impatient();
        node.function(body);
        let others: &[&[&str]] = &[&["PING"], &["SCRIPT", "KILL"], &["FUNCTION", "KILL"]];
        let (replies, killed) = busy(&mut node, &["FCALL", "F", "0"], others);
        assert_eq!(
            replies,
            format!("{BUSY_FUNCTION}{BUSY_FUNCTION}+OK\r\n"),
            "{body}"
        );
        let expected = "-ERR Script killed by user with SCRIPT KILL...";
        assert!(killed.starts_with(expected), "{body}: {killed}");
        // What a tail call left behind is not known.
        let known = killed.ends_with(" script: f, on @user_function:2.\r\n");
        assert!(known || body.starts_with("return "), "{body}: {killed}");
        node.function("return redis.call('ping')");
        assert_eq!(node.f(), "+PONG\r\n");
    }
}

#[test]
fn stats_tell_what_runs() {
    let mut node = impatient();
    let command = ["fcall_ro", "F", "1", "key", "\r\n"];
    let code = "#!lua name=lib\nredis.register_function{function_name = 'f', flags = {'no-writes'}, \
        callback = function() while true do end end}";
    node.load(code);
    let (replies, _) = busy(
        &mut node,
        &command,
        &[&["FUNCTION", "STATS"], &["FUNCTION", "KILL"]],
    );
    let (before, after) = replies.split_once("$11\r\nduration_ms\r\n:").unwrap();
    assert_eq!(
        before,
        "*4\r\n$14\r\nrunning_script\r\n*6\r\n$4\r\nname\r\n$1\r\nf\r\n$7\r\ncommand\r\n\
         *5\r\n$8\r\nfcall_ro\r\n$1\r\nF\r\n$1\r\n1\r\n$3\r\nkey\r\n$2\r\n\r\n\r\n"
    );
    let (millis, after) = after.split_once("\r\n").unwrap();
    assert!((10..10_000).contains(&millis.parse().unwrap()), "{millis}");
    assert!(
        after.starts_with("$7\r\nengines\r\n*2\r\n$3\r\nLUA\r\n"),
        "{after}"
    );
    let idle = node.call(&["FUNCTION", "STATS"]);
    assert!(
        idle.starts_with("*4\r\n$14\r\nrunning_script\r\n$-1\r\n"),
        "{idle}"
    );
}

#[test]
fn a_script_is_not_killed_as_a_function() {
    let mut node = impatient();
    let others: &[&[&str]] = &[
        &["FUNCTION", "STATS"],
        &["FUNCTION", "KILL"],
        &["FUNCTION", "FLUSH"],
        &["SCRIPT", "KILL"],
    ];
    let (replies, _) = busy(&mut node, &["EVAL", "while true do end", "0"], others);
    assert_eq!(
        replies,
        format!("{BUSY_SCRIPT}{BUSY_SCRIPT}{BUSY_SCRIPT}+OK\r\n")
    );
    let idle = "-NOTBUSY No scripts in execution right now.\r\n";
    assert_eq!(node.call(&["FUNCTION", "KILL"]), idle);
}

#[test]
fn a_function_that_wrote_is_not_killed() {
    let mut node = impatient();
    node.function("redis.call('set', 'k', '1') local t = os.clock() while os.clock() - t < 0.3 do end return 5");
    let (replies, reply) = busy(
        &mut node,
        &["FCALL", "f", "0"],
        &[&["FUNCTION", "KILL"], &["SCRIPT", "KILL"]],
    );
    assert_eq!(
        replies
            .matches("-UNKILLABLE Sorry the script already")
            .count(),
        2,
        "{replies}"
    );
    assert_eq!(reply, ":5\r\n");
}

#[test]
fn a_busy_function_in_a_transaction_ends_alone() {
    let mut node = impatient();
    node.function("while true do end");
    node.call(&["MULTI"]);
    node.call(&["SET", "a", "1"]);
    node.f();
    node.call(&["SET", "b", "2"]);
    let (_, reply) = busy(&mut node, &["EXEC"], &[&["FUNCTION", "KILL"]]);
    assert!(
        reply.starts_with("*3\r\n+OK\r\n-ERR Script killed"),
        "{reply}"
    );
    assert_eq!(node.call(&["GET", "b"]), "$1\r\n2\r\n");
}

#[test]
fn a_hostile_library_is_an_error_and_changes_nothing() {
    let mut node = node();
    node.function("return 1");
    let before = node.contents();
    for body in [
        "while true do end",
        "local s = 'x' while true do s = s .. s end",
        "local s = ('x'):rep(1e9)",
        "redis.register_function{function_name = 'g', callback = function() end, flags = {('x'):rep(1e9)}}",
        "local t = {} while true do t[#t + 1] = {} end",
        "local function f() return 1 + f() end f()",
        "local function f(s) return s:gsub('.', f) end f('a')",
        "local s = ('a'):rep(1e6):match('.-.-.-b')",
        "local i = 0 while true do i = i + 1 redis.register_function('f' .. i, function() end) end",
        "local d, i = ('x'):rep(1e7), 0 while true do i = i + 1 redis.register_function{function_name = 'f' .. i, \
         callback = function() end, description = d .. i} end",
    ] {
        let began = Instant::now();
        let reply = node.load(&format!("#!lua name=lib\n{body}"));
        assert!(
            reply.starts_with("-ERR Error registering functions: "),
            "{body}: {reply}"
        );
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "{body}: {:?}",
            began.elapsed()
        );
        assert_eq!(node.contents(), before, "{body}");
        assert_eq!(node.f(), ":1\r\n");
    }
    let nested = format!(
        "#!lua name=lib\nreturn {}1{}",
        "(".repeat(100_000),
        ")".repeat(100_000)
    );
    assert!(
        node.load(&nested)
            .starts_with("-ERR Error compiling function: ")
    );
    assert_eq!(node.contents(), before);
}

#[test]
fn a_payload_is_restored_whole_or_not_at_all() {
    let mut source = node();
    for (library, function) in [("a", "f1"), ("b", "f2"), ("c", "f3")] {
        source.load(&library_of(library, function, "return 'new'"));
    }
    let reply = source.run(&["FUNCTION", "DUMP"]);
    let payload = one(&[b"*1\r\n", &reply[..]].concat()).0.remove(0);
    for (there, policy, error) in [
        ("b", "APPEND", Some("-ERR Library b already exists\r\n")),
        ("b", "REPLACE", None),
        ("z", "APPEND", Some("-ERR Function f3 already exists\r\n")),
        ("z", "REPLACE", Some("-ERR Function f3 already exists\r\n")),
        ("z", "FLUSH", None),
    ] {
        let mut node = node();
        node.load(&library_of(there, "F3", "return 'old'"));
        let before = node.contents();
        let reply = text(&node.run(&[
            &b"FUNCTION"[..],
            b"RESTORE",
            &payload[..],
            policy.as_bytes(),
        ]));
        assert_eq!(reply, error.unwrap_or("+OK\r\n"), "{there} {policy}");
        let value = if error.is_some() { "old" } else { "new" };
        assert_eq!(
            node.call(&["FCALL", "f3", "0"]),
            format!("$3\r\n{value}\r\n")
        );
        if error.is_some() {
            assert_eq!(node.contents(), before);
        } else {
            assert_eq!(node.contents(), source.contents());
        }
    }
}

fn library_of(name: &str, function: &str, body: &str) -> String {
    format!(
        "#!lua name={name}\nredis.register_function('{function}', function(keys, args) {body} end)"
    )
}

#[test]
fn what_is_kept_ends_with_its_library() {
    let mut node = node();
    let code = "#!lua name=lib\nlocal n = 0 redis.register_function('f', function() n = n + 1 return n end)";
    node.load(code);
    assert_eq!((node.f(), node.f()), (":1\r\n".into(), ":2\r\n".into()));
    // Another library comes and goes, and numbers are used again.
    node.load(&library_of("other", "g", "return 'g'"));
    node.call(&["FUNCTION", "DELETE", "other"]);
    node.load(&library_of("third", "h", "return 'h'"));
    assert_eq!(node.call(&["FCALL", "h", "0"]), "$1\r\nh\r\n");
    assert_eq!(node.f(), ":3\r\n");
    // Neither what fails nor SCRIPT FLUSH ends it; loading it again does.
    node.load("#!lua name=lib\nerror()");
    node.call(&["SCRIPT", "FLUSH"]);
    assert_eq!(node.f(), ":4\r\n");
    node.load(code);
    assert_eq!(node.f(), ":1\r\n");
    node.call(&["FUNCTION", "FLUSH"]);
    assert_eq!(node.f(), "-ERR Function not found\r\n");
    node.load(code);
    assert_eq!(node.f(), ":1\r\n");
}

#[test]
fn functions_and_scripts_do_not_see_each_other() {
    let mut node = node();
    node.function("return loadstring('return KEYS')()");
    assert!(node.f().contains("nonexistent global variable 'KEYS'"));
    let reply = node.call(&["EVAL", "return redis.register_function", "0"]);
    assert_eq!(reply, "$-1\r\n");
    node.function(
        "math.randomseed(1) local t = getmetatable('') return tostring(t.__index == string)",
    );
    let reply = node.call(&[
        "EVAL",
        "math.randomseed(1) return tostring(math.random())",
        "0",
    ]);
    node.f();
    assert_eq!(
        node.call(&[
            "EVAL",
            "math.randomseed(1) return tostring(math.random())",
            "0"
        ]),
        reply
    );
}

#[test]
fn libraries_are_logged_as_sent_and_calls_as_what_they_do() {
    let clock = Arc::new(ManualClock::at_ms(1_700_000_000_000));
    let mut leader = Node::new(clock.clone(), 1);
    let mut follower = Node::new(clock, 2);
    leader.engine.collect_effects(true);
    let words = |log: &[u8]| -> String {
        let log = text(log);
        let words: Vec<&str> = log
            .split("\r\n")
            .filter(|l| !l.starts_with(['*', '$']))
            .collect();
        words.join(" ").trim().to_owned()
    };
    let code = library_of(
        "lib",
        "f",
        "redis.call('set', 'k', args[1]) redis.call('get', 'k') redis.call('incr', 'n')",
    );
    let bad = library_of("lib", "a-b", "");
    for (command, log) in [
        (
            &["FUNCTION", "LOAD", "replace", &code][..],
            &*format!("SELECT 0 FUNCTION LOAD replace {code}"),
        ),
        (&["FUNCTION", "LOAD", &code], ""),
        (&["FUNCTION", "LOAD", "REPLACE", &bad], ""),
        (&["FCALL", "f", "0", "v"], "MULTI set k v incr n EXEC"),
        (&["FCALL", "none", "0"], ""),
        (&["FUNCTION", "DUMP"], ""),
        (&["FUNCTION", "LIST"], ""),
        (&["FUNCTION", "RESTORE", "bad"], ""),
        (&["FLUSHALL"], "FLUSHALL"),
        (&["FUNCTION", "DELETE", "none"], ""),
        (&["FUNCTION", "DELETE", "lib"], "FUNCTION DELETE lib"),
        (&["FUNCTION", "FLUSH", "ASYNC"], "FUNCTION FLUSH ASYNC"),
    ] {
        leader.call(command);
        let effects = leader.engine.take_effects();
        assert_eq!(words(&effects), log, "{command:?}");
        follower.apply(&effects);
        assert_eq!(leader.contents(), follower.contents(), "{command:?}");
    }
    let mut source = node();
    source.load(&code);
    let reply = source.run(&["FUNCTION", "DUMP"]);
    let payload = one(&[b"*1\r\n", &reply[..]].concat()).0.remove(0);
    leader.run(&[&b"FUNCTION"[..], b"RESTORE", &payload[..], b"FLUSH"]);
    let effects = leader.engine.take_effects();
    assert_eq!(
        one(&effects).0,
        [&b"FUNCTION"[..], b"RESTORE", &payload[..], b"FLUSH"]
    );
    follower.apply(&effects);
    assert_eq!(leader.contents(), follower.contents());
    assert_eq!(follower.contents(), source.contents());
}

#[test]
fn errors_are_counted_once_and_calls_are_seen() {
    let mut node = node();
    node.function("return redis.call(unpack(args))");
    node.call(&["CONFIG", "RESETSTAT"]);
    node.call(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
    node.call(&["FCALL", "f", "0", "nosuch"]);
    node.call(&["FCALL", "f", "0", "ping"]);
    node.call(&["FCALL", "g", "0"]);
    let info = node.call(&["INFO", "errorstats"]);
    assert!(info.contains("errorstat_ERR:count=2\r\n"), "{info}");
    let info = node.call(&["INFO", "commandstats"]);
    let line = info
        .lines()
        .find(|l| l.starts_with("cmdstat_fcall:"))
        .unwrap();
    assert!(
        line.contains("calls=3,") && line.ends_with("rejected_calls=0,failed_calls=2"),
        "{line}"
    );
    let slow = node.call(&["SLOWLOG", "GET", "-1"]);
    assert!(
        slow.contains("$5\r\nFCALL\r\n$1\r\nf\r\n$1\r\n0\r\n$4\r\nping\r\n"),
        "{slow}"
    );
}

#[test]
fn memory_is_accounted() {
    let mut node = node();
    let fields = [
        "number_of_libraries",
        "number_of_functions",
        "used_memory_functions",
        "used_memory_vm_functions",
    ];
    assert_eq!(fields.map(|f| node.info(f)), [0; 4]);
    let padding = "-".repeat(100_000);
    let code = format!(
        "#!lua name=lib\n--{padding}\nlocal t = {{}} redis.register_function('f', function() \
        for i = 1, 10000 do t[#t + 1] = {{}} end end) redis.register_function('g', function() end)"
    );
    node.load(&code);
    let [libraries, functions, bytes, vm] = fields.map(|f| node.info(f));
    assert_eq!((libraries, functions), (1, 2));
    assert!((100_000..101_000).contains(&bytes), "{bytes}");
    node.f();
    assert!(node.info("used_memory_vm_functions") > vm + 400_000);
    assert!(node.info("used_memory") > vm + bytes + 400_000);
    // With what the interpreter has: no part of the data set.
    let caches = bytes + node.info("used_memory_vm_functions");
    let stats = node.call(&["MEMORY", "STATS"]);
    assert!(
        stats.contains(&format!("$16\r\nfunctions.caches\r\n:{caches}\r\n")),
        "{stats}"
    );
    node.call(&["FUNCTION", "FLUSH"]);
    assert_eq!(fields.map(|f| node.info(f)), [0; 4]);
}

#[test]
fn there_may_be_many_libraries() {
    let mut node = node();
    for i in 0..500 {
        let reply = node.load(&library_of(
            &format!("lib{i}"),
            &format!("f{i}"),
            &format!("return {i}"),
        ));
        assert!(reply.starts_with('$'), "{reply}");
    }
    for i in (0..500).step_by(2) {
        assert_eq!(
            node.call(&["FUNCTION", "DELETE", &format!("lib{i}")]),
            "+OK\r\n"
        );
    }
    let mut other = self::node();
    node.restore_into(&mut other);
    for node in [&mut node, &mut other] {
        for i in 0..500 {
            let reply = node.call(&["FCALL", &format!("F{i}"), "0"]);
            let expected = if i % 2 == 0 {
                "-ERR Function not found\r\n".to_owned()
            } else {
                format!(":{i}\r\n")
            };
            assert_eq!(reply, expected);
        }
    }
}

/// Libraries whose code is short, compresses well, does not compress, and is no UTF-8.
fn samples() -> Vec<Vec<u8>> {
    let noise: String = (0..3000u64)
        .map(|n| char::from(b'a' + (n.wrapping_mul(n) * 7919 / 13 % 26) as u8))
        .collect();
    [
        &b""[..],
        &b"x".repeat(20_000),
        noise.as_bytes(),
        b"\xff\xfe\x80",
        b"quotes \" and \\ and \r\nlines",
    ]
    .iter()
    .enumerate()
    .map(|(i, padding)| {
        let code = library_of(
            &format!("lib{i}"),
            &format!("f{i}"),
            &format!("return {{{i}, keys, args}}"),
        );
        [code.as_bytes(), b" --[==[", padding, b"]==]"].concat()
    })
    .collect()
}

fn call(client: &mut Client, args: &[&[u8]]) -> Reply {
    client.call(args).unwrap()
}

/// Everything that can be asked about functions, those of the samples called.
fn everything(client: &mut Client) -> Vec<Reply> {
    let mut all = vec![call(client, &[b"FUNCTION", b"STATS"])];
    for i in 0..samples().len() {
        let (library, function) = (format!("lib{i}"), format!("f{i}"));
        all.push(call(
            client,
            &[
                b"FUNCTION",
                b"LIST",
                b"WITHCODE",
                b"LIBRARYNAME",
                library.as_bytes(),
            ],
        ));
        all.push(call(
            client,
            &[b"FCALL", function.as_bytes(), b"1", b"k", b"a"],
        ));
    }
    all
}

#[test]
fn payloads_go_to_a_real_redis_and_come_from_it() {
    let Some(redis) = Server::redis(&[]) else {
        return;
    };
    let redkeep = Server::redkeep(&[]);
    let (mut theirs, mut ours) = (redis.client(), redkeep.client());
    for back in [false, true] {
        let (from, to) = if back {
            (&mut ours, &mut theirs)
        } else {
            (&mut theirs, &mut ours)
        };
        for client in [&mut *from, &mut *to] {
            call(client, &[b"FUNCTION", b"FLUSH"]);
        }
        for code in samples() {
            let reply = call(from, &[b"FUNCTION", b"LOAD", &code]);
            assert!(matches!(reply, Reply::Bulk(_)), "{reply:?}");
        }
        let Reply::Bulk(payload) = call(from, &[b"FUNCTION", b"DUMP"]) else {
            panic!("no payload");
        };
        assert_eq!(
            call(to, &[&b"FUNCTION"[..], b"RESTORE", &payload]),
            Reply::ok()
        );
        assert_eq!(everything(from), everything(to));
        let again = call(to, &[&b"FUNCTION"[..], b"RESTORE", &payload]);
        assert!(
            matches!(&again, Reply::Error(e) if e.ends_with(b" already exists")),
            "{again:?}"
        );
        assert_eq!(
            call(to, &[&b"FUNCTION"[..], b"RESTORE", &payload, b"REPLACE"]),
            Reply::ok()
        );
        assert_eq!(
            call(to, &[&b"FUNCTION"[..], b"RESTORE", &payload, b"FLUSH"]),
            Reply::ok()
        );
        assert_eq!(everything(from), everything(to));
    }
}
