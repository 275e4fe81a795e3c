//! A snapshot on its way to the disk, and the append-only log.

use std::sync::Arc;

use super::{JobError, Steps, lock, sync, wait};
use crate::embed::Node;
use crate::exec::State;
use crate::exec::persist::log;
use crate::exec::persist::save::{self, Purpose, SaveStep};
use crate::persist::aof::log::Order;
use crate::persist::aof::{Directory, Log, Place, Writer};
use crate::persist::{Disk, Pending, Target};
use crate::rdb::file::HEADER;

/// Writes a save that has begun with these bytes.
pub(in crate::embed) fn save(node: &Node, id: u64, start: Vec<u8>) {
    let purpose = match lock(node) {
        Ok(mut engine) => engine
            .state()
            .sys
            .persist
            .saving
            .as_ref()
            .map(|s| s.purpose),
        Err(_) => return,
    };
    match purpose {
        Some(Purpose::Base) => return rewrite(node, id, start),
        Some(Purpose::Sync { .. }) => return sync::send(node, id, start),
        Some(Purpose::SyncFile) => return sync::write_and_send(node, id, start),
        _ => {}
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

pub(super) fn write(node: &Node, id: u64, start: Vec<u8>) -> Result<(), JobError> {
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

/// Whether to wait on between keys, unless the save is given up.
pub(super) fn go_on(node: &Node, id: u64) -> Result<bool, JobError> {
    let mut engine = lock(node)?;
    let sys = &engine.state().sys;
    match sys.persist.is_over(id) {
        true => Err(JobError::GivenUp),
        false => Ok(sys.cfg.rdb_key_save_delay != 0),
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
pub(super) const TEMPORARY: &str = "temp-rewrite-";

/// A base that has still its temporary name.
pub(super) struct Base {
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

pub(super) fn write_base(node: &Node, id: u64, start: Vec<u8>) -> Result<Base, JobError> {
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

    pub(super) fn order(self, log: &Log, id: u64) {
        let Base { temporary, rdb, .. } = self;
        log.order(Order::Rebase { id, temporary, rdb });
    }
}

/// Writes the append-only log until it is closed, once nobody writes the last one any more.
pub(in crate::embed) fn write_log(node: &Node, log: &Arc<Log>, last: Option<&Log>) {
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

pub(super) fn serve_log(mut writer: Writer) {
    while writer.serve() {}
}
