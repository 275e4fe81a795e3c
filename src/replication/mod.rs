//! What replication is made of, without sockets, threads and clocks, and without the engine.

pub mod gate;

/// A place in a history of writes: an instance that is there holds exactly what the history says up to there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The history (`master_replid`): 40 hex digits.
    pub id: String,
    /// Bytes of its stream of effects, counted as Redis does (`master_repl_offset`).
    pub offset: u64,
    /// The database that is selected in the stream there (`repl-stream-db`); none if the stream says so itself.
    pub db: Option<usize>,
}
