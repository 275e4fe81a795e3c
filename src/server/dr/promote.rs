//! `redkeep dr promote`: a standby becomes the leader, with what its region needs to go on.
//!
//! The order of things: whoever might act in between is made to forget the leader first; then the standby leads; then replicas
//! are put behind it, and the region's sentinels are told, whom clients ask; at the end all of it is looked at. Sentinels come
//! after replicas, because they look for replicas when they are told, and then not again for ten seconds: if the new leader
//! failed within these, they would know nobody to put in its place.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::args::{Promote, Side};
use super::chain::{Chain, Hop};
use super::consent::{Findings, agrees};
use super::journal::{Journal, PATIENCE, Peer};
use super::region::{self, Replica, Stranger};
use super::sentinels::Guard;
use super::server::Standing;
use super::{complain, say, status};
use crate::server::ask::{Address, Credentials, Info};
use crate::server::json::Json;

/// Over which the rate of writes is measured: in an emergency nobody waits for more.
const SAMPLE: Duration = Duration::from_millis(300);

/// For how much longer clients with writes wait than it takes the standby to catch up: until it leads.
const MARGIN: Duration = Duration::from_secs(20);

/// For how long sentinels are not told because replicas are not there yet.
const MOMENT: Duration = Duration::from_secs(3);

/// What a server gets that its region's sentinels may choose.
const PRIORITY: &str = "100";

/// A parameter of the leader: how often it writes a sign of life into the stream, which would be one byte too many for a
/// leader that is to follow its standby.
const PING: &str = "repl-ping-replica-period";

/// What is known before anything is done.
struct Survey {
    chain: Chain,
    /// The standby, as it stands.
    standing: Standing,
    known_as: Address,
    guards: Vec<Guard>,
    strangers: Vec<Stranger>,
    /// How many replicas it must have to take writes.
    min_replicas: usize,
}

/// Looks, asks, promotes; the status says whether all of it went well.
pub(super) fn run(args: &Promote) -> ExitCode {
    let mut survey = match Survey::take(args) {
        Ok(survey) => survey,
        Err(why) => {
            complain(&format!("{}: {why}", args.server));
            return ExitCode::FAILURE;
        }
    };
    let found = survey.findings(args);
    let json = args.access.json;
    if !json {
        say(&status::text(&survey.chain));
        say(&found.text());
    }
    let mut journal = Journal::new(args.consent.dry_run, json);
    let mut promoted = false;
    let question = format!("Make {} the leader?", args.server);
    let go = if !found.allow(args.force) {
        Err("Nothing was done.")
    } else {
        agrees(args.consent, &question, json)
    };
    match go {
        Ok(()) => promoted = Promotion::of(args, &mut survey, &mut journal).run(),
        Err(why) => complain(why),
    }
    let well = promoted && journal.is_clean();
    if json {
        let [warnings, refusals] = found.json();
        let report = Json::Object(vec![
            ("server", args.server.to_string().into()),
            ("known_as", survey.known_as.to_string().into()),
            ("before", status::json(&survey.chain)),
            warnings,
            refusals,
            ("dry_run", args.consent.dry_run.into()),
            ("steps", journal.json()),
            ("promoted", (promoted && !args.consent.dry_run).into()),
            ("ok", well.into()),
        ]);
        say(&format!("{report}\n"));
    } else if promoted && !args.consent.dry_run {
        let rest = match well {
            true => "",
            false => {
                " Not everything went well: see what to do by hand above, or repeat the command."
            }
        };
        say(&format!("{} leads now.{rest}\n", args.server));
    }
    match well {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

impl Survey {
    fn take(args: &Promote) -> Result<Self, String> {
        let mut chain = Chain::walk(&args.server, &args.access);
        chain.measure(SAMPLE);
        let standing = match chain.standby().map(|hop| &hop.seen) {
            Some(Ok(standing)) => standing.clone(),
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("it was not asked".into()),
        };
        let known_as = match &args.known_as {
            Some(address) => address.clone(),
            None => {
                let found = args.server.resolve().map_err(|e| e.to_string())?;
                let first = found.first().ok_or("the name has no address")?;
                Address::new(first.ip().to_string(), args.server.port)
            }
        };
        let guards = region::guards(&args.sentinel, args.master.as_deref(), &args.access);
        let mut strangers = Vec::new();
        if !standing.leads() {
            strangers = region::strangers(&args.server, Side::Here, &guards, &args.access);
            if let Some(leader) = chain.leader().filter(|_| args.wait.is_some()) {
                let there =
                    region::strangers(&leader.address, Side::Upstream, &guards, &args.access);
                let known =
                    |one: &Stranger| strangers.iter().any(|s| s.watcher.id == one.watcher.id);
                let new: Vec<_> = there.into_iter().filter(|one| !known(one)).collect();
                strangers.extend(new);
            }
        }
        let open = args.access.open(&args.server, Side::Here);
        let mut standby = Peer::new(args.server.clone(), open);
        let min_replicas = parameter(&mut standby, "min-replicas-to-write");
        Ok(Self {
            min_replicas: min_replicas.and_then(|n| n.parse().ok()).unwrap_or(0),
            chain,
            standing,
            known_as,
            guards,
            strangers,
        })
    }

    fn findings(&self, args: &Promote) -> Findings {
        let mut found = Findings::default();
        region::report_guards(&self.guards, &mut found);
        if is_loopback(&self.known_as)
            && args
                .sentinel
                .iter()
                .chain(&args.replica)
                .any(|a| !is_loopback(a))
        {
            found.refusals.push(format!(
                "Others would be told that it is at {}, which is this machine to each of them: say --as.",
                self.known_as
            ));
        }
        let replicas = self.standing.online().max(args.replica.len());
        if replicas < self.min_replicas {
            found.warnings.push(format!(
                "It will refuse writes: min-replicas-to-write is {}, and {replicas} replicas follow it.",
                self.min_replicas
            ));
        }
        if self.standing.leads() {
            found
                .warnings
                .push("It leads already: only what is around it will be set.".into());
            return found;
        }
        if self.standing.has_nothing() {
            found
                .refusals
                .push("It has no whole copy of what the leader had.".into());
        }
        let consequence = "it would make the promoted server a replica again within seconds";
        region::report(&self.strangers, consequence, &mut found);
        if args.wait.is_some() {
            if !self.chain.is_whole() {
                found.obstacles.push(
                    "--wait: not every link up to the leader is up, so there is nothing to wait for."
                        .into(),
                );
            }
            return found;
        }
        let above = self.chain.hops.iter().skip(1);
        for hop in above.filter(|hop| hop.standing().is_some()) {
            found.refusals.push(self.lives(hop));
        }
        found
    }

    /// Why a server above that answers speaks against it.
    fn lives(&self, hop: &Hop) -> String {
        match hop.standing().is_some_and(Standing::leads) {
            true => format!(
                "The leader {} lives: there would be two, and what is written to one of them is lost. To change places \
                 without loss say --wait; if clients cannot reach it any more, --force.",
                hop.address
            ),
            false => format!(
                "{} lives, and may be promoted there: there would be two leaders. Make sure that it is not, then say --force.",
                hop.address
            ),
        }
    }
}

fn is_loopback(address: &Address) -> bool {
    let found = address.resolve().unwrap_or_default();
    found.iter().any(|addr| addr.ip().is_loopback())
}

/// What is going on.
struct Promotion<'a> {
    args: &'a Promote,
    survey: &'a mut Survey,
    journal: &'a mut Journal,
    standby: Peer,
    /// The leader, if it is to change places with the standby.
    leader: Option<Peer>,
    /// As whom servers of this region are spoken to, and those of the other one.
    here: Credentials,
    there: Credentials,
    /// What the leader had for [`PING`].
    ping: Option<String>,
}

impl<'a> Promotion<'a> {
    fn of(args: &'a Promote, survey: &'a mut Survey, journal: &'a mut Journal) -> Self {
        let peer =
            |address: &Address, side| Peer::new(address.clone(), args.access.open(address, side));
        let leader = survey.chain.leader().map(|hop| hop.address.clone());
        let leader = leader.filter(|_| args.wait.is_some() && !survey.standing.leads());
        let there = leader.as_ref().map(|a| args.access.who(a, Side::Upstream));
        Self {
            standby: peer(&args.server, Side::Here),
            leader: leader.map(|address| peer(&address, Side::Upstream)),
            here: args.access.who(&args.server, Side::Here),
            there: there.unwrap_or_default(),
            ping: None,
            args,
            survey,
            journal,
        }
    }

    /// Does it; whether the standby leads.
    fn run(mut self) -> bool {
        if !self.survey.standing.leads() && !self.take_over() {
            return false;
        }
        let standby = &mut self.standby;
        self.journal
            .order(standby, &["CONFIG", "SET", "replica-priority", PRIORITY]);
        if parameter(standby, "replica-announced").as_deref() == Some("no") {
            let announced = ["CONFIG", "SET", "replica-announced", "yes"];
            self.journal.order(standby, &announced);
        }
        // When it comes back from a failure, it follows one of its own region.
        region::set_credentials(standby, &self.here, self.journal);
        let mut replicas: Vec<_> = self
            .args
            .replica
            .iter()
            .map(|address| Replica::look(address, &self.args.access))
            .collect();
        let known_as = self.survey.known_as.clone();
        for replica in &mut replicas {
            replica.follow(&known_as, &self.here, self.journal);
        }
        self.await_followers();
        self.tell_sentinels();
        self.settle_leader();
        region::rewrite(&mut self.standby, &self.survey.standing, self.journal);
        self.verify(&mut replicas);
        true
    }

    /// Lets the standby lead, whoever led before.
    fn take_over(&mut self) -> bool {
        if !self.send_others_away() {
            return false;
        }
        self.ping = self
            .leader
            .as_mut()
            .and_then(|leader| parameter(leader, PING));
        if !self.catch_up() {
            self.undo();
            return false;
        }
        let promoted = self
            .journal
            .order(&mut self.standby, &["REPLICAOF", "NO", "ONE"])
            && {
                let by_hand = self.standby.by_hand(&["ROLE"]);
                let (journal, standby) = (&mut *self.journal, &mut self.standby);
                journal.expect(&self.args.server, "leads", &by_hand, PATIENCE, || {
                    let standing = standby.ask().and_then(Standing::ask);
                    match standing.map_err(|e| e.to_string())?.leads() {
                        true => Ok(()),
                        false => Err("it follows".into()),
                    }
                })
            };
        match promoted {
            true => self.turn_leader(),
            false => self.undo(),
        }
        promoted
    }

    /// Makes those forget the leader who would act on what happens now, or undo it.
    fn send_others_away(&mut self) -> bool {
        let strangers = self
            .survey
            .strangers
            .iter_mut()
            .filter_map(|s| s.guard.as_mut());
        let known_as = &self.survey.known_as;
        let is_right = |guard: &Guard| {
            let at = guard.watched.as_ref().and_then(|w| w.at.as_ref());
            at == Some(known_as)
        };
        let own = self.survey.guards.iter_mut().filter(|g| !is_right(g));
        let mut gone = true;
        for guard in strangers.chain(own) {
            gone &= guard.error.is_some() || guard.forget(self.journal);
        }
        if !gone && !self.args.force {
            self.undo();
            return false;
        }
        true
    }

    /// Lets clients with writes wait until the standby has everything.
    fn catch_up(&mut self) -> bool {
        let Some(leader) = &mut self.leader else {
            return true;
        };
        let patience = Duration::from_secs(self.args.wait.unwrap_or_default());
        let pause = (patience + MARGIN).as_millis().to_string();
        if !self.journal.order(leader, &["CONFIG", "SET", PING, "3600"])
            || !self
                .journal
                .order(leader, &["CLIENT", "PAUSE", &pause, "WRITE"])
        {
            return false;
        }
        let by_hand = leader.by_hand(&["CLIENT", "UNPAUSE"]);
        let standby = &mut self.standby;
        let mut goal = None;
        let what = "has everything that the leader has";
        self.journal
            .expect(&self.args.server, what, &by_hand, patience, || {
                let look = |peer: &mut Peer| {
                    peer.ask()
                        .and_then(Standing::ask)
                        .map_err(|e| e.to_string())
                };
                let goal = match &goal {
                    Some(goal) => goal,
                    None => goal.insert(look(leader)?),
                };
                let now = look(standby)?;
                match now.history == goal.history && now.offset >= goal.offset {
                    true => Ok(()),
                    false => Err(format!(
                        "{} bytes are missing",
                        goal.offset.saturating_sub(now.offset)
                    )),
                }
            })
    }

    /// Makes the leader of before follow the standby, and lets its clients hear of it.
    fn turn_leader(&mut self) {
        let Some(leader) = &mut self.leader else {
            return;
        };
        let to = &self.survey.known_as;
        let port = to.port.to_string();
        region::set_credentials(leader, &self.here, self.journal);
        self.journal.order(leader, &["REPLICAOF", &to.host, &port]);
        self.journal.order(leader, &["CLIENT", "UNPAUSE"]);
    }

    /// What the leader of before needs for the time to come, when nobody waits any more.
    fn settle_leader(&mut self) {
        let Some(leader) = &mut self.leader else {
            return;
        };
        let priority = ["CONFIG", "SET", "replica-priority", "0"];
        self.journal.order(leader, &priority);
        restore(leader, self.ping.take(), self.journal);
        let standing = self.survey.chain.leader().and_then(Hop::standing);
        if let Some(standing) = standing {
            region::rewrite(leader, standing, self.journal);
        }
    }

    /// Lets everything be as it was.
    fn undo(&mut self) {
        if let Some(leader) = &mut self.leader {
            self.journal.order(leader, &["CLIENT", "UNPAUSE"]);
            restore(leader, self.ping.take(), self.journal);
        }
        let strangers = self
            .survey
            .strangers
            .iter_mut()
            .filter_map(|s| s.guard.as_mut());
        for guard in strangers.chain(&mut self.survey.guards) {
            if guard.error.is_none() {
                guard.remember(&self.there, self.journal);
            }
        }
    }

    /// How many replicas of the region follow, or will. Those of a leader may be of other regions, where this region's
    /// sentinels are not let in.
    fn own_replicas(&self) -> usize {
        let named = self.args.replica.len();
        match self.survey.standing.leads() {
            true => named,
            false => self.survey.standing.online().max(named),
        }
    }

    /// Gives replicas a moment to come back, before sentinels look for them.
    fn await_followers(&mut self) {
        let until = Instant::now() + MOMENT;
        let wanted = self.own_replicas();
        let there = |standby: &mut Peer| {
            let standing = standby.ask().and_then(Standing::ask);
            standing.is_ok_and(|s| s.online() >= wanted)
        };
        while !self.journal.is_dry() && Instant::now() < until && !there(&mut self.standby) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Lets the region's sentinels watch the new leader.
    fn tell_sentinels(&mut self) {
        let Some(name) = self.args.master.as_deref() else {
            return;
        };
        let guards = &mut self.survey.guards;
        let had = guards.iter().find_map(|g| g.watched.as_ref()?.quorum());
        let most = u32::try_from(guards.len() / 2 + 1).unwrap_or(u32::MAX);
        let quorum = self.args.quorum.or(had).unwrap_or(most);
        for n in 0..guards.len() {
            let settings = region::as_before(guards, n, &self.survey.strangers, name)
                .with(&self.args.settings);
            let Some(guard) = guards.get_mut(n) else {
                continue;
            };
            let known = guard.watched.as_ref().and_then(|w| w.at.as_ref());
            if known == Some(&self.survey.known_as) {
                continue;
            }
            guard.watch(
                &settings,
                &self.survey.known_as,
                quorum,
                &self.here,
                self.journal,
            );
        }
    }

    /// Looks whether it is as it should be.
    fn verify(&mut self, replicas: &mut [Replica]) {
        let known_as = self.survey.known_as.clone();
        for replica in replicas {
            replica.verify(&known_as, self.journal);
        }
        self.verify_followers();
        if let Some(leader) = &mut self.leader {
            region::follows(leader, &known_as, self.journal);
        }
        let replicas = self.own_replicas();
        if let Some(name) = self.args.master.as_deref() {
            for guard in self.survey.guards.iter_mut().filter(|g| g.error.is_none()) {
                guard.verify(name, &known_as, replicas, self.journal);
            }
        }
        if self.journal.is_dry() || self.args.sentinel.is_empty() {
            return;
        }
        let access = &self.args.access;
        for other in region::strangers(&self.args.server, Side::Here, &self.survey.guards, access) {
            let by_hand = other.guard.map(|guard| {
                let name = other.watcher.hello.as_ref().map_or("", |hello| &hello.name);
                guard.peer.by_hand(&["SENTINEL", "REMOVE", name])
            });
            let why = format!("{} watches it", other.watcher.words());
            let what = "is watched by its own sentinels only";
            self.journal.fail(&self.args.server, what, &why, by_hand);
        }
    }

    /// Those who followed the standby find it again by themselves.
    fn verify_followers(&mut self) {
        let were = self.survey.standing.online();
        if were == 0 {
            return;
        }
        let by_hand = self.standby.by_hand(&["INFO", "replication"]);
        let what = format!("is followed by {were} replicas, as before");
        let (journal, standby) = (&mut *self.journal, &mut self.standby);
        journal.expect(&self.args.server, &what, &by_hand, PATIENCE, || {
            let standing = standby
                .ask()
                .and_then(Standing::ask)
                .map_err(|e| e.to_string())?;
            let now = standing.online();
            match now >= were {
                true => Ok(()),
                false => Err(format!("it is followed by {now}")),
            }
        });
    }
}

/// The value of a parameter.
fn parameter(server: &mut Peer, name: &str) -> Option<String> {
    let answer = server.call(&["CONFIG", "GET", name]).ok()?;
    Info::of_pairs(&answer).get(name).map(str::to_owned)
}

/// Lets a leader give signs of life as before.
fn restore(leader: &mut Peer, ping: Option<String>, journal: &mut Journal) {
    if let Some(ping) = ping {
        journal.order(leader, &["CONFIG", "SET", PING, &ping]);
    }
}
