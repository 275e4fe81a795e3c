//! Failing over without losing what was acknowledged (`sync-replicas`).
//!
//! A leader that waits for S of N replicas has every acknowledged write on S + 1 of N + 1 servers. So whoever has looked at
//! N + 1 - S of them has seen each such write, provided that none of these acknowledges anything more to the old leader, and the
//! one of them that has most has all. Therefore, once a sentinel is elected, it *fences* the servers for its epoch (`REDKEEP FENCE`): they follow nobody any
//! more, and obey nobody who speaks for an earlier epoch. When enough of them say that they are, the one with the latest
//! [history](History) and the highest offset leads. It may be the old leader itself, if that was reached.
//!
//! With fewer nothing is done: a write that was acknowledged may be where nobody can look. A failover that is given up leaves
//! servers that follow nobody; they show a later term than the configuration has, and after a while a sentinel begins anew.
//!
//! All of this is done for groups that have `sync-replicas`, as their INFO says; the others are failed over as Redis does.

use std::cmp::Reverse;

use super::instance::{FailoverState, Id, Instance, Kind, Role};
use super::link::Question;
use super::{Level, Sentinel};
use crate::replication::History;

/// A server that has not said that it is fenced is told again.
const TELL_AGAIN: i64 = 1000;

/// When enough are fenced, the others are waited for so long.
const WAIT_FOR_MORE: i64 = 500;

/// When an operator wants another leader, the replicas get what the old one has still to send.
const CATCH_UP: i64 = 500;

/// What a server says of its terms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TermFacts {
    /// The latest term that it knows of.
    pub term: u64,
    /// The history that its data belong to.
    pub history: History,
    /// So many replicas must have a write before it is acknowledged.
    pub sync_replicas: u32,
    /// It says that its leader has lost what was acknowledged.
    pub deserted: bool,
    /// When it was told last that it is to be fenced.
    pub told_at: i64,
}

impl Instance {
    /// Whether it says that it is fenced in this term.
    fn is_fenced(&self, term: u64) -> bool {
        let follows_nobody = self.role == Role::Slave && self.replica.master_port == 0;
        follows_nobody && self.replica.master_host.is_some() && self.terms.term == term
    }

    /// How much it has: more is greater.
    const fn has(&self) -> (History, u64) {
        (self.terms.history, self.replica.offset)
    }
}

impl Sentinel {
    /// How many replicas must have a write of this group before it is acknowledged; none: no write waits for that.
    pub fn sync_replicas(&self, id: Id) -> Option<u32> {
        let leader = self.instances.get(&id)?.terms.sync_replicas;
        let all = self
            .members(id)
            .filter_map(|member| self.instances.get(&member));
        let said = all
            .map(|member| member.terms.sync_replicas)
            .filter(|n| *n > 0);
        // Replicas know it too, for any of them may lead. The fewer the safer.
        Some(leader).filter(|n| *n > 0).or_else(|| said.min())
    }

    /// A master and its replicas.
    pub(super) fn members(&self, id: Id) -> impl Iterator<Item = Id> {
        let replicas = self.masters.get(&id).map_or(&[][..], |m| &m.replicas);
        std::iter::once(id).chain(replicas.iter().copied())
    }

    /// How many servers must be fenced before anybody leads.
    fn needed(&self, id: Id) -> usize {
        let sync = self.sync_replicas(id).unwrap_or(0) as usize;
        self.members(id).count().saturating_sub(sync).max(1)
    }

    /// Whether a server obeys a later term than the configuration has, and has for long: a failover was given up, or nobody
    /// knows how it ended. Or the leader was started again and has lost what its replicas have. Then there is to be another.
    pub(super) fn is_stuck(&mut self, id: Id) -> bool {
        let now = self.now;
        let Some(master) = self
            .masters
            .get(&id)
            .filter(|_| self.sync_replicas(id).is_some())
        else {
            return false;
        };
        let ahead = self.members(id).any(|member| {
            let member = self.instances.get(&member);
            let ahead = |terms: &TermFacts| terms.term > master.config_epoch || terms.deserted;
            member.is_some_and(|member| ahead(&member.terms))
        });
        let patience = master.settings.failover_timeout;
        let Some(master) = self.masters.get_mut(&id) else {
            return false;
        };
        master.ahead_since = match ahead {
            true => Some(master.ahead_since.unwrap_or(now)),
            false => None,
        };
        master
            .ahead_since
            .is_some_and(|since| now - since > patience)
    }

    /// The epoch that orders to the servers of a group are given for. Nobody speaks for one in which another may be elected.
    pub(super) fn term_of(&self, id: Id) -> u64 {
        self.masters
            .get(&id)
            .map_or(0, |master| match master.failover.is_carried_out() {
                true => master.failover.epoch,
                false => master.config_epoch,
            })
    }

    /// Has all servers stand still, until enough do; then the one with most is to lead.
    pub(super) fn fence(&mut self, id: Id) {
        let Some(master) = self.masters.get(&id) else {
            return;
        };
        let (failover, timeout) = (master.failover, master.settings.failover_timeout);
        let (now, term) = (self.now, failover.epoch);
        let fenced = |member: &Id| {
            let member = self.instances.get(member);
            member.is_some_and(|member| member.is_fenced(term))
        };
        let hurries = failover.forced && !self.is_drained(id, fenced(&id));
        let members: Vec<Id> = self.members(id).collect();
        let (done, left): (Vec<Id>, Vec<Id>) = members.iter().partition(|member| fenced(member));
        // Who has lost what it acknowledged is no witness.
        let deserted = |member: &Id| {
            let member = self.instances.get(member);
            member.is_some_and(|member| member.terms.deserted)
        };
        let forgetful = done.iter().any(deserted);
        let done: Vec<Id> = done
            .into_iter()
            .filter(|member| !(forgetful && *member == id))
            .collect();
        let reachable = |member: &&Id| {
            let connected = self.link(**member).is_some_and(|link| !link.disconnected);
            connected
                && self
                    .instances
                    .get(member)
                    .is_some_and(|member| !member.s_down)
        };
        let left: Vec<Id> = left.iter().filter(reachable).copied().collect();
        let waits = !left.is_empty() && now - failover.changed_at < WAIT_FOR_MORE;
        if done.len() >= self.needed(id) && !waits && !hurries {
            return self.choose(id, &done);
        }
        if now - failover.changed_at > timeout {
            return self.abort(id, "-failover-abort-no-good-slave");
        }
        for member in left.into_iter().filter(|member| !hurries || *member == id) {
            self.tell_to_stand(member, term);
        }
    }

    /// When an operator wants another leader, the old one stands first, so that the replicas get everything. If it cannot be
    /// reached nobody waits for it.
    fn is_drained(&self, id: Id, stands: bool) -> bool {
        let Some(leader) = self.instances.get(&id) else {
            return true;
        };
        let since_told = self.now - leader.terms.told_at;
        match stands {
            true => since_told > CATCH_UP,
            false => leader.s_down || leader.terms.told_at > 0 && since_told > 2 * TELL_AGAIN,
        }
    }

    fn tell_to_stand(&mut self, id: Id, term: u64) {
        let now = self.now;
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        if now - instance.terms.told_at < TELL_AGAIN {
            return;
        }
        instance.terms.told_at = now;
        let term = term.to_string();
        let words: [&[&[u8]]; 4] = [
            &[b"MULTI"],
            &[b"REDKEEP", b"FENCE", term.as_bytes()],
            &[b"CONFIG", b"REWRITE"],
            &[b"EXEC"],
        ];
        // What it says behind that is what it was when it stood.
        let told = words.iter().all(|words| self.ask(id, Question::Any, words));
        if told && self.ask(id, Question::Info, &[b"INFO"]) {
            self.event_of(Level::Notice, "+fence-sent", id, &format!(" epoch {term}"));
        }
    }

    /// The one with most leads: the old leader if it is there and nobody wants it away, else a replica by its priority.
    fn choose(&mut self, id: Id, fenced: &[Id]) {
        let forced = self.masters.get(&id).is_some_and(|m| m.failover.forced);
        let all = || fenced.iter().filter_map(|id| self.instances.get(id));
        let most = all().map(Instance::has).max();
        let fit = all().filter(|one| Some(one.has()) == most);
        let fit = fit.filter(|one| one.kind == Kind::Master || one.replica.priority != 0);
        let best = fit.min_by_key(|one| {
            let is_old = one.kind == Kind::Master;
            (
                is_old == forced,
                one.replica.priority,
                Reverse(one.run_id.is_some()),
                one.run_id.clone(),
            )
        });
        let Some(best) = best.map(|best| best.id) else {
            return self.abort(id, "-failover-abort-no-good-slave");
        };
        self.is_to_lead(id, best);
    }

    /// Whether a group is failed over in this way, and the state in which that begins.
    pub(super) fn first_state(&self, id: Id) -> FailoverState {
        match self.sync_replicas(id) {
            Some(_) => FailoverState::Fence,
            None => FailoverState::SelectReplica,
        }
    }
}
