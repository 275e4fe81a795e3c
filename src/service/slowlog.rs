//! The slow log: the latest commands that took long.

use std::collections::VecDeque;

use super::excerpt::excerpt;

/// Arguments of an entry, and bytes of an argument, that are kept.
const ARGS: usize = 32;
const ARG_BYTES: usize = 128;

/// A slow command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowEntry {
    /// Its number; numbers are never given twice.
    pub id: i64,
    /// When it ran, in unix seconds.
    pub time: i64,
    /// How many microseconds it took; how many bytes, in the logs of what is large.
    pub usec: i64,
    /// The command, long ones cut.
    pub args: Vec<Vec<u8>>,
    /// Address of the client.
    pub peer: String,
    /// Name of the client, a long one cut.
    pub client: Vec<u8>,
}

/// The latest slow commands, newest first.
#[derive(Clone, Debug, Default)]
pub struct SlowLog {
    entries: VecDeque<SlowEntry>,
    next_id: i64,
}

impl SlowLog {
    /// Adds a command, and forgets the oldest beyond `max` entries.
    pub fn add<'a>(
        &mut self,
        time: i64,
        usec: i64,
        args: impl ExactSizeIterator<Item = &'a [u8]>,
        peer: &str,
        client: &[u8],
        max: u64,
    ) {
        let entry = SlowEntry {
            id: self.next_id,
            time,
            usec,
            args: shorten(args),
            peer: peer.to_owned(),
            client: excerpt(client, ARG_BYTES),
        };
        self.next_id += 1;
        self.entries.push_front(entry);
        self.trim(max);
    }

    /// Forgets the oldest beyond `max` entries.
    pub fn trim(&mut self, max: u64) {
        self.entries
            .truncate(usize::try_from(max).unwrap_or(usize::MAX));
    }

    /// The entries, newest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &SlowEntry> {
        self.entries.iter()
    }

    /// Forgets all of them.
    pub fn reset(&mut self) {
        self.entries.clear();
    }
}

fn shorten<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let total = args.len();
    let kept = if total > ARGS { ARGS - 1 } else { total };
    let mut out: Vec<Vec<u8>> = args.take(kept).map(|arg| excerpt(arg, ARG_BYTES)).collect();
    if total > kept {
        out.push(format!("... ({} more arguments)", total - kept).into_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_newest_and_numbers_them_all() {
        let mut log = SlowLog::default();
        for n in 0..5 {
            log.add(n, 1, [b"x".as_slice()].into_iter(), "", b"", 3);
        }
        assert_eq!(log.entries().map(|e| e.id).collect::<Vec<_>>(), [4, 3, 2]);
        log.reset();
        log.add(9, 1, [b"x".as_slice()].into_iter(), "", b"", 3);
        assert_eq!(log.entries().map(|e| e.id).collect::<Vec<_>>(), [5]);
    }

    #[test]
    fn long_commands_are_cut() {
        let mut log = SlowLog::default();
        let args = vec![b"a".as_slice(); 33];
        log.add(0, 1, args.into_iter(), "", b"", 9);
        let long = vec![b'A'; 129];
        log.add(0, 1, [long.as_slice()].into_iter(), "", b"", 9);
        let entries: Vec<_> = log.entries().collect();
        assert!(entries[0].args[0].ends_with(b"A... (1 more bytes)"));
        assert_eq!(entries[1].args.len(), 32);
        assert_eq!(entries[1].args[31], b"... (2 more arguments)");
    }
}
