//! How a simulation sees itself.

use std::time::Duration;

use super::Simulation;
use crate::embed::topology::view::{self, Seen};
use crate::embed::topology::{Error, Node, Role, State};
use crate::engine::Engine;

impl Seen for Simulation {
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
        let place = self.running(node)?;
        let looked = self.town().world.look(place, look);
        looked.ok_or(Error::Killed(node))
    }

    fn passed(&self) -> Duration {
        self.now()
    }

    fn pause(&self, time: Duration) {
        self.advance(time);
    }
}

view::view_methods!(Simulation);
