//! What may be done with any topology, so that the same test runs in virtual time and on real sockets.

use std::time::Duration;

use super::error::Error;
use super::node::{Node, Role, State};
use crate::embed::{CallError, Client};
use crate::resp::Value;

/// Somebody who asks one node.
pub trait Caller {
    /// Runs a command and waits for its reply. An error reply is a [`Value::Error`].
    ///
    /// # Errors
    /// When there is none: because the node was killed, say.
    fn call<I>(&mut self, args: I) -> Result<Value, CallError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>;
}

impl Caller for Client {
    fn call<I>(&mut self, args: I) -> Result<Value, CallError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        self.call(args)
    }
}

/// A leader, its replicas and their sentinels, and what may happen to them: on real ports or in virtual time.
///
/// ```
/// use redkeep::Simulation;
/// use redkeep::topology::{Error, Fortress};
/// use std::time::Duration;
///
/// /// Nothing that was acknowledged is lost with the leader, wherever this runs.
/// fn outlasts_its_leader(fortress: &impl Fortress) -> Result<(), Error> {
///     let leader = fortress.leader()?;
///     fortress.call(leader, ["SET", "stock", "12"])?;
///     fortress.kill(leader)?;
///     let next = fortress.wait_for_leader_other_than(leader, Duration::from_secs(30))?;
///     assert_eq!(fortress.call(next, ["GET", "stock"])?, redkeep::Value::Bulk(b"12".to_vec()));
///     Ok(())
/// }
///
/// outlasts_its_leader(&Simulation::builder().sync(true).simulated(1)?)?;
/// // On real ports, with the `server` feature: outlasts_its_leader(&Topology::builder().sync(true).start()?)
/// # Ok::<(), Error>(())
/// ```
pub trait Fortress {
    /// Who asks a node.
    type Client: Caller;

    /// What the sentinels call the leader.
    fn name(&self) -> &str;

    /// All nodes: the servers first, then the sentinels.
    fn nodes(&self) -> Vec<Node>;

    /// Those that hold data; a new topology begins with the first of them as the leader.
    fn servers(&self) -> Vec<Node> {
        self.others(self.sentinels())
    }

    /// Those that watch.
    fn sentinels(&self) -> Vec<Node> {
        let nodes = self.nodes().into_iter();
        nodes.filter(Node::is_sentinel).collect()
    }

    /// All nodes but these.
    fn others(&self, than: impl IntoIterator<Item = Node>) -> Vec<Node> {
        let than: Vec<_> = than.into_iter().collect();
        let nodes = self.nodes().into_iter();
        nodes.filter(|node| !than.contains(node)).collect()
    }

    /// What was done to a node.
    ///
    /// # Errors
    /// When it is none of this topology.
    fn state(&self, node: Node) -> Result<State, Error>;

    /// What a node does, as it sees that itself: a leader that is cut off goes on leading.
    ///
    /// # Errors
    /// When it does not run.
    fn role(&self, node: Node) -> Result<Role, Error>;

    /// Who leads, as the sentinels say: what that one says that knows the newest. Without sentinels it is the one server
    /// that leads.
    ///
    /// # Errors
    /// When none of them can be asked, or without sentinels not exactly one server leads.
    fn leader(&self) -> Result<Node, Error>;

    /// A client of a node, whom no partition cuts off from it.
    ///
    /// # Errors
    /// When it does not run.
    fn client(&self, node: Node) -> Result<Self::Client, Error>;

    /// Asks a node as a new client.
    ///
    /// # Errors
    /// When it does not run, or does not answer.
    fn call<I>(&self, node: Node, args: I) -> Result<Value, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let called = self.client(node)?.call(args);
        called.map_err(|source| Error::Call { node, source })
    }

    /// Ends a node as SIGKILL ends a process: its connections are closed and nothing is saved. What was written to files
    /// stays.
    ///
    /// # Errors
    /// When it does not run.
    fn kill(&self, node: Node) -> Result<(), Error>;

    /// Has a node stand still, as SIGSTOP does with a process.
    ///
    /// # Errors
    /// When it does not run, or is kept by a script.
    fn freeze(&self, node: Node) -> Result<(), Error>;

    /// Has a node go on that was frozen.
    ///
    /// # Errors
    /// When it was not.
    fn thaw(&self, node: Node) -> Result<(), Error>;

    /// Starts a node that was killed, at the same address, with its files as they are. One that runs is ended before, as
    /// SIGTERM would; one that is frozen is killed.
    ///
    /// # Errors
    /// When it does not start.
    fn restart(&self, node: Node) -> Result<(), Error>;

    /// Cuts the lines between the nodes of one side and those of the other, until [`heal`](Self::heal): in both directions
    /// bytes stand still. Nobody sees a connection closed. What was cut before stays so.
    ///
    /// # Errors
    /// When one of them is none of this topology.
    fn partition(
        &self,
        left: impl IntoIterator<Item = Node>,
        right: impl IntoIterator<Item = Node>,
    ) -> Result<(), Error>;

    /// All lines are as they were before they were cut. What stood still is delivered.
    fn heal(&self);

    /// Bytes between the nodes of one side and those of the other are on their way for so long, in each direction; none is
    /// as at the start.
    ///
    /// # Errors
    /// When one of them is none of this topology.
    fn delay(
        &self,
        left: impl IntoIterator<Item = Node>,
        right: impl IntoIterator<Item = Node>,
        delay: Duration,
    ) -> Result<(), Error>;

    /// Has so much time pass at once, with all that is due meanwhile: on real ports by the clock that the nodes share.
    fn advance(&self, time: Duration);

    /// Lets so much time pass, the topology's own: on real ports that is time of the caller's life, unless its clock stands; in
    /// a simulation it takes as long as what happens meanwhile.
    fn pass(&self, time: Duration);

    /// Waits until the sentinels have made somebody else the leader than this one; gives who that is.
    ///
    /// # Errors
    /// When it does not come to that in time.
    fn wait_for_leader_other_than(&self, node: Node, timeout: Duration) -> Result<Node, Error>;

    /// Waits until all is in order with the nodes that run: one leads and the others follow it, as far as they can be
    /// reached; and each sentinel knows of all of them, and finds that enough agree for a failover.
    ///
    /// # Errors
    /// When it does not come to that in time: the error says what was missing.
    fn wait_until_settled(&self, timeout: Duration) -> Result<(), Error>;
}

/// Gives a type that has the methods of [`Fortress`] the trait, with what lets time pass there.
macro_rules! as_fortress {
    ($fortress:ty, $client:ty, $pass:expr) => {
        impl $crate::embed::topology::Fortress for $fortress {
            type Client = $client;

            fn name(&self) -> &str {
                self.name()
            }

            fn nodes(&self) -> Vec<Node> {
                self.nodes()
            }

            fn state(&self, node: Node) -> Result<State, Error> {
                self.state(node)
            }

            fn role(&self, node: Node) -> Result<Role, Error> {
                self.role(node)
            }

            fn leader(&self) -> Result<Node, Error> {
                self.leader()
            }

            fn client(&self, node: Node) -> Result<Client, Error> {
                self.client(node)
            }

            fn kill(&self, node: Node) -> Result<(), Error> {
                self.kill(node)
            }

            fn freeze(&self, node: Node) -> Result<(), Error> {
                self.freeze(node)
            }

            fn thaw(&self, node: Node) -> Result<(), Error> {
                self.thaw(node)
            }

            fn restart(&self, node: Node) -> Result<(), Error> {
                self.restart(node)
            }

            fn partition(
                &self,
                left: impl IntoIterator<Item = Node>,
                right: impl IntoIterator<Item = Node>,
            ) -> Result<(), Error> {
                self.partition(left, right)
            }

            fn heal(&self) {
                self.heal();
            }

            fn delay(
                &self,
                left: impl IntoIterator<Item = Node>,
                right: impl IntoIterator<Item = Node>,
                delay: Duration,
            ) -> Result<(), Error> {
                self.delay(left, right, delay)
            }

            fn advance(&self, time: Duration) {
                self.advance(time);
            }

            fn pass(&self, time: Duration) {
                $pass(self, time);
            }

            fn wait_for_leader_other_than(
                &self,
                node: Node,
                timeout: Duration,
            ) -> Result<Node, Error> {
                self.wait_for_leader_other_than(node, timeout)
            }

            fn wait_until_settled(&self, timeout: Duration) -> Result<(), Error> {
                self.wait_until_settled(timeout)
            }
        }
    };
}
pub(crate) use as_fortress;
