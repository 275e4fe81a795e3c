//! Servers that say of themselves what cannot be.

use super::*;

/// What is remembered of each replica.
fn told(victim: &mut Victim) -> Vec<String> {
    let port = victim.master.port.to_string();
    let mut all: Vec<String> = victim
        .replicas()
        .iter()
        .map(|r| r["name"].replace(&port, "PORT"))
        .collect();
    all.sort();
    all
}

#[test]
fn replicas_that_are_nowhere() {
    both(|victim| {
        let mut outcomes = Vec::new();
        for line in [
            "slave0:ip=999.1.1.1,port=7000,state=online,offset=0,lag=0",
            "slave0:ip=nowhere.invalid,port=7000,state=online,offset=0,lag=0",
            "slave0:ip=,port=7000,state=online,offset=0,lag=0",
            "slave0:ip=127.0.0.2,port=65536,state=online,offset=0,lag=0",
            "slave0:ip=127.0.0.2,port=-1,state=online,offset=0,lag=0",
            "slave0:ip=127.0.0.2,state=online,offset=0,lag=0",
            "slave0:port=7000,state=online,offset=0,lag=0",
            "slave0:ip=127.0.0.2",
            "slave0:",
            "slave0",
            "slave:ip=127.0.0.2,port=7000,state=online",
            "slavex:ip=127.0.0.2,port=7000,state=online",
            "slave0:127.0.0.2",
            "slave0:127.0.0.2,",
            "slave0:,,,,,,",
            "xslave0:ip=127.0.0.2,port=7000,state=online",
            "# slave0:ip=127.0.0.2,port=7000,state=online",
        ] {
            victim.is_told(format!("role:master\r\n{line}\r\n"));
            outcomes.push((line, told(victim)));
        }
        outcomes
    });
}

#[test]
fn replicas_in_strange_words() {
    both(|victim| {
        let mut outcomes = Vec::new();
        let own = format!(
            "slave0:ip=127.0.0.1,port={},state=online,offset=0,lag=0",
            victim.master.port
        );
        for line in [
            "slave0:ip=127.0.0.2,port=7000,state=online,offset=-99999999999999999999,lag=-7",
            "slave99999999999999999999:ip=127.0.0.3,port=7001,state=what,offset=x,lag=y",
            "slave0:state=online,port=7002,ip=127.0.0.4",
            "slave7:127.0.0.5,7003,online",
            "slave1:ip=127.0.0.2,port=7000,state=online,offset=0,lag=0",
            // A master that says that it follows itself.
            &own,
        ] {
            victim.is_told(format!("role:master\r\n{line}\r\n"));
            outcomes.push(told(victim));
        }
        (outcomes, victim.file())
    });
}

/// Nobody has so many: the real one takes them all, and writes its file anew for each of them.
#[test]
fn ten_thousand_replicas() {
    let ours = Path::new(env!("CARGO_BIN_EXE_redkeep"));
    let mut victim = Victim::start(ours, "", false);
    let line = |n| {
        let ip = format!("127.1.{}.{}", n / 200, n % 200 + 1);
        format!("slave{n}:ip={ip},port=1,state=online,offset=0,lag=0\r\n")
    };
    let lines: String = (0..10_000).map(line).collect();
    victim.is_told(format!("role:master\r\n{lines}"));
    assert_eq!(victim.master()["num-slaves"], "4096");
    let size = victim.server.resident().unwrap() >> 20;
    assert!(size < 150, "{size} MiB");
    let is_replica = |line: &&String| line.contains("known-replica");
    assert_eq!(victim.file().iter().filter(is_replica).count(), 4096);
    victim.is_told("role:master\r\n");
    victim.forgets();
    assert_eq!(victim.master()["num-slaves"], "0");
    victim.is_well();
}

#[test]
fn what_is_no_info() {
    both(|victim| {
        let (endless, long) = ("x".repeat(3 << 20), "role:master\r\n".repeat(100_000));
        let mut outcomes = Vec::new();
        for info in [
            &b""[..],
            b"\r\n\r\n\r\n",
            b"\0\x01\x02\xff\xfe",
            b"role:",
            b"role",
            b":::::\r\n:\r\n",
            b"role:emperor\r\n",
            b"role:master",
            b"role:slave\r\nmaster_host:\r\nmaster_port:\r\n",
            b"role:slave\r\nmaster_host:x y\r\nmaster_port:-7\r\nmaster_link_down_since_seconds:-99999999999999999999\r\n",
            endless.as_bytes(),
            long.as_bytes(),
            b"run_id:short\r\nrole:master\r\n",
            b"run_id:\r\nrole:master\r\n",
        ] {
            victim.is_told(info);
            let master = victim.master();
            outcomes.push((master["flags"].clone(), master["role-reported"].clone(), master["num-slaves"].clone()));
        }
        victim.is_told("run_id:0123456789012345678901234567890123456789more\r\nrole:master\r\n");
        outcomes.push((
            victim.master()["runid"].clone(),
            String::new(),
            String::new(),
        ));
        outcomes
    });
}

#[test]
fn answers_to_info_of_other_kinds() {
    both(|victim| {
        let mut outcomes = Vec::new();
        for reply in [
            ":7\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "*0\r\n",
            "+role:slave\r\n",
            "-ERR no\r\n",
            "-LOADING Redis is loading the dataset in memory\r\n",
            "*2\r\n$10\r\nrole:slave\r\n:1\r\n",
        ] {
            victim.master.answers("INFO", reply);
            victim.master.hears("INFO", 3);
            victim.is_well();
            let master = victim.master();
            outcomes.push((master["flags"].clone(), master["role-reported"].clone()));
        }
        outcomes
    });
}

/// What a replica that says this of itself is remembered as.
#[test]
fn replicas_that_lie_about_themselves() {
    both(|victim| {
        let replica = Actor::saying("role:slave\r\n");
        let port = replica.port;
        let lines = format!(
            "role:master\r\nslave0:ip=127.0.0.1,port={port},state=online,offset=0,lag=0\r\n"
        );
        victim.is_told(lines);
        eventually("it is asked", || (replica.heard("INFO") > 0).then_some(()));
        let mut outcomes = Vec::new();
        let head = format!(
            "role:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:{}\r\n",
            victim.master.port
        );
        for more in [
            "slave_repl_offset:9223372036854775807\r\n",
            "slave_repl_offset:12\r\nslave_priority:-3\r\n",
            "slave_repl_offset:0\r\nslave_priority:7\r\n",
            "slave_priority:0\r\n",
            "master_link_status:maybe\r\nslave_repl_offset:5\r\n",
            "master_link_status:up\r\n",
            "master_link_down_since_seconds:9223372036854775807\r\n",
            "replica_announced:0\r\n",
            "replica_announced:1\r\n",
        ] {
            replica.tells(format!("{head}{more}"));
            replica.hears("INFO", 3);
            victim.is_well();
            let Some(r) = victim.replicas().into_iter().next() else {
                outcomes.push(format!("{more}: none"));
                continue;
            };
            let of = [
                "slave-priority",
                "slave-repl-offset",
                "master-link-status",
                "role-reported",
                "replica-announced",
                "flags",
            ];
            let of = of.map(|name| r.get(name).cloned().unwrap_or_default());
            outcomes.push(format!("{more}: {of:?}"));
        }
        outcomes
    });
}

/// With the real one such numbers wrap around.
#[test]
fn numbers_that_are_too_great() {
    let ours = Path::new(env!("CARGO_BIN_EXE_redkeep"));
    let mut victim = Victim::start(ours, "", false);
    let head = "role:slave\r\nmaster_host:127.0.0.1\r\n";
    let replica = Actor::saying(head);
    victim.is_told(format!(
        "role:master\r\nslave0:ip=127.0.0.1,port={},state=online\r\n",
        replica.port
    ));
    for (offset, told) in [
        ("7", "7"),
        ("18446744073709551615", "9223372036854775807"),
        ("99999999999999999999999", "9223372036854775807"),
        ("-8", "9223372036854775807"),
        ("x", "9223372036854775807"),
        ("8", "8"),
    ] {
        replica.tells(format!(
            "{head}slave_repl_offset:{offset}\r\nslave_priority:99999999999\r\nmaster_port:99999\r\n\
             master_link_down_since_seconds:{offset}\r\n"
        ));
        replica.hears("INFO", 3);
        victim.is_well();
        assert_eq!(victim.replicas()[0]["slave-repl-offset"], told, "{offset}");
    }
}

/// A replica that says that it leads is made to follow again, and nobody believes that it does.
#[test]
fn a_replica_that_says_that_it_leads() {
    both(|victim| {
        let replica = Actor::saying("role:master\r\nslave_repl_offset:99999999\r\n");
        let lines = format!(
            "role:master\r\nslave0:ip=127.0.0.1,port={},state=online,offset=0,lag=0\r\n",
            replica.port
        );
        victim.is_told(lines);
        // That is done with a transaction, after four of its periods.
        eventually("it is told", || {
            (replica.heard("SLAVEOF") + replica.heard("REPLICAOF") > 0).then_some(())
        });
        let mut told = replica.commands("SLAVEOF");
        told.extend(replica.commands("REPLICAOF"));
        let port = victim.master.port.to_string();
        assert_eq!(told[0][1..], ["127.0.0.1", &port]);
        let all =
            ["MULTI", "SLAVEOF", "CONFIG", "CLIENT", "EXEC"].map(|name| replica.heard(name) > 0);
        let master = victim.master();
        (all, master["port"] == port, master["flags"].clone())
    });
}
