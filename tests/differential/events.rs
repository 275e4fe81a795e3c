//! The same random commands again, one by one and with a listener to all keyspace notifications at both servers: after
//! each command both have heard the same. `REDKEEP_DIFF_EVENTS=N` sets the number of commands (4,000 by default).
//!
//! Nothing expires by itself meanwhile, since when that is is up to the server.

use super::common::listener::{Event, Listener, show};
use super::common::{Argv, Reply, Server};
use super::compare::{Verdict, unwrapped};
use super::{Difference, Pair, Transaction, run_with, setting};

#[test]
fn redkeep_notifies_as_redis_does() {
    let args = ["--enable-debug-command", "yes"];
    let Some(redis) = Server::redis(&args) else {
        return;
    };
    let pair = Pair {
        redis,
        other: Server::redkeep(&args),
        listens: true,
    };
    let count = setting("REDKEEP_DIFF_EVENTS", 4_000);
    run_with(pair, || Server::redkeep(&args), count);
}

/// Plays commands until both listeners have heard different things. Where replies differ, that is for other tests to
/// find, and whatever follows does not compare.
pub fn play(pair: &Pair, preamble: &[Argv], commands: &[Argv]) -> Option<Difference> {
    let servers = [&pair.redis, &pair.other];
    let mut clients = servers.map(Server::client);
    let mut listeners = servers.map(|server| {
        let mut admin = server.client();
        assert_eq!(admin.run("DEBUG SET-ACTIVE-EXPIRE 0"), Reply::ok());
        Listener::new(server)
    });
    let mut transaction = Transaction::default();
    for (i, command) in preamble.iter().chain(commands).enumerate() {
        let [theirs, ours] = clients.each_mut().map(|client| client.call(command).ok());
        let [heard, got] = listeners.each_mut().map(|listener| listener.heard().ok());
        let (theirs, ours) = (theirs?, ours?);
        if transaction.verdict(command, &theirs, &ours) != Verdict::Same {
            return None;
        }
        let (heard, got) = (heard?, got?);
        if heard != got && !is_known(command, &heard, &got) {
            return Some(Difference {
                at: i.saturating_sub(preamble.len()),
                command: command.clone(),
                theirs: show(&heard),
                ours: show(&got),
            });
        }
    }
    None
}

/// Whether a difference is this one: of a command, what was heard of theirs and of ours.
type Holds = fn(command: &[Vec<u8>], theirs: &[Event], ours: &[Event]) -> bool;

/// A difference that stays.
struct Known {
    /// Why they tell of something else.
    #[expect(dead_code, reason = "it says why the entry is there")]
    reason: &'static str,
    holds: Holds,
}

const KNOWN: &[Known] = &[
    Known {
        reason: "Since 7.2 a consumer is made also by a command that finds nothing for it.",
        holds: |_, theirs, ours| {
            let others = |events: &[Event]| -> Vec<Event> {
                let kept = events.iter().filter(|e| e.name != "xgroup-createconsumer");
                kept.cloned().collect()
            };
            others(theirs) == others(ours)
        },
    },
    Known {
        reason: "SORT looks keys up in the order of the elements, which is that of a table if they are many.",
        holds: |command, theirs, ours| {
            let parts = |events: &[Event]| {
                let mut misses: Vec<Event> = events.to_vec();
                misses.retain(|e| e.name == "keymiss");
                misses.sort();
                let mut rest = events.to_vec();
                rest.retain(|e| e.name != "keymiss");
                (misses, rest)
            };
            let sorts = [&b"SORT"[..], b"SORT_RO", b"EXEC"];
            sorts.contains(&&*command[0].to_ascii_uppercase()) && parts(theirs) == parts(ours)
        },
    },
];

fn is_known(command: &Argv, theirs: &[Event], ours: &[Event]) -> bool {
    let command = unwrapped(command);
    let mut known = KNOWN.iter();
    known.any(|known| (known.holds)(command, theirs, ours))
}
