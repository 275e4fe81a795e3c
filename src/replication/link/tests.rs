#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use super::*;
use proptest::prelude::*;

const ID: &str = "0123456789abcdef0123456789ABCDEF01234567";
const MARK: &[u8] = b"a1aa1aaa1aaaa1aaaaa1aaaaaa1aaaaaaa1aaaab";
const HELLO: &str = "+PONG\r\n+OK\r\n+OK\r\n+OK\r\n";

fn greeting() -> Greeting {
    Greeting {
        port: 6380,
        version: "7.2.6",
        ..Greeting::default()
    }
}

fn knowing() -> Greeting {
    Greeting {
        from: Some((ID.into(), 100)),
        ..greeting()
    }
}

/// What became of a link.
#[derive(Debug, Default, PartialEq)]
struct Story {
    events: Vec<Event<'static>>,
    payload: Vec<u8>,
    stream: Option<Vec<u8>>,
    refused: Option<Refused>,
    sent: Vec<u8>,
    waiting: &'static str,
}

/// Has a link hear the pieces.
fn hear<'a>(greeting: Greeting, pieces: impl IntoIterator<Item = &'a [u8]>) -> Story {
    let mut link = Link::new(greeting);
    let mut story = Story::default();
    for piece in pieces {
        link.receive(piece);
        loop {
            match link.next() {
                Ok(Event::Hungry) => break,
                Ok(Event::Payload(piece)) => {
                    assert!(!piece.is_empty() && !story.events.contains(&Event::PayloadEnd));
                    story.payload.extend(piece);
                }
                Ok(Event::Stream(bytes)) => {
                    assert!(story.stream.is_none() || !bytes.is_empty());
                    story.stream.get_or_insert_default().extend(bytes);
                }
                Ok(Event::FullSync(what)) => story.events.push(Event::FullSync(what)),
                Ok(Event::Continue(id)) => story.events.push(Event::Continue(id)),
                Ok(Event::PayloadEnd) => story.events.push(Event::PayloadEnd),
                Err(refused) => {
                    assert_eq!(link.next().unwrap_err(), refused);
                    story.refused = Some(refused);
                    break;
                }
            }
        }
        let kept = link.rest().len();
        assert!(match link.phase {
            Phase::Marked(_) => kept < MARK.len(),
            Phase::Counted(_) | Phase::Stream => kept == 0,
            _ => kept < LONGEST_LINE || story.refused.is_some(),
        });
        story.sent.append(link.output());
        if story.refused.is_some() {
            break;
        }
    }
    story.waiting = link.is_waiting_for();
    story
}

/// Has links hear the bytes at once, byte by byte, and in other ways; it makes no difference.
fn story(greeting: &Greeting, bytes: impl AsRef<[u8]>) -> Story {
    let bytes = bytes.as_ref();
    let whole = hear(greeting.clone(), [bytes]);
    for size in [1, 2, 3, 7, 39, 40, 41] {
        assert_eq!(hear(greeting.clone(), bytes.chunks(size)), whole, "{size}");
    }
    for at in 0..bytes.len() {
        let (a, b) = bytes.split_at(at);
        assert_eq!(hear(greeting.clone(), [a, b]), whole, "{at}");
    }
    whole
}

fn commands(all: &[&[&str]]) -> Vec<u8> {
    let mut out = Vec::new();
    for words in all {
        encode_command(&mut out, words);
    }
    out
}

fn why(greeting: &Greeting, bytes: impl AsRef<[u8]>) -> String {
    let story = story(greeting, bytes);
    let refused = story.refused.unwrap();
    assert!(!refused.transient, "{refused}");
    refused.why
}

#[test]
fn a_replica_introduces_itself_and_asks_for_everything() {
    let story = story(&greeting(), HELLO);
    let said = commands(&[
        &["PING"],
        &["REPLCONF", "listening-port", "6380"],
        &["REPLCONF", "capa", "eof", "capa", "psync2"],
        &["REPLCONF", "version", "7.2.6"],
        &["PSYNC", "?", "-1"],
    ]);
    assert_eq!(story.sent, said);
    assert_eq!(story.waiting, "the answer to PSYNC");
}

#[test]
fn a_replica_says_all_there_is_to_say() {
    let all = Greeting {
        user: "replica".into(),
        password: b"secret".into(),
        address: "10.0.0.7".into(),
        failover: true,
        rdb_only: true,
        ..knowing()
    };
    let story = story(&all, "-NOAUTH first\r\n".to_owned() + &"+OK\r\n".repeat(6));
    let said = commands(&[
        &["PING"],
        &["AUTH", "replica", "secret"],
        &["REPLCONF", "listening-port", "6380"],
        &["REPLCONF", "ip-address", "10.0.0.7"],
        &["REPLCONF", "capa", "eof", "capa", "psync2"],
        &["REPLCONF", "version", "7.2.6"],
        &["REPLCONF", "rdb-only", "1"],
        &["PSYNC", ID, "100", "FAILOVER"],
    ]);
    assert_eq!(story.sent, said);
}

#[test]
fn nothing_is_asked_for_before_all_was_answered() {
    let asked = commands(&[&["PSYNC", "?", "-1"]]);
    let story = hear(greeting(), [&HELLO.as_bytes()[..HELLO.len() - 1]]);
    assert!(!story.sent.ends_with(&asked));
    assert_eq!(story.waiting, "the answer to REPLCONF");
    assert_eq!(hear(greeting(), [&b""[..]]).waiting, "the answer to PING");
}

#[test]
fn a_password_without_a_user_is_the_default_users() {
    let greeting = Greeting {
        password: b"secret".into(),
        ..greeting()
    };
    let story = story(&greeting, "+PONG\r\n");
    let said = commands(&[&["PING"], &["AUTH", "secret"]]);
    assert!(story.sent.starts_with(&said));
    assert_eq!(story.waiting, "the answer to AUTH");
    let no = why(&greeting, "+PONG\r\n-WRONGPASS invalid\r\n");
    assert_eq!(no, "Unable to AUTH to MASTER: \"-WRONGPASS invalid\"");
}

#[test]
fn what_may_be_answered_to_ping() {
    for fine in [
        "+PONG",
        "+whatever",
        "-NOAUTH x",
        "-NOPERM x",
        "-ERR operation not permitted",
    ] {
        let story = story(&greeting(), fine.to_owned() + "\n");
        assert_eq!(story.refused, None);
        assert_eq!(story.waiting, "the answer to REPLCONF");
    }
    for wrong in ["-ERR other", "", "$4", "HTTP/1.1 400 Bad Request", ":1"] {
        let why = why(&greeting(), wrong.to_owned() + "\r\n");
        assert!(why.contains("the answer to PING") && why.contains(wrong));
    }
    let busy = story(&greeting(), "-LOADING the data\r\n").refused.unwrap();
    assert!(busy.transient);
}

#[test]
fn old_leaders_need_not_understand_what_is_said() {
    let old = "+PONG\r\n-ERR what\r\n-ERR what\r\n-ERR what\r\n-ERR unknown command 'PSYNC'\r\n";
    let whole = old.to_owned() + "\n\n$5\r\nREDIS*1\r\n";
    let story = story(&knowing(), whole);
    assert!(story.sent.ends_with(&commands(&[&["SYNC"]])));
    assert_eq!(story.events, [Event::FullSync(None), Event::PayloadEnd]);
    assert_eq!(story.payload, b"REDIS");
    assert_eq!(story.stream.unwrap(), b"*1\r\n");
    let story = hear(knowing(), [old.as_bytes()]);
    assert_eq!(story.waiting, "the answer to SYNC");
    assert_eq!(story.events, []);
    let no = why(
        &knowing(),
        old.to_owned() + "-ERR unknown command 'SYNC'\r\n",
    );
    assert!(no.starts_with("the leader says no, where the answer to SYNC"));
    // A line without sign is no error.
    let odd = "+PONG\r\n+OK\r\nOK\r\n";
    assert!(why(&knowing(), odd).contains("does not make sense"));
}

#[test]
fn whoever_is_to_lead_must_know_psync() {
    let greeting = Greeting {
        failover: true,
        ..knowing()
    };
    let no = why(&greeting, HELLO.to_owned() + "-ERR PSYNC FAILOVER what\r\n");
    assert!(no.contains("the answer to PSYNC"));
}

#[test]
fn the_stream_goes_on() {
    let story = story(&knowing(), HELLO.to_owned() + "\n\r\n\n+CONTINUE\r\n*1\r\n");
    assert_eq!(story.events, [Event::Continue(None)]);
    assert_eq!(story.stream.unwrap(), b"*1\r\n");
    assert_eq!(story.waiting, "the stream");
    // By another id, and with nothing behind it yet.
    let other = ID.replace('0', "f");
    let story = hear(
        knowing(),
        [format!("{HELLO}+CONTINUE {other}\r\n").as_bytes()],
    );
    assert_eq!(story.events, [Event::Continue(Some(other))]);
    assert_eq!(story.stream.unwrap(), b"");
}

#[test]
fn what_nobody_asked_for_is_refused() {
    let no = why(&greeting(), HELLO.to_owned() + "+CONTINUE\r\n");
    assert!(no.starts_with("the leader goes on where it was asked for everything"));
}

#[test]
fn a_leader_that_cannot_serve_now_is_asked_again() {
    for no in ["-NOMASTERLINK no leader\r\n", "-LOADING the data\r\n"] {
        let refused = story(&greeting(), HELLO.to_owned() + no).refused.unwrap();
        assert!(refused.transient && refused.why.contains(no.trim_end()));
    }
}

#[test]
fn wrong_answers_to_psync_are_refused() {
    let long = ID.to_owned() + "0";
    let odd = ID.replace('0', "g");
    let answers = [
        "+FULLRESYNC".into(),
        format!("+FULLRESYNC {ID}"),
        format!("+FULLRESYNC {ID} -1"),
        format!("+FULLRESYNC {ID} 007"),
        format!("+FULLRESYNC {ID} 9223372036854775808"),
        format!("+FULLRESYNC {ID} 99999999999999999999999999"),
        format!("+FULLRESYNC {ID} 1 2"),
        format!("+FULLRESYNC {long} 1"),
        format!("+FULLRESYNC {odd} 1"),
        "+FULLRESYNC ? 1".into(),
        "+CONTINUE 123".into(),
        format!("+CONTINUE {odd}"),
        format!("+CONTINUE {ID} 1"),
        "+CONTINUED".into(),
        "+OK".into(),
        "$5".into(),
        "\0\x01\x02".into(),
        "*1\r\n$4\r\nPING".into(),
    ];
    for answer in answers {
        let why = why(&knowing(), format!("{HELLO}{answer}\r\n"));
        let named = "the leader does not make sense, where the answer to PSYNC was expected: ";
        assert!(why.starts_with(named), "{why}");
    }
}

#[test]
fn the_greatest_offset_and_length_are_taken() {
    let most = i64::MAX;
    let told = format!("{HELLO}+FULLRESYNC {ID} {most}\r\n${most}\r\nREDIS");
    let story = story(&greeting(), told);
    let expected = Event::FullSync(Some((ID.into(), most as u64)));
    assert_eq!(story.events, [expected]);
    assert_eq!(story.payload, b"REDIS");
    assert_eq!(story.waiting, "more of the payload");
}

#[test]
fn wrong_beginnings_of_a_payload_are_refused() {
    let mark = String::from_utf8(MARK.into()).unwrap();
    let headers = [
        "$".into(),
        "$-1".into(),
        "$+1".into(),
        "$1 ".into(),
        "$9223372036854775808".into(),
        "$EOF:".into(),
        format!("$EOF:{mark}0"),
        format!("$EOF:{}", &mark[1..]),
        format!("$eof:{mark}"),
        "REDIS0010".into(),
        "+OK".into(),
        "-ERR the disk is full".into(),
    ];
    for header in headers {
        let all = format!("{HELLO}+FULLRESYNC {ID} 1\r\n\n{header}\r\nREDIS");
        let why = why(&greeting(), all);
        assert!(
            why.contains("where the beginning of the payload was expected: "),
            "{why}"
        );
    }
}

#[test]
fn endless_lines_are_refused_and_quoted_in_part() {
    let endless = vec![b'x'; LONGEST_LINE];
    let short = &endless[1..];
    assert_eq!(hear(greeting(), [short]).refused, None);
    for size in [LONGEST_LINE, 1000] {
        let story = hear(greeting(), endless.chunks(size));
        let why = story.refused.unwrap().why;
        assert!(why.starts_with("a line without end came") && why.len() < 256);
    }
    let odd = why(&greeting(), "\x1b[2J\n");
    assert!(odd.ends_with("\"\\x1b[2J\""));
}

fn full_sync(payload: &[u8], stream: &[u8]) -> Vec<u8> {
    let start = format!("{HELLO}\n+FULLRESYNC {ID} 77\r\n\n\n$EOF:");
    [start.as_bytes(), MARK, b"\r\n", payload, MARK, stream].concat()
}

fn assert_full_sync(story: &Story, payload: &[u8], stream: &[u8]) {
    let start = Event::FullSync(Some((ID.into(), 77)));
    assert_eq!(story.events, [start, Event::PayloadEnd]);
    assert_eq!(story.refused, None);
    assert!(story.payload == payload && story.stream.as_deref() == Some(stream));
}

#[test]
fn a_payload_with_a_mark_behind_it() {
    for payload in [&b""[..], b"REDIS0011\r\n\n", MARK.split_last().unwrap().1] {
        for stream in [&b""[..], b"*1\r\n$4\r\nPING\r\n", MARK] {
            let story = story(&greeting(), full_sync(payload, stream));
            assert_full_sync(&story, payload, stream);
        }
    }
}

#[test]
fn the_mark_is_not_part_of_the_payload_as_long_as_it_is_not_whole() {
    let whole = full_sync(b"REDIS", b"");
    let story = hear(greeting(), [&whole[..whole.len() - 1]]);
    assert_eq!(story.payload, b"REDIS");
    assert_eq!(story.stream, None);
}

#[test]
fn a_payload_of_a_length_that_was_told() {
    for (length, payload) in [(0, ""), (9, "REDIS0011"), (2, "\r\n")] {
        let all =
            format!("{HELLO}+FULLRESYNC {ID} 77\r\n${length}\r\n{payload}*1\r\n$4\r\nPING\r\n");
        let story = story(&greeting(), all);
        assert_full_sync(&story, payload.as_bytes(), b"*1\r\n$4\r\nPING\r\n");
    }
}

/// Bytes that look like the mark in places.
fn alike() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        (1..MARK.len()).prop_map(|n| MARK[..n].to_vec()),
        (1..MARK.len()).prop_map(|n| MARK[n..].to_vec()),
        (0..MARK.len()).prop_map(|n| {
            let mut mark = MARK.to_vec();
            mark[n] ^= 1;
            mark
        }),
        prop::collection::vec(any::<u8>(), 0..100),
        prop::collection::vec(prop::sample::select(&b"a1b"[..]), 0..100),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn the_end_is_found_where_it_is(
        payload in alike(),
        stream in alike(),
        cuts in prop::collection::vec(1usize..200, 1..20),
    ) {
        // Where the end is: at the first mark.
        let marked = [&payload, MARK].concat();
        let end = memchr::memmem::find(&marked, MARK).unwrap();
        let stream = [&marked[end + MARK.len()..], &stream].concat();
        let whole = full_sync(&payload[..end], &stream);
        let mut rest = &whole[..];
        let mut pieces = Vec::new();
        for size in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at(rest.len().min(*size));
            pieces.push(piece);
            rest = behind;
        }
        assert_full_sync(&hear(greeting(), pieces), &payload[..end], &stream);
        assert_full_sync(&hear(greeting(), whole.chunks(1)), &payload[..end], &stream);
    }

    #[test]
    fn nothing_that_is_said_is_too_much(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        hear(greeting(), bytes.chunks(7));
        let bytes = [HELLO.as_bytes(), &bytes].concat();
        hear(knowing(), bytes.chunks(7));
    }
}
