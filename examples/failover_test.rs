//! A failover in a test: a leader, two replicas and three sentinels in this process, on real ports, and a client that asks
//! the sentinels who leads; and twenty failovers in virtual time.
//!
//! ```sh
//! cargo test --example failover_test
//! ```
#![allow(clippy::print_stdout, reason = "a program may speak")]

use std::time::{Duration, Instant};

use redis::RedisResult;
use redis::sentinel::{SentinelClient, SentinelServerType};
use redkeep::Topology;

/// What is tested: an orders desk that goes on when the leader is lost.
struct Desk {
    sentinels: SentinelClient,
    patience: Duration,
}

impl Desk {
    fn at(topology: &Topology) -> RedisResult<Desk> {
        let urls: Vec<_> = topology.sentinels().iter().map(|node| node.url()).collect();
        let name = topology.name().to_owned();
        Ok(Desk {
            sentinels: SentinelClient::build(urls, name, None, SentinelServerType::Master)?,
            patience: Duration::from_secs(30),
        })
    }

    /// Takes an order: whoever leads has it, or this is not over. A second attempt may take it twice, so that it has a number.
    fn order(&mut self, number: u32) -> RedisResult<()> {
        let began = Instant::now();
        loop {
            let taken = self.sentinels.get_connection().and_then(|mut leader| {
                let mut order = redis::cmd("SADD");
                order.arg("orders").arg(number).exec(&mut leader)
            });
            match taken {
                Err(_) if began.elapsed() < self.patience => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                done => return done,
            }
        }
    }

    fn orders(&mut self) -> RedisResult<usize> {
        redis::cmd("SCARD")
            .arg("orders")
            .query(&mut self.sentinels.get_connection()?)
    }
}

fn fortress() -> Result<Topology, redkeep::topology::Error> {
    // What is answered is with a replica, so that nothing that was answered is lost with the leader.
    let builder = Topology::builder().replicas(2).sentinels(3).sync(true);
    builder.down_after(Duration::from_millis(400)).start()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let topology = fortress()?;
    let mut desk = Desk::at(&topology)?;
    desk.order(1)?;
    let lost = topology.leader()?;
    topology.kill(lost)?;
    desk.order(2)?;
    println!("{lost} is lost, {} leads", topology.leader()?);
    println!("{} orders", desk.orders()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use redkeep::topology::Node;
    use redkeep::{Simulation, Value};

    const SOON: Duration = Duration::from_secs(30);

    #[test]
    fn a_desk_goes_on_when_the_leader_is_lost() {
        let topology = fortress().unwrap();
        let mut desk = Desk::at(&topology).unwrap();
        for order in 0..10 {
            desk.order(order).unwrap();
        }

        let lost = topology.leader().unwrap();
        topology.kill(lost).unwrap();
        for order in 10..20 {
            desk.order(order).unwrap();
        }
        assert_ne!(topology.leader().unwrap(), lost);
        assert_eq!(desk.orders().unwrap(), 20);

        // It comes back as a replica, and has everything.
        topology.restart(lost).unwrap();
        topology.wait_until_settled(SOON).unwrap();
        let mut client = topology.client(lost).unwrap();
        let orders = client.call(["SCARD", "orders"]).unwrap();
        assert_eq!(orders, Value::Int(20));
    }

    /// Offers an order to a node, as often as a client with some patience would. Whether it is answered.
    fn takes(world: &Simulation, node: Node, order: &str) -> bool {
        (0..50).any(|_| {
            let reply = world.call(node, ["SADD", "orders", order]);
            world.advance(Duration::from_millis(100));
            matches!(reply, Ok(Value::Int(_)))
        })
    }

    /// In virtual time a failover takes milliseconds, and is the same at each run: many of them can be tried, and one that
    /// fails can be tried again by its number.
    #[test]
    fn nothing_is_lost_that_was_answered_in_any_of_twenty_worlds() {
        for seed in 0..20 {
            let world = Simulation::builder().sync(true).simulated(seed).unwrap();
            let alone = world.leader().unwrap();
            assert!(takes(&world, alone, "first"), "seed {seed}");

            world.partition([alone], world.others([alone])).unwrap();
            assert!(!takes(&world, alone, "lost"), "seed {seed}");
            let next = world.wait_for_leader_other_than(alone, SOON).unwrap();
            assert!(takes(&world, next, "second"), "seed {seed}");

            world.heal();
            world.wait_until_settled(SOON).unwrap();
            for (order, kept) in [("first", 1), ("lost", 0), ("second", 1)] {
                let found = world.call(alone, ["SISMEMBER", "orders", order]);
                assert_eq!(found.unwrap(), Value::Int(kept), "seed {seed}, {order}");
            }
        }
    }
}
