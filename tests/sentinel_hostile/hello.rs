//! Hellos that lie.

use super::*;

/// A run id.
const ID: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hello of a sentinel that knows the master as it is.
fn hello(victim: &Victim, ip: &str, port: &str, id: &str) -> String {
    let master = victim.master.port;
    format!("{ip},{port},{id},0,{NAME},127.0.0.1,{master},0")
}

#[test]
fn what_is_no_hello() {
    both(|victim| {
        let own = victim.id();
        let (good, long) = (hello(victim, "127.0.0.2", "7000", ID), "x".repeat(1 << 20));
        let fields: Vec<&str> = good.split(',').collect();
        for count in 0..8 {
            victim.hears(fields[..count].join(","));
        }
        victim.hears(format!("{good},"));
        victim.hears(format!("{good},0,0,0"));
        victim.hears(",".repeat(7));
        victim.hears(",".repeat(1 << 20));
        victim.hears(good.replace(',', ";"));
        victim.hears(good.replace(NAME, "another"));
        victim.hears(good.replace(NAME, ""));
        victim.hears(good.replace(NAME, &long));
        victim.hears(good.replace(ID, &own));
        victim.hears(vec![0xFF; 1 << 20]);
        victim.hears(b"\0\r\n\0,,,,,,,");
        (victim.sentinels(), victim.epoch())
    });
}

#[test]
fn addresses_that_are_none() {
    both(|victim| {
        let mut outcomes = Vec::new();
        let good = hello(victim, "127.0.0.2", "7000", ID);
        for (ip, port) in [
            ("999.1.1.1", "7000"),
            ("not a host", "7000"),
            ("nowhere.invalid", "7000"),
            ("", "7000"),
            ("127.0.0.3", "65536"),
            ("127.0.0.3", "-1"),
            ("127.0.0.3", "99999999999999999999"),
            ("::ffff:1:2:3:4:5:6:7:8:9", "7000"),
        ] {
            // Of one that is not known, and of one that is and has moved.
            victim.hears(hello(victim, ip, port, ID));
            outcomes.push(victim.sentinels());
            victim.hears(&good);
            let before = victim.sentinels();
            victim.hears(hello(victim, ip, port, ID));
            // The real one forgets it, until it is heard of again.
            assert!(victim.real || victim.sentinels() == before);
            victim.hears(&good);
            outcomes.push(victim.sentinels());
            victim.forgets();
        }
        outcomes
    });
}

#[test]
fn one_that_moves_and_one_that_takes_the_place_of_another() {
    let other = "f00d".repeat(10);
    both(|victim| {
        let mut outcomes = Vec::new();
        for (ip, port, id) in [
            ("127.0.0.2", "7000", ID),
            ("127.0.0.2", "7001", ID),
            ("127.0.0.3", "7001", ID),
            ("127.0.0.3", "7001", &other),
            ("127.0.0.3", "7001", ID),
            ("127.0.0.4", "7002", &other),
            ("::1", "7003", ID),
        ] {
            victim.hears(hello(victim, ip, port, id));
            outcomes.push(victim.sentinels());
        }
        (outcomes, victim.file())
    });
}

#[test]
fn epochs_that_are_forged() {
    both(|victim| {
        let mut outcomes = Vec::new();
        // Greater ones are nobody's: Redis takes them, and others cannot read what it says then.
        for epoch in ["7", "3", "0", "9223372036854775807"] {
            victim.hears(with_epochs(victim, epoch, "0"));
            outcomes.push((victim.epoch(), victim.master()["config-epoch"].clone()));
        }
        // There is none after this one, but that is no reason to fall to pieces.
        victim.hears(with_epochs(victim, "9223372036854775807", "5"));
        let text = victim.c.run(&format!("SENTINEL FAILOVER {NAME}")).text();
        outcomes.push((text, victim.master()["config-epoch"].clone()));
        victim.is_well();
        outcomes
    });
}

/// A hello with these epochs: the current one, and that of the configuration.
fn with_epochs(victim: &Victim, epoch: &str, config: &str) -> String {
    let good = hello(victim, "127.0.0.2", "7000", ID);
    let good = good.replace(",0,prey,", &format!(",{epoch},prey,"));
    format!("{}{config}", good.strip_suffix('0').unwrap())
}

/// Where the sentinel says that the master is, and of which epoch that is.
fn place(victim: &mut Victim) -> [String; 3] {
    let master = victim.master();
    let port = match master["port"] == victim.master.port.to_string() {
        true => "its own",
        false => &master["port"],
    };
    [
        master["ip"].clone(),
        port.to_owned(),
        master["config-epoch"].clone(),
    ]
}

#[test]
fn masters_that_are_nowhere() {
    both(|victim| {
        let mut outcomes = Vec::new();
        for (epoch, ip, port) in [
            ("1", "999.1.1.1", "7000"),
            ("2", "nowhere.invalid", "7000"),
            ("3", "", "7000"),
            ("4", "127.0.0.3", "65536"),
            ("5", "127.0.0.3", "-1"),
        ] {
            let from = hello(victim, "127.0.0.2", "7000", ID);
            let head: Vec<&str> = from.split(',').take(5).collect();
            victim.hears(format!("{},{ip},{port},{epoch}", head.join(",")));
            let [at, port, _] = place(victim);
            outcomes.push([at, port]);
        }
        // Nor is anything lost by that.
        victim.hears(hello(victim, "127.0.0.2", "7000", ID));
        (outcomes, victim.sentinels())
    });
}

#[test]
fn a_configuration_that_is_newer_is_believed_and_an_older_one_is_not() {
    both(|victim| {
        let next = Actor::leader();
        let from = hello(victim, "127.0.0.2", "7000", ID);
        let head: Vec<&str> = from.split(',').take(5).collect();
        let head = head.join(",");
        victim.hears(format!("{head},127.0.0.1,{},5", victim.master.port));
        // The place of the master that it has, which is not newer: it stays.
        victim.hears(format!("{head},127.0.0.1,{},5", next.port));
        victim.hears(format!("{head},127.0.0.1,{},4", next.port));
        let before = place(victim);
        victim
            .master
            .publishes(format!("{head},127.0.0.1,{},6", next.port).as_bytes());
        let port = next.port.to_string();
        eventually("it follows", || {
            (victim.master()["port"] == port).then_some(())
        });
        let after = victim.master()["config-epoch"].clone();
        let replicas: Vec<String> = victim.replicas().iter().map(|r| r["ip"].clone()).collect();
        // It is in the file before anybody is told.
        let file = victim.file().join("\n").replace(&port, "NEXT");
        // What it was told is there when it comes again.
        victim.starts_again();
        let again = victim.master()["port"] == port;
        (before, after, replicas, file, again)
    });
}

#[test]
fn very_many_that_are_not_there() {
    both(|victim| {
        let all: Vec<String> = (0..400)
            .map(|n| {
                hello(
                    victim,
                    &format!("127.1.{}.{}", n / 200, n % 200 + 1),
                    "1",
                    &format!("{n:a>40}"),
                )
            })
            .collect();
        all.iter()
            .for_each(|one| victim.master.publishes(one.as_bytes()));
        victim.hears("");
        let known = victim.sentinels().len();
        if !victim.real {
            let size = victim.server.resident().unwrap() >> 20;
            assert!(size < 150, "{size} MiB");
        }
        victim.forgets();
        (known, victim.sentinels().len())
    });
}

#[test]
fn ids_that_are_none() {
    both(|victim| {
        let long = "a".repeat(100_000);
        for id in ["", &long, "a b", "a\tb", "\n", "ü"] {
            victim.hears(hello(victim, "127.0.0.2", "7000", id));
        }
        victim.is_well();
        // A file with such ids in it would not be read again.
        victim.starts_again();
    });
}

#[test]
fn messages_in_other_forms() {
    both(|victim| {
        let good = hello(victim, "127.0.0.2", "7000", ID);
        for form in [
            "*3\r\n$7\r\nmessage\r\n$18\r\n__sentinel__:hello\r\n:5\r\n",
            "*3\r\n$7\r\nmessage\r\n$18\r\n__sentinel__:hello\r\n$-1\r\n",
            "*2\r\n$7\r\nmessage\r\n$18\r\n__sentinel__:hello\r\n",
            "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$18\r\n__sentinel__:hello\r\n$1\r\nx\r\n",
            "*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n",
            "*1\r\n$7\r\nmessage\r\n",
        ] {
            victim.master.says(form.as_bytes());
        }
        victim.hears(good);
        victim.sentinels()
    });
}
