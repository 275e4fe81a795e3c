//! RDB files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Out, PIECE, text};
use crate::ds::table::Seed;
use crate::persist::{Loaded, Loader};
use crate::types::dump::Limits;
use crate::types::{hash, list, set, zset};

/// Whether a file can be loaded.
pub(super) fn check(path: &Path, out: Out<'_>) -> io::Result<bool> {
    writeln!(out, "[offset 0] Checking RDB file {}", path.display())?;
    match File::open(path) {
        Ok(mut file) => Ok(read(&mut file, out)?.is_some()),
        Err(e) => {
            writeln!(out, "Cannot open file {}: {e}", path.display())?;
            Ok(false)
        }
    }
}

/// What the values are read with: which encodings they would take is of no interest.
fn limits() -> Limits {
    let seed = Seed::random(|| 1);
    Limits {
        list: list::Limits {
            fill: -2,
            depth: 0,
            plain_from: list::Limits::PLAIN_FROM,
        },
        hash: hash::Limits {
            entries: 512,
            value: 64,
            seed,
        },
        set: set::Limits {
            max_intset: 512,
            max_packed: 128,
            max_value: 64,
            seed,
        },
        zset: zset::Limits {
            entries: 128,
            value: 64,
            seed,
        },
    }
}

/// What was found in a file.
#[derive(Default)]
struct Found {
    keys: u64,
    expires: u64,
    expired: u64,
    /// The last key that was read.
    key: Option<String>,
}

/// Reads a snapshot; none if it is damaged, otherwise where it ends and what follows, as far as that was read.
pub(super) fn read(file: &mut dyn Read, out: Out<'_>) -> io::Result<Option<(u64, Vec<u8>)>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |time| {
        i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
    });
    let (limits, mut loader, mut found) = (limits(), Loader::new(true), Found::default());
    let mut piece = vec![0; PIECE];
    loop {
        let at = loader.position();
        match loader.next(&limits, now) {
            Ok(None) => match file.read(&mut piece) {
                Ok(n) => loader.feed(piece.get(..n).unwrap_or_default()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            },
            Ok(Some(Loaded::End)) => break,
            Ok(Some(loaded)) => tell(loaded, at, now, &mut found, out)?,
            Err(error) => {
                writeln!(out, "--- RDB ERROR DETECTED ---")?;
                writeln!(out, "[offset {}] {}", error.offset, error.what)?;
                if let Some(key) = &error.key {
                    writeln!(out, "[additional info] Reading key '{}'", text(key))?;
                }
                if let Some(key) = &found.key {
                    writeln!(out, "[additional info] The key before it is '{key}'")?;
                }
                summary(&found, out)?;
                return Ok(None);
            }
        }
    }
    let at = loader.position();
    match loader.checksum() {
        None => {}
        Some(0) => writeln!(
            out,
            "[offset {at}] RDB file was saved with checksum disabled: no check performed."
        )?,
        Some(_) => writeln!(out, "[offset {at}] Checksum OK")?,
    }
    writeln!(out, "[offset {at}] \\o/ RDB looks OK! \\o/")?;
    summary(&found, out)?;
    Ok(Some((at, loader.rest().to_vec())))
}

fn tell(loaded: Loaded, at: u64, now: i64, found: &mut Found, out: Out<'_>) -> io::Result<()> {
    match loaded {
        Loaded::Key(read) => {
            found.keys += 1;
            found.expires += u64::from(read.deadline.is_some());
            found.expired += u64::from(read.deadline.is_some_and(|at| at < now));
            found.key = Some(text(&read.name));
        }
        Loaded::Empty(name) => writeln!(out, "[offset {at}] Empty key: {}", text(&name))?,
        Loaded::Select(db) => writeln!(out, "[offset {at}] Selecting DB ID {db}")?,
        Loaded::Fact(name, value) => {
            let (name, value) = (text(&name), text(&value));
            writeln!(out, "[offset {at}] AUX FIELD {name} = '{value}'")?;
        }
        Loaded::Module(name) if !name.is_empty() => {
            writeln!(out, "[offset {at}] MODULE AUX for: {name}")?;
        }
        Loaded::Sizes(..) | Loaded::Function(_) | Loaded::Module(_) | Loaded::End => {}
    }
    Ok(())
}

fn summary(found: &Found, out: Out<'_>) -> io::Result<()> {
    writeln!(out, "[info] {} keys read", found.keys)?;
    writeln!(out, "[info] {} expires", found.expires)?;
    writeln!(out, "[info] {} already expired", found.expired)
}
