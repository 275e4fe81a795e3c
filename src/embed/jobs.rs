//! What takes long and is done beside the clients: writing and reading the data set, each on a thread of its own, in small
//! steps under the lock.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::node::{Held, LockError, Node};
use crate::engine::Engine;
use crate::engine::load::{LoadStep, LogLoad};
use crate::exec::State;
use crate::exec::persist::save::{self, Purpose, SaveStep};
use crate::exec::persist::{load, log};
use crate::persist::aof::log::{News, Order};
use crate::persist::aof::{Directory, DirectoryError, Log, Place, Policy, Tail, Writer};
use crate::persist::{Batch, Disk, LoadError, Loader, Pending, Target};
use crate::rdb::file::HEADER;

/// Bytes read from a file at once.
const READ: usize = 256 * 1024;

/// How long a job waits for a script that is busy.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// A job goes on for about so long before it pauses.
const PAUSE_EVERY: Duration = Duration::from_micros(200);

/// It pauses no longer than this.
const PAUSE_MOST: Duration = Duration::from_millis(5);

/// When no command came for so long nobody is in a hurry.
const QUIET: Duration = Duration::from_millis(20);

/// Why a job did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The disk has its reasons.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// The append-only log cannot be opened.
    #[error(transparent)]
    Log(#[from] DirectoryError),
    /// The RDB file is damaged: where, and what is wrong.
    #[error("{0}")]
    File(String),
    /// A file of the append-only log is damaged or missing, or cannot be made: where, and what is wrong.
    #[error("{0}")]
    LogFile(String),
    /// It was cancelled, or the server stops.
    #[error("given up")]
    GivenUp,
}

impl From<LoadError> for JobError {
    fn from(e: LoadError) -> JobError {
        JobError::File(e.to_string())
    }
}

/// The engine, once no script is in the way.
fn lock(node: &Node) -> Result<Held<'_>, JobError> {
    loop {
        match node.lock() {
            Ok(held) => return Ok(held),
            Err(LockError::Stopped) => return Err(JobError::GivenUp),
            Err(LockError::Busy) => std::thread::sleep(BUSY_PAUSE),
        }
    }
}

/// Steps of a job, each under the lock.
struct Steps<'a> {
    node: &'a Node,
    /// Commands that had been run at the end of the last one.
    commands: u64,
    /// When more of them were seen.
    served: Option<Instant>,
    /// How long the lock was held since there was a pause.
    held: Duration,
}

impl<'a> Steps<'a> {
    fn new(node: &'a Node) -> Self {
        Self {
            node,
            commands: 0,
            served: None,
            held: Duration::ZERO,
        }
    }

    /// Does the next. While clients are served there are pauses, twice as long as what was done between them, in which
    /// they have lock and processor: without these a job that finds the lock free keeps the processor for as long as the
    /// system lets it, which is several milliseconds.
    fn next<T>(&mut self, work: impl FnOnce(&mut Engine) -> T) -> Result<T, JobError> {
        let mut engine = lock(self.node)?;
        let began = Instant::now();
        let done = work(&mut engine);
        let commands = engine.state().sys.stats.commands_processed;
        drop(engine);
        self.held += began.elapsed();
        if std::mem::replace(&mut self.commands, commands) != commands {
            self.served = Some(began);
        }
        if self.held >= PAUSE_EVERY {
            let held = std::mem::take(&mut self.held);
            if self.served.is_some_and(|at| at.elapsed() < QUIET) {
                std::thread::sleep((2 * held).min(PAUSE_MOST));
            }
        }
        Ok(done)
    }
}

/// Writes a save that has begun with these bytes.
pub(super) fn save(node: &Node, id: u64, start: Vec<u8>) {
    let base = match lock(node) {
        Ok(mut engine) => engine.state().sys.persist.is_rewriting(),
        Err(_) => return,
    };
    if base {
        return rewrite(node, id, start);
    }
    let written = write(node, id, start);
    if let Ok(mut engine) = lock(node) {
        let state = engine.state();
        save::end_save(&mut state.ks, &mut state.sys, id, written.is_ok());
    }
    match written {
        Ok(()) => tracing::info!("Background saving terminated with success"),
        Err(JobError::GivenUp) => tracing::warn!("Background saving cancelled"),
        Err(e) => tracing::warn!("Background saving error: {e}"),
    }
}

fn write(node: &Node, id: u64, start: Vec<u8>) -> Result<(), JobError> {
    let (disk, target) = {
        let mut engine = lock(node)?;
        let sys = &engine.state().sys;
        let disk = sys.host.0.disk().ok_or(JobError::GivenUp)?;
        (disk, save::target(sys, id))
    };
    let mut file = Pending::create(&*disk, &target)?;
    let header = write_all(node, id, start, &mut file)?;
    file.complete(header.as_ref())?;
    {
        // Under the lock: whoever gives it up saves what came later, and that must stay.
        let mut engine = lock(node)?;
        if engine.state().sys.persist.is_over(id) {
            return Err(JobError::GivenUp);
        }
        file.publish()?;
    }
    Ok(file.settle()?)
}

/// Writes everything but the header, which it gives if there is one.
fn write_all(
    node: &Node,
    id: u64,
    mut bytes: Vec<u8>,
    file: &mut Pending<'_>,
) -> Result<Option<[u8; HEADER]>, JobError> {
    let mut steps = Steps::new(node);
    loop {
        file.write(&bytes)?;
        bytes.clear();
        let (step, delay) = steps.next(|engine| {
            let State { ks, sys, .. } = engine.state();
            let step = save::save_step(ks, sys, id, &mut bytes);
            (step, save::save_delay(sys, id))
        })?;
        wait(delay, || go_on(node, id))?;
        match step {
            SaveStep::More => {}
            SaveStep::Done(header) => {
                file.write(&bytes)?;
                return Ok(header);
            }
            SaveStep::Cancelled => return Err(JobError::GivenUp),
        }
    }
}

/// Whether a save is not given up.
fn go_on(node: &Node, id: u64) -> Result<(), JobError> {
    match lock(node)?.state().sys.persist.is_over(id) {
        true => Err(JobError::GivenUp),
        false => Ok(()),
    }
}

/// Writes a new base of the append-only log. Who writes the log puts it in its place, and the engine hears of that; if
/// there is no log, it is put there here.
fn rewrite(node: &Node, id: u64, start: Vec<u8>) {
    let done = write_base(node, id, start).and_then(|base| base.install(node, id));
    let error = match done {
        Ok(Installed::Ordered) => return,
        Ok(Installed::Done) => None,
        Err(e) => Some(e),
    };
    if let Ok(mut engine) = lock(node) {
        let state = engine.state();
        save::end_save(&mut state.ks, &mut state.sys, id, error.is_none());
    }
    match error {
        None => tracing::info!("Background AOF rewrite finished successfully"),
        Some(JobError::GivenUp) => tracing::warn!("Background AOF rewrite cancelled"),
        Some(e) => tracing::warn!("Background AOF rewrite failed: {e}"),
    }
}

/// What the temporary name of a base begins with.
const TEMPORARY: &str = "temp-rewrite-";

/// A base that has still its temporary name.
struct Base {
    disk: Arc<dyn Disk>,
    place: Place,
    temporary: String,
    rdb: bool,
    keeps_history: bool,
}

enum Installed {
    /// It was.
    Done,
    /// Who writes the log will.
    Ordered,
}

fn write_base(node: &Node, id: u64, start: Vec<u8>) -> Result<Base, JobError> {
    let (disk, place, incremental, keeps_history) = {
        let mut engine = lock(node)?;
        let sys = &engine.state().sys;
        let disk = sys.host.0.disk().ok_or(JobError::GivenUp)?;
        let incremental = sys.cfg.aof_rewrite_incremental_fsync;
        let keeps_history = sys.cfg.aof_disable_auto_gc;
        (disk, log::place(sys), incremental, keeps_history)
    };
    disk.make_dir(&place.dir)?;
    disk.sync_dir(&place.parent)?;
    let target = Target {
        dir: place.dir.clone(),
        name: String::new(),
        // Who writes a base that was given up may not know it yet.
        temporary: format!("{TEMPORARY}{id}-{}", place.prefix),
        incremental,
    };
    let mut file = Pending::create(&*disk, &target)?;
    let header = write_all(node, id, start, &mut file)?;
    let temporary = file.leave(header.as_ref())?;
    Ok(Base {
        disk,
        place,
        temporary,
        rdb: header.is_some(),
        keeps_history,
    })
}

impl Base {
    fn install(self, node: &Node, id: u64) -> Result<Installed, JobError> {
        let mut engine = lock(node)?;
        let persist = &engine.state().sys.persist;
        if persist.is_over(id) {
            // Nobody wants it any more.
            let _ = self.disk.remove(&self.place.file(&self.temporary));
            return Err(JobError::GivenUp);
        }
        if let Some(logging) = &persist.logging {
            self.order(&logging.log, id);
            return Ok(Installed::Ordered);
        }
        // Under the lock: nobody else has the directory meanwhile.
        if let Some(closed) = &persist.closed {
            closed.wait_for_writer();
        }
        let mut files = Directory::open(Arc::clone(&self.disk), self.place)?;
        files.keeps_history = self.keeps_history;
        files.rebase(&self.temporary, self.rdb, None)?;
        Ok(Installed::Done)
    }

    fn order(self, log: &Log, id: u64) {
        let Base { temporary, rdb, .. } = self;
        log.order(Order::Rebase { id, temporary, rdb });
    }
}

/// Writes the append-only log until it is closed, once nobody writes the last one any more.
pub(super) fn write_log(node: &Node, log: &Arc<Log>, last: Option<&Log>) {
    if let Some(last) = last {
        last.wait_for_end();
    }
    match open_for(node, log) {
        Ok(files) => serve_log(Writer::begin(Arc::clone(log), files)),
        Err(e) => {
            tracing::error!("The append-only file cannot be opened: {e}");
            log.refuse(&e.to_string());
        }
    }
}

fn open_for(node: &Node, log: &Log) -> Result<Directory, JobError> {
    let (disk, place) = {
        let mut engine = lock(node)?;
        let sys = &engine.state().sys;
        let disk = sys.host.0.disk().ok_or(JobError::GivenUp)?;
        log.begin();
        (disk, log::place(sys))
    };
    Ok(Directory::open(disk, place)?)
}

fn serve_log(mut writer: Writer) {
    while writer.serve() {}
}

/// Waits for so many microseconds, and looks now and then whether that still makes sense.
fn wait(
    mut microseconds: u64,
    mut look: impl FnMut() -> Result<(), JobError>,
) -> Result<(), JobError> {
    const SLICE: u64 = 10_000;
    while microseconds > 0 {
        let slice = microseconds.min(SLICE);
        std::thread::sleep(Duration::from_micros(slice));
        microseconds -= slice;
        look()?;
    }
    Ok(())
}

/// Whether there is anything in the configured directory that [`load_data`] loads.
///
/// # Errors
/// When the engine cannot be had.
pub fn has_data(node: &Node, disk: &dyn Disk) -> Result<bool, JobError> {
    let mut engine = lock(node)?;
    let sys = &engine.state().sys;
    // What cannot be looked at may be there.
    let is_there =
        |path: &Path| !matches!(disk.size(path), Err(e) if e.kind() == io::ErrorKind::NotFound);
    let place = log::place(sys);
    let logged = sys.cfg.appendonly && (is_there(&place.manifest()) || is_there(&place.old()));
    Ok(logged || is_there(&load::file_path(sys)))
}

/// Loads the data set that is in the configured directory, if there is one: the append-only log where that is switched
/// on, and the RDB file otherwise.
///
/// # Errors
/// When a file is damaged or missing or cannot be read: half of it may be loaded then.
pub fn load_data(node: &Node, disk: &Arc<dyn Disk>) -> Result<(), JobError> {
    let appends = lock(node)?.state().sys.cfg.appendonly;
    match appends {
        true => open_log(node, disk),
        false => load_file(node, disk),
    }
}

/// Loads the RDB file that is configured, if there is one. Clients are told meanwhile that the server is loading.
///
/// # Errors
/// When the file is damaged or cannot be read: half of it may be loaded then.
fn load_file(node: &Node, disk: &Arc<dyn Disk>) -> Result<(), JobError> {
    load_rdb(node, disk)?;
    load::end_load(&mut lock(node)?.state().sys);
    Ok(())
}

fn load_rdb(node: &Node, disk: &Arc<dyn Disk>) -> Result<(), JobError> {
    let path = load::file_path(&lock(node)?.state().sys);
    let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    let total = match disk.size(&path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        size => size.map_err(named)?,
    };
    let mut file = disk.open(&path).map_err(named)?;
    tracing::info!("Loading RDB from {} ({total} bytes)", path.display());
    let checked = {
        let mut engine = lock(node)?;
        let sys = &mut engine.state().sys;
        load::begin_load(sys, total);
        sys.cfg.rdbchecksum
    };
    // When it fails nobody may see the half of it that is there.
    read(node, &mut *file, checked).map_err(|e| match e {
        JobError::Disk(e) => JobError::Disk(named(e)),
        JobError::File(what) => JobError::File(format!("{} {what}", path.display())),
        other => other,
    })?;
    let mut engine = lock(node)?;
    if let Some(functions) = load::loaded_functions(&mut engine.state().sys) {
        let restored = engine.restore_functions(&functions);
        restored.map_err(JobError::File)?;
    }
    let sys = &mut engine.state().sys;
    let began = sys.persist.loading.as_ref().map(|loading| loading.began);
    let took = began.map_or(0, |began| sys.now_us / 1000 - began);
    let counts = sys.persist.loaded;
    drop(engine);
    tracing::info!("{counts}");
    tracing::info!(
        "DB loaded from disk: {}.{:03} seconds",
        took / 1000,
        took % 1000
    );
    Ok(())
}

/// Loads the append-only log and goes on with it. If there is none, the RDB file is loaded, and the log begins with that.
///
/// # Errors
/// When a file is damaged or missing or cannot be read: half of it may be loaded then.
fn open_log(node: &Node, disk: &Arc<dyn Disk>) -> Result<(), JobError> {
    let place = log::place(&lock(node)?.state().sys);
    let mut files = Directory::open(Arc::clone(disk), place)?;
    if let Some(name) = files.adopt()? {
        tracing::info!(
            "Successfully migrated an old-style AOF file ({name}) into the AOF directory"
        );
    }
    let log = Arc::new(Log::new(Policy::EverySecond));
    let writer = if files.manifest().is_empty() {
        load_rdb(node, disk)?;
        begin_log(node, &log, files)?
    } else {
        let tail = load_log(node, &files)?;
        let time = lock(node)?.state().sys.now_us / 1_000_000;
        Writer::resume(Arc::clone(&log), files, tail, time)?
    };
    files_left_over(disk, &log::place(&lock(node)?.state().sys));
    node.listen_to(&log);
    {
        let mut engine = lock(node)?;
        let state = engine.state();
        log::opened(state, log);
        load::end_load(&mut state.sys);
    }
    node.spawn("redkeep-aof", move |_| serve_log(writer));
    Ok(())
}

/// Writes the first base, before anybody can change what it holds.
fn begin_log(node: &Node, log: &Arc<Log>, files: Directory) -> Result<Writer, JobError> {
    tracing::info!("Creating AOF base file on server start");
    let mut start = Vec::new();
    let (id, time) = {
        let mut engine = lock(node)?;
        let State { ks, sys, .. } = engine.state();
        let id = save::begin_save(ks, sys, Purpose::Base, &mut start)
            .map_err(|e| JobError::LogFile(e.text().to_owned()))?;
        (id, sys.now_us / 1_000_000)
    };
    let base = write_base(node, id, start);
    let mut writer = Writer::begin(Arc::clone(log), files);
    log.order(Order::Cut { id, time });
    let done = base.and_then(|base| {
        base.order(log, id);
        writer.step();
        let failed = log.take_news().into_iter().find_map(|news| match news {
            News::Cut(_, Err(why)) | News::Rebased(_, Err(why)) => Some(why),
            _ => None,
        });
        failed.map_or(Ok(()), |why| Err(JobError::LogFile(why)))
    });
    let mut engine = lock(node)?;
    let State { ks, sys, .. } = engine.state();
    save::end_save(ks, sys, id, done.is_ok());
    done.map(|()| writer)
}

/// Loads the log; tells how its last file ends.
fn load_log(node: &Node, files: &Directory) -> Result<Tail, JobError> {
    let began = std::time::Instant::now();
    let mut load = {
        let mut engine = lock(node)?;
        let sys = &mut engine.state().sys;
        let (checked, truncates) = (sys.cfg.rdbchecksum, sys.cfg.aof_load_truncated);
        let load = LogLoad::new(files, checked, truncates).map_err(JobError::LogFile)?;
        load::begin_load(sys, load.total());
        load
    };
    let tail = loop {
        let step = {
            let mut engine = lock(node)?;
            let step = load.apply(&mut engine, &**files.disk());
            (step, load::load_delay(&mut engine.state().sys))
        };
        let (step, delay) = step;
        wait(delay, || lock(node).map(drop))?;
        match step.map_err(JobError::LogFile)? {
            LoadStep::Apply => {}
            LoadStep::Read => load.read(&**files.disk()).map_err(JobError::LogFile)?,
            LoadStep::Done(tail) => break tail,
        }
    };
    load.end(&mut *lock(node)?);
    tracing::info!(
        "DB loaded from append only file: {:.3} seconds",
        began.elapsed().as_secs_f64()
    );
    Ok(tail)
}

/// Removes what earlier rewrites left that were cut short.
fn files_left_over(disk: &Arc<dyn Disk>, place: &Place) {
    for name in disk.list(&place.dir).unwrap_or_default() {
        if name.starts_with(TEMPORARY)
            && let Err(e) = disk.remove(&place.file(&name))
        {
            tracing::warn!("{name} is left over: {e}");
        }
    }
}

fn read(node: &Node, file: &mut dyn Read, checked: bool) -> Result<(), JobError> {
    let mut loader = Loader::new(checked);
    let (mut bytes, mut batch, mut db) = (vec![0; READ], Vec::new(), 0);
    let mut plan = {
        let mut engine = lock(node)?;
        let state = engine.state();
        load::load_plan(&state.ks, &state.sys)
    };
    loop {
        // Values are made without the lock, however long that takes.
        let read = loader.batch(plan.bytes, &plan.limits, plan.now, &mut batch);
        let delay = {
            let mut engine = lock(node)?;
            let State { ks, sys, .. } = engine.state();
            ks.begin(db, sys.now_us / 1000);
            load::put_batch(ks, sys, &mut batch, loader.position(), false, plan.now)?;
            if let Ok(Batch::Ended) = read {
                ks.loaded();
            }
            db = ks.current();
            plan = load::load_plan(ks, sys);
            load::load_delay(sys)
        };
        wait(delay, || lock(node).map(drop))?;
        match read? {
            Batch::More => {}
            Batch::Ended => return Ok(()),
            Batch::Hungry => loader.feed(next_bytes(file, &mut bytes)?),
        }
    }
}

/// The next bytes of a file; none at its end.
fn next_bytes<'a>(file: &mut dyn Read, into: &'a mut [u8]) -> io::Result<&'a [u8]> {
    loop {
        match file.read(into) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
            Ok(n) => return Ok(into.get(..n).unwrap_or_default()),
        }
    }
}
