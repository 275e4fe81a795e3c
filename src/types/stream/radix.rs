//! The shape that Redis's radix tree would have: XINFO STREAM tells its number of nodes.

use super::log::Log;

/// Streams with more nodes than this get an estimate from as many of them.
const EXACT: usize = 4096;

impl Log {
    /// Nodes of a compressed radix tree over the ids of the stream's nodes.
    #[must_use]
    pub fn radix_nodes(&self) -> usize {
        let keys: Vec<_> = self
            .nodes
            .iter()
            .take(EXACT)
            .map(|(id, _)| id.to_be_bytes())
            .collect();
        let exact = if keys.is_empty() { 1 } else { count(&keys, 0) };
        match self.nodes.len() {
            n if n > keys.len() => exact * n / keys.len().max(1),
            _ => exact,
        }
    }
}

/// Tree nodes for sorted keys that agree before `depth`: a run of bytes that all share is one node, a byte
/// in which they differ is one, and each key ends in one.
fn count(keys: &[[u8; 16]], depth: usize) -> usize {
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
        return 0;
    };
    let shared = (depth..16).take_while(|i| first[*i] == last[*i]).count();
    if depth + shared == 16 {
        return usize::from(shared > 0) + 1;
    }
    let at = depth + shared;
    let branches = keys.chunk_by(|a, b| a[at] == b[at]);
    usize::from(shared > 0) + 1 + branches.map(|keys| count(keys, at + 1)).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::stream::StreamId;

    fn nodes(ids: &[(u64, u64)]) -> usize {
        let keys: Vec<_> = ids
            .iter()
            .map(|(ms, seq)| StreamId::new(*ms, *seq).to_be_bytes())
            .collect();
        count(&keys, 0)
    }

    #[test]
    fn counts_runs_branches_and_ends() {
        assert_eq!(nodes(&[(1, 0)]), 2);
        // Seven shared bytes, a branch, and eight bytes with an end behind each of its two.
        assert_eq!(nodes(&[(1, 0), (2, 0)]), 6);
        // They differ in the last byte only.
        assert_eq!(nodes(&[(1, 0), (1, 1)]), 4);
    }
}
