//! What a replica writes into its own log: done again, it is what the replica had.

use crate::common::history;
use crate::roles::pair;
use crate::world::{NOW, Server};
use redkeep::replication::Position;
use redkeep::util::rng::Rng;

/// The next thing that a leader does: a command, or a transaction.
fn act(leader: &mut Server, rng: &mut Rng) {
    let one = |leader: &mut Server, rng: &mut Rng| {
        let argv = history::command(rng);
        leader.run_as(leader.client, &argv);
    };
    if rng.chance(0.2) {
        leader.run("MULTI");
        for _ in 0..rng.below(5) {
            one(leader, rng);
        }
        leader.run("EXEC");
    } else {
        one(leader, rng);
    }
    if rng.chance(0.5) {
        leader.settle();
    }
    if rng.chance(0.1) {
        leader.later(300);
    }
    if rng.chance(0.05) {
        leader.later(11_000);
    }
}

/// However the stream is cut up on its way, and whatever the replica's own clients write meanwhile.
#[test]
fn the_log_of_a_replica_is_what_it_has() {
    for seed in 0..20 {
        let mut rng = Rng::seed_from_u64(seed);
        let (mut leader, mut replica, mut link) = pair(&[], &[("replica-read-only", "no")]);
        replica.collects();
        let writes = seed % 2 == 0;
        let mut log = Vec::new();
        for round in 0..60 {
            act(&mut leader, &mut rng);
            if rng.chance(0.3) {
                leader.settle();
                let came = link.take(&mut leader);
                let mut rest = &came[..];
                while !rest.is_empty() {
                    let n = 1 + rng.index(rest.len().min(200));
                    let (piece, behind) = rest.split_at(n);
                    rest = behind;
                    link.follower.receive(piece).unwrap();
                    replica.engine.refresh_time();
                    link.follower.work(&mut replica.engine).unwrap();
                    if writes && rng.chance(0.2) {
                        replica.run("SELECT 2");
                        replica.run("INCR own");
                    }
                    log.extend_from_slice(replica.state().fx.logged());
                    replica.settle();
                }
                link.up(&mut leader);
            }
            if round % 20 == 19 {
                let mut other = Server::new(seed + 100, &[]);
                other.clock.set_ms(NOW);
                let from = Position {
                    id: String::new(),
                    offset: 0,
                    db: None,
                };
                other.replay(&from, &log);
                assert_eq!(
                    other.contents(),
                    replica.contents(),
                    "{}",
                    log.escape_ascii()
                );
            }
        }
        if !writes {
            leader.settle();
            link.flow(&mut leader, &mut replica);
            leader.clock.set_ms(NOW);
            assert_eq!(replica.contents(), leader.contents());
        }
    }
}
