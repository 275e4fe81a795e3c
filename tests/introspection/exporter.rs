//! What oliver006/redis_exporter asks for, with the words that it uses, and read as it reads it.

use super::common::{Client, Reply, Server};
use std::collections::BTreeMap;

/// What it makes metrics of without a rule of its own, among much else.
const GAUGES: &[&str] = &[
    "uptime_in_seconds",
    "process_id",
    "connected_clients",
    "blocked_clients",
    "maxclients",
    "tracking_clients",
    "clients_in_timeout_table",
    "pubsub_clients",
    "watching_clients",
    "total_watched_keys",
    "total_blocking_keys",
    "used_memory",
    "used_memory_rss",
    "used_memory_peak",
    "used_memory_lua",
    "used_memory_overhead",
    "used_memory_startup",
    "used_memory_dataset",
    "used_memory_scripts",
    "number_of_cached_scripts",
    "number_of_functions",
    "number_of_libraries",
    "total_system_memory",
    "maxmemory",
    "mem_fragmentation_ratio",
    "mem_clients_slaves",
    "mem_clients_normal",
    "mem_aof_buffer",
    "mem_replication_backlog",
    "lazyfree_pending_objects",
    "loading",
    "async_loading",
    "rdb_changes_since_last_save",
    "rdb_bgsave_in_progress",
    "rdb_last_save_time",
    "rdb_last_bgsave_status",
    "rdb_last_bgsave_time_sec",
    "rdb_current_bgsave_time_sec",
    "rdb_last_cow_size",
    "aof_enabled",
    "aof_rewrite_in_progress",
    "aof_last_bgrewrite_status",
    "aof_last_write_status",
    "aof_current_size",
    "aof_base_size",
    "aof_delayed_fsync",
    "total_connections_received",
    "total_commands_processed",
    "instantaneous_ops_per_sec",
    "total_net_input_bytes",
    "total_net_output_bytes",
    "total_net_repl_input_bytes",
    "total_net_repl_output_bytes",
    "instantaneous_input_kbps",
    "instantaneous_output_kbps",
    "rejected_connections",
    "sync_full",
    "sync_partial_ok",
    "sync_partial_err",
    "expired_keys",
    "expired_subkeys",
    "expired_stale_perc",
    "expired_time_cap_reached_count",
    "expire_cycle_cpu_milliseconds",
    "evicted_keys",
    "evicted_clients",
    "keyspace_hits",
    "keyspace_misses",
    "pubsub_channels",
    "pubsub_patterns",
    "pubsubshard_channels",
    "latest_fork_usec",
    "slave_expires_tracked_keys",
    "unexpected_error_replies",
    "total_error_replies",
    "total_reads_processed",
    "total_writes_processed",
    "connected_slaves",
    "repl_backlog_active",
    "repl_backlog_size",
    "repl_backlog_first_byte_offset",
    "repl_backlog_histlen",
    "master_repl_offset",
    "second_repl_offset",
    "used_cpu_sys",
    "used_cpu_user",
    "used_cpu_sys_children",
    "used_cpu_user_children",
    "cluster_enabled",
];

/// What it labels the instance with.
const LABELS: &[&str] = &[
    "role",
    "redis_version",
    "redis_mode",
    "os",
    "maxmemory_policy",
    "tcp_port",
    "run_id",
    "process_id",
    "master_replid",
];

/// `name=number`, and nothing else.
fn value_of(part: &str, name: &str) -> f64 {
    let words: Vec<&str> = part.split('=').collect();
    assert_eq!((words.len(), words[0]), (2, name), "{part}");
    words[1].parse().unwrap_or_else(|_| panic!("{part}"))
}

fn is_number(value: &str) -> bool {
    // As it reads them: a status is a number, too.
    matches!(value, "ok" | "err") || value.parse::<f64>().is_ok()
}

/// Reads INFO, and returns the microseconds spent in each command.
fn read_info(text: &str) -> BTreeMap<String, (f64, f64)> {
    let (mut fields, mut commands) = (BTreeMap::new(), BTreeMap::new());
    let (mut class, mut latencies, mut databases) = (String::new(), Vec::new(), 0);
    for line in text.split('\n').map(str::trim) {
        if let Some(title) = line.strip_prefix("# ") {
            class = title.to_owned();
            continue;
        }
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        fields.insert(name.to_owned(), value.to_owned());
        let parts: Vec<&str> = value.split(',').collect();
        match class.as_str() {
            "Commandstats" => {
                let command = name.strip_prefix("cmdstat_").expect(name);
                let (calls, usec) = (value_of(parts[0], "calls"), value_of(parts[1], "usec"));
                value_of(parts[2], "usec_per_call");
                value_of(parts[3], "rejected_calls");
                value_of(parts[4], "failed_calls");
                commands.insert(command.to_owned(), (calls, usec));
            }
            "Latencystats" => {
                let command = name.strip_prefix("latency_percentiles_usec_").expect(name);
                for part in parts {
                    let (percentile, micros) = part.split_once('=').expect(part);
                    let percentile: f64 = percentile.strip_prefix('p').unwrap().parse().unwrap();
                    assert!((0.0..=100.0).contains(&percentile) && micros.parse::<f64>().is_ok());
                }
                latencies.push(command.to_owned());
            }
            "Errorstats" => {
                assert!(name.starts_with("errorstat_"), "{line}");
                value_of(parts[0], "count");
            }
            "Keyspace" => {
                databases += 1;
                assert!(value_of(parts[0], "keys") > 0.0);
                value_of(parts[1], "expires");
                value_of(parts[2], "avg_ttl");
                value_of(parts[3], "subexpiry");
            }
            _ => {}
        }
    }
    for name in GAUGES {
        let value = fields.get(*name).unwrap_or_else(|| panic!("no {name}"));
        assert!(is_number(value), "{name}:{value}");
    }
    for name in LABELS {
        assert!(
            fields.get(*name).is_some_and(|value| !value.is_empty()),
            "{name}"
        );
    }
    assert_eq!(databases, 2);
    // A summary needs the count and the sum.
    assert!(
        latencies
            .iter()
            .all(|command| commands.contains_key(command)),
        "{text}"
    );
    commands
}

/// `CLIENT LIST`, of which each word must be one `name=value`.
fn read_clients(text: &str) -> Vec<BTreeMap<String, String>> {
    let lines = text.split('\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            assert!(line.starts_with("id="), "{line}");
            let words = line.split(' ').map(|word| {
                let parts: Vec<&str> = word.split('=').collect();
                assert_eq!(parts.len(), 2, "{word} in {line}");
                (parts[0].to_owned(), parts[1].to_owned())
            });
            words.collect()
        })
        .collect()
}

fn int(reply: &Reply) -> i64 {
    reply
        .int()
        .unwrap_or_else(|| panic!("no number: {reply:?}"))
}

#[test]
fn an_exporter_gets_what_it_asks_for() {
    let server = Server::redkeep(&["--appendonly", "yes", "--enable-debug-command", "yes"]);
    let mut worker = server.client();
    for line in [
        "SET a 1",
        "SET b 2 EX 100",
        "SELECT 3",
        "HSET h f v",
        "GET h",
        "nosuch",
        "CONFIG SET slowlog-log-slower-than 1000",
        "CONFIG SET latency-monitor-threshold 5",
        "DEBUG SLEEP 0.02",
        "CLIENT SETINFO lib-name it",
    ] {
        worker.run(line);
    }
    let mut client: Client = server.client();
    assert_eq!(client.run("PING").text(), "PONG");
    assert_eq!(client.run("CLIENT SETNAME redis_exporter").text(), "OK");

    let config = client.run("CONFIG GET *");
    let config: Vec<String> = config.items().iter().map(Reply::text).collect();
    assert_eq!(config.len() % 2, 0);
    let pairs: BTreeMap<&str, &str> = config
        .chunks(2)
        .map(|p| (p[0].as_str(), p[1].as_str()))
        .collect();
    for name in ["databases", "maxmemory", "maxclients"] {
        assert!(pairs[name].parse::<f64>().is_ok(), "{name}");
    }

    let commands = read_info(&client.run("INFO ALL").text());
    assert_eq!(commands["set"].0, 2.0);
    assert!(commands["debug"].1 >= 20_000.0);
    assert!(commands.contains_key("config|set"));

    let latest = client.run("LATENCY LATEST");
    let spike = latest.items()[0].items();
    assert_eq!(spike[0].text(), "command");
    assert!(int(&spike[1]) > 1_000_000_000 && int(&spike[2]) >= 20 && int(&spike[3]) >= 20);

    let histogram = client.run("LATENCY HISTOGRAM");
    assert_eq!(histogram.items().len() % 2, 0);
    let mut seen = Vec::new();
    for pair in histogram.items().chunks(2) {
        let (name, details) = (pair[0].text(), pair[1].items());
        let (calls, buckets) = (int(&details[1]), details[3].items());
        let counts: Vec<i64> = buckets.chunks(2).map(|bucket| int(&bucket[1])).collect();
        assert!(
            counts.is_sorted() && counts.last() == Some(&calls),
            "{name}: {counts:?}"
        );
        seen.push(name);
    }
    assert!(
        seen.contains(&"config|set".to_owned()) && seen.contains(&"debug".to_owned()),
        "{seen:?}"
    );

    assert!(int(&client.run("SLOWLOG LEN")) >= 1);
    let last = client.run("SLOWLOG GET 1");
    let last = last.items()[0].items();
    assert!(int(&last[0]) >= 0 && int(&last[2]) >= 1000);
    for entry in client.run("SLOWLOG GET 10").items() {
        assert!(entry.items().len() > 2 && !entry.items()[3].items()[0].text().is_empty());
    }

    let clients = read_clients(&client.run("CLIENT LIST").text());
    assert_eq!(clients.len(), 2);
    for client in &clients {
        for name in ["age", "idle", "db", "omem"] {
            assert!(client[name].parse::<i64>().is_ok(), "{name}");
        }
        let (host, port) = client["addr"].rsplit_once(':').unwrap();
        assert_eq!(host, "127.0.0.1");
        assert!(port.parse::<u16>().is_ok());
        assert_eq!(
            (client["user"].as_str(), client["resp"].as_str()),
            ("default", "2")
        );
    }
    assert_eq!(clients[1]["name"], "redis_exporter");
    assert_eq!(
        (clients[0]["lib-name"].as_str(), clients[0]["db"].as_str()),
        ("it", "3")
    );

    // Keys that it is to look at, streams, and scripts that count.
    assert_eq!(client.run("SELECT 0").text(), "OK");
    for (line, wanted) in [("TYPE a", "string"), ("STRLEN a", "1"), ("GET a", "1")] {
        let reply = client.run(line);
        let said = reply.int().map_or_else(|| reply.text(), |n| n.to_string());
        assert_eq!(said, wanted, "{line}");
    }
    assert!(int(&client.run("MEMORY USAGE a")) > 0);
    assert_eq!(client.run("SCAN 0 MATCH b* COUNT 10").items().len(), 2);
    let counted = client
        .call(&[
            "EVAL",
            "return {'keys', tostring(redis.call('dbsize'))}",
            "0",
        ])
        .unwrap();
    assert_eq!(counted.items()[1].text(), "2");
}
