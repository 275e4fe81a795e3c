//! An instance without sockets, and without a runtime.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::directives::{Directives, NOTHING_SAVED};
use super::driver::Driver;
use super::host::{InstanceHost, needs_sockets};
use super::jobs;
use super::open::{self, Checked, OpenError};
use super::{AsyncClient, CallError, Client, Crashed, Faults, FragileDisk, Node};
use crate::engine::Options;
use crate::persist::Disk;
use crate::service::config::{Given, Loaded, Settings, SystemFiles};
use crate::service::faults::Rules;
use crate::util::clock::ManualClock;

/// What an instance is to be like; made by [`Instance::builder`].
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct InstanceBuilder {
    directives: Directives,
    /// The clock, if it is not to be one that runs as the machine's.
    clock: Option<ManualClock>,
}

impl InstanceBuilder {
    /// Sets a parameter, as a configuration file would. A later value replaces an earlier one.
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.directives.set(name, value);
        self
    }

    /// Keeps data in files of a directory, which is there already. What is saved by itself is said by the parameters `save` and
    /// `appendonly`. Without a directory everything is in memory only.
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.directives.set_path("dir", dir.as_ref());
        self
    }

    /// Keeps the data set on another disk than the one of the operating system.
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.directives.disk = Some(disk);
        self
    }

    /// Gives a command another name, or none if that is empty.
    pub fn rename_command(mut self, from: &str, to: &str) -> Self {
        self.directives.rename(from, to);
        self
    }

    /// Makes everything random repeatable. A seed that others know lets them choose keys whose hashes collide: it is for tests.
    pub fn seed(mut self, seed: u64) -> Self {
        self.directives.seed = Some(seed);
        self
    }

    /// Gives the instance a clock. Several may have the same: whoever moves it moves all of them.
    pub fn clock(mut self, clock: ManualClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Gives the instance a clock that stands, at the machine's time, until [`Instance::clock`] moves it.
    pub fn manual_clock(self) -> Self {
        self.clock(ManualClock::frozen())
    }

    /// Starts the instance, with a thread of its own. What is in its directory is there when this returns.
    ///
    /// # Errors
    /// When a parameter is refused or needs sockets, or the data set cannot be had.
    pub fn start(self) -> Result<Instance, OpenError> {
        let made_by = Box::new(self.clone());
        let given = Given {
            sentinel: false,
            embedded: true,
        };
        let loaded = self
            .directives
            .load(given, NOTHING_SAVED, &[], &SystemFiles)?;
        if loaded.sentinel.is_some() {
            return Err(OpenError::NeedsSockets("sentinel"));
        }
        if let Some(name) = needs_sockets(&loaded.config) {
            return Err(OpenError::NeedsSockets(name));
        }
        let checked = Checked::new(&loaded)?;
        let Loaded { config, file, .. } = loaded;
        let Directives { disk, seed, .. } = self.directives;
        let rules = Arc::<Rules>::default();
        let fragile = disk.map(|disk| FragileDisk::over(disk, Arc::clone(&rules)));
        let disk = fragile.clone().map(|disk| Arc::new(disk) as Arc<dyn Disk>);
        let storage = open::storage(&config, disk.clone(), true)?;
        let clock = self.clock.unwrap_or_else(ManualClock::running);
        let options = Options {
            clock: Arc::new(clock.clone()),
            settings: Settings::new(config, file),
            host: Box::new(InstanceHost { storage }),
            rules,
            seed,
            ..Options::default()
        };
        let (node, disk) = checked.open(options, disk)?;
        let driver = Driver::start(&node).inspect_err(|_| {
            node.stop();
            node.join_jobs();
        })?;
        let instance = Instance {
            node,
            clock,
            driver,
            fragile,
            made_by: Some(made_by),
        };
        if let Some(disk) = disk {
            jobs::load_data(&instance.node, &disk)?;
        }
        Ok(instance)
    }
}

/// A server without sockets: the engine, and one thread that sees to what is due. It needs no runtime, neither its own
/// nor the caller's, and is there without the crate's default features too. Dropping it stops it.
///
/// ```
/// use redkeep::embed::Instance;
///
/// let instance = Instance::builder().config("maxmemory", "64mb").start()?;
/// let mut client = instance.client()?;
/// client.call(["XADD", "orders", "*", "id", "4711"])?;
/// assert_eq!(client.call(["XLEN", "orders"])?, redkeep::Value::Int(1));
/// instance.shutdown();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Instance {
    node: Node,
    clock: ManualClock,
    driver: Driver,
    /// The disk with the data set, if there is one.
    fragile: Option<FragileDisk>,
    /// Until it is made again.
    made_by: Option<Box<InstanceBuilder>>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").finish_non_exhaustive()
    }
}

impl Instance {
    /// An instance to be configured and started: by default one that keeps its data in memory only.
    pub fn builder() -> InstanceBuilder {
        InstanceBuilder::default()
    }

    /// A client.
    ///
    /// # Errors
    /// When the instance has stopped.
    pub fn client(&self) -> Result<Client, CallError> {
        Client::connect(&self.node)
    }

    /// A client for asynchronous callers, on any runtime.
    ///
    /// # Errors
    /// When the instance has stopped.
    pub fn async_client(&self) -> Result<AsyncClient, CallError> {
        AsyncClient::connect(&self.node)
    }

    /// The clock that everything goes by which is time in this instance. Unless it was given another, it runs as the
    /// machine's does, and can be stopped, moved and set at any time.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let instance = redkeep::Instance::builder().start()?;
    /// let mut client = instance.client()?;
    /// client.call(["SET", "session", "42", "EX", "1800"])?;
    /// instance.clock().advance(Duration::from_secs(1801));
    /// assert_eq!(client.call(["EXISTS", "session"])?, redkeep::Value::Int(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// What is to go wrong on this instance: errors, delays, disks that break, an instance that stands still.
    pub fn faults(&self) -> Faults {
        Faults::of(self.node.clone())
    }

    /// Ends the instance at once, as SIGKILL and the loss of power do: nobody is answered any more, nothing is saved, and of
    /// what was written to the disk only that survives which was synced. So what is there again after a
    /// [`restart`](Crashed::restart) is what `appendfsync` promises. Without a directory nothing is.
    ///
    /// ```
    /// use redkeep::Instance;
    ///
    /// let dir = tempfile::tempdir()?;
    /// let instance = Instance::builder()
    ///     .dir(&dir)
    ///     .config("appendonly", "yes")
    ///     .config("appendfsync", "always")
    ///     .start()?;
    /// instance.client()?.call(["SET", "order", "4711"])?;
    /// let instance = instance.crash().restart()?;
    /// assert_eq!(instance.client()?.call(["GET", "order"])?.to_string(), "\"4711\"");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn crash(mut self) -> Crashed<InstanceBuilder> {
        let fragile = self.fragile.take();
        if let Some(disk) = &fragile {
            disk.sever();
        }
        // Before anything can be heard of the disk: nobody is answered.
        self.node.stop();
        self.driver.end(&self.node);
        let builder = self.made_by.take().map(|builder| *builder);
        drop(self);
        Crashed::losing(fragile.as_ref(), builder)
    }

    /// The engine.
    pub(crate) const fn node(&self) -> &Node {
        &self.node
    }

    /// Stops the instance, and waits until its threads and files are gone. What is to be saved is asked for by the command
    /// SHUTDOWN, as in Redis.
    pub fn shutdown(mut self) {
        self.driver.end(&self.node);
    }
}

impl Crashed<InstanceBuilder> {
    /// Starts it again, as it was made, on the same directory. Its faults, its clients and what CONFIG SET has changed are
    /// gone.
    ///
    /// # Errors
    /// As [`InstanceBuilder::start`]; and when the disk could not take back what was not synced.
    pub fn restart(self) -> Result<Instance, OpenError> {
        self.into_builder()?.start()
    }
}

super::state::state_methods!(Instance);

impl Drop for Instance {
    fn drop(&mut self) {
        self.driver.end(&self.node);
    }
}
