//! A failover in a test: a leader, two replicas and three sentinels in this process, on real ports, and a client that asks
//! the sentinels who leads.
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
        assert_eq!(orders, redkeep::Value::Int(20));
    }

    #[test]
    fn a_leader_that_is_cut_off_takes_no_orders() {
        let topology = fortress().unwrap();
        let mut desk = Desk::at(&topology).unwrap();
        desk.order(1).unwrap();

        let alone = topology.leader().unwrap();
        topology
            .partition([alone], topology.others([alone]))
            .unwrap();
        topology.wait_for_leader_other_than(alone, SOON).unwrap();
        desk.order(2).unwrap();
        let mut client = topology.client(alone).unwrap();
        let refused = client.call(["SADD", "orders", "lost"]).unwrap();
        assert!(matches!(refused, redkeep::Value::Error(_)), "{refused}");
        topology.heal();
        topology.wait_until_settled(SOON).unwrap();
        assert_eq!(desk.orders().unwrap(), 2);
    }
}
