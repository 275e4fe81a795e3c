//! Leaders that do not even greet properly.

use super::*;

/// Answers `n` commands with `+OK`, and then this; the replica hangs up and says why.
fn refused(victim: &mut Victim, leader: &Listener, n: usize, said: &[u8], why: &str) {
    let mut line = victim.follow(leader);
    for _ in 0..n {
        line.words().unwrap();
        line.say("+OK\r\n");
    }
    line.words().unwrap();
    line.say(said);
    assert!(line.is_dropped());
    victim.says(why);
    victim.has_old();
}

#[test]
fn answers_that_make_no_sense() {
    let mut victim = Victim::start(&[]);
    let leader = Listener::open();
    let endless = vec![b'x'; 200_000];
    for garbage in [
        &b"\0\x01\x02\xff\n"[..],
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$4\r\nPONG\r\n",
        &endless,
    ] {
        refused(&mut victim, &leader, 0, garbage, "the answer to PING");
        refused(&mut victim, &leader, 1, garbage, "the answer to REPLCONF");
        // PING, three times REPLCONF.
        refused(&mut victim, &leader, 4, garbage, "the answer to PSYNC");
    }
    refused(&mut victim, &leader, 0, b"-ERR go away\r\n", "go away");
    victim.is_well();
}

#[test]
fn a_password_that_is_wrong() {
    let mut victim = Victim::start(&["--masterauth", "secret", "--masteruser", "replica"]);
    let leader = Listener::open();
    let mut line = victim.follow(&leader);
    line.words().unwrap();
    line.say("-NOAUTH Authentication required.\r\n");
    assert_eq!(line.words().unwrap(), ["AUTH", "replica", "secret"]);
    line.say("-WRONGPASS invalid username-password pair\r\n");
    assert!(line.is_dropped());
    victim.says("WRONGPASS");
    let log = std::fs::read_to_string(victim.server.dir.path().join("log")).unwrap();
    assert!(!log.contains("secret"), "{log}");
    victim.has_old();
}

#[test]
fn ids_and_offsets_that_are_none() {
    let mut victim = Victim::start(&[]);
    let leader = Listener::open();
    for answer in [
        format!("+FULLRESYNC {ID}"),
        format!("+FULLRESYNC {ID} -1"),
        format!("+FULLRESYNC {ID} 99999999999999999999"),
        format!("+FULLRESYNC {ID}0 1"),
        "+FULLRESYNC ? 0".into(),
        "+FULLRESYNC".into(),
        format!("+CONTINUE {}", &ID[1..]),
        "+OK".into(),
    ] {
        let mut line = victim.follow(&leader);
        line.greet();
        line.say(format!("{answer}\r\n"));
        line.say(PAYLOAD);
        assert!(line.is_dropped());
        victim.says("the leader");
        victim.has_old();
    }
    victim.is_well();
}

#[test]
fn who_cannot_serve_now_is_asked_again_after_a_while() {
    let mut victim = Victim::start(&[]);
    let leader = Listener::open();
    let mut line = victim.follow(&leader);
    let mut gaps = Vec::new();
    for answer in [
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-NOMASTERLINK Can't SYNC while not connected with my master\r\n",
        "-LOADING\r\n",
    ] {
        line.greet();
        line.say(answer);
        assert!(line.is_dropped());
        let dropped = Instant::now();
        victim.says(answer.trim_end());
        line = leader.accept();
        gaps.push(dropped.elapsed());
        victim.has_old();
    }
    assert!(
        gaps.iter().all(|gap| *gap > Duration::from_millis(100)),
        "{gaps:?}"
    );
    line.greet();
    line.say(full_sync(0, PAYLOAD));
    victim.comes_to("replication", "master_link_status", "up");
    victim.has_new();
}

#[test]
fn who_says_nothing_is_left() {
    let mut victim = Victim::start(&["--repl-timeout", "1"]);
    let leader = Listener::open();
    let mut line = victim.follow(&leader);
    for answers in [0, 2, 4] {
        for _ in 0..answers {
            line.words().unwrap();
            line.say("+OK\r\n");
        }
        assert!(line.is_dropped());
        victim.looks_on();
        victim.has_old();
        line = leader.accept();
    }
    line.greet();
    line.say(full_sync(0, PAYLOAD));
    victim.comes_to("replication", "master_link_status", "up");
    victim.has_new();
}

#[test]
fn a_port_where_nobody_listens() {
    let mut victim = Victim::start(&[]);
    let port = common::peer::free_port().to_string();
    victim.c.call(&["REPLICAOF", "127.0.0.1", &port]).unwrap();
    victim.says("Connecting to MASTER");
    victim.says(&port);
    victim.has_old();
    assert_eq!(victim.info("replication", "master_link_status"), "down");
    assert!(victim.c.run("SET old other").is_error());
    victim.is_well();
}

#[test]
fn a_leader_that_is_silent_when_less_is_allowed_than_before() {
    let mut victim = Victim::start(&["--repl-timeout", "1000"]);
    let leader = Listener::open();
    let mut line = victim.follow(&leader);
    victim.comes_to("replication", "master_link_status", "down");
    victim.c.run("CONFIG SET repl-timeout 1");
    assert!(line.is_dropped());
    victim.says("Timeout connecting to the MASTER");
    victim.has_old();
}
