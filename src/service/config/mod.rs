//! Configuration: one row per parameter, and everything that derives from the rows.

mod codec;
mod files;
mod lists;
mod load;
mod params;
mod reference;
mod rewrite;
mod row;
mod settings;

pub use codec::Share;
pub use files::{Files, SystemFiles, WithInput, replace};
pub(crate) use lists::percentile;
pub use lists::{BufferLimit, BufferLimits, SavePoint, ShutdownFlags};
pub use load::{
    Directive, Given, Invocation, LoadError, Loaded, Place, REFUSED, invocation, invocation_as,
};
pub use params::{
    Allow, Config, Eviction, LogFormat, LogLevel, OomScoreAdj, SECTIONS, TlsAuth, find, rows,
};
pub use reference::reference;
pub use rewrite::{Rewrite, rewrite};
pub use row::{Effect, Row};
pub use settings::{Apply, ApplyError, Change, Rights, SetError, Settings};
