//! The interpreter, and the world that scripts see in it.

use std::cell::Cell;

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, LuaOptions, Result, StdLib, Table, Value};

use super::crossing::{self, Entry, Stage};
use super::fault::PRELUDE;
use super::pace::Pace;
use super::slot::{Run, Shared};
use super::traits::Traits;
use super::{api, bytecode, lib, random, watch};

/// Tables of more arguments are not used again: few stay behind.
const FEW: usize = 16;

/// An interpreter that scripts run in.
pub(super) struct Vm {
    /// The interpreter. Its global table is the one scripts see.
    pub(super) lua: Lua,
    pace: Pace,
    /// What runs, by number: scripts, or functions of libraries.
    functions: Table,
    /// What is behind the global table that scripts see.
    globals: Option<Table>,
    /// Begins a run.
    entrance: Function,
    shape: Function,
    /// How many keys and arguments the tables hold that are used again.
    held: Cell<[usize; 2]>,
    /// Whether the global table has these tables.
    in_place: Cell<bool>,
    limit: usize,
    /// Whether the limit is in force.
    is_limited: Cell<bool>,
}

/// The world that scripts see, where another is made of it.
pub(super) struct World {
    /// The global table that they see.
    pub(super) seen: Table,
    /// What is behind it. KEYS and ARGV are put there, unless functions take them as arguments.
    pub(super) globals: Option<Table>,
    /// What runs, by number.
    pub(super) functions: Table,
    /// Runs one with an error handler.
    pub(super) guarded: Function,
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm").finish_non_exhaustive()
    }
}

impl Vm {
    /// A new interpreter of scripts. `seed` starts math.random; scripts may use `limit` bytes.
    pub(super) fn new(shared: &Shared, seed: u64, limit: usize) -> Result<Vm> {
        let (vm, ()) = Vm::of_world(shared, seed, limit, |_, _, world| Ok((world, ())))?;
        Ok(vm)
    }

    /// The same, where `extend` makes another world of that of scripts: it gets what the prelude got, and gives what else
    /// it made, too.
    pub(super) fn of_world<T>(
        shared: &Shared,
        seed: u64,
        limit: usize,
        extend: impl FnOnce(&Lua, Table, World) -> Result<(World, T)>,
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
        let (seen, globals, functions, guarded, shape) = prelude.call(&host)?;
        let world = World {
            seen,
            globals: Some(globals),
            functions,
            guarded,
        };
        let (world, made) = extend(&lua, host, world)?;
        let stage = Stage {
            kept: [&lua.create_table()?, &lua.create_table()?],
            functions: &world.functions,
            guarded: &world.guarded,
            globals: world.globals.as_ref(),
        };
        let entrance = crossing::entrance(&lua, &stage)?;
        lua.set_globals(world.seen)?;
        // What compiling left behind.
        lua.gc_collect()?;
        let pace = Pace::start(&lua, shared)?;
        let vm = Vm {
            lua,
            pace,
            functions: world.functions,
            globals: world.globals,
            entrance,
            shape,
            held: Cell::new([0, 0]),
            in_place: Cell::new(false),
            limit,
            is_limited: Cell::new(false),
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
        // What only reads global variables may find them where they are: that is faster than looking through.
        if let Some(globals) = &self.globals
            && bytecode::assigns_no_global(&script.dump(true))
        {
            script.set_environment(globals.clone())?;
        }
        self.functions.raw_set(number, script)
    }

    /// Forgets what is kept under a number.
    pub(super) fn forget(&self, number: usize) -> Result<()> {
        self.functions.raw_set(number, Value::Nil)
    }

    /// Runs what is kept under a number: whether it came to its end, and its value or what it raised.
    pub(super) fn run(
        &self,
        number: usize,
        traits: Traits,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> (bool, Value) {
        let words = [keys, args];
        let reuses = traits.leaves_arguments && keys.len() + args.len() <= FEW;
        let held = self.held.get();
        let entry = Entry {
            number: number.try_into().unwrap_or_default(),
            is_plain: traits.is_plain,
            words,
            held: reuses.then_some(held),
            in_place: self.in_place.replace(reuses),
        };
        if reuses {
            self.held.set([keys.len(), args.len()]);
        }
        // Where no handler is, and where memory runs out on the way out of one, the error comes out here. The limit stays
        // in force: mostly the next run needs it again.
        self.set_limited(true)
            .and_then(|()| crossing::run(&self.entrance, &entry))
            .unwrap_or_else(|e| {
                // Memory may have run out while the tables were filled, or before they were in place.
                self.in_place.set(false);
                if reuses {
                    self.held
                        .set([held[0].max(keys.len()), held[1].max(args.len())]);
                }
                (false, Value::Error(Box::new(e)))
            })
    }

    /// Does something that a script may make use too much memory.
    pub(super) fn limited<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.set_limited(true)?;
        let done = work();
        self.set_limited(false)?;
        done
    }

    /// What a script leaves is to be looked at: that needs memory even where the script has used it up.
    pub(super) fn lift_limit(&self) {
        // It fails only for an interpreter with a foreign allocator.
        let _ = self.set_limited(false);
    }

    fn set_limited(&self, limited: bool) -> Result<()> {
        if self.is_limited.replace(limited) != limited {
            self.lua
                .set_memory_limit(if limited { self.limit } else { 0 })?;
        }
        Ok(())
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
        let (ok, value) = vm.run(0, Traits::default(), &[], &[]);
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

    #[test]
    fn arguments_that_find_no_memory_leave_nothing_behind() {
        let vm = Vm::new(&Shared::default(), 0, 16 << 20).unwrap();
        vm.compile(b"return #KEYS..':'..#ARGV..(KEYS[1] or '')", 0)
            .unwrap();
        let large = vec![b'x'; 20 << 20];
        for leaves_arguments in [true, false] {
            for is_plain in [true, false] {
                let traits = Traits {
                    leaves_arguments,
                    is_plain,
                    sole_line: None,
                };
                let run = |keys: &[&[u8]], args: &[&[u8]]| {
                    let (ok, value) = vm.run(0, traits, keys, args);
                    (ok, value.to_string().unwrap())
                };
                assert_eq!(run(&[b"a", b"b"], &[b"c"]), (true, "2:1a".to_owned()));
                let (ok, text) = run(&[b"d", &large, b"e"], &[]);
                assert!(!ok && text.contains("not enough memory"), "{text}");
                assert_eq!(run(&[], &[]), (true, "0:0".to_owned()));
                assert_eq!(run(&[b"f"], &[]), (true, "1:0f".to_owned()));
            }
        }
    }
}
