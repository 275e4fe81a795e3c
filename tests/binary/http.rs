//! `metrics-port`: what Prometheus and those who look after a process get over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::program::{Program, ask, connect, converse, eventually, free_port};

/// An answer over HTTP.
struct Answer {
    status: u16,
    /// In lower case.
    head: String,
    body: String,
}

/// Sends this and reads until the other side closes.
fn raw(port: &str, request: &[u8]) -> Answer {
    let mut stream = connect(port);
    stream.write_all(request).unwrap();
    let mut bytes = Vec::new();
    // Whoever was sent more than it reads resets the connection.
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .map_or(0, |code| code.parse().unwrap());
    Answer {
        status,
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

fn get(port: &str, path: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    raw(port, request.as_bytes())
}

/// A page in the text format 0.0.4, read as strictly as its description has it.
#[derive(Debug, Default)]
struct Page {
    types: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Page {
    fn read(text: &str) -> Page {
        let mut page = Page::default();
        let mut helped = BTreeSet::new();
        let mut current = String::new();
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                assert!(is_name(name) && !help.is_empty(), "{line}");
                assert!(helped.insert(name.to_owned()), "twice: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(["counter", "gauge", "summary"].contains(&kind), "{line}");
                assert!(helped.contains(name), "no HELP before {line}");
                let before = page.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{line}");
                current = name.to_owned();
            } else {
                page.sample(line, &current);
            }
        }
        for name in page.types.keys() {
            let has = |sample: &String| sample.starts_with(name.as_str());
            assert!(page.samples.keys().any(has), "{name} has no samples");
        }
        page
    }

    fn sample(&mut self, line: &str, current: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
            None => (series, ""),
        };
        assert!(is_name(name), "{line}");
        let own = match self.types.get(current).map(String::as_str) {
            Some("summary") => name.trim_end_matches("_sum").trim_end_matches("_count"),
            _ => name,
        };
        assert_eq!(own, current, "not among its own: {line}");
        let mut rest = labels;
        let mut seen = BTreeSet::new();
        while !rest.is_empty() {
            let (label, quoted) = rest.split_once("=\"").unwrap();
            assert!(
                is_name(label) && !label.contains(':') && seen.insert(label),
                "{line}"
            );
            let mut end = None;
            let mut escaped = false;
            for (at, c) in quoted.char_indices() {
                match (escaped, c) {
                    (true, '\\' | '"' | 'n') => escaped = false,
                    (true, _) => panic!("no such escape: {line}"),
                    (false, '\\') => escaped = true,
                    (false, '"') => {
                        end = Some(at);
                        break;
                    }
                    _ => {}
                }
            }
            rest = &quoted[end.unwrap() + 1..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        let value: f64 = value.parse().unwrap();
        assert!(value.is_finite(), "{line}");
        let before = self.samples.insert(series.to_owned(), value);
        assert_eq!(before, None, "twice: {line}");
    }

    fn get(&self, series: &str) -> f64 {
        let found = self.samples.get(series);
        *found.unwrap_or_else(|| panic!("{series} is not in {:#?}", self.samples))
    }
}

fn is_name(name: &str) -> bool {
    let first = name.chars().next().unwrap();
    (first.is_ascii_alphabetic() || first == '_' || first == ':')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

fn metrics(port: &str) -> Page {
    let answer = get(port, "/metrics");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(
        answer
            .head
            .contains("content-type: text/plain; version=0.0.4")
    );
    Page::read(&answer.body)
}

#[test]
fn prometheus_gets_what_dashboards_ask_for() {
    let (port, http) = (free_port(), free_port());
    let mut program = Program::start(&["--port", &port, "--metrics-port", &http, "--save", ""]);
    program.until("Ready to accept");
    converse(
        &port,
        "SET k v\r\nSET e v EX 100\r\nGET k\r\nGET none\r\nLPUSH k x\r\nSELECT 3\r\nSET x y\r\n\
         CONFIG SET maxmemory 1gb slowlog-log-slower-than 0\r\nPING\r\n\
         EVAL \"return redis.error_reply('ODD\\\"{} x')\" 0\r\n",
    );
    let page = metrics(&http);
    assert_eq!(page.get("redis_up"), 1.0);
    for (series, value) in [
        ("redis_db_keys{db=\"db0\"}", 2.0),
        ("redis_db_keys{db=\"db3\"}", 1.0),
        ("redis_db_keys_expiring{db=\"db0\"}", 1.0),
        ("redis_commands_total{cmd=\"set\"}", 3.0),
        ("redis_commands_failed_calls_total{cmd=\"lpush\"}", 1.0),
        ("redis_errors_total{err=\"WRONGTYPE\"}", 1.0),
        ("redis_keyspace_hits_total", 1.0),
        ("redis_keyspace_misses_total", 1.0),
        ("redis_memory_max_bytes", (1u64 << 30) as f64),
        ("redis_config_maxmemory", (1u64 << 30) as f64),
        ("redis_max_clients", 10_000.0),
        ("redis_connected_slaves", 0.0),
        ("redis_loading_dump_file", 0.0),
        ("redis_rdb_last_bgsave_status", 1.0),
        ("redis_connected_clients", 0.0),
    ] {
        assert_eq!(page.get(series), value, "{series}");
    }
    let latency = "redis_latency_percentiles_usec{cmd=\"set\",quantile=\"0.99\"}";
    assert!(page.get(latency) > 0.0);
    assert!(page.get("redis_memory_used_bytes") > 0.0 && page.get("redis_slowlog_length") > 0.0);
    assert!(
        page.get("redis_start_time_seconds") > 1e9
            && page.get("redis_cpu_user_seconds_total") >= 0.0
    );
    assert_eq!(page.types["redis_commands_total"], "counter");
    assert_eq!(page.types["redis_connected_clients"], "gauge");
    assert!(
        page.samples
            .keys()
            .any(|name| name.starts_with("redis_instance_info{role=\"master\""))
    );
    // To ask runs no command, and counts as none.
    let again = metrics(&http);
    let commands = "redis_commands_processed_total";
    assert_eq!(again.get(commands), page.get(commands));
    assert!(
        !again
            .samples
            .contains_key("redis_commands_total{cmd=\"info\"}")
    );
}

#[test]
fn every_number_of_info_is_a_metric() {
    let (port, http) = (free_port(), free_port());
    let mut program = Program::start(&["--port", &port, "--metrics-port", &http]);
    program.until("Ready to accept");
    let info = converse(&port, "INFO everything\r\n");
    let numbers = info.lines().filter(|line| {
        let value = line
            .split_once(':')
            .map(|(_, value)| value.trim_end_matches('%'));
        value.is_some_and(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
            && !line.starts_with("redis_")
            && !line.starts_with("redkeep_version")
            && !line.starts_with("master_replid")
    });
    let helped = get(&http, "/metrics").body;
    let mut count = 0;
    for line in numbers {
        let (name, _) = line.split_once(':').unwrap();
        assert!(
            helped.contains(&format!(" Field {name} of section ")),
            "{name}"
        );
        count += 1;
    }
    assert!(count > 80, "{count}");
}

#[test]
fn who_asks_for_something_else_is_told() {
    let (port, http) = (free_port(), free_port());
    let mut program = Program::start(&["--port", &port, "--metrics-port", &http]);
    program.until("Ready to accept");
    assert_eq!(get(&http, "/").status, 200);
    assert_eq!(get(&http, "/healthz").body, "ok\n");
    assert_eq!(get(&http, "/metrics?x=1").status, 200);
    assert_eq!(get(&http, "/nothing").status, 404);
    let post = raw(
        &http,
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(post.status, 405);
    assert!(post.head.contains("allow: get, head"));
    let head = raw(
        &http,
        b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(raw(&http, b"PING\r\n\r\n").status, 400);
    assert_eq!(raw(&http, b"*1\r\n$4\r\nPING\r\n").status, 400);
    let huge = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "a".repeat(1 << 20)
    );
    let refused = raw(&http, huge.as_bytes()).status;
    assert!(refused == 431 || refused == 0, "{refused}");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(500));
    assert_eq!(raw(&http, many.as_bytes()).status, 431);
    // A body that never ends is not waited for.
    let body = b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\nConnection: close\r\n\r\nx";
    assert_eq!(raw(&http, body).status, 405);
    assert_eq!(get(&http, "/healthz").status, 200);
    assert_eq!(ask(&port, "PING\r\n"), "+PONG\r\n");
}

#[test]
fn who_says_nothing_is_not_waited_for() {
    let (port, http) = (free_port(), free_port());
    let mut program = Program::start(&["--port", &port, "--metrics-port", &http]);
    program.until("Ready to accept");
    let began = Instant::now();
    let mut slow = connect(&http);
    slow.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost:").unwrap();
    // Others are served meanwhile.
    let silent: Vec<_> = (0..20).map(|_| connect(&http)).collect();
    assert_eq!(get(&http, "/healthz").status, 200);
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(began.elapsed() < Duration::from_secs(15), "{rest:?}");
    drop(silent);
}

#[test]
fn the_port_can_be_had_and_left_as_it_runs() {
    let port = free_port();
    let mut program = Program::start(&["--port", &port]);
    program.until("Ready to accept");
    let http = free_port();
    let set = |what: &str| ask(&port, &format!("CONFIG SET {what}\r\n"));
    assert_eq!(set(&format!("metrics-port {http}")), "+OK\r\n");
    assert_eq!(get(&http, "/healthz").status, 200);
    // Its own port is another's.
    assert!(set(&format!("metrics-port {port}")).starts_with("-ERR CONFIG SET failed"));
    assert_eq!(get(&http, "/healthz").status, 200);
    assert_eq!(set("metrics-bind 127.0.0.1"), "+OK\r\n");
    assert_eq!(get(&http, "/healthz").status, 200);
    let other = free_port();
    assert_eq!(set(&format!("metrics-port {other}")), "+OK\r\n");
    assert_eq!(get(&other, "/healthz").status, 200);
    assert_eq!(set("metrics-port 0"), "+OK\r\n");
    assert!(std::net::TcpStream::connect(format!("127.0.0.1:{other}")).is_err());
    let (code, log) = Program::start(&["--port", &free_port(), "--metrics-port", &port]).end();
    assert_eq!(code, Some(1));
    assert!(
        log.contains(&format!("Failed listening on port {port} (tcp), aborting.")),
        "{log}"
    );
}

#[test]
fn who_is_not_ready_says_why() {
    let (port, http) = (free_port(), free_port());
    let mut program = Program::start_as(
        &[
            "--port",
            &port,
            "--metrics-port",
            &http,
            "--save",
            "3600 1",
            "--dir",
            "data",
        ],
        |_, dir| fs::create_dir(dir.join("data")).unwrap(),
    );
    program.until("Ready to accept");
    let ready = || {
        let answer = get(&http, "/readyz");
        (answer.status, answer.body)
    };
    assert_eq!(ready(), (200, "ok\n".into()));
    // A save that fails: writes are refused.
    let data = program.dir().join("data");
    fs::remove_dir(&data)
        .or_else(|_| fs::remove_dir_all(&data))
        .unwrap();
    ask(&port, "BGSAVE\r\n");
    program.until("Background saving error");
    let (status, why) = ready();
    assert!(status == 503 && why.starts_with("MISCONF "), "{why}");
    assert_eq!(get(&http, "/healthz").status, 200);
    fs::create_dir(&data).unwrap();
    ask(&port, "BGSAVE\r\n");
    program.until("Background saving terminated with success");
    assert_eq!(ready().0, 200);
    assert_eq!(ask(&port, "REPLICAOF 127.0.0.1 1\r\n"), "+OK\r\n");
    assert_eq!(ready(), (503, "the link to 127.0.0.1:1 is down\n".into()));
    assert_eq!(
        metrics(&http).get("redis_master_link_up{master_host=\"127.0.0.1\",master_port=\"1\"}"),
        0.0
    );
    assert_eq!(ask(&port, "REPLICAOF NO ONE\r\n"), "+OK\r\n");
    assert_eq!(ready().0, 200);
    // A script that is busy keeps everybody waiting, but nobody ends the process for it.
    assert_eq!(
        ask(&port, "CONFIG SET busy-reply-threshold 20\r\n"),
        "+OK\r\n"
    );
    let mut looping = connect(&port);
    looping
        .write_all(b"EVAL 'while true do end' 0\r\n")
        .unwrap();
    program.until("Slow script");
    assert_eq!(get(&http, "/healthz").status, 200);
    assert_eq!(ready().0, 503);
    assert_eq!(get(&http, "/metrics").status, 503);
    assert_eq!(ask(&port, "SCRIPT KILL\r\n"), "+OK\r\n");
    eventually("it stays busy", || get(&http, "/readyz").status == 200);
}

#[test]
fn a_sentinel_tells_of_its_masters() {
    let (port, http) = (free_port(), free_port());
    let mut program = Program::start_as(
        &[
            "s.conf",
            "--sentinel",
            "--port",
            &port,
            "--metrics-port",
            &http,
            "--bind",
            "127.0.0.1",
        ],
        |_, dir| {
            fs::write(
                dir.join("s.conf"),
                "sentinel monitor mymaster 127.0.0.1 1 2\n",
            )
            .unwrap()
        },
    );
    program.until("+monitor master mymaster");
    let page = metrics(&http);
    assert_eq!(page.get("redis_sentinel_masters"), 1.0);
    assert_eq!(page.get("redis_sentinel_tilt"), 0.0);
    let whom = "master_name=\"mymaster\",master_address=\"127.0.0.1:1\"";
    assert_eq!(
        page.get(&format!("redis_sentinel_master_sentinels{{{whom}}}")),
        1.0
    );
    assert_eq!(get(&http, "/readyz").status, 200);
}
