//! The same random commands at a leader: after each round its replicas have what it has.
//!
//! `REDKEEP_DIFF_REPLICA=N` sets the number of commands.

use super::common::follower::{Follower, OPTIONS};
use super::common::{Argv, Server, argv};
use super::syntax::Table;
use super::{PREAMBLE, ROUND, line, round_of, setting};
use std::rc::Rc;

#[test]
fn replicas_have_what_their_leader_has() {
    let leader = Server::redkeep(OPTIONS);
    let mut followers = vec![Follower::new(Server::redkeep(OPTIONS), &leader)];
    followers.extend(Server::redis(OPTIONS).map(|real| Follower::new(real, &leader)));
    play(&leader, &mut followers);
}

#[test]
fn replicas_have_what_a_real_leader_has() {
    if let Some(leader) = Server::redis(OPTIONS) {
        let ours = Follower::new(Server::redkeep(OPTIONS), &leader);
        play(&leader, &mut [ours]);
    }
}

fn play(leader: &Server, followers: &mut [Follower]) {
    let seed = setting("REDKEEP_DIFF_SEED", 7);
    let table = Rc::new(Table::new());
    for round in 0..setting("REDKEEP_DIFF_REPLICA", 10_000).div_ceil(ROUND as u64) {
        let mut commands: Vec<Argv> = PREAMBLE.iter().map(|l| argv(l)).collect();
        commands.extend(round_of(seed, round, &table));
        let (_, end) = leader.client().pipeline(&commands);
        end.unwrap_or_else(|e| panic!("{e}\n{}", leader.log()));
        for follower in &mut *followers {
            let difference = follower.difference(&mut leader.client());
            let played = || commands.iter().map(line).collect::<Vec<_>>().join("\n");
            if let Some(difference) = difference {
                panic!(
                    "{}\n---- seed {seed}, round {round}\n{difference}",
                    played()
                );
            }
        }
    }
}
