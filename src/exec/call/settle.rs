//! What follows from what a command did.

use super::super::{Args, Entry, State, notify, tracking};
use crate::keyspace::event::Event;
use crate::keyspace::{Change, Garbage, What};
use crate::spec::{Propagate, flag};

/// Acts on what the command did: expired keys, emptied keys, waiters, effects.
pub(in crate::exec) fn settle(state: &mut State, row: &'static Entry, args: Args<'_>) {
    let State { ks, fx, sys, .. } = state;
    let dirty = std::mem::take(&mut ks.log.dirty);
    debug_assert!(
        dirty == 0 || row.flags.has(flag::WRITE) || row.flags.has(flag::MAY_REPLICATE),
        "{} changed something and is no write command",
        &row.name
    );
    if dirty > 0 {
        sys.stats.dirty(dirty);
        sys.persist.changed(dirty);
        if sys.unconfirmed.is_on() && fx.is_streamed() {
            sys.unconfirmed.note_write();
        }
    }
    if fx.wanted() {
        let as_sent = match row.row.propagate {
            Propagate::Never | Propagate::Explicit => false,
            Propagate::Verbatim => dirty > 0,
            Propagate::MayRewrite => dirty > 0 && !fx.pushed(),
        };
        debug_assert!(
            dirty == 0 || row.row.propagate != Propagate::Explicit || fx.pushed(),
            "{} changed something and propagated nothing",
            row.name
        );
        if as_sent {
            sys.registry.log(fx, row, args);
        }
    }
    if !ks.log_is_quiet() {
        settle_changes(state, dirty > 0);
    }
}

/// Acts on what was logged: by a command, if it `wrote`, or by time.
#[cold]
pub(in crate::exec) fn settle_changes(state: &mut State, wrote: bool) {
    let State {
        ks,
        fx,
        sys,
        sessions,
    } = state;
    ks.reap(wrote);
    let mut changes = ks.log.changes.take();
    // Before anybody looks at the keys.
    changes.retain(|change| change.what != What::Vanished || ks.vanish(change.db, &change.key));
    let expired = std::mem::take(&mut ks.log.expired);
    fx.insert_expired(&expired);
    // A script is nobody that a client could be told apart from.
    let by = sys.current.filter(|_| sys.running.is_none());
    let mut all_told = false;
    // What is not propagated, no replica confirms.
    let confirmed = sys.unconfirmed.is_on() && fx.is_streamed();
    for Change { db, key, what } in &changes {
        if confirmed {
            match *what {
                What::Modified | What::Quiet | What::Vanished => sys.unconfirmed.note_key(key),
                What::AllModified => sys.unconfirmed.note_every_key(),
                // Time has done it, as it will with whoever leads next.
                What::Lapsed | What::Event(_) => {}
            }
        }
        match *what {
            What::Modified | What::Lapsed => {
                sys.waiters.signal(*db, key);
                sys.watchers.signal(sessions, ks, *db, key);
                let by = by.filter(|_| *what == What::Modified);
                tracking::invalidate(sys, sessions, key, by);
            }
            What::AllModified => {
                sys.waiters.signal_all(*db);
                sys.watchers.signal_all(sessions, ks, *db);
                if !std::mem::replace(&mut all_told, true) {
                    let dropped = tracking::invalidate_all(sys, sessions);
                    ks.garbage.extend(dropped.map(Garbage::other));
                }
            }
            What::Event(event) => notify::notify(sys, sessions, *db, key, event),
            // The edit itself counts as the change.
            What::Vanished if ks.log.notify.intersects(Event::DEL.class) => {
                notify::notify(sys, sessions, *db, key, Event::DEL);
            }
            What::Vanished | What::Quiet => {}
        }
    }
    // The last listener may have gone.
    notify::listen(ks, sys);
    ks.log.dirty = 0;
}
