//! Who is let in, and what becomes of those who do not do as they should.

use super::client::{Client, config};
use super::common::peer::tool;
use super::{Target, comes, output};
use rustls::ProtocolVersion;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

const UPDATE: &str = "Unable to update TLS configuration. Check server logs.";

/// What redis-cli prints for a PING over TLS.
fn ping(target: &Target, ca: &str, shown: Option<&str>) -> Option<String> {
    let mut command = Command::new(tool("redis-cli")?);
    command.args(["-p", &target.tls_port.to_string()]);
    command.args(target.papers.client(ca, shown)).arg("PING");
    Some(output(&mut command).0)
}

#[test]
fn clients_show_what_they_must() {
    let target = Target::start(&[]);
    for (auth, shown, lets_in) in [
        ("yes", Some("client"), true),
        ("yes", Some("server"), true),
        ("yes", None, false),
        ("yes", Some("stranger"), false),
        ("yes", Some("old"), false),
        ("optional", None, true),
        ("optional", Some("client"), true),
        ("optional", Some("stranger"), false),
        ("optional", Some("old"), false),
        ("no", None, true),
        ("no", Some("stranger"), true),
        ("no", Some("client"), true),
    ] {
        assert_eq!(
            target.run(&format!("CONFIG SET tls-auth-clients {auth}")),
            "OK"
        );
        let Some(said) = ping(&target, "ca.crt", shown) else {
            return;
        };
        assert_eq!(said.contains("PONG"), lets_in, "{auth} {shown:?}: {said}");
    }
    assert!(
        target
            .server
            .log()
            .contains("Error accepting a client connection: ")
    );
    // Those who were not let in are not there any more.
    comes("one client", || {
        (target.run("CLIENT LIST").lines().count() == 1).then_some(())
    });
}

#[test]
fn clients_believe_whom_they_should() {
    let target = Target::start(&[]);
    let Some(said) = ping(&target, "other.crt", Some("client")) else {
        return;
    };
    assert!(said.contains("certificate verify failed"), "{said}");
    for (shown, believed) in [("old", false), ("stranger", false), ("again", true)] {
        let (certificate, key) = (
            target.papers.name(&format!("{shown}.crt")),
            target.papers.name(&format!("{shown}.key")),
        );
        let set = format!("CONFIG SET tls-cert-file {certificate} tls-key-file {key}");
        assert_eq!(target.run(&set), "OK");
        let said = ping(&target, "ca.crt", Some("client")).unwrap();
        assert_eq!(said.contains("PONG"), believed, "{shown}: {said}");
    }
    // One certificate for everything, of an authority that is nobody but the server.
    let single = |file| target.papers.name(&format!("single.{file}"));
    let set = format!(
        "CONFIG SET tls-cert-file {} tls-key-file {} tls-ca-cert-file {}",
        single("crt"),
        single("key"),
        single("crt")
    );
    assert_eq!(target.run(&set), "OK");
    let said = ping(&target, "single.crt", Some("single")).unwrap();
    assert!(said.contains("PONG"), "{said}");
    let said = ping(&target, "single.crt", Some("other")).unwrap();
    assert!(!said.contains("PONG"), "{said}");
}

#[test]
fn versions_are_those_that_are_set() {
    let target = Target::start(&[]);
    let old = config(&target.papers, &[&rustls::version::TLS12]);
    let new = config(&target.papers, &[&rustls::version::TLS13]);
    for (protocols, has_old, has_new) in [
        ("TLSv1.2", true, false),
        ("TLSv1.3", false, true),
        ("TLSv1.2\u{a0}TLSv1.3", true, true),
    ] {
        let words = [
            "CONFIG",
            "SET",
            "tls-protocols",
            &protocols.replace('\u{a0}', " "),
        ];
        assert_eq!(target.server.client().call(&words).unwrap().text(), "OK");
        let spoken = |config, version| {
            Client::connect(target.tls_port, config).is_ok_and(|mut client| {
                client.version() == version && client.run("PING").text() == "PONG"
            })
        };
        assert_eq!(
            spoken(&old, ProtocolVersion::TLSv1_2),
            has_old,
            "{protocols}"
        );
        assert_eq!(
            spoken(&new, ProtocolVersion::TLSv1_3),
            has_new,
            "{protocols}"
        );
    }
    for (name, wrong) in [
        ("tls-protocols", "TLSv1.1"),
        ("tls-protocols", "SSLv3"),
        ("tls-ciphers", "AES128-SHA"),
        ("tls-ciphersuites", "TLS_NONE"),
    ] {
        let said = target.run(&format!("CONFIG SET {name} {wrong}"));
        assert!(said.ends_with(UPDATE), "{name} {wrong}: {said}");
    }
    assert_eq!(
        target.run("CONFIG SET tls-ciphersuites TLS_AES_128_GCM_SHA256"),
        "OK"
    );
    assert_eq!(target.client().run("PING").text(), "PONG");
}

#[test]
fn who_speaks_something_else_hurts_nobody() {
    let target = Target::start(&[]);
    let mut neighbour = target.client();
    for words in [
        "PING\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "\0\0\0\0",
        "\u{16}\u{3}\u{1}\u{2}",
        "\u{16}\u{3}\u{1}\0\u{4}PING",
    ] {
        let mut socket = TcpStream::connect(("127.0.0.1", target.tls_port)).unwrap();
        socket.write_all(words.as_bytes()).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = Vec::new();
        let _ = socket.read_to_end(&mut said);
        // An alert at most, to who has begun as if it spoke TLS.
        let alert = words.starts_with('\u{16}') && said.starts_with(b"\x15") && said.len() < 16;
        assert!(said.is_empty() || alert, "{words:?}: {said:?}");
        assert_eq!(neighbour.run("PING").text(), "PONG");
    }
    // A hello of TLS at the other port is the beginning of a line: so it is to Redis.
    let mut plain = TcpStream::connect(("127.0.0.1", target.server.port)).unwrap();
    plain.write_all(b"\x16\x03\x01\x02\x00\x01\x00").unwrap();
    assert_eq!(target.run("PING"), "PONG");
    plain.write_all(b"\n").unwrap();
    plain.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(plain.read_to_end(&mut Vec::new()).unwrap_or(0), 0);
    assert_eq!(neighbour.run("PING").text(), "PONG");
}

#[test]
fn failures_are_told_with_who_and_why_and_no_more_than_once_in_a_second() {
    let target = Target::start(&[]);
    let fail = || {
        let mut socket = TcpStream::connect(("127.0.0.1", target.tls_port)).unwrap();
        let addr = socket.local_addr().unwrap();
        socket.write_all(b"PING\r\n").unwrap();
        let _ = socket.read_to_end(&mut Vec::new());
        addr
    };
    let told = || {
        let log = target.server.log();
        let lines = log
            .lines()
            .filter(|line| line.contains("it does not speak TLS"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let (first, since) = (fail(), Instant::now());
    let line = comes("a line", || told().pop());
    assert!(
        line.contains(&format!(
            "(addr={first} laddr=127.0.0.1:{})",
            target.tls_port
        )),
        "{line}"
    );
    // The next line says how many were not told of.
    let mut failed = 1;
    comes("the next line", || {
        fail();
        failed += 1;
        (told().len() > 1).then_some(())
    });
    assert!(since.elapsed() > Duration::from_millis(900));
    let line = told().pop().unwrap();
    let untold: usize = line.rsplit_once("untold=").unwrap().1.parse().unwrap();
    // The sockets are closed before that is said.
    assert!(
        (failed - 4..failed - 1).contains(&untold),
        "{failed}: {line}"
    );
}

#[test]
fn half_a_handshake_is_a_client_until_it_is_over() {
    let target = Target::start(&["--maxclients", "3"]);
    let mut control = target.server.client();
    let clients = |control: &mut super::common::Client, n| {
        comes("so many clients", || {
            (control.run("CLIENT LIST").text().lines().count() == n).then_some(())
        });
    };
    // Whoever started the server has looked whether it is there.
    clients(&mut control, 1);
    let silent = || TcpStream::connect(("127.0.0.1", target.tls_port)).unwrap();
    let (mut killed, mut forgotten) = (silent(), silent());
    // The beginning of a hello that never goes on.
    forgotten.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
    let since = Instant::now();
    clients(&mut control, 3);
    // Nobody else is let in: neither is somebody told so who would not understand it.
    let ended = |socket: &mut TcpStream| {
        let mut said = Vec::new();
        let _ = socket.read_to_end(&mut said);
        said
    };
    assert_eq!(ended(&mut silent()), b"");
    let mut plain = TcpStream::connect(("127.0.0.1", target.server.port)).unwrap();
    assert!(ended(&mut plain).starts_with(b"-ERR max number of clients reached"));
    let addr = killed.local_addr().unwrap();
    assert_eq!(control.run(&format!("CLIENT KILL {addr}")).text(), "OK");
    assert_eq!(ended(&mut killed), b"");
    assert!(
        since.elapsed() < Duration::from_secs(9),
        "it was ended by the time"
    );
    assert_eq!(target.client().run("PING").text(), "PONG");
    ended(&mut forgotten);
    assert!(
        since.elapsed() > Duration::from_secs(9),
        "it was not let alone"
    );
    clients(&mut control, 1);
    assert!(
        target
            .server
            .log()
            .contains("the TLS handshake takes too long")
    );
}

#[test]
fn those_who_may_be_inside_can_be_more_and_fewer_whatever_they_come_by() {
    use std::os::unix::net::UnixStream;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let target = Target::start(&["--maxclients", "4", "--unixsocket", path.to_str().unwrap()]);
    let mut control = target.server.client();
    let mut plain = target.server.client();
    let mut tls = target.client();
    let unix = || {
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(super::SOON)).unwrap();
        stream
    };
    let greet = |stream: &mut UnixStream| {
        let mut reply = [0; 7];
        stream.write_all(b"PING\r\n").unwrap();
        stream.read_exact(&mut reply).map(|()| reply)
    };
    let mut local = unix();
    assert_eq!(greet(&mut local).unwrap(), *b"+PONG\r\n");
    let count = |control: &mut super::common::Client, n: usize| {
        comes("so many clients", || {
            (control.run("CLIENT LIST").text().lines().count() == n).then_some(())
        });
    };
    // The fifth is one too many, whatever it comes by. Whoever began with a hello would not understand why.
    let all_refused = || {
        let mut said = Vec::new();
        let mut stream = TcpStream::connect(("127.0.0.1", target.server.port)).unwrap();
        let _ = stream.read_to_end(&mut said);
        assert!(said.starts_with(b"-ERR max number of clients"));
        said.clear();
        let _ = unix().read_to_end(&mut said);
        assert!(said.starts_with(b"-ERR max number of clients"));
        said.clear();
        let mut stream = TcpStream::connect(("127.0.0.1", target.tls_port)).unwrap();
        let _ = stream.read_to_end(&mut said);
        assert!(said.is_empty());
    };
    all_refused();
    // Those who are there stay where fewer may be, and nobody comes in for them.
    control.run("CONFIG SET maxclients 2");
    all_refused();
    assert_eq!(plain.run("PING").text(), "PONG");
    assert_eq!(tls.run("PING").text(), "PONG");
    assert_eq!(greet(&mut local).unwrap(), *b"+PONG\r\n");
    drop((plain, local));
    count(&mut control, 2);
    all_refused();
    // One more of each.
    control.run("CONFIG SET maxclients 5");
    let mut plain = target.server.client();
    let mut local = unix();
    let mut second = target.client();
    assert_eq!(plain.run("PING").text(), "PONG");
    assert_eq!(greet(&mut local).unwrap(), *b"+PONG\r\n");
    assert_eq!(second.run("PING").text(), "PONG");
    all_refused();
    assert_eq!(tls.run("PING").text(), "PONG");
}

#[test]
fn the_end_is_told() {
    let target = Target::start(&[]);
    let mut client = target.client();
    assert_eq!(client.run("QUIT").text(), "OK");
    assert!(client.ends_well());
    let mut client = target.client();
    let id = client.run("CLIENT ID").int().unwrap();
    assert_eq!(target.run(&format!("CLIENT KILL ID {id}")), "1");
    assert!(client.ends_well());
}
