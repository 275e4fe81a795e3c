//! Parameters do what they say when CONFIG SET changes them, and not only show it.

use super::{field, say};
use redkeep::Server;
use redkeep::embed::Client;
use redkeep::service::config::{Effect, rows};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// A server and a client of it.
pub(super) struct Bench {
    pub(super) server: Server,
    pub(super) client: Client,
    dir: tempfile::TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        Bench::with(&[])
    }

    pub(super) fn with(config: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut builder = Server::builder()
            .bind("127.0.0.1")
            .config("enable-debug-command", "yes")
            .config("enable-protected-configs", "yes")
            .config("dir", dir.path().to_str().unwrap());
        for &(name, value) in config {
            builder = builder.config(name, value);
        }
        let server = builder.start().unwrap();
        let client = server.client().unwrap();
        Self {
            server,
            client,
            dir,
        }
    }

    pub(super) fn say(&mut self, line: &str) -> String {
        say(&mut self.client, line)
    }

    /// Every line is answered by OK or a number.
    pub(super) fn all(&mut self, lines: &[&str]) {
        for line in lines {
            let said = self.say(line);
            let fine = said == "OK" || said.parse::<i64>().is_ok();
            assert!(fine, "{line}: {said}");
        }
    }

    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.server.addr()).unwrap();
        let limit = Some(Duration::from_secs(20));
        stream.set_read_timeout(limit).unwrap();
        stream
    }

    /// What a connection gets for these bytes, to the end of the line; nothing if it is cut off.
    pub(super) fn answer(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // It may be cut off in the middle.
        let _ = stream.write_all(bytes);
        let (mut line, mut byte) = (Vec::new(), [0]);
        while !line.ends_with(b"\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    pub(super) fn waits_until(&mut self, mut is: impl FnMut(&mut Self) -> bool) -> bool {
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if is(self) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

/// What can be seen of a parameter: it is `before` with the value that it has, and `after` with another.
struct Sight {
    name: &'static str,
    value: &'static str,
    before: &'static str,
    after: &'static str,
    look: fn(&mut Bench) -> String,
}

const fn sight(
    name: &'static str,
    value: &'static str,
    before: &'static str,
    after: &'static str,
    look: fn(&mut Bench) -> String,
) -> Sight {
    Sight {
        name,
        value,
        before,
        after,
        look,
    }
}

/// How a value of a few small elements is stored.
fn encoding(bench: &mut Bench, add: &str) -> String {
    bench.say("DEL k");
    bench.all(&[add]);
    bench.say("OBJECT ENCODING k")
}

fn one_if(is: bool) -> String {
    u8::from(is).to_string()
}

const LONG: &str = "xxxxxxxxxxxxxxxxxxxxxxxx";

const SIGHTS: &[Sight] = &[
    sight(
        "hash-max-listpack-entries",
        "1",
        "listpack",
        "hashtable",
        |b| encoding(b, "HSET k a 1 b 2"),
    ),
    sight(
        "hash-max-listpack-value",
        "20",
        "listpack",
        "hashtable",
        |b| encoding(b, &format!("HSET k a {LONG}")),
    ),
    sight(
        "list-max-listpack-size",
        "1",
        "listpack",
        "quicklist",
        |b| encoding(b, "RPUSH k a b c"),
    ),
    sight("set-max-intset-entries", "1", "intset", "listpack", |b| {
        encoding(b, "SADD k 1 2")
    }),
    sight(
        "set-max-listpack-entries",
        "1",
        "listpack",
        "hashtable",
        |b| encoding(b, "SADD k a b"),
    ),
    sight(
        "set-max-listpack-value",
        "20",
        "listpack",
        "hashtable",
        |b| encoding(b, &format!("SADD k {LONG}")),
    ),
    sight(
        "zset-max-listpack-entries",
        "1",
        "listpack",
        "skiplist",
        |b| encoding(b, "ZADD k 1 a 2 b"),
    ),
    sight(
        "zset-max-listpack-value",
        "20",
        "listpack",
        "skiplist",
        |b| encoding(b, &format!("ZADD k 1 {LONG}")),
    ),
    sight("hll-sparse-max-bytes", "0", "sparse", "dense", |b| {
        b.all(&["DEL k", "PFADD k a b c"]);
        b.say("PFDEBUG ENCODING k")
    }),
    // Whole nodes go, and no others.
    sight("stream-node-max-entries", "2", "10", "2", |b| {
        b.say("DEL k");
        (0..10).for_each(|_| drop(b.say("XADD k * f v")));
        b.say("XTRIM k MAXLEN ~ 1");
        b.say("XLEN k")
    }),
    sight("stream-node-max-bytes", "60", "10", "1", |b| {
        b.say("DEL k");
        (0..10).for_each(|_| drop(b.say(&format!("XADD k * f {LONG}{LONG}{LONG}"))));
        b.say("XTRIM k MAXLEN ~ 1");
        b.say("XLEN k")
    }),
    sight("rdbcompression", "no", "1", "0", |b| {
        b.say("DEL k");
        b.say("SETRANGE k 3000 x");
        let dump = b.client.call(["DUMP", "k"]).unwrap();
        one_if(dump.as_bytes().unwrap().len() < 1000)
    }),
    sight("slowlog-log-slower-than", "0", "0", "1", |b| {
        b.all(&["SLOWLOG RESET", "SET k v"]);
        one_if(b.say("SLOWLOG LEN") != "0")
    }),
    sight("slowlog-max-len", "2", "5", "2", |b| {
        let before = b.say("CONFIG GET slowlog-log-slower-than");
        b.all(&["CONFIG SET slowlog-log-slower-than 0", "SLOWLOG RESET"]);
        (0..4).for_each(|_| b.all(&["SET k v"]));
        let len = b.say("SLOWLOG LEN");
        b.all(&[&format!("CONFIG SET {}", before.replace('\n', " "))]);
        len
    }),
    sight("latency-monitor-threshold", "1", "0", "1", |b| {
        b.say("LATENCY RESET");
        b.all(&["DEBUG SLEEP 0.005"]);
        one_if(b.say("LATENCY LATEST").contains("command"))
    }),
    sight("latency-tracking", "no", "1", "0", |b| {
        b.all(&["CONFIG RESETSTAT", "SET k v"]);
        one_if(
            b.say("INFO latencystats").contains("cmdstat_set")
                || b.say("INFO latencystats").contains("usec_set"),
        )
    }),
    sight("latency-tracking-info-percentiles", "50", "1", "0", |b| {
        b.all(&["SET k v"]);
        one_if(b.say("INFO latencystats").contains("p99.9="))
    }),
    sight("maxmemory", "1", "OK", "OOM", |b| {
        b.say("SET k v").split(' ').next().unwrap().to_owned()
    }),
    sight(
        "proto-max-bulk-len",
        "1mb",
        "",
        "-ERR Protocol error: invalid bulk length\r\n",
        |b| {
            let mut stream = b.connect();
            stream.write_all(b"*1\r\n$2000000\r\n").unwrap();
            stream
                .set_read_timeout(Some(Duration::from_millis(300)))
                .unwrap();
            let mut bytes = [0; 100];
            let n = stream.read(&mut bytes).unwrap_or(0);
            String::from_utf8_lossy(&bytes[..n]).into_owned()
        },
    ),
    sight(
        "client-query-buffer-limit",
        "1mb",
        "answered",
        "cut off",
        |b| {
            let mut stream = b.connect();
            let mut first = [0; 7];
            // A connection knows of the limit from its first command on.
            stream.write_all(b"PING\r\n").unwrap();
            stream.read_exact(&mut first).unwrap();
            let mut bytes = b"*2\r\n$4\r\nECHO\r\n$1900000\r\n".to_vec();
            bytes.resize(bytes.len() + 1_900_000, b'x');
            bytes.extend(b"\r\n");
            let sent = stream.write_all(&bytes);
            match sent.and_then(|()| stream.read_exact(&mut first[..1])) {
                Ok(()) => "answered".into(),
                Err(_) => "cut off".into(),
            }
        },
    ),
    sight(
        "maxclients",
        "2",
        "+PONG\r\n",
        "-ERR max number of clients reached\r\n",
        |b| {
            // Those of the look before are gone.
            b.waits_until(|b| b.say("INFO clients").contains("connected_clients:1\r"));
            let mut kept = [b.connect(), b.connect()];
            for stream in &mut kept {
                // They are in, or out, before the next one comes.
                let _ = stream
                    .write_all(b"PING\r\n")
                    .map(|()| stream.read(&mut [0]));
            }
            b.answer(b"PING\r\n")
        },
    ),
    sight("timeout", "1", "open", "closed", |b| {
        let mut stream = b.connect();
        let waits = match b.say("CONFIG GET timeout").as_str() {
            "timeout\n0" => Duration::from_millis(200),
            _ => Duration::from_secs(20),
        };
        stream.set_read_timeout(Some(waits)).unwrap();
        match stream.read(&mut [0]) {
            Ok(0) => "closed".into(),
            _ => "open".into(),
        }
    }),
    sight("bind", "127.0.0.1 127.0.0.2", "0", "1", |b| {
        let port = b.server.port();
        one_if(TcpStream::connect(("127.0.0.2", port)).is_ok())
    }),
    sight("notify-keyspace-events", "KEA", "0", "1", |b| {
        let mut listener = b.server.client().unwrap();
        say(&mut listener, "SUBSCRIBE __keyspace@0__:k");
        b.all(&["SET k v"]);
        one_if(
            listener
                .next_message(Some(Duration::from_millis(300)))
                .ok()
                .flatten()
                .is_some(),
        )
    }),
    sight("dbfilename", "other.rdb", "0", "1", |b| {
        b.all(&["SAVE"]);
        one_if(b.dir.path().join("other.rdb").exists())
    }),
    sight("save", "1 1", "0", "1", |b| {
        b.all(&["CONFIG RESETSTAT", "SET k v"]);
        let saves = |b: &mut Bench| field(&mut b.client, "persistence", "rdb_saves") != "0";
        match b.say("CONFIG GET save").as_str() {
            "save\n" => one_if(saves(b)),
            _ => one_if(b.waits_until(saves)),
        }
    }),
    sight("appendonly", "yes", "0", "1", |b| {
        one_if(b.dir.path().join("appendonlydir").exists())
    }),
    sight("aof-use-rdb-preamble", "no", "rdb", "aof", base_of_log),
    sight("rdb-key-save-delay", "500000", "0", "1", |b| {
        b.all(&["SET k v"]);
        b.say("BGSAVE");
        let saving = |b: &mut Bench| field(&mut b.client, "persistence", "rdb_bgsave_in_progress");
        match b.say("CONFIG GET rdb-key-save-delay").ends_with("\n0") {
            false => saving(b),
            true => one_if(!b.waits_until(|b| saving(b) == "0")),
        }
    }),
    sight("tcp-keepalive", "0", "1", "0", |b| {
        let mut stream = b.connect();
        stream.write_all(b"PING\r\n").unwrap();
        stream.read_exact(&mut [0; 7]).unwrap();
        one_if(has_keepalive(
            b.server.port(),
            stream.local_addr().unwrap().port(),
        ))
    }),
];

fn files_of_log(dir: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(dir.join("appendonlydir"))
        .into_iter()
        .flatten();
    files
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let text = fs::read(entry.path()).unwrap_or_default();
            let name = entry.file_name().into_string().unwrap();
            (name, String::from_utf8_lossy(&text).into_owned())
        })
        .collect()
}

/// How the name of the base ends that a rewritten log begins with.
fn base_of_log(b: &mut Bench) -> String {
    b.all(&["CONFIG SET appendonly yes", "SET k v"]);
    let rests = |b: &mut Bench| {
        field(&mut b.client, "persistence", "aof_rewrite_in_progress") == "0"
            && field(&mut b.client, "persistence", "aof_rewrite_scheduled") == "0"
    };
    assert!(b.waits_until(rests));
    b.say("BGREWRITEAOF");
    assert!(b.waits_until(rests));
    let files = files_of_log(b.dir.path());
    let manifest = files.iter().find(|(name, _)| name.ends_with(".manifest"));
    let base = manifest
        .unwrap()
        .1
        .lines()
        .find(|line| line.ends_with("type b"))
        .unwrap();
    let name = base.split(' ').nth(1).unwrap().to_owned();
    b.all(&["CONFIG SET appendonly no"]);
    name.rsplit('.').next().unwrap().to_owned()
}

/// Whether the system probes a silent peer of this connection, the server's end of it.
fn has_keepalive(port: u16, peer: u16) -> bool {
    let (port, peer) = (format!(":{port:04X}"), format!(":{peer:04X}"));
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let fields = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut ours = fields.filter(|f| f.len() > 5 && f[1].ends_with(&port) && f[2].ends_with(&peer));
    ours.next().unwrap()[5].starts_with("02")
}

#[test]
fn a_parameter_does_what_it_says_until_it_is_changed_back() {
    for sight in SIGHTS {
        let name = sight.name;
        let mut bench = Bench::new();
        assert_eq!((sight.look)(&mut bench), sight.before, "{name} before");
        let old = bench.client.call(["CONFIG", "GET", name]).unwrap();
        let old = old.as_array().unwrap()[1].as_bytes().unwrap().to_vec();
        let set = |bench: &mut Bench, value: &[u8]| {
            let call = [b"CONFIG", b"SET".as_slice(), name.as_bytes(), value];
            super::text(&bench.client.call(call).unwrap())
        };
        assert_eq!(set(&mut bench, sight.value.as_bytes()), "OK", "{name}");
        assert_eq!((sight.look)(&mut bench), sight.after, "{name} after");
        assert_eq!(set(&mut bench, &old), "OK", "{name}");
    }
}

/// What cannot be seen from without, because it is about how the work is done and not about what comes of it; what belongs
/// to the process or to its start; and what takes minutes.
const UNSEEN: &[&str] = &[
    "appenddirname",
    "appendfilename",
    "aof-rewrite-incremental-fsync",
    "commandlog-large-request-max-len",
    "disable-thp",
    "lazyfree-lazy-eviction",
    "lazyfree-lazy-expire",
    "lazyfree-lazy-user-del",
    "lazyfree-lazy-user-flush",
    "lfu-decay-time",
    "lfu-log-factor",
    "maxmemory-eviction-tenacity",
    "maxmemory-samples",
    "loading-process-events-interval-bytes",
    "no-appendfsync-on-rewrite",
    "rdb-save-incremental-fsync",
    "repl-backlog-ttl",
    "stream-idmp-duration",
    "stream-idmp-maxsize",
    "syslog-enabled",
    "syslog-facility",
    "syslog-ident",
    "tcp-backlog",
    "tls-ca-cert-dir",
    "tls-client-cert-file",
    "tls-client-key-file",
    "tls-client-key-file-pass",
    "tls-prefer-server-ciphers",
    "tls-session-cache-size",
    "tls-session-cache-timeout",
    "tls-session-caching",
];

/// Every other parameter that has a meaning and can be changed is set to something by a test somewhere.
#[test]
fn every_parameter_that_works_is_tried() {
    let mut texts = String::new();
    for dir in ["tests", "src"] {
        read_into(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir), &mut texts);
    }
    let tried = |name: &str| {
        let seen = SIGHTS.iter().any(|sight| sight.name == name);
        let named = |mark: char| texts.contains(&format!("{name}{mark}"));
        seen || UNSEEN.contains(&name) || named('"') || named(' ')
    };
    let works = rows().filter(|row| row.effect == Effect::Live);
    let forgotten: Vec<_> = works
        .filter(|row| !row.names().any(tried))
        .map(|row| row.name)
        .collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}

fn read_into(dir: &Path, texts: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let is = |word: &str| path.display().to_string().contains(word);
        if path.is_dir() {
            read_into(&path, texts);
        } else if !is("service/config") && !is("server_commands/parameters") {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let tests = match is("/tests/") || is("/tests.rs") {
                true => Some(text.as_str()),
                false => text.split_once("#[cfg(test)]").map(|(_, tests)| tests),
            };
            texts.push_str(tests.unwrap_or_default());
        }
    }
}

#[test]
fn what_failed_has_undone_what_did_not() {
    let mut bench = Bench::new();
    let other = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    bench.all(&["CONFIG SET appendonly yes"]);
    let before = bench.say("CONFIG GET *");
    let path = other.path().display().to_string();
    let refused = bench.say(&format!(
        "CONFIG SET timeout 7 dir {path} slowlog-log-slower-than 0 maxclients 50 port {port}"
    ));
    assert!(
        refused.contains("Unable to listen on this port"),
        "{refused}"
    );
    assert_eq!(bench.say("CONFIG GET *"), before);
    // The directory was not kept: it can still be had by somebody else.
    let second = Server::builder()
        .config("dir", &path)
        .config("appendonly", "yes")
        .start();
    assert!(second.is_ok(), "{second:?}");
    // And the one before still is.
    let here = bench.dir.path().display().to_string();
    let third = Server::builder()
        .config("dir", &here)
        .config("appendonly", "yes")
        .start();
    assert!(third.is_err());
    bench.all(&["SLOWLOG RESET", "SET k v"]);
    assert_eq!(bench.say("SLOWLOG LEN"), "0");
    assert_eq!(bench.answer(b"PING\r\n"), "+PONG\r\n");
}

#[test]
fn servers_of_one_process_share_no_parameter() {
    let (mut one, mut other) = (Bench::new(), Bench::new());
    one.all(&["CONFIG SET timeout 9 maxmemory 1 hash-max-listpack-entries 1 latency-tracking no"]);
    let of_other =
        other.say("CONFIG GET timeout maxmemory hash-max-listpack-entries latency-tracking");
    assert!(
        of_other.contains("timeout\n0") && of_other.contains("maxmemory\n0"),
        "{of_other}"
    );
    assert_eq!(encoding(&mut other, "HSET k a 1 b 2"), "listpack");
    assert_eq!(other.say("SET k v"), "OK");
}
