//! Trimming: MAXLEN and MINID, exact and approximate, with what becomes of pending references.

use super::Stream;
use super::id::StreamId;
use super::node::Node;

/// Which entries go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// The oldest, until so many are left.
    MaxLen(u64),
    /// Those below this id.
    MinId(StreamId),
}

/// What deleting an entry does to its references in pending lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refs {
    /// They stay.
    #[default]
    Keep,
    /// They go too, in all groups.
    Delete,
    /// An entry that a group has not yet read and acknowledged stays.
    Acked,
}

/// A trim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    /// Which entries go.
    pub threshold: Threshold,
    /// `~`: only where a whole node goes.
    pub approx: bool,
    /// At most so many entries; 0 is no limit. Counted by nodes, so only with `approx`.
    pub limit: u64,
    /// What becomes of references.
    pub refs: Refs,
}

/// What is to be done with a node.
enum Verdict {
    Stop,
    Whole,
    Within,
}

impl Stream {
    /// Trims. Gives the number of entries deleted.
    pub fn trim(&mut self, trim: &Trim) -> u64 {
        if !self.may_trim(trim.threshold) {
            return 0;
        }
        let mut deleted = 0;
        let mut next = self.log.nodes.first().map(|(own, _)| *own);
        while let Some(own) = next {
            let Some(node) = self.log.nodes.get(&own) else {
                break;
            };
            let live = node.live();
            if trim.limit != 0 && deleted + live > trim.limit {
                break;
            }
            let verdict = self.verdict(trim, own, node);
            next = self.node_after(own);
            match verdict {
                Verdict::Stop => break,
                Verdict::Whole if trim.refs == Refs::Keep => {
                    self.log.drop_node(own);
                    self.log.len = self.log.len.saturating_sub(live);
                    deleted += live;
                }
                Verdict::Whole => {
                    deleted += self.trim_within(trim, own);
                    self.log.drop_if_empty(own);
                }
                // As in Redis, the node stays even when none of its entries does.
                Verdict::Within => {
                    deleted += self.trim_within(trim, own);
                    if trim.refs != Refs::Acked {
                        break;
                    }
                }
            }
        }
        if deleted > 0 {
            self.log.find_first();
        }
        deleted
    }

    fn may_trim(&self, threshold: Threshold) -> bool {
        !self.log.is_empty()
            && match threshold {
                Threshold::MaxLen(max) => self.log.len > max,
                Threshold::MinId(min) => self.log.first_id < min,
            }
    }

    fn node_after(&self, own: StreamId) -> Option<StreamId> {
        let nodes = &self.log.nodes;
        nodes.at(nodes.after(nodes.seek(&own))).map(|(own, _)| *own)
    }

    fn verdict(&self, trim: &Trim, own: StreamId, node: &Node) -> Verdict {
        let (whole, within) = match trim.threshold {
            Threshold::MaxLen(max) => {
                let rest = self.log.len.saturating_sub(node.live());
                (rest >= max, self.log.len > max)
            }
            Threshold::MinId(min) => (node.read(own).last().is_some_and(|e| e.id < min), own < min),
        };
        match (whole, trim.approx) {
            (true, _) => Verdict::Whole,
            (false, false) if within => Verdict::Within,
            _ => Verdict::Stop,
        }
    }

    /// Deletes entries of one node up to the threshold. The node's header may grow or shrink meanwhile, so
    /// the place is kept relative to its first entry.
    fn trim_within(&mut self, trim: &Trim, own: StreamId) -> u64 {
        let (mut offset, mut deleted) = (0, 0);
        while let Some(node) = self.log.nodes.get(&own) {
            let reader = node.read(own);
            let Some(found) = reader.entry(reader.first + offset) else {
                break;
            };
            let past = match trim.threshold {
                Threshold::MaxLen(max) => self.log.len <= max,
                Threshold::MinId(min) => found.id >= min,
            };
            let Some(end) = found.fields.end() else { break };
            if past {
                break;
            }
            offset = end - reader.first;
            let (id, at) = (found.id, found.at);
            if found.deleted || (trim.refs == Refs::Acked && self.is_awaited(id)) {
                continue;
            }
            if trim.refs == Refs::Delete {
                self.drop_refs(id);
            }
            deleted += 1;
            self.log.mark_deleted(own, at);
        }
        deleted
    }
}
