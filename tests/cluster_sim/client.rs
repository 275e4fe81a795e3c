//! Clients: what they ask, and what they make of the answers.
//!
//! A client has one connection at a time and waits for the answers to what it has sent before it sends more. It believes what
//! it is told of who leads, and asks the node of its own site when it cannot get there.

use super::ledger::{Kind, Status, far_deadline, tag};
use super::seek::Seek;
use super::sentinel::NAME;
use super::sim::{Event, Sim, Stage, note};
use crate::common::history;
use redkeep::embed::world::{ConnId, Piece};
use redkeep::resp::{Value, parse_reply};
use redkeep::util::rng::Rng;

/// Databases in which everything may happen to everything; those behind them are for what is accounted for.
pub const WILD: usize = 2;

/// The database of a client.
pub const fn database(client: usize) -> usize {
    WILD + client % 3
}

/// A client gives up on an answer after so many microseconds.
const PATIENCE: i64 = 4_000_000;

pub struct Client {
    pub site: usize,
    db: usize,
    pub rng: Rng,
    /// The connection, and the machine at its other end.
    pub conn: Option<(ConnId, usize)>,
    /// What it knows of sentinels.
    pub seek: Seek,
    received: Vec<u8>,
    /// What was asked and not answered, oldest first.
    asked: Vec<Asked>,
    /// Answers to the first of them.
    answers: Vec<Value>,
    next: u64,
    /// Tells apart the waits for answers.
    rounds: u64,
    pub stopped: bool,
    /// It is connected to a replica, or has heard that another node leads.
    pub is_elsewhere: bool,
}

/// Something asked, with the number of its answers.
struct Asked {
    what: What,
    answers: usize,
}

#[derive(Clone, Debug)]
enum What {
    /// The database is selected.
    Select,
    /// Who leads, of a sentinel.
    Where,
    /// Whether this node does.
    Role,
    Write(u64),
    /// An element of a client's queue is taken, perhaps after a wait.
    Take(usize),
    /// Who leads here, and what there is of a client's list.
    Read(usize),
    /// Both of a client's pair.
    ReadPair(usize),
    /// Nobody looks at the answers.
    Anything(Vec<Vec<String>>),
}

impl Client {
    pub fn new(id: usize, site: usize, seed: u64) -> Client {
        Client {
            site,
            db: database(id),
            seek: Seek::new(&mut Rng::seed_from_u64(!seed)),
            rng: Rng::seed_from_u64(seed),
            conn: None,
            received: Vec::new(),
            asked: Vec::new(),
            answers: Vec::new(),
            next: 0,
            rounds: 0,
            stopped: false,
            is_elsewhere: false,
        }
    }

    pub fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    fn ask(&mut self, out: &mut Vec<u8>, what: What, commands: &[Vec<String>]) {
        for words in commands {
            encode_command(out, words);
        }
        self.asked.push(Asked {
            what,
            answers: commands.len(),
        });
    }
}

/// A command as it is sent.
pub fn encode_command(out: &mut Vec<u8>, words: &[String]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
}

/// The words of a command without spaces in them.
pub fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn lines(lines: &[String]) -> Vec<Vec<String>> {
    lines.iter().map(|line| words(line)).collect()
}

const TOGETHER: &str = "redis.call('SET',KEYS[1],ARGV[1]) redis.call('RPUSH',KEYS[2],ARGV[1]) \
                        return redis.call('INCR',KEYS[3])";

/// The commands of a write.
fn commands_of(kind: Kind, client: usize, n: u64, rng: &mut Rng) -> Vec<Vec<String>> {
    let tag = tag(client, n);
    match kind {
        Kind::Set => lines(&[format!("SET s:{client}:{n} {tag}")]),
        Kind::Far => lines(&[format!("SET f:{client}:{n} {tag} PXAT {}", far_deadline(n))]),
        Kind::Push => lines(&[format!("RPUSH l:{client} {tag}")]),
        Kind::Add => lines(&[format!("XADD x:{client} * tag {tag}")]),
        Kind::Field => lines(&[format!("HSET h:{client} {tag} {n}")]),
        Kind::Count => lines(&[format!("INCR n:{client}")]),
        Kind::Enqueue => lines(&[format!("RPUSH q:{client} {tag}")]),
        Kind::Pair => lines(&[format!("MSET pa:{client} {tag} pb:{client} {tag}")]),
        Kind::Together if cfg!(feature = "lua") && rng.chance(0.5) => {
            let mut call = vec!["EVAL".to_owned(), TOGETHER.to_owned()];
            call.extend(words(&format!(
                "3 t:{client}:{n} tl:{client} tn:{client} {tag}"
            )));
            vec![call]
        }
        Kind::Together => lines(&[
            "MULTI".to_owned(),
            format!("SET t:{client}:{n} {tag}"),
            format!("RPUSH tl:{client} {tag}"),
            format!("INCR tn:{client}"),
            "EXEC".to_owned(),
        ]),
    }
}

const WRITES: [Kind; 9] = [
    Kind::Set,
    Kind::Far,
    Kind::Push,
    Kind::Add,
    Kind::Field,
    Kind::Count,
    Kind::Together,
    Kind::Pair,
    Kind::Enqueue,
];

const LIBRARY: &str = "#!lua name=lib@\nredis.register_function('f@', function(keys) return # end)";

impl Sim {
    /// A client does something, or gives up.
    pub fn client_turn(&mut self, id: usize) {
        let client = &mut self.clients[id];
        if client.stopped || !client.asked.is_empty() {
            return;
        }
        match client.conn {
            Some((conn, node)) => {
                // Now and then it looks whether somebody else leads by now.
                let leader = self.operator.leader.filter(|_| self.plan.watch.is_none());
                let elsewhere = leader.is_some_and(|leader| leader != node);
                let leaves = match std::mem::take(&mut client.is_elsewhere) {
                    true => 0.7,
                    false if elsewhere => 0.2,
                    false => 0.01,
                };
                if client.rng.chance(leaves) {
                    client.conn = None;
                    self.world.close(conn);
                    return self.client_later(id);
                }
                self.client_asks(id, conn);
            }
            None => self.client_calls(id),
        }
    }

    fn client_later(&mut self, id: usize) {
        let client = &mut self.clients[id];
        let pause = 1 + client.rng.below(self.plan.thinks);
        self.plan_event(self.world.now() + pause as i64, Event::Client(id));
    }

    fn client_calls(&mut self, id: usize) {
        let nodes = self.plan.nodes;
        let sentinels = self.plan.sentinels();
        let client = &mut self.clients[id];
        let node = match self.operator.leader {
            _ if sentinels > 0 => client.whom_to_call(nodes, sentinels),
            _ if client.rng.chance(0.1) => client.rng.index(nodes),
            Some(leader) if client.rng.chance(0.7) => leader,
            _ => client.site,
        };
        client.received.clear();
        client.answers.clear();
        let site = client.site;
        let conn = self.world.call(id, false, site, node);
        let is_sentinel = self.plan.is_sentinel(node);
        let client = &mut self.clients[id];
        client.conn = Some((conn, node));
        client.is_elsewhere = false;
        let checks_role = sentinels > 0 && client.seek.checks_role;
        for what in match is_sentinel {
            true => vec![What::Where],
            false if checks_role => vec![What::Select, What::Role],
            false => vec![What::Select],
        } {
            client.asked.push(Asked { what, answers: 1 });
        }
        self.client_waits(id);
        self.client_listens(id);
    }

    /// The client waits for answers, but not for ever.
    fn client_waits(&mut self, id: usize) {
        let client = &mut self.clients[id];
        client.rounds += 1;
        let round = client.rounds;
        self.plan_event(
            self.world.now() + PATIENCE,
            Event::Patience { client: id, round },
        );
    }

    pub fn client_gives_up(&mut self, id: usize, round: u64) {
        let client = &self.clients[id];
        if client.rounds != round || client.asked.is_empty() {
            return;
        }
        note!(self, "client {id} waits no longer");
        let client = &mut self.clients[id];
        client.seek.was_refused();
        if let Some((conn, _)) = client.conn {
            self.world.close(conn);
        }
        self.client_loses(id);
    }

    /// The connection is gone: what was not answered may have been done.
    fn client_loses(&mut self, id: usize) {
        let client = &mut self.clients[id];
        client.conn = None;
        for asked in std::mem::take(&mut client.asked) {
            if let What::Take(whose) = asked.what {
                self.ledger[whose].maybe_taken += 1;
            }
        }
        self.client_later(id);
    }

    fn client_asks(&mut self, id: usize, conn: ConnId) {
        let mut out = Vec::new();
        let several = 1 + self.clients[id].rng.index(4);
        for _ in 0..several {
            self.client_asks_one(id, &mut out);
        }
        self.world.send(conn, &out);
        self.client_waits(id);
    }

    fn client_asks_one(&mut self, id: usize, out: &mut Vec<u8>) {
        let others = self.clients.len();
        let client = &mut self.clients[id];
        let whose = client.rng.index(others);
        let is_mine = |whose: usize| database(whose) == client.db;
        let whose = if is_mine(whose) { whose } else { id };
        match client.rng.below(20) {
            0..11 => {
                let kind = WRITES[client.rng.index(WRITES.len())];
                client.next += 1;
                let n = client.next;
                self.ledger[id].writes.insert(n, (kind, Status::Maybe));
                let commands = commands_of(kind, id, n, &mut client.rng);
                client.ask(out, What::Write(n), &commands);
            }
            11 => {
                let take = match client.rng.below(3) {
                    0 => format!("BLPOP q:{whose} 0.5"),
                    1 => format!("BLMPOP 0.3 1 q:{whose} RIGHT"),
                    _ => format!("LPOP q:{whose}"),
                };
                client.ask(out, What::Take(whose), &lines(&[take]));
            }
            12 => {
                let read = [
                    "MULTI".to_owned(),
                    "ROLE".to_owned(),
                    format!("LRANGE l:{whose} 0 -1"),
                    "EXEC".to_owned(),
                ];
                client.ask(out, What::Read(whose), &lines(&read));
            }
            13 => {
                let read = lines(&[format!("MGET pa:{whose} pb:{whose}")]);
                client.ask(out, What::ReadPair(whose), &read);
            }
            14 => {
                let n = client.rng.below(8);
                let ms = 20 + client.rng.below(2000);
                let set = lines(&[format!("SET g:{id}:{n} x PX {ms}")]);
                client.ask(out, What::Anything(set.clone()), &set);
            }
            15 if cfg!(feature = "lua") => {
                let (n, value) = (client.rng.below(3), client.rng.below(100));
                let code = LIBRARY
                    .replace('@', &n.to_string())
                    .replace('#', &value.to_string());
                let load = ["FUNCTION", "LOAD", "REPLACE", &code].map(str::to_owned);
                client.ask(out, What::Anything(Vec::new()), &[load.to_vec()]);
            }
            16 => {
                let bytes = "v".repeat(client.rng.index(6000));
                let n = client.rng.below(20);
                let set = ["SET", &format!("big:{n}"), &bytes].map(str::to_owned);
                client.ask(out, What::Anything(Vec::new()), &[set.to_vec()]);
            }
            _ => {
                // In databases of their own, whatever they do.
                let db = client.db;
                let wild = client.rng.index(WILD);
                let mut commands = vec![words(&format!("SELECT {wild}"))];
                for _ in 0..1 + client.rng.index(3) {
                    commands.push(history::command(&mut client.rng));
                }
                commands.push(words(&format!("SELECT {db}")));
                client.ask(out, What::Anything(commands.clone()), &commands);
            }
        }
    }

    /// Something has come for a client.
    pub fn client_gets(&mut self, id: usize, conn: ConnId, piece: Piece) {
        if self.clients[id].seek.listens_on(conn) {
            return self.client_hears(id, conn, piece);
        }
        let client = &mut self.clients[id];
        if client.conn.is_none_or(|(mine, _)| mine != conn) {
            return;
        }
        match piece {
            Piece::Open => {
                let mut out = Vec::new();
                for asked in &client.asked {
                    let line = match asked.what {
                        What::Where => format!("SENTINEL GET-MASTER-ADDR-BY-NAME {NAME}"),
                        What::Role => "ROLE".to_owned(),
                        _ => format!("SELECT {}", client.db),
                    };
                    encode_command(&mut out, &words(&line));
                }
                self.world.send(conn, &out);
            }
            Piece::End => {
                client.seek.was_refused();
                self.world.forget(conn);
                self.client_loses(id);
            }
            Piece::Bytes(bytes) => {
                client.received.extend_from_slice(&bytes);
                self.client_reads(id);
            }
        }
    }

    fn client_reads(&mut self, id: usize) {
        loop {
            let client = &mut self.clients[id];
            let Some((value, used)) = parse_reply(&client.received).unwrap() else {
                return;
            };
            client.received.drain(..used);
            client.answers.push(value);
            let Some(first) = client.asked.first() else {
                panic!(
                    "client {id} is answered what it never asked: {:?}",
                    client.answers
                );
            };
            if client.answers.len() < first.answers {
                continue;
            }
            let asked = client.asked.remove(0);
            let answers = std::mem::take(&mut client.answers);
            self.client_learns(id, &asked.what, &answers);
            if self.clients[id].asked.is_empty() {
                self.client_later(id);
                return;
            }
        }
    }

    fn client_learns(&mut self, id: usize, what: &What, answers: &[Value]) {
        let last = &answers[answers.len() - 1];
        let error = answers.iter().find_map(|answer| match answer {
            Value::Error(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        });
        if let Some(error) = &error {
            self.counts.error(error);
            let client = &mut self.clients[id];
            client.is_elsewhere |= error.starts_with("READONLY");
        }
        match what {
            What::Select => {}
            What::Where => self.client_is_told(id, last),
            What::Role => {
                let leads = last.as_array().and_then(|role| role.first());
                let leads = leads.is_some_and(|role| role.as_bytes() == Some(b"master"));
                self.clients[id].is_elsewhere |= !leads;
            }
            What::Anything(commands) => {
                for (command, answer) in commands.iter().zip(answers) {
                    note!(self, "client {id}: {} {answer}", command.join(" "));
                }
            }
            What::Write(n) => {
                let status = match &error {
                    None => Status::Sure,
                    // It was done here, or some of it was.
                    Some(error) if error.starts_with("NOREPLICAS") => Status::Maybe,
                    Some(error) if error.starts_with("EXECABORT") => Status::Never,
                    Some(_) => Status::Never,
                };
                if self.world.journal.is_kept() {
                    let kind = self.ledger[id].writes[n].0;
                    note!(self, "client {id}: {kind:?} {n} {status:?} {error:?}");
                }
                if let (Some((Kind::Count, _)), Value::Int(value)) =
                    (self.ledger[id].writes.get(n), last)
                {
                    self.client_counted(id, *value);
                }
                if let Some((_, known)) = self.ledger[id].writes.get_mut(n) {
                    *known = status;
                }
                if status == Status::Sure {
                    self.counts.acknowledged += 1;
                }
            }
            What::Take(whose) => match (last, &error) {
                (Value::Bulk(tag), _) => self.client_took(*whose, tag),
                (Value::Array(items), _) => match items.last() {
                    Some(Value::Bulk(tag)) => self.client_took(*whose, tag),
                    Some(Value::Array(inner)) => {
                        if let Some(Value::Bulk(tag)) = inner.first() {
                            self.client_took(*whose, tag);
                        }
                    }
                    _ => {}
                },
                (_, Some(error)) if error.starts_with("NOREPLICAS") => {
                    self.ledger[*whose].maybe_taken += 1;
                }
                _ => {}
            },
            What::Read(whose) => {
                if let Value::Array(both) = last
                    && let [Value::Array(role), Value::Array(list)] = &both[..]
                    && role.first() == Some(&Value::Bulk(b"master".to_vec()))
                {
                    for item in list {
                        let tag = String::from_utf8_lossy(item.as_bytes().unwrap());
                        if self.ledger[*whose].seen(&tag) {
                            note!(self, "client {id} is shown {tag} of the list of {whose}");
                        }
                    }
                }
            }
            What::ReadPair(whose) => {
                if let Value::Array(both) = last
                    && both[0] != both[1]
                {
                    self.wrong(format!(
                        "client {id} sees half of the pair of {whose}: {last}"
                    ));
                }
            }
        }
    }

    /// What was acknowledged was counted.
    fn client_counted(&mut self, id: usize, value: i64) {
        let sure =
            |(kind, status): &&(Kind, Status)| *kind == Kind::Count && *status == Status::Sure;
        let least = 1 + self.ledger[id].writes.values().filter(sure).count() as i64;
        if self.plan.keeps && self.stage != Stage::Over && value < least {
            self.wrong(format!(
                "client {id} counts {value}, and was told of {least}"
            ));
        }
    }

    fn client_took(&mut self, whose: usize, tag: &[u8]) {
        let tag = String::from_utf8_lossy(tag).into_owned();
        note!(self, "{tag} was taken");
        let account = &mut self.ledger[whose];
        account.seen(&tag);
        if !account.taken.insert(tag.clone()) && self.plan.keeps {
            self.wrong(format!("{tag} was taken twice"));
        }
    }
}
