//! Keys, whatever they hold: DEL, EXISTS, TYPE, RENAME, COPY, MOVE and the like.

use super::databases::index_of;
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::keyspace::event::Event;
use crate::spec::{Group, KeySpec, Propagate, category, flag};

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("del", -2, del)
        .since("1.0.0")
        .group(Group::Generic)
        .write(Propagate::Verbatim)
        .acl(&[category::KEYSPACE])
        .keys(&[KeySpec::at(1).range(-1, 1, 0).rm().delete()])
        .syntax("key:key...")
        .summary("Delete keys; return how many there were.")
        .complexity(
            "O(N) where N is the number of keys, and of elements in the collections they hold.",
        )
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .checked(),
    Command::new("unlink", -2, unlink)
        .since("4.0.0")
        .group(Group::Generic)
        .write(Propagate::Verbatim)
        .flags(&[flag::FAST])
        .acl(&[category::KEYSPACE])
        .keys(&[KeySpec::at(1).range(-1, 1, 0).rm().delete()])
        .syntax("key:key...")
        .summary("Delete keys, and free the memory of large values later.")
        .complexity("O(1) for each key, whatever it holds; its memory is freed aside.")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .checked(),
    Command::new("exists", -2, exists)
        .since("1.0.0")
        .group(Group::Generic)
        .read()
        .flags(&[flag::FAST])
        .acl(&[category::KEYSPACE])
        .keys(&[KeySpec::at(1).range(-1, 1, 0).ro()])
        .syntax("key:key...")
        .summary("Return how many of the keys exist; a key named twice counts twice.")
        .complexity("O(N) where N is the number of keys.")
        .history(&[("3.0.3", "Accepts several keys.")])
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .checked(),
    Command::new("touch", -2, touch)
        .since("3.2.1")
        .group(Group::Generic)
        .read()
        .flags(&[flag::FAST])
        .acl(&[category::KEYSPACE])
        .keys(&[KeySpec::at(1).range(-1, 1, 0).ro()])
        .syntax("key:key...")
        .summary("Count as an access to the keys; return how many of them exist.")
        .complexity("O(N) where N is the number of keys.")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .checked(),
    Command::new("type", 2, type_of)
        .since("1.0.0")
        .group(Group::Generic)
        .read()
        .flags(&[flag::FAST])
        .acl(&[category::KEYSPACE])
        .keys(&[KeySpec::at(1).ro()])
        .syntax("key:key")
        .summary("Return the type of the value at a key.")
        .complexity("O(1)")
        .checked(),
    Command::new("rename", 3, rename)
        .since("1.0.0")
        .group(Group::Generic)
        .write(Propagate::Verbatim)
        .acl(&[category::KEYSPACE])
        .keys(&[
            KeySpec::at(1).rw().access().delete(),
            KeySpec::at(2).ow().update(),
        ])
        .syntax("key:key newkey:key#1")
        .summary("Give a key another name, whatever had that name before.")
        .complexity("O(1)")
        .checked(),
    Command::new("renamenx", 3, renamenx)
        .since("1.0.0")
        .group(Group::Generic)
        .write(Propagate::Verbatim)
        .flags(&[flag::FAST])
        .acl(&[category::KEYSPACE])
        .keys(&[
            KeySpec::at(1).rw().access().delete(),
            KeySpec::at(2).ow().insert(),
        ])
        .syntax("key:key newkey:key#1")
        .summary("Give a key another name, unless that is taken.")
        .complexity("O(1)")
        .history(&[("3.2.0", "The same name twice is no error any more.")])
        .checked(),
    Command::new("copy", -3, copy)
        .since("6.2.0")
        .group(Group::Generic)
        .write(Propagate::Verbatim)
        .flags(&[flag::DENYOOM])
        .acl(&[category::KEYSPACE])
        .keys(&[KeySpec::at(1).ro().access(), KeySpec::at(2).ow().update()])
        .syntax("source:key destination:key#1 [DB^destination-db:int] [REPLACE]")
        .summary("Copy a key with its value and time to live.")
        .complexity("O(N) where N is the number of elements in the value; O(1) for strings.")
        .checked(),
    Command::new("move", 3, move_to)
        .since("1.0.0")
        .group(Group::Generic)
        .write(Propagate::Verbatim)
        .flags(&[flag::FAST])
        .acl(&[category::KEYSPACE])
        .keys(&[KeySpec::at(1).rw().access().update()])
        .syntax("key:key db:int")
        .summary("Move a key to another database, unless it has a key of that name.")
        .complexity("O(1)")
        .checked(),
];

fn del(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    match cx.sys.cfg.lazyfree_lazy_user_del {
        true => unlink(cx, args),
        false => {
            let keys = args.from(1).iter();
            let n = keys.filter(|key| cx.ks.delete(key, Event::DEL)).count();
            cx.count(n)
        }
    }
}

fn unlink(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let keys = args.from(1).iter();
    let n = keys.filter(|key| cx.ks.unlink(key, Event::DEL)).count();
    cx.count(n)
}

fn exists(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let keys = args.from(1).iter();
    let n = keys.filter(|key| cx.ks.read_meta(key).is_some()).count();
    cx.count(n)
}

/// It counts as an access also for a client that said CLIENT NO-TOUCH.
fn touch(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let before = std::mem::replace(&mut cx.ks.touch, true);
    let keys = args.from(1).iter();
    let n = keys.filter(|key| cx.ks.read_any(key).is_some()).count();
    cx.ks.touch = before;
    cx.count(n)
}

fn type_of(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let record = cx.ks.read_meta(args.at(1));
    cx.reply
        .simple(record.map_or("none", |r| r.value().type_name()));
    Ok(Flow::Done)
}

const RENAME_EVENTS: (Event, Event) = (Event::generic("rename_from"), Event::generic("rename_to"));
const MOVE_EVENTS: (Event, Event) = (Event::generic("move_from"), Event::generic("move_to"));

fn rename(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (from, to, db) = (args.at(1), args.at(2), cx.ks.current());
    if cx.ks.peek(from).is_none() {
        return Err(CmdError::NO_SUCH_KEY);
    }
    if from != to {
        cx.ks.relocate((db, from), (db, to), RENAME_EVENTS);
    }
    cx.ok()
}

fn renamenx(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (from, to, db) = (args.at(1), args.at(2), cx.ks.current());
    if cx.ks.peek(from).is_none() {
        return Err(CmdError::NO_SUCH_KEY);
    }
    let free = cx.ks.peek(to).is_none();
    if free {
        cx.ks.relocate((db, from), (db, to), RENAME_EVENTS);
    }
    cx.int(i64::from(free))
}

fn move_to(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (key, db) = (args.at(1), cx.ks.current());
    let to = index_of(cx.ks, args.at(2))?;
    if to == db {
        return Err(CmdError::SAME_OBJECT);
    }
    let moves = cx.ks.peek(key).is_some() && cx.ks.peek_in(to, key).is_none();
    if moves {
        cx.ks.relocate((db, key), (to, key), MOVE_EVENTS);
    }
    cx.int(i64::from(moves))
}

fn copy(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (from, to, db) = (args.at(1), args.at(2), cx.ks.current());
    let (mut to_db, mut replace) = (db, false);
    let mut options = args.cursor(3);
    while let Some(word) = options.next() {
        if is(word, "REPLACE") {
            replace = true;
        } else if is(word, "DB") {
            to_db = index_of(cx.ks, options.word()?)?;
        } else {
            return Err(CmdError::SYNTAX);
        }
    }
    if to_db == db && from == to {
        return Err(CmdError::SAME_OBJECT);
    }
    let copies = cx.ks.read_any(from).is_some() && (replace || cx.ks.peek_in(to_db, to).is_none());
    if copies {
        cx.ks
            .duplicate((db, from), (to_db, to), Event::generic("copy_to"));
    }
    cx.int(i64::from(copies))
}
