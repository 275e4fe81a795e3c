//! Whole databases: DBSIZE, KEYS, SCAN, RANDOMKEY, SWAPDB, FLUSHDB, FLUSHALL.

use crate::ds::bytes::SmallBytes;
use crate::exec::args::{Cursor, int, is};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow, persist};
use crate::keyspace::{Keyspace, Record};
use crate::spec::{Group, Propagate, category, flag};
use crate::util::glob;

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("dbsize", 1, dbsize)
        .since("1.0.0")
        .group(Group::Server)
        .read()
        .flags(&[flag::FAST])
        .acl(&[category::KEYSPACE])
        .summary("Return the number of keys in the selected database.")
        .complexity("O(1)")
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .checked(),
    Command::new("keys", 2, keys)
        .since("1.0.0")
        .group(Group::Generic)
        .read()
        .acl(&[category::KEYSPACE, category::DANGEROUS])
        .syntax("pattern:pattern")
        .summary("Return all keys that match a pattern.")
        .complexity("O(N) where N is the number of keys in the database.")
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .checked(),
    Command::new("scan", -2, scan)
        .since("2.8.0")
        .group(Group::Generic)
        .read()
        .flags(&[flag::TOUCHES_ARBITRARY_KEYS])
        .acl(&[category::KEYSPACE])
        .syntax("cursor:int [MATCH^pattern:pattern] [COUNT^count:int] [TYPE^type@6.0.0]")
        .summary("Walk over the keys step by step: return some, and where to go on.")
        .complexity("O(1) for a call, O(N) for a walk over all N keys.")
        .history(&[("6.0.0", "Added TYPE.")])
        .tips(&[
            "nondeterministic_output",
            "request_policy:special",
            "response_policy:special",
        ])
        .checked(),
    Command::new("randomkey", 1, randomkey)
        .since("1.0.0")
        .group(Group::Generic)
        .read()
        .flags(&[flag::TOUCHES_ARBITRARY_KEYS])
        .acl(&[category::KEYSPACE])
        .summary("Return a key drawn at random.")
        .complexity("O(1)")
        .tips(&[
            "request_policy:all_shards",
            "response_policy:special",
            "nondeterministic_output",
        ])
        .checked(),
    Command::new("swapdb", 3, swapdb)
        .since("4.0.0")
        .group(Group::Server)
        .write(Propagate::Verbatim)
        .flags(&[flag::FAST])
        .acl(&[category::KEYSPACE, category::DANGEROUS])
        .syntax("index1:int index2:int")
        .summary("Exchange the contents of two databases.")
        .complexity("O(N) where N is the number of clients that watch or wait for keys of either.")
        .checked(),
    Command::new("flushdb", -1, flushdb)
        .since("1.0.0")
        .group(Group::Server)
        .write(Propagate::Verbatim)
        .acl(&[category::KEYSPACE, category::DANGEROUS])
        .syntax("[flush-type=(ASYNC@4.0.0 | SYNC@6.2.0)]")
        .summary("Delete all keys of the selected database.")
        .complexity("O(N) where N is the number of keys in the database.")
        .history(&[("4.0.0", "Added ASYNC."), ("6.2.0", "Added SYNC.")])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .checked(),
    Command::new("flushall", -1, flushall)
        .since("1.0.0")
        .group(Group::Server)
        .write(Propagate::Verbatim)
        .acl(&[category::KEYSPACE, category::DANGEROUS])
        .syntax("[flush-type=(ASYNC@4.0.0 | SYNC@6.2.0)]")
        .summary("Delete all keys of all databases.")
        .complexity("O(N) where N is the number of keys in all databases.")
        .history(&[("4.0.0", "Added ASYNC."), ("6.2.0", "Added SYNC.")])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .checked(),
];

/// The number of a database that exists.
pub(super) fn index_of(ks: &Keyspace, arg: &[u8]) -> Result<usize, CmdError> {
    const OUT_OF_INT: &str =
        "ERR value is out of range, value must between -2147483648 and 2147483647";
    let number = i32::try_from(int(arg)?).map_err(|_| CmdError::fixed(OUT_OF_INT))?;
    let index = usize::try_from(number).map_err(|_| CmdError::DB_RANGE)?;
    match index < ks.databases() {
        true => Ok(index),
        false => Err(CmdError::DB_RANGE),
    }
}

/// Keys count until they are deleted, also when their time is over.
fn dbsize(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let len = cx.ks.db(cx.ks.current()).map_or(0, |db| db.len());
    cx.count(len)
}

/// Which keys are wanted: `*` takes all of them, even the empty one, which no pattern with a star matches.
#[derive(Default)]
pub(super) struct Wanted<'a>(Option<&'a [u8]>);

impl<'a> Wanted<'a> {
    /// Those that match a pattern.
    pub(super) fn new(pattern: &'a [u8]) -> Wanted<'a> {
        Wanted((pattern != b"*").then_some(pattern))
    }

    /// Whether this one is wanted.
    pub(super) fn takes(&self, key: &[u8]) -> bool {
        self.0.is_none_or(|p| glob::matches(p, key, false))
    }
}

/// What SCAN and its like may be told.
pub(super) struct Walk<'a> {
    /// Which names to answer with.
    pub(super) wanted: Wanted<'a>,
    /// About how many to look at.
    pub(super) count: usize,
}

impl<'a> Walk<'a> {
    /// Reads the options; `more` takes those that one command has alone, and says whether a word is one.
    pub(super) fn parse(
        mut options: Cursor<'a>,
        mut more: impl FnMut(&[u8], &mut Cursor<'a>) -> Result<bool, CmdError>,
    ) -> Result<Walk<'a>, CmdError> {
        let (mut wanted, mut count) = (Wanted::default(), 10);
        while let Some(word) = options.next() {
            if is(word, "COUNT") {
                count = options.int()?;
                if count < 1 {
                    return Err(CmdError::SYNTAX);
                }
            } else if is(word, "MATCH") {
                wanted = Wanted::new(options.word()?);
            } else if !more(word, &mut options)? {
                return Err(CmdError::SYNTAX);
            }
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Ok(Walk { wanted, count })
    }
}

fn keys(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let wanted = Wanted::new(args.at(1));
    let out = cx.reply.deferred_array();
    let mut n = 0;
    cx.ks.for_each(|record| {
        if wanted.takes(record.key()) {
            cx.reply.bulk(record.key());
            n += 1;
        }
    });
    out.finish(cx.reply, n);
    Ok(Flow::Done)
}

fn scan(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let cursor = parse_cursor(args.at(1))?;
    let mut type_name = None;
    let Walk { wanted, count } = Walk::parse(args.cursor(2), |word, options| {
        let mine = is(word, "TYPE");
        if mine {
            type_name = Some(options.word()?);
        }
        Ok(mine)
    })?;
    let mut found = Vec::new();
    // Of which type a key is comes last: one whose time is over is found out before.
    let fits = |record: &Record| wanted.takes(record.key());
    let next = cx.ks.scan(cursor, count, fits, |record| {
        // A type that does not exist is one that no key has.
        if type_name.is_none_or(|name| is(name, record.value().type_name())) {
            found.push(SmallBytes::from(record.key()));
        }
    });
    cx.reply.array(2);
    let mut text = itoa::Buffer::new();
    cx.reply.bulk(text.format(next).as_bytes());
    cx.reply.array(found.len());
    found.iter().for_each(|key| cx.reply.bulk(key));
    Ok(Flow::Done)
}

/// As C's `strtoul` reads a number: a sign is allowed and nothing at all is 0.
pub(super) fn parse_cursor(arg: &[u8]) -> Result<u64, CmdError> {
    const INVALID: CmdError = CmdError::fixed("ERR invalid cursor");
    let (negative, digits) = match arg {
        [] => return Ok(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(INVALID);
    }
    let number = digits.iter().try_fold(0u64, |n, digit| {
        n.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    let number = number.ok_or(INVALID)?;
    Ok(if negative {
        number.wrapping_neg()
    } else {
        number
    })
}

fn randomkey(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let rng = &mut cx.sys.rng;
    match cx.ks.random_key(|| rng.next_u64()) {
        Some(record) => cx.reply.bulk(record.key()),
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}

fn swapdb(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let number = |i, error| match int(args.at(i)).map(i32::try_from) {
        Ok(Ok(number)) => Ok(number),
        _ => Err(CmdError::fixed(error)),
    };
    let first = number(1, "ERR invalid first DB index")?;
    let second = number(2, "ERR invalid second DB index")?;
    let index = |number| match usize::try_from(number) {
        Ok(index) if index < cx.ks.databases() => Ok(index),
        _ => Err(CmdError::DB_RANGE),
    };
    let (first, second) = (index(first)?, index(second)?);
    if first != second {
        cx.ks.swap(first, second);
    }
    cx.ks.mark_dirty(1);
    cx.ok()
}

/// Whether to drop the contents later.
fn flush_later(cx: &Ctx<'_>, args: Args<'_>) -> Result<bool, CmdError> {
    match args.from(1) {
        [] => Ok(cx.sys.cfg.lazyfree_lazy_user_flush),
        [how] if is(how, "ASYNC") => Ok(true),
        [how] if is(how, "SYNC") => Ok(false),
        _ => Err(CmdError::SYNTAX),
    }
}

fn flushdb(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let later = flush_later(cx, args)?;
    let n = cx.ks.flush(cx.ks.current(), later);
    // An empty database is flushed too, for those who follow the log.
    cx.ks.mark_dirty(n.max(1) as u64);
    cx.ok()
}

fn flushall(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let later = flush_later(cx, args)?;
    let n: usize = (0..cx.ks.databases())
        .map(|db| cx.ks.flush(db, later))
        .sum();
    cx.ks.mark_dirty(n as u64 + 1);
    persist::save::flushed(cx.ks, cx.sys);
    cx.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_c_reads_it() {
        for (text, cursor) in [
            ("", Some(0)),
            ("0", Some(0)),
            ("+7", Some(7)),
            ("-1", Some(u64::MAX)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-", None),
            (" 1", None),
            ("1x", None),
            ("+-1", None),
        ] {
            assert_eq!(parse_cursor(text.as_bytes()).ok(), cursor, "{text}");
        }
    }
}
