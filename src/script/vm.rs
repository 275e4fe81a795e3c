//! The interpreter, and the world that scripts see in it.

use std::cell::Cell;

use mlua::chunk::ChunkMode;
use mlua::{Error, Function, Lua, LuaOptions, Result, StdLib, Table, Value};

use super::fault::PRELUDE;
use super::pace::Pace;
use super::slot::{Run, Shared};
use super::traits::Traits;
use super::{api, convert, lib, random, watch};

/// Tables of more arguments are not used again: few stay behind.
const FEW: usize = 16;

/// An interpreter that scripts run in.
pub(super) struct Vm {
    /// The interpreter. Its global table is the one scripts see.
    pub(super) lua: Lua,
    pace: Pace,
    /// What is behind the global table: KEYS and ARGV are put here.
    globals: Table,
    /// Keeps a compiled script under a number, or forgets it.
    keep: Function,
    /// Runs the script of a number.
    run: Function,
    run_plain: Function,
    shape: Function,
    /// KEYS and ARGV of scripts that leave them as they are.
    keys: Arguments,
    args: Arguments,
    /// Whether the global table has other tables in their places.
    replaced: Cell<bool>,
    limit: usize,
}

/// A table of arguments that is used again, and how many it holds.
struct Arguments {
    table: Table,
    len: Cell<usize>,
}

impl Arguments {
    fn new(lua: &Lua) -> Result<Arguments> {
        Ok(Arguments {
            table: lua.create_table()?,
            len: Cell::new(0),
        })
    }

    fn fill(&self, lua: &Lua, strings: &[&[u8]]) -> Result<()> {
        for (i, bytes) in strings.iter().enumerate() {
            self.table.raw_set(i + 1, convert::text(lua, bytes)?)?;
        }
        for i in strings.len()..self.len.replace(strings.len()) {
            self.table.raw_set(i + 1, Value::Nil)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm").finish_non_exhaustive()
    }
}

impl Vm {
    /// A new interpreter of scripts. `seed` starts math.random; scripts may use `limit` bytes.
    pub(super) fn new(shared: &Shared, seed: u64, limit: usize) -> Result<Vm> {
        let (vm, ()) = Vm::of_world(shared, seed, limit, |_, _, seen, _| Ok((seen, ())))?;
        Ok(vm)
    }

    /// The same, where `extend` makes another world of that of scripts: it gets what the prelude got, the global table
    /// that scripts see, and what is behind it; it gives the table to be seen in place of that, and what else it made.
    pub(super) fn of_world<T>(
        shared: &Shared,
        seed: u64,
        limit: usize,
        extend: impl FnOnce(&Lua, Table, Table, &Table) -> Result<(Table, T)>,
    ) -> Result<(Vm, T)> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
        let lua = Lua::new_with(libraries, LuaOptions::new())?;
        let host = api::helpers(&lua, shared)?;
        host.raw_set("redis", api::library(&lua, shared, limit)?)?;
        host.raw_set("libraries", lib::all(&lua, limit)?)?;
        let (random, randomseed) = random::functions(&lua, seed)?;
        host.raw_set("random", random)?;
        host.raw_set("randomseed", randomseed)?;
        let prelude = lua
            .load(include_str!("prelude.lua"))
            .set_name(format!("={PRELUDE}"))
            .into_function()?;
        let (seen, globals, keep, run, run_plain, shape): (
            Table,
            Table,
            Function,
            Function,
            Function,
            Function,
        ) = prelude.call(&host)?;
        let (seen, made) = extend(&lua, host, seen, &globals)?;
        lua.set_globals(seen)?;
        // What compiling left behind.
        lua.gc_collect()?;
        let pace = Pace::start(&lua, shared)?;
        let vm = Vm {
            keys: Arguments::new(&lua)?,
            args: Arguments::new(&lua)?,
            replaced: Cell::new(true),
            lua,
            pace,
            globals,
            keep,
            run,
            run_plain,
            shape,
            limit,
        };
        Ok((vm, made))
    }

    /// Compiles the code of a script and keeps it under a number.
    pub(super) fn compile(&self, code: &[u8], number: usize) -> Result<()> {
        let script = self.limited(|| {
            self.lua
                .load(code)
                .set_name("@user_script")
                .set_mode(ChunkMode::Text)
                .into_function()
        })?;
        self.keep.call((number, script))
    }

    /// Forgets a script.
    pub(super) fn forget(&self, number: usize) -> Result<()> {
        self.keep.call((number, Value::Nil))
    }

    /// Runs a compiled script: whether it came to its end, and its value or what it raised.
    pub(super) fn run(
        &self,
        number: usize,
        traits: Traits,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<(bool, Value)> {
        self.arguments(traits.leaves_arguments, keys, args)?;
        if traits.is_plain {
            return match self.limited(|| self.run_plain.call(number)) {
                Err(e) => Ok((false, Value::Error(Box::new(e)))),
                ended => ended,
            };
        }
        match self.limited(|| self.run.call(number)) {
            // Memory may also run out on the way out of a script that used it up.
            Err(e @ Error::MemoryError(_)) => Ok((false, Value::Error(Box::new(e)))),
            ended => ended,
        }
    }

    /// The tables that [`reuse`](Self::reuse) fills.
    pub(super) fn reused(&self) -> (&Table, &Table) {
        (&self.keys.table, &self.args.table)
    }

    /// Fills the tables that are used again, if there are few arguments; returns whether there are.
    pub(super) fn reuse(&self, keys: &[&[u8]], args: &[&[u8]]) -> Result<bool> {
        if keys.len() + args.len() > FEW {
            return Ok(false);
        }
        self.keys.fill(&self.lua, keys)?;
        self.args.fill(&self.lua, args)?;
        Ok(true)
    }

    fn arguments(&self, reuse: bool, keys: &[&[u8]], args: &[&[u8]]) -> Result<()> {
        if !reuse || !self.reuse(keys, args)? {
            self.replaced.set(true);
            self.globals.raw_set("KEYS", self.strings(keys)?)?;
            return self.globals.raw_set("ARGV", self.strings(args)?);
        }
        if self.replaced.replace(false) {
            self.globals.raw_set("KEYS", &self.keys.table)?;
            self.globals.raw_set("ARGV", &self.args.table)?;
        }
        Ok(())
    }

    /// A table of strings.
    pub(super) fn strings(&self, strings: &[&[u8]]) -> Result<Table> {
        let mut failed = None;
        let items = strings.iter().map_while(|bytes| {
            convert::text(&self.lua, bytes)
                .map_err(|e| failed = Some(e))
                .ok()
        });
        let table = self.lua.create_sequence_from(items)?;
        failed.map_or(Ok(table), Err)
    }

    /// Does something that a script may make use too much memory.
    pub(super) fn limited<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.lua.set_memory_limit(self.limit)?;
        let done = work();
        self.lua.set_memory_limit(0)?;
        done
    }

    /// Bytes that scripts may use.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Which special form of a reply a table is, with its parts; see prelude.lua.
    pub(super) fn shape(&self, table: &Table) -> Result<(u8, Value, Value)> {
        self.shape.call(table)
    }

    /// Fails if the script must end, or if too much memory is in use with what is `held` outside of the interpreter.
    pub(super) fn look(&self, run: &mut Run, held: usize) -> Result<()> {
        watch::look(&self.lua, run, self.limit, held)
    }

    /// Gives back what a script used and needs no more; returns how many bytes are left in use.
    pub(super) fn tidy(&self) -> usize {
        let mut used = self.lua.used_memory();
        if self.is_too_much(used) {
            if let Err(e) = self.lua.gc_collect() {
                tracing::warn!("garbage of a script could not be collected: {e}");
            }
            used = self.lua.used_memory();
        }
        self.rest(used);
        used
    }

    /// Nothing runs, and so many bytes are in use.
    pub(super) fn rest(&self, used: usize) {
        self.pace.rest(used);
    }

    /// Whether so many bytes are in use between scripts that it is better to start afresh.
    pub(super) fn is_too_much(&self, used: usize) -> bool {
        used >= self.limit / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(vm: &Vm, script: &str) -> (bool, String) {
        vm.compile(script.as_bytes(), 0).unwrap();
        let (ok, value) = vm.run(0, Traits::default(), &[], &[]).unwrap();
        (ok, value.to_string().unwrap())
    }

    #[test]
    fn memory_is_limited_and_given_back() {
        let new = || Vm::new(&Shared::default(), 0, 16 << 20).unwrap();
        let mut vm = new();
        for script in [
            "local s='x' while true do s=s..s end",
            "return ('x'):rep(1e9)",
            "local t={} for i=1,1e9 do t[i]=i end",
            "local t={} for i=1,1e9 do t[i]={} end",
            "local t={} while true do t[#t+1]=('x'):rep(1000)..#t end",
            "local s=('x'):rep(1e6) return s:gsub('x',s)",
            "local t={} for i=1,100 do t[i]=('x'):rep(1e5) end return table.concat(t,('y'):rep(1e6))",
            "local t={} while true do t[#t+1]=coroutine.create(function() end) end",
            "local f f=function() local t={} return f(t,f) end local g={} while true do g={g,g,g} end",
        ] {
            let (ok, text) = run(&vm, script);
            assert!(
                !ok && text.contains("not enough memory"),
                "{script}: {text}"
            );
            // What the interpreter cannot give back goes with it.
            let used = vm.tidy();
            if vm.is_too_much(used) {
                vm = new();
            }
            assert_eq!(run(&vm, "return 1"), (true, "1".to_owned()));
        }
        assert_eq!(run(&vm, "return pcall(string.rep,'x',1e9)").1, "false");
    }
}
