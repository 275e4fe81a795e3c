//! CLIENT: who is connected, what they are called, and how to be rid of them.

use std::fmt::Write;

use crate::exec::args::is;
use crate::exec::block::{self, Unblock};
use crate::exec::error::shown;
use crate::exec::session::{ReplyMode, Session, SessionId};
use crate::exec::{Action, Args, CmdError, CmdResult, Command, Ctx, Flow, Handler};
use crate::resp::Proto;
use crate::spec::{Group, flag};
use crate::util::num;

use super::connection::{BAD_NAME, is_plain_name};

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[Command::container("client", -2)
    .since("2.4.0")
    .group(Group::Connection)
    .flags(&[flag::SENTINEL])
    .acl_only(&[])
    .summary("Look after the connections.")
    .complexity("Depends on the subcommand.")
    .subs(SUBCOMMANDS)
    .checked()];

/// What almost all subcommands have in common.
const fn sub(name: &'static str, arity: i16, run: Handler) -> Command {
    Command::new(name, arity, run)
        .group(Group::Connection)
        .flags(&[flag::NOSCRIPT, flag::LOADING, flag::STALE, flag::SENTINEL])
}

const SUBCOMMANDS: &[Command] = &[
    sub("getname", 2, getname)
        .since("2.6.9")
        .summary("Tell the name of this connection.")
        .complexity("O(1)")
        .checked(),
    Command::new("help", 2, help)
        .since("5.0.0")
        .group(Group::Connection)
        .flags(&[flag::LOADING, flag::STALE, flag::SENTINEL])
        .summary("Explain the subcommands.")
        .complexity("O(1)")
        .checked(),
    sub("id", 2, id)
        .since("5.0.0")
        .summary("Tell the number of this connection.")
        .complexity("O(1)")
        .checked(),
    sub("info", 2, info)
        .since("6.2.0")
        .summary("Describe this connection.")
        .complexity("O(1)")
        .tips(&["nondeterministic_output"])
        .checked(),
    sub("kill", -3, kill)
        .since("2.4.0")
        .flags(&[flag::ADMIN])
        .syntax(
            "filter=(old-format\"ip:port\"!2.8.12 | new-format=([ID^client-id:int@2.8.12] \
             | [TYPE^client-type=(normal='normal' | master='master'@3.2.0 | slave='slave' \
             | replica='replica'@5.0.0 | pubsub='pubsub')@2.8.12] | [USER^username] \
             | [ADDR^addr\"ip:port\"] | [LADDR^laddr\"ip:port\"@6.2.0] | [SKIPME^skipme=(YES | NO)] \
             | [MAXAGE^maxage:int@7.4.0])...)",
        )
        .summary("Close connections.")
        .complexity("O(N), N being the number of connections")
        .history(&[
            ("2.8.12", "Takes filters."),
            ("3.2.0", "TYPE knows `master`."),
            ("5.0.0", "TYPE knows `replica`, for what was `slave`."),
            ("6.2.0", "Takes LADDR."),
            ("7.4.0", "Takes MAXAGE."),
        ])
        .checked(),
    sub("list", -2, list)
        .since("2.4.0")
        .flags(&[flag::ADMIN])
        .syntax(
            "[TYPE^client-type=(normal='normal' | master='master' | replica='replica' | pubsub='pubsub')@5.0.0] \
             [ID^client-id:int...@6.2.0]",
        )
        .summary("Describe the connections.")
        .complexity("O(N), N being the number of connections")
        .history(&[
            ("2.8.12", "Field `id`."),
            ("5.0.0", "Takes TYPE."),
            ("6.0.0", "Field `user`."),
            ("6.2.0", "Fields `argv-mem`, `tot-mem`, `laddr` and `redir`; takes ID."),
            ("7.0.0", "Fields `resp`, `multi-mem`, `rbs` and `rbp`."),
            ("7.0.3", "Field `ssub`."),
            ("7.2.0", "Fields `lib-name` and `lib-ver`."),
        ])
        .tips(&["nondeterministic_output"])
        .checked(),
    sub("no-evict", 3, no_evict)
        .since("7.0.0")
        .flags(&[flag::ADMIN])
        .syntax("enabled=(ON | OFF)")
        .summary("Except this connection from eviction.")
        .complexity("O(1)")
        .checked(),
    Command::new("no-touch", 3, no_touch)
        .since("7.2.0")
        .group(Group::Connection)
        .flags(&[flag::NOSCRIPT, flag::LOADING, flag::STALE])
        .syntax("enabled=(ON | OFF)")
        .summary("Let what this connection reads not count as used.")
        .complexity("O(1)")
        .checked(),
    sub("reply", 3, reply)
        .since("3.2.0")
        .syntax("action=(ON | OFF | SKIP)")
        .summary("Choose whether commands are answered.")
        .complexity("O(1)")
        .checked(),
    sub("setinfo", 4, setinfo)
        .since("7.2.0")
        .syntax("attr=('lib-name'^libname | 'lib-ver'^libver)")
        .summary("Tell which client library this is.")
        .complexity("O(1)")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .checked(),
    sub("setname", 3, setname)
        .since("2.6.9")
        .syntax("connection-name")
        .summary("Name this connection.")
        .complexity("O(1)")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .checked(),
    sub("unblock", -3, unblock)
        .since("5.0.0")
        .flags(&[flag::ADMIN])
        .syntax("client-id:int [unblock-type=(TIMEOUT | ERROR)]")
        .summary("End the waiting of a blocked connection.")
        .complexity("O(N), N being the number of connections")
        .checked(),
];

fn id(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let id = cx.session().map_or(0, |s| s.id);
    cx.int(i64::try_from(id).unwrap_or(i64::MAX))
}

fn getname(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    match cx.sessions.get(cx.sid) {
        Some(session) if !session.name.is_empty() => cx.reply.bulk(&session.name),
        _ => cx.reply.null(),
    }
    Ok(Flow::Done)
}

fn setname(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if !is_plain_name(args.at(2)) {
        return Err(BAD_NAME);
    }
    if let Some(session) = cx.session() {
        session.name = args.at(2).to_vec();
    }
    cx.ok()
}

fn setinfo(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (attr, value) = (args.at(2), args.at(3));
    let (version, known) = (is(attr, "LIB-VER"), is(attr, "LIB-NAME"));
    let attr = shown(attr, usize::MAX);
    if !version && !known {
        return Err(CmdError::new(format!("ERR Unrecognized option '{attr}'")));
    }
    if !is_plain_name(value) {
        let text = format!("ERR {attr} cannot contain spaces, newlines or special characters.");
        return Err(CmdError::new(text));
    }
    if let Some(session) = cx.session() {
        let field = if version {
            &mut session.lib_ver
        } else {
            &mut session.lib_name
        };
        *field = value.to_vec();
    }
    cx.ok()
}

fn on_off(arg: &[u8]) -> Result<bool, CmdError> {
    match arg {
        on if is(on, "ON") => Ok(true),
        off if is(off, "OFF") => Ok(false),
        _ => Err(CmdError::SYNTAX),
    }
}

fn no_touch(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let on = on_off(args.at(2))?;
    if let Some(session) = cx.session() {
        session.no_touch = on;
    }
    cx.ok()
}

fn no_evict(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let on = on_off(args.at(2))?;
    if let Some(session) = cx.session() {
        session.no_evict = on;
    }
    cx.ok()
}

fn reply(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let Some(session) = cx.sessions.get_mut(cx.sid) else {
        return Ok(Flow::Done);
    };
    match args.at(2) {
        on if is(on, "ON") => {
            session.reply_mode = ReplyMode::On;
            cx.reply.ok();
        }
        off if is(off, "OFF") => session.reply_mode = ReplyMode::Off,
        skip if is(skip, "SKIP") => {
            if session.reply_mode != ReplyMode::Off {
                session.reply_mode = ReplyMode::SkipNext;
            }
        }
        _ => return Err(CmdError::SYNTAX),
    }
    Ok(Flow::Done)
}

fn unblock(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if args.len() > 4 {
        return Err(CmdError::subcommand_arity("client", args.at(1)));
    }
    let how = match args.get(3) {
        None => Unblock::Timeout,
        Some(word) if is(word, "TIMEOUT") => Unblock::Timeout,
        Some(word) if is(word, "ERROR") => Unblock::Error,
        Some(_) => {
            let text = "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR";
            return Err(CmdError::fixed(text));
        }
    };
    let id = args.int(2)?;
    let sid = u64::try_from(id).ok().and_then(|id| cx.sessions.by_id(id));
    let done = sid.is_some_and(|sid| block::unblock(cx.sys, cx.sessions, sid, how));
    cx.int(i64::from(done))
}

/// What TYPE tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Master,
    Replica,
    PubSub,
}

impl Kind {
    fn parse(word: &[u8]) -> Result<Self, CmdError> {
        match word.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Self::Normal),
            b"master" => Ok(Self::Master),
            b"slave" | b"replica" => Ok(Self::Replica),
            b"pubsub" => Ok(Self::PubSub),
            _ => {
                let word = shown(word, usize::MAX);
                Err(CmdError::new(format!("ERR Unknown client type '{word}'")))
            }
        }
    }

    /// Sessions are clients; there are neither links to replicas nor subscribers.
    const fn of(_: &Session) -> Self {
        Self::Normal
    }
}

/// The one user there is.
const USER: &str = "default";

/// Which clients CLIENT KILL means.
#[derive(Debug, Default)]
struct Filter<'a> {
    id: Option<u64>,
    kind: Option<Kind>,
    addr: Option<&'a [u8]>,
    laddr: Option<&'a [u8]>,
    max_age: Option<i64>,
    /// SKIPME; unless told otherwise, the client that asks is spared.
    skip_me: Option<bool>,
}

impl<'a> Filter<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CmdError> {
        let mut filter = Self::default();
        let mut words = args.cursor(2);
        while let Some(option) = words.next() {
            filter.option(option, words.word()?)?;
        }
        Ok(filter)
    }

    fn option(&mut self, option: &[u8], value: &'a [u8]) -> Result<(), CmdError> {
        match option.to_ascii_lowercase().as_slice() {
            b"id" => {
                let id = num::parse_i64(value).and_then(|id| u64::try_from(id).ok());
                let id = id.filter(|&id| id > 0);
                let e = CmdError::fixed("ERR client-id should be greater than 0");
                self.id = Some(id.ok_or(e)?);
            }
            b"maxage" => {
                let age = num::parse_i64(value);
                let e = CmdError::fixed("ERR maxage is not an integer or out of range");
                let age = age.ok_or(e)?;
                if age <= 0 {
                    return Err(CmdError::fixed("ERR maxage should be greater than 0"));
                }
                self.max_age = Some(age);
            }
            b"type" => self.kind = Some(Kind::parse(value)?),
            b"addr" => self.addr = Some(value),
            b"laddr" => self.laddr = Some(value),
            b"user" => {
                if value != USER.as_bytes() {
                    let user = shown(value, usize::MAX);
                    return Err(CmdError::new(format!("ERR No such user '{user}'")));
                }
            }
            b"skipme" => {
                self.skip_me = match value {
                    yes if is(yes, "YES") => Some(true),
                    no if is(no, "NO") => Some(false),
                    _ => return Err(CmdError::SYNTAX),
                };
            }
            _ => return Err(CmdError::SYNTAX),
        }
        Ok(())
    }

    fn matches(&self, session: &Session, is_me: bool, now: i64) -> bool {
        !(is_me && self.skip_me.unwrap_or(true))
            && self.id.is_none_or(|id| id == session.id)
            && self.kind.is_none_or(|kind| kind == Kind::of(session))
            && self
                .addr
                .is_none_or(|addr| addr == session.peer.addr.as_bytes())
            && self
                .laddr
                .is_none_or(|laddr| laddr == session.peer.laddr.as_bytes())
            && self
                .max_age
                .is_none_or(|age| (now - session.since) / 1000 >= age)
    }
}

fn kill(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    // With a single argument this is the old form: an address, an OK, and oneself not excepted.
    let old_form = args.len() == 3;
    let filter = if old_form {
        Filter {
            addr: Some(args.at(2)),
            skip_me: Some(false),
            ..Filter::default()
        }
    } else {
        Filter::parse(args)?
    };
    let (me, now) = (cx.sid, cx.now);
    let hits = cx
        .sessions
        .iter()
        .filter(|(sid, s)| filter.matches(s, *sid == me, now));
    let hits: Vec<SessionId> = hits.map(|(sid, _)| sid).collect();
    for &sid in &hits {
        close(cx, sid);
    }
    match old_form {
        true if hits.is_empty() => Err(CmdError::fixed("ERR No such client")),
        true => cx.ok(),
        false => cx.count(hits.len()),
    }
}

/// Ends a connection: one's own after the reply, any other at once, with what it had still to be sent.
fn close(cx: &mut Ctx<'_>, sid: SessionId) {
    let me = sid == cx.sid;
    let Some(session) = cx.sessions.get_mut(sid) else {
        return;
    };
    session.closing = true;
    if me {
        return;
    }
    // Whoever waits must not be handed anything any more.
    if let Some(blocked) = session.blocked.take() {
        cx.sys.waiters.remove(sid, &blocked);
    }
    session.outbox.clear();
    cx.sys.actions.push(Action::Close(sid));
}

fn info(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let mut text = String::new();
    if let Some(session) = cx.sessions.get(cx.sid) {
        describe(&mut text, session, cx.now, Some(args));
    }
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

fn list(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let mut kind = None;
    let mut ids = None;
    match args.from(2) {
        [] => {}
        [word, name] if is(word, "TYPE") => kind = Some(Kind::parse(name)?),
        [word, list @ ..] if is(word, "ID") && !list.is_empty() => ids = Some(list),
        _ => return Err(CmdError::SYNTAX),
    }
    let mut text = String::new();
    let line = |text: &mut String, sid: SessionId, session: &Session| {
        describe(text, session, cx.now, (sid == cx.sid).then_some(args));
    };
    match ids {
        Some(ids) => {
            for id in ids {
                let id = num::parse_i64(id).ok_or(CmdError::fixed("ERR Invalid client ID"))?;
                let sid = u64::try_from(id).ok().and_then(|id| cx.sessions.by_id(id));
                if let Some((sid, session)) = sid.and_then(|sid| Some((sid, cx.sessions.get(sid)?)))
                {
                    line(&mut text, sid, session);
                }
            }
        }
        None => {
            for (sid, session) in cx.sessions.iter() {
                if kind.is_none_or(|kind| kind == Kind::of(session)) {
                    line(&mut text, sid, session);
                }
            }
        }
    }
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

/// One line of CLIENT LIST. `running` is the command that the client is running, if it is the one that asks.
fn describe(out: &mut String, s: &Session, now: i64, running: Option<Args<'_>>) {
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
        "sub=0 psub=0 ssub=0 multi={} qbuf={qbuf} qbuf-free={} argv-mem={argv_mem} multi-mem={multi_mem} \
         rbs={} rbp={} ",
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
fn flags_of(s: &Session) -> String {
    let flags = [
        (s.multi.is_some(), 'x'),
        (s.blocked.is_some(), 'b'),
        (s.watch.broken, 'd'),
        (s.closing, 'A'),
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

fn help(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.help(&[
        "GETNAME",
        "    The name of this connection.",
        "ID",
        "    The number of this connection.",
        "INFO",
        "    One line about this connection.",
        "KILL <ip:port>",
        "    Close the connection from this address.",
        "KILL <option> <value> [<option> <value> ...]",
        "    Close the connections that meet all of these:",
        "    * ADDR (<ip:port>|<unixsocket>:0), LADDR (<ip:port>|<unixsocket>:0)",
        "      The client's end, this server's end.",
        "    * ID <client-id>, USER <username>, TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
        "    * MAXAGE <seconds>",
        "      Connected for at least so long.",
        "    * SKIPME (YES|NO)",
        "      Whether this connection is spared (default: yes).",
        "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID <client-id> ...]",
        "    One line about each connection.",
        "NO-EVICT (ON|OFF)",
        "    Whether this connection is excepted from eviction.",
        "NO-TOUCH (ON|OFF)",
        "    Whether what this connection reads does not count as used.",
        "REPLY (ON|OFF|SKIP)",
        "    Whether commands are answered; SKIP: all but the next one.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    Tell which client library this is.",
        "SETNAME <name>",
        "    Name this connection.",
        "UNBLOCK <client-id> [TIMEOUT|ERROR]",
        "    End the waiting of a blocked connection.",
    ])
}
