//! `redkeep dr demote`: a leader that has been replaced, and came back, follows the new one; what it alone had is told before.

use std::process::ExitCode;

use super::args::{Demote, Side};
use super::consent::{Findings, agrees};
use super::journal::{Journal, Peer};
use super::region::{self, Replica, Stranger};
use super::sentinels::Guard;
use super::server::Standing;
use super::words::bytes;
use super::{complain, say};
use crate::server::ask::{Address, Info};
use crate::server::json::Json;

/// What a standby gets, so that no sentinel chooses it.
const PRIORITY: &str = "0";

/// What one server has and the other one has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dropped {
    /// So many bytes of the stream, behind what both have.
    Bytes(u64),
    /// They have nothing in common that they know of.
    Everything,
}

/// What is known before anything is done.
struct Survey {
    old: Standing,
    new: Standing,
    keys: (u64, u64),
    guards: Vec<Guard>,
    strangers: Vec<Stranger>,
    known_as: Address,
}

/// Looks, asks, demotes; the status says whether all of it went well.
pub(super) fn run(args: &Demote) -> ExitCode {
    let mut survey = match Survey::take(args) {
        Ok(survey) => survey,
        Err(why) => {
            complain(&why);
            return ExitCode::FAILURE;
        }
    };
    let found = survey.findings(args);
    let json = args.access.json;
    if !json {
        say(&survey.text(args));
        say(&found.text());
    }
    let mut journal = Journal::new(args.consent.dry_run, json);
    let question = format!("Make {} a replica of {}?", args.server, args.to);
    let go = if !found.allow(args.force) {
        Err("Nothing was done.")
    } else {
        agrees(args.consent, &question, json)
    };
    let mut demoted = false;
    match go {
        Ok(()) => demoted = demote(args, &mut survey, &mut journal),
        Err(why) => complain(why),
    }
    let well = demoted && journal.is_clean();
    if json {
        let [warnings, refusals] = found.json();
        let dropped = match dropped(&survey.old, &survey.new) {
            Dropped::Bytes(n) => Some(n),
            Dropped::Everything => None,
        };
        let report = Json::Object(vec![
            ("server", args.server.to_string().into()),
            ("to", args.to.to_string().into()),
            ("dropped_bytes", dropped.into()),
            ("keys", survey.keys.0.into()),
            ("keys_of_leader", survey.keys.1.into()),
            warnings,
            refusals,
            ("dry_run", args.consent.dry_run.into()),
            ("steps", journal.json()),
            ("demoted", (demoted && !args.consent.dry_run).into()),
            ("ok", well.into()),
        ]);
        say(&format!("{report}\n"));
    }
    match well {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

impl Survey {
    fn take(args: &Demote) -> Result<Self, String> {
        let look = |address: &Address, side| {
            let told = |error| format!("{address}: {error}");
            let mut ask = args.access.open(address, side).map_err(told)?;
            let standing = Standing::ask(&mut ask).map_err(told)?;
            let keys = ask.info(&["keyspace"]).map_err(told)?;
            Ok::<_, String>((standing, keys_of(&keys)))
        };
        let (old, keys) = look(&args.server, Side::Here)?;
        let (new, keys_of_leader) = look(&args.to, Side::Upstream)?;
        let known_as = match &args.known_as {
            Some(address) => address.clone(),
            None => args.server.clone(),
        };
        let guards = region::guards(&args.sentinel, args.master.as_deref(), &args.access);
        Ok(Self {
            strangers: region::strangers(&args.server, Side::Here, &guards, &args.access),
            keys: (keys, keys_of_leader),
            known_as,
            guards,
            old,
            new,
        })
    }

    fn findings(&self, args: &Demote) -> Findings {
        let mut found = Findings::default();
        if self.old.run_id == self.new.run_id {
            found
                .obstacles
                .push("These are one and the same server.".into());
        } else if !self.new.leads() {
            found.obstacles.push(format!("{} does not lead.", args.to));
        }
        if let Some(up) = self.old.upstream() {
            found
                .warnings
                .push(format!("It follows {} now.", up.address));
        }
        region::report_guards(&self.guards, &mut found);
        let consequence = "it would promote another server of its region";
        region::report(&self.strangers, consequence, &mut found);
        found
    }

    fn text(&self, args: &Demote) -> String {
        let (server, to) = (&args.server, &args.to);
        let (here, there) = self.keys;
        let lost = match dropped(&self.old, &self.new) {
            Dropped::Bytes(0) => format!("Nothing is dropped: {to} has all that {server} has."),
            Dropped::Bytes(n) => format!(
                "{server} has {} of writes that {to} has not: they are DROPPED.",
                bytes(n)
            ),
            Dropped::Everything => format!(
                "{server} and {to} have no history in common: ALL that {server} has is dropped."
            ),
        };
        let copy = match dropped(&self.old, &self.new) {
            Dropped::Bytes(0) => String::new(),
            _ => format!(
                "To keep a copy of it: redis-cli -h {} -p {} --rdb before.rdb\n",
                server.host, server.port
            ),
        };
        format!("{server} has {here} keys, {to} has {there}.\n{lost}\n{copy}")
    }
}

/// How many keys INFO counts, in all databases.
fn keys_of(info: &Info) -> u64 {
    info.fields()
        .filter(|(name, _)| name.starts_with("db"))
        .filter_map(|(_, value)| {
            value
                .split(',')
                .next()?
                .strip_prefix("keys=")?
                .parse::<u64>()
                .ok()
        })
        .sum()
}

/// What the old leader has behind the last offset that both have. Each knows its history and the one that it went on from.
fn dropped(old: &Standing, new: &Standing) -> Dropped {
    let histories = |s: &Standing| {
        let former = s
            .former
            .clone()
            .map(|(id, next)| (id, next.saturating_sub(1)));
        [Some((s.history.clone(), s.offset)), former]
    };
    let of_new = histories(new);
    let common = histories(old)
        .into_iter()
        .flatten()
        .flat_map(|(id, until)| {
            let same = of_new
                .iter()
                .flatten()
                .filter(move |(other, _)| *other == id);
            same.map(move |(_, other)| until.min(*other))
        })
        .max();
    match common {
        Some(offset) => Dropped::Bytes(old.offset.saturating_sub(offset)),
        None => Dropped::Everything,
    }
}

/// Does it; whether the server follows the leader.
fn demote(args: &Demote, survey: &mut Survey, journal: &mut Journal) -> bool {
    let access = &args.access;
    let strangers = survey.strangers.iter_mut().filter_map(|s| s.guard.as_mut());
    let mut gone = true;
    for guard in strangers.chain(&mut survey.guards) {
        gone &= guard.error.is_some() || guard.forget(journal);
    }
    if !gone && !args.force {
        return false;
    }
    let mut server = Peer::new(args.server.clone(), access.open(&args.server, Side::Here));
    let there = access.who(&args.to, Side::Upstream);
    let here = access.who(&args.server, Side::Here);
    let port = args.to.port.to_string();
    let priority = ["CONFIG", "SET", "replica-priority", PRIORITY];
    if !journal.order(&mut server, &priority)
        || !region::set_credentials(&mut server, &there, journal)
        || !journal.order(&mut server, &["REPLICAOF", &args.to.host, &port])
    {
        return false;
    }
    region::rewrite(&mut server, &survey.old, journal);
    let look = |address| Replica::look(address, access);
    let mut replicas: Vec<_> = args.replica.iter().map(look).collect();
    for replica in &mut replicas {
        replica.follow(&survey.known_as, &here, journal);
    }
    let follows = region::follows(&mut server, &args.to, journal);
    for replica in &mut replicas {
        replica.verify(&survey.known_as, journal);
    }
    follows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(history: &str, offset: u64, former: Option<(&str, u64)>) -> Standing {
        let mut standing = Standing::silent();
        standing.history = history.into();
        standing.offset = offset;
        standing.former = former.map(|(id, next)| (id.into(), next));
        standing
    }

    #[test]
    fn what_is_behind_the_fork_is_dropped() {
        // The standby had 900 bytes when it was promoted, and the old leader 1000.
        let new = standing("new", 5000, Some(("old", 901)));
        let old = standing("old", 1000, None);
        assert_eq!(dropped(&old, &new), Dropped::Bytes(100));
        // The standby had all of it.
        let all = standing("new", 5000, Some(("old", 1001)));
        assert_eq!(dropped(&old, &all), Dropped::Bytes(0));
        // The old leader has been started again, and has written since.
        let again = standing("again", 1050, Some(("old", 1001)));
        assert_eq!(dropped(&again, &new), Dropped::Bytes(150));
        // It follows already.
        assert_eq!(dropped(&new, &new), Dropped::Bytes(0));
        let stranger = standing("else", 10, None);
        assert_eq!(dropped(&stranger, &new), Dropped::Everything);
    }

    #[test]
    fn keys_of_all_databases() {
        let info = Info::of_lines("db0:keys=3,expires=0\r\ndb9:keys=4,expires=0\r\n");
        assert_eq!(keys_of(&info), 7);
    }
}
