//! Counters, and what INFO derives from them.

use std::collections::BTreeMap;

use super::histogram::Histogram;

/// Distinct error codes that are counted; more than that is somebody's bug and must not fill the memory.
const ERROR_CODES: usize = 128;
/// How often rates are sampled, in milliseconds, and over how many samples they are averaged.
const SAMPLE_MS: i64 = 100;
const SAMPLES: usize = 16;

/// What was counted since the start or the last `CONFIG RESETSTAT`.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Connections accepted.
    pub connections_received: u64,
    /// Connections refused because of `maxclients`.
    pub rejected_connections: u64,
    /// Commands run.
    pub commands_processed: u64,
    /// Bytes read from clients.
    pub net_input_bytes: u64,
    /// Bytes written to clients.
    pub net_output_bytes: u64,
    /// Of those read: from the leader.
    pub repl_input_bytes: u64,
    /// Of those written: to replicas.
    pub repl_output_bytes: u64,
    /// Reads from sockets.
    pub reads: u64,
    /// Writes to sockets.
    pub writes: u64,
    /// How long the latest snapshot held everybody up when it was begun, in microseconds; Redis forks for it.
    pub snapshot_usec: u64,
    /// Microseconds spent deleting what was over.
    pub expiry_usec: u64,
    /// How often more was over than one turn deletes.
    pub expiry_cut_short: u64,
    /// Payloads of RESTORE that were looked through.
    pub payloads_checked: u64,
    /// Turns of the engine.
    pub turns: Turns,
    /// Changes made to the data.
    pub changes: u64,
    /// Error replies.
    pub error_replies: u64,
    /// Errors that came of effects which were replayed.
    pub unexpected_errors: u64,
    /// Snapshots that were begun in the background; Redis forks for each.
    pub background_saves: u64,
    /// Keys evicted.
    pub evicted_keys: u64,
    /// Clients closed because of `maxmemory-clients`.
    pub evicted_clients: u64,
    /// Clients closed because of `client-query-buffer-limit`.
    pub query_limit_disconnections: u64,
    /// Clients closed because of `client-output-buffer-limit`.
    pub output_limit_disconnections: u64,
    /// The most memory in use, as far as it was looked at.
    pub peak_memory: u64,
    commands: Vec<CommandStats>,
    errors: BTreeMap<Box<str>, u64>,
    errors_overflow: bool,
    rates: Rates,
    /// Keep histograms; follows `latency-tracking`.
    pub track_latency: bool,
}

/// What was counted for one command.
#[derive(Clone, Debug, Default)]
pub struct CommandStats {
    /// Runs.
    pub calls: u64,
    /// Microseconds spent in them.
    pub usec: u64,
    /// Times it was refused before it ran.
    pub rejected: u64,
    /// Runs that ended in an error.
    pub failed: u64,
    /// How long the runs took.
    pub latency: Histogram,
}

/// Averages over the last samples, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// Commands.
    pub ops: u64,
    /// Bytes read.
    pub input_bytes: u64,
    /// Bytes written.
    pub output_bytes: u64,
    /// Bytes read from the leader.
    pub repl_input_bytes: u64,
    /// Bytes written to replicas.
    pub repl_output_bytes: u64,
    /// Turns of the engine.
    pub turns: u64,
    /// The mean length of a turn in microseconds; this one is not per second.
    pub turn_usec: u64,
}

/// What happens while somebody holds the engine, once around: a batch of commands, or what time has made due. It is what
/// a cycle of its event loop is in Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// How many there were.
    pub count: u64,
    /// Microseconds that they took.
    pub usec: u64,
    /// Of these: spent in commands.
    pub command_usec: u64,
    /// Of these: spent in what time has made due.
    pub tick_usec: u64,
    /// The longest.
    pub longest_usec: u64,
    /// The most commands in one.
    pub most_commands: u64,
    /// Commands that had run when this one began.
    commands_before: u64,
}

/// What is sampled, in the order of [`Rate`].
const SAMPLED: usize = 7;

#[derive(Clone, Debug, Default)]
struct Rates {
    /// When the latest sample was taken, and what was counted then.
    last: (i64, [u64; SAMPLED]),
    /// Samples are being taken: something has happened of late.
    awake: bool,
    ring: [[u64; SAMPLED]; SAMPLES],
    next: usize,
}

impl Stats {
    /// Nothing counted yet, for `commands` commands.
    pub fn new(commands: usize) -> Self {
        Self {
            commands: vec![CommandStats::default(); commands],
            track_latency: true,
            ..Self::default()
        }
    }

    /// Bytes that it takes before anything is counted.
    pub fn startup_memory(&self) -> usize {
        self.commands.capacity() * size_of::<CommandStats>()
    }

    /// A connection was accepted.
    pub fn connection(&mut self) {
        self.connections_received += 1;
    }

    /// The command at `index` of the registry ran for `usec`.
    #[inline]
    pub fn called(&mut self, index: usize, usec: u64, failed: bool) {
        self.commands_processed += 1;
        let track = self.track_latency;
        if let Some(stats) = self.commands.get_mut(index) {
            stats.calls += 1;
            stats.usec += usec;
            stats.failed += u64::from(failed);
            if track {
                stats.latency.record(usec.saturating_mul(1000));
            }
        }
    }

    /// A turn of the engine is over that took `usec`.
    #[inline]
    pub fn turn(&mut self, usec: u64) {
        let turns = &mut self.turns;
        turns.count += 1;
        turns.usec += usec;
        turns.longest_usec = turns.longest_usec.max(usec);
        let commands = self
            .commands_processed
            .saturating_sub(turns.commands_before);
        turns.most_commands = turns.most_commands.max(commands);
        turns.commands_before = self.commands_processed;
    }

    /// The command at `index` was refused before it ran.
    #[cold]
    pub fn rejected(&mut self, index: usize) {
        if let Some(stats) = self.commands.get_mut(index) {
            stats.rejected += 1;
        }
    }

    /// An error reply was given that begins with `code`.
    #[cold]
    pub fn error(&mut self, code: &str) {
        self.error_replies += 1;
        if let Some(count) = self.errors.get_mut(code) {
            *count += 1;
        } else if self.errors.len() < ERROR_CODES {
            self.errors.insert(code.into(), 1);
        } else {
            self.errors_overflow = true;
        }
    }

    /// The data changed `changes` times.
    #[inline]
    pub fn dirty(&mut self, changes: u64) {
        self.changes += changes;
    }

    /// What was counted for the command at `index`.
    pub fn command(&self, index: usize) -> Option<&CommandStats> {
        self.commands.get(index)
    }

    /// Error codes and how often they were answered, by code.
    pub fn errors(&self) -> impl Iterator<Item = (&str, u64)> {
        self.errors.iter().map(|(code, count)| (&**code, *count))
    }

    /// Error codes are missing in [`errors`](Self::errors) because there were too many different ones.
    pub fn errors_overflow(&self) -> bool {
        self.errors_overflow
    }

    /// The memory in use is `bytes` now.
    pub fn memory_seen(&mut self, bytes: u64) {
        self.peak_memory = self.peak_memory.max(bytes);
    }

    /// Current rates.
    pub fn rate(&self) -> Rate {
        let mean = |i: usize| {
            let sum: u64 = self
                .rates
                .ring
                .iter()
                .map(|sample| sample.get(i).copied().unwrap_or(0))
                .sum();
            sum / SAMPLES as u64
        };
        // Nobody samples while nothing happens, and then there are no turns.
        let turns = if self.is_idle() { 0 } else { mean(5) };
        Rate {
            ops: mean(0),
            input_bytes: mean(1),
            output_bytes: mean(2),
            repl_input_bytes: mean(3),
            repl_output_bytes: mean(4),
            turns,
            turn_usec: mean(6).checked_div(turns).unwrap_or(0),
        }
    }

    /// Takes a sample of the rates when one is due; `now` in unix milliseconds.
    pub fn tick(&mut self, now: i64) {
        let counts = self.sampled();
        let (then, before) = self.rates.last;
        if !self.rates.awake {
            // What has woken it has happened just now.
            self.rates.last.0 = now;
            self.rates.awake = !self.is_idle();
            return;
        }
        let elapsed = now - then;
        if (0..SAMPLE_MS).contains(&elapsed) {
            return;
        }
        let per_second = |i: usize| {
            let grown = counts
                .get(i)
                .zip(before.get(i))
                .map_or(0, |(a, b)| a.saturating_sub(*b));
            grown.saturating_mul(1000) / u64::try_from(elapsed).unwrap_or(1).max(1)
        };
        let sample = std::array::from_fn(per_second);
        if let Some(slot) = self.rates.ring.get_mut(self.rates.next) {
            *slot = sample;
        }
        self.rates.next = (self.rates.next + 1) % SAMPLES;
        self.rates.last = (now, counts);
        self.rates.awake = !self.is_idle();
    }

    /// When the next sample is due, in unix milliseconds; none while nothing happens.
    #[inline]
    pub fn next_tick(&self) -> Option<i64> {
        let (then, _) = self.rates.last;
        (!self.is_idle()).then_some(if self.rates.awake {
            then + SAMPLE_MS
        } else {
            then
        })
    }

    /// Whether nothing happens, and nothing has since the oldest sample was taken. A sample is a turn itself, so turns
    /// do not count.
    #[inline]
    fn is_idle(&self) -> bool {
        let counts = |sample: &[u64; SAMPLED]| sample[..5] != [0; 5];
        let (_, before) = self.rates.last;
        if self.commands_processed != before[0] {
            return false;
        }
        before[..5] == self.sampled()[..5] && !self.rates.ring.iter().any(counts)
    }

    /// Forgets what `CONFIG RESETSTAT` forgets.
    pub fn reset(&mut self) {
        *self = Self {
            rates: Rates {
                last: (self.rates.last.0, [0; SAMPLED]),
                awake: self.rates.awake,
                ..Rates::default()
            },
            changes: self.changes,
            peak_memory: self.peak_memory,
            track_latency: self.track_latency,
            ..Self::new(self.commands.len())
        };
    }

    fn sampled(&self) -> [u64; SAMPLED] {
        [
            self.commands_processed,
            self.net_input_bytes,
            self.net_output_bytes,
            self.repl_input_bytes,
            self.repl_output_bytes,
            self.turns.count,
            self.turns.usec,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_counted_by_index_and_unknown_ones_ignored() {
        let mut stats = Stats::new(2);
        stats.called(1, 5, false);
        stats.called(1, 7, true);
        stats.called(9, 7, true);
        stats.rejected(1);
        let one = stats.command(1).unwrap();
        assert_eq!(
            (one.calls, one.usec, one.rejected, one.failed),
            (2, 12, 1, 1)
        );
        assert_eq!(stats.commands_processed, 3);
    }

    #[test]
    fn error_codes_are_bounded() {
        let mut stats = Stats::new(0);
        (0..1000).for_each(|n| stats.error(&format!("E{n}")));
        stats.error("E0");
        assert_eq!(
            (stats.errors().count(), stats.error_replies),
            (ERROR_CODES, 1001)
        );
        assert!(stats.errors_overflow());
        assert_eq!(
            stats.errors().find(|(code, _)| *code == "E0"),
            Some(("E0", 2))
        );
    }

    #[test]
    fn rates_average_sixteen_samples_and_sampling_stops_when_idle() {
        let mut stats = Stats::new(0);
        assert_eq!(stats.next_tick(), None);
        stats.tick(0);
        for now in 1..=16 {
            (0..10).for_each(|_| stats.called(0, 1, false));
            stats.tick(now * SAMPLE_MS);
        }
        assert_eq!(stats.rate().ops, 100);
        let mut now = 16 * SAMPLE_MS;
        while let Some(next) = stats.next_tick() {
            assert!(next > now && next < 100 * SAMPLE_MS);
            now = next;
            stats.tick(now);
        }
        assert_eq!(stats.rate(), Rate::default());
    }

    #[test]
    fn reset_forgets_counts_but_not_what_is_no_count() {
        let mut stats = Stats::new(1);
        stats.called(0, 1, true);
        stats.error("ERR");
        stats.dirty(3);
        stats.reset();
        assert_eq!(
            (stats.commands_processed, stats.error_replies, stats.changes),
            (0, 0, 3)
        );
        assert_eq!(stats.command(0).map(|c| c.calls), Some(0));
        assert_eq!(stats.errors().count(), 0);
    }
}
