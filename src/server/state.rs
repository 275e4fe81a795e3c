//! What a server holds, from the side: see [`embed::state`](crate::embed::state).

use super::handle::Server;
use crate::embed::state::state_methods;

state_methods!(Server);
