//! From the election to the new leader.
//!
//! ```text
//! WaitStart      until this sentinel is elected
//! Fence          in groups with `sync-replicas`: see `fence`
//! SelectReplica  the best one is chosen
//! SendNoOne      it is told to lead
//! WaitPromotion  until its INFO says that it does: from here on there is a new configuration
//! Reconfigure    the others are told to follow it, some at a time
//! UpdateConfig   it takes the place of the old one, which is a replica of it from now on
//! ```

use super::election::LAST_EPOCH;
use super::instance::{Failover, FailoverState, Id, Instance, Reconfiguration};
use super::link::Question;
use super::{Address, Level, Order, Sentinel};

/// A failover begins at a time that is up to so many milliseconds later than decided, for different sentinels at different
/// times.
const DESYNC: u64 = 1000;

/// Why a failover is not forced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ForceError {
    /// There is one already.
    #[error("INPROG Failover already in progress")]
    InProgress,
    /// No replica is fit to lead.
    #[error("NOGOODSLAVE No suitable replica to promote")]
    NoReplica,
}

impl Sentinel {
    /// Fails a master over though it is up, and without asking the other sentinels.
    ///
    /// # Errors
    /// [`ForceError`].
    pub fn force_failover(&mut self, id: Id) -> Result<(), ForceError> {
        if self.masters.get(&id).is_some_and(|m| m.failover.is_going()) {
            return Err(ForceError::InProgress);
        }
        if self.select(id).is_none() {
            return Err(ForceError::NoReplica);
        }
        self.note(
            Level::Warning,
            format!("Executing user requested FAILOVER of '{}'", self.name(id)),
        );
        self.start_failover(id);
        if let Some(master) = self.masters.get_mut(&id) {
            master.failover.forced = true;
        }
        Ok(())
    }

    fn name(&self, id: Id) -> &str {
        self.instances
            .get(&id)
            .map_or("", |instance| &instance.name)
    }

    /// Begins a failover if the master is down and none was tried lately: whether it has.
    pub(super) fn start_failover_if_needed(&mut self, id: Id) -> bool {
        let o_down = self.instances.get(&id).is_some_and(|i| i.o_down) || self.is_stuck(id);
        let now = self.now;
        let Some(master) = self.masters.get_mut(&id).filter(|_| o_down) else {
            return false;
        };
        let failover = &mut master.failover;
        if failover.is_going() {
            return false;
        }
        let not_before = failover.started_at + 2 * master.settings.failover_timeout;
        if now < not_before {
            if std::mem::replace(&mut failover.delay_told_for, failover.started_at)
                != failover.started_at
            {
                let seconds = (not_before - now + 999) / 1000;
                let text = format!(
                    "Next failover delay: I will not start a failover before {seconds} seconds have passed"
                );
                self.note(Level::Notice, text);
            }
            return false;
        }
        self.start_failover(id);
        true
    }

    fn start_failover(&mut self, id: Id) {
        // Whoever says that it is the last one brings failovers to an end, and nothing else.
        self.epoch = (self.epoch + 1).min(LAST_EPOCH);
        self.changed = true;
        let later = i64::try_from(self.rng.below(DESYNC)).unwrap_or(0);
        let (now, epoch) = (self.now, self.epoch);
        if let Some(master) = self.masters.get_mut(&id) {
            master.failover = Failover {
                state: FailoverState::WaitStart,
                changed_at: now,
                started_at: now + later,
                epoch,
                forced: false,
                promoted: None,
                delay_told_for: master.failover.delay_told_for,
            };
        }
        for member in self.members(id).collect::<Vec<_>>() {
            if let Some(member) = self.instances.get_mut(&member) {
                member.terms.told_at = 0;
            }
        }
        self.event(Level::Warning, "+new-epoch", Some(id), epoch.to_string());
        self.event_of(Level::Warning, "+try-failover", id, "");
    }

    /// Goes on with a failover, if there is one.
    pub(super) fn go_on_with_failover(&mut self, id: Id) {
        let state = self.masters.get(&id).map(|master| master.failover.state);
        match state {
            Some(FailoverState::WaitStart) => self.wait_for_election(id),
            Some(FailoverState::Fence) => self.fence(id),
            Some(FailoverState::SelectReplica) => self.select_replica(id),
            Some(FailoverState::SendNoOne) => self.tell_to_lead(id),
            Some(FailoverState::WaitPromotion) => self.wait_for_promotion(id),
            Some(FailoverState::Reconfigure) => self.reconfigure_next(id),
            Some(FailoverState::None | FailoverState::UpdateConfig) | None => {}
        }
    }

    fn set_state(&mut self, id: Id, state: FailoverState) {
        let now = self.now;
        if let Some(master) = self.masters.get_mut(&id) {
            master.failover.state = state;
            master.failover.changed_at = now;
        }
    }

    pub(super) fn abort(&mut self, id: Id, event: &'static str) {
        self.event_of(Level::Warning, event, id, "");
        let promoted = self.masters.get_mut(&id).and_then(|master| {
            master.failover.forced = false;
            master.failover.promoted.take()
        });
        if let Some(replica) = promoted.and_then(|id| self.instances.get_mut(&id)) {
            replica.replica.promoted = false;
        }
        self.set_state(id, FailoverState::None);
    }

    fn wait_for_election(&mut self, id: Id) {
        let Some(master) = self.masters.get(&id) else {
            return;
        };
        let (failover, timeout) = (master.failover, master.settings.failover_timeout);
        let leader = self.elected(id, failover.epoch);
        // Where a term must have one leader an operator's wish does not do without an election.
        let elected = leader.as_deref() == Some(&self.settings.my_id);
        let forced = failover.forced && self.sync_replicas(id).is_none();
        if !forced && !elected {
            let patience = self.settings.periods.election.min(timeout);
            if self.now - failover.started_at > patience {
                self.abort(id, "-failover-abort-not-elected");
            }
            return;
        }
        self.event_of(Level::Warning, "+elected-leader", id, "");
        if self.simulated.after_election {
            self.orders.push(Order::Crash);
        }
        let next = self.first_state(id);
        self.set_state(id, next);
        let event = match next {
            FailoverState::Fence => "+failover-state-fence",
            _ => "+failover-state-select-slave",
        };
        self.event_of(Level::Warning, event, id, "");
    }

    fn select_replica(&mut self, id: Id) {
        let Some(replica) = self.select(id) else {
            return self.abort(id, "-failover-abort-no-good-slave");
        };
        self.is_to_lead(id, replica);
    }

    /// It is known who is to lead.
    pub(super) fn is_to_lead(&mut self, id: Id, replica: Id) {
        self.event_of(Level::Warning, "+selected-slave", replica, "");
        if let Some(instance) = self.instances.get_mut(&replica) {
            instance.replica.promoted = true;
        }
        if let Some(master) = self.masters.get_mut(&id) {
            master.failover.promoted = Some(replica);
        }
        self.set_state(id, FailoverState::SendNoOne);
        self.event_of(
            Level::Notice,
            "+failover-state-send-slaveof-noone",
            replica,
            "",
        );
    }

    /// The replica that is fittest to lead: of those that answer, know how they stand and were not long without the
    /// master, the one with the lowest priority, the most of the stream, the lowest run id.
    fn select(&self, id: Id) -> Option<Id> {
        let (now, periods) = (self.now, &self.settings.periods);
        let (master, leader) = (self.masters.get(&id)?, self.instances.get(&id)?);
        let down_for = match leader.s_down {
            true => now - leader.s_down_since,
            false => 0,
        };
        let longest = down_for.saturating_add(master.settings.down_after.saturating_mul(10));
        let info_age = match leader.s_down {
            true => 5 * periods.ping,
            false => 3 * periods.info,
        };
        let is_fit = |replica: &&Instance| {
            let link = self.links.get(&replica.link);
            !replica.s_down
                && link.is_some_and(|link| {
                    !link.disconnected && now - link.available_at <= 5 * periods.ping
                })
                && replica.replica.priority != 0
                && now - replica.info_at <= info_age
                && replica.replica.link_down_for <= longest
        };
        let replicas = master
            .replicas
            .iter()
            .filter_map(|id| self.instances.get(id));
        let best = replicas.filter(is_fit).min_by_key(|replica| {
            let run_id = replica.run_id.as_ref().map(|id| id.to_ascii_lowercase());
            let most = std::cmp::Reverse(replica.replica.offset);
            // Who has no run id comes last.
            (replica.replica.priority, most, run_id.is_none(), run_id)
        });
        best.map(|replica| replica.id)
    }

    fn tell_to_lead(&mut self, id: Id) {
        let Some(master) = self.masters.get(&id) else {
            return;
        };
        let is_late = self.now - master.failover.changed_at > master.settings.failover_timeout;
        let Some(replica) = master.failover.promoted else {
            return self.abort(id, "-failover-abort-slave-timeout");
        };
        let connected = self.link(replica).is_some_and(|link| !link.disconnected);
        if !connected || !self.send_replica_of(replica, None) {
            if is_late {
                self.abort(id, "-failover-abort-slave-timeout");
            }
            return;
        }
        // It may say so at once.
        self.ask(replica, Question::Info, &[b"INFO"]);
        self.event_of(Level::Notice, "+failover-state-wait-promotion", replica, "");
        self.set_state(id, FailoverState::WaitPromotion);
    }

    /// Its next INFO tells whether it leads.
    fn wait_for_promotion(&mut self, id: Id) {
        let Some(master) = self.masters.get(&id) else {
            return;
        };
        let is_late = self.now - master.failover.changed_at > master.settings.failover_timeout;
        if is_late || master.failover.promoted.is_none() {
            self.abort(id, "-failover-abort-slave-timeout");
        }
    }

    /// The replica that was told to lead says that it does: from now on that is the configuration.
    pub(super) fn replica_was_promoted(&mut self, replica: Id) {
        let Some(id) = self.instances.get(&replica).map(|i| i.master) else {
            return;
        };
        if let Some(master) = self.masters.get_mut(&id) {
            master.config_epoch = master.failover.epoch;
        }
        self.changed = true;
        self.set_state(id, FailoverState::Reconfigure);
        self.event_of(Level::Warning, "+promoted-slave", replica, "");
        if self.simulated.after_promotion {
            self.orders.push(Order::Crash);
        }
        self.event_of(Level::Warning, "+failover-state-reconf-slaves", id, "");
        let address = |id: Id| Some(self.instances.get(&id)?.address.clone());
        if let (Some(old), Some(new)) = (address(id), address(replica)) {
            self.call_reconfig_script(id, "leader", &old, &new);
        }
        self.hurry_hellos(id);
    }

    /// Tells some more replicas to follow the new leader, and looks whether all do.
    fn reconfigure_next(&mut self, id: Id) {
        let Some(master) = self.masters.get(&id) else {
            return;
        };
        let Some(promoted) = master.failover.promoted else {
            return;
        };
        let most = master.settings.parallel_syncs as usize;
        let replicas = master.replicas.clone();
        let stands = |sentinel: &Sentinel, id: &Id| {
            let replica = sentinel.instances.get(id).map(|i| &i.replica);
            replica.map_or(Reconfiguration::None, |replica| replica.reconfiguration)
        };
        let goes =
            |r: Reconfiguration| matches!(r, Reconfiguration::Sent | Reconfiguration::InProgress);
        replicas
            .iter()
            .for_each(|replica| self.give_up_slow(*replica));
        let mut going = replicas.iter().filter(|id| goes(stands(self, id))).count();
        for replica in replicas {
            if going >= most {
                break;
            }
            let connected = self.link(replica).is_some_and(|link| !link.disconnected);
            let to_be_told = stands(self, &replica) == Reconfiguration::None;
            if replica != promoted
                && to_be_told
                && connected
                && self.send_replica_of(replica, Some(promoted))
            {
                self.was_told(replica, "+slave-reconf-sent");
                going += 1;
            }
        }
        self.look_for_end(id);
    }

    fn was_told(&mut self, replica: Id, event: &'static str) {
        let now = self.now;
        if let Some(instance) = self.instances.get_mut(&replica) {
            instance.replica.reconfiguration = Reconfiguration::Sent;
            instance.replica.told_at = now;
        }
        self.event_of(Level::Notice, event, replica, "");
    }

    /// Nobody waits for a replica that does not do as it was told: it will be put right later.
    fn give_up_slow(&mut self, id: Id) {
        let (now, patience) = (self.now, self.settings.periods.reconfigured);
        let is_slow = self.instances.get(&id).is_some_and(|instance| {
            instance.replica.reconfiguration == Reconfiguration::Sent
                && now - instance.replica.told_at > patience
        });
        if is_slow {
            self.event_of(Level::Notice, "-slave-reconf-sent-timeout", id, "");
            self.set_reconfiguration(id, Reconfiguration::Done);
        }
    }

    /// The failover is over when all replicas that are up follow the new leader, or its time is.
    fn look_for_end(&mut self, id: Id) {
        let Some(master) = self.masters.get(&id) else {
            return;
        };
        let failover = master.failover;
        let leads = failover.promoted.and_then(|id| self.instances.get(&id));
        if leads.is_none_or(|leads| leads.s_down) {
            return;
        }
        let is_late = self.now - failover.changed_at > master.settings.failover_timeout;
        let replicas: Vec<Id> = master.replicas.clone();
        let missing = |id: &&Id| {
            self.instances.get(id).is_some_and(|replica| {
                let done = replica.replica.reconfiguration == Reconfiguration::Done;
                !replica.replica.promoted && !done && !replica.s_down
            })
        };
        if replicas.iter().any(|id| missing(&id)) && !is_late {
            return;
        }
        if is_late {
            self.event_of(Level::Warning, "+failover-end-for-timeout", id, "");
        }
        self.event_of(Level::Warning, "+failover-end", id, "");
        self.set_state(id, FailoverState::UpdateConfig);
        for replica in replicas.into_iter().filter(|_| is_late) {
            self.tell_once_more(replica, failover.promoted);
        }
    }

    /// Who was not yet told is told now: best effort.
    fn tell_once_more(&mut self, replica: Id, promoted: Option<Id>) {
        let untold = self.instances.get(&replica).is_some_and(|instance| {
            let facts = &instance.replica;
            !facts.promoted && facts.reconfiguration == Reconfiguration::None
        });
        let connected = self.link(replica).is_some_and(|link| !link.disconnected);
        if untold && connected && promoted.is_some() && self.send_replica_of(replica, promoted) {
            self.was_told(replica, "+slave-reconf-sent-be");
        }
    }

    /// The new leader takes the place of the old one, if a failover has come that far.
    pub(super) fn end_failover(&mut self, id: Id) {
        let Some(master) = self.masters.get(&id) else {
            return;
        };
        if master.failover.state != FailoverState::UpdateConfig {
            return;
        }
        let address = |id: Id| Some(self.instances.get(&id)?.address.clone());
        let leads = master.failover.promoted.unwrap_or(id);
        if let (Some(old), Some(new)) = (address(id), address(leads)) {
            if leads == id {
                // It leads again.
                return self.switch(id, &new);
            }
            let host = new.told(self.settings.naming).to_owned();
            self.tell_switch(id, &old, &host, new.port);
            self.switch(id, &new);
        }
    }

    /// Has a server follow an instance, or lead, write that into its configuration and part with its clients, so that these ask anew
    /// who leads: in one transaction. Whether that could be sent.
    pub(super) fn send_replica_of(&mut self, id: Id, leader: Option<Id>) -> bool {
        let address = leader.and_then(|leader| Some(self.instances.get(&leader)?.address.clone()));
        let (host, port) = match &address {
            Some(Address { port, .. }) => (
                address
                    .as_ref()
                    .map_or("", |a| a.told(self.settings.naming)),
                port.to_string(),
            ),
            None if leader.is_some() => return false,
            None => ("NO", "ONE".to_owned()),
        };
        let group = self
            .instances
            .get(&id)
            .map_or(id, |instance| instance.master);
        let term = self.term_of(group).to_string();
        let ordinary: &[&[u8]] = &[b"SLAVEOF", host.as_bytes(), port.as_bytes()];
        let in_term: &[&[u8]] = &[
            b"REDKEEP",
            b"FOLLOW",
            term.as_bytes(),
            host.as_bytes(),
            port.as_bytes(),
        ];
        let follow = match self.sync_replicas(group) {
            Some(_) => in_term,
            None => ordinary,
        };
        let words: [&[&[u8]]; 6] = [
            &[b"MULTI"],
            follow,
            &[b"CONFIG", b"REWRITE"],
            &[b"CLIENT", b"KILL", b"TYPE", b"normal"],
            &[b"CLIENT", b"KILL", b"TYPE", b"pubsub"],
            &[b"EXEC"],
        ];
        words.iter().all(|words| self.ask(id, Question::Any, words))
    }
}
