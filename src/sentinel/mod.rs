//! A sentinel as a state machine: time and bytes in, bytes and orders out. It knows no socket, file or process.
//!
//! ```text
//! settings   what is configured, and the periods
//! address    where an instance is
//! instance   what is known of masters, replicas and other sentinels
//! link       the connections to an instance: questions, replies
//! masters    which there are: added, removed, reset, moved to another address
//! watch      connecting, PING, INFO and hello; who is down (SDOWN, ODOWN)
//! info       what INFO tells, and what follows from it
//! hello      how sentinels find each other and spread configurations
//! election   asking the others, votes, who is to fail over
//! fence      failing over without losing what was acknowledged
//! failover   from the election to the new leader
//! scripts    notification and reconfiguration scripts
//! ```
//!
//! Three invariants hold whatever comes in. A sentinel votes once per epoch and master. The epochs that it knows never go
//! back. And nothing leaves that came with a change of the configuration before that is on the disk: whoever calls
//! looks at [`Sentinel::take_changed`] first, writes, and only then takes [events](Sentinel::take_events) and
//! [orders](Sentinel::take_orders), or lets a reply go.

mod address;
mod config;
mod election;
mod failover;
mod fence;
mod hello;
mod info;
mod instance;
mod link;
mod masters;
mod scripts;
mod settings;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;

pub use address::{Address, AddressError, NoNames, Resolve};
pub use election::Answer;
pub use failover::ForceError;
pub use fence::TermFacts;
pub use hello::CHANNEL;
pub use instance::{
    Failover, FailoverState, Id, Instance, Kind, Master, Opinion, Reconfiguration, ReplicaFacts,
    Role, Vote,
};
pub use link::{Link, LinkId, Purpose, Socket, SocketId};
pub use masters::MonitorError;
pub use scripts::{Ending, JobId, Script, Scripts};
pub use settings::{LONGEST_PERIOD, MasterSettings, Naming, Periods, Settings};

use crate::util::rng::Rng;

/// How often a sentinel looks around: at least and at most so many times a second, never twice after the same time, so that
/// those that began together do not stay together.
const LOOKS: (u64, u64) = (10, 20);

/// How long it waits to write a configuration that could not be written.
const WRITES_AGAIN: i64 = 1000;

/// What a sentinel wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// To connect. What is sent meanwhile waits for that.
    Connect {
        /// What the connection is called from now on.
        socket: SocketId,
        /// An address, or a name that could not be resolved.
        host: String,
        /// The port.
        port: u16,
    },
    /// To send these bytes.
    Send {
        /// On this connection.
        socket: SocketId,
        /// So many.
        bytes: Vec<u8>,
    },
    /// To close a connection: nothing more is heard of it.
    Close {
        /// This one.
        socket: SocketId,
    },
    /// To run a script.
    Run {
        /// What the run is called from now on.
        job: JobId,
        /// The path of the script, and its arguments.
        argv: Vec<String>,
    },
    /// To kill a script. Its end is told all the same.
    Kill {
        /// This one.
        job: JobId,
    },
    /// To end the process at once, as a crash would: `SENTINEL SIMULATE-FAILURE` asked for that.
    Crash,
}

/// What has come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input<'a> {
    /// A connection is there.
    Connected {
        /// Which.
        socket: SocketId,
        /// The address that it has on this side.
        local_ip: String,
    },
    /// Bytes have come.
    Received {
        /// On this connection.
        socket: SocketId,
        /// These.
        bytes: &'a [u8],
    },
    /// A connection is gone, or could not be made.
    Lost {
        /// Which.
        socket: SocketId,
        /// Why.
        why: String,
    },
    /// A script runs, as the process with this number; none: it cannot be run.
    Started {
        /// Which.
        job: JobId,
        /// Its process.
        pid: Option<u32>,
    },
    /// A script has ended.
    Ended {
        /// Which.
        job: JobId,
        /// How.
        ending: Ending,
    },
}

/// How much attention an event deserves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For developers: not published.
    Debug,
    /// For those who want to know everything.
    Verbose,
    /// For operators.
    Notice,
    /// For operators, at once: notification scripts are called.
    Warning,
}

/// Something has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// How much attention it deserves.
    pub level: Level,
    /// What: `+sdown`, say. The channel that it is published in. Empty: it is only logged.
    pub name: &'static str,
    /// The rest.
    pub text: String,
}

/// A failure that is to be simulated (`SENTINEL SIMULATE-FAILURE`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Simulated {
    /// It crashes when it has been elected.
    pub after_election: bool,
    /// It crashes when the replica has been promoted.
    pub after_promotion: bool,
}

impl Simulated {
    /// As INFO shows it.
    pub const fn bits(self) -> u32 {
        (self.after_election as u32) | (self.after_promotion as u32) << 1
    }
}

/// A sentinel.
pub struct Sentinel {
    /// What concerns it as a whole.
    pub settings: Settings,
    /// The highest epoch that it has heard of.
    pub epoch: u64,
    /// Failures that are to be simulated.
    pub simulated: Simulated,
    /// Scripts that run or wait.
    pub scripts: Scripts,
    now: i64,
    rng: Rng,
    names: Box<dyn Resolve + Send>,
    instances: BTreeMap<Id, Instance>,
    masters: BTreeMap<Id, Master>,
    links: BTreeMap<LinkId, Link>,
    sockets: BTreeMap<SocketId, (LinkId, Purpose)>,
    numbers: u64,
    /// When it looked around last.
    looked_at: i64,
    looks_at: i64,
    tilt_since: Option<i64>,
    orders: Vec<Order>,
    events: Vec<Event>,
    changed: bool,
    /// When the configuration is to be written that could not be.
    writes_at: Option<i64>,
}

impl std::fmt::Debug for Sentinel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sentinel")
            .field("settings", &self.settings)
            .field("epoch", &self.epoch)
            .field("masters", &self.masters)
            .finish_non_exhaustive()
    }
}

impl Sentinel {
    /// A sentinel that watches nothing, at this time in unix milliseconds.
    pub fn new(settings: Settings, names: Box<dyn Resolve + Send>, rng: Rng, now: i64) -> Sentinel {
        Sentinel {
            settings,
            epoch: 0,
            simulated: Simulated::default(),
            scripts: Scripts::default(),
            now,
            rng,
            names,
            instances: BTreeMap::new(),
            masters: BTreeMap::new(),
            links: BTreeMap::new(),
            sockets: BTreeMap::new(),
            numbers: 0,
            looked_at: now,
            looks_at: now,
            tilt_since: None,
            orders: Vec::new(),
            events: Vec::new(),
            changed: false,
            writes_at: None,
        }
    }

    /// Begins: others know it by its id from now on, and it tells which masters it watches.
    pub fn begin(&mut self, now: i64) {
        self.now = now;
        if self.settings.my_id.is_empty() {
            self.settings.my_id = self.rng.hex_id_string();
            self.changed = true;
        }
        let id = format!("Sentinel ID is {}", self.settings.my_id);
        self.note(Level::Notice, id);
        for id in self.master_ids() {
            self.announce(id);
        }
    }

    /// The time that it goes by.
    pub const fn now(&self) -> i64 {
        self.now
    }

    /// It is so late. To be called before anything else is asked of it.
    pub const fn set_now(&mut self, now: i64) {
        self.now = now;
    }

    /// When [`tick`](Self::tick) is to be called next.
    pub const fn next_deadline(&self) -> i64 {
        self.looks_at
    }

    /// Does what is due.
    pub fn tick(&mut self, now: i64) {
        self.now = now;
        // The clock may have been set back.
        let early = now < self.looks_at && now >= self.looked_at;
        if early {
            return;
        }
        self.look_at_clock();
        self.changed |= self.writes_at.take_if(|at| *at <= now).is_some();
        for master in self.master_ids() {
            self.handle_group(master);
        }
        for master in self.master_ids() {
            self.end_failover(master);
        }
        self.run_scripts();
        let often = LOOKS.0 + self.rng.below(LOOKS.1 - LOOKS.0);
        self.looks_at = now + i64::try_from(1000 / often).unwrap_or(100);
    }

    /// What has come of an order.
    pub fn input(&mut self, now: i64, input: Input<'_>) {
        self.now = now;
        match input {
            Input::Connected { socket, local_ip } => self.connected(socket, local_ip),
            Input::Received { socket, bytes } => self.received(socket, bytes),
            Input::Lost { socket, why } => self.lost(socket, &why),
            Input::Started { job, pid } => self.script_started(job, pid),
            Input::Ended { job, ending } => self.script_ended(job, ending),
        }
    }

    /// Whether the configuration has changed since this was asked last: then it is to be written.
    pub const fn take_changed(&mut self) -> bool {
        if self.changed {
            self.writes_at = None;
        }
        std::mem::replace(&mut self.changed, false)
    }

    /// The configuration could not be written: that is to be tried again, but not with everything that comes meanwhile.
    pub const fn write_later(&mut self) {
        self.writes_at = Some(self.now + WRITES_AGAIN);
    }

    /// What has happened, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// What is to be done, in order.
    pub fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// Whether there is something to be done.
    pub const fn has_orders(&self) -> bool {
        !self.orders.is_empty()
    }

    /// Since when it does not trust the time (TILT), if it does not.
    pub const fn tilt_since(&self) -> Option<i64> {
        self.tilt_since
    }

    /// Goes into TILT if time has made a leap.
    fn look_at_clock(&mut self) {
        let passed = self.now - std::mem::replace(&mut self.looked_at, self.now);
        if passed < 0 || passed > self.settings.periods.tilt_trigger {
            self.tilt_since = Some(self.now);
            self.event(Level::Warning, "+tilt", None, "#tilt mode entered");
        }
    }

    /// Looks after a master, its replicas and its other sentinels.
    fn handle_group(&mut self, id: Id) {
        self.handle(id);
        let Some(master) = self.masters.get(&id) else {
            return;
        };
        let members: Vec<Id> = [&master.replicas[..], &master.sentinels[..]].concat();
        members.into_iter().for_each(|id| self.handle(id));
    }

    fn handle(&mut self, id: Id) {
        self.reconnect(id);
        self.send_periodic(id);
        // While time cannot be trusted it goes on to look, and does nothing.
        if let Some(since) = self.tilt_since {
            if self.now - since < self.settings.periods.tilt {
                return;
            }
            self.tilt_since = None;
            self.event(Level::Warning, "-tilt", None, "#tilt mode exited");
        }
        self.check_s_down(id);
        if self.masters.contains_key(&id) {
            self.check_o_down(id);
            if self.start_failover_if_needed(id) {
                self.ask_others(id, true);
            }
            self.go_on_with_failover(id);
            self.ask_others(id, false);
        }
    }

    /// Something has happened: to an instance, if one is given.
    fn event(&mut self, level: Level, name: &'static str, id: Option<Id>, text: impl Into<String>) {
        let text = text.into();
        if level == Level::Warning
            && let Some(master) = id.and_then(|id| self.group(id))
        {
            let script = master.settings.notification_script.clone();
            if !script.is_empty() {
                self.schedule(vec![script, name.to_owned(), text.clone()]);
            }
        }
        self.events.push(Event { level, name, text });
    }

    /// Something has happened to an instance, which is described, with `more` behind that.
    fn event_of(&mut self, level: Level, name: &'static str, id: Id, more: &str) {
        let text = self.describe(id) + more;
        self.event(level, name, Some(id), text);
    }

    /// What is only logged.
    fn note(&mut self, level: Level, text: impl Into<String>) {
        let text = text.into();
        let name = "";
        self.events.push(Event { level, name, text });
    }

    /// An instance as events name it: `slave 10.0.0.2:6379 10.0.0.2 6379 @ mymaster 10.0.0.1 6379`.
    fn describe(&self, id: Id) -> String {
        let Some(instance) = self.instances.get(&id) else {
            return String::new();
        };
        let naming = self.settings.naming;
        let one = |instance: &Instance| {
            let address = &instance.address;
            format!(
                "{} {} {}",
                instance.name,
                address.told(naming),
                address.port
            )
        };
        let kind = instance.kind.name();
        match self.instances.get(&instance.master) {
            Some(master) if master.id != id => {
                format!("{kind} {} @ {}", one(instance), one(master))
            }
            _ => format!("{kind} {}", one(instance)),
        }
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// An instance.
    pub fn instance(&self, id: Id) -> Option<&Instance> {
        self.instances.get(&id)
    }

    /// The connections of an instance.
    pub fn link(&self, id: Id) -> Option<&Link> {
        self.links.get(&self.instances.get(&id)?.link)
    }

    fn link_mut(&mut self, id: Id) -> Option<&mut Link> {
        self.links.get_mut(&self.instances.get(&id)?.link)
    }

    /// A master.
    pub fn master(&self, id: Id) -> Option<&Master> {
        self.masters.get(&id)
    }

    /// The same, to change its settings.
    pub fn master_mut(&mut self, id: Id) -> Option<&mut Master> {
        self.masters.get_mut(&id)
    }

    /// Sets something for a master. That is to be written.
    pub fn change_settings(&mut self, id: Id, change: impl FnOnce(&mut MasterSettings)) {
        if let Some(master) = self.masters.get_mut(&id) {
            change(&mut master.settings);
            self.changed = true;
        }
    }

    /// Tells that something was set for a master.
    pub fn tell_set(&mut self, id: Id, what: &str) {
        self.event_of(Level::Warning, "+set", id, &format!(" {what}"));
    }

    /// Whether a script is there and may be run.
    pub fn may_run(&self, path: &str) -> bool {
        self.names.may_run(path)
    }

    /// The master that an instance belongs to.
    fn group(&self, id: Id) -> Option<&Master> {
        self.masters.get(&self.instances.get(&id)?.master)
    }

    /// All masters, in the order in which they were added.
    pub fn masters(&self) -> impl Iterator<Item = &Master> {
        self.masters.values()
    }

    fn master_ids(&self) -> Vec<Id> {
        self.masters.keys().copied().collect()
    }

    /// The master with this name.
    pub fn find(&self, name: &str) -> Option<&Master> {
        let mut masters = self.masters.values();
        masters.find(|master| {
            self.instances
                .get(&master.id)
                .is_some_and(|i| i.name == name)
        })
    }
}
