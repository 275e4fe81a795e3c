//! How often it is looked whether a script must end.
//!
//! A hook runs after so many instructions. Most take some nanoseconds; but where a script holds long strings or large
//! tables one may take milliseconds, so that the hook must run more often then. It costs too much to do so always.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicUsize};

use mlua::{HookTriggers, Lua, Result, VmState};

use super::fault::{self, Thrown};
use super::slot::Shared;

/// Instructions between two looks: about 5 µs.
const USUAL: u32 = 1000;

/// For so many bytes more than before the script, so many.
const BY_MEMORY: [(usize, u32); 2] = [(32 << 20, 10), (4 << 20, 100)];

/// What is longer than this is worth a look of its own.
pub(super) const LONG: usize = 1_000_000;

/// The hook of an interpreter. It is also kept there, for functions that come upon something long.
#[derive(Clone)]
pub(super) struct Pace(Arc<Inner>);

struct Inner {
    slot: Shared,
    /// Bytes in use when the last script had ended.
    idle: AtomicUsize,
    /// Instructions between two looks.
    every: AtomicU32,
}

impl Pace {
    /// Sets the hook.
    pub(super) fn start(lua: &Lua, shared: &Shared) -> Result<Pace> {
        let pace = Pace(Arc::new(Inner {
            slot: Arc::clone(shared),
            idle: AtomicUsize::new(lua.used_memory()),
            every: AtomicU32::new(USUAL),
        }));
        lua.set_app_data(pace.clone());
        pace.set_hook(lua, USUAL)?;
        Ok(pace)
    }

    fn set_hook(&self, lua: &Lua, every: u32) -> Result<()> {
        let pace = self.clone();
        self.0.every.store(every, Relaxed);
        let triggers = HookTriggers::new().every_nth_instruction(every);
        lua.set_global_hook(triggers, move |lua, _| {
            // No traceback comes with what a hook raises.
            pace.look().map_err(|thrown| match thrown {
                Thrown::Stop(stop, _) => Thrown::Stop(stop, fault::place(lua, 0)),
                other => other,
            })?;
            pace.adapt(lua)?;
            Ok(VmState::Continue)
        })
    }

    fn look(&self) -> std::result::Result<(), Thrown> {
        self.0.slot.lock().tick()
    }

    /// Looks more often or more seldom from now on, by what is in use.
    fn adapt(&self, lua: &Lua) -> Result<()> {
        let grown = lua.used_memory().saturating_sub(self.0.idle.load(Relaxed));
        let wanted = BY_MEMORY
            .iter()
            .find(|(bytes, _)| grown >= *bytes)
            .map_or(USUAL, |(_, instructions)| *instructions);
        if wanted == self.0.every.load(Relaxed) {
            return Ok(());
        }
        self.set_hook(lua, wanted)
    }

    /// A script has ended, and so much is in use.
    pub(super) fn rest(&self, used: usize) {
        self.0.idle.store(used, Relaxed);
    }
}

/// Much was made: looks more often from now on.
#[cold]
pub(super) fn adapt(lua: &Lua) -> Result<()> {
    match kept(lua) {
        Some(pace) => pace.adapt(lua),
        None => Ok(()),
    }
}

/// Something long was met: looks whether the script must end, and more often from now on.
#[cold]
pub(super) fn look(lua: &Lua) -> Result<()> {
    let Some(pace) = kept(lua) else {
        return Ok(());
    };
    pace.look()?;
    pace.adapt(lua)
}

fn kept(lua: &Lua) -> Option<Pace> {
    lua.app_data_ref::<Pace>().map(|pace| pace.clone())
}
