//! Having things go wrong on a server of this process.

use super::Node;
use super::ice::{FreezeError, Frozen};
use crate::service::faults::{Fault, FaultError, FaultId, Listed};

/// The faults of a server: what is to go wrong there, by whom it is asked. Clones are the same ones.
///
/// ```
/// use redkeep::embed::CallError;
/// use redkeep::faults::Fault;
///
/// let server = redkeep::Server::builder().start()?;
/// let mut client = server.client()?;
/// let lock = ["SET", "lock:a", "token", "NX", "PX", "30000"];
///
/// let loading = server.faults().add(Fault::command("SET").key("lock:*").fail("LOADING").times(2))?;
/// for _ in 0..2 {
///     assert!(client.call(lock)?.to_string().contains("LOADING"));
/// }
/// assert_eq!(client.call(lock)?.to_string(), "OK");
/// assert_eq!(server.faults().hits(loading), 2);
///
/// // It is taken, and nobody hears of it.
/// server.faults().add(Fault::command("SET").drop_after().once())?;
/// let lost = client.call(["SET", "lock:b", "token", "NX"]);
/// assert_eq!(lost, Err(CallError::Closed));
/// assert_eq!(server.client()?.call(["GET", "lock:b"])?.to_string(), "\"token\"");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// None of this needs the engine of the server: rules can be changed while it is busy, or frozen.
#[derive(Clone, Debug)]
pub struct Faults {
    node: Node,
}

impl Faults {
    /// The faults of what is behind a node.
    pub const fn of(node: Node) -> Self {
        Self { node }
    }

    /// Adds a fault. Several may strike one command: the first that is not a delay, and all delays together.
    ///
    /// # Errors
    /// When the server has no such command or category, or what is asked for makes no sense.
    pub fn add(&self, fault: Fault) -> Result<FaultId, FaultError> {
        self.node.rules().add(fault, self.node.commands())
    }

    /// Takes a fault away; whether it was there. What it has struck already stays struck.
    #[expect(clippy::must_use_candidate, reason = "it is done for its effect")]
    pub fn remove(&self, id: FaultId) -> bool {
        self.node.rules().remove(id)
    }

    /// Takes all faults away.
    pub fn clear(&self) {
        self.node.rules().clear();
    }

    /// All faults, in the order in which they were added, and how often each could have struck and has.
    pub fn list(&self) -> Vec<Listed> {
        self.node.rules().list()
    }

    /// How often a fault has struck; 0 if it is not there.
    pub fn hits(&self, id: FaultId) -> u64 {
        let listed = self.list().into_iter().find(|listed| listed.id == id);
        listed.map_or(0, |listed| listed.hits)
    }

    /// Whether there is a fault that a command could meet, or a client that has still to do with one: that hears nothing any
    /// more, or waits for a reply that is late. Commands take their usual way only if there is none.
    pub fn are_on(&self) -> bool {
        self.node.rules().concern_commands()
    }

    /// Has the whole server stand still until what is returned is dropped: see [`Frozen`].
    ///
    /// ```
    /// let server = redkeep::Server::builder().start()?;
    /// let frozen = server.faults().freeze()?;
    /// // Whoever asks the server for anything now waits.
    /// frozen.thaw();
    /// assert_eq!(server.client()?.call(["PING"])?.to_string(), "PONG");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When a script is running past its limit, the server has stopped, or the system gives no thread.
    pub fn freeze(&self) -> Result<Frozen, FreezeError> {
        Frozen::over(&self.node)
    }
}
