//! The corpus, played on a real redis-server and on Redkeep side by side, each with a listener to all keyspace
//! notifications: after every step both have heard the same.
//!
//! Nothing expires by itself meanwhile, since when that is is up to the server; in sections that need it, what expires does
//! not count.

use super::common::Server;
use super::common::listener::{Event, Listener, show};
use super::{
    Act, File, RESET, Section, Stage, Step, WAYS_OF_REDIS, Way, describe, play, run_corpus,
};
use std::collections::BTreeMap;
use std::fmt::Write;

#[test]
fn redkeep_notifies_of_what_redis_notifies_of() {
    run_corpus(false, |file| {
        let mut args = file.server_args();
        if !args.contains(&"--enable-debug-command") {
            args.extend(["--enable-debug-command", "yes"]);
        }
        let Some(redis) = Server::redis(&args) else {
            return String::new();
        };
        let redkeep = Server::redkeep(&args);
        // Each server is played what is expected of it, so that nobody waits for replies that do not come.
        let mut old = File::load(&file.path);
        old.expect_what_7_0_says();
        let mut report = String::new();
        for way in WAYS_OF_REDIS {
            let pairs = file.sections.iter().zip(&old.sections);
            // A monitor is shown the listener's commands between the replies to its own.
            let monitors = |s: &Section| s.steps.iter().any(|step| step.is(&["MONITOR"]));
            // Who changes what everybody may do shuts the listener out as well, and the debugger makes it wait.
            let rules = |s: &Section| {
                let debugs = |step: &Step| matches!(&step.act, Act::Command(args) if args.get(1).is_some_and(|word| word == b"DEBUG"));
                s.steps.iter().any(|step| step.is(&["ACL"]) || debugs(step))
            };
            let pairs = pairs
                .filter(|(s, _)| !monitors(s) && !rules(s) && s.goes(*way) && s.since.is_none());
            for (new, old) in pairs {
                report += &compare((&redis, old), (&redkeep, new), *way);
            }
        }
        report
    });
}

fn compare(theirs: (&Server, &Section), ours: (&Server, &Section), way: Way) -> String {
    let section = ours.1;
    let (theirs, ours) = std::thread::scope(|s| {
        let name = std::thread::current().name().unwrap_or("").to_owned();
        let theirs = std::thread::Builder::new()
            .name(name)
            .spawn_scoped(s, || play_section(theirs.0, theirs.1, way));
        let ours = play_section(ours.0, ours.1, way);
        (theirs.unwrap().join().unwrap(), ours)
    });
    let mut report = String::new();
    for (step, (theirs, ours)) in section.steps.iter().zip(theirs.iter().zip(&ours)) {
        if theirs != ours && !is_known(step, theirs, ours) {
            _ = writeln!(
                report,
                "{} {:?} line {} ({way:?})\n  command  {}\n  expected {}\n  got      {}",
                section.place,
                section.title,
                step.line,
                describe(&step.act),
                show(theirs),
                show(ours)
            );
        }
    }
    report
}

/// What is heard of each step of a section.
fn play_section(server: &Server, section: &Section, way: Way) -> Vec<Vec<Event>> {
    let mut admin = server.client();
    let by_itself = format!("DEBUG SET-ACTIVE-EXPIRE {}", i32::from(section.expires));
    for line in RESET.iter().chain(&[&*by_itself]) {
        assert!(!admin.run(line).is_error(), "{line}");
    }
    let mut listener = Listener::new(server);
    let mut stage = Stage {
        server,
        clients: BTreeMap::new(),
    };
    let steps = section.steps.iter();
    steps
        .map(|step| {
            // Replies are the business of other tests.
            let _ = play(&mut stage, step, way);
            let mut events = listener.heard().unwrap_or_else(|_| {
                // The step closed every connection.
                listener = Listener::new(server);
                Vec::new()
            });
            events.retain(|e| !section.expires || e.name != "expired");
            events
        })
        .collect()
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
