//! A disk that fails: nothing is acknowledged that may be lost, reads go on, and everything mends itself once the disk
//! does.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

mod common;

use common::client::Got;
use common::instance::{DIR, Instance, text};
use common::sim_disk::{Cut, Data, EACCES, ENOSPC, Fault, Image, Kind, Names, SimDisk};
use common::{Client, Server};
use redkeep::Server as Library;
use redkeep::embed::{CallError, Client as Inside};
use redkeep::persist::Disk;
use redkeep::util::clock::ManualClock;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MANIFEST: &str = "/appendonlydir/appendonly.aof.manifest";
const LOG: &str = "/appendonlydir/appendonly.aof.1.incr.aof";
const EIO_TEXT: &str = "MISCONF Errors writing to the AOF file: Input/output error";
const FULL_TEXT: &str = "MISCONF Errors writing to the AOF file: No space left on device";

/// An instance on a disk, and a client of it.
struct Bench {
    disk: SimDisk,
    policy: &'static str,
    instance: Instance,
    client: Inside,
}

impl Bench {
    fn new(policy: &'static str) -> Bench {
        Bench::on(SimDisk::new(DIR), policy).unwrap()
    }

    /// With a log, whose policy this is; none has no log.
    fn on(disk: SimDisk, policy: &'static str) -> Result<Bench, String> {
        let clock = ManualClock::at_ms(1_700_000_000_000);
        let log = [("appendonly", "yes"), ("appendfsync", policy)];
        let options = if policy.is_empty() { &[][..] } else { &log };
        let instance = Instance::start(&disk, options, &clock)?;
        Ok(Bench {
            client: instance.client(),
            disk,
            policy,
            instance,
        })
    }

    /// What a line of words is answered, or the error of the call.
    fn call(&mut self, line: &str) -> Result<String, CallError> {
        let reply = self.client.call(line.split(' '))?;
        Ok(match reply.as_bytes() {
            Some(_) => text(&reply),
            None => reply.to_string(),
        })
    }

    fn run(&mut self, line: &str) -> String {
        let reply = self.call(line);
        reply.unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    /// The connection was closed: there is a new one.
    fn reconnect(&mut self) {
        self.client = self.instance.client();
    }

    /// Lets time pass until INFO has this line.
    fn wait_for(&mut self, line: &str) {
        let until = Instant::now() + Duration::from_secs(20);
        while !self.instance.tells("persistence", line) {
            assert!(Instant::now() < until, "{line} does not come");
            // What is due by itself is, before long.
            self.instance.advance_ms(100);
            std::thread::yield_now();
        }
    }

    /// What is left when the power goes now, with nothing that was not synced.
    fn lost_power(&self) -> SimDisk {
        let tape = self.disk.tape();
        SimDisk::from_image(&tape.cut(
            tape.ops.len(),
            &Cut {
                data: Data::Lost,
                names: Names::Lost,
                seed: 0,
            },
        ))
    }

    /// What a server finds that is started on such a disk.
    fn found_on(&self, disk: SimDisk, line: &str) -> String {
        let mut bench = Bench::on(disk, self.policy).unwrap();
        bench.run(line)
    }

    /// The server works: what is written now is there after a cut.
    fn works(&mut self) {
        assert_eq!(self.run("SET works yes"), "OK");
        if self.policy == "no" {
            return self.wait_for("aof_buffer_length:0");
        }
        if self.policy == "everysec" {
            let log = self.instance.log();
            let until = Instant::now() + Duration::from_secs(20);
            while log.synced() < log.appended() {
                assert!(Instant::now() < until, "nothing is synced");
                self.instance.advance_ms(100);
            }
        }
        assert_eq!(self.found_on(self.lost_power(), "GET works"), "yes");
        assert_eq!(
            self.found_on(SimDisk::from_image(&self.disk.image()), "GET works"),
            "yes"
        );
    }
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    for policy in ["everysec", "no"] {
        let mut bench = Bench::new(policy);
        bench.run("SET before 1");
        bench.wait_for("aof_buffer_length:0");
        let whole = bench.disk.image().file(LOG).to_vec();
        // A part of the batch fits.
        bench.disk.leave_room(10);
        bench.run("SET lost? 1");
        bench.wait_for("aof_last_write_status:err");
        assert_eq!(
            bench.disk.image().file(LOG),
            whole,
            "what was written in part is cut off"
        );
        assert_eq!(bench.run("SET refused 1"), FULL_TEXT);
        assert_eq!(bench.run("INCR refused"), FULL_TEXT);
        assert_eq!(
            bench
                .run("EVAL return(redis.call('set','refused','1')) 0")
                .split(" script")
                .next(),
            Some(FULL_TEXT)
        );
        assert_eq!(bench.run("GET lost?"), "1");
        assert_eq!(bench.run("EXISTS refused"), "(integer) 0");
        bench.disk.heal();
        bench.wait_for("aof_last_write_status:ok");
        bench.works();
        let killed = SimDisk::from_image(&bench.disk.image());
        assert_eq!(bench.found_on(killed, "GET lost?"), "1");
    }
}

#[test]
fn a_write_that_fails_is_not_acknowledged_under_always() {
    for fault in [Fault::on(Kind::Write), Fault::on(Kind::Write).errno(ENOSPC)] {
        let mut bench = Bench::new("always");
        bench.run("SET before 1");
        bench.disk.inject(fault.of("incr"));
        assert_eq!(bench.call("SET lost? 1"), Err(CallError::Unconfirmed));
        assert_eq!(bench.call("GET before"), Err(CallError::Closed));
        bench.reconnect();
        assert!(
            bench
                .run("SET refused 1")
                .starts_with("MISCONF Errors writing to the AOF file: ")
        );
        assert_eq!(bench.run("GET before"), "1");
        assert_eq!(bench.found_on(bench.lost_power(), "GET before"), "1");
        bench.disk.heal();
        bench.wait_for("aof_last_write_status:ok");
        bench.works();
    }
}

#[test]
fn after_a_failed_sync_only_a_rewrite_helps() {
    for (policy, drops) in [("always", true), ("always", false), ("everysec", true)] {
        let mut bench = Bench::new(policy);
        bench.run("SET before 1");
        if policy == "everysec" {
            bench.wait_for("aof_pending_bio_fsync:0");
            bench.works();
        }
        let mut fault = Fault::on(Kind::Sync).of("incr").once();
        if drops {
            fault = fault.drops_pages();
        }
        bench.disk.inject(fault);
        // The rewrite that mends is not let through yet.
        let gate = bench.disk.hold(Kind::Create, "temp-rewrite");
        match policy {
            "always" => {
                assert_eq!(bench.call("SET unsure 1"), Err(CallError::Unconfirmed));
                bench.reconnect();
            }
            _ => assert_eq!(bench.run("SET unsure 1"), "OK"),
        }
        bench.wait_for("aof_last_write_status:err");
        bench.wait_for("aof_rewrite_in_progress:1");
        assert!(gate.wait_for_arrival());
        // The disk works again, but nobody knows what it has forgotten.
        for _ in 0..50 {
            bench.instance.advance_ms(100);
            assert_eq!(bench.run("SET refused 1"), EIO_TEXT);
        }
        assert_eq!(bench.run("GET before"), "1");
        assert_eq!(bench.found_on(bench.lost_power(), "GET before"), "1");
        gate.open();
        bench.wait_for("aof_rewrite_in_progress:0");
        bench.wait_for("aof_last_write_status:ok");
        assert_eq!(bench.run("EXISTS refused"), "(integer) 0");
        bench.works();
        assert_eq!(bench.found_on(bench.lost_power(), "GET unsure"), "1");
    }
}

#[test]
fn a_rewrite_that_mends_is_tried_until_it_succeeds() {
    let mut bench = Bench::new("always");
    bench.run("SET before 1");
    bench.disk.inject(Fault::on(Kind::Sync));
    assert_eq!(bench.call("SET unsure 1"), Err(CallError::Unconfirmed));
    bench.reconnect();
    bench.wait_for("aof_last_bgrewrite_status:err");
    bench.wait_for("aof_rewrites_consecutive_failures:3");
    assert_eq!(bench.run("SET refused 1"), EIO_TEXT);
    bench.disk.heal();
    bench.wait_for("aof_last_write_status:ok");
    bench.works();
    bench.wait_for("aof_last_bgrewrite_status:ok");
}

#[test]
fn a_rewrite_that_fails_leaves_the_log_as_it_was() {
    let faults = [
        Fault::on(Kind::Create).of("temp-rewrite"),
        Fault::on(Kind::Write).of("temp-rewrite"),
        Fault::on(Kind::Write).of("temp-rewrite").errno(ENOSPC),
        Fault::on(Kind::Sync).of("temp-rewrite"),
        Fault::on(Kind::Rename).of("base"),
        Fault::on(Kind::Rename).of("manifest"),
        Fault::on(Kind::Sync).of("manifest"),
        Fault::on(Kind::Create).of("incr"),
        Fault::on(Kind::SyncDir).of("appendonlydir").once(),
        Fault::on(Kind::SyncDir)
            .of("appendonlydir")
            .beginning_with(2)
            .once(),
        Fault::on(Kind::SyncDir)
            .of("appendonlydir")
            .beginning_with(3)
            .once(),
        Fault::on(Kind::SyncDir)
            .of("appendonlydir")
            .beginning_with(4)
            .once(),
    ];
    for fault in faults {
        for policy in ["always", "everysec"] {
            let what = format!("{fault:?}, {policy}");
            let mut bench = Bench::new(policy);
            bench.run("SET before 1");
            bench.disk.inject(fault.clone());
            bench.run("BGREWRITEAOF");
            bench.wait_for("aof_rewrite_in_progress:0");
            bench.wait_for("aof_rewrite_scheduled:0");
            assert!(
                bench
                    .instance
                    .tells("persistence", "aof_last_bgrewrite_status:err"),
                "{what}"
            );
            assert!(
                bench
                    .instance
                    .tells("persistence", "aof_last_write_status:ok"),
                "{what}"
            );
            bench.works();
            bench.disk.heal();
            bench.run("BGREWRITEAOF");
            bench.wait_for("aof_rewrite_in_progress:0");
            bench.wait_for("aof_last_bgrewrite_status:ok");
            bench.works();
            assert_eq!(
                bench.found_on(bench.lost_power(), "GET before"),
                "1",
                "{what}"
            );
            let image = bench.disk.image();
            let left: Vec<_> = image
                .files
                .keys()
                .filter(|p| p.to_string_lossy().contains("temp-"))
                .collect();
            assert!(left.is_empty(), "{what}: {left:?}");
        }
    }
}

#[test]
fn a_manifest_that_cannot_be_taken_back_ends_the_log_until_there_is_a_new_one() {
    let mut bench = Bench::new("always");
    bench.run("SET before 1");
    // The new log's name lasts, and nobody knows which manifest the next server will find.
    let fault = Fault::on(Kind::SyncDir).of("appendonlydir");
    bench.disk.inject(fault.beginning_with(2));
    bench.run("BGREWRITEAOF");
    bench.wait_for("aof_last_write_status:err");
    assert_eq!(bench.run("SET refused 1"), EIO_TEXT);
    assert_eq!(bench.run("GET before"), "1");
    assert_eq!(bench.found_on(bench.lost_power(), "GET before"), "1");
    bench.disk.heal();
    bench.wait_for("aof_last_write_status:ok");
    bench.works();
}

#[test]
fn a_directory_that_cannot_be_written_fails_saves_and_rewrites_only() {
    let mut bench = Bench::new("always");
    bench.run("SET before 1");
    bench.disk.make_read_only("/appendonlydir");
    bench.disk.make_read_only(DIR);
    bench.run("BGREWRITEAOF");
    bench.wait_for("aof_last_bgrewrite_status:err");
    assert_eq!(bench.run("SAVE"), "ERR");
    bench.works();
    bench.disk.heal();
    bench.run("BGREWRITEAOF");
    bench.wait_for("aof_last_bgrewrite_status:ok");
    // A new server has nowhere to begin.
    let empty = SimDisk::new(DIR);
    empty.make_read_only(DIR);
    let why = Bench::on(empty, "always").err().unwrap();
    assert!(
        why.contains("appendonlydir") && why.contains("Permission denied"),
        "{why}"
    );
}

#[test]
fn writes_are_refused_while_snapshots_fail() {
    let faults = [
        Fault::on(Kind::Create).errno(EACCES),
        Fault::on(Kind::Write).errno(ENOSPC),
        Fault::on(Kind::Sync),
        Fault::on(Kind::Rename),
        Fault::on(Kind::SyncDir),
    ];
    for fault in faults {
        let mut bench = Bench::new("");
        bench.run("SET before 1");
        assert_eq!(bench.run("SAVE"), "OK");
        bench
            .client
            .call(["CONFIG", "SET", "save", "3600 1"])
            .unwrap();
        bench.disk.inject(fault.clone());
        assert_eq!(bench.run("SET a 1"), "OK");
        bench.run("BGSAVE");
        bench.wait_for("rdb_last_bgsave_status:err");
        let refused = bench.run("SET a 2");
        assert!(
            refused.starts_with("MISCONF Redis is configured to save RDB snapshots"),
            "{fault:?}: {refused}"
        );
        assert_eq!(bench.run("SAVE"), "ERR", "{fault:?}");
        assert_eq!(bench.run("GET a"), "1");
        assert_eq!(bench.found_on(bench.lost_power(), "GET before"), "1");
        bench.disk.heal();
        bench.run("BGSAVE");
        bench.wait_for("rdb_last_bgsave_status:ok");
        assert_eq!(bench.run("SET a 2"), "OK");
        assert_eq!(bench.found_on(bench.lost_power(), "GET a"), "1");
    }
}

#[test]
fn a_log_cannot_be_switched_on_where_it_cannot_be_written() {
    let mut bench = Bench::new("");
    bench.run("SET before 1");
    bench
        .disk
        .inject(Fault::on(Kind::Create).of("temp-rewrite"));
    bench.run("CONFIG SET appendonly yes");
    bench.wait_for("aof_last_bgrewrite_status:err");
    assert_eq!(bench.run("GET before"), "1");
    bench.disk.heal();
    bench.wait_for("aof_last_bgrewrite_status:ok");
    bench.policy = "everysec";
    bench.works();
    assert_eq!(bench.found_on(bench.lost_power(), "GET before"), "1");
}

/// A directory that a server has left in good order.
fn left() -> Image {
    let mut bench = Bench::new("always");
    bench.run("SET before 1");
    bench.run("BGREWRITEAOF");
    bench.wait_for("aof_rewrite_in_progress:0");
    bench.run("SET after 1");
    let disk = bench.disk.clone();
    drop(bench);
    disk.image()
}

#[test]
fn a_directory_that_is_not_whole_is_not_started_on() {
    let good = left();
    let start = |image: &Image| {
        Bench::on(SimDisk::from_image(image), "always").map(|mut b| b.run("DBSIZE"))
    };
    assert_eq!(start(&good), Ok("(integer) 2".into()));
    let text = String::from_utf8(good.file(MANIFEST).to_vec()).unwrap();
    assert!(
        text.contains(".2.base.rdb") && text.contains(".2.incr.aof"),
        "{text}"
    );
    let with = |manifest: &str| {
        let mut image = good.clone();
        image.add_file(MANIFEST, manifest.as_bytes());
        image
    };
    let without = |part: &str| {
        let mut image = good.clone();
        image
            .files
            .retain(|path, _| !path.to_string_lossy().contains(part));
        image
    };
    let refused = [
        (
            without("manifest"),
            "appendonly.aof.manifest is missing, but there are files of an append-only log",
        ),
        (
            without("2.base.rdb"),
            "appendonly.aof.2.base.rdb doesn't exist",
        ),
        (
            without("2.incr.aof"),
            "appendonly.aof.2.incr.aof doesn't exist",
        ),
        (with(""), "Found an empty AOF manifest"),
        (
            with("\u{7f}\0garbage\n"),
            "Invalid AOF manifest file format, at line 1",
        ),
        (
            with(&text.replace("type i", "type x")),
            "Unknown AOF file type, at line 2",
        ),
        (with(text.trim_end()), "at line 2"),
        (
            with(&format!("{text}{text}")),
            "Found duplicate base file information, at line 3",
        ),
        (
            with("file ../dump.rdb seq 1 type b\n"),
            "File can't be a path",
        ),
    ];
    for (image, expected) in refused {
        let disk = SimDisk::from_image(&image);
        let why = Bench::on(disk.clone(), "always").err().unwrap_or_default();
        assert!(why.contains(expected), "{expected}: {why}");
        // Nothing was made worse.
        for (path, bytes) in &image.files {
            assert_eq!(
                disk.image().files.get(path),
                Some(bytes),
                "{expected}: {}",
                path.display()
            );
        }
    }
}

#[test]
fn a_disk_that_cannot_be_read_is_not_started_on() {
    let good = left();
    for kind in [Kind::Open, Kind::Read] {
        for part in ["manifest", "base.rdb", "incr.aof"] {
            let disk = SimDisk::from_image(&good);
            disk.inject(Fault::on(kind).of(part).once());
            let why = Bench::on(disk.clone(), "always").err().unwrap_or_default();
            assert!(why.contains("Input/output error"), "{kind:?} {part}: {why}");
            let mut bench = Bench::on(disk, "always").unwrap();
            assert_eq!(bench.run("DBSIZE"), "(integer) 2");
        }
    }
}

/// A server with sockets on such a disk.
fn library(disk: &SimDisk, policy: &str) -> Library {
    let builder = Library::builder().disk(Arc::new(disk.clone()));
    let builder = builder.config("dir", DIR).config("appendonly", "yes");
    builder.config("appendfsync", policy).start().unwrap()
}

#[test]
fn a_directory_belongs_to_one_server() {
    let disk = SimDisk::new(DIR);
    let server = library(&disk, "always");
    let second = Library::builder()
        .disk(Arc::new(disk.clone()))
        .config("dir", DIR)
        .config("appendonly", "yes")
        .start();
    let why = second.unwrap_err().to_string();
    assert!(
        why.contains("another server keeps its data in this directory"),
        "{why}"
    );
    let mut client = Client::connect(server.port()).unwrap();
    assert_eq!(client.run("SET a 1").text(), "OK");
    drop(server);
    let server = library(&disk, "always");
    assert_eq!(
        Client::connect(server.port()).unwrap().run("GET a").text(),
        "1"
    );
}

#[test]
fn a_directory_belongs_to_one_process() {
    let args = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut server = Server::redkeep(&args);
    let mut client = server.client();
    assert_eq!(client.run("SET a 1").text(), "OK");
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_redkeep"))
        .args(["--port", &common::peer::free_port().to_string()])
        .args(["--bind", "127.0.0.1", "--dir"])
        .arg(server.dir.path())
        .args(args)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stdout).into_owned()
        + &String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success(), "{said}");
    assert!(
        said.contains("another server keeps its data in this directory"),
        "{said}"
    );
    assert_eq!(client.run("SET b 1").text(), "OK");
    // Nothing is left of a lock whose process was killed.
    assert!(server.start_again(), "{}", server.log());
    assert_eq!(server.client().run("DBSIZE").int(), Some(2));
}

#[test]
fn a_directory_that_no_longer_is_one_fails_what_writes_in_it() {
    let server = Server::redkeep(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut client = server.client();
    let dir = server.dir.path().join("appendonlydir");
    let moved = server.dir.path().join("moved");
    client.run("SET a 1");
    fs::rename(&dir, &moved).unwrap();
    // The file that is written is still the one that was opened.
    assert_eq!(client.run("SET b 1").text(), "OK");
    fs::write(&dir, "a file").unwrap();
    client.run("BGREWRITEAOF");
    let until = Instant::now() + Duration::from_secs(20);
    while !client
        .run("INFO persistence")
        .text()
        .contains("aof_last_bgrewrite_status:err")
    {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(client.run("SET c 1").text(), "OK");
    fs::remove_file(&dir).unwrap();
    fs::rename(&moved, &dir).unwrap();
    client.run("BGREWRITEAOF");
    let until = Instant::now() + Duration::from_secs(20);
    while !client
        .run("INFO persistence")
        .text()
        .contains("aof_last_bgrewrite_status:ok")
    {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(client.run("SET d 1").text(), "OK");
}

/// What comes to a client, or that nothing more does.
fn next(client: &mut Client) -> Got {
    client.receive(Duration::from_secs(20)).unwrap()
}

#[test]
fn replies_that_a_failed_sync_holds_are_never_sent() {
    let disk = SimDisk::new(DIR);
    let server = library(&disk, "always");
    let connect = || Client::connect(server.port()).unwrap();
    let (mut first, mut second, mut reader, mut idle) =
        (connect(), connect(), connect(), connect());
    assert_eq!(first.run("SET before 1").text(), "OK");
    assert_eq!(idle.run("PING").text(), "PONG");
    let gate = disk.hold(Kind::Sync, "incr");
    let mending = disk.hold(Kind::Create, "temp-rewrite");
    disk.inject(Fault::on(Kind::Sync).of("incr").once().drops_pages());
    first.send(&["SET", "unsure", "1"]).unwrap();
    assert!(gate.wait_for_arrival());
    second.send(&["INCR", "n"]).unwrap();
    // Who has seen what may be lost is not answered either.
    reader.send(&["GET", "unsure"]).unwrap();
    for client in [&mut first, &mut second, &mut reader] {
        let early = client.receive(Duration::from_millis(30)).unwrap();
        assert_eq!(early, Got::Nothing);
    }
    gate.open();
    for client in [&mut first, &mut second, &mut reader] {
        assert_eq!(next(client), Got::Closed);
    }
    // Nobody else is cut off.
    assert_eq!(idle.run("SET refused 1").text(), EIO_TEXT);
    assert_eq!(idle.run("GET before").text(), "1");
    mending.open();
    let until = Instant::now() + Duration::from_secs(20);
    while idle.run("SET accepted 1").text() != "OK" {
        assert!(Instant::now() < until, "writes are not accepted again");
        std::thread::sleep(Duration::from_millis(2));
    }
    let tape = disk.tape();
    let cut = Cut {
        data: Data::Lost,
        names: Names::Lost,
        seed: 0,
    };
    let left = SimDisk::from_image(&tape.cut(tape.ops.len(), &cut));
    drop(server);
    let server = library(&left, "always");
    let mut client = Client::connect(server.port()).unwrap();
    assert_eq!(client.run("EXISTS before accepted").int(), Some(2));
}

#[test]
fn a_slow_sync_holds_replies_and_one_is_for_all() {
    let disk = SimDisk::new(DIR);
    let server = library(&disk, "always");
    let mut clients: Vec<_> = (0..8)
        .map(|_| Client::connect(server.port()).unwrap())
        .collect();
    let gate = disk.hold(Kind::Sync, "incr");
    clients[0].send(&["RPUSH", "l", "0"]).unwrap();
    assert!(gate.wait_for_arrival());
    let begun = disk.ops();
    for (n, client) in clients.iter_mut().enumerate().skip(1) {
        client.send(&["RPUSH", "l", &n.to_string()]).unwrap();
        client.send(&["LLEN", "l"]).unwrap();
    }
    assert_eq!(
        clients[0].receive(Duration::from_millis(50)).unwrap(),
        Got::Nothing
    );
    gate.open();
    for client in &mut clients {
        assert!(matches!(next(client), Got::Reply(reply) if reply.int().is_some()));
    }
    // Of each client at most one sync more: they may have been handed over one after the other.
    assert!(disk.ops() - begun <= 2 * 8, "{}", disk.ops() - begun);
    disk.open(Path::new(LOG)).unwrap();
}
