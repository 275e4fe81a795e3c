//! The same random commands at a leader: after each round its replicas have what it has.
//!
//! `REDKEEP_DIFF_REPLICA=N` sets the number of commands.

use super::common::follower::{Follower, OPTIONS};
use super::common::{Argv, Client, Server, argv};
use super::syntax::Table;
use super::{LIMITS, PREAMBLE, ROUND, line, round_of, setting};
use std::rc::Rc;

#[test]
fn replicas_have_what_their_leader_has() {
    let leader = Server::redkeep(OPTIONS);
    let mut followers = vec![Follower::new(Server::redkeep(OPTIONS), &leader)];
    followers.extend(Server::redis(OPTIONS).map(|real| Follower::new(real, &leader)));
    play(|commands| {
        followers.iter_mut().for_each(|f| f.configure(commands));
        let c = &mut play_at(&leader, commands);
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
    play(|commands| {
        real.configure(commands);
        ours.configure(commands);
        ours.difference_from(&mut real, &mut play_at(&leader, commands))
    });
}

/// Plays commands at a leader, which is emptied before; gives another client of it.
fn play_at(leader: &Server, commands: &[Argv]) -> Client {
    let mut all: Vec<Argv> = PREAMBLE.iter().map(|l| argv(l)).collect();
    all.extend_from_slice(commands);
    let (_, end) = leader.client().pipeline(&all);
    end.unwrap_or_else(|e| panic!("{e}\n{}", leader.log()));
    leader.client()
}

/// Looks for a difference after each round of commands.
fn play(mut played: impl FnMut(&[Argv]) -> Option<String>) {
    let seed = setting("REDKEEP_DIFF_SEED", 7);
    let table = Rc::new(Table::new());
    for round in 0..setting("REDKEEP_DIFF_REPLICA", 10_000).div_ceil(ROUND as u64) {
        let mut commands = round_of(seed, round, &table);
        // Replicas know the configuration that a round begins with.
        let rest = commands.split_off(LIMITS.len());
        commands.extend(rest.into_iter().filter(|c| !c.iter().any(depends)));
        if let Some(difference) = played(&commands) {
            let kept = shrink(commands, |fewer| played(fewer).is_some());
            let again = played(&kept).unwrap_or(difference);
            let kept = kept.iter().map(line).collect::<Vec<_>>().join("\n");
            panic!("{kept}\n---- seed {seed}, round {round}\n{again}");
        }
    }
}

/// Whether what a command with this word does depends on the encoding of a value, which may be another one at a replica:
/// SORT, which changes nothing, changes that of a sorted set, and negative zero is zero in a listpack.
fn depends(word: &Vec<u8>) -> bool {
    word == b"-0" || word.eq_ignore_ascii_case(b"CONFIG")
}

/// Drops commands as long as there is a difference.
fn shrink(mut kept: Vec<Argv>, mut differs: impl FnMut(&[Argv]) -> bool) -> Vec<Argv> {
    let mut size = kept.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < kept.len() {
            let mut fewer = kept.clone();
            fewer.drain(at..(at + size).min(kept.len()));
            match differs(&fewer) {
                true => kept = fewer,
                false => at += size,
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    kept
}
