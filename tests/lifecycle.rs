//! How a server comes to its end, and what it does while it loads: SHUTDOWN, signals, LOADING. What Redis does as well is
//! asked of both.
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

use common::{Client, Server};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

fn both(args: &[&str]) -> Vec<Server> {
    let mut servers = vec![Server::redkeep(args)];
    servers.extend(Server::redis(args));
    servers
}

fn file(server: &Server) -> PathBuf {
    server.dir.path().join("dump.rdb")
}

/// What stands in the directory beside the log.
fn names(server: &Server) -> Vec<String> {
    let left = fs::read_dir(server.dir.path()).unwrap();
    let names = left.map(|f| f.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name != "log").collect();
    names.sort();
    names
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn set(c: &mut Client, name: &str, value: &str) {
    assert_eq!(
        c.call(&["CONFIG", "SET", name, value]).unwrap().text(),
        "OK"
    );
}

/// Sends a command that is not answered: the connection ends.
fn last_word(mut c: Client, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    c.send(&words).unwrap();
    assert!(c.reply().is_err(), "{line} is answered");
}

#[test]
fn shutdown_refuses_what_makes_no_sense() {
    for server in both(&[]) {
        let mut c = server.client();
        for (line, error) in [
            ("SHUTDOWN LATER", "ERR syntax error"),
            ("SHUTDOWN SAVE NOSAVE", "ERR syntax error"),
            ("SHUTDOWN ABORT NOW", "ERR syntax error"),
            ("SHUTDOWN ABORT SAVE", "ERR syntax error"),
            ("SHUTDOWN abort", "ERR No shutdown in progress."),
        ] {
            assert_eq!(c.run(line).text(), error, "{line}");
        }
        c.run("MULTI");
        let error = "ERR Command not allowed inside a transaction";
        assert_eq!(c.run("SHUTDOWN NOSAVE").text(), error);
        assert!(c.run("EXEC").text().starts_with("EXECABORT"));
        let script = "return redis.call('SHUTDOWN', 'NOSAVE')";
        let reply = c.call(&["EVAL", script, "0"]).unwrap().text();
        assert!(reply.contains("not allowed from script"), "{reply}");
        assert_eq!(c.run("PING").text(), "PONG");
    }
}

#[test]
fn each_form_saves_or_does_not_and_ends_well() {
    for (points, line, saves) in [
        ("", "SHUTDOWN", false),
        ("", "SHUTDOWN SAVE", true),
        ("", "shutdown save now force", true),
        ("3600 1", "SHUTDOWN", true),
        ("3600 1", "SHUTDOWN NOW", true),
        ("3600 1", "SHUTDOWN NOSAVE", false),
        ("3600 1", "SHUTDOWN NOSAVE NOW FORCE", false),
        ("", "TERM", false),
        ("3600 1", "TERM", true),
        ("3600 1", "INT", true),
    ] {
        for mut server in both(&[]) {
            let mut c = server.client();
            set(&mut c, "save", points);
            c.run("SET a 1");
            // Neither who waits nor a save in the background keeps it.
            let mut waiting = server.client();
            waiting.send(&["BLPOP", "list", "0"]).unwrap();
            set(&mut c, "rdb-key-save-delay", "10000000");
            c.run("BGSAVE");
            // From then on what the delay is set to does not matter to it.
            until("the save begins", || {
                let file = names(&server).iter().any(|name| name.starts_with("temp-"));
                let forked = server.name() == "redis-server";
                file && (forked || info(&mut c, "current_save_keys_processed").unwrap() == "1")
            });
            set(&mut c, "rdb-key-save-delay", "0");
            match line {
                "TERM" | "INT" => server.signal(line),
                line => last_word(c, line),
            }
            let who = format!("{} {line}, save '{points}'", server.name());
            assert_eq!(server.end(), Some(0), "{who}");
            assert!(waiting.reply().is_err(), "{who}");
            let left = if saves { vec!["dump.rdb"] } else { vec![] };
            assert_eq!(names(&server), left, "{who}");
            assert!(server.log().contains("User requested shutdown"), "{who}");
            assert!(server.log().contains("bye bye"), "{who}");
        }
    }
}

#[test]
fn who_cannot_save_stays_unless_it_is_forced() {
    for how in ["SHUTDOWN FORCE", "SHUTDOWN NOSAVE", "TERM", "INT"] {
        for mut server in both(&["--shutdown-on-sigint", "nosave"]) {
            let mut c = server.client();
            set(&mut c, "save", "3600 1");
            c.run("SET a 1");
            // Not even root renames a file to a directory.
            fs::create_dir(file(&server)).unwrap();
            for line in ["SHUTDOWN", "SHUTDOWN NOW", "SHUTDOWN SAVE"] {
                let error = "ERR Errors trying to SHUTDOWN. Check logs.";
                assert_eq!(c.run(line).text(), error, "{line}");
            }
            let complaints = |server: &Server| server.log().matches("can't exit").count();
            for n in 4..6 {
                server.signal("TERM");
                until("it complains", || complaints(&server) == n);
            }
            assert_eq!(
                c.run("SHUTDOWN ABORT").text(),
                "ERR No shutdown in progress."
            );
            assert_eq!(c.run("GET a").text(), "1");
            assert_eq!(names(&server), ["dump.rdb"]);
            match how {
                "TERM" => {
                    set(&mut c, "shutdown-on-sigterm", "force");
                    server.signal("TERM");
                }
                "INT" => server.signal("INT"),
                line => last_word(c, line),
            }
            assert_eq!(server.end(), Some(0), "{} {how}", server.name());
        }
    }
}

#[test]
fn who_interrupts_twice_does_not_wait_for_the_save() {
    for mut server in both(&[]) {
        let mut c = server.client();
        c.run("SET a old");
        c.run("SAVE");
        let old = fs::read(file(&server)).unwrap();
        // A signal ends Redis's waiting for one key.
        c.run("MSET a new b 1 c 1 d 1 e 1 f 1");
        set(&mut c, "save", "3600 1");
        set(&mut c, "rdb-key-save-delay", "10000000");
        server.signal("INT");
        until("it saves", || names(&server).len() == 2);
        // Only an interruption insists.
        server.signal("TERM");
        std::thread::sleep(Duration::from_millis(20));
        assert!(server.alive(), "{} {}", server.name(), server.log());
        server.signal("INT");
        assert_eq!(server.end(), Some(1), "{}", server.name());
        assert_eq!(names(&server), ["dump.rdb"], "{}", server.name());
        assert_eq!(fs::read(file(&server)).unwrap(), old);
        assert!(server.log().contains("You insist"), "{}", server.log());
    }
}

#[test]
fn a_signal_can_be_taken_back() {
    for mut server in both(&["--enable-debug-command", "yes"]) {
        let mut c = server.client();
        c.run("DEBUG PAUSE-CRON 1");
        for name in ["TERM", "INT"] {
            server.signal(name);
            until("it is heard", || {
                server.log().contains(&format!("Received SIG{name}"))
            });
            assert_eq!(c.run("SHUTDOWN ABORT").text(), "OK");
            assert!(server.log().contains("Shutdown manually aborted"));
        }
        c.run("DEBUG PAUSE-CRON 0");
        assert!(c.run("SHUTDOWN ABORT").is_error());
        // What is not taken back is done when the pause is over.
        c.run("DEBUG PAUSE-CRON 1");
        server.signal("TERM");
        until("it is heard", || {
            server.log().matches("Received SIGTERM").count() == 2
        });
        c.run("DEBUG PAUSE-CRON 0");
        assert_eq!(server.end(), Some(0), "{}", server.name());
    }
}

#[test]
fn a_busy_script_is_ended_by_nosave_only() {
    for function in [false, true] {
        for mut server in both(&["--lua-time-limit", "20"]) {
            let (mut c, mut other) = (server.client(), server.client());
            let word = if function { "FUNCTION" } else { "SCRIPT" };
            let code =
                "#!lua name=l\nredis.register_function('f', function() while true do end end)";
            c.call(&["FUNCTION", "LOAD", code]).unwrap();
            match function {
                true => c.send(&["FCALL", "f", "0"]).unwrap(),
                false => c.send(&["EVAL", "while true do end", "0"]).unwrap(),
            }
            until("it is busy", || {
                other.run("PING").text().starts_with("BUSY")
            });
            let error = format!(
                "BUSY Redis is busy running a script. You can only call {word} KILL or SHUTDOWN NOSAVE."
            );
            for line in ["SHUTDOWN", "SHUTDOWN SAVE", "SHUTDOWN NOW FORCE"] {
                assert_eq!(other.run(line).text(), error, "{} {line}", server.name());
            }
            let none = "ERR No shutdown in progress.";
            assert_eq!(other.run("SHUTDOWN ABORT").text(), none);
            last_word(other, "SHUTDOWN NOSAVE");
            assert_eq!(server.end(), Some(0));
        }
    }
}

/// Adds to a counter until the server is gone; what it said last.
fn count(port: u16, key: &str) -> i64 {
    let mut c = Client::connect(port).unwrap();
    let mut acknowledged = 0;
    while let Ok(reply) = c.call(&["INCR", key]) {
        acknowledged = reply.int().unwrap();
    }
    acknowledged
}

#[test]
fn nothing_acknowledged_before_a_shutdown_is_lost() {
    let logs = |fsync| vec!["--appendonly", "yes", "--appendfsync", fsync];
    for (args, line) in [
        (vec!["--save", "3600 1"], "SHUTDOWN"),
        (logs("everysec"), "SHUTDOWN NOSAVE"),
        (logs("always"), "SHUTDOWN NOW"),
        (logs("no"), "SHUTDOWN"),
    ] {
        for mut server in both(&args) {
            let port = server.port;
            let writers: Vec<_> = (0..4)
                .map(|n| std::thread::spawn(move || count(port, &format!("k{n}"))))
                .collect();
            let mut c = server.client();
            until("they write", || c.run("DBSIZE").int() == Some(4));
            // What stands behind it in the same packet does not run.
            let batch: Vec<_> = ["SET before 1", line, "SET after 1"]
                .map(common::argv)
                .into();
            let (replies, end) = c.pipeline(&batch);
            assert!(replies.len() <= 1 && end.is_err(), "{replies:?}");
            assert_eq!(server.end(), Some(0));
            let acknowledged: Vec<_> = writers.into_iter().map(|w| w.join().unwrap()).collect();
            assert!(server.start_again(), "{}", server.log());
            let mut c = server.client();
            let who = format!("{} {args:?}", server.name());
            for (n, acknowledged) in acknowledged.iter().enumerate() {
                let kept: i64 = c.run(&format!("GET k{n}")).text().parse().unwrap();
                assert!(kept >= *acknowledged, "{who}");
            }
            assert_eq!(c.run("GET before").text(), "1", "{who}");
            assert_eq!(c.run("EXISTS after").int(), Some(0), "{who}");
        }
    }
}

#[test]
fn a_log_that_is_not_there_yet_keeps_it_unless_it_is_forced() {
    for mut server in both(&[]) {
        let mut c = server.client();
        c.run("MSET a 1 b 1 c 1 d 1 e 1 f 1");
        set(&mut c, "rdb-key-save-delay", "10000000");
        set(&mut c, "appendonly", "yes");
        for line in ["SHUTDOWN", "SHUTDOWN NOSAVE", "SHUTDOWN NOW"] {
            let error = "ERR Errors trying to SHUTDOWN. Check logs.";
            assert_eq!(c.run(line).text(), error, "{} {line}", server.name());
        }
        server.signal("TERM");
        until("it complains", || {
            server
                .log()
                .matches("Writing initial AOF, can't exit")
                .count()
                == 4
        });
        assert_eq!(
            c.run("SHUTDOWN ABORT").text(),
            "ERR No shutdown in progress."
        );
        last_word(c, "SHUTDOWN NOSAVE FORCE");
        assert_eq!(server.end(), Some(0));
    }
}

fn info(c: &mut Client, field: &str) -> Option<String> {
    let text = c.run("INFO persistence").text();
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    line.map(str::to_owned)
}

/// A server with a file that takes long to load.
fn slow_to_load(server: &mut Server) -> Client {
    let mut c = server.client();
    c.run("DEBUG POPULATE 20000 key 100");
    c.run("SET counter 1");
    c.run("SAVE");
    server.start_loading()
}

const SLOW: &[&str] = &[
    "--enable-debug-command",
    "yes",
    "--key-load-delay",
    "500",
    "--loading-process-events-interval-bytes",
    "1024",
    "--save",
    "3600 1",
];

#[test]
fn clients_are_served_while_it_loads_and_told_how_far_it_is() {
    for mut server in both(SLOW) {
        let mut c = slow_to_load(&mut server);
        let size = fs::metadata(file(&server)).unwrap().len().to_string();
        until("it has read something", || {
            info(&mut c, "loading_loaded_bytes").is_some_and(|n| n != "0")
        });
        assert_eq!(info(&mut c, "loading").as_deref(), Some("1"));
        assert_eq!(info(&mut c, "async_loading").as_deref(), Some("0"));
        assert_eq!(info(&mut c, "loading_total_bytes"), Some(size));
        let number = |c: &mut Client, field: &str| -> f64 {
            let text = info(c, field).unwrap_or_else(|| panic!("{field}"));
            text.parse().unwrap()
        };
        let now: f64 = c.run("TIME").items()[0].text().parse().unwrap();
        assert!((0.0..20.0).contains(&(now - number(&mut c, "loading_start_time"))));
        assert!((0.0..100.0).contains(&number(&mut c, "loading_loaded_perc")));
        assert!(number(&mut c, "loading_rdb_used_mem") > 100_000.0);
        assert!(number(&mut c, "loading_eta_seconds") >= 0.0);
        let before = number(&mut c, "loading_loaded_bytes");
        until("it reads on", || {
            info(&mut c, "loading_loaded_bytes").is_none_or(|n| n.parse::<f64>().unwrap() > before)
        });
        for line in [
            "GET key:1",
            "SET a 1",
            "DBSIZE",
            "SAVE",
            "BGSAVE",
            "PING",
            "KEYS *",
        ] {
            let error = "LOADING Redis is loading the dataset in memory";
            assert_eq!(c.run(line).text(), error, "{} {line}", server.name());
        }
        for line in [
            "CONFIG GET port",
            "CLIENT ID",
            "SELECT 0",
            "SUBSCRIBE ch",
            "UNSUBSCRIBE",
        ] {
            assert!(!c.run(line).is_error(), "{} {line}", server.name());
        }
        for line in [
            "CONFIG SET appendonly yes",
            "CONFIG SET appendonly yes nonsense 1",
        ] {
            let refused = c.run(line).text();
            assert!(
                refused.starts_with("LOADING "),
                "{} {refused}",
                server.name()
            );
        }
        set(&mut c, "key-load-delay", "0");
        until("it is done", || {
            info(&mut c, "loading").as_deref() == Some("0")
        });
        assert_eq!(info(&mut c, "loading_total_bytes"), None);
        let loaded = info(&mut c, "rdb_last_load_keys_loaded");
        assert_eq!(loaded.as_deref(), Some("20001"));
        assert_eq!(c.run("DBSIZE").int(), Some(20_001));
        for line in [
            "Loading RDB produced by version",
            "RDB age",
            "RDB memory usage when created",
            "keys loaded: 20001",
            "DB loaded from disk",
        ] {
            assert!(server.log().contains(line), "{line}\n{}", server.log());
        }
    }
}

#[test]
fn who_is_ended_while_it_loads_leaves_the_file_alone() {
    for how in [
        "TERM",
        "INT",
        "SHUTDOWN",
        "SHUTDOWN SAVE",
        "SHUTDOWN NOSAVE FORCE",
    ] {
        for mut server in both(SLOW) {
            let c = slow_to_load(&mut server);
            let whole = fs::read(file(&server)).unwrap();
            match how {
                "TERM" | "INT" => server.signal(how),
                line => last_word(c, line),
            }
            assert_eq!(server.end(), Some(0), "{} {how}", server.name());
            assert_eq!(names(&server), ["dump.rdb"], "{} {how}", server.name());
            assert!(
                fs::read(file(&server)).unwrap() == whole,
                "{} {how}",
                server.name()
            );
        }
    }
}
