//! Which sentinel is to fail a master over: each asks the others, and each votes once per epoch.

use std::collections::BTreeMap;

use super::instance::{Id, Opinion, Vote};
use super::link::Question;
use super::{Level, Sentinel};
use crate::resp::Value;

/// How long after a vote for another this sentinel waits at most before it goes by that.
const DESYNC: u64 = 1000;

/// There is no later epoch: sentinels could not tell each other of it.
pub(super) const LAST_EPOCH: u64 = i64::MAX as u64;

/// What this sentinel answers to another that asks whether a master is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// It is, as far as this one can tell.
    pub down: bool,
    /// Whom this one votes for; none: it was not asked, or does not know any more.
    pub vote: Option<Vote>,
}

impl Sentinel {
    /// Answers whether the master at this place is down, and votes if `candidate` wants to be elected in `epoch`.
    pub fn is_master_down(
        &mut self,
        host: &str,
        port: u16,
        epoch: u64,
        candidate: Option<&str>,
    ) -> Answer {
        let found = self.masters.keys().find(|id| {
            let known = self.instances.get(id).map(|i| &i.address);
            known.is_some_and(|address| address.port == port && address.is_at(host))
        });
        let Some(id) = found.copied() else {
            return Answer {
                down: false,
                vote: None,
            };
        };
        let s_down = self.instances.get(&id).is_some_and(|i| i.s_down);
        let vote = candidate.and_then(|candidate| self.vote(id, epoch, candidate));
        Answer {
            down: s_down && self.tilt_since.is_none(),
            vote,
        }
    }

    /// Asks the other sentinels whether a master is down, and for their votes if there is a failover: those that have not
    /// said so for a while, or all.
    pub(super) fn ask_others(&mut self, id: Id, at_once: bool) {
        let (Some(master), Some(instance)) = (self.masters.get(&id), self.instances.get(&id))
        else {
            return;
        };
        let (now, period) = (self.now, self.settings.periods.ask);
        let address = &instance.address;
        let host = address.told(self.settings.naming).to_owned();
        let port = address.port.to_string();
        // Redis asks for votes in the epoch that it knows by now. They count for nothing that was begun in an earlier one.
        let (candidate, epoch) = match master.failover.is_going() {
            true => (self.settings.my_id.clone(), master.failover.epoch),
            false => ("*".to_owned(), self.epoch),
        };
        let epoch = epoch.to_string();
        // A failover that an operator wants, or that is to mend another, needs votes as well.
        let wants =
            instance.s_down || master.failover.is_going() && self.sync_replicas(id).is_some();
        for other in master.sentinels.clone() {
            let Some(opinion) = self.instances.get_mut(&other).map(|i| &mut i.opinion) else {
                continue;
            };
            let silent_for = now - opinion.answered_at;
            if silent_for > 5 * period {
                opinion.down = false;
                opinion.vote = None;
            }
            let connected = self.link(other).is_some_and(|link| !link.disconnected);
            if !wants || !connected || !at_once && silent_for < period {
                continue;
            }
            let words = [
                "SENTINEL",
                "is-master-down-by-addr",
                &host,
                &port,
                &epoch,
                &candidate,
            ];
            self.ask(other, Question::IsMasterDown, &words.map(str::as_bytes));
        }
    }

    /// Another sentinel has answered.
    pub(super) fn answer_came(&mut self, id: Id, reply: &Value) {
        let Some([Value::Int(down), leader, Value::Int(epoch)]) = reply.as_array() else {
            return;
        };
        let (Some(leader), Ok(epoch)) = (leader.as_bytes(), u64::try_from(*epoch)) else {
            return;
        };
        let now = self.now;
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        let Opinion { vote, .. } = &mut instance.opinion;
        let mut said = None;
        if leader != b"*" {
            let leader = String::from_utf8_lossy(leader).into_owned();
            if vote.as_ref().map_or(0, |vote| vote.epoch) != epoch {
                said = Some(format!("{} voted for {leader} {epoch}", instance.name));
            }
            *vote = Some(Vote { leader, epoch });
        }
        instance.opinion.answered_at = now;
        instance.opinion.down = *down == 1;
        if let Some(said) = said {
            self.note(Level::Notice, said);
        }
    }

    /// Votes, if this sentinel has not in this epoch or a later one: gives the vote that stands.
    fn vote(&mut self, id: Id, epoch: u64, candidate: &str) -> Option<Vote> {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.changed = true;
            self.event(Level::Warning, "+new-epoch", Some(id), epoch.to_string());
        }
        let master = self.masters.get(&id)?;
        if master.vote_epoch < epoch && self.epoch <= epoch {
            let leader = candidate.to_owned();
            let text = format!("{leader} {epoch}");
            let own = leader.eq_ignore_ascii_case(&self.settings.my_id);
            self.cast(id, Vote { leader, epoch });
            self.event(Level::Warning, "+vote-for-leader", Some(id), text);
            if !own {
                // The other one has its time to fail over.
                let soon = self.now + i64::try_from(self.rng.below(DESYNC)).unwrap_or(0);
                self.masters.get_mut(&id)?.failover.started_at = soon;
            }
        }
        self.masters.get(&id)?.vote.clone()
    }

    /// Who is elected in an epoch: by a majority of all sentinels that are known, and not fewer than the quorum. This
    /// one votes, if it has not: for whom most others did, or for itself.
    pub(super) fn elected(&mut self, id: Id, epoch: u64) -> Option<String> {
        let master = self.masters.get(&id)?;
        let others = master
            .sentinels
            .iter()
            .filter_map(|id| self.instances.get(id));
        let mut votes: BTreeMap<String, usize> = BTreeMap::new();
        for vote in others.filter_map(|other| other.opinion.vote.as_ref()) {
            if vote.epoch == epoch {
                *votes.entry(vote.leader.clone()).or_default() += 1;
            }
        }
        let most = votes.iter().max_by_key(|(_, count)| **count);
        let candidate = most.map_or_else(|| self.settings.my_id.clone(), |(name, _)| name.clone());
        if let Some(own) = self.vote(id, epoch, &candidate)
            && own.epoch == epoch
        {
            *votes.entry(own.leader).or_default() += 1;
        }
        let master = self.masters.get(&id)?;
        let needed = master.majority().max(master.settings.quorum as usize);
        let (winner, count) = votes.into_iter().max_by_key(|(_, count)| *count)?;
        (count >= needed).then_some(winner)
    }
}
