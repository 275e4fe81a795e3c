//! Replication: REPLICAOF, PSYNC, REPLCONF, ROLE, FAILOVER, and what INFO tells of it.

use crate::exec::args::is;
use crate::exec::replication::failover::{self, Failover};
use crate::exec::replication::leader::{self, Joined, Phase};
use crate::exec::replication::replica::{LinkState, Upstream};
use crate::exec::replication::{Change, ask_for};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::service::info::Report;
use crate::spec::{Group, category, flag};
use crate::util::num;

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("replicaof", 3, replicaof)
        .since("5.0.0")
        .group(Group::Server)
        .flags(&[
            flag::ADMIN,
            flag::NOSCRIPT,
            flag::STALE,
            flag::NO_ASYNC_LOADING,
        ])
        .syntax("args=(host-port={host port:int} | no-one={no=NO one=ONE})")
        .summary("Follow another server as its replica, or lead again.")
        .complexity("O(1)")
        .checked(),
    Command::new("slaveof", 3, replicaof)
        .since("1.0.0")
        .group(Group::Server)
        .flags(&[
            flag::ADMIN,
            flag::NOSCRIPT,
            flag::STALE,
            flag::NO_ASYNC_LOADING,
        ])
        .syntax("args=(host-port={host port:int} | no-one={no=NO one=ONE})")
        .summary("Follow another server as its replica, or lead again.")
        .complexity("O(1)")
        .deprecated("5.0.0", "`REPLICAOF`")
        .checked(),
    Command::new("psync", -3, psync)
        .since("2.8.0")
        .group(Group::Server)
        .flags(&[
            flag::ADMIN,
            flag::NO_ASYNC_LOADING,
            flag::NO_MULTI,
            flag::NOSCRIPT,
        ])
        .syntax("replicationid offset:int")
        .summary("Ask for the stream of effects, as replicas do.")
        .complexity("O(N) in the size of what is lacking")
        .checked(),
    Command::new("sync", 1, sync)
        .since("1.0.0")
        .group(Group::Server)
        .flags(&[
            flag::ADMIN,
            flag::NO_ASYNC_LOADING,
            flag::NO_MULTI,
            flag::NOSCRIPT,
        ])
        .summary("Ask for the data set and the stream of effects, as old replicas do.")
        .complexity("O(N) in the size of the data set")
        .checked(),
    Command::new("replconf", -1, replconf)
        .since("3.0.0")
        .group(Group::Server)
        .flags(&[
            flag::ADMIN,
            flag::NOSCRIPT,
            flag::LOADING,
            flag::STALE,
            flag::ALLOW_BUSY,
        ])
        .summary("Tell a leader about a replica.")
        .complexity("O(1)")
        .syscmd()
        .checked(),
    Command::new("role", 1, role)
        .since("2.8.12")
        .group(Group::Server)
        .flags(&[
            flag::NOSCRIPT,
            flag::LOADING,
            flag::STALE,
            flag::FAST,
            flag::SENTINEL,
        ])
        .acl(&[category::ADMIN, category::DANGEROUS])
        .summary("Return the server's part in replication.")
        .complexity("O(1)")
        .checked(),
    Command::new("failover", -1, fail_over)
        .since("6.2.0")
        .group(Group::Server)
        .flags(&[flag::ADMIN, flag::NOSCRIPT, flag::STALE])
        .syntax("[TO^target={host port:int [FORCE]}] [ABORT] [TIMEOUT^milliseconds:int]")
        .summary("Hand the part of the leader over to a replica that has everything.")
        .complexity("O(1)")
        .checked(),
];

/// It is done as soon as the command is over: what was done before belongs to the history of its own.
fn replicaof(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if cx.sys.repl.failover.is_some() {
        return Err(CmdError::fixed(
            "ERR REPLICAOF not allowed while failing over.",
        ));
    }
    let (host, port) = (args.at(1), args.at(2));
    let asker = cx.who();
    if is(host, "NO") && is(port, "ONE") {
        let follows = cx.sys.repl.is_replica();
        ask_for(cx.sys, Change::Lead);
        if follows {
            tracing::info!("MASTER MODE enabled (user request from '{asker}')");
        }
        return cx.ok();
    }
    if cx.session().is_some_and(|session| session.is_replica()) {
        let text = "ERR Command is not valid when client is a replica.";
        return Err(CmdError::fixed(text));
    }
    let port = num::parse_i64(port).and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or(CmdError::fixed("ERR Invalid master port"))?;
    let host = String::from_utf8_lossy(host).into_owned();
    let up = cx.sys.repl.upstream.as_ref();
    if up.is_some_and(|up| up.port == port && up.host.eq_ignore_ascii_case(&host)) {
        tracing::info!(
            "REPLICAOF would result into synchronization with the master we are already connected with. \
             No operation performed."
        );
        cx.reply.simple("OK Already connected to specified master");
        return Ok(Flow::Done);
    }
    let told = format!("REPLICAOF {host}:{port} enabled (user request from '{asker}')");
    ask_for(cx.sys, Change::Follow(host, port));
    tracing::info!("{told}");
    cx.ok()
}

fn sync(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    begin_stream(cx, None)
}

fn psync(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if args.len() > 4 {
        return Err(CmdError::SYNTAX);
    }
    let offset = args.int(2).inspect_err(|_| {
        if let Some(session) = cx.session() {
            let whom = leader::name(session);
            tracing::warn!("Replica {whom} asks for synchronization but with a wrong offset");
        }
    })?;
    let id = args.at(1);
    if let Some(word) = args.get(3) {
        return match is(word, "FAILOVER") {
            true => take_over(cx, id, offset),
            false => Err(CmdError::SYNTAX),
        };
    }
    begin_stream(cx, Some((id, offset)))
}

/// A leader hands its part over to us, and wants to follow.
fn take_over(cx: &mut Ctx<'_>, id: &[u8], offset: i64) -> CmdResult {
    tracing::warn!(
        "Failover request received for replid {}.",
        leader::shown(id)
    );
    if !cx.sys.repl.is_replica() {
        return Err(CmdError::fixed(
            "ERR PSYNC FAILOVER can't be sent to a master.",
        ));
    }
    if !id.eq_ignore_ascii_case(cx.sys.repl.id.as_bytes()) {
        return Err(CmdError::fixed(
            "ERR PSYNC FAILOVER replid must match my replid.",
        ));
    }
    ask_for(cx.sys, Change::TakeOver(cx.sid, offset));
    Ok(Flow::Done)
}

fn begin_stream(cx: &mut Ctx<'_>, from: Option<(&[u8], i64)>) -> CmdResult {
    if cx.sys.repl.failover.is_some() {
        return Err(CmdError::fixed(
            "NOMASTERLINK Can't SYNC while failing over",
        ));
    }
    let up = cx.sys.repl.upstream.as_ref();
    if up.is_some_and(|up| !up.is_online()) {
        let text = "NOMASTERLINK Can't SYNC while not connected with my master";
        return Err(CmdError::fixed(text));
    }
    if let Some(session) = cx.sessions.get(cx.sid) {
        if session.monitors {
            // They count as a kind of replica, and get no other stream.
            return Ok(Flow::Done);
        }
        if session.subscriptions.is_some() || session.tracking.is_some() {
            return Err(CmdError::fixed(
                "ERR SYNC and PSYNC are invalid for a client that is sent messages",
            ));
        }
    }
    if let Joined::Partly(text) = leader::join(cx.sys, cx.sessions, cx.sid, from)? {
        cx.reply.simple(&text);
    }
    Ok(Flow::Done)
}

fn replconf(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if args.len().is_multiple_of(2) {
        return Err(CmdError::SYNTAX);
    }
    for pair in args.from(1).chunks(2) {
        let [name, value] = pair else {
            return Err(CmdError::SYNTAX);
        };
        match name.to_ascii_lowercase().as_slice() {
            b"ack" => {
                let durable = fsynced(args);
                let Some(offset) = num::parse_i64(value) else {
                    return Ok(Flow::Done);
                };
                let offset = u64::try_from(offset).unwrap_or(0);
                leader::acknowledged(cx.sys, cx.sessions, cx.sid, offset, durable);
                return Ok(Flow::Done);
            }
            b"fack" => {}
            // It is for the replica's own side of the link.
            b"getack" => return Ok(Flow::Done),
            name => learn(cx, name, value)?,
        }
    }
    cx.ok()
}

/// The offset that follows FACK.
fn fsynced(args: Args<'_>) -> Option<u64> {
    let pairs = args.from(1).chunks(2);
    let mut found = pairs.filter(|pair| pair.first().is_some_and(|name| is(name, "FACK")));
    let value = found.next()?.get(1)?;
    u64::try_from(num::parse_i64(value)?).ok()
}

/// A replica tells of itself.
fn learn(cx: &mut Ctx<'_>, name: &[u8], value: &[u8]) -> Result<(), CmdError> {
    let shown = String::from_utf8_lossy(value);
    let Some(session) = cx.sessions.get_mut(cx.sid) else {
        return Ok(());
    };
    let replica = session.replica.get_or_insert_default();
    match name {
        b"listening-port" => {
            let port = num::parse_i64(value).ok_or(CmdError::NOT_INTEGER)?;
            replica.port = u16::try_from(port).map_err(|_| CmdError::NOT_INTEGER)?;
        }
        b"ip-address" => {
            const LONGEST: usize = 255;
            if value.len() > LONGEST {
                return Err(CmdError::new(format!(
                    "ERR REPLCONF ip-address provided by replica instance is too long: {} bytes",
                    value.len()
                )));
            }
            // It is shown in lines of the log and of INFO.
            if !value.iter().all(u8::is_ascii_graphic) {
                let text = "ERR REPLCONF ip-address provided by replica instance is no address";
                return Err(CmdError::fixed(text));
            }
            replica.address = shown.into_owned();
        }
        b"capa" => match value.to_ascii_lowercase().as_slice() {
            b"eof" => replica.reads_marked = true,
            b"psync2" => replica.knows_histories = true,
            _ => {}
        },
        b"version" => {
            let ours = value.len() <= 32 && value.iter().all(|b| b.is_ascii_digit() || *b == b'.');
            if !ours {
                return Err(CmdError::new(format!(
                    "ERR Unrecognized version format: {shown}"
                )));
            }
            replica.version = shown.into_owned();
        }
        b"rdb-only" => {
            replica.only_snapshot = match num::parse_i64(value).ok_or(CmdError::NOT_INTEGER)? {
                0 => false,
                1 => true,
                _ => {
                    let text = "ERR value is out of range, value must between 0 and 1";
                    return Err(CmdError::fixed(text));
                }
            }
        }
        b"rdb-filter-only" => {
            replica.only_functions = false;
            for word in value.split(|b| *b == b' ').filter(|word| !word.is_empty()) {
                if !word.eq_ignore_ascii_case(b"functions") {
                    return Err(CmdError::new(format!(
                        "ERR Unsupported rdb-filter-only option: {}",
                        String::from_utf8_lossy(word)
                    )));
                }
                replica.only_functions = true;
            }
        }
        _ => {
            return Err(CmdError::new(format!(
                "ERR Unrecognized REPLCONF option: {}",
                String::from_utf8_lossy(name)
            )));
        }
    }
    Ok(())
}

fn role(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    if cx.sys.sentinel.is_some() {
        return super::sentinel::role(cx);
    }
    let repl = &cx.sys.repl;
    if let Some(up) = repl.shown_upstream(cx.now) {
        cx.reply.array(5);
        cx.reply.bulk(b"slave");
        cx.reply.bulk(up.host.as_bytes());
        cx.reply.int(i64::from(up.port));
        cx.reply.bulk(up.state.name().as_bytes());
        let offset = match up.is_online() {
            true => i64::try_from(repl.offset()).unwrap_or(i64::MAX),
            false => -1,
        };
        cx.reply.int(offset);
        return Ok(Flow::Done);
    }
    let all = replicas(cx, |session, replica| {
        let (ip, port) = leader::address(session);
        let behind = repl.offset().saturating_sub(replica.acknowledged);
        [
            ip,
            port.to_string(),
            replica.acknowledged.to_string(),
            behind.to_string(),
            leader::lag(cx.sys, replica).to_string(),
        ]
    });
    let offset = i64::try_from(repl.offset()).unwrap_or(i64::MAX);
    cx.reply.array(3);
    cx.reply.bulk(b"master");
    cx.reply.int(offset);
    cx.reply.array(all.len());
    for words in all {
        cx.reply.array(words.len());
        for word in words {
            cx.reply.bulk(word.as_bytes());
        }
    }
    Ok(Flow::Done)
}

/// What is to be told of those who follow the stream.
fn replicas<T>(
    cx: &Ctx<'_>,
    tell: impl Fn(&crate::exec::Session, &leader::Replica) -> T,
) -> Vec<T> {
    let sids = cx.sys.repl.replicas.iter();
    let sessions = sids.filter_map(|sid| cx.sessions.get(*sid));
    let online = sessions.filter_map(|session| {
        let replica = session.replica.as_ref()?;
        (replica.phase == Phase::Online).then(|| tell(session, replica))
    });
    online.collect()
}

fn fail_over(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (mut to, mut forced, mut abort, mut timeout) = (None, false, false, None);
    let mut at = 1;
    while let Some(word) = args.get(at) {
        if is(word, "TIMEOUT") && timeout.is_none() && args.get(at + 1).is_some() {
            let ms = args.int(at + 1)?;
            if ms <= 0 {
                let text = "ERR FAILOVER timeout must be greater than 0";
                return Err(CmdError::fixed(text));
            }
            timeout = Some(ms);
            at += 2;
        } else if is(word, "ABORT") && !abort {
            abort = true;
            at += 1;
        } else if is(word, "TO") && to.is_none() && args.get(at + 2).is_some() {
            let port = args.int(at + 2)?;
            let host = String::from_utf8_lossy(args.at(at + 1)).into_owned();
            to = Some((
                host,
                u16::try_from(port).map_err(|_| CmdError::NOT_INTEGER)?,
            ));
            at += 3;
        } else if is(word, "FORCE") && !forced {
            forced = true;
            at += 1;
        } else {
            return Err(CmdError::SYNTAX);
        }
    }
    if abort {
        if args.len() > 2 {
            return Err(CmdError::SYNTAX);
        }
        if cx.sys.repl.failover.is_none() {
            return Err(CmdError::fixed("ERR No failover in progress."));
        }
        ask_for(cx.sys, Change::Abort);
        return cx.ok();
    }
    if cx.sys.repl.failover.is_some() {
        return Err(CmdError::fixed("ERR FAILOVER already in progress."));
    }
    begin_failover(cx, to, forced, timeout)
}

fn begin_failover(
    cx: &mut Ctx<'_>,
    to: Option<(String, u16)>,
    forced: bool,
    timeout: Option<i64>,
) -> CmdResult {
    if cx.sys.repl.is_replica() {
        return Err(CmdError::fixed(
            "ERR FAILOVER is not valid when server is a replica.",
        ));
    }
    if cx.sys.repl.replicas.is_empty() {
        return Err(CmdError::fixed("ERR FAILOVER requires connected replicas."));
    }
    if forced && (to.is_none() || timeout.is_none()) {
        return Err(CmdError::fixed(
            "ERR FAILOVER with force option requires both a timeout and target HOST and IP.",
        ));
    }
    if let Some(to) = &to {
        let found = cx.sys.repl.replicas.iter().find_map(|sid| {
            let session = cx.sessions.get(*sid)?;
            let is_it = leader::address(session) == *to;
            is_it.then(|| session.replica.as_ref().map(|replica| &replica.phase))
        });
        match found {
            None => {
                return Err(CmdError::fixed(
                    "ERR FAILOVER target HOST and PORT is not a replica.",
                ));
            }
            Some(Some(Phase::Online)) => {}
            Some(_) => {
                return Err(CmdError::fixed(
                    "ERR FAILOVER target replica is not online.",
                ));
            }
        }
    }
    let until = timeout.map(|ms| cx.now.saturating_add(ms));
    let failover = Failover {
        to,
        until,
        forced,
        asked: false,
    };
    failover::begin(cx.ks, cx.sys, failover);
    cx.ok()
}

/// What INFO tells of replication.
pub(super) fn report(cx: &Ctx<'_>, out: &mut Report) {
    let repl = &cx.sys.repl;
    let up = repl.shown_upstream(cx.now);
    out.field("role", if up.is_some() { "slave" } else { "master" });
    if let Some(up) = up {
        report_upstream(cx, &up, out);
    }
    let all: Vec<_> = repl
        .replicas
        .iter()
        .filter_map(|sid| cx.sessions.get(*sid))
        .collect();
    out.field("connected_slaves", all.len());
    if cx.sys.cfg.min_replicas_to_write > 0 && cx.sys.cfg.min_replicas_max_lag > 0 {
        out.field("min_slaves_good_slaves", leader::good(cx.sys, cx.sessions));
    }
    for (n, session) in all.into_iter().enumerate() {
        let Some(replica) = &session.replica else {
            continue;
        };
        let (ip, port) = leader::address(session);
        let (state, offset) = (replica.state(), replica.acknowledged);
        let heard = match replica.phase {
            Phase::Online => (cx.now - replica.heard).max(0) / 1000,
            _ => 0,
        };
        let behind = repl.offset().saturating_sub(offset);
        let lag = leader::lag(cx.sys, replica);
        out.field(
            format_args!("slave{n}"),
            format_args!(
                "ip={ip},port={port},state={state},offset={offset},lag={heard},behind_bytes={behind},behind_ms={lag}"
            ),
        );
    }
    let handing_over = repl.failover.as_ref();
    let state = handing_over.map_or("no-failover", Failover::state);
    out.field("master_failover_state", state);
    out.field("failover_term", repl.term);
    out.field("master_replid", &repl.id);
    let none = "0".repeat(40);
    let former = repl.former.as_ref();
    out.field("master_replid2", former.map_or(&none, |(id, _)| id));
    out.field("master_repl_offset", repl.offset());
    let second = former.map_or(-1, |(_, until)| i64::try_from(*until).unwrap_or(i64::MAX));
    out.field("second_repl_offset", second);
    let stream = repl.stream.as_ref();
    out.field("repl_backlog_active", u8::from(stream.is_some()));
    out.field("repl_backlog_size", cx.sys.cfg.repl_backlog_size);
    out.field(
        "repl_backlog_first_byte_offset",
        stream.map_or(0, |s| s.first()),
    );
    out.field("repl_backlog_histlen", stream.map_or(0, |s| s.len()));
    report_gate(cx, out);
}

/// Who waits until replicas have what it is to be shown (`sync-replicas`).
fn report_gate(cx: &Ctx<'_>, out: &mut Report) {
    let gate = cx.sys.unconfirmed.gate();
    let figures = gate.figures();
    out.field("sync_replicas", cx.sys.cfg.sync_replicas);
    out.field(
        "sync_replicas_confirmed_offset",
        gate.confirmed().min(cx.sys.repl.offset()),
    );
    out.field("sync_replicas_waiting", figures.waiting);
    out.field("sync_replicas_worst_wait_ms", figures.worst_wait);
    out.field("sync_replicas_timeouts", figures.timeouts);
}

fn report_upstream(cx: &Ctx<'_>, up: &Upstream, out: &mut Report) {
    let (sys, repl) = (&cx.sys, &cx.sys.repl);
    let since = |at: i64| (cx.now - at).max(0) / 1000;
    out.field("master_host", &up.host);
    out.field("master_port", up.port);
    out.field(
        "master_link_status",
        if up.is_online() { "up" } else { "down" },
    );
    let heard = if up.is_online() { since(up.heard) } else { -1 };
    out.field("master_last_io_seconds_ago", heard);
    let syncing = matches!(up.state, LinkState::Syncing { .. });
    out.field("master_sync_in_progress", u8::from(syncing));
    out.field("slave_read_repl_offset", repl.offset() + up.unapplied);
    out.field("slave_repl_offset", repl.offset());
    if let LinkState::Syncing { total, read, at } = up.state {
        let total = total.map_or(-1, |total| i64::try_from(total).unwrap_or(i64::MAX));
        let read = i64::try_from(read).unwrap_or(i64::MAX);
        let percent = if total > 0 {
            read as f64 * 100.0 / total as f64
        } else {
            0.0
        };
        out.field("master_sync_total_bytes", total);
        out.field("master_sync_read_bytes", read);
        out.field(
            "master_sync_left_bytes",
            if total < 0 { -1 } else { total - read },
        );
        out.field("master_sync_perc", format_args!("{percent:.2}"));
        out.field("master_sync_last_io_seconds_ago", since(at));
    }
    if let Some(down) = up.down_since.filter(|_| !up.is_online()) {
        out.field("master_link_down_since_seconds", since(down));
    }
    if up.forgot {
        out.field("master_forgot", 1);
    }
    out.field("slave_priority", sys.cfg.replica_priority);
    out.field("slave_read_only", u8::from(sys.cfg.replica_read_only));
    out.field("replica_announced", u8::from(sys.cfg.replica_announced));
}
