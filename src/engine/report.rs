//! What an engine tells of itself without a client having asked.

use super::Engine;
use crate::commands;
use crate::exec::{Ctx, Origin, SessionId, State};
use crate::resp::{Proto, ReplyBuf};

/// INFO, and what belongs to it.
#[derive(Debug, Default)]
pub struct Told {
    /// Every section.
    pub info: String,
    /// The slow log, if the instance has one.
    pub slow: Option<Slow>,
}

/// What there is to say of the slow log in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slow {
    /// How many entries it has.
    pub entries: usize,
    /// The number of the last one, and how many microseconds it took.
    pub last: Option<(i64, i64)>,
}

/// Nobody's: a session that is not there.
const NOBODY: SessionId = SessionId(usize::MAX);

impl Engine {
    /// What INFO would tell of all sections. No command runs for it, none is counted.
    pub fn report(&mut self) -> Told {
        let State {
            ks,
            fx,
            sessions,
            sys,
        } = self.state();
        let Some(row) = sys.registry.find(b"info", None).found() else {
            return Told::default();
        };
        let slow = sys.sentinel.is_none().then(|| {
            let mut entries = sys.slowlog.entries();
            Slow {
                entries: entries.len(),
                last: entries.next().map(|last| (last.id, last.usec)),
            }
        });
        let now = sys.now_us / 1000;
        let info = commands::report(&mut Ctx {
            ks,
            reply: &mut ReplyBuf::new(Proto::Resp2),
            fx,
            sessions,
            sys,
            sid: NOBODY,
            origin: Origin::Client,
            row,
            now,
        });
        Told { info, slow }
    }
}
