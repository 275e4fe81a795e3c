//! INFO.

use crate::exec::evict::uncounted_memory;
use crate::exec::persist::load::{Loading, Shows};
use crate::exec::persist::save::Purpose;
use crate::exec::pubsub::Kind;
use crate::exec::{
    Args, CmdResult, Command, Ctx, Facts, Flow, Session, startup_memory, used_memory, weight,
};
use crate::service::acl::Reason;
use crate::service::config::Config;
use crate::service::info::{Others, REDIS_VERSION, Report, Section, Selection, human};
use crate::spec::{Group, category, flag};

/// The rows of this family.
pub(crate) const COMMANDS: &[Command] = &[Command::new("info", -1, info)
    .since("1.0.0")
    .group(Group::Server)
    .flags(&[flag::LOADING, flag::STALE, flag::SENTINEL])
    .acl(&[category::DANGEROUS])
    .syntax("[section...]")
    .summary("Report on the server: settings, counters, memory, keys.")
    .complexity("O(1)")
    .history(&[("7.0.0", "Takes several sections.")])
    .tips(&[
        "nondeterministic_output",
        "request_policy:all_shards",
        "response_policy:special",
    ])
    .checked()];

fn info(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let text = report(cx, Selection::parse(args.from(1).iter().copied()));
    match cx.sys.sentinel.is_some() {
        true => cx.reply.bulk(text.as_bytes()),
        false => cx.reply.verbatim("txt", text.as_bytes()),
    }
    Ok(Flow::Done)
}

/// All that there is to tell, whether or not a client asks.
pub(crate) fn everything(cx: &mut Ctx<'_>) -> String {
    report(cx, Selection::parse([b"everything".as_slice()]))
}

fn report(cx: &mut Ctx<'_>, wanted: Selection) -> String {
    let mut out = Report::default();
    let is_sentinel = cx.sys.sentinel.is_some();
    for section in wanted.sections().filter(|s| s.is_of(is_sentinel)) {
        out.section(section);
        match section {
            Section::Server => server(cx, &mut out),
            Section::Clients => clients(cx, &mut out),
            Section::Memory => memory(cx, &mut out),
            Section::Persistence => persistence(cx, &mut out),
            Section::Stats => {
                cx.sys.stats.report(cx.ks, &others(cx), &mut out);
                let denied = &cx.sys.acl.log;
                out.field("acl_access_denied_auth", denied.count(Reason::Auth));
                out.field("acl_access_denied_cmd", denied.count(Reason::Command));
                out.field("acl_access_denied_key", denied.count(Reason::Key));
                out.field("acl_access_denied_channel", denied.count(Reason::Channel));
            }
            Section::Debug => cx.sys.stats.report_turns(&mut out),
            Section::Replication => crate::commands::replication::report(cx, &mut out),
            Section::Cpu => cpu(cx, &mut out),
            Section::Modules => {}
            Section::Commandstats => cx.sys.stats.report_commands(commands(cx), &mut out),
            Section::Errorstats => cx.sys.stats.report_errors(&mut out),
            Section::Latencystats => {
                cx.sys
                    .stats
                    .report_latencies(commands(cx), &cx.sys.cfg, &mut out);
            }
            Section::Cluster => out.field("cluster_enabled", 0),
            Section::Keyspace => keyspace(cx, &mut out),
            Section::Sentinel => {
                if let Some(sentinel) = &cx.sys.sentinel {
                    crate::commands::sentinel::report(sentinel, cx.now, &mut out);
                }
            }
        }
    }
    out.finish()
}

fn commands<'a>(cx: &'a Ctx<'_>) -> impl Iterator<Item = (usize, &'a str)> {
    cx.sys
        .registry
        .iter()
        .map(|entry| (entry.id.index(), &*entry.name))
}

/// What section Stats tells that is counted elsewhere.
fn others(cx: &Ctx<'_>) -> Others {
    let (pubsub, tracking) = (&cx.sys.pubsub, &cx.sys.tracking);
    let syncs = cx.sys.repl.counts;
    let (eviction, now_us) = (cx.sys.eviction, cx.sys.now_us);
    Others {
        subscribed: [
            pubsub.channels(Kind::Channel).len(),
            pubsub.patterns(),
            pubsub.channels(Kind::Shard).len(),
        ],
        syncs: [syncs.full, syncs.partial, syncs.refused],
        over_memory_us: [eviction.over_in_all(now_us), eviction.over_now(now_us)],
        lapses: cx.sys.repl.lapses.len(),
        tracked: [tracking.keys(), tracking.items(), tracking.prefixes()],
    }
}

fn server(cx: &Ctx<'_>, out: &mut Report) {
    let (sys, facts) = (&cx.sys, cx.sys.host.0.facts());
    let port = match (facts.tcp_port, sys.cfg.port) {
        (0, 0) => sys.cfg.tls_port,
        (0, port) => port,
        (port, _) => port,
    };
    let uptime = (cx.now - sys.started_ms).max(0) / 1000;
    out.field("redis_version", REDIS_VERSION);
    out.field("redkeep_version", env!("CARGO_PKG_VERSION"));
    let mode = match sys.sentinel {
        Some(_) => "sentinel",
        None => "standalone",
    };
    out.field("redis_mode", mode);
    out.field("os", &facts.os);
    out.field("arch_bits", usize::BITS);
    let of_server = [
        ("monotonic_clock", facts.monotonic_clock),
        ("multiplexing_api", facts.multiplexing_api),
    ];
    for (name, fact) in of_server.into_iter().filter(|(_, fact)| !fact.is_empty()) {
        out.field(name, fact);
    }
    out.field("process_id", std::process::id());
    let supervised = match facts.supervised {
        "" => "no",
        manager => manager,
    };
    out.field("process_supervised", supervised);
    out.field("run_id", &sys.run_id);
    out.field("tcp_port", port);
    out.field("server_time_usec", sys.now_us);
    out.field("uptime_in_seconds", uptime);
    out.field("uptime_in_days", uptime / 86_400);
    out.field("hz", sys.cfg.hz);
    out.field("configured_hz", sys.cfg.hz);
    out.field("lru_clock", (cx.now / 1000) & 0xff_ffff);
    out.field("executable", &facts.executable);
    let file = sys.cfg.file().map(|path| path.display().to_string());
    out.field("config_file", file.unwrap_or_default());
    out.field("io_threads_active", 0);
    listeners(&sys.cfg, &facts, out);
    if let Some(ending) = &sys.ending {
        out.field("shutdown_in_milliseconds", (ending.until - cx.now).max(0));
    }
}

/// A line for each kind of socket that is listened on.
fn listeners(cfg: &Config, facts: &Facts, out: &mut Report) {
    let at = |sockets: usize, port: u16| {
        let bound = cfg.bind.iter().take(sockets);
        let bound: String = bound.map(|address| format!(",bind={address}")).collect();
        format!("{bound},port={port}")
    };
    if cfg.port != 0 {
        let at = at(facts.tcp_sockets, cfg.port);
        out.field("listener0", format_args!("name=tcp{at}"));
    }
    if !cfg.unixsocket.is_empty() {
        let path = &cfg.unixsocket;
        out.field("listener1", format_args!("name=unix,bind={path}"));
    }
    if cfg.tls_port != 0 {
        let at = at(facts.tls_sockets, cfg.tls_port);
        out.field("listener2", format_args!("name=tls{at}"));
    }
}

fn clients(cx: &Ctx<'_>, out: &mut Report) {
    let buffers = || cx.sessions.iter().map(|(_, session)| session);
    let timed = buffers().filter(|s| {
        s.blocked
            .as_ref()
            .is_some_and(|b| b.block.deadline.is_some())
    });
    let replicas = cx.sys.repl.replicas.len();
    out.field("connected_clients", cx.sessions.len() - replicas);
    out.field("cluster_connections", 0);
    out.field("maxclients", cx.sys.cfg.maxclients);
    out.field(
        "client_recent_max_input_buffer",
        buffers()
            .map(|s| s.peer.unsent.input().unparsed)
            .max()
            .unwrap_or(0),
    );
    out.field(
        "client_recent_max_output_buffer",
        buffers().map(Session::waiting).max().unwrap_or(0),
    );
    let waiting = cx.sys.waiters.len() + cx.sys.pause.len();
    out.field("blocked_clients", waiting);
    out.field("tracking_clients", cx.sys.tracking.clients());
    out.field("pubsub_clients", cx.sys.pubsub.clients());
    out.field("watching_clients", cx.sys.watchers.clients());
    out.field("clients_in_timeout_table", timed.count());
    out.field("total_watched_keys", cx.sys.watchers.keys());
    out.field("total_blocking_keys", cx.sys.waiters.keys());
    out.field(
        "total_blocking_keys_on_nokey",
        cx.sys.waiters.keys_on_nokey(),
    );
}

fn memory(cx: &mut Ctx<'_>, out: &mut Report) {
    let facts = cx.sys.host.0.facts();
    let dataset = cx.ks.memory() as u64;
    let scripts = cx.sys.scripts.memory() as u64;
    let interpreter = cx.sys.scripts.interpreter as u64;
    let functions = cx.sys.libraries.memory() as u64;
    let vm_functions = cx.sys.libraries.interpreter as u64;
    let used = used_memory(cx.ks, cx.sessions, cx.sys) as u64;
    let stream = cx.sys.repl.memory();
    let startup = startup_memory(cx.sys) as u64;
    let clients = weight::estimate(cx.sys, cx.sessions);
    cx.sys.stats.memory_seen(used);
    let (sys, peak) = (&cx.sys, cx.sys.stats.peak_memory);
    let percent =
        |part: u64, whole: u64| format!("{:.2}%", part as f64 * 100.0 / whole.max(1) as f64);
    out.bytes("used_memory", used);
    out.bytes("used_memory_rss", facts.resident);
    out.bytes("used_memory_peak", peak);
    out.field("used_memory_peak_perc", percent(used, peak));
    out.field("used_memory_overhead", used - dataset);
    out.field("used_memory_startup", startup);
    out.field("used_memory_dataset", dataset);
    out.field("used_memory_dataset_perc", percent(dataset, used - startup));
    out.bytes("total_system_memory", facts.total_memory);
    // Redis's order: a field stands between the two forms of the one.
    out.field("used_memory_lua", interpreter);
    out.field("used_memory_vm_eval", interpreter);
    out.field("used_memory_lua_human", human(interpreter));
    out.field("used_memory_scripts_eval", scripts);
    out.field("number_of_cached_scripts", sys.scripts.len());
    out.field("number_of_functions", sys.libraries.functions());
    out.field("number_of_libraries", sys.libraries.len());
    out.field("used_memory_vm_functions", vm_functions);
    out.bytes("used_memory_vm_total", interpreter + vm_functions);
    out.field("used_memory_functions", functions);
    out.bytes("used_memory_scripts", scripts + functions);
    out.bytes("maxmemory", sys.cfg.maxmemory);
    out.field("maxmemory_policy", sys.cfg.shown("maxmemory-policy"));
    let ratio = facts.resident as f64 / used.max(1) as f64;
    out.field("mem_fragmentation_ratio", format_args!("{ratio:.2}"));
    out.field(
        "mem_fragmentation_bytes",
        i128::from(facts.resident) - i128::from(used),
    );
    let of_replicas = cx.sys.repl.memory_of_replicas();
    let uncounted = uncounted_memory(cx.ks, cx.sys);
    out.field("mem_not_counted_for_evict", uncounted);
    out.field("mem_replication_backlog", stream - of_replicas);
    out.field("mem_total_replication_buffers", stream);
    out.field("mem_clients_slaves", of_replicas);
    out.field("mem_clients_normal", clients);
    out.field("mem_aof_buffer", cx.sys.persist.log_memory());
    out.field(
        "mem_allocator",
        if facts.allocator.is_empty() {
            "libc"
        } else {
            facts.allocator
        },
    );
    out.field("active_defrag_running", 0);
    out.field("lazyfree_pending_objects", 0);
    out.field("lazyfreed_objects", cx.ks.freed_later);
}

fn persistence(cx: &Ctx<'_>, out: &mut Report) {
    let persist = &cx.sys.persist;
    let saving = persist
        .saving
        .as_ref()
        .filter(|s| !matches!(s.purpose, Purpose::Base | Purpose::Foreground));
    let seconds = |ms: Option<i64>| ms.map_or(-1, |ms| ms / 1000);
    let beside = persist.incoming.filter(|i| i.shows == Shows::OldData);
    let loads = persist.loads() && beside.is_none();
    out.field("loading", u8::from(loads));
    out.field("async_loading", u8::from(beside.is_some()));
    // What is changed before it is written has to be copied, as a forked child has the system do it.
    let copied = saving.map_or(0, |_| cx.ks.snapshot_copied());
    let (written, keys) = saving.map_or((0, 0), |s| (s.written, s.keys));
    let percent = written as f64 * 100.0 / keys.max(1) as f64;
    out.field("current_cow_peak", copied);
    out.field("current_cow_size", copied);
    out.field("current_cow_size_age", 0);
    out.field("current_fork_perc", format_args!("{percent:.2}"));
    out.field("current_save_keys_processed", written);
    out.field("current_save_keys_total", keys);
    out.field("rdb_changes_since_last_save", persist.dirty);
    out.field("rdb_bgsave_in_progress", u8::from(saving.is_some()));
    out.field("rdb_last_save_time", persist.saved_at / 1000);
    let status = if persist.failed { "err" } else { "ok" };
    out.field("rdb_last_bgsave_status", status);
    out.field("rdb_last_bgsave_time_sec", seconds(persist.took));
    let runs = saving.map(|s| cx.now - s.began);
    out.field("rdb_current_bgsave_time_sec", seconds(runs));
    out.field("rdb_saves", persist.saves);
    out.field("rdb_last_cow_size", persist.copied);
    out.field("rdb_last_load_keys_expired", persist.intake.counts.expired);
    out.field("rdb_last_load_keys_loaded", persist.intake.counts.keys);
    append_only(cx, out);
    if let Some(loading) = &persist.loading {
        progress(loading, persist.intake.used_memory, cx.now, out);
    } else if let Some(incoming) = &persist.incoming {
        progress(&incoming.progress, 0, cx.now, out);
    }
}

fn append_only(cx: &Ctx<'_>, out: &mut Report) {
    let persist = &cx.sys.persist;
    let rewrites = &persist.rewrites;
    let base = persist
        .saving
        .as_ref()
        .filter(|s| s.purpose == Purpose::Base);
    let seconds = |ms: Option<i64>| ms.map_or(-1, |ms| ms / 1000);
    let status = |failed| if failed { "err" } else { "ok" };
    let log = persist.logging.as_ref().map(|logging| &logging.log);
    out.field("aof_enabled", u8::from(log.is_some()));
    out.field("aof_rewrite_in_progress", u8::from(base.is_some()));
    out.field("aof_rewrite_scheduled", u8::from(rewrites.scheduled));
    out.field("aof_last_rewrite_time_sec", seconds(rewrites.took));
    let runs = base.map(|base| cx.now - base.began);
    out.field("aof_current_rewrite_time_sec", seconds(runs));
    out.field("aof_last_bgrewrite_status", status(rewrites.failed));
    out.field("aof_rewrites", rewrites.begun);
    out.field("aof_rewrites_consecutive_failures", rewrites.failures);
    let troubled = log.is_some_and(|log| log.is_troubled());
    out.field("aof_last_write_status", status(troubled));
    out.field("aof_last_cow_size", rewrites.copied);
    out.field("module_fork_in_progress", 0);
    out.field("module_fork_last_cow_size", 0);
    let Some(log) = log else {
        return;
    };
    out.field("aof_current_size", log.size());
    out.field("aof_base_size", log.base_size());
    out.field("aof_pending_rewrite", u8::from(rewrites.scheduled));
    out.field("aof_buffer_length", log.unwritten());
    out.field(
        "aof_pending_bio_fsync",
        u8::from(log.synced() < log.appended()),
    );
    out.field("aof_delayed_fsync", log.delayed_syncs());
}

fn progress(loading: &Loading, used_memory: u64, now: i64, out: &mut Report) {
    let elapsed = u64::try_from(now - loading.began).unwrap_or(0) / 1000;
    let left = loading.total.saturating_sub(loading.done);
    // As long as nothing can be said: one second.
    let eta = match elapsed {
        0 => 1,
        elapsed => elapsed.saturating_mul(left) / (loading.done + 1),
    };
    let percent = loading.done as f64 * 100.0 / loading.total.max(1) as f64;
    out.field("loading_start_time", loading.began / 1000);
    out.field("loading_total_bytes", loading.total);
    out.field("loading_rdb_used_mem", used_memory);
    out.field("loading_loaded_bytes", loading.done);
    out.field("loading_loaded_perc", format_args!("{percent:.2}"));
    out.field("loading_eta_seconds", eta);
}

fn cpu(cx: &Ctx<'_>, out: &mut Report) {
    let facts = cx.sys.host.0.facts();
    out.field("used_cpu_sys", format_args!("{:.6}", facts.cpu_sys));
    out.field("used_cpu_user", format_args!("{:.6}", facts.cpu_user));
    let children = [facts.cpu_sys_children, facts.cpu_user_children];
    out.field("used_cpu_sys_children", format_args!("{:.6}", children[0]));
    out.field("used_cpu_user_children", format_args!("{:.6}", children[1]));
}

fn keyspace(cx: &Ctx<'_>, out: &mut Report) {
    for index in 0..cx.ks.databases() {
        let Some(db) = cx.ks.db(index).filter(|db| !db.is_empty()) else {
            continue;
        };
        let (keys, volatile, ttl) = (db.len(), db.volatile_len(), db.avg_ttl(cx.now));
        let partly = db.partly_volatile_len();
        out.field(
            format_args!("db{index}"),
            format_args!("keys={keys},expires={volatile},avg_ttl={ttl},subexpiry={partly}"),
        );
    }
}
