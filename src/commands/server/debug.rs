//! DEBUG.

use std::time::Duration;

use super::{allowed, config};
use crate::exec::args::is;
use crate::exec::functions::Policy;
use crate::exec::persist;
use crate::exec::persist::load::{self, Reload};
use crate::exec::replication::{self, feed};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow, ScriptCall};
use crate::keyspace::{Db, Expiry, Record};
use crate::resp::{Proto, ReplyBuf};
use crate::spec::{Group, flag};
use crate::types::Value;
use crate::types::digest::Digest;
use crate::types::string::Str;
use crate::util::{glob, num};

/// The rows of this family.
pub(crate) const COMMANDS: &[Command] = &[Command::new("debug", -2, debug)
    .since("1.0.0")
    .group(Group::Server)
    .flags(&[
        flag::ADMIN,
        flag::NOSCRIPT,
        flag::LOADING,
        flag::STALE,
        flag::PROTECTED,
    ])
    .summary("Look inside the server, for tests.")
    .complexity("Depends on the subcommand.")
    .syscmd()
    .checked()];

type Sub = fn(&mut Ctx<'_>, Args<'_>) -> CmdResult;

/// Name, least and greatest number of arguments with both names, function.
const SUBS: &[(&str, usize, usize, Sub)] = &[
    ("aof-flush-sleep", 3, 3, log_delay),
    ("change-repl-id", 2, 2, change_repl_id),
    ("config-rewrite-force-all", 2, 2, config_rewrite),
    ("digest", 2, 2, digest),
    ("digest-value", 2, usize::MAX, digest_value),
    ("error", 3, 3, error),
    ("help", 2, 2, help),
    ("listpack", 3, 3, listpack),
    ("htstats", 3, 4, htstats),
    ("htstats-key", 3, 4, htstats_key),
    ("loadaof", 2, 2, load_log),
    ("log", 3, 3, log),
    ("object", 3, 4, object),
    ("pause-cron", 3, 3, pause_cron),
    ("populate", 3, 5, populate),
    ("protocol", 3, 3, protocol),
    ("quicklist", 3, 4, quicklist),
    ("quicklist-packed-threshold", 3, 3, packed_threshold),
    ("assert", 2, 2, ends_the_process),
    ("crash-and-recover", 2, 3, ends_the_process),
    ("oom", 2, 2, ends_the_process),
    ("panic", 2, 2, ends_the_process),
    ("restart", 2, 3, ends_the_process),
    ("segfault", 2, 2, ends_the_process),
    ("leak", 3, 3, not_here),
    ("mallctl", 3, 4, not_here),
    ("mallctl-str", 3, 4, not_here),
    ("structsize", 2, 2, not_here),
    ("reload", 2, 5, reload),
    ("replicate", 3, usize::MAX, replicate),
    ("replybuffer", 4, 4, reply_buffer),
    ("sdslen", 3, 3, string_sizes),
    ("set-active-expire", 3, 3, set_active_expire),
    ("set-disable-deny-scripts", 3, 3, set_disable_deny_scripts),
    (
        "set-skip-checksum-validation",
        3,
        3,
        set_skip_checksum_validation,
    ),
    ("sleep", 3, 3, sleep),
    ("stringmatch-len", 4, 4, stringmatch_len),
];

fn debug(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if !allowed(cx.sys.cfg.enable_debug_command, cx.sessions.get(cx.sid)) {
        return Err(CmdError::fixed(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it \
             from a local connection, otherwise you need to set this option in the configuration file, and then \
             restart the server.",
        ));
    }
    let found = SUBS.iter().find(|(name, least, most, _)| {
        is(args.at(1), name) && (*least..=*most).contains(&args.len())
    });
    match found {
        Some((.., run)) => run(cx, args),
        None => Err(unknown(args)),
    }
}

fn unknown(args: Args<'_>) -> CmdError {
    let given = args.at(1);
    let given = String::from_utf8_lossy(given.get(..128).unwrap_or(given)).into_owned();
    CmdError::new(format!(
        "ERR unknown subcommand or wrong number of arguments for '{given}'. Try DEBUG HELP."
    ))
}

/// What ends the process, or makes it begin anew. The instance may be a part of somebody's program.
fn ends_the_process(_: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    refuse(args, "this server does not end the process that it runs in")
}

/// What looks into the inside of Redis.
fn not_here(_: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    refuse(args, "there is nothing of that kind in this server")
}

fn refuse(args: Args<'_>, why: &str) -> CmdResult {
    let name = String::from_utf8_lossy(args.at(1)).to_ascii_uppercase();
    Err(CmdError::new(format!(
        "ERR DEBUG {name} is not supported: {why}"
    )))
}

/// Replicas that come back from here on get all of the data.
fn change_repl_id(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    replication::forget_names(cx.sys);
    cx.ok()
}

/// Lengths of a key and of the string at it, and what memory they take; nothing is kept free behind either.
fn string_sizes(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let record = cx.ks.stored(args.at(2)).ok_or(CmdError::NO_SUCH_KEY)?;
    let (key, value) = (record.key().len(), record.value());
    let length = match value {
        Value::Str(s) if value.encoding() != "int" => s.len(),
        _ => return Err(CmdError::fixed("ERR Not an sds encoded string.")),
    };
    let text = format!(
        "key_sds_len:{key}, key_sds_avail:0, key_zmalloc: {key}, val_sds_len:{length}, val_sds_avail:0, val_zmalloc: {}",
        value.heap_size().max(length)
    );
    cx.reply.simple(&text);
    Ok(Flow::Done)
}

fn config_rewrite(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    config::write_file(cx, true)
}

/// The text is the client's; line ends would break the protocol.
fn error(_: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let text = String::from_utf8_lossy(args.at(2)).replace(['\r', '\n'], " ");
    Err(CmdError::new(text))
}

fn log(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let text = String::from_utf8_lossy(args.at(2));
    cx.sys.host.0.log(&format!("DEBUG LOG: {text}"));
    cx.ok()
}

fn sleep(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let seconds = num::parse_f64(args.at(2)).unwrap_or(0.0);
    if let Ok(time) = Duration::try_from_secs_f64(seconds) {
        cx.sys.host.0.sleep(time);
    }
    cx.ok()
}

fn object(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let Some(record) = cx.ks.stored(args.at(2)) else {
        return Err(CmdError::NO_SUCH_KEY);
    };
    let value = record.value();
    let length = match value {
        Value::Str(s) => s.len() + 1,
        other => other.heap_size(),
    };
    let idle = record.idle_secs(cx.now);
    let seen = (cx.now / 1000 - i64::try_from(idle).unwrap_or(0)) & 0xff_ffff;
    let text = format!(
        "Value at:{value:p} refcount:1 encoding:{} serializedlength:{length} lru:{seen} lru_seconds_idle:{idle}",
        value.encoding()
    );
    cx.reply.simple(&text);
    Ok(Flow::Done)
}

/// The digest of a key with its value, in no order with those of others.
fn add_record(sum: &mut Digest, record: &Record, horizon: i64) {
    let mut one = Digest::default();
    one.mix(record.key());
    record
        .value()
        .add_to_digest(&mut one, horizon, record.expire_at().is_some());
    sum.xor(&one.0);
}

fn digest(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let mut sum = Digest::default();
    let selected = cx.ks.current();
    for db in 0..cx.ks.databases() {
        if cx.ks.db(db).is_none_or(Db::is_empty) {
            continue;
        }
        sum.mix(&u32::try_from(db).unwrap_or(u32::MAX).to_be_bytes());
        cx.ks.select(db);
        let horizon = cx.ks.horizon();
        cx.ks
            .for_each(|record| add_record(&mut sum, record, horizon));
    }
    cx.ks.select(selected);
    cx.reply.simple_bytes(&sum.hex());
    Ok(Flow::Done)
}

fn digest_value(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let keys = args.from(2);
    cx.reply.array(keys.len());
    for key in keys {
        let mut sum = Digest::default();
        if let Some(record) = cx.ks.peek(key) {
            let expires = record.expire_at().is_some();
            record
                .value()
                .add_to_digest(&mut sum, cx.ks.horizon(), expires);
        }
        cx.reply.simple_bytes(&sum.hex());
    }
    Ok(Flow::Done)
}

/// Writes a listpack to the log.
fn listpack(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    show(cx, args, "Listpack", "ERR Not a listpack encoded object.")
}

/// Writes a long list to the log.
fn quicklist(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    show(cx, args, "Quicklist", "ERR Not a quicklist encoded object.")
}

fn show(cx: &mut Ctx<'_>, args: Args<'_>, what: &str, or: &'static str) -> CmdResult {
    let Some(record) = cx.ks.peek(args.at(2)) else {
        return Err(CmdError::NO_SUCH_KEY);
    };
    if !what.eq_ignore_ascii_case(record.value().encoding()) {
        return Err(CmdError::fixed(or));
    }
    cx.sys
        .host
        .0
        .log(&format!("DEBUG {what}: {:?}", record.value()));
    // Tools expect these words.
    cx.reply
        .simple(&format!("{what} structure printed on stdout"));
    Ok(Flow::Done)
}

/// From how many bytes on an element of a list stands alone; 0 for what it is without this command.
fn packed_threshold(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    const MOST: u64 = (1 << 32) - (1 << 20);
    let size = num::parse_memory(args.at(2)).filter(|size| *size <= MOST);
    let size = size.and_then(|size| usize::try_from(size).ok());
    let Some(size) = size else {
        return Err(CmdError::fixed(
            "ERR argument must be a memory value bigger than 1 and smaller than 4gb",
        ));
    };
    cx.sys.debug.packed_threshold = Some(size).filter(|size| *size > 0);
    cx.ok()
}

/// There is one table per database: deadlines are kept in another structure.
fn htstats(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    is_full(args)?;
    let db = usize::try_from(args.int(2)?).ok();
    let Some(db) = db.and_then(|db| cx.ks.db(db)) else {
        return Err(CmdError::fixed("ERR Out of range database"));
    };
    let text = format!("[Dictionary HT]\n{}", db.table_stats());
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

fn htstats_key(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    is_full(args)?;
    let record = cx.ks.peek(args.at(2)).ok_or(CmdError::NO_SUCH_KEY)?;
    let stats = record.value().table_stats().ok_or(CmdError::fixed(
        "ERR The value stored at the specified key is not represented using an hash table",
    ))?;
    cx.reply.verbatim("txt", stats.to_string().as_bytes());
    Ok(Flow::Done)
}

/// Everything is told in any case; what Redis tells only when asked for it included.
fn is_full(args: Args<'_>) -> Result<(), CmdError> {
    match args.get(3) {
        Some(word) if !is(word, "full") => Err(unknown(args)),
        _ => Ok(()),
    }
}

const NOT_READ: CmdError =
    CmdError::fixed("ERR Error trying to load the RDB dump, check server logs.");

/// Saves everything and loads it again. Nothing else is to notice.
fn reload(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let mut how = Reload {
        save: true,
        flush: true,
        merge: false,
    };
    for word in args.from(2) {
        match word.to_ascii_lowercase().as_slice() {
            b"merge" => how.merge = true,
            b"noflush" => how.flush = false,
            b"nosave" => how.save = false,
            _ => {
                let text = "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.";
                return Err(CmdError::fixed(text));
            }
        }
    }
    let functions = load::reload(cx.ks, cx.sys, how).map_err(|e| {
        tracing::warn!("DEBUG RELOAD: {e}");
        NOT_READ
    })?;
    if functions.is_none() && cx.sys.libraries.is_empty() {
        return cx.ok();
    }
    Ok(Flow::Script(ScriptCall::ReloadLibraries {
        payload: functions.unwrap_or_default(),
        policy: match how {
            Reload { flush: true, .. } => Policy::Flush,
            Reload { merge: true, .. } => Policy::Replace,
            _ => Policy::Append,
        },
        failed: NOT_READ,
    }))
}

/// Loads the append-only log again.
fn load_log(_: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    Ok(Flow::LoadLog)
}

/// Whoever writes the append-only log waits for so many microseconds before.
fn log_delay(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let delay = num::parse_i64(args.at(2)).unwrap_or(0);
    cx.sys.debug.log_delay = u64::try_from(delay).unwrap_or(0);
    persist::log::configure(cx.sys);
    cx.ok()
}

fn pause_cron(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    cx.sys.debug.cron_paused = switch(args);
    cx.ok()
}

/// Says something to the replicas, whatever it is.
fn replicate(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    if cx.sys.repl.leads() {
        feed::say(cx.sys, cx.sessions, args.from(2));
    }
    cx.ok()
}

/// Which replies count as recent, for the sizes that CLIENT LIST tells as `rbs` and `rbp`.
fn reply_buffer(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let debug = &mut cx.sys.debug;
    match (args.at(2), args.at(3)) {
        (time, never) if is(time, "PEAK-RESET-TIME") && is(never, "NEVER") => {
            debug.reply_peak_ms = Some(-1);
        }
        (time, reset) if is(time, "PEAK-RESET-TIME") && is(reset, "RESET") => {
            debug.reply_peak_ms = None;
        }
        (time, _) if is(time, "PEAK-RESET-TIME") => debug.reply_peak_ms = Some(args.int(3)?),
        (resizing, _) if is(resizing, "RESIZING") => debug.reply_size_fixed = !is_on(args.at(3)),
        _ => return Err(unknown(args)),
    }
    cx.ok()
}

fn set_active_expire(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    cx.ks.active_expire = switch(args);
    cx.ok()
}

fn set_disable_deny_scripts(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    cx.sys.debug.scripts_call_all = switch(args);
    cx.ok()
}

fn set_skip_checksum_validation(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    cx.sys.debug.checksums_skipped = switch(args);
    cx.ok()
}

fn switch(args: Args<'_>) -> bool {
    is_on(args.at(2))
}

fn is_on(arg: &[u8]) -> bool {
    num::parse_i64(arg).is_some_and(|n| n != 0)
}

/// Makes `prefix:0`, `prefix:1` and so on where they are missing. They reach neither the log nor replicas.
fn populate(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let number = |i| num::parse_i64(args.at(i)).filter(|n| *n >= 0);
    let count = number(2).ok_or(CmdError::NOT_POSITIVE)?;
    let size = args.get(4).map(|_| number(4).ok_or(CmdError::NOT_POSITIVE));
    let size = size.transpose()?;
    let size = size.and_then(|size| usize::try_from(size).ok());
    if size.is_some_and(|size| size as u64 > cx.sys.cfg.proto_max_bulk_len) {
        return Err(CmdError::STRING_TOO_LONG);
    }
    let prefix = args.get(3).unwrap_or(b"key");
    for n in 0..count {
        let key = [prefix, b":", n.to_string().as_bytes()].concat();
        if cx.ks.peek(&key).is_some() {
            continue;
        }
        let mut value = format!("value:{n}").into_bytes();
        value.resize(size.unwrap_or(value.len()), 0);
        cx.ks.put(
            &key,
            Value::Str(Str::from_bytes(&value)),
            Expiry::Clear,
            None,
        );
    }
    cx.ks.log.dirty = 0;
    cx.ok()
}

#[expect(clippy::approx_constant, reason = "the number that Redis answers with")]
fn protocol(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let out: &mut ReplyBuf = cx.reply;
    match args.at(2).to_ascii_lowercase().as_slice() {
        b"string" => out.bulk(b"Hello World"),
        b"integer" => out.int(12345),
        b"double" => out.double(3.141),
        b"null" => out.null(),
        b"array" => {
            out.array(3);
            (0..3).for_each(|n| out.int(n));
        }
        b"set" => {
            out.set(3);
            (0..3).for_each(|n| out.int(n));
        }
        b"map" => {
            out.map(3);
            for n in 0..3 {
                out.int(n);
                out.bool(n == 1);
            }
        }
        b"attrib" => {
            if out.proto() == Proto::Resp3 {
                out.attribute(1);
                out.bulk(b"key-popularity");
                out.array(2);
                out.bulk(b"key:123");
                out.int(90);
            }
            out.bulk(b"Some real reply following the attribute");
        }
        b"push" => {
            if out.proto() == Proto::Resp2 {
                return Err(CmdError::fixed(
                    "ERR RESP2 is not supported by this command",
                ));
            }
            out.push(2);
            out.bulk(b"server-cpu-usage");
            out.int(42);
        }
        b"verbatim" => out.verbatim("txt", b"This is a verbatim\nstring"),
        b"bignum" => out.big_number(b"1234567999999999999999999999999999999"),
        b"true" => out.bool(true),
        b"false" => out.bool(false),
        _ => {
            return Err(CmdError::fixed(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(Flow::Done)
}

/// Matches a pattern against a long run of `a`, to see how long that takes.
fn stringmatch_len(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let length = args.int(2)?;
    let most = cx.sys.cfg.proto_max_bulk_len;
    let length = u64::try_from(length).map_or(0, |length| length.min(most));
    let text = vec![b'a'; usize::try_from(length).unwrap_or(0)];
    cx.int(i64::from(glob::matches(args.at(3), &text, false)))
}

fn help(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.help(&[
        "AOF-FLUSH-SLEEP <microseconds>",
        "    Wait for so long before each write to the append-only log.",
        "CHANGE-REPL-ID",
        "    Go on under another replication ID: replicas that come back get all of the data.",
        "CONFIG-REWRITE-FORCE-ALL",
        "    CONFIG REWRITE, but of every parameter.",
        "DIGEST",
        "    A digest of the whole data set: two servers that hold the same print the same.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    A digest of each value.",
        "ERROR <text>",
        "    Answer with this error.",
        "LISTPACK <key>",
        "    Write a value that is a listpack to the server's log.",
        "HTSTATS <db> [full]",
        "    How full the hash table of a database is.",
        "HTSTATS-KEY <key> [full]",
        "    How full the hash table of a value is.",
        "LOADAOF",
        "    Write what waits to be written to the append-only log, and load it in place of the data.",
        "LOG <text>",
        "    Write to the server's log.",
        "OBJECT <key>",
        "    Tell how a value is stored.",
        "PAUSE-CRON <0|1>",
        "    With 1, do no work between commands.",
        "POPULATE <count> [<prefix>] [<size>]",
        "    Create keys <prefix>:0 and on, unless they exist, with values of <size> bytes.",
        "PROTOCOL <type>",
        "    Answer with a sample: string, integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
        "    true or false.",
        "QUICKLIST <key> [<0|1>]",
        "    Write a long list to the server's log.",
        "QUICKLIST-PACKED-THRESHOLD <size>",
        "    Let elements of lists from this size on stand alone; 0 for the usual size.",
        "RELOAD",
        "    Write every value as it would be written to a file, and read it back.",
        "REPLICATE <command> [<argument> ...]",
        "    Put this into the stream to the replicas, and do nothing here.",
        "REPLYBUFFER PEAK-RESET-TIME <NEVER|RESET|milliseconds>",
        "    How long a reply counts as a recent one in field rbp of CLIENT LIST; RESET for the usual time.",
        "REPLYBUFFER RESIZING <0|1>",
        "    With 0, field rbs of CLIENT LIST shows the largest buffer whatever the recent replies were.",
        "SDSLEN <key>",
        "    Tell how long a key and the string at it are, and what memory they take.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    With 0, delete expired keys only when they are asked for.",
        "SET-DISABLE-DENY-SCRIPTS <0|1>",
        "    With 1, scripts may call every command.",
        "SET-SKIP-CHECKSUM-VALIDATION <0|1>",
        "    With 1, RESTORE takes payloads whose checksum is wrong.",
        "SLEEP <seconds>",
        "    Do nothing for a while, and let everybody wait.",
        "STRINGMATCH-LEN <length> <pattern>",
        "    Match a pattern against so many bytes.",
    ])
}
