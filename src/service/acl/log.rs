//! ACL LOG: what was refused of late.

use std::collections::VecDeque;

use crate::service::excerpt::excerpt;

/// Bytes that are kept of each text of an incident: names are as long as clients like.
const TEXT: usize = 1024;

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The command.
    Command,
    /// A key.
    Key,
    /// A channel.
    Channel,
    /// A password, or a user.
    Auth,
}

impl Reason {
    /// As ACL LOG shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Key => "key",
            Self::Channel => "channel",
            Self::Auth => "auth",
        }
    }
}

/// Where it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// A command by itself.
    Toplevel,
    /// A command of a transaction.
    Multi,
    /// A command of a script.
    Lua,
}

impl Context {
    /// As ACL LOG shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Toplevel => "toplevel",
            Self::Multi => "multi",
            Self::Lua => "lua",
        }
    }
}

/// Something was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Why.
    pub reason: Reason,
    /// Where.
    pub context: Context,
    /// The command, key or channel.
    pub object: Vec<u8>,
    /// The user, or who somebody claimed to be.
    pub username: Vec<u8>,
    /// The client, as CLIENT LIST shows it.
    pub client: String,
}

impl Incident {
    fn cut(&mut self) {
        for text in [&mut self.object, &mut self.username] {
            if text.len() > TEXT {
                *text = excerpt(text, TEXT);
            }
        }
        if self.client.len() > TEXT {
            let cut = excerpt(self.client.as_bytes(), TEXT);
            self.client = String::from_utf8_lossy(&cut).into_owned();
        }
    }
}

/// Incidents that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number; numbers are never given twice.
    pub id: u64,
    /// How many they are.
    pub count: u64,
    /// The latest of them.
    pub latest: Incident,
    /// When the first was, unix milliseconds.
    pub created: i64,
    /// When the latest was, unix milliseconds.
    pub updated: i64,
}

/// The latest incidents, newest first; and how many there were of each kind.
#[derive(Clone, Debug, Default)]
pub struct Log {
    entries: VecDeque<Entry>,
    next_id: u64,
    /// Counts by [`Reason`], as INFO shows them.
    counts: [u64; 4],
}

impl Log {
    /// Notes an incident, of which long texts are cut. It is added to an entry of the last minute that is like it, else the oldest beyond `max` is
    /// forgotten.
    pub fn add(&mut self, mut incident: Incident, now: i64, max: u64) {
        /// Entries that are looked at, and how old they may be in milliseconds.
        const LOOKED_AT: usize = 10;
        const RECENT: i64 = 60_000;
        self.counts[incident.reason as usize] += 1;
        incident.cut();
        let alike = |entry: &Entry| {
            let latest = &entry.latest;
            latest.reason == incident.reason
                && latest.context == incident.context
                && (now - entry.updated).abs() <= RECENT
                && latest.object == incident.object
                && latest.username == incident.username
        };
        let at = self.entries.iter().take(LOOKED_AT).position(alike);
        if let Some(mut entry) = at.and_then(|at| self.entries.remove(at)) {
            entry.count += 1;
            entry.updated = now;
            entry.latest = incident;
            self.entries.push_front(entry);
            return;
        }
        self.entries.push_front(Entry {
            id: self.next_id,
            count: 1,
            latest: incident,
            created: now,
            updated: now,
        });
        self.next_id += 1;
        self.trim(max);
    }

    /// Forgets the oldest beyond `max` entries.
    pub fn trim(&mut self, max: u64) {
        self.entries
            .truncate(usize::try_from(max).unwrap_or(usize::MAX));
    }

    /// Forgets all entries.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// The entries, newest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// How many incidents of a kind there were.
    pub const fn count(&self, reason: Reason) -> u64 {
        self.counts[reason as usize]
    }

    /// CONFIG RESETSTAT.
    pub fn reset_counts(&mut self) {
        self.counts = [0; 4];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_and_still_alike() {
        let incident = || Incident {
            reason: Reason::Key,
            context: Context::Toplevel,
            object: vec![b'k'; 1 << 20],
            username: vec![b'u'; TEXT],
            client: "ä".repeat(1 << 20),
        };
        let mut log = Log::default();
        (0..3).for_each(|now| log.add(incident(), now, 9));
        let entries: Vec<_> = log.iter().collect();
        let [entry] = entries[..] else {
            panic!("{} entries", entries.len());
        };
        assert_eq!(entry.count, 3);
        assert!(entry.latest.object.ends_with(b"k... (1047552 more bytes)"));
        assert_eq!(entry.latest.username.len(), TEXT);
        assert!(entry.latest.client.len() < TEXT + 40);
    }
}
