//! DUMP and RESTORE.

use crate::exec::args::{Cursor, is};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx};
use crate::keyspace::event::Event;
use crate::rdb::{Reader, payload};
use crate::spec::{Group, KeySpec, Propagate, category, flag};
use crate::types::Value;
use crate::types::dump::{self, Read, Refused};

const RESTORE_SYNTAX: &str = "key:key ttl:int serialized-value:string [REPLACE@3.0.0] [ABSTTL@5.0.0] \
    [IDLETIME^seconds:int@5.0.0] [FREQ^frequency:int@5.0.0]";
const RESTORE_COMPLEXITY: &str =
    "O(N) where N is the number of elements in the value, O(N*log(N)) for sorted sets.";
const RESTORE_HISTORY: &[(&str, &str)] = &[
    ("3.0.0", "Added REPLACE."),
    ("5.0.0", "Added ABSTTL, IDLETIME and FREQ."),
];

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[
    Command::new("dump", 2, dump)
        .since("2.6.0")
        .group(Group::Generic)
        .read()
        .acl(&[category::KEYSPACE])
        .keys(&[KeySpec::at(1).ro().access()])
        .syntax("key:key")
        .summary("Return the value of a key in a form that RESTORE takes.")
        .complexity("O(N) where N is the number of elements in the value.")
        .tips(&["nondeterministic_output"])
        .checked(),
    Command::new("restore", -4, restore)
        .since("2.6.0")
        .group(Group::Generic)
        .write(Propagate::MayRewrite)
        .flags(&[flag::DENYOOM])
        .acl(&[category::KEYSPACE, category::DANGEROUS])
        .keys(&[KeySpec::at(1).ow().update()])
        .syntax(RESTORE_SYNTAX)
        .summary("Create a key with a value that DUMP returned.")
        .complexity(RESTORE_COMPLEXITY)
        .history(RESTORE_HISTORY)
        .checked(),
    Command::new("restore-asking", -4, restore)
        .since("3.0.0")
        .group(Group::Server)
        .write(Propagate::MayRewrite)
        .flags(&[flag::DENYOOM, flag::ASKING])
        .acl(&[category::KEYSPACE, category::DANGEROUS])
        .keys(&[KeySpec::at(1).ow().update()])
        .syntax(RESTORE_SYNTAX)
        .summary("RESTORE, as nodes of a cluster send it to each other.")
        .complexity(RESTORE_COMPLEXITY)
        .history(RESTORE_HISTORY)
        .syscmd()
        .checked(),
];

const BUSY_KEY: CmdError = CmdError::fixed("BUSYKEY Target key name already exists.");
const BAD_FOOTER: CmdError = CmdError::fixed("ERR DUMP payload version or checksum are wrong");
const BAD_FORMAT: CmdError = CmdError::fixed("ERR Bad data format");

fn dump(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    match cx.ks.read_any(args.at(1)) {
        Some(record) => {
            let compress = cx.sys.cfg.rdbcompression;
            let payload = dump::to_payload(record.value(), compress);
            cx.bulk(&payload)
        }
        None => cx.null(),
    }
}

fn restore(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (key, bytes) = (args.at(1), args.at(3));
    let options = Options::parse(args.cursor(4))?;
    if !options.replace && cx.ks.peek(key).is_some() {
        return Err(BUSY_KEY);
    }
    let deadline = options.deadline(args.int(2)?, cx.now)?;
    let object = payload::open(bytes, !cx.sys.debug.checksums_skipped).map_err(|_| BAD_FOOTER)?;
    cx.sys.stats.payloads_checked += 1;
    let value = load(cx, object).map_err(|refused| {
        tracing::debug!("RESTORE: {refused}");
        BAD_FORMAT
    })?;
    match value {
        Read::Empty => return Err(BAD_FORMAT),
        Read::Value(mut value) if !deadline.is_some_and(|at| cx.ks.is_past(at)) => {
            let over = take_over(cx, &mut value);
            if value.is_vanished() {
                put_nothing(cx, key);
            } else {
                cx.ks
                    .restore(key, value, deadline, Event::generic("restore"));
                options.set_uses(cx, key);
                propagate(cx, args, deadline.filter(|_| !options.absolute), &over);
            }
        }
        _ => put_nothing(cx, key),
    }
    cx.ok()
}

/// Reads an object, into the encodings that the configuration asks for, with what is over in it.
pub(super) fn load(cx: &Ctx<'_>, object: &[u8]) -> Result<Read, Refused> {
    let limits = crate::exec::limits(cx.sys, cx.ks.seed());
    let mut r = Reader::new(object);
    // What follows the object is of no interest, as with Redis.
    dump::read(r.tag()?, &mut r, &limits, i64::MIN)
}

/// Takes the fields out that are over; gives their names.
fn take_over(cx: &Ctx<'_>, value: &mut Value) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    if let Value::Hash(hash) = value {
        let tell = |name: &[u8]| names.push(name.to_vec());
        hash.expire(cx.ks.horizon(), usize::MAX, tell);
    }
    names
}

/// The time of what is restored is over: it takes the place of what was there all the same.
fn put_nothing(cx: &mut Ctx<'_>, key: &[u8]) {
    let later = cx.sys.cfg.lazyfree_lazy_server_del;
    if cx.ks.discard(key, Event::DEL) {
        let command: &[u8] = if later { b"UNLINK" } else { b"DEL" };
        cx.fx.push(&[command, key]);
    }
}

/// Propagates with a deadline in place of a time to live, and without the fields that were over.
fn propagate(cx: &mut Ctx<'_>, args: Args<'_>, at: Option<i64>, over: &[Vec<u8>]) {
    if !cx.fx.wanted() || (at.is_none() && over.is_empty()) {
        return;
    }
    let mut text = itoa::Buffer::new();
    let mut words = args.all().to_vec();
    words[0] = cx.logged_name(args);
    if let Some(at) = at {
        words[2] = text.format(at).as_bytes();
        words.push(b"ABSTTL");
    }
    cx.fx.push(&words);
    for field in over {
        cx.fx.push(&[b"HDEL", args.at(1), field]);
    }
}

/// What may follow the payload.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    replace: bool,
    /// The time to live is a deadline in unix milliseconds.
    absolute: bool,
    /// Seconds since the last use.
    idle: Option<u64>,
    /// How often the key is used.
    frequency: Option<u8>,
}

impl Options {
    fn parse(mut words: Cursor<'_>) -> Result<Options, CmdError> {
        let mut it = Options::default();
        while let Some(word) = words.next() {
            if is(word, "REPLACE") {
                it.replace = true;
            } else if is(word, "ABSTTL") {
                it.absolute = true;
            } else if is(word, "IDLETIME") && it.frequency.is_none() {
                const INVALID: &str = "ERR Invalid IDLETIME value, must be >= 0";
                let idle = u64::try_from(words.int()?);
                it.idle = Some(idle.map_err(|_| CmdError::fixed(INVALID))?);
            } else if is(word, "FREQ") && it.idle.is_none() {
                const INVALID: &str = "ERR Invalid FREQ value, must be >= 0 and <= 255";
                let frequency = u8::try_from(words.int()?);
                it.frequency = Some(frequency.map_err(|_| CmdError::fixed(INVALID))?);
            } else {
                return Err(CmdError::SYNTAX);
            }
        }
        Ok(it)
    }

    /// The deadline that a time to live means; 0 is none. One that overflows has passed.
    fn deadline(self, ttl: i64, now: i64) -> Result<Option<i64>, CmdError> {
        const INVALID: CmdError = CmdError::fixed("ERR Invalid TTL value, must be >= 0");
        match ttl {
            ..0 => Err(INVALID),
            0 => Ok(None),
            at if self.absolute => Ok(Some(at)),
            ttl => Ok(Some(ttl.wrapping_add(now))),
        }
    }

    fn set_uses(self, cx: &mut Ctx<'_>, key: &[u8]) {
        if let Some(idle) = self.idle {
            cx.ks.set_idle(key, idle);
        }
        if let Some(frequency) = self.frequency {
            cx.ks.set_frequency(key, frequency);
        }
    }
}
