//! Engines without sockets and threads, on a clock that stands still: leaders, replicas, and the bytes between them.

use crate::common::instance::{DIR, contents};
use crate::common::sim_disk::{Image, SimDisk};
use redkeep::engine::follow::{Follower, Parted, Work};
use redkeep::engine::{Engine, Options, Outcome};
use redkeep::exec::persist::load;
use redkeep::exec::persist::save::{self, Purpose, SaveStep};
use redkeep::exec::persist::staging::Staging;
use redkeep::exec::replication::sync::{self, Ending};
use redkeep::exec::session::{Peer, SessionId};
use redkeep::exec::{Action, Args, Host, State};
use redkeep::persist::Disk;
use redkeep::replication::Position;
use redkeep::resp::{Batch, Decoder, Limits, Proto, ReplyBuf, parse_reply};
use redkeep::service::config::{Invocation, Settings, SystemFiles, invocation};
use redkeep::util::clock::ManualClock;
use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;

pub const NOW: i64 = 1_700_000_000_000;

/// More steps than anything here takes.
const STEPS: usize = 100_000;

/// Databases that are looked into.
const DATABASES: usize = 3;

struct OnDisk(SimDisk);

impl Host for OnDisk {
    fn disk(&self) -> Option<Arc<dyn Disk>> {
        Some(Arc::new(self.0.clone()))
    }
}

/// A server.
pub struct Server {
    pub engine: Engine,
    pub clock: ManualClock,
    pub disk: SimDisk,
    /// Its client, and one that only looks.
    pub client: SessionId,
    reader: SessionId,
    /// Snapshots that have begun, with these bytes.
    pub saves: VecDeque<(u64, Vec<u8>)>,
    pub wants_to_follow: bool,
}

impl Server {
    pub fn new(seed: u64, options: &[(&str, &str)]) -> Server {
        let mut image = Image::default();
        image.add_dir(DIR);
        let (clock, disk) = (ManualClock::at_ms(NOW), SimDisk::from_image(&image));
        Server::on(&clock, &disk, seed, options)
    }

    fn on(clock: &ManualClock, disk: &SimDisk, seed: u64, options: &[(&str, &str)]) -> Server {
        let fixed = [
            ("dir", DIR),
            ("save", ""),
            ("enable-debug-command", "yes"),
            ("repl-diskless-sync-delay", "0"),
        ];
        let mut argv = Vec::new();
        for (name, value) in fixed.iter().chain(options) {
            argv.push(format!("--{name}").into_bytes());
            argv.push(value.as_bytes().to_vec());
        }
        let Ok(Invocation::Run(loaded)) = invocation(&argv, &SystemFiles) else {
            panic!("the parameters are right");
        };
        let mut engine = Engine::new(Options {
            settings: Settings::new(loaded.config, None),
            host: Box::new(OnDisk(disk.clone())),
            clock: Arc::new(clock.clone()),
            seed: Some(seed),
            ..Options::default()
        });
        let client = engine.connect(Peer::default());
        let reader = engine.connect(Peer::default());
        Server {
            engine,
            clock: clock.clone(),
            disk: disk.clone(),
            client,
            reader,
            saves: VecDeque::new(),
            wants_to_follow: false,
        }
    }

    pub fn state(&mut self) -> &mut State {
        self.engine.state()
    }

    /// Runs a command in the middle of a batch.
    pub fn run_as<A: AsRef<[u8]>>(&mut self, sid: SessionId, argv: &[A]) -> (Vec<u8>, Outcome) {
        let argv: Vec<&[u8]> = argv.iter().map(AsRef::as_ref).collect();
        let mut reply = ReplyBuf::new(Proto::Resp2);
        self.engine.refresh_time();
        let outcome = self.engine.execute(sid, Args::new(&argv), &mut reply);
        (reply.take(), outcome)
    }

    pub fn run(&mut self, line: &str) -> String {
        let argv: Vec<&str> = line.split(' ').collect();
        let (reply, _) = self.run_as(self.client, &argv);
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// Switches the append-only log on. Nobody writes it, and no base is made for it.
    pub fn collects(&mut self) {
        self.does("CONFIG SET appendonly yes");
        self.saves.clear();
        let State { ks, sys, .. } = self.engine.state();
        save::give_up(ks, sys);
        sys.persist.rewrites.scheduled = false;
        if let Some(logging) = &mut sys.persist.logging {
            logging.starting = false;
        }
    }

    /// Runs a command as a batch of its own.
    pub fn does(&mut self, line: &str) -> String {
        let reply = self.run(line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
        self.settle();
        reply
    }

    /// Ends a batch.
    pub fn settle(&mut self) {
        self.engine.settle();
        for action in self.engine.take_actions() {
            match action {
                Action::Save { id, start } => self.saves.push_back((id, start)),
                Action::Follow => self.wants_to_follow = true,
                _ => {}
            }
        }
        drop(self.engine.take_garbage());
    }

    /// Moves time on, and does what is due then.
    pub fn later(&mut self, ms: i64) {
        self.clock.advance_ms(ms);
        self.tick();
    }

    pub fn tick(&mut self) {
        self.engine.tick();
        self.settle();
    }

    /// Writes the next snapshot to its end, in memory.
    pub fn write_snapshot(&mut self) -> Vec<u8> {
        let (id, mut bytes) = self.saves.pop_front().expect("a snapshot has begun");
        for _ in 0..STEPS {
            let mut piece = Vec::new();
            let State { ks, sys, .. } = self.engine.state();
            let step = save::save_step(ks, sys, id, &mut piece);
            bytes.extend(piece);
            match step {
                SaveStep::More => {}
                SaveStep::Done(header) => {
                    *bytes.first_chunk_mut().unwrap() = header.unwrap();
                    save::end_save(ks, sys, id, true);
                    return bytes;
                }
                SaveStep::Cancelled => panic!("it was given up"),
            }
        }
        panic!("it does not end");
    }

    /// Sends the next piece of the snapshot that has begun; whether there is none any more.
    pub fn send_piece(&mut self) -> bool {
        let Some((id, bytes)) = self.saves.front_mut() else {
            return true;
        };
        let (id, mut bytes) = (*id, std::mem::take(bytes));
        let State { ks, sys, .. } = self.engine.state();
        let purpose = sys.persist.saving.as_ref().map(|saving| saving.purpose);
        assert!(matches!(purpose, Some(Purpose::Sync { .. })), "{purpose:?}");
        let begins = !bytes.is_empty();
        let step = match begins {
            true => SaveStep::More,
            false => save::save_step(ks, sys, id, &mut bytes),
        };
        let sent = sync::send_piece(self.engine.state(), id, &bytes);
        let ended = match step {
            SaveStep::More if sent.is_some() => return false,
            SaveStep::Done(_) if sent.is_some() => Some(Ending::Marked),
            _ => None,
        };
        let State {
            ks, sys, sessions, ..
        } = self.engine.state();
        sync::end_sync(ks, sys, sessions, id, ended);
        save::end_save(ks, sys, id, ended.is_some());
        self.saves.pop_front();
        self.settle();
        true
    }

    /// What is in the stream from an offset on.
    pub fn stream_from(&mut self, from: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let stream = self.engine.state().sys.repl.stream.as_ref().unwrap();
        assert!(stream.holds(from), "{from} is not in the stream");
        stream.read(from, usize::MAX, &mut |piece: &[u8]| {
            bytes.extend_from_slice(piece);
        });
        bytes
    }

    /// Puts what a snapshot holds in place of what is there; where that stands.
    pub fn adopt(&mut self, snapshot: &[u8]) -> Option<Position> {
        let State { ks, sys, .. } = self.engine.state();
        let mut staging = Staging::begin(ks, sys);
        staging.feed(snapshot).unwrap();
        self.engine.adopt(staging).unwrap()
    }

    /// Does again what a stream says behind a position.
    pub fn replay(&mut self, from: &Position, stream: &[u8]) {
        self.engine.refresh_time();
        let mut replay = self.engine.begin_replay();
        let db = from.db.unwrap_or(0).to_string();
        let select: [&[u8]; 2] = [b"SELECT", db.as_bytes()];
        self.engine.replay(&mut replay, &select).unwrap();
        let (mut decoder, mut batch, mut at) = (Decoder::new(), Batch::new(), 0);
        while at < stream.len() {
            decoder.decode(&stream[at..], &Limits::default(), &mut batch);
            assert!(!batch.is_empty() && batch.error().is_none());
            for i in 0..batch.len() {
                let argv = batch.argv(i, &stream[at..]);
                self.engine.replay(&mut replay, &argv).unwrap();
            }
            at += batch.consumed();
        }
        assert_eq!(self.engine.state().sys.stats.unexpected_errors, 0);
        self.engine.end_replay(replay);
    }

    /// The file of its data set.
    pub fn file(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let path = load::file_path(&self.engine.state().sys);
        self.disk
            .open(&path)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    }

    /// Everything there is, as text.
    pub fn contents(&mut self) -> String {
        let reader = self.reader;
        contents(DATABASES, |words| {
            let (reply, _) = self.run_as(reader, words);
            parse_reply(&reply).unwrap().unwrap().0
        })
    }

    pub fn field(&mut self, name: &str) -> String {
        let (reply, _) = self.run_as(self.reader, &["INFO", "replication"]);
        let text = String::from_utf8_lossy(&reply).into_owned();
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{name} in {text}"))
            .to_owned()
    }
}

/// A link between two servers.
pub struct Link {
    pub follower: Follower,
    /// The replica, as its leader knows it.
    pub sid: SessionId,
    decoder: Decoder,
    input: Vec<u8>,
}

impl Link {
    /// Has a server follow another one: the connection is made, and nothing else.
    pub fn make(leader: &mut Server, replica: &mut Server) -> Link {
        if !replica.state().sys.repl.is_replica() {
            replica.does("REPLICAOF leader 6379");
        }
        replica.engine.refresh_time();
        let follower = Follower::begin(&mut replica.engine).expect("there is somebody to follow");
        let sid = leader.engine.connect(Peer::default());
        Link {
            follower,
            sid,
            decoder: Decoder::new(),
            input: Vec::new(),
        }
    }

    /// What the replica has to say goes to the leader. Whether it was anything.
    pub fn up(&mut self, leader: &mut Server) -> bool {
        let said = self.follower.take_output();
        self.input.extend_from_slice(&said);
        let mut batch = Batch::new();
        self.decoder
            .decode(&self.input, &Limits::default(), &mut batch);
        let input = std::mem::take(&mut self.input);
        for i in 0..batch.len() {
            let argv = batch.argv(i, &input);
            let (reply, _) = leader.run_as(self.sid, &argv);
            self.follower.receive(&reply).unwrap();
        }
        self.input = input[batch.consumed()..].to_vec();
        leader.settle();
        !said.is_empty()
    }

    /// What the leader has for the replica.
    pub fn take(&mut self, leader: &mut Server) -> Vec<u8> {
        let mut out = ReplyBuf::new(Proto::Resp2);
        for _ in 0..STEPS {
            if !leader.engine.take(self.sid, &mut out, true).more {
                return out.take();
            }
        }
        panic!("it does not come to an end");
    }

    /// The replica does what has come.
    pub fn work(&mut self, replica: &mut Server) -> Result<(), Parted> {
        replica.engine.refresh_time();
        while self.follower.work(&mut replica.engine)? == Work::More {}
        replica.settle();
        Ok(())
    }

    /// What there is goes over, and of a snapshot no more than has begun.
    pub fn flow_some(&mut self, leader: &mut Server, replica: &mut Server) {
        for _ in 0..10 {
            self.up(leader);
            let came = self.take(leader);
            self.follower.receive(&came).unwrap();
            self.work(replica).unwrap();
        }
    }

    /// Everything that there is goes over, snapshots included.
    pub fn flow(&mut self, leader: &mut Server, replica: &mut Server) {
        for _ in 0..STEPS {
            let asked = self.up(leader);
            let sends = !leader.send_piece();
            let came = self.take(leader);
            self.follower.receive(&came).unwrap();
            self.work(replica).unwrap();
            if !asked && !sends && came.is_empty() {
                return;
            }
        }
        panic!("it does not come to an end");
    }
}
