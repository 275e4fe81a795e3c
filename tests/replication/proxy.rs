//! That the proxy does what the other tests rely on.

use super::common::Proxy;
use super::common::proxy::{BOTH, Way};
use super::until;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Answers every byte with the same byte until all who have connected are gone; ends after `connections` of them.
struct Echo {
    port: u16,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    fn new(connections: usize) -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            for sock in listener.incoming().take(connections) {
                let mut sock = sock.unwrap();
                let mut piece = [0; 4096];
                while let Ok(n @ 1..) = sock.read(&mut piece) {
                    if sock.write_all(&piece[..n]).is_err() {
                        break;
                    }
                }
            }
        });
        let thread = Some(thread);
        Echo { port, thread }
    }

    fn ends(mut self) {
        self.thread.take().map(JoinHandle::join);
    }
}

fn connect(proxy: &Proxy) -> TcpStream {
    let sock = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    sock.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    sock
}

fn echoes(sock: &mut TcpStream, text: &[u8]) {
    sock.write_all(text).unwrap();
    let mut got = vec![0; text.len()];
    sock.read_exact(&mut got).unwrap();
    assert_eq!(got, text);
}

fn is_silent(sock: &mut TcpStream) -> bool {
    sock.set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let silent = sock.read(&mut [0; 1]).is_err();
    sock.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    silent
}

#[test]
fn it_forwards_cuts_and_refuses() {
    let echo = Echo::new(2);
    let proxy = Proxy::to(echo.port);
    let mut sock = connect(&proxy);
    echoes(&mut sock, b"hello");
    echoes(&mut sock, &vec![b'x'; 300]);
    assert_eq!((proxy.passed(Way::Up), proxy.passed(Way::Down)), (305, 305));
    assert_eq!(proxy.connections(), 1);
    proxy.refuse(true);
    echoes(&mut sock, b"still there");
    assert_eq!(connect(&proxy).read(&mut [0; 1]).unwrap_or(0), 0);
    proxy.cut();
    assert_eq!(sock.read(&mut [0; 1]).unwrap_or(0), 0);
    assert_eq!(proxy.connections(), 0);
    proxy.refuse(false);
    let mut sock = connect(&proxy);
    echoes(&mut sock, b"again");
    // The end of a side is forwarded too.
    sock.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(sock.read(&mut [0; 1]).unwrap(), 0);
    echo.ends();
}

#[test]
fn it_stalls_delays_and_slows_down() {
    let echo = Echo::new(1);
    let proxy = Proxy::to(echo.port);
    let mut sock = connect(&proxy);
    echoes(&mut sock, b"1");
    proxy.stall(&[Way::Down], true);
    sock.write_all(b"2").unwrap();
    until("it goes up", || proxy.passed(Way::Up) == 2);
    assert!(is_silent(&mut sock));
    proxy.stall(&[Way::Up], true);
    sock.write_all(b"3").unwrap();
    assert!(is_silent(&mut sock));
    proxy.stall(&BOTH, false);
    let mut held = [0; 2];
    sock.read_exact(&mut held).unwrap();
    assert_eq!(&held, b"23");
    proxy.delay(&BOTH, 40);
    let start = Instant::now();
    echoes(&mut sock, b"4");
    assert!(start.elapsed() >= Duration::from_millis(80));
    proxy.delay(&BOTH, 0);
    proxy.limit(&[Way::Down], Some(100_000));
    let start = Instant::now();
    echoes(&mut sock, &vec![b'x'; 20_000]);
    assert!(start.elapsed() >= Duration::from_millis(150));
    drop(sock);
    echo.ends();
}

#[test]
fn it_cuts_in_the_middle_and_forgets() {
    let echo = Echo::new(3);
    let proxy = Proxy::to(echo.port);
    let mut sock = connect(&proxy);
    proxy.cut_after(Way::Down, 3);
    sock.write_all(b"hello").unwrap();
    let mut got = Vec::new();
    let _ = sock.read_to_end(&mut got);
    assert_eq!(got, b"hel");
    let mut sock = connect(&proxy);
    echoes(&mut sock, b"hello");
    proxy.forget();
    sock.write_all(b"lost").unwrap();
    assert!(is_silent(&mut sock));
    drop(sock);
    // Whoever is at the other end still waits: only the proxy's end lets it go on.
    drop(proxy);
    let proxy = Proxy::to(echo.port);
    echoes(&mut connect(&proxy), b"anew");
    echo.ends();
}
