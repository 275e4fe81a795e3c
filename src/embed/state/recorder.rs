//! The commands that a server receives, kept for a test to look at.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::dump::quoted;
use super::{Selection, StateError, hold};
use crate::embed::Node;
use crate::exec::Origin;
use crate::exec::monitor::{Heard, Record, Stage};
use crate::spec::CommandId;

/// Bytes of commands that are kept, whatever their number is.
const BYTES: usize = 64 << 20;

/// A command that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recorded {
    /// Who sent it: its CLIENT ID.
    pub client: u64,
    /// The name that it gave itself.
    pub name: String,
    /// Where it is: `ip:port`, or `in-process:0`.
    pub addr: String,
    /// The database that was selected.
    pub db: usize,
    /// The command with its arguments. Passwords and the like are `(redacted)`, as MONITOR and SLOWLOG have it; of what was
    /// refused, so is every argument of a command that may have one.
    pub argv: Vec<Vec<u8>>,
    /// When it was done, or begun if it goes on, in unix microseconds by the server's clock.
    pub at_us: i64,
    /// Who ran it.
    pub caller: Caller,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it ran by the server's clock; waiting does not count.
    pub took: Duration,
}

/// Who runs a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// The client itself.
    Client,
    /// Its transaction.
    Transaction,
    /// Its script or function.
    Script,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is a script that calls others, and has not ended.
    Running,
    /// It waits for a key, for replicas or the like.
    Waiting,
    /// It was answered.
    Replied(Kind),
    /// It was answered with this error.
    Failed(String),
    /// It did not run: it was refused with this error.
    Refused(String),
}

impl Outcome {
    /// The error, if it was one.
    pub fn error(&self) -> Option<&str> {
        match self {
            Outcome::Failed(error) | Outcome::Refused(error) => Some(error),
            _ => None,
        }
    }

    fn of(reply: &[u8]) -> Outcome {
        let kind = match reply {
            [] => Kind::Nothing,
            [b'-', rest @ ..] => return Outcome::Failed(first_line(rest)),
            [b'!', rest @ ..] => {
                let text = rest.splitn(2, |byte| *byte == b'\n').nth(1);
                return Outcome::Failed(first_line(text.unwrap_or_default()));
            }
            [b'_', ..] => Kind::Null,
            [b'$' | b'*', b'-', ..] => Kind::Null,
            [b'+', ..] => Kind::Status,
            [b':', ..] => Kind::Integer,
            [b'$' | b'=', ..] => Kind::Bulk,
            [b'*' | b'~' | b'>', ..] => Kind::Array,
            [b'%', ..] => Kind::Map,
            _ => Kind::Other,
        };
        Outcome::Replied(kind)
    }
}

fn first_line(text: &[u8]) -> String {
    let line = text.split(|byte| *byte == b'\r').next();
    String::from_utf8_lossy(line.unwrap_or_default()).into_owned()
}

/// Of what kind a reply is, on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// OK, say.
    Status,
    /// A number.
    Integer,
    /// A string.
    Bulk,
    /// Nothing was there.
    Null,
    /// Several replies: an array, a set, or what is pushed.
    Array,
    /// A map.
    Map,
    /// A double, a boolean, a big number.
    Other,
    /// There is none.
    Nothing,
}

impl Recorded {
    /// Whether it is this command, in any case.
    pub fn is(&self, command: &str) -> bool {
        let name = self.argv.first();
        name.is_some_and(|name| name.eq_ignore_ascii_case(command.as_bytes()))
    }

    /// The argument at `i`, 0 being the command; empty if there is none.
    pub fn arg(&self, i: usize) -> &[u8] {
        self.argv.get(i).map_or(&[], Vec::as_slice)
    }

    fn size(&self) -> usize {
        let argv: usize = self
            .argv
            .iter()
            .map(|arg| arg.len() + size_of_val(arg))
            .sum();
        size_of::<Kept>() + argv + self.name.len() + self.addr.len()
    }
}

/// The command with its arguments, as MONITOR shows them.
impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, arg) in self.argv.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { " " }, quoted(arg))?;
        }
        Ok(())
    }
}

/// Keeps the commands that a server receives from all of its clients, until it is dropped.
///
/// They are in the order in which MONITOR shows them: a script stands before what it calls, and EXEC behind what it runs, which
/// is not there before that. Beside what MONITOR shows there are commands of administrators and those that were refused.
///
/// ```
/// use std::time::Duration;
/// use redkeep::embed::Outcome;
///
/// let server = redkeep::Server::builder().start()?;
/// let recorder = server.recorder()?;
/// let mut worker = server.client()?;
/// let working = std::thread::spawn(move || worker.call(["BLPOP", "jobs", "0"]));
///
/// // No sleeping until it probably waits.
/// let seen = recorder.wait_for(|c| c.is("BLPOP"), Duration::from_secs(5)).expect("it comes");
/// assert_eq!((seen.arg(1), &seen.outcome), (&b"jobs"[..], &Outcome::Waiting));
/// server.client()?.call(["RPUSH", "jobs", "mail"])?;
/// working.join().unwrap()?;
///
/// let words: Vec<_> = recorder.take().iter().map(ToString::to_string).collect();
/// assert_eq!(words, [r#""BLPOP" "jobs" "0""#, r#""RPUSH" "jobs" "mail""#]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Recorder {
    node: Node,
    tape: Arc<Tape>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Recorder {
    /// Begins to record.
    ///
    /// # Errors
    /// [`StateError::Busy`] or [`StateError::Stopped`].
    pub fn start(node: &Node, selection: Selection) -> Result<Recorder, StateError> {
        let tape = Arc::new(Tape {
            selection,
            runs: AtomicBool::new(true),
            reel: Mutex::default(),
            news: Condvar::new(),
        });
        let recorder = Arc::clone(&tape) as Arc<dyn Record>;
        hold(node)?.state().sys.monitors.record(recorder);
        Ok(Recorder {
            node: node.clone(),
            tape,
        })
    }

    /// What was kept so far, oldest first.
    pub fn commands(&self) -> Vec<Recorded> {
        let reel = self.tape.reel.lock();
        reel.kept.iter().map(|kept| kept.command.clone()).collect()
    }

    /// Takes what was kept so far, oldest first. What goes on comes again when it has ended.
    pub fn take(&self) -> Vec<Recorded> {
        let mut reel = self.tape.reel.lock();
        reel.bytes = 0;
        reel.first += reel.kept.len() as u64;
        reel.kept.drain(..).map(|kept| kept.command).collect()
    }

    /// How many commands were dropped because there were more than are kept.
    pub fn dropped(&self) -> u64 {
        self.tape.reel.lock().dropped
    }

    /// The first command for which `wanted` holds, among those that are kept and those that come within `timeout` of real
    /// time. It is asked again when one that goes on has ended. What is found stays where it is.
    pub fn wait_for(
        &self,
        mut wanted: impl FnMut(&Recorded) -> bool,
        timeout: Duration,
    ) -> Option<Recorded> {
        let until = Instant::now().checked_add(timeout);
        let mut seen = 0;
        loop {
            // Asked without the lock: whoever has the engine may wait for that.
            let news = self.tape.news_since(&mut seen, until)?;
            if let Some(found) = news.into_iter().find(&mut wanted) {
                return Some(found);
            }
        }
    }

    /// Stops. What was kept stays.
    pub fn stop(&self) {
        if !self.tape.runs.swap(false, Ordering::Relaxed) {
            return;
        }
        // While a script is busy it stays, and hears nothing.
        if let Ok(mut engine) = self.node.lock() {
            let tape = Arc::clone(&self.tape) as Arc<dyn Record>;
            engine.state().sys.monitors.leave(&tape);
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the engine and the recorder share.
#[derive(Debug)]
struct Tape {
    selection: Selection,
    runs: AtomicBool,
    reel: Mutex<Reel>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Reel {
    kept: VecDeque<Kept>,
    /// The number of the first of them: they are numbered as they come.
    first: u64,
    /// Those whose end is to be heard of, by client and command.
    open: HashMap<(u64, CommandId), u64>,
    bytes: usize,
    dropped: u64,
    /// How often anything has changed.
    changes: u64,
}

#[derive(Debug)]
struct Kept {
    command: Recorded,
    /// At which change it was written.
    change: u64,
}

impl Tape {
    /// What has changed since `seen`, which moves on. Waits for it; none if time is over.
    fn news_since(&self, seen: &mut u64, until: Option<Instant>) -> Option<Vec<Recorded>> {
        let mut reel = self.reel.lock();
        loop {
            if reel.changes > *seen {
                let kept = reel.kept.iter().filter(|kept| kept.change > *seen);
                let news = kept.map(|kept| kept.command.clone()).collect();
                *seen = reel.changes;
                return Some(news);
            }
            match until {
                None => self.news.wait(&mut reel),
                Some(until) if self.news.wait_until(&mut reel, until).timed_out() => {
                    if reel.changes == *seen {
                        return None;
                    }
                }
                Some(_) => {}
            }
        }
    }
}

impl Record for Tape {
    fn hear(&self, heard: &Heard<'_>) {
        if !self.runs.load(Ordering::Relaxed) || !self.selection.takes(heard) {
            return;
        }
        self.reel.lock().write(heard, self.selection.most);
        self.news.notify_all();
    }
}

impl Reel {
    fn write(&mut self, heard: &Heard<'_>, most: usize) {
        self.changes += 1;
        let (outcome, took) = match heard.stage {
            Stage::Begins => (Outcome::Running, 0),
            Stage::Waits => (Outcome::Waiting, 0),
            Stage::Ends { usec, reply } => (Outcome::of(reply), usec),
            Stage::Refused(error) => (Outcome::Refused(error.to_owned()), 0),
        };
        let took = Duration::from_micros(took);
        let who = heard.row.map(|row| (heard.client, row.id));
        let goes_on = matches!(outcome, Outcome::Running | Outcome::Waiting);
        if goes_on {
            let number = self.first + self.kept.len() as u64;
            self.open.extend(who.map(|who| (who, number)));
        } else if let Some(kept) = who.and_then(|who| self.close(who)) {
            kept.command.outcome = outcome;
            kept.command.took = took;
            return;
        }
        let command = Recorded {
            client: heard.client,
            name: String::from_utf8_lossy(heard.name).into_owned(),
            addr: heard.addr.to_owned(),
            db: heard.db,
            argv: heard.argv.iter().map(|arg| arg.to_vec()).collect(),
            at_us: heard.now_us,
            caller: match heard.origin {
                Origin::Exec => Caller::Transaction,
                Origin::Script { .. } => Caller::Script,
                _ => Caller::Client,
            },
            outcome,
            took,
        };
        self.bytes += command.size();
        self.kept.push_back(Kept {
            command,
            change: self.changes,
        });
        while self.kept.len() > most || self.bytes > BYTES {
            let Some(oldest) = self.kept.pop_front() else {
                return;
            };
            self.bytes = self.bytes.saturating_sub(oldest.command.size());
            self.first += 1;
            self.dropped += 1;
        }
    }

    /// The end of a command that went on, if it is still kept.
    fn close(&mut self, who: (u64, CommandId)) -> Option<&mut Kept> {
        let number = self.open.remove(&who)?;
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let kept = self.kept.get_mut(at)?;
        kept.change = self.changes;
        Some(kept)
    }
}
