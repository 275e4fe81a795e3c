//! CLIENT LIST and CLIENT INFO: what is known of a connection.

use std::fmt::Write;

use crate::exec::output::REPLY_BUFFER;
use crate::exec::session::Session;
use crate::exec::tracking::Scope;
use crate::exec::{Args, CmdResult, Ctx, Flow, System, acl, pubsub};
use crate::resp::Proto;

use super::filter::{Filter, For};
use super::tracking::redirect_id;

/// As whom the link to the leader runs its commands.
const LEADER: &str = "(superuser)";

pub(super) fn info(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let mut text = String::new();
    if let Some(session) = cx.sessions.get(cx.sid) {
        describe(&mut text, session, cx.sys, cx.now, Some(args));
    }
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

pub(super) fn list(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let filter = Filter::parse(args.cursor(2), For::List, &cx.sys.acl.users)?;
    let mut text = String::new();
    for sid in filter.select(cx) {
        if let Some(session) = cx.sessions.get(sid) {
            let running = (sid == cx.sid).then_some(args);
            describe(&mut text, session, cx.sys, cx.now, running);
        }
    }
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

/// What CLIENT LIST tells of a client, for the log.
pub(crate) fn description(session: &Session, sys: &System) -> String {
    let mut line = String::new();
    describe(&mut line, session, sys, sys.now_us / 1000, None);
    line.truncate(line.trim_end().len());
    line
}

/// Output that waits for a client, arranged as by Redis: what fits into the buffer of each client first, then blocks of
/// that size.
struct Waiting {
    in_buffer: usize,
    blocks: usize,
    /// Bytes that the limits count: none while all is in the buffer.
    counted: usize,
}

impl Waiting {
    fn of(session: &Session) -> Self {
        let waiting = session.waiting();
        let in_buffer = waiting.min(REPLY_BUFFER);
        let rest = waiting - in_buffer;
        Self {
            in_buffer,
            blocks: rest.div_ceil(REPLY_BUFFER),
            counted: if rest > 0 { waiting } else { 0 },
        }
    }
}

/// How much of its thread's reply buffer a client's recent replies took: the least power of two, and how much exactly;
/// both up to what Redis gives a client as a buffer of its own.
fn recent_replies(session: &Session, sys: &System, now: i64) -> (usize, usize) {
    const LEAST: usize = 1024;
    let peak = session.net.recent_peak(now, sys.debug.recent_reply_ms());
    let peak = peak.min(REPLY_BUFFER);
    let size = peak.next_power_of_two().max(LEAST);
    (
        if sys.debug.reply_size_fixed {
            REPLY_BUFFER
        } else {
            size
        },
        peak,
    )
}

/// One line of CLIENT LIST. `running` is the command that the client is running, if it is the one that asks.
fn describe(out: &mut String, s: &Session, sys: &System, now: i64, running: Option<Args<'_>>) {
    let argv_mem = running.map_or(0, |args| args.all().iter().map(|a| a.len()).sum());
    let sent = running.map_or(0, |args| args.encoded_len());
    let input = s.peer.unsent.input();
    let qbuf = input.unparsed + sent;
    let argv_mem: usize = argv_mem + input.parsed;
    let multi_mem = s.multi.as_ref().map_or(0, |m| m.memory());
    let total = s.memory() + sent;
    let waiting = Waiting::of(s);
    let (rbs, rbp) = recent_replies(s, sys, now);
    let subscribed = |kind| s.subscriptions.as_ref().map_or(0, |s| s.of(kind).len());
    let seconds = |since: i64| (now - since).max(0) / 1000;
    let text = String::from_utf8_lossy;
    // Writing into a String cannot fail.
    let _ = write!(
        out,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} ",
        s.id,
        s.peer.addr,
        s.peer.laddr,
        s.peer.fd,
        text(&s.name),
        seconds(s.since),
        seconds(s.seen),
        flags_of(s),
        s.db,
    );
    let _ = write!(
        out,
        "sub={} psub={} ssub={} multi={} qbuf={qbuf} qbuf-free={} argv-mem={argv_mem} multi-mem={multi_mem} \
         rbs={rbs} rbp={rbp} ",
        subscribed(pubsub::Kind::Channel),
        subscribed(pubsub::Kind::Pattern),
        subscribed(pubsub::Kind::Shard),
        s.multi.as_ref().map_or(-1, |m| m.queue.len() as i64),
        input.spare,
    );
    let _ = writeln!(
        out,
        "obl={} oll={} omem={} tot-mem={total} events={} cmd={} user={} redir={} resp={} lib-name={} lib-ver={}",
        waiting.in_buffer,
        waiting.blocks,
        waiting.counted,
        if waiting.in_buffer == 0 { "r" } else { "rw" },
        s.last_cmd,
        if s.follows {
            LEADER.into()
        } else {
            text(acl::name_of(sys, s))
        },
        redirect_id(s.tracking.as_deref()),
        if s.proto == Proto::Resp3 { 3 } else { 2 },
        text(&s.lib_name),
        text(&s.lib_ver),
    );
}

/// The letters of field `flags`, in Redis's order.
pub(super) fn flags_of(s: &Session) -> String {
    let tracking = s.tracking.as_deref();
    let flags = [
        (s.monitors, 'O'),
        (s.is_replica(), 'S'),
        (s.follows, 'M'),
        (s.subscriptions.is_some(), 'P'),
        (s.multi.is_some(), 'x'),
        (s.waits(), 'b'),
        (tracking.is_some(), 't'),
        (tracking.is_some_and(|t| t.broken), 'R'),
        (tracking.is_some_and(|t| t.scope == Scope::Broadcast), 'B'),
        (s.watch.broken, 'd'),
        (s.closing && !s.cut_off, 'c'),
        (s.cut_off, 'A'),
        (s.peer.unix, 'U'),
        (s.no_evict, 'e'),
        (s.no_touch, 'T'),
    ];
    let set: String = flags.iter().filter(|(on, _)| *on).map(|(_, c)| c).collect();
    if set.is_empty() { "N".to_owned() } else { set }
}
