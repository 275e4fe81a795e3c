//! How full a table is, and how far its entries are from where they belong.

use std::fmt;

use super::Table;

/// Distances from this one on are counted together.
const FAR: usize = 16;

/// What DEBUG HTSTATS tells of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Entries.
    pub len: usize,
    /// Places for them.
    pub slots: usize,
    /// Segments.
    pub segments: usize,
    /// How many entries are so many slots behind the one that their hash asks for.
    pub distances: [usize; FAR + 1],
}

impl<E> Table<E> {
    /// Looks at every slot.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            len: self.len,
            slots: 0,
            segments: self.segments.len(),
            distances: [0; FAR + 1],
        };
        for segment in &self.segments {
            stats.slots += segment.slots();
            for distance in segment.distances() {
                stats.distances[distance.min(FAR)] += 1;
            }
        }
        stats
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Hash table 0 stats (main hash table):")?;
        if self.len == 0 {
            return writeln!(f, "No stats available for empty dictionaries");
        }
        writeln!(f, " table size: {}", self.slots)?;
        writeln!(f, " number of elements: {}", self.len)?;
        writeln!(f, " segments: {}", self.segments)?;
        let far = self.distances.iter().rposition(|&n| n > 0).unwrap_or(0);
        writeln!(f, " longest way from home: {far}")?;
        writeln!(f, " Distribution of ways from home:")?;
        for (distance, &n) in self.distances.iter().enumerate().take(far + 1) {
            let and_more = if distance == FAR { "+" } else { "" };
            let share = n as f64 * 100.0 / self.len as f64;
            writeln!(f, "   {distance}{and_more}: {n} ({share:.2}%)")?;
        }
        Ok(())
    }
}
