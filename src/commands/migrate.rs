//! MIGRATE: moves keys to another server.

use std::time::Duration;

use crate::exec::args::is;
use crate::exec::block::{Block, TimeoutReply, Wake};
use crate::exec::migrate::{Broken, Parcel, Print, Report, Sent, Trip};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow, Origin};
use crate::keyspace::event::Event;
use crate::resp::encode_command;
use crate::spec::keys::KeyRef;
use crate::spec::{Argv, Group, KeyError, KeyFlags, KeySpec, Keys, Propagate, category};
use crate::types::dump;
use crate::util::digest::sha1;

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[Command::new("migrate", -6, migrate)
    .since("2.6.0")
    .group(Group::Generic)
    .write(Propagate::Explicit)
    .acl(&[category::DANGEROUS])
    .keys(&[
        KeySpec::at(3).rw().access().delete(),
        KeySpec::keyword("KEYS", -2)
            .range(-1, 1, 0)
            .rw()
            .access()
            .delete()
            .incomplete(),
    ])
    .keys_fn(keys_of)
    .syntax(
        "host port:int key-selector=(key:key | empty-string='\"\"') destination-db:int timeout:int [COPY@3.0.0] \
         [REPLACE@3.0.0] [authentication=(AUTH^auth\"password\"@4.0.7 | AUTH2^auth2={username password}@6.0.0)] \
         [KEYS^keys:key...#1\"key\"@3.0.6]",
    )
    .summary("Move keys to another server.")
    .complexity("O(N) in the size of the values, here and there, and the time that it takes to send them")
    .history(&[
        ("3.0.0", "Takes COPY and REPLACE."),
        ("3.0.6", "Takes KEYS."),
        ("4.0.7", "Takes AUTH."),
        ("6.0.0", "Takes AUTH2."),
    ])
    .tips(&["nondeterministic_output"])
    .limits(
        "Only its client waits, not everybody. A key that changes while it is sent is sent again. Not inside of \
         transactions and scripts.",
    )
    .checked()];

/// Keys stand behind KEYS if the key itself is empty; otherwise KEYS is an error, which has none.
fn keys_of(args: &dyn Argv, keys: &mut Keys) -> Result<(), KeyError> {
    let flags = KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE);
    let (mut at, mut range) = (6, 3..4);
    while at < args.len() {
        let word = args.arg(at);
        if is(word, "KEYS") {
            range = match args.arg(3) {
                [] => at + 1..args.len(),
                _ => 0..0,
            };
            break;
        }
        at += match word {
            w if is(w, "AUTH") => 2,
            w if is(w, "AUTH2") => 3,
            _ => 1,
        };
    }
    keys.extend(range.filter_map(|pos| {
        let pos = u32::try_from(pos).ok()?;
        Some(KeyRef { pos, flags })
    }));
    Ok(())
}

/// What is asked for.
struct Request<'a> {
    host: &'a [u8],
    port: &'a [u8],
    keys: &'a [&'a [u8]],
    db: i64,
    /// Milliseconds.
    timeout: u64,
    copy: bool,
    replace: bool,
    /// The arguments of AUTH; none if it is not to be sent.
    auth: &'a [&'a [u8]],
}

impl<'a> Request<'a> {
    /// Reads the arguments, and sees to it that passwords are not logged. The order of checks is Redis's.
    fn parse(cx: &mut Ctx<'_>, args: Args<'a>) -> Result<Self, CmdError> {
        const KEY_AND_KEYS: CmdError = CmdError::fixed(
            "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
        );
        const IF_NOT_POSITIVE: i64 = 1000;
        let all = args.all();
        let (mut copy, mut replace) = (false, false);
        let (mut keys, mut auth): (&[&[u8]], &[&[u8]]) = (&all[3..4], &[]);
        let mut at = 6;
        while let Some(word) = args.get(at) {
            let words = match word {
                w if is(w, "AUTH") => 1,
                w if is(w, "AUTH2") => 2,
                _ => 0,
            };
            if is(word, "COPY") {
                copy = true;
            } else if is(word, "REPLACE") {
                replace = true;
            } else if words > 0 {
                let given = all.get(at + 1..at + 1 + words);
                auth = given.ok_or(CmdError::SYNTAX)?;
                cx.sys.redact.extend(at + 1..at + 1 + words);
            } else if is(word, "KEYS") {
                if !args.at(3).is_empty() {
                    return Err(KEY_AND_KEYS);
                }
                keys = args.from(at + 1);
                break;
            } else {
                return Err(CmdError::SYNTAX);
            }
            at += 1 + words;
        }
        let (timeout, db) = (args.int(5)?, args.int(4)?);
        let timeout = if timeout > 0 {
            timeout
        } else {
            IF_NOT_POSITIVE
        };
        Ok(Self {
            host: args.at(1),
            port: args.at(2),
            keys,
            db,
            timeout: timeout.unsigned_abs(),
            copy,
            replace,
            auth,
        })
    }
}

/// Runs twice and more: first the keys are sent, and with each answer it is looked whether that was all.
fn migrate(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let request = Request::parse(cx, args)?;
    let client = cx.sessions.get(cx.sid).map_or(0, |session| session.id);
    if matches!(cx.origin, Origin::Woken | Origin::Resumed)
        && let Some((trip, report)) = cx.sys.migrations.take_returned(client)
    {
        return settle(cx, args, &request, client, trip, report);
    }
    let there = request
        .keys
        .iter()
        .filter(|key| cx.ks.read_any(key).is_some());
    let keys: Vec<Vec<u8>> = there.map(|key| key.to_vec()).collect();
    if keys.is_empty() {
        cx.reply.simple("NOKEY");
        return Ok(Flow::Done);
    }
    if matches!(cx.origin, Origin::Exec | Origin::Script { .. }) {
        return Err(CmdError::fixed(
            "ERR MIGRATE cannot wait for another server inside of a transaction or a script",
        ));
    }
    let until = cx.now.saturating_add_unsigned(request.timeout);
    send(cx, args, &request, client, keys, until, None)
}

/// Sends keys as they are now; what is not here any more is deleted there. From the second time on they replace what was sent
/// before.
fn send(
    cx: &mut Ctx<'_>,
    args: Args<'_>,
    request: &Request<'_>,
    client: u64,
    keys: Vec<Vec<u8>>,
    until: i64,
    again: Option<Trip>,
) -> CmdResult {
    let mut commands = Vec::new();
    if !request.auth.is_empty() {
        encode_command(&mut commands, &[&[&b"AUTH"[..]], request.auth].concat());
    }
    let mut text = itoa::Buffer::new();
    encode_command(
        &mut commands,
        &[b"SELECT", text.format(request.db).as_bytes()],
    );
    let greetings = 1 + usize::from(!request.auth.is_empty());
    let replace = request.replace || again.is_some();
    let sent: Vec<Sent> = keys
        .into_iter()
        .map(|key| {
            let print = pack(cx, &key, replace, &mut commands);
            Sent { key, print }
        })
        .collect();
    let number = cx.sys.migrations.next_number();
    let port = std::str::from_utf8(request.port).ok();
    let parcel = Parcel {
        client,
        number,
        host: String::from_utf8_lossy(request.host).into_owned(),
        port: port.and_then(|port| port.parse().ok()).unwrap_or(0),
        patience: Duration::from_millis(request.timeout),
        commands,
        count: greetings + sent.len(),
    };
    if !cx.sys.host.0.carry(parcel) {
        return Err(broken(Broken::Writing));
    }
    let trip = Trip {
        number,
        until,
        greetings,
        sent,
        error: again.and_then(|trip| trip.error),
        report: None,
    };
    cx.sys.migrations.set_out(client, trip);
    Ok(Flow::Block(Box::new(Block {
        keys: Vec::new(),
        deadline: None,
        argv: args.to_argv(),
        wake: Wake::Type(""),
        retry_at: None,
        timeout_reply: TimeoutReply::Elsewhere,
    })))
}

/// Adds the command that makes a key there what it is here.
fn pack(cx: &Ctx<'_>, key: &[u8], replace: bool, commands: &mut Vec<u8>) -> Option<Print> {
    let Some(record) = cx.ks.peek(key) else {
        encode_command(commands, &[b"DEL", key]);
        return None;
    };
    let deadline = record.expire_at();
    let payload = dump::to_payload(record.value(), cx.sys.cfg.rdbcompression);
    let ttl = deadline.map_or(0, |at| at.saturating_sub(cx.now).max(1));
    let mut text = itoa::Buffer::new();
    let mut words = vec![&b"RESTORE"[..], key, text.format(ttl).as_bytes(), &payload];
    if replace {
        words.push(b"REPLACE");
    }
    encode_command(commands, &words);
    Some(print(&payload, deadline))
}

fn print(payload: &[u8], deadline: Option<i64>) -> Print {
    Print {
        sha1: sha1(payload),
        deadline,
    }
}

/// Deletes what has arrived and is still the same, and sends the rest again.
fn settle(
    cx: &mut Ctx<'_>,
    args: Args<'_>,
    request: &Request<'_>,
    client: u64,
    mut trip: Trip,
    report: Report,
) -> CmdResult {
    const CHANGED: CmdError = CmdError::fixed(
        "ERR Some keys did not stop changing while they were sent: they stay here, and the target has them as they were",
    );
    let mut answers = report.answers.into_iter();
    let greetings: Vec<_> = answers.by_ref().take(trip.greetings).collect();
    let refused = greetings.into_iter().find_map(Result::err);
    let mut again = Vec::new();
    for (sent, answer) in trip.sent.drain(..).zip(answers) {
        match answer {
            _ if refused.is_some() => {}
            Ok(()) if request.copy => {}
            Ok(()) => {
                if !part_with(cx, &sent) {
                    again.push(sent.key);
                }
            }
            Err(text) => drop(trip.error.get_or_insert(text)),
        }
    }
    if let Some(text) = refused
        .as_ref()
        .or(trip.error.as_ref())
        .filter(|_| again.is_empty())
    {
        return Err(CmdError::new(format!(
            "ERR Target instance replied with error: {text}"
        )));
    }
    match report.broken {
        Some(at) => Err(broken(at)),
        None if again.is_empty() => cx.ok(),
        None if cx.now >= trip.until => Err(CHANGED),
        None => {
            let until = trip.until;
            send(cx, args, request, client, again, until, Some(trip))
        }
    }
}

/// Deletes a key that the other server has, unless it is not what was sent any more. Whether both are at one.
fn part_with(cx: &mut Ctx<'_>, sent: &Sent) -> bool {
    let now = cx.ks.peek(&sent.key).map(|record| {
        let payload = dump::to_payload(record.value(), cx.sys.cfg.rdbcompression);
        print(&payload, record.expire_at())
    });
    if now != sent.print {
        return false;
    }
    if now.is_some() && cx.ks.discard(&sent.key, Event::DEL) {
        cx.fx.push(&[b"DEL", &sent.key]);
    }
    true
}

fn broken(at: Broken) -> CmdError {
    CmdError::fixed(match at {
        Broken::Connecting => "IOERR error or timeout connecting to the client",
        Broken::Writing => "IOERR error or timeout writing to target instance",
        Broken::Reading => "IOERR error or timeout reading to target instance",
    })
}
