//! What clients may do, and what becomes of it when the rules change.

use std::collections::BTreeMap;

use redkeep::engine::{Engine, Options, Outcome};
use redkeep::exec::Args;
use redkeep::exec::session::{Peer, SessionId};
use redkeep::resp::{Proto, ReplyBuf, split_line};

/// Clients of one engine, by name.
struct World {
    engine: Engine,
    clients: BTreeMap<&'static str, SessionId>,
}

impl World {
    /// `root` is there, and may do everything. Of the rules, each makes a user.
    fn new(users: &[&str]) -> World {
        let engine = Engine::new(Options::default());
        let clients = BTreeMap::new();
        let mut world = World { engine, clients };
        for user in users {
            assert_eq!(world.say("root", &format!("ACL SETUSER {user}")), "+OK");
        }
        world
    }

    fn sid(&mut self, who: &'static str) -> SessionId {
        let engine = &mut self.engine;
        let connect = || engine.connect(Peer::default());
        *self.clients.entry(who).or_insert_with(connect)
    }

    fn outcome(&mut self, who: &'static str, line: &str) -> (String, Outcome) {
        let words = split_line(line.as_bytes()).unwrap();
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let sid = self.sid(who);
        let mut reply = ReplyBuf::new(Proto::Resp2);
        self.engine.refresh_time();
        let outcome = self.engine.execute(sid, Args::new(&words), &mut reply);
        (text(reply.as_slice()), outcome)
    }

    /// The reply, its lines separated by spaces.
    fn say(&mut self, who: &'static str, line: &str) -> String {
        self.outcome(who, line).0
    }

    /// What came without being asked for.
    fn heard(&mut self, who: &'static str) -> (String, Outcome) {
        let sid = self.sid(who);
        let mut out = ReplyBuf::new(Proto::Resp2);
        let outcome = self.engine.take_output(sid, &mut out);
        (text(out.as_slice()), outcome)
    }

    /// Whether the connection is to end.
    fn is_cut_off(&mut self, who: &'static str) -> bool {
        matches!(self.heard(who).1, Outcome::Cut | Outcome::Close)
    }
}

fn text(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply)
        .trim_end()
        .replace("\r\n", " ")
}

const NO_GET: &str = "-NOPERM User joe has no permissions to run the 'get' command";
const NO_KEY: &str = "-NOPERM No permissions to access a key";
const NO_CHANNEL: &str = "-NOPERM No permissions to access a channel";

#[test]
fn a_client_is_who_it_logs_in_as() {
    let mut world = World::new(&["joe on >secret +set +auth ~a", "off nopass +@all"]);
    assert_eq!(world.say("c", "ACL WHOAMI"), "$7 default");
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    for line in [
        "AUTH joe guess",
        "AUTH nobody secret",
        "AUTH off x",
        "HELLO 2 AUTH joe guess",
    ] {
        assert_eq!(world.say("c", line), wrong);
    }
    assert_eq!(world.say("c", "ACL WHOAMI"), "$7 default");
    assert_eq!(world.say("c", "AUTH joe secret"), "+OK");
    assert_eq!(world.say("c", "SET a 1"), "+OK");
    assert_eq!(world.say("c", "SET b 1"), NO_KEY);
    assert_eq!(world.say("c", "GET a"), NO_GET);
    assert_eq!(
        world.say("c", "ACL WHOAMI"),
        "-NOPERM User joe has no permissions to run the 'acl|whoami' command"
    );
    assert!(
        world
            .say("root", "CLIENT LIST")
            .contains(" cmd=acl|whoami user=joe ")
    );
    assert!(
        world
            .say("root", "CLIENT LIST USER joe")
            .contains("user=joe")
    );
    assert_eq!(
        world.say("root", "CLIENT KILL USER nobody"),
        "-ERR No such user 'nobody'"
    );
    assert_eq!(world.say("c", "RESET"), "+RESET");
    assert_eq!(world.say("c", "ACL WHOAMI"), "$7 default");
    assert_eq!(world.say("root", "CONFIG SET requirepass pw"), "+OK");
    assert_eq!(world.say("c", "RESET"), "+RESET");
    assert_eq!(world.say("c", "PING"), "-NOAUTH Authentication required.");
    assert_eq!(world.say("c", "AUTH pw"), "+OK");
    assert_eq!(world.say("c", "ACL WHOAMI"), "$7 default");
}

#[test]
fn refusals_are_told_to_the_log_and_counted() {
    let mut world = World::new(&["joe on nopass +@all -get ~a &c"]);
    world.say("c", "AUTH joe guess");
    world.say("c", "GET a");
    world.say("c", "GET a");
    world.say("c", "SET b 1");
    world.say("c", "PUBLISH d x");
    world.say("c", "AUTH joe2 x");
    world.say("c", "MULTI");
    world.say("c", "GET a");
    world.say("c", "DISCARD");
    world.say("c", "EVAL \"return redis.pcall('get', 'a')\" 0");
    let mut log = Vec::new();
    let entries = world.say("root", "ACL LOG");
    let words: Vec<&str> = entries.split(' ').collect();
    let after = |at: usize, name: &str| {
        let at = at + words[at..].iter().position(|word| *word == name).unwrap();
        // An integer, or the length of a string before it.
        let value = words[at + 1];
        value.strip_prefix(':').unwrap_or(words[at + 2]).to_owned()
    };
    for (at, _) in words
        .iter()
        .enumerate()
        .filter(|(_, word)| **word == "count")
    {
        let fields = ["count", "reason", "context", "object", "username"];
        log.push(fields.map(|name| after(at, name)).join(" "));
    }
    assert_eq!(
        log,
        [
            "1 command lua get joe",
            "1 command multi get joe",
            "1 auth toplevel AUTH joe2",
            "1 channel toplevel d joe",
            "1 key toplevel b joe",
            "2 command toplevel get joe",
        ]
    );
    let info = world.say("root", "INFO stats");
    for field in ["auth:1", "cmd:4", "key:1", "channel:1"] {
        assert!(
            info.contains(&format!("acl_access_denied_{field}")),
            "{info}"
        );
    }
    assert!(world.say("root", "ACL LOG 1").starts_with("*1 "));
    assert_eq!(world.say("root", "ACL LOG RESET"), "+OK");
    assert_eq!(world.say("root", "ACL LOG"), "*0");
    assert_eq!(world.say("root", "CONFIG RESETSTAT"), "+OK");
    assert!(
        world
            .say("root", "INFO stats")
            .contains("acl_access_denied_cmd:0")
    );
}

#[test]
fn transactions_are_asked_when_commands_are_queued_and_again_when_they_run() {
    let mut world = World::new(&["joe on nopass +@all ~a"]);
    world.say("c", "AUTH joe x");
    world.say("c", "MULTI");
    assert_eq!(world.say("c", "SET b 1"), NO_KEY);
    assert!(world.say("c", "EXEC").starts_with("-EXECABORT"));
    world.say("c", "MULTI");
    assert_eq!(world.say("c", "SET a 1"), "+QUEUED");
    assert_eq!(world.say("c", "INCR a"), "+QUEUED");
    world.say("root", "ACL SETUSER joe -set");
    let reply = world.say("c", "EXEC");
    assert!(
        reply.starts_with("*2 -NOPERM ACLs rules changed between"),
        "{reply}"
    );
    assert!(
        reply.ends_with("no permission to execute the command or subcommand :1"),
        "{reply}"
    );
    world.say("c", "MULTI");
    world.say("c", "INCR a");
    world.say("root", "ACL SETUSER joe -exec");
    let reply = world.say("c", "EXEC");
    assert!(
        reply.contains("no permissions to run the 'exec' command"),
        "{reply}"
    );
    world.say("root", "ACL SETUSER joe +exec");
    assert_eq!(world.say("c", "EXEC"), "-ERR EXEC without MULTI");
    assert_eq!(world.say("root", "GET a"), "$1 1");
}

#[test]
fn scripts_may_do_what_their_callers_may() {
    let mut world = World::new(&["joe on nopass +@all -get ~a"]);
    world.say("root", "FUNCTION LOAD \"#!lua name=l\\nredis.register_function('f', function(k) return redis.call('get', k[1]) end)\"");
    world.say("c", "AUTH joe x");
    let reply = world.say("c", "EVAL \"return redis.call('get', 'a')\" 0");
    assert!(
        reply.starts_with(
            "-ERR ACL failure in script: User joe has no permissions to run the 'get' command"
        ),
        "{reply}"
    );
    let reply = world.say("c", "EVAL \"return redis.call('set', 'b', '1')\" 0");
    assert!(
        reply.starts_with("-ERR ACL failure in script: No permissions to access a key"),
        "{reply}"
    );
    assert!(
        world
            .say("c", "FCALL f 1 a")
            .contains("ACL failure in script")
    );
    assert_eq!(
        world.say("c", "EVAL \"return redis.call('set', 'a', '1')\" 0"),
        "+OK"
    );
    // The keys that a script declares are keys of its caller.
    assert_eq!(world.say("c", "EVAL \"return 1\" 1 b"), NO_KEY);
    for (command, allowed) in [
        ("'get', 'a'", "$-1"),
        ("'set', 'b', 1", "$-1"),
        ("'set', 'a', 1", ":1"),
    ] {
        let line = format!("EVAL \"return redis.acl_check_cmd({command})\" 0");
        assert_eq!(world.say("c", &line), allowed, "{command}");
        assert_eq!(world.say("root", &line), ":1", "{command}");
    }
}

#[test]
fn who_waits_is_asked_again_when_it_gets_something() {
    let mut world = World::new(&["joe on nopass +@all ~a"]);
    world.say("c", "AUTH joe x");
    assert_eq!(world.outcome("c", "BLPOP a 0").1, Outcome::Blocked);
    world.say("root", "ACL SETUSER joe resetkeys");
    assert_eq!(world.say("root", "LPUSH a 1"), ":1");
    assert_eq!(world.heard("c").0, NO_KEY);
    assert_eq!(world.say("root", "LLEN a"), ":1");
}

#[test]
fn who_is_deleted_is_cut_off_and_who_did_that_hears_of_it() {
    let mut world = World::new(&["joe on nopass +@all ~*", "jim on nopass +@all"]);
    world.say("c", "AUTH joe x");
    world.say("d", "AUTH jim x");
    assert_eq!(
        world.say("root", "ACL DELUSER joe default"),
        "-ERR The 'default' user cannot be removed"
    );
    assert_eq!(
        world.outcome("d", "ACL DELUSER joe jim nobody"),
        (":2".to_owned(), Outcome::Close)
    );
    assert!(world.is_cut_off("c"));
    assert_eq!(world.say("root", "ACL USERS"), "*1 $7 default");
    assert!(!world.is_cut_off("root"));
}

#[test]
fn who_may_not_hear_a_channel_any_more_is_cut_off() {
    let mut world = World::new(&["joe on nopass +@all &a &b*"]);
    for (who, line) in [
        ("a", "SUBSCRIBE a"),
        ("b", "SUBSCRIBE b1"),
        ("pattern", "PSUBSCRIBE b*"),
        ("shard", "SSUBSCRIBE b2"),
    ] {
        world.say(who, "AUTH joe x");
        assert!(world.say(who, line).starts_with("*3"), "{line}");
    }
    assert_eq!(world.say("root", "ACL SETUSER joe &c"), "+OK");
    for who in ["a", "b", "pattern", "shard"] {
        assert!(!world.is_cut_off(who), "{who}");
    }
    assert_eq!(
        world.say("root", "ACL SETUSER joe resetchannels &a &b1"),
        "+OK"
    );
    for (who, cut_off) in [
        ("a", false),
        ("b", false),
        ("pattern", true),
        ("shard", true),
    ] {
        assert_eq!(world.is_cut_off(who), cut_off, "{who}");
    }
    world.say("d", "AUTH joe x");
    assert_eq!(world.say("d", "SUBSCRIBE z"), NO_CHANNEL);
    assert_eq!(world.say("d", "PUBLISH a x"), ":1");
}

#[test]
fn sort_reads_keys_that_it_does_not_name() {
    let mut world = World::new(&[
        "joe on nopass +@all ~l (+sort ~l %R~*)",
        "jim on nopass +@all ~l",
    ]);
    world.say("root", "RPUSH l 2 1");
    world.say("c", "AUTH joe x");
    world.say("d", "AUTH jim x");
    assert_eq!(
        world.say("c", "SORT l BY w_* GET # GET v_*"),
        "*4 $1 1 $-1 $1 2 $-1"
    );
    assert_eq!(world.say("d", "SORT l"), "*2 $1 1 $1 2");
    assert_eq!(
        world.say("d", "SORT l BY w_*"),
        "-ERR BY option of SORT denied due to insufficient ACL permissions."
    );
    assert_eq!(
        world.say("d", "SORT_RO l GET v_*"),
        "-ERR GET option of SORT denied due to insufficient ACL permissions."
    );
    assert_eq!(world.say("d", "SORT l BY nosort"), "*2 $1 2 $1 1");
}

#[test]
fn what_would_give_secrets_away_is_not_shown() {
    let mut world = World::new(&[]);
    world.say("root", "CONFIG SET slowlog-log-slower-than 0");
    world.say("m", "MONITOR");
    world.say("root", "ACL SETUSER joe on >hunter2 +@all");
    world.say("c", "AUTH joe hunter2");
    world.say("c", "HELLO 3 AUTH joe hunter2");
    let shown = world.heard("m").0 + &world.say("root", "SLOWLOG GET 10");
    assert!(
        !shown.contains("hunter2") && !shown.contains("joe\" \"on"),
        "{shown}"
    );
    assert!(!world.say("root", "ACL LIST").contains("hunter2"));
}

#[test]
fn passwords_are_drawn_from_nothing_that_could_be_guessed() {
    let mut world = World::new(&[]);
    let (a, b) = (
        world.say("root", "ACL GENPASS"),
        world.say("root", "ACL GENPASS"),
    );
    assert!(a.starts_with("$64 ") && a != b);
    assert!(world.say("root", "ACL GENPASS 5").starts_with("$2 "));
    assert!(world.say("root", "ACL GENPASS 4096").starts_with("$1024 "));
    for bits in ["0", "-1", "4097"] {
        let reply = world.say("root", &format!("ACL GENPASS {bits}"));
        assert!(reply.contains("a positive number up to 4096"), "{reply}");
    }
}
