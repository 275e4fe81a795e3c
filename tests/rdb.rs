//! RDB files: what is saved is loaded, by us and by a real server, whatever happens meanwhile.
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

use common::{Client, Server};
use redkeep::embed::{Node, jobs};
use redkeep::engine::{Engine, Options};
use redkeep::exec::session::Peer;
use redkeep::exec::{Args, Host, SessionId};
use redkeep::persist::{Disk, Files};
use redkeep::resp::{Proto, ReplyBuf};
use redkeep::service::config::{Invocation, Settings, SystemFiles, invocation};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const DEBUG: &[&str] = &["--enable-debug-command", "yes"];

/// Every sample of every type, in two databases, some with a deadline, one in the past.
fn fill(c: &mut Client) {
    for (n, sample) in samples::all().into_iter().enumerate() {
        if n % 5 == 0 {
            c.run(&format!("SELECT {}", n / 5 % 3));
        }
        let replies = sample.commands.iter().map(|argv| c.call(argv).unwrap());
        let failed = replies.filter(|reply| reply.is_error()).count();
        if failed == 0 {
            let name = format!("k{n}");
            c.call(&["RENAME", "k", &name]).unwrap();
            if n % 3 == 0 {
                c.call(&["PEXPIREAT", &name, "99999999999999"]).unwrap();
            }
        }
        c.run("DEL k");
    }
    c.run("SELECT 0");
    let code = "#!lua name=lib\nredis.register_function('f', function() return 7 end)";
    assert_eq!(c.call(&["FUNCTION", "LOAD", code]).unwrap().text(), "lib");
}

/// The digest of all databases, and what it leaves out: deadlines and groups of streams.
fn contents(c: &mut Client) -> Vec<String> {
    let functions = format!("{:?}", c.run("FUNCTION LIST WITHCODE"));
    assert_eq!(c.run("FCALL f 0").int(), Some(7));
    let mut all = vec![c.run("DEBUG DIGEST").text(), functions];
    for db in 0..3 {
        c.run(&format!("SELECT {db}"));
        let mut keys: Vec<String> = c.run("KEYS *").items().iter().map(|k| k.text()).collect();
        keys.sort();
        for key in keys {
            let at = c.run(&format!("PEXPIRETIME {key}")).text();
            let groups = c.run(&format!("XINFO GROUPS {key}"));
            let groups = if groups.is_error() {
                String::new()
            } else {
                groups.text()
            };
            all.push(format!("{db} {key} {at} {groups}"));
        }
    }
    c.run("SELECT 0");
    all
}

#[test]
fn what_is_saved_is_loaded() {
    for how in ["SAVE", "BGSAVE", "SIGTERM", "SHUTDOWN SAVE"] {
        let mut server = Server::redkeep(DEBUG);
        let mut c = server.client();
        fill(&mut c);
        let before = contents(&mut c);
        assert!(before.len() > 50, "{}", before.len());
        match how {
            "SIGTERM" => {
                c.call(&["CONFIG", "SET", "save", "100000 1"]).unwrap();
                assert!(server.terminate());
            }
            "SHUTDOWN SAVE" => {
                c.send(&["SHUTDOWN", "SAVE"]).unwrap();
                while server.alive() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            how => {
                c.run(how);
                wait_for(&mut c, "rdb_bgsave_in_progress:0");
                assert!(
                    c.run("INFO persistence")
                        .text()
                        .contains("rdb_last_bgsave_status:ok")
                );
            }
        }
        assert!(server.start_again(), "{}", server.log());
        assert_eq!(contents(&mut server.client()), before, "{how}");
        let left = fs::read_dir(server.dir.path()).unwrap();
        let names: Vec<_> = left.map(|f| f.unwrap().file_name()).collect();
        assert!(
            !names
                .iter()
                .any(|n| n.to_string_lossy().starts_with("temp-")),
            "{names:?}"
        );
    }
}

/// Whoever is served while keys are loaded selects databases too.
#[test]
fn every_key_gets_into_its_database_whoever_asks_meanwhile() {
    for appendonly in ["no", "yes"] {
        let mut server = Server::redkeep(&[DEBUG, &["--appendonly", appendonly]].concat());
        let mut c = server.client();
        fill(&mut c);
        let before = contents(&mut c);
        match appendonly {
            "yes" => {
                c.run("BGREWRITEAOF");
                wait_for(&mut c, "aof_rewrite_scheduled:0");
                wait_for(&mut c, "aof_rewrite_in_progress:0");
            }
            _ => assert_eq!(c.run("SAVE").text(), "OK"),
        }
        server.set_option("--key-load-delay", "500");
        server.set_option("--loading-process-events-interval-bytes", "1024");
        let mut c = server.start_loading();
        let mut asked = 0;
        while c.run("PING").text().starts_with("LOADING") {
            c.run("INFO server");
            asked += 1;
        }
        assert!(asked > 3, "{asked}");
        assert_eq!(contents(&mut c), before, "{appendonly}");
    }
}

#[test]
fn functions_are_loaded_whatever_the_limit_of_memory() {
    let mut server = Server::redkeep(&["--maxmemory", "100kb"]);
    let mut c = server.client();
    c.run("CONFIG SET maxmemory 0");
    let code = "#!lua name=lib\nredis.register_function('f', function() return 7 end)";
    assert_eq!(c.call(&["FUNCTION", "LOAD", code]).unwrap().text(), "lib");
    let big = "x".repeat(200_000);
    assert_eq!(c.call(&["SET", "big", &big]).unwrap().text(), "OK");
    c.run("SAVE");
    assert!(server.start_again(), "{}", server.log());
    let mut c = server.client();
    assert!(c.run("SET a 1").text().starts_with("OOM"));
    assert_eq!(c.run("FUNCTION LIST").items().len(), 1);
}

#[test]
fn a_real_server_reads_ours_and_we_read_its() {
    let Some(mut real) = Server::redis(DEBUG) else {
        return;
    };
    let mut ours = Server::redkeep(DEBUG);
    let mut c = ours.client();
    fill(&mut c);
    for db in 0..3 {
        // What 7.0 has no place for.
        c.run(&format!("SELECT {db}"));
        for key in c.run("KEYS *").items() {
            let dump = c.call(&[b"DUMP".as_slice(), key.bytes()]).unwrap();
            let version = dump.bytes()[dump.bytes().len() - 10];
            if version > 10 {
                c.call(&[b"DEL".as_slice(), key.bytes()]).unwrap();
            }
        }
    }
    c.run("SELECT 0");
    let before = contents(&mut c);
    assert!(before.len() > 40, "{}", before.len());
    assert_eq!(c.run("SAVE").text(), "OK");
    real.kill();
    let file = |server: &Server| server.dir.path().join("dump.rdb");
    fs::copy(file(&ours), file(&real)).unwrap();
    assert!(real.start_again(), "{}", real.log());
    let mut theirs = real.client();
    assert_eq!(contents(&mut theirs), before);
    assert_eq!(theirs.run("SAVE").text(), "OK");
    ours.kill();
    fs::copy(file(&real), file(&ours)).unwrap();
    assert!(ours.start_again(), "{}", ours.log());
    assert_eq!(contents(&mut ours.client()), before);
}

fn wait_for(c: &mut Client, field: &str) {
    let until = Instant::now() + Duration::from_secs(20);
    while !c.run("INFO persistence").text().contains(field) {
        assert!(Instant::now() < until, "{field} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_save_is_given_up_without_a_trace_and_the_old_file_stays() {
    let mut server = Server::redkeep(DEBUG);
    let mut c = server.client();
    c.run("SET a 1");
    c.run("SAVE");
    c.run("CONFIG SET rdb-key-save-delay 10000000");
    c.run("SET a 2");
    for how in ["BGSAVE CANCEL", "FLUSHALL", "kill"] {
        assert_eq!(c.run("BGSAVE").text(), "Background saving started");
        assert!(c.run("BGSAVE").text().contains("already in progress"));
        assert!(c.run("SAVE").text().contains("already in progress"));
        wait_for(&mut c, "rdb_bgsave_in_progress:1");
        if how == "kill" {
            break;
        }
        c.run(how);
        wait_for(&mut c, "rdb_bgsave_in_progress:0");
        c.run("SET a 2");
    }
    assert!(server.start_again());
    assert_eq!(server.client().run("GET a").text(), "1");
}

#[test]
fn save_points_save_by_themselves() {
    let mut server = Server::redkeep(&[]);
    let mut c = server.client();
    c.call(&["CONFIG", "SET", "save", "1 3"]).unwrap();
    c.run("MSET a 1");
    c.run("SET b 1");
    c.run("SET c 1");
    wait_for(&mut c, "rdb_saves:1");
    wait_for(&mut c, "rdb_changes_since_last_save:0");
    assert!(server.start_again());
    assert_eq!(server.client().run("DBSIZE").int(), Some(3));
}

#[test]
fn writes_are_refused_while_saving_fails() {
    let server = Server::redkeep(&[]);
    let mut c = server.client();
    // Not even root writes to a directory that is a file.
    fs::write(server.dir.path().join("file"), "").unwrap();
    c.run("SET a 1");
    c.call(&["CONFIG", "SET", "save", "3600 1"]).unwrap();
    c.run("CONFIG SET dbfilename dump.rdb");
    fs::create_dir(server.dir.path().join("dump.rdb")).unwrap();
    c.run("BGSAVE");
    wait_for(&mut c, "rdb_last_bgsave_status:err");
    assert!(c.run("SET a 2").text().starts_with("MISCONF"));
    // So sentinels come to know of it.
    assert!(c.run("PING").text().starts_with("MISCONF"));
    assert!(c.run("SAVE").is_error());
    assert_eq!(c.run("GET a").text(), "1");
    let mut eval = |code: &str| c.call(&["EVAL", code, "1", "a"]).unwrap().text();
    for shebang in ["", "#!lua\n"] {
        let code = format!("{shebang}return redis.call('set', KEYS[1], 2)");
        assert!(eval(&code).starts_with("MISCONF"), "{}", eval(&code));
    }
    for shebang in ["", "#!lua flags=no-writes\n"] {
        let code = format!("{shebang}return redis.call('get', KEYS[1])");
        assert_eq!(eval(&code), "1");
    }
    c.run("CONFIG SET stop-writes-on-bgsave-error no");
    assert_eq!(c.run("SET a 2").text(), "OK");
    c.run("CONFIG SET stop-writes-on-bgsave-error yes");
    fs::remove_dir(server.dir.path().join("dump.rdb")).unwrap();
    c.run("BGSAVE");
    wait_for(&mut c, "rdb_last_bgsave_status:ok");
    assert_eq!(c.run("SET a 3").text(), "OK");
}

#[test]
fn a_damaged_file_is_refused_with_the_place() {
    let mut server = Server::redkeep(&[]);
    let mut c = server.client();
    c.run("SET key value");
    c.run("RPUSH list a b c");
    c.run("SAVE");
    server.kill();
    let path = server.dir.path().join("dump.rdb");
    let good = fs::read(&path).unwrap();
    for cut in [5, good.len() / 2, good.len() - 3] {
        fs::write(&path, &good[..cut]).unwrap();
        assert!(!server.start_again());
        assert!(server.log().contains("offset"), "{}", server.log());
    }
    let mut bad = good.clone();
    let at = good.windows(5).position(|w| w == b"value").unwrap();
    bad[at] ^= 1;
    fs::write(&path, &bad).unwrap();
    assert!(!server.start_again());
    assert!(server.log().contains("RDB CRC error"), "{}", server.log());
    fs::write(&path, &good).unwrap();
    assert!(server.start_again());
    assert_eq!(server.client().run("DBSIZE").int(), Some(2));
}

/// An instance in this process that keeps its data in a directory.
struct OnDisk;

impl Host for OnDisk {
    fn disk(&self) -> Option<Arc<dyn Disk>> {
        Some(Arc::new(Files))
    }
}

fn node(dir: &Path) -> (Node, SessionId) {
    let argv = [
        "--dir",
        dir.to_str().unwrap(),
        "--enable-debug-command",
        "yes",
        "--save",
        "",
    ];
    let argv: Vec<Vec<u8>> = argv.iter().map(|word| word.as_bytes().to_vec()).collect();
    let Ok(Invocation::Run(loaded)) = invocation(&argv, &SystemFiles) else {
        panic!("the parameters are right");
    };
    let settings = Settings::new(loaded.config, None);
    let mut engine = Engine::new(Options {
        settings,
        host: Box::new(OnDisk),
        ..Options::default()
    });
    let sid = engine.connect(Peer::default());
    (Node::new(engine), sid)
}

fn run(node: &Node, sid: SessionId, lines: &[&str]) -> String {
    let mut reply = ReplyBuf::new(Proto::Resp2);
    let mut engine = node.lock().unwrap();
    for line in lines {
        let argv: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        engine.execute(sid, Args::new(&argv), &mut reply);
    }
    String::from_utf8_lossy(reply.as_slice()).into_owned()
}

#[test]
fn a_save_holds_the_moment_at_which_it_began_while_writers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, sid) = node(dir.path());
    for n in 0..10_000 {
        run(&ours, sid, &[&format!("SET key:{n} {n}")]);
    }
    for n in 0..2_000 {
        run(
            &ours,
            sid,
            &[
                &format!("HSET hash f{n} v{n}"),
                &format!("RPUSH list{} {n}", n % 7),
            ],
        );
    }
    /// Ends the writers also when an assertion fails.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        for writer in 0..2u64 {
            let (node, stop) = (&ours, &stop);
            scope.spawn(move || {
                let sid = node.lock().unwrap().connect(Peer::default());
                let mut n = writer;
                while !stop.load(Ordering::Relaxed) {
                    n = n
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let key = (n >> 33) % 14_000;
                    let line = match (n >> 20) % 6 {
                        0 => format!("DEL key:{key}"),
                        1 => format!("HSET hash f{} new", key % 3000),
                        2 => format!("RPUSH list{} x", key % 9),
                        3 => format!(
                            "PEXPIRE key:{key} {}",
                            if key % 2 == 0 { 10_000_000 } else { -1 }
                        ),
                        4 => format!("RENAME key:{key} moved:{key}"),
                        _ => format!("SET key:{key} new"),
                    };
                    run(node, sid, &[&line]);
                }
            });
        }
        for _ in 0..3 {
            let before = run(&ours, sid, &["DEBUG DIGEST", "BGSAVE"]);
            let digest = before.lines().next().unwrap();
            while run(&ours, sid, &["INFO persistence"]).contains("rdb_bgsave_in_progress:1") {
                std::thread::sleep(Duration::from_millis(1));
            }
            let (loaded, its) = node(dir.path());
            let disk: Arc<dyn Disk> = Arc::new(Files);
            jobs::load_data(&loaded, &disk).unwrap();
            assert_eq!(
                run(&loaded, its, &["DEBUG DIGEST"]).lines().next().unwrap(),
                digest
            );
        }
    });
    ours.stop();
    ours.join_jobs();
}

/// Runs `redkeep` with these words and an answer; its exit code, and what it printed.
fn tool(words: &[&str], answer: &str) -> (bool, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_redkeep"))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(answer.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

#[test]
fn files_are_checked_by_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let mut servers = vec![Server::redkeep(&[])];
    servers.extend(Server::redis(&[]));
    for server in servers {
        let mut c = server.client();
        c.run("SET key value");
        c.run("SET gone soon PX 1");
        c.run("RPUSH list a b c");
        c.run("SAVE");
        let file = server.dir.path().join("dump.rdb");
        let (sound, text) = tool(&["check-rdb", file.to_str().unwrap()], "");
        assert!(
            sound && text.contains("RDB looks OK") && text.contains("AUX FIELD redis-ver"),
            "{text}"
        );
        let mut bytes = fs::read(&file).unwrap();
        let at = bytes.windows(5).position(|w| w == b"value").unwrap();
        bytes[at] ^= 1;
        fs::write(path("bad.rdb"), &bytes).unwrap();
        let (sound, text) = tool(&["check-rdb", &path("bad.rdb")], "");
        assert!(
            !sound && text.contains("RDB ERROR DETECTED") && text.contains("RDB CRC error"),
            "{text}"
        );
        bytes.truncate(at);
        fs::write(path("bad.rdb"), &bytes).unwrap();
        let (sound, text) = tool(&["check-rdb", &path("bad.rdb")], "");
        assert!(
            !sound && text.contains("ends too soon") && text.contains("key 'key'"),
            "{text}"
        );
    }
    let set = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
    let whole = format!("#TS:100\r\n{set}#TS:200\r\n{set}");
    fs::write(path("a.aof"), &whole).unwrap();
    assert!(tool(&["check-aof", &path("a.aof")], "").0);
    for (behind, kept) in [
        ("*3\r\n$3\r\nSE", whole.len()),
        ("*1\r\n$5\r\nMULTI\r\n", whole.len()),
    ] {
        fs::write(path("a.aof"), format!("{whole}{behind}")).unwrap();
        let (sound, text) = tool(&["check-aof", &path("a.aof")], "");
        assert!(
            !sound && text.contains(&format!("ok_up_to={kept}")),
            "{text}"
        );
        let (sound, text) = tool(&["check-aof", "--fix", &path("a.aof")], "n\n");
        assert!(!sound && text.contains("Aborting"), "{text}");
        let (sound, text) = tool(&["check-aof", "--fix", &path("a.aof")], "y\n");
        assert!(sound && text.contains("Successfully truncated"), "{text}");
        assert_eq!(fs::read(path("a.aof")).unwrap(), whole.as_bytes());
    }
    let (sound, text) = tool(
        &[
            "check-aof",
            "--truncate-to-timestamp",
            "150",
            &path("a.aof"),
        ],
        "",
    );
    assert!(sound, "{text}");
    assert_eq!(
        fs::read(path("a.aof")).unwrap().len(),
        "#TS:100\r\n".len() + set.len()
    );
    fs::write(path("a.manifest"), "file a.aof seq 1 type i\n").unwrap();
    let (sound, text) = tool(&["check-aof", &path("a.manifest")], "");
    assert!(
        sound && text.contains("All AOF files and manifest are valid"),
        "{text}"
    );
    fs::write(path("a.manifest"), "file a.aof seq 1 type x\n").unwrap();
    assert!(!tool(&["check-aof", &path("a.manifest")], "").0);
    assert!(!tool(&["check-aof"], "").0);
}
