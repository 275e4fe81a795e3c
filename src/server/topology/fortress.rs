//! A topology on real ports is one of those that the same test may run on.

use std::time::Duration;

use super::Topology;
use crate::embed::Client;
use crate::embed::topology::{Error, Fortress, Node, Role, State};

impl Fortress for Topology {
    type Client = Client;

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

    fn pass(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn wait_for_leader_other_than(&self, node: Node, timeout: Duration) -> Result<Node, Error> {
        self.wait_for_leader_other_than(node, timeout)
    }

    fn wait_until_settled(&self, timeout: Duration) -> Result<(), Error> {
        self.wait_until_settled(timeout)
    }
}
