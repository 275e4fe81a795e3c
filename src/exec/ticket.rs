//! What must be reached before somebody is answered: the disk, or replicas, or both.

use std::sync::Arc;

use super::{State, persist, unconfirmed};
use crate::persist::aof;
use crate::replication::gate::Pass;
use crate::util::waiting::{Confirmed, Reached};

/// What must be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    disk: Option<aof::Ticket>,
    replicas: Option<Pass>,
}

impl Ticket {
    /// What must be, if anything must.
    #[inline]
    pub fn of(disk: Option<aof::Ticket>, replicas: Option<Pass>) -> Option<Ticket> {
        (disk.is_some() || replicas.is_some()).then_some(Ticket { disk, replicas })
    }

    /// Whether the client may ask for nothing more until then. Who has only been left something may.
    pub fn stops(&self) -> bool {
        self.disk.is_some() || self.replicas.as_ref().is_some_and(Pass::has_answers)
    }

    /// Whether it was. What never reaches the disk is not told from what may yet, however late the replicas are.
    pub fn reached(&self) -> Reached {
        match self.disk.as_ref().map(aof::Ticket::reached) {
            None | Some(Reached::Yes) => {}
            Some(reached) => return reached,
        }
        self.replicas.as_ref().map_or(Reached::Yes, Pass::reached)
    }

    /// The same; if it was not yet, `who` is told when it is worth looking again.
    pub fn reached_or_tell(&self, who: &Arc<dyn Confirmed>) -> Reached {
        let disk = self.disk.as_ref().map(|disk| disk.reached_or_tell(who));
        if disk == Some(Reached::Lost) {
            return Reached::Lost;
        }
        // Also while the disk is late: nobody asks again.
        let replicas = self.replicas.as_ref().map(|pass| pass.reached_or_tell(who));
        match disk {
            Some(Reached::Later) => Reached::Later,
            _ => replicas.unwrap_or(Reached::Yes),
        }
    }

    /// Waits for it; says how that ended.
    pub fn wait(&self) -> Reached {
        if let Some(disk) = &self.disk
            && !disk.wait()
        {
            return Reached::Lost;
        }
        self.replicas.as_ref().map_or(Reached::Yes, Pass::wait)
    }

    /// What to send once the replicas were waited for in vain: errors in the place of the replies that did. `written` is
    /// the buffer that those were written to.
    pub fn refuse(&self, written: &[u8]) -> Vec<u8> {
        match &self.replicas {
            Some(pass) => pass.refuse(written),
            None => written.to_vec(),
        }
    }
}

/// The end of a batch of commands: hands over what they did. Gives what must be reached before anybody is answered who
/// has seen it.
#[inline]
pub fn settle(state: &mut State) -> Option<Ticket> {
    unconfirmed::settle(state);
    let disk = persist::log::settle(state);
    Ticket::of(disk, unconfirmed::pass(&mut state.sys))
}

/// What must be reached before somebody gets what was handed over to him, if nothing was done meanwhile.
#[inline]
pub fn of_output(state: &mut State) -> Option<Ticket> {
    let disk = persist::log::ticket(&state.sys);
    Ticket::of(disk, unconfirmed::pass(&mut state.sys))
}
