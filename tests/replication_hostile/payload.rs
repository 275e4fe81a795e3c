//! Leaders whose data set does not come as it should.

use super::*;

type Frame = fn(u64, &[u8]) -> Vec<u8>;

/// How a payload may be framed.
const FRAMES: [Frame; 2] = [full_sync, |offset, payload| {
    measured_sync(offset, payload, payload.len() as u64)
}];

fn syncs_at_last(victim: &mut Victim, leader: &Listener, mut line: Line) {
    line.greet();
    line.say(full_sync(100, PAYLOAD));
    victim.comes_to("replication", "master_link_status", "up");
    victim.has_new();
    assert!(leader.accept_within(Duration::ZERO).is_none());
    victim.is_well();
}

#[test]
fn cut_at_every_byte() {
    let mut victim = Victim::start(&[]);
    let leader = Listener::open();
    for frame in FRAMES {
        let all = frame(100, PAYLOAD);
        for cut in 0..all.len() {
            let mut line = victim.follow(&leader);
            line.greet();
            line.say(&all[..cut]);
            line.hang_up();
            assert!(line.is_dropped());
            victim.says("the master closed the connection, where");
            victim.has_old();
        }
    }
    let line = victim.follow(&leader);
    syncs_at_last(&mut victim, &leader, line);
}

#[test]
fn what_was_there_is_served_while_the_new_comes() {
    let mut victim = Victim::start(&[]);
    let leader = Listener::open();
    let mut line = victim.follow(&leader);
    line.greet();
    let all = full_sync(100, PAYLOAD);
    let (last, most) = all.split_last().unwrap();
    line.say(most);
    victim.comes_to("replication", "master_sync_in_progress", "1");
    assert_eq!(victim.info("replication", "master_link_status"), "down");
    victim.has_old();
    line.say([*last]);
    victim.comes_to("replication", "master_link_status", "up");
    victim.has_new();
}

#[test]
fn a_stall_in_the_middle() {
    let mut victim = Victim::start(&["--repl-timeout", "1"]);
    let leader = Listener::open();
    let mut line = victim.follow(&leader);
    for frame in FRAMES {
        line.greet();
        let all = frame(100, PAYLOAD);
        line.say(&all[..all.len() / 2]);
        victim.comes_to("replication", "master_sync_in_progress", "1");
        victim.has_old();
        assert!(line.is_dropped());
        victim.says("Timeout receiving bulk data");
        victim.says("more of the payload was expected");
        victim.has_old();
        line = leader.accept();
    }
    syncs_at_last(&mut victim, &leader, line);
}

#[test]
fn a_bit_that_is_wrong() {
    let mut victim = Victim::start(&[]);
    let leader = Listener::open();
    for frame in FRAMES {
        for at in (0..PAYLOAD.len()).step_by(11) {
            let mut payload = PAYLOAD.to_vec();
            payload[at] ^= 1 << (at % 8);
            let mut line = victim.follow(&leader);
            line.greet();
            line.say(frame(100, &payload));
            assert!(line.is_dropped(), "{at}");
            victim.has_old();
        }
    }
    let mut payload = PAYLOAD.to_vec();
    *payload.last_mut().unwrap() ^= 1;
    let mut line = victim.follow(&leader);
    victim.looks_on();
    line.greet();
    line.say(full_sync(100, &payload));
    assert!(line.is_dropped());
    victim.says("CRC");
    let line = leader.accept();
    syncs_at_last(&mut victim, &leader, line);
}

#[test]
fn lengths_that_lie() {
    let mut victim = Victim::start(&[]);
    let leader = Listener::open();
    let len = PAYLOAD.len() as u64;
    for length in [
        0,
        1,
        9,
        len / 2,
        len - 9,
        len - 1,
        len + 1,
        len + 40,
        1 << 40,
        i64::MAX as u64,
    ] {
        let mut line = victim.follow(&leader);
        line.greet();
        line.say(measured_sync(100, PAYLOAD, length));
        line.hang_up();
        assert!(line.is_dropped(), "{length}");
        victim.has_old();
    }
    let resident = victim.server.resident();
    assert!(
        resident.is_none_or(|bytes| bytes < 500 << 20),
        "{resident:?}"
    );
    for header in [
        "$",
        "$-1",
        "$9223372036854775808",
        "$EOF:abc",
        "REDIS0010",
        "+OK",
        "*1",
    ] {
        let mut line = victim.follow(&leader);
        line.greet();
        line.say(format!("+FULLRESYNC {ID} 100\r\n{header}\r\n"));
        assert!(line.is_dropped(), "{header}");
        victim.says("the beginning of the payload");
        victim.has_old();
    }
    let mut line = victim.follow(&leader);
    line.greet();
    line.say(format!(
        "+FULLRESYNC {ID} 100\r\n\n\n-ERR the disk is full\r\n"
    ));
    assert!(line.is_dropped());
    victim.says("the disk is full");
    let line = leader.accept();
    syncs_at_last(&mut victim, &leader, line);
}

#[test]
fn a_payload_that_is_no_data_set() {
    let mut victim = Victim::start(&[]);
    let leader = Listener::open();
    let end = PAYLOAD.len() - 9;
    let future = [b"REDIS9999", &PAYLOAD[9..]].concat();
    let unknown = [&PAYLOAD[..end], b"\xf3garbage"].concat();
    // A string that is said to be longer than any memory.
    let long = [
        &PAYLOAD[..end],
        b"\x00\x81\xff\xff\xff\xff\xff\xff\xff\xffk",
    ]
    .concat();
    for payload in [
        &b""[..],
        b"R",
        b"garbage garbage garbage",
        &future,
        &unknown,
        &long,
    ] {
        for frame in FRAMES {
            let mut line = victim.follow(&leader);
            line.greet();
            line.say(frame(100, payload));
            line.hang_up();
            assert!(line.is_dropped());
            victim.has_old();
        }
    }
    let resident = victim.server.resident();
    assert!(
        resident.is_none_or(|bytes| bytes < 500 << 20),
        "{resident:?}"
    );
    let line = victim.follow(&leader);
    syncs_at_last(&mut victim, &leader, line);
}

#[test]
fn a_mark_that_is_in_the_data_too() {
    let mut victim = Victim::start(&[]);
    let leader = Listener::open();
    let mut line = victim.follow(&leader);
    // The mark is what the payload says in its middle: it ends there, and is not whole.
    let id = ID;
    line.greet();
    let head = format!("+FULLRESYNC {ID} 100\r\n$EOF:{id}\r\n");
    line.say([head.as_bytes(), PAYLOAD, id.as_bytes()].concat());
    assert!(line.is_dropped());
    victim.has_old();
    let line = leader.accept();
    syncs_at_last(&mut victim, &leader, line);
}

#[test]
fn a_leader_that_knows_no_psync() {
    let mut victim = Victim::start(&[]);
    let leader = Listener::open();
    let mut line = victim.follow(&leader);
    line.greet();
    line.say("-ERR unknown command 'PSYNC'\r\n");
    assert_eq!(line.words().unwrap(), ["SYNC"]);
    line.say(format!("\n\n${}\r\n", PAYLOAD.len()));
    line.say(PAYLOAD);
    line.say(command("SELECT 0"));
    line.say(command("SET more data"));
    victim.comes_to("replication", "master_link_status", "up");
    let until = Instant::now() + SOON;
    while victim.c.run("GET more").text() != "data" {
        assert!(Instant::now() < until);
    }
    victim.is_well();
}
