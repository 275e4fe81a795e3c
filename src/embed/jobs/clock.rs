//! Moving the clock for a client.

use super::lock;
use crate::embed::Node;
use crate::exec::clockwork::{Move, moved};

/// Moves the clock, as far as the server lives, and tells the client.
pub(in crate::embed) fn shift(node: &Node, client: u64, to: Move) {
    if let Some(clock) = node.clock() {
        match to {
            Move::By(time) => clock.advance_while(time, || !node.is_stopped()),
            Move::To(unix_ms) => clock.set_ms(unix_ms),
        }
    }
    if let Ok(mut engine) = lock(node) {
        moved(engine.state(), client);
    }
}
