//! Limits of clients, each as it stands in two servers of one process: what one of them keeps to, the other does not.

use super::field;
use super::parameters::Bench;
use redkeep::embed::Client;
use redkeep::resp::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A server with these, and one with nothing but what every server has.
fn pair(config: &[(&str, &str)]) -> [Bench; 2] {
    [Bench::with(config), Bench::new()]
}

fn number(client: &mut Client, section: &str, name: &str) -> usize {
    field(client, section, name).parse().unwrap()
}

/// Waits until a field of INFO says so.
#[track_caller]
fn comes(bench: &mut Bench, section: &str, name: &str, wanted: usize) {
    let mut is = 0;
    let came = bench.waits_until(|b| {
        is = number(&mut b.client, section, name);
        is == wanted
    });
    assert!(came, "{name} is {is}, and not {wanted}");
}

/// A client that was answered once.
fn inside(bench: &Bench) -> TcpStream {
    let mut stream = bench.connect();
    stream.write_all(b"PING\r\n").unwrap();
    stream.read_exact(&mut [0; 7]).unwrap();
    stream
}

/// What a request says that has this many bytes of an argument.
fn echo(bench: &Bench, bytes: usize) -> String {
    let mut request = format!("*2\r\n$4\r\nECHO\r\n${bytes}\r\n").into_bytes();
    request.resize(request.len() + bytes, b'x');
    request.extend(b"\r\n");
    bench.answer(&request)
}

const DISCONNECTED: &str = "client_output_buffer_limit_disconnections";

#[test]
fn each_class_has_its_output_limits_in_each_server() {
    const PIECE: usize = 512 << 10;
    const PIECES: usize = 40;
    let greetings = [
        ("normal", "PING\r\n"),
        ("pubsub", "SUBSCRIBE a\r\n"),
        ("replica", "SYNC\r\n"),
    ];
    for (class, greeting) in greetings {
        for limits in ["1mb 0 0", "0 1mb 1"] {
            let what = format!("{class} {limits}");
            let mut both = pair(&[("client-output-buffer-limit", what.as_str())]);
            let deaf = both.each_mut().map(|b| {
                // A replica may have as much waiting as this, whatever its limit.
                b.all(&["CONFIG SET repl-backlog-size 16kb"]);
                b.client
                    .call([&b"SET"[..], b"k", &vec![b'x'; PIECE]])
                    .unwrap();
                let mut deaf = b.connect();
                deaf.write_all(greeting.as_bytes()).unwrap();
                deaf.read_exact(&mut [0; 5]).unwrap();
                if class == "normal" {
                    deaf.write_all(&b"GET k\r\n".repeat(PIECES)).unwrap();
                }
                deaf
            });
            let clients = both[1].say("CLIENT LIST").lines().count();
            for b in both.iter_mut().filter(|_| class != "normal") {
                if class == "replica" {
                    comes(b, "replication", "connected_slaves", 1);
                    assert!(
                        b.waits_until(|b| { b.say("INFO replication").contains("state=online") })
                    );
                }
                for _ in 0..PIECES {
                    let value = vec![b'y'; PIECE];
                    let words: [&[u8]; 3] = match class {
                        "pubsub" => [b"PUBLISH", b"a", &value],
                        _ => [b"SET", b"k", &value],
                    };
                    b.client.call(words).unwrap();
                }
            }
            let [strict, lenient] = &mut both;
            comes(strict, "stats", DISCONNECTED, 1);
            assert_eq!(
                number(&mut lenient.client, "stats", DISCONNECTED),
                0,
                "{what}"
            );
            assert_eq!(
                lenient.say("CLIENT LIST").lines().count(),
                clients,
                "{what}"
            );
            drop(deaf);
        }
    }
}

#[test]
fn an_output_limit_that_is_lowered_holds_for_those_who_are_there() {
    let [mut one, mut other] = pair(&[]);
    for b in [&mut one, &mut other] {
        b.client
            .call([&b"SET"[..], b"k", &vec![b'x'; 1 << 20]])
            .unwrap();
    }
    let deaf = [&one, &other].map(|b| {
        let mut deaf = inside(b);
        deaf.write_all(&b"GET k\r\n".repeat(30)).unwrap();
        deaf
    });
    let waits = |b: &mut Bench| {
        b.waits_until(|b| {
            b.say("CLIENT LIST").contains(" omem=") && {
                let list = b.say("CLIENT LIST");
                list.lines().any(|line| {
                    line.split("omem=").nth(1).is_some_and(|rest| {
                        let digits = rest.split(' ').next().unwrap_or_default();
                        digits.parse::<usize>().is_ok_and(|bytes| bytes > 1 << 20)
                    })
                })
            }
        })
    };
    assert!(waits(&mut one) && waits(&mut other));
    // With more to come it is looked at: of a client that waits in silence, time and its soft limit are.
    let limit = "normal 1mb 0 0";
    let args = ["CONFIG", "SET", "client-output-buffer-limit", limit];
    assert_eq!(one.client.call(args).unwrap().to_string(), "OK");
    for mut deaf in deaf {
        let _ = deaf.write_all(b"GET k\r\n");
        let mut sink = vec![0; 1 << 20];
        // Each takes what the system holds, so that its server goes on.
        deaf.set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        while deaf.read(&mut sink).is_ok_and(|n| n > 0) {}
    }
    comes(&mut one, "stats", DISCONNECTED, 1);
    assert_eq!(number(&mut other.client, "stats", DISCONNECTED), 0);
}

#[test]
fn requests_are_held_to_the_limits_of_their_own_server() {
    const CUT_OFF: &str = "client_query_buffer_limit_disconnections";
    let [mut one, mut other] = pair(&[("client-query-buffer-limit", "1mb")]);
    assert_eq!(echo(&one, 900_000), "$900000\r\n");
    assert_eq!(echo(&one, 1_900_000), "");
    comes(&mut one, "stats", CUT_OFF, 1);
    assert_eq!(echo(&other, 1_900_000), "$1900000\r\n");
    assert_eq!(number(&mut other.client, "stats", CUT_OFF), 0);

    let [one, other] = pair(&[("proto-max-bulk-len", "1mb")]);
    assert_eq!(echo(&one, 1 << 20), "$1048576\r\n");
    let invalid = "-ERR Protocol error: invalid bulk length\r\n";
    assert_eq!(one.answer(b"*2\r\n$4\r\nECHO\r\n$1048577\r\n"), invalid);
    assert_eq!(echo(&other, 1_900_000), "$1900000\r\n");
    assert_eq!(other.answer(b"*1\r\n$536870913\r\n"), invalid);
    // Neither may what is stored grow beyond it, whoever asks.
    let [mut one, mut other] = [one, other];
    let said = one.say("SETRANGE k 1048576 x");
    assert_eq!(
        said,
        "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
    );
    assert_eq!(other.say("SETRANGE k 1048576 x"), "1048577");
}

#[test]
fn each_server_is_full_for_itself() {
    const FULL: &str = "-ERR max number of clients reached\r\n";
    // The client inside of the process is one of them.
    let mut both = [("3", 2), ("6", 5)].map(|(most, room)| {
        let bench = Bench::with(&[("maxclients", most)]);
        let kept: Vec<_> = (0..room).map(|_| inside(&bench)).collect();
        (bench, kept)
    });
    for (bench, kept) in &mut both {
        assert_eq!(bench.answer(b"PING\r\n"), FULL);
        // More may come at once when more may be there.
        let most = kept.len() + 2;
        bench.all(&[&format!("CONFIG SET maxclients {most}")]);
        kept.push(inside(bench));
        assert_eq!(bench.answer(b"PING\r\n"), FULL);
        assert_eq!(number(&mut bench.client, "clients", "maxclients"), most);
        assert_eq!(
            number(&mut bench.client, "stats", "rejected_connections"),
            2
        );
        // When fewer may be, those who are there stay.
        bench.all(&["CONFIG SET maxclients 2"]);
        for stream in kept.iter_mut() {
            stream.write_all(b"PING\r\n").unwrap();
            stream.read_exact(&mut [0; 7]).unwrap();
        }
        assert_eq!(bench.answer(b"PING\r\n"), FULL);
        // And nobody comes in until enough of them have gone.
        let stay = kept.pop().unwrap();
        kept.clear();
        comes(bench, "clients", "connected_clients", 2);
        assert_eq!(bench.answer(b"PING\r\n"), FULL);
        drop(stay);
        comes(bench, "clients", "connected_clients", 1);
        assert_eq!(bench.answer(b"PING\r\n"), "+PONG\r\n");
    }
}

#[test]
fn who_is_idle_goes_where_that_is_said_and_who_waits_stays() {
    let mut both = pair(&[]);
    let [mut here, there] = both.each_ref().map(|b| {
        let waiting = [
            "SUBSCRIBE a\r\n",
            "MONITOR\r\n",
            "BLPOP k 0\r\n",
            "WAIT 1 0\r\n",
        ]
        .map(|line| {
            let mut stream = b.connect();
            stream.write_all(line.as_bytes()).unwrap();
            stream
        });
        (inside(b), waiting)
    });
    let [one, other] = &mut both;
    comes(one, "clients", "blocked_clients", 2);
    comes(one, "clients", "connected_clients", 6);
    // Those who are there already are meant, too.
    one.all(&["CONFIG SET timeout 1"]);
    assert_eq!(here.0.read(&mut [0; 8]).unwrap(), 0);
    comes(one, "clients", "connected_clients", 5);
    // They are looked for once a second.
    let end = Instant::now() + Duration::from_millis(2500);
    while Instant::now() < end {
        assert_eq!(number(&mut one.client, "clients", "connected_clients"), 5);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(number(&mut other.client, "clients", "connected_clients"), 6);
    drop((here, there));
}

#[test]
fn what_clients_track_is_bounded_in_each_server() {
    let mut both = pair(&[("tracking-table-max-keys", "3")]);
    let seen = both.each_mut().map(|b| {
        let mut client = b.connect();
        client
            .write_all(b"HELLO 3\r\nCLIENT TRACKING ON\r\n")
            .unwrap();
        for n in 0..10 {
            client
                .write_all(format!("GET k{n}\r\n").as_bytes())
                .unwrap();
        }
        client.write_all(b"ECHO end\r\n").unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"end\r\n") {
            let mut chunk = [0; 4096];
            let n = client.read(&mut chunk).unwrap();
            assert!(n > 0);
            heard.extend(&chunk[..n]);
        }
        let heard = String::from_utf8_lossy(&heard);
        let told = heard.matches("invalidate").count();
        (told, number(&mut b.client, "stats", "tracking_total_keys"))
    });
    assert_eq!(seen, [(7, 3), (0, 10)]);
}

/// Queues so many mebibytes, in small pieces, in a transaction that does not end.
fn heavy(bench: &Bench, name: &str, mebibytes: usize) -> TcpStream {
    let mut stream = bench.connect();
    let mut ask = |request: &[u8], reply: &[u8]| {
        let mut said = vec![0; reply.len()];
        // Whoever is too heavy is cut off.
        let sent = stream.write_all(request);
        let heard = sent.and_then(|()| stream.read_exact(&mut said));
        assert!(heard.is_err() || said == reply, "{}", said.escape_ascii());
    };
    let greeting = format!("CLIENT SETNAME {name}\r\nMULTI\r\n");
    ask(greeting.as_bytes(), b"+OK\r\n+OK\r\n");
    for _ in 0..mebibytes * 64 {
        let echo = format!("*2\r\n$4\r\nECHO\r\n$16384\r\n{}\r\n", "x".repeat(16 << 10));
        ask(echo.as_bytes(), b"+QUEUED\r\n");
    }
    stream
}

#[test]
fn the_heaviest_clients_go_when_all_together_weigh_too_much() {
    let mut both = [
        Bench::with(&[("maxmemory-clients", "8mb")]),
        Bench::with(&[("maxmemory", "80mb"), ("maxmemory-clients", "10%")]),
        Bench::with(&[("maxmemory", "80mb")]),
    ];
    let clients = both.each_mut().map(|b| {
        let mut kept = vec![heavy(b, "light", 1), heavy(b, "heavy", 4)];
        // It is not meant, however much it has.
        let mut spared = inside(b);
        spared
            .write_all(b"CLIENT NO-EVICT on\r\nMULTI\r\n")
            .unwrap();
        spared.read_exact(&mut [0; 10]).unwrap();
        assert_eq!(number(&mut b.client, "stats", "evicted_clients"), 0);
        kept.push(spared);
        kept.push(heavy(b, "last", 3));
        kept
    });
    let [bytes, share, unbounded] = &mut both;
    for b in [bytes, share] {
        comes(b, "stats", "evicted_clients", 1);
        let list = b.say("CLIENT LIST");
        assert!(!list.contains("name=heavy"), "{list}");
        assert!(
            list.contains("name=light") && list.contains("name=last"),
            "{list}"
        );
        // A limit that is lowered counts at once, and goes from the top.
        b.all(&["CONFIG SET maxmemory-clients 2mb"]);
        comes(b, "stats", "evicted_clients", 2);
        let list = b.say("CLIENT LIST");
        assert!(
            !list.contains("name=last") && list.contains("name=light"),
            "{list}"
        );
        // Others are still let in.
        assert_eq!(b.answer(b"PING\r\n"), "+PONG\r\n");
    }
    assert_eq!(number(&mut unbounded.client, "stats", "evicted_clients"), 0);
    for name in ["light", "heavy", "last"] {
        assert!(
            unbounded
                .say("CLIENT LIST")
                .contains(&format!("name={name}"))
        );
    }
    drop(clients);
}

#[test]
fn memory_of_the_one_is_no_reason_for_the_other() {
    let [mut one, mut other] = [
        Bench::with(&[("maxmemory", "2mb"), ("maxmemory-policy", "allkeys-lru")]),
        Bench::with(&[("maxmemory", "2mb"), ("maxmemory-policy", "noeviction")]),
    ];
    let value = "x".repeat(10_000);
    for n in 0..400 {
        let set = one.client.call(["SET", &n.to_string(), &value]).unwrap();
        assert_eq!(set.to_string(), "OK");
    }
    assert!(number(&mut one.client, "stats", "evicted_keys") > 150);
    assert!(number(&mut one.client, "memory", "used_memory") <= 2 << 20);
    let refused = |b: &mut Bench| {
        let said = |n: usize| b.client.call(["SET", &n.to_string(), &value]).unwrap();
        (0..400)
            .map(said)
            .filter(|said| matches!(said, Value::Error(_)))
            .count()
    };
    assert!(refused(&mut other) > 150);
    assert_eq!(number(&mut other.client, "stats", "evicted_keys"), 0);
    other.all(&["CONFIG SET maxmemory 20mb"]);
    assert_eq!(refused(&mut other), 0);
}
