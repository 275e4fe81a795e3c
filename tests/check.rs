//! `redkeep check-aof` and `check-rdb` beside Redis's tools: the same verdict, exit code and repaired file.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

mod common;

use common::Server;
use common::peer::tool;
use redkeep::persist::aof::reader::{disclaim, vouch};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// What a tool said and left.
#[derive(Debug, PartialEq)]
struct Said {
    sound: bool,
    text: String,
}

impl Said {
    /// The number behind a name in what was said.
    fn number(&self, name: &str) -> Option<u64> {
        let (_, rest) = self.text.split_once(&format!("{name}="))?;
        rest.split([',', '\n']).next()?.parse().ok()
    }
}

fn run(program: &Path, words: &[&str], file: &Path, answer: &str) -> Said {
    let mut child = Command::new(program)
        .args(words)
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended without a question.
    let _ = child.stdin.take().unwrap().write_all(answer.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    Said {
        sound: output.status.success(),
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}

/// Redis's tools and ours under their names, in a directory to work in.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        for name in ["redis-check-aof", "redis-check-rdb"] {
            let ours = Path::new(env!("CARGO_BIN_EXE_redkeep"));
            #[cfg(unix)]
            std::os::unix::fs::symlink(ours, dir.path().join(name)).unwrap();
            #[cfg(not(unix))]
            fs::copy(ours, dir.path().join(name)).unwrap();
        }
        Bench { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Ours.
    fn aof(&self, words: &[&str], file: &Path, answer: &str) -> Said {
        run(&self.path("redis-check-aof"), words, file, answer)
    }

    /// Runs both tools on the same bytes; what they said, and what they left.
    fn both(
        &self,
        theirs: &Path,
        words: &[&str],
        bytes: &[u8],
        answer: &str,
    ) -> [(Said, Vec<u8>); 2] {
        [theirs, &self.path("redis-check-aof")].map(|program| {
            let file = self.path("log.aof");
            fs::write(&file, bytes).unwrap();
            let said = run(program, words, &file, answer);
            (said, fs::read(&file).unwrap())
        })
    }
}

fn time(seconds: u32) -> Vec<u8> {
    format!("#TS:{seconds}\r\n").into_bytes()
}

fn batch(log: &mut Vec<u8>, commands: &[&[u8]]) {
    let (at, bytes) = (log.len() as u64, commands.concat());
    log.extend(&bytes);
    vouch(log, crc32fast::hash(&bytes), bytes.len() as u64, at);
}

/// Logs, whole and not.
fn logs() -> Vec<(&'static str, Vec<u8>)> {
    let mut vouched = Vec::new();
    disclaim(&mut vouched, 0);
    batch(&mut vouched, &[SET, SET]);
    batch(&mut vouched, &[&time(150), MULTI, SET, EXEC]);
    vec![
        ("whole", [SET, SET].concat()),
        ("vouched for", vouched.clone()),
        ("vouched for, cut", [&vouched, &SET[..20]].concat()),
        ("cut in a string", [SET, &SET[..10]].concat()),
        ("cut in a length", [SET, b"*3\r\n$3"].concat()),
        ("cut in a line end", [SET, &SET[..SET.len() - 1]].concat()),
        ("cut in a count", [SET, b"*"].concat()),
        ("rubbish behind", [SET, b"!!!"].concat()),
        ("zeros behind", [SET, &[0; 50]].concat()),
        ("no length", [SET, b"*3\r\n$x\r\nSET\r\n"].concat()),
        ("a negative length", [SET, b"*3\r\n$-5\r\n"].concat()),
        (
            "a length beyond all",
            [SET, b"*2\r\n$999999999999\r\nabc\r\n"].concat(),
        ),
        ("no line end", [SET, b"*1\r\n$4\r\nPINGxx", SET].concat()),
        ("a transaction", [SET, MULTI, SET, EXEC].concat()),
        ("an open transaction", [SET, MULTI, SET].concat()),
        (
            "a transaction in another",
            [SET, MULTI, MULTI, SET, EXEC].concat(),
        ),
        ("the end of no transaction", [SET, EXEC, SET].concat()),
        ("times", [&time(100), SET, &time(200), SET].concat()),
        ("a time that is none", [SET, b"#TS:1x2\r\n", SET].concat()),
        ("nothing", Vec::new()),
    ]
}

#[test]
fn logs_are_judged_and_repaired_as_redis_does() {
    let Some(theirs) = tool("redis-check-aof") else {
        return;
    };
    let bench = Bench::new();
    for (name, bytes) in logs() {
        let [(real, _), (ours, left)] = bench.both(&theirs, &[], &bytes, "");
        assert_eq!(ours.sound, real.sound, "{name}: {}", ours.text);
        for number in ["size", "ok_up_to", "diff"] {
            assert_eq!(
                ours.number(number),
                real.number(number),
                "{name}: {}",
                ours.text
            );
        }
        assert_eq!(left, bytes);
        if real.sound {
            assert_eq!(ours, real, "{name}");
        } else {
            assert!(ours.text.contains("offset"), "{name}: {}", ours.text);
        }
        for answer in ["", "n\n", "Yes\n"] {
            let [(real, kept), (ours, left)] = bench.both(&theirs, &["--fix"], &bytes, answer);
            assert_eq!(
                (ours.sound, left),
                (real.sound, kept),
                "{name}: {}",
                ours.text
            );
        }
        for until in ["50", "100", "150", "200", "0", "x"] {
            let words = ["--truncate-to-timestamp", until];
            let [(real, kept), (ours, left)] = bench.both(&theirs, &words, &bytes, "");
            assert_eq!(
                (ours.sound, left),
                (real.sound, kept),
                "{name}, {until}: {}",
                ours.text
            );
            if real.sound && !kept_nothing(&real) {
                assert_eq!(
                    ours.text.lines().last(),
                    real.text.lines().last(),
                    "{name}, {until}"
                );
            }
        }
    }
}

fn kept_nothing(said: &Said) -> bool {
    said.text.contains("is empty")
}

/// What Redis's tool lets pass, and its server would refuse, or go on with in the middle of a line.
#[test]
fn what_redis_overlooks_is_seen() {
    let bench = Bench::new();
    let file = bench.path("log.aof");
    let mut damaged = Vec::new();
    batch(&mut damaged, &[SET, SET]);
    batch(&mut damaged, &[SET]);
    let at = damaged.len() - 60;
    damaged[at] ^= 1;
    for (bytes, what) in [
        ([SET, b"#TS:12"].concat(), "torn off behind offset 27"),
        ([b"*0\r\n", SET].concat(), "damaged at offset 0"),
        (
            [SET, b"#CRC:junk\r\n", SET].concat(),
            "damaged at offset 27",
        ),
        (damaged, "damaged at offset 0"),
    ] {
        fs::write(&file, bytes).unwrap();
        let said = bench.aof(&[], &file, "");
        assert!(!said.sound && said.text.contains(what), "{}", said.text);
    }
    assert!(!bench.aof(&[], &bench.path("none"), "").sound);
    assert!(!bench.aof(&["--what"], &file, "").sound);
}

/// The lines of the verdict, without what only one of the tools says.
fn verdict(said: &Said) -> Vec<&str> {
    let said = said.text.lines();
    said.filter(|line| {
        line.contains(" is valid") || line.contains("Start") || line.contains("truncate")
    })
    .collect()
}

#[test]
fn directories_are_judged_and_repaired_as_redis_does() {
    let Some(theirs) = tool("redis-check-aof") else {
        return;
    };
    let bench = Bench::new();
    let ours = bench.path("redis-check-aof");
    let whole = [&time(100), SET, &time(200), SET].concat();
    let cut = [&whole, &SET[..10]].concat();
    let rdb = rdb_of(&bench);
    let tail = [&rdb[..], SET].concat();
    let manifest = "file b seq 1 type b\nfile i seq 1 type i\nfile j seq 2 type i\n";
    for (name, files) in [
        ("whole", [&whole, &whole, &whole]),
        ("with a snapshot", [&rdb, &whole, &whole]),
        ("with a snapshot and a tail", [&tail, &whole, &whole]),
        ("with a base that is cut", [&cut, &whole, &whole]),
        (
            "with a snapshot that is cut",
            [&rdb[..50].to_vec(), &whole, &whole],
        ),
        ("with a file that is cut", [&whole, &cut, &whole]),
        ("with an end that is cut", [&whole, &whole, &cut]),
        ("with an empty end", [&whole, &whole, &Vec::new()]),
    ] {
        for words in [
            &[][..],
            &["--fix"],
            &["--truncate-to-timestamp", "150"],
            &["--truncate-to-timestamp", "250"],
        ] {
            let [(real, kept), (said, left)] = [&theirs, &ours].map(|program| {
                for (file, bytes) in ["b", "i", "j"].iter().zip(files) {
                    fs::write(bench.path(file), bytes).unwrap();
                }
                fs::write(bench.path("m"), manifest).unwrap();
                let said = run(program, words, &bench.path("m"), "y\n");
                (
                    said,
                    ["b", "i", "j"].map(|file| fs::read(bench.path(file)).unwrap()),
                )
            });
            assert_eq!(
                (said.sound, &left),
                (real.sound, &kept),
                "{name}, {words:?}: {}",
                said.text
            );
            if real.sound {
                assert_eq!(verdict(&said), verdict(&real), "{name}, {words:?}");
            }
        }
    }
    fs::remove_file(bench.path("j")).unwrap();
    for text in [
        manifest,
        "file b seq 1 type b\n!!!\n",
        "file b seq 0 type b\n",
        "file b seq 1 type x\n",
    ] {
        fs::write(bench.path("m"), text).unwrap();
        let [real, said] = [&theirs, &ours].map(|program| run(program, &[], &bench.path("m"), ""));
        assert!(!real.sound && !said.sound, "{}", said.text);
    }
}

/// A snapshot.
fn rdb_of(bench: &Bench) -> Vec<u8> {
    let server = Server::redkeep(&[]);
    let mut c = server.client();
    for n in 0..20 {
        c.run(&format!("SET key:{n} value:{n}"));
        c.run(&format!("RPUSH list a b {n}"));
        c.run(&format!("HSET hash f{n} {n}"));
    }
    c.run("SET gone soon PX 1");
    c.run("SAVE");
    let bytes = fs::read(server.dir.path().join("dump.rdb")).unwrap();
    fs::write(bench.path("dump.rdb"), &bytes).unwrap();
    bytes
}

#[test]
fn snapshots_are_judged_as_redis_does() {
    let Some(theirs) = tool("redis-check-rdb") else {
        return;
    };
    let bench = Bench::new();
    let ours = bench.path("redis-check-rdb");
    let file = bench.path("dump.rdb");
    let good = rdb_of(&bench);
    let mut unsummed = good.clone();
    let end = good.len() - 8;
    unsummed[end..].fill(0);
    let last_line = |said: &Said| said.text.lines().last().map(str::to_owned);
    for (what, bytes) in [("Checksum OK", &good), ("checksum disabled", &unsummed)] {
        fs::write(&file, bytes).unwrap();
        let [real, said] = [&theirs, &ours].map(|program| run(program, &[], &file, ""));
        assert!(real.sound && said.sound, "{}", said.text);
        assert!(
            real.text.contains(what) && said.text.contains(what),
            "{}",
            said.text
        );
        assert_eq!(last_line(&said), last_line(&real));
    }
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        for bytes in [bad, good[..at].to_vec()] {
            fs::write(&file, bytes).unwrap();
            let said = run(&ours, &[], &file, "");
            assert!(
                !said.sound && said.text.contains("RDB ERROR DETECTED"),
                "{}",
                said.text
            );
            assert!(said.text.contains("[offset "), "{}", said.text);
        }
        let real = run(&theirs, &[], &file, "");
        assert!(!real.sound, "{}", real.text);
    }
    assert!(!run(&ours, &[], &bench.path("none"), "").sound);
    assert!(
        run(&ours, &[], Path::new("--version"), "")
            .text
            .starts_with("redkeep check-rdb ")
    );
}

#[test]
fn a_real_server_passes_over_what_vouches() {
    let Some(mut real) = Server::redis(&["--appendonly", "yes"]) else {
        return;
    };
    let mut log = Vec::new();
    disclaim(&mut log, 0);
    batch(&mut log, &[&time(1_700_000_000), SET, SET]);
    for n in 0..500 {
        let value = "x".repeat(n);
        let push = format!("*3\r\n$5\r\nRPUSH\r\n$4\r\nlist\r\n${n}\r\n{value}\r\n");
        batch(
            &mut log,
            &[
                push.as_bytes(),
                MULTI,
                b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n",
                EXEC,
            ],
        );
    }
    real.kill();
    let dir = real.dir.path().join("appendonlydir");
    fs::write(dir.join("appendonly.aof.1.incr.aof"), &log).unwrap();
    if let Some(checks) = tool("redis-check-aof") {
        let said = run(&checks, &[], &dir.join("appendonly.aof.manifest"), "");
        assert!(
            said.sound && said.text.contains("manifest are valid"),
            "{}",
            said.text
        );
    }
    let said = Bench::new().aof(&[], &dir.join("appendonly.aof.manifest"), "");
    assert!(
        said.sound && said.text.contains("manifest are valid"),
        "{}",
        said.text
    );
    assert!(real.start_again(), "{}", real.log());
    let mut c = real.client();
    assert_eq!(c.run("GET k").text(), "v");
    assert_eq!(c.run("GET n").text(), "500");
    assert_eq!(c.run("LLEN list").int(), Some(500));
    assert_eq!(c.run("LINDEX list -1").text(), "x".repeat(499));
    assert_eq!(c.run("DBSIZE").int(), Some(3));
}
