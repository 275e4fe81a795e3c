//! CLIENT: who is connected, what they are called, and how to be rid of them.

mod filter;
mod kill;
mod list;
mod pause;
mod tracking;

use crate::exec::args::is;
use crate::exec::block::{self, Unblock};
use crate::exec::error::shown;
use crate::exec::session::{ReplyMode, SessionId};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow, Handler};
use crate::spec::{Group, flag};

use kill::kill;
use list::{info, list};
use pause::{pause, unpause};
use tracking::{CACHING, GETREDIR, TRACKING, TRACKINGINFO};

pub(crate) use list::description;

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

const LATER_FIELDS: &str = "Without the fields that came after 7.2: `watch`, `io-thread`, `tot-net-in`, `tot-net-out`, \
    `tot-cmds`, `capa`.";

/// What almost all subcommands have in common.
const fn sub(name: &'static str, arity: i16, run: Handler) -> Command {
    Command::new(name, arity, run)
        .group(Group::Connection)
        .flags(&[flag::NOSCRIPT, flag::LOADING, flag::STALE, flag::SENTINEL])
}

const SUBCOMMANDS: &[Command] = &[
    CACHING,
    Command::new("capa", -3, capa)
        .since("8.0.0")
        .group(Group::Connection)
        .flags(&[flag::NOSCRIPT, flag::LOADING, flag::STALE])
        .syntax("capability...")
        .summary("Declare what this client is capable of.")
        .complexity("O(1)")
        .checked(),
    sub("getname", 2, getname)
        .since("2.6.9")
        .summary("Tell the name of this connection.")
        .complexity("O(1)")
        .checked(),
    GETREDIR,
    Command::help("5.0.0", Group::Connection, help).flags(&[flag::SENTINEL]).checked(),
    sub("id", 2, id)
        .since("5.0.0")
        .summary("Tell the number of this connection.")
        .complexity("O(1)")
        .checked(),
    sub("info", 2, info)
        .since("6.2.0")
        .summary("Describe this connection.")
        .limits(LATER_FIELDS)
        .complexity("O(1)")
        .tips(&["nondeterministic_output"])
        .checked(),
    sub("kill", -3, kill)
        .since("2.4.0")
        .flags(&[flag::ADMIN])
        .syntax(
            "filter=(old-format\"ip:port\"!2.8.12 | new-format=([ID^client-id:int...@2.8.12] \
             | [TYPE^client-type=(normal='normal' | master='master'@3.2.0 | primary='primary'@8.0.0 \
             | slave='slave' | replica='replica'@5.0.0 | pubsub='pubsub')@2.8.12] | [USER^username] \
             | [ADDR^addr\"ip:port\"] | [LADDR^laddr\"ip:port\"@6.2.0] | [SKIPME^skipme=(YES | NO)] \
             | [MAXAGE^maxage:int@7.4.0] | [NAME^name] | [IDLE^idle:int] | [FLAGS^flags] | [LIB-NAME^lib-name] \
             | [LIB-VER^lib-ver] | [DB^db:int] | [CAPA^capa] | [IP^ip] | [NOT-ID^not-client-id:int...] \
             | [NOT-TYPE^not-client-type=(normal='normal' | master='master' | slave='slave' | replica='replica' \
             | pubsub='pubsub')] | [NOT-USER^not-username] | [NOT-ADDR^not-addr\"ip:port\"] \
             | [NOT-LADDR^not-laddr\"ip:port\"] | [NOT-NAME^not-name] | [NOT-FLAGS^not-flags] \
             | [NOT-LIB-NAME^not-lib-name] | [NOT-LIB-VER^not-lib-ver] | [NOT-DB^not-db:int] \
             | [NOT-CAPA^not-capa] | [NOT-IP^not-ip])...)",
        )
        .summary("Close connections.")
        .complexity("O(N), N being the number of connections")
        .history(&[
            ("2.8.12", "Takes filters."),
            ("3.2.0", "TYPE knows `master`."),
            ("5.0.0", "TYPE knows `replica`, for what was `slave`."),
            ("6.2.0", "Takes LADDR."),
            ("7.4.0", "Takes MAXAGE."),
            ("8.1.0", "Takes several ids."),
            ("9.0.0", "Takes what CLIENT LIST shows, and the opposite of it."),
        ])
        .checked(),
    sub("list", -2, list)
        .since("2.4.0")
        .flags(&[flag::ADMIN])
        .syntax(
            "[TYPE^client-type=(normal='normal' | master='master' | primary='primary'@8.0.0 | replica='replica' \
             | pubsub='pubsub')@5.0.0] \
             [ID^client-id:int...@6.2.0] [USER^username] [ADDR^addr\"ip:port\"] [LADDR^laddr\"ip:port\"] \
             [SKIPME^skipme=(YES | NO)] [MAXAGE^maxage:int] [NAME^name] [IDLE^idle:int] [FLAGS^flags] \
             [LIB-NAME^lib-name] [LIB-VER^lib-ver] [DB^db:int] [CAPA^capa] [IP^ip] [NOT-ID^not-client-id:int...] \
             [NOT-TYPE^not-client-type=(normal='normal' | master='master' | replica='replica' | pubsub='pubsub')] \
             [NOT-USER^not-username] [NOT-ADDR^not-addr\"ip:port\"] [NOT-LADDR^not-laddr\"ip:port\"] \
             [NOT-NAME^not-name] [NOT-FLAGS^not-flags] [NOT-LIB-NAME^not-lib-name] [NOT-LIB-VER^not-lib-ver] \
             [NOT-DB^not-db:int] [NOT-CAPA^not-capa] [NOT-IP^not-ip]",
        )
        .summary("Describe the connections.")
        .limits(LATER_FIELDS)
        .complexity("O(N), N being the number of connections")
        .history(&[
            ("2.8.12", "Field `id`."),
            ("5.0.0", "Takes TYPE."),
            ("6.0.0", "Field `user`."),
            ("6.2.0", "Fields `argv-mem`, `tot-mem`, `laddr` and `redir`; takes ID."),
            ("7.0.0", "Fields `resp`, `multi-mem`, `rbs` and `rbp`."),
            ("7.0.3", "Field `ssub`."),
            ("7.2.0", "Fields `lib-name` and `lib-ver`."),
            ("8.1.0", "Takes the filters of CLIENT KILL."),
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
    sub("pause", -3, pause)
        .since("3.0.0")
        .flags(&[flag::ADMIN])
        .syntax("timeout:int [mode=(WRITE | ALL)@6.2.0]")
        .summary("Let clients wait for a number of milliseconds, with writes or with everything.")
        .complexity("O(1)")
        .history(&[("6.2.0", "Takes WRITE, which lets reads go on, and ALL.")])
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
    TRACKING,
    TRACKINGINFO,
    sub("unblock", -3, unblock)
        .since("5.0.0")
        .flags(&[flag::ADMIN])
        .syntax("client-id:int [unblock-type=(TIMEOUT | ERROR)]")
        .summary("End the waiting of a blocked connection.")
        .complexity("O(log N), N being the number of connections")
        .checked(),
    sub("unpause", 2, unpause)
        .since("6.2.0")
        .flags(&[flag::ADMIN])
        .summary("End what CLIENT PAUSE began.")
        .complexity("O(N), N being the number of waiting connections")
        .checked(),
];

/// Capabilities that are not known are passed over.
fn capa(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let redirects = args.from(2).iter().any(|word| is(word, "redirect"));
    if let Some(session) = cx.session().filter(|_| redirects) {
        session.redirects = true;
    }
    cx.ok()
}

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
    let may = |sid: &SessionId| {
        let blocked = cx.sessions.get(*sid).and_then(|s| s.blocked.as_ref());
        blocked.is_some_and(|b| b.block.timeout_reply.can_be_ended())
    };
    let sid = sid.filter(may);
    let done = sid.is_some_and(|sid| block::unblock(cx.sys, cx.sessions, sid, how));
    cx.int(i64::from(done))
}

fn help(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.help(&[
        "CACHING (YES|NO)",
        "    Whether the keys of the next command are tracked (tracking in mode OPTIN: YES, OPTOUT: NO).",
        "GETNAME",
        "    The name of this connection.",
        "GETREDIR",
        "    The id of the connection that hears of changed keys for this one.",
        "ID",
        "    The number of this connection.",
        "INFO",
        "    One line about this connection.",
        "KILL <ip:port>",
        "    Close the connection from this address.",
        "KILL <filter> [<filter> ...]",
        "    Close the connections that meet all of these:",
        "    * ID <client-id> [<client-id> ...], TYPE (NORMAL|MASTER|REPLICA|PUBSUB), USER <username>",
        "    * ADDR (<ip:port>|<unixsocket>:0), LADDR (<ip:port>|<unixsocket>:0), IP <ip>",
        "      The client's end, this server's end; the client's address without the port.",
        "    * NAME <name>, LIB-NAME <name>, LIB-VER <version>, FLAGS <letters>, DB <index>",
        "      As LIST shows them; of flags at least these.",
        "    * NOT-ID, NOT-TYPE, NOT-USER, NOT-ADDR, NOT-LADDR, NOT-IP, NOT-NAME, NOT-LIB-NAME, NOT-LIB-VER,",
        "      NOT-FLAGS, NOT-DB",
        "      The opposite of each.",
        "    * MAXAGE <seconds>, IDLE <seconds>",
        "      Connected, or silent, for at least so long.",
        "    * SKIPME (YES|NO)",
        "      Whether this connection is spared (default: yes).",
        "LIST [<filter> ...]",
        "    One line about each connection that meets the filters of KILL (SKIPME is no by default).",
        "NO-EVICT (ON|OFF)",
        "    Whether this connection is excepted from eviction.",
        "NO-TOUCH (ON|OFF)",
        "    Whether what this connection reads does not count as used.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Let clients wait for so many milliseconds, with writes or with everything.",
        "REPLY (ON|OFF|SKIP)",
        "    Whether commands are answered; SKIP: all but the next one.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    Tell which client library this is.",
        "SETNAME <name>",
        "    Name this connection.",
        "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]",
        "    Whether this connection is told when keys change that it has read, or that have a prefix.",
        "TRACKINGINFO",
        "    What TRACKING was asked for.",
        "UNBLOCK <client-id> [TIMEOUT|ERROR]",
        "    End the waiting of a blocked connection.",
        "UNPAUSE",
        "    End what PAUSE began.",
    ])
}
