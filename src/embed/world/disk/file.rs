//! An open file of the simulated disk.

use super::tape::Bytes;
use super::{Kind, Op, SimDisk};
use crate::persist::DiskFile;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// What it was opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
    Append,
}

pub(super) struct SimFile {
    disk: SimDisk,
    /// The name that it was opened by.
    path: PathBuf,
    file: usize,
    at: u64,
    access: Access,
}

impl SimFile {
    pub(super) fn new(disk: &SimDisk, path: PathBuf, file: usize, access: Access) -> SimFile {
        let disk = disk.clone();
        SimFile {
            disk,
            path,
            file,
            at: 0,
            access,
        }
    }

    fn may_write(&self) -> io::Result<()> {
        match self.access {
            Access::Read => Err(io::ErrorKind::PermissionDenied.into()),
            Access::Write | Access::Append => Ok(()),
        }
    }
}

/// Where that is in memory.
fn place(at: u64) -> io::Result<usize> {
    usize::try_from(at).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl Read for SimFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.access != Access::Read {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let state = self.disk.enter(Kind::Read, &self.path)?;
        let from = place(self.at)?;
        let bytes = state.files[self.file].get(from..).unwrap_or_default();
        let n = bytes.len().min(buf.len());
        buf[..n].copy_from_slice(&bytes[..n]);
        self.at += n as u64;
        Ok(n)
    }
}

impl Write for SimFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.may_write()?;
        if buf.is_empty() {
            return Ok(0);
        }
        let mut state = self.disk.enter(Kind::Write, &self.path)?;
        let n = state.faults.room_for(buf.len())?;
        let bytes = Arc::make_mut(&mut state.files[self.file]);
        if self.access == Access::Append {
            self.at = bytes.len() as u64;
        }
        let from = place(self.at)?;
        let until = from.checked_add(n).ok_or(io::ErrorKind::InvalidInput)?;
        if bytes.len() < until {
            bytes.resize(until, 0);
        }
        bytes[from..until].copy_from_slice(&buf[..n]);
        state.record(Op::Write {
            file: self.file,
            at: self.at,
            bytes: Bytes(buf[..n].into()),
        });
        self.at += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for SimFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let len = self.disk.state().files[self.file].len() as u64;
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

impl DiskFile for SimFile {
    fn sync(&mut self) -> io::Result<()> {
        match self.disk.enter(Kind::Sync, &self.path) {
            Ok(mut state) => state.record(Op::Sync { file: self.file }),
            Err(mut failed) => {
                if failed.hit.drops {
                    failed.state.record(Op::Drop { file: self.file });
                }
                return Err(failed.into());
            }
        }
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.may_write()?;
        let mut state = self.disk.enter(Kind::SetLen, &self.path)?;
        state.set_len(self.file, place(len)?);
        Ok(())
    }
}
