//! redis-rs's Sentinel client, while leaders come and go, in threads: what it is told and answers is as in
//! `python/follow.py`.

use super::super::common::fleet::NAME;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::streams::StreamReadReply;
use redis::{
    AsyncConnectionConfig, Connection, ConnectionAddr, ErrorKind, FromRedisValue, Pipeline,
    ProtocolVersion, RedisError, RedisResult, ServerErrorKind, aio::MultiplexedConnection, pipe,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

const RELEASE: &str =
    "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0";
/// So many times in a row each worker works at a leader before it counts as followed.
const ROUNDS: u32 = 20;
const PACE: Duration = Duration::from_millis(10);
const SOON: Duration = Duration::from_secs(60);
/// Of a lock, in milliseconds: whoever takes one and is not told so has to wait that long for it.
const HELD: u32 = 5000;
/// How long an answer may take. The blocking client asks a leader for its ROLE, with no limit: so it does not give one up
/// before the sentinels have done so.
const ANSWER: Duration = Duration::from_secs(4);

#[derive(Clone, Copy)]
pub enum Way {
    Blocking,
    Asynchronous,
}

/// A client that asks sentinels whenever it has no connection.
struct Link {
    client: SentinelClient,
    runtime: Runtime,
    way: Way,
    connection: Option<Either>,
}

enum Either {
    Blocking(Connection),
    Asynchronous(MultiplexedConnection),
}

impl Link {
    fn to(way: Way, sentinels: &[u16], kind: SentinelServerType) -> Link {
        let at = |&port: &u16| ConnectionAddr::Tcp("127.0.0.1".into(), port);
        let protocol = match way {
            Way::Blocking => ProtocolVersion::RESP2,
            Way::Asynchronous => ProtocolVersion::RESP3,
        };
        let builder = SentinelClientBuilder::new(sentinels.iter().map(at), NAME, kind).unwrap();
        let builder = builder.set_client_to_redis_protocol(protocol);
        let client = builder
            .set_client_to_sentinel_protocol(protocol)
            .build()
            .unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Link {
            client,
            runtime,
            way,
            connection: None,
        }
    }

    fn connect(&mut self) -> RedisResult<Either> {
        match self.way {
            Way::Blocking => {
                let connection = self.client.get_connection()?;
                connection.set_read_timeout(Some(ANSWER))?;
                Ok(Either::Blocking(connection))
            }
            Way::Asynchronous => {
                let config =
                    AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(1)));
                let connect = self.client.get_async_connection_with_config(&config);
                Ok(Either::Asynchronous(self.runtime.block_on(connect)?))
            }
        }
    }

    /// Has commands carried out on one connection; after an error the next ones come over another.
    fn run<T: FromRedisValue>(&mut self, commands: &Pipeline) -> RedisResult<T> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let reply = match &mut connection {
            Either::Blocking(c) => commands.query(c),
            Either::Asynchronous(c) => self.runtime.block_on(commands.query_async(c)),
        }?;
        self.connection = Some(connection);
        Ok(reply)
    }
}

/// The port that INFO tells.
fn port(info: &str) -> u16 {
    let line = info.lines().find_map(|l| l.strip_prefix("tcp_port:"));
    line.and_then(|port| port.parse().ok()).unwrap()
}

/// How far the workers are, and what they met.
#[derive(Default)]
struct State {
    rounds: BTreeMap<&'static str, u32>,
    leader: u16,
    /// Good replicas of the leader.
    copies: usize,
    settled: bool,
    over: bool,
    faults: Vec<String>,
    failed: u32,
    /// Entries that have reached all good servers, and entries that the group has read.
    sure: BTreeSet<String>,
    read: BTreeSet<String>,
    holders: u32,
}

impl State {
    fn done(&mut self, worker: &'static str, at: u16) {
        if at == self.leader {
            *self.rounds.entry(worker).or_default() += 1;
        } else if self.settled {
            self.faults
                .push(format!("{worker} works at {at}, not {}", self.leader));
        }
    }

    fn met(&mut self, worker: &'static str, error: &RedisError) {
        self.rounds.insert(worker, 0);
        self.failed += 1;
        if self.settled || !passes(error) {
            self.faults.push(format!("{worker}: {error}"));
        }
    }

    fn followed(&self) -> bool {
        self.settled || (self.rounds.len() == 4 && self.rounds.values().all(|&n| n >= ROUNDS))
    }

    fn unread(&self) -> Vec<&String> {
        self.sure.difference(&self.read).collect()
    }
}

/// Whether a client may be told so while there is no leader.
fn passes(error: &RedisError) -> bool {
    let kinds = [
        ErrorKind::MasterNameNotFoundBySentinel,
        ErrorKind::NoValidReplicasFoundBySentinel,
        ServerErrorKind::ReadOnly.into(),
        ErrorKind::Client,
    ];
    let gone = error.is_io_error() || error.is_timeout() || error.is_connection_dropped();
    gone || kinds.contains(&error.kind()) || error.code() == Some("UNBLOCKED")
}

struct Worker {
    name: &'static str,
    keys: String,
    link: Link,
    state: Arc<Mutex<State>>,
    /// Whether something may have been handed out to a reader that it did not get.
    again: bool,
}

impl Worker {
    fn take_and_release(&mut self) -> RedisResult<u16> {
        let (lock, token) = (format!("{}:lock", self.keys), self.name);
        let mut take = pipe();
        take.cmd("SET")
            .arg(&lock)
            .arg(token)
            .arg("PX")
            .arg(HELD)
            .arg("NX");
        let (taken,): (Option<String>,) = self.link.run(&take)?;
        if taken.is_none() {
            return Ok(0);
        }
        self.enters();
        let info = self.link.run::<(String,)>(pipe().cmd("INFO").arg("server"));
        self.state.lock().unwrap().holders -= 1;
        let mut release = pipe();
        release
            .cmd("EVAL")
            .arg(RELEASE)
            .arg(1)
            .arg(&lock)
            .arg(token);
        let (released,): (i64,) = self.link.run(&release)?;
        if released != 1 {
            return Err((ErrorKind::Client, "lost the lock").into());
        }
        Ok(port(&info?.0))
    }

    fn enters(&self) {
        let mut state = self.state.lock().unwrap();
        state.holders += 1;
        if state.holders > 1 && state.settled {
            state.faults.push("two hold the lock".into());
        }
    }

    fn add(&mut self) -> RedisResult<u16> {
        let copies = self.state.lock().unwrap().copies;
        // WAIT is about what its own connection wrote.
        let mut add = pipe();
        add.cmd("XADD")
            .arg(format!("{}:stream", self.keys))
            .arg("*")
            .arg("n")
            .arg("1");
        add.cmd("WAIT").arg(copies).arg(100);
        add.cmd("INFO").arg("server");
        let (entry, got, info): (String, usize, String) = self.link.run(&add)?;
        let mut state = self.state.lock().unwrap();
        if 0 < state.copies && state.copies <= got {
            state.sure.insert(entry);
        }
        Ok(port(&info))
    }

    fn read(&mut self) -> RedisResult<u16> {
        let (stream, group) = (
            format!("{}:stream", self.keys),
            format!("{}:group", self.keys),
        );
        let after = if self.again { "0" } else { ">" };
        let mut read = pipe();
        read.cmd("XREADGROUP")
            .arg("GROUP")
            .arg(&group)
            .arg("me")
            .arg("COUNT")
            .arg(100);
        read.arg("BLOCK")
            .arg(200)
            .arg("STREAMS")
            .arg(&stream)
            .arg(after);
        read.cmd("INFO").arg("server");
        let (reply, info): (Option<StreamReadReply>, String) = self.link.run(&read)?;
        let entries = reply.into_iter().flat_map(|r| r.keys).flat_map(|k| k.ids);
        let got: Vec<String> = entries.map(|entry| entry.id).collect();
        self.again = self.again && !got.is_empty();
        if !got.is_empty() {
            let mut ack = pipe();
            ack.cmd("XACK").arg(&stream).arg(&group).arg(&got);
            self.state.lock().unwrap().read.extend(got);
            let _: (i64,) = self.link.run(&ack)?;
        }
        Ok(port(&info))
    }

    fn works(mut self, round: fn(&mut Worker) -> RedisResult<u16>) {
        loop {
            let done = round(&mut self);
            let mut state = self.state.lock().unwrap();
            match done {
                // It did not get the lock.
                Ok(0) => {}
                Ok(at) => state.done(self.name, at),
                Err(error) => {
                    state.met(self.name, &error);
                    self.again = true;
                }
            }
            if state.over && (self.name != "reader" || state.unread().is_empty()) {
                return;
            }
            drop(state);
            thread::sleep(PACE);
        }
    }
}

fn until(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + SOON;
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(PACE);
    }
    true
}

/// Works as it is told, and says what became of it.
pub fn work(way: Way, name: &str, sentinels: &[u16], told: Receiver<String>, said: Sender<String>) {
    let keys = name.replace(' ', "-");
    let state = Arc::new(Mutex::new(State::default()));
    let mut leader = Link::to(way, sentinels, SentinelServerType::Master);
    let mut replica = Link::to(way, sentinels, SentinelServerType::Replica);
    let (stream, group) = (format!("{keys}:stream"), format!("{keys}:group"));
    let mut begin = pipe();
    begin
        .cmd("XGROUP")
        .arg("CREATE")
        .arg(stream)
        .arg(group)
        .arg("0")
        .arg("MKSTREAM");
    begin.cmd("SET").arg(format!("{keys}:note")).arg("read me");
    let () = leader.run(&begin).unwrap();
    type Round = fn(&mut Worker) -> RedisResult<u16>;
    let rounds: [(&'static str, Round); 4] = [
        ("locker a", Worker::take_and_release),
        ("locker b", Worker::take_and_release),
        ("adder", Worker::add),
        ("reader", Worker::read),
    ];
    let running = rounds.map(|(name, round)| {
        let worker = Worker {
            name,
            keys: keys.clone(),
            link: Link::to(way, sentinels, SentinelServerType::Master),
            state: Arc::clone(&state),
            again: true,
        };
        thread::spawn(move || worker.works(round))
    });
    let mut reads = pipe();
    reads
        .cmd("GET")
        .arg(format!("{keys}:note"))
        .cmd("INFO")
        .arg("server");
    for line in told {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["leader", at, copies] => {
                let mut now = state.lock().unwrap();
                now.rounds.clear();
                (now.leader, now.copies) = (at.parse().unwrap(), copies.parse().unwrap());
                drop(now);
                let followed = until(|| state.lock().unwrap().followed());
                let mut now = state.lock().unwrap();
                assert!(followed, "not followed: {:?} {:?}", now.rounds, now.faults);
                now.settled = true;
            }
            ["read"] => assert!(until(|| {
                let read = replica.run::<(Option<String>, String)>(&reads);
                let leader = state.lock().unwrap().leader;
                read.is_ok_and(|(note, info)| note.is_some() && port(&info) != leader)
            })),
            _ => {
                let mut now = state.lock().unwrap();
                (now.settled, now.leader) = (false, 0);
            }
        }
        said.send(line).unwrap();
    }
    state.lock().unwrap().over = true;
    until(|| running.iter().all(|thread| thread.is_finished()));
    let state = state.lock().unwrap();
    let mut text = format!(
        "{} entries were sure, {} read, {} calls failed\n",
        state.sure.len(),
        state.read.len(),
        state.failed
    );
    for fault in state.faults.iter().take(20) {
        writeln!(text, "{fault}").unwrap();
    }
    let well = state.faults.is_empty() && !state.sure.is_empty() && state.unread().is_empty();
    said.send(text + if well { "well" } else { "not well" })
        .unwrap();
}
