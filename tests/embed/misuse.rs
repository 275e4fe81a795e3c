//! What a program may do wrong, or in a hurry: a typed error or a clean end, and nothing left behind.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use redkeep::embed::{CallError, Instance, OpenError};
use redkeep::server::StartError;
use redkeep::{Client, Server};

use super::counting::Held;
use super::{alone, bulk, ok, own_threads, shared};

#[test]
fn a_port_that_is_taken_is_an_error_that_names_it() {
    let _shared = shared();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    match Server::builder().bind("127.0.0.1").port(port).start() {
        Err(StartError::Listen(error)) => {
            assert_eq!(
                (error.port, error.source.kind()),
                (port, io::ErrorKind::AddrInUse)
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_directory_of_another_server_is_refused() {
    let _shared = shared();
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        Server::builder()
            .dir(&dir)
            .config("appendonly", "yes")
            .start()
    };
    let first = start().unwrap();
    match start() {
        Err(StartError::Instance(OpenError::Dir { source, .. })) => {
            assert_eq!(source.kind(), io::ErrorKind::WouldBlock);
        }
        other => panic!("{other:?}"),
    }
    drop(first);
    assert!(start().is_ok());
    let missing = dir.path().join("missing");
    let missing = Server::builder()
        .dir(&missing)
        .config("appendonly", "yes")
        .start();
    assert!(
        matches!(missing, Err(StartError::Instance(_))),
        "{missing:?}"
    );
}

#[test]
#[cfg(unix)]
fn a_unix_socket_is_there_while_its_server_is() {
    let _shared = shared();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a socket");
    let start = || {
        let builder = Server::builder().no_tcp().unix_socket(&path);
        builder.password("s&s").start().unwrap()
    };
    let server = start();
    assert!(server.url().ends_with("/a%20socket"), "{}", server.url());
    let client = redis::Client::open(server.url_with_password()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let pong: String = redis::cmd("PING").query(&mut connection).unwrap();
    assert_eq!(pong, "PONG");
    // Whoever comes next takes the place, as with Redis; who was there before does not take it from him.
    let second = start();
    drop(server);
    assert!(path.exists());
    assert!(client.get_connection().is_ok());
    drop(second);
    assert!(!path.exists());
    let nowhere = Server::builder()
        .unix_socket(dir.path().join("no/such/place"))
        .start();
    assert!(
        matches!(nowhere, Err(StartError::Unix { .. })),
        "{nowhere:?}"
    );
}

#[test]
fn dropping_in_a_task_of_a_runtime_works_with_connections_open() {
    let _shared = shared();
    for threads in [1, 2] {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .unwrap();
        let ended = runtime.block_on(async {
            tokio::spawn(async {
                let server = Server::builder().start().unwrap();
                let mut client = server.async_client().unwrap();
                assert_eq!(client.call(["SET", "k", "v"]).await, Ok(ok()));
                let mut stream = server.connect().unwrap();
                drop(server);
                let mut rest = Vec::new();
                let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest);
                assert_eq!(read.await.unwrap(), 0);
                client.call(["GET", "k"]).await
            })
            .await
        });
        assert_eq!(ended.unwrap(), Err(CallError::Stopped));
    }
}

/// Runs `work` in a copy of this process, which then becomes another program. It has not ended well if it takes long. What
/// `work` has is here as it was, until what is returned is dropped.
#[cfg(unix)]
fn in_a_copy(mut work: impl FnMut() -> Result<(), i32> + Send + Sync + 'static) -> Command {
    use std::os::unix::process::CommandExt;
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let mut command = Command::new("true");
        let then = move || work().map_err(io::Error::from_raw_os_error);
        #[expect(
            unsafe_code,
            reason = "there is no other way to run something in a copy of the process"
        )]
        // SAFETY: the copy has one thread, and allocates: of all locks of the process only those of the allocator could be
        // held, which the C library frees in a copy.
        unsafe {
            command.pre_exec(then);
        }
        let status = command.status();
        let _ = sender.send((status, command));
    });
    let (status, command) = ended.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(status.as_ref().is_ok_and(|s| s.success()), "{status:?}");
    command
}

#[test]
#[cfg(unix)]
fn a_copy_of_the_process_does_not_disturb_the_server() {
    let _shared = shared();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let server = Server::builder()
        .dir(&dir)
        .config("appendonly", "yes")
        .unix_socket(&path)
        .start()
        .unwrap();
    let addr = server.addr();
    let mut client = server.client().unwrap();
    assert_eq!(client.call(["SET", "k", "v"]).unwrap(), ok());
    let mut its_client = Some(server.client().unwrap());
    let mut its_server = Some(server);
    let mut its_instance = Some(Instance::builder().start().unwrap());
    // Another thread has the engine while the process is copied: in the copy nobody will ever let go of it.
    let frozen = its_server.as_ref().unwrap().faults().freeze().unwrap();
    let command = in_a_copy(move || {
        let call = its_client.as_mut().map(|client| client.call(["PING"]));
        drop((its_client.take(), its_server.take(), its_instance.take()));
        match call {
            Some(Err(CallError::Stopped)) => Ok(()),
            Some(Ok(_)) => Err(1),
            _ => Err(2),
        }
    });
    frozen.thaw();
    assert!(path.exists());
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(b"GET k\r\n").unwrap();
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"$1\r\nv\r\n");
    assert_eq!(client.call(["SET", "k", "w"]).unwrap(), ok());
    // A program that was started inherits nothing.
    let listed = Command::new("ls")
        .args(["-l", "/proc/self/fd"])
        .output()
        .unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        !listed.contains("socket:") && !listed.contains("eventpoll"),
        "{listed}"
    );
    drop(command);
    assert_eq!(client.call(["GET", "k"]), Err(CallError::Stopped));
    assert!(!path.exists());
}

/// Descriptors of this process; elsewhere than on Linux none are seen.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn use_client(mut client: Client) {
    assert_eq!(client.call(["SET", "k", "v"]).unwrap(), ok());
    assert_eq!(
        client
            .call(["EVAL", "return redis.call('GET', 'k')", "0"])
            .unwrap(),
        bulk("v")
    );
}

/// One life of a server, with everything that it may have.
fn live(dir: &std::path::Path) {
    let server = Server::builder()
        .dir(dir)
        .config("appendonly", "yes")
        .unix_socket(dir.join("socket"))
        .start()
        .unwrap();
    use_client(server.client().unwrap());
    let mut streams: Vec<_> = (0..3)
        .map(|_| TcpStream::connect(server.addr()).unwrap())
        .collect();
    for stream in &mut streams {
        stream.write_all(b"BLPOP nothing 0\r\n").unwrap();
    }
    let _half = server.connect().unwrap();
    server.shutdown();
    let instance = Instance::builder().start().unwrap();
    use_client(instance.client().unwrap());
    drop(instance);
    // It gives up half way.
    let failed = Server::builder()
        .dir(dir)
        .config("appendonly", "yes")
        .config("unixsocket", "/no/such/place")
        .start();
    assert!(failed.is_err());
}

#[test]
fn many_lives_leave_no_thread_descriptor_file_or_memory() {
    /// Lives of a round.
    const LIVES: isize = 20;
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        live(dir.path());
    }
    let files = || std::fs::read_dir(dir.path()).unwrap().count();
    let before = (descriptors(), files());
    let rounds: Vec<Held> = (0..4)
        .map(|_| {
            let before = Held::now();
            (0..LIVES).for_each(|_| live(dir.path()));
            Held::now().since(before)
        })
        .collect();
    assert_eq!(own_threads(), 0);
    assert_eq!((descriptors(), files()), before);
    // Tests that end meanwhile are noted down by whoever runs them, in some rounds. What each life leaves is left in all of
    // them: one block, or some dozen bytes, would show.
    let least = rounds.iter().map(|held| held.blocks).min().unwrap();
    assert!(least < LIVES, "blocks are left: {rounds:?}");
    let least = rounds.iter().map(|held| held.bytes).min().unwrap();
    assert!(least < 64 * LIVES, "bytes are left: {rounds:?}");
}

#[test]
fn an_end_takes_a_few_milliseconds() {
    let _alone = alone();
    let mut took: Vec<Duration> = (0..20)
        .map(|_| {
            let server = Server::builder().start().unwrap();
            let mut streams: Vec<_> = (0..20)
                .map(|_| TcpStream::connect(server.addr()).unwrap())
                .collect();
            for stream in &mut streams {
                stream.write_all(b"PING\r\n").unwrap();
                stream.read_exact(&mut [0; 7]).unwrap();
                stream.write_all(b"XREAD BLOCK 0 STREAMS s $\r\n").unwrap();
            }
            let began = Instant::now();
            server.shutdown();
            began.elapsed()
        })
        .collect();
    took.sort();
    // The goal is 5 ms, on a machine that has nothing else to do.
    assert!(took[10] < Duration::from_millis(20), "{took:?}");
    assert!(took[19] < Duration::from_millis(100), "{took:?}");
}
