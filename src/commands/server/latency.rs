//! LATENCY.

use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Entry, Flow};
use crate::service::config::Settings;
use crate::service::latency::Spikes;
use crate::spec::{Group, flag};

const SPECIAL: &[&str] = &[
    "nondeterministic_output",
    "request_policy:all_nodes",
    "response_policy:special",
];

/// The rows of this family.
pub(crate) const COMMANDS: &[Command] = &[Command::container("latency", -2)
    .since("2.8.13")
    .group(Group::Server)
    .summary("Commands about latencies.")
    .complexity("Depends on the subcommand.")
    .subs(&[
        sub("doctor", 2, doctor)
            .summary("Return a report on spikes, for people.")
            .complexity("O(1)")
            .tips(SPECIAL)
            .checked(),
        sub("graph", 3, graph)
            .syntax("event")
            .summary("Draw the spikes of an event.")
            .complexity("O(1)")
            .tips(SPECIAL)
            .checked(),
        sub("histogram", -2, histogram)
            .since("7.0.0")
            .syntax("[COMMAND:string...]")
            .summary("Return how long commands took, as cumulative counts.")
            .complexity("O(N) in the number of commands reported")
            .tips(SPECIAL)
            .checked(),
        sub("history", 3, history)
            .syntax("event")
            .summary("Return the spikes of an event.")
            .complexity("O(1)")
            .tips(SPECIAL)
            .checked(),
        sub("latest", 2, latest)
            .summary("Return the latest spike of each event.")
            .complexity("O(1)")
            .tips(SPECIAL)
            .checked(),
        sub("reset", -2, reset)
            .syntax("[event...]")
            .summary("Forget the spikes of events.")
            .complexity("O(1)")
            .tips(&["request_policy:all_nodes", "response_policy:agg_sum"])
            .checked(),
        Command::help("2.8.13", Group::Server, help).checked(),
    ])
    .checked()];

const fn sub(name: &'static str, arity: i16, run: crate::exec::Handler) -> Command {
    Command::new(name, arity, run)
        .since("2.8.13")
        .group(Group::Server)
        .flags(&[flag::ADMIN, flag::NOSCRIPT, flag::LOADING, flag::STALE])
}

/// Something that may make spikes rarer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Advice {
    SlowLogOff,
    SlowLogCoarse,
    SlowLog,
    LargeValues,
    Starved,
    Disk,
    FsyncAlways,
    Deadlines,
    MemoryLimit,
}

impl Advice {
    /// What to do about the spikes of an event.
    fn on(event: &str, cfg: &Settings) -> &'static [Advice] {
        let threshold = cfg.latency_monitor_threshold;
        match event {
            "command" | "command-unblocking" => match cfg.slowlog_log_slower_than {
                ..0 => &[Self::SlowLogOff, Self::SlowLog, Self::LargeValues],
                slower if slower / 1000 > threshold => {
                    &[Self::SlowLogCoarse, Self::SlowLog, Self::LargeValues]
                }
                _ => &[Self::SlowLog, Self::LargeValues],
            },
            "fast-command" => &[Self::Starved],
            "aof-fsync-always" if cfg.appendfsync == "always" => &[Self::Disk, Self::FsyncAlways],
            event if event.starts_with("aof-") => &[Self::Disk],
            "expire-cycle" => &[Self::Deadlines],
            event if event.starts_with("eviction-") => &[Self::MemoryLimit],
            _ => &[],
        }
    }

    fn text(self, cfg: &Settings) -> String {
        let micros = cfg.latency_monitor_threshold.saturating_mul(1000);
        match self {
            Self::SlowLogOff => format!(
                "The slow log is off. CONFIG SET slowlog-log-slower-than {micros} has it keep the commands that take \
                 that many microseconds, which are those that count as spikes."
            ),
            Self::SlowLogCoarse => format!(
                "The slow log keeps fewer commands than count as spikes. CONFIG SET slowlog-log-slower-than {micros} \
                 has it keep all of them."
            ),
            Self::SlowLog => "SLOWLOG GET shows which commands took long, and whose they were.".to_owned(),
            Self::LargeValues => "Everybody waits for a command that goes through a large value: HSCAN, SSCAN, ZSCAN and \
                                  ranges with a limit take it in pieces, and several smaller values share the work."
                .to_owned(),
            Self::Starved => "Commands that take microseconds took milliseconds: the process was not running. Look for \
                              others that need the same processors, for memory that was swapped out, and on a virtual \
                              machine for stolen time; `redis-cli --intrinsic-latency 100`, run here, measures what the \
                              machine itself adds."
                .to_owned(),
            Self::Disk => "The disk is slow, or busy with something else: a local one, or one of its own for `dir`, \
                           answers sooner."
                .to_owned(),
            Self::FsyncAlways => "With `appendfsync always` each write waits for the disk. `everysec` does not, and may \
                                  lose a second of writes when the machine fails."
                .to_owned(),
            Self::Deadlines => "Many keys end at the same moment, or large ones do. A random part of a few seconds in \
                                their times to live spreads that."
                .to_owned(),
            Self::MemoryLimit => "Room was made for new data all at once: `maxmemory` was lowered, or one command needed \
                                  much. Lower it in steps, or raise it."
                .to_owned(),
        }
    }
}

fn doctor(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let (cfg, latency) = (&cx.sys.cfg, &cx.sys.latency);
    let threshold = cfg.latency_monitor_threshold;
    let mut text = String::new();
    let mut advice: Vec<Advice> = Vec::new();
    if latency.events().len() == 0 {
        text = match threshold {
            0 => "Spikes are not recorded. CONFIG SET latency-monitor-threshold <milliseconds> starts to record those \
                  that last at least so long.\n"
                .to_owned(),
            _ => format!("Nothing took {threshold} ms or more so far.\n"),
        };
    }
    for (n, (name, spikes)) in latency.events().enumerate() {
        let (mean, spread) = spikes.mean();
        let (count, max) = (spikes.samples.len(), spikes.max);
        let first = spikes.samples.front().map_or(0, |(second, _)| *second);
        let period = (cx.now / 1000 - first).max(0) as f64 / count.max(1) as f64;
        text.push_str(&format!(
            "{}. {name}: {count} latency spikes (average {mean}ms, mean deviation {spread}ms, period {period:.2} sec). \
             Worst all time event {max}ms.\n",
            n + 1
        ));
        let more = Advice::on(name, cfg).iter();
        let more = more.filter(|more| !advice.contains(more));
        advice.extend(more.copied().collect::<Vec<_>>());
    }
    if !advice.is_empty() {
        text.push_str("\nWhat may help:\n\n");
    }
    for advice in advice {
        text.push_str(&format!("- {}\n", advice.text(cfg)));
    }
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

fn graph(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let Some((name, spikes)) = cx.sys.latency.event(args.at(2)) else {
        let name = String::from_utf8_lossy(args.at(2)).into_owned();
        return Err(CmdError::new(format!(
            "ERR No samples available for event '{name}'"
        )));
    };
    let text = draw(name, spikes, cx.now / 1000);
    cx.reply.verbatim("txt", text.as_bytes());
    Ok(Flow::Done)
}

/// Columns, a few lines high, over the age of each spike written downwards; below them those that find no room beside.
fn draw(name: &str, spikes: &Spikes, now: i64) -> String {
    const WIDTH: usize = 80;
    let (low, high) = spikes.range();
    let mut text = format!(
        "{name} - high {high} ms, low {low} ms (all time high {} ms)\n",
        spikes.max
    );
    text.push_str(&"-".repeat(WIDTH));
    text.push('\n');
    let samples: Vec<(i64, u64)> = spikes.samples.iter().copied().collect();
    for (n, part) in samples.chunks(WIDTH).enumerate() {
        if n > 0 {
            text.push('\n');
        }
        draw_part(&mut text, part, (low, high), now);
    }
    text
}

fn draw_part(text: &mut String, samples: &[(i64, u64)], (low, high): (u64, u64), now: i64) {
    const ROWS: u64 = 4;
    /// Heights that a row tells apart.
    const STEPS: u64 = 3;
    let range = (high - low).max(1);
    let height = |millis: u64| ((millis - low) * STEPS * ROWS / range).min(STEPS * ROWS - 1);
    for row in (0..ROWS).rev() {
        let below = row * STEPS;
        let cell = |&(_, millis): &(i64, u64)| match height(millis).checked_sub(below) {
            None => ' ',
            Some(0) => '_',
            Some(1) => 'o',
            Some(2) => '#',
            Some(_) => '|',
        };
        text.extend(samples.iter().map(cell));
        text.push('\n');
    }
    let blank = std::iter::repeat_n(' ', samples.len());
    text.extend(blank);
    text.push('\n');
    let ages: Vec<Vec<u8>> = samples
        .iter()
        .map(|&(second, _)| age(now - second).into_bytes())
        .collect();
    for line in 0..ages.iter().map(Vec::len).max().unwrap_or(0) {
        text.extend(
            ages.iter()
                .map(|age| char::from(*age.get(line).unwrap_or(&b' '))),
        );
        text.push('\n');
    }
}

fn age(seconds: i64) -> String {
    match seconds {
        s if s < 60 => format!("{s}s"),
        s if s < 3600 => format!("{}m", s / 60),
        s if s < 86_400 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

fn histogram(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let registry = &cx.sys.registry;
    let entries: Vec<&Entry> = match args.from(2) {
        [] => registry.iter().collect(),
        names => {
            let named = names.iter().filter_map(|name| registry.by_full_name(name));
            // A container stands for its subcommands.
            named
                .flat_map(|entry| std::iter::once(entry).chain(registry.subs(entry)))
                .collect()
        }
    };
    let map = cx.reply.deferred_map();
    let mut shown = 0;
    for entry in entries {
        let stats = cx.sys.stats.command(entry.id.index());
        let Some(stats) = stats.filter(|stats| stats.latency.total() > 0) else {
            continue;
        };
        let bounds = stats.latency.by_doublings();
        cx.reply.bulk(entry.name.as_bytes());
        cx.reply.map(2);
        cx.reply.bulk(b"calls");
        cx.reply
            .int(i64::try_from(stats.latency.total()).unwrap_or(i64::MAX));
        cx.reply.bulk(b"histogram_usec");
        cx.reply.map(bounds.len());
        for (bound, count) in bounds {
            cx.reply.int(i64::try_from(bound).unwrap_or(i64::MAX));
            cx.reply.int(i64::try_from(count).unwrap_or(i64::MAX));
        }
        shown += 1;
    }
    map.finish(cx.reply, shown);
    Ok(Flow::Done)
}

fn history(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let Some((_, spikes)) = cx.sys.latency.event(args.at(2)) else {
        cx.reply.array(0);
        return Ok(Flow::Done);
    };
    cx.reply.array(spikes.samples.len());
    for &(second, millis) in &spikes.samples {
        cx.reply.array(2);
        cx.reply.int(second);
        cx.reply.int(i64::try_from(millis).unwrap_or(i64::MAX));
    }
    Ok(Flow::Done)
}

fn latest(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.reply.array(cx.sys.latency.events().len());
    for (name, spikes) in cx.sys.latency.events() {
        let (second, millis) = spikes.samples.back().copied().unwrap_or_default();
        cx.reply.array(4);
        cx.reply.bulk(name.as_bytes());
        cx.reply.int(second);
        cx.reply.int(i64::try_from(millis).unwrap_or(i64::MAX));
        cx.reply.int(i64::try_from(spikes.max).unwrap_or(i64::MAX));
    }
    Ok(Flow::Done)
}

fn reset(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let gone = cx.sys.latency.reset(args.from(2));
    cx.count(gone)
}

fn help(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.help(&[
        "DOCTOR",
        "    Show a report on spikes, for people.",
        "GRAPH <event>",
        "    Draw the spikes of an event.",
        "HISTOGRAM [<command> ...]",
        "    Show how many calls took at most so many microseconds, for all commands or these.",
        "HISTORY <event>",
        "    Show when an event had spikes, and how long they took.",
        "LATEST",
        "    Show the latest spike of each event.",
        "RESET [<event> ...]",
        "    Forget the spikes of all events, or of these.",
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_stands_on_the_ages_of_its_columns() {
        let mut latency = crate::service::latency::Latency::default();
        for (second, millis) in [(100, 10), (930, 45), (999, 80)] {
            latency.add("command", second, millis);
        }
        let (name, spikes) = latency.event(b"command").unwrap();
        let text = draw(name, spikes, 1000);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert!(text.starts_with("command - high 80 ms, low 10 ms (all time high 80 ms)\n---"));
        let drawn = ["  #", " _|", " ||", "_||", "   ", "111", "5ms", "m  "];
        assert_eq!(lines, drawn);
    }

    #[test]
    fn many_spikes_stand_below_each_other() {
        let mut latency = crate::service::latency::Latency::default();
        (0..100).for_each(|second| latency.add("command", second, 7));
        let (name, spikes) = latency.event(b"command").unwrap();
        let text = draw(name, spikes, 100);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        let lengths: Vec<usize> = lines.iter().map(|line| line.len()).collect();
        let (wide, narrow) = ([80; 8], [20; 8]);
        assert_eq!(lengths, [&wide[..], &[0], &narrow].concat());
        assert_eq!((lines[3], lines[12]), (&*"_".repeat(80), &*"_".repeat(20)));
    }
}
