//! What can go wrong with a topology.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::node::Node;
use crate::embed::CallError;

/// Why a topology did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// More nodes were asked for than there is room for.
    #[error("a topology has at most {most} nodes, not {asked}")]
    TooMany {
        /// How many were asked for.
        asked: usize,
        /// How many there may be.
        most: usize,
    },
    /// The ports that were asked for go beyond the last one.
    #[error("there are not enough ports from {0} on: choose a lower one")]
    NoPorts(u16),
    /// Replies are to wait for replicas, and there are none.
    #[error("there is no replica that replies could wait for")]
    Alone,
    /// A node cannot have its port.
    #[error("{node} cannot have port {port}: {source}")]
    Port {
        /// The name of the node.
        node: String,
        /// The port.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// The directory holds another topology than the one that was asked for.
    #[error("{} holds another topology: {what}", dir.display())]
    Other {
        /// The directory.
        dir: PathBuf,
        /// What is different there.
        what: String,
    },
    /// A file or directory cannot be had.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A node does not start.
    #[error("{node} does not start: {source}")]
    Start {
        /// The node.
        node: Node,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The node belongs to another topology.
    #[error("there is no {0} here")]
    Unknown(Node),
    /// The node was killed.
    #[error("{0} was killed")]
    Killed(Node),
    /// The node is frozen.
    #[error("{0} is frozen")]
    Frozen(Node),
    /// The node is running: it is not frozen.
    #[error("{0} is not frozen")]
    NotFrozen(Node),
    /// The node runs a script that has exceeded its time and cannot be frozen now.
    #[error("{0} is busy running a script")]
    Busy(Node),
    /// The node did not answer.
    #[error("{node}: {source}")]
    Call {
        /// The node.
        node: Node,
        /// Why.
        source: CallError,
    },
    /// A port was asked for that is no good in a simulation: there, all servers listen on one, and sentinels on another.
    #[error("{0} and the port of sentinels are no two ports")]
    NoPort(u16),
    /// Nobody leads, or none of those who would know can be asked.
    #[error("nobody leads")]
    NoLeader,
    /// It did not come to that in time.
    #[error("{what}, after {}", Seconds(*.after))]
    Timeout {
        /// What there is instead.
        what: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The system gave no thread.
    #[error("no thread: {0}")]
    Thread(#[from] io::Error),
}

struct Seconds(Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}
