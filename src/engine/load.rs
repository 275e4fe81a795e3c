//! The append-only log loaded: its base, then the logs behind it, in small steps.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use super::Engine;
use crate::exec::persist::load::{self, LONG_AGO, LoadPlan};
use crate::exec::persist::{STEP, log, save};
use crate::exec::replay::Replay;
use crate::exec::{CmdError, State, replication};
use crate::persist::aof::{Directory, Entry, Kind, Reader, Tail, Wrong};
use crate::persist::{Batch, Disk, DiskFile, Loaded, Loader};
use crate::replication::Position;

/// Bytes read from a file at once.
const READ: usize = 256 * 1024;

/// What an RDB file begins with.
const RDB: &[u8] = b"REDIS";

/// A log on its way into the databases: [`read`](Self::read) and [`apply`](Self::apply) by turns.
#[derive(Debug)]
pub struct LogLoad {
    parts: VecDeque<File>,
    open: Option<OpenFile>,
    replay: Option<Replay>,
    /// Where in which history of writes all that was applied has come to, if it is known.
    position: Option<Position>,
    checked: bool,
    /// A last file whose end is missing is cut off.
    truncates: bool,
    /// Bytes of all files, and of those that were read to their end.
    total: u64,
    done: u64,
    piece: Vec<u8>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    kind: Kind,
    size: u64,
}

struct OpenFile {
    file: Box<dyn DiskFile>,
    what: File,
    content: Content,
    began: std::time::Instant,
    /// Everything before this was applied, and is whole.
    whole: u64,
    /// Where the transaction begins that has not ended.
    open: Option<u64>,
    /// The history that its positions are of.
    history: Option<String>,
    /// The file was read to its end.
    ended: bool,
}

impl std::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFile")
            .field("what", &self.what)
            .field("whole", &self.whole)
            .finish_non_exhaustive()
    }
}

enum Content {
    /// Nothing is known of it yet.
    Unread(Vec<u8>),
    Rdb(RdbLoad),
    Log(Reader),
}

/// An RDB file in front of the commands.
struct RdbLoad {
    loader: Loader,
    batch: Vec<(u64, Loaded)>,
    /// The database that it has selected: clients select others between two steps.
    db: usize,
}

/// What a step has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadStep {
    /// There may be more to apply.
    Apply,
    /// More must be read.
    Read,
    /// Everything is loaded, and the last file ends so.
    Done(Tail),
}

impl LogLoad {
    /// Loads what is in a directory.
    ///
    /// # Errors
    /// When a file is missing.
    pub fn new(files: &Directory, checked: bool, truncates: bool) -> Result<LogLoad, String> {
        let mut parts = VecDeque::new();
        for (part, kind) in files.manifest().parts() {
            let path = files.place().file(&part.name);
            let size = files.disk().size(&path).map_err(|e| {
                format!("The append log file {} doesn't exist: {e}", path.display())
            })?;
            parts.push_back(File { path, kind, size });
        }
        Ok(LogLoad {
            total: parts.iter().map(|file| file.size).sum(),
            parts,
            open: None,
            replay: None,
            position: None,
            checked,
            truncates,
            done: 0,
            piece: Vec::new(),
        })
    }

    /// Bytes of all files.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Reads on. The engine is not needed for that.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn read(&mut self, disk: &dyn Disk) -> Result<(), String> {
        if self.open.is_none() {
            let Some(what) = self.parts.pop_front() else {
                return Ok(());
            };
            let file = disk.open(&what.path).map_err(|e| {
                format!(
                    "Can't open the append log file {} for reading: {e}",
                    what.path.display()
                )
            })?;
            self.open = Some(OpenFile {
                file,
                what,
                content: Content::Unread(Vec::new()),
                began: std::time::Instant::now(),
                whole: 0,
                open: None,
                history: None,
                ended: false,
            });
        }
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        self.piece.resize(READ, 0);
        let n = loop {
            match open.file.read(&mut self.piece) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    let path = open.what.path.display();
                    return Err(format!(
                        "Unrecoverable error reading the append only file {path}: {e}"
                    ));
                }
                Ok(n) => break n,
            }
        };
        open.feed(self.piece.get(..n).unwrap_or_default(), self.checked);
        Ok(())
    }

    /// Applies what was read, for about [`STEP`] bytes.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn apply(&mut self, engine: &mut Engine, disk: &dyn Disk) -> Result<LoadStep, String> {
        let Some(open) = &mut self.open else {
            return Ok(match self.parts.is_empty() {
                // Nothing was there.
                true => LoadStep::Done(Tail::default()),
                false => LoadStep::Read,
            });
        };
        let step = match &mut open.content {
            Content::Unread(_) => Applied::All,
            Content::Rdb(rdb) => {
                let step = rdb.put(engine, &open.what)?;
                let State { ks, sys, .. } = engine.state();
                self.position = sys.persist.intake.position(ks.databases());
                step
            }
            Content::Log(_) => {
                let replay = self.replay.get_or_insert_with(|| engine.begin_replay());
                open.replay(engine, replay, &mut self.position)?
            }
        };
        let at = self.done + open.position();
        if let Some(loading) = &mut engine.state().sys.persist.loading {
            loading.done = at;
        }
        match step {
            Applied::Some => return Ok(LoadStep::Apply),
            Applied::Rdb(rest) => {
                open.go_on_behind_rdb(&rest);
                return Ok(LoadStep::Apply);
            }
            Applied::All if !open.ended => return Ok(LoadStep::Read),
            Applied::All => open.end(None)?,
            Applied::Torn(at) => open.end(Some(at))?,
        }
        let last = self.parts.is_empty();
        let tail = self.end_file(last, disk)?;
        if !last {
            return Ok(LoadStep::Read);
        }
        engine.state().sys.persist.position = self.position.take();
        Ok(LoadStep::Done(tail))
    }

    /// A file was read to its end; how it ends, perhaps since it was cut off.
    fn end_file(&mut self, last: bool, disk: &dyn Disk) -> Result<Tail, String> {
        let Some(open) = self.open.take() else {
            return Ok(Tail::default());
        };
        let path = open.what.path.display();
        self.done += open.what.size;
        if open.whole < open.read_to() {
            if !last {
                return Err(format!(
                    "the truncated file {path} is not the last file (whole up to offset {})",
                    open.whole
                ));
            }
            if !self.truncates {
                return Err(format!(
                    "Unexpected end of file reading the append only file {path} (at offset {}). You can: 1) Make a \
                     backup of your AOF file, then use redkeep check-aof --fix <filename.manifest>. 2) Alternatively \
                     you can set the 'aof-load-truncated' configuration option to yes and restart the server.",
                    open.whole
                ));
            }
            tracing::warn!("!!! Warning: short read while loading the AOF file {path}!!!");
            tracing::warn!("!!! Truncating the AOF {path} at offset {} !!!", open.whole);
            let cut = disk.append(&open.what.path).and_then(|mut file| {
                file.set_len(open.whole)?;
                file.sync()
            });
            cut.map_err(|e| format!("Error truncating the AOF file {path}: {e}"))?;
            tracing::warn!("AOF {path} loaded anyway because aof-load-truncated is enabled");
        }
        let seconds = open.began.elapsed().as_secs_f64();
        let kind = match open.what.kind {
            Kind::Base => "base",
            _ => "incr",
        };
        tracing::info!("DB loaded from {kind} file {path}: {seconds:.3} seconds");
        Ok(open.tail())
    }

    /// Ends the load, whether or not it has come to its end.
    pub fn end(self, engine: &mut Engine) {
        if let Some(replay) = self.replay {
            engine.end_replay(replay);
        }
    }
}

/// What was applied of what was read.
enum Applied {
    /// Some of it.
    Some,
    /// All of it.
    All,
    /// The RDB file in front has ended, and this was read behind it.
    Rdb(Vec<u8>),
    /// Behind this offset nothing is whole.
    Torn(u64),
}

impl RdbLoad {
    /// Puts the next keys of the file into the databases.
    fn put(&mut self, engine: &mut Engine, what: &File) -> Result<Applied, String> {
        let RdbLoad { loader, batch, db } = self;
        let State { ks, sys, .. } = engine.state();
        ks.begin(*db, sys.now_us / 1000);
        let LoadPlan { limits, bytes, .. } = load::load_plan(ks, sys);
        // What follows in the log saw everything alive.
        let read = loader.batch(bytes, &limits, LONG_AGO, batch);
        let done = loader.position();
        let put = load::put_batch(ks, sys, batch, done, false, LONG_AGO);
        *db = ks.current();
        let step = put.and(read).map_err(|e| {
            format!(
                "Error reading the RDB part of the AOF file {} {e}",
                what.path.display()
            )
        })?;
        match step {
            Batch::More => Ok(Applied::Some),
            Batch::Hungry => Ok(Applied::All),
            Batch::Ended => {
                ks.loaded();
                if let Some(functions) = load::loaded_functions(sys) {
                    engine.restore_functions(&functions)?;
                }
                Ok(Applied::Rdb(loader.rest().to_vec()))
            }
        }
    }
}

impl OpenFile {
    fn feed(&mut self, bytes: &[u8], checked: bool) {
        self.ended |= bytes.is_empty();
        match &mut self.content {
            Content::Rdb(rdb) => rdb.loader.feed(bytes),
            Content::Log(reader) => reader.feed(bytes),
            Content::Unread(start) => {
                start.extend_from_slice(bytes);
                if start.len() < RDB.len() && !self.ended {
                    return;
                }
                let start = std::mem::take(start);
                self.content = if start.starts_with(RDB) {
                    let mut loader = Loader::new(checked);
                    loader.feed(&start);
                    Content::Rdb(RdbLoad {
                        loader,
                        batch: Vec::new(),
                        db: 0,
                    })
                } else {
                    let mut reader = Reader::new(0);
                    reader.feed(&start);
                    if self.ended && !start.is_empty() {
                        reader.feed(&[]);
                    }
                    Content::Log(reader)
                };
            }
        }
    }

    fn position(&self) -> u64 {
        match &self.content {
            Content::Unread(_) => 0,
            Content::Rdb(rdb) => rdb.loader.position(),
            Content::Log(reader) => reader.position(),
        }
    }

    fn tail(&self) -> Tail {
        let vouched = match &self.content {
            // A transaction that was cut off was counted.
            Content::Log(reader) => reader.position() == self.whole && !reader.is_unvouched(),
            _ => false,
        };
        Tail {
            len: self.whole,
            vouched,
        }
    }

    fn read_to(&self) -> u64 {
        self.what.size
    }

    /// An old log: commands follow an RDB file.
    fn go_on_behind_rdb(&mut self, rest: &[u8]) {
        let at = self.position();
        let mut reader = Reader::new(at);
        if !rest.is_empty() {
            reader.feed(rest);
        }
        if self.ended {
            reader.feed(&[]);
        }
        self.whole = at;
        self.content = Content::Log(reader);
    }

    /// Applies commands, for about [`STEP`] bytes.
    fn replay(
        &mut self,
        engine: &mut Engine,
        replay: &mut Replay,
        position: &mut Option<Position>,
    ) -> Result<Applied, String> {
        let Content::Log(reader) = &mut self.content else {
            return Ok(Applied::All);
        };
        let path = self.what.path.display();
        let until = reader.position() + STEP as u64;
        loop {
            let at = reader.position();
            match reader.next_entry() {
                Ok(None) => return Ok(Applied::All),
                Ok(Some(Entry::Command(words))) => {
                    engine.replay(replay, &words.argv()).map_err(|e| {
                        format!("{e} reading the append only file {path}, at offset {at}")
                    })?;
                    self.open = match engine.replays_transaction(replay) {
                        true => self.open.or(Some(at)),
                        false => None,
                    };
                    if self.open.is_none() {
                        *position = None;
                    }
                }
                // In a transaction it says nothing of what was done.
                Ok(Some(Entry::Position(mark))) if self.open.is_none() => {
                    if let Some(id) = mark.id {
                        self.history = Some(id.to_owned());
                    }
                    *position = self.history.clone().map(|id| Position {
                        id,
                        offset: mark.offset,
                        db: mark.db,
                    });
                }
                Ok(Some(_)) => {}
                Err(Wrong::Torn(at)) => return Ok(Applied::Torn(at)),
                Err(wrong) => {
                    return Err(format!(
                        "Bad file format reading the append only file {path}: {wrong}. Make a backup of your AOF \
                         file, then use redkeep check-aof --fix <filename.manifest>"
                    ));
                }
            }
            self.whole = reader.position();
            if self.whole >= until {
                return Ok(Applied::Some);
            }
        }
    }

    /// The file has come to its end, or to where it is torn.
    fn end(&mut self, torn: Option<u64>) -> Result<(), String> {
        match &self.content {
            // Nothing at all is nothing wrong.
            Content::Unread(_) | Content::Log(_) => {}
            Content::Rdb(..) => {
                return Err(format!(
                    "Error reading the RDB part of the AOF file {}: it ends too early, at offset {}",
                    self.what.path.display(),
                    self.position()
                ));
            }
        }
        if let Some(at) = torn {
            self.whole = at;
        }
        if let Some(at) = self.open {
            tracing::warn!(
                "Revert incomplete MULTI/EXEC transaction from AOF file {}",
                self.what.path.display()
            );
            self.whole = at;
        }
        Ok(())
    }
}

const NOT_LOADED: CmdError =
    CmdError::fixed("ERR Error trying to load the AOF files, check server logs.");

impl Engine {
    /// Loads the append-only log in place of what is there.
    pub(super) fn reload_log(&mut self) -> Result<(), CmdError> {
        self.settle();
        let loaded = self.load_log_now();
        let state = self.state();
        if !state.sys.gate.is_stopped() {
            // Otherwise nobody may take what is half loaded for the data set.
            load::end_load(&mut state.sys);
        }
        replication::want_effects(state);
        state.ks.log.dirty = 0;
        loaded.map_err(|e| {
            tracing::warn!("DEBUG LOADAOF: {e}");
            NOT_LOADED
        })
    }

    fn load_log_now(&mut self) -> Result<(), String> {
        let State { ks, sys, fx, .. } = self.state();
        let disk = sys.host.0.disk().ok_or("there is no disk")?;
        // What was written since a log that has no base yet began is in no file that is loaded.
        let logging = sys.persist.logging.as_ref();
        if let Some(logging) = logging.filter(|logging| !logging.starting) {
            logging.log.flush().map_err(|e| e.to_string())?;
        }
        if let Some(closed) = &sys.persist.closed {
            closed.wait_for_writer();
        }
        if sys.persist.is_rewriting() {
            // Its base would hold what is not loaded.
            save::give_up_running(ks, sys);
        }
        let files = Directory::open(Arc::clone(&disk), log::place(sys));
        let mut load = files.map_err(|e| e.to_string()).and_then(|files| {
            // The file that is written must not be cut off.
            LogLoad::new(&files, sys.cfg.rdbchecksum, false)
        })?;
        for db in 0..ks.databases() {
            ks.flush(db, true);
        }
        // A script in the log may run past its limit: others are served then.
        load::begin_load(sys, load.total());
        fx.set_wanted(false);
        self.restore_functions(&[])?;
        let loaded = loop {
            if self.gate.is_stopped() {
                break Err("the server stops".to_owned());
            }
            match load.apply(self, &*disk) {
                Ok(LoadStep::Apply) => {}
                Ok(LoadStep::Read) => {
                    if let Err(e) = load.read(&*disk) {
                        break Err(e);
                    }
                }
                Ok(LoadStep::Done(_)) => break Ok(()),
                Err(e) => break Err(e),
            }
        };
        load.end(self);
        loaded
    }
}
