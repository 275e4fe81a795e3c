//! Prefixes of keys, and who hears of every key that has one.
//!
//! What changed is gathered, so that a batch of commands makes one message for each prefix.

use std::collections::{BTreeMap, BTreeSet};

use crate::ds::bytes::SmallBytes;

/// Keys that changed, each with the id of the client that changed it last, if one did.
pub(super) type Changed = BTreeMap<SmallBytes, Option<u64>>;

#[derive(Debug, Default)]
struct Prefix {
    clients: BTreeSet<u64>,
    changed: Changed,
}

/// Who hears of which prefixes.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    all: BTreeMap<SmallBytes, Prefix>,
    /// How many prefixes have which length: those of a key are found by cutting it to each.
    lengths: BTreeMap<usize, usize>,
    /// Prefixes with changed keys.
    due: BTreeSet<SmallBytes>,
    bytes: usize,
}

/// What a client's place in the tree costs, its own copy of the prefix included.
const PER_CLIENT: usize = 64;
/// What a prefix costs beside its bytes.
const PER_PREFIX: usize = 160;
/// What a changed key costs beside its bytes.
const PER_KEY: usize = 60;

fn size_of_changed(changed: &Changed) -> usize {
    let each = |key: &SmallBytes| PER_KEY + key.heap_size();
    changed.keys().map(each).sum()
}

impl Prefixes {
    /// Number of prefixes.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Bytes used, about.
    pub(super) fn memory(&self) -> usize {
        self.bytes
    }

    /// Whether somebody is to hear of something.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// A client wants to hear of a prefix.
    pub(super) fn add(&mut self, prefix: &SmallBytes, id: u64) {
        let entry = self.all.entry(prefix.clone()).or_insert_with(|| {
            *self.lengths.entry(prefix.len()).or_default() += 1;
            self.bytes += PER_PREFIX + prefix.heap_size();
            Prefix::default()
        });
        if entry.clients.insert(id) {
            self.bytes += PER_CLIENT + prefix.heap_size();
        }
    }

    /// A client wants to hear of a prefix no more.
    pub(super) fn remove(&mut self, prefix: &SmallBytes, id: u64) {
        let Some(entry) = self.all.get_mut(prefix) else {
            return;
        };
        if entry.clients.remove(&id) {
            self.bytes -= PER_CLIENT + prefix.heap_size();
        }
        if entry.clients.is_empty() {
            self.bytes -= size_of_changed(&entry.changed);
            self.all.remove(prefix);
            self.due.remove(prefix);
            self.bytes -= PER_PREFIX + prefix.heap_size();
            if let Some(count) = self.lengths.get_mut(&prefix.len()) {
                *count -= 1;
                if *count == 0 {
                    self.lengths.remove(&prefix.len());
                }
            }
        }
    }

    /// A key changed.
    pub(super) fn gather(&mut self, key: &SmallBytes, by: Option<u64>) {
        for &len in self.lengths.keys() {
            let Some(prefix) = key.get(..len) else {
                return;
            };
            let Some(entry) = self.all.get_mut(prefix) else {
                continue;
            };
            if entry.changed.is_empty() {
                self.due.insert(prefix.into());
            }
            if entry.changed.insert(key.clone(), by).is_none() {
                self.bytes += PER_KEY + key.heap_size();
            }
        }
    }

    /// The next prefix, in order, with changed keys: these, and who hears of them.
    pub(super) fn take_due(&mut self) -> Option<(Changed, Vec<u64>)> {
        let prefix = self.due.pop_first()?;
        let entry = self.all.get_mut(&prefix)?;
        let changed = std::mem::take(&mut entry.changed);
        self.bytes -= size_of_changed(&changed);
        Some((changed, entry.clients.iter().copied().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> SmallBytes {
        SmallBytes::from(text)
    }

    /// What is due: `keys>clients`, keys changed by nobody bare.
    fn due(prefixes: &mut Prefixes) -> Vec<String> {
        let mut all = Vec::new();
        while let Some((changed, clients)) = prefixes.take_due() {
            let keys: Vec<_> = changed
                .iter()
                .map(|(key, by)| {
                    let by = by.map(|id| format!(":{id}")).unwrap_or_default();
                    String::from_utf8_lossy(key).into_owned() + &by
                })
                .collect();
            all.push(format!("{}>{clients:?}", keys.join(" ")));
        }
        all
    }

    #[test]
    fn a_key_belongs_to_each_prefix_that_it_has() {
        let mut prefixes = Prefixes::default();
        for (prefix, id) in [("ab", 1), ("a", 2), ("", 3), ("b", 1), ("ab", 4)] {
            prefixes.add(&bytes(prefix), id);
        }
        assert_eq!(prefixes.len(), 4);
        for (key, by) in [("abc", Some(9)), ("a", None), ("x", Some(1)), ("abc", None)] {
            prefixes.gather(&bytes(key), by);
        }
        assert!(prefixes.is_due());
        assert_eq!(
            due(&mut prefixes),
            ["a abc x:1>[3]", "a abc>[2]", "abc>[1, 4]"]
        );
        assert!(!prefixes.is_due());
        assert!(due(&mut prefixes).is_empty());
    }

    #[test]
    fn nothing_is_left_of_those_who_left() {
        let mut prefixes = Prefixes::default();
        let long = "a prefix that is not short any more";
        for (prefix, id) in [(long, 1), (long, 2), ("a", 1), ("a", 1)] {
            prefixes.add(&bytes(prefix), id);
        }
        prefixes.gather(&bytes(&format!("{long}, and a key")), None);
        assert!(prefixes.memory() > 0);
        prefixes.remove(&bytes("a"), 1);
        prefixes.remove(&bytes("a"), 2);
        prefixes.remove(&bytes(long), 1);
        assert_eq!(due(&mut prefixes), [format!("{long}, and a key>[2]")]);
        prefixes.gather(&bytes(long), Some(2));
        prefixes.remove(&bytes(long), 2);
        assert_eq!((prefixes.len(), prefixes.memory()), (0, 0));
        assert!(prefixes.lengths.is_empty() && !prefixes.is_due());
    }
}
