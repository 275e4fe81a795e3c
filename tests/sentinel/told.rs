//! What sentinels publish while one leads a failover, from the first sign to the last, and what the others publish then.

use super::cast::Cast;
use super::ear::Event;
use super::topology::{Plan, Topology};
use super::{until, words};

play! { by all: who_dies_is_replaced who_is_well_is_replaced; by quorums:  }

/// The second server is to lead, and the first sentinel, which needs nobody else to see what is down.
fn raise(cast: Cast) -> Topology {
    let quiet = words(&["sentinel down-after-milliseconds m 60000"]);
    let mut plan = Plan {
        sentinel: [Vec::new(), quiet.clone(), quiet],
        ..Plan::default()
    };
    plan.server[1] = words(&["replica-priority 10"]);
    let mut all = Topology::raise(cast, plan);
    all.sentinels[0].does("SENTINEL SET m quorum 1");
    for sentinel in &mut all.sentinels {
        until("it knows who comes first", || {
            sentinel.list("REPLICAS", &["slave-priority", "flags"])
                == [["10", "slave"], ["100", "slave"]]
        });
    }
    all.ears.iter_mut().for_each(|ear| ear.clear());
    all
}

/// With names in place of ports and ids; and those that come in no order in the order of their letters.
fn normal(all: &mut Topology, n: usize) -> Vec<String> {
    let mut names: Vec<(String, String)> = Vec::new();
    for (n, sentinel) in all.sentinels.iter_mut().enumerate() {
        names.push((sentinel.does("SENTINEL MYID").text(), format!("S{n}")));
        names.push((sentinel.port.to_string(), format!("s{n}")));
    }
    for (server, name) in all.servers.iter().zip(["L", "A", "B"]) {
        names.push((format!("127.0.0.1:{}", server.port), name.to_owned()));
        names.push((format!("127.0.0.1 {}", server.port), name.to_owned()));
    }
    let line = |(channel, payload): &Event| {
        let replace = |text: String, (long, short): &(String, String)| text.replace(long, short);
        names.iter().fold(format!("{channel} {payload}"), replace)
    };
    let mut lines: Vec<String> = all.ears[n].heard().iter().map(line).collect();
    // A table tells of its replicas in the order of their hashes.
    for at in 1..lines.len() {
        if [at - 1, at]
            .iter()
            .all(|&at| lines[at].starts_with("+slave slave"))
        {
            lines[at - 1..=at].sort();
        }
    }
    lines
}

fn says(all: &mut Topology, n: usize, wanted: &[&str]) {
    let told = normal(all, n);
    let differ = told
        .iter()
        .zip(wanted)
        .position(|(told, wanted)| told != wanted);
    assert!(
        told == wanted,
        "sentinel {n} says\n{}\nand not\n{}\nfrom {differ:?} on",
        told.join("\n"),
        wanted.join("\n")
    );
}

/// From the promotion on, whoever was well or not.
const REST: &[&str] = &[
    "+vote-for-leader S0 1",
    "+elected-leader master m L",
    "+failover-state-select-slave master m L",
    "+selected-slave slave A A @ m L",
    "+failover-state-send-slaveof-noone slave A A @ m L",
    "+failover-state-wait-promotion slave A A @ m L",
    "-role-change slave A A @ m L new reported role is master",
    "+promoted-slave slave A A @ m L",
    "+failover-state-reconf-slaves master m L",
    "+slave-reconf-sent slave B B @ m L",
    "+slave-reconf-inprog slave B B @ m L",
    "+slave-reconf-done slave B B @ m L",
    "+failover-end master m L",
    "+switch-master m L A",
    "+slave slave B B @ m A",
    "+slave slave L L @ m A",
];

/// The two others may hear of a new leader before they ask the replica that it was, or thereafter.
fn without_roles(all: &mut Topology, n: usize) -> Vec<String> {
    let mut lines = normal(all, n);
    lines.retain(|line| !line.contains("role-change"));
    lines
}

/// What the two others say, who vote and hear of the new leader.
fn observers_say(all: &mut Topology, more: &[&str]) {
    let wanted = [
        "+config-update-from sentinel S0 127.0.0.1 s0 @ m L",
        "+switch-master m L A",
        "+slave slave B B @ m A",
        "+slave slave L L @ m A",
    ];
    for n in [1, 2] {
        until("it has heard", || all.ears[n].on("+slave").len() >= 2);
        let wanted = [more, &wanted].concat();
        let mut told = without_roles(all, n);
        for line in &mut told {
            // Who has heard before may say it first.
            for other in ["S1 127.0.0.1 s1", "S2 127.0.0.1 s2"] {
                *line = line.replace(other, "S0 127.0.0.1 s0");
            }
        }
        assert_eq!(told[..wanted.len()], wanted, "sentinel {n}");
    }
}

fn who_dies_is_replaced(cast: Cast) {
    let mut all = raise(cast);
    all.servers[0].kill();
    all.hears(0, "+switch-master");
    until("it is down once more", || {
        all.ears[0].on("+sdown").len() == 2
    });
    let first = [
        "+sdown master m L",
        "+odown master m L #quorum 1/1",
        "+new-epoch 1",
        "+try-failover master m L",
    ];
    says(
        &mut all,
        0,
        &[&first, REST, &["+sdown slave L L @ m A"]].concat(),
    );
    observers_say(&mut all, &["+new-epoch 1", "+vote-for-leader S0 1"]);
    all.ears.iter_mut().for_each(|ear| ear.clear());
    all.servers[0].restart();
    returns(&mut all, true);
}

/// The first server returns as a leader and is told by one sentinel, or by several at once.
fn returns(all: &mut Topology, was_down: bool) {
    all.settles(1);
    let convert = "+convert-to-slave slave L L @ m A";
    let mut told = 0;
    for n in 0..3 {
        let last = "+role-change slave L L @ m A new reported role is slave";
        until("it has changed", || {
            normal(all, n).iter().any(|line| line == last)
        });
        let wanted = [
            "-role-change slave L L @ m A new reported role is master",
            last,
        ];
        let mut lines = normal(all, n);
        let is_up = lines
            .iter()
            .position(|line| line == "-sdown slave L L @ m A");
        assert_eq!(is_up.is_some(), was_down && n == 0);
        is_up.map(|at| lines.remove(at));
        told += lines.iter().filter(|line| *line == convert).count();
        lines.retain(|line| line != convert);
        assert_eq!(lines, wanted, "sentinel {n}");
    }
    assert!(told > 0);
}

/// Nobody else is asked.
fn who_is_well_is_replaced(cast: Cast) {
    let mut all = raise(cast);
    assert_eq!(all.sentinels[0].does("SENTINEL FAILOVER m").text(), "OK");
    all.hears(0, "+switch-master");
    until("all is told", || all.ears[0].on("+slave").len() == 2);
    let first = ["+new-epoch 1", "+try-failover master m L"];
    let mut lines = normal(&mut all, 0);
    lines.truncate(first.len() + REST.len());
    assert_eq!(lines, [&first, REST].concat());
    all.settles(1);
    until("the old leader follows", || {
        all.ears[0].on("+role-change").len() == 1
    });
    observers_say(&mut all, &["+new-epoch 1"]);
}
