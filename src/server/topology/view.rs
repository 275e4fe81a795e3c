//! How a topology on real ports sees itself.

use std::time::Duration;

use super::Topology;
use crate::embed::topology::view::{self, Seen};
use crate::embed::topology::{Error, Node, Role, State};
use crate::engine::Engine;

impl Seen for Topology {
    fn all(&self) -> Vec<Node> {
        self.nodes()
    }

    fn called(&self) -> &str {
        self.name()
    }

    fn state_of(&self, node: Node) -> State {
        self.state(node).unwrap_or(State::Killed)
    }

    fn look<T>(&self, node: Node, look: impl FnOnce(&mut Engine) -> T) -> Result<T, Error> {
        self.slot(node)?.look(look)
    }

    fn passed(&self) -> Duration {
        Duration::from_micros(self.clock().steady_us().unsigned_abs())
    }

    fn pause(&self, time: Duration) {
        self.pass(time);
    }
}

view::view_methods!(Topology);
