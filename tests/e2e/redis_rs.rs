//! redis-rs: its blocking connection over RESP2 and RESP3, and its asynchronous ones.

use super::Target;
use futures_util::StreamExt;
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::caching::CacheConfig;
use redis::{
    AsyncCommands, AsyncConnectionConfig, Client, Commands, Connection, ErrorKind, PushInfo,
    PushKind, ServerErrorKind, Value, pipe,
};
use std::collections::{BTreeSet, HashMap};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const ADD: &str = "return redis.call('INCRBY', KEYS[1], ARGV[1])";
const WAIT: Duration = Duration::from_secs(30);

fn client(target: &Target, protocol: u8) -> Client {
    Client::open(format!("{}/?protocol=resp{protocol}", target.url())).unwrap()
}

fn connect(target: &Target, protocol: u8) -> Connection {
    client(target, protocol).get_connection().unwrap()
}

fn both(run: impl Fn(&Target, u8)) {
    for protocol in [2, 3] {
        run(&Target::start(), protocol);
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < WAIT, "never came: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn blocked(c: &mut Connection) -> usize {
    let info: String = redis::cmd("INFO").arg("clients").query(c).unwrap();
    let line = info
        .lines()
        .find_map(|l| l.strip_prefix("blocked_clients:"));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn values_come_back_as_their_types() {
    both(|target, protocol| {
        let mut c = connect(target, protocol);
        let () = c.set("s", "v").unwrap();
        assert_eq!(c.get::<_, Option<String>>("none").unwrap(), None);
        assert_eq!(c.append::<_, _, usize>("s", b"\x00\xff").unwrap(), 3);
        assert_eq!(c.get::<_, Vec<u8>>("s").unwrap(), b"v\x00\xff");
        let () = c.hset_multiple("h", &[("a", 1), ("b", 2)]).unwrap();
        assert_eq!(
            c.hgetall::<_, HashMap<String, i64>>("h").unwrap(),
            HashMap::from([("a".into(), 1), ("b".into(), 2)])
        );
        let () = c.rpush("l", &["x", "y"]).unwrap();
        assert_eq!(c.lrange::<_, Vec<String>>("l", 0, -1).unwrap(), ["x", "y"]);
        let () = c.sadd("t", &[1, 2]).unwrap();
        assert_eq!(
            c.smembers::<_, BTreeSet<u8>>("t").unwrap(),
            BTreeSet::from([1, 2])
        );
        let () = c
            .zadd_multiple("z", &[(1.5, "a"), (f64::INFINITY, "b")])
            .unwrap();
        let scores: Vec<(String, f64)> = c.zrange_withscores("z", 0, -1).unwrap();
        assert_eq!(
            scores,
            [("a".to_owned(), 1.5), ("b".to_owned(), f64::INFINITY)]
        );
        assert!(c.exists::<_, bool>("z").unwrap() && !c.sismember::<_, _, bool>("t", 9).unwrap());
        let wrong = c.lpush::<_, _, i64>("s", 1).unwrap_err();
        assert_eq!(wrong.code(), Some("WRONGTYPE"));
    });
}

#[test]
fn pipelines_and_transactions() {
    both(|target, protocol| {
        let mut c = connect(target, protocol);
        let mut many = pipe();
        (0..5000).for_each(|_| {
            many.incr("n", 1);
        });
        assert_eq!(
            many.query::<Vec<i64>>(&mut c).unwrap(),
            (1..=5000).collect::<Vec<_>>()
        );
        let (a, b): (i64, String) = pipe()
            .atomic()
            .set("a", 1)
            .ignore()
            .incr("a", 1)
            .get("a")
            .query(&mut c)
            .unwrap();
        assert_eq!((a, b.as_str()), (2, "2"));
        thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    let mut mine = connect(target, protocol);
                    for _ in 0..25 {
                        let (): () = redis::transaction(&mut mine, &["m"], |c, p| {
                            let m: Option<i64> = c.get("m")?;
                            p.set("m", m.unwrap_or(0) + 1).ignore().query(c)
                        })
                        .unwrap();
                    }
                });
            }
        });
        assert_eq!(c.get::<_, i64>("m").unwrap(), 100, "no increment is lost");
    });
}

#[test]
fn scripts_are_sent_again_when_the_server_forgot_them() {
    both(|target, protocol| {
        let mut c = connect(target, protocol);
        let add = redis::Script::new(ADD);
        assert_eq!(add.key("n").arg(2).invoke::<i64>(&mut c).unwrap(), 2);
        let () = redis::cmd("SCRIPT").arg("FLUSH").query(&mut c).unwrap();
        assert_eq!(add.key("n").arg(3).invoke::<i64>(&mut c).unwrap(), 5);
        let unknown = redis::cmd("EVALSHA")
            .arg("f".repeat(40))
            .arg(0)
            .query::<Value>(&mut c)
            .unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::Server(ServerErrorKind::NoScript));
        let nested: (i64, String, (Option<i64>, bool)) =
            redis::Script::new("return {1, 'two', {false, 1}}")
                .invoke(&mut c)
                .unwrap();
        assert_eq!(nested, (1, "two".to_owned(), (None, true)));
    });
}

#[test]
fn functions_are_called() {
    both(|target, protocol| {
        let mut c = connect(target, protocol);
        let code = "#!lua name=l\nredis.register_function('add', function(k, a) return redis.call('INCRBY', k[1], a[1]) end)";
        let name: String = redis::cmd("FUNCTION")
            .arg("LOAD")
            .arg(code)
            .query(&mut c)
            .unwrap();
        assert_eq!(name, "l");
        let n: i64 = redis::cmd("FCALL")
            .arg("add")
            .arg(1)
            .arg("n")
            .arg(4)
            .query(&mut c)
            .unwrap();
        assert_eq!(n, 4);
    });
}

#[test]
fn iterators_see_everything_once() {
    both(|target, protocol| {
        let mut c = connect(target, protocol);
        let mut many = pipe();
        (0..2000).for_each(|i| {
            many.set(format!("k:{i}"), i)
                .ignore()
                .hset("h", i, i)
                .ignore();
        });
        let () = many.query(&mut c).unwrap();
        let keys: BTreeSet<String> = c.scan_match("k:*").unwrap().map(Result::unwrap).collect();
        assert_eq!(keys.len(), 2000);
        let fields: HashMap<u32, u32> = c.hscan("h").unwrap().map(Result::unwrap).collect();
        assert_eq!(fields.len(), 2000);
        assert!(fields.iter().all(|(k, v)| k == v));
    });
}

#[test]
fn a_subscriber_hears_all_in_order() {
    both(|target, protocol| {
        let (mut listening, mut c) = (connect(target, protocol), connect(target, protocol));
        let mut sub = listening.as_pubsub();
        sub.set_read_timeout(Some(WAIT)).unwrap();
        sub.subscribe("numbers").unwrap();
        sub.psubscribe("n*").unwrap();
        for i in 0..500 {
            assert_eq!(c.publish::<_, _, i64>("numbers", i).unwrap(), 2);
        }
        for i in 0..500 {
            let (plain, pattern) = (sub.get_message().unwrap(), sub.get_message().unwrap());
            assert_eq!(plain.get_payload::<i64>().unwrap(), i);
            assert_eq!(pattern.get_payload::<i64>().unwrap(), i);
            assert!(!plain.from_pattern() && pattern.get_pattern::<String>().unwrap() == "n*");
        }
        drop(sub);
        assert_eq!(
            c.publish::<_, _, i64>("numbers", 0).unwrap(),
            0,
            "it left when it was dropped"
        );
        let () = listening.set("a", "normal again").unwrap();
    });
}

#[test]
fn blocked_pops_are_served_in_order() {
    both(|target, protocol| {
        let mut c = connect(target, protocol);
        thread::scope(|s| {
            let waiters: Vec<_> = (0..4)
                .map(|i| {
                    let waiter = s.spawn(|| {
                        connect(target, protocol)
                            .blpop::<_, (String, i64)>("l", 30.0)
                            .unwrap()
                    });
                    eventually("a blocked client", || blocked(&mut c) == i + 1);
                    waiter
                })
                .collect();
            let () = c.rpush("l", &[0, 1, 2, 3]).unwrap();
            for (i, waiter) in (0..).zip(waiters) {
                assert_eq!(waiter.join().unwrap(), ("l".to_owned(), i));
            }
        });
        assert_eq!(
            c.blpop::<_, Option<(String, i64)>>("none", 0.05).unwrap(),
            None
        );
    });
}

#[test]
fn a_unix_socket_and_a_password() {
    let target = Target::start();
    let path = target.folder().join("socket");
    let mut unix = Client::open(format!("redis+unix://{}", path.display()))
        .unwrap()
        .get_connection()
        .unwrap();
    let () = unix.set("a", "here").unwrap();
    let () = redis::cmd("CONFIG")
        .arg(&["SET", "requirepass", "secret"])
        .query(&mut unix)
        .unwrap();
    let open = |who: &str| {
        Client::open(format!("redis://{who}127.0.0.1:{}", target.port()))
            .unwrap()
            .get_connection()
    };
    assert_eq!(
        open(":secret@").unwrap().get::<_, String>("a").unwrap(),
        "here"
    );
    assert_eq!(
        open("default:secret@")
            .unwrap()
            .get::<_, String>("a")
            .unwrap(),
        "here"
    );
    assert!(open(":wrong@").is_err());
}

/// A runtime that ends with the test.
fn block_on<T>(run: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(2 * WAIT, run)
            .await
            .expect("the run does not end")
    })
}

/// A connection whose replies may take as long as they do on a busy machine.
async fn connect_async(client: &Client, config: AsyncConnectionConfig) -> MultiplexedConnection {
    let config = config
        .set_response_timeout(Some(WAIT))
        .set_connection_timeout(Some(WAIT));
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .unwrap()
}

/// The next push that is not of the kind that only confirms.
async fn push(pushes: &mut UnboundedReceiver<PushInfo>, kind: PushKind) -> Vec<Value> {
    loop {
        let push = tokio::time::timeout(WAIT, pushes.recv())
            .await
            .expect("a push")
            .expect("an open connection");
        if push.kind == kind {
            return push.data;
        }
    }
}

fn text(v: &Value) -> String {
    redis::from_redis_value_ref(v).unwrap()
}

#[test]
fn many_tasks_share_one_connection() {
    both(|target, protocol| {
        let client = client(target, protocol);
        block_on(async {
            let c = connect_async(&client, AsyncConnectionConfig::new()).await;
            let tasks = (0..200).map(|i| {
                let mut c = c.clone();
                tokio::spawn(async move {
                    let () = c.set(i, i).await.unwrap();
                    let (n, v): (i64, i64) = pipe()
                        .atomic()
                        .incr("n", 1)
                        .get(i)
                        .query_async(&mut c)
                        .await
                        .unwrap();
                    assert_eq!(v, i);
                    n
                })
            });
            let mut numbers = Vec::new();
            for task in tasks.collect::<Vec<_>>() {
                numbers.push(task.await.unwrap());
            }
            numbers.sort_unstable();
            assert_eq!(numbers, (1..=200).collect::<Vec<_>>());
            let add = redis::Script::new(ADD);
            let mut c = c.clone();
            assert_eq!(
                add.key("s")
                    .arg(2)
                    .invoke_async::<i64>(&mut c)
                    .await
                    .unwrap(),
                2
            );
            let () = redis::cmd("SCRIPT")
                .arg("FLUSH")
                .query_async(&mut c)
                .await
                .unwrap();
            assert_eq!(
                add.key("s")
                    .arg(2)
                    .invoke_async::<i64>(&mut c)
                    .await
                    .unwrap(),
                4
            );
        });
    });
}

#[test]
fn an_asynchronous_subscriber() {
    both(|target, protocol| {
        let client = client(target, protocol);
        block_on(async {
            let mut c = connect_async(&client, AsyncConnectionConfig::new()).await;
            let (mut sink, mut messages) = client.get_async_pubsub().await.unwrap().split();
            sink.subscribe(&["a", "b"]).await.unwrap();
            sink.psubscribe("p*").await.unwrap();
            for channel in ["a", "b", "pc"] {
                assert_eq!(c.publish::<_, _, i64>(channel, channel).await.unwrap(), 1);
                let message = messages.next().await.unwrap();
                assert_eq!(message.get_channel_name(), channel);
                assert_eq!(message.get_payload::<String>().unwrap(), channel);
            }
            sink.unsubscribe("a").await.unwrap();
            assert_eq!(c.publish::<_, _, i64>("a", "x").await.unwrap(), 0);
        });
    });
}

#[test]
fn pushes_come_between_the_replies_of_one_connection() {
    let target = Target::start();
    let client = client(&target, 3);
    block_on(async {
        let (sender, mut pushes) = unbounded_channel();
        let mut c = connect_async(
            &client,
            AsyncConnectionConfig::new().set_push_sender(sender),
        )
        .await;
        c.subscribe("news").await.unwrap();
        let confirmed = push(&mut pushes, PushKind::Subscribe).await;
        assert_eq!(
            (text(&confirmed[0]), &confirmed[1]),
            ("news".to_owned(), &Value::Int(1))
        );
        let () = c.set("a", 1).await.unwrap();
        assert_eq!(c.publish::<_, _, i64>("news", "hello").await.unwrap(), 1);
        let message = push(&mut pushes, PushKind::Message).await;
        assert_eq!(
            (text(&message[0]), text(&message[1])),
            ("news".to_owned(), "hello".to_owned())
        );
        let () = redis::cmd("CLIENT")
            .arg(&["TRACKING", "ON"])
            .query_async(&mut c)
            .await
            .unwrap();
        let _: i64 = c.get("a").await.unwrap();
        let mut other = connect_async(&client, AsyncConnectionConfig::new()).await;
        let () = other.set("a", 2).await.unwrap();
        let keys = push(&mut pushes, PushKind::Invalidate).await;
        assert_eq!(keys, [Value::Array(vec![Value::BulkString(b"a".to_vec())])]);
    });
}

#[test]
fn a_cache_in_the_client() {
    let target = Target::start();
    let client = client(&target, 3);
    block_on(async {
        let mut cached = connect_async(
            &client,
            AsyncConnectionConfig::new().set_cache_config(CacheConfig::default()),
        )
        .await;
        let mut other = connect_async(&client, AsyncConnectionConfig::new()).await;
        let () = other.set("a", 1).await.unwrap();
        for _ in 0..5 {
            assert_eq!(cached.get::<_, i64>("a").await.unwrap(), 1);
        }
        let seen = cached.get_cache_statistics().unwrap();
        assert_eq!((seen.hit, seen.miss), (4, 1));
        let () = other.set("a", 2).await.unwrap();
        let since = Instant::now();
        while cached.get::<_, i64>("a").await.unwrap() != 2 {
            assert!(since.elapsed() < WAIT, "the cache keeps what changed");
        }
        assert_eq!(cached.get_cache_statistics().unwrap().invalidate, 1);
    });
}

#[test]
fn a_managed_connection_comes_back_with_its_subscriptions() {
    let target = Target::start();
    let client = client(&target, 3);
    block_on(async {
        let (sender, mut pushes) = unbounded_channel();
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(WAIT))
            .set_connection_timeout(Some(WAIT))
            .set_min_delay(Duration::from_millis(5))
            .set_push_sender(sender)
            .set_automatic_resubscription();
        let mut managed = ConnectionManager::new_with_config(client.clone(), config)
            .await
            .unwrap();
        let mut other = connect_async(&client, AsyncConnectionConfig::new()).await;
        managed.subscribe("news").await.unwrap();
        let mine: i64 = redis::cmd("CLIENT")
            .arg("ID")
            .query_async(&mut managed)
            .await
            .unwrap();
        let killed: i64 = redis::cmd("CLIENT")
            .arg("KILL")
            .arg("ID")
            .arg(mine)
            .query_async(&mut other)
            .await
            .unwrap();
        assert_eq!(killed, 1);
        let since = Instant::now();
        let now = loop {
            // A call may meet the connection while it is gone.
            if let Ok(now) = redis::cmd("CLIENT")
                .arg("ID")
                .query_async::<i64>(&mut managed)
                .await
            {
                break now;
            }
            assert!(since.elapsed() < WAIT, "it never comes back");
        };
        assert_ne!(now, mine);
        while other
            .publish::<_, _, i64>("news", "still here")
            .await
            .unwrap()
            == 0
        {
            assert!(since.elapsed() < WAIT, "it never subscribes again");
        }
        let message = push(&mut pushes, PushKind::Message).await;
        assert_eq!(text(&message[1]), "still here");
    });
}

#[test]
fn a_monitor_sees_what_others_call() {
    let target = Target::start();
    let client = client(&target, 2);
    block_on(async {
        let monitor = client.get_async_monitor().await.unwrap();
        let mut lines = monitor.into_on_message::<String>();
        let mut c = connect_async(&client, AsyncConnectionConfig::new()).await;
        let () = c.set("a", "two words").await.unwrap();
        loop {
            let line = lines.next().await.unwrap();
            if line.ends_with(r#""SET" "a" "two words""#) {
                break;
            }
        }
    });
}
