//! From a configuration to an engine behind its lock: what every instance has, with sockets or without.

use std::io;
use std::sync::Arc;

use super::jobs::{self, JobError};
use super::node::Node;
use super::storage::{IN_USE, Storage};
use super::users;
use crate::commands;
use crate::engine::{Engine, Options};
use crate::exec::Commands;
use crate::exec::persist::load::Loading;
use crate::persist::Disk;
use crate::service::acl::Users;
use crate::service::config::{Config, LoadError, Loaded};

/// Why an instance did not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A parameter or its value was refused.
    #[error("{0}")]
    Config(#[from] LoadError),
    /// A parameter asks for what only a server with sockets has.
    #[error("{0} needs sockets: start a Server")]
    NeedsSockets(&'static str),
    /// The users cannot be had.
    #[error("{0}")]
    Users(String),
    /// The log of all writes is wanted (`appendonly`), and there is no place for it.
    #[error("appendonly needs a directory: set dir")]
    NoDirectory,
    /// The directory for the data set cannot be had: it is not there, or another instance keeps its data in it.
    #[error("cannot keep data in {dir}: {}", why(source))]
    Dir {
        /// The directory asked for.
        dir: String,
        /// What the system says; [`io::ErrorKind::WouldBlock`] where another instance has it.
        source: io::Error,
    },
    /// The data set cannot be loaded.
    #[error("Fatal error loading the DB: {0}")]
    Data(#[from] JobError),
    /// The system gave no thread or no event queue.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock => IN_USE.to_owned(),
        _ => error.to_string(),
    }
}

/// What of a configuration is found out before anything is touched outside.
#[derive(Debug)]
pub(crate) struct Checked {
    commands: Commands,
    users: Users,
}

impl Checked {
    /// The commands under the names that a configuration gives them, and its users.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn new(loaded: &Loaded) -> Result<Self, OpenError> {
        let mut commands = Commands::new(match loaded.sentinel {
            Some(_) => commands::sentinel_registry(),
            None => commands::registry(),
        });
        for line in &loaded.renames {
            if let [_, from, to] = line.words.as_slice() {
                let renamed = commands.rename(from, to);
                renamed.map_err(|why| line.refused(why.to_string()))?;
            }
        }
        let users = users::users(loaded, commands.own())?;
        Ok(Self { commands, users })
    }

    /// Puts an engine together. What is in the directory is loaded at once where that takes no time; otherwise the disk is given
    /// back for [`jobs::load_data`], and clients are told that the instance is loading until that is done.
    ///
    /// # Errors
    /// When the data set cannot be had.
    pub(crate) fn open(
        self,
        options: Options,
        disk: Option<Arc<dyn Disk>>,
    ) -> Result<(Node, Option<Arc<dyn Disk>>), OpenError> {
        let mut engine = Engine::new(Options {
            users: self.users,
            ..options
        });
        engine.state().sys.registry = self.commands;
        // Before the first client: nobody may see the databases empty that are to be loaded.
        engine.state().sys.persist.loading = disk.as_ref().map(|_| Loading::default());
        let node = Node::new(engine);
        if let Ok(mut engine) = node.lock() {
            engine.sentinel_begin();
        }
        let mut waiting = disk;
        if let Some(disk) = waiting.take_if(|disk| !jobs::has_data(&node, &**disk).unwrap_or(true))
        {
            // It takes no time. Whoever connects meanwhile waits for that.
            if let Err(error) = jobs::load_data(&node, &disk) {
                node.stop();
                node.join_jobs();
                return Err(error.into());
            }
        }
        Ok((node, waiting))
    }
}

/// The place of a data set, kept for this instance alone.
///
/// # Errors
/// When there is none and one is needed, or another instance has it.
pub(crate) fn storage(
    config: &Config,
    disk: Option<Arc<dyn Disk>>,
    has_data: bool,
) -> Result<Storage, OpenError> {
    if disk.is_none() && config.appendonly && has_data {
        return Err(OpenError::NoDirectory);
    }
    let mut storage = Storage::on(disk);
    storage.lock_dir(config).map_err(|source| OpenError::Dir {
        dir: config.dir.clone(),
        source,
    })?;
    Ok(storage)
}
