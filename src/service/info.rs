//! The report that INFO gives: sections of `name:value` lines.

use std::fmt::Display;

use super::config::Config;
use super::stats::Stats;
use crate::keyspace::Keyspace;

/// The version of Redis whose behaviour is followed, as INFO, HELLO and scripts tell it.
pub const REDIS_VERSION: &str = "7.2.6";

macro_rules! sections {
    ($($variant:ident $title:literal $default:literal,)*) => {
        /// A section of INFO, in the order of the report.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the names say it")]
        pub enum Section { $($variant,)* }

        impl Section {
            const ALL: &[(Section, &str, bool)] = &[$((Section::$variant, $title, $default),)*];
        }
    };
}

sections! {
    Server "Server" true,
    Clients "Clients" true,
    Memory "Memory" true,
    Persistence "Persistence" true,
    Stats "Stats" true,
    Replication "Replication" true,
    Cpu "CPU" true,
    Modules "Modules" true,
    Commandstats "Commandstats" false,
    Errorstats "Errorstats" true,
    Latencystats "Latencystats" false,
    Cluster "Cluster" true,
    Keyspace "Keyspace" true,
    Debug "Debug" false,
    Sentinel "Sentinel" true,
}

impl Section {
    /// Whether a sentinel has it, or a server that is none.
    pub const fn is_of(self, sentinel: bool) -> bool {
        match self {
            Section::Server | Section::Clients | Section::Stats | Section::Cpu => true,
            Section::Sentinel => sentinel,
            _ => !sentinel,
        }
    }
}

/// Which sections were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection(u32);

impl Selection {
    /// Reads the arguments of INFO; names that nothing goes by select nothing.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut bits = 0;
        let mut none = true;
        for word in words {
            none = false;
            let pick = |(section, title, default): &(Section, &str, bool)| {
                let hit = match word.to_ascii_lowercase().as_slice() {
                    // What is of use to those who work on the server has to be asked for by name.
                    b"all" | b"everything" => *section != Section::Debug,
                    b"default" => *default,
                    name => title.as_bytes().eq_ignore_ascii_case(name),
                };
                if hit { 1 << *section as u32 } else { 0 }
            };
            bits |= Section::ALL.iter().map(pick).fold(0, |all, bit| all | bit);
        }
        if none {
            Self::parse([b"default".as_slice()])
        } else {
            Self(bits)
        }
    }

    /// Whether `section` is one of them.
    pub fn has(self, section: Section) -> bool {
        self.0 & (1 << section as u32) != 0
    }

    /// The sections, in the order of the report.
    pub fn sections(self) -> impl Iterator<Item = Section> {
        Section::ALL
            .iter()
            .map(|(section, ..)| *section)
            .filter(move |section| self.has(*section))
    }
}

/// The report while it is written.
#[derive(Clone, Debug, Default)]
pub struct Report {
    text: String,
}

impl Report {
    /// Begins a section.
    pub fn section(&mut self, section: Section) {
        if !self.text.is_empty() {
            self.text.push_str("\r\n");
        }
        let title = Section::ALL
            .iter()
            .find(|(known, ..)| *known == section)
            .map_or("", |(_, title, _)| title);
        self.line_of(format_args!("# {title}"));
    }

    /// A field.
    pub fn field(&mut self, name: impl Display, value: impl Display) {
        self.line_of(format_args!("{name}:{value}"));
    }

    /// A number of bytes, and again in a form for people.
    pub fn bytes(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.field(format_args!("{name}_human"), human(bytes));
    }

    /// The report.
    pub fn finish(self) -> String {
        self.text
    }

    fn line_of(&mut self, line: std::fmt::Arguments<'_>) {
        use std::fmt::Write;
        // Writing into a String cannot fail.
        let _ = write!(self.text, "{line}\r\n");
    }
}

/// A number of bytes as INFO shows it to people.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2}{}", UNITS.get(unit).unwrap_or(&"P"))
}

/// What section Stats tells that others count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Others {
    /// Channels, patterns and channels of shards that somebody is subscribed to.
    pub subscribed: [usize; 3],
    /// How often replicas were sent everything, a part, or found that part gone.
    pub syncs: [u64; 3],
    /// For how many microseconds memory was over its limit in all, and is so now.
    pub over_memory_us: [u64; 2],
    /// Keys that clients of this replica have given a deadline.
    pub lapses: usize,
    /// Keys, clients that remember them, and prefixes that are tracked.
    pub tracked: [usize; 3],
}

impl Stats {
    /// Section Stats, with what the keyspace counts, and what others do.
    pub fn report(&self, ks: &Keyspace, others: &Others, out: &mut Report) {
        let [channels, patterns, shard_channels] = others.subscribed;
        let [full, partial, refused] = others.syncs;
        let rate = self.rate();
        let kilobytes = |bytes: u64| format!("{:.2}", bytes as f64 / 1024.0);
        let (hits, misses) = ks.read_stats();
        out.field("total_connections_received", self.connections_received);
        out.field("total_commands_processed", self.commands_processed);
        out.field("instantaneous_ops_per_sec", rate.ops);
        out.field("total_net_input_bytes", self.net_input_bytes);
        out.field("total_net_output_bytes", self.net_output_bytes);
        out.field("total_net_repl_input_bytes", self.repl_input_bytes);
        out.field("total_net_repl_output_bytes", self.repl_output_bytes);
        out.field("instantaneous_input_kbps", kilobytes(rate.input_bytes));
        out.field("instantaneous_output_kbps", kilobytes(rate.output_bytes));
        let (read, written) = (rate.repl_input_bytes, rate.repl_output_bytes);
        out.field("instantaneous_input_repl_kbps", kilobytes(read));
        out.field("instantaneous_output_repl_kbps", kilobytes(written));
        out.field("rejected_connections", self.rejected_connections);
        out.field("sync_full", full);
        out.field("sync_partial_ok", partial);
        out.field("sync_partial_err", refused);
        out.field("expired_keys", ks.expired_total);
        out.field("expired_subkeys", ks.expired_fields_total);
        let stale = format_args!("{:.2}", ks.overdue_share() * 100.0).to_string();
        out.field("expired_stale_perc", stale);
        out.field("expired_time_cap_reached_count", self.expiry_cut_short);
        out.field("expire_cycle_cpu_milliseconds", self.expiry_usec / 1000);
        out.field("evicted_keys", self.evicted_keys);
        out.field("evicted_clients", self.evicted_clients);
        let [in_all, now] = others.over_memory_us;
        out.field("total_eviction_exceeded_time", in_all / 1000);
        out.field("current_eviction_exceeded_time", now / 1000);
        out.field("keyspace_hits", hits);
        out.field("keyspace_misses", misses);
        out.field("pubsub_channels", channels);
        out.field("pubsub_patterns", patterns);
        out.field("pubsubshard_channels", shard_channels);
        out.field("latest_fork_usec", self.snapshot_usec);
        out.field("total_forks", self.background_saves);
        out.field("slave_expires_tracked_keys", others.lapses);
        let [keys, items, prefixes] = others.tracked;
        out.field("tracking_total_keys", keys);
        out.field("tracking_total_items", items);
        out.field("tracking_total_prefixes", prefixes);
        out.field("unexpected_error_replies", self.unexpected_errors);
        out.field("total_error_replies", self.error_replies);
        out.field("dump_payload_sanitizations", self.payloads_checked);
        out.field("total_reads_processed", self.reads);
        out.field("total_writes_processed", self.writes);
        out.field(
            "client_query_buffer_limit_disconnections",
            self.query_limit_disconnections,
        );
        out.field(
            "client_output_buffer_limit_disconnections",
            self.output_limit_disconnections,
        );
        let turns = &self.turns;
        out.field("eventloop_cycles", turns.count);
        out.field("eventloop_duration_sum", turns.usec);
        out.field("eventloop_duration_cmd_sum", turns.command_usec);
        out.field("instantaneous_eventloop_cycles_per_sec", rate.turns);
        out.field("instantaneous_eventloop_duration_usec", rate.turn_usec);
    }

    /// Section Debug. The append-only log takes no time of a turn: a thread of its own writes it.
    pub fn report_turns(&self, out: &mut Report) {
        let turns = &self.turns;
        out.field("eventloop_duration_aof_sum", 0);
        out.field("eventloop_duration_cron_sum", turns.tick_usec);
        out.field("eventloop_duration_max", turns.longest_usec);
        out.field("eventloop_cmd_per_cycle_max", turns.most_commands);
    }

    /// A line of section Commandstats for each of `commands` (index and full name) that was called or refused.
    pub fn report_commands<'a>(
        &self,
        commands: impl Iterator<Item = (usize, &'a str)>,
        out: &mut Report,
    ) {
        for (index, name) in commands {
            let Some(c) = self.command(index).filter(|c| c.calls + c.rejected > 0) else {
                continue;
            };
            let mean = if c.calls == 0 {
                0.0
            } else {
                c.usec as f64 / c.calls as f64
            };
            let value = format_args!(
                "calls={},usec={},usec_per_call={mean:.2},rejected_calls={},failed_calls={}",
                c.calls, c.usec, c.rejected, c.failed
            );
            out.field(format_args!("cmdstat_{}", safe(name)), value);
        }
    }

    /// A line of section Errorstats for each error code.
    pub fn report_errors(&self, out: &mut Report) {
        for (code, count) in self.errors() {
            out.field(
                format_args!("errorstat_{}", safe(code)),
                format_args!("count={count}"),
            );
        }
    }

    /// A line of section Latencystats for each of `commands` that has run.
    pub fn report_latencies<'a>(
        &self,
        commands: impl Iterator<Item = (usize, &'a str)>,
        config: &Config,
        out: &mut Report,
    ) {
        for (index, name) in commands {
            let Some(c) = self.command(index).filter(|c| c.latency.total() > 0) else {
                continue;
            };
            let shown: Vec<String> = config
                .latency_tracking_info_percentiles
                .iter()
                .map(|&p| {
                    let micros = c.latency.percentile(p) as f64 / 1000.0;
                    format!("p{}={micros:.3}", super::config::percentile(p))
                })
                .collect();
            out.field(
                format_args!("latency_percentiles_usec_{}", safe(name)),
                shown.join(","),
            );
        }
    }
}

/// A name without the characters that mean something in the report.
fn safe(name: &str) -> String {
    name.replace(['#', ':', '\n', '\r'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Vec<Section> {
        Selection::parse(words.iter().map(|w| w.as_bytes()))
            .sections()
            .collect()
    }

    #[test]
    fn selections_add_up() {
        assert_eq!(names(&["cpu", "MODULE"]), [Section::Cpu]);
        assert_eq!(names(&["nothing"]), []);
        assert_eq!(
            names(&["keyspace", "Server", "server"]),
            [Section::Server, Section::Keyspace]
        );
        assert_eq!(names(&["all"]), names(&["everything", "default"]));
        assert_eq!(names(&[]), names(&["default"]));
        assert!(!names(&[]).contains(&Section::Commandstats));
        assert!(names(&["default", "commandstats"]).contains(&Section::Commandstats));
    }

    #[test]
    fn sentinels_have_other_sections() {
        let of = |sentinel| Section::ALL.iter().filter(move |(s, ..)| s.is_of(sentinel));
        let titles: Vec<&str> = of(true).map(|(_, title, _)| *title).collect();
        assert_eq!(titles, ["Server", "Clients", "Stats", "CPU", "Sentinel"]);
        assert_eq!(of(false).count(), Section::ALL.len() - 1);
    }

    #[test]
    fn a_report_is_lines_under_titles() {
        let mut report = Report::default();
        report.section(Section::Cpu);
        report.field("a", 1);
        report.section(Section::Memory);
        report.bytes("m", 1536);
        assert_eq!(
            report.finish(),
            "# CPU\r\na:1\r\n\r\n# Memory\r\nm:1536\r\nm_human:1.50K\r\n"
        );
    }

    #[test]
    fn bytes_for_people() {
        for (bytes, shown) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1 << 20, "1.00M"),
            (u64::MAX, "16384.00P"),
        ] {
            assert_eq!(human(bytes), shown);
        }
    }

    #[test]
    fn commands_and_errors_are_listed_as_redis_lists_them() {
        let mut stats = Stats::new(2);
        stats.called(0, 3, false);
        stats.called(0, 6, true);
        stats.rejected(1);
        stats.error("A:B");
        let commands = || [(0, "get"), (1, "config|set")].into_iter();
        let mut report = Report::default();
        stats.report_commands(commands(), &mut report);
        stats.report_errors(&mut report);
        stats.report_latencies(commands(), &Config::default(), &mut report);
        assert_eq!(
            report.finish(),
            "cmdstat_get:calls=2,usec=9,usec_per_call=4.50,rejected_calls=0,failed_calls=1\r\n\
             cmdstat_config|set:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0\r\n\
             errorstat_A_B:count=1\r\n\
             latency_percentiles_usec_get:p50=3.007,p99=6.015,p99.9=6.015\r\n"
        );
    }
}
