//! What a sentinel reads, what it refuses to begin with, and what it writes: as a real one does.

use super::Kind::{self, Redis, Redkeep};
use super::cast::is_redis_there;
use super::node::Node;
use super::pair::{OTHER, STRANGER, normal_conf};
use super::process::{Part, Port, Process};
use super::words;
use std::time::{Duration, Instant};

/// Configurations that are right.
fn right() -> Vec<Vec<String>> {
    let all = [
        format!("sentinel known-sentinel m 127.0.0.1 5 {OTHER}"),
        format!("sentinel myid {STRANGER}"),
    ];
    let all = [
        &all[..],
        &words(&[
            "# A word about it",
            "",
            "   # And another one",
            "protected-mode yes",
            "loglevel verbose",
            "maxclients 500",
            "# What comes before",
            "sentinel failover-timeout n 30000",
            "SENTINEL MONITOR n 127.0.0.1 2 1",
            "sentinel   down-after-milliseconds m   5000",
            "sentinel monitor m 127.0.0.1 1 2",
            "sentinel down-after-milliseconds m 6000",
            "sentinel parallel-syncs m 5",
            "sentinel parallel-syncs n 1",
            "sentinel notification-script m /bin/true",
            "sentinel client-reconfig-script m \"/bin/true\"",
            "sentinel auth-pass m password",
            "sentinel auth-user m someone",
            "sentinel current-epoch 7",
            "sentinel config-epoch m 9",
            "sentinel leader-epoch m 8",
            "sentinel known-slave m 127.0.0.1 3",
            "sentinel known-replica m 127.0.0.1 4",
            "sentinel known-sentinel m 127.0.0.1 6",
            "sentinel rename-command m CONFIG other",
            "# What comes behind",
            "sentinel announce-ip 10.1.2.3",
            "sentinel announce-port 1234",
            "sentinel deny-scripts-reconfig no",
            "sentinel sentinel-user someone",
            "sentinel sentinel-pass password",
            "sentinel resolve-hostnames yes",
            "sentinel announce-hostnames yes",
            "sentinel master-reboot-down-after-period m 100",
        ]),
    ]
    .concat();
    let id = format!("sentinel myid {STRANGER}");
    vec![
        all,
        vec![id.clone()],
        vec![id.clone(), "sentinel monitor m 127.0.0.1 1 2".to_owned()],
        vec![
            id.clone(),
            "sentinel monitor m localhost 1 2".to_owned(),
            "sentinel resolve-hostnames yes".to_owned(),
            "sentinel known-replica m localhost 3".to_owned(),
        ],
        vec![
            id.clone(),
            "requirepass \"hush hush\"".to_owned(),
            "sentinel announce-ip \"\"".to_owned(),
            "sentinel sentinel-pass \"\"".to_owned(),
            "sentinel deny-scripts-reconfig yes".to_owned(),
            "sentinel resolve-hostnames no".to_owned(),
        ],
        vec![
            id,
            "sentinel monitor m 127.0.0.1 1 2".to_owned(),
            "sentinel down-after-milliseconds m 30000".to_owned(),
            "sentinel failover-timeout m 180000".to_owned(),
            "sentinel parallel-syncs m 1".to_owned(),
            "sentinel current-epoch x".to_owned(),
            "sentinel announce-port x".to_owned(),
        ],
    ]
}

/// One line each that is too much for a file that is right.
const WRONG: &[&str] = &[
    "nothing",
    "sentinel",
    "sentinel nothing",
    "sentinel nothing m 1",
    "sentinel monitor",
    "sentinel monitor n 127.0.0.1 1",
    "sentinel monitor n 127.0.0.1 1 2 3",
    "sentinel monitor n 127.0.0.1 1 0",
    "sentinel monitor n 127.0.0.1 1 x",
    "sentinel monitor n 127.0.0.1 1 -1",
    "sentinel monitor n 127.0.0.1 x 1",
    "sentinel monitor n 127.0.0.1 65536 1",
    "sentinel monitor n 127.0.0.1 -1 1",
    "sentinel monitor n nowhere.invalid 1 1",
    "sentinel monitor m 127.0.0.1 1 2",
    "sentinel down-after-milliseconds nobody 1",
    "sentinel down-after-milliseconds m",
    "sentinel down-after-milliseconds m 0",
    "sentinel down-after-milliseconds m x",
    "sentinel down-after-milliseconds m -1",
    "sentinel failover-timeout nobody 1",
    "sentinel failover-timeout m 0",
    "sentinel failover-timeout m x",
    "sentinel parallel-syncs nobody 1",
    "sentinel parallel-syncs m x",
    "sentinel notification-script nobody /bin/true",
    "sentinel notification-script m /nothing/here",
    "sentinel client-reconfig-script m /nothing/here",
    "sentinel auth-pass nobody x",
    "sentinel auth-user nobody x",
    "sentinel auth-pass m",
    "sentinel myid short",
    "sentinel config-epoch nobody 1",
    "sentinel config-epoch m x",
    "sentinel leader-epoch nobody 1",
    "sentinel known-replica nobody 127.0.0.1 3",
    "sentinel known-replica m 127.0.0.1 65536",
    "sentinel known-replica m nowhere.invalid 3",
    "sentinel known-slave m 127.0.0.1",
    "sentinel known-sentinel nobody 127.0.0.1 3 x",
    "sentinel known-sentinel m 127.0.0.1 65536 x",
    "sentinel known-sentinel m",
    "sentinel rename-command nobody a b",
    "sentinel rename-command m a",
    "sentinel rename-command m CONFIG b",
    "sentinel rename-command m config b",
    "sentinel deny-scripts-reconfig maybe",
    "sentinel resolve-hostnames maybe",
    "sentinel announce-hostnames maybe",
    "sentinel announce-ip",
    "sentinel announce-port 1 2",
    "sentinel master-reboot-down-after-period m -1",
    "sentinel master-reboot-down-after-period nobody 1",
];

/// The lines of a file when a sentinel has read and written it, without the names of what is different.
fn rewritten(kind: Kind, lines: &[String]) -> Vec<String> {
    let mut sentinel = Node::launch(kind, Part::Sentinel, Port::take(), lines);
    if lines.iter().any(|line| line.starts_with("requirepass")) {
        sentinel.password = Some("hush hush".to_owned());
    }
    sentinel.is_ready();
    sentinel.does("SENTINEL FLUSHCONFIG");
    let dir = sentinel.process.dir.path().display().to_string();
    let port = sentinel.port.to_string();
    let lines = sentinel.conf().into_iter();
    lines
        .map(|line| line.replace(&dir, "<dir>").replace(&port, "<port>"))
        .collect()
}

/// What a program says last, and how it ends; nothing if it runs.
fn ends(kind: Kind, line: &str) -> Option<(i32, Vec<String>)> {
    let port = Port::take();
    let lines = [
        format!("port {}", port.number),
        "bind 127.0.0.1".to_owned(),
        "sentinel monitor m 127.0.0.1 1 2".to_owned(),
        "sentinel rename-command m CONFIG a".to_owned(),
        line.to_owned(),
    ];
    let mut process = Process::start(kind, Part::Sentinel, &lines);
    let until = Instant::now() + Duration::from_secs(20);
    while process.is_alive() {
        assert!(Instant::now() < until, "{}", process.log(40));
        let answer = super::common::Client::connect(port.number);
        if answer.is_ok_and(|mut c| c.call(&["PING"]).is_ok_and(|r| r.text() == "PONG")) {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let code = process.end().unwrap_or(-1);
    let log = process.log(2);
    Some((code, log.lines().map(str::to_owned).collect()))
}

fn all_is_written_alike(one: Kind) {
    let mut found = Vec::new();
    for lines in right() {
        let [ours, theirs] = [one, Redis].map(|kind| {
            let mut lines = rewritten(kind, &lines);
            normal_conf(&mut lines);
            lines
        });
        for (side, lines, others) in [("more", &ours, &theirs), ("missing", &theirs, &ours)] {
            let only = lines.iter().filter(|line| !others.contains(line));
            found.extend(only.map(|line| format!("{side}: {line}")));
        }
        if found.is_empty() {
            assert_eq!(ours, theirs);
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn all_is_refused_alike(one: Kind) {
    let mut found = Vec::new();
    for line in WRONG {
        let [ours, mut theirs] = [one, Redis].map(|kind| ends(kind, line));
        if one == Redkeep && line.contains("pass") {
            // What may be a password is not told.
            let shown = format!(">>> '{line}'");
            for said in theirs.iter_mut().flat_map(|(_, said)| said) {
                *said = said.replace(&shown, ">>> 'sentinel (redacted)'");
            }
        }
        if ours != theirs {
            found.push(format!("{line}\n    {ours:?}\n    {theirs:?}"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn it_is_written() {
    if is_redis_there() {
        all_is_written_alike(Redkeep);
    }
}

#[test]
fn it_is_refused() {
    if is_redis_there() {
        all_is_refused_alike(Redkeep);
    }
}

#[test]
#[ignore = "checks the comparison itself"]
fn redis_alone() {
    if is_redis_there() {
        all_is_written_alike(Redis);
        all_is_refused_alike(Redis);
        for line in WRONG {
            println!("{line}: {:?}", ends(Redis, line));
        }
    }
}
