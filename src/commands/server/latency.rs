//! LATENCY.

use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
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
        Command::new("help", 2, help)
            .since("2.8.13")
            .group(Group::Server)
            .flags(&[flag::LOADING, flag::STALE])
            .summary("Show the subcommands.")
            .complexity("O(1)")
            .checked(),
    ])
    .checked()];

const fn sub(name: &'static str, arity: i16, run: crate::exec::Handler) -> Command {
    Command::new(name, arity, run)
        .since("2.8.13")
        .group(Group::Server)
        .flags(&[flag::ADMIN, flag::NOSCRIPT, flag::LOADING, flag::STALE])
}

fn doctor(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let threshold = cx.sys.cfg.latency_monitor_threshold;
    let mut text = String::new();
    if threshold == 0 {
        text.push_str(
            "Spikes are not recorded. CONFIG SET latency-monitor-threshold <milliseconds> starts to record those that \
             last at least so long.\n",
        );
    } else if cx.sys.latency.events().len() == 0 {
        text.push_str(&format!("Nothing took {threshold} ms or more so far.\n"));
    }
    for (name, spikes) in cx.sys.latency.events() {
        let (mean, spread) = spikes.mean();
        let (count, max) = (spikes.samples.len(), spikes.max);
        text.push_str(&format!(
            "{name}: {count} latency spikes (average {mean}ms, mean deviation {spread}ms). Worst all time event {max}ms.\n"
        ));
    }
    if cx.sys.latency.events().len() > 0 {
        text.push_str("\nSLOWLOG GET shows which commands took long.\n");
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

/// Columns, a few lines high, over the age of each spike written downwards.
fn draw(name: &str, spikes: &Spikes, now: i64) -> String {
    const ROWS: u64 = 4;
    const WIDTH: usize = 80;
    let (low, high) = spikes.range();
    let mut text = format!(
        "{name} - high {high} ms, low {low} ms (all time high {} ms)\n",
        spikes.max
    );
    text.push_str(&"-".repeat(WIDTH));
    text.push('\n');
    let kept = spikes.samples.len().saturating_sub(WIDTH);
    let samples: Vec<(i64, u64)> = spikes.samples.iter().skip(kept).copied().collect();
    // Heights in halves of a row, at least one.
    let height = |millis: u64| 1 + (millis - low) * (2 * ROWS - 1) / (high - low).max(1);
    for row in (0..ROWS).rev() {
        let cell = |&(_, millis): &(i64, u64)| match height(millis).saturating_sub(2 * row) {
            0 => ' ',
            1 => '_',
            2 => '#',
            _ => '|',
        };
        text.extend(samples.iter().map(cell));
        text.push('\n');
    }
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
    text
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
    let wanted = |entry: &crate::exec::Entry| {
        args.from(2).iter().any(|name| {
            let own = entry.name.as_bytes();
            let parent = own.split(|b| *b == b'|').next().unwrap_or_default();
            own.eq_ignore_ascii_case(name) || parent.eq_ignore_ascii_case(name)
        })
    };
    let all = args.len() == 2;
    let map = cx.reply.deferred_map();
    let mut shown = 0;
    for entry in cx.sys.registry.iter().filter(|entry| all || wanted(entry)) {
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
        assert_eq!(lines, ["  #", "  |", " #|", "_||", "", "111", "5ms", "m  "]);
    }
}
