//! What is left of a topology that is gone: nothing. In a process of its own, for others have threads and sockets too.

use super::*;
use std::fs;
use std::process::Command;

/// Tells a process that it is the one to look at itself.
const ALONE: &str = "REDKEEP_TEST_ALONE";

#[test]
#[cfg(target_os = "linux")]
fn nothing_is_left_of_a_topology() {
    if std::env::var_os(ALONE).is_some() {
        return look();
    }
    let this = std::env::current_exe().unwrap();
    let name = "remains::nothing_is_left_of_a_topology";
    let out = Command::new(this)
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    assert!(out.status.success() && text.contains("1 passed"), "{text}");
}

fn entries(dir: &str) -> usize {
    fs::read_dir(dir).unwrap().count()
}

fn look() {
    // What the process needs once.
    drop(servers(0).start().unwrap());
    until("the first threads do not end", || {
        entries("/proc/self/task") == 2
    });
    let before = entries("/proc/self/fd");
    for _ in 0..3 {
        let topology = servers(2).sentinels(1).start().unwrap();
        let [leader, left, right] = topology.servers()[..] else {
            panic!("{:?}", topology.servers());
        };
        let mut writer = client(leader);
        writer.run("SET key value");
        sees(left, "key", "value");
        topology.partition([leader], [left]).unwrap();
        client(left).run("REPLICAOF NO ONE");
        topology.freeze(right).unwrap();
        topology.kill(leader).unwrap();
        assert!(entries("/proc/self/task") > 2);
        let dir = topology.dir().to_owned();
        assert!(dir.exists());
        drop(writer);
        drop(topology);
        assert!(!dir.exists());
        until("threads are left", || entries("/proc/self/task") == 2);
        assert_eq!(entries("/proc/self/fd"), before, "sockets are left");
    }
}

#[test]
fn topologies_live_side_by_side() {
    std::thread::scope(|scope| {
        for n in 0..8 {
            scope.spawn(move || {
                let topology = servers(1).start().unwrap();
                let [leader, replica] = topology.servers()[..] else {
                    panic!("{:?}", topology.servers());
                };
                let value = n.to_string();
                client(leader).run(&format!("SET mine {value}"));
                sees(replica, "mine", &value);
                topology.kill(leader).unwrap();
                topology.restart(leader).unwrap();
                topology.wait_until_settled(PATIENCE).unwrap();
            });
        }
    });
}
