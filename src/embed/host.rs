//! The surroundings of an instance that has no sockets.

use std::sync::Arc;

use super::facts;
use super::storage::Storage;
use crate::exec::{Facts, Host};
use crate::persist::Disk;
use crate::service::config::{ApplyError, Change, Config};

/// A disk, and the process around.
pub(super) struct InstanceHost {
    pub(super) storage: Storage,
}

impl Host for InstanceHost {
    fn facts(&self) -> Facts {
        facts::of_process()
    }

    fn disk(&self) -> Option<Arc<dyn Disk>> {
        self.storage.disk()
    }

    fn apply(
        &mut self,
        old: &Config,
        new: &mut Config,
        changes: &[Change],
    ) -> Result<(), ApplyError> {
        let elsewhere = self.storage.prepare(old, new, changes)?;
        if let Some(name) = needs_sockets(new) {
            let why = "this instance has no sockets".into();
            return Err(ApplyError { name, why });
        }
        self.storage.take(elsewhere);
        Ok(())
    }
}

/// The parameter that asks for sockets, if one does.
pub(super) fn needs_sockets(config: &Config) -> Option<&'static str> {
    let asked = [
        ("port", config.port != 0),
        ("tls-port", config.tls_port != 0),
        ("unixsocket", !config.unixsocket.is_empty()),
        ("metrics-port", config.metrics_port != 0),
        ("replicaof", config.replicaof.is_some()),
    ];
    let mut asked = asked.into_iter().filter(|(_, asked)| *asked);
    asked.next().map(|(name, _)| name)
}
