//! What is done beside the clients, step by step: snapshots on their way to the disk and to replicas, and the log.

use super::world::{Event, World, note};
use redkeep::engine::Engine;
use redkeep::exec::State;
use redkeep::exec::persist::save::{self, Purpose, SaveStep};
use redkeep::exec::persist::{load, log};
use redkeep::exec::replication::sync::{self, Ending};
use redkeep::persist::aof::log::Order;
use redkeep::persist::aof::{Directory, Writer};
use redkeep::persist::{Pending, Target};
use redkeep::rdb::file::HEADER;
use std::io::{self, Read};
use std::sync::Arc;

/// A snapshot that is being written.
pub struct Job {
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
    pub fn begin_job(&mut self, node: usize, id: u64, start: Vec<u8>) {
        let up = self.nodes[node].up.as_mut().unwrap();
        let purpose = up.hold(|engine| {
            let saving = engine.state().sys.persist.saving.as_ref();
            saving.filter(|s| s.id() == id).map(|s| s.purpose)
        });
        let Some(purpose) = purpose else {
            return;
        };
        note!(self, "node {node} begins a snapshot: {purpose:?}");
        let up = self.nodes[node].up.as_mut().unwrap();
        up.jobs.push(Job {
            id,
            purpose,
            bytes: start,
            sends: None,
        });
        self.plan_job(node);
    }

    fn plan_job(&mut self, node: usize) {
        let pause = 100 + self.rng.below(20_000) as i64;
        let starts = self.nodes[node].starts;
        self.queue
            .add(self.now + pause, Event::Job { node, starts });
    }

    /// The next step of what is being saved.
    pub fn job_turn(&mut self, node: usize) {
        let Some(up) = self.nodes[node].up.as_mut() else {
            return;
        };
        if up.jobs.is_empty() {
            return;
        }
        let mut job = up.jobs.remove(0);
        let step = up.hold(|engine| match job.purpose {
            Purpose::Sync { .. } => job.send(engine),
            Purpose::SyncFile => job.write_and_send(engine),
            Purpose::Base => job.write(engine, true),
            _ => job.write(engine, false),
        });
        let is_done = match step {
            Ok(Step::More) => false,
            Ok(Step::Done) => true,
            Err(e) => {
                note!(self, "node {node}: a snapshot was given up: {e}");
                true
            }
        };
        let up = self.nodes[node].up.as_mut().unwrap();
        if is_done {
            note!(self, "node {node} has ended a snapshot");
        } else {
            up.jobs.insert(0, job);
        }
        let goes_on = !self.nodes[node].up.as_ref().unwrap().jobs.is_empty();
        if goes_on {
            self.plan_job(node);
        }
        self.after(node);
    }

    /// The log is written.
    pub fn write_turn(&mut self, node: usize) {
        let Some(up) = self.nodes[node].up.as_mut() else {
            return;
        };
        up.writes = false;
        for _ in 0..up.writers.len() {
            let mut writer = up.writers.pop_front().unwrap();
            if writer.step() {
                up.writers.push_back(writer);
            }
        }
        up.hold(|engine| {
            let logging = engine.state().sys.persist.logging.as_ref();
            if logging.is_some_and(|logging| logging.log.has_news()) {
                engine.tick();
            }
        });
        self.after_writing(node);
    }

    /// Another log is to be written.
    pub fn begin_log(&mut self, node: usize, log: &Arc<redkeep::persist::aof::Log>) {
        let up = self.nodes[node].up.as_mut().unwrap();
        // The last one was closed.
        for mut writer in up.writers.drain(..) {
            while writer.step() {}
        }
        let files = up.hold(|engine| {
            let sys = &engine.state().sys;
            let disk = sys.host.0.disk().unwrap();
            Directory::open(disk, log::place(sys)).unwrap()
        });
        up.writers.push_back(Writer::begin(Arc::clone(log), files));
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
