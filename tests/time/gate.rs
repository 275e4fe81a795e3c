//! Replies that wait until replicas have what they show.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use super::{call, info, ms, seconds, with};

#[test]
fn a_reply_that_nobody_confirms_is_given_up_at_its_time() {
    let server = with(&[("sync-replicas", "1"), ("sync-replicas-timeout", "2000")]);
    let mut watch = server.client().unwrap();
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream.write_all(b"SET key value\r\n").unwrap();
    // Who looked at the key would have to wait as well.
    while !call(&mut watch, "INFO commandstats").contains("cmdstat_set:") {
        std::thread::yield_now();
    }
    server.clock().advance(ms(1_990));
    stream.set_nonblocking(true).unwrap();
    let mut told = [0; 64];
    assert_eq!(
        stream.read(&mut told).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    server.clock().advance(ms(20));
    let n = stream.read(&mut told).unwrap();
    assert_eq!(told.first(), Some(&b'-'), "{:?}", told.get(..n));
    server.clock().advance(seconds(60));
    assert_eq!(info(&mut watch, "blocked_clients"), "0");
}
