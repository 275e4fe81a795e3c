//! What is no request: the same answer as from a real server, once, and the end.

use super::raw::{Raw, eventually, resident};
use super::witness::Witness;
use crate::common::client::encode;
use crate::common::{Reply, Server, notation};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Bytes that a client sends before it says that it has nothing more to say.
fn inputs() -> Vec<Vec<u8>> {
    let long = |n: usize, head: &str, tail: &str| [head, &"a".repeat(n), tail].concat();
    let mut all: Vec<Vec<u8>> = [
        // Lengths that are none, or too many.
        "*-1\r\nPING\r\n",
        "*0\r\nPING\r\n",
        "*-2147483648\r\nPING\r\n",
        "*2147483648\r\nPING\r\n",
        "*9223372036854775808\r\nPING\r\n",
        "*1048577\r\nPING\r\n",
        "*+1\r\n$4\r\nPING\r\n",
        "*01\r\n$4\r\nPING\r\n",
        "* 1\r\n$4\r\nPING\r\n",
        "*1 \r\n$4\r\nPING\r\n",
        "*1.0\r\n$4\r\nPING\r\n",
        "*0x1\r\n$4\r\nPING\r\n",
        "*\r\n$4\r\nPING\r\n",
        "*1\r\n$-1\r\nPING\r\n",
        "*1\r\n$+4\r\nPING\r\n",
        "*1\r\n$04\r\nPING\r\n",
        "*1\r\n$\r\nPING\r\n",
        "*1\r\n$4a\r\nPING\r\n",
        "*1\r\n$536870913\r\n",
        "*1\r\n$18446744073709551615\r\n",
        "*1\r\n$0\r\n\r\nPING\r\n",
        "*2\r\n$4\r\nECHO\r\n$0\r\n\r\nPING\r\n",
        // Lengths that lie.
        "*1\r\n$3\r\nPING\r\nPING\r\n",
        "*1\r\n$5\r\nPING\r\nPING\r\n",
        "*1\r\n$4\r\nPINGxxPING\r\n",
        "*2\r\n$4\r\nECHO\r\n$2\r\nabcPING\r\n",
        "*1\r\n$4\r\nPING\r\n*1\r\n$2\r\nPING\r\nPING\r\n",
        // Lines that end otherwise.
        "*1\n$4\nPING\n",
        "*1\r$4\rPING\r",
        "*1\rx$4\rxPING\r\n",
        "PING\nPING\r\nPING\n",
        "PING\r\rPING\r\n",
        "\r\n\r\nPING\r\n",
        "\n\n\nPING\r\n",
        " \t PING \t \r\n",
        "PING\0PING\r\nPING\r\n",
        "*1\r\n$6\r\nPI\0NG\r\r\nPING\r\n",
        // The wrong types.
        "*1\r\n+PING\r\nPING\r\n",
        "*1\r\n:4\r\nPING\r\n",
        "*1\r\n*1\r\n$4\r\nPING\r\n",
        "*2\r\n$4\r\nECHO\r\n%1\r\n$1\r\na\r\n$1\r\nb\r\n",
        "*1\r\n\r\nPING\r\n",
        "*1\r\n\u{e9}\r\n",
        "%1\r\n$1\r\na\r\n$1\r\nb\r\nPING\r\n",
        "~1\r\n$4\r\nPING\r\n",
        ">1\r\n$4\r\nPING\r\n",
        "|1\r\n+a\r\n+b\r\n*1\r\n$4\r\nPING\r\n",
        "_\r\n#t\r\n,1.5\r\n(123\r\n=7\r\ntxt:abc\r\n!3\r\nERR\r\nPING\r\n",
        "$4\r\nPING\r\n",
        "+PING\r\n-PING\r\n:1\r\n",
        "*?\r\n$4\r\nPING\r\n.\r\n",
        "*1\r\n$?\r\n;4\r\nPING\r\n;0\r\n",
        // Quotes.
        "\"PING\"\r\n'PING'\r\n",
        "\"PING\r\nPING\r\n",
        "'PING\r\nPING\r\n",
        "\"PING\"PING\r\nPING\r\n",
        "ECHO \"\\x41\\n\\q\\x4\"\r\nPING\r\n",
        "ECHO '\\'\\n'\r\nPING\r\n",
        "ECHO \"\"\r\nPING\r\n",
        "ECHO a\"b\"\r\nPING\r\n",
        "\"\"\r\nPING\r\n",
        // Commands that are none.
        "NOSUCH a b c\r\nPING\r\n",
        "*2\r\n$0\r\n\r\n$0\r\n\r\nPING\r\n",
        "*3\r\n$6\r\nNO\r\nSU\r\n$2\r\n\r\n\r\n$1\r\n'\r\nPING\r\n",
        "CLIENT\r\nCLIENT NOSUCH\r\nCLIENT NO\0SUCH\r\nCLIENT SETNAME a\u{7f}\r\nPING\r\n",
        "GET\r\nGET a b\r\nSET a\r\nPING\r\n",
        "CONFIG GET *\0\r\nCONFIG SET \u{fffd} \u{fffd}\r\nPING\r\n",
        // HTTP.
        "POST / HTTP/1.1\r\nHost: x\r\n\r\nPING\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\nPING\r\n",
        "HEAD / HTTP/1.0\r\nPING\r\n",
        "PING\r\nhOST:\r\nPING\r\n",
        "*1\r\n$4\r\npost\r\nPING\r\n",
        "Host\r\nhost: \r\nPING\r\n",
        // The end.
        "PING\r\nQUIT\r\nPING\r\n",
        "*2\r\n$4\r\nQUIT\r\n$1\r\na\r\nPING\r\n",
        "MULTI\r\nQUIT\r\nPING\r\n",
        "PING\r\n*x\r\n*y\r\n*z\r\nPING\r\n",
        "*1\r\n$4\r\nPING",
        "PING",
        "*",
        "",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    // In between it depends on how the bytes come.
    for n in [60_000, 200_000] {
        all.push(long(n, "ECHO ", "\r\nPING\r\n").into_bytes());
        all.push(long(n, "*", "\r\nPING\r\n").into_bytes());
        all.push(long(n, "*1\r\n$", "\r\nPING\r\n").into_bytes());
        all.push(long(n, "", "\r\nPING\r\n").into_bytes());
    }
    for bytes in [
        &b"\xff\xfe\xfd\r\nPING\r\n"[..],
        b"*1\r\n\xff\r\n",
        b"*2\r\n$4\r\nECHO\r\n$4\r\n\xf0\x9f\x92\xc3\r\n",
        b"*2\r\n$6\r\nCLIENT\r\n$2\r\n\xc3\x28\r\nPING\r\n",
        b"*3\r\n$3\r\n\x80\x80\x80\r\n$1\r\n\xff\r\n$1\r\n\n\r\nPING\r\n",
        b"*2\r\n$5\r\nHELLO\r\n$1\r\n\xb3\r\nPING\r\n",
        b"*3\r\n$6\r\nCONFIG\r\n$3\r\nGET\r\n$1\r\n\xff\r\nPING\r\n",
    ] {
        all.push(bytes.to_vec());
    }
    all
}

/// All that a server says until it closes the connection.
fn said(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut raw = Raw::to(server);
    raw.send(bytes);
    // A connection that is closed already has no end to be told of.
    let _ = raw.0.shutdown(std::net::Shutdown::Write);
    raw.rest()
}

#[test]
fn what_is_no_request_is_answered_as_a_real_server_answers_it() {
    let Some(real) = Server::redis(&[]) else {
        return;
    };
    let server = Server::redkeep(&[]);
    let mut wrong = Vec::new();
    for input in inputs() {
        // Errors are text here: what is no UTF-8 in them is replaced, on purpose.
        let [expected, got] = [&real, &server].map(|s| {
            let said = said(s, &input);
            String::from_utf8_lossy(&said).into_owned().into_bytes()
        });
        if expected != got {
            let shown = |bytes: &[u8]| notation::quote(&bytes[..bytes.len().min(200)]);
            wrong.push(format!(
                "{}\n  {}\n  {}",
                shown(&input),
                shown(&expected),
                shown(&got)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn http_is_said_in_the_log_and_not_a_thousand_times() {
    let server = Server::redkeep(&[]);
    let witness = Witness::of(&server);
    for _ in 0..100 {
        assert_eq!(said(&server, b"GET /\r\nHost: a\r\nSET k stolen\r\n"), b"");
        assert_eq!(said(&server, b"POST / HTTP/1.1\r\nSET k stolen\r\n"), b"");
    }
    eventually("it is said", || {
        server.log().contains("Possible SECURITY ATTACK detected")
    });
    let times = server.log().matches("SECURITY ATTACK").count();
    assert_eq!(times, 1, "{}", server.log());
    assert_eq!(server.client().run("EXISTS k stolen"), Reply::Int(0));
    witness.was_served();
}

#[test]
fn bytes_of_every_kind_in_every_place_do_no_harm() {
    const COMMANDS: &[&str] = &[
        "CLIENT SETNAME ?",
        "CLIENT KILL ?",
        "CLIENT KILL ADDR ?",
        "CLIENT LIST TYPE ?",
        "CLIENT SETINFO LIB-NAME ?",
        "CLIENT TRACKING ON PREFIX ?",
        "CONFIG GET ?",
        "CONFIG SET ? ?",
        "COMMAND DOCS ?",
        "COMMAND GETKEYS ? ?",
        "COMMAND LIST FILTERBY PATTERN ?",
        "INFO ?",
        "HELLO ?",
        "HELLO 3 AUTH ? ?",
        "AUTH ?",
        "AUTH ? ?",
        "SUBSCRIBE ?",
        "PSUBSCRIBE ?",
        "PUBLISH ? ?",
        "SELECT ?",
        "OBJECT ? ?",
        "MEMORY ? ?",
        "LATENCY ? ?",
        "SLOWLOG ? ?",
        "SCRIPT ? ?",
        "EVAL ? ?",
        "EVAL ? 0 ?",
        "FUNCTION LOAD ?",
        "RESTORE ? 0 ?",
        "MIGRATE ? ? ? ? ?",
        "REPLICAOF ? ?",
        "SORT ? BY ? GET ?",
        "XADD ? * ? ?",
        "BITFIELD ? GET ? ?",
        "GEOADD ? 1 1 ?",
        "SET ? ?",
        "KEYS ?",
        "SCAN 0 MATCH ? TYPE ?",
        "ECHO ?",
        "? ?",
    ];
    const PIECES: &[&[u8]] = &[
        b"\xff\xfe",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\0",
        b"\r\n",
        b"\n",
        b"\x1b[2J",
        b"%s%n",
        b"'\"\\",
        b"*[?]^-",
        b"",
        b" ",
        b"9223372036854775808",
        "\u{feff}\u{202e}".as_bytes(),
    ];
    let mut server = Server::redkeep(&[]);
    let witness = Witness::of(&server);
    let mut rng = SmallRng::seed_from_u64(17);
    for _ in 0..10 {
        let mut bytes = Vec::new();
        for command in COMMANDS {
            let words = command.split(' ').map(|word| match word {
                "?" => {
                    let some = (0..rng.random_range(1..4))
                        .map(|_| PIECES[rng.random_range(0..PIECES.len())]);
                    some.collect::<Vec<_>>().concat()
                }
                word => word.as_bytes().to_vec(),
            });
            encode(&words.collect::<Vec<_>>(), &mut bytes);
        }
        let _ = said(&server, &bytes);
        assert!(server.alive(), "{}", server.log());
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
    assert!(resident(&server) < 256 << 20);
    witness.was_served();
}
