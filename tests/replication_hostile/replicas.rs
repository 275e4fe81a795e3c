//! Replicas that no leader should have.

use super::*;

/// A connection that has got all of a payload, and has not acknowledged it: the history and the offset it was told.
fn synced(victim: &Victim) -> (Line, String, u64) {
    let mut line = Line::connect(victim.server.port);
    assert_eq!(line.ask(&["REPLCONF", "listening-port", "1"]), "OK");
    assert_eq!(
        line.ask(&["REPLCONF", "capa", "eof", "capa", "psync2"]),
        "OK"
    );
    line.command(&["PSYNC", "?", "-1"]);
    let (id, offset) = payload(&mut line);
    (line, id, offset)
}

/// Reads the answer to PSYNC and a payload.
fn payload(line: &mut Line) -> (String, u64) {
    let said = line.line();
    let words: Vec<&str> = said.split(' ').collect();
    assert_eq!(words[0], "+FULLRESYNC", "{said}");
    let head = line.line();
    let mark = head.strip_prefix("$EOF:").expect("a mark").as_bytes();
    let all = line.up_to(mark);
    // All of it: an opcode and a checksum end it.
    assert!(all.starts_with(b"REDIS") && all[all.len() - 9] == 0xFF);
    (words[1].to_owned(), words[2].parse().unwrap())
}

/// As [`synced`], online.
fn online(victim: &mut Victim) -> (Line, String, u64) {
    let (mut line, id, offset) = synced(victim);
    line.command(&["REPLCONF", "ACK", &offset.to_string()]);
    victim.comes_to("replication", "connected_slaves", "1");
    (line, id, offset)
}

#[test]
fn ids_and_offsets_that_are_absurd() {
    let mut victim = Victim::start(&[]);
    let (line, id, _) = online(&mut victim);
    drop(line);
    victim.comes_to("replication", "connected_slaves", "0");
    let long = "a".repeat(1 << 20);
    let ids = ["", "?", &id[1..], &long, "\0\r\n", &id];
    let offsets = [
        "0",
        "-1",
        "-9223372036854775808",
        "9223372036854775807",
        "4611686018427387904",
    ];
    for id in ids {
        for offset in offsets {
            let mut line = Line::connect(victim.server.port);
            line.ask(&["REPLCONF", "capa", "eof", "capa", "psync2"]);
            line.command(&["PSYNC", id, offset]);
            payload(&mut line);
        }
        for none in [
            "",
            "x",
            "1.5",
            "9223372036854775808",
            "99999999999999999999",
            " 1",
        ] {
            let mut line = Line::connect(victim.server.port);
            let reply = line.ask(&["PSYNC", id, none]);
            assert!(reply.contains("not an integer"), "{none}: {reply}");
        }
    }
    victim.comes_to("replication", "connected_slaves", "0");
    victim.has_old();
    victim.is_well();
}

#[test]
fn words_that_are_absurd() {
    let mut victim = Victim::start(&[]);
    let long = "x".repeat(100_000);
    let mut line = Line::connect(victim.server.port);
    for words in [
        &["REPLCONF", "listening-port"][..],
        &["REPLCONF", "listening-port", "99999999999999999999"],
        &["REPLCONF", "listening-port", "x"],
        &["REPLCONF", "ip-address", &long],
        &["REPLCONF", "ip-address", "1\r\n2"],
        &["REPLCONF", "what", "ever"],
        &["REPLCONF", "rdb-only", "x"],
        &["REPLCONF", "rdb-filter-only", &long],
        &["REPLCONF", "capa"],
        &["PSYNC"],
        &["PSYNC", "?"],
        &["PSYNC", "?", "-1", "NONSENSE"],
        &["PSYNC", "?", "-1", "FAILOVER", "x"],
        &["SYNC", "x"],
    ] {
        line.command(words);
        let reply = line.reply().unwrap();
        assert!(reply.is_error(), "{words:?}: {}", reply.text());
    }
    for fine in [
        &["REPLCONF", "capa", &long][..],
        &["REPLCONF", "version", &long],
        &["REPLCONF", "listening-port", "-1"],
    ] {
        line.command(fine);
        line.reply().unwrap();
    }
    // What an acknowledgement says is never answered, whoever says it.
    for offset in [
        "0",
        "-1",
        "9223372036854775807",
        "99999999999999999999",
        "x",
    ] {
        line.command(&["REPLCONF", "ACK", offset]);
    }
    assert_eq!(line.ask(&["PING"]), "PONG");
    victim.has_old();
    assert!(victim.server.alive(), "{}", victim.server.log());
}

#[test]
fn acknowledgements_of_what_was_never_sent() {
    let mut victim = Victim::start(&[]);
    for absurd in [
        "9223372036854775807",
        "1000000",
        "-1",
        "-9223372036854775808",
        "x",
        "",
    ] {
        let (mut line, _, offset) = online(&mut victim);
        line.command(&["REPLCONF", "ACK", absurd, "FACK", absurd]);
        victim.c.run("SET old data");
        // Whatever it says, it has not got what it was not sent, and nobody is told so.
        let written = victim.info("replication", "master_repl_offset");
        let replica = victim.info("replication", "slave0");
        let told = replica
            .split(',')
            .find_map(|part| part.strip_prefix("offset="));
        if let Some(told) = told {
            let told: i64 = told.parse().unwrap();
            assert!(told <= written.parse().unwrap(), "{absurd}: {replica}");
            assert!(told >= offset as i64 || told >= 0, "{absurd}: {replica}");
        }
        drop(line);
        victim.comes_to("replication", "connected_slaves", "0");
    }
    victim.is_well();
}

#[test]
fn who_never_acknowledges_is_parted_with() {
    let mut victim = Victim::start(&["--repl-timeout", "1", "--repl-ping-replica-period", "1"]);
    let (mut line, ..) = online(&mut victim);
    assert!(line.is_dropped());
    victim.says("Disconnecting timedout replica (streaming sync)");
    // Also if it never says that it has got the payload.
    let (mut line, ..) = synced(&victim);
    assert!(line.is_dropped());
    victim.says("Disconnecting timedout replica");
    victim.comes_to("replication", "connected_slaves", "0");
    victim.is_well();
}

#[test]
fn silence_is_noticed_however_seldom_replicas_are_pinged() {
    let mut victim = Victim::start(&["--repl-timeout", "1", "--repl-ping-replica-period", "3600"]);
    let (mut line, ..) = online(&mut victim);
    assert!(line.is_dropped());
    victim.says("Disconnecting timedout replica");
}

#[test]
fn who_does_not_read_is_parted_with() {
    let mut victim = Victim::start(&["--client-output-buffer-limit", "replica 1mb 0 0"]);
    let (mut line, ..) = online(&mut victim);
    let value = "x".repeat(100_000);
    let until = Instant::now() + SOON;
    // What the sockets take, and what may wait.
    while victim.info("replication", "connected_slaves") == "1" {
        assert!(Instant::now() < until);
        assert_eq!(victim.c.call(&["SET", "old", &value]).unwrap().text(), "OK");
    }
    eprintln!("{}", victim.c.run("INFO replication").text());
    victim.says("output buffer limits");
    assert!(line.is_dropped());
    victim.is_well();
}

#[test]
fn what_is_stored_is_not_the_end_of_a_payload() {
    let mut victim = Victim::start(&[]);
    let (mut line, id, _) = online(&mut victim);
    // Everything that is told and looks like the mark.
    let run = victim.info("server", "run_id");
    victim
        .c
        .call(&["SET", "ids", &format!("{id}{run}")])
        .unwrap();
    line.hang_up();
    assert!(line.is_dropped());
    let mut line = Line::connect(victim.server.port);
    line.ask(&["REPLCONF", "capa", "eof", "capa", "psync2"]);
    line.command(&["PSYNC", "?", "-1"]);
    line.line();
    let head = line.line();
    let mark = head.strip_prefix("$EOF:").unwrap();
    victim.c.call(&["SET", "mark", mark]).unwrap();
    let all = line.up_to(mark.as_bytes());
    assert_eq!(all[all.len() - 9], 0xFF);
    // What holds the last mark is sent behind another one.
    drop(line);
    let (line, ..) = online(&mut victim);
    drop(line);
    victim.is_well();
}

#[test]
fn who_hangs_up_in_the_middle_of_a_payload() {
    let mut victim = Victim::start(&["--rdbcompression", "no"]);
    let value = "x".repeat(1 << 20);
    for n in 0..40 {
        victim.c.call(&["SET", &format!("big{n}"), &value]).unwrap();
    }
    for bytes in [1, 100, 10_000, 1 << 20, 10 << 20] {
        let mut line = Line::connect(victim.server.port);
        line.ask(&["REPLCONF", "capa", "eof", "capa", "psync2"]);
        line.command(&["PSYNC", "?", "-1"]);
        line.bytes(bytes);
        drop(line);
    }
    victim.comes_to("replication", "connected_slaves", "0");
    // The next one gets all of it.
    let (line, ..) = online(&mut victim);
    drop(line);
    victim.is_well();
}

#[test]
fn who_wants_nothing_but_the_payload_gets_all_of_it() {
    for diskless in ["yes", "no"] {
        let mut victim =
            Victim::start(&["--rdbcompression", "no", "--repl-diskless-sync", diskless]);
        let value = "x".repeat(1 << 20);
        for n in 0..40 {
            victim.c.call(&["SET", &format!("big{n}"), &value]).unwrap();
        }
        let mut line = Line::connect(victim.server.port);
        line.ask(&["REPLCONF", "capa", "eof", "rdb-only", "1"]);
        line.command(&["SYNC"]);
        let head = line.line();
        let all = match head.strip_prefix("$EOF:") {
            Some(mark) => line.up_to(mark.as_bytes()),
            None => line.bytes(head[1..].parse().unwrap()),
        };
        assert_eq!(all[all.len() - 9], 0xFF);
        victim.c.run("SET old data");
        assert!(line.is_dropped());
        victim.comes_to("replication", "connected_slaves", "0");
    }
}

#[test]
fn who_stops_reading_in_the_middle_of_a_payload() {
    let mut victim = Victim::start(&[
        "--rdbcompression",
        "no",
        "--repl-timeout",
        "1",
        "--repl-ping-replica-period",
        "1",
    ]);
    let value = "x".repeat(1 << 20);
    for n in 0..40 {
        victim.c.call(&["SET", &format!("big{n}"), &value]).unwrap();
    }
    let mut line = Line::connect(victim.server.port);
    line.ask(&["REPLCONF", "capa", "eof", "capa", "psync2"]);
    line.command(&["PSYNC", "?", "-1"]);
    line.bytes(1000);
    victim.says("Disconnecting timedout replica (full sync)");
    victim.comes_to("replication", "connected_slaves", "0");
    // Who takes all of it may be slow.
    victim.c.run("CONFIG SET repl-timeout 60");
    let (other, ..) = online(&mut victim);
    drop((line, other));
    victim.is_well();
}

#[test]
fn commands_of_replicas() {
    let mut victim = Victim::start(&[]);
    for words in [
        &["GET", "old"][..],
        &["PING"],
        &["SLOWLOG", "GET"],
        &["NOSUCH"],
    ] {
        let (mut line, ..) = online(&mut victim);
        line.command(words);
        // A reply would be taken for a part of the stream.
        assert!(line.is_dropped());
        victim.says("disconnecting it");
        victim.comes_to("replication", "connected_slaves", "0");
    }
    for garbage in ["*-5\r\n$1\r\n", "*1\r\n$99999999999\r\n", "*x\r\n"] {
        let (mut line, ..) = online(&mut victim);
        line.say(garbage);
        line.hang_up();
        assert!(line.is_dropped());
        victim.comes_to("replication", "connected_slaves", "0");
    }
    victim.has_old();
    victim.is_well();
}

#[test]
fn who_asks_twice() {
    let mut victim = Victim::start(&[]);
    let (mut line, id, offset) = online(&mut victim);
    for words in [
        &["PSYNC", &id, "1"][..],
        &["SYNC"],
        &["PSYNC", "?", "-1"],
        &["MULTI"],
    ] {
        line.command(words);
    }
    line.command(&["REPLCONF", "ACK", &offset.to_string()]);
    victim.c.run("SET old data");
    victim.is_well();
    drop(line);
    victim.comes_to("replication", "connected_slaves", "0");
    // In a transaction it is refused.
    let mut line = Line::connect(victim.server.port);
    assert_eq!(line.ask(&["MULTI"]), "OK");
    line.command(&["PSYNC", "?", "-1"]);
    assert!(line.reply().unwrap().is_error());
    victim.has_old();
}
