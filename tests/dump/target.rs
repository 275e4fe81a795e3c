//! A server to try payloads on: in this process, or a real one.

use super::common::{Argv, Client, Reply, Server, argv, notation};
use redkeep::Value;
use redkeep::embed::Node;
use redkeep::engine::{Engine, Options};

/// Where commands go.
pub enum Target {
    Here(redkeep::Client),
    There(Client),
}

/// What is set back between samples.
const DEFAULTS: [&str; 6] = [
    "CONFIG SET rdbcompression yes",
    "CONFIG SET list-max-listpack-size -2",
    "CONFIG SET list-compress-depth 0",
    "CONFIG SET stream-node-max-entries 100",
    "CONFIG SET hll-sparse-max-bytes 3000",
    "FLUSHALL",
];

impl Target {
    /// An engine in this process.
    pub fn here() -> Target {
        let node = Node::new(Engine::new(Options::default()));
        Target::Here(redkeep::Client::connect(&node).unwrap())
    }

    /// A server.
    pub fn at(server: &Server) -> Target {
        Target::There(server.client())
    }

    pub fn call(&mut self, argv: &[Vec<u8>]) -> Reply {
        match self {
            Target::Here(client) => reply(client.call(argv.iter()).unwrap()),
            Target::There(client) => client.call(argv).unwrap(),
        }
    }

    pub fn run(&mut self, line: &str) -> Reply {
        self.call(&argv(line))
    }

    pub fn run_all(&mut self, commands: &[Argv]) {
        for command in commands {
            let reply = self.call(command);
            assert!(!reply.is_error(), "{command:?}: {reply:?}");
        }
    }

    /// Forgets all keys and settings.
    pub fn reset(&mut self) {
        DEFAULTS.iter().for_each(|line| {
            self.run(line);
        });
    }

    pub fn dump(&mut self, key: &[u8]) -> Vec<u8> {
        self.call(&[b"DUMP".to_vec(), key.to_vec()])
            .bytes()
            .to_vec()
    }

    /// Restores over whatever is there.
    pub fn restore(&mut self, key: &[u8], payload: &[u8]) -> Result<(), String> {
        let words = [b"RESTORE", key, b"0", payload, b"REPLACE"];
        match self.call(&words.map(<[u8]>::to_vec)) {
            Reply::Error(e) => Err(String::from_utf8_lossy(&e).into_owned()),
            _ => Ok(()),
        }
    }

    /// Everything that can be read of a value, in an order that does not depend on hash tables, without times.
    pub fn contents(&mut self, key: &[u8]) -> String {
        let kind = self.ask(b"TYPE", key, "").bytes().to_vec();
        let read = match kind.as_slice() {
            b"string" => self.ask(b"GET", key, ""),
            b"list" => self.ask(b"LRANGE", key, "0 -1"),
            b"set" => sorted(self.ask(b"SMEMBERS", key, ""), 1),
            b"hash" => sorted(self.ask(b"HGETALL", key, ""), 2),
            b"zset" => scored(&self.ask(b"ZRANGE", key, "0 -1 WITHSCORES")),
            b"stream" => {
                let key_text = String::from_utf8_lossy(key).into_owned();
                let info = self.run(&format!("XINFO STREAM {key_text} FULL COUNT 0"));
                let range = self.ask(b"XRANGE", key, "- +");
                Reply::Array(vec![without_times(&info), range])
            }
            _ => Reply::Null,
        };
        format!(
            "{} {}",
            String::from_utf8_lossy(&kind),
            notation::render(&read)
        )
    }

    /// The contents, and of a hash the deadlines of its fields.
    pub fn contents_and_deadlines(&mut self, key: &[u8]) -> String {
        let contents = self.contents(key);
        if !contents.starts_with("hash ") {
            return contents;
        }
        let mut names = self.ask(b"HKEYS", key, "").items().to_vec();
        names.sort();
        let count = names.len().to_string();
        let head = [b"HPEXPIRETIME", key, b"FIELDS", count.as_bytes()];
        let mut words: Vec<_> = head.map(<[u8]>::to_vec).into();
        words.extend(names.iter().map(|name| name.bytes().to_vec()));
        contents + " " + &notation::render(&self.call(&words))
    }

    fn ask(&mut self, name: &[u8], key: &[u8], rest: &str) -> Reply {
        let mut words = vec![name.to_vec(), key.to_vec()];
        if !rest.is_empty() {
            words.extend(argv(rest));
        }
        self.call(&words)
    }
}

/// Elements in order, in groups of `width`.
fn sorted(reply: Reply, width: usize) -> Reply {
    let mut groups: Vec<_> = reply.items().chunks(width).map(<[Reply]>::to_vec).collect();
    groups.sort();
    Reply::Array(groups.concat())
}

/// Scores in digits that do not depend on the version.
fn scored(reply: &Reply) -> Reply {
    let pairs = reply.items().chunks(2).map(|pair| {
        let score: f64 = pair[1].text().parse().unwrap();
        Reply::Array(vec![pair[0].clone(), Reply::Double(format!("{score:?}"))])
    });
    Reply::Array(pairs.collect())
}

/// Without what tells of the clock, of trees that only Redis has, and of what only newer versions know.
fn without_times(reply: &Reply) -> Reply {
    const LEFT_OUT: [&[u8]; 10] = [
        b"nacked-count",
        b"seen-time",
        b"active-time",
        b"radix-tree-nodes",
        b"idmp-duration",
        b"idmp-maxsize",
        b"pids-tracked",
        b"iids-tracked",
        b"iids-added",
        b"iids-duplicates",
    ];
    let Reply::Array(items) = reply else {
        return match reply.int() {
            Some(n) if n > 1_000_000_000_000 => Reply::Int(0),
            _ => reply.clone(),
        };
    };
    let mut out = Vec::new();
    let mut rest = items.iter();
    while let Some(item) = rest.next() {
        if matches!(item, Reply::Bulk(b) if LEFT_OUT.contains(&b.as_slice())) {
            rest.next();
        } else {
            out.push(without_times(item));
        }
    }
    Reply::Array(out)
}

/// The reply of an in-process call as one of the wire.
fn reply(value: Value) -> Reply {
    match value {
        Value::Simple(b) => Reply::Simple(b),
        Value::Error(b) => Reply::Error(b),
        Value::Int(n) => Reply::Int(n),
        Value::Bulk(b) => Reply::Bulk(b),
        Value::Array(items) => Reply::Array(items.into_iter().map(reply).collect()),
        _ => Reply::NullBulk,
    }
}
