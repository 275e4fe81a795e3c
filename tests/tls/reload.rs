//! Certificates are exchanged while clients are at work.

use super::Target;
use super::client::{Client, config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

#[test]
fn certificates_are_exchanged_under_load() {
    let target = Target::start(&[]);
    let papers = &target.papers;
    let (over, calls, fresh) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let config = config(papers, rustls::ALL_VERSIONS);
    let shown = |name: &str| CertificateDer::from_pem_file(papers.path(name)).unwrap();
    let certificates = [shown("server.crt"), shown("again.crt")];
    thread::scope(|scope| {
        for n in 0..2 {
            let mut stays = Client::connect(target.tls_port, &config).unwrap();
            let (over, calls) = (&over, &calls);
            scope.spawn(move || {
                for i in 1.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    assert_eq!(stays.run(&format!("INCR n{n}")).int(), Some(i));
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let (over, fresh, port) = (&over, &fresh, target.tls_port);
        let comes = Arc::clone(&config);
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let mut client = Client::connect(port, &comes).unwrap();
                assert_eq!(client.run("PING").text(), "PONG");
                fresh.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut control = target.server.client();
        let path = papers.name("shown.crt");
        fs::copy(papers.path("shown.crt").with_file_name("server.crt"), &path).unwrap();
        fs::copy(papers.path("server.key"), papers.path("shown.key")).unwrap();
        let set = format!(
            "CONFIG SET tls-cert-file {path} tls-key-file {}",
            papers.name("shown.key")
        );
        let reload = format!("CONFIG SET tls-cert-file {path}");
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            assert_eq!(control.run(&set).text(), "OK");
            for round in 1..30 {
                let name = ["server", "again"][round % 2];
                // The same names, and other files.
                for end in ["crt", "key"] {
                    let from = papers.path(&format!("{name}.{end}"));
                    fs::copy(from, papers.path(&format!("shown.{end}"))).unwrap();
                }
                assert_eq!(control.run(&reload).text(), "OK");
                let mut client = Client::connect(target.tls_port, &no_memory(&target)).unwrap();
                assert_eq!(client.shown(), certificates[round % 2]);
                assert_eq!(client.run("PING").text(), "PONG");
                // What cannot be used changes nothing.
                fs::write(
                    &path,
                    ["", "nonsense", "-----BEGIN CERTIFICATE-----\n"][round % 3],
                )
                .unwrap();
                let said = control.run(&reload).text();
                assert_eq!(
                    said,
                    "ERR CONFIG SET failed (possibly related to argument 'tls-cert-file') - \
                     Unable to update TLS configuration. Check server logs."
                );
                let client = Client::connect(target.tls_port, &no_memory(&target)).unwrap();
                assert_eq!(client.shown(), certificates[round % 2]);
            }
            // A key of another certificate is none.
            fs::copy(papers.path("server.crt"), &path).unwrap();
            fs::copy(papers.path("again.key"), papers.path("shown.key")).unwrap();
            assert!(control.run(&reload).is_error());
        }));
        over.store(true, Ordering::Relaxed);
        result.unwrap();
    });
    assert!(calls.into_inner() > 30 && fresh.into_inner() > 3);
}

/// A client that has no session to take up again, in which it would not be shown a certificate.
fn no_memory(target: &Target) -> Arc<rustls::ClientConfig> {
    config(&target.papers, rustls::ALL_VERSIONS)
}
