//! The configuration files of machines, on their simulated disks. One is written at once, as the engine has it; whoever wrote
//! it then stands still for as long as that takes, and if the machine goes down meanwhile the file may be the old one.

use super::machine::{Machine, Up};
use super::net::Place;
use super::plan::Watch;
use super::world::World;
use crate::common::instance::DIR;
use crate::common::sim_disk::SimDisk;
use redkeep::exec::Host;
use redkeep::persist::Disk;
use redkeep::service::config::{Files, Given, Invocation, Loaded, Settings, invocation_as};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where a machine has its configuration.
pub const FILE: &str = "/node.conf";

/// What is done to machines so that they fail, to see that this is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A file is not synced before it is said to be written.
    NoSync,
    /// A sentinel that is started again does not know any more in which epochs it has voted.
    ForgetsVotes,
    /// Leaders acknowledge what they are to have confirmed first.
    Hasty,
}

/// What an engine has of its machine.
pub struct OnDisk {
    disk: SimDisk,
    written: Written,
    mutation: Option<Mutation>,
}

/// When the file began to be written, in operations of the disk, counted from 1; 0 if it was not since this was taken.
type Written = Arc<AtomicUsize>;

/// How a machine's file is written.
pub struct ConfigFile {
    written: Written,
    /// It may not be there yet: it began to be written when the disk had done so many operations.
    writing: Option<usize>,
}

impl OnDisk {
    pub fn new(disk: &SimDisk, mutation: Option<Mutation>) -> (OnDisk, ConfigFile) {
        let written = Written::default();
        let host = OnDisk {
            disk: disk.clone(),
            written: Arc::clone(&written),
            mutation,
        };
        let writing = None;
        (host, ConfigFile { written, writing })
    }
}

impl Host for OnDisk {
    fn disk(&self) -> Option<Arc<dyn Disk>> {
        Some(Arc::new(self.disk.clone()))
    }

    fn read_file(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match self.disk.read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    fn replace_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let begins = self.disk.ops() + 1;
        let order = Ordering::SeqCst;
        let _ = self.written.compare_exchange(0, begins, order, order);
        let temporary = path.with_extension("tmp");
        let mut file = self.disk.create(&temporary)?;
        file.write_all(bytes)?;
        if self.mutation != Some(Mutation::NoSync) {
            file.sync()?;
        }
        drop(file);
        self.disk.rename(&temporary, path)?;
        match self.mutation {
            Some(Mutation::NoSync) => Ok(()),
            _ => self.disk.sync_dir(Path::new(DIR)),
        }
    }
}

impl Files for SimDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn stdin(&self) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn expand(&self, _: &Path) -> Vec<PathBuf> {
        Vec::new()
    }

    fn directory(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_owned())
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }
}

/// What the file on a disk says.
pub fn configuration(disk: &SimDisk, sentinel: bool) -> Result<(Box<Loaded>, Settings), String> {
    let given = Given {
        sentinel,
        ..Given::default()
    };
    match invocation_as(given, &[FILE.as_bytes().to_vec()], disk) {
        Ok(Invocation::Run(loaded)) => {
            let settings = Settings::new(loaded.config.clone(), Some(PathBuf::from(FILE)));
            Ok((loaded, settings))
        }
        other => Err(format!("{other:?}")),
    }
}

impl Machine {
    /// The file that it is started with at first.
    pub fn put_file(&mut self, text: &str) {
        let mut image = self.disk.image();
        image.add_file(FILE, text.as_bytes());
        self.disk = SimDisk::from_image(&image);
    }

    /// How many operations of its disk may be done if it goes down now: at least, and at most.
    pub fn done(&self) -> (usize, usize) {
        let writing = |up: &Up| up.file.as_ref().and_then(|file| file.writing);
        let all = self.disk.ops();
        (self.up.as_ref().and_then(writing).unwrap_or(all), all)
    }

    /// Whatever was written is on the disk.
    pub const fn is_written(&mut self) {
        if let Some(up) = &mut self.up
            && let Some(file) = &mut up.file
        {
            file.writing = None;
        }
    }
}

impl World {
    /// A machine has done something. Whether it need not wait now until its file is on its disk.
    pub fn has_written(&mut self, place: Place) -> bool {
        let up = self.nodes[place].up.as_mut();
        let Some(file) = up.and_then(|up| up.file.as_mut()) else {
            return true;
        };
        let begins = file.written.swap(0, Ordering::SeqCst);
        if begins == 0 {
            return true;
        }
        let slowness = self.plan.watch.as_ref().map_or(0, Watch::slowness);
        let took = match self.rng.below(4) {
            0 => self.rng.below(slowness + 1),
            _ => self.rng.below(slowness / 50 + 1),
        };
        if took == 0 {
            return true;
        }
        file.writing = Some(begins - 1);
        self.counts.slow_files += 1;
        self.stall(place, took as i64);
        false
    }
}
