//! What is answered, byte for byte: by ours and by a real sentinel.

use super::Kind::{self, Redis, Redkeep};
use super::cast::is_redis_there;
use super::common::Reply;
use super::node::Node;
use super::pair::{OTHER, STRANGER, World};
use super::process::{Part, Port};

/// What only tells.
const QUESTIONS: &[&str] = &[
    "PING",
    "PING x",
    "PING x y",
    "ROLE",
    "ROLE x",
    "SENTINEL",
    "SENTINEL nothing",
    "SENTINEL \"\"",
    "SENTINEL help x",
    "SENTINEL MYID",
    "SENTINEL MYID x",
    "SENTINEL MASTERS",
    "SENTINEL masters x",
    "SENTINEL MASTER",
    "SENTINEL MASTER m",
    "SENTINEL MASTER M",
    "SENTINEL MASTER nobody",
    "SENTINEL MASTER m x",
    "SENTINEL REPLICAS",
    "SENTINEL REPLICAS m",
    "SENTINEL REPLICAS nobody",
    "SENTINEL REPLICAS m x",
    "SENTINEL SLAVES",
    "SENTINEL SLAVES m",
    "SENTINEL SLAVES nobody",
    "SENTINEL SENTINELS",
    "SENTINEL SENTINELS m",
    "SENTINEL SENTINELS nobody",
    "SENTINEL SENTINELS m x",
    "SENTINEL GET-MASTER-ADDR-BY-NAME",
    "SENTINEL GET-MASTER-ADDR-BY-NAME m",
    "SENTINEL GET-MASTER-ADDR-BY-NAME nobody",
    "SENTINEL GET-MASTER-ADDR-BY-NAME m x",
    "SENTINEL CKQUORUM",
    "SENTINEL CKQUORUM m",
    "SENTINEL CKQUORUM nobody",
    "SENTINEL CKQUORUM m x",
    "SENTINEL IS-MASTER-DOWN-BY-ADDR",
    "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 <leader> 0",
    "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 <leader> 0 *",
    "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 <leader> 0 * x",
    "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 <replica> 0 *",
    "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1 7 <id>",
    "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 x 0 *",
    "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 <leader> x *",
    "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 99999999999999999999 0 *",
    "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 <leader> 9223372036854775808 *",
    "SENTINEL IS-MASTER-DOWN-BY-ADDR nowhere <leader> 0 *",
    "SENTINEL INFO-CACHE",
    "SENTINEL INFO-CACHE m",
    "SENTINEL INFO-CACHE m m nobody",
    "SENTINEL INFO-CACHE nobody",
    "SENTINEL PENDING-SCRIPTS",
    "SENTINEL PENDING-SCRIPTS x",
    "SENTINEL SIMULATE-FAILURE",
    "SENTINEL SIMULATE-FAILURE HELP",
    "SENTINEL SIMULATE-FAILURE HELP nothing",
    "SENTINEL SIMULATE-FAILURE nothing",
    "SENTINEL DEBUG",
    "SENTINEL FLUSHCONFIG",
    "SENTINEL FLUSHCONFIG x",
    "SENTINEL CONFIG GET announce-ip",
    "SENTINEL CONFIG GET ANNOUNCE-PORT",
    "SENTINEL CONFIG GET *-hostnames",
    "SENTINEL CONFIG GET sentinel-*",
    "SENTINEL CONFIG GET nothing",
    "SENTINEL CONFIG GET [",
    "INFO sentinel",
    "INFO",
    "INFO all",
    "INFO default",
    "INFO everything",
    "INFO SENTINEL nothing",
    "INFO cpu clients replication",
    "INFO nothing",
    "INFO replication",
    "INFO keyspace",
    "INFO commandstats",
    "COMMAND LIST",
    "COMMAND LIST FILTERBY ACLCAT dangerous",
    "COMMAND LIST FILTERBY PATTERN sentinel*",
    "COMMAND GETKEYS SENTINEL MASTERS",
    "COMMAND GETKEYS GET x",
    "COMMAND INFO get nothing",
    "COMMAND DOCS get nothing",
];

/// What a sentinel does not answer, and what it answers as servers do.
const OTHERS: &[&str] = &[
    "GET x",
    "SET x y",
    "DEL x",
    "EVAL \"return 1\" 0",
    "FCALL f 0",
    "SCRIPT KILL",
    "MULTI",
    "EXEC",
    "DISCARD",
    "WATCH x",
    "SELECT 0",
    "ECHO x",
    "TIME",
    "CONFIG GET maxmemory",
    "CONFIG REWRITE",
    "DEBUG SLEEP 0",
    "REPLICAOF NO ONE",
    "SLAVEOF NO ONE",
    "REPLCONF ack 1",
    "PSYNC ? -1",
    "SYNC",
    "FAILOVER",
    "MONITOR",
    "SPUBLISH x y",
    "SSUBSCRIBE x",
    "PUBSUB CHANNELS",
    "MEMORY DOCTOR",
    "LATENCY DOCTOR",
    "SLOWLOG GET",
    "OBJECT HELP",
    "CLUSTER INFO",
    "MODULE LIST",
    "WAIT 0 0",
    "DBSIZE",
    "FLUSHALL",
    "SAVE",
    "BGSAVE",
    "LASTSAVE",
    "READONLY",
    "ASKING",
    "SWAPDB 0 1",
    "LOLWUT",
    "RESTORE x 0 y",
    "NOTHING",
    "\"\"",
    "SHUTDOWN NOTHING",
    "PUBLISH",
    "PUBLISH x",
    "PUBLISH x y",
    "PUBLISH x y z",
    "PUBLISH __sentinel__:hello nothing",
    "PUBLISH __sentinel__:hello \"\"",
    "PUBLISH __SENTINEL__:hello nothing",
    "SUBSCRIBE",
    "PSUBSCRIBE",
    "UNSUBSCRIBE",
    "PUNSUBSCRIBE",
    "AUTH",
    "AUTH x",
    "AUTH x y",
    "HELLO",
    "HELLO 1",
    "HELLO x",
    "CLIENT",
    "CLIENT NOTHING",
    "CLIENT GETNAME",
    "CLIENT SETNAME x",
    "CLIENT SETNAME \"x y\"",
    "CLIENT GETNAME",
    "CLIENT NO-EVICT ON",
    "CLIENT NO-TOUCH ON",
    "CLIENT KILL ID 999999",
    "CLIENT KILL nothing",
    "CLIENT REPLY ON",
    "CLIENT UNPAUSE",
    "CLIENT TRACKINGINFO",
    "COMMAND NOTHING",
];

/// What a sentinel is told, in this order; what follows from that is asked behind each.
fn orders() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut say = |line: &str| all.push(line.to_owned());
    let numbers = [
        "",
        "x",
        "0",
        "-1",
        "1",
        "1.5",
        "77",
        "2147483648",
        "9223372036854775807",
        "9223372036854775808",
    ];
    for option in [
        "down-after-milliseconds",
        "failover-timeout",
        "parallel-syncs",
        "quorum",
        "master-reboot-down-after-period",
    ] {
        say(&format!("SENTINEL SET m {option}"));
        for value in numbers {
            say(&format!("SENTINEL SET m {option} \"{value}\""));
        }
        say(&format!("SENTINEL SET m {} 60000", option.to_uppercase()));
        say("SENTINEL MASTER m");
        say("SENTINEL REPLICAS m");
    }
    for line in [
        "SENTINEL SET",
        "SENTINEL SET m",
        "SENTINEL SET m quorum",
        "SENTINEL SET nobody quorum 1",
        "SENTINEL SET m nothing",
        "SENTINEL SET m nothing 1",
        "SENTINEL SET m quorum 3 nothing 1",
        "SENTINEL SET m quorum 4 quorum x parallel-syncs 9",
        "SENTINEL SET m quorum 2 quorum 3 parallel-syncs 2",
        "SENTINEL SET m quorum 2 parallel-syncs",
        "SENTINEL MASTER m",
        "SENTINEL SET m auth-pass",
        "SENTINEL SET m auth-user",
        "SENTINEL SET m notification-script",
        "SENTINEL SET m notification-script /bin/true",
        "SENTINEL SET m notification-script \"\"",
        "SENTINEL SET m client-reconfig-script",
        "SENTINEL SET m client-reconfig-script /bin/true",
        "SENTINEL SET m client-reconfig-script \"\"",
        "SENTINEL SET m rename-command",
        "SENTINEL SET m rename-command SCRIPT",
        "SENTINEL SET m rename-command SCRIPT \"\"",
        "SENTINEL SET m rename-command \"\" SCRIPT",
        "SENTINEL SET m rename-command SCRIPT other",
        "SENTINEL SET m rename-command script another",
        "SENTINEL SET m rename-command DEBUG debug",
        "SENTINEL SET m rename-command DEBUG x quorum 2",
        "SENTINEL SET m rename-command debug DEBUG",
        "SENTINEL CONFIG",
        "SENTINEL CONFIG GET",
        "SENTINEL CONFIG SET",
        "SENTINEL CONFIG SET announce-ip",
        "SENTINEL CONFIG nothing x y",
        "SENTINEL CONFIG SET nothing x",
    ] {
        say(line);
    }
    for (option, values) in [
        ("announce-ip", &["10.0.0.1", "nowhere at all", ""][..]),
        (
            "announce-port",
            &["x", "", "-1", "65536", "1.5", "65535", "0"],
        ),
        ("resolve-hostnames", &["x", "", "1", "YES", "no"]),
        ("announce-hostnames", &["x", "", "1", "yes", "no"]),
        ("sentinel-user", &["somebody", "some body", ""]),
        ("sentinel-pass", &["hush", "hush hush", ""]),
    ] {
        for value in values {
            say(&format!("SENTINEL CONFIG SET {option} \"{value}\""));
            say(&format!("SENTINEL CONFIG GET {option}"));
        }
    }
    for option in [
        "info-period",
        "ping-period",
        "ask-period",
        "publish-period",
        "default-down-after",
        "default-failover-timeout",
        "tilt-trigger",
        "tilt-period",
        "slave-reconf-timeout",
        "min-link-reconnect-period",
        "election-timeout",
        "script-max-runtime",
        "script-retry-delay",
    ] {
        say(&format!("SENTINEL DEBUG {option}"));
        for value in ["x", "0", "-1", "", "54321"] {
            say(&format!("SENTINEL DEBUG {option} \"{value}\""));
        }
    }
    for line in [
        "SENTINEL DEBUG",
        "SENTINEL DEBUG nothing",
        "SENTINEL DEBUG nothing 1",
        "SENTINEL DEBUG tilt-period 40000 nothing 1",
        "SENTINEL DEBUG TILT-PERIOD 41000 ask-period 1000 ask-period 2000",
        "SENTINEL DEBUG",
        "SENTINEL MONITOR",
        "SENTINEL MONITOR n 127.0.0.1 1",
        "SENTINEL MONITOR n 127.0.0.1 1 1 x",
        "SENTINEL MONITOR n 127.0.0.1 1 x",
        "SENTINEL MONITOR n 127.0.0.1 1 0",
        "SENTINEL MONITOR n 127.0.0.1 1 -1",
        "SENTINEL MONITOR n 127.0.0.1 x 1",
        "SENTINEL MONITOR n 127.0.0.1 x x",
        "SENTINEL MONITOR n 127.0.0.1 -1 1",
        "SENTINEL MONITOR n 127.0.0.1 65536 1",
        "SENTINEL MONITOR n nowhere 1 1",
        "SENTINEL MONITOR n localhost 1 1",
        "SENTINEL MONITOR n \"\" 1 1",
        "SENTINEL MONITOR n 127.0.0.256 1 1",
        "SENTINEL MONITOR m 127.0.0.1 1 1",
        "SENTINEL MONITOR m 127.0.0.1 1 0",
        "SENTINEL MONITOR n 127.0.0.1 1 3",
        "SENTINEL MONITOR n 127.0.0.1 1 3",
        "SENTINEL MONITOR N ::1 2 1",
        "SENTINEL MONITOR p 127.0.0.1 0 1",
        "SENTINEL MASTERS",
        "SENTINEL MASTER p",
        "SENTINEL CKQUORUM n",
        "SENTINEL CKQUORUM N",
        "SENTINEL FAILOVER",
        "SENTINEL FAILOVER nobody",
        "SENTINEL FAILOVER n",
        "SENTINEL FAILOVER n x",
        "SENTINEL REMOVE",
        "SENTINEL REMOVE nobody",
        "SENTINEL REMOVE N",
        "SENTINEL REMOVE N",
        "SENTINEL REMOVE p",
        "SENTINEL CONFIG SET resolve-hostnames yes",
        "SENTINEL MONITOR p localhost 4 1",
        "SENTINEL MASTER p",
        "SENTINEL GET-MASTER-ADDR-BY-NAME p",
        "SENTINEL CONFIG SET announce-hostnames yes",
        "SENTINEL MASTER p",
        "SENTINEL GET-MASTER-ADDR-BY-NAME p",
        "SENTINEL IS-MASTER-DOWN-BY-ADDR localhost 4 0 *",
        "SENTINEL CONFIG SET announce-hostnames no",
        "SENTINEL CONFIG SET resolve-hostnames no",
        "SENTINEL REMOVE p",
        "SENTINEL MONITOR \"p q\" 127.0.0.1 5 1",
        "SENTINEL MASTER \"p q\"",
        "SENTINEL REMOVE \"p q\"",
        "SENTINEL RESET",
        "SENTINEL RESET x y",
        "SENTINEL RESET nobody*",
        "SENTINEL RESET n",
        "SENTINEL RESET [n-z]",
        "SENTINEL SIMULATE-FAILURE CRASH-AFTER-ELECTION",
        "INFO sentinel",
        "SENTINEL SIMULATE-FAILURE crash-after-promotion CRASH-AFTER-ELECTION",
        "INFO sentinel",
        "SENTINEL SIMULATE-FAILURE crash-after-promotion nothing",
        "INFO sentinel",
        "SENTINEL SIMULATE-FAILURE",
        "INFO sentinel",
    ] {
        say(line);
    }
    // Whoever says hello is known; wherever the truth is newer, it is taken over.
    for (ip, port, id, epoch, name, address, leads) in [
        (
            "127.0.0.1",
            "6",
            STRANGER,
            "0",
            "nobody",
            "127.0.0.1,<leader>",
            "0",
        ),
        (
            "127.0.0.1",
            "6",
            STRANGER,
            "0",
            "n",
            "127.0.0.1,<leader>",
            "0",
        ),
        (
            "127.0.0.1",
            "6",
            STRANGER,
            "0",
            "m",
            "127.0.0.1,<leader>",
            "0",
        ),
        (
            "127.0.0.1",
            "7",
            STRANGER,
            "3",
            "m",
            "127.0.0.1,<leader>",
            "0",
        ),
        ("127.0.0.1", "7", OTHER, "3", "m", "127.0.0.1,<leader>", "0"),
        ("127.0.0.1", "6", STRANGER, "2", "m", "127.0.0.1,8", "0"),
        ("nowhere", "6", "short", "4", "m", "127.0.0.1,8", "0"),
        ("127.0.0.1", "65536", "short", "4", "m", "127.0.0.1,8", "0"),
        ("127.0.0.1", "6", STRANGER, "5", "n", "127.0.0.1,1", "5"),
    ] {
        say(&format!(
            "PUBLISH __sentinel__:hello {ip},{port},{id},{epoch},{name},{address},{leads}"
        ));
        say("SENTINEL SENTINELS m");
        say("SENTINEL SENTINELS n");
        say("SENTINEL MASTER m");
        say("INFO sentinel");
    }
    say("PUBLISH __sentinel__:hello a,b,c,d,e,f,g,h,i");
    say("PUBLISH __sentinel__:hello 127.0.0.1,6,x,0,m,127.0.0.1,<leader>");
    // One vote in an epoch.
    for (port, epoch, id) in [
        ("<leader>", "1", STRANGER),
        ("<leader>", "6", STRANGER),
        ("<leader>", "6", OTHER),
        ("<leader>", "5", OTHER),
        ("<leader>", "0", "x"),
        ("<leader>", "6", "*"),
        ("<leader>", "7", OTHER),
        ("<replica>", "8", OTHER),
        ("1", "9", OTHER),
        ("1", "9", "<id>"),
        ("<leader>", "10", "any word"),
    ] {
        say(&format!(
            "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 {port} {epoch} \"{id}\""
        ));
    }
    // Somebody else leads.
    for (address, leads) in [
        ("127.0.0.1,8", "3"),
        ("127.0.0.1,9", "3"),
        ("127.0.0.1,9", "4"),
    ] {
        say(&format!(
            "PUBLISH __sentinel__:hello 127.0.0.1,6,{STRANGER},9,n,{address},{leads}"
        ));
        say("SENTINEL GET-MASTER-ADDR-BY-NAME n");
        say("SENTINEL REPLICAS n");
        say("SENTINEL MASTER n");
    }
    say("SENTINEL CKQUORUM n");
    say("SENTINEL RESET n");
    say("SENTINEL SENTINELS n");
    say("SENTINEL REMOVE n");
    say("SENTINEL MASTERS");
    say("SENTINEL FLUSHCONFIG");
    all
}

/// Epochs as far as numbers go. Those beyond are none to ours; to a real one they are the last of all.
fn extremes() -> Vec<String> {
    let mut all = Vec::new();
    for (epoch, id) in [
        ("9223372036854775806", STRANGER),
        ("9223372036854775807", OTHER),
    ] {
        let ask = "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 <leader>";
        all.push(format!("{ask} {epoch} {id}"));
        all.push(format!("{ask} 1 {id}"));
    }
    all.push("SENTINEL FLUSHCONFIG".to_owned());
    all
}

/// Where Redis 7.2 answers otherwise than the 7.0 that is at hand: the line, and what it is answered with.
const NEWER: &[(&str, &str)] = &[
    ("SENTINEL CONFIG GET", CONFIG_ARITY),
    ("SENTINEL CONFIG SET", CONFIG_ARITY),
    ("SENTINEL CONFIG SET announce-ip", CONFIG_WORDS),
    ("SENTINEL CONFIG nothing x y", CONFIG_WORDS),
];

const CONFIG_ARITY: &str = "-ERR wrong number of arguments for 'sentinel|config' command";
const CONFIG_WORDS: &str = "-ERR Only SENTINEL CONFIG GET <param> [<param> <param> ...]/ SET <param> <value> [<param> <value> ...] are supported.";

/// What 7.2 has learnt: all parameters at once, and the log's level.
const NEW: &[(&str, &str)] = &[
    (
        "SENTINEL CONFIG GET announce-port ANNOUNCE-* announce-ip",
        "[\"announce-port\" \"0\" \"announce-hostnames\" \"no\" \"announce-ip\" \"\"]",
    ),
    (
        "SENTINEL CONFIG SET announce-port 5 announce-ip 10.0.0.1 loglevel DEBUG",
        "+OK",
    ),
    (
        "SENTINEL CONFIG GET announce-[ip]* loglevel",
        "[\"announce-ip\" \"10.0.0.1\" \"announce-port\" \"5\" \"loglevel\" \"debug\"]",
    ),
    (
        "SENTINEL CONFIG SET announce-port 6 announce-port 7",
        "-ERR Duplicate argument 'announce-port' to SENTINEL CONFIG SET",
    ),
    (
        "SENTINEL CONFIG SET announce-port 6 announce-ip",
        "-ERR Missing argument 'announce-ip' value",
    ),
    (
        "SENTINEL CONFIG SET announce-port 6 loglevel loud",
        "-ERR Invalid value 'loud' to SENTINEL CONFIG SET 'loglevel'",
    ),
    (
        "SENTINEL CONFIG SET announce-port 6 nothing 7",
        "-ERR Invalid argument 'nothing' to SENTINEL CONFIG SET",
    ),
    (
        "SENTINEL CONFIG GET announce-port",
        "[\"announce-port\" \"5\"]",
    ),
];

/// All that two sentinels answer differently.
fn differences(
    worlds: &mut [World; 2],
    lines: impl IntoIterator<Item = impl AsRef<str>>,
) -> Vec<String> {
    let mut all = Vec::new();
    for line in lines {
        let line = line.as_ref();
        let [ours, theirs] = worlds.each_mut().map(|world| world.play(line));
        let is_ours = worlds[0].sentinel.kind == Redkeep;
        let newer = NEWER.iter().find(|(newer, _)| is_ours && *newer == line);
        let wanted = newer.map_or(&*theirs, |(_, reply)| reply);
        if ours != wanted {
            all.push(format!("{line}\n    gives\n{ours}\n    and not\n{wanted}"));
        }
    }
    all
}

fn all_is_answered_alike(one: Kind) {
    let mut worlds = [one, Redis].map(|kind| World::raise(kind, Redis, &[]));
    let mut found = differences(&mut worlds, QUESTIONS);
    found.extend(differences(&mut worlds, OTHERS));
    found.extend(differences(&mut worlds, orders()));
    let [ours, theirs] = worlds.each_mut().map(World::published);
    if ours != theirs {
        let at = ours
            .iter()
            .zip(&theirs)
            .position(|(o, t)| o != t)
            .unwrap_or(ours.len().min(theirs.len()));
        let [ours, theirs] =
            [ours, theirs].map(|lines| lines[at..lines.len().min(at + 5)].join("\n"));
        found.push(format!("{ours}\n    is published and not\n{theirs}"));
    }
    let [ours, theirs] = worlds.each_ref().map(World::conf);
    if ours != theirs {
        found.push(format!(
            "{}\n    is in the file and not\n{}",
            ours.join("\n"),
            theirs.join("\n")
        ));
    }
    assert!(
        found.is_empty(),
        "{} differences:\n{}",
        found.len(),
        found.join("\n\n")
    );
}

fn all_is_answered_alike_in_resp3(one: Kind) {
    let mut worlds = [one, Redis].map(|kind| World::raise(kind, Redis, &[]));
    for world in &mut worlds {
        world.c.run("HELLO 3");
        let hello =
            format!("PUBLISH __sentinel__:hello 127.0.0.1,6,{STRANGER},0,m,127.0.0.1,<leader>,0");
        world.play(&hello);
    }
    let mut found = differences(&mut worlds, QUESTIONS);
    let others = OTHERS.iter().filter(|line| !line.contains("SUBSCRIBE"));
    found.extend(differences(&mut worlds, others));
    assert!(
        found.is_empty(),
        "{} differences:\n{}",
        found.len(),
        found.join("\n\n")
    );
}

/// The names in HELP: the sentences are our own.
fn helped(kind: Kind) -> Vec<String> {
    let mut sentinel = Node::launch(kind, Part::Sentinel, Port::take(), &[]);
    sentinel.is_ready();
    let told = sentinel.does("SENTINEL HELP");
    let lines = told.items().iter().map(Reply::text);
    let lines = lines.filter(|line| !line.starts_with(' '));
    let mut names: Vec<String> = lines
        .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    names.retain(|name| !name.contains("PRIMAR"));
    names.sort();
    names
}

#[test]
fn all_is_explained() {
    if is_redis_there() {
        assert_eq!(helped(Redkeep), helped(Redis));
    }
}

#[test]
fn what_is_new_is_there() {
    let mut world = World::raise(Redkeep, Redkeep, &[]);
    for (line, wanted) in NEW {
        assert_eq!(world.play(line), *wanted, "{line}");
    }
    // As Valkey spells it.
    for (new, old) in [
        ("PRIMARIES", "MASTERS"),
        ("PRIMARY m", "MASTER m"),
        ("GET-PRIMARY-ADDR-BY-NAME m", "GET-MASTER-ADDR-BY-NAME m"),
        (
            "IS-PRIMARY-DOWN-BY-ADDR 127.0.0.1 <leader> 0 *",
            "IS-MASTER-DOWN-BY-ADDR 127.0.0.1 <leader> 0 *",
        ),
    ] {
        let [new, old] = [new, old].map(|words| world.play(&format!("SENTINEL {words}")));
        assert_eq!(new, old);
    }
    let count = world.play("COMMAND COUNT");
    let all = world.sentinel.does("COMMAND LIST");
    let commands = all.items().iter().filter(|name| !name.text().contains('|'));
    assert_eq!(count, format!(":{}", commands.count()));
}

fn extremes_are_survived_alike(one: Kind) {
    let mut worlds = [one, Redis].map(|kind| World::raise(kind, Redis, &[]));
    let mut found = differences(&mut worlds, extremes());
    let [ours, theirs] = worlds
        .each_mut()
        .map(|world| (world.published(), world.conf()));
    if ours != theirs {
        found.push(format!("{ours:#?}\n    and not\n{theirs:#?}"));
    }
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

#[test]
fn numbers_are_large() {
    if is_redis_there() {
        extremes_are_survived_alike(Redkeep);
    }
}

#[test]
fn resp2() {
    if is_redis_there() {
        all_is_answered_alike(Redkeep);
    }
}

#[test]
fn resp3() {
    if is_redis_there() {
        all_is_answered_alike_in_resp3(Redkeep);
    }
}

#[test]
#[ignore = "checks the comparison itself"]
fn redis_alone() {
    if is_redis_there() {
        all_is_answered_alike(Redis);
        all_is_answered_alike_in_resp3(Redis);
    }
}
