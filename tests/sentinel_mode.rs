//! The program as a sentinel: over servers of our own, with its file, its scripts and its exit codes; and as a part of another
//! program.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use common::peer::free_port;
use common::{Client, Server};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Nobody in particular, on every Linux.
const NOBODY: u32 = 65534;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redkeep"));
    command.stdin(Stdio::null());
    command
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(40), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A sentinel process; killed when a test fails.
struct Sentinel {
    child: Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl Sentinel {
    /// Starts on a file with these lines.
    fn start(lines: &str) -> Sentinel {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let text = format!("bind 127.0.0.1\nport {port}\n{lines}\n");
        fs::write(dir.path().join("s.conf"), text).unwrap();
        let child = Sentinel::spawn(dir.path());
        Sentinel { child, dir, port }
    }

    fn spawn(dir: &Path) -> Child {
        let log = fs::File::create(dir.join("log")).unwrap();
        let command = &mut program();
        let started = command.current_dir(dir).args(["s.conf", "--sentinel"]);
        started.stdout(log).spawn().unwrap()
    }

    fn start_again(&mut self) {
        self.child = Sentinel::spawn(self.dir.path());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    fn file(&self) -> String {
        fs::read_to_string(self.dir.path().join("s.conf")).unwrap()
    }

    /// Waits until it has logged this.
    fn says(&self, text: &str) {
        let what = || format!("no {text:?} in\n{}", self.log());
        let began = Instant::now();
        while !self.log().contains(text) {
            assert!(began.elapsed() < Duration::from_secs(40), "{}", what());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn client(&self) -> Client {
        let mut client = None;
        until("it does not listen", || {
            client = Client::connect(self.port).ok();
            client.is_some()
        });
        client.unwrap()
    }

    /// Sends SIGTERM: the exit code.
    fn end(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", "TERM", &pid]).status();
        assert!(sent.unwrap().success());
        self.wait()
    }

    fn wait(&mut self) -> Option<i32> {
        let mut code = None;
        until("it does not end", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        code.unwrap().code()
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_finds_everybody_fails_over_and_remembers_that() {
    let mut leader = Server::redkeep(&[]);
    let old = leader.port.to_string();
    let replica = Server::redkeep(&["--replicaof", "127.0.0.1", &old]);
    let new = replica.port.to_string();
    let lines = format!(
        "sentinel monitor m 127.0.0.1 {old} 2\n\
         sentinel down-after-milliseconds m 1500\n\
         sentinel failover-timeout m 2000"
    );
    let mut sentinels = [Sentinel::start(&lines), Sentinel::start(&lines)];
    for (one, other) in [(0, 1), (1, 0)] {
        let port = sentinels[other].port;
        let at = format!("127.0.0.1 {port} @ m 127.0.0.1 {old}");
        sentinels[one].says("+sentinel sentinel ");
        sentinels[one].says(&at);
        sentinels[one].says(&format!("+slave slave 127.0.0.1:{new} "));
    }
    let mut listener = Client::connect(sentinels[0].port).unwrap();
    listener.run("SUBSCRIBE +switch-master");

    leader.kill();
    let switched = format!("m 127.0.0.1 {old} 127.0.0.1 {new}");
    let heard = listener
        .reply()
        .unwrap_or_else(|e| panic!("{e}\n{}", sentinels[0].log()));
    assert_eq!(heard.items()[2].text(), switched);
    for sentinel in &sentinels {
        sentinel.says(&format!("+switch-master {switched}"));
    }
    let mut client = replica.client();
    until("the replica does not lead", || {
        client.run("ROLE").items()[0].text() == "master"
    });

    // Whoever ends knows afterwards what it knew.
    let [sentinel, other] = &mut sentinels;
    let id = sentinel.log();
    let id = id.split("Sentinel ID is ").nth(1).unwrap().get(..40);
    assert_eq!(sentinel.end(), Some(0));
    sentinel.says("Sentinel is now ready to exit");
    let file = sentinel.file();
    for line in [
        &format!("sentinel myid {}", id.unwrap()),
        &format!("sentinel monitor m 127.0.0.1 {new} 2"),
        &format!("sentinel known-replica m 127.0.0.1 {old}"),
        &format!("sentinel known-sentinel m 127.0.0.1 {} ", other.port),
    ] {
        assert!(file.contains(line), "{line}\n{file}");
    }
    sentinel.start_again();
    sentinel.says(&format!("Sentinel ID is {}", id.unwrap()));
    sentinel.says(&format!("+monitor master m 127.0.0.1 {new} quorum 2"));
    let mut client = sentinel.client();
    // The connection ends without a reply.
    let _ = client.call(&["SHUTDOWN"]);
    assert_eq!(sentinel.wait(), Some(0));
    let left = fs::read_dir(sentinel.dir.path()).unwrap().count();
    assert_eq!(left, 2, "nothing but its file and its log");
}

/// Makes a file that can be run.
fn script(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Whether a process is gone, or only its parent has still to hear of that.
fn is_gone(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_none_or(|state| state.is_empty() || state.starts_with('Z'))
}

#[test]
fn scripts_are_told_what_happened_and_end_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("told");
    let lasting = script(
        dir.path(),
        "lasting",
        "#!/bin/sh\nsleep 1000 &\necho \"$HOME $$ $! $*\" > told.part\nmv told.part told\nwait\n",
    );
    let broken = script(dir.path(), "broken", "exit 0\n");
    let port = free_port();
    let mut sentinel = Sentinel::start(&format!(
        "dir {}\n\
         sentinel monitor a 127.0.0.1 {port} 1\n\
         sentinel notification-script a {}\n\
         sentinel monitor b 127.0.0.1 {port} 1\n\
         sentinel notification-script b {}",
        dir.path().display(),
        lasting.display(),
        broken.display(),
    ));
    until("nobody was told", || told.exists());
    let text = fs::read_to_string(&told).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    let [home, shell, sleep, event, rest @ ..] = words.as_slice() else {
        panic!("{text}");
    };
    assert_eq!(*home, std::env::var("HOME").unwrap());
    assert_eq!(*event, "+monitor");
    let place = format!("master a 127.0.0.1 {port} quorum 1");
    assert_eq!(rest.join(" "), place);
    assert!(!is_gone(shell) && !is_gone(sleep));
    // What is no program is not given to a shell.
    sentinel.says(&format!("-script-error {} 0 2", broken.display()));

    let began = Instant::now();
    assert_eq!(sentinel.end(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5));
    until("a script is left", || is_gone(shell) && is_gone(sleep));
}

fn ended(args: &[&str], dir: &Path, user: Option<u32>) -> (Option<i32>, String) {
    let mut command = program();
    command.current_dir(dir).args(args);
    if let Some(user) = user {
        command.uid(user);
    }
    let Output {
        status,
        mut stdout,
        stderr,
    } = command.output().unwrap();
    stdout.extend(stderr);
    (status.code(), String::from_utf8(stdout).unwrap())
}

#[test]
fn without_a_file_that_is_right_and_can_be_written_there_is_no_sentinel() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    let port = format!("port {}\nbind 127.0.0.1\n", free_port());
    for (file, text) in [
        ("good", ""),
        ("name", "sentinel monitor m no.such.host. 1 1\n"),
        ("quorum", "sentinel monitor m 127.0.0.1 1 0\n"),
        ("master", "\n\nsentinel failover-timeout m 1\n"),
        ("word", "sentinel what m 1\n"),
    ] {
        fs::write(dir.join(file), format!("{port}{text}")).unwrap();
    }
    let refused = |line: usize, text: &str, why: &str| {
        format!("Reading the configuration file, at line {line}\n>>> '{text}'\n{why}\n")
    };
    for (args, end) in [
        (
            &["--sentinel"][..],
            "Sentinel needs config file on disk to save state. Exiting...\n".to_owned(),
        ),
        (
            &["gone", "--sentinel"],
            "Fatal error, can't open config file 'gone': No such file or directory\n".to_owned(),
        ),
        (
            &["quorum", "--sentinel"],
            refused(
                3,
                "sentinel monitor m 127.0.0.1 1 0",
                "Quorum must be 1 or greater.",
            ),
        ),
        (
            &["master", "--sentinel"],
            refused(
                5,
                "sentinel failover-timeout m 1",
                "No such master with specified name.",
            ),
        ),
        (
            &["word", "--hz", "10", "--sentinel"],
            refused(
                3,
                "sentinel what m 1",
                "Unrecognized sentinel configuration statement.",
            ),
        ),
        (
            &["word"],
            refused(
                3,
                "sentinel what m 1",
                "sentinel directive while not in sentinel mode",
            ),
        ),
    ] {
        let (code, output) = ended(args, dir, None);
        assert_eq!(code, Some(1), "{args:?}\n{output}");
        assert!(output.ends_with(&end), "{args:?}\n{output}");
    }
    // Who may do everything may write to what is read-only, too.
    let user = (fs::metadata("/proc/self").unwrap().uid() == 0).then_some(NOBODY);
    fs::set_permissions(dir.join("good"), fs::Permissions::from_mode(0o444)).unwrap();
    let (code, output) = ended(&["good", "--sentinel"], dir, user);
    assert_eq!(code, Some(1), "{output}");
    let file = dir.join("good");
    let end = format!(
        "Sentinel config file {} is not writable: Permission denied. Exiting...\n",
        file.display()
    );
    assert!(output.ends_with(&end), "{output}");
}

#[test]
fn a_program_that_is_called_like_one_is_a_sentinel() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["redkeep-sentinel", "redis-sentinel"] {
        let path = dir.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_redkeep"), &path).unwrap();
        let output = Command::new(path).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(" # Sentinel needs config file"), "{text}");
    }
}

/// A sentinel that elects itself again and again, for there is no leader, and crashes then.
const CRASHES: [&str; 2] = [
    "sentinel monitor m 127.0.0.1 1 1\n\
     sentinel down-after-milliseconds m 1\n\
     sentinel failover-timeout m 100\n",
    "SENTINEL SIMULATE-FAILURE crash-after-election",
];

#[test]
fn a_crash_that_was_asked_for_ends_the_program() {
    let [lines, command] = CRASHES;
    let mut sentinel = Sentinel::start(lines);
    sentinel.says("+monitor");
    let mut client = sentinel.client();
    // It may come before the reply.
    let _ = client.call(&common::argv(command));
    assert_eq!(sentinel.wait(), Some(99));
    sentinel.says("Sentinel CRASH because of SENTINEL simulate-failure");
}

#[test]
fn a_crash_that_was_asked_for_leaves_another_program_alone() {
    let [lines, command] = CRASHES;
    let builder = redkeep::Server::builder().sentinel_in_memory(lines);
    let sentinel = builder.start().unwrap();
    let mut client = sentinel.client().unwrap();
    let _ = client.call(command.split(' '));
    until("it goes on", || client.call(["PING"]).is_err());
    until("it listens", || Client::connect(sentinel.port()).is_err());
}

#[test]
fn another_program_may_contain_a_sentinel() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s.conf");
    let start = || redkeep::Server::builder().sentinel(&file).start();
    let missing = start().unwrap_err().to_string();
    assert!(missing.ends_with("is not writable: No such file or directory. Exiting..."));
    let leader = redkeep::Server::builder().start().unwrap();
    let lines = format!("sentinel monitor m 127.0.0.1 {} 1\n", leader.port());
    fs::write(&file, &lines).unwrap();
    let sentinel = start().unwrap();
    assert!(sentinel.addr().ip().is_loopback());
    let written = fs::read_to_string(&file).unwrap();
    assert!(written.starts_with(&lines) && written.contains("\nsentinel myid "));
    // It asks its leader who follows, over sockets.
    let clients = || {
        let mut client = leader.client().unwrap();
        client.call(["CLIENT", "LIST"]).unwrap().to_string()
    };
    until("it does not connect", || {
        clients().contains("name=sentinel-")
    });
    let mut client = sentinel.client().unwrap();
    let refused = client.call(["GET", "x"]).unwrap().to_string();
    assert!(refused.contains("unknown command"), "{refused}");
    drop(sentinel);
    until("a connection is left", || {
        !clients().contains("name=sentinel-")
    });

    let builder = redkeep::Server::builder().sentinel_in_memory(lines);
    let builder = builder.config("bind-source-addr", "127.0.0.2");
    let sentinel = builder.start().unwrap();
    let from_there =
        |client: &str| client.contains(" addr=127.0.0.2:") && client.contains("name=sentinel-");
    until("it does not connect", || clients().lines().any(from_there));
    sentinel.shutdown();
}
