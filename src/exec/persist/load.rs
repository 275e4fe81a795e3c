//! Loading: what a file holds put into the databases, in small steps.

use std::io::Read;
use std::path::PathBuf;

use super::save::{Purpose, SaveStep, begin_save, end_save, give_up, save_now, save_step};
use super::{STEP, System};
use crate::keyspace::Keyspace;
use crate::persist::write::directory;
use crate::persist::{Loaded, Loader};
use crate::rdb::{library, payload};

/// A load in progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Loading {
    /// When it began, in unix milliseconds.
    pub began: i64,
    /// Bytes of the file.
    pub total: u64,
    /// Bytes read so far.
    pub done: u64,
}

/// What came of a load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Keys that are there.
    pub keys: u64,
    /// Keys whose time was over.
    pub expired: u64,
    /// Collections without elements.
    pub empty: u64,
}

/// What DEBUG RELOAD does, and leaves out.
#[derive(Debug, Clone, Copy)]
pub struct Reload {
    /// Saves first.
    pub save: bool,
    /// Empties the databases before it loads.
    pub flush: bool,
    /// What is loaded takes the place of what is there.
    pub merge: bool,
}

/// Saves the data set and loads it again, by the disk or, where there is none, in memory. Gives the libraries of
/// functions that are to be loaded, as FUNCTION RESTORE takes them.
///
/// # Errors
/// When it cannot be saved, and what is wrong with the file.
pub fn reload(ks: &mut Keyspace, sys: &mut System, how: Reload) -> Result<Option<Vec<u8>>, String> {
    give_up(ks, sys);
    let mut bytes = Vec::new();
    let mut file: Box<dyn Read> = match sys.host.0.disk() {
        Some(disk) => {
            if how.save {
                save_now(ks, sys).map_err(|e| e.to_string())?;
            }
            let file = disk.open(&file_path(sys));
            Box::new(file.map_err(|e| e.to_string())?)
        }
        None => {
            let id = begin_save(ks, sys, Purpose::Foreground, &mut bytes)
                .map_err(|e| e.text().to_owned())?;
            let header = loop {
                match save_step(ks, sys, id, &mut bytes) {
                    SaveStep::More => {}
                    SaveStep::Done(header) => break header,
                    SaveStep::Cancelled => return Err("given up".to_owned()),
                }
            };
            end_save(ks, sys, id, false);
            if let Some(place) = bytes.first_chunk_mut() {
                *place = header.unwrap_or(*place);
            }
            Box::new(&bytes[..])
        }
    };
    if how.flush {
        for db in 0..ks.databases() {
            ks.flush(db, false);
        }
    }
    let selected = ks.current();
    ks.select(0);
    let mut loader = Loader::new(sys.cfg.rdbchecksum);
    let mut piece = vec![0; STEP];
    let loaded = loop {
        match load_step(ks, sys, &mut loader, how.merge) {
            Ok(true) => break Ok(()),
            Err(e) => break Err(e),
            Ok(false) => {}
        }
        match file.read(&mut piece) {
            Ok(n) => loader.feed(piece.get(..n).unwrap_or_default()),
            Err(e) => break Err(e.to_string()),
        }
    };
    ks.select(selected);
    let functions = loaded_functions(sys);
    ks.log.dirty = 0;
    sys.persist.dirty = 0;
    loaded.map(|()| functions)
}

/// The file that the data set is saved to.
pub fn file_path(sys: &System) -> PathBuf {
    directory(&sys.cfg.dir).join(&sys.cfg.dbfilename)
}

/// The libraries of functions that a load has brought, as FUNCTION RESTORE takes them; none if there are none.
pub fn loaded_functions(sys: &mut System) -> Option<Vec<u8>> {
    let codes = std::mem::take(&mut sys.persist.functions);
    let mut bytes = Vec::new();
    for code in &codes {
        library::write(&mut bytes, code, false);
    }
    payload::seal(&mut bytes, payload::NEWEST);
    (!codes.is_empty()).then_some(bytes)
}

/// Reads on: puts what has been fed to `loader` into the databases, for about [`STEP`] bytes. Returns whether the
/// file has come to its end.
///
/// # Errors
/// What is wrong with the file.
pub fn load_step(
    ks: &mut Keyspace,
    sys: &mut System,
    loader: &mut Loader,
    merge: bool,
) -> Result<bool, String> {
    let now = sys.now_us / 1000;
    let until = loader.position() + STEP as u64;
    let ended = loop {
        let limits = crate::exec::limits(sys, ks.seed());
        match loader.next(&limits, now).map_err(|e| e.to_string())? {
            None => break false,
            Some(Loaded::End) => break true,
            Some(loaded) => put(ks, sys, loaded, merge, now)?,
        }
        if loader.position() >= until {
            break false;
        }
    };
    if let Some(loading) = &mut sys.persist.loading {
        loading.done = loader.position();
    }
    Ok(ended)
}

fn put(
    ks: &mut Keyspace,
    sys: &mut System,
    loaded: Loaded,
    merge: bool,
    now: i64,
) -> Result<(), String> {
    let counts = &mut sys.persist.loaded;
    match loaded {
        Loaded::Key(key) if key.deadline.is_some_and(|at| at < now) => counts.expired += 1,
        Loaded::Key(key) => {
            let uses = (key.idle, key.frequency);
            if !ks.load(&key.name, key.value, key.deadline, uses, merge) {
                let name = String::from_utf8_lossy(&key.name);
                return Err(format!("the key '{name}' comes twice"));
            }
            counts.keys += 1;
        }
        Loaded::Empty(name) => {
            counts.empty += 1;
            tracing::info!("Skipping empty key: {}", String::from_utf8_lossy(&name));
        }
        Loaded::Select(db) => {
            let index = usize::try_from(db).ok().filter(|db| *db < ks.databases());
            ks.select(index.ok_or(format!(
                "the file has a database {db}, and only {} are configured",
                ks.databases()
            ))?);
        }
        Loaded::Sizes(_) | Loaded::Fact(..) => {}
        Loaded::Function(code) => sys.persist.functions.push(code),
        Loaded::Module(name) => {
            tracing::warn!("What the module '{name}' wrote into the file is not loaded");
        }
        Loaded::End => {}
    }
    Ok(())
}
