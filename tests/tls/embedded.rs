//! Servers in this process, with certificates that are in no file.

use super::client::{Client, config};
use super::comes;
use super::papers::Papers;
use redkeep::Server;
use std::net::TcpStream;

#[test]
fn certificates_may_be_in_memory() {
    let papers = Papers::new();
    let server = |tls_only: bool| {
        let builder = Server::builder()
            .tls_port(0)
            .tls_identity(papers.text("server.crt"), papers.text("server.key"))
            .tls_authorities(papers.text("ca.crt"))
            .config("tls-replication", "yes")
            .config("repl-diskless-sync-delay", "0");
        if tls_only {
            builder.tls_only()
        } else {
            builder
        }
    };
    let leader = server(true).start().unwrap();
    let addr = leader.tls_addr().unwrap();
    assert_eq!((leader.addrs(), leader.port()), (&[][..], 0));
    assert_eq!(leader.url(), format!("rediss://{addr}"));
    let config = config(&papers, rustls::ALL_VERSIONS);
    let mut client = Client::connect(addr.port(), &config).unwrap();
    assert_eq!(client.run("SET k v").text(), "OK");
    let follows = server(false)
        .config("replicaof", &format!("127.0.0.1 {}", addr.port()))
        .start()
        .unwrap();
    assert!(TcpStream::connect(follows.addr()).is_ok() && follows.url().starts_with("redis://"));
    let mut inside = follows.client().unwrap();
    comes("the value at the replica", || {
        let got = inside.call(["GET", "k"]).ok()?;
        (got.as_bytes() == Some(b"v")).then_some(())
    });
    let told = client.run("INFO replication").text();
    let port = follows.tls_addr().unwrap().port();
    assert!(
        told.contains(&format!("slave0:ip=127.0.0.1,port={port},state=online")),
        "{told}"
    );
}

#[test]
fn what_is_missing_is_told() {
    let told = |builder: redkeep::server::Builder| builder.start().unwrap_err().to_string();
    let builder = || Server::builder().tls_port(0);
    assert_eq!(
        told(builder()),
        "Failed to configure TLS: No tls-cert-file configured!"
    );
    let papers = Papers::new();
    let shown = builder().tls_identity(papers.text("server.crt"), papers.text("server.key"));
    assert!(told(shown.clone()).contains("tls-ca-cert-file"));
    assert!(shown.config("tls-auth-clients", "no").start().is_ok());
    let wrong = builder().tls_identity(papers.text("server.crt"), papers.text("again.key"));
    assert!(told(wrong).contains("it is not the key of the certificate"));
}
