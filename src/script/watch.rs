//! What watches over host functions that may take long or use much memory.

use mlua::{Error, Lua, Result};

use super::pace;
use super::slot::Run;

/// Watches over the work of a function. It is told of every step, and now and then looks at the clock and at what is
/// used up.
pub(super) struct Watch<'a> {
    lua: &'a Lua,
    limit: usize,
    due: usize,
}

/// What one step counts for, in bytes.
pub(super) const STEP: usize = 64;

/// It looks after so many bytes.
pub(super) const BYTES_PER_LOOK: usize = 4096 * STEP;

impl<'a> Watch<'a> {
    /// `limit` is the memory limit of scripts.
    pub(super) fn new(lua: &'a Lua, limit: usize) -> Watch<'a> {
        Watch { lua, limit, due: 0 }
    }

    /// Another step follows, which adds so many bytes to those that are `held` outside of the interpreter.
    #[inline]
    pub(super) fn step(&mut self, held: usize, adds: usize) -> Result<()> {
        self.due += STEP + adds;
        if self.due < BYTES_PER_LOOK {
            return Ok(());
        }
        self.due = 0;
        self.look(held.saturating_add(adds))
    }

    #[cold]
    fn look(&self, held: usize) -> Result<()> {
        pace::look(self.lua)?;
        room(self.lua, self.limit, held)
    }
}

/// Fails if a script must end, or uses too much memory with `held` bytes outside of the interpreter. The state is at hand
/// already.
pub(super) fn look(lua: &Lua, run: &mut Run, limit: usize, held: usize) -> Result<()> {
    run.tick()?;
    room(lua, limit, held)
}

fn room(lua: &Lua, limit: usize, held: usize) -> Result<()> {
    // A buffer is there twice while it grows, or while it is copied into the interpreter.
    let held = held.saturating_mul(2);
    if lua.used_memory().saturating_add(held) > limit {
        return Err(Error::MemoryError("not enough memory".to_owned()));
    }
    Ok(())
}
