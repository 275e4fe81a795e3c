//! Leaders whose stream goes wrong once the data set is there.

use super::*;

/// A replica that has all of the payload, and its line, on which it was told that it is at offset 100.
fn online(victim: &mut Victim, leader: &Listener) -> Line {
    let mut line = victim.follow(leader);
    line.greet();
    line.say(full_sync(100, PAYLOAD));
    victim.comes_to("replication", "master_link_status", "up");
    victim.has_new();
    line
}

/// Waits until the replica has acknowledged this offset.
fn acknowledges(line: &mut Line, offset: u64) {
    loop {
        let words = line.words().expect("the replica acknowledges");
        assert_eq!(words[..2], ["REPLCONF", "ACK"], "{words:?}");
        if words[2] == offset.to_string() {
            return;
        }
    }
}

/// The replica comes again and wants what is behind this offset; it gets nothing.
fn asks_for_more(leader: &Listener, offset: u64) -> Line {
    let mut line = leader.accept();
    assert_eq!(line.greet(), ["PSYNC", ID, &(offset + 1).to_string()]);
    line.say("+CONTINUE\r\n");
    line
}

#[test]
fn it_goes_on_where_the_line_was_cut() {
    let mut victim = Victim::start(&[]);
    let leader = Listener::open();
    let mut line = online(&mut victim, &leader);
    let write = [command("SELECT 0"), command("SET more data")].concat();
    line.say(&write);
    let offset = 100 + write.len() as u64;
    acknowledges(&mut line, offset);
    // A unit that is cut anywhere was not done.
    let next = command("APPEND more x");
    for cut in [1, next.len() / 2, next.len() - 1] {
        line.say(&next[..cut]);
        line.hang_up();
        assert!(line.is_dropped());
        assert_eq!(victim.c.run("GET more").text(), "data");
        line = asks_for_more(&leader, offset);
    }
    line.say(&next);
    line.say(command("REPLCONF GETACK *"));
    let offset = offset + next.len() as u64 + command("REPLCONF GETACK *").len() as u64;
    acknowledges(&mut line, offset);
    assert_eq!(victim.c.run("GET more").text(), "datax");
    line.say(command("PING"));
    acknowledges(&mut line, offset + command("PING").len() as u64);
    victim.is_well();
}

#[test]
fn garbage_in_the_stream() {
    let mut victim = Victim::start(&[]);
    let leader = Listener::open();
    for garbage in [
        &b"*3\r\n$3\r\nSET\r\n$-5\r\n"[..],
        b"*1\r\n+OK\r\n",
        b"*99999999999999999999\r\n",
        b"*2147483648\r\n",
        b"*-7\r\n*1\r\n:1\r\n",
        b"*2\r\n$3\r\nGET\r\n$9223372036854775807\r\n",
        b"*x\r\n",
    ] {
        let mut line = online(&mut victim, &leader);
        let ping = command("PING");
        line.say(&ping);
        line.say(garbage);
        assert!(line.is_dropped(), "{}", garbage.escape_ascii());
        victim.has_new();
        // Nobody knows what else it got wrong: it wants everything.
        line = leader.accept();
        let asked = line.greet();
        assert_eq!(asked, ["PSYNC", "?", "-1"], "{}", garbage.escape_ascii());
        victim.looks_on();
    }
    let resident = victim.server.resident();
    assert!(
        resident.is_none_or(|bytes| bytes < 500 << 20),
        "{resident:?}"
    );
    victim.is_well();
}

#[test]
fn who_goes_on_like_that_is_asked_less_and_less_often() {
    let mut victim = Victim::start(&[]);
    let leader = Listener::open();
    let mut line = victim.follow(&leader);
    let mut gaps = Vec::new();
    for _ in 0..4 {
        line.greet();
        line.say(full_sync(100, PAYLOAD));
        line.say("*x\r\n");
        assert!(line.is_dropped());
        let dropped = Instant::now();
        victim.says("stream makes no sense");
        line = leader.accept();
        gaps.push(dropped.elapsed());
        victim.has_new();
    }
    assert!(gaps[0] * 3 < gaps[3], "{gaps:?}");
    victim.is_well();
}

#[test]
fn commands_that_are_none() {
    let mut victim = Victim::start(&[]);
    let leader = Listener::open();
    let mut line = online(&mut victim, &leader);
    let mut offset = 100;
    // Commands that fail here have not failed on the leader: the log says so, and the stream goes on.
    for wrong in [
        "NOSUCH command",
        "LPUSH new x",
        "SET new",
        "SELECT 99999",
        "EXEC",
        "SUBSCRIBE news",
        "SHUTDOWN NOW",
        "REPLICAOF 127.0.0.1 1",
        "REPLCONF what",
        "PSYNC ? -1",
        "BLPOP nothing 0",
        "CLIENT KILL TYPE normal",
        "AUTH x",
        "DEBUG JMAP",
    ] {
        let bytes = command(wrong);
        line.say(&bytes);
        offset += bytes.len() as u64;
        line.say(command("PING"));
        offset += command("PING").len() as u64;
    }
    // The link is dropped, or it has come to the end of them.
    let mut ended = false;
    while let Some(words) = line.words() {
        if words[0] == "REPLCONF" && words[2] == offset.to_string() {
            ended = true;
            break;
        }
    }
    victim.c = victim.server.client();
    victim.has_new();
    if ended {
        assert_eq!(victim.info("replication", "master_link_status"), "up");
    }
    victim.says("NOSUCH");
    victim.is_well();
}

#[test]
fn a_transaction_without_end() {
    let mut victim = Victim::start(&[]);
    let leader = Listener::open();
    let mut line = online(&mut victim, &leader);
    let ping = command("PING");
    line.say(&ping);
    let begun = [
        command("SELECT 0"),
        command("MULTI"),
        command("SET new other"),
        command("DEL list"),
    ];
    line.say(begun.concat());
    line.say(&ping);
    acknowledges(&mut line, 100 + (ping.len() + begun[0].len()) as u64);
    victim.has_new();
    line.hang_up();
    assert!(line.is_dropped());
    victim.has_new();
    // What was not ended is asked for again.
    let mut line = asks_for_more(&leader, 100 + (ping.len() + begun[0].len()) as u64);
    line.say(begun[1..].concat());
    line.say(command("EXEC"));
    let until = Instant::now() + SOON;
    while victim.c.run("GET new").text() != "other" {
        assert!(Instant::now() < until, "{}", victim.server.log());
    }
    assert_eq!(victim.c.run("EXISTS list").int(), Some(0));
    victim.is_well();
}

#[test]
fn a_promoted_replica_has_none_of_what_was_not_ended() {
    let mut victim = Victim::start(&[]);
    let leader = Listener::open();
    let mut line = online(&mut victim, &leader);
    line.say(command("MULTI"));
    line.say(command("SET new other"));
    line.say(command("SET newer x"));
    assert!(line.lasts(Duration::from_millis(50)));
    assert_eq!(victim.c.run("REPLICAOF NO ONE").text(), "OK");
    assert!(line.is_dropped());
    victim.has_new();
    assert_eq!(victim.info("replication", "role"), "master");
    assert_eq!(victim.info("replication", "master_replid2"), ID);
    assert_eq!(victim.info("replication", "second_repl_offset"), "101");
    victim.is_well();
}

#[test]
fn an_offset_at_the_end_of_all_numbers() {
    let mut victim = Victim::start(&[]);
    let leader = Listener::open();
    let mut line = victim.follow(&leader);
    line.greet();
    line.say(full_sync(i64::MAX as u64 - 10, PAYLOAD));
    for _ in 0..10 {
        line.say(command("PING"));
    }
    line.hang_up();
    assert!(line.is_dropped());
    victim.c.run("INFO replication");
    victim.c.run("ROLE");
    victim.is_well();
}

#[test]
fn a_history_that_is_another_one_all_at_once() {
    let mut victim = Victim::start(&[]);
    let leader = Listener::open();
    let mut line = online(&mut victim, &leader);
    line.hang_up();
    assert!(line.is_dropped());
    // It goes on under another name, which is how promotions are told.
    let mut line = leader.accept();
    assert_eq!(line.greet()[1..], [ID, "101"]);
    let other = ID.replace('1', "2");
    line.say(format!("+CONTINUE {other}\r\n"));
    victim.comes_to("replication", "master_replid", &other);
    assert_eq!(victim.info("replication", "master_replid2"), ID);
    line.hang_up();
    assert!(line.is_dropped());
    // And then it says it is everything, and does not send it.
    let mut line = leader.accept();
    assert_eq!(line.greet()[1..], [&other, "101"]);
    line.say(format!("+FULLRESYNC {ID} 5\r\n$EOF:{MARK}\r\nREDIS"));
    line.hang_up();
    assert!(line.is_dropped());
    victim.has_new();
    // What it has is still of the history that it was of.
    let mut line = leader.accept();
    assert_eq!(line.greet()[1..], [&other, "101"]);
    line.say("+CONTINUE\r\n");
    victim.comes_to("replication", "master_link_status", "up");
    victim.is_well();
}

#[test]
fn silence_is_no_link() {
    let mut victim = Victim::start(&["--repl-timeout", "1"]);
    let leader = Listener::open();
    let mut line = online(&mut victim, &leader);
    assert!(line.is_dropped());
    victim.says("imeout");
    victim.has_new();
    let mut line = asks_for_more(&leader, 100);
    victim.comes_to("replication", "master_link_status", "up");
    line.say(command("PING"));
    victim.is_well();
}
