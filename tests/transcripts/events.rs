//! The corpus, played on a real redis-server and on Redkeep side by side, each with a listener to all keyspace
//! notifications: after every step both have heard the same.
//!
//! Nothing expires by itself meanwhile, since when that is is up to the server.

use super::common::Server;
use super::common::listener::{Event, Listener, show};
use super::{Section, Stage, Step, WAYS_OF_REDIS, Way, describe, play, run_corpus};
use std::collections::BTreeMap;
use std::fmt::Write;

#[test]
fn redkeep_notifies_of_what_redis_notifies_of() {
    run_corpus(true, |file| {
        let mut args = file.server_args();
        if !args.contains(&"--enable-debug-command") {
            args.extend(["--enable-debug-command", "yes"]);
        }
        let Some(redis) = Server::redis(&args) else {
            return String::new();
        };
        let redkeep = Server::redkeep(&args);
        let mut report = String::new();
        for way in WAYS_OF_REDIS {
            let sections = file.sections.iter();
            // A monitor is shown the listener's commands between the replies to its own.
            let monitors = |s: &Section| s.steps.iter().any(|step| step.is(&["MONITOR"]));
            let sections = sections.filter(|s| !monitors(s));
            for section in sections.filter(|s| s.goes(*way) && s.since.is_none()) {
                report += &compare(&redis, &redkeep, section, *way);
            }
        }
        report
    });
}

fn compare(redis: &Server, redkeep: &Server, section: &Section, way: Way) -> String {
    let mut report = String::new();
    let mut sides = [redis, redkeep].map(Side::new);
    for step in &section.steps {
        let [theirs, ours] = sides.each_mut().map(|side| side.play(step, way));
        if theirs != ours && !is_known(step, &theirs, &ours) {
            _ = writeln!(
                report,
                "{} {:?} line {} ({way:?})\n  command  {}\n  expected {}\n  got      {}",
                section.place,
                section.title,
                step.line,
                describe(&step.act),
                show(&theirs),
                show(&ours)
            );
        }
    }
    report
}

/// A server with the clients of a section and a listener.
struct Side<'a> {
    stage: Stage<'a>,
    listener: Listener,
}

impl<'a> Side<'a> {
    fn new(server: &'a Server) -> Self {
        let mut admin = server.client();
        for line in ["FLUSHALL", "SCRIPT FLUSH", "DEBUG SET-ACTIVE-EXPIRE 0"] {
            assert!(!admin.run(line).is_error(), "{line}");
        }
        Side {
            stage: Stage {
                server,
                clients: BTreeMap::new(),
            },
            listener: Listener::new(server),
        }
    }

    /// What is heard of a step.
    fn play(&mut self, step: &Step, way: Way) -> Vec<Event> {
        // Replies are the business of other tests.
        let _ = play(&mut self.stage, step, way);
        self.listener.heard().unwrap_or_else(|_| {
            // The step closed every connection.
            self.listener = Listener::new(self.stage.server);
            Vec::new()
        })
    }
}

/// A difference between redis-server 7.0.15 and Redkeep that stays.
struct Known {
    /// Why later versions tell of something else.
    #[expect(dead_code, reason = "it says why the entry is there")]
    reason: &'static str,
    holds: fn(step: &Step, theirs: &[Event], ours: &[Event]) -> bool,
}

const KNOWN: &[Known] = &[
    Known {
        reason: "Since 7.2 a consumer is made also by a command that finds nothing for it: earlier, or at all.",
        holds: |_, theirs, ours| {
            let about_consumers = ["xgroup-createconsumer", "xgroup-delconsumer"];
            without(theirs, &about_consumers) == without(ours, &about_consumers)
        },
    },
    Known {
        reason: "Since 7.2 who waited runs its command again when woken, and misses once more what is missing.",
        holds: |step, theirs, ours| step.is(&["XADD"]) && theirs == without(ours, &["keymiss"]),
    },
    Known {
        reason: "Since 7.2 who waits for several keys is served from the first of them that has something.",
        holds: |step, theirs, ours| {
            let names =
                |events: &[Event]| events.iter().map(|e| e.name.clone()).collect::<Vec<_>>();
            step.is(&["EXEC"]) && names(theirs) == names(ours)
        },
    },
    Known {
        reason: "Since 7.2 XSETID refuses an id below one that was deleted.",
        holds: |step, theirs, ours| step.is(&["XSETID"]) && ours.is_empty() && !theirs.is_empty(),
    },
    Known {
        reason: "The order of KEYS is that of the table.",
        holds: |step, theirs, ours| {
            let of_keys = describe(&step.act).contains("'KEYS'");
            let sorted = |events: &[Event]| {
                let mut events = events.to_vec();
                events.sort();
                events
            };
            of_keys && sorted(theirs) == sorted(ours)
        },
    },
];

fn is_known(step: &Step, theirs: &[Event], ours: &[Event]) -> bool {
    KNOWN.iter().any(|known| (known.holds)(step, theirs, ours))
}

fn without(events: &[Event], names: &[&str]) -> Vec<Event> {
    let kept = events.iter().filter(|e| !names.contains(&e.name.as_str()));
    kept.cloned().collect()
}
