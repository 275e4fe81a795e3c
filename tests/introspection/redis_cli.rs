//! The modes of redis-cli: what it prints of our server is what it prints of redis-server.

use super::common::client::encode;
use super::common::peer::tool;
use super::common::{Client, Server};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// redis-cli.
struct Cli(PathBuf);

impl Cli {
    fn find() -> Option<Cli> {
        tool("redis-cli").map(Cli)
    }

    fn command(&self, port: u16, args: &[&str]) -> Command {
        let mut command = Command::new(&self.0);
        command
            .args(["-h", "127.0.0.1", "-p", &port.to_string()])
            .args(args)
            .env("HOME", "/nonexistent")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// What it prints, and its exit code, given this as its input.
    fn run(&self, port: u16, args: &[&str], input: &[u8]) -> String {
        let mut child = self
            .command(port, args)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // It may end without having read everything.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        format!(
            "{}{}exit code {:?}",
            text(&output.stdout),
            text(&output.stderr),
            output.status.code()
        )
    }

    /// A run that goes on until it is dropped, and its output by lines.
    fn follow(&self, port: u16, args: &[&str]) -> Following {
        // Otherwise it keeps what it prints for a while.
        let mut command = Command::new("stdbuf");
        command.arg("-oL").arg(&self.0);
        command
            .args(["-h", "127.0.0.1", "-p", &port.to_string()])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (to, lines) = std::sync::mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if to.send(line).is_err() {
                    return;
                }
            }
        });
        Following { child, lines }
    }
}

struct Following {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Following {
    fn line(&self) -> String {
        self.lines
            .recv_timeout(Duration::from_secs(20))
            .expect("a line")
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Both servers with the same data; none if redis-cli or redis-server is missing.
struct Pair {
    cli: Cli,
    ours: Server,
    theirs: Server,
}

impl Pair {
    fn start() -> Option<Pair> {
        let (cli, theirs) = (
            Cli::find()?,
            Server::redis(&["--enable-debug-command", "yes"])?,
        );
        let ours = Server::redkeep(&["--enable-debug-command", "yes"]);
        let pair = Pair { cli, ours, theirs };
        for server in [&pair.ours, &pair.theirs] {
            fill(&mut server.client());
        }
        Some(pair)
    }

    /// Both print this, in whatever order the keys come.
    fn same(&self, args: &[&str], input: &[u8]) -> String {
        let sorted = |port: u16| {
            let text = self.cli.run(port, args, input);
            // What is found on the way depends on the order.
            let lines = text.lines().filter(|line| !line.starts_with('['));
            let mut lines: Vec<String> = lines.map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let (ours, theirs) = (sorted(self.ours.port), sorted(self.theirs.port));
        assert_eq!(ours, theirs, "{args:?}");
        ours.join("\n")
    }

    /// Both print exactly this.
    fn same_to_the_letter(&self, args: &[&str], input: &[u8]) -> String {
        let ours = self.cli.run(self.ours.port, args, input);
        let theirs = self.cli.run(self.theirs.port, args, input);
        assert_eq!(ours, theirs, "{args:?}");
        ours
    }
}

fn fill(client: &mut Client) {
    for n in 0..200 {
        client.run(&format!("SET str:{n} {}", "x".repeat(n)));
    }
    for line in [
        "RPUSH list:1 a b c",
        "RPUSH list:2 a b c d",
        "SADD set:1 a b c d",
        "ZADD zset:1 1 a 2 b 3.5 c",
        "HSET hash:1 f v g w",
        "XADD stream:1 1-1 f v",
        "XADD stream:1 2-1 g w",
    ] {
        assert!(!client.run(line).is_error(), "{line}");
    }
}

#[test]
fn keys_are_scanned_and_weighed() {
    let Some(pair) = Pair::start() else { return };
    let said = pair.same(&["--bigkeys"], b"");
    assert!(
        said.contains("Biggest   list found '\"list:2\"' has 4 items"),
        "{said}"
    );
    assert!(said.contains("Sampled 206 keys"), "{said}");
    pair.same(&["--scan"], b"");
    let said = pair.same(&["--scan", "--pattern", "str:1*"], b"");
    assert_eq!(said.lines().count(), 112, "{said}");
    pair.same(&["--scan", "--pattern", "none*"], b"");
    // Bytes are each server's own.
    let said = pair.cli.run(pair.ours.port, &["--memkeys"], b"");
    assert!(
        said.contains("Sampled 206 keys") && said.contains("200 strings with "),
        "{said}"
    );
    assert!(said.ends_with("exit code Some(0)"), "{said}");
}

#[test]
fn hot_keys_are_told_where_they_are_counted() {
    let Some(pair) = Pair::start() else { return };
    let refused = pair.same_to_the_letter(&["--hotkeys"], b"");
    assert!(
        refused.contains("LFU maxmemory policy is not selected"),
        "{refused}"
    );
    for server in [&pair.ours, &pair.theirs] {
        let mut client = server.client();
        for line in [
            "CONFIG SET maxmemory-policy allkeys-lfu lfu-log-factor 0",
            "FLUSHALL",
        ] {
            assert_eq!(client.run(line).text(), "OK", "{line}");
        }
        fill(&mut client);
        (0..50).for_each(|_| drop(client.run("GET str:7")));
        let said = pair.cli.run(server.port, &["--hotkeys"], b"");
        let hottest = said.lines().find(|line| line.starts_with("hot key found"));
        let wanted = "hot key found with counter: 55\tkeyname: \"str:7\"";
        assert_eq!(hottest, Some(wanted), "{said}");
    }
}

#[test]
fn replies_are_printed_in_every_form() {
    let Some(pair) = Pair::start() else { return };
    let runs: &[&[&str]] = &[
        &["GET", "str:3"],
        &["--no-raw", "GET", "str:3"],
        &["--no-raw", "GET", "nosuch"],
        &["--no-raw", "LRANGE", "list:1", "0", "-1"],
        &["--csv", "LRANGE", "list:1", "0", "-1"],
        &["--csv", "XRANGE", "stream:1", "-", "+"],
        &["--json", "HGETALL", "hash:1"],
        &["--json", "ZRANGE", "zset:1", "0", "-1", "WITHSCORES"],
        &["--quoted-json", "HGETALL", "hash:1"],
        &["-3", "--no-raw", "HGETALL", "hash:1"],
        &["-3", "--no-raw", "ZSCORE", "zset:1", "c"],
        &["-3", "--no-raw", "DEBUG", "PROTOCOL", "verbatim"],
        &["-3", "--no-raw", "DEBUG", "PROTOCOL", "bignum"],
        &["-3", "--no-raw", "DEBUG", "PROTOCOL", "attrib"],
        &["-3", "--no-raw", "DEBUG", "PROTOCOL", "set"],
        &["--no-raw", "XINFO", "GROUPS", "stream:1"],
        &["--quoted-input", "GET", "\"str:\\x33\""],
        &["-r", "3", "-i", "0", "INCR", "count"],
        &["-n", "5", "DBSIZE"],
        &["-d", ";", "LRANGE", "list:1", "0", "-1"],
        &["-D", "|\n", "PING"],
        &["-e", "LPUSH", "str:1", "a"],
        &["nosuch", "command"],
        &["--no-raw", "LATENCY", "LATEST"],
        &["--no-raw", "SLOWLOG", "GET"],
        &["--no-raw", "CLIENT", "GETNAME"],
        &["--no-raw", "COMMAND", "GETKEYSANDFLAGS", "SET", "a", "b"],
        &[
            "--no-raw",
            "COMMAND",
            "LIST",
            "FILTERBY",
            "PATTERN",
            "zrange*by*x",
        ],
    ];
    for args in runs {
        pair.same_to_the_letter(args, b"");
    }
}

#[test]
fn arguments_and_commands_come_from_the_input() {
    let Some(pair) = Pair::start() else { return };
    pair.same_to_the_letter(&["-x", "SET", "k"], b"from the\ninput");
    pair.same_to_the_letter(&["-X", "TAG", "SET", "TAG", "v"], b"key");
    pair.same_to_the_letter(&["GET", "k"], b"");
    pair.same_to_the_letter(
        &[],
        b"SET a 1\nMULTI\nINCR a\nGET nosuch\nEXEC\nnosuch\nSUBSCRIBE\n3 PING\n",
    );
    let pushed = pair.same_to_the_letter(
        &["-3", "--show-pushes", "yes"],
        b"CLIENT TRACKING ON\nGET str:1\nSET str:1 x\nPING\n",
    );
    assert!(pushed.contains("invalidate"), "{pushed}");
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("script.lua");
    std::fs::write(
        &script,
        "return {KEYS[1], ARGV[1], redis.call('get', KEYS[1])}",
    )
    .unwrap();
    let script = script.to_str().unwrap();
    pair.same_to_the_letter(&["--eval", script, "str:3", ",", "x"], b"");
    std::fs::write(script, "return redis.call('nosuch')").unwrap();
    let failed = pair.same_to_the_letter(&["--eval", script], b"");
    assert!(
        failed.contains("Unknown Redis command called from script"),
        "{failed}"
    );
}

#[test]
fn a_large_file_is_piped() {
    const COMMANDS: usize = 50_000;
    let Some(pair) = Pair::start() else { return };
    let mut file = Vec::new();
    for n in 0..COMMANDS {
        let (key, value) = (format!("piped:{n}"), format!("{n:0100}"));
        encode(&["SET", &key, &value], &mut file);
    }
    encode(&["LPUSH", "str:1", "wrong"], &mut file);
    let said = pair.same_to_the_letter(&["--pipe"], &file);
    assert!(
        said.contains(&format!("errors: 1, replies: {}", COMMANDS + 1)),
        "{said}"
    );
    let held = pair.ours.client().run("DBSIZE");
    assert_eq!(held.int(), Some(COMMANDS as i64 + 206));
}

#[test]
fn data_and_functions_are_fetched_as_files() {
    let Some(pair) = Pair::start() else { return };
    let library = "#!lua name=mine\nredis.register_function('f', function() return 7 end)";
    let dir = tempfile::tempdir().unwrap();
    for (name, server) in [("ours", &pair.ours), ("theirs", &pair.theirs)] {
        let loaded = server
            .client()
            .call(&["FUNCTION", "LOAD", library])
            .unwrap();
        assert_eq!(loaded.text(), "mine");
        for (mode, least) in [("--rdb", 206), ("--functions-rdb", 0)] {
            let path = dir.path().join(format!("{name}{mode}"));
            let said = pair
                .cli
                .run(server.port, &[mode, path.to_str().unwrap()], b"");
            assert!(said.contains("Transfer finished with success"), "{said}");
            let bytes = std::fs::read(&path).unwrap();
            assert!(
                bytes.starts_with(b"REDIS00") && bytes.len() > least,
                "{mode}"
            );
            let has_keys = bytes.windows(6).any(|part| part == b"list:1");
            assert_eq!(has_keys, mode == "--rdb", "{name} {mode}");
            assert!(
                bytes.windows(4).any(|part| part == b"mine"),
                "{name} {mode}"
            );
        }
    }
    // What was fetched here is loaded there.
    let file = std::fs::read(dir.path().join("ours--rdb")).unwrap();
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("dump.rdb"), file).unwrap();
    let loaded = Server::redis(&["--dir", home.path().to_str().unwrap()]).unwrap();
    let mut client = loaded.client();
    assert_eq!(client.run("DBSIZE").int(), Some(206));
    assert_eq!(client.run("FCALL f 0").int(), Some(7));
}

#[test]
fn what_goes_on_is_followed() {
    let Some(pair) = Pair::start() else { return };
    for server in [&pair.ours, &pair.theirs] {
        let monitor = pair.cli.follow(server.port, &["MONITOR"]);
        assert_eq!(monitor.line(), "OK");
        let listener = pair.cli.follow(server.port, &["PSUBSCRIBE", "news.*"]);
        let lines: Vec<String> = (0..3).map(|_| listener.line()).collect();
        assert_eq!(lines, ["psubscribe", "news.*", "1"], "{}", server.name());
        let mut client = server.client();
        client.run("PUBLISH news.a hello");
        let lines: Vec<String> = (0..4).map(|_| listener.line()).collect();
        assert_eq!(lines, ["pmessage", "news.*", "news.a", "hello"]);
        let seen = loop {
            let line = monitor.line();
            if line.contains("PUBLISH") {
                break line;
            }
        };
        assert!(seen.ends_with("\"PUBLISH\" \"news.a\" \"hello\""), "{seen}");
    }
}

#[test]
fn the_server_is_watched_and_its_latency_measured() {
    let Some(pair) = Pair::start() else { return };
    for server in [&pair.ours, &pair.theirs] {
        let stat = pair.cli.follow(server.port, &["--stat", "-i", "0.1"]);
        assert!(stat.line().starts_with("------- data"));
        assert_eq!(
            stat.line().split_whitespace().collect::<Vec<_>>(),
            [
                "keys",
                "mem",
                "clients",
                "blocked",
                "requests",
                "connections"
            ]
        );
        let line = stat.line();
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            (fields[0], fields[2], fields[3]),
            ("206", "1", "0"),
            "{line}"
        );
        assert!(fields[1].ends_with(['K', 'M', 'B']), "{line}");
        drop(stat);
        let said = pair
            .cli
            .run(server.port, &["--latency", "--raw", "-i", "1"], b"");
        let numbers: Vec<f64> = said
            .split_whitespace()
            .take(4)
            .map(|n| n.parse().unwrap_or_else(|_| panic!("{said}")))
            .collect();
        assert!(numbers[1] >= numbers[0] && numbers[3] > 10.0, "{said}");
        for mode in [
            &["--latency-history", "--raw", "-i", "1"][..],
            &["--latency-dist", "-i", "1"],
        ] {
            let mut child = pair
                .cli
                .command(server.port, mode)
                .stdin(Stdio::null())
                .spawn()
                .unwrap();
            let until = Instant::now() + Duration::from_millis(1500);
            while child.try_wait().unwrap().is_none() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(20));
            }
            // By then the first one has ended, or both go on without a complaint.
            let _ = child.kill();
            let mut error = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut error)
                .unwrap();
            child.wait().unwrap();
            assert_eq!(error, "", "{mode:?}");
        }
    }
}

/// The help of redis-cli comes from COMMAND DOCS: what it shows of arguments is what it shows of Redis's.
#[test]
fn help_comes_from_the_server() {
    let Some(pair) = Pair::start() else { return };
    let plain = |port: u16, what: &str| -> Vec<String> {
        let args: Vec<&str> = std::iter::once("help").chain(what.split(' ')).collect();
        let said = pair.cli.run(port, &args, b"");
        // Colours, and summaries, which are of our own words.
        let lines = said.lines().map(|line| {
            let mut out = String::new();
            let mut rest = line;
            while let Some((before, after)) = rest.split_once('\u{1b}') {
                out.push_str(before);
                rest = after.split_once('m').map_or("", |(_, rest)| rest);
            }
            out + rest
        });
        lines.filter(|line| !line.contains("summary:")).collect()
    };
    for what in [
        "get",
        "expire",
        "lpush",
        "zadd",
        "hset",
        "eval",
        "object",
        "config set",
        "latency graph",
        "client getname",
    ] {
        let (ours, theirs) = (plain(pair.ours.port, what), plain(pair.theirs.port, what));
        assert_eq!(ours, theirs, "{what}");
        assert!(ours.len() > 3 || what == "object", "{ours:?}");
    }
    let names = |port: u16| -> Vec<String> {
        let lines = plain(port, "@transactions");
        lines
            .into_iter()
            .filter(|line| line.starts_with("  ") && !line.contains(':'))
            .collect()
    };
    assert_eq!(names(pair.ours.port), names(pair.theirs.port));
}
