//! A base that is made of commands, in the making.

use super::reader;
use crate::resp::encode_command;

/// Puts the commands that make a data set behind one another, in batches that are vouched for.
#[derive(Debug, Default)]
pub struct CommandFrame {
    selected: Option<usize>,
}

impl CommandFrame {
    /// A base that begins here, perhaps with a note of the time in unix seconds.
    pub fn begin(out: &mut Vec<u8>, time: Option<i64>) -> CommandFrame {
        if let Some(seconds) = time {
            note_time(out, seconds);
        }
        CommandFrame::default()
    }

    /// A library of functions.
    pub fn function(&mut self, out: &mut Vec<u8>, code: &[u8]) {
        encode_command(out, &[&b"FUNCTION"[..], b"LOAD", code]);
    }

    /// Commands for a database, as [`walk_snapshot`](crate::keyspace::Keyspace::walk_snapshot) gives them.
    pub fn keys(&mut self, out: &mut Vec<u8>, db: usize, commands: &[u8]) {
        if self.selected.replace(db) != Some(db) {
            let mut number = itoa::Buffer::new();
            encode_command(out, &[&b"SELECT"[..], number.format(db).as_bytes()]);
        }
        out.extend_from_slice(commands);
    }

    /// A batch ends, which is all that was written to `out`.
    pub fn vouch(&self, out: &mut Vec<u8>) {
        if out.is_empty() {
            return;
        }
        let (sum, len) = (crc32fast::hash(out), out.len() as u64);
        // The file has its name only when all of it is on the disk.
        reader::vouch(out, sum, len, 0);
    }
}

/// Notes the time of what follows, in unix seconds (`aof-timestamp-enabled`).
pub fn note_time(out: &mut Vec<u8>, seconds: i64) {
    out.extend_from_slice(format!("#TS:{seconds}\r\n").as_bytes());
}
