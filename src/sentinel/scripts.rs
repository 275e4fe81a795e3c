//! Scripts of operators: called with what has happened, one after another, tried again if they ask for that.

use std::collections::VecDeque;

use super::instance::Id;
use super::{Address, Level, Order, Sentinel};

/// No more wait: the one that would run first among those that have waited longest is dropped for a new one.
const LONGEST_QUEUE: usize = 256;

/// No more run at once.
const MOST_RUNNING: usize = 16;

/// A script is tried no more often.
const MOST_TRIES: u32 = 10;

/// The exit code with which a script asks to be run again.
const AGAIN: i32 = 1;

/// What stands for a signal when a script could not be run at all.
const NOT_RUN: i32 = 99;

/// The number of a script's run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId(pub u64);

/// How a script has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Its exit code.
    pub code: i32,
    /// The signal that ended it; 0: none.
    pub signal: i32,
}

/// A script that runs or waits.
#[derive(Debug, Clone)]
pub struct Script {
    /// Its path, and its arguments.
    pub argv: Vec<String>,
    /// It runs.
    pub job: Option<JobId>,
    /// Its process.
    pub pid: Option<u32>,
    /// When it began, or is to be tried again; 0: as soon as possible.
    pub at: i64,
    /// How often it was tried.
    pub tries: u32,
    /// It took too long, and was killed.
    killed: bool,
}

/// Those that run or wait.
#[derive(Debug, Clone, Default)]
pub struct Scripts {
    queue: VecDeque<Script>,
}

impl Scripts {
    /// Those that run or wait, the oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Script> {
        self.queue.iter()
    }

    /// How many run.
    pub fn running(&self) -> usize {
        self.queue
            .iter()
            .filter(|script| script.job.is_some())
            .count()
    }

    fn running_mut(&mut self, job: JobId) -> Option<&mut Script> {
        self.queue.iter_mut().find(|script| script.job == Some(job))
    }
}

impl Sentinel {
    /// Runs a script as soon as there is room.
    pub(super) fn schedule(&mut self, argv: Vec<String>) {
        let queue = &mut self.scripts.queue;
        queue.push_back(Script {
            argv,
            job: None,
            pid: None,
            at: 0,
            tries: 0,
            killed: false,
        });
        if queue.len() > LONGEST_QUEUE
            && let Some(oldest) = queue.iter().position(|script| script.job.is_none())
        {
            queue.remove(oldest);
        }
    }

    /// Tells whoever looks after clients that they are to go elsewhere.
    pub(super) fn call_reconfig_script(
        &mut self,
        id: Id,
        part: &str,
        from: &Address,
        to: &Address,
    ) {
        let (Some(master), Some(instance)) = (self.masters.get(&id), self.instances.get(&id))
        else {
            return;
        };
        let script = &master.settings.reconfig_script;
        if script.is_empty() {
            return;
        }
        let naming = self.settings.naming;
        let (from_port, to_port) = (from.port.to_string(), to.port.to_string());
        let argv = [
            script,
            &instance.name,
            part,
            "start",
            from.told(naming),
            &from_port,
            to.told(naming),
            &to_port,
        ];
        self.schedule(argv.map(str::to_owned).into());
    }

    /// Runs those whose time has come, and ends those that take too long.
    pub(super) fn run_scripts(&mut self) {
        let (now, longest) = (self.now, self.settings.periods.script);
        let mut room = MOST_RUNNING.saturating_sub(self.scripts.running());
        let mut late = Vec::new();
        for script in &mut self.scripts.queue {
            match script.job {
                Some(job) if !script.killed && now - script.at > longest => {
                    script.killed = true;
                    late.push((job, script.argv.first().cloned(), script.pid));
                }
                None if room > 0 && script.at <= now => {
                    room -= 1;
                    self.numbers += 1;
                    let job = JobId(self.numbers);
                    script.job = Some(job);
                    script.killed = false;
                    script.at = now;
                    script.tries += 1;
                    let argv = script.argv.clone();
                    self.orders.push(Order::Run { job, argv });
                }
                _ => {}
            }
        }
        for (job, path, pid) in late {
            let text = format!("{} {}", path.unwrap_or_default(), pid.unwrap_or(0));
            self.event(Level::Warning, "-script-timeout", None, text);
            self.orders.push(Order::Kill { job });
        }
    }

    pub(super) fn script_started(&mut self, job: JobId, pid: Option<u32>) {
        let retry = self.settings.periods.script_retry;
        let Some(script) = self.scripts.running_mut(job) else {
            return;
        };
        script.pid = pid;
        if let Some(pid) = pid {
            self.event(Level::Debug, "+script-child", None, pid.to_string());
            return;
        }
        let path = script.argv.first().cloned().unwrap_or_default();
        script.job = None;
        script.at += retry;
        self.scripts
            .queue
            .retain(|script| script.tries < MOST_TRIES || script.job.is_some());
        self.event(
            Level::Warning,
            "-script-error",
            None,
            format!("{path} {NOT_RUN} 0"),
        );
    }

    pub(super) fn script_ended(&mut self, job: JobId, ending: Ending) {
        let (now, retry) = (self.now, self.settings.periods.script_retry);
        let Ending { code, signal } = ending;
        let Some(script) = self.scripts.running_mut(job) else {
            return;
        };
        let (pid, path) = (script.pid.unwrap_or(0), script.argv.first().cloned());
        let again = (signal != 0 || code == AGAIN) && script.tries < MOST_TRIES;
        if again {
            script.job = None;
            script.pid = None;
            // Twice as long each time.
            let doublings = script.tries.saturating_sub(1).min(MOST_TRIES);
            script.at = now + (retry << doublings);
        } else {
            self.scripts.queue.retain(|script| script.job != Some(job));
        }
        self.event(
            Level::Debug,
            "-script-child",
            None,
            format!("{pid} {code} {signal}"),
        );
        if !again && (signal != 0 || code != 0) {
            let text = format!("{} {signal} {code}", path.unwrap_or_default());
            self.event(Level::Warning, "-script-error", None, text);
        }
    }
}
