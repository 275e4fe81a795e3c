//! The same random commands at a leader: after each round its replicas have what it has.
//!
//! `REDKEEP_DIFF_REPLICA=N` sets the number of commands.

use super::common::follower::{Follower, OPTIONS};
use super::common::{Argv, Client, Server, argv};
use super::syntax::Table;
use super::{PREAMBLE, ROUND, line, round_of, setting};
use std::rc::Rc;

#[test]
fn replicas_have_what_their_leader_has() {
    let leader = Server::redkeep(OPTIONS);
    let mut followers = vec![Follower::new(Server::redkeep(OPTIONS), &leader)];
    followers.extend(Server::redis(OPTIONS).map(|real| Follower::new(real, &leader)));
    play(&leader, |c| {
        followers.iter_mut().find_map(|f| f.difference(c))
    });
}

/// What a real leader does not tell its replicas, ours cannot know either.
#[test]
fn ours_has_what_a_real_replica_of_a_real_leader_has() {
    let (Some(leader), Some(real)) = (Server::redis(OPTIONS), Server::redis(OPTIONS)) else {
        return;
    };
    let mut real = Follower::new(real, &leader);
    let mut ours = Follower::new(Server::redkeep(OPTIONS), &leader);
    play(&leader, |c| ours.difference_from(&mut real, c));
}

fn play(leader: &Server, mut difference: impl FnMut(&mut Client) -> Option<String>) {
    let seed = setting("REDKEEP_DIFF_SEED", 7);
    let table = Rc::new(Table::new());
    for round in 0..setting("REDKEEP_DIFF_REPLICA", 10_000).div_ceil(ROUND as u64) {
        let mut commands: Vec<Argv> = PREAMBLE.iter().map(|l| argv(l)).collect();
        commands.extend(round_of(seed, round, &table));
        let (_, end) = leader.client().pipeline(&commands);
        end.unwrap_or_else(|e| panic!("{e}\n{}", leader.log()));
        if let Some(difference) = difference(&mut leader.client()) {
            let played = commands.iter().map(line).collect::<Vec<_>>().join("\n");
            panic!("{played}\n---- seed {seed}, round {round}\n{difference}");
        }
    }
}
