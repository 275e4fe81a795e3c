//! What is done beside the clients, step by step: snapshots on their way to the disk and to replicas, and the log.

use std::io::{self, Read};
use std::sync::Arc;

use super::machine::{Place, Up};
use super::{Event, World, note};
use crate::engine::Engine;
use crate::exec::State;
use crate::exec::persist::save::{self, Purpose, SaveStep};
use crate::exec::persist::{load, log};
use crate::exec::replication::sync::{self, Ending};
use crate::persist::aof::log::Order;
use crate::persist::aof::{Directory, Log, Writer};
use crate::persist::{Pending, Target};
use crate::rdb::file::HEADER;

/// A snapshot that is being written.
pub(super) struct Job {
    id: u64,
    purpose: Purpose,
    /// What was written so far, if it is for a file.
    bytes: Vec<u8>,
    /// Bytes of the file that are being sent.
    sends: Option<Vec<u8>>,
}

/// More of a snapshot than this does not wait for a replica.
const WAITING_MOST: usize = 100_000;

/// What a step has come to.
enum Step {
    More,
    Done,
}

impl World {
    /// A snapshot has begun with these bytes.
    pub(super) fn begin_job(&mut self, place: Place, id: u64, start: Vec<u8>) {
        let Some(up) = self.machines[place].up.as_mut() else {
            return;
        };
        let purpose = up.hold(|engine| {
            let saving = engine.state().sys.persist.saving.as_ref();
            saving.filter(|s| s.id() == id).map(|s| s.purpose)
        });
        let Some(purpose) = purpose else {
            return;
        };
        up.jobs.push_back(Job {
            id,
            purpose,
            bytes: start,
            sends: None,
        });
        let name = &self.machines[place].name;
        note!(self, "{name} begins a snapshot: {purpose:?}");
        self.plan_job(place);
    }

    fn plan_job(&mut self, place: Place) {
        let pause = 100 + self.rng.below(20_000) as i64;
        let starts = self.machines[place].starts;
        self.queue
            .add(self.now + pause, Event::Job { place, starts });
    }

    /// The next step of what is being saved.
    pub(super) fn job_turn(&mut self, place: Place) {
        let Some(up) = self.machines[place].up.as_mut() else {
            return;
        };
        let Some(mut job) = up.jobs.pop_front() else {
            return;
        };
        let step = up.hold(|engine| match job.purpose {
            Purpose::Sync { .. } => job.send(engine),
            Purpose::SyncFile => job.write_and_send(engine),
            Purpose::Base => job.write(engine, true),
            _ => job.write(engine, false),
        });
        if let Ok(Step::More) = step {
            up.jobs.push_front(job);
        }
        let goes_on = !up.jobs.is_empty();
        let name = &self.machines[place].name;
        match step {
            Ok(Step::More) => {}
            Ok(Step::Done) => note!(self, "{name} has ended a snapshot"),
            Err(e) => note!(self, "{name}: a snapshot was given up: {e}"),
        }
        if goes_on {
            self.plan_job(place);
        }
        self.after(place);
    }

    /// The log is written.
    pub(super) fn write_turn(&mut self, place: Place) {
        let Some(up) = self.machines[place].up.as_mut() else {
            return;
        };
        up.writes = false;
        up.writers.retain_mut(Writer::step);
        up.hold(|engine| {
            let logging = engine.state().sys.persist.logging.as_ref();
            if logging.is_some_and(|logging| logging.log.has_news()) {
                engine.tick();
            }
        });
        self.after_writing(place);
    }

    /// Another log is to be written.
    pub(super) fn begin_log(&mut self, place: Place, log: &Arc<Log>) {
        let Some(up) = self.machines[place].up.as_mut() else {
            return;
        };
        // The last one was closed.
        up.end_logs();
        let files = up.hold(|engine| {
            let sys = &engine.state().sys;
            let disk = sys.host.0.disk().ok_or_else(given_up)?;
            Directory::open(disk, log::place(sys)).map_err(io::Error::other)
        });
        match files {
            Ok(files) => up.writers.push_back(Writer::begin(Arc::clone(log), files)),
            Err(e) => {
                log.refuse(&e.to_string());
                let name = &self.machines[place].name;
                note!(self, "{name} cannot open its log: {e}");
            }
        }
    }
}

impl Up {
    /// Whoever writes a log that is closed writes the rest of it.
    pub(super) fn end_logs(&mut self) {
        for mut writer in self.writers.drain(..) {
            while writer.step() {}
        }
    }
}

fn given_up() -> io::Error {
    io::Error::other("given up")
}

impl Job {
    /// The next piece; the header once that was all.
    fn piece(&mut self, engine: &mut Engine) -> io::Result<Option<Option<[u8; HEADER]>>> {
        let State { ks, sys, .. } = engine.state();
        let mut piece = Vec::new();
        let step = save::save_step(ks, sys, self.id, &mut piece);
        self.bytes.append(&mut piece);
        match step {
            SaveStep::More => Ok(None),
            SaveStep::Done(header) => Ok(Some(header)),
            SaveStep::Cancelled => Err(given_up()),
        }
    }

    /// Sends on what is made.
    fn send(&mut self, engine: &mut Engine) -> io::Result<Step> {
        let sent = self.send_piece(engine);
        if !matches!(sent, Ok(Step::More)) {
            let State {
                ks, sys, sessions, ..
            } = engine.state();
            let ending = sent.is_ok().then_some(Ending::Marked);
            sync::end_sync(ks, sys, sessions, self.id, ending);
            save::end_save(ks, sys, self.id, sent.is_ok());
        }
        sent
    }

    fn send_piece(&mut self, engine: &mut Engine) -> io::Result<Step> {
        let bytes = std::mem::take(&mut self.bytes);
        let waiting = sync::send_piece(engine.state(), self.id, &bytes);
        if waiting.ok_or_else(given_up)? > WAITING_MOST {
            return Ok(Step::More);
        }
        if self.piece(engine)?.is_none() {
            return Ok(Step::More);
        }
        let waiting = sync::send_piece(engine.state(), self.id, &self.bytes);
        waiting.map(|_| Step::Done).ok_or_else(given_up)
    }

    /// Writes to the disk.
    fn write(&mut self, engine: &mut Engine, base: bool) -> io::Result<Step> {
        let written = match self.piece(engine) {
            Ok(None) => return Ok(Step::More),
            Ok(Some(header)) if base => self.install(engine, header),
            Ok(Some(header)) => self.publish(engine, header).map(|()| false),
            Err(e) => Err(e),
        };
        // Who writes the log tells how it ended.
        if !matches!(written, Ok(true)) {
            let State { ks, sys, .. } = engine.state();
            save::end_save(ks, sys, self.id, written.is_ok());
        }
        written.map(|_| Step::Done)
    }

    fn publish(&self, engine: &mut Engine, header: Option<[u8; HEADER]>) -> io::Result<()> {
        let sys = &engine.state().sys;
        let disk = sys.host.0.disk().ok_or_else(given_up)?;
        let target = save::target(sys, self.id);
        let mut file = Pending::create(&*disk, &target)?;
        file.write(&self.bytes)?;
        if sys.persist.is_over(self.id) {
            return Err(given_up());
        }
        file.finish(header.as_ref())
    }

    /// A new base of the log. Whether who writes the log has still to put it in its place.
    fn install(&self, engine: &mut Engine, header: Option<[u8; HEADER]>) -> io::Result<bool> {
        let sys = &engine.state().sys;
        let disk = sys.host.0.disk().ok_or_else(given_up)?;
        let place = log::place(sys);
        disk.make_dir(&place.dir)?;
        disk.sync_dir(&place.parent)?;
        let id = self.id;
        let target = Target {
            dir: place.dir.clone(),
            name: String::new(),
            temporary: format!("temp-rewrite-{id}"),
            incremental: false,
        };
        let mut file = Pending::create(&*disk, &target)?;
        file.write(&self.bytes)?;
        let (temporary, rdb) = (file.leave(header.as_ref())?, header.is_some());
        if sys.persist.is_over(id) {
            disk.remove(&place.file(&temporary))?;
            return Err(given_up());
        }
        if let Some(logging) = &sys.persist.logging {
            logging.log.order(Order::Rebase { id, temporary, rdb });
            return Ok(true);
        }
        let mut files = Directory::open(Arc::clone(&disk), place).map_err(io::Error::other)?;
        files.rebase(&temporary, rdb, None)?;
        Ok(false)
    }

    /// Writes to the disk, and then sends the file.
    fn write_and_send(&mut self, engine: &mut Engine) -> io::Result<Step> {
        let sent = self.write_or_send(engine);
        if !matches!(sent, Ok(Step::More)) {
            let State {
                ks, sys, sessions, ..
            } = engine.state();
            let ending = sent.is_ok().then_some(Ending::Measured);
            sync::end_sync(ks, sys, sessions, self.id, ending);
            // Where it failed before it was written.
            save::end_save(ks, sys, self.id, false);
        }
        sent
    }

    fn write_or_send(&mut self, engine: &mut Engine) -> io::Result<Step> {
        if let Some(rest) = &mut self.sends {
            let n = rest.len().min(20_000);
            let piece: Vec<u8> = rest.drain(..n).collect();
            let left = rest.len();
            sync::send_piece(engine.state(), self.id, &piece).ok_or_else(given_up)?;
            return Ok(if left == 0 { Step::Done } else { Step::More });
        }
        let Some(header) = self.piece(engine)? else {
            return Ok(Step::More);
        };
        self.publish(engine, header)?;
        let State { ks, sys, .. } = engine.state();
        save::end_save(ks, sys, self.id, true);
        let disk = sys.host.0.disk().ok_or_else(given_up)?;
        let mut bytes = Vec::new();
        disk.open(&load::file_path(sys))?.read_to_end(&mut bytes)?;
        sync::send_length(engine.state(), self.id, bytes.len() as u64);
        self.sends = Some(bytes);
        Ok(Step::More)
    }
}
