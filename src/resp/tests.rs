//! Decoding and encoding, by example and by property.

use proptest::prelude::*;

use super::*;

type Requests = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

/// Feeds `pieces` as a connection does and collects all requests, with the first error.
fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: &Limits) -> Requests {
    let (mut decoder, mut batch, mut buf) = (Decoder::new(), Batch::new(), Vec::new());
    let mut requests = Vec::new();
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            decoder.decode(&buf, limits, &mut batch);
            for i in 0..batch.len() {
                requests.push(batch.args(i, &buf).map(<[u8]>::to_vec).collect());
            }
            buf.drain(..batch.consumed());
            if let Some(error) = batch.error() {
                return (requests, Some(error));
            }
            if batch.is_empty() {
                break;
            }
        }
    }
    (requests, None)
}

fn decode(input: &[u8]) -> Requests {
    let whole = feed([input], &Limits::default());
    assert_eq!(
        whole,
        feed(input.chunks(1), &Limits::default()),
        "byte by byte: {}",
        input.escape_ascii()
    );
    whole
}

fn error(input: &[u8]) -> Option<ProtocolError> {
    decode(input).1
}

fn request(words: &[&str]) -> Vec<u8> {
    let mut out = ReplyBuf::new(Proto::Resp2);
    out.array(words.len());
    words.iter().for_each(|w| out.bulk(w.as_bytes()));
    out.take()
}

#[test]
fn requests_of_both_kinds_follow_each_other() {
    let (requests, error) = decode(
        b"\r\n PING \n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n*0\r\n*-10\r\nset a \"b c\"\r\n*1\r\n$4\r\nPI",
    );
    assert_eq!(error, None);
    let expected: [&[&[u8]]; 3] = [&[b"PING"], &[b"ECHO", b""], &[b"set", b"a", b"b c"]];
    assert_eq!(
        requests,
        expected.map(|r| r.iter().map(|w| w.to_vec()).collect::<Vec<_>>())
    );
}

#[test]
fn headers_are_as_lenient_as_redis() {
    // Only the CR counts, and the bytes behind an argument are not looked at.
    assert_eq!(decode(b"*1\rX$4\rXPINGXX").0, [[b"PING"]]);
    // Redis never finds a line end behind a NUL byte.
    assert_eq!(decode(b"*1\r\n\0foo\r\nPING\r\n"), (vec![], None));
    assert_eq!(decode(b"\0\r\nPING\r\n"), (vec![], None));
}

#[test]
fn headers_of_any_width_arrive_in_any_pieces() {
    for len in [
        0usize, 9, 10, 99, 100, 999, 1000, 9999, 10_000, 99_999, 100_000, 999_999, 1_000_000,
    ] {
        let argument = vec![b'x'; len];
        let sent = [
            &b"*1\r\n$"[..],
            len.to_string().as_bytes(),
            b"\r\n",
            &argument,
            b"\r\n*0\r\nPING\r\n",
        ]
        .concat();
        let wanted = (vec![vec![argument], vec![b"PING".to_vec()]], None);
        for cut in (0..20)
            .chain(sent.len() - 20..sent.len())
            .filter(|&cut| cut < sent.len())
        {
            let (a, b) = sent.split_at(cut);
            assert!(
                feed([a, b], &Limits::default()) == wanted,
                "{len} cut at {cut}"
            );
        }
    }
    for count in [1usize, 9, 10, 99, 100, 999, 1000, 9999, 10_000] {
        let sent = [
            format!("*{count}\r\n").as_bytes(),
            &b"$1\r\nx\r\n".repeat(count),
        ]
        .concat();
        let wanted = (vec![vec![b"x".to_vec(); count]], None);
        for cut in 0..10 {
            let (a, b) = sent.split_at(cut);
            assert!(
                feed([a, b], &Limits::default()) == wanted,
                "{count} cut at {cut}"
            );
        }
    }
}

#[test]
fn arguments_are_put_where_those_of_the_request_before_were() {
    let (mut decoder, mut batch) = (Decoder::new(), Batch::new());
    let input = [
        request(&["GET", "a"]),
        request(&["x"; 40]),
        b"SET b c\r\n".to_vec(),
        request(&["y"; 17]),
    ]
    .concat();
    decoder.decode(&input, &Limits::default(), &mut batch);
    let mut room = Room::default();
    for i in 0..batch.len() {
        let wanted: Vec<&[u8]> = batch.args(i, &input).collect();
        assert_eq!(batch.args_in(i, &input, &mut room), wanted);
    }
    assert_eq!(batch.len(), 4);
    assert!(batch.args_in(4, &input, &mut room).is_empty());
}

#[test]
fn malformed_requests_are_refused_by_name() {
    use ProtocolError::*;
    for (input, expected) in [
        (&b"*\r\n"[..], MultibulkLength),
        (b"*+1\r\n", MultibulkLength),
        (b"*01\r\n", MultibulkLength),
        (b"*-0\r\n", MultibulkLength),
        (b"*2147483648\r\n", MultibulkLength),
        (b"*99999999999999999999\r\n", MultibulkLength),
        (b"*1\r\nfoo\r\n", ExpectedDollar(b'f')),
        (
            b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n",
            ExpectedDollar(b'f'),
        ),
        (b"*1\r\n$-10\r\n", BulkLength),
        (b"*1\r\n$04\r\n", BulkLength),
        (b"*1\r\n$2000000000\r\n", BulkLength),
        (b"*1\r\n$blabla\r\n", BulkLength),
        (b"set \"\"\"a\"\"\" b\r\n", UnbalancedQuotes),
    ] {
        assert_eq!(error(input), Some(expected), "{}", input.escape_ascii());
    }
    assert_eq!(error(b"*2147483647\r\n"), None);
    assert_eq!(
        ProtocolError::ExpectedDollar(0xff).wire_text(),
        b"ERR Protocol error: expected '$', got '\xff'"
    );
}

#[test]
fn lines_end_within_64_kib() {
    use ProtocolError::*;
    let long = |head: &str, n: usize| [head.as_bytes(), &vec![b'1'; n]].concat();
    for (head, expected) in [
        ("", InlineTooBig),
        ("*", MultibulkHeaderTooBig),
        ("\0", InlineTooBig),
    ] {
        assert_eq!(error(&long(head, 64 * 1024 - head.len())), None);
        assert_eq!(
            error(&long(head, 64 * 1024 - head.len() + 1)),
            Some(expected)
        );
    }
    assert_eq!(error(&long("*1\r\n$", 64 * 1024)), Some(BulkHeaderTooBig));
    assert_eq!(
        error(&[&vec![b'a'; 70_000][..], b"\r\n"].concat()),
        Some(InlineTooBig)
    );
}

#[test]
fn before_authentication_smaller_limits_hold_and_requests_come_singly() {
    use ProtocolError::*;
    let limits = Limits {
        unauthenticated: true,
        ..Limits::default()
    };
    let decode = |input: &[u8]| feed([input], &limits);
    assert_eq!(decode(b"*11\r\n").1, Some(UnauthenticatedMultibulk));
    assert_eq!(decode(b"*1\r\n$16385\r\n").1, Some(UnauthenticatedBulk));
    assert_eq!(decode(b"*10\r\n$16384\r\n").1, None);
    let (mut decoder, mut batch) = (Decoder::new(), Batch::new());
    let input = b"AUTH x\r\n*11\r\n";
    decoder.decode(input, &limits, &mut batch);
    assert_eq!((batch.len(), batch.error()), (1, None));
    decoder.decode(&input[batch.consumed()..], &Limits::default(), &mut batch);
    assert_eq!((batch.len(), batch.error()), (0, None));
}

#[test]
fn a_batch_holds_no_more_requests_than_allowed() {
    let input = b"PING\r\n".repeat(10);
    let limits = Limits {
        max_requests: 4,
        ..Limits::default()
    };
    let (mut decoder, mut batch) = (Decoder::new(), Batch::new());
    decoder.decode(&input, &limits, &mut batch);
    assert_eq!((batch.len(), batch.consumed()), (4, 24));
}

#[test]
fn claimed_lengths_reserve_nothing() {
    let (mut decoder, mut batch) = (Decoder::new(), Batch::new());
    decoder.decode(
        b"*2147483647\r\n$536870912\r\n",
        &Limits::default(),
        &mut batch,
    );
    assert_eq!(batch.error(), None);
    assert!(decoder.memory() + batch.memory() <= 2048);
    let left = b"$536870912\r\n".len();
    assert!(decoder.wanted(left) <= 536_870_914);
}

#[test]
fn a_large_request_in_small_pieces_takes_linear_time() {
    let input = request(&vec!["x"; 200_000]);
    let (requests, error) = feed(input.chunks(4096), &Limits::default());
    assert_eq!(
        (requests.len(), requests[0].len(), error),
        (1, 200_000, None)
    );
}

fn encoded(proto: Proto, write: impl FnOnce(&mut ReplyBuf)) -> String {
    let mut out = ReplyBuf::new(proto);
    write(&mut out);
    String::from_utf8(out.take()).unwrap()
}

#[test]
fn each_protocol_spells_values_its_own_way() {
    type Write = fn(&mut ReplyBuf);
    let cases: [(Write, &str, &str); 14] = [
        (|o| o.null(), "$-1\r\n", "_\r\n"),
        (|o| o.null_array(), "*-1\r\n", "_\r\n"),
        (|o| o.map(2), "*4\r\n", "%2\r\n"),
        (|o| o.set(12), "*12\r\n", "~12\r\n"),
        (|o| o.push(3), "*3\r\n", ">3\r\n"),
        (|o| o.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
        (|o| o.double(f64::INFINITY), "$3\r\ninf\r\n", ",inf\r\n"),
        (|o| o.bool(true), ":1\r\n", "#t\r\n"),
        (
            |o| o.verbatim("txt", b"a"),
            "$1\r\na\r\n",
            "=5\r\ntxt:a\r\n",
        ),
        (|o| o.big_number(b"123"), "$3\r\n123\r\n", "(123\r\n"),
        (|o| o.error("ERR a\r\nb"), "-ERR a  b\r\n", "-ERR a  b\r\n"),
        (
            |o| o.int(i64::MIN),
            ":-9223372036854775808\r\n",
            ":-9223372036854775808\r\n",
        ),
        (|o| o.bulk_int(-7), "$2\r\n-7\r\n", "$2\r\n-7\r\n"),
        (|o| o.array(1000), "*1000\r\n", "*1000\r\n"),
    ];
    for (write, resp2, resp3) in cases {
        assert_eq!(encoded(Proto::Resp2, write), resp2);
        assert_eq!(encoded(Proto::Resp3, write), resp3);
    }
}

#[test]
fn numbers_of_any_width_are_written_as_they_are() {
    let edges = (0..19).flat_map(|n| [10i64.pow(n) - 1, 10i64.pow(n), 10i64.pow(n) + 1]);
    for value in (0..2100).chain(edges).flat_map(|n| [n, -n]) {
        assert_eq!(
            encoded(Proto::Resp2, |o| o.int(value)),
            format!(":{value}\r\n")
        );
    }
    for n in [
        0usize, 9, 10, 99, 100, 999, 1000, 1009, 99_999, 999_999, 1_000_000,
    ] {
        let text = "x".repeat(n);
        assert_eq!(encoded(Proto::Resp2, |o| o.array(n)), format!("*{n}\r\n"));
        assert_eq!(
            encoded(Proto::Resp2, |o| o.bulk(text.as_bytes())),
            format!("${n}\r\n{text}\r\n")
        );
    }
}

#[test]
fn deferred_lengths_of_any_width_nest() {
    for n in [0usize, 9, 10, 1234] {
        let text = encoded(Proto::Resp3, |out| {
            let outer = out.deferred_array();
            let inner = out.deferred_map();
            (0..2 * n).for_each(|i| out.int(i as i64));
            inner.finish(out, n);
            out.ok();
            outer.finish(out, 2);
        });
        let (value, used) = parse_reply(text.as_bytes()).unwrap().unwrap();
        assert_eq!(used, text.len());
        let Value::Array(items) = value else {
            panic!("{text}")
        };
        assert!(matches!(&items[0], Value::Map(pairs) if pairs.len() == n));
        assert_eq!(items[1], Value::Simple(b"OK".to_vec()));
    }
}

#[test]
fn a_rollback_forgets_what_followed_its_mark() {
    let mut out = ReplyBuf::new(Proto::Resp2);
    out.ok();
    let mark = out.mark();
    out.array(3);
    assert_eq!(out.since(mark), b"*3\r\n");
    out.rollback(mark);
    assert_eq!(out.as_slice(), b"+OK\r\n");
}

#[test]
fn hostile_replies_are_refused() {
    assert_eq!(
        parse_reply(&b"*1\r\n".repeat(100_000)),
        Err(ParseError::Depth)
    );
    assert_eq!(parse_reply(b"*4294967295\r\n"), Ok(None));
    assert_eq!(parse_reply(b"$-2\r\n"), Err(ParseError::Length));
    assert_eq!(parse_reply(b"$1\r\nabc"), Err(ParseError::Unterminated));
    assert_eq!(parse_reply(b"?"), Err(ParseError::Type(b'?')));
    assert_eq!(parse_reply(b"#x\r\n"), Err(ParseError::Scalar));
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..max)
}

fn any_value() -> impl Strategy<Value = Value> {
    let text = || "[ -~]{0,12}".prop_map(String::into_bytes);
    let leaf = prop_oneof![
        Just(Value::Null),
        text().prop_map(Value::Simple),
        text().prop_map(Value::Error),
        any::<i64>().prop_map(Value::Int),
        bytes(40).prop_map(Value::Bulk),
        (-1e9..1e9f64).prop_map(Value::Double),
        any::<bool>().prop_map(Value::Bool),
        "-?[1-9][0-9]{0,40}".prop_map(|d| Value::BigNumber(d.into_bytes())),
        ("[a-z]{3}", bytes(40)).prop_map(|(f, b)| Value::Verbatim(f.into_bytes(), b)),
    ];
    leaf.prop_recursive(4, 64, 12, |inner| {
        let items = prop::collection::vec(inner.clone(), 0..12);
        let pairs = prop::collection::vec((inner.clone(), inner.clone()), 0..12);
        prop_oneof![
            items.clone().prop_map(Value::Array),
            items.clone().prop_map(Value::Set),
            items.prop_map(Value::Push),
            pairs.clone().prop_map(Value::Map),
            (pairs, inner).prop_map(|(p, v)| Value::Attribute(p, Box::new(v))),
        ]
    })
}

/// Requests as clients send them, as raw bytes.
fn any_pipeline() -> impl Strategy<Value = Vec<u8>> {
    let multibulk = prop::collection::vec(bytes(150), 0..20).prop_map(|args| {
        let mut out = ReplyBuf::new(Proto::Resp2);
        out.array(args.len());
        args.iter().for_each(|a| out.bulk(a));
        out.take()
    });
    let inline = "[ a-z\"'\\\\x0-9]{0,30}\r?\n".prop_map(String::into_bytes);
    let piece = prop_oneof![4 => multibulk, 2 => inline, 1 => bytes(6)];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Splits `input` at the given places.
fn pieces<'a>(input: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (input.len() + 1)).collect();
    cuts.extend([0, input.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|w| &input[w[0]..w[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_fragmentation_gives_the_same_requests(
        input in any_pipeline(),
        cuts in prop::collection::vec(any::<usize>(), 0..10),
        most in 1usize..6,
    ) {
        let limits = Limits { max_requests: most, ..Limits::default() };
        let whole = feed([&input[..]], &Limits::default());
        prop_assert_eq!(&whole, &feed(pieces(&input, &cuts), &limits));
        prop_assert_eq!(&whole, &feed(input.chunks(1), &limits));
    }

    #[test]
    fn a_sent_request_arrives(args in prop::collection::vec(bytes(300), 1..30)) {
        let mut out = ReplyBuf::new(Proto::Resp2);
        out.array(args.len());
        args.iter().for_each(|a| out.bulk(a));
        prop_assert_eq!(feed([out.as_slice()], &Limits::default()), (vec![args], None));
    }

    #[test]
    fn a_written_value_is_parsed_back(value in any_value()) {
        let mut out = ReplyBuf::new(Proto::Resp3);
        value.write(&mut out);
        let wire = out.take();
        prop_assert_eq!(parse_reply(&wire), Ok(Some((value, wire.len()))));
        prop_assert_eq!(reply_len(&wire), Some(wire.len()));
        for cut in 0..wire.len() {
            prop_assert_eq!(parse_reply(&wire[..cut]), Ok(None));
            prop_assert_eq!(reply_len(&wire[..cut]), None);
        }
    }

    #[test]
    fn mutated_replies_never_panic(value in any_value(), at in any::<usize>(), byte in any::<u8>()) {
        let mut out = ReplyBuf::new(Proto::Resp3);
        value.write(&mut out);
        let mut wire = out.take();
        let at = at % wire.len();
        wire[at] = byte;
        if let Ok(Some((_, used))) = parse_reply(&wire) {
            prop_assert_eq!(reply_len(&wire), Some(used));
        }
    }
}
