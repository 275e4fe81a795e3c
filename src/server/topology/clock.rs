//! The time of a topology on real ports in the hands of its owner, and what is left to chance there.

use std::time::Duration;

use super::Topology;
use crate::embed::topology::Builder;
use crate::util::clock::ManualClock;
use crate::util::rng::Rng;

impl Builder {
    /// Gives all nodes a clock, servers and sentinels alike: whoever moves it moves all of them. A [`Simulation`] has a time of
    /// its own, and does not look at this.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redkeep::Topology;
    /// use redkeep::util::clock::ManualClock;
    ///
    /// let topology = Topology::builder().clock(ManualClock::frozen()).sync(true).start()?;
    /// let leader = topology.leader()?;
    /// topology.client(leader)?.call(["SET", "lock", "token", "NX", "EX", "30"])?;
    /// topology.kill(leader)?;
    /// // The seconds that sentinels need pass in the time of the clock.
    /// let next = topology.wait_for_leader_other_than(leader, Duration::from_secs(30))?;
    /// topology.wait_until_settled(Duration::from_secs(30))?;
    /// let mut client = topology.client(next)?;
    /// assert_eq!(client.call(["EXISTS", "lock"])?, redkeep::Value::Int(1));
    /// topology.clock().advance(Duration::from_secs(31));
    /// assert_eq!(client.call(["EXISTS", "lock"])?, redkeep::Value::Int(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// [`Simulation`]: crate::embed::simulation::Simulation
    pub fn clock(mut self, clock: ManualClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Makes repeatable what the nodes leave to chance: their ids, whom sentinels vote for, what RANDOMKEY gives. What threads and
    /// sockets do is not repeatable: for that there is a [`Simulation`](crate::embed::simulation::Simulation), which is
    /// [given its seed](Self::simulated) as it is made.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}

impl Topology {
    /// The clock of all nodes. Unless they were [given another](Builder::clock), it runs as the machine's does; it can be
    /// stopped, moved and set at any time. While it stands, what waits here for something moves it on; a call to a node that waits
    /// for time to pass (for a replica that is to connect again, say) waits until somebody else moves it.
    pub const fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// Has so much time pass at once, with all that is due meanwhile, as [`ManualClock::advance`] does.
    pub fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Lets so much time pass: on a clock that runs, of the caller's life.
    pub(super) fn pass(&self, time: Duration) {
        match self.clock.stands() {
            true => self.clock.advance(time),
            false => std::thread::sleep(time),
        }
    }
}

/// The seed of a node that is started for the so-many-th time: nothing about it is as it was, or as it is of another one.
pub(super) fn seed_of(seed: u64, place: usize, starts: u64) -> u64 {
    let mut rng = Rng::seed_from_u64(seed ^ ((place as u64) << 32) ^ (starts << 48));
    rng.next_u64()
}
