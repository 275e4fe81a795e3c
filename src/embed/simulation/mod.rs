//! A topology in memory and in virtual time: a whole failover takes milliseconds, and is the same at every run.
//!
//! ```text
//! start  what is asked for becomes machines      client  who asks a node
//! town   the world, and the clients in it        view    who leads, and waiting for it
//! ```

mod client;
mod start;
mod town;
mod view;

use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::time::Duration;

pub use client::Client;

use super::CallError;
use super::topology::{Builder, Caller, Error, Fortress, Node, Role, State, as_fortress};
use super::world::{Down, Place};
use crate::resp::Value;
use town::Town;

/// A leader, its replicas and their sentinels in memory, in one thread and in a time of their own, which passes only while
/// somebody waits for something: in a [`call`](Client::call), a `wait_…` or [`advance`](Self::advance).
///
/// It does what a `Topology` on real ports does, and has the same methods ([`Fortress`] has those that both have); the nodes
/// run the same engines. But nothing of it depends on the machine that it runs on: seconds of its time pass in milliseconds,
/// and whatever is left to chance (how long bytes are on their way, whom sentinels vote for) comes from one seed. With the
/// same seed the same requests give the same replies, and the same [`journal`](Self::journal).
///
/// ```
/// use redkeep::{Simulation, Value};
/// use std::time::Duration;
///
/// let world = Simulation::builder().replicas(2).sync(true).simulated(7)?;
/// let leader = world.leader()?;
/// let mut client = world.client(leader)?;
/// client.call(["SET", "lock", "token", "NX", "PX", "30000"])?;
///
/// world.kill(leader)?;
/// let next = world.wait_for_leader_other_than(leader, Duration::from_secs(30))?;
/// let mut client = world.client(next)?;
/// assert_eq!(client.call(["GET", "lock"])?, Value::Bulk(b"token".to_vec()));
///
/// // Half a minute, in no time.
/// world.advance(Duration::from_secs(30));
/// assert_eq!(client.call(["GET", "lock"])?, Value::Null);
///
/// world.restart(leader)?;
/// world.wait_until_settled(Duration::from_secs(30))?;
/// assert_eq!(world.leader()?, next);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What is not simulated: time that commands and scripts take (none, however long they really run), scripts of sentinels,
/// TLS, `CONFIG SET port`, and `REDKEEP CLOCK`, which is refused ([`advance`](Self::advance) and
/// [`set_clock_by`](Self::set_clock_by) move clocks). Limits of running time (`lua-time-limit`) are those of real time.
#[derive(Debug)]
pub struct Simulation {
    town: Rc<RefCell<Town>>,
    nodes: Vec<Node>,
    name: String,
}

impl Simulation {
    /// One to be configured and started: by default two replicas and three sentinels that keep data in memory.
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn town(&self) -> RefMut<'_, Town> {
        self.town.borrow_mut()
    }

    /// The place of a node of this simulation.
    fn place(&self, node: Node) -> Result<Place, Error> {
        match self.nodes.get(node.place) {
            Some(own) if *own == node => Ok(node.place),
            _ => Err(Error::Unknown(node)),
        }
    }

    fn places(&self, nodes: impl IntoIterator<Item = Node>) -> Result<Vec<Place>, Error> {
        nodes.into_iter().map(|node| self.place(node)).collect()
    }

    /// The place of a node that runs.
    fn running(&self, node: Node) -> Result<Place, Error> {
        match self.state(node)? {
            State::Running => Ok(node.place),
            State::Frozen => Err(Error::Frozen(node)),
            State::Killed => Err(Error::Killed(node)),
        }
    }

    /// What the sentinels call the leader.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All nodes: the servers first, then the sentinels.
    pub fn nodes(&self) -> Vec<Node> {
        self.nodes.clone()
    }

    /// Those that hold data; a new topology begins with the first of them as the leader.
    pub fn servers(&self) -> Vec<Node> {
        Fortress::servers(self)
    }

    /// Those that watch.
    pub fn sentinels(&self) -> Vec<Node> {
        Fortress::sentinels(self)
    }

    /// All nodes but these.
    pub fn others(&self, than: impl IntoIterator<Item = Node>) -> Vec<Node> {
        Fortress::others(self, than)
    }

    /// What was done to a node.
    ///
    /// # Errors
    /// When it is none of this simulation.
    pub fn state(&self, node: Node) -> Result<State, Error> {
        let place = self.place(node)?;
        let town = self.town();
        let machine = &town.world.machines[place];
        Ok(match (machine.is_up(), machine.is_frozen()) {
            (false, _) => State::Killed,
            (true, true) => State::Frozen,
            (true, false) => State::Running,
        })
    }

    /// A client of a node, whom no partition cuts off from it. It lasts until the node is killed.
    ///
    /// # Errors
    /// When the node does not run.
    pub fn client(&self, node: Node) -> Result<Client, Error> {
        Ok(Client::new(&self.town, self.running(node)?))
    }

    /// Asks a node as a new client.
    ///
    /// # Errors
    /// When it does not run, or does not answer.
    pub fn call<I>(&self, node: Node, args: I) -> Result<Value, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        Fortress::call(self, node, args)
    }

    /// Ends a node as SIGKILL ends a process: its connections are closed and nothing is saved. What was written to its disk
    /// stays, synced or not.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self, node: Node) -> Result<(), Error> {
        self.take_down(node, Down::Killed)
    }

    /// Ends a node so that of its disk exactly that stays what was synced. Its connections are closed.
    ///
    /// # Errors
    /// When it does not run.
    pub fn crash(&self, node: Node) -> Result<(), Error> {
        self.take_down(node, Down::Crashed)
    }

    /// The power of a node's machine goes: what was synced stays, of the rest any part may, as the seed has it, and nobody
    /// is told that its connections are gone.
    ///
    /// # Errors
    /// When it does not run.
    pub fn cut_power(&self, node: Node) -> Result<(), Error> {
        self.take_down(node, Down::Power)
    }

    fn take_down(&self, node: Node, down: Down) -> Result<(), Error> {
        let place = self.place(node)?;
        if self.state(node)? == State::Killed {
            return Err(Error::Killed(node));
        }
        self.town().take_down(place, down);
        Ok(())
    }

    /// Has a node stand still, as SIGSTOP does with a process: nothing is answered, not even calls.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self, node: Node) -> Result<(), Error> {
        let place = self.running(node)?;
        self.town().world.freeze(place);
        Ok(())
    }

    /// Has a node go on that was frozen.
    ///
    /// # Errors
    /// When it was not.
    pub fn thaw(&self, node: Node) -> Result<(), Error> {
        let place = self.place(node)?;
        match self.state(node)? {
            State::Frozen => {
                self.town().world.thaw(place);
                Ok(())
            }
            State::Running => Err(Error::NotFrozen(node)),
            State::Killed => Err(Error::Killed(node)),
        }
    }

    /// Starts a node that was killed, at the same address, with what its disk holds. One that runs is ended before, as
    /// SIGTERM would; one that is frozen is killed.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&self, node: Node) -> Result<(), Error> {
        let place = self.place(node)?;
        let down = match self.state(node)? {
            State::Running => Down::Clean,
            State::Frozen | State::Killed => Down::Killed,
        };
        let mut town = self.town();
        town.take_down(place, down);
        let started = town.world.start(place);
        started.map_err(|source| Error::Start {
            node,
            source: Box::new(source),
        })
    }

    /// Sets the clock of a node's machine by so many milliseconds: what a step of the system's clock does.
    ///
    /// # Errors
    /// When the node does not run.
    pub fn set_clock_by(&self, node: Node, ms: i64) -> Result<(), Error> {
        let place = self.running(node)?;
        let micros = ms.saturating_mul(1000);
        self.town().world.set_clock_by(place, micros);
        Ok(())
    }

    /// Cuts the lines between the nodes of one side and those of the other, until [`heal`](Self::heal): in both
    /// directions bytes stand still, and new connections are neither made nor refused. Nobody sees a connection closed.
    /// What was cut before stays so.
    ///
    /// A leader that is alone on its side goes on serving its clients, and a node that is on neither side reaches both.
    ///
    /// # Errors
    /// When one of them is none of this simulation.
    pub fn partition(
        &self,
        left: impl IntoIterator<Item = Node>,
        right: impl IntoIterator<Item = Node>,
    ) -> Result<(), Error> {
        let ways = Ways(self.places(left)?, self.places(right)?);
        self.town().part(&ways);
        Ok(())
    }

    /// All lines are as they were before they were cut. What stood still is delivered.
    pub fn heal(&self) {
        self.town().heal();
    }

    /// Bytes between the nodes of one side and those of the other are on their way for so much longer than the fraction of
    /// a millisecond that they take anyway, in each direction.
    ///
    /// # Errors
    /// When one of them is none of this simulation.
    pub fn delay(
        &self,
        left: impl IntoIterator<Item = Node>,
        right: impl IntoIterator<Item = Node>,
        delay: Duration,
    ) -> Result<(), Error> {
        let ways = Ways(self.places(left)?, self.places(right)?);
        self.town().delay(&ways, delay);
        Ok(())
    }

    /// Packets between the nodes of one side and those of the other are lost with a probability (of at most 0.99), in each
    /// direction. As TCP has it they are sent again, after 200 ms at first, and whatever follows waits for them.
    ///
    /// # Errors
    /// When one of them is none of this simulation.
    pub fn lose(
        &self,
        left: impl IntoIterator<Item = Node>,
        right: impl IntoIterator<Item = Node>,
        probability: f64,
    ) -> Result<(), Error> {
        let ways = Ways(self.places(left)?, self.places(right)?);
        self.town().lose(&ways, probability);
        Ok(())
    }

    /// Lets so much time pass. Whatever is due meanwhile happens.
    pub fn advance(&self, time: Duration) {
        self.town().advance(time);
    }

    /// How much time has passed since the beginning.
    pub fn now(&self) -> Duration {
        let micros = u64::try_from(self.town().world.now());
        Duration::from_micros(micros.unwrap_or_default())
    }

    /// What has happened so far: each line has the second at which it did, and what it was. The oldest go when there are
    /// more than a million.
    pub fn journal(&self) -> Vec<String> {
        let town = self.town();
        town.world.journal.lines().map(str::to_owned).collect()
    }
}

/// Ways between the places of two sides.
struct Ways(Vec<Place>, Vec<Place>);

impl Ways {
    /// From where to where, in both directions.
    fn all(&self) -> impl Iterator<Item = (Place, Place)> + '_ {
        let Ways(left, right) = self;
        let pairs = left
            .iter()
            .flat_map(move |one| right.iter().map(move |other| (*one, *other)));
        pairs.flat_map(|(one, other)| [(one, other), (other, one)])
    }
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

as_fortress!(Simulation, Client, Simulation::advance);
