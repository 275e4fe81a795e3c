//! Who asks a node of a simulation.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::town::Town;
use crate::embed::world::Place;
use crate::embed::{CallError, Message};
use crate::resp::Value;

/// How long a call waits, where nothing else is said.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of a node of a [`Simulation`](super::Simulation): its requests and their replies go over the simulated network,
/// and time passes while it waits for them.
pub struct Client {
    town: Rc<RefCell<Town>>,
    id: usize,
    patience: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(town: &Rc<RefCell<Town>>, place: Place) -> Client {
        let id = town.borrow_mut().join(place);
        Client {
            town: Rc::clone(town),
            id,
            patience: PATIENCE,
        }
    }

    /// How long it waits for a reply, in the time of the simulation: a minute, unless this says otherwise.
    pub const fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Runs a command and lets time pass until its reply is there. An error reply is a [`Value::Error`]. Replies to what was
    /// [sent](Self::send) before come first, and are dropped.
    ///
    /// # Errors
    /// [`CallError::NoAnswer`] when there is none in time, [`CallError::Stopped`] when the node is gone, and
    /// [`CallError::Closed`] when the connection is.
    pub fn call<I>(&mut self, args: I) -> Result<Value, CallError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        // What was sent before is answered before.
        while self.town.borrow().waits(self.id) {
            self.receive()?;
        }
        self.send(args)?;
        self.receive()
    }

    /// Sends a command without waiting for its reply, which [`receive`](Self::receive) gives: no time passes. So a client can
    /// wait for something that another one does.
    ///
    /// ```
    /// use redkeep::Simulation;
    ///
    /// let world = Simulation::builder().replicas(0).sentinels(0).simulated(1)?;
    /// let node = world.leader()?;
    /// let (mut taker, mut giver) = (world.client(node)?, world.client(node)?);
    /// taker.send(["BLPOP", "queue", "10"])?;
    /// giver.call(["RPUSH", "queue", "job"])?;
    /// assert_eq!(taker.receive()?.to_string(), r#"["queue", "job"]"#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the connection is gone, or there is no command.
    pub fn send<I>(&mut self, args: I) -> Result<(), CallError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let args: Vec<I::Item> = args.into_iter().collect();
        let args: Vec<&[u8]> = args.iter().map(AsRef::as_ref).collect();
        if args.is_empty() {
            return Err(CallError::Empty);
        }
        self.town.borrow_mut().ask(self.id, &args)
    }

    /// Lets time pass until the next reply to what was sent is there. When it does not come in time it is not waited for any
    /// more.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn receive(&mut self) -> Result<Value, CallError> {
        self.town.borrow_mut().reply(self.id, self.patience)
    }

    /// The next thing that comes without being asked for: what is published to a channel that this client subscribed to,
    /// say. Lets time pass until then, up to `timeout`, or as long as it waits for replies.
    ///
    /// # Errors
    /// When the connection is gone, and everything that came before was fetched.
    pub fn next_message(
        &mut self,
        timeout: Option<Duration>,
    ) -> Result<Option<Message>, CallError> {
        let patience = timeout.unwrap_or(self.patience);
        let message = self.town.borrow_mut().message(self.id, patience)?;
        Ok(message.map(Message::from))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Ok(mut town) = self.town.try_borrow_mut() {
            town.leave(self.id);
        }
    }
}
