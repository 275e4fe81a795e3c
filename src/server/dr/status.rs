//! `redkeep dr status`: how the chain stands.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use super::args::Status;
use super::chain::{Chain, Hop};
use super::server::Standing;
use super::words::{bytes, seconds};
use super::{complain, say};
use crate::server::json::Json;

/// A backlog that holds less than this is told of.
const SHORT: f64 = 60.0;

/// Prints how the chain stands; the status says whether it is whole.
pub(super) fn run(args: &Status) -> ExitCode {
    let mut chain = Chain::walk(&args.server, &args.access);
    if let Some(Hop {
        seen: Err(error), ..
    }) = chain.standby()
        && !args.access.json
    {
        complain(&format!("{}: {error}", args.server));
        return ExitCode::FAILURE;
    }
    chain.measure(Duration::from_millis(args.sample));
    match args.access.json {
        true => say(&format!("{}\n", json(&chain))),
        false => say(&text(&chain)),
    }
    match chain.is_whole() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// The chain, from the leader down, and what a promotion would lose.
pub(super) fn text(chain: &Chain) -> String {
    let mut out = String::new();
    for (n, hop) in chain.hops.iter().enumerate().rev() {
        for line in hop_lines(chain, n, hop) {
            let _ = writeln!(out, "{line}");
        }
        if n > 0 {
            for line in link_lines(chain, n - 1) {
                let _ = writeln!(out, "   |   {line}");
            }
        }
    }
    if let Some(standby) = chain.standby()
        && standby.standing().is_some_and(|s| !s.leads())
    {
        let _ = writeln!(
            out,
            "\nPromoting {} now {}.",
            standby.address,
            chain.loss().words()
        );
    }
    for warning in warnings(chain) {
        let _ = writeln!(out, "! {warning}");
    }
    out
}

fn hop_lines(chain: &Chain, n: usize, hop: &Hop) -> Vec<String> {
    match &hop.seen {
        Ok(standing) => {
            let role = if standing.leads() {
                "leader"
            } else {
                "replica"
            };
            let priority = match standing.priority {
                Some(priority) => format!(", priority {priority}"),
                None => String::new(),
            };
            let rate = match hop.rate {
                Some(rate) => format!(", {} a second", bytes(rate as u64)),
                None => String::new(),
            };
            vec![
                format!(
                    "{role}  {}  {}, offset {}{rate}{priority}",
                    hop.address, standing.program, standing.offset
                ),
                format!(
                    "   |   answers within {:.1} ms; copies made for others: {} full, {} partial, {} partial refused",
                    standing.round_trip.as_secs_f64() * 1000.0,
                    standing.syncs.full,
                    standing.syncs.partial,
                    standing.syncs.refused
                ),
            ]
        }
        Err(error) => {
            let mut lines = vec![format!("?       {}  does not answer: {error}", hop.address)];
            let below = n.checked_sub(1).and_then(|n| chain.hops.get(n));
            if let Some(below) = below.and_then(Hop::standing) {
                lines.push(format!("   |   last known: offset {}", below.offset));
            }
            lines
        }
    }
}

/// What there is to say of the link between the `n`th hop and the one above.
fn link_lines(chain: &Chain, n: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let below = chain.hops.get(n).and_then(Hop::standing);
    if let Some(up) = below.and_then(Standing::upstream) {
        let since = match (up.up, up.heard, up.down) {
            (true, Some(s), _) => format!("up, heard {} ago", seconds(s)),
            (true, None, _) => "up".into(),
            (false, _, Some(s)) => format!("DOWN for {} ({})", seconds(s), up.state),
            (false, ..) => format!("DOWN ({})", up.state),
        };
        let copying = if up.copying { ", being copied" } else { "" };
        lines.push(format!("link {since}{copying}"));
    }
    let above = chain.hops.get(n + 1).and_then(Hop::standing);
    if above.is_some() && below.is_some() {
        lines.push(format!("behind: {}", chain.behind(n).words()));
    }
    if let Some((reserve, above)) = chain.reserve(n).zip(above) {
        let size = bytes(above.backlog.size);
        lines.push(match (reserve.holds, reserve.seconds) {
            (false, _) => {
                format!("backlog of {size} does not reach back so far: a new copy will be made")
            }
            (true, None) => format!("backlog of {size}; nothing is written now"),
            (true, Some(s)) => {
                format!(
                    "backlog of {size} bears an outage of {} at this rate",
                    seconds(s as u64)
                )
            }
        });
    }
    lines
}

/// What should be otherwise.
fn warnings(chain: &Chain) -> Vec<String> {
    let mut all = Vec::new();
    if chain.circle {
        all.push("The servers follow each other in a circle: nobody leads.".to_owned());
    }
    let standby = chain.standby().and_then(Hop::standing);
    if let Some(standby) = standby {
        if standby.leads() {
            all.push("This server is no standby: it follows nobody.".to_owned());
        } else if standby.priority != Some(0) {
            all.push(
                "Its replica-priority is not 0: a sentinel of the other region may promote it."
                    .to_owned(),
            );
        }
        if standby.has_nothing() {
            all.push("It has no whole copy yet, and is of no use until it has.".to_owned());
        }
    }
    for n in 0..chain.hops.len().saturating_sub(1) {
        if let Some(reserve) = chain.reserve(n)
            && let Some(s) = reserve.seconds.filter(|s| reserve.holds && *s < SHORT)
            && let Some(above) = chain.hops.get(n + 1)
        {
            all.push(format!(
                "The backlog of {} bears an outage of only {}: raise repl-backlog-size there.",
                above.address,
                seconds(s as u64)
            ));
        }
    }
    all
}

/// The same for programs.
pub(super) fn json(chain: &Chain) -> Json {
    let hops = (0..chain.hops.len()).filter_map(|n| Some(hop_json(chain, n, chain.hops.get(n)?)));
    let is_replica = |hop: &Hop| hop.standing().is_some_and(|s| !s.leads());
    let loss = chain
        .standby()
        .filter(|hop| is_replica(hop))
        .map(|_| chain.loss().json());
    Json::Object(vec![
        ("whole", chain.is_whole().into()),
        (
            "leader",
            chain.leader().map(|hop| hop.address.to_string()).into(),
        ),
        ("hops", hops.collect()),
        ("loss_if_promoted_now", loss.into()),
        ("warnings", Json::texts(warnings(chain))),
    ])
}

fn hop_json(chain: &Chain, n: usize, hop: &Hop) -> Json {
    let address = ("address", Json::from(hop.address.to_string()));
    let standing = match &hop.seen {
        Ok(standing) => standing,
        Err(error) => {
            let below = n.checked_sub(1).and_then(|n| chain.hops.get(n)?.standing());
            return Json::Object(vec![
                address,
                ("error", error.to_string().into()),
                ("last_known_offset", below.map(|s| s.offset).into()),
            ]);
        }
    };
    let behind = chain.behind(n);
    let millis = |d: Duration| Json::Real(d.as_micros() as f64 / 1000.0);
    let link = standing.upstream().map(|up| {
        Json::Object(vec![
            ("upstream", up.address.to_string().into()),
            ("state", up.state.as_str().into()),
            ("up", up.up.into()),
            ("copying", up.copying.into()),
            ("heard_seconds", up.heard.into()),
            ("down_seconds", up.down.into()),
            ("behind_bytes", behind.bytes.into()),
            ("behind_ms", behind.ms.into()),
            ("behind_ms_is_estimated", behind.estimated.into()),
            ("backlog_reaches", chain.reserve(n).map(|r| r.holds).into()),
            (
                "backlog_bears_seconds",
                chain.reserve(n).and_then(|r| r.seconds).into(),
            ),
        ])
    });
    Json::Object(vec![
        address,
        ("error", Json::Null),
        (
            "role",
            if standing.leads() {
                "leader"
            } else {
                "replica"
            }
            .into(),
        ),
        ("program", standing.program.as_str().into()),
        ("offset", standing.offset.into()),
        ("history", standing.history.as_str().into()),
        ("priority", standing.priority.into()),
        ("bytes_per_second", hop.rate.into()),
        ("round_trip_ms", millis(standing.round_trip)),
        ("backlog_size", standing.backlog.size.into()),
        ("syncs_full", standing.syncs.full.into()),
        ("syncs_partial", standing.syncs.partial.into()),
        ("syncs_partial_refused", standing.syncs.refused.into()),
        ("link", link.into()),
    ])
}
