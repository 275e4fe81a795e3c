//! XGROUP, XACK, XACKDEL and XNACK.

use super::range::{code, missing_all};
use super::{edit_group, ids, lossy, no_group, no_group_of_key, refs_and_ids, wire};
use crate::exec::args::{int, is};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::keyspace::event::Event;
use crate::keyspace::{Edit, Keyspace};
use crate::spec::{Group as Family, KeySpec, Propagate, flag};
use crate::types::stream::{DeletedEx, Group, NackMode, Stream, StreamId};

/// The rows of this part.
pub(crate) const COMMANDS: &[Command] = &[
    Command::container("xgroup", -2)
        .since("5.0.0")
        .group(Family::Stream)
        .summary("Consumer groups.")
        .complexity("As the subcommand.")
        .subs(&[
            Command::new("create", -5, create)
                .since("5.0.0")
                .group(Family::Stream)
                .write(Propagate::Verbatim)
                .flags(&[flag::DENYOOM])
                .keys(&[KeySpec::at(2).rw().insert()])
                .syntax(
                    "key:key group id-selector=(id | new-id='$') [MKSTREAM] \
                     [ENTRIESREAD^entriesread:int\"entries-read\"]",
                )
                .summary("Make a consumer group.")
                .complexity("O(1)")
                .history(&[("7.0.0", "Added `ENTRIESREAD`.")])
                .checked(),
            Command::new("createconsumer", 5, create_consumer)
                .since("6.2.0")
                .group(Family::Stream)
                .write(Propagate::Verbatim)
                .flags(&[flag::DENYOOM])
                .keys(&[KeySpec::at(2).rw().insert()])
                .syntax("key:key group consumer")
                .summary("Make a consumer in a group.")
                .complexity("O(1)")
                .checked(),
            Command::new("delconsumer", 5, delete_consumer)
                .since("5.0.0")
                .group(Family::Stream)
                .write(Propagate::Verbatim)
                .keys(&[KeySpec::at(2).rw().delete()])
                .syntax("key:key group consumer")
                .summary("Delete a consumer with all it has pending.")
                .complexity("O(N log P) for N of its entries among P pending ones")
                .checked(),
            Command::new("destroy", 4, destroy)
                .since("5.0.0")
                .group(Family::Stream)
                .write(Propagate::Verbatim)
                .keys(&[KeySpec::at(2).rw().delete()])
                .syntax("key:key group")
                .summary("Delete a consumer group with all that is pending in it.")
                .complexity("O(N) for N pending entries")
                .checked(),
            Command::help("5.0.0", Family::Stream, help).checked(),
            Command::new("setid", -5, set_id)
                .since("5.0.0")
                .group(Family::Stream)
                .write(Propagate::Verbatim)
                .keys(&[KeySpec::at(2).rw().update()])
                .syntax(
                    "key:key group id-selector=(id | new-id='$') \
                     [ENTRIESREAD^entriesread:int\"entries-read\"]",
                )
                .summary("Set the last id delivered to a group.")
                .complexity("O(1)")
                .history(&[("7.0.0", "Added `ENTRIESREAD`.")])
                .checked(),
        ])
        .checked(),
    Command::new("xack", -4, xack)
        .since("5.0.0")
        .group(Family::Stream)
        .write(Propagate::Verbatim)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().update()])
        .syntax("key:key group ID:string...")
        .summary("Acknowledge entries: they are no longer pending.")
        .complexity("O(log P) for each id among P pending ones")
        .checked(),
    Command::new("xackdel", -6, xackdel)
        .since("8.2.0")
        .group(Family::Stream)
        .write(Propagate::Verbatim)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().update().delete()])
        .syntax("key:key group [condition=(KEEPREF | DELREF | ACKED)] IDS^ids={numids:int id...=numids}")
        .summary("Acknowledge entries and delete them from the stream.")
        .complexity("O(log P) for each id among P pending ones, times the number of groups")
        .checked(),
    Command::new("xnack", -7, xnack)
        .since("8.8.0")
        .group(Family::Stream)
        .write(Propagate::Verbatim)
        .flags(&[flag::FAST])
        .keys(&[KeySpec::at(1).rw().update()])
        .syntax(
            "key:key group mode=(SILENT | FAIL | FATAL) IDS^ids={numids:int id...=numids} \
             [RETRYCOUNT^count:int] [FORCE]",
        )
        .summary("Hand pending entries back, for any consumer to claim at once.")
        .complexity("O(log P) for each id among P pending ones")
        .checked(),
];

const NO_STREAM: CmdError = CmdError::fixed(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the \
     MKSTREAM option to create an empty stream automatically.",
);

fn bad_subcommand(args: Args<'_>) -> CmdError {
    CmdError::new(format!(
        "ERR unknown subcommand or wrong number of arguments for '{}'. Try XGROUP HELP.",
        lossy(args.at(1))
    ))
}

/// The options behind the id of CREATE and SETID.
#[derive(Default)]
struct Options {
    mkstream: bool,
    entries_read: Option<u64>,
}

impl Options {
    fn parse(args: Args<'_>, create: bool) -> Result<Self, CmdError> {
        let mut options = Self::default();
        let mut rest = args.cursor(5);
        while let Some(word) = rest.next() {
            if create && is(word, "MKSTREAM") {
                options.mkstream = true;
            } else if is(word, "ENTRIESREAD") && rest.left() > 0 {
                options.entries_read = match rest.int()? {
                    -1 => None,
                    n => Some(u64::try_from(n).map_err(|_| {
                        CmdError::fixed("ERR value for ENTRIESREAD must be positive or -1")
                    })?),
                };
            } else {
                return Err(bad_subcommand(args));
            }
        }
        Ok(options)
    }
}

fn create(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let options = Options::parse(args, true)?;
    let (key, name) = (args.at(2), args.at(3));
    let stream = cx.ks.look::<Stream>(key)?;
    if stream.is_none() && !options.mkstream {
        return Err(NO_STREAM);
    }
    if args.len() > 8 {
        return Err(bad_subcommand(args));
    }
    let id = match args.at(4) {
        b"$" => stream.map_or(StreamId::MIN, |s| s.log().last_id()),
        id => StreamId::parse(id, 0)?,
    };
    if stream.is_some_and(|s| s.group(name).is_some()) {
        return Err(CmdError::fixed(
            "BUSYGROUP Consumer Group name already exists",
        ));
    }
    let mut edit = cx.ks.edit_or_create(key, Stream::new)?;
    edit.get_mut()
        .add_group(name, Group::new(id, options.entries_read));
    let event = Event::stream("xgroup-create");
    // Only a new stream is a change to those who watch the key.
    if edit.created {
        edit.changed(1, event)
    } else {
        edit.quiet(1, event)
    }
    cx.ok()
}

/// Opens the stream of a subcommand that needs the key and, but for DESTROY, the group.
fn open<'a>(
    ks: &'a mut Keyspace,
    args: Args<'_>,
    needs_group: bool,
) -> Result<Edit<'a, Stream>, CmdError> {
    let (key, name) = (args.at(2), args.at(3));
    let edit = ks.edit::<Stream>(key)?.ok_or(NO_STREAM)?;
    if needs_group && edit.group(name).is_none() {
        return Err(no_group_of_key(key, name));
    }
    Ok(edit)
}

fn set_id(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let options = Options::parse(args, false)?;
    let mut edit = open(cx.ks, args, true)?;
    if args.len() != 5 && args.len() != 7 {
        return Err(bad_subcommand(args));
    }
    let id = match args.at(4) {
        b"$" => edit.log().last_id(),
        id => StreamId::parse_or_edge(id, 0)?,
    };
    edit.get_mut()
        .with_group(args.at(3), |_, g| g.set_id(id, options.entries_read));
    edit.quiet(1, Event::stream("xgroup-setid"));
    cx.ok()
}

fn destroy(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let mut edit = open(cx.ks, args, false)?;
    if !edit.get_mut().remove_group(args.at(3)) {
        edit.unchanged();
        return cx.int(0);
    }
    edit.quiet(1, Event::stream("xgroup-destroy"));
    // Whoever waits for the group is to learn that it is gone; who watches the key is not concerned.
    cx.sys.waiters.signal(cx.ks.current(), &args.at(2).into());
    cx.int(1)
}

fn create_consumer(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let now = cx.now;
    let mut edit = open(cx.ks, args, true)?;
    let added = edit
        .get_mut()
        .with_group(args.at(3), |_, g| g.add_consumer(args.at(4), now).1);
    if added == Some(true) {
        edit.quiet(1, Event::stream("xgroup-createconsumer"));
        return cx.int(1);
    }
    edit.unchanged();
    cx.int(0)
}

fn delete_consumer(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let mut edit = open(cx.ks, args, true)?;
    let gone = edit
        .get_mut()
        .with_group(args.at(3), |_, g| g.remove_consumer(args.at(4)));
    let Some(pending) = gone.flatten() else {
        edit.unchanged();
        return cx.int(0);
    };
    edit.quiet(1, Event::stream("xgroup-delconsumer"));
    cx.count(pending)
}

fn help(cx: &mut Ctx<'_>, _args: Args<'_>) -> CmdResult {
    cx.help(&[
        "CREATE <key> <group> <id | $> [MKSTREAM] [ENTRIESREAD <entries-read>]",
        "    Make a group that starts behind an id. Options:",
        "    * MKSTREAM",
        "      Make the stream if it is not there.",
        "    * ENTRIESREAD <entries-read>",
        "      How many entries were read up to the id; for internal use.",
        "CREATECONSUMER <key> <group> <consumer>",
        "    Make a consumer in a group.",
        "DELCONSUMER <key> <group> <consumer>",
        "    Delete a consumer with all it has pending.",
        "DESTROY <key> <group>",
        "    Delete a group.",
        "SETID <key> <group> <id | $> [ENTRIESREAD <entries-read>]",
        "    Set the last id delivered to a group.",
    ])
}

fn xack(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (key, name) = (args.at(1), args.at(2));
    let Some(mut edit) = edit_group(cx.ks, key, name)? else {
        cx.reply.int(0);
        return Ok(Flow::Done);
    };
    let ids = ids(args.from(3))?;
    let acked = edit
        .get_mut()
        .with_group(name, |_, g| ids.iter().filter(|id| g.ack(**id)).count());
    match acked.map(u64::try_from) {
        None | Some(Ok(0) | Err(_)) => edit.unchanged(),
        Some(Ok(n)) => edit.quiet(n, None),
    }
    cx.count(acked.unwrap_or(0))
}

fn xackdel(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (refs, ids) = refs_and_ids(args.cursor(3))?;
    let (key, name) = (args.at(1), args.at(2));
    let Some(mut edit) = edit_group(cx.ks, key, name)? else {
        missing_all(cx.reply, ids.len());
        return Ok(Flow::Done);
    };
    let before = edit.len();
    let stream = edit.get_mut();
    let mut acked = 0;
    cx.reply.array(ids.len());
    for id in ids {
        let done = stream.ack_delete(name, id, refs);
        acked += u64::from(!matches!(done, DeletedEx::Missing { .. }));
        cx.reply.int(code(done));
    }
    let deleted = before != edit.len();
    match acked {
        0 => edit.unchanged(),
        n if deleted => edit.changed(n, Event::stream("xdel")),
        n => edit.quiet(n, None),
    }
    Ok(Flow::Done)
}

/// A parsed XNACK.
struct Nack {
    mode: NackMode,
    ids: Vec<StreamId>,
    count: Option<u64>,
    force: bool,
}

impl Nack {
    fn parse(args: Args<'_>) -> Result<Self, CmdError> {
        let mode = match args.at(3) {
            w if is(w, "SILENT") => NackMode::Silent,
            w if is(w, "FAIL") => NackMode::Fail,
            w if is(w, "FATAL") => NackMode::Fatal,
            _ => return Err(CmdError::fixed("ERR mode must be SILENT, FAIL, or FATAL")),
        };
        let (mut given, mut count, mut force) = (None, None, false);
        let mut rest = args.cursor(4);
        while let Some(word) = rest.next() {
            if is(word, "IDS") && given.is_none() && rest.left() > 0 {
                let n = int(rest.word()?)
                    .ok()
                    .and_then(|n| usize::try_from(n).ok())
                    .filter(|n| *n > 0);
                let n = n.ok_or(CmdError::fixed("ERR numids must be a positive integer"))?;
                if n > rest.left() {
                    return Err(CmdError::fixed("ERR number of IDs doesn't match numids"));
                }
                given = Some(rest.by_ref().take(n).collect::<Vec<_>>());
            } else if is(word, "RETRYCOUNT") && rest.left() > 0 {
                let n = u64::try_from(rest.int()?);
                count =
                    Some(n.map_err(|_| {
                        CmdError::fixed("ERR Invalid RETRYCOUNT value, must be >= 0")
                    })?);
            } else if is(word, "FORCE") {
                force = true;
            } else {
                return Err(CmdError::new(format!(
                    "ERR Unrecognized XNACK option '{}'",
                    lossy(word)
                )));
            }
        }
        let given = given.ok_or(CmdError::fixed("ERR syntax error, expected IDS keyword"))?;
        Ok(Self {
            mode,
            ids: ids(&given)?,
            count,
            force,
        })
    }
}

fn xnack(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (key, name) = (args.at(1), args.at(2));
    let nack = Nack::parse(args)?;
    let mut edit = edit_group(cx.ks, key, name)?.ok_or_else(|| no_group(key, name))?;
    let done = edit.get_mut().with_group(name, |log, g| {
        let ids = nack.ids.iter();
        ids.filter(|id| g.nack(log, **id, nack.mode, nack.count, nack.force))
            .count()
    });
    let done = u64::try_from(done.unwrap_or(0)).unwrap_or(u64::MAX);
    if done == 0 {
        edit.unchanged();
        return cx.int(0);
    }
    edit.quiet(done, None);
    // They can be claimed at once by readers that wait with CLAIM.
    cx.sys.waiters.signal(cx.ks.current(), &key.into());
    cx.int(wire(done))
}
