//! Whole sessions: several clients of one instance that has a password, each line what one of them does. No command
//! panics; replies are whole; a stranger is told nothing and changes nothing; what is counted by difference is what it would
//! be counted anew; and nothing is left of clients that are gone.

use redkeep::engine::{Engine, Options, Outcome};
use redkeep::exec::Args;
use redkeep::exec::session::{Peer, SessionId};
use redkeep::resp::{Proto, ReplyBuf, parse_reply, split_line};
use redkeep::service::acl::Users;
use redkeep::service::config::{Config, Settings};
use redkeep::util::clock::ManualClock;
use std::sync::Arc;

const CLIENTS: usize = 4;

/// Lines that are run of a session, each at most so long.
const LINES: usize = 120;
const LENGTH: usize = 1000;

/// What is not tried: it ends or stalls the instance because it is told to, or takes as much as it is told to take.
const SPARED: &[&str] = &[
    "SHUTDOWN",
    "DEBUG",
    "MIGRATE",
    "REPLICAOF",
    "SLAVEOF",
    "FAILOVER",
    "PSYNC",
    "SYNC",
    "SAVE",
    "BGSAVE",
    "BGREWRITEAOF",
    "EVAL",
    "EVAL_RO",
    "EVALSHA",
    "EVALSHA_RO",
    "SCRIPT",
    "FUNCTION",
    "FCALL",
    "FCALL_RO",
    "LCS",
    "REDKEEP",
];

/// Parameters that are set: what their names begin with.
const SET: &[&str] = &[
    "maxmemory",
    "notify-",
    "hash-",
    "zset-",
    "list-",
    "set-",
    "lfu-",
    "lazy",
    "active",
    "latency",
    "slowlog",
    "tracking",
];

/// Numbers beyond it stand for more than is worth the time.
const LARGE: usize = 6;

/// Each line begins with a digit, which names a client, and goes on with its command as an inline request; or with `!`, and time
/// passes, so many milliseconds; or with `-` and a digit, and that client goes and another comes.
pub fn session(data: &[u8]) {
    let mut world = World::new();
    for (n, line) in data.split(|&b| b == b'\n').take(LINES).enumerate() {
        world.act(&line[..line.len().min(LENGTH)]);
        if n % 16 == 15 {
            world.audit();
        }
    }
    world.audit();
    world.ends();
}

struct World {
    engine: Engine,
    clock: Arc<ManualClock>,
    clients: Vec<Client>,
}

struct Client {
    sid: SessionId,
    waits: bool,
    muted: bool,
}

impl World {
    fn new() -> World {
        let clock = Arc::new(ManualClock::at_ms(1_700_000_000_000));
        let config = Config {
            requirepass: b"pw".to_vec(),
            // What one command can make of a value is bounded by it.
            proto_max_bulk_len: 1 << 20,
            ..Config::default()
        };
        let mut users = Users::default();
        users.require(&config.requirepass);
        let mut engine = Engine::new(Options {
            users,
            settings: Settings::new(config, None),
            clock: clock.clone(),
            seed: Some(1),
            ..Options::default()
        });
        engine.refresh_time();
        let mut world = World {
            engine,
            clock,
            clients: Vec::new(),
        };
        for _ in 0..CLIENTS {
            let client = world.comes();
            world.clients.push(client);
        }
        // The others have to say it themselves.
        world.says(0, &[b"AUTH", b"pw"]);
        world.says(1, &[b"HELLO", b"3", b"AUTH", b"default", b"pw"]);
        world
    }

    fn comes(&mut self) -> Client {
        let sid = self.engine.connect(Peer::default());
        Client {
            sid,
            waits: false,
            muted: false,
        }
    }

    fn act(&mut self, line: &[u8]) {
        let Some((&first, rest)) = line.split_first() else {
            return;
        };
        let of = |byte: u8| usize::from(byte) % CLIENTS;
        match first {
            b'!' => {
                let digits = rest.iter().take(LARGE).take_while(|b| b.is_ascii_digit());
                let ms = digits.fold(0, |ms, d| ms * 10 + i64::from(d - b'0'));
                self.clock.advance_ms(ms);
                self.engine.tick();
                self.looks();
            }
            b'-' => self.changes(of(rest.first().copied().unwrap_or_default())),
            _ => {
                if let Ok(words) = split_line(rest) {
                    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                    if !words.is_empty() && !is_spared(&words) {
                        self.says(of(first), &words);
                    }
                }
            }
        }
    }

    /// A client runs a command, unless it waits.
    fn says(&mut self, client: usize, words: &[&[u8]]) {
        let (sid, waits) = (self.clients[client].sid, self.clients[client].waits);
        if waits {
            return;
        }
        let known = self.is_known(sid);
        let before = self.engine.state().sys.persist.dirty;
        let mut reply = ReplyBuf::new(Proto::Resp2);
        if let Some(session) = self.engine.state().sessions.get(sid) {
            reply.set_proto(session.proto);
        }
        self.engine.refresh_time();
        let outcome = self.engine.execute(sid, Args::new(words), &mut reply);
        let bytes = reply.take();
        let line = words.join(&b' ').escape_ascii().to_string();
        let replies = whole(&bytes, &line);
        let name = words[0].to_ascii_uppercase();
        if !known {
            assert_eq!(self.engine.state().sys.persist.dirty, before, "{line}");
            let allowed = [&b"AUTH"[..], b"HELLO", b"QUIT", b"RESET"].contains(&&*name);
            assert!(
                allowed || replies == 0 || bytes.starts_with(b"-") && replies == 1,
                "{line}: {}",
                bytes.escape_ascii()
            );
        }
        if name == b"CLIENT" && words.len() == 3 {
            self.clients[client].muted |= words[1].eq_ignore_ascii_case(b"REPLY");
        }
        let muted = self.clients[client].muted;
        match outcome {
            // The word of a replica is not answered, nor who monitors already.
            Outcome::Done => {
                let silent = [&b"REPLCONF"[..], b"MONITOR"].contains(&&*name);
                assert!(muted || silent || replies > 0, "{line} is not answered");
            }
            Outcome::Blocked => self.clients[client].waits = true,
            Outcome::Close | Outcome::Cut => self.changes(client),
        }
        self.looks();
    }

    fn is_known(&mut self, sid: SessionId) -> bool {
        !self.engine.state().must_log_in(sid)
    }

    /// A client goes, and another comes.
    fn changes(&mut self, client: usize) {
        self.engine.disconnect(self.clients[client].sid);
        self.clients[client] = self.comes();
        self.looks();
    }

    /// Connections look what has come for them.
    fn looks(&mut self) {
        for client in 0..self.clients.len() {
            let mut out = ReplyBuf::new(Proto::Resp2);
            let sid = self.clients[client].sid;
            let outcome = self.engine.take_output(sid, &mut out);
            whole(&out.take(), "what came by itself");
            match outcome {
                Outcome::Done => self.clients[client].waits = false,
                Outcome::Blocked => self.clients[client].waits = true,
                Outcome::Close | Outcome::Cut => {
                    self.engine.disconnect(sid);
                    self.clients[client] = self.comes();
                }
            }
        }
        self.engine.take_actions();
        self.engine.take_garbage();
    }

    fn audit(&mut self) {
        if let Err(wrong) = self.engine.state().audit() {
            panic!("{wrong}");
        }
    }

    /// All go: nothing is left of them.
    fn ends(mut self) {
        for client in std::mem::take(&mut self.clients) {
            self.engine.disconnect(client.sid);
        }
        self.audit();
        let client = self.comes();
        self.clients.push(client);
        self.says(0, &[b"AUTH", b"pw"]);
        let sid = self.clients[0].sid;
        if self.clients[0].waits {
            return;
        }
        let mut reply = ReplyBuf::new(Proto::Resp2);
        self.engine
            .execute(sid, Args::new(&[b"INFO", b"everything"]), &mut reply);
        let text = String::from_utf8_lossy(reply.as_slice()).into_owned();
        for none in [
            "connected_clients:1",
            "blocked_clients:0",
            "tracking_clients:0",
            "clients_in_timeout_table:0",
            "pubsub_clients:0",
            "watching_clients:0",
            "total_watched_keys:0",
            "total_blocking_keys:0",
            "pubsub_channels:0",
            "pubsub_patterns:0",
            "pubsubshard_channels:0",
        ] {
            let name = none.split(':').next().unwrap_or_default();
            let line = text.lines().find(|l| l.split(':').next() == Some(name));
            assert!(line.is_none_or(|line| line == none), "{line:?}, not {none}");
        }
        self.says(0, &[b"FLUSHALL"]);
        self.audit();
    }
}

/// How many replies or pushes the bytes are; they are whole.
fn whole(mut bytes: &[u8], line: &str) -> usize {
    let mut count = 0;
    while !bytes.is_empty() {
        match parse_reply(bytes) {
            Ok(Some((_, len))) => bytes = &bytes[len..],
            wrong => panic!("{line}: {wrong:?} at {}", bytes.escape_ascii()),
        }
        count += 1;
    }
    count
}

fn is_spared(words: &[&[u8]]) -> bool {
    let name = words[0].to_ascii_uppercase();
    let large = |word: &&[u8]| {
        let digits = word.strip_prefix(b"-").unwrap_or(word);
        digits.len() > LARGE && digits.iter().all(u8::is_ascii_digit)
    };
    // How many random elements are wanted is how many are given, whatever there is.
    let random = name.ends_with(b"RANDMEMBER") || name == b"HRANDFIELD";
    let harmless = |word: &&[u8]| {
        let word = String::from_utf8_lossy(word).to_lowercase();
        SET.iter().any(|prefix| word.starts_with(prefix))
    };
    let config = name == b"CONFIG"
        && words
            .get(1)
            .is_some_and(|w| !w.eq_ignore_ascii_case(b"GET"));
    SPARED.iter().any(|spared| spared.as_bytes() == name)
        || random && words.iter().any(large)
        || config && !words.iter().skip(2).step_by(2).all(harmless)
        || config && words.len() < 4
}
