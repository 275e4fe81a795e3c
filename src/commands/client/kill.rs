//! CLIENT KILL.

use crate::exec::replication::replica;
use crate::exec::session::SessionId;
use crate::exec::{Args, CmdError, CmdResult, Ctx, admit};

use super::filter::{Filter, For};

pub(super) fn kill(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    // With a single argument this is the old form: an address, an OK, and oneself not excepted.
    let old_form = args.len() == 3;
    let filter = if old_form {
        Filter::address(args.at(2))
    } else {
        Filter::parse(args.cursor(2), For::Kill, &cx.sys.acl.users)?
    };
    let mut hits = filter.select(cx);
    hits.sort_unstable();
    hits.dedup();
    let by = cx.who();
    for &sid in &hits {
        if let Some(session) = cx.sessions.get(sid) {
            tracing::debug!(by, "Client killed {}", session.who());
        }
        close(cx, sid);
    }
    match old_form {
        true if hits.is_empty() => Err(CmdError::fixed("ERR No such client")),
        true => cx.ok(),
        false => cx.count(hits.len()),
    }
}

/// Ends a connection: one's own after the reply, any other at once, with what it had still to be sent.
fn close(cx: &mut Ctx<'_>, sid: SessionId) {
    if cx.sessions.get(sid).is_some_and(|session| session.follows) {
        replica::kill(cx.sys, cx.sessions);
    } else if sid != cx.sid {
        admit::expel(cx.sys, cx.sessions, cx.ks, sid);
    } else if let Some(session) = cx.session() {
        session.closing = true;
    }
}
