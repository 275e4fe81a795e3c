//! How sentinels find each other, and spread what they have decided: messages that each publishes with every server, and
//! every other sentinel, that it watches.
//!
//! ```text
//! ip,port,run id,current epoch,name of the master,its ip,its port,its configuration epoch
//! ```

use super::election::LAST_EPOCH;
use super::instance::{FailoverState, Id};
use super::link::Question;
use super::{Address, Level, Sentinel};
use crate::resp::Value;
use crate::util::num;

/// The channel that hellos are published in.
pub const CHANNEL: &str = "__sentinel__:hello";

/// No run id is longer.
const LONGEST_ID: usize = 64;

/// A hello.
#[derive(Debug)]
struct Hello<'a> {
    ip: &'a str,
    port: i64,
    run_id: &'a str,
    epoch: u64,
    name: &'a str,
    master_ip: &'a str,
    master_port: i64,
    config_epoch: u64,
}

impl<'a> Hello<'a> {
    /// None: it is not one.
    fn read(text: &'a str) -> Option<Hello<'a>> {
        let fields: Vec<&str> = text.splitn(9, ',').collect();
        let &[
            ip,
            port,
            run_id,
            epoch,
            name,
            master_ip,
            master_port,
            config_epoch,
        ] = &fields[..]
        else {
            return None;
        };
        let number = |text: &str| num::parse_i64(text.as_bytes());
        let epoch_of =
            |text: &str| num::parse_u64(text.as_bytes()).filter(|epoch| *epoch <= LAST_EPOCH);
        let is_id = !run_id.is_empty() && run_id.len() <= LONGEST_ID;
        let is_id = is_id && run_id.bytes().all(|b| b.is_ascii_graphic());
        is_id.then_some(Hello {
            ip,
            port: number(port)?,
            run_id,
            epoch: epoch_of(epoch)?,
            name,
            master_ip,
            master_port: number(master_port)?,
            config_epoch: epoch_of(config_epoch)?,
        })
    }
}

impl Sentinel {
    /// Sends a hello to an instance, if the connection is there.
    pub(super) fn send_hello(&mut self, id: Id) {
        let (Some(instance), Some(link)) = (self.instances.get(&id), self.link(id)) else {
            return;
        };
        let Some(group) = self.masters.get(&instance.master) else {
            return;
        };
        let (Some(leader), Some(master)) = (
            self.current_address(group.id),
            self.instances.get(&group.id),
        ) else {
            return;
        };
        let own = &self.settings;
        let local = link.commands.as_ref().and_then(|s| s.local_ip.as_deref());
        let ip = match own.announce_ip.as_str() {
            "" => local,
            announced => Some(announced),
        };
        let Some(ip) = ip.filter(|_| !link.disconnected) else {
            return;
        };
        let port = match own.announce_port {
            0 => own.port,
            announced => announced,
        };
        let hello = format!(
            "{ip},{port},{},{},{},{},{},{}",
            own.my_id,
            self.epoch,
            master.name,
            leader.told(own.naming),
            leader.port,
            group.config_epoch
        );
        let sent = self.ask(
            id,
            Question::Publish,
            &[b"PUBLISH", CHANNEL.as_bytes(), hello.as_bytes()],
        );
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.hello_going = sent;
        }
    }

    /// Where the leader of a group is: as soon as a new one is known to lead, that is it.
    pub fn current_address(&self, id: Id) -> Option<&Address> {
        let master = self.masters.get(&id)?;
        let promoted = master.failover.promoted;
        let promoted = promoted.filter(|_| master.failover.state >= FailoverState::Reconfigure);
        let leads = promoted.unwrap_or(id);
        self.instances.get(&leads).map(|instance| &instance.address)
    }

    pub(super) fn hello_came_through(&mut self, id: Id, reply: &Value) {
        let now = self.now;
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.hello_going = false;
            if !reply.is_error() {
                instance.hello_sent_at = now;
            }
        }
    }

    /// Everybody hears of what has changed as soon as possible.
    pub(super) fn hurry_hellos(&mut self, id: Id) {
        let Some(master) = self.masters.get(&id) else {
            return;
        };
        let due = self.now - self.settings.periods.publish - 1;
        let all = master.replicas.iter().chain(&master.sentinels).chain([&id]);
        for id in all.copied().collect::<Vec<_>>() {
            if let Some(instance) = self.instances.get_mut(&id) {
                instance.hello_sent_at = instance.hello_sent_at.min(due);
            }
        }
    }

    /// A hello has come: by a server, or from another sentinel directly.
    pub fn hear_hello(&mut self, message: &[u8]) {
        let Some(hello) = std::str::from_utf8(message).ok().and_then(Hello::read) else {
            return;
        };
        // One hears oneself.
        if hello.run_id == self.settings.my_id {
            return;
        }
        let Some(master) = self.find(hello.name).map(|master| master.id) else {
            return;
        };
        let from = self.note_sentinel(master, &hello);
        if hello.epoch > self.epoch {
            self.epoch = hello.epoch;
            self.changed = true;
            self.event(
                Level::Warning,
                "+new-epoch",
                Some(master),
                hello.epoch.to_string(),
            );
        }
        let Some(from) = from else {
            return;
        };
        self.note_configuration(master, from, &hello);
        let now = self.now;
        if let Some(instance) = self.instances.get_mut(&from) {
            instance.opinion.hello_at = now;
        }
    }

    /// The sentinel that a hello comes from, which may be new, or elsewhere than it was.
    fn note_sentinel(&mut self, master: Id, hello: &Hello<'_>) -> Option<Id> {
        let known = self.sentinel_of(master, hello.run_id);
        if let Some(known) = known
            && i64::from(known.address.port) == hello.port
            && known.address.is_at(hello.ip)
        {
            return Some(known.id);
        }
        let moved = known.map(|known| known.id);
        // Nobody is forgotten for a place that is none.
        self.address(hello.ip, hello.port).ok()?;
        if let Some(moved) = moved {
            let text = format!(" ip {} port {} for {}", hello.ip, hello.port, hello.run_id);
            self.event_of(Level::Notice, "+sentinel-address-switch", master, &text);
            self.forget(moved);
        } else {
            self.forget_who_was_at(master, hello);
        }
        let id = self.add_sentinel(master, hello.ip, hello.port, hello.run_id)?;
        if moved.is_some() {
            self.move_everywhere(id);
        } else {
            self.event_of(Level::Notice, "+sentinel", id, "");
        }
        Some(id)
    }

    /// Another sentinel at the place of the one that a hello comes from is not there any more.
    fn forget_who_was_at(&mut self, master: Id, hello: &Hello<'_>) {
        let ids = self.masters.get(&master).map_or(&[][..], |m| &m.sentinels);
        let mut known = ids.iter().filter_map(|id| self.instances.get(id));
        let other = known.find(|other| {
            i64::from(other.address.port) == hello.port && other.address.is_at(hello.ip)
        });
        let Some((other, run_id)) = other.map(|other| (other.id, other.run_id.clone())) else {
            return;
        };
        self.event_of(Level::Notice, "+sentinel-invalid-addr", other, "");
        let run_id = run_id.unwrap_or_default();
        for master in self.master_ids() {
            if let Some(id) = self.sentinel_of(master, &run_id).map(|other| other.id) {
                self.forget(id);
            }
        }
        self.changed = true;
    }

    /// A sentinel has moved: it has for all masters.
    fn move_everywhere(&mut self, id: Id) {
        let Some(one) = self.instances.get(&id) else {
            return;
        };
        let (run_id, address, kind) = (one.run_id.clone(), one.address.clone(), one.kind);
        let same = self
            .instances
            .values()
            .filter(|i| i.kind == kind && i.run_id == run_id);
        let same: Vec<_> = same.map(|i| (i.id, i.link)).collect();
        for &(other, link) in &same {
            self.close_link(link);
            if let Some(instance) = self.instances.get_mut(&other) {
                instance.address.clone_from(&address);
            }
        }
        let others = same.len() - 1;
        if others > 0 {
            let text = format!(" {others} additional matching instances");
            self.event_of(Level::Notice, "+sentinel-address-update", id, &text);
        }
    }

    /// Who has a newer configuration of a master is believed.
    fn note_configuration(&mut self, id: Id, from: Id, hello: &Hello<'_>) {
        let Ok(to) = self.address(hello.master_ip, hello.master_port) else {
            return;
        };
        let promoted = self.current_address(id).cloned();
        let Some(master) = self.masters.get_mut(&id) else {
            return;
        };
        if master.config_epoch >= hello.config_epoch {
            return;
        }
        master.config_epoch = hello.config_epoch;
        self.changed = true;
        // A failover that is older is over. Redis goes on with it where the leader is the one that was to be replaced: who
        // was promoted for that leads in the same epoch then, to those that hear of it first.
        let failover = master.failover;
        let is_over = failover.is_going() && failover.epoch <= hello.config_epoch;
        let is_elsewhere = |address: &Address| {
            i64::from(address.port) != hello.master_port || !address.is_at(hello.master_ip)
        };
        let known = self.instances.get(&id).map(|instance| &instance.address);
        let Some(known) = known.into_iter().chain(&promoted).find(|a| is_elsewhere(a)) else {
            if is_over {
                self.switch(id, &to);
            }
            return;
        };
        let old = known.clone();
        self.event_of(Level::Warning, "+config-update-from", from, "");
        self.tell_switch(id, &old, hello.master_ip, to.port);
        self.switch(id, &to);
        self.call_reconfig_script(id, "observer", &old, &to);
    }

    /// Tells that another server leads.
    pub(super) fn tell_switch(&mut self, id: Id, old: &Address, host: &str, port: u16) {
        let name = self.instances.get(&id).map_or("", |i| &i.name);
        let old_host = old.told(self.settings.naming);
        let text = format!("{name} {old_host} {} {host} {port}", old.port);
        self.event(Level::Warning, "+switch-master", Some(id), text);
    }
}
