//! Access control: who may do what.
//!
//! A [`User`] has passwords and selectors; a [`Selector`] says which commands may be run on which keys and channels. A
//! command may run if one of the user's selectors allows all of it. Nothing here knows a client or a file.

mod file;
mod log;
mod rule;
mod selector;

mod user;
mod users;

pub use file::FileFault;
pub use log::{Context, Entry, Incident, Log, Reason};
pub use rule::{Fault, SetFault, merge, verify};
pub use selector::{KeyPattern, Selector};
pub use user::{Access, Denied, User};
pub use users::{DEFAULT, UserId, Users};
