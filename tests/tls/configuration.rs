//! Ports, addresses and keys, at the start and later.

use self::base64::encode;
use super::common::peer::free_port;
use super::{Target, output};
use pkcs8::PrivateKeyInfo;
use pkcs8::pkcs5::pbes2::Parameters;
use std::net::TcpStream;
use std::process::Command;

const UPDATE: &str = "Unable to update TLS configuration. Check server logs.";

#[test]
fn ports_come_go_and_change_places() {
    let target = Target::start(&[]);
    let mut control = target.server.client();
    let (port, tls_port, other) = (target.server.port, target.tls_port, free_port());
    let answers = |port: u16| {
        let mut client = super::client::Client::of(&target.papers, port);
        client.run("PING").text() == "PONG"
    };
    assert!(control.run("INFO server").text().contains(&format!(
        "listener0:name=tcp,bind=127.0.0.1,port={port}\r\n\
         listener2:name=tls,bind=127.0.0.1,port={tls_port}\r\n"
    )));
    let mut open = target.client();
    assert_eq!(
        control.run(&format!("CONFIG SET tls-port {other}")).text(),
        "OK"
    );
    assert!(answers(other) && TcpStream::connect(("127.0.0.1", tls_port)).is_err());
    // From one kind to the other, and back, on the connection that was open.
    assert_eq!(
        control
            .run(&format!("CONFIG SET tls-port 0 port {other}"))
            .text(),
        "OK"
    );
    assert_eq!(
        super::common::Client::connect(other)
            .unwrap()
            .run("PING")
            .text(),
        "PONG"
    );
    assert_eq!(
        open.run(&format!("CONFIG SET port 0 tls-port {port}"))
            .text(),
        "OK"
    );
    assert!(answers(port) && TcpStream::connect(("127.0.0.1", other)).is_err());
    assert!(
        open.run("INFO server")
            .text()
            .contains(&format!("\r\ntcp_port:{port}\r\n"))
    );
    // Somebody else's port: nothing changes.
    let somebody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = somebody.local_addr().unwrap().port();
    let said = open.run(&format!("CONFIG SET tls-port {taken}")).text();
    assert!(
        said.ends_with("Unable to listen on this port. Check server logs."),
        "{said}"
    );
    assert_eq!(
        open.run("CONFIG GET tls-port").items()[1].text(),
        port.to_string()
    );
    assert!(answers(port));
    // Addresses are those of both.
    assert_eq!(open.run(&format!("CONFIG SET port {other}")).text(), "OK");
    let set = ["CONFIG", "SET", "bind", "127.0.0.1 127.0.0.2"];
    assert_eq!(open.call(&set).unwrap().text(), "OK");
    for port in [other, port] {
        assert!(TcpStream::connect(("127.0.0.2", port)).is_ok());
    }
    let info = open.run("INFO server").text();
    let line = format!("listener2:name=tls,bind=127.0.0.1,bind=127.0.0.2,port={port}\r\n");
    assert!(info.contains(&line), "{info}");
}

#[test]
fn without_certificates_there_is_no_tls() {
    let server = super::common::Server::redkeep(&[]);
    let mut client = server.client();
    let port = free_port();
    for set in [format!("tls-port {port}"), "tls-replication yes".to_owned()] {
        let said = client.run(&format!("CONFIG SET {set}")).text();
        let name = set.split(' ').next().unwrap();
        assert_eq!(
            said,
            format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {UPDATE}")
        );
    }
    // Nobody looks at the files before they are needed.
    assert_eq!(
        client.run("CONFIG SET tls-cert-file /nonexistent").text(),
        "OK"
    );
    assert!(server.log().contains("No tls-cert-file configured!"));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    // At the start that is the end.
    let mut command = Command::new(env!("CARGO_BIN_EXE_redkeep"));
    command.args(["--port", "0", "--save", "", "--tls-port", &port.to_string()]);
    let (said, well) = output(command.args(["--tls-cert-file", "/nonexistent"]));
    assert!(
        !well && said.contains("No tls-key-file configured!"),
        "{said}"
    );
    assert!(said.contains("Failed to configure TLS."), "{said}");
}

#[test]
fn an_encrypted_key_needs_its_password() {
    let target = Target::start(&[]);
    let plain = target.papers.text("server.key");
    let plain = <rustls::pki_types::PrivatePkcs8KeyDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(
        plain.as_bytes(),
    )
    .unwrap();
    let with = Parameters::pbkdf2_sha256_aes256cbc(2048, &[7; 16], &[9; 16]).unwrap();
    let info = PrivateKeyInfo::try_from(plain.secret_pkcs8_der()).unwrap();
    let encrypted = info.encrypt_with_params(with, "1234").unwrap();
    let pem = format!(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\n{}-----END ENCRYPTED PRIVATE KEY-----\n",
        encode(encrypted.as_bytes())
    );
    let path = target.papers.path("encrypted.key");
    std::fs::write(&path, pem).unwrap();
    let set = format!("CONFIG SET tls-key-file {}", path.display());
    assert!(target.run(&set).ends_with(UPDATE));
    assert_eq!(target.run("CONFIG SET tls-key-file-pass wrong"), "OK");
    assert!(target.run(&set).ends_with(UPDATE));
    assert_eq!(target.run("CONFIG SET tls-key-file-pass 1234"), "OK");
    assert_eq!(target.run(&set), "OK");
    assert_eq!(target.client().run("PING").text(), "PONG");
}

mod base64 {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    /// In lines, as PEM has it.
    pub fn encode(bytes: &[u8]) -> String {
        let mut out = String::new();
        for line in bytes.chunks(48) {
            for three in line.chunks(3) {
                let n = three.iter().fold(0u32, |n, b| n << 8 | u32::from(*b))
                    << (8 * (3 - three.len()));
                for i in 0..4 {
                    let digit = DIGITS[(n >> (18 - 6 * i)) as usize & 63];
                    out.push(if i > three.len() { '=' } else { digit.into() });
                }
            }
            out.push('\n');
        }
        out
    }
}
