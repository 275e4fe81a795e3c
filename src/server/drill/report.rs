//! What was found out, for people and for machines.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use super::course::Outcome;
use super::ledger::Moment;
use super::timeline::Mark;
use super::wire::Codes;
use crate::server::json::Json;

/// A table for people.
pub(super) struct Table<'a>(pub(super) &'a Outcome);

impl Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = self.0;
        write_head(f, outcome)?;
        writeln!(f, "\n{:>10}  what happened", "seconds")?;
        for mark in &outcome.timeline {
            let seconds = mark.ms_since(outcome.fault) / 1000.0;
            writeln!(f, "{seconds:>+10.3}  {}", mark.what)?;
        }
        f.write_char('\n')?;
        for (name, value) in lines(outcome) {
            writeln!(f, "{name:<22}  {value}")?;
        }
        writeln!(f, "\n{}", verdict(outcome))
    }
}

fn write_head(f: &mut fmt::Formatter<'_>, outcome: &Outcome) -> fmt::Result {
    let (plan, scene) = (&outcome.plan, &outcome.scene);
    writeln!(
        f,
        "{} of {}{}: leader {}, {} replicas, {} sentinels; {} clients for {} s",
        plan.scenario.name(),
        scene.server,
        if plan.sync { " with --sync" } else { "" },
        scene.leader,
        scene.replicas,
        outcome.sentinels,
        plan.clients,
        plan.span.as_secs(),
    )
}

fn lines(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let (found, calls) = (&outcome.findings, &outcome.calls);
    let failed: u64 = calls.errors.values().sum();
    let searches: u64 = calls.searches.values().sum();
    let (told, lost) = (found.acknowledged, found.lost);
    let messages = found.messages;
    vec![
        ("time without a leader", pause(outcome)),
        ("calls", format!("{}", calls.made)),
        ("failed calls", counted(failed, &calls.errors)),
        ("vain searches", counted(searches, &calls.searches)),
        (
            "acknowledged writes",
            format!(
                "{}: {} entries, {} records, {} fencing numbers, {} locks",
                told.total(),
                told.entries,
                told.records,
                told.fences,
                told.locks
            ),
        ),
        (
            "  of these lost",
            format!(
                "{}: {} entries, {} records, {} fencing numbers, {} locks",
                lost.total(),
                lost.entries,
                lost.records,
                lost.fences,
                lost.locks
            ),
        ),
        ("  beside these in doubt", found.in_doubt.to_string()),
        ("locks held by two", overlaps(outcome)),
        (
            "messages",
            format!(
                "{} acknowledged, {} delivered",
                messages.acknowledged, messages.delivered
            ),
        ),
        ("  lost", messages.lost.to_string()),
        ("  delivered twice", messages.twice.to_string()),
    ]
}

fn pause(outcome: &Outcome) -> String {
    match outcome.pause {
        Some(pause) if pause.ended => seconds(pause.len()),
        Some(pause) => format!("{}, until the end", seconds(pause.len())),
        None => "not known: nobody could ever write".to_owned(),
    }
}

fn overlaps(outcome: &Outcome) -> String {
    let overlaps = outcome.findings.overlaps;
    match overlaps.count {
        0 => "0".to_owned(),
        n => format!("{n}, for up to {}", seconds(overlaps.longest)),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

fn counted(sum: u64, codes: &Codes) -> String {
    let mut out = sum.to_string();
    for (i, (code, n)) in codes.iter().enumerate() {
        let sign = if i == 0 { ": " } else { ", " };
        // A string takes whatever is written.
        let _ = write!(out, "{sign}{code} {n}");
    }
    out
}

fn verdict(outcome: &Outcome) -> String {
    let found = &outcome.findings;
    let mut wrong = Vec::new();
    if found.lost.total() > 0 {
        wrong.push("acknowledged writes were lost");
    }
    if found.messages.lost > 0 {
        wrong.push("acknowledged messages were never delivered");
    }
    if found.overlaps.count > 0 {
        wrong.push("locks were held by two at once");
    }
    match wrong.as_slice() {
        [] => "Everything that was acknowledged was kept.".to_owned(),
        _ => format!("Not kept: {}.", wrong.join("; ")),
    }
}

/// The same for machines.
pub(super) fn json(outcome: &Outcome) -> Json {
    let (plan, scene, found) = (&outcome.plan, &outcome.scene, &outcome.findings);
    let pause = outcome.pause;
    Json::Object(vec![
        ("scenario", plan.scenario.name().into()),
        ("sync", plan.sync.into()),
        ("server", scene.server.as_str().into()),
        ("seconds", plan.span.as_secs().into()),
        ("clients", u64::from(plan.clients).into()),
        ("replicas", (scene.replicas as u64).into()),
        ("sentinels", (outcome.sentinels as u64).into()),
        ("leader_before", scene.leader.to_string().into()),
        ("leader_after", outcome.leader.to_string().into()),
        ("kept", (!found.is_loss()).into()),
        (
            "without_leader_ms",
            pause.map(|pause| ms(pause.len())).into(),
        ),
        (
            "leader_came_back",
            pause.is_some_and(|pause| pause.ended).into(),
        ),
        ("calls", calls(outcome)),
        ("writes", writes(outcome)),
        ("locks", locks(outcome)),
        ("messages", messages(outcome)),
        ("timeline", timeline(&outcome.timeline, outcome.fault)),
    ])
}

fn calls(outcome: &Outcome) -> Json {
    let calls = &outcome.calls;
    Json::Object(vec![
        ("made", calls.made.into()),
        ("failed", calls.errors.values().sum::<u64>().into()),
        ("errors", codes(&calls.errors)),
        ("searches", codes(&calls.searches)),
    ])
}

fn codes(codes: &Codes) -> Json {
    let codes = codes.iter().map(|(code, n)| (code.clone(), Json::from(*n)));
    Json::Named(codes.collect())
}

fn writes(outcome: &Outcome) -> Json {
    let (told, lost) = (outcome.findings.acknowledged, outcome.findings.lost);
    Json::Object(vec![
        ("acknowledged", told.total().into()),
        ("lost", lost.total().into()),
        ("in_doubt", outcome.findings.in_doubt.into()),
        ("lost_entries", lost.entries.into()),
        ("lost_records", lost.records.into()),
        ("lost_fencing_numbers", lost.fences.into()),
        ("lost_locks", lost.locks.into()),
    ])
}

fn locks(outcome: &Outcome) -> Json {
    let found = &outcome.findings;
    Json::Object(vec![
        ("taken", found.acknowledged.locks.into()),
        ("held_by_two", found.overlaps.count.into()),
        ("longest_overlap_ms", ms(found.overlaps.longest).into()),
        ("gone_while_held", found.lost.locks.into()),
    ])
}

fn messages(outcome: &Outcome) -> Json {
    let messages = outcome.findings.messages;
    Json::Object(vec![
        ("acknowledged", messages.acknowledged.into()),
        ("delivered", messages.delivered.into()),
        ("lost", messages.lost.into()),
        ("delivered_twice", messages.twice.into()),
    ])
}

fn timeline(marks: &[Mark], fault: Moment) -> Json {
    let mark = |mark: &Mark| {
        Json::Object(vec![
            ("ms", rounded(mark.ms_since(fault)).into()),
            ("event", mark.event.into()),
            ("what", mark.what.as_str().into()),
        ])
    };
    marks.iter().map(mark).collect()
}

fn ms(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1000.0)
}

/// To microseconds: the clocks are not better than that.
fn rounded(ms: f64) -> f64 {
    (ms * 1000.0).round() / 1000.0
}
