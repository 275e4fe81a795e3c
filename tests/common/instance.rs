//! A server on a simulated disk and a clock that stands still, without sockets.

use super::sim_disk::SimDisk;
use redkeep::embed::{Client, Node, jobs};
use redkeep::engine::{Engine, Options};
use redkeep::exec::Host;
use redkeep::exec::persist::load::Loading;
use redkeep::persist::Disk;
use redkeep::persist::aof::Log;
use redkeep::resp::Value;
use redkeep::service::config::{Invocation, Settings, SystemFiles, invocation};
use redkeep::util::clock::ManualClock;
use std::sync::Arc;

/// The directory that data sets are kept in: one that every machine has.
pub const DIR: &str = "/";

/// Databases that are used, where nothing else is said.
const DATABASES: usize = 2;

/// What two servers with the same contents may tell differently: how the nodes of a stream are cut, and when consumers
/// were last seen.
const INCIDENTAL: [&str; 5] = [
    "radix-tree-keys",
    "radix-tree-nodes",
    "seen-time",
    "active-time",
    "iids-duplicates",
];

struct OnDisk(SimDisk);

impl Host for OnDisk {
    fn disk(&self) -> Option<Arc<dyn Disk>> {
        Some(Arc::new(self.0.clone()))
    }
}

pub struct Instance {
    pub node: Node,
    pub clock: ManualClock,
    reader: Client,
}

impl Instance {
    /// Starts on what the disk holds; the error says why that cannot be.
    pub fn start(
        disk: &SimDisk,
        options: &[(&str, &str)],
        clock: &ManualClock,
    ) -> Result<Instance, String> {
        let node = unloaded(disk, options, clock);
        let reader = Client::connect(&node).map_err(|e| e.to_string())?;
        let instance = Instance {
            node,
            clock: clock.clone(),
            reader,
        };
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        jobs::load_data(&instance.node, &disk).map_err(|e| e.to_string())?;
        Ok(instance)
    }
    pub fn client(&self) -> Client {
        Client::connect(&self.node).unwrap()
    }

    /// Moves time on, and lets the engine do what is due then.
    pub fn advance_ms(&self, ms: i64) {
        self.clock.advance_ms(ms);
        self.node.tick().unwrap();
    }

    /// The append-only log.
    pub fn log(&self) -> Arc<Log> {
        let mut engine = self.node.lock().unwrap();
        let logging = engine.state().sys.persist.logging.as_ref();
        Arc::clone(&logging.unwrap().log)
    }

    fn ask(&mut self, words: &[&str]) -> Value {
        self.reader.call(words).unwrap()
    }

    /// Whether INFO has this line.
    pub fn tells(&mut self, section: &str, line: &str) -> bool {
        let info = text(&self.ask(&["INFO", section]));
        info.lines().any(|l| l == line)
    }

    /// Everything there is, as text: the digest, and what it leaves out.
    pub fn contents(&mut self) -> String {
        contents(DATABASES, |words| self.ask(words))
    }
}

/// Everything there is in so many databases, as text: the digest, and what it leaves out.
pub fn contents(databases: usize, mut ask: impl FnMut(&[&str]) -> Value) -> String {
    let mut all = vec![ask(&["DEBUG", "DIGEST"]).to_string()];
    for db in 0..databases {
        ask(&["SELECT", &db.to_string()]);
        let mut keys: Vec<String> = words(&ask(&["KEYS", "*"]));
        keys.sort();
        for key in keys {
            let kind = text(&ask(&["TYPE", &key]));
            let deadline = ask(&["PEXPIRETIME", &key]);
            let more = match &*kind {
                "stream" => {
                    let told = ask(&["XINFO", "STREAM", &key, "FULL", "COUNT", "0"]);
                    essence(told).to_string()
                }
                "hash" => {
                    let mut fields = words(&ask(&["HKEYS", &key]));
                    fields.sort();
                    let count = fields.len().to_string();
                    let mut argv = vec!["HPEXPIRETIME", &key, "FIELDS", &count];
                    argv.extend(fields.iter().map(String::as_str));
                    ask(&argv).to_string()
                }
                _ => String::new(),
            };
            all.push(format!("{db} {key} {kind} {deadline} {more}"));
        }
    }
    all.push(ask(&["FUNCTION", "LIST", "WITHCODE"]).to_string());
    all.join("\n")
}

/// A server that has still to load what the disk holds.
fn unloaded(disk: &SimDisk, options: &[(&str, &str)], clock: &ManualClock) -> Node {
    let fixed = [("dir", DIR), ("save", ""), ("enable-debug-command", "yes")];
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
        seed: Some(1),
        ..Options::default()
    });
    // As servers do: nobody may see the databases empty that are to be loaded.
    engine.state().sys.persist.loading = Some(Loading::default());
    Node::new(engine)
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.node.stop();
        self.node.join_jobs();
    }
}

/// The text of a string of any kind.
pub fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.as_bytes().unwrap_or_default()).into_owned()
}

fn words(value: &Value) -> Vec<String> {
    let Value::Array(items) = value else {
        panic!("{value}");
    };
    items.iter().map(text).collect()
}

/// Without what is incidental.
fn essence(value: Value) -> Value {
    let Value::Array(items) = value else {
        return value;
    };
    let mut kept = Vec::new();
    let mut items = items.into_iter();
    while let Some(item) = items.next() {
        let name = item.as_bytes().unwrap_or_default();
        if INCIDENTAL.iter().any(|word| word.as_bytes() == name) {
            items.next();
        } else {
            kept.push(essence(item));
        }
    }
    Value::Array(kept)
}
