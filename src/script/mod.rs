//! Scripts: EVAL and its like, on Lua 5.1.
//!
//! ```text
//! host     finds or compiles the script, hands the state to the slot, runs it, takes the state back
//! slot     the state while a script runs: commands that it calls, its time, why it must end
//! crossing where a script begins, and where it calls a command, by Lua's own interface
//! brief    scripts that need no interpreter to be run
//! vm       the interpreter and the world that scripts see, built by prelude.lua
//! api      redis.call and everything else under redis.*
//! lib      the libraries beside Lua's own: bit, cjson, cmsgpack, struct
//! pace     how often it is looked whether a script must end
//! passed   arguments of functions, read as Lua reads them
//! convert  replies to Lua values and Lua values to replies
//! watch    looks at clock and memory while a host function works
//! bytecode what can be seen in compiled code
//! traits   what can be seen in a script that lets it run faster
//! callbacks  the same of a library
//! functions  libraries of functions, and calls of them, in an interpreter of their own
//! fault    errors that scripts raise and see, and how they read on the wire
//! debugger  a script that stands still at its lines, and does what a client tells it
//! pattern  string.find and its like, where Lua's own could run for ever
//! shebang  the first line that tells a script's flags
//! ```
//! A short script costs little itself. What decides how fast it is are the ways in and out: mlua's safe interface takes a
//! lock, and makes a reference (about 60 ns) for each value that crosses. So what every script does, to begin and to call
//! commands, goes around it (`crossing`, the only unsafe code here); everything else goes through it.

mod api;
mod brief;
mod bytecode;
mod callbacks;
mod convert;
mod crossing;
mod debugger;
mod fault;
mod functions;
mod host;
mod lib;
mod pace;
mod passed;
mod pattern;
mod random;
mod shebang;
mod slot;
mod traits;
mod vm;
mod watch;

use crate::exec::declared::ScriptFlags;

pub use host::LuaHost;

/// What a script declares in its first line; none if it has none that can be read.
pub fn declared(body: &[u8]) -> Option<ScriptFlags> {
    let (flags, _) = shebang::parse(body).ok()?;
    flags.declared.then(|| flags.as_declared())
}
