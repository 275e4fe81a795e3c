//! CLIENT LIST and CLIENT INFO: what is known of a connection.

use std::fmt::Write;

use crate::exec::pubsub::Kind;
use crate::exec::session::{Session, SessionId};
use crate::exec::{Args, CmdResult, Ctx, Flow, System};
use crate::resp::Proto;

use super::filter::{Filter, For};

/// The one user there is.
pub(super) const USER: &str = "default";

pub(super) fn info(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let mut text = String::new();
    describe(&mut text, cx, cx.sid, args);
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

pub(super) fn list(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let filter = Filter::parse(args.cursor(2), For::List)?;
    let mut text = String::new();
    for sid in filter.select(cx) {
        describe(&mut text, cx, sid, args);
    }
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

/// One line of CLIENT LIST. `args` is the command that asks.
fn describe(out: &mut String, cx: &Ctx<'_>, sid: SessionId, args: Args<'_>) {
    let Some(s) = cx.sessions.get(sid) else {
        return;
    };
    let running = (sid == cx.sid).then_some(args);
    let argv_mem = running.map_or(0, |args| args.all().iter().map(|a| a.len()).sum());
    let qbuf = s.net.query_buf + running.map_or(0, encoded_len);
    let multi_mem = s.multi.as_ref().map_or(0, |m| m.memory());
    let total = size_of::<Session>()
        + multi_mem
        + qbuf
        + s.net.query_buf_free
        + argv_mem
        + s.outbox.capacity()
        + [&s.name, &s.lib_name, &s.lib_ver]
            .iter()
            .map(|v| v.capacity())
            .sum::<usize>();
    let seconds = |since: i64| (cx.now - since).max(0) / 1000;
    let subscribed = |kind| s.subscriptions.as_ref().map_or(0, |to| to.of(kind).len());
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
        flags_of(cx.sys, sid, s),
        s.db,
    );
    let _ = write!(
        out,
        "sub={} psub={} ssub={} multi={} qbuf={qbuf} qbuf-free={} argv-mem={argv_mem} multi-mem={multi_mem} rbs={} \
         rbp={} ",
        subscribed(Kind::Channel),
        subscribed(Kind::Pattern),
        subscribed(Kind::Shard),
        s.multi.as_ref().map_or(-1, |m| m.queue.len() as i64),
        s.net.query_buf_free,
        s.outbox.capacity(),
        s.outbox.len(),
    );
    let _ = writeln!(
        out,
        "obl={} oll=0 omem={} tot-mem={total} events={} cmd={} user={USER} redir=-1 resp={} lib-name={} lib-ver={}",
        s.outbox.len(),
        0,
        if s.outbox.is_empty() { "r" } else { "rw" },
        s.last_cmd,
        if s.proto == Proto::Resp3 { 3 } else { 2 },
        text(&s.lib_name),
        text(&s.lib_ver),
    );
}

/// The letters of field `flags`, in Redis's order.
pub(super) fn flags_of(sys: &System, sid: SessionId, s: &Session) -> String {
    let flags = [
        (sys.monitors.contains(&sid), 'O'),
        (s.subscriptions.is_some(), 'P'),
        (s.multi.is_some(), 'x'),
        (s.waits(), 'b'),
        (s.watch.broken, 'd'),
        (s.closing, 'c'),
        (s.peer.unix, 'U'),
        (s.no_evict, 'e'),
        (s.no_touch, 'T'),
    ];
    let set: String = flags.iter().filter(|(on, _)| *on).map(|(_, c)| c).collect();
    if set.is_empty() { "N".to_owned() } else { set }
}

/// Bytes of a command in RESP: what it took in the query buffer.
fn encoded_len(args: Args<'_>) -> usize {
    let digits = |n: usize| n.checked_ilog10().map_or(1, |d| d as usize + 1);
    let bulk = |a: &&[u8]| 5 + digits(a.len()) + a.len();
    3 + digits(args.len()) + args.all().iter().map(bulk).sum::<usize>()
}
