//! Where host and script meet in each run, by Lua's own interface: a script begins, and a script calls a command.
//!
//! mlua's interface takes a lock, counts what is on the stack, and makes a reference for each value that crosses it: more than
//! a quarter of what the EVAL of a short script cost. So these two go around it. Everything else goes through it, also what ends
//! one of these two in an unusual way.
//!
//! An error of Lua's own (memory runs out) leaves a function by `longjmp`, which runs no destructors. The rule that keeps
//! this sound: **functions here that call what may raise hold nothing that has a destructor**. They are [`enter`],
//! [`call`] and what they call after they have their [`Next`]; what runs a command is over by then, its guards dropped.

#![expect(
    unsafe_code,
    reason = "measured: an EVAL that gets a key takes 9290 instructions in place of 12760; the rule above keeps it sound"
)]

use std::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;

use mlua::{Function, LightUserData, Lua, Result, Table, Value, ffi, lua_State};
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::api::{self, Digits};
use super::fault::{Stop, Thrown};
use super::slot::{Shared, Slot};
use crate::util::num;

/// What [`enter`] works with: its upvalues.
pub(super) struct Stage<'a> {
    /// The tables of arguments that are used again.
    pub(super) kept: [&'a Table; 2],
    /// Functions by number.
    pub(super) functions: &'a Table,
    /// Runs the function of a number with an error handler.
    pub(super) guarded: &'a Function,
    /// Where KEYS and ARGV are put; nothing if functions take them as arguments.
    pub(super) globals: Option<&'a Table>,
}

const KEPT: [c_int; 2] = [1, 2];
const FUNCTIONS: c_int = 3;
const GUARDED: c_int = 4;
const GLOBALS: c_int = 5;

/// Where the arguments are put.
const NAMES: [&CStr; 2] = [c"KEYS", c"ARGV"];

/// What is to run.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    /// The number of the function.
    pub(super) number: c_int,
    /// Without an error handler.
    pub(super) is_plain: bool,
    /// Keys and arguments.
    pub(super) words: [&'a [&'a [u8]]; 2],
    /// How many each of the tables held that are used again; nothing for new tables.
    pub(super) held: Option<[usize; 2]>,
    /// The global table has the tables already.
    pub(super) in_place: bool,
}

/// The function that begins runs: [`run`] calls it.
pub(super) fn entrance(lua: &Lua, stage: &Stage<'_>) -> Result<Function> {
    let [keys, args] = stage.kept;
    let upvalues = (keys, args, stage.functions, stage.guarded, stage.globals);
    // SAFETY: the five values are on the stack, in the order of the constants above, and become the closure's.
    unsafe { lua.exec_raw(upvalues, |state| ffi::lua_pushcclosure(state, enter, 5)) }
}

/// Runs a function: whether it came to its end, and its value or what it raised.
pub(super) fn run(entrance: &Function, entry: &Entry<'_>) -> Result<(bool, Value)> {
    // `enter` reads it while this stands on the stack; scripts cannot get hold of either.
    entrance.call(LightUserData(ptr::from_ref(entry).cast_mut().cast()))
}

/// Hands arguments over and calls the function.
unsafe extern "C-unwind" fn enter(state: *mut lua_State) -> c_int {
    // SAFETY: only `run` calls this, with an entry that outlives the call. The stack has room for twenty values, of which
    // these are six at most. Nothing here has a destructor.
    unsafe {
        let entry = *ffi::lua_touserdata(state, 1).cast::<Entry<'_>>();
        ffi::lua_settop(state, 0);
        ffi::lua_pushboolean(state, 1);
        let mut passed = 0;
        if entry.is_plain {
            ffi::lua_rawgeti_(state, ffi::lua_upvalueindex(FUNCTIONS), entry.number);
        } else {
            ffi::lua_pushvalue(state, ffi::lua_upvalueindex(GUARDED));
            ffi::lua_pushinteger(state, entry.number as ffi::lua_Integer);
            passed = 1;
        }
        let globals = ffi::lua_upvalueindex(GLOBALS);
        let passes = ffi::lua_type(state, globals) == ffi::LUA_TNIL;
        for (at, words) in entry.words.into_iter().enumerate() {
            match entry.held {
                Some(held) => {
                    let table = ffi::lua_upvalueindex(KEPT[at]);
                    fill(state, table, words, held[at]);
                    if entry.in_place && !passes {
                        continue;
                    }
                    ffi::lua_pushvalue(state, table);
                }
                None => {
                    ffi::lua_createtable(state, words.len().try_into().unwrap_or(c_int::MAX), 0);
                    let table = ffi::lua_gettop(state);
                    fill(state, table, words, 0);
                }
            }
            if passes {
                passed += 1;
            } else {
                ffi::lua_setfield(state, globals, NAMES[at].as_ptr());
            }
        }
        ffi::lua_call(state, passed, if entry.is_plain { 1 } else { 2 });
    }
    2
}

/// Puts strings into a table that held so many. Where memory runs out, it holds none beyond their number.
unsafe fn fill(state: *mut lua_State, table: c_int, words: &[&[u8]], held: usize) {
    // SAFETY: there is a table, and one value at a time is pushed and popped.
    unsafe {
        for at in words.len()..held {
            ffi::lua_pushnil(state);
            ffi::lua_rawseti_(state, table, at as c_int + 1);
        }
        for (at, word) in (1..).zip(words) {
            push_bytes(state, word);
            ffi::lua_rawseti_(state, table, at);
        }
    }
}

unsafe fn push_bytes(state: *mut lua_State, bytes: &[u8]) {
    // SAFETY: Lua copies them.
    unsafe { ffi::lua_pushlstring_(state, bytes.as_ptr().cast::<c_char>(), bytes.len()) }
}

const SLOT: c_int = 1;
const CONCLUDE: c_int = 2;

/// redis.call or redis.pcall. What is not answered with a simple value is left to `conclude`, which finds it in the slot:
/// what was thrown, or else the reply.
pub(super) fn caller(lua: &Lua, shared: &Shared, conclude: &Function) -> Result<Function> {
    let slot = Arc::as_ptr(shared);
    // SAFETY: the two values become the closure's. `conclude` keeps the slot alive as long as the closure is there.
    unsafe {
        lua.exec_raw(conclude, |state| {
            ffi::lua_pushlightuserdata(state, slot.cast_mut().cast());
            ffi::lua_insert(state, 1);
            ffi::lua_pushcclosure(state, call, 2);
        })
    }
}

/// What is left to do when a command has run.
#[derive(Clone, Copy)]
enum Next {
    /// This reply is the result. It lies in the slot and stays as it is until the next command.
    Push(*const [u8]),
    /// That is up to the function for it.
    Conclude,
}

/// Replies that are longer are not converted here: that takes long, and it must be looked at clock and memory.
const SHORT: usize = 64 << 10;

/// So deep do arrays nest that are converted here: twice as many values are on the stack, which has room for twenty.
const SHALLOW: usize = 6;

unsafe extern "C-unwind" fn call(state: *mut lua_State) -> c_int {
    // SAFETY: the upvalues are those that `caller` gave. When what may raise begins, `command` is over, and nothing here has
    // a destructor. Finalizers that a collection runs while values are pushed are mlua's, and call no commands: so the
    // reply stays as it is.
    unsafe {
        let slot = ffi::lua_touserdata(state, ffi::lua_upvalueindex(SLOT)).cast::<Mutex<Slot>>();
        let next = command(state, &*slot);
        if let Next::Push(reply) = next {
            let mut rest = &*reply;
            if push(state, &mut rest, 0) {
                return 1;
            }
            ffi::lua_settop(state, 0);
        }
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(CONCLUDE));
        ffi::lua_call(state, 0, 1);
    }
    1
}

/// Runs the command whose words are on the stack. No panic gets into Lua.
unsafe fn command(state: *mut lua_State, slot: &Mutex<Slot>) -> Next {
    // SAFETY: the stack is as the caller of the closure left it.
    let done = catch_unwind(AssertUnwindSafe(|| unsafe { command_of(state, slot) }));
    done.unwrap_or_else(|_| {
        slot.lock().thrown = Some(Thrown::Stop(Stop::Panicked, None));
        Next::Conclude
    })
}

unsafe fn command_of(state: *mut lua_State, slot: &Mutex<Slot>) -> Next {
    let mut slot = slot.lock();
    let slot = &mut *slot;
    let mut numbers: SmallVec<[(usize, Digits); 1]> = SmallVec::new();
    let mut words: SmallVec<[&[u8]; 6]> = SmallVec::new();
    // SAFETY: the stack has so many values. None of these functions raises an error, or changes anything: what is converted
    // is neither a string that is no string yet nor a number that is none. The strings stay on the stack, and so in their
    // places, until the function returns.
    unsafe {
        let n = ffi::lua_gettop(state);
        for at in 1..=n {
            match ffi::lua_type(state, at) {
                ffi::LUA_TSTRING => {
                    let mut len = 0;
                    let text = ffi::lua_tolstring(state, at, &raw mut len);
                    words.push(std::slice::from_raw_parts(text.cast::<u8>(), len));
                }
                ffi::LUA_TNUMBER => {
                    numbers.push((words.len(), api::digits(ffi::lua_tonumber(state, at))));
                    words.push(&[]);
                }
                _ => {
                    slot.thrown = Some(api::refusal(api::BAD_ARGUMENT));
                    return Next::Conclude;
                }
            }
        }
    }
    for (at, digits) in &numbers {
        words[*at] = digits;
    }
    if words.is_empty() {
        slot.thrown = Some(api::refusal(api::NO_ARGUMENT));
        return Next::Conclude;
    }
    slot.reply.clear();
    let ran = match &mut slot.run {
        Some(run) => run.command(&words, &mut slot.reply),
        None => Err(Thrown::Message(b"no script runs".to_vec())),
    };
    if let Err(thrown) = ran {
        slot.thrown = Some(thrown);
        return Next::Conclude;
    }
    match slot.reply.as_slice() {
        [b'-', ..] => Next::Conclude,
        reply if reply.len() > SHORT => Next::Conclude,
        reply => Next::Push(ptr::from_ref(reply)),
    }
}

/// Pushes the first value of a reply; gives up on what is seldom.
unsafe fn push(state: *mut lua_State, rest: &mut &[u8], depth: usize) -> bool {
    let Some((&kind, after)) = rest.split_first() else {
        return false;
    };
    let Some(end) = memchr::memchr(b'\r', after) else {
        return false;
    };
    let (line, after) = after.split_at(end);
    let mut after = after.get(2..).unwrap_or_default();
    // SAFETY: one value is pushed; that there is room for it, and for what goes into tables, see to `SHALLOW`.
    unsafe {
        match (kind, line) {
            (b':', _) => {
                ffi::lua_pushnumber(state, num::parse_i64(line).unwrap_or_default() as f64);
            }
            (b'$' | b'*', [b'-', ..]) => ffi::lua_pushboolean(state, 0),
            (b'$', _) => {
                let Some((text, behind)) = length(line).and_then(|len| after.split_at_checked(len))
                else {
                    return false;
                };
                push_bytes(state, text);
                after = behind.get(2..).unwrap_or_default();
            }
            (b'+', _) => {
                ffi::lua_createtable(state, 0, 1);
                push_bytes(state, line);
                ffi::lua_setfield(state, -2, c"ok".as_ptr());
            }
            (b'*', _) if depth < SHALLOW => {
                let Some(len) = length(line) else {
                    return false;
                };
                ffi::lua_createtable(state, len as c_int, 0);
                for at in 1..=len {
                    if !push(state, &mut after, depth + 1) {
                        return false;
                    }
                    ffi::lua_rawseti_(state, -2, at as c_int);
                }
            }
            _ => return false,
        }
    }
    *rest = after;
    true
}

/// How long something is in a short reply.
fn length(line: &[u8]) -> Option<usize> {
    let len = num::parse_i64(line)?;
    usize::try_from(len).ok().filter(|&len| len <= SHORT)
}
