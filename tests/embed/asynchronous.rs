//! Asynchronous callers: clients that wait without blocking, and client libraries on a stream without TCP.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use redkeep::embed::{CallError, Instance, Message};
use redkeep::{Server, Value};

use super::instance::{blocked, count_blocked};
use super::{bulk, ok, shared};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn a_task_that_waits_for_a_key_lets_others_run_on_its_thread() {
    let _shared = shared();
    let instance = Instance::builder().start().unwrap();
    runtime().block_on(async {
        let mut workers = Vec::new();
        for _ in 0..20 {
            let mut worker = instance.async_client().unwrap();
            workers.push(tokio::spawn(async move {
                worker.call(["BLPOP", "jobs", "0"]).await
            }));
        }
        let mut boss = instance.async_client().unwrap();
        let commands = (0..20).map(|n| ["RPUSH".to_owned(), "jobs".to_owned(), n.to_string()]);
        let replies = boss.pipeline(commands).await;
        assert!(replies.iter().all(Result::is_ok), "{replies:?}");
        let mut got = Vec::new();
        for worker in workers {
            let reply = worker.await.unwrap().unwrap();
            got.push(reply.as_array().unwrap()[1].clone());
        }
        // In the order in which they came.
        let expected: Vec<_> = (0..20).map(|n| bulk(&n.to_string())).collect();
        assert_eq!(got, expected);
    });
}

#[test]
fn a_future_that_is_dropped_ends_its_wait_and_leaves_the_client_in_order() {
    let _shared = shared();
    let instance = Instance::builder().start().unwrap();
    runtime().block_on(async {
        let mut client = instance.async_client().unwrap();
        let mut other = instance.client().unwrap();
        for _ in 0..3 {
            let waits =
                tokio::time::timeout(Duration::from_millis(5), client.call(["BLPOP", "l", "0"]));
            assert!(waits.await.is_err());
            blocked(&mut other, 0);
        }
        // Nobody takes it for the one that is gone.
        other.call(["RPUSH", "l", "a"]).unwrap();
        assert_eq!(client.call(["LLEN", "l"]).await.unwrap(), Value::Int(1));
        assert_eq!(client.call(["LPOP", "l"]).await.unwrap(), bulk("a"));
        let commands: [&[&str]; 2] = [&["ECHO", "x"], &["BLPOP", "l", "0"]];
        let waits = tokio::time::timeout(Duration::from_millis(5), client.pipeline(commands));
        assert!(waits.await.is_err());
        assert_eq!(client.call(["ECHO", "y"]).await.unwrap(), bulk("y"));
    });
}

/// Counts how often a task is woken.
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn any_executor_will_do() {
    let _shared = shared();
    let instance = Instance::builder().start().unwrap();
    let (mut reader, mut writer) = (instance.async_client().unwrap(), instance.client().unwrap());
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let mut cx = Context::from_waker(&waker);
    {
        let mut waits = pin!(reader.call(["XREAD", "BLOCK", "0", "STREAMS", "s", "$"]));
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        writer.call(["XADD", "s", "1-1", "f", "v"]).unwrap();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(matches!(waits.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
    }
    {
        let mut subscribes = pin!(reader.call(["SUBSCRIBE", "news"]));
        assert!(subscribes.as_mut().poll(&mut cx).is_ready());
    }
    let mut next = pin!(reader.next_message());
    assert!(next.as_mut().poll(&mut cx).is_pending());
    writer.call(["PUBLISH", "news", "text"]).unwrap();
    assert_eq!(count.0.load(Ordering::SeqCst), 2);
    match next.as_mut().poll(&mut cx) {
        Poll::Ready(Ok(Message::Published { text, .. })) => assert_eq!(text, b"text"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_waits_hears_of_the_end() {
    let _shared = shared();
    let instance = Instance::builder().start().unwrap();
    let mut other = instance.client().unwrap();
    runtime().block_on(async {
        let mut waiting = instance.async_client().unwrap();
        let mut listening = instance.async_client().unwrap();
        listening.call(["SUBSCRIBE", "news"]).await.unwrap();
        let waits = tokio::spawn(async move { waiting.call(["BLPOP", "l", "0"]).await });
        let listens = tokio::spawn(async move { listening.next_message().await });
        while count_blocked(&mut other) < 1 {
            tokio::task::yield_now().await;
        }
        instance.shutdown();
        assert_eq!(waits.await.unwrap(), Err(CallError::Stopped));
        assert_eq!(listens.await.unwrap(), Err(CallError::Stopped));
    });
}

#[test]
fn what_must_be_on_the_disk_is_waited_for_without_blocking() {
    let _shared = shared();
    let dir = tempfile::tempdir().unwrap();
    let instance = Instance::builder()
        .dir(&dir)
        .config("appendonly", "yes")
        .config("appendfsync", "always")
        .start()
        .unwrap();
    runtime().block_on(async {
        let mut client = instance.async_client().unwrap();
        let commands = (0..50).map(|n| ["SET".to_owned(), n.to_string(), "v".to_owned()]);
        for reply in client.pipeline(commands).await {
            assert_eq!(reply, Ok(ok()));
        }
        assert_eq!(client.call(["DBSIZE"]).await.unwrap(), Value::Int(50));
    });
}

async fn connect(
    server: &Server,
    password: Option<&str>,
) -> redis::RedisResult<MultiplexedConnection> {
    let mut info = redis::RedisConnectionInfo::default();
    if let Some(password) = password {
        info = info.set_password(password);
    }
    let stream = server.connect().unwrap();
    // The future that drives the connection borrows it.
    let info: &'static _ = Box::leak(Box::new(info));
    let (connection, driver) = MultiplexedConnection::new(info, stream).await?;
    tokio::spawn(driver);
    Ok(connection)
}

#[test]
fn redis_rs_speaks_to_a_server_that_has_no_socket() {
    let _shared = shared();
    let server = Server::builder()
        .no_tcp()
        .password("secret")
        .start()
        .unwrap();
    assert_eq!(
        (server.addrs(), server.port(), server.url()),
        (&[][..], 0, String::new())
    );
    assert_eq!(server.addr().to_string(), "0.0.0.0:0");
    runtime().block_on(async {
        let mut stranger = connect(&server, None).await.unwrap();
        let refused = stranger.get::<_, Option<String>>("k").await.unwrap_err();
        assert!(refused.to_string().contains("NOAUTH"), "{refused}");
        let mut connection = connect(&server, Some("secret")).await.unwrap();
        let big = vec![b'x'; 1_000_000];
        let _: () = connection.set("k", &big).await.unwrap();
        let back: Vec<u8> = connection.get("k").await.unwrap();
        assert_eq!(back, big);
        let mut pipe = redis::pipe();
        for n in 0..1000 {
            pipe.rpush("l", n);
        }
        let lens: Vec<usize> = pipe.query_async(&mut connection).await.unwrap();
        assert_eq!(lens.last(), Some(&1000));
        let listed = server.client().unwrap().call(["CLIENT", "LIST"]).unwrap();
        assert!(listed.to_string().contains("in-process:0"), "{listed}");
        server.shutdown();
        let ended = connection.get::<_, Option<String>>("k").await;
        assert!(ended.is_err());
    });
}

#[test]
fn a_stream_that_nobody_lets_in_says_why() {
    let _shared = shared();
    let server = Server::builder()
        .no_tcp()
        .config("maxclients", "1")
        .start()
        .unwrap();
    runtime().block_on(async {
        let mut first = connect(&server, None).await.unwrap();
        let _: () = first.set("k", "v").await.unwrap();
        let mut stream = server.connect().unwrap();
        let mut told = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut told)
            .await
            .unwrap();
        assert_eq!(told, "-ERR max number of clients reached\r\n");
    });
}
