//! What INFO tells of a server, and what follows from that.

use super::instance::{FailoverState, Id, Instance, Kind, Reconfiguration, Role};
use super::{Address, Level, Sentinel};
use crate::replication::History;
use crate::resp::Value;
use crate::util::num;
use std::collections::HashSet;

/// Digits of a run id.
const RUN_ID: usize = 40;

/// What one INFO says.
#[derive(Debug, Default)]
struct Told<'a> {
    run_id: Option<&'a str>,
    role: Option<Role>,
    replicas: Vec<(&'a str, i64)>,
    link_down_for: i64,
    master_host: Option<&'a str>,
    master_port: Option<u16>,
    link_up: Option<bool>,
    priority: Option<i64>,
    offset: Option<u64>,
    announced: Option<bool>,
    term: u64,
    history: History,
    sync_replicas: u32,
    deserted: bool,
}

impl<'a> Told<'a> {
    fn read(text: &'a str) -> Told<'a> {
        let mut told = Told::default();
        for line in text.split("\r\n") {
            if let Some((name, value)) = line.split_once(':') {
                told.field(name, value);
            }
        }
        told
    }

    fn field(&mut self, name: &str, value: &'a str) {
        match name {
            "run_id" => self.run_id = value.get(..RUN_ID),
            "master_link_down_since_seconds" => {
                self.link_down_for = int(value).unwrap_or(0).saturating_mul(1000);
            }
            "role" if value == "master" => self.role = Some(Role::Master),
            "role" if value == "slave" => self.role = Some(Role::Slave),
            "master_host" => self.master_host = Some(value),
            "master_port" => self.master_port = Some(int(value).and_then(port).unwrap_or(0)),
            "master_link_status" => self.link_up = Some(value.eq_ignore_ascii_case("up")),
            "slave_priority" => self.priority = int(value),
            "slave_repl_offset" => self.offset = num::parse_u64(value.as_bytes()),
            "replica_announced" => self.announced = int(value).map(|n| n != 0),
            "master_replid" => self.history = History::of(value),
            "master_forgot" => self.deserted = value == "1",
            "failover_term" => self.term = num::parse_u64(value.as_bytes()).unwrap_or(0),
            "sync_replicas" => {
                self.sync_replicas = int(value).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
            }
            _ if is_replica_field(name) => self.replicas.extend(replica(value)),
            _ => {}
        }
    }
}

fn int(value: &str) -> Option<i64> {
    num::parse_i64(value.as_bytes())
}

fn port(number: i64) -> Option<u16> {
    u16::try_from(number).ok()
}

/// `slave0` and so on.
fn is_replica_field(name: &str) -> bool {
    let number = name.strip_prefix("slave").unwrap_or_default();
    number.starts_with(|c: char| c.is_ascii_digit())
}

/// `ip=10.0.0.2,port=6379,…`, or `10.0.0.2,6379,…` as old servers have it.
fn replica(value: &str) -> Option<(&str, i64)> {
    let mut fields = value.split(',');
    let (host, port) = if value.contains("ip=") {
        let named = |name: &str| value.split(',').find_map(|f| f.strip_prefix(name));
        (named("ip=")?, named("port=")?)
    } else {
        (fields.next()?, fields.next()?)
    };
    Some((host, int(port)?))
}

impl Sentinel {
    /// INFO was answered.
    pub(super) fn info_came(&mut self, id: Id, reply: &Value) {
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        instance.info_asked = false;
        let (Value::Bulk(bytes) | Value::Verbatim(_, bytes)) = reply else {
            return;
        };
        instance.info.clone_from(bytes);
        let text = String::from_utf8_lossy(bytes);
        let told = Told::read(&text);
        self.note_run_id(id, told.run_id);
        self.note_replicas(id, &told.replicas);
        let now = self.now;
        if let Some(instance) = self.instances.get_mut(&id) {
            note_facts(instance, &told, now);
        }
        self.note_role(id, told.role.unwrap_or(Role::Unknown));
        if self.tilt_since.is_none() {
            self.act_on_info(id);
        }
    }

    /// Who has another run id than before has been started again.
    fn note_run_id(&mut self, id: Id, told: Option<&str>) {
        let now = self.now;
        let minds = self
            .group(id)
            .is_some_and(|group| group.settings.reboot_down_after != 0);
        let (Some(instance), Some(told)) = (self.instances.get_mut(&id), told) else {
            return;
        };
        let known = instance.run_id.replace(told.to_owned());
        if known.is_some_and(|known| known != told) {
            if instance.kind == Kind::Master && minds {
                instance.rebooted_at = Some(now);
            }
            self.event_of(Level::Notice, "+reboot", id, "");
        }
    }

    /// A master names its replicas.
    fn note_replicas(&mut self, id: Id, replicas: &[(&str, i64)]) {
        if !self.masters.contains_key(&id) {
            return;
        }
        let known: HashSet<(String, i64)> = self
            .members(id)
            .filter_map(|replica| self.instances.get(&replica))
            .filter(|replica| replica.id != id)
            .flat_map(|replica| {
                let Address { host, ip, port } = &replica.address;
                [host, ip].map(|name| (name.clone(), i64::from(*port)))
            })
            .collect();
        // Most of them, nearly always.
        let unknown = |replica: &&(&str, i64)| !known.contains(&(replica.0.to_owned(), replica.1));
        for (host, port) in replicas.iter().filter(unknown) {
            if let Some(replica) = self.add_replica(id, host, *port) {
                self.event_of(Level::Notice, "+slave", replica, "");
            }
        }
    }

    fn note_role(&mut self, id: Id, role: Role) {
        let now = self.now;
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        if role == instance.role {
            return;
        }
        instance.role = role;
        instance.role_since = now;
        if role == Role::Slave {
            instance.replica.changed_at = now;
        }
        let as_expected = match instance.kind {
            Kind::Master => role == Role::Master,
            Kind::Replica | Kind::Sentinel => role == Role::Slave,
        };
        let name = if as_expected {
            "+role-change"
        } else {
            "-role-change"
        };
        let text = format!(" new reported role is {}", role.name());
        self.event_of(Level::Verbose, name, id, &text);
    }

    /// What is done about a server that is not what it should be. While a failover is carried out that says what it should be:
    /// Redis has replicas follow the old leader again if that comes back meanwhile.
    fn act_on_info(&mut self, id: Id) {
        let Some(instance) = self.instances.get(&id) else {
            return;
        };
        let is_replica = instance.kind == Kind::Replica;
        match instance.role {
            Role::Master if is_replica || instance.replica.promoted => self.replica_leads(id),
            Role::Slave if is_replica => {
                self.replica_follows(id);
                self.replica_moves_on(id);
            }
            Role::Master | Role::Slave | Role::Unknown => {}
        }
    }

    /// A replica says that it leads: it was told to, or is told not to.
    fn replica_leads(&mut self, id: Id) {
        let (Some(instance), Some(group)) = (self.instances.get(&id), self.group(id)) else {
            return;
        };
        let promoted = instance.replica.promoted;
        if promoted && group.failover.state == FailoverState::WaitPromotion {
            // It may have led before it was told to.
            let obeys = instance.terms.term == group.failover.epoch;
            if obeys || self.sync_replicas(group.id).is_none() {
                self.replica_was_promoted(id);
            }
            return;
        }
        // Others may have made it the leader: a newer configuration comes with their next hellos.
        let wait = 4 * self.settings.periods.publish;
        let (now, master) = (self.now, group.id);
        if !promoted
            && !group.failover.is_carried_out()
            && self.looks_sane(master)
            && instance.was_up_for(now, wait)
            && now - instance.role_since > wait
            && self.send_replica_of(id, Some(master))
        {
            self.event_of(Level::Notice, "+convert-to-slave", id, "");
        }
    }

    /// A replica that follows somebody else is told to follow the master.
    fn replica_follows(&mut self, id: Id) {
        let (Some(instance), Some(group)) = (self.instances.get(&id), self.group(id)) else {
            return;
        };
        let Some(leader) = self.instances.get(&group.id) else {
            return;
        };
        let facts = &instance.replica;
        let host = facts.master_host.as_deref().unwrap_or_default();
        let follows = facts.master_port == leader.address.port && leader.address.is_at(host);
        // Who obeys a later term than the configuration has would not obey.
        let would_not = instance.terms.term > group.config_epoch;
        if follows || would_not || group.failover.is_carried_out() {
            return;
        }
        let (now, wait, master) = (self.now, group.settings.failover_timeout, group.id);
        if self.looks_sane(master)
            && instance.was_up_for(now, wait)
            && now - facts.changed_at > wait
            && self.send_replica_of(id, Some(master))
        {
            self.event_of(Level::Notice, "+fix-slave-config", id, "");
        }
    }

    /// A replica that was told to follow a new leader has got further with that.
    fn replica_moves_on(&mut self, id: Id) {
        let (Some(instance), Some(group)) = (self.instances.get(&id), self.group(id)) else {
            return;
        };
        let facts = &instance.replica;
        let promoted = group
            .failover
            .promoted
            .and_then(|id| self.instances.get(&id));
        let host = facts.master_host.as_deref().unwrap_or_default();
        let obeys = promoted.is_some_and(|promoted| {
            promoted.address.port == facts.master_port && promoted.address.is_at(host)
        });
        if facts.reconfiguration == Reconfiguration::Sent && obeys {
            self.set_reconfiguration(id, Reconfiguration::InProgress);
            self.event_of(Level::Notice, "+slave-reconf-inprog", id, "");
        }
        let Some(instance) = self.instances.get(&id) else {
            return;
        };
        let facts = &instance.replica;
        if facts.reconfiguration == Reconfiguration::InProgress && facts.link_up {
            self.set_reconfiguration(id, Reconfiguration::Done);
            self.event_of(Level::Notice, "+slave-reconf-done", id, "");
        }
    }

    pub(super) fn set_reconfiguration(&mut self, id: Id, to: Reconfiguration) {
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.replica.reconfiguration = to;
        }
    }

    /// Whether a master is fit to be followed.
    fn looks_sane(&self, id: Id) -> bool {
        self.instances.get(&id).is_some_and(|master| {
            master.role == Role::Master
                && !master.s_down
                && !master.o_down
                && self.now - master.info_at < 2 * self.settings.periods.info
        })
    }
}

/// What a server says of itself as a replica is believed only if it says that it is one.
fn note_facts(instance: &mut Instance, told: &Told<'_>, now: i64) {
    instance.info_at = now;
    instance.terms.term = told.term;
    instance.terms.history = told.history;
    instance.terms.sync_replicas = told.sync_replicas;
    instance.terms.deserted = told.deserted;
    let facts = &mut instance.replica;
    facts.link_down_for = told.link_down_for;
    if told.role != Some(Role::Slave) {
        return;
    }
    let host = told.master_host.filter(|host| {
        let known = facts.master_host.as_deref();
        known.is_none_or(|known| !known.eq_ignore_ascii_case(host))
    });
    if let Some(host) = host {
        facts.master_host = Some(host.to_owned());
        facts.changed_at = now;
    }
    if let Some(port) = told.master_port.filter(|port| *port != facts.master_port) {
        facts.master_port = port;
        facts.changed_at = now;
    }
    facts.link_up = told.link_up.unwrap_or(facts.link_up);
    facts.priority = told.priority.unwrap_or(facts.priority);
    facts.offset = told.offset.unwrap_or(facts.offset);
    facts.announced = told.announced.unwrap_or(facts.announced);
}
