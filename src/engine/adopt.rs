//! Another data set in place of the one that is there.

use super::Engine;
use crate::exec::persist::staging::{self, Staging};
use crate::exec::replication::feed;
use crate::replication::Position;

/// Why a data set does not take the place of the one that is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRestored {
    /// This instance follows another one, and holds what that holds.
    #[error("a replica holds what its leader holds")]
    Replica,
    /// A data set is being loaded.
    #[error("a data set is being loaded")]
    Loading,
    /// It ends too early, or its libraries of functions cannot be loaded.
    #[error("{0}")]
    Unusable(String),
}

impl Engine {
    /// Puts a data set that was loaded beside the one that is there in its place, libraries of functions included. Gives
    /// where in which history it stands, if it says so. What was there is garbage to be [taken](Self::take_garbage).
    ///
    /// # Errors
    /// When it is not whole, or its functions cannot be loaded: then nothing has changed.
    pub fn adopt(&mut self, staging: Staging) -> Result<Option<Position>, String> {
        let staging = self.make_way(staging)?;
        let position = staging.position();
        staging::adopt(self.state(), staging);
        Ok(position)
    }

    /// As [`adopt`](Self::adopt), for a data set that somebody gives to a leader: no history has it, so that whoever
    /// follows this instance has to ask for all of it.
    ///
    /// # Errors
    /// [`NotRestored`]; nothing has changed then.
    pub fn restore(&mut self, staging: Staging) -> Result<(), NotRestored> {
        let sys = &self.state().sys;
        let refused = match (sys.repl.is_replica(), sys.persist.loading.is_some()) {
            (true, _) => Some(NotRestored::Replica),
            (_, true) => Some(NotRestored::Loading),
            _ => None,
        };
        if let Some(refused) = refused {
            staging.discard(&mut self.state().ks);
            return Err(refused);
        }
        let staging = self.make_way(staging).map_err(NotRestored::Unusable)?;
        feed::begin_anew(self.state());
        staging::adopt(self.state(), staging);
        Ok(())
    }

    /// Loads the functions of a data set that is to be adopted, and hands over what was logged of the one that goes.
    fn make_way(&mut self, mut staging: Staging) -> Result<Staging, String> {
        let functions = staging.take_functions();
        let restored = match functions {
            _ if !staging.is_whole() => Err("it is not whole".to_owned()),
            None if self.state().sys.libraries.is_empty() => Ok(()),
            functions => self.restore_functions(&functions.unwrap_or_default()),
        };
        if let Err(e) = restored {
            staging.discard(&mut self.state().ks);
            return Err(e);
        }
        self.settle();
        Ok(staging)
    }
}
