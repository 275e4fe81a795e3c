//! Another data set in place of the one that is there.

use super::Engine;
use crate::exec::persist::staging::{self, Staging};
use crate::replication::Position;

impl Engine {
    /// Puts a data set that was loaded beside the one that is there in its place, libraries of functions included. Gives
    /// where in which history it stands, if it says so. What was there is garbage to be [taken](Self::take_garbage).
    ///
    /// # Errors
    /// When it is not whole, or its functions cannot be loaded: then nothing has changed.
    pub fn adopt(&mut self, mut staging: Staging) -> Result<Option<Position>, String> {
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
        // What was logged until now is of the data set that goes.
        self.settle();
        let position = staging.position();
        staging::adopt(self.state(), staging);
        Ok(position)
    }
}
