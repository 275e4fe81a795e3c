//! MONITOR: clients that are shown every command.

use super::deliver::{Message, deliver};
use super::session::{SessionId, Sessions};
use super::{Args, System};

/// Shows a command to everybody who monitors. `from` is the client's address, or `lua`.
#[cold]
pub(crate) fn feed(
    sys: &mut System,
    sessions: &mut Sessions,
    db: usize,
    from: &str,
    args: Args<'_>,
) {
    let mut line = format!(
        "{}.{:06} [{db} {from}]",
        sys.now_us / 1_000_000,
        sys.now_us % 1_000_000
    )
    .into_bytes();
    for arg in args.all() {
        line.push(b' ');
        crate::resp::quote(&mut line, arg);
    }
    let mut message = Message::new(|out| out.simple_bytes(&line));
    let monitors: Vec<SessionId> = sys.monitors.iter().copied().collect();
    for sid in monitors {
        deliver(sys, sessions, sid, &mut message);
    }
}
