//! Rewriting the append-only log: a new base for it, made of a snapshot.

/// What is known of rewriting the log.
#[derive(Debug, Default)]
pub struct Rewrites {
    /// One is to begin as soon as nothing is in its way.
    pub scheduled: bool,
    /// How many were begun.
    pub begun: u64,
    /// How long the last one took, in milliseconds.
    pub took: Option<i64>,
    /// Bytes that clients changed during that before they were written.
    pub copied: usize,
    /// The last one failed.
    pub failed: bool,
    /// How many have failed since one did not.
    pub failures: u32,
    /// When the last one began, in unix milliseconds.
    pub(super) tried_at: i64,
    /// It was told that the next one has to wait.
    told: bool,
}

/// From so many failures on, rewrites that begin by themselves wait for longer and longer.
const PATIENT: u32 = 3;

/// How long at first and at most, in milliseconds.
const LEAST_WAIT: i64 = 60_000;
const LONGEST_WAIT: i64 = 3_600_000;

/// How long one waits that is to mend the log, in milliseconds.
const MENDING_WAIT: i64 = 5_000;

impl Rewrites {
    /// One has come to its end.
    pub(super) fn ended(&mut self, now: i64, began: i64, done: bool) {
        self.took = Some(now - began);
        self.failed = !done;
        self.told = false;
        self.failures = match done {
            true => 0,
            false => self.failures.saturating_add(1),
        };
    }

    /// Whether one that nobody asked for has to wait: each that fails makes a file that is loaded until one succeeds.
    pub(super) fn is_too_early(&mut self, now: i64) -> bool {
        let Some(over) = self.failures.checked_sub(PATIENT) else {
            return false;
        };
        let wait = LEAST_WAIT.saturating_mul(1 << over.min(10));
        let wait = wait.min(LONGEST_WAIT);
        if self.tried_at + wait <= now {
            return false;
        }
        if !std::mem::replace(&mut self.told, true) {
            let minutes = wait / LEAST_WAIT;
            tracing::warn!(
                "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in {minutes} minutes"
            );
        }
        true
    }

    /// When one may begin that is to mend the log.
    pub(super) fn next_mending(&self) -> i64 {
        match self.failures {
            0 => 0,
            _ => self.tried_at + MENDING_WAIT,
        }
    }
}
