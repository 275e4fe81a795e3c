//! What replication is made of, without sockets, threads and clocks, and without the engine.

pub mod gate;
pub mod history;
pub mod link;
pub mod stream;

pub use history::History;
pub use link::Link;
pub use stream::Stream;

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

impl Position {
    /// The name of a history, if it is one.
    pub fn id_of(text: &[u8]) -> Option<String> {
        let is_id = text.len() == 40 && text.iter().all(u8::is_ascii_hexdigit);
        is_id.then(|| String::from_utf8_lossy(text).into_owned())
    }
}
