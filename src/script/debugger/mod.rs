//! SCRIPT DEBUG SYNC: a script that stands still at its lines, and does what its client tells it.
//!
//! The script runs in an interpreter and on a thread of its own. The state is there only while it runs: each time it
//! stands still the thread sends the state back, with the lines to be shown, and waits for the next order. So others are
//! served meanwhile, and see what the script has done so far. A client that goes away takes the orders with it: its script
//! ends where it stands.
//!
//! ```text
//! EVAL           begin ──Order──▶ thread: compiles, runs, stands still at the first line
//!   lines  ◀──────────── Told::Still(state, lines)
//! step, redis …  obey  ──Order──▶ goes on
//!   lines  ◀──────────── Told::Still or Told::Over
//! ```

mod console;
pub(super) mod show;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use mlua::debug::DebugEvent;
use mlua::{HookTriggers, Lua, VmState};
use parking_lot::Mutex;

use self::console::{Console, Said};
use super::fault::{Name, Stop, Thrown};
use super::host;
use super::shebang;
use super::slot::{Notes, Parked, Run, Shared};
use super::traits::Traits;
use super::vm::Vm;
use crate::exec::{Args, Argv, CmdError, Debuggee, SessionId, State};
use crate::resp::ReplyBuf;

/// Instructions between two looks at the clock, as long as no line begins.
const LOOK: u32 = 1000;

const CHUNK: &str = "@user_script";

/// What is to be run.
pub(super) struct Program {
    /// With its first line, if that tells flags.
    pub(super) body: Vec<u8>,
    pub(super) sha: [u8; 40],
    pub(super) keys: Argv,
    pub(super) args: Argv,
    /// Bytes that the interpreter may use.
    pub(super) limit: usize,
    pub(super) seed: u64,
}

/// The state, and what the client says.
type Order = (Box<State>, Argv);

/// What the thread sends back.
enum Told {
    /// It stands still.
    Still(Box<State>, Vec<String>),
    /// It is over, with the reply to EVAL.
    Over(Box<State>, Vec<String>, ReplyBuf, Result<(), CmdError>),
}

/// The end of the client.
#[derive(Debug)]
struct Debugger {
    sid: SessionId,
    orders: Sender<Order>,
    told: Receiver<Told>,
}

/// Begins: the script stands still at its first line.
pub(super) fn begin(
    run: Run,
    program: Program,
    reply: &mut ReplyBuf,
) -> (Box<State>, Result<(), CmdError>) {
    let sid = run.sid;
    let proto = run.state.sessions.get(sid).map(|s| s.proto);
    let (orders, of_client) = channel();
    let (tell, told) = channel();
    let (state, parked) = run.park();
    let debugger = Box::new(Debugger { sid, orders, told });
    let answer = ReplyBuf::new(proto.unwrap_or_default());
    let spawned = thread::Builder::new()
        .name("script debugger".to_owned())
        .spawn(move || play(&program, parked, of_client, tell, answer));
    match spawned {
        Ok(_) => debugger.go_on(state, Vec::new(), reply),
        Err(e) => (
            state,
            Err(CmdError::new(format!("ERR No thread to debug on: {e}"))),
        ),
    }
}

impl Debugger {
    fn go_on(
        self: Box<Self>,
        state: Box<State>,
        words: Argv,
        reply: &mut ReplyBuf,
    ) -> (Box<State>, Result<(), CmdError>) {
        let told = match self.orders.send((state, words)) {
            Ok(()) => self.told.recv().ok(),
            Err(unsent) => {
                let (state, _) = unsent.0;
                return (state, Err(CmdError::fixed("ERR The debugger has ended")));
            }
        };
        match told {
            Some(Told::Still(mut state, lines)) => {
                write(&lines, reply);
                let session = state.sessions.get_mut(self.sid);
                if let Some(debugging) = session.and_then(|s| s.debug.as_mut()) {
                    debugging.session = Some(self);
                }
                (state, Ok(()))
            }
            Some(Told::Over(mut state, lines, answer, result)) => {
                write(&lines, reply);
                match result {
                    Ok(()) => reply.raw(answer.as_slice()),
                    // Behind the lines, which an error of the command would take the place of.
                    Err(e) => reply.error(e.text()),
                }
                if let Some(session) = state.sessions.get_mut(self.sid) {
                    session.debug = None;
                    session.closing = true;
                }
                (state, Ok(()))
            }
            None => unreachable!("the thread sends back every state that it is sent"),
        }
    }
}

impl Debuggee for Debugger {
    fn obey(
        self: Box<Self>,
        state: Box<State>,
        words: Args<'_>,
        reply: &mut ReplyBuf,
    ) -> (Box<State>, Result<(), CmdError>) {
        let words = words.all().iter().map(|word| word.to_vec()).collect();
        self.go_on(state, words, reply)
    }
}

/// Lines of text, as the client of a debugger expects them.
fn write(lines: &[String], reply: &mut ReplyBuf) {
    reply.array(lines.len());
    for line in lines {
        reply.simple(&line.replace(['\r', '\n'], " "));
    }
}

/// What the thread does.
fn play(
    program: &Program,
    parked: Parked,
    orders: Receiver<Order>,
    tell: Sender<Told>,
    mut answer: ReplyBuf,
) {
    let Ok((state, _)) = orders.recv() else {
        return;
    };
    let shared = Shared::default();
    let code = shebang::parse(&program.body).map_or(&program.body[..], |(_, code)| code);
    {
        let mut slot = shared.lock();
        slot.run = Some(parked.resume(state));
        slot.notes = Some(Notes::default());
    }
    let console = Console::of(code);
    let wire = Wire {
        shared: Shared::clone(&shared),
        orders,
        tell: tell.clone(),
    };
    let made = Vm::new(&shared, program.seed, program.limit).and_then(|vm| {
        vm.compile(code, 0)?;
        let console = stand_still(&vm.lua, wire, console)?;
        Ok((vm, console))
    });
    let mut lines = Vec::new();
    let (state, result) = match made {
        Ok((vm, console)) => {
            let keys: Vec<&[u8]> = program.keys.iter().map(Vec::as_slice).collect();
            let args: Vec<&[u8]> = program.args.iter().map(Vec::as_slice).collect();
            let ended = catch_unwind(AssertUnwindSafe(|| {
                vm.run(0, Traits::default(), &keys, &args)
            }));
            lines = console.lock().1.called(&shared);
            // Without a state nobody asks any more.
            let Some((state, ended)) = host::conclude(&shared, &vm, ended, &mut answer) else {
                return;
            };
            let result = ended.map_err(|failed| {
                failed.into_reply(Name {
                    chunk: "user_script",
                    own: &String::from_utf8_lossy(&program.sha),
                    line: None,
                })
            });
            (state, result)
        }
        Err(e) => {
            let Some(run) = shared.lock().run.take() else {
                return;
            };
            let (state, _) = run.end();
            (state, Err(host::broken(&e)))
        }
    };
    lines.push("<endsession>".to_owned());
    // Whoever has sent the state waits for it.
    let _ = tell.send(Told::Over(state, lines, answer, result));
}

/// The end of the script.
struct Wire {
    shared: Shared,
    orders: Receiver<Order>,
    tell: Sender<Told>,
}

impl Wire {
    /// Sends the state away with what is to be shown, and waits for an order. None: there is nobody any more.
    fn ask(&self, lines: Vec<String>) -> Option<Argv> {
        let run = self.shared.lock().run.take()?;
        let (state, parked) = run.park();
        self.tell.send(Told::Still(state, lines)).ok()?;
        let (state, words) = self.orders.recv().ok()?;
        self.shared.lock().run = Some(parked.resume(state));
        Some(words)
    }
}

/// The end of the script and what is shown at it, as the hook has them.
type Shown = Arc<Mutex<(Wire, Console)>>;

/// Has the script stand still at its lines, as the console says.
fn stand_still(lua: &Lua, wire: Wire, console: Console) -> mlua::Result<Shown> {
    let triggers = HookTriggers::EVERY_LINE.every_nth_instruction(LOOK);
    let shown = Shown::new(Mutex::new((wire, console)));
    let both = Shown::clone(&shown);
    lua.set_global_hook(triggers, move |lua, at| {
        // A line of what the console evaluates.
        let Some(mut both) = both.try_lock() else {
            return Ok(VmState::Continue);
        };
        let (wire, console) = &mut *both;
        if at.event() != DebugEvent::Line {
            wire.shared.lock().tick()?;
            return Ok(VmState::Continue);
        }
        let is_script = at.source().source.as_deref() == Some(CHUNK);
        let line = at.current_line().filter(|_| is_script);
        let Some(mut lines) = line.and_then(|line| console.comes_to(line, &wire.shared)) else {
            return Ok(VmState::Continue);
        };
        loop {
            let Some(words) = wire.ask(std::mem::take(&mut lines)) else {
                return Err(Thrown::Stop(Stop::Killed, None).into());
            };
            match console.obey(lua, &wire.shared, &words) {
                Said::Lines(said) => lines = said,
                Said::GoOn => return Ok(VmState::Continue),
                Said::Abort => {
                    let text = b"script aborted for user request".to_vec();
                    return Err(Thrown::Message(text).into());
                }
            }
        }
    })?;
    Ok(shown)
}
