//! How a topology on real ports sees itself, and waits.

use std::time::{Duration, Instant};

use super::Topology;
use crate::embed::topology::view::{self, Seen};
use crate::embed::topology::{Error, Node, Role, State};
use crate::engine::Engine;

/// How often it is looked whether something has happened.
const PAUSE: Duration = Duration::from_millis(10);

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
}

impl Topology {
    /// Who leads, as the sentinels say: what that one says that knows the newest. Without sentinels it is the one server
    /// that leads.
    ///
    /// # Errors
    /// When none of them can be asked, or without sentinels not exactly one server leads.
    pub fn leader(&self) -> Result<Node, Error> {
        view::leader(self)
    }

    /// What a node does, as it sees that itself: a leader that is cut off goes on leading.
    ///
    /// # Errors
    /// When it does not run.
    pub fn role(&self, node: Node) -> Result<Role, Error> {
        view::role(self, node)
    }

    /// Waits until the sentinels have made somebody else the leader than this one; gives who that is.
    ///
    /// # Errors
    /// When it does not come to that in time.
    pub fn wait_for_leader_other_than(&self, node: Node, timeout: Duration) -> Result<Node, Error> {
        wait(timeout, || view::other_leader(self, node))
    }

    /// Waits until all is in order with the nodes that run: one leads and the others follow it, as far as they can be
    /// reached; and each sentinel knows of all of them, and finds that enough agree for a failover.
    ///
    /// # Errors
    /// When it does not come to that in time: the error says what was missing.
    pub fn wait_until_settled(&self, timeout: Duration) -> Result<(), Error> {
        wait(timeout, || view::settled(self))
    }
}

fn wait<T>(timeout: Duration, look: impl Fn() -> Result<T, String>) -> Result<T, Error> {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(what) if began.elapsed() >= timeout => {
                return Err(Error::Timeout {
                    what,
                    after: timeout,
                });
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
