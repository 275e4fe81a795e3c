//! Everything under `redis.*`.

use mlua::{Either, Function, Lua, LuaString, MultiValue, Result, Table, Value};
use smallvec::SmallVec;

use super::convert::{self, Answer, Item, Reader};
use super::debugger::show;
use super::fault::{self, Thrown, reply_error};
use super::slot::Shared;
use super::{crossing, pace, pattern};
use crate::exec::effects::Readers;
use crate::exec::{Args, acl};
use crate::resp::Proto;
use crate::service::info::REDIS_VERSION;
use crate::util::{digest, num};

pub(super) const NO_ARGUMENT: &str =
    "ERR Please specify at least one argument for this redis lib call";
pub(super) const BAD_ARGUMENT: &str =
    "ERR Lua redis lib command arguments must be strings or integers";
const WRONG_ARGUMENTS: &str = "ERR wrong number or type of arguments";

/// What redis.call gives to the script. UTF-8 crosses without a reference.
type Out = Either<String, Value>;

/// The table `redis`. `limit` is the memory limit that is in force while a script runs.
pub(super) fn library(lua: &Lua, shared: &Shared, limit: usize) -> Result<Table> {
    let redis = lua.create_table()?;
    redis.raw_set("call", command(lua, shared, limit, true)?)?;
    redis.raw_set("pcall", command(lua, shared, limit, false)?)?;
    redis.raw_set("error_reply", lua.create_function(error_reply)?)?;
    redis.raw_set("status_reply", lua.create_function(status_reply)?)?;
    redis.raw_set("sha1hex", lua.create_function(sha1hex)?)?;
    redis.raw_set("log", lua.create_function(log)?)?;
    redis.raw_set("setresp", setresp(lua, shared)?)?;
    redis.raw_set("set_repl", set_repl(lua, shared)?)?;
    redis.raw_set("acl_check_cmd", acl_check_cmd(lua, shared)?)?;
    let yes = lua.create_function(|_, _: MultiValue| Ok(true))?;
    redis.raw_set("replicate_commands", yes)?;
    redis.raw_set("breakpoint", breakpoint(lua, shared)?)?;
    redis.raw_set("debug", debug(lua, shared)?)?;
    redis.raw_set("REDIS_VERSION", REDIS_VERSION)?;
    redis.raw_set("REDIS_VERSION_NUM", version_number())?;
    for (name, n) in [
        ("LOG_DEBUG", 0),
        ("LOG_VERBOSE", 1),
        ("LOG_NOTICE", 2),
        ("LOG_WARNING", 3),
        ("REPL_NONE", REPL_NONE),
        ("REPL_AOF", REPL_AOF),
        ("REPL_SLAVE", REPL_REPLICA),
        ("REPL_REPLICA", REPL_REPLICA),
        ("REPL_ALL", REPL_ALL),
    ] {
        redis.raw_set(name, n)?;
    }
    Ok(redis)
}

/// Has a debugger stand still at the next line; whether there is one.
fn breakpoint(lua: &Lua, shared: &Shared) -> Result<Function> {
    let shared = Shared::clone(shared);
    lua.create_function(move |_, _: MultiValue| {
        let notes = &mut shared.lock().notes;
        Ok(notes.as_mut().map(|notes| notes.stops = true).is_some())
    })
}

/// Tells a debugger, if there is one.
fn debug(lua: &Lua, shared: &Shared) -> Result<Function> {
    let shared = Shared::clone(shared);
    lua.create_function(move |_, values: MultiValue| {
        if shared.lock().notes.is_none() {
            return Ok(());
        }
        let values: Vec<_> = values.iter().map(show::value).collect();
        if let Some(notes) = &mut shared.lock().notes {
            notes.say(&values);
        }
        Ok(())
    })
}

/// `0xMMmmpp`.
fn version_number() -> u32 {
    REDIS_VERSION
        .split('.')
        .fold(0, |acc, part| (acc << 8) | part.parse().unwrap_or(0))
}

/// No memory limit while a host function runs: the interface is much faster without. A function that may allocate much
/// looks itself; see [`super::watch`]. What was allocated counts once the limit is back.
pub(super) struct Unlimited<'a> {
    lua: &'a Lua,
    limit: usize,
}

impl Unlimited<'_> {
    pub(super) fn new(lua: &Lua, limit: usize) -> Result<Unlimited<'_>> {
        lua.set_memory_limit(0)?;
        Ok(Unlimited { lua, limit })
    }
}

impl Drop for Unlimited<'_> {
    fn drop(&mut self) {
        // It fails only for an interpreter with a foreign allocator.
        let _ = self.lua.set_memory_limit(self.limit);
    }
}

/// redis.call, which raises errors, and redis.pcall, which returns them.
fn command(lua: &Lua, shared: &Shared, limit: usize, raise: bool) -> Result<Function> {
    let slot = shared.clone();
    let conclude = lua.create_function(move |lua, ()| {
        let thrown = slot.lock().thrown.take();
        let _unlimited = Unlimited::new(lua, limit)?;
        let outcome = match thrown {
            Some(thrown) => Err(thrown),
            None => answer(lua, &slot, limit)?,
        };
        match outcome {
            Ok(out) => Ok(out),
            Err(Thrown::Reply { text, .. }) if !raise => Ok(Either::Right(Value::Table(
                convert::error_table(lua, &text)?,
            ))),
            Err(thrown) => Err(thrown.into()),
        }
    })?;
    crossing::caller(lua, shared, &conclude)
}

/// An error reply of the host's own, for a call that cannot be made.
pub(super) fn refusal(text: &str) -> Thrown {
    Thrown::Reply {
        text: text.as_bytes().to_vec(),
        counted: false,
    }
}

/// A number as an argument of a command.
pub(super) type Digits = SmallVec<[u8; 24]>;

/// A number as an argument of a command.
pub(super) fn digits(n: f64) -> Digits {
    // Whole numbers of up to 53 bits are the common case, and exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if n.trunc() == n && n.abs() < EXACT {
        return SmallVec::from_slice(itoa::Buffer::new().format(n as i64).as_bytes());
    }
    if n.is_nan() && n.is_sign_negative() {
        return SmallVec::from_slice(b"-nan");
    }
    let mut digits = Vec::new();
    num::write_f64(&mut digits, n);
    digits.into()
}

/// Converts the reply of the last command; an error reply comes back as what is to be raised.
fn answer(lua: &Lua, shared: &Shared, limit: usize) -> Result<std::result::Result<Out, Thrown>> {
    let mut slot = shared.lock();
    let slot = &mut *slot;
    let Some(run) = &mut slot.run else {
        return Ok(Err(Thrown::Message(b"no script runs".to_vec())));
    };
    let mut reader = Reader::new(lua, run, limit, slot.reply.as_slice());
    let answer = reader.answer()?;
    if slot.reply.len() > pace::LONG {
        pace::adapt(lua)?;
    }
    Ok(match answer {
        Answer::Value(item) => Ok(owned(item)),
        Answer::Error(text) => Err(Thrown::Reply {
            text: text.to_vec(),
            counted: true,
        }),
    })
}

fn owned(item: Item<'_>) -> Out {
    match item {
        Either::Left(text) => Either::Left(text.to_owned()),
        Either::Right(value) => Either::Right(value),
    }
}

/// The only argument, if it is a string.
fn single(args: &MultiValue) -> Option<Vec<u8>> {
    match (args.len(), args.front()) {
        (1, Some(Value::String(text))) => Some(text.as_bytes().to_vec()),
        _ => None,
    }
}

fn error_reply(lua: &Lua, args: MultiValue) -> Result<Table> {
    let table = lua.create_table_with_capacity(0, 1)?;
    let text = match single(&args) {
        None => WRONG_ARGUMENTS.as_bytes().to_vec(),
        Some(text) => with_code(&text),
    };
    table.raw_set("err", lua.create_string(text)?)?;
    Ok(table)
}

/// What redis.error_reply makes of a text: up to its first space it is a code; where there is no space it gets one. Line
/// ends around what follows are cut off.
fn with_code(text: &[u8]) -> Vec<u8> {
    let text = convert::up_to_zero(text);
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let (code, message) = match memchr::memchr(b' ', text) {
        Some(at) => (text.get(..at), text.get(at + 1..)),
        None => (Some(&b"ERR"[..]), Some(text)),
    };
    let mut message = message.unwrap_or_default();
    while let [b'\r' | b'\n', rest @ ..] | [rest @ .., b'\r' | b'\n'] = message {
        message = rest;
    }
    [code.unwrap_or_default(), b" ", message].concat()
}

fn status_reply(lua: &Lua, args: MultiValue) -> Result<Table> {
    let table = lua.create_table_with_capacity(0, 1)?;
    match single(&args) {
        Some(text) => table.raw_set("ok", lua.create_string(text)?)?,
        None => table.raw_set("err", WRONG_ARGUMENTS)?,
    }
    Ok(table)
}

fn sha1hex(lua: &Lua, args: MultiValue) -> Result<String> {
    if args.len() != 1 {
        return Err(reply_error("ERR wrong number of arguments"));
    }
    let text = match args.front() {
        Some(value) => lua.coerce_string(value.clone())?,
        None => None,
    };
    let digest = match text {
        Some(text) => {
            if text.as_bytes().len() > pace::LONG {
                pace::look(lua)?;
            }
            digest::sha1_hex(&text.as_bytes())
        }
        None => digest::sha1_hex(b""),
    };
    Ok(String::from_utf8_lossy(&digest).into_owned())
}

fn log(lua: &Lua, args: MultiValue) -> Result<()> {
    if args.len() < 2 {
        return Err(reply_error(
            "ERR redis.log() requires two arguments or more.",
        ));
    }
    let level = match args.front() {
        Some(level) => lua.coerce_number(level.clone())?,
        None => None,
    };
    let Some(level) = level.map(|n| n as i64) else {
        return Err(reply_error(
            "ERR First argument must be a number (log level).",
        ));
    };
    if !(0..=3).contains(&level) {
        return Err(reply_error("ERR Invalid debug level."));
    }
    let mut words = Vec::new();
    for value in args.iter().skip(1) {
        if let Some(text) = lua.coerce_string(value.clone())? {
            words.push(text.to_string_lossy());
        }
    }
    let text = words.join(" ");
    match level {
        0 => tracing::debug!(target: "script", "{text}"),
        1 | 2 => tracing::info!(target: "script", "{text}"),
        _ => tracing::warn!(target: "script", "{text}"),
    }
    Ok(())
}

fn setresp(lua: &Lua, shared: &Shared) -> Result<Function> {
    let shared = shared.clone();
    lua.create_function(move |lua, args: MultiValue| {
        if args.len() != 1 {
            return Err(reply_error("ERR redis.setresp() requires one argument."));
        }
        let version = match args.front() {
            Some(value) => lua.coerce_number(value.clone())?,
            None => None,
        };
        let proto = match version.map(|n| n as i64) {
            Some(2) => Proto::Resp2,
            Some(3) => Proto::Resp3,
            _ => return Err(reply_error("ERR RESP version must be 2 or 3.")),
        };
        shared.lock().reply.set_proto(proto);
        Ok(())
    })
}

const REPL_NONE: i64 = 0;
const REPL_AOF: i64 = 1;
const REPL_REPLICA: i64 = 2;
const REPL_ALL: i64 = 3;

fn set_repl(lua: &Lua, shared: &Shared) -> Result<Function> {
    let shared = shared.clone();
    lua.create_function(move |lua, args: MultiValue| {
        if args.len() != 1 {
            return Err(reply_error("ERR redis.set_repl() requires one argument."));
        }
        let flags = match args.front() {
            Some(value) => lua.coerce_number(value.clone())?.unwrap_or_default() as i64,
            None => REPL_NONE,
        };
        let readers = match flags {
            REPL_NONE => Readers::None,
            REPL_AOF => Readers::File,
            REPL_REPLICA => Readers::Replicas,
            REPL_ALL => Readers::All,
            _ => {
                return Err(reply_error(
                    "ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
                ));
            }
        };
        if let Some(run) = &mut shared.lock().run {
            run.state.fx.restrict(readers);
        }
        Ok(())
    })
}

fn acl_check_cmd(lua: &Lua, shared: &Shared) -> Result<Function> {
    let shared = shared.clone();
    lua.create_function(move |_, args: MultiValue| {
        let args = args.iter().map(argument).collect::<Option<Vec<_>>>();
        let args = args.ok_or_else(|| reply_error(BAD_ARGUMENT))?;
        if args.is_empty() {
            return Err(reply_error(NO_ARGUMENT));
        }
        let slot = shared.lock();
        let words: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let allowed = match &slot.run {
            Some(run) => acl::may_run(&run.state, run.sid, Args::new(&words)),
            None => None,
        };
        let unknown = "ERR Invalid command passed to redis.acl_check_cmd()";
        allowed.ok_or_else(|| reply_error(unknown))
    })
}

/// An argument of a command, if it is a string or a number.
fn argument(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Integer(n) => Some(digits(*n as f64).to_vec()),
        Value::Number(n) => Some(digits(*n).to_vec()),
        _ => None,
    }
}

/// What the prelude needs beside the libraries.
pub(super) fn helpers(lua: &Lua, shared: &Shared) -> Result<Table> {
    let helpers = lua.create_table()?;
    helpers.raw_set("caught", ending(lua, shared, caught)?)?;
    helpers.raw_set("revive", ending(lua, shared, revive)?)?;
    let slot = shared.clone();
    let stopped = lua.create_function(move |_, ()| match &slot.lock().run {
        Some(run) => Ok(run.check()?),
        None => Ok(()),
    })?;
    helpers.raw_set("stopped", stopped)?;
    let tick = lua.create_function(|lua, ()| pace::look(lua))?;
    helpers.raw_set("tick", tick)?;
    helpers.raw_set("long", pace::LONG)?;
    helpers.raw_set("search", pattern::search(lua, shared)?)?;
    helpers.raw_set("find", pattern::find(lua, shared)?)?;
    let less = lua.load("local a, b = ... return a < b");
    let less = less.set_name(format!("={}", fault::NOWHERE));
    helpers.raw_set("less", less.into_function()?)?;
    let repetitions = |_: &Lua, text: LuaString| Ok(pattern::repetitions(&text.as_bytes()));
    helpers.raw_set("repetitions", lua.create_function(repetitions)?)?;
    let slot = shared.clone();
    let failed = lua.create_function(move |lua, e: Value| {
        let line = slot.lock().run.as_ref().and_then(|run| run.line);
        fault::Failure::of(lua, &e, line).into_table(lua)
    })?;
    helpers.raw_set("failed", failed)?;
    Ok(helpers)
}

/// A function of an error that a script caught; it raises again what a script cannot catch, and looks at the clock,
/// since what failed may have taken long.
fn ending(lua: &Lua, shared: &Shared, show: fn(&Lua, Value) -> Result<Value>) -> Result<Function> {
    let shared = shared.clone();
    lua.create_function(move |lua, e: Value| {
        if let Some(run) = &mut shared.lock().run {
            run.tick()?;
        }
        show(lua, e)
    })
}

/// An error as pcall gives it: of an error reply, the text.
fn caught(lua: &Lua, e: Value) -> Result<Value> {
    match revive(lua, e)? {
        Value::Table(table) => match table.get::<Value>("err")? {
            text @ (Value::String(_) | Value::Integer(_) | Value::Number(_)) => Ok(text),
            _ => Ok(Value::Table(table)),
        },
        other => Ok(other),
    }
}

/// An error as scripts know it.
fn revive(lua: &Lua, e: Value) -> Result<Value> {
    let text = match &e {
        Value::String(text) => {
            let text = text.as_bytes();
            if !text.starts_with(fault::PRELUDE.as_bytes()) {
                return Ok(e);
            }
            fault::own_position(&text, &fault::place(lua, 1))
        }
        Value::Error(error) => match fault::thrown(error) {
            Some(Thrown::Reply { text, .. }) => {
                return Ok(Value::Table(convert::error_table(lua, text)?));
            }
            Some(Thrown::Message(text)) => text.clone(),
            Some(Thrown::Stop(..)) | None => fault::text_of(error),
        },
        _ => return Ok(e),
    };
    Ok(Value::String(lua.create_string(text)?))
}
