//! A server inside of a test: started, called, stopped.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use redkeep::embed::CallError;
use redkeep::{Server, Value};

#[path = "embed/asynchronous.rs"]
mod asynchronous;
#[path = "embed/consumer.rs"]
mod consumer;
#[path = "embed/counting.rs"]
mod counting;
#[path = "embed/instance.rs"]
mod instance;
#[path = "embed/misuse.rs"]
mod misuse;

/// Threads are counted by one test while the others run none.
static SERVERS: RwLock<()> = RwLock::new(());

fn shared() -> RwLockReadGuard<'static, ()> {
    SERVERS.read().unwrap_or_else(|p| p.into_inner())
}

fn alone() -> RwLockWriteGuard<'static, ()> {
    SERVERS.write().unwrap_or_else(|p| p.into_inner())
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

fn ok() -> Value {
    Value::Simple(b"OK".to_vec())
}

#[test]
fn a_server_listens_where_it_says() {
    let _shared = shared();
    let server = Server::builder().start().unwrap();
    assert_ne!(server.port(), 0);
    assert_eq!(server.url(), format!("redis://127.0.0.1:{}", server.port()));
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
    let mut client = server.client().unwrap();
    let port = server.port().to_string();
    let expected = Value::Array(vec![bulk("port"), bulk(&port)]);
    assert_eq!(client.call(["CONFIG", "GET", "port"]).unwrap(), expected);
}

#[test]
fn calls_and_sockets_see_the_same_data() {
    let _shared = shared();
    let server = Server::builder().start().unwrap();
    let mut client = server.client().unwrap();
    assert_eq!(
        client
            .call(["SET", "lock", "me", "NX", "PX", "30000"])
            .unwrap(),
        ok()
    );
    assert_eq!(
        client.call(["SET", "lock", "you", "NX"]).unwrap(),
        Value::Null
    );
    let mut connection = redis::Client::open(server.url())
        .unwrap()
        .get_connection()
        .unwrap();
    let holder: String = redis::cmd("GET")
        .arg("lock")
        .query(&mut connection)
        .unwrap();
    assert_eq!(holder, "me");
    let error = client.call(["INCR", "lock"]).unwrap();
    assert_eq!(
        error,
        Value::Error(b"ERR value is not an integer or out of range".to_vec())
    );
    assert_eq!(client.call(Vec::<&str>::new()), Err(CallError::Empty));
}

#[test]
fn a_call_may_block_until_somebody_else_calls() {
    let _shared = shared();
    let server = Server::builder().start().unwrap();
    let mut reader = server.client().unwrap();
    let mut writer = server.client().unwrap();
    let waiting =
        std::thread::spawn(move || reader.call(["XREAD", "BLOCK", "0", "STREAMS", "s", "$"]));
    while !writer
        .call(["INFO", "clients"])
        .unwrap()
        .to_string()
        .contains("blocked_clients:1")
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    writer.call(["XADD", "s", "1-1", "f", "v"]).unwrap();
    let entry = Value::Array(vec![bulk("1-1"), Value::Array(vec![bulk("f"), bulk("v")])]);
    let expected = Value::Array(vec![Value::Array(vec![
        bulk("s"),
        Value::Array(vec![entry]),
    ])]);
    assert_eq!(waiting.join().unwrap(), Ok(expected));
    let timed_out = writer
        .call(["XREAD", "BLOCK", "20", "STREAMS", "s", "$"])
        .unwrap();
    assert_eq!(timed_out, Value::NullArray);
}

#[test]
fn keys_expire_without_being_looked_at() {
    let _shared = shared();
    let server = Server::builder().start().unwrap();
    let mut client = server.client().unwrap();
    client.call(["SET", "k", "v", "PX", "30"]).unwrap();
    let began = Instant::now();
    while client.call(["DBSIZE"]).unwrap() != Value::Int(0) {
        assert!(began.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(began.elapsed() >= Duration::from_millis(25));
}

#[test]
fn several_servers_know_nothing_of_each_other() {
    let _shared = shared();
    let servers: Vec<Server> = (0..4).map(|_| Server::builder().start().unwrap()).collect();
    for (i, server) in servers.iter().enumerate() {
        server
            .client()
            .unwrap()
            .call(["SET".into(), "k".into(), i.to_string()])
            .unwrap();
    }
    for (i, server) in servers.iter().enumerate() {
        assert_eq!(
            server.client().unwrap().call(["GET", "k"]).unwrap(),
            bulk(&i.to_string())
        );
    }
}

#[test]
fn a_dropped_server_is_gone_within_100_ms() {
    let _alone = alone();
    let server = Server::builder().start().unwrap();
    let addr = server.addr();
    let mut client = server.client().unwrap();
    let mut streams: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(addr).unwrap()).collect();
    for stream in &mut streams {
        stream.write_all(b"XREAD BLOCK 0 STREAMS s $\r\n").unwrap();
    }
    std::thread::sleep(Duration::from_millis(20));
    let began = Instant::now();
    drop(server);
    let took = began.elapsed();
    assert!(took < Duration::from_millis(100), "{took:?}");
    assert_eq!(own_threads(), 0);
    assert!(TcpStream::connect(addr).is_err());
    for stream in &mut streams {
        assert!(matches!(stream.read(&mut [0; 8]), Ok(0) | Err(_)));
    }
    assert_eq!(client.call(["PING"]), Err(CallError::Stopped));
}

/// Threads of this process that belong to servers; elsewhere than on Linux none are seen.
fn own_threads() -> usize {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return 0;
    };
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.starts_with("redkeep"))
        .count()
}

#[test]
fn dropping_it_inside_of_somebody_elses_runtime_works() {
    let _shared = shared();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = Server::builder().start().unwrap();
        let mut client = server.client().unwrap();
        assert_eq!(client.call(["SET", "k", "v"]).unwrap(), ok());
        server.shutdown();
    });
}

#[test]
fn shutdown_by_a_client_ends_the_server() {
    let _shared = shared();
    let server = Server::builder().start().unwrap();
    let mut stream = TcpStream::connect(server.addr()).unwrap();
    stream.write_all(b"SHUTDOWN NOSAVE\r\n").unwrap();
    assert!(matches!(stream.read(&mut [0; 8]), Ok(0) | Err(_)));
    let began = Instant::now();
    while server.client().is_ok() {
        assert!(began.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_wrong_parameter_is_an_error_that_names_it() {
    let _shared = shared();
    let error = Server::builder()
        .config("no-such-parameter", "1")
        .start()
        .unwrap_err();
    assert!(error.to_string().contains("no-such-parameter"), "{error}");
    let error = Server::builder()
        .config("maxclients", "many")
        .start()
        .unwrap_err();
    assert!(error.to_string().contains("maxclients"), "{error}");
}

#[test]
fn a_busy_script_lets_nobody_in_but_its_killer() {
    let _shared = shared();
    let server = Server::builder()
        .config("lua-time-limit", "20")
        .start()
        .unwrap();
    let addr = server.addr();
    let mut looping = TcpStream::connect(addr).unwrap();
    looping
        .write_all(b"EVAL \"while true do end\" 0\r\n")
        .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    // All of the traffic sits on one I/O thread, which the script occupies.
    let mut other = TcpStream::connect(addr).unwrap();
    other
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    other.write_all(b"GET k\r\nSCRIPT KILL\r\n").unwrap();
    let mut reply = String::new();
    let mut bytes = [0; 4096];
    while !reply.ends_with("+OK\r\n") {
        let n = other.read(&mut bytes).unwrap();
        assert_ne!(n, 0, "{reply}");
        reply.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
    }
    assert!(reply.starts_with("-BUSY "), "{reply}");
    looping
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let n = looping.read(&mut bytes).unwrap();
    assert!(
        bytes[..n].starts_with(b"-ERR Script killed by user"),
        "{}",
        bytes[..n].escape_ascii()
    );
    other.write_all(b"PING\r\n").unwrap();
    let n = other.read(&mut bytes).unwrap();
    assert_eq!(&bytes[..n], b"+PONG\r\n");
}

#[test]
fn a_busy_script_does_not_hold_up_the_end() {
    let _shared = shared();
    let server = Server::builder()
        .config("lua-time-limit", "20")
        .start()
        .unwrap();
    let mut looping = TcpStream::connect(server.addr()).unwrap();
    looping
        .write_all(b"EVAL \"while true do end\" 0\r\n")
        .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let mut client = server.client();
    if let Ok(client) = &mut client {
        assert!(client.call(["PING"]).unwrap().to_string().contains("BUSY"));
    }
    let began = Instant::now();
    drop(server);
    assert!(
        began.elapsed() < Duration::from_millis(500),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_program_keeps_its_own_log_whatever_its_servers_are_told() {
    let _shared = shared();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let start = || {
        let server = Server::builder()
            .config("logfile", file.to_str().unwrap())
            .config("loglevel", "debug")
            .config("log-format", "json");
        server.start().unwrap()
    };
    let servers = [start(), start()];
    for server in &servers {
        let mut client = server.client().unwrap();
        let reply = client.call([
            "CONFIG",
            "SET",
            "loglevel",
            "verbose",
            "log-format",
            "human",
        ]);
        assert_eq!(reply.unwrap().to_string(), "OK");
    }
    assert!(!tracing::dispatcher::has_been_set());
    assert!(!file.exists());
}
