//! Others that do not keep to the protocol, or to a conversation.

use super::*;

/// What the sentinel makes of it all in the end: the master is well again.
fn recovers(victim: &mut Victim) {
    victim.master.answers("PING", "+PONG\r\n");
    victim.is_told("role:master\r\n");
    eventually("it is well again", || {
        (victim.master()["flags"] == "master").then_some(())
    });
    victim.is_well();
}

/// Says this in place of an answer to a command; whether the sentinel hangs up, and comes again.
fn hangs_up(victim: &mut Victim, command: &str, reply: &[u8]) {
    let before = victim.master.connections();
    victim.master.answers(command, reply);
    eventually("it connects again", || {
        (victim.master.connections() > before).then_some(())
    });
    recovers(victim);
}

#[test]
fn what_is_no_protocol() {
    both(|victim| {
        for garbage in [
            &b"\0\x01\x02\xff\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"$-7\r\n",
            b"$9999999999999999999999\r\n",
            b"*-7\r\n",
            b":x\r\n",
            b"*99999999999999999999\r\n",
        ] {
            hangs_up(victim, "PING", garbage);
            hangs_up(victim, "INFO", garbage);
        }
    });
}

#[test]
fn answers_that_make_no_sense_to_ping() {
    both(|victim| {
        let mut outcomes = Vec::new();
        for reply in [
            "+WHAT\r\n",
            ":1\r\n",
            "$4\r\nPONG\r\n",
            "*1\r\n+PONG\r\n",
            "-ERR no\r\n",
            "$-1\r\n",
        ] {
            victim.master.answers("PING", reply);
            victim.master.hears("PING", 3);
            victim.is_well();
            let ok: u64 = victim.master()["last-ok-ping-reply"].parse().unwrap();
            let any: u64 = victim.master()["last-ping-reply"].parse().unwrap();
            let _ = ok;
            outcomes.push((victim.master()["flags"].clone(), any < 5000));
            recovers(victim);
        }
        for reply in ["-LOADING x\r\n", "-MASTERDOWN x\r\n"] {
            victim.master.answers("PING", reply);
            victim.master.hears("PING", 3);
            outcomes.push((victim.master()["flags"].clone(), true));
        }
        outcomes
    });
}

/// The real one would stop with a failed assertion, so only ours is told what it did not ask for.
#[test]
fn more_answers_than_questions() {
    let ours = Path::new(env!("CARGO_BIN_EXE_redkeep"));
    let mut victim = Victim::start(ours, "", false);
    let many = "+PONG\r\n".repeat(10_000);
    for reply in [
        "+PONG\r\n+PONG\r\n",
        "+PONG\r\n-ERR max number of clients reached\r\n",
        "+PONG\r\n$11\r\nrole:slave\r\n\r\n",
        &many,
    ] {
        victim.master.answers("PING", reply);
        victim.master.hears("PING", 5);
        recovers(&mut victim);
    }
}

#[test]
fn answers_in_another_order() {
    both(|victim| {
        // INFO gets what PING should get and the other way round, and PUBLISH nothing but errors.
        victim.master.answers("PUBLISH", "-ERR no\r\n");
        victim.master.answers("INFO", "+PONG\r\n");
        victim.master.answers("PING", "$11\r\nrole:slave\r\n\r\n");
        victim.master.hears("PING", 5);
        victim.master.hears("INFO", 5);
        victim.is_well();
        let master = victim.master();
        let outcome = (master["flags"].clone(), master["role-reported"].clone());
        recovers(victim);
        outcome
    });
}

/// A real one takes any answer for a sign of life, and may stay out of step for as long as the connection lasts.
#[test]
fn half_an_answer_and_then_nothing() {
    ours(|victim| {
        assert_eq!(
            victim
                .c
                .run(&format!("SENTINEL SET {NAME} down-after-milliseconds 400"))
                .text(),
            "OK"
        );
        // A connection is given up when it is fifteen seconds old.
        for half in ["$100\r\nrole:mas", "+PO"] {
            victim.master.answers("PING", half);
            victim.master.answers("INFO", half);
            eventually("it is down", || {
                victim.master()["flags"].contains("s_down").then_some(())
            });
            // The half is forgotten with its connection.
            recovers(victim);
        }
    });
}

#[test]
fn who_hangs_up_at_once() {
    both(|victim| {
        for _ in 0..5 {
            let before = victim.master.connections();
            victim.master.hangs_up();
            eventually("it connects again", || {
                (victim.master.connections() >= before + 2).then_some(())
            });
        }
        recovers(victim);
    });
}

/// An answer that does not end: the real one takes all of it, as far as its memory goes.
#[test]
fn an_answer_without_end() {
    let ours = Path::new(env!("CARGO_BIN_EXE_redkeep"));
    let mut victim = Victim::start(ours, "", false);
    let piece = vec![b'x'; 64 << 20];
    for head in [&b"$4000000000\r\n"[..], b"+", b"*1000000000\r\n"] {
        hangs_up(&mut victim, "INFO", &[head, &piece].concat());
        let size = victim.server.resident().unwrap() >> 20;
        assert!(size < 100, "{size} MiB");
    }
    let deep = "*1\r\n".repeat(1 << 20);
    hangs_up(&mut victim, "INFO", deep.as_bytes());
    let wide = format!("*100000\r\n{}", ":1\r\n".repeat(100_000));
    victim.master.answers("INFO", wide);
    victim.master.hears("INFO", 3);
    let size = victim.server.resident().unwrap() >> 20;
    assert!(size < 100, "{size} MiB");
    recovers(&mut victim);
}
