//! Configuration: one row per parameter, and everything that derives from the rows.

mod codec;
mod lists;
mod params;
mod row;
mod settings;
mod words;

pub use codec::Share;
pub use lists::{BufferLimit, BufferLimits, SavePoint, ShutdownFlags, notify};
pub use params::{Allow, Config, Eviction, LogLevel, OomScoreAdj, SECTIONS, find, rows};
pub use row::{Effect, Row};
pub use settings::{ApplyError, Change, Rights, SetError, Settings};
