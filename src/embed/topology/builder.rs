//! What a topology is to be like.

use std::path::PathBuf;
use std::time::Duration;

use super::error::Error;
use super::files::Wishes;

/// No more nodes than this.
const MOST: usize = 100;

/// How far the ports of sentinels are from those of servers: as far as 26379 is from 6379.
pub(crate) const SENTINEL_PORTS: u16 = 20_000;

/// How long the nodes may take until all is in order.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a topology is to be like: one of servers on real ports (`Topology::builder`, [`start`](Self::start)), or a
/// [`Simulation`](crate::embed::simulation::Simulation) of one.
#[derive(Debug, Clone)]
#[must_use]
pub struct Builder {
    pub(crate) replicas: Option<usize>,
    pub(crate) sentinels: Option<usize>,
    pub(crate) base_port: Option<u16>,
    pub(crate) dir: Option<PathBuf>,
    lasting: bool,
    quorum: Option<usize>,
    name: String,
    down_after: Duration,
    failover_timeout: Duration,
    sync: bool,
    options: Vec<(String, String)>,
    /// Of servers on real ports: the clock of all of them, if it is not to be one that runs as the machine's.
    #[cfg(feature = "server")]
    pub(crate) clock: Option<crate::util::clock::ManualClock>,
    /// What all randomness begins with, if it is to be repeatable.
    #[cfg(feature = "server")]
    pub(crate) seed: Option<u64>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            replicas: None,
            sentinels: None,
            base_port: None,
            dir: None,
            lasting: false,
            quorum: None,
            name: "mymaster".into(),
            down_after: Duration::from_secs(1),
            failover_timeout: Duration::from_secs(10),
            sync: false,
            options: Vec::new(),
            #[cfg(feature = "server")]
            clock: None,
            #[cfg(feature = "server")]
            seed: None,
        }
    }
}

impl Builder {
    /// How many replicas there are beside the leader: 2, or as many as the directory has, unless this says otherwise.
    pub const fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = Some(replicas);
        self
    }

    /// How many sentinels there are: 3, or as many as the directory has, unless this says otherwise. Without any nobody
    /// replaces a leader.
    pub const fn sentinels(mut self, sentinels: usize) -> Self {
        self.sentinels = Some(sentinels);
        self
    }

    /// Servers listen on this port and those behind it, and sentinels on those from 20,000 further on. By default all
    /// listen on ports that are free.
    pub const fn base_port(mut self, port: u16) -> Self {
        self.base_port = Some(port);
        self
    }

    /// Keeps data (`appendonly yes`) and configuration in this directory, which is made if it is missing. What is there
    /// from before is gone on with: whoever led then leads. By default data is kept in memory, and nothing stays.
    ///
    /// A simulation has disks of its own in memory, and touches no directory: to it this says only that data is kept.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Data is kept in files (`appendonly yes`) for as long as there is the topology: a node that was killed has it when it
    /// is started again. With a [directory](Self::dir) it is kept anyway.
    pub const fn lasting(mut self, lasting: bool) -> Self {
        self.lasting = lasting;
        self
    }

    /// Replies wait until a replica has what they show (`sync-replicas 1`), and no write is taken while there is no
    /// replica (`min-replicas-to-write 1`).
    pub const fn sync(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// What the sentinels call the leader: `mymaster`, unless this says otherwise.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How many sentinels have to agree that the leader is down; by default the majority of them.
    pub const fn quorum(mut self, quorum: usize) -> Self {
        self.quorum = Some(quorum);
        self
    }

    /// How long a node has to be silent for a sentinel to take it for down; 1 s by default.
    pub const fn down_after(mut self, time: Duration) -> Self {
        self.down_after = time;
        self
    }

    /// What sentinels derive from it how long they wait before they try again; 10 s by default.
    pub const fn failover_timeout(mut self, time: Duration) -> Self {
        self.failover_timeout = time;
        self
    }

    /// Sets a parameter of all servers (not of the sentinels), as a configuration file would. A password
    /// (`requirepass`) is told to replicas and sentinels too.
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.options.push((name.into(), value.into()));
        self
    }

    /// How many servers and sentinels a new topology has.
    ///
    /// # Errors
    /// When that are too many, or too few for what is asked of them.
    pub(crate) fn counts(&self) -> Result<[usize; 2], Error> {
        let servers = self.replicas.unwrap_or(2).saturating_add(1);
        let sentinels = self.sentinels.unwrap_or(3);
        let asked = servers.saturating_add(sentinels);
        match asked > MOST {
            true => Err(Error::TooMany { asked, most: MOST }),
            false => Ok([servers, sentinels]),
        }
    }

    /// What the files of the nodes are to say, with so many servers and sentinels.
    ///
    /// # Errors
    /// When there is nobody whom replies could wait for.
    pub(crate) fn wishes(self, [servers, sentinels]: [usize; 2]) -> Result<Wishes, Error> {
        if self.sync && servers < 2 {
            return Err(Error::Alone);
        }
        Ok(Wishes {
            quorum: self.quorum.unwrap_or(sentinels / 2 + 1),
            lasting: self.lasting || self.dir.is_some(),
            name: self.name,
            down_after: self.down_after,
            failover_timeout: self.failover_timeout,
            sync: self.sync,
            options: self.options,
        })
    }
}
