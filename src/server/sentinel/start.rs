//! From a configuration to a sentinel.

use std::fs::OpenOptions;
use std::net::ToSocketAddrs;
use std::path::Path;

use crate::sentinel::{Resolve, Sentinel, Settings};
use crate::service::config::{LoadError, Loaded};
use crate::util::clock::Ms;
use crate::util::rng::Rng;
use crate::util::system::reason;

/// Asks the system for names, which takes as long as it takes.
struct SystemNames;

impl Resolve for SystemNames {
    fn resolve(&self, host: &str) -> Option<String> {
        let mut found = (host, 0).to_socket_addrs().ok()?;
        Some(found.next()?.ip().to_string())
    }
}

/// The sentinel that a configuration describes, if it is one's. It begins at this time; with a seed everything random in it is
/// repeatable.
///
/// # Errors
/// When a line is refused.
pub(in super::super) fn assemble(
    loaded: &Loaded,
    seed: Option<u64>,
    now: Ms,
) -> Result<Option<Box<Sentinel>>, LoadError> {
    let Some(lines) = &loaded.sentinel else {
        return Ok(None);
    };
    let settings = Settings::new(String::new(), loaded.config.announced_port());
    let mut sentinel = Sentinel::new(settings, Box::new(SystemNames), Rng::new(seed), now);
    let words: Vec<_> = lines.iter().map(|line| line.words.clone()).collect();
    sentinel
        .load(&words)
        .map_err(|(index, why)| match lines.get(index) {
            Some(line) => line.refused(why),
            None => LoadError::Unreadable {
                path: loaded.file.clone().unwrap_or_default(),
                why,
            },
        })?;
    Ok(Some(Box::new(sentinel)))
}

/// Whether a sentinel can keep what it decides in its configuration file.
///
/// # Errors
/// What the operator should read.
pub(in super::super) fn check_file(file: Option<&Path>) -> Result<(), String> {
    let Some(path) = file else {
        return Err("Sentinel needs config file on disk to save state. Exiting...".to_owned());
    };
    match OpenOptions::new().append(true).open(path) {
        Ok(_) => Ok(()),
        Err(e) => Err(format!(
            "Sentinel config file {} is not writable: {}. Exiting...",
            path.display(),
            reason(&e)
        )),
    }
}
