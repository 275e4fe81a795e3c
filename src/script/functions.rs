//! Functions: loads libraries into an interpreter of their own, and calls what they registered.
//!
//! The registry ([`Libraries`]) is the truth; this is what was compiled of it. A library is loaded into a registry
//! beside the real one, its callbacks waiting in the interpreter without numbers; only what joins the real one gets
//! numbers there. So whatever fails leaves everything as it was.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua::chunk::ChunkMode;
use mlua::{BString, Lua, LuaString};

use super::brief::{self, Brief, Room};
use super::callbacks;
use super::convert;
use super::fault::{self, Name, Thrown};
use super::host::{broken, perform};
use super::shebang::{self, LibraryHead};
use super::slot::{Run, Shared};
use super::traits::Traits;
use super::vm::{self, Vm};
use crate::exec::declared::ScriptFlags;
use crate::exec::functions::{Function, FunctionId, Libraries, Policy, is_name};
use crate::exec::{Args, CmdError, ScriptOrigin, State};
use crate::rdb::{Reader, library, payload};
use crate::resp::ReplyBuf;

/// How long a library may take to register its functions.
const LOAD_TIME: Duration = Duration::from_millis(500);

/// How long all libraries of a payload may take together.
const RESTORE_TIME: Duration = Duration::from_secs(5);

const CHUNK: &str = "user_function";

/// The functions of a library while it registers them.
#[derive(Debug)]
pub(super) struct Load {
    functions: Vec<Function>,
    /// Their names in lower case.
    names: HashSet<Vec<u8>>,
    /// Bytes that names and descriptions may still take.
    room: usize,
    until: Instant,
}

impl Load {
    fn new(room: usize, until: Instant) -> Load {
        Load {
            functions: Vec::new(),
            names: HashSet::new(),
            room,
            until,
        }
    }

    /// Fails when time is over.
    pub(super) fn tick(&self) -> Result<(), Thrown> {
        if Instant::now() < self.until {
            return Ok(());
        }
        Err(Thrown::Reply {
            text: b"ERR FUNCTION LOAD timeout".to_vec(),
            counted: false,
        })
    }

    /// Notes a function; says why, if it may not be.
    fn define(
        &mut self,
        name: &[u8],
        flags: u8,
        description: Option<&[u8]>,
    ) -> mlua::Result<Option<&'static str>> {
        if !is_name(name) {
            return Ok(Some(shebang::NAME));
        }
        // A table of functions is indexed by names in any case, so that two of a library must not differ in case alone.
        if !self.names.insert(name.to_ascii_lowercase()) {
            return Ok(Some("Function already exists in the library"));
        }
        let bytes = size_of::<Function>() + name.len() * 3 + description.map_or(0, <[u8]>::len);
        let Some(room) = self.room.checked_sub(bytes) else {
            return Err(mlua::Error::MemoryError("not enough memory".to_owned()));
        };
        self.room = room;
        self.functions.push(Function {
            name: String::from_utf8_lossy(name).into(),
            description: description.map(Into::into),
            flags: ScriptFlags::from_bits(flags),
        });
        Ok(None)
    }
}

/// What FCALL was asked.
pub(super) struct Fcall<'a> {
    pub(super) id: FunctionId,
    pub(super) keys: &'a [&'a [u8]],
    pub(super) args: &'a [&'a [u8]],
    pub(super) read_only: bool,
}

/// The interpreter of functions. It is made when first needed, and again when what functions keep fills it.
#[derive(Debug)]
pub(super) struct Functions {
    shared: Shared,
    world: Option<World>,
    limit: usize,
    /// Garbage is collected when more than this is in use.
    collect_at: usize,
    /// Room for functions that need no interpreter.
    room: Room,
}

/// A function, as messages of errors in it name it.
fn name_of(state: &State, id: FunctionId) -> Name<'_> {
    let function = state.sys.libraries.function(id);
    Name {
        chunk: CHUNK,
        own: function.map_or("", |f| &f.name),
        line: None,
    }
}

impl Functions {
    /// An interpreter that shares the slot with that of scripts and may use `limit` bytes.
    pub(super) fn new(shared: Shared, limit: usize) -> Functions {
        Functions {
            shared,
            world: None,
            limit,
            collect_at: limit / 4,
            room: Room::default(),
        }
    }

    /// Bytes that the interpreter uses.
    pub(super) fn memory(&self) -> usize {
        self.world
            .as_ref()
            .map_or(0, |world| world.vm.lua.used_memory())
    }

    /// The interpreter with everything in it that the registry has.
    fn world(&mut self, state: &mut State) -> Result<&mut World, CmdError> {
        self.forget_dropped(state)?;
        if self.world.is_none() {
            self.start(state)?;
        }
        self.world
            .as_mut()
            .ok_or(CmdError::fixed("ERR no interpreter"))
    }

    fn start(&mut self, state: &mut State) -> Result<(), CmdError> {
        let seed = state.sys.rng.next_u64();
        let mut world = World::new(&self.shared, seed, self.limit).map_err(|e| broken(&e))?;
        let libraries = &state.sys.libraries;
        for (name, library) in libraries.iter() {
            let until = Instant::now() + RESTORE_TIME;
            let loaded = shebang::library(&library.code)
                .and_then(|head| world.load(&self.shared, &head, until))
                .and_then(|functions| {
                    let seen = Library::of(&library.code);
                    for (at, function) in functions.iter().enumerate() {
                        if let Some((id, _)) = libraries.find(function.name.as_bytes())
                            && library.functions.contains(&id)
                        {
                            world
                                .adopt(at, id, seen.function(&function.name))
                                .map_err(|e| broken(&e))?;
                        }
                    }
                    Ok(())
                });
            world.discard();
            if let Err(e) = loaded {
                tracing::warn!("library {name} cannot be loaded any more: {}", e.text());
            }
        }
        self.world = Some(world);
        Ok(())
    }

    /// Drops what was compiled of functions that are gone. Without any library there is no interpreter either.
    pub(super) fn forget_dropped(&mut self, state: &mut State) -> Result<(), CmdError> {
        let libraries = &mut state.sys.libraries;
        let dropped = std::mem::take(&mut libraries.dropped);
        if dropped.is_empty() {
            return Ok(());
        }
        if libraries.is_empty() {
            self.world = None;
            libraries.interpreter = 0;
            return Ok(());
        }
        if let Some(world) = &self.world {
            for id in dropped {
                world.vm.forget(id.index()).map_err(|e| broken(&e))?;
            }
        }
        Ok(())
    }

    /// FUNCTION LOAD; gives the name of the library.
    pub(super) fn load(
        &mut self,
        state: &mut State,
        code: &[u8],
        replace: bool,
    ) -> Result<String, CmdError> {
        let head = shebang::library(code)?;
        if !replace && state.sys.libraries.get(head.name.as_bytes()).is_some() {
            return Err(library_exists(&head.name));
        }
        let policy = if replace {
            Policy::Replace
        } else {
            Policy::Append
        };
        let until = Instant::now() + LOAD_TIME;
        let mut beside = Libraries::default();
        let loaded = self
            .load_beside(state, &mut beside, code, until)
            .and_then(|()| self.join(state, beside, policy));
        self.settle(state);
        loaded.map(|()| head.name)
    }

    /// FUNCTION RESTORE.
    pub(super) fn restore(
        &mut self,
        state: &mut State,
        bytes: &[u8],
        policy: Policy,
    ) -> Result<(), CmdError> {
        let checked = !state.sys.debug.checksums_skipped;
        let body = payload::open(bytes, checked)
            .map_err(|_| CmdError::fixed("ERR DUMP payload version or checksum are wrong"))?;
        let until = Instant::now() + RESTORE_TIME;
        let mut beside = Libraries::default();
        let loaded = self
            .load_all(state, &mut beside, body, until)
            .and_then(|()| self.join(state, beside, policy));
        self.settle(state);
        loaded
    }

    /// DEBUG RELOAD: the same with what a file had, and no change of the data.
    pub(super) fn reload(
        &mut self,
        state: &mut State,
        bytes: &[u8],
        policy: Policy,
    ) -> Result<(), CmdError> {
        let dirty = state.ks.log.dirty;
        let loaded = if bytes.is_empty() {
            let joined = self.join(state, Libraries::default(), policy);
            self.settle(state);
            joined
        } else {
            self.restore(state, bytes, policy)
        };
        state.ks.log.dirty = dirty;
        loaded
    }

    fn load_all(
        &mut self,
        state: &mut State,
        beside: &mut Libraries,
        body: &[u8],
        until: Instant,
    ) -> Result<(), CmdError> {
        let mut reader = Reader::new(body);
        while !reader.left().is_empty() {
            let code = library::read(&mut reader).map_err(|e| CmdError::new(format!("ERR {e}")))?;
            let until = until.min(Instant::now() + LOAD_TIME);
            self.load_beside(state, beside, &code.into_cow(), until)?;
        }
        Ok(())
    }

    /// Loads a library into a registry beside the real one.
    fn load_beside(
        &mut self,
        state: &mut State,
        beside: &mut Libraries,
        code: &[u8],
        until: Instant,
    ) -> Result<(), CmdError> {
        let head = shebang::library(code)?;
        if beside.get(head.name.as_bytes()).is_some() {
            return Err(library_exists(&head.name));
        }
        let shared = self.shared.clone();
        let functions = self.world(state)?.load(&shared, &head, until)?;
        beside.add(&head.name, code, functions)
    }

    /// Puts libraries that were loaded beside the registry into it.
    fn join(
        &mut self,
        state: &mut State,
        beside: Libraries,
        policy: Policy,
    ) -> Result<(), CmdError> {
        let mut seen = HashMap::new();
        for (_, library) in beside.iter() {
            let all = Library::of(&library.code);
            seen.extend(library.functions.iter().map(|&id| {
                let function = beside.function(id);
                (
                    id,
                    function.map(|f| all.function(&f.name)).unwrap_or_default(),
                )
            }));
        }
        let renumbered = state.sys.libraries.join(beside, policy)?;
        state.ks.mark_dirty(1);
        if renumbered.is_empty() {
            return self.forget_dropped(state);
        }
        let world = self.world(state)?;
        for (was, now) in renumbered {
            let seen = seen.remove(&was).unwrap_or_default();
            let adopted = world.adopt(was.index(), now, seen);
            adopted.map_err(|e| broken(&e))?;
        }
        Ok(())
    }

    /// Lets go of what was loaded and did not join, and counts memory.
    fn settle(&mut self, state: &mut State) {
        if let Some(world) = &self.world {
            world.discard();
        }
        self.tidy(state);
        if state.sys.libraries.is_empty() {
            self.world = None;
            state.sys.libraries.interpreter = 0;
        }
    }

    /// FCALL.
    pub(super) fn call(
        &mut self,
        mut state: Box<State>,
        origin: ScriptOrigin,
        fcall: &Fcall<'_>,
        args: Args<'_>,
        reply: &mut ReplyBuf,
    ) -> (Box<State>, Result<(), CmdError>) {
        if let Err(e) = self.world(&mut state) {
            return (state, Err(e));
        }
        let libraries = &state.sys.libraries;
        let (Some(function), Some(world)) = (libraries.function(fcall.id), &self.world) else {
            return (state, Err(CmdError::fixed("ERR Function not found")));
        };
        let flags = function.flags;
        if fcall.read_only && !flags.has(ScriptFlags::NO_WRITES) {
            let text = "ERR Can not execute a script with write flag using *_ro command.";
            return (state, Err(CmdError::fixed(text)));
        }
        let read_only = fcall.read_only || flags.has(ScriptFlags::NO_WRITES);
        let allow_oom = flags.has(ScriptFlags::ALLOW_OOM) || state.ks.replays();
        let words = std::mem::take(&mut self.shared.lock().command).holding(args);
        let run = Run::new(state, origin, read_only, allow_oom).of_function(fcall.id, words);
        if let Some(seen) = world.seen.get(fcall.id.index())
            && let Some(brief) = &seen.brief
        {
            let mut run = run;
            run.without_pauses();
            let given = brief::Given {
                keys: fcall.keys,
                args: fcall.args,
                vm: &world.vm,
                chunk: CHUNK,
            };
            let result = brief.run(&mut run, given, &mut self.room, reply);
            let (state, words) = run.end();
            if let Some(words) = words {
                self.shared.lock().command = words;
            }
            let result = result.map_err(|failed| failed.into_reply(name_of(&state, fcall.id)));
            return (state, result);
        }
        let work = || world.call(fcall);
        let (mut state, ended) = perform(&self.shared, run, &world.vm, work, reply);
        let result = ended.map_err(|failed| failed.into_reply(name_of(&state, fcall.id)));
        self.tidy(&mut state);
        (state, result)
    }

    /// Collects garbage when there may be much, and starts afresh when what functions keep leaves too little room.
    fn tidy(&mut self, state: &mut State) {
        let Some(world) = &self.world else {
            return;
        };
        let mut used = world.vm.lua.used_memory();
        if used > self.collect_at {
            if let Err(e) = world.vm.lua.gc_collect() {
                tracing::warn!("garbage of functions could not be collected: {e}");
            }
            used = world.vm.lua.used_memory();
            self.collect_at = (used + used / 2).max(self.limit / 4);
            if used > self.limit / 4 * 3 {
                tracing::warn!(
                    "functions keep {used} bytes: all libraries are loaded afresh, without what they keep"
                );
                self.world = None;
                self.collect_at = self.limit / 4;
                used = 0;
            }
        }
        if let Some(world) = &self.world {
            world.vm.rest(used);
        }
        state.sys.libraries.interpreter = used;
    }
}

fn library_exists(name: &str) -> CmdError {
    CmdError::new(format!("ERR Library '{name}' already exists"))
}

/// An interpreter with the world of functions; see functions.lua.
#[derive(Debug)]
struct World {
    vm: Vm,
    load: mlua::Function,
    discard: mlua::Function,
    adopt: mlua::Function,
    /// By number: what was seen of a function that lets it run faster.
    seen: Vec<Seen>,
}

/// What was seen of a function that lets it run faster.
#[derive(Debug, Clone, Default)]
struct Seen {
    traits: Traits,
    /// If it needs no interpreter.
    brief: Option<Arc<Brief>>,
}

/// What is seen in the code of a library that lets its functions run faster.
struct Library {
    traits: Traits,
    briefs: Vec<(Vec<u8>, Arc<Brief>)>,
}

impl Library {
    fn of(code: &[u8]) -> Library {
        // The first line is no code.
        let code = shebang::library(code).map_or(code, |head| head.code);
        let briefs = Brief::functions(code).into_iter();
        Library {
            traits: Traits {
                leaves_arguments: callbacks::leave_arguments(code),
                sole_line: None,
                ..Traits::of(code)
            },
            briefs: briefs
                .map(|(name, brief)| (name.to_vec(), Arc::new(brief)))
                .collect(),
        }
    }

    fn function(&self, name: &str) -> Seen {
        let mut briefs = self.briefs.iter();
        let brief = briefs.find(|(of, _)| of == name.as_bytes());
        Seen {
            traits: self.traits,
            brief: brief.map(|(_, brief)| Arc::clone(brief)),
        }
    }
}

impl World {
    fn new(shared: &Shared, seed: u64, limit: usize) -> mlua::Result<World> {
        let (vm, made) = Vm::of_world(shared, seed, limit, |lua, host, scripts| {
            let extend = lua
                .load(include_str!("functions.lua"))
                .set_name(format!("={}", fault::PRELUDE))
                .into_function()?;
            let bits = lua.create_table()?;
            for (flag, name) in ScriptFlags::ALL {
                bits.raw_set(*name, flag.bits())?;
            }
            let fail = lua.create_function(fail)?;
            let define = define(lua, shared)?;
            let (seen, functions, guarded, load, discard, adopt) =
                extend.call((host, scripts.globals, define, fail, bits))?;
            let world = vm::World {
                seen,
                globals: None,
                functions,
                guarded,
            };
            Ok((world, (load, discard, adopt)))
        })?;
        let (load, discard, adopt) = made;
        Ok(World {
            vm,
            load,
            discard,
            adopt,
            seen: Vec::new(),
        })
    }

    /// Compiles and runs the code of a library; gives the functions that it registered. Their callbacks wait.
    fn load(
        &self,
        shared: &Shared,
        head: &LibraryHead<'_>,
        until: Instant,
    ) -> Result<Vec<Function>, CmdError> {
        let lua = &self.vm.lua;
        let chunk = self.vm.limited(|| {
            let chunk = lua.load(head.code).set_name(format!("@{CHUNK}"));
            chunk.set_mode(ChunkMode::Text).into_function()
        });
        let chunk = chunk.map_err(|e| failed("Error compiling function", &fault::text_of(&e)))?;
        shared.lock().load = Some(Load::new(self.vm.limit(), until));
        let ended = self.vm.limited(|| self.load.call::<Option<BString>>(chunk));
        let load = shared.lock().load.take();
        match ended {
            Ok(None) => {}
            Ok(Some(text)) => return Err(failed("Error registering functions", &text)),
            Err(e) => return Err(failed("Error registering functions", &fault::text_of(&e))),
        }
        match load {
            Some(load) if !load.functions.is_empty() => Ok(load.functions),
            _ => Err(CmdError::fixed("ERR No functions registered")),
        }
    }

    fn discard(&self) {
        if let Err(e) = self.discard.call::<()>(()) {
            tracing::warn!("a library could not be dropped: {e}");
        }
    }

    /// Gives a waiting callback its number.
    fn adopt(&mut self, at: usize, id: FunctionId, seen: Seen) -> mlua::Result<()> {
        let number = id.index();
        if self.seen.len() <= number {
            self.seen.resize(number + 1, Seen::default());
        }
        if let Some(place) = self.seen.get_mut(number) {
            *place = seen;
        }
        self.adopt.call((at + 1, number))
    }

    /// Calls a function: whether it came to its end, and its value or what it raised.
    fn call(&self, fcall: &Fcall<'_>) -> (bool, mlua::Value) {
        let number = fcall.id.index();
        let seen = self.seen.get(number);
        let traits = seen.map(|seen| seen.traits).unwrap_or_default();
        self.vm.run(number, traits, fcall.keys, fcall.args)
    }
}

/// `define(name, flags, description)`.
fn define(lua: &Lua, shared: &Shared) -> mlua::Result<mlua::Function> {
    let shared = shared.clone();
    lua.create_function(
        move |_, (name, flags, description): (LuaString, u8, Option<LuaString>)| {
            let description = description.as_ref().map(LuaString::as_bytes);
            match &mut shared.lock().load {
                Some(load) => load.define(&name.as_bytes(), flags, description.as_deref()),
                None => Ok(None),
            }
        },
    )
}

/// `fail(text)`.
fn fail(_: &Lua, text: String) -> mlua::Result<()> {
    Err(fault::reply_error(&format!("ERR {text}")))
}

fn failed(what: &str, why: &[u8]) -> CmdError {
    let why = String::from_utf8_lossy(convert::up_to_zero(why)).into_owned();
    CmdError::new(format!("ERR {what}: {why}"))
}
