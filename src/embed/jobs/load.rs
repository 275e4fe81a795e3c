//! The data set on its way from the disk.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::save::{TEMPORARY, serve_log, write_base};
use super::{JobError, lock, next_bytes, wait};
use crate::embed::Node;
use crate::engine::load::{LoadStep, LogLoad};
use crate::exec::State;
use crate::exec::persist::save::{self, Purpose};
use crate::exec::persist::{load, log};
use crate::exec::{replication, unconfirmed};
use crate::persist::aof::log::{News, Order};
use crate::persist::aof::{Directory, Log, Place, Policy, Tail, Writer};
use crate::persist::{Batch, Disk, Loader};

/// Bytes read from a file at once.
const READ: usize = 256 * 1024;

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
    if let Some(writer) = load_data_by_hand(node, disk)? {
        node.spawn("redkeep-aof", move |_| serve_log(writer));
    }
    Ok(())
}

/// As [`load_data`], but whoever calls has to write the append-only log, where there is one.
///
/// # Errors
/// As [`load_data`].
pub fn load_data_by_hand(node: &Node, disk: &Arc<dyn Disk>) -> Result<Option<Writer>, JobError> {
    let appends = lock(node)?.state().sys.cfg.appendonly;
    match appends {
        true => open_log(node, disk).map(Some),
        false => load_file(node, disk).map(|()| None),
    }
}

/// Loads the RDB file that is configured, if there is one. Clients are told meanwhile that the server is loading.
///
/// # Errors
/// When the file is damaged or cannot be read: half of it may be loaded then.
fn load_file(node: &Node, disk: &Arc<dyn Disk>) -> Result<(), JobError> {
    load_rdb(node, disk)?;
    part_with_past(node)?;
    finish(lock(node)?.state());
    Ok(())
}

/// A leader that goes on with its history begins with what is over in the data set: replicas hear of that, and clients see
/// nothing of it.
fn part_with_past(node: &Node) -> Result<(), JobError> {
    loop {
        let mut engine = lock(node)?;
        let state = engine.state();
        if state.sys.repl.is_replica() {
            return Ok(());
        }
        if let Some(position) = state.sys.persist.position.take() {
            replication::restored(state, position);
        }
        if !state.sys.repl.is_on() || load::part_with_past(state) == 0 {
            return Ok(());
        }
    }
}

/// The data set is there, and with it what it says of its history.
fn finish(state: &mut State) {
    if let Some(position) = state.sys.persist.position.take() {
        replication::restored(state, position);
    }
    load::end_load(&mut state.sys);
    if !state.sys.repl.is_replica() {
        unconfirmed::doubt(state);
    }
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
    let State { ks, sys, .. } = engine.state();
    sys.persist.position = sys.persist.intake.position(ks.databases());
    let began = sys.persist.loading.as_ref().map(|loading| loading.began);
    let took = began.map_or(0, |began| sys.now_us / 1000 - began);
    let counts = sys.persist.intake.counts;
    drop(engine);
    tracing::info!("{counts}");
    tracing::info!(
        "DB loaded from disk: {}.{:03} seconds",
        took / 1000,
        took % 1000
    );
    Ok(())
}

/// Loads the append-only log; gives who goes on with it. If there is none, the RDB file is loaded, and the log begins with
/// that.
///
/// # Errors
/// When a file is damaged or missing or cannot be read: half of it may be loaded then.
fn open_log(node: &Node, disk: &Arc<dyn Disk>) -> Result<Writer, JobError> {
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
        finish(state);
    }
    Ok(writer)
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
        wait(delay, || go_on(node))?;
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

/// Whether to wait on between keys.
fn go_on(node: &Node) -> Result<bool, JobError> {
    Ok(lock(node)?.state().sys.cfg.key_load_delay != 0)
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
        wait(delay, || go_on(node))?;
        match read? {
            Batch::More => {}
            Batch::Ended => return Ok(()),
            Batch::Hungry => loader.feed(next_bytes(file, &mut bytes)?),
        }
    }
}
