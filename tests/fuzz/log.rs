//! Logs of ours that come to harm: what was on the disk is never taken for something else, and what is kept of the
//! rest is a prefix of it.

use redkeep::persist::aof::reader::{disclaim, vouch};
use redkeep::persist::aof::{Entry, Reader, Wrong};
use std::ops::Range;

/// What may happen to bytes.
#[derive(Clone, Debug)]
pub enum Harm {
    Set(usize, u8),
    Insert(usize, u8),
    Remove(usize),
    Cut(usize),
    Zeros(Range<usize>),
    Twice(Range<usize>),
    Without(Range<usize>),
}

impl Harm {
    /// The harm that some numbers stand for.
    pub fn of(kind: u8, at: usize, more: usize, byte: u8, len: usize) -> Harm {
        let at = at % len.max(1);
        let range = at..(at + more).min(len);
        match kind % 7 {
            0 => Harm::Set(at, byte),
            1 => Harm::Insert(at, byte),
            2 => Harm::Remove(at),
            3 => Harm::Cut(at),
            4 => Harm::Zeros(range),
            5 => Harm::Twice(range),
            _ => Harm::Without(range),
        }
    }

    pub fn done_to(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        match self.clone() {
            Harm::Set(at, byte) => out[at] = byte,
            Harm::Insert(at, byte) => out.insert(at, byte),
            Harm::Remove(at) => _ = out.remove(at),
            Harm::Cut(at) => out.truncate(at),
            Harm::Zeros(range) => out[range].fill(0),
            Harm::Twice(range) => {
                let twice = out[range.clone()].to_vec();
                out.splice(range.end..range.end, twice);
            }
            Harm::Without(range) => _ = out.drain(range),
        }
        out
    }

    /// What of the bytes is no longer there, or is not where it was.
    fn area(&self, bytes: &[u8]) -> Range<usize> {
        // Which one of some equal bytes is gone or new cannot be said: the last.
        let last = |at: usize, byte: u8| {
            let run = bytes[at..].iter().take_while(|other| **other == byte);
            at + run.count()
        };
        match self.clone() {
            Harm::Set(at, _) => at..at + 1,
            Harm::Remove(at) => last(at, bytes[at]) - 1..last(at, bytes[at]),
            Harm::Insert(at, byte) => last(at, byte)..last(at, byte),
            Harm::Cut(at) => at..bytes.len(),
            Harm::Twice(range) => range.end..range.end,
            Harm::Zeros(range) | Harm::Without(range) => range,
        }
    }
}

/// A log, and what is known of it.
#[derive(Default)]
pub struct Log {
    pub bytes: Vec<u8>,
    batches: Vec<Batch>,
}

struct Batch {
    /// With its voucher, or without one.
    bytes: Range<usize>,
    commands: Vec<String>,
    vouched: bool,
    /// Up to here the file was on the disk, by what stands behind the batch.
    synced: usize,
}

impl Log {
    /// Commands, and a voucher for them.
    pub fn batch(&mut self, commands: &[&[u8]], synced: bool) {
        let start = self.bytes.len();
        let synced = if synced { start } else { self.synced() };
        let commands = self.plain(commands);
        let (sum, len) = (
            crc32fast::hash(&self.bytes[start..]),
            self.bytes.len() - start,
        );
        vouch(&mut self.bytes, sum, len as u64, synced as u64);
        self.batches.push(Batch {
            bytes: start..self.bytes.len(),
            commands,
            vouched: true,
            synced,
        });
    }

    /// Commands that nobody vouches for.
    pub fn disclaimed(&mut self, commands: &[&[u8]]) {
        let start = self.bytes.len();
        let commands = self.plain(commands);
        let synced = self.bytes.len();
        self.batches.push(Batch {
            bytes: start..synced,
            commands,
            vouched: false,
            synced: self.synced(),
        });
        disclaim(&mut self.bytes, synced as u64);
        self.batches.push(Batch {
            bytes: synced..self.bytes.len(),
            commands: Vec::new(),
            vouched: true,
            synced,
        });
    }

    fn plain(&mut self, commands: &[&[u8]]) -> Vec<String> {
        let start = self.bytes.len();
        commands
            .iter()
            .for_each(|command| self.bytes.extend(*command));
        read(&self.bytes[start..], 1 << 20).0
    }

    fn synced(&self) -> usize {
        self.batches.last().map_or(0, |batch| batch.synced)
    }

    /// Does harm to it, and looks at what is read then.
    pub fn suffers(&self, harm: &Harm, piece: usize) {
        let bad = harm.done_to(&self.bytes);
        let (commands, at, wrong) = read(&bad, piece);
        let area = harm.area(&self.bytes);
        let touches = |batch: &&Batch| {
            batch.bytes.start < area.end.max(area.start + 1) && area.start < batch.bytes.end
        };
        let known = self
            .batches
            .iter()
            .filter(touches)
            .all(|batch| batch.vouched);
        if let Some(Wrong::Torn(end)) = wrong {
            assert_eq!(end, at, "{harm:?}");
            // What is left once it is cut off is a whole log, with the same commands.
            let again = read(&bad[..end as usize], piece);
            assert_eq!(again, (commands.clone(), end, None), "{harm:?}");
        }
        if let Some(Wrong::Damaged(place, _)) = wrong {
            assert!(place <= bad.len() as u64, "{harm:?}");
            assert!(!matches!(harm, Harm::Cut(_)), "{harm:?}");
            return;
        }
        let one = matches!(harm, Harm::Set(..) | Harm::Insert(..) | Harm::Remove(_));
        // A disclaimer that stands twice, or elsewhere, disclaims what it was not for.
        let sure = one || self.batches.iter().all(|batch| batch.vouched);
        if bad == self.bytes || !known || !sure {
            return;
        }
        let claimed = self.batches.iter().any(|batch| {
            batch.vouched && batch.bytes.start >= area.end && batch.synced > area.start
        });
        let all = self.batches.iter().flat_map(|batch| &batch.commands);
        let fits = if claimed {
            // Where a voucher is lost that a disclaimer follows, its batch counts as disclaimed.
            let before = self.batches.iter().zip(self.batches.iter().skip(1));
            before
                .filter(|(batch, next)| !next.vouched && touches(batch))
                .count()
                > 0
                && all.eq(&commands)
        } else {
            all.take(commands.len()).eq(&commands)
        };
        // Whole batches may be missing or there twice: no checksum tells.
        let fits = fits || !one && self.is_made_of_batches(&commands);
        assert!(
            fits,
            "{harm:?}: {} -> {commands:?} {wrong:?}",
            bad.escape_ascii()
        );
    }

    fn is_made_of_batches(&self, commands: &[String]) -> bool {
        commands.is_empty()
            || self.batches.iter().any(|batch| {
                let rest = commands.strip_prefix(&batch.commands[..]);
                !batch.commands.is_empty() && rest.is_some_and(|rest| self.is_made_of_batches(rest))
            })
    }
}

/// The commands in a log, how far it was read, and what is wrong with it.
pub fn read(bytes: &[u8], piece: usize) -> (Vec<String>, u64, Option<Wrong>) {
    let mut reader = Reader::new(0);
    let mut pieces = bytes.chunks(piece.max(1)).chain([&b""[..]]);
    let mut commands = Vec::new();
    loop {
        match reader.next_entry() {
            Ok(Some(Entry::Command(words))) => commands.push(format!("{words:?}")),
            Ok(Some(_)) => {}
            Ok(None) => match pieces.next() {
                Some(piece) => reader.feed(piece),
                None => return (commands, reader.position(), None),
            },
            Err(wrong) => return (commands, reader.position(), Some(wrong)),
        }
    }
}
