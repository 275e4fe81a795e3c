//! Finds or compiles scripts and runs them.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::brief::{self, Brief, Room};
use super::convert;
use super::debugger::{self, Program};
use super::fault::{self, Name};
use super::functions::{Fcall, Functions};
use super::shebang::{self, Flags};
use super::slot::{Run, Shared};
use super::traits::Traits;
use super::vm::Vm;
use crate::exec::effects::Readers;
use crate::exec::{Args, CmdError, ScriptCall, ScriptHost, ScriptOrigin, State};
use crate::resp::{Proto, ReplyBuf};
use crate::util::digest;
use ahash::RandomState;
use mlua::Value;

/// Memory that the interpreter may use while a script runs. Beyond, the script gets an error.
const MEMORY_LIMIT: usize = 512 << 20;

/// Scripts that EVAL left in the cache are forgotten beyond this number, the oldest first. What SCRIPT LOAD loaded
/// stays.
const EVALS_KEPT: usize = 500;

const NO_SCRIPT: CmdError = CmdError::fixed("NOSCRIPT No matching script. Please use EVAL.");

/// The interpreter of an instance.
#[derive(Debug)]
pub struct LuaHost {
    shared: Shared,
    /// Made when first needed, again after SCRIPT FLUSH.
    vm: Option<Vm>,
    limit: usize,
    functions: Functions,
    generation: u64,
    scripts: Vec<Script>,
    by_sha: HashMap<[u8; 40], usize, RandomState>,
    by_body: HashMap<Arc<[u8]>, usize, RandomState>,
    /// The script that EVAL ran last: often it is the next one, too.
    last: Option<(Arc<[u8]>, usize)>,
    /// The same of EVALSHA.
    last_sha: Option<([u8; 40], usize)>,
    /// Room for scripts that need no interpreter.
    room: Room,
    /// A script was compiled, which takes a while.
    has_compiled: bool,
    /// Scripts that only EVAL brought, oldest first.
    evals: VecDeque<usize>,
    free: Vec<usize>,
}

/// A compiled script.
#[derive(Debug)]
struct Script {
    sha: [u8; 40],
    flags: Flags,
    traits: Traits,
    /// If it needs no interpreter.
    brief: Option<Brief>,
}

impl Default for LuaHost {
    fn default() -> LuaHost {
        LuaHost::new()
    }
}

impl LuaHost {
    /// An interpreter that is started by the first script.
    pub fn new() -> LuaHost {
        LuaHost::with_memory_limit(MEMORY_LIMIT)
    }

    /// The same, where a script may use so many bytes.
    pub fn with_memory_limit(limit: usize) -> LuaHost {
        let shared = Shared::default();
        LuaHost {
            functions: Functions::new(shared.clone(), limit),
            shared,
            vm: None,
            limit,
            generation: 0,
            scripts: Vec::new(),
            by_sha: HashMap::with_hasher(hasher(0)),
            by_body: HashMap::with_hasher(hasher(0)),
            last: None,
            last_sha: None,
            room: Room::default(),
            has_compiled: false,
            evals: VecDeque::new(),
            free: Vec::new(),
        }
    }

    /// Drops the interpreter and everything compiled for it. The cache of bodies is not touched.
    fn reset(&mut self) {
        self.scripts.clear();
        self.by_sha.clear();
        self.by_body.clear();
        self.last = None;
        self.last_sha = None;
        self.evals.clear();
        self.free.clear();
        self.vm = None;
    }

    /// The interpreter, which is made if there is none.
    fn vm(&mut self, state: &mut State) -> Result<&Vm, CmdError> {
        if self.generation != state.sys.scripts.generation {
            self.generation = state.sys.scripts.generation;
            self.reset();
        }
        match &mut self.vm {
            Some(vm) => Ok(vm),
            slot @ None => {
                let seed = state.sys.rng.next_u64();
                self.by_sha = HashMap::with_hasher(hasher(seed));
                self.by_body = HashMap::with_hasher(hasher(seed));
                let vm = Vm::new(&self.shared, seed, self.limit).map_err(|e| broken(&e))?;
                Ok(slot.insert(vm))
            }
        }
    }

    /// The script of an EVAL or EVALSHA.
    fn find(&mut self, state: &mut State, sha: bool, given: &[u8]) -> Result<usize, CmdError> {
        self.vm(state)?;
        if !sha {
            return self.find_body(state, given);
        }
        let mut key: [u8; 40] = given.try_into().map_err(|_| NO_SCRIPT)?;
        if let Some((last, at)) = &self.last_sha
            && *last == key
        {
            return Ok(*at);
        }
        key.make_ascii_lowercase();
        if let Some(&at) = self.by_sha.get(&key) {
            self.last_sha = Some((key, at));
            return Ok(at);
        }
        // Loaded, and compiled for an interpreter that is no more.
        let body = state.sys.scripts.get(&key).cloned().ok_or(NO_SCRIPT)?;
        self.load(state, &body, true)
    }

    /// The script of an EVAL.
    fn find_body(&mut self, state: &mut State, body: &[u8]) -> Result<usize, CmdError> {
        if let Some((last, at)) = &self.last
            && **last == *body
        {
            return Ok(*at);
        }
        let Some((found, &at)) = self.by_body.get_key_value(body) else {
            return self.load(state, body, false);
        };
        self.last = Some((Arc::clone(found), at));
        Ok(at)
    }

    /// Compiles a script and remembers it; `keep` if EVAL alone did not bring it.
    fn load(&mut self, state: &mut State, body: &[u8], keep: bool) -> Result<usize, CmdError> {
        let sha = digest::sha1_hex(body);
        if let Some(&at) = self.by_sha.get(&sha) {
            if keep {
                self.evals.retain(|&eval| eval != at);
            }
            return Ok(at);
        }
        let (flags, code) = shebang::parse(body)?;
        let traits = Traits::of(code);
        let at = self.free.last().copied().unwrap_or(self.scripts.len());
        self.vm(state)?.compile(code, at).map_err(|e| {
            let text = fault::text_of(&e);
            let text = String::from_utf8_lossy(&text).into_owned();
            CmdError::new(format!("ERR Error compiling script (new function): {text}"))
        })?;
        self.free.pop();
        let script = Script {
            sha,
            flags,
            traits,
            brief: Brief::of(code),
        };
        self.has_compiled = true;
        state.sys.scripts.interpreter = self.vm(state)?.lua.used_memory();
        match self.scripts.get_mut(at) {
            Some(place) => *place = script,
            None => self.scripts.push(script),
        }
        self.by_sha.insert(sha, at);
        let body = match state.sys.scripts.get(&sha) {
            Some(body) => Arc::clone(body),
            None => state.sys.scripts.insert(sha, body),
        };
        self.by_body.insert(body, at);
        if !keep {
            self.evals.push_back(at);
            if self.evals.len() > EVALS_KEPT {
                self.evict(state);
            }
        }
        Ok(at)
    }

    /// Forgets the oldest script that only EVAL brought.
    fn evict(&mut self, state: &mut State) {
        let Some(at) = self.evals.pop_front() else {
            return;
        };
        let Some(script) = self.scripts.get(at) else {
            return;
        };
        if let Some(vm) = &self.vm
            && let Err(e) = vm.forget(at)
        {
            tracing::warn!("a script could not be dropped: {e}");
        }
        self.by_sha.remove(&script.sha);
        self.last = None;
        self.last_sha = None;
        if let Some(body) = state.sys.scripts.remove(&script.sha) {
            self.by_body.remove(&body[..]);
        }
        self.free.push(at);
    }

    fn load_command(
        &mut self,
        state: &mut State,
        args: Args<'_>,
        reply: &mut ReplyBuf,
    ) -> Result<(), CmdError> {
        self.vm(state)?;
        let at = self.load(state, args.at(2), true)?;
        if let Some(script) = self.scripts.get(at) {
            reply.bulk(&script.sha);
        }
        Ok(())
    }

    fn eval(
        &mut self,
        mut state: Box<State>,
        origin: ScriptOrigin,
        eval: &Eval,
        args: Args<'_>,
        reply: &mut ReplyBuf,
    ) -> (Box<State>, Result<(), CmdError>) {
        let at = match self.find(&mut state, eval.sha, args.at(1)) {
            Ok(at) => at,
            Err(e) => return (state, Err(e)),
        };
        let (Some(script), Some(vm)) = (self.scripts.get(at), &self.vm) else {
            return (state, Err(NO_SCRIPT));
        };
        let replays = state.ks.replays();
        let allow_oom = script.flags.allow_oom || script.flags.no_writes || replays;
        if script.flags.declared && !allow_oom && state.is_out_of_memory() {
            return (state, Err(CmdError::OUT_OF_MEMORY));
        }
        if eval.read_only && script.flags.declared && !script.flags.no_writes {
            let text = "ERR Can not execute a script with write flag using *_ro command.";
            return (state, Err(CmdError::fixed(text)));
        }
        let read_only = eval.read_only || script.flags.no_writes;
        let given = args.from(3);
        let (keys, argv) = given.split_at(eval.numkeys.min(given.len()));
        let run = Run::new(state, origin, read_only, allow_oom).on_line(script.traits.sole_line);
        if let Some(brief) = &script.brief {
            let mut run = run;
            if !std::mem::take(&mut self.has_compiled) {
                run.without_pauses();
            }
            let name = Name {
                chunk: "user_script",
                own: std::str::from_utf8(&script.sha).unwrap_or_default(),
                line: None,
            };
            let given = brief::Given {
                keys,
                args: argv,
                vm,
                chunk: name.chunk,
            };
            let result = brief.run(&mut run, given, &mut self.room, reply);
            return (
                run.end().0,
                result.map_err(|failed| failed.into_reply(name)),
            );
        }
        let work = || vm.run(at, script.traits, keys, argv);
        let (mut state, ended) = perform(&self.shared, run, vm, work, reply);
        let result = ended.map_err(|failed| {
            failed.into_reply(Name {
                chunk: "user_script",
                own: &String::from_utf8_lossy(&script.sha),
                line: script.traits.sole_line,
            })
        });
        let used = vm.tidy();
        state.sys.scripts.interpreter = used;
        if vm.is_too_much(used) {
            self.reset();
        }
        (state, result)
    }
}

impl LuaHost {
    /// Begins to run a script in the debugger, which stands still at its first line.
    fn debug(
        &mut self,
        mut state: Box<State>,
        origin: ScriptOrigin,
        eval: &Eval,
        args: Args<'_>,
        reply: &mut ReplyBuf,
    ) -> (Box<State>, Result<(), CmdError>) {
        // It is compiled as others are, to see whether it can be.
        let at = match self.find(&mut state, eval.sha, args.at(1)) {
            Ok(at) => at,
            Err(e) => return (state, Err(e)),
        };
        let Some(script) = self.scripts.get(at) else {
            return (state, Err(NO_SCRIPT));
        };
        let Some(body) = state.sys.scripts.get(&script.sha).cloned() else {
            return (state, Err(NO_SCRIPT));
        };
        let read_only = eval.read_only || script.flags.no_writes;
        let seed = state.sys.rng.next_u64();
        let given = args.from(3);
        let (keys, argv) = given.split_at(eval.numkeys.min(given.len()));
        let own = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect();
        let program = Program {
            body: body.to_vec(),
            sha: script.sha,
            keys: own(keys),
            args: own(argv),
            limit: self.limit,
            seed,
        };
        let run = Run::new(state, origin, read_only, script.flags.allow_oom);
        debugger::begin(run, program, reply)
    }
}

/// Runs a script with the state in the slot, and takes the state out again, whatever happens.
pub(super) fn perform(
    shared: &Shared,
    run: Run,
    vm: &Vm,
    work: impl FnOnce() -> (bool, Value),
    reply: &mut ReplyBuf,
) -> (Box<State>, Result<(), Failed>) {
    {
        let mut slot = shared.lock();
        slot.reply.set_proto(Proto::Resp2);
        slot.run = Some(run);
    }
    let ended = catch_unwind(AssertUnwindSafe(work));
    match conclude(shared, vm, ended, reply) {
        Some(concluded) => concluded,
        None => unreachable!("no other takes a run out of the slot while its script runs"),
    }
}

/// What a script came to, and the state out of the slot, if it is there.
pub(super) fn conclude(
    shared: &Shared,
    vm: &Vm,
    ended: std::thread::Result<(bool, Value)>,
    reply: &mut ReplyBuf,
) -> Option<(Box<State>, Result<(), Failed>)> {
    let mut slot = shared.lock();
    let script_is_resp3 = slot.reply.is_resp3();
    let mut run = slot.run.take()?;
    drop(slot);
    run.forget_time();
    run.state.fx.restrict(Readers::All);
    if !matches!(ended, Ok((true, ref value)) if !value.is_table()) {
        vm.lift_limit();
    }
    let result = match ended {
        // What is long may still be ended.
        Ok((true, value)) => {
            convert::reply(vm, &mut run, &value, script_is_resp3, reply).map_err(Failed::Answered)
        }
        Ok((false, raised)) => Err(Failed::Raised(raised)),
        Err(_) => {
            run.panicked();
            Err(Failed::Answered(CmdError::fixed(
                "ERR Internal error in a script",
            )))
        }
    };
    let (state, room) = run.end();
    if let Some(room) = room {
        shared.lock().command = room;
    }
    Some((state, result))
}

/// How a script came to an error reply.
pub(super) enum Failed {
    /// It raised this.
    Raised(Value),
    /// It returned the error, or something else went wrong.
    Answered(CmdError),
}

impl Failed {
    /// The error reply.
    pub(super) fn into_reply(self, name: Name<'_>) -> CmdError {
        match self {
            Failed::Raised(raised) => fault::failure_reply(&raised, name),
            Failed::Answered(e) => e,
        }
    }
}

/// What EVAL and its like were asked.
struct Eval {
    sha: bool,
    numkeys: usize,
    read_only: bool,
}

/// Clients choose the keys of the maps, so that no two instances may hash alike.
fn hasher(seed: u64) -> RandomState {
    RandomState::with_seeds(seed, !seed, seed.rotate_left(32), 0)
}

pub(super) fn broken(e: &mlua::Error) -> CmdError {
    let text = fault::text_of(e);
    CmdError::new(format!("ERR {}", String::from_utf8_lossy(&text)))
}

impl ScriptHost for LuaHost {
    fn run(
        &mut self,
        mut state: Box<State>,
        origin: ScriptOrigin,
        call: &ScriptCall,
        args: Args<'_>,
        reply: &mut ReplyBuf,
    ) -> (Box<State>, Result<(), CmdError>) {
        match *call {
            ScriptCall::Load => {
                let result = self.load_command(&mut state, args, reply);
                (state, result)
            }
            ScriptCall::Eval {
                sha,
                numkeys,
                read_only,
                debug,
            } => {
                let eval = Eval {
                    sha,
                    numkeys,
                    read_only,
                };
                match debug {
                    true => self.debug(state, origin, &eval, args, reply),
                    false => self.eval(state, origin, &eval, args, reply),
                }
            }
            ScriptCall::Debug => {
                let session = state.sessions.get_mut(origin.sid);
                let debugging = session.and_then(|session| session.debug.as_mut());
                match debugging.and_then(|debugging| debugging.session.take()) {
                    Some(debuggee) => debuggee.obey(state, args, reply),
                    None => (state, Ok(())),
                }
            }
            ScriptCall::Function {
                id,
                numkeys,
                read_only,
            } => {
                let given = args.from(3);
                let fcall = Fcall {
                    id,
                    keys: given.get(..numkeys).unwrap_or(given),
                    args: given.get(numkeys..).unwrap_or_default(),
                    read_only,
                };
                self.functions.call(state, origin, &fcall, args, reply)
            }
            ScriptCall::LoadLibrary { replace } => {
                let code = args.all().last().copied().unwrap_or_default();
                let loaded = self.functions.load(&mut state, code, replace);
                (state, loaded.map(|name| reply.bulk(name.as_bytes())))
            }
            ScriptCall::RestoreLibraries(policy) => {
                let restored = self.functions.restore(&mut state, args.at(2), policy);
                (state, restored.map(|()| reply.ok()))
            }
            ScriptCall::ReloadLibraries {
                ref payload,
                policy,
                ref failed,
            } => {
                let loaded = self.functions.reload(&mut state, payload, policy);
                let loaded = loaded.map_err(|e| {
                    tracing::warn!("functions cannot be loaded: {}", e.text());
                    failed.clone()
                });
                (state, loaded.map(|()| reply.ok()))
            }
            ScriptCall::DropFunctions => {
                let forgotten = self.functions.forget_dropped(&mut state);
                (state, forgotten)
            }
        }
    }

    fn memory(&self) -> usize {
        let scripts = self.vm.as_ref().map_or(0, |vm| vm.lua.used_memory());
        scripts + self.functions.memory()
    }
}
