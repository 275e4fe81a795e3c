//! Full synchronisation: whatever is there goes over, from memory and from disk.

use super::common::contents::{same, told};
use super::common::proxy::Way;
use super::common::{Proxy, Reply};
use super::{Kind, Peer, QUIET, agree, fill, pair, until};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pairs! {
a_cut_within_the_payload_leaves_what_was_there a_slow_link_gets_all_that_is_written_meanwhile
everything_goes_over a_raw_client_gets_a_file several_join_one_snapshot what_was_there_is_replaced }

/// Both ways to send a data set with each way to load it.
fn everything_goes_over(leader: Kind, replica: Kind) {
    let mut leader = Peer::start(leader, &[]);
    let mut replica = Peer::start(replica, &[]);
    fill(&mut leader);
    // Of its own; nothing of it may be left.
    replica.does("SET other 1");
    let mut full = 0;
    for diskless in ["yes", "no"] {
        for load in ["disabled", "on-empty-db", "swapdb"] {
            leader.set("repl-diskless-sync", diskless);
            replica.set("repl-diskless-load", load);
            if load == "on-empty-db" {
                replica.does("FLUSHALL");
            }
            replica.follow(leader.port());
            full += 1;
            assert_eq!(leader.number("sync_full"), full);
            agree(&mut leader, &mut replica);
            let functions = [&mut leader, &mut replica].map(|p| p.run("FUNCTION DUMP"));
            assert!(!functions[0].bytes().is_empty());
            leader.does("SELECT 2");
            leader.does(&format!("SET after:{diskless}:{load} 1"));
            leader.does("SELECT 0");
            leader.does("LPUSH list x");
            agree(&mut leader, &mut replica);
            replica.does("REPLICAOF NO ONE");
        }
    }
    assert!(told(&mut replica.c).len() > 60);
    assert_eq!(replica.run("FCALL fa 1 counteda").int(), Some(2));
}

fn what_was_there_is_replaced(leader: Kind, replica: Kind) {
    let (mut leader, mut replica) = (Peer::start(leader, &[]), Peer::start(replica, &[]));
    fill(&mut replica);
    leader.does("SET only 1");
    replica.follow(leader.port());
    assert_eq!(replica.run("DBSIZE").int(), Some(1));
    agree(&mut leader, &mut replica);
    assert_eq!(replica.info("role"), "slave");
    // Nothing of what it was may come back.
    replica.does("REPLICAOF NO ONE");
    assert_eq!(told(&mut leader.c), told(&mut replica.c));
}

/// A leader with some megabytes, which do not compress, and what lies before it.
fn large(leader: Kind, options: &[&str]) -> (Peer, Proxy) {
    let mut leader = Peer::start(leader, options);
    let mut noise = 1_u64;
    for n in 0..300 {
        let value: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (noise >> 56) as u8
        })
        .take(10_000)
        .collect();
        let key = format!("k{n}");
        let reply = leader.c.call(&[b"SET", key.as_bytes(), &value]);
        assert_eq!(reply.unwrap(), Reply::ok());
    }
    let proxy = Proxy::to(leader.port());
    (leader, proxy)
}

fn a_cut_within_the_payload_leaves_what_was_there(leader: Kind, replica: Kind) {
    let (mut leader, proxy) = large(leader, &[]);
    let mut replica = Peer::start(replica, &[]);
    replica.does("SET own 1");
    for (round, after) in [150, 1_000, 2_000_000, 3_000_000].into_iter().enumerate() {
        proxy.refuse(false);
        proxy.cut_for_good_after(Way::Down, after);
        let begun = leader.number("sync_full");
        replica.does(&format!("REPLICAOF 127.0.0.1 {}", proxy.port()));
        until("it begins", || leader.number("sync_full") > begun);
        until("it is cut", || proxy.connections() == 0);
        leader.tells("connected_slaves", "0");
        assert_eq!(replica.info("master_link_status"), "down", "{round}");
        replica.does("REPLICAOF NO ONE");
        assert_eq!(replica.run("DBSIZE").int(), Some(1));
        assert_eq!(replica.run("GET own").text(), "1");
    }
    proxy.refuse(false);
    replica.follow(proxy.port());
    agree(&mut leader, &mut replica);
    assert_eq!(replica.run("EXISTS own").int(), Some(0));
}

fn a_slow_link_gets_all_that_is_written_meanwhile(leader: Kind, replica: Kind) {
    let (mut leader, proxy) = large(leader, &["--repl-backlog-size", "16kb"]);
    let mut replica = Peer::start(replica, &[]);
    proxy.limit(&[Way::Down], Some(3_000_000));
    replica.does(&format!("REPLICAOF 127.0.0.1 {}", proxy.port()));
    until("it has begun", || proxy.passed(Way::Down) > 100_000);
    let value = "v".repeat(1_000);
    let mut n = 0;
    while replica.info("master_link_status") != "up" {
        leader.call(&["SET", &format!("meanwhile{n}"), &value]);
        leader.does("INCR counter");
        n += 1;
    }
    assert!(n > 20, "{n}");
    agree(&mut leader, &mut replica);
    assert_eq!(leader.syncs(), (1, 0));
}

/// A connection as one sees it that does not know the protocol.
struct Raw(TcpStream);

impl Raw {
    fn connect(port: u16) -> Raw {
        let sock = TcpStream::connect(("127.0.0.1", port)).unwrap();
        sock.set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Raw(sock)
    }

    fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// A line, without the empty ones before it.
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            self.0.read_exact(&mut byte).unwrap();
            match byte[0] {
                b'\n' if line.is_empty() => {}
                b'\n' => return String::from_utf8(line).unwrap().trim_end().to_owned(),
                b => line.push(b),
            }
        }
    }

    /// Acknowledges, since the server sends nothing before that behind a file that ends with a mark. Whether something has
    /// come.
    fn acknowledges_and_hears(&mut self) -> bool {
        self.send("REPLCONF ACK 0\r\n");
        let patience =
            |sock: &TcpStream, ms| sock.set_read_timeout(Some(Duration::from_millis(ms)));
        patience(&self.0, 50).unwrap();
        let heard = self.0.peek(&mut [0; 1]).is_ok();
        patience(&self.0, 20_000).unwrap();
        heard
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn up_to(&mut self, mark: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        let mut piece = vec![0; 64 * 1024];
        while !all.ends_with(mark) {
            let n = self.0.read(&mut piece).unwrap();
            assert!(n > 0, "it ends within");
            all.extend(&piece[..n]);
        }
        all.truncate(all.len() - mark.len());
        all
    }
}

/// The data set that `leader` sends to somebody who says this.
fn file_of(leader: &mut Peer, says: &[&str]) -> (Vec<u8>, Raw) {
    let mut raw = Raw::connect(leader.port());
    let (asks, introduces) = says.split_last().unwrap();
    for line in introduces {
        raw.send(line);
        assert_eq!(raw.line(), "+OK");
    }
    raw.send(asks);
    loop {
        let line = raw.line();
        if let Some(mark) = line.strip_prefix("$EOF:") {
            assert_eq!(mark.len(), 40);
            return (raw.up_to(mark.as_bytes()), raw);
        } else if let Some(len) = line.strip_prefix('$') {
            return (raw.bytes(len.parse().unwrap()), raw);
        }
        assert!(line.starts_with(['+']), "{line}");
    }
}

/// SYNC of old, and PSYNC with and without capabilities: what comes is a file that the other server loads, and commands.
fn a_raw_client_gets_a_file(leader: Kind, loader: Kind) {
    let mut leader = Peer::start(leader, QUIET);
    let mut loader = Peer::start(loader, &[]);
    fill(&mut leader);
    for says in [
        &["SYNC\r\n"][..],
        &["PSYNC ? -1\r\n"],
        &["REPLCONF capa eof capa psync2\r\n", "PSYNC ? -1\r\n"],
    ] {
        let (file, mut raw) = file_of(&mut leader, says);
        assert!(file.starts_with(b"REDIS0010"), "{:?}", &file[..9]);
        leader.does("SET after sync");
        until("commands come", || raw.acknowledges_and_hears());
        assert_eq!(raw.line(), "*2");
        assert_eq!([raw.line(), raw.line(), raw.line()], ["$6", "SELECT", "$1"]);
        assert_eq!([raw.line(), raw.line()], ["0", "*3"]);
        assert_eq!([raw.line(), raw.line()], ["$3", "SET"]);
        leader.does("DEL after");
        loader.server.kill();
        std::fs::write(loader.server.dir.path().join("dump.rdb"), file).unwrap();
        assert!(loader.server.start_again(), "{}", loader.server.log());
        loader.c = loader.server.client();
        same(&told(&mut leader.c), &told(&mut loader.c));
        drop(raw);
        leader.tells("connected_slaves", "0");
    }
}

/// They wait for each other, and one cut in the data serves them all.
fn several_join_one_snapshot(leader: Kind, replica: Kind) {
    for diskless in ["yes", "no"] {
        let options = [
            "--repl-diskless-sync-delay",
            "100",
            "--repl-diskless-sync-max-replicas",
            "3",
            "--repl-diskless-sync",
            diskless,
        ];
        let mut leader = Peer::start(leader, &options);
        fill(&mut leader);
        let mut replicas = [replica, leader.kind, replica].map(|kind| Peer::start(kind, &[]));
        for (n, replica) in replicas.iter_mut().enumerate() {
            replica.does(&format!("REPLICAOF 127.0.0.1 {}", leader.port()));
            if diskless == "yes" {
                until("it waits for others", || {
                    leader.info("sync_full") == (n + 1).to_string()
                });
            }
        }
        for replica in &mut replicas {
            replica.is_up();
        }
        assert_eq!(leader.number("sync_full"), 3);
        leader.does("SET after 1");
        for replica in &mut replicas {
            agree(&mut leader, replica);
        }
    }
}

#[test]
fn fields_go_over_with_their_deadlines() {
    let (mut leader, mut replica) = pair(Kind::Redkeep, Kind::Redkeep, &[]);
    replica.does("REPLICAOF NO ONE");
    leader.does("HSET h a 1 b 2 c 3");
    leader.does("HPEXPIREAT h 9999999999999 FIELDS 1 a");
    leader.does("HSETEX h PXAT 8888888888888 FIELDS 1 d 4");
    for diskless in ["yes", "no"] {
        leader.set("repl-diskless-sync", diskless);
        replica.follow(leader.port());
        let deadlines = "HPEXPIRETIME h FIELDS 4 a b c d";
        assert_eq!(leader.run(deadlines), replica.run(deadlines));
        agree(&mut leader, &mut replica);
        leader.does("HPEXPIRE h 1 FIELDS 1 b");
        until("it goes", || leader.run("HEXISTS h b").int() == Some(0));
        leader.does("HSET h b 5");
        leader.does("HPERSIST h FIELDS 1 a");
        agree(&mut leader, &mut replica);
        assert_eq!(leader.run(deadlines), replica.run(deadlines));
        replica.does("REPLICAOF NO ONE");
    }
}

/// One of two that get the same snapshot takes nothing: the other one gets all of it.
#[test]
fn a_replica_that_takes_nothing_is_parted_with_and_keeps_nobody_from_the_rest() {
    let options = [
        "--repl-diskless-sync-delay",
        "100",
        "--repl-diskless-sync-max-replicas",
        "2",
        "--repl-timeout",
        "4",
        "--rdbcompression",
        "no",
    ];
    let mut leader = Peer::start(Kind::Redkeep, &options);
    leader.does("DEBUG POPULATE 4000 x 10000");
    let mut stuck = Raw::connect(leader.port());
    stuck.send("REPLCONF capa eof\r\nPSYNC ? -1\r\n");
    leader.tells("connected_slaves", "1");
    let says = ["REPLCONF capa eof\r\n", "PSYNC ? -1\r\n"];
    let (file, _raw) = file_of(&mut leader, &says);
    assert!(file.len() > 40_000_000, "{}", file.len());
    leader.logs("Disconnecting timedout replica (full sync)");
    leader.logs("Diskless rdb transfer, done reading from pipe, 1 replicas still up");
    leader.tells("connected_slaves", "1");
}
