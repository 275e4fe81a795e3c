//! The arguments of `redkeep ha`.

use std::path::PathBuf;
use std::time::Duration;

use crate::server::topology::{self, Builder, Topology};

/// Where servers listen unless something else is said.
const BASE_PORT: u16 = 7000;

/// Run a leader, its replicas and their sentinels in one process
///
/// For development: everything listens on this machine only. Without --dir nothing is kept.
#[derive(Debug, clap::Args)]
pub(in crate::server) struct Args {
    /// Replicas beside the leader [default: 2, or those that DIR has]
    #[arg(long, value_name = "N")]
    replicas: Option<usize>,
    /// Sentinels [default: 3, or those that DIR has]
    #[arg(long, value_name = "N")]
    sentinels: Option<usize>,
    /// Servers listen from this port on, sentinels from 20000 further on; 0 takes any that are free [default: 7000, or that
    /// of DIR]
    #[arg(long, value_name = "PORT")]
    base_port: Option<u16>,
    /// Keep data and configuration there; what is there is gone on with
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Replies wait until a replica has what they show
    #[arg(long)]
    pub(super) sync: bool,
    /// How long a node has to be silent to be taken for down
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000,
          value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    down_after: u64,
}

impl Args {
    /// What is asked for.
    pub(super) fn builder(&self) -> Builder {
        let mut builder = Topology::builder()
            .sync(self.sync)
            // DEBUG SLEEP shows what a leader does to others that does not answer.
            .config("enable-debug-command", "local")
            .down_after(Duration::from_millis(self.down_after));
        if let Some(replicas) = self.replicas {
            builder = builder.replicas(replicas);
        }
        if let Some(sentinels) = self.sentinels {
            builder = builder.sentinels(sentinels);
        }
        if let Some(dir) = &self.dir {
            builder = builder.dir(dir);
        }
        let known = self.dir.as_deref().is_some_and(topology::is_in);
        match self.base_port {
            Some(0) => builder,
            Some(port) => builder.base_port(port),
            None if known => builder,
            None => builder.base_port(BASE_PORT),
        }
    }
}
