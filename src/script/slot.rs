//! The state while a script runs. The functions that scripts call find it here; between runs the slot is empty.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::fault::{Stop, Thrown};
use super::functions::Load;
use crate::exec::busy;
use crate::exec::call;
use crate::exec::effects::Readers;
use crate::exec::functions::FunctionId;
use crate::exec::{Args, Argv, RunningFunction, RunningScript, ScriptOrigin, SessionId, State};
use crate::resp::ReplyBuf;

/// The slot, as the host and the functions under `redis.*` share it.
pub(super) type Shared = Arc<Mutex<Slot>>;

/// What host and functions share.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// The script that runs.
    pub(super) run: Option<Run>,
    /// The reply of the command that the script called last.
    pub(super) reply: ReplyBuf,
    /// What that call is to raise in place of it.
    pub(super) thrown: Option<Thrown>,
    /// The library that is being loaded.
    pub(super) load: Option<Load>,
    /// Room for the command that calls a function.
    pub(super) command: Words,
    /// What the script tells its debugger, where it has one.
    pub(super) notes: Option<Notes>,
}

/// What a script tells its debugger.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The line that runs.
    pub(super) line: usize,
    /// It wants to stand still at the next one (`redis.breakpoint`).
    pub(super) stops: bool,
    /// What it has said with `redis.debug` that was not shown yet.
    said: Vec<String>,
    /// How much of that there was no room for.
    left_out: usize,
}

impl Notes {
    /// Lines that are kept until the script stands still, and bytes of each.
    const LINES: usize = 1000;
    const BYTES: usize = 64 << 10;

    /// Keeps something to be shown.
    pub(super) fn say(&mut self, values: &[String]) {
        if self.said.len() == Notes::LINES {
            self.left_out += 1;
            return;
        }
        let mut text = format!("<debug> line {}: {}", self.line, values.join(", "));
        text.truncate(text.floor_char_boundary(Notes::BYTES));
        self.said.push(text);
    }

    /// Takes what is to be shown.
    pub(super) fn take(&mut self) -> Vec<String> {
        let mut said = std::mem::take(&mut self.said);
        match std::mem::take(&mut self.left_out) {
            0 => {}
            n => said.push(format!("<debug> ... {n} more")),
        }
        said
    }
}

impl Slot {
    /// Looks at the clock, whatever runs.
    pub(super) fn tick(&mut self) -> Result<(), Thrown> {
        match (&mut self.run, &self.load) {
            (Some(run), _) => run.tick(),
            (None, Some(load)) => load.tick(),
            (None, None) => Ok(()),
        }
    }
}

/// A copy of a command's arguments, in room that is used again: copying them is cheap, allocating for each is not.
#[derive(Debug, Default)]
pub(super) struct Words {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Words {
    /// Room beyond this is given back.
    const KEPT: usize = 64 << 10;

    /// The same room with these arguments.
    pub(super) fn holding(mut self, args: Args<'_>) -> Words {
        self.bytes.clear();
        self.bytes.shrink_to(Words::KEPT);
        self.ends.clear();
        self.ends.shrink_to(Words::KEPT / size_of::<usize>());
        for arg in args.all() {
            self.bytes.extend_from_slice(arg);
            self.ends.push(self.bytes.len());
        }
        self
    }

    fn to_argv(&self) -> Argv {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, &end)| self.bytes.get(start..end).unwrap_or_default().to_vec())
            .collect()
    }
}

/// A script that runs.
#[derive(Debug)]
pub(super) struct Run {
    /// Everything that its commands work on.
    pub(super) state: Box<State>,
    pub(super) sid: SessionId,
    /// The database that the script has selected.
    db: usize,
    read_only: bool,
    /// When it began: limits count real time. It is worked out at the first look at the clock, which most scripts never come to.
    began: Option<Instant>,
    /// After how long others are served; `None` for never.
    limit: Option<Duration>,
    /// Commands called.
    calls: u32,
    busy: bool,
    stop: Option<Stop>,
    /// The only line of its code, if that is known.
    pub(super) line: Option<usize>,
    /// If it is a function: which, and the command that called it.
    function: Option<(FunctionId, Words)>,
    /// What it calls and is answered, where a debugger is to show that.
    pub(super) called: Option<Vec<(Argv, Vec<u8>)>>,
}

/// A script that stands still.
#[derive(Debug)]
pub(super) struct Parked {
    sid: SessionId,
    db: usize,
    read_only: bool,
    limit: Option<Duration>,
    line: Option<usize>,
    no_room: bool,
    wrote: bool,
}

impl Parked {
    /// It goes on: its time begins anew.
    pub(super) fn resume(self, mut state: Box<State>) -> Run {
        state.sys.running = Some(RunningScript {
            no_room: self.no_room,
            wrote: self.wrote,
            ..RunningScript::default()
        });
        Run {
            state,
            sid: self.sid,
            db: self.db,
            read_only: self.read_only,
            began: Some(Instant::now()),
            limit: self.limit,
            calls: 0,
            busy: false,
            stop: None,
            line: self.line,
            function: None,
            called: None,
        }
    }
}

/// Looking at the clock costs as much as a tenth of a command: it is done once in so many.
const CALLS_PER_TICK: u32 = 32;

impl Run {
    /// A script begins.
    pub(super) fn new(
        mut state: Box<State>,
        origin: ScriptOrigin,
        read_only: bool,
        allow_oom: bool,
    ) -> Run {
        let no_room = !allow_oom && state.is_out_of_memory();
        state.sys.running = Some(RunningScript {
            no_room,
            replays: state.ks.replays(),
            is_free: origin.is_free && !no_room,
            ..RunningScript::default()
        });
        let limit = u64::try_from(state.sys.cfg.busy_reply_threshold)
            .ok()
            .filter(|&ms| ms > 0)
            .map(Duration::from_millis);
        Run {
            state,
            sid: origin.sid,
            db: origin.db,
            read_only,
            began: None,
            limit,
            calls: 0,
            busy: false,
            stop: None,
            line: None,
            function: None,
            called: None,
        }
    }

    /// All of its code stands on one line.
    pub(super) fn on_line(mut self, line: Option<usize>) -> Run {
        self.line = line;
        self
    }

    /// What runs is a function.
    pub(super) fn of_function(mut self, id: FunctionId, command: Words) -> Run {
        self.function = Some((id, command));
        self
    }

    /// The state, and the room of the command if there was one; the run is over.
    pub(super) fn end(self) -> (Box<State>, Option<Words>) {
        (self.state, self.function.map(|(_, command)| command))
    }

    /// The state, to be given back while the script stands still, and what else there is to it.
    pub(super) fn park(self) -> (Box<State>, Parked) {
        let mut state = self.state;
        state.fx.restrict(Readers::All);
        let running = state.sys.running.as_ref();
        let parked = Parked {
            sid: self.sid,
            db: self.db,
            read_only: self.read_only,
            limit: self.limit,
            line: self.line,
            no_room: running.is_some_and(|r| r.no_room),
            wrote: running.is_some_and(|r| r.wrote),
        };
        (state, parked)
    }

    /// Runs a command that the script calls.
    pub(super) fn command(&mut self, argv: &[&[u8]], reply: &mut ReplyBuf) -> Result<(), Thrown> {
        self.calls = self.calls.wrapping_add(1);
        if self.calls.is_multiple_of(CALLS_PER_TICK) {
            self.tick()?;
        }
        self.check()?;
        let Run {
            state,
            sid,
            db,
            read_only,
            ..
        } = self;
        let done = catch_unwind(AssertUnwindSafe(|| {
            call::nested(state, *sid, *db, Args::new(argv), reply, *read_only);
        }));
        if done.is_err() {
            // No script may catch it: it goes on when the script has ended.
            self.stop = Some(Stop::Panicked);
            self.panicked();
        }
        if let Some(called) = &mut self.called {
            let argv = argv.iter().map(|word| word.to_vec()).collect();
            called.push((argv, reply.as_slice().to_vec()));
        }
        // SELECT changes the database for the rest of the script.
        self.db = self.state.ks.current();
        self.check()
    }

    /// Notes that something panicked.
    pub(super) fn panicked(&mut self) {
        if let Some(running) = &mut self.state.sys.running {
            running.panicked = true;
        }
    }

    /// Fails if the script must end.
    pub(super) fn check(&self) -> Result<(), Thrown> {
        self.stop
            .map_or(Ok(()), |stop| Err(Thrown::Stop(stop, None)))
    }

    /// Looks at the clock; past the limit, serves what other clients want.
    pub(super) fn tick(&mut self) -> Result<(), Thrown> {
        if self.state.sys.gate.is_stopped() {
            self.stop = Some(Stop::Shutdown);
        }
        self.forget_time();
        let began = self.began();
        if !self.busy && self.limit.is_some_and(|limit| began.elapsed() >= limit) {
            self.become_busy(began);
        }
        if self.busy {
            self.serve();
        }
        self.check()
    }

    /// It has nothing to do between its commands that would take time, nor before and after them.
    pub(super) fn without_pauses(&mut self) {
        let since = self.state.sys.reading();
        if let Some(running) = &mut self.state.sys.running {
            running.since = Some(since);
        }
    }

    /// What follows begins when the clock says so.
    pub(super) fn forget_time(&mut self) {
        if let Some(running) = &mut self.state.sys.running {
            running.since = None;
        }
    }

    fn began(&mut self) -> Instant {
        let sys = &self.state.sys;
        *self.began.get_or_insert_with(|| {
            let now = Instant::now();
            let since = sys.clock.0.real_us() - sys.real_us;
            let since = Duration::from_micros(u64::try_from(since).unwrap_or(0));
            now.checked_sub(since).unwrap_or(now)
        })
    }

    #[cold]
    fn become_busy(&mut self, began: Instant) {
        self.busy = true;
        let sys = &mut self.state.sys;
        let function = self.function.as_ref().map(|(id, command)| RunningFunction {
            name: sys
                .libraries
                .function(*id)
                .map_or_else(Box::default, |f| f.name.clone()),
            command: command.to_argv(),
            began,
        });
        tracing::warn!(
            "Slow script detected: still in execution after {} milliseconds. You can try killing the script using \
             the {} KILL command.",
            began.elapsed().as_millis(),
            if function.is_some() {
                "FUNCTION"
            } else {
                "SCRIPT"
            }
        );
        if let Some(running) = &mut sys.running {
            running.busy = true;
            running.function = function;
        }
        let gate = Arc::clone(&self.state.sys.gate);
        gate.shut();
    }

    fn serve(&mut self) {
        for request in self.state.sys.gate.take() {
            busy::serve(&mut self.state, request);
        }
        if !self.state.sys.actions.is_empty() {
            busy::wake(&mut self.state);
        }
        let Some(running) = &self.state.sys.running else {
            return;
        };
        let unwanted = self.state.sys.gate.is_unwanted() && !running.wrote;
        if running.abort {
            self.stop = Some(Stop::Shutdown);
        } else if running.killed || unwanted {
            self.stop = Some(Stop::Killed);
        }
    }
}
