//! What an engine has of its machine, and the configuration file on its disk. That is written at once, as the engine has it;
//! whoever wrote it then stands still for as long as that takes, and if the machine goes down meanwhile the file may be the
//! old one.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use super::disk::SimDisk;
use super::machine::{Machine, Place, Up};
use super::parcel::Outbox;
use super::{Error, World};
use crate::exec::Host;
use crate::exec::migrate::Parcel;
use crate::persist::Disk;
use crate::service::config::{Files, Given, Invocation, Loaded, Settings, invocation_as};

/// The directory of every machine.
pub const DIR: &str = "/";

/// Where a machine has its configuration.
pub const FILE: &str = "/node.conf";

/// The surroundings of an engine.
pub(super) struct OnDisk {
    disk: SimDisk,
    /// Data sets are kept.
    lasting: bool,
    written: Written,
    slept: Slept,
    outbox: Outbox,
}

/// When the file began to be written, in operations of the disk, counted from 1; 0 if it was not since this was taken.
type Written = Arc<AtomicUsize>;

/// For how many microseconds the engine has asked to be left alone since this was taken.
type Slept = Arc<AtomicI64>;

/// How a machine's file is written.
#[derive(Debug)]
pub(super) struct ConfigFile {
    written: Written,
    slept: Slept,
    outbox: Outbox,
    /// It may not be there yet: it began to be written when the disk had done so many operations.
    writing: Option<usize>,
}

impl OnDisk {
    pub(super) fn new(disk: &SimDisk, lasting: bool) -> (OnDisk, ConfigFile) {
        let (written, slept) = (Written::default(), Slept::default());
        let outbox = Outbox::default();
        let host = OnDisk {
            disk: disk.clone(),
            lasting,
            written: Arc::clone(&written),
            slept: Arc::clone(&slept),
            outbox: Arc::clone(&outbox),
        };
        let file = ConfigFile {
            written,
            slept,
            outbox,
            writing: None,
        };
        (host, file)
    }
}

impl ConfigFile {
    /// Where the engine puts what it wants sent.
    pub(super) fn outbox(&self) -> Outbox {
        Arc::clone(&self.outbox)
    }
}

impl Host for OnDisk {
    fn carry(&self, parcel: Parcel) -> bool {
        self.outbox.lock().push(parcel);
        true
    }

    fn disk(&self) -> Option<Arc<dyn Disk>> {
        self.lasting
            .then(|| Arc::new(self.disk.clone()) as Arc<dyn Disk>)
    }

    /// Time goes on only when the engine is left: the machine stands still then.
    fn sleep(&self, time: Duration) {
        let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        self.slept.fetch_max(micros, Ordering::SeqCst);
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
        file.sync()?;
        drop(file);
        self.disk.rename(&temporary, path)?;
        self.disk.sync_dir(Path::new(DIR))
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
pub(super) fn configuration(
    disk: &SimDisk,
    sentinel: bool,
) -> Result<(Box<Loaded>, Settings), Error> {
    let given = Given {
        sentinel,
        ..Given::default()
    };
    match invocation_as(given, &[FILE.as_bytes().to_vec()], disk)? {
        Invocation::Run(loaded) => {
            let settings = Settings::new(loaded.config.clone(), Some(PathBuf::from(FILE)));
            Ok((loaded, settings))
        }
        _ => Err(Error::Told("its file has it do something else".to_owned())),
    }
}

impl Machine {
    /// The file that it is started with.
    pub fn put_file(&mut self, text: &str) {
        let mut image = self.disk.image();
        image.add_file(FILE, text.as_bytes());
        self.disk = SimDisk::from_image(&image);
    }

    /// The file that it is started with.
    pub fn file(&self) -> String {
        String::from_utf8_lossy(self.disk.image().file(FILE)).into_owned()
    }

    /// How many operations of its disk may be done if it goes down now: at least, and at most.
    pub(super) fn done(&self) -> (usize, usize) {
        let all = self.disk.ops();
        let writing = self.up.as_ref().and_then(|up| up.file.writing);
        (writing.unwrap_or(all), all)
    }

    /// Whatever was written is on the disk.
    pub(super) const fn is_written(&mut self) {
        if let Some(up) = &mut self.up {
            up.file.writing = None;
        }
    }
}

impl World {
    /// A machine has done something. Whether it goes on at once: it may have to wait for its file to be on its disk, or have
    /// been told to sleep.
    pub(super) fn has_written(&mut self, place: Place) -> bool {
        let Some(Up { file, .. }) = self.machines[place].up.as_mut() else {
            return true;
        };
        let slept = file.slept.swap(0, Ordering::SeqCst);
        let begins = file.written.swap(0, Ordering::SeqCst);
        if begins > 0 {
            let slowness = self.slow_files;
            let took = match self.rng.below(4) {
                0 => self.rng.below(slowness + 1),
                _ => self.rng.below(slowness / 50 + 1),
            };
            if took > 0 {
                file.writing = Some(begins - 1);
                self.slowly_written += 1;
                self.stall(place, took as i64);
                return false;
            }
        }
        if slept > 0 {
            self.stall(place, slept);
        }
        slept == 0
    }
}
