//! MONITOR: clients that are shown every command.

use super::deliver::{Message, deliver};
use super::session::{ReplyMode, Session, SessionId, Sessions};
use super::{Args, Entry, Origin, System};
use crate::resp::quote;
use crate::spec::flag;

/// What stands in the place of an argument that nobody may see.
pub(super) const REDACTED: &[u8] = b"(redacted)";

/// A command that ran, as far as monitors care.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) sid: SessionId,
    pub(super) row: &'static Entry,
    pub(super) origin: Origin,
    /// The database that is selected by now.
    pub(super) db: usize,
    pub(super) args: Args<'a>,
}

/// Shows a command to everybody who monitors, unless it is one that nobody is to see. Commands are shown when they
/// have run, and those that run others before that: [`flag::SKIP_MONITOR`] marks them.
#[cold]
pub(super) fn feed(sys: &mut System, sessions: &mut Sessions, seen: Seen<'_>) {
    let hidden =
        seen.row.flags.has(flag::ADMIN) || matches!(seen.origin, Origin::Woken | Origin::Resumed);
    if hidden {
        return;
    }
    let Some(line) = sessions.get(seen.sid).map(|s| line(sys, s, seen)) else {
        return;
    };
    let mut message = Message::new(|out| out.simple_bytes(&line));
    let monitors: Vec<SessionId> = sys.monitors.iter().copied().collect();
    for sid in monitors {
        // Not a push: CLIENT REPLY OFF silences it.
        let listens = sessions.get(sid);
        if listens.is_some_and(|s| s.reply_mode != ReplyMode::Off) {
            deliver(sys, sessions, sid, &mut message);
        }
    }
}

/// `1700000000.123456 [0 127.0.0.1:5000] "set" "key" "value"`.
fn line(sys: &System, session: &Session, seen: Seen<'_>) -> Vec<u8> {
    let now = sys.clock.0.now_us();
    let (seconds, micros) = (now.div_euclid(1_000_000), now.rem_euclid(1_000_000));
    let from = match seen.origin {
        Origin::Script { .. } => "lua".into(),
        _ if session.peer.unix => format!("unix:{}", sys.cfg.unixsocket),
        _ => session.peer.addr.clone(),
    };
    let mut line = format!("{seconds}.{micros:06} [{} {from}]", seen.db).into_bytes();
    for (i, arg) in seen.args.all().iter().enumerate() {
        line.push(b' ');
        let shown = if sys.redact.contains(&i) {
            REDACTED
        } else {
            arg
        };
        quote(&mut line, shown);
    }
    line
}
