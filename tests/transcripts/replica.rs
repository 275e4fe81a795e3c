//! The corpus, played at a leader: after each section its replicas have what it has, by DEBUG DIGEST and by all that is
//! told of each key. What is asked there is the business of other tests.

use super::common::follower::{Follower, OPTIONS};
use super::common::{Client, Server};
use super::{File, Section, Way, replay, run_corpus};
use std::fmt::Write;

/// Sections after which a value depends on the configuration of whoever has made it.
const CONFIGURED: &[&str] = &["The limit of the sparse encoding"];

#[test]
fn replicas_have_what_their_leader_has() {
    run_corpus(false, |file| {
        let leader = Server::redkeep(&options(file));
        let mut ours = Follower::new(Server::redkeep(OPTIONS), &leader);
        let mut real = Server::redis(OPTIONS).map(|real| Follower::new(real, &leader));
        play(
            file,
            &leader,
            &[Way::Plain, Way::Script, Way::Multi],
            |section, c| {
                // A real one knows what 7.0 knows.
                let real = real.as_mut().filter(|_| section.since.is_none());
                let mut all = std::iter::once(&mut ours).chain(real);
                all.find_map(|follower| follower.difference(c))
            },
        )
    });
}

/// What a real leader does not tell its replicas, ours cannot know either.
#[test]
fn ours_has_what_a_real_replica_of_a_real_leader_has() {
    run_corpus(true, |file| {
        let Some(leader) = Server::redis(&options(file)) else {
            return String::new();
        };
        let mut ours = Follower::new(Server::redkeep(OPTIONS), &leader);
        let Some(real) = Server::redis(OPTIONS) else {
            return String::new();
        };
        let mut real = Follower::new(real, &leader);
        play(file, &leader, &[Way::Plain], |_, c| {
            ours.difference_from(&mut real, c)
        })
    });
}

fn options(file: &File) -> Vec<&str> {
    [OPTIONS, &file.server_args()].concat()
}

/// Plays a file in some ways, and reports what is different after each section.
fn play(
    file: &File,
    leader: &Server,
    ways: &[Way],
    mut difference: impl FnMut(&Section, &mut Client) -> Option<String>,
) -> String {
    let mut report = String::new();
    let is_real = leader.name() == "redis-server";
    for way in ways {
        let goes = |s: &&Section| {
            s.goes(*way) && !CONFIGURED.contains(&&*s.title) && !(is_real && s.since.is_some())
        };
        for section in file.sections.iter().filter(goes) {
            let _ = replay(leader, section, *way, None);
            if let Some(difference) = difference(section, &mut leader.client()) {
                let Section { place, title, .. } = section;
                _ = writeln!(report, "{place} {title:?} ({way:?})\n{difference}");
            }
        }
    }
    report
}
