//! Files that make no sense.

use super::*;
use std::fs::File;
use std::process::{Command, Stdio};

/// What a file may have been edited into: the lines behind `sentinel monitor m 127.0.0.1 1 2`.
const EDITED: &[&str] = &[
    "sentinel nosuch",
    "sentinel nosuch m 1",
    "nosuch 1",
    "sentinel monitor",
    "sentinel monitor n 127.0.0.1",
    "sentinel monitor n 127.0.0.1 1",
    "sentinel monitor n 127.0.0.1 1 2 3",
    "sentinel monitor n 127.0.0.1 1 0",
    "sentinel monitor n 127.0.0.1 1 -1",
    "sentinel monitor n 127.0.0.1 1 x",
    "sentinel monitor n 127.0.0.1 65536 2",
    "sentinel monitor n 127.0.0.1 -1 2",
    "sentinel monitor n 999.1.1.1 1 2",
    "sentinel monitor n localhost 1 2",
    "sentinel monitor n \"\" 1 2",
    "sentinel monitor m 127.0.0.1 2 2",
    "sentinel monitor \"n 127.0.0.1 1 2",
    "sentinel down-after-milliseconds",
    "sentinel down-after-milliseconds m",
    "sentinel down-after-milliseconds m 0",
    "sentinel down-after-milliseconds m -5",
    "sentinel down-after-milliseconds m x",
    "sentinel down-after-milliseconds m 5 5",
    "sentinel down-after-milliseconds n 5",
    "sentinel failover-timeout m 0",
    "sentinel failover-timeout m x",
    "sentinel failover-timeout n 5",
    "sentinel parallel-syncs m",
    "sentinel parallel-syncs n 1",
    "sentinel notification-script m /nowhere/at/all",
    "sentinel notification-script m /etc/passwd",
    "sentinel notification-script n /bin/true",
    "sentinel client-reconfig-script m /nowhere/at/all",
    "sentinel client-reconfig-script n /bin/true",
    "sentinel auth-pass m",
    "sentinel auth-pass n secret",
    "sentinel auth-user n somebody",
    "sentinel myid",
    "sentinel myid 0123",
    "sentinel myid 0123456789abcdef0123456789abcdef012345678",
    "sentinel current-epoch",
    "sentinel current-epoch 1 2",
    "sentinel config-epoch m",
    "sentinel config-epoch n 1",
    "sentinel leader-epoch m",
    "sentinel leader-epoch n 1",
    "sentinel known-replica m",
    "sentinel known-replica m 127.0.0.2",
    "sentinel known-replica m 999.1.1.1 7000",
    "sentinel known-replica m 127.0.0.2 65536",
    "sentinel known-replica n 127.0.0.2 7000",
    "sentinel known-replica m 127.0.0.2 7000\nsentinel known-slave m 127.0.0.2 7000",
    "sentinel known-sentinel m 127.0.0.2",
    "sentinel known-sentinel m 999.1.1.1 7000 0123456789abcdef0123456789abcdef01234567",
    "sentinel known-sentinel m 127.0.0.2 65536 0123456789abcdef0123456789abcdef01234567",
    "sentinel known-sentinel n 127.0.0.2 7000 0123456789abcdef0123456789abcdef01234567",
    "sentinel known-sentinel m 127.0.0.2 7000 a\nsentinel known-sentinel m 127.0.0.3 7000 a",
    "sentinel rename-command m CONFIG",
    "sentinel rename-command n CONFIG GUARDED",
    "sentinel rename-command m CONFIG A\nsentinel rename-command m config B",
    "sentinel announce-ip",
    "sentinel announce-port",
    "sentinel deny-scripts-reconfig maybe",
    "sentinel deny-scripts-reconfig",
    "sentinel resolve-hostnames maybe",
    "sentinel announce-hostnames maybe",
    "sentinel master-reboot-down-after-period m -1",
    "sentinel master-reboot-down-after-period n 1",
    "sentinel sentinel-user",
    "sentinel sentinel-pass",
    "sentinel sentinel-pass a b",
    "port x",
    "port 65536",
    "bind 999.1.1.1.1",
    "loglevel shout",
    "\"",
    "sentinel monitor n 127.0.0.1 1 2 \"",
];

/// What may look strange, and is taken.
const FINE: &[&str] = &[
    "sentinel",
    "SENTINEL MONITOR n 127.0.0.1 1 2",
    "sentinel monitor n 127.0.0.1 0 2",
    "sentinel monitor n ::1 1 2",
    "sentinel monitor \"n n\" 127.0.0.1 1 2",
    "sentinel monitor n 127.0.0.1 1 1000000",
    "sentinel auth-pass m \"a b\"",
    "sentinel auth-user m \"\"",
    "sentinel down-after-milliseconds m 9999999999",
    "sentinel current-epoch 18446744073709551615",
    "sentinel current-epoch x",
    "sentinel known-sentinel m 127.0.0.2 7000",
    "sentinel known-replica m 127.0.0.2 7000",
    "sentinel known-replica m 127.0.0.1 1",
    "sentinel rename-command m NOSUCH \"\"",
    "sentinel announce-ip \"\"",
    "sentinel announce-port 0",
    "# sentinel nosuch",
    "",
    "sentinel notification-script m /bin/true\nsentinel deny-scripts-reconfig no",
];

/// Starts a sentinel with such a file: what it says and with what it ends, or that it runs.
fn outcome(program: &Path, lines: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let port = common::peer::free_port();
    let conf = format!("port {port}\nbind 127.0.0.1\nsentinel monitor m 127.0.0.1 1 2\n{lines}\n");
    fs::write(dir.path().join("sentinel.conf"), conf).unwrap();
    ends_or_runs(
        Command::new(program).arg("sentinel.conf").arg("--sentinel"),
        dir.path(),
        port,
    )
}

/// Starts a sentinel in a directory, as [`outcome`].
pub fn ends_or_runs(command: &mut Command, dir: &Path, port: u16) -> String {
    let log = File::create(dir.join("log")).unwrap();
    command
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    let mut child = command.spawn().unwrap();
    let said = eventually("it ends or answers", || {
        if let Some(status) = child.try_wait().unwrap() {
            let log = fs::read_to_string(dir.join("log")).unwrap();
            return Some(format!("{status}\n{}", essence(&log, dir)));
        }
        let runs = Client::connect(port).is_ok_and(|mut c| c.call(&["PING"]).is_ok());
        runs.then(|| "runs".to_owned())
    });
    let _ = child.kill();
    let _ = child.wait();
    said
}

/// What is said about an error, without versions, times and paths.
fn essence(log: &str, dir: &Path) -> String {
    let log = log.replace(&*dir.to_string_lossy(), "DIR");
    let at = log.find("*** FATAL CONFIG FILE ERROR").unwrap_or(0);
    let lines = log[at..].lines().map(|line| match line.split_once(" # ") {
        Some((_, said)) => said,
        None => line,
    });
    let lines = lines.filter(|line| {
        !line.is_empty() && !line.contains(" is starting") && !line.contains(" just started")
    });
    let lines = lines
        .filter(|line| !line.contains("onfiguration loaded") && !line.starts_with("Redis version"));
    lines
        .map(
            |line| match line.strip_prefix("*** FATAL CONFIG FILE ERROR") {
                Some(_) => "*** FATAL CONFIG FILE ERROR",
                None => line,
            },
        )
        .collect::<Vec<_>>()
        .join("\n")
}

/// Ours and, if there is one, the real one's.
pub fn programs() -> Vec<std::path::PathBuf> {
    let ours = env!("CARGO_BIN_EXE_redkeep").into();
    std::iter::once(ours)
        .chain(tool("redis-sentinel"))
        .collect()
}

/// All differences at once.
fn same(all: &[&str], expected: impl Fn(&str, &str)) {
    let outcomes = programs().into_iter().map(|program| {
        let one = |lines: &&str| outcome(&program, lines);
        all.iter().map(one).collect::<Vec<_>>()
    });
    let outcomes: Vec<_> = outcomes.collect();
    let ours = &outcomes[0];
    for (lines, outcome) in all.iter().zip(ours) {
        expected(lines, outcome);
    }
    let Some(real) = outcomes.get(1) else { return };
    let mut differences = String::new();
    for ((lines, ours), real) in all.iter().zip(ours).zip(real) {
        if ours != real {
            differences += &format!("{lines}\n-- ours: {ours}\n-- the real one: {real}\n\n");
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn lines_that_make_no_sense_are_told_and_nothing_starts() {
    same(EDITED, |lines, outcome| {
        assert!(outcome.starts_with("exit status: 1"), "{lines}: {outcome}")
    });
}

#[test]
fn lines_that_look_strange() {
    same(FINE, |lines, outcome| {
        assert_eq!(outcome, "runs", "{lines}")
    });
}

/// What cannot be a text, or does not end.
#[test]
fn what_is_no_file() {
    for program in programs() {
        for bytes in [
            &b"\0\0\0\0"[..],
            b"sentinel monitor m \xff\xfe 1 2\n",
            &[b'x'; 1 << 20],
        ] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("sentinel.conf"), bytes).unwrap();
            let port = common::peer::free_port();
            let mut command = Command::new(&program);
            command.args(["sentinel.conf", "--sentinel"]);
            // The port is not reached: whatever is in the file is wrong.
            let said = ends_or_runs(&mut command, dir.path(), port);
            assert!(
                said.starts_with("exit status: 1"),
                "{}: {said}",
                program.display()
            );
        }
    }
}

#[test]
fn a_sentinel_without_a_file() {
    let outcomes = programs().into_iter().map(|program| {
        let dir = tempfile::tempdir().unwrap();
        let port = common::peer::free_port();
        let mut said = Vec::new();
        let number = port.to_string();
        for args in [
            &["--sentinel", "--port", &number][..],
            &["nowhere.conf", "--sentinel"],
            &["/nowhere/at/all/sentinel.conf", "--sentinel"],
        ] {
            said.push(ends_or_runs(
                Command::new(&program).args(args),
                dir.path(),
                port,
            ));
        }
        said
    });
    let outcomes: Vec<_> = outcomes.collect();
    assert!(
        outcomes[0]
            .iter()
            .all(|said| said.starts_with("exit status: 1")),
        "{outcomes:#?}"
    );
    assert!(
        outcomes.iter().all(|other| *other == outcomes[0]),
        "{outcomes:#?}"
    );
}
