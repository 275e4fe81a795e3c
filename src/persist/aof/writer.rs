//! What brings the log to the disk: batches, syncs, new files. It has no thread of its own; whoever has one for it calls
//! [`Writer::run`].
//!
//! The files that the manifest names are a *chain*: a base and what followed it. While the chain is whole, what is
//! written and synced is safe. It is broken when nobody knows any more what of the last file is on the disk, and it is not
//! whole before the first base is there: then the writer goes on in a file that the manifest does not name, and both
//! become the chain together, once a base is there for it.

use std::collections::VecDeque;
use std::io::{self, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::base::note_time;
use super::directory::Directory;
use super::log::{Log, News, Order, Policy, Trouble};
use super::manifest::Part;
use super::reader;
use crate::persist::disk::DiskFile;
use crate::util::system::reason;

/// A sync that takes longer is late.
const LATE: Duration = Duration::from_secs(1);

/// The file that is written.
struct Open {
    file: Box<dyn DiskFile>,
    part: Part,
    /// Bytes of it that are whole.
    len: u64,
    /// Those that are on the disk.
    synced: u64,
    /// The manifest names it.
    listed: bool,
}

/// The end of the last log of a chain, as it was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tail {
    /// Bytes of the file.
    pub len: u64,
    /// It ends with a line that vouches for what stands before it.
    pub vouched: bool,
}

/// The writer of one log.
pub struct Writer {
    log: Arc<Log>,
    files: Directory,
    open: Option<Open>,
    /// Batches that could not be written.
    held: VecDeque<Vec<u8>>,
    /// The position behind the last command that was written, or is safe otherwise.
    position: u64,
    trouble: Option<Trouble>,
    /// The rewrite whose base belongs before the open file.
    cut: Option<u64>,
    /// Bytes of the files before the open one.
    before: u64,
    orders: VecDeque<Order>,
    ended: bool,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("files", &self.files)
            .field("position", &self.position)
            .field("trouble", &self.trouble)
            .finish_non_exhaustive()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.log.end();
    }
}

impl Writer {
    /// A writer of a directory whose chain, if it has one, is not gone on with: what is added is safe once there is a
    /// base for it.
    pub fn begin(log: Arc<Log>, files: Directory) -> Writer {
        log.begin();
        Writer {
            position: log.start(),
            log,
            files,
            open: None,
            held: VecDeque::new(),
            trouble: None,
            cut: None,
            before: 0,
            orders: VecDeque::new(),
            ended: false,
        }
    }

    /// A writer that goes on with the chain of a directory, whose last log was loaded and ends so. If there
    /// is no log, one is begun at this time, in unix seconds.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn resume(log: Arc<Log>, files: Directory, tail: Tail, time: i64) -> io::Result<Writer> {
        let len = tail.len;
        let mut writer = Writer::begin(log, files);
        writer.before = writer.files.size();
        match writer.files.manifest().increments.last().cloned() {
            Some(part) => {
                let path = writer.files.place().file(&part.name);
                let mut file = writer.files.disk().append(&path)?;
                file.set_len(len)?;
                file.sync()?;
                writer.before = writer.files.size().saturating_sub(len);
                let mut open = Open {
                    file,
                    part,
                    len,
                    synced: len,
                    listed: true,
                };
                if !tail.vouched {
                    // Lasting before anything else is, as at the head of a new file.
                    let mut line = Vec::new();
                    reader::disclaim(&mut line, len);
                    open.write(&line).map_err(|e| e.error)?;
                    open.file.sync()?;
                    open.synced = open.len;
                }
                writer.open = Some(open);
            }
            None => writer.open_next(true, time)?,
        }
        writer.measure();
        let size = writer.log.size();
        writer.log.set_base_size(size);
        Ok(writer)
    }

    /// Waits for orders and does them; whether there may be more.
    pub fn serve(&mut self) -> bool {
        let log = Arc::clone(&self.log);
        log.next_orders(&mut self.orders);
        self.run()
    }

    /// Does the orders that there are; whether there may be more.
    pub fn step(&mut self) -> bool {
        let log = Arc::clone(&self.log);
        log.take_orders(&mut self.orders);
        self.run()
    }

    fn run(&mut self) -> bool {
        while let Some(order) = self.orders.pop_front() {
            self.obey(order);
        }
        if self.log.policy() == Policy::Always && self.is_unsynced() {
            let began = Instant::now();
            self.sync();
            self.log.synced_always(began);
        }
        self.log.set_written(self.position);
        self.log.wake();
        !self.ended
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Bytes(bytes) => self.add(bytes),
            Order::Sync => {
                self.sync();
            }
            Order::Cut { id, time } => {
                let done = self.cut(id, time).map_err(|e| e.to_string());
                self.log.tell(News::Cut(id, done));
            }
            Order::Rebase { id, temporary, rdb } => {
                let done = self.rebase(id, &temporary, rdb);
                let done = done.map_err(|e| e.to_string());
                self.log.tell(News::Rebased(id, done));
            }
            Order::Clean => {
                self.files.keeps_history = self.log.keeps_history();
                self.files.clean();
            }
            Order::Look => self.log.set_synced(self.log.synced()),
            Order::Retry => self.retry(),
            Order::Flush(done) => {
                // Whoever asked may have given up.
                let _ = done.send(self.flush());
            }
            Order::Close => {
                self.flush();
                self.leave();
                self.ended = true;
            }
        }
    }

    fn flush(&mut self) -> bool {
        self.retry();
        let safe = self.sync() && self.held.is_empty();
        self.log.set_written(self.position);
        safe
    }

    fn is_unsynced(&self) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| open.len > open.synced)
    }

    /// Commands were added.
    fn add(&mut self, bytes: Vec<u8>) {
        if self.held.is_empty() {
            self.write(bytes);
        } else {
            self.held.push_back(bytes);
        }
    }

    /// Writes a batch and the line that vouches for it. What cannot be written is held.
    fn write(&mut self, mut bytes: Vec<u8>) {
        let commands = bytes.len();
        let Some(open) = &mut self.open else {
            // The base that is to come will hold it.
            self.position += commands as u64;
            return;
        };
        let delay = self.log.delay();
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        let began = Instant::now();
        let sum = crc32fast::hash(&bytes);
        reader::vouch(&mut bytes, sum, commands as u64, open.synced);
        match open.write(&bytes) {
            Ok(()) => {
                self.position += commands as u64;
                self.log.give_back(bytes);
                self.log.took("aof-write", began);
                self.measure();
            }
            Err(WriteError { error, torn }) => {
                bytes.truncate(commands);
                self.held.push_front(bytes);
                tracing::warn!("Error writing to the append-only file: {error}");
                if torn {
                    self.break_chain(reason(&error));
                } else {
                    self.set_trouble(reason(&error), false);
                }
            }
        }
    }

    /// Sees that what was written is on the disk; whether it is.
    fn sync(&mut self) -> bool {
        let Some(open) = &mut self.open else {
            return false;
        };
        if open.len > open.synced {
            let began = Instant::now();
            let synced = open.file.sync();
            if began.elapsed() > LATE {
                self.log.sync_was_delayed();
            }
            if let Err(e) = synced {
                tracing::error!("Fail to fsync the append-only file: {e}");
                self.break_chain(reason(&e));
                return false;
            }
            open.synced = open.len;
        }
        if open.listed {
            self.log.set_synced(self.position);
        }
        open.listed
    }

    /// Tries again to write what could not be written.
    fn retry(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let mut left = self.held.len();
        while let Some(batch) = self.held.pop_front() {
            self.write(batch);
            if self.held.len() >= left {
                // It is back.
                return;
            }
            left = self.held.len();
        }
        if self.trouble.as_ref().is_some_and(|t| !t.lost) {
            tracing::info!("What waited was written to the append-only file after all");
            self.trouble = None;
            self.log.tell(News::Trouble(None));
        }
    }

    /// Nobody knows what of the open file is on the disk.
    fn break_chain(&mut self, why: String) {
        self.leave();
        self.cut = None;
        let held = std::mem::take(&mut self.held);
        self.position += held.iter().map(|batch| batch.len() as u64).sum::<u64>();
        self.set_trouble(why, true);
    }

    fn set_trouble(&mut self, why: String, lost: bool) {
        let trouble = Some(Trouble { why, lost });
        if self.trouble != trouble {
            self.trouble.clone_from(&trouble);
            self.log.tell(News::Trouble(trouble));
        }
    }

    /// Goes on in a new file.
    fn cut(&mut self, id: u64, time: i64) -> io::Result<()> {
        if !self.held.is_empty() {
            // The base will hold it, but before there is one it is missing from the chain.
            let why = self.trouble.take().map(|t| t.why);
            self.break_chain(why.unwrap_or_default());
        }
        // No file but the last may end in the middle of something.
        let whole = self.sync();
        self.open_next(whole, time)?;
        self.cut = Some(id);
        Ok(())
    }

    /// Leaves the open file. What the manifest never named is of no use to anybody.
    fn leave(&mut self) {
        if let Some(open) = self.open.take()
            && !open.listed
        {
            self.files.discard(&open.part);
        }
    }

    /// Opens the next file, as a part of the chain or not.
    fn open_next(&mut self, listed: bool, time: i64) -> io::Result<()> {
        if !listed {
            self.leave();
        }
        let (part, mut file) = self.files.create()?;
        let head = head(time);
        file.write_all(&head)?;
        file.sync()?;
        let len = head.len() as u64;
        if listed && let Err(e) = self.files.add(part.clone()) {
            // The manifest may name it all the same. Then nothing may be added to the file before it: only the last may
            // be torn.
            if self.files.restore().is_err() {
                self.break_chain(reason(&e));
            }
            return Err(e);
        }
        self.before += self.open.take().map_or(0, |open| open.len);
        self.open = Some(Open {
            file,
            part,
            len,
            synced: len,
            listed,
        });
        Ok(())
    }

    /// A base is there for the open file.
    fn rebase(&mut self, id: u64, temporary: &str, rdb: bool) -> io::Result<()> {
        let result = self.put_base(id, temporary, rdb);
        if result.is_err() {
            // It may have its other name by now, or never have been made.
            let _ = self
                .files
                .disk()
                .remove(&self.files.place().file(temporary));
        }
        result
    }

    fn put_base(&mut self, id: u64, temporary: &str, rdb: bool) -> io::Result<()> {
        if self.cut.take() != Some(id) {
            return Err(io::Error::other("there is no file to go on in"));
        }
        self.sync();
        let Some(open) = &mut self.open else {
            return Err(io::Error::other("the file after it could not be synced"));
        };
        self.files.keeps_history = self.log.keeps_history();
        self.files.rebase(temporary, rdb, Some(&open.part))?;
        open.listed = true;
        self.before = self.files.size().saturating_sub(open.len);
        self.measure();
        self.log.set_base_size(self.log.size());
        // Only now: whoever hears of it finds everything in its place.
        if self.trouble.take().is_some() {
            self.log.tell(News::Trouble(None));
        }
        self.sync();
        Ok(())
    }

    fn measure(&self) {
        let open = self.open.as_ref().map_or(0, |open| open.len);
        self.log.set_size(self.before + open);
    }
}

/// What a file begins with: when it was begun, and a line that vouches for that. Lasting before anything else is: so the
/// file is known to be ours, and that a power cut may leave anything behind this.
fn head(time: i64) -> Vec<u8> {
    let mut head = Vec::new();
    note_time(&mut head, time);
    let (sum, len) = (crc32fast::hash(&head), head.len() as u64);
    reader::vouch(&mut head, sum, len, 0);
    head
}

/// A batch was not written.
struct WriteError {
    error: io::Error,
    /// A part of it was, and cannot be cut off.
    torn: bool,
}

impl Open {
    /// Writes a whole batch or nothing.
    fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.len += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                let len = SeekFrom::Start(self.len);
                let mended = self
                    .file
                    .set_len(self.len)
                    .and_then(|()| self.file.seek(len));
                let torn = mended.is_err();
                Err(WriteError { error, torn })
            }
        }
    }
}
