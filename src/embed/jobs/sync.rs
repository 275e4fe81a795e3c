//! A snapshot on its way to replicas: piece by piece as it is made, or by way of a file.

use std::io::Read;
use std::time::Duration;

use super::save::{go_on, write};
use super::{JobError, Steps, lock, next_bytes, wait};
use crate::embed::Node;
use crate::engine::Engine;
use crate::exec::persist::load;
use crate::exec::persist::save::{self, SaveStep};
use crate::exec::replication::sync::{self, Ending};
use crate::exec::{State, System};

/// More of a snapshot than this does not wait for a replica.
const WAITING_MOST: usize = 4 << 20;

/// How long it is waited before it is looked whether replicas have taken some of it.
const LOOK: Duration = Duration::from_millis(1);

/// Bytes of a file that are sent together.
const PIECE: usize = 128 * 1024;

/// Sends a snapshot that has begun with these bytes, as it is made.
pub(super) fn send(node: &Node, id: u64, start: Vec<u8>) {
    let sent = send_all(node, id, start);
    if let Ok(mut engine) = lock(node) {
        end(&mut engine, id, &sent, Ending::Marked);
        let State { ks, sys, .. } = engine.state();
        save::end_save(ks, sys, id, sent.is_ok());
    }
}

/// Tells the replicas how it ended.
fn end(engine: &mut Engine, id: u64, sent: &Result<(), JobError>, ending: Ending) {
    let State {
        ks, sys, sessions, ..
    } = engine.state();
    match sent {
        Ok(()) => tracing::info!("Streamed the snapshot to the replicas"),
        Err(e) => tracing::warn!("Background transfer of the snapshot to replicas ended: {e}"),
    }
    sync::end_sync(ks, sys, sessions, id, sent.is_ok().then_some(ending));
}

fn send_all(node: &Node, id: u64, mut bytes: Vec<u8>) -> Result<(), JobError> {
    let mut steps = Steps::new(node);
    let mut waiting = steps.next(|engine| sync::send_piece(engine.state(), id, &bytes))?;
    loop {
        let_it_go(node, id, waiting)?;
        bytes.clear();
        let (step, delay);
        (step, delay, waiting) = steps.next(|engine| {
            let state = engine.state();
            let step = save::save_step(&mut state.ks, &mut state.sys, id, &mut bytes);
            let delay = save::save_delay(&mut state.sys, id);
            (step, delay, sync::send_piece(state, id, &bytes))
        })?;
        match step {
            SaveStep::More => wait(delay, || go_on(node, id))?,
            SaveStep::Done(_) => return waiting.map(drop).ok_or(JobError::GivenUp),
            SaveStep::Cancelled => return Err(JobError::GivenUp),
        }
    }
}

/// Waits until the slowest replica has taken most of what waits for it. None is no replica at all.
fn let_it_go(node: &Node, id: u64, mut waiting: Option<usize>) -> Result<(), JobError> {
    loop {
        match waiting {
            None => return Err(JobError::GivenUp),
            Some(..=WAITING_MOST) => return Ok(()),
            Some(_) => {}
        }
        std::thread::sleep(LOOK);
        waiting = sync::send_piece(lock(node)?.state(), id, &[]);
    }
}

/// Writes a snapshot to the disk, as a save in the background does, and sends the file.
pub(super) fn write_and_send(node: &Node, id: u64, start: Vec<u8>) {
    let written = write(node, id, start);
    let Ok(mut engine) = lock(node) else {
        return;
    };
    let State { ks, sys, .. } = engine.state();
    save::end_save(ks, sys, id, written.is_ok());
    // Before the next one takes its place.
    let saves = sys.persist.saves;
    let file = written.and_then(|()| {
        let disk = sys.host.0.disk().ok_or(JobError::GivenUp)?;
        let path = load::file_path(sys);
        let size = disk.size(&path)?;
        Ok((disk.open(&path)?, size))
    });
    drop(engine);
    let sent = file.and_then(|(mut file, size)| send_file(node, id, &mut *file, size));
    if let Ok(mut engine) = lock(node) {
        end(&mut engine, id, &sent, Ending::Measured);
        remove_if_useless(&engine.state().sys, saves);
    }
}

/// Where nothing is saved, the file is of no use when it was sent (`rdb-del-sync-files`): unless another save, by which
/// there were more than `saves`, has taken its place.
fn remove_if_useless(sys: &System, saves: u64) {
    let lasts = !sys.cfg.save.is_empty() || sys.cfg.appendonly;
    if !sys.cfg.rdb_del_sync_files || lasts || sys.persist.saves != saves {
        return;
    }
    let removed = sys
        .host
        .0
        .disk()
        .map(|disk| disk.remove(&load::file_path(sys)));
    match removed {
        Some(Ok(())) => tracing::info!("Removed the RDB file that was written for replicas only"),
        Some(Err(e)) => tracing::warn!("The RDB file that was written for replicas stays: {e}"),
        None => {}
    }
}

fn send_file(node: &Node, id: u64, file: &mut dyn Read, size: u64) -> Result<(), JobError> {
    let mut bytes = vec![0; PIECE];
    sync::send_length(lock(node)?.state(), id, size);
    let mut left = size;
    while left > 0 {
        let piece = next_bytes(file, &mut bytes)?;
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        let piece = piece.get(..most).unwrap_or_default();
        if piece.is_empty() {
            return Err(JobError::File("it is shorter than it was".to_owned()));
        }
        left -= piece.len() as u64;
        let waiting = sync::send_piece(lock(node)?.state(), id, piece);
        let_it_go(node, id, waiting)?;
    }
    Ok(())
}
