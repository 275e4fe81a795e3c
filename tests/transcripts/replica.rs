//! The corpus, played at a leader: after each section its replicas have what it has, by DEBUG DIGEST and by all that is
//! told of each key. What is asked there is the business of other tests.

use super::common::Server;
use super::common::follower::{Follower, OPTIONS};
use super::{File, Way, replay, run_corpus};
use std::fmt::Write;

const WAYS: &[Way] = &[Way::Plain, Way::Script, Way::Multi];

#[test]
fn replicas_have_what_their_leader_has() {
    run_corpus(false, |file| {
        let leader = Server::redkeep(&options(file));
        let ours = Follower::new(Server::redkeep(OPTIONS), &leader);
        let real = Server::redis(OPTIONS).map(|real| Follower::new(real, &leader));
        play(file, &leader, ours, real)
    });
}

#[test]
fn replicas_have_what_a_real_leader_has() {
    run_corpus(true, |file| {
        let Some(leader) = Server::redis(&options(file)) else {
            return String::new();
        };
        let ours = Follower::new(Server::redkeep(OPTIONS), &leader);
        play(file, &leader, ours, None)
    });
}

fn options(file: &File) -> Vec<&str> {
    [OPTIONS, &file.server_args()].concat()
}

/// Plays a file; a real replica must have what is known to 7.0 as well.
fn play(file: &File, leader: &Server, mut ours: Follower, mut real: Option<Follower>) -> String {
    let mut report = String::new();
    let of_today = leader.name() != "redis-server";
    for way in WAYS {
        let sections = file.sections.iter().filter(|s| s.goes(*way));
        for section in sections.filter(|s| of_today || s.since.is_none()) {
            let _ = replay(leader, section, *way, None);
            let mut c = leader.client();
            let theirs = real.as_mut().filter(|_| section.since.is_none());
            for follower in std::iter::once(&mut ours).chain(theirs) {
                if let Some(difference) = follower.difference(&mut c) {
                    _ = writeln!(
                        report,
                        "{} {:?} ({way:?})\n{difference}",
                        section.place, section.title
                    );
                }
            }
        }
    }
    report
}
