//! Which masters, replicas and sentinels there are.

use super::address::{Address, AddressError};
use super::instance::{FailoverState, Id, Instance, Kind, Master, Role, Vote};
use super::link::{Link, LinkId, Purpose};
use super::settings::MasterSettings;
use super::{Level, Order, Sentinel};
use crate::util::glob;

/// No master has more replicas, or other sentinels, that are watched: who says so lies.
const MOST_MEMBERS: usize = 4096;

/// Why a master is not watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MonitorError {
    /// There is one of this name.
    #[error("Duplicate master name.")]
    Duplicate,
    /// The quorum is no positive number.
    #[error("Quorum must be 1 or greater.")]
    Quorum,
    /// There is no such place.
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl Sentinel {
    /// Watches a master from now on.
    ///
    /// # Errors
    /// [`MonitorError`].
    pub fn monitor(
        &mut self,
        name: &str,
        host: &str,
        port: i64,
        quorum: i64,
    ) -> Result<Id, MonitorError> {
        let quorum = quorum_of(quorum)?;
        let address = self.address(host, port).map_err(|e| {
            // That there is no such host is told first.
            self.address(host, 0).err().unwrap_or(e)
        })?;
        self.monitor_at(name, address, quorum)
    }

    /// The same, as a configuration file has it: the name of a host that cannot be resolved now may be later.
    pub(super) fn monitor_unresolved(
        &mut self,
        name: &str,
        host: &str,
        port: i64,
        quorum: i64,
    ) -> Result<Id, MonitorError> {
        let quorum = quorum_of(quorum)?;
        let address = self.address_or_name(host, port)?;
        self.monitor_at(name, address, quorum)
    }

    fn monitor_at(
        &mut self,
        name: &str,
        address: Address,
        quorum: u32,
    ) -> Result<Id, MonitorError> {
        if self.find(name).is_some() {
            return Err(MonitorError::Duplicate);
        }
        let settings = MasterSettings::new(quorum, &self.settings.periods);
        let id = Id(self.number());
        self.add(id, Kind::Master, id, name.to_owned(), address);
        self.masters.insert(id, Master::new(id, settings));
        self.changed = true;
        Ok(id)
    }

    /// Tells that a master is watched: when that begins.
    pub fn announce(&mut self, id: Id) {
        let quorum = self.masters.get(&id).map_or(0, |m| m.settings.quorum);
        self.event_of(Level::Warning, "+monitor", id, &format!(" quorum {quorum}"));
    }

    /// Watches a master no more.
    pub fn remove(&mut self, id: Id) {
        self.event_of(Level::Warning, "-monitor", id, "");
        let Some(master) = self.masters.remove(&id) else {
            return;
        };
        for member in master.replicas.into_iter().chain(master.sentinels) {
            self.forget(member);
        }
        self.forget(id);
        self.changed = true;
    }

    /// Forgets everything about the masters whose names match a pattern, but where they are and what is set for them: how many there
    /// were.
    pub fn reset(&mut self, pattern: &[u8]) -> usize {
        let matching: Vec<Id> = self
            .masters
            .keys()
            .copied()
            .filter(|id| {
                let name = self.instances.get(id).map(|i| i.name.as_bytes());
                name.is_some_and(|name| glob::matches(pattern, name, false))
            })
            .collect();
        for &id in &matching {
            self.reset_master(id, false);
            self.event_of(Level::Warning, "+reset-master", id, "");
        }
        self.changed |= !matching.is_empty();
        matching.len()
    }

    /// An address that must be one.
    pub(super) fn address(&self, host: &str, port: i64) -> Result<Address, AddressError> {
        Address::new(host, port, self.settings.naming, &*self.names, false)
    }

    /// The same, of an instance that may have no address at the moment.
    pub(super) fn address_or_name(&self, host: &str, port: i64) -> Result<Address, AddressError> {
        Address::new(host, port, self.settings.naming, &*self.names, true)
    }

    fn add(&mut self, id: Id, kind: Kind, master: Id, name: String, address: Address) {
        let link = LinkId(self.number());
        self.links.insert(link, Link::new(self.now));
        let instance = Instance::new(id, kind, master, name, address, link, self.now);
        self.instances.insert(id, instance);
    }

    /// Adds a replica of a master: none if there is one at this address, or there is no such place.
    pub(crate) fn add_replica(&mut self, master: Id, host: &str, port: i64) -> Option<Id> {
        let address = self.address_or_name(host, port).ok()?;
        let name = replica_name(&address, self.settings.naming);
        let group = self.masters.get(&master)?;
        if group.replicas.len() >= MOST_MEMBERS {
            return None;
        }
        let is_there = group.replicas.iter().any(|id| {
            let known = self.instances.get(id);
            known.is_some_and(|known| known.name == name || known.address.is(&address))
        });
        if is_there {
            return None;
        }
        let id = Id(self.number());
        self.add(id, Kind::Replica, master, name, address);
        self.masters.get_mut(&master)?.replicas.push(id);
        self.changed = true;
        Some(id)
    }

    /// Adds another sentinel that watches a master: none if there is one with this run id, or there is no such place.
    pub(crate) fn add_sentinel(
        &mut self,
        master: Id,
        host: &str,
        port: i64,
        run_id: &str,
    ) -> Option<Id> {
        let address = self.address_or_name(host, port).ok()?;
        let group = self.masters.get(&master)?;
        let known = group
            .sentinels
            .iter()
            .filter_map(|id| self.instances.get(id));
        if group.sentinels.len() >= MOST_MEMBERS || known.into_iter().any(|i| i.name == run_id) {
            return None;
        }
        let id = Id(self.number());
        self.add(id, Kind::Sentinel, master, run_id.to_owned(), address);
        self.instances.get_mut(&id)?.run_id = Some(run_id.to_owned());
        self.masters.get_mut(&master)?.sentinels.push(id);
        self.share_link(id);
        self.changed = true;
        Some(id)
    }

    /// The sentinel of a master with this run id.
    pub(super) fn sentinel_of(&self, master: Id, run_id: &str) -> Option<&Instance> {
        let ids = &self.masters.get(&master)?.sentinels;
        let mut known = ids.iter().filter_map(|id| self.instances.get(id));
        known.find(|instance| instance.run_id.as_deref() == Some(run_id))
    }

    /// Who is one sentinel for several masters has one link.
    fn share_link(&mut self, id: Id) {
        let Some(one) = self.instances.get(&id) else {
            return;
        };
        let other = self.instances.values().find(|other| {
            other.kind == Kind::Sentinel && other.master != one.master && other.run_id == one.run_id
        });
        let Some(shared) = other.map(|other| other.link) else {
            return;
        };
        let own = one.link;
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.link = shared;
        }
        self.close_link(own);
        self.links.remove(&own);
    }

    /// An instance is of no interest any more.
    pub(super) fn forget(&mut self, id: Id) {
        let Some(instance) = self.instances.remove(&id) else {
            return;
        };
        let link = instance.link;
        if !self.instances.values().any(|other| other.link == link) {
            self.close_link(link);
            self.links.remove(&link);
        }
        if let Some(master) = self.masters.get_mut(&instance.master) {
            master.replicas.retain(|&other| other != id);
            master.sentinels.retain(|&other| other != id);
            if master.failover.promoted == Some(id) {
                master.failover.promoted = None;
            }
        }
    }

    /// Ends one connection of a link.
    pub(super) fn close(&mut self, link: LinkId, purpose: Purpose) {
        let closed = self
            .links
            .get_mut(&link)
            .and_then(|link| link.close(purpose));
        if let Some(socket) = closed {
            self.sockets.remove(&socket);
            self.orders.push(Order::Close { socket });
            self.forget_questions(link, purpose);
        }
    }

    /// Ends all connections of a link.
    pub(super) fn close_link(&mut self, link: LinkId) {
        self.close(link, Purpose::Commands);
        self.close(link, Purpose::Hello);
    }

    /// Nothing that was asked on a link will be answered.
    pub(super) fn forget_questions(&mut self, link: LinkId, purpose: Purpose) {
        if purpose == Purpose::Commands {
            for instance in self.instances.values_mut().filter(|i| i.link == link) {
                instance.info_asked = false;
                instance.hello_going = false;
            }
        }
    }

    /// Ends the connections to other sentinels, to be made anew: with other credentials, say.
    pub fn drop_sentinel_links(&mut self) {
        let of_sentinels = self.instances.values().filter(|i| i.kind == Kind::Sentinel);
        let links: Vec<LinkId> = of_sentinels.map(|i| i.link).collect();
        links.into_iter().for_each(|link| self.close_link(link));
    }

    /// Ends the connections to a master and its replicas, to be made anew.
    pub fn drop_links(&mut self, id: Id) {
        let Some(master) = self.masters.get(&id) else {
            return;
        };
        let servers = master.replicas.iter().chain([&id]);
        let links = servers.filter_map(|id| Some(self.instances.get(id)?.link));
        for link in links.collect::<Vec<_>>() {
            self.close_link(link);
        }
    }

    /// Forgets the replicas of a master and what is known of itself; the other sentinels too unless these are kept.
    fn reset_master(&mut self, id: Id, keep_sentinels: bool) {
        let Some(master) = self.masters.get_mut(&id) else {
            return;
        };
        let mut members = std::mem::take(&mut master.replicas);
        if !keep_sentinels {
            members.append(&mut master.sentinels);
        }
        master.vote = None;
        master.failover.state = FailoverState::None;
        master.failover.changed_at = 0;
        master.failover.started_at = 0;
        master.failover.forced = false;
        master.failover.promoted = None;
        master.ahead_since = None;
        members.into_iter().for_each(|member| self.forget(member));
        let now = self.now;
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        instance.run_id = None;
        instance.s_down = false;
        instance.o_down = false;
        instance.script_kill_sent = false;
        instance.rebooted_at = None;
        instance.role = Role::Master;
        instance.role_since = now;
        instance.replica.master_host = None;
        instance.replica.promoted = false;
        instance.replica.reconfiguration = super::Reconfiguration::None;
        instance.terms.told_at = 0;
        let link = instance.link;
        self.close_link(link);
        if let Some(link) = self.links.get_mut(&link) {
            link.waits_since = Some(now);
            link.pinged_at = 0;
            link.available_at = now;
            link.answered_at = now;
            // Redis waits with this address because it has just tried another one, so that with a short
            // `down-after-milliseconds` a new leader is down before it was asked for the first time.
            link.tried_at = 0;
        }
    }

    /// The leader of a group is another one from now on: what led before is a replica of it, as are the other replicas.
    pub(super) fn switch(&mut self, id: Id, to: &Address) {
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        let old = std::mem::replace(&mut instance.address, to.clone());
        instance.s_down_since = 0;
        instance.o_down_since = 0;
        let replicas = self.masters.get(&id).map_or(&[][..], |m| &m.replicas);
        let replicas = replicas.iter().filter_map(|id| self.instances.get(id));
        let mut addresses: Vec<Address> = replicas.map(|replica| replica.address.clone()).collect();
        addresses.push(old);
        addresses.retain(|address| !address.is(to));
        self.reset_master(id, true);
        for address in addresses {
            if let Some(replica) = self.add_replica(id, &address.host, address.port.into()) {
                self.event_of(Level::Notice, "+slave", replica, "");
            }
        }
        self.changed = true;
    }

    /// What was known of a master when its configuration was written: `config-epoch`, `leader-epoch`.
    pub fn remember_epochs(&mut self, id: Id, config: Option<u64>, vote: Option<u64>) {
        if let Some(master) = self.masters.get_mut(&id) {
            master.config_epoch = config.unwrap_or(master.config_epoch);
            master.vote_epoch = vote.unwrap_or(master.vote_epoch);
            self.epoch = self.epoch.max(master.config_epoch).max(master.vote_epoch);
        }
    }

    /// A vote is cast: the only place where that is done.
    pub(super) fn cast(&mut self, id: Id, vote: Vote) {
        if let Some(master) = self.masters.get_mut(&id) {
            master.vote_epoch = vote.epoch;
            master.vote = Some(vote);
            self.changed = true;
        }
    }
}

fn quorum_of(number: i64) -> Result<u32, MonitorError> {
    let quorum = u32::try_from(number).ok().filter(|&quorum| quorum > 0);
    quorum.ok_or(MonitorError::Quorum)
}

/// A replica goes by its address.
fn replica_name(address: &Address, naming: super::Naming) -> String {
    let host = address.told(naming);
    match host.contains(':') {
        true => format!("[{host}]:{}", address.port),
        false => format!("{host}:{}", address.port),
    }
}
