//! INFO in the text format of Prometheus (0.0.4).
//!
//! Each field of INFO is a metric: whatever section gains one, this page does. Fields with several values (commands, errors,
//! databases, replicas, a sentinel's masters) are metrics with labels.

use std::collections::HashMap;
use std::fmt::Write;

use super::names::{self, Kind};
use crate::engine::Told;

/// Samples of one metric: what comes from outside, names of errors say, must not fill whatever keeps them.
const SAMPLES: usize = 1000;

/// Writes the page.
pub(super) fn write(told: &Told) -> String {
    let mut page = Page::default();
    let rows = Rows::of(&told.info);
    page.add("up", "The server answers.", Kind::Gauge, &[], "1");
    instance(&mut page, &rows);
    for (section, name, value) in rows.all() {
        match section {
            "Commandstats" => command(&mut page, name, value),
            "Errorstats" => error(&mut page, name, value),
            "Latencystats" => latency(&mut page, &rows, name, value),
            "Keyspace" => database(&mut page, name, value),
            "Replication" if replication(&mut page, &rows, name, value) => {}
            "Sentinel" if master(&mut page, name, value) => {}
            _ => field(&mut page, section, name, value),
        }
    }
    slow_log(&mut page, told);
    page.finish()
}

/// The fields of INFO.
struct Rows<'a> {
    all: Vec<(&'a str, &'a str, &'a str)>,
    by_name: HashMap<&'a str, &'a str>,
}

impl<'a> Rows<'a> {
    fn of(info: &'a str) -> Self {
        let mut all = Vec::new();
        let mut section = "";
        for line in info.lines() {
            if let Some(title) = line.strip_prefix("# ") {
                section = title;
            } else if let Some((name, value)) = line.split_once(':') {
                all.push((section, name, value));
            }
        }
        let by_name = all.iter().map(|(_, name, value)| (*name, *value)).collect();
        Self { all, by_name }
    }

    fn all(&self) -> impl Iterator<Item = (&'a str, &'a str, &'a str)> {
        self.all.iter().copied()
    }

    /// The value of a field; empty if there is none.
    fn get(&self, name: &str) -> &'a str {
        self.by_name.get(name).copied().unwrap_or_default()
    }
}

/// A field that is a number, or says how something went.
fn field(page: &mut Page, section: &str, name: &str, value: &str) {
    if names::NO_NUMBERS.contains(&name) {
        return;
    }
    let Some(value) = number(value).or_else(|| outcome(name, value)) else {
        return;
    };
    let (metric, kind) = names::of(name);
    let help = format!("Field {name} of section {section} of INFO.");
    page.add(metric, &help, kind, &[], value);
}

/// A number as INFO writes it, perhaps a percentage.
fn number(text: &str) -> Option<&str> {
    let text = text.strip_suffix('%').unwrap_or(text);
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'-');
    let is_number = text.bytes().all(plain) && text.parse::<f64>().is_ok();
    is_number.then_some(text)
}

/// How the last save, rewrite or write went.
fn outcome(name: &str, value: &str) -> Option<&'static str> {
    match (name.ends_with("_status"), value) {
        (true, "ok") => Some("1"),
        (true, "err") => Some("0"),
        _ => None,
    }
}

/// The value behind `name=` in `name=value,name=value`.
fn part<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value
        .split(',')
        .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

fn number_in<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    number(part(value, name)?)
}

/// The same, of thousandths or millionths.
fn scaled(value: &str, name: &str, by: f64) -> Option<String> {
    let number: f64 = number_in(value, name)?.parse().ok()?;
    Some((number / by).to_string())
}

/// Who this is.
fn instance(page: &mut Page, rows: &Rows<'_>) {
    let labels = [
        "role",
        "redis_version",
        "redkeep_version",
        "redis_mode",
        "os",
        "maxmemory_policy",
        "tcp_port",
        "run_id",
        "process_id",
    ]
    .map(|name| (name, rows.get(name)));
    let help = "Who this is; always 1.";
    page.add("instance_info", help, Kind::Gauge, &labels, "1");
    let micros = rows.get("server_time_usec").parse::<f64>();
    let uptime = rows.get("uptime_in_seconds").parse::<f64>();
    if let (Ok(micros), Ok(uptime)) = (micros, uptime) {
        let help = "When the server started, in seconds since the Unix epoch.";
        let started = (micros / 1e6 - uptime).floor().to_string();
        page.add("start_time_seconds", help, Kind::Gauge, &[], started);
    }
    for (name, help) in [
        ("maxmemory", "The parameter maxmemory."),
        ("maxclients", "The parameter maxclients."),
    ] {
        if let Some(value) = number(rows.get(name)) {
            let metric = format!("config_{name}");
            page.add(&metric, help, Kind::Gauge, &[], value);
        }
    }
}

fn command(page: &mut Page, name: &str, value: &str) {
    let Some(cmd) = name.strip_prefix("cmdstat_") else {
        return;
    };
    let label = [("cmd", cmd)];
    for (field, metric, help) in [
        ("calls", "commands_total", "Calls of a command."),
        (
            "rejected_calls",
            "commands_rejected_calls_total",
            "Calls of a command that were refused before it ran.",
        ),
        (
            "failed_calls",
            "commands_failed_calls_total",
            "Calls of a command that ended with an error.",
        ),
    ] {
        if let Some(count) = number_in(value, field) {
            page.add(metric, help, Kind::Counter, &label, count);
        }
    }
    if let Some(seconds) = scaled(value, "usec", 1e6) {
        let help = "Time spent in a command.";
        let metric = "commands_duration_seconds_total";
        page.add(metric, help, Kind::Counter, &label, seconds);
    }
}

fn error(page: &mut Page, name: &str, value: &str) {
    if let (Some(err), Some(count)) = (name.strip_prefix("errorstat_"), number_in(value, "count")) {
        let help = "Errors that clients were answered.";
        page.add("errors_total", help, Kind::Counter, &[("err", err)], count);
    }
}

fn latency(page: &mut Page, rows: &Rows<'_>, name: &str, value: &str) {
    const METRIC: &str = "latency_percentiles_usec";
    const HELP: &str = "How long a command takes, in microseconds.";
    let Some(cmd) = name.strip_prefix("latency_percentiles_usec_") else {
        return;
    };
    for quantile in value.split(',') {
        let Some((percent, micros)) = quantile
            .strip_prefix('p')
            .and_then(|rest| rest.split_once('='))
        else {
            continue;
        };
        if let (Ok(percent), Some(micros)) = (percent.parse::<f64>(), number(micros)) {
            // A sum of halves of powers of ten: short again once it is rounded.
            let quantile = ((percent * 1e6).round() / 1e8).to_string();
            let labels = [("cmd", cmd), ("quantile", &quantile)];
            page.add(METRIC, HELP, Kind::Summary, &labels, micros);
        }
    }
    let counted = rows.get(&format!("cmdstat_{cmd}"));
    for (end, field) in [("_sum", "usec"), ("_count", "calls")] {
        if let Some(value) = number_in(counted, field) {
            page.add_as(METRIC, end, HELP, Kind::Summary, &[("cmd", cmd)], value);
        }
    }
}

fn database(page: &mut Page, name: &str, value: &str) {
    let label = [("db", name)];
    for (field, metric, help) in [
        ("keys", "db_keys", "Keys of a database."),
        ("expires", "db_keys_expiring", "Keys that expire."),
        (
            "subexpiry",
            "db_keys_with_expiring_fields",
            "Hashes with fields that expire.",
        ),
    ] {
        if let Some(count) = number_in(value, field) {
            page.add(metric, help, Kind::Gauge, &label, count);
        }
    }
    if let Some(seconds) = scaled(value, "avg_ttl", 1e3) {
        let help = "How long keys that expire have left, on average.";
        page.add("db_avg_ttl_seconds", help, Kind::Gauge, &label, seconds);
    }
}

/// Whether the field is one of a link, of which labels tell whose.
fn replication(page: &mut Page, rows: &Rows<'_>, name: &str, value: &str) -> bool {
    let leader = [
        ("master_host", rows.get("master_host")),
        ("master_port", rows.get("master_port")),
    ];
    match name {
        "master_link_status" => {
            let up = if value == "up" { "1" } else { "0" };
            let help = "Whether the link to the leader is up.";
            page.add("master_link_up", help, Kind::Gauge, &leader, up);
            let help = "Who this is as a replica; always 1.";
            let read_only = [("read_only", rows.get("slave_read_only"))];
            let labels = [&leader[..], &read_only].concat();
            page.add("slave_info", help, Kind::Gauge, &labels, "1");
            true
        }
        "master_last_io_seconds_ago"
        | "slave_repl_offset"
        | "slave_read_repl_offset"
        | "master_sync_in_progress"
        | "master_link_down_since_seconds" => {
            let help = format!("Field {name} of section Replication of INFO.");
            if let Some(value) = number(value) {
                page.add(name, &help, Kind::Gauge, &leader, value);
            }
            true
        }
        _ => replica(page, name, value),
    }
}

/// Whether the field is a replica's.
fn replica(page: &mut Page, name: &str, value: &str) -> bool {
    if !is_numbered(name, "slave") {
        return false;
    }
    let of = |name| part(value, name).unwrap_or_default();
    let labels = [
        ("slave_ip", of("ip")),
        ("slave_port", of("port")),
        ("slave_state", of("state")),
    ];
    for (field, metric, help) in [
        (
            "offset",
            "connected_slave_offset_bytes",
            "What a replica has acknowledged.",
        ),
        (
            "lag",
            "connected_slave_lag_seconds",
            "Since when nothing was heard of a replica.",
        ),
    ] {
        if let Some(value) = number_in(value, field) {
            page.add(metric, help, Kind::Gauge, &labels, value);
        }
    }
    true
}

/// Whether the field is a master's that a sentinel watches.
fn master(page: &mut Page, name: &str, value: &str) -> bool {
    if !is_numbered(name, "master") {
        return false;
    }
    let of = |name| part(value, name).unwrap_or_default();
    let whom = [
        ("master_name", of("name")),
        ("master_address", of("address")),
    ];
    let labels = [&whom[..], &[("master_status", of("status"))]].concat();
    let help = "Whether a master is up, as this sentinel sees it.";
    let up = if of("status") == "ok" { "1" } else { "0" };
    page.add("sentinel_master_status", help, Kind::Gauge, &labels, up);
    for (field, metric, help) in [
        ("slaves", "sentinel_master_slaves", "Replicas of a master."),
        (
            "sentinels",
            "sentinel_master_sentinels",
            "Sentinels that watch a master, this one included.",
        ),
    ] {
        if let Some(count) = number_in(value, field) {
            page.add(metric, help, Kind::Gauge, &whom, count);
        }
    }
    true
}

fn is_numbered(name: &str, word: &str) -> bool {
    let digits = name.strip_prefix(word).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

fn slow_log(page: &mut Page, told: &Told) {
    let Some(slow) = &told.slow else {
        return;
    };
    let help = "Entries of the slow log.";
    let length = slow.entries.to_string();
    page.add("slowlog_length", help, Kind::Gauge, &[], length);
    let Some((id, usec)) = slow.last else {
        return;
    };
    let help = "The number of the last entry of the slow log.";
    page.add("slowlog_last_id", help, Kind::Gauge, &[], id.to_string());
    let help = "How long the last command took that was slow.";
    let seconds = (usec as f64 / 1e6).to_string();
    let metric = "last_slow_execution_duration_seconds";
    page.add(metric, help, Kind::Gauge, &[], seconds);
}

/// The metrics, each with all of its samples, in the order in which they came up.
#[derive(Default)]
struct Page {
    metrics: Vec<Metric>,
    by_name: HashMap<String, usize>,
}

struct Metric {
    name: String,
    head: String,
    samples: String,
    count: usize,
}

impl Page {
    fn add(
        &mut self,
        name: &str,
        help: &str,
        kind: Kind,
        labels: &[(&str, &str)],
        value: impl AsRef<str>,
    ) {
        self.add_as(name, "", help, kind, labels, value);
    }

    /// The same, of a sample that goes by more than the name of its metric.
    fn add_as(
        &mut self,
        name: &str,
        end: &str,
        help: &str,
        kind: Kind,
        labels: &[(&str, &str)],
        value: impl AsRef<str>,
    ) {
        let known = self.by_name.get(name).copied();
        let at = known.unwrap_or_else(|| self.begin(name, help, kind));
        let Some(metric) = self.metrics.get_mut(at) else {
            return;
        };
        if metric.count >= SAMPLES {
            return;
        }
        metric.count += 1;
        let out = &mut metric.samples;
        out.push_str(&metric.name);
        out.push_str(end);
        for (n, (label, value)) in labels.iter().enumerate() {
            out.push_str(if n == 0 { "{" } else { "," });
            out.push_str(label);
            out.push_str("=\"");
            escape(out, value, true);
            out.push('"');
        }
        if !labels.is_empty() {
            out.push('}');
        }
        // Writing to a string cannot fail.
        let _ = writeln!(out, " {}", value.as_ref());
    }

    fn begin(&mut self, name: &str, help: &str, kind: Kind) -> usize {
        let own = format!("redis_{name}");
        let mut text = String::new();
        escape(&mut text, help, false);
        let head = format!("# HELP {own} {text}\n# TYPE {own} {}\n", kind.name());
        let at = self.metrics.len();
        self.metrics.push(Metric {
            name: own,
            head,
            samples: String::new(),
            count: 0,
        });
        self.by_name.insert(name.to_owned(), at);
        at
    }

    fn finish(self) -> String {
        let parts = self.metrics.iter();
        parts.flat_map(|m| [m.head.as_str(), &m.samples]).collect()
    }
}

/// Writes a label's value, or a text of HELP, where quotes mean nothing.
fn escape(out: &mut String, text: &str, quotes: bool) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Slow;

    fn page(info: &str) -> String {
        write(&Told {
            info: info.replace('\n', "\r\n"),
            slow: None,
        })
    }

    /// The samples of a metric.
    fn samples<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
        let of = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        page.lines().filter(of).collect()
    }

    #[test]
    fn every_field_that_is_a_number_is_a_metric() {
        let page = page(
            "# Stats\nkeyspace_hits:5\nnew_thing:1.50\nshare:2.25%\nrun_id:1234\nname:x\nhuman:1.50K\n\
             rdb_last_bgsave_status:ok\naof_last_write_status:err\ntext:1e5\n",
        );
        assert_eq!(
            page,
            "# HELP redis_up The server answers.\n# TYPE redis_up gauge\nredis_up 1\n\
             # HELP redis_instance_info Who this is; always 1.\n# TYPE redis_instance_info gauge\n\
             redis_instance_info{role=\"\",redis_version=\"\",redkeep_version=\"\",redis_mode=\"\",os=\"\",\
             maxmemory_policy=\"\",tcp_port=\"\",run_id=\"1234\",process_id=\"\"} 1\n\
             # HELP redis_keyspace_hits_total Field keyspace_hits of section Stats of INFO.\n\
             # TYPE redis_keyspace_hits_total counter\nredis_keyspace_hits_total 5\n\
             # HELP redis_new_thing Field new_thing of section Stats of INFO.\n\
             # TYPE redis_new_thing gauge\nredis_new_thing 1.50\n\
             # HELP redis_share Field share of section Stats of INFO.\n# TYPE redis_share gauge\nredis_share 2.25\n\
             # HELP redis_rdb_last_bgsave_status Field rdb_last_bgsave_status of section Stats of INFO.\n\
             # TYPE redis_rdb_last_bgsave_status gauge\nredis_rdb_last_bgsave_status 1\n\
             # HELP redis_aof_last_write_status Field aof_last_write_status of section Stats of INFO.\n\
             # TYPE redis_aof_last_write_status gauge\nredis_aof_last_write_status 0\n"
        );
    }

    #[test]
    fn what_there_are_several_of_has_labels() {
        let page = page(
            "# Replication\nmaster_host:10.0.0.1\nmaster_port:6379\nmaster_link_status:up\nslave_read_only:1\n\
             slave_repl_offset:7\nslave0:ip=10.0.0.2,port=6380,state=online,offset=9,lag=1\n\n\
             # Commandstats\ncmdstat_config|set:calls=4,usec=1500000,usec_per_call=1.00,rejected_calls=2,failed_calls=3\n\n\
             # Errorstats\nerrorstat_A\"\\B:count=2\n\n\
             # Latencystats\nlatency_percentiles_usec_config|set:p50=1.003,p99.9=3.007\n\n\
             # Keyspace\ndb3:keys=5,expires=1,avg_ttl=1500,subexpiry=0\n",
        );
        for (name, lines) in [
            (
                "redis_master_link_up",
                &["{master_host=\"10.0.0.1\",master_port=\"6379\"} 1"][..],
            ),
            (
                "redis_slave_info",
                &["{master_host=\"10.0.0.1\",master_port=\"6379\",read_only=\"1\"} 1"],
            ),
            (
                "redis_slave_repl_offset",
                &["{master_host=\"10.0.0.1\",master_port=\"6379\"} 7"],
            ),
            (
                "redis_connected_slave_lag_seconds",
                &["{slave_ip=\"10.0.0.2\",slave_port=\"6380\",slave_state=\"online\"} 1"],
            ),
            ("redis_commands_total", &["{cmd=\"config|set\"} 4"]),
            (
                "redis_commands_duration_seconds_total",
                &["{cmd=\"config|set\"} 1.5"],
            ),
            (
                "redis_commands_rejected_calls_total",
                &["{cmd=\"config|set\"} 2"],
            ),
            ("redis_errors_total", &["{err=\"A\\\"\\\\B\"} 2"]),
            (
                "redis_latency_percentiles_usec",
                &[
                    "{cmd=\"config|set\",quantile=\"0.5\"} 1.003",
                    "{cmd=\"config|set\",quantile=\"0.999\"} 3.007",
                ],
            ),
            (
                "redis_latency_percentiles_usec_count",
                &["{cmd=\"config|set\"} 4"],
            ),
            ("redis_db_keys", &["{db=\"db3\"} 5"]),
            ("redis_db_avg_ttl_seconds", &["{db=\"db3\"} 1.5"]),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| format!("{name}{line}")).collect();
            assert_eq!(samples(&page, name), lines);
        }
    }

    #[test]
    fn a_sentinel_tells_of_its_masters() {
        let page = page(
            "# Sentinel\nsentinel_masters:2\n\
             master0:name=a,status=ok,address=10.0.0.1:6379,slaves=2,sentinels=3\n\
             master1:name=b,status=odown,address=10.0.0.2:6379,slaves=0,sentinels=1\n",
        );
        assert_eq!(
            samples(&page, "redis_sentinel_masters"),
            ["redis_sentinel_masters 2"]
        );
        let status = samples(&page, "redis_sentinel_master_status");
        assert!(status[0].ends_with(
            "{master_name=\"a\",master_address=\"10.0.0.1:6379\",master_status=\"ok\"} 1"
        ));
        assert!(status[1].ends_with("master_status=\"odown\"} 0"));
        assert_eq!(samples(&page, "redis_sentinel_master_sentinels").len(), 2);
    }

    #[test]
    fn names_that_come_from_clients_are_bounded() {
        let errors: String = (0..5000)
            .map(|n| format!("errorstat_E{n}:count=1\n"))
            .collect();
        let page = page(&format!("# Errorstats\n{errors}"));
        assert_eq!(samples(&page, "redis_errors_total").len(), SAMPLES);
    }

    #[test]
    fn the_slow_log_is_told() {
        let page = write(&Told {
            info: String::new(),
            slow: Some(Slow {
                entries: 2,
                last: Some((7, 12_500)),
            }),
        });
        assert!(
            page.contains("\nredis_slowlog_length 2\n")
                && page.contains("\nredis_slowlog_last_id 7\n")
        );
        assert!(page.contains("\nredis_last_slow_execution_duration_seconds 0.0125\n"));
    }
}
