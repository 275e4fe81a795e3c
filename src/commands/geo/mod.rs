//! Geographic indexes.

use crate::exec::Command;

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[];
