//! Faults on demand, and gates at which operations wait until the test opens them.

use super::{EACCES, EIO, ENOSPC, SimDisk, plain};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long other threads are waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What can fail or wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file is opened.
    Open,
    /// A file is made, or emptied.
    Create,
    /// Bytes are read.
    Read,
    /// Bytes are written.
    Write,
    /// A file gets another length.
    SetLen,
    /// A file is synced.
    Sync,
    /// A file gets another name.
    Rename,
    /// A file goes.
    Remove,
    /// A directory is made.
    MakeDir,
    /// The names in a directory are synced.
    SyncDir,
}

/// Operations that fail.
#[derive(Clone, Debug)]
#[must_use]
pub struct Fault {
    kind: Kind,
    /// Their path contains this.
    of: String,
    /// So many of them succeed first.
    skip: u64,
    /// Then so many fail.
    times: u64,
    errno: i32,
    /// A sync that fails forgets what it was to write, as Linux does: later ones succeed without it.
    drops: bool,
}

impl Fault {
    /// Every operation of this kind, with an input/output error.
    pub fn on(kind: Kind) -> Fault {
        Fault {
            kind,
            of: String::new(),
            skip: 0,
            times: u64::MAX,
            errno: EIO,
            drops: false,
        }
    }

    /// Only of files whose path contains this.
    pub fn of(mut self, part: &str) -> Fault {
        part.clone_into(&mut self.of);
        self
    }

    /// Only from the `n`-th on, counted from 1.
    pub fn beginning_with(mut self, n: u64) -> Fault {
        self.skip = n.saturating_sub(1);
        self
    }

    /// Only the next one.
    pub fn once(mut self) -> Fault {
        self.times = 1;
        self
    }

    /// With another error.
    pub fn errno(mut self, errno: i32) -> Fault {
        self.errno = errno;
        self
    }

    /// A sync forgets what it was to write.
    pub fn drops_pages(mut self) -> Fault {
        self.drops = true;
        self
    }
}

/// A fault that struck.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    pub(super) errno: i32,
    pub(super) drops: bool,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    kind: Kind,
    of: String,
    waiting: i64,
}

/// Everything that stands in the way.
#[derive(Debug, Default)]
pub(super) struct Faults {
    list: Vec<Fault>,
    gates: Vec<Waiting>,
    next_gate: u64,
    /// Bytes that may still be written.
    room: Option<u64>,
    read_only: Vec<PathBuf>,
    /// So many changes are still made.
    life: Option<u64>,
    /// Syncs do nothing.
    pub(super) forgetful: bool,
}

impl Faults {
    /// The gate that such an operation has to wait at.
    pub(super) fn gate(&self, kind: Kind, path: &Path) -> Option<u64> {
        let text = path.to_string_lossy();
        let gate = self
            .gates
            .iter()
            .find(|gate| gate.kind == kind && text.contains(&gate.of));
        gate.map(|gate| gate.id)
    }

    pub(super) fn wait_at(&mut self, id: u64, more: i64) {
        if let Some(gate) = self.gates.iter_mut().find(|gate| gate.id == id) {
            gate.waiting += more;
        }
    }

    /// Whether such an operation fails now.
    pub(super) fn strike(&mut self, kind: Kind, path: &Path) -> Option<Hit> {
        match &mut self.life {
            Some(0) => {
                return Some(Hit {
                    errno: EIO,
                    drops: false,
                });
            }
            Some(left) if !matches!(kind, Kind::Open | Kind::Read) => *left -= 1,
            _ => {}
        }
        let changes_names = matches!(
            kind,
            Kind::Create | Kind::Rename | Kind::Remove | Kind::MakeDir
        );
        let dir = path.parent();
        if changes_names && self.read_only.iter().any(|d| Some(&**d) == dir) {
            return Some(Hit {
                errno: EACCES,
                drops: false,
            });
        }
        let text = path.to_string_lossy();
        for fault in &mut self.list {
            if fault.kind != kind || !text.contains(&fault.of) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                return Some(Hit {
                    errno: fault.errno,
                    drops: fault.drops,
                });
            }
        }
        None
    }

    /// How much of a write has room.
    pub(super) fn room_for(&mut self, bytes: usize) -> io::Result<usize> {
        let Some(room) = &mut self.room else {
            return Ok(bytes);
        };
        if *room == 0 {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        let n = bytes.min(usize::try_from(*room).unwrap_or(usize::MAX));
        *room -= n as u64;
        Ok(n)
    }
}

impl SimDisk {
    /// Lets operations fail.
    pub fn inject(&self, fault: Fault) {
        self.state().faults.list.push(fault);
    }

    /// So many bytes can still be written: what does not fit whole is written in part, and then nothing more.
    pub fn leave_room(&self, bytes: u64) {
        self.state().faults.room = Some(bytes);
    }

    /// Nothing in this directory can be made, renamed or removed any more.
    pub fn make_read_only(&self, dir: &str) {
        self.state().faults.read_only.push(plain(Path::new(dir)));
    }

    /// So many changes are still made, then nothing more, as when a process is killed: it may go on and finds out nothing
    /// that it could tell anybody.
    pub fn let_die_after(&self, changes: u64) {
        self.state().faults.life = Some(changes);
    }

    /// Syncs succeed from now on, and do nothing: as with disks that say so before it is true.
    pub fn forget_syncs(&self) {
        self.state().faults.forgetful = true;
    }

    /// Everything works again. Gates stay.
    pub fn heal(&self) {
        let faults = &mut self.state().faults;
        faults.list.clear();
        faults.room = None;
        faults.life = None;
        faults.forgetful = false;
        faults.read_only.clear();
    }

    /// Operations of this kind on files whose path contains `of` wait from now on.
    pub fn hold(&self, kind: Kind, of: &str) -> Gate {
        let mut state = self.state();
        let faults = &mut state.faults;
        faults.next_gate += 1;
        let id = faults.next_gate;
        let of = of.to_owned();
        faults.gates.push(Waiting {
            id,
            kind,
            of,
            waiting: 0,
        });
        drop(state);
        let disk = self.clone();
        Gate { disk, id }
    }

    /// Waits until as many operations have been done; whether it came to that in time.
    #[must_use]
    pub fn wait_for_ops(&self, ops: usize) -> bool {
        let until = Instant::now() + PATIENCE;
        while self.ops() < ops {
            if Instant::now() >= until {
                return false;
            }
            std::thread::yield_now();
        }
        true
    }
}

/// A gate, shut until it is opened or dropped.
#[derive(Debug)]
#[must_use]
pub struct Gate {
    disk: SimDisk,
    id: u64,
}

impl Gate {
    /// Waits until an operation waits; whether one came in time.
    #[must_use]
    pub fn wait_for_arrival(&self) -> bool {
        let until = Instant::now() + PATIENCE;
        let mut state = self.disk.state();
        loop {
            let mut gates = state.faults.gates.iter();
            if gates.any(|gate| gate.id == self.id && gate.waiting > 0) {
                return true;
            }
            let late = self.disk.shared.changed.wait_until(&mut state, until);
            if late.timed_out() {
                return false;
            }
        }
    }

    /// Lets everything pass that waits, and whatever comes.
    pub fn open(self) {}
}

impl Drop for Gate {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        state.faults.gates.retain(|gate| gate.id != self.id);
        self.disk.shared.changed.notify_all();
    }
}
