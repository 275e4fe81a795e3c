//! The append-only log: what is in it is loaded, by us and by a real server, whatever happens meanwhile.
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
#[path = "dump/samples.rs"]
mod samples;
#[path = "dump/target.rs"]
mod target;

use common::client::Got;
use common::contents::{act, same, told, without_how_much_is_read};
use common::{Client, Reply, Server, argv};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LOGGED: &[&str] = &[
    "--appendonly",
    "yes",
    "--enable-debug-command",
    "yes",
    "--enable-protected-configs",
    "yes",
];

fn logged(more: &[&str]) -> Server {
    Server::redkeep(&[LOGGED, more].concat())
}

fn dir(server: &Server) -> PathBuf {
    server.dir.path().join("appendonlydir")
}

fn manifest_of(dir: &Path) -> String {
    fs::read_to_string(dir.join("appendonly.aof.manifest")).unwrap()
}

/// The names of the files of a log and what they are, in order.
fn manifest(server: &Server) -> Vec<String> {
    let text = manifest_of(&dir(server));
    let parts = text.lines().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!((words[0], words[2], words[4]), ("file", "seq", "type"));
        let name = words[1].strip_prefix("appendonly.aof").unwrap();
        format!("{name} {}", words[5])
    });
    parts.collect()
}

/// What is in a log's directory beside the manifest.
fn files(server: &Server) -> Vec<String> {
    let all = fs::read_dir(dir(server)).unwrap();
    let names = all.map(|f| f.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| !name.ends_with("manifest")).collect();
    names.sort();
    names
}

fn copy_dir(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A field of INFO.
fn info(c: &mut Client, name: &str) -> String {
    let text = c.run("INFO everything").text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
        .to_owned()
}

fn set(c: &mut Client, name: &str, value: &str) {
    let reply = c.call(&["CONFIG", "SET", name, value]).unwrap();
    assert_eq!(reply, Reply::ok(), "{name} {value}");
}

/// Waits until no base is being written or due.
fn settled(c: &mut Client) {
    until("the rewrite ends", || {
        let of = |c: &mut Client, name| info(c, name) == "0";
        of(c, "aof_rewrite_scheduled") && of(c, "aof_rewrite_in_progress")
    });
    assert_eq!(info(c, "aof_last_bgrewrite_status"), "ok");
}

fn rewrite(c: &mut Client) {
    let reply = c.run("BGREWRITEAOF").text();
    assert!(
        reply.starts_with("Background append only file rewriting"),
        "{reply}"
    );
    settled(c);
}

/// Runs the samples with these numbers, those of them that all servers take, in three databases; some get a deadline.
fn fill(servers: &mut [&mut Client], numbers: impl Iterator<Item = usize>) {
    // What depends on the configuration would have to find the same after a start.
    let mut samples = samples::all();
    samples.retain(|sample| sample.commands.iter().all(|argv| argv[0] != b"CONFIG"));
    let mut run = |words: &[Vec<u8>]| -> bool {
        let replies = servers.iter_mut().map(|c| c.call(words).unwrap());
        replies.filter(|reply| reply.is_error()).count() == 0
    };
    for n in numbers.take_while(|n| *n < samples.len()) {
        run(&argv(&format!("SELECT {}", n / 5 % 3)));
        let refused = samples[n].commands.iter().filter(|c| !run(c)).count();
        if refused == 0 {
            run(&argv(&format!("RENAME k k{n}")));
            if n % 3 == 0 {
                run(&argv(&format!("PEXPIREAT k{n} 99999999999999")));
            }
        }
        run(&argv("DEL k"));
    }
    run(&argv("SELECT 0"));
}

/// Loads the log twice, while the server runs and by a start: nothing is other than before.
fn is_lasting(server: &mut Server) {
    let mut c = server.client();
    let before = told(&mut c);
    assert_eq!(c.run("DEBUG LOADAOF"), Reply::ok(), "{}", server.log());
    same(&told(&mut c), &before);
    assert!(server.terminate());
    assert!(server.start_again(), "{}", server.log());
    same(&told(&mut server.client()), &before);
}

#[test]
fn what_is_logged_is_loaded_with_either_form_of_base() {
    for rdb in ["yes", "no"] {
        let mut server = logged(&["--aof-use-rdb-preamble", rdb]);
        let mut c = server.client();
        fill(&mut [&mut c], (0..).step_by(2));
        act(&mut c, "a");
        rewrite(&mut c);
        fill(&mut [&mut c], (1..).step_by(2));
        act(&mut c, "b");
        let form = if rdb == "yes" { "rdb" } else { "aof" };
        let base = format!(".2.base.{form} b");
        assert_eq!(manifest(&server), [&*base, ".2.incr.aof i"]);
        assert!(told(&mut c).len() > 60);
        is_lasting(&mut server);
        // Nothing of it is left for a second time.
        is_lasting(&mut server);
        let mut c = server.client();
        assert_eq!(c.run("FCALL fa 1 counteda").int(), Some(2));
        rewrite(&mut c);
        is_lasting(&mut server);
    }
}

#[test]
fn a_real_server_loads_ours_and_we_load_its() {
    for rdb in ["yes", "no"] {
        let options = [LOGGED, &["--aof-use-rdb-preamble", rdb]].concat();
        let Some(mut real) = Server::redis(&options) else {
            return;
        };
        let mut ours = Server::redkeep(&options);
        let (mut c, mut theirs) = (ours.client(), real.client());
        fill(&mut [&mut theirs, &mut c], (0..).step_by(2));
        // Each for itself: what is popped is no matter of agreement.
        act(&mut c, "a");
        act(&mut theirs, "a");
        rewrite(&mut c);
        rewrite(&mut theirs);
        fill(&mut [&mut theirs, &mut c], (1..).step_by(2));
        act(&mut c, "b");
        act(&mut theirs, "b");
        let made = told(&mut c);
        // No log tells how much a group has read. We conclude it.
        assert!(real.terminate() && real.start_again());
        let theirs = told(&mut real.client());
        assert!(made.len() > 60 && made.len() == theirs.len());
        assert!(ours.terminate() && real.terminate());
        let kept = tempfile::tempdir().unwrap();
        copy_dir(&dir(&ours), &kept.path().join("log"));
        copy_dir(&dir(&real), &dir(&ours));
        assert!(ours.start_again(), "{}", ours.log());
        same(&plain(&mut ours), &without_how_much_is_read(theirs));
        copy_dir(&kept.path().join("log"), &dir(&real));
        assert!(real.start_again(), "{}", real.log());
        same(&plain(&mut real), &without_how_much_is_read(made));
        // It goes on with the file, and so do we.
        act(&mut real.client(), "c");
        assert!(real.terminate() && real.start_again());
        let more = told(&mut real.client());
        assert!(real.terminate());
        ours.kill();
        copy_dir(&dir(&real), &dir(&ours));
        assert!(ours.start_again(), "{}", ours.log());
        same(&plain(&mut ours), &without_how_much_is_read(more));
        act(&mut ours.client(), "d");
        is_lasting(&mut ours);
    }
}

/// What is told of a server's contents, but for what it may have concluded.
fn plain(server: &mut Server) -> Vec<String> {
    without_how_much_is_read(told(&mut server.client()))
}

/// Writes until it is told to stop; how much was written.
fn hammer(port: u16, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut c = Client::connect(port).unwrap();
        let mut n = 0;
        while !stop.load(Ordering::Relaxed) {
            let part: Vec<_> = (0..50)
                .flat_map(|_| {
                    n += 1;
                    let key = n % 3000;
                    [
                        format!("SET k{key} {n}"),
                        format!("RPUSH l{} {n}", key % 50),
                        format!("SPOP s{} 1", key % 7),
                        format!("SADD s{} {n}", key % 7),
                        format!("HINCRBY h{} f{} 1", key % 20, key % 31),
                    ]
                })
                .map(|line| argv(&line))
                .collect();
            let (_, done) = c.pipeline(&part);
            done.unwrap();
        }
        n
    })
}

#[test]
fn rewrites_under_load_lose_nothing() {
    for (rdb, policy) in [("yes", "everysec"), ("no", "always"), ("no", "no")] {
        let mut server = logged(&["--aof-use-rdb-preamble", rdb, "--appendfsync", policy]);
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..3)
            .map(|_| hammer(server.port, Arc::clone(&stop)))
            .collect();
        let mut c = server.client();
        for _ in 0..3 {
            until("something is written", || {
                c.run("DBSIZE").int() >= Some(100)
            });
            rewrite(&mut c);
        }
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            assert!(writer.join().unwrap() > 100);
        }
        assert_eq!(manifest(&server).len(), 2);
        is_lasting(&mut server);
    }
}

#[test]
fn a_server_with_nothing_to_load_answers_at_once() {
    for options in [&[][..], LOGGED] {
        let mut server = Server::redkeep(options);
        for _ in 0..5 {
            server.kill();
            // Everything that it could load.
            let _ = fs::remove_dir_all(dir(&server));
            let mut c = server.start_loading();
            assert_eq!(c.run("SET k v"), Reply::ok());
            assert_eq!(info(&mut c, "loading"), "0");
        }
    }
}

#[test]
fn a_log_is_switched_on_and_off_while_the_server_runs() {
    let mut server = logged(&["--appendonly", "no"]);
    let mut c = server.client();
    act(&mut c, "a");
    assert!(!dir(&server).exists());
    set(&mut c, "appendonly", "yes");
    act(&mut c, "b");
    settled(&mut c);
    assert_eq!(manifest(&server), [".1.base.rdb b", ".1.incr.aof i"]);
    let before = told(&mut c);
    assert_eq!(c.run("DEBUG LOADAOF"), Reply::ok());
    same(&told(&mut c), &before);
    set(&mut c, "appendonly", "no");
    c.run("SET lost 1");
    // The files stay, and can be loaded and rewritten.
    assert_eq!(c.run("DEBUG LOADAOF"), Reply::ok());
    same(&told(&mut c), &before);
    rewrite(&mut c);
    assert_eq!(manifest(&server), [".2.base.rdb b"]);
    assert_eq!(files(&server), ["appendonly.aof.2.base.rdb"]);
    assert_eq!(c.run("DEBUG LOADAOF"), Reply::ok());
    same(&told(&mut c), &before);
    // In a transaction, with what it does before and behind.
    for line in [
        "MULTI",
        "SET before 1",
        "CONFIG SET appendonly yes",
        "SET behind 1",
    ] {
        c.run(line);
    }
    let replies = c.run("EXEC");
    assert!(replies.items().iter().all(|r| *r == Reply::ok()));
    settled(&mut c);
    assert_eq!(manifest(&server), [".3.base.rdb b", ".1.incr.aof i"]);
    set(&mut c, "appendonly", "no");
    set(&mut c, "appendonly", "yes");
    settled(&mut c);
    assert_eq!(c.run("EXISTS before behind").int(), Some(2));
    server.kill();
    assert!(server.start_again(), "{}", server.log());
    set(&mut server.client(), "appendonly", "yes");
    settled(&mut server.client());
    assert!(!files(&server).iter().any(|name| name.starts_with("temp")));
}

#[test]
fn a_rewrite_that_is_given_up_leaves_nothing_behind() {
    let mut server = logged(&["--rdb-key-save-delay", "10000000"]);
    let mut c = server.client();
    c.run("MSET a 1 b 2");
    let given_up = |c: &mut Client, server: &Server| {
        assert_eq!(
            c.run("BGREWRITEAOF").text(),
            "Background append only file rewriting started"
        );
        assert!(c.run("BGREWRITEAOF").text().starts_with("ERR Background"));
        set(c, "appendonly", "no");
        until("it is told", || {
            server.log().contains("Killing AOF child: ")
        });
        assert_eq!(info(c, "aof_rewrite_in_progress"), "0");
    };
    given_up(&mut c, &server);
    // The chain that there was is whole: what was begun belongs to it.
    until("the chain is whole", || {
        manifest(&server) == [".1.base.rdb b", ".1.incr.aof i", ".2.incr.aof i"]
    });
    // A log that never gets a base never becomes a part of it.
    set(&mut c, "appendonly", "yes");
    c.run("SET c 3");
    until("it is begun", || {
        files(&server).contains(&"appendonly.aof.3.incr.aof".to_owned())
    });
    set(&mut c, "appendonly", "no");
    until("it is removed", || {
        let gone = !files(&server).contains(&"appendonly.aof.3.incr.aof".to_owned());
        gone && server.log().contains("Removing the temp incr aof file")
    });
    assert_eq!(manifest(&server).len(), 3);
    set(&mut c, "rdb-key-save-delay", "0");
    set(&mut c, "appendonly", "yes");
    settled(&mut c);
    assert_eq!(manifest(&server).len(), 2);
    is_lasting(&mut server);
}

#[test]
fn history_is_kept_while_that_is_asked_for() {
    let mut server = logged(&["--aof-disable-auto-gc", "yes"]);
    let mut c = server.client();
    c.run("SET a 1");
    rewrite(&mut c);
    rewrite(&mut c);
    let history = [
        ".3.base.rdb b",
        ".1.base.rdb h",
        ".1.incr.aof h",
        ".2.base.rdb h",
        ".2.incr.aof h",
        ".3.incr.aof i",
    ];
    let mut found = manifest(&server);
    found[1..5].sort();
    assert_eq!(found, {
        let mut all = history;
        all[1..5].sort_unstable();
        all
    });
    assert_eq!(files(&server).len(), 6);
    set(&mut c, "aof-disable-auto-gc", "no");
    assert_eq!(manifest(&server), [".3.base.rdb b", ".3.incr.aof i"]);
    assert_eq!(files(&server).len(), 2);
    // What is left over is removed at a start. A log that begins anew does not fall into the hands of its namesake.
    set(&mut c, "aof-disable-auto-gc", "yes");
    set(&mut c, "appendonly", "no");
    rewrite(&mut c);
    assert_eq!(manifest(&server).len(), 3);
    assert!(server.terminate());
    let path = dir(&server).join("appendonly.aof.manifest");
    let text = fs::read_to_string(&path).unwrap();
    let old = dir(&server).join("appendonly.aof.3.incr.aof");
    fs::rename(old, dir(&server).join("appendonly.aof.1.incr.aof")).unwrap();
    fs::write(&path, text.replace("3.incr.aof seq 3", "1.incr.aof seq 1")).unwrap();
    assert!(server.start_again());
    let mut c = server.client();
    c.run("SET b 2");
    assert_eq!(manifest(&server).len(), 3, "{:?}", manifest(&server));
    set(&mut c, "aof-disable-auto-gc", "no");
    assert_eq!(manifest(&server), [".4.base.rdb b", ".1.incr.aof i"]);
    is_lasting(&mut server);
}

#[test]
fn an_old_log_is_taken_over() {
    const SET: &str = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\nold\r\n";
    let mut server = logged(&[]);
    let old = server.dir.path().join("appendonly.aof");
    let (new, list) = (
        dir(&server).join("appendonly.aof"),
        "appendonly.aof.manifest",
    );
    let interrupted = "file appendonly.aof seq 1 type b\n";
    for before in ["nothing", "interrupted", "both"] {
        server.kill();
        fs::remove_dir_all(dir(&server)).unwrap();
        let _ = fs::remove_file(&old);
        fs::write(&old, SET).unwrap();
        if before != "nothing" {
            fs::create_dir(dir(&server)).unwrap();
            fs::write(dir(&server).join(list), interrupted).unwrap();
        }
        if before == "both" {
            fs::write(&new, SET.replace("old", "new")).unwrap();
        }
        assert!(server.start_again(), "{}", server.log());
        let mut c = server.client();
        let (value, stays) = match before {
            "both" => ("new", true),
            _ => ("old", false),
        };
        assert_eq!(c.run("GET k").text(), value, "{before}");
        assert_eq!((old.exists(), new.exists()), (stays, true), "{before}");
        assert_eq!(manifest(&server), [" b", ".1.incr.aof i"]);
        c.run("SET l 1");
        is_lasting(&mut server);
        let mut c = server.client();
        rewrite(&mut c);
        assert_eq!(manifest(&server), [".2.base.rdb b", ".2.incr.aof i"]);
        assert_eq!((old.exists(), new.exists()), (stays, false), "{before}");
        is_lasting(&mut server);
    }
}

#[test]
fn a_log_that_has_grown_is_rewritten_by_itself() {
    let mut server = logged(&[
        "--auto-aof-rewrite-min-size",
        "20kb",
        "--auto-aof-rewrite-percentage",
        "100",
    ]);
    let mut c = server.client();
    let value = "x".repeat(1000);
    for _ in 0..3 {
        let rewrites = info(&mut c, "aof_rewrites");
        for n in 0..60 {
            c.run(&format!("SET k{} {value}", n % 5));
        }
        until("it is rewritten", || {
            info(&mut c, "aof_rewrites") > rewrites
        });
        settled(&mut c);
        assert!(info(&mut c, "aof_current_size").parse::<u64>().unwrap() < 20_000);
    }
    // Not below the least size, nor when it is switched off.
    let rewrites = info(&mut c, "aof_rewrites");
    set(&mut c, "auto-aof-rewrite-percentage", "0");
    for _ in 0..60 {
        c.run(&format!("SET k {value}"));
    }
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(info(&mut c, "aof_rewrites"), rewrites);
    is_lasting(&mut server);
}

#[test]
fn files_tell_when_they_were_begun_and_what_follows_if_asked() {
    let mut server = logged(&["--aof-use-rdb-preamble", "no"]);
    let mut c = server.client();
    let stamps = |server: &Server, part: usize| {
        let text = manifest_of(&dir(server));
        let name = text.lines().nth(part).unwrap().split(' ').nth(1).unwrap();
        let bytes = fs::read(dir(server).join(name)).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(part == 0 || text.starts_with("#TS:"), "{text}");
        let lines = text.lines().filter_map(|line| line.strip_prefix("#TS:"));
        let times: Vec<u64> = lines.map(|time| time.parse().unwrap()).collect();
        assert!(times.is_sorted(), "{times:?}");
        times
    };
    c.run("SET a 1");
    assert_eq!(stamps(&server, 1).len(), 1);
    rewrite(&mut c);
    assert_eq!(stamps(&server, 0).len(), 0);
    set(&mut c, "aof-timestamp-enabled", "yes");
    rewrite(&mut c);
    assert_eq!(stamps(&server, 0).len(), 1);
    let mut first = stamps(&server, 1);
    for n in 0..2 {
        let now = || c_time(&mut server.client());
        let began = now();
        until("the second ends", || now() > began);
        c.run(&format!("SET b {n}"));
        until("it is noted", || stamps(&server, 1).len() > first.len());
        first = stamps(&server, 1);
    }
    assert_eq!(first.len(), 3, "{first:?}");
    is_lasting(&mut server);
}

fn c_time(c: &mut Client) -> String {
    c.run("TIME").items()[0].text()
}

#[test]
fn who_waits_for_the_disk_waits_until_it_is_there() {
    let server = logged(&["--appendfsync", "no"]);
    let mut c = server.client();
    let both = |c: &mut Client, line: &str| {
        let reply = c.run(line);
        (reply.items()[0].int(), reply.items()[1].int())
    };
    assert_eq!(both(&mut c, "WAITAOF 0 0 0"), (Some(1), Some(0)));
    set(&mut c, "appendfsync", "everysec");
    c.run("SET a 1");
    assert_eq!(both(&mut c, "WAITAOF 1 0 0"), (Some(1), Some(0)));
    // A writer that takes its time.
    c.run("DEBUG AOF-FLUSH-SLEEP 400000");
    c.run("SET a 2");
    assert_eq!(both(&mut c, "WAITAOF 1 0 20"), (Some(0), Some(0)));
    assert_eq!(both(&mut c, "WAITAOF 1 0 0"), (Some(1), Some(0)));
    set(&mut c, "appendfsync", "always");
    let mut other = server.client();
    let began = Instant::now();
    c.send(&["SET", "a", "3"]).unwrap();
    assert_eq!(c.receive(Duration::from_millis(100)).unwrap(), Got::Nothing);
    // Nobody sees what may be lost: not even who only reads.
    other.send(&["GET", "a"]).unwrap();
    assert_eq!(other.reply().unwrap().text(), "3");
    assert!(began.elapsed() >= Duration::from_millis(390));
    assert_eq!(c.reply().unwrap(), Reply::ok());
    c.run("DEBUG AOF-FLUSH-SLEEP 0");
    set(&mut c, "appendonly", "no");
    let error = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
    assert_eq!(c.run("WAITAOF 1 0 0").text(), error);
}

#[test]
fn snapshots_and_rewrites_wait_for_each_other() {
    let mut server = logged(&["--rdb-key-save-delay", "10000000"]);
    let mut c = server.client();
    c.run("MSET a 1 b 2");
    assert_eq!(c.run("BGSAVE").text(), "Background saving started");
    let reply = c.run("BGREWRITEAOF").text();
    assert_eq!(reply, "Background append only file rewriting scheduled");
    let state = |c: &mut Client| {
        [
            "rdb_bgsave_in_progress",
            "aof_rewrite_scheduled",
            "aof_rewrite_in_progress",
        ]
        .map(|name| info(c, name))
    };
    assert_eq!(state(&mut c), ["1", "1", "0"]);
    // The log begins anew behind the snapshot, which goes on.
    set(&mut c, "appendonly", "no");
    set(&mut c, "appendonly", "yes");
    c.run("SET c 3");
    assert_eq!(state(&mut c), ["1", "1", "0"]);
    assert_eq!(manifest(&server), [".1.base.rdb b", ".1.incr.aof i"]);
    c.run("BGSAVE CANCEL");
    until("the rewrite begins", || state(&mut c)[2] == "1");
    let reply = c.run("BGSAVE").text();
    assert!(reply.starts_with("ERR Another child process"), "{reply}");
    let reply = c.run("BGSAVE SCHEDULE").text();
    assert_eq!(reply, "Background saving scheduled");
    // From then on what the delay is set to does not matter to it.
    set(&mut c, "rdb-key-save-delay", "0");
    set(&mut c, "appendonly", "no");
    set(&mut c, "appendonly", "yes");
    settled(&mut c);
    until("the snapshot is there", || {
        server.dir.path().join("dump.rdb").exists()
    });
    is_lasting(&mut server);
}

#[test]
fn a_log_moves_with_the_directory() {
    let mut server = logged(&[]);
    let mut c = server.client();
    act(&mut c, "a");
    let elsewhere = tempfile::tempdir().unwrap();
    let there = elsewhere.path().join("appendonlydir");
    set(&mut c, "dir", elsewhere.path().to_str().unwrap());
    act(&mut c, "b");
    settled(&mut c);
    assert_eq!(
        manifest_of(&there),
        "file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
    );
    let before = told(&mut c);
    assert_eq!(c.run("DEBUG LOADAOF"), Reply::ok());
    same(&told(&mut c), &before);
    // What stays behind is whole as well, as it was.
    assert!(server.terminate());
    assert!(server.start_again(), "{}", server.log());
    let mut c = server.client();
    assert_eq!(c.run("EXISTS ta tb").int(), Some(1));
    server.kill();
    copy_dir(&there, &dir(&server));
    assert!(server.start_again(), "{}", server.log());
    same(&told(&mut server.client()), &before);
}

/// A log whose last command keeps busy whoever loads it.
fn slow(server: &Server, rounds: u32) {
    let script =
        format!("redis.call('SET', KEYS[1], 'y') for i = 1, {rounds} do redis.call('PING') end");
    let eval = format!(
        "*4\r\n$4\r\nEVAL\r\n${}\r\n{script}\r\n$1\r\n1\r\n$1\r\nx\r\n",
        script.len()
    );
    let text = manifest_of(&dir(server));
    let last = text.lines().last().unwrap().split(' ').nth(1).unwrap();
    let path = dir(server).join(last);
    let mut c = server.client();
    c.run("SET written 1");
    assert_eq!(c.run("WAITAOF 1 0 0").items()[0].int(), Some(1));
    let bytes = [fs::read(&path).unwrap(), eval.into_bytes()].concat();
    fs::write(&path, bytes).unwrap();
}

#[test]
fn others_learn_that_the_log_is_being_loaded() {
    let server = logged(&["--busy-reply-threshold", "1"]);
    let (mut c, mut other) = (server.client(), server.client());
    c.run("SET a 1");
    slow(&server, 100_000);
    c.send(&["DEBUG", "LOADAOF"]).unwrap();
    let reply = loop {
        let reply = other.run("PING").text();
        assert!(!reply.starts_with("BUSY"), "{reply}");
        if reply != "PONG" {
            break reply;
        }
        assert_eq!(c.poll().unwrap(), None, "nobody learned it");
    };
    assert_eq!(reply, "LOADING Redis is loading the dataset in memory");
    assert_eq!(other.run("GET a").text(), reply);
    assert_eq!(other.run("SCRIPT KILL").text(), reply);
    assert_eq!(c.reply().unwrap(), Reply::ok());
    assert_eq!(
        c.run("MGET a x").items(),
        [Reply::bulk("1"), Reply::bulk("y")]
    );
    assert_eq!(info(&mut other, "loading"), "0");
}

#[test]
fn half_a_log_is_never_saved() {
    for signal in ["TERM", "INT"] {
        let mut server = logged(&["--busy-reply-threshold", "1", "--save", "3600 1"]);
        let mut c = server.client();
        c.run("SET a 1");
        slow(&server, 100_000_000);
        c.send(&["DEBUG", "LOADAOF"]).unwrap();
        let mut other = server.client();
        until("it loads", || {
            other.run("PING").text().starts_with("LOADING")
        });
        server.signal(signal);
        assert_eq!(server.end(), Some(0), "{}", server.log());
        assert!(!server.dir.path().join("dump.rdb").exists());
        // Nor was anything written behind it.
        let text = manifest_of(&dir(&server));
        let last = text.lines().last().unwrap().split(' ').nth(1).unwrap();
        let bytes = fs::read(dir(&server).join(last)).unwrap();
        assert!(bytes.ends_with(b"\r\nx\r\n"));
        // The same while it starts.
        let _other = server.start_loading();
        until("it loads", || server.log().contains("Slow script detected"));
        server.signal(signal);
        assert_eq!(server.end(), Some(0), "{}", server.log());
        assert!(!server.dir.path().join("dump.rdb").exists());
    }
}

#[test]
fn what_is_wrong_is_the_last_word() {
    let mut server = logged(&[]);
    server.kill();
    let set = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
    let list = "file appendonly.aof.1.base.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n";
    let bla = set.replace("SET", "bla");
    let gone = "file appendonly.aof.1.base.aof seq 1 type b\nfile appendonly.aof.2.incr.aof seq 2 type i\n";
    let odd = "file appendonly.aof.1.base.aof seq 1 type b\n!!!\n";
    for (list, log, word, no_less) in [
        (
            list,
            format!("{set}!!!"),
            "Bad file format reading the append only file",
            true,
        ),
        (
            list,
            format!("{set}*1\r\n$5\r\nMULTI\r\n{set}"),
            "Unexpected end of file reading the append only file",
            false,
        ),
        (
            list,
            set[..20].to_owned(),
            "Unexpected end of file reading the append only file",
            false,
        ),
        (
            list,
            bla,
            "Unknown command 'bla' reading the append only file",
            true,
        ),
        (
            gone,
            set.to_owned(),
            "appendonly.aof.2.incr.aof doesn't exist: No such file or directory",
            true,
        ),
        (
            odd,
            set.to_owned(),
            "Invalid AOF manifest file format",
            true,
        ),
        ("", set.to_owned(), "Found an empty AOF manifest", true),
    ] {
        fs::write(dir(&server).join("appendonly.aof.manifest"), list).unwrap();
        fs::write(dir(&server).join("appendonly.aof.1.base.aof"), set).unwrap();
        fs::write(dir(&server).join("appendonly.aof.1.incr.aof"), log).unwrap();
        let load = if no_less { "yes" } else { "no" };
        server.set_option("--aof-load-truncated", load);
        fs::write(server.dir.path().join("log"), "").unwrap();
        assert!(!server.start_again(), "{word}");
        let said = server.log();
        assert_eq!(said.matches(word).count(), 1, "{said}");
        assert!(said.lines().last().unwrap().contains(word), "{said}");
    }
}

#[test]
fn a_busy_script_does_not_keep_the_server_from_its_end() {
    let mut server = logged(&["--appendonly", "no", "--busy-reply-threshold", "10"]);
    let (mut c, mut busy) = (server.client(), server.client());
    set(&mut c, "rdb-key-save-delay", "10000000");
    c.run("SET a 1");
    // The base is not there before the script begins.
    set(&mut c, "appendonly", "yes");
    let reply = c.run("SHUTDOWN NOSAVE").text();
    assert_eq!(reply, "ERR Errors trying to SHUTDOWN. Check logs.");
    let script = "redis.call('SET', KEYS[1], 'y') while true do end";
    busy.send(&["EVAL", script, "1", "x"]).unwrap();
    until("it is busy", || c.run("PING").text().starts_with("BUSY"));
    c.send(&["SHUTDOWN", "NOSAVE"]).unwrap();
    assert!(c.reply().is_err());
    // Whoever sees its connection end finds the sockets closed.
    assert!(Client::connect(server.port).is_err());
    assert_eq!(server.end(), Some(0), "{}", server.log());
}
