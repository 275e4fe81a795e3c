//! The same stories in virtual time and on real sockets: each is written once, for any [`Fortress`].

use super::*;
use redkeep::topology::{Caller, Error, Fortress, Role, State};
use redkeep::util::clock::{Clock, ManualClock};
use redkeep::{Simulation, Value};

/// Three servers and three sentinels which are quick to act.
fn quick() -> Builder {
    Simulation::builder()
        .down_after(Duration::from_millis(400))
        .failover_timeout(Duration::from_secs(3))
}

/// Sentinels that let a leader be gone for a moment.
fn patient() -> Builder {
    quick().down_after(Duration::from_secs(20))
}

/// What is acknowledged is with a replica.
fn in_step() -> Builder {
    quick().sync(true).config("sync-replicas-timeout", "1000")
}

macro_rules! stories {
    ($($name:ident: $builder:expr;)*) => {
        mod in_virtual_time {
            $(#[test]
            fn $name() {
                super::$name(&$builder.simulated(1).unwrap());
            })*
        }

        mod on_sockets {
            $(#[test]
            fn $name() {
                super::$name(&$builder.start().unwrap());
            })*
        }
    };
}

/// Nodes whose time passes when somebody waits for something.
fn standing() -> Builder {
    quick().clock(ManualClock::frozen())
}

mod on_a_clock_that_stands {
    use super::*;

    #[test]
    fn a_leader_that_is_killed_is_replaced_and_comes_back_as_a_replica() {
        let topology = standing().start().unwrap();
        super::a_leader_that_is_killed_is_replaced_and_comes_back_as_a_replica(&topology);
    }

    #[test]
    fn a_replica_that_is_started_again_has_everything() {
        let topology = standing().start().unwrap();
        super::a_replica_that_is_started_again_has_everything(&topology);
    }

    #[test]
    fn what_a_leader_in_step_has_acknowledged_outlasts_it_until_its_time_is_over() {
        let topology = standing().sync(true).start().unwrap();
        let leader = topology.leader().unwrap();
        let set = topology.call(leader, ["SET", "lock", "token", "NX", "EX", "30"]);
        assert_eq!(set.unwrap().to_string(), "OK");
        topology.kill(leader).unwrap();
        let next = topology
            .wait_for_leader_other_than(leader, PATIENCE)
            .unwrap();
        topology.wait_until_settled(PATIENCE).unwrap();
        assert_eq!(get(&topology, next, "lock").as_deref(), Some("token"));
        topology.advance(Duration::from_secs(31));
        assert_eq!(get(&topology, next, "lock"), None);
    }

    #[test]
    fn no_time_passes_but_what_is_asked_for() {
        let topology = standing().sentinels(0).start().unwrap();
        let leader = topology.leader().unwrap();
        topology
            .call(leader, ["SET", "key", "v", "EX", "100"])
            .unwrap();
        let began = topology.clock().now_ms();
        Fortress::pass(&topology, Duration::from_secs(60));
        assert_eq!(get(&topology, leader, "key").as_deref(), Some("v"));
        Fortress::advance(&topology, Duration::from_secs(41));
        assert_eq!(get(&topology, leader, "key"), None);
        assert_eq!(topology.clock().now_ms() - began, 101_000);
    }
}

#[test]
fn a_seed_gives_the_same_ids_but_not_to_who_is_started_again() {
    let ids = |topology: &redkeep::Topology| -> Vec<String> {
        let id = |node: &Node| {
            let info = topology.call(*node, ["INFO", "server"]).unwrap();
            let info = info.to_string();
            let (_, id) = info.split_once("run_id:").unwrap();
            id.chars().take(40).collect()
        };
        topology.nodes().iter().map(id).collect()
    };
    let start = |seed| {
        let builder = quick().replicas(1).sentinels(1).seed(seed);
        builder.start().unwrap()
    };
    let (one, same, other) = (start(1), start(1), start(2));
    let first = ids(&one);
    assert_eq!(first, ids(&same));
    let others = ids(&other);
    assert!(first.iter().zip(&others).all(|(one, other)| one != other));
    one.restart(one.servers()[1]).unwrap();
    assert_ne!(first[1], ids(&one)[1]);
}

stories! {
    a_leader_that_is_killed_is_replaced_and_comes_back_as_a_replica: super::quick();
    a_leader_that_is_frozen_is_replaced_and_finds_out_when_it_goes_on: super::quick();
    a_leader_that_is_cut_off_goes_on_taking_writes_and_loses_them: super::quick();
    nothing_is_lost_that_a_leader_in_step_has_acknowledged_before_it_is_cut_off: super::in_step();
    a_replica_that_is_started_again_has_everything: super::quick();
    a_leader_that_is_started_again_at_once_goes_on_leading: super::patient().lasting(true);
    a_node_that_does_not_run_says_so: super::quick().replicas(1).sentinels(0);
}

fn set(fortress: &impl Fortress, node: Node, key: &str, value: &str) -> String {
    let set = fortress.call(node, ["SET", key, value]);
    set.unwrap().to_string()
}

fn get(fortress: &impl Fortress, node: Node, key: &str) -> Option<String> {
    match fortress.call(node, ["GET", key]).unwrap() {
        Value::Bulk(bytes) => Some(String::from_utf8(bytes).unwrap()),
        Value::Null => None,
        other => panic!("{other}"),
    }
}

/// Waits until a node has this value, in the fortress's own time.
fn has(fortress: &impl Fortress, node: Node, key: &str, value: &str) {
    for _ in 0..3_000 {
        if get(fortress, node, key).as_deref() == Some(value) {
            return;
        }
        fortress.pass(Duration::from_millis(10));
    }
    panic!("{node} never has {key} {value}");
}

/// Writes what the next leader must have; from now on sentinels ask and tell more often than they would.
fn before(fortress: &impl Fortress) -> Node {
    for sentinel in fortress.sentinels() {
        let quick = "SENTINEL DEBUG info-period 500 publish-period 200 ask-period 200";
        let told = fortress.call(sentinel, quick.split(' ')).unwrap();
        assert_eq!(told.to_string(), "OK");
    }
    let leader = fortress.leader().unwrap();
    let mut writer = fortress.client(leader).unwrap();
    writer.call(["SET", "before", "1"]).unwrap();
    let replicas = fortress.servers().len() as i64 - 1;
    let waited = writer.call(["WAIT", &replicas.to_string(), "30000"]);
    assert_eq!(waited, Ok(Value::Int(replicas)));
    leader
}

/// Somebody else leads, with what was there before, and takes writes.
fn next_leader(fortress: &impl Fortress, old: Node) -> Node {
    let next = fortress.wait_for_leader_other_than(old, PATIENCE).unwrap();
    assert_eq!(fortress.role(next).unwrap(), Role::Leader);
    assert_eq!(get(fortress, next, "before").as_deref(), Some("1"));
    next
}

/// The old leader follows the new one, and has what that has.
fn reunited(fortress: &impl Fortress, old: Node, next: Node) {
    fortress.wait_until_settled(PATIENCE).unwrap();
    assert_eq!(fortress.leader().unwrap(), next);
    assert_eq!(fortress.role(old).unwrap(), Role::Replica);
    assert_eq!(set(fortress, next, "after", "2"), "OK");
    has(fortress, old, "after", "2");
}

fn a_leader_that_is_killed_is_replaced_and_comes_back_as_a_replica(fortress: &impl Fortress) {
    let old = before(fortress);
    fortress.kill(old).unwrap();
    assert_eq!(fortress.state(old).unwrap(), State::Killed);
    let next = next_leader(fortress, old);
    fortress.wait_until_settled(PATIENCE).unwrap();
    fortress.restart(old).unwrap();
    reunited(fortress, old, next);
}

fn a_leader_that_is_frozen_is_replaced_and_finds_out_when_it_goes_on(fortress: &impl Fortress) {
    let old = before(fortress);
    fortress.freeze(old).unwrap();
    assert_eq!(fortress.state(old).unwrap(), State::Frozen);
    let next = next_leader(fortress, old);
    fortress.wait_until_settled(PATIENCE).unwrap();
    fortress.thaw(old).unwrap();
    reunited(fortress, old, next);
}

fn a_leader_that_is_cut_off_goes_on_taking_writes_and_loses_them(fortress: &impl Fortress) {
    let old = before(fortress);
    let mut stranded = fortress.client(old).unwrap();
    fortress.partition([old], fortress.others([old])).unwrap();
    let next = next_leader(fortress, old);
    // As in life, this is lost.
    let set = stranded.call(["SET", "before", "3"]);
    assert_eq!(set.unwrap().to_string(), "OK");
    assert_eq!(fortress.role(old).unwrap(), Role::Leader);
    assert_eq!(get(fortress, old, "before").as_deref(), Some("3"));
    fortress.heal();
    reunited(fortress, old, next);
    has(fortress, old, "before", "1");
    assert_eq!(get(fortress, next, "before").as_deref(), Some("1"));
}

fn nothing_is_lost_that_a_leader_in_step_has_acknowledged_before_it_is_cut_off(
    fortress: &impl Fortress,
) {
    let old = before(fortress);
    let mut stranded = fortress.client(old).unwrap();
    let mut write = |n: i32| {
        let written = stranded.call(["SET", &format!("n:{n}"), "x"]);
        written.is_ok_and(|reply| !matches!(reply, Value::Error(_)))
    };
    let mut acknowledged: Vec<i32> = (0..20).filter(|n| write(*n)).collect();
    assert_eq!(acknowledged.len(), 20);
    fortress.partition([old], fortress.others([old])).unwrap();
    acknowledged.extend((20..24).filter(|n| write(*n)));
    let next = next_leader(fortress, old);
    // Nobody confirms anything to it, so that it promises nothing.
    let late: Vec<i32> = (24..26).filter(|n| write(*n)).collect();
    assert_eq!(late, [0; 0]);
    fortress.heal();
    reunited(fortress, old, next);
    for n in acknowledged {
        let key = format!("n:{n}");
        assert_eq!(get(fortress, next, &key).as_deref(), Some("x"), "{key}");
        has(fortress, old, &key, "x");
    }
    assert_eq!(get(fortress, next, "n:25"), None);
}

fn a_replica_that_is_started_again_has_everything(fortress: &impl Fortress) {
    let leader = before(fortress);
    let replica = fortress.servers()[1];
    fortress.restart(replica).unwrap();
    assert_eq!(set(fortress, leader, "meanwhile", "1"), "OK");
    fortress.wait_until_settled(PATIENCE).unwrap();
    has(fortress, replica, "before", "1");
    has(fortress, replica, "meanwhile", "1");
    assert_eq!(fortress.role(replica).unwrap(), Role::Replica);
}

fn a_leader_that_is_started_again_at_once_goes_on_leading(fortress: &impl Fortress) {
    let leader = before(fortress);
    fortress.restart(leader).unwrap();
    assert_eq!(get(fortress, leader, "before").as_deref(), Some("1"));
    fortress.wait_until_settled(PATIENCE).unwrap();
    assert_eq!(fortress.leader().unwrap(), leader);
}

fn a_node_that_does_not_run_says_so(fortress: &impl Fortress) {
    let replica = fortress.servers()[1];
    let mut client = fortress.client(replica).unwrap();
    fortress.kill(replica).unwrap();
    assert!(client.call(["PING"]).is_err());
    let dead =
        |what: Result<(), Error>| matches!(what, Err(Error::Killed(node)) if node == replica);
    assert!(dead(fortress.kill(replica)));
    assert!(dead(fortress.freeze(replica)));
    assert!(dead(fortress.thaw(replica)));
    assert!(dead(fortress.client(replica).map(drop)));
    assert!(dead(fortress.role(replica).map(drop)));
    fortress.restart(replica).unwrap();
    assert!(matches!(fortress.thaw(replica), Err(Error::NotFrozen(_))));
    fortress.freeze(replica).unwrap();
    assert!(matches!(
        fortress.freeze(replica),
        Err(Error::Frozen(node)) if node == replica
    ));
    assert!(matches!(fortress.client(replica), Err(Error::Frozen(_))));
    fortress.kill(replica).unwrap();
    fortress.restart(replica).unwrap();
    fortress.wait_until_settled(PATIENCE).unwrap();
}
