//! What a sentinel is set to: for all, and for each master.

use std::collections::BTreeMap;

/// No period is longer, in milliseconds: Redis could not read it back from its file, and some are added up.
pub const LONGEST_PERIOD: i64 = i32::MAX as i64;

/// How hosts are named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Naming {
    /// Names are taken and resolved (`resolve-hostnames`).
    pub resolves: bool,
    /// Others are told names rather than addresses (`announce-hostnames`).
    pub announces_names: bool,
}

/// The periods of a sentinel, in milliseconds; `SENTINEL DEBUG` can change most of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Periods {
    /// Between two INFO.
    pub info: i64,
    /// Between two PING, at most.
    pub ping: i64,
    /// Between two questions whether a master is down.
    pub ask: i64,
    /// Between two hello messages.
    pub publish: i64,
    /// `down-after-milliseconds` of a master that is new.
    pub default_down_after: i64,
    /// A tick that is so late, or that comes before the last, brings TILT.
    pub tilt_trigger: i64,
    /// How long TILT lasts.
    pub tilt: i64,
    /// A replica that was told to follow another leader has so much time to say that it does.
    pub reconfigured: i64,
    /// A connection that was made less than this ago is not given up for its silence.
    pub least_link: i64,
    /// Who is not elected within this gives up; `failover-timeout`, if that is less.
    pub election: i64,
    /// A script that takes longer is killed.
    pub script: i64,
    /// Between a script that failed and its first repetition; then twice as long, and so on.
    pub script_retry: i64,
    /// `failover-timeout` of a master that is new.
    pub default_failover: i64,
}

impl Default for Periods {
    fn default() -> Periods {
        Periods {
            info: 10_000,
            ping: 1000,
            ask: 1000,
            publish: 2000,
            default_down_after: 30_000,
            tilt_trigger: 2000,
            tilt: 30_000,
            reconfigured: 10_000,
            least_link: 15_000,
            election: 10_000,
            script: 60_000,
            script_retry: 30_000,
            default_failover: 180_000,
        }
    }
}

/// What concerns the sentinel as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How others know this one: 40 hexadecimal digits, kept in its configuration.
    pub my_id: String,
    /// The port that it listens on.
    pub port: u16,
    /// `announce-ip`. Empty: others are told the address that a connection to them has here.
    pub announce_ip: String,
    /// `announce-port`. 0: the port that it listens on.
    pub announce_port: u16,
    /// `sentinel-user` and `sentinel-pass`: how this sentinel authenticates with the others. Empty: as it would be
    /// asked to itself (`requirepass`).
    pub user: Vec<u8>,
    /// See `user`.
    pub password: Vec<u8>,
    /// `requirepass` of this sentinel: the others are taken to have the same.
    pub requirepass: Vec<u8>,
    /// `resolve-hostnames`, `announce-hostnames`.
    pub naming: Naming,
    /// Scripts are not set at run time (`deny-scripts-reconfig`).
    pub deny_scripts: bool,
    /// Periods.
    pub periods: Periods,
}

impl Settings {
    /// Those of a sentinel that nobody has configured.
    pub fn new(my_id: String, port: u16) -> Settings {
        Settings {
            my_id,
            port,
            announce_ip: String::new(),
            announce_port: 0,
            user: Vec::new(),
            password: Vec::new(),
            requirepass: Vec::new(),
            naming: Naming::default(),
            deny_scripts: true,
            periods: Periods::default(),
        }
    }
}

/// What is set for one master, its replicas and its sentinels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterSettings {
    /// So many sentinels must agree that it is down.
    pub quorum: u32,
    /// It is down after so many milliseconds without an answer.
    pub down_after: i64,
    /// How long a failover may take, and more; see `sentinel failover-timeout` in conf/sentinel.conf.
    pub failover_timeout: i64,
    /// So many replicas are told to follow a new leader at once.
    pub parallel_syncs: u32,
    /// A master that answers but has another run id, and does not say PONG for so long, is down. 0: never for that.
    pub reboot_down_after: i64,
    /// Called with each event that is a warning; empty: none is.
    pub notification_script: String,
    /// Called when the leader changes; empty: none is.
    pub reconfig_script: String,
    /// `auth-user`; empty: AUTH takes the password alone.
    pub auth_user: Vec<u8>,
    /// `auth-pass`; empty: no AUTH.
    pub auth_pass: Vec<u8>,
    /// `rename-command`: by the name in upper case.
    pub renamed: BTreeMap<String, String>,
}

impl MasterSettings {
    /// Those of a master that is new.
    pub fn new(quorum: u32, periods: &Periods) -> MasterSettings {
        MasterSettings {
            quorum,
            down_after: periods.default_down_after,
            failover_timeout: periods.default_failover,
            parallel_syncs: 1,
            reboot_down_after: 0,
            notification_script: String::new(),
            reconfig_script: String::new(),
            auth_user: Vec::new(),
            auth_pass: Vec::new(),
            renamed: BTreeMap::new(),
        }
    }

    /// What a command is called there.
    pub fn command<'a>(&'a self, name: &'a str) -> &'a str {
        self.renamed.get(name).map_or(name, String::as_str)
    }
}
