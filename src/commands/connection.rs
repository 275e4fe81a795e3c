//! The connection itself: who is there, which database, which protocol.

use crate::exec::args::is;
use crate::exec::error::shown;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow, Origin, acl};
use crate::resp::Proto;
use crate::service::info::REDIS_VERSION;
use crate::spec::{Group, flag};
use crate::util::num;

use super::txn::release;

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("auth", -2, auth)
        .since("1.0.0")
        .group(Group::Connection)
        .flags(&[flag::NOSCRIPT, flag::LOADING, flag::STALE, flag::FAST])
        .flags(&[flag::NO_AUTH, flag::SENTINEL, flag::ALLOW_BUSY])
        .syntax("[username@6.0.0] password")
        .summary("Say who one is.")
        .complexity("O(N), N being the number of passwords of the user")
        .history(&[("6.0.0", "Takes a user name too.")])
        .checked(),
    Command::new("echo", 2, echo)
        .since("1.0.0")
        .group(Group::Connection)
        .flags(&[flag::LOADING, flag::STALE, flag::FAST])
        .syntax("message")
        .summary("Answer with the argument.")
        .complexity("O(1)")
        .checked(),
    Command::new("hello", -1, hello)
        .since("6.0.0")
        .group(Group::Connection)
        .flags(&[flag::NOSCRIPT, flag::LOADING, flag::STALE, flag::FAST])
        .flags(&[flag::NO_AUTH, flag::SENTINEL, flag::ALLOW_BUSY])
        .syntax("[arguments={protover:int [AUTH^auth={username password}] [SETNAME^clientname]}]")
        .summary("Choose the protocol version and introduce oneself.")
        .complexity("O(1)")
        .history(&[(
            "6.2.0",
            "The version may be left out: then nothing is changed.",
        )])
        .checked(),
    Command::new("ping", -1, ping)
        .since("1.0.0")
        .group(Group::Connection)
        .flags(&[flag::SUBSCRIBER, flag::FAST, flag::SENTINEL, flag::HEALTH])
        .syntax("[message]")
        .summary("Answer, with the argument if there is one.")
        .complexity("O(1)")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .checked(),
    Command::new("quit", -1, quit)
        .since("1.0.0")
        .group(Group::Connection)
        .flags(&[
            flag::SUBSCRIBER,
            flag::NOSCRIPT,
            flag::LOADING,
            flag::STALE,
            flag::FAST,
        ])
        .flags(&[flag::NO_AUTH, flag::ALLOW_BUSY, flag::TXN])
        .summary("Close the connection after the reply.")
        .complexity("O(1)")
        .deprecated("7.2.0", "just closing the connection")
        .checked(),
    Command::new("reset", 1, reset)
        .since("6.2.0")
        .group(Group::Connection)
        .flags(&[
            flag::SUBSCRIBER,
            flag::NOSCRIPT,
            flag::LOADING,
            flag::STALE,
            flag::FAST,
        ])
        .flags(&[flag::NO_AUTH, flag::ALLOW_BUSY, flag::TXN])
        .summary("Put the connection into the state of a new one.")
        .complexity("O(1)")
        .checked(),
    Command::new("select", 2, select)
        .since("1.0.0")
        .group(Group::Connection)
        .flags(&[flag::LOADING, flag::STALE, flag::FAST])
        .syntax("index:int")
        .summary("Choose the database that the connection works on.")
        .complexity("O(1)")
        .checked(),
];

const NO_PASSWORD: CmdError = CmdError::fixed(
    "ERR AUTH <password> called without any password configured for the default user. \
     Are you sure your configuration is correct?",
);
const HELLO_NOAUTH: CmdError = CmdError::fixed(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
     <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the \
     same time",
);
/// CLIENT SETNAME and HELLO SETNAME.
pub(super) const BAD_NAME: CmdError =
    CmdError::fixed("ERR Client names cannot contain spaces, newlines or special characters.");

/// Whether a name has only printable ASCII without spaces, so that CLIENT LIST can show it.
pub(super) fn is_plain_name(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_graphic)
}

fn auth(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    cx.sys.redact.extend(1..args.len());
    let (user, password) = match args.all() {
        [_, _] if !cx.sys.acl.users.needs_password() => return Err(NO_PASSWORD),
        [_, password] => (b"default".as_slice(), *password),
        [_, user, password] => (*user, *password),
        _ => return Err(CmdError::SYNTAX),
    };
    acl::log_in(cx, args.at(0), user, password)?;
    cx.ok()
}

fn echo(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    cx.bulk(args.at(1))
}

fn ping(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if args.len() <= 2 && cx.session().is_some_and(|s| s.only_listens()) {
        // To a subscriber everything looks like a message.
        cx.reply.array(2);
        cx.reply.bulk(b"pong");
        cx.reply.bulk(args.get(1).unwrap_or_default());
        return Ok(Flow::Done);
    }
    match args.all() {
        [_] => cx.reply.simple("PONG"),
        [_, message] => cx.reply.bulk(message),
        _ => return Err(CmdError::arity("ping")),
    }
    Ok(Flow::Done)
}

fn quit(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    if let Some(session) = cx.session() {
        session.closing = true;
    }
    cx.ok()
}

/// What HELLO asks for.
struct Hello<'a> {
    proto: Option<Proto>,
    auth: Option<(&'a [u8], &'a [u8])>,
    /// Where the user's name stands; the password follows.
    auth_at: usize,
    name: Option<&'a [u8]>,
}

impl<'a> Hello<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CmdError> {
        let mut hello = Hello {
            proto: None,
            auth: None,
            auth_at: 0,
            name: None,
        };
        let mut words = args.cursor(1);
        let Some(version) = words.next() else {
            return Ok(hello);
        };
        hello.proto = Some(match num::parse_i64(version) {
            Some(2) => Proto::Resp2,
            Some(3) => Proto::Resp3,
            Some(_) => return Err(CmdError::fixed("NOPROTO unsupported protocol version")),
            None => {
                let text = "ERR Protocol version is not an integer or out of range";
                return Err(CmdError::fixed(text));
            }
        });
        while let Some(word) = words.next() {
            match words.rest() {
                [user, password, ..] if is(word, "AUTH") => {
                    hello.auth = Some((user, password));
                    hello.auth_at = words.position();
                    words.nth(1);
                }
                [name, ..] if is(word, "SETNAME") => {
                    if !is_plain_name(name) {
                        return Err(BAD_NAME);
                    }
                    hello.name = Some(name);
                    words.next();
                }
                _ => {
                    let word = shown(word, usize::MAX);
                    return Err(CmdError::new(format!(
                        "ERR Syntax error in HELLO option '{word}'"
                    )));
                }
            }
        }
        Ok(hello)
    }
}

fn hello(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let hello = Hello::parse(args)?;
    if let Some((user, password)) = hello.auth {
        cx.sys.redact.extend([hello.auth_at, hello.auth_at + 1]);
        acl::log_in(cx, args.at(0), user, password)?;
    }
    let proto = hello.proto.unwrap_or(cx.reply.proto());
    let is_sentinel = cx.sys.sentinel.is_some();
    let Some(session) = cx.session() else {
        return Ok(Flow::Done);
    };
    if !session.authenticated {
        return Err(HELLO_NOAUTH);
    }
    if let Some(name) = hello.name {
        session.name = name.to_vec();
    }
    session.proto = proto;
    session.outbox.set_proto(proto);
    let id = i64::try_from(session.id).unwrap_or(i64::MAX);
    cx.reply.set_proto(proto);
    let out = &mut *cx.reply;
    // A sentinel has no part in replication.
    out.map(if is_sentinel { 6 } else { 7 });
    out.bulk(b"server");
    out.bulk(b"redis");
    out.bulk(b"version");
    out.bulk(REDIS_VERSION.as_bytes());
    out.bulk(b"proto");
    out.int(if out.is_resp3() { 3 } else { 2 });
    out.bulk(b"id");
    out.int(id);
    out.bulk(b"mode");
    if is_sentinel {
        out.bulk(b"sentinel");
    } else {
        out.bulk(b"standalone");
        out.bulk(b"role");
        out.bulk(b"master");
    }
    out.bulk(b"modules");
    out.array(0);
    Ok(Flow::Done)
}

fn reset(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let open = cx.sys.acl.users.is_open();
    cx.sys.monitors.remove(&cx.sid);
    if let Some(session) = cx.sessions.get_mut(cx.sid) {
        cx.sys.pubsub.forget(session, cx.sid);
        cx.sys.tracking.disable(session);
        // The library's name stays: RESET is something that libraries send.
        session.authenticated = open || session.peer.trusted;
        session.reset();
    }
    release(cx);
    cx.ks.select(0);
    cx.reply.set_proto(Proto::Resp2);
    cx.reply.simple("RESET");
    Ok(Flow::Done)
}

fn select(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let db = match super::databases::index_of(cx.ks, args.at(1)) {
        Ok(db) => db,
        Err(e) => {
            if cx.origin == Origin::Replay
                && let Some(session) = cx.session()
            {
                // What follows is not to get into another database.
                session.closing = true;
            }
            return Err(e);
        }
    };
    cx.ks.select(db);
    // What a script selects does not outlast it.
    if !matches!(cx.origin, Origin::Script { .. })
        && let Some(session) = cx.session()
    {
        session.db = db;
    }
    cx.ok()
}
