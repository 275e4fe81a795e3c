//! The server as raw sockets see it: fragments, pipelines, malformed input, limits, addresses.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use redkeep::Server;

/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long to wait for what must not come.
const QUIET: Duration = Duration::from_millis(150);

struct Raw(TcpStream);

impl Raw {
    fn connect(addr: SocketAddr) -> Raw {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Raw(stream)
    }

    fn to(server: &Server) -> Raw {
        Raw::connect(server.addr())
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Raw {
        self.0.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Reads exactly what is expected.
    fn expect(&mut self, expected: impl AsRef<[u8]>) -> &mut Raw {
        let expected = expected.as_ref();
        let mut got = vec![0; expected.len()];
        let mut at = 0;
        while at < got.len() {
            match self.0.read(&mut got[at..]) {
                Ok(0) => break,
                Ok(n) => at += n,
                Err(e) => panic!("{e} after {:?}", got[..at].escape_ascii().to_string()),
            }
        }
        let shown = |b: &[u8]| b[..b.len().min(300)].escape_ascii().to_string();
        assert_eq!(shown(&got[..at]), shown(expected));
        assert!(got[..at] == *expected);
        self
    }

    /// Nothing arrives, and the connection stays open.
    fn expect_silence(&mut self) {
        self.0.set_read_timeout(Some(QUIET)).unwrap();
        let error = self.0.read(&mut [0; 64]).unwrap_err();
        assert!(matches!(
            error.kind(),
            ErrorKind::WouldBlock | ErrorKind::TimedOut
        ));
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    /// The rest of what the server sends before it closes the connection.
    fn rest(&mut self) -> String {
        let mut got = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut got) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        String::from_utf8_lossy(&got).into_owned()
    }
}

fn server() -> Server {
    Server::builder().start().unwrap()
}

fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend(format!("${}\r\n", arg.len()).bytes());
        out.extend(*arg);
        out.extend(b"\r\n");
    }
    out
}

#[test]
fn requests_may_come_in_any_pieces() {
    let server = server();
    let pipeline = [
        request(&[b"SET", b"k", b"a\r\nb"]),
        b"GET k\r\n".to_vec(),
        request(&[b"PING"]),
    ]
    .concat();
    let replies = "+OK\r\n$4\r\na\r\nb\r\n+PONG\r\n";
    for size in [1, 2, 3, 7, 1000] {
        let mut raw = Raw::to(&server);
        for piece in pipeline.chunks(size) {
            raw.send(piece);
            std::thread::sleep(Duration::from_micros(100));
        }
        raw.expect(replies);
    }
}

#[test]
fn a_long_pipeline_is_answered_in_order_while_it_is_being_sent() {
    const N: usize = 200_000;
    let server = server();
    let mut raw = Raw::to(&server);
    let mut writer = raw.0.try_clone().unwrap();
    // All is sent before anything is read: replies pile up and must not stop the server from reading.
    let mut pipeline = Vec::new();
    for i in 0..N {
        pipeline.extend(request(&[b"ECHO", format!("{i:08}").as_bytes()]));
    }
    writer.write_all(&pipeline).unwrap();
    let mut expected = String::new();
    for i in 0..N {
        expected.push_str(&format!("$8\r\n{i:08}\r\n"));
    }
    raw.expect(expected);
}

#[test]
fn a_large_argument_arrives_whole() {
    let server = server();
    let big = vec![b'x'; 20 * 1024 * 1024];
    let mut raw = Raw::to(&server);
    raw.send(request(&[b"SET", b"big", &big])).expect("+OK\r\n");
    raw.send("STRLEN big\r\n")
        .expect(format!(":{}\r\n", big.len()));
    raw.send("GET big\r\nPING\r\n");
    raw.expect(format!("${}\r\n", big.len()))
        .expect(&big)
        .expect("\r\n+PONG\r\n");
}

#[test]
fn empty_requests_are_passed_over() {
    let server = server();
    Raw::to(&server)
        .send("\r\n\n*0\r\n*-10\r\n   \r\nPING\r\n")
        .expect("+PONG\r\n")
        .expect_silence();
}

#[test]
fn inline_requests_know_quotes() {
    let server = server();
    Raw::to(&server)
        .send("SET 'a key' \"\\x41\\n\"\r\nGET \"a key\"\n")
        .expect("+OK\r\n$2\r\nA\n\r\n");
}

#[test]
fn malformed_input_is_answered_and_the_connection_closed() {
    let server = server();
    for (input, error) in [
        ("*3000000000\r\n", "invalid multibulk length"),
        ("*x\r\n", "invalid multibulk length"),
        (
            "*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n",
            "expected '$', got 'f'",
        ),
        (
            "*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$-10\r\n",
            "invalid bulk length",
        ),
        (
            "*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$2000000000\r\n",
            "invalid bulk length",
        ),
        (
            "*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$9999999999999999999\r\n",
            "invalid bulk length",
        ),
        (
            "set \"\"\"test-key\"\"\" test-value\r\n",
            "unbalanced quotes in request",
        ),
    ] {
        let mut raw = Raw::to(&server);
        raw.send("PING\r\n").send(input).send("PING\r\n");
        assert_eq!(
            raw.rest(),
            format!("+PONG\r\n-ERR Protocol error: {error}\r\n"),
            "{input}"
        );
    }
    for (head, error) in [
        ("\0", "too big inline request"),
        ("*\0", "too big mbulk count string"),
        ("*1\r\n$\0", "too big bulk count string"),
    ] {
        let mut raw = Raw::to(&server);
        raw.send(head);
        let junk = [b'A'; 1024];
        // The server closes at some point, after which writing fails.
        while raw.0.write_all(&junk).is_ok() {}
        let mut raw = Raw::to(&server);
        raw.send(head).send([b'A'; 64 * 1024]);
        assert_eq!(raw.rest(), format!("-ERR Protocol error: {error}\r\n"));
    }
}

#[test]
fn before_authentication_requests_are_small() {
    let server = Server::builder()
        .config("requirepass", "secret")
        .start()
        .unwrap();
    let mut raw = Raw::to(&server);
    raw.send("*100\r\n");
    assert_eq!(
        raw.rest(),
        "-ERR Protocol error: unauthenticated multibulk length\r\n"
    );
    let mut raw = Raw::to(&server);
    raw.send("*1\r\n$100000000\r\n");
    assert_eq!(
        raw.rest(),
        "-ERR Protocol error: unauthenticated bulk length\r\n"
    );
    // Authenticating in the middle of a pipeline lifts the limits for what follows.
    let value = vec![b'v'; 20_000];
    Raw::to(&server)
        .send(
            [
                request(&[b"GET", b"k"]),
                request(&[b"AUTH", b"secret"]),
                request(&[b"SET", b"k", &value]),
            ]
            .concat(),
        )
        .expect("-NOAUTH Authentication required.\r\n+OK\r\n+OK\r\n");
}

#[test]
fn http_is_not_spoken() {
    let server = server();
    for first in ["POST / HTTP/1.1\r\n", "GET /\r\nHost: localhost\r\n"] {
        let mut raw = Raw::to(&server);
        raw.send(format!("{first}\r\nSET k stolen\r\n"));
        assert!(!raw.rest().contains("OK"));
    }
    Raw::to(&server).send("EXISTS k\r\n").expect(":0\r\n");
}

#[test]
fn what_follows_quit_is_not_run() {
    let server = server();
    let mut raw = Raw::to(&server);
    raw.send("QUIT\r\nSET foo bar\r\n*1\r\nfoo\r\n");
    assert_eq!(raw.rest(), "+OK\r\n");
    Raw::to(&server).send("EXISTS foo\r\n").expect(":0\r\n");
}

#[test]
fn client_reply_silences_a_connection() {
    let server = server();
    Raw::to(&server)
        .send("CLIENT REPLY OFF\r\nSET a 1\r\nGET a\r\nCLIENT REPLY ON\r\nGET a\r\nCLIENT REPLY SKIP\r\nSET a 2\r\nGET a\r\n")
        .expect("+OK\r\n$1\r\n1\r\n$1\r\n2\r\n")
        .expect_silence();
}

#[test]
fn a_blocked_client_keeps_its_pipeline_and_is_forgotten_when_it_leaves() {
    let server = server();
    let mut admin = Raw::to(&server);
    let mut blocked = Raw::to(&server);
    blocked
        .send("XREAD BLOCK 0 STREAMS s $\r\nPING\r\nPING\r\n")
        .expect_silence();
    admin.send("XADD s 1-1 f v\r\n").expect("$3\r\n1-1\r\n");
    blocked.expect("*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n+PONG\r\n+PONG\r\n");

    let mut leaver = Raw::to(&server);
    leaver
        .send("XREAD BLOCK 0 STREAMS s $\r\n")
        .expect_silence();
    assert!(info(&mut admin, "clients").contains("blocked_clients:1"));
    drop(leaver);
    eventually(|| info(&mut admin, "clients").contains("blocked_clients:0"));
}

#[test]
fn a_blocked_client_is_answered_when_its_time_is_over() {
    let server = server();
    let began = Instant::now();
    Raw::to(&server)
        .send("XREAD BLOCK 100 STREAMS s $\r\n")
        .expect("*-1\r\n");
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(95) && took < Duration::from_secs(2),
        "{took:?}"
    );
}

#[test]
fn one_client_too_many_is_told_so() {
    let server = Server::builder().config("maxclients", "3").start().unwrap();
    let mut clients: Vec<Raw> = (0..3).map(|_| Raw::to(&server)).collect();
    for client in &mut clients {
        client.send("PING\r\n").expect("+PONG\r\n");
    }
    assert_eq!(
        Raw::to(&server).rest(),
        "-ERR max number of clients reached\r\n"
    );
    drop(clients.pop());
    eventually(|| {
        let mut raw = Raw::to(&server);
        let _ = raw.0.write_all(b"QUIT\r\n");
        raw.rest() == "+OK\r\n"
    });
    assert!(info(&mut clients[0], "stats").contains("rejected_connections:"));
}

#[test]
fn idle_clients_are_closed_but_not_blocked_ones() {
    let server = Server::builder().config("timeout", "1").start().unwrap();
    let mut blocked = Raw::to(&server);
    blocked.send("XREAD BLOCK 0 STREAMS s $\r\n");
    let mut idle = Raw::to(&server);
    idle.send("PING\r\n").expect("+PONG\r\n");
    let began = Instant::now();
    assert_eq!(idle.rest(), "");
    assert!(
        began.elapsed() > Duration::from_millis(900),
        "{:?}",
        began.elapsed()
    );
    blocked.expect_silence();
}

#[test]
fn a_thousand_clients_are_served_at_once() {
    let server = server();
    let mut clients: Vec<Raw> = (0..1000).map(|_| Raw::to(&server)).collect();
    for (i, client) in clients.iter_mut().enumerate() {
        client.send(request(&[b"SET", format!("k{i}").as_bytes(), b"v"]));
    }
    for client in &mut clients {
        client.expect("+OK\r\n");
    }
    clients[0].send("DBSIZE\r\n").expect(":1000\r\n");
    drop(clients.split_off(1));
    eventually(|| info(&mut clients[0], "clients").contains("connected_clients:1\r\n"));
}

#[test]
fn more_threads_serve_the_same_data() {
    let server = Server::builder().config("io-threads", "4").start().unwrap();
    let addr = server.addr();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(move || {
                let mut raw = Raw::connect(addr);
                for _ in 0..50 {
                    raw.send("INCR n\r\n".repeat(20));
                    for _ in 0..20 {
                        read_line(&mut raw.0);
                    }
                }
            });
        }
    });
    Raw::to(&server).send("GET n\r\n").expect("$4\r\n8000\r\n");
}

#[test]
fn several_addresses_share_a_port_and_optional_ones_may_be_missing() {
    let server = Server::builder()
        .bind("127.0.0.1 127.0.0.2 -2001:db8::1234")
        .start()
        .unwrap();
    assert_eq!(server.addrs().len(), 2);
    assert_eq!(server.addrs()[0].port(), server.addrs()[1].port());
    for &addr in server.addrs() {
        Raw::connect(addr).send("PING\r\n").expect("+PONG\r\n");
    }
    assert!(Server::builder().bind("2001:db8::1234").start().is_err());
    let taken = Server::builder()
        .port(server.port())
        .bind("127.0.0.1")
        .start();
    assert!(
        taken
            .unwrap_err()
            .to_string()
            .contains(&server.port().to_string())
    );
}

#[cfg(unix)]
#[test]
fn a_unix_socket_has_its_permissions_and_goes_with_the_server() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keep.sock");
    let name = path.to_str().unwrap();
    for _ in 0..2 {
        let server = Server::builder()
            .config("unixsocket", name)
            .config("unixsocketperm", "700")
            .start()
            .unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"PING\r\n").unwrap();
        let mut reply = [0; 7];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"+PONG\r\n");
        drop(server);
        assert!(!path.exists());
    }
    // A socket that a killed server left behind is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    Server::builder()
        .config("unixsocket", name)
        .start()
        .unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn claimed_lengths_cost_no_memory() {
    let server = server();
    let mut liars = Vec::new();
    let before = resident();
    for _ in 0..50 {
        let mut raw = Raw::to(&server);
        raw.send("*2147483647\r\n$536870912\r\nabc");
        let mut other = Raw::to(&server);
        other.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc");
        liars.extend([raw, other]);
    }
    Raw::to(&server).send("PING\r\n").expect("+PONG\r\n");
    let grown = resident().saturating_sub(before);
    // Other tests of this process run at the same time.
    assert!(grown < 400 << 20, "{grown}");
}

#[cfg(target_os = "linux")]
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn a_client_that_takes_no_replies_does_not_stop_others() {
    let server = server();
    let mut admin = Raw::to(&server);
    admin
        .send(request(&[b"SET", b"big", &vec![b'x'; 1 << 20]]))
        .expect("+OK\r\n");
    let mut deaf = Raw::to(&server);
    deaf.0.set_nonblocking(true).unwrap();
    let pipeline = "GET big\r\n".repeat(2000);
    let _ = deaf.0.write(pipeline.as_bytes());
    for _ in 0..20 {
        admin.send("PING\r\n").expect("+PONG\r\n");
    }
    drop(deaf);
    eventually(|| info(&mut admin, "clients").contains("connected_clients:1\r\n"));
}

#[test]
fn output_that_piles_up_beyond_its_limit_ends_the_connection() {
    for (limit, patience) in [("normal 1mb 0 0", 0), ("normal 0 1mb 1", 900)] {
        let server = Server::builder()
            .config("client-output-buffer-limit", limit)
            .start()
            .unwrap();
        let mut admin = Raw::to(&server);
        let value = vec![b'x'; 512 * 1024];
        admin
            .send(request(&[b"SET", b"k", &value]))
            .expect("+OK\r\n");
        let mut deaf = Raw::to(&server);
        deaf.send("PING\r\n").expect("+PONG\r\n");
        let began = Instant::now();
        deaf.send("GET k\r\n".repeat(60));
        eventually(|| info(&mut admin, "clients").contains("connected_clients:1\r\n"));
        assert!(began.elapsed() >= Duration::from_millis(patience));
        admin.send("STRLEN k\r\n").expect(":524288\r\n");
    }
}

#[test]
fn a_killed_client_is_gone_although_it_takes_no_output() {
    let server = server();
    let mut admin = Raw::to(&server);
    admin
        .send(request(&[b"SET", b"k", &vec![b'x'; 1 << 20]]))
        .expect("+OK\r\n");
    let mut deaf = Raw::to(&server);
    deaf.send("CLIENT ID\r\n");
    let id = read_line(&mut deaf.0);
    deaf.send("GET k\r\n".repeat(30));
    std::thread::sleep(QUIET);
    admin
        .send(format!("CLIENT KILL ID {}\r\n", &id[1..]))
        .expect(":1\r\n");
    eventually(|| info(&mut admin, "clients").contains("connected_clients:1\r\n"));
}

#[test]
fn a_half_closed_connection_gets_its_replies() {
    let server = server();
    let mut raw = Raw::to(&server);
    raw.send("PING\r\nPING\r\n");
    raw.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(raw.rest(), "+PONG\r\n+PONG\r\n");
}

#[test]
fn random_bytes_harm_nobody_else() {
    const ALPHABET: &[u8] = b"*$:+-0123456789\r\n \"'\\xsetGET\0\xff";
    let server = server();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..200 {
        let mut raw = Raw::to(&server);
        let junk: Vec<u8> = (0..300)
            .map(|_| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                ALPHABET[(seed >> 32) as usize % ALPHABET.len()]
            })
            .collect();
        let _ = raw.0.write_all(&junk);
    }
    Raw::to(&server).send("PING\r\n").expect("+PONG\r\n");
}

fn info(raw: &mut Raw, section: &str) -> String {
    raw.send(format!("INFO {section}\r\n"));
    let header = read_line(&mut raw.0);
    let len: usize = header
        .trim_start_matches('$')
        .parse()
        .unwrap_or_else(|_| panic!("{header}"));
    let mut body = vec![0; len + 2];
    raw.0.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

fn read_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

fn eventually(mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "it never came to pass");
        std::thread::sleep(Duration::from_millis(10));
    }
}
