//! The servers that a drill is held on, and what it can do to them.

use crate::server::ask::{Address, Credentials};
use std::time::Duration;

/// What is done to the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::server) enum Scenario {
    /// The leader's process ends without a word
    KillLeader,
    /// The leader is cut off from replicas and sentinels, but not from some of the clients
    PartitionLeader,
    /// The leader stands still, and goes on later as if nothing had happened
    FreezeLeader,
    /// The leader ends and is back before anybody has noticed
    Restart,
    /// A replica's process ends
    KillReplica,
    /// A sentinel's process ends
    KillSentinel,
    /// The sentinels are told to make another the leader
    PlannedFailover,
    /// The leader, and a sentinel and replicas beside it, are all gone at once
    LoseRegion,
}

impl Scenario {
    /// Its name on the command line.
    pub(super) fn name(self) -> String {
        let value = clap::ValueEnum::to_possible_value(&self);
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Why a drill did not come about, in a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unable(pub(super) String);

impl Unable {
    pub(super) fn because(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Leader, replicas and sentinels. The calls may block.
pub(super) trait Ground {
    /// The sentinels that clients are told of.
    fn sentinels(&self) -> Vec<Address>;

    /// The name of the leader among the sentinels.
    fn master(&self) -> String;

    /// How to log in at the servers, and at the sentinels.
    fn logins(&self) -> (Credentials, Credentials);

    /// What a server is called.
    fn name(&self, server: &Address) -> String {
        server.to_string()
    }

    /// Whether what is there stays there: the drill cleans up behind itself then.
    fn stays(&self) -> bool;

    /// Does the damage that is to last for `outage`, and says what was done.
    ///
    /// # Errors
    /// When it cannot be done; nothing has happened then, as far as is known.
    fn fault(
        &mut self,
        scenario: Scenario,
        leader: &Address,
        outage: Duration,
    ) -> Result<String, Unable>;

    /// Undoes it as far as that is possible, and says what was done. Called twice, it does nothing the second time.
    ///
    /// # Errors
    /// When something could not be undone.
    fn heal(&mut self) -> Result<Option<String>, Unable>;
}
