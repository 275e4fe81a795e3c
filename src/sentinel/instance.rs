//! What a sentinel knows of the servers and sentinels that it watches.

use super::address::Address;
use super::fence::TermFacts;
use super::link::LinkId;
use super::settings::MasterSettings;

/// The number of an instance: never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64);

/// What an instance is watched as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The leader of a group.
    Master,
    /// A replica of it.
    Replica,
    /// Another sentinel that watches it.
    Sentinel,
}

impl Kind {
    /// How events and replies call it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Master => "master",
            Kind::Replica => "slave",
            Kind::Sentinel => "sentinel",
        }
    }
}

/// What a server says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Neither: what it said last made no sense.
    Unknown,
    /// A leader.
    Master,
    /// A replica.
    Slave,
}

impl Role {
    /// As INFO calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Master => "master",
            Role::Slave | Role::Unknown => "slave",
        }
    }
}

/// How far a replica is on its way to follow a new leader.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reconfiguration {
    /// Nobody told it to.
    #[default]
    None,
    /// It was told to.
    Sent,
    /// It says that it follows it.
    InProgress,
    /// Its link is up, or nobody waits for that any more.
    Done,
}

/// What a replica says of itself.
#[derive(Debug, Clone)]
pub struct ReplicaFacts {
    /// Whom it follows.
    pub master_host: Option<String>,
    /// Whom it follows.
    pub master_port: u16,
    /// Its link to that is up.
    pub link_up: bool,
    /// How long its link has been down, milliseconds; 0: it is not.
    pub link_down_for: i64,
    /// Its priority: the lower, the sooner it is promoted; 0 is never.
    pub priority: i64,
    /// How far it has come in the stream.
    pub offset: u64,
    /// It wants to be told of.
    pub announced: bool,
    /// Since when it follows whom it follows.
    pub changed_at: i64,
    /// It is to be the new leader.
    pub promoted: bool,
    /// On its way to follow a new leader.
    pub reconfiguration: Reconfiguration,
    /// When it was told to.
    pub told_at: i64,
}

/// What another sentinel says of the master.
#[derive(Debug, Clone, Default)]
pub struct Opinion {
    /// It says that the master is down.
    pub down: bool,
    /// When it last said whether.
    pub answered_at: i64,
    /// Whom it voted for last, and in which epoch.
    pub vote: Option<Vote>,
    /// When a hello of it came last.
    pub hello_at: i64,
}

/// A vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// The run id of the sentinel that is to lead.
    pub leader: String,
    /// In this epoch.
    pub epoch: u64,
}

/// A server or a sentinel that is watched.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Its number.
    pub id: Id,
    /// What it is watched as.
    pub kind: Kind,
    /// The master that it belongs to; itself, if it is one.
    pub master: Id,
    /// The configured name of a master, the address of a replica, the run id of a sentinel.
    pub name: String,
    /// Where it is.
    pub address: Address,
    /// The run id that it said last.
    pub run_id: Option<String>,
    /// Connections to it. Sentinels that watch several masters together have one for all of them.
    pub link: LinkId,
    /// When it confirmed a hello last.
    pub hello_sent_at: i64,
    /// It does not answer: as far as this sentinel can tell.
    pub s_down: bool,
    /// Since when, or when it was last so; 0: never.
    pub s_down_since: i64,
    /// It is a master, and so many sentinels as there must be say that it is down.
    pub o_down: bool,
    /// Since when, or when it was last so; 0: never.
    pub o_down_since: i64,
    /// A script that blocks it was told to end.
    pub script_kill_sent: bool,
    /// It is a master with another run id than before, since then; until it says PONG.
    pub rebooted_at: Option<i64>,
    /// When it said INFO last; 0: never.
    pub info_at: i64,
    /// What INFO said.
    pub info: Vec<u8>,
    /// What it says that it is.
    pub role: Role,
    /// Since when it says that.
    pub role_since: i64,
    /// What it says of itself as a replica.
    pub replica: ReplicaFacts,
    /// What it says of its terms.
    pub terms: TermFacts,
    /// What it says of the master as a sentinel.
    pub opinion: Opinion,
    /// An INFO is on its way.
    pub info_asked: bool,
    /// A hello is on its way.
    pub hello_going: bool,
}

impl Instance {
    /// What is known of an instance that is new.
    pub fn new(
        id: Id,
        kind: Kind,
        master: Id,
        name: String,
        address: Address,
        link: LinkId,
        now: i64,
    ) -> Instance {
        let role = match kind {
            Kind::Replica => Role::Slave,
            Kind::Master | Kind::Sentinel => Role::Master,
        };
        Instance {
            id,
            kind,
            master,
            name,
            address,
            run_id: None,
            link,
            hello_sent_at: now,
            s_down: false,
            s_down_since: 0,
            o_down: false,
            o_down_since: 0,
            script_kill_sent: false,
            rebooted_at: None,
            info_at: 0,
            info: Vec::new(),
            role,
            role_since: now,
            replica: ReplicaFacts {
                master_host: None,
                master_port: 0,
                link_up: false,
                link_down_for: 0,
                priority: 100,
                offset: 0,
                announced: true,
                changed_at: now,
                promoted: false,
                reconfiguration: Reconfiguration::None,
                told_at: 0,
            },
            terms: TermFacts::default(),
            opinion: Opinion {
                hello_at: now,
                ..Opinion::default()
            },
            info_asked: false,
            hello_going: false,
        }
    }

    /// Whether it has not been down for so long.
    pub fn was_up_for(&self, now: i64, period: i64) -> bool {
        let last = self.s_down_since.max(self.o_down_since);
        last == 0 || now - last > period
    }
}

/// How far a failover has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailoverState {
    /// There is none.
    #[default]
    None,
    /// Until this sentinel is elected.
    WaitStart,
    /// The servers of a group with `sync-replicas` are to stand still.
    Fence,
    /// A replica is to be found.
    SelectReplica,
    /// It is to be told to lead.
    SendNoOne,
    /// Until it says that it leads.
    WaitPromotion,
    /// The others are told to follow it.
    Reconfigure,
    /// It takes the place of the old one.
    UpdateConfig,
}

impl FailoverState {
    /// As `SENTINEL MASTER` shows it.
    pub const fn name(self) -> &'static str {
        match self {
            FailoverState::None => "none",
            FailoverState::WaitStart => "wait_start",
            FailoverState::Fence => "fence",
            FailoverState::SelectReplica => "select_slave",
            FailoverState::SendNoOne => "send_slaveof_noone",
            FailoverState::WaitPromotion => "wait_promotion",
            FailoverState::Reconfigure => "reconf_slaves",
            FailoverState::UpdateConfig => "update_config",
        }
    }
}

/// A failover of a master, or the memory of the last.
#[derive(Debug, Clone, Copy, Default)]
pub struct Failover {
    /// How far it has come.
    pub state: FailoverState,
    /// Since when.
    pub changed_at: i64,
    /// When it began, or when this sentinel voted for another that wants to; 0: never.
    pub started_at: i64,
    /// The epoch that it is to be in.
    pub epoch: u64,
    /// An operator wants it, though the master is up.
    pub forced: bool,
    /// The replica that is to lead.
    pub promoted: Option<Id>,
    /// That the next must wait was told for the one that began then.
    pub delay_told_for: i64,
}

impl Failover {
    /// Whether there is one.
    pub fn is_going(&self) -> bool {
        self.state != FailoverState::None
    }

    /// Whether this sentinel was elected for it, and has not ended it.
    pub fn is_carried_out(&self) -> bool {
        self.state > FailoverState::WaitStart
    }
}

/// A master, beside what is known of it as an instance.
#[derive(Debug, Clone)]
pub struct Master {
    /// Its number.
    pub id: Id,
    /// What is set for it.
    pub settings: MasterSettings,
    /// The epoch of the failover that made this address the leader's.
    pub config_epoch: u64,
    /// Whom this sentinel voted for last.
    pub vote: Option<Vote>,
    /// `leader-epoch`: the epoch of the last vote, also if whom it was for is not known any more.
    pub vote_epoch: u64,
    /// Its replicas.
    pub replicas: Vec<Id>,
    /// The other sentinels that watch it.
    pub sentinels: Vec<Id>,
    /// The failover.
    pub failover: Failover,
    /// Since when a server of it obeys a later term than the configuration has.
    pub ahead_since: Option<i64>,
}

impl Master {
    /// A master that is new.
    pub fn new(id: Id, settings: MasterSettings) -> Master {
        Master {
            id,
            settings,
            config_epoch: 0,
            vote: None,
            vote_epoch: 0,
            replicas: Vec::new(),
            sentinels: Vec::new(),
            failover: Failover::default(),
            ahead_since: None,
        }
    }

    /// So many sentinels are a majority of all, this one included.
    pub fn majority(&self) -> usize {
        self.sentinels.len().div_ceil(2) + 1
    }
}
