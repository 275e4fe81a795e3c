//! The configuration files of the nodes: made when a topology is new, and else told only what was asked for this time, for
//! the nodes have written into them who leads.

use std::time::Duration;

use super::node::Node;
use crate::resp::{quote, split_line};
use crate::service::config;

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wishes {
    /// What the sentinels call the leader.
    pub(crate) name: String,
    /// How many sentinels have to find that the leader is down.
    pub(crate) quorum: usize,
    pub(crate) down_after: Duration,
    pub(crate) failover_timeout: Duration,
    pub(crate) sync: bool,
    /// Data is kept in files.
    pub(crate) lasting: bool,
    /// Parameters of the servers.
    pub(crate) options: Vec<(String, String)>,
}

impl Wishes {
    fn option(&self, name: &str) -> Option<&str> {
        let mut options = self.options.iter().rev();
        let found = options.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }
}

/// The file of a server that had an old one, or none, and works in a directory. The first node leads, if the files are new.
pub(crate) fn server(
    old: Option<&str>,
    node: &Node,
    nodes: &[Node],
    dir: &str,
    wishes: &Wishes,
) -> String {
    let mut lines = Lines::of(old.unwrap_or_default());
    if old.is_none() {
        lines.set(&["bind"], &node.addr.ip().to_string());
        lines.set(&["port"], &node.port().to_string());
        lines.set(&["dir"], &quoted(dir));
        lines.set(&["save"], "\"\"");
        lines.set(&["appendonly"], yes(wishes.lasting));
        if wishes.sync && wishes.lasting {
            // Whoever starts again has what is on its disk: that is what it was to have acknowledged.
            lines.set(&["appendfsync"], "always");
            lines.set(&["sync-replicas-durable"], "yes");
        }
        // Whoever comes first waits for nobody.
        lines.set(&["repl-diskless-sync-delay"], "0");
        if let (2.., Some(leader)) = (node.number, nodes.first()) {
            lines.set(&["replicaof"], &at(leader));
        }
    }
    let needed = u8::from(wishes.sync).to_string();
    lines.set(&["sync-replicas"], &needed);
    lines.set(&["min-replicas-to-write"], &needed);
    if let Some(password) = wishes.option("requirepass") {
        // Whoever leads now may follow later.
        lines.set(&["masterauth"], &quoted(password));
    }
    // Not as they are set, one after the other: a parameter may have several values.
    let mut fresh = Lines(Vec::new());
    for (name, value) in &wishes.options {
        lines.remove(&[name]);
        let several = config::find(name.as_bytes()).is_some_and(|row| row.multi);
        let value = match several && !value.trim().is_empty() {
            true => value.split_whitespace().collect::<Vec<_>>().join(" "),
            false => quoted(value),
        };
        fresh.0.push(format!("{name} {value}"));
    }
    lines.0.append(&mut fresh.0);
    lines.text()
}

/// The file of a sentinel that had none, of those with these ids.
pub(crate) fn new_sentinel(
    node: &Node,
    nodes: &[Node],
    ids: &[String],
    dir: &str,
    wishes: &Wishes,
) -> String {
    let mut lines = Lines(Vec::new());
    let name = &wishes.name;
    let id_of = |node: &Node| ids.get(node.place).map(String::as_str).unwrap_or_default();
    lines.set(&["bind"], &node.addr.ip().to_string());
    lines.set(&["port"], &node.port().to_string());
    lines.set(&["dir"], &quoted(dir));
    lines.set(&["sentinel", "myid"], id_of(node));
    let leader = nodes.first().map_or_else(String::new, at);
    let quorum = wishes.quorum;
    lines.add(format!("sentinel monitor {name} {leader} {quorum}"));
    // Whom it knows from the start it need not find.
    for other in nodes.iter().skip(1).filter(|other| *other != node) {
        let at = at(other);
        lines.add(match other.sentinel {
            false => format!("sentinel known-replica {name} {at}"),
            true => {
                let id = id_of(other);
                format!("sentinel known-sentinel {name} {at} {id}")
            }
        });
    }
    lines.watch(wishes);
    lines.text()
}

/// The file of a sentinel that had one. None when it watches something else.
#[cfg(feature = "server")]
pub(crate) fn sentinel(old: &str, wishes: &Wishes) -> Option<String> {
    let mut lines = Lines::of(old);
    let key = ["sentinel", "monitor", &wishes.name];
    let words = lines.value(&key)?;
    let [ip, port, ..] = words.as_slice() else {
        return None;
    };
    let monitor = format!("{ip} {port} {}", wishes.quorum);
    lines.replace(&key, &monitor);
    lines.watch(wishes);
    Some(lines.text())
}

fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    quote(&mut out, text.as_bytes());
    // Every byte of it is ASCII.
    String::from_utf8_lossy(&out).into_owned()
}

/// An address, as two words.
fn at(node: &Node) -> String {
    format!("{} {}", node.addr.ip(), node.port())
}

/// The port that a file says.
#[cfg(feature = "server")]
pub(crate) fn port(text: &str) -> Option<u16> {
    let words = Lines::of(text).value(&["port"])?;
    words.first()?.parse().ok()
}

const fn yes(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// The lines of a configuration file.
struct Lines(Vec<String>);

impl Lines {
    fn of(text: &str) -> Lines {
        Lines(text.lines().map(str::to_owned).collect())
    }

    fn text(&self) -> String {
        self.0.iter().map(|line| format!("{line}\n")).collect()
    }

    fn add(&mut self, line: String) {
        self.0.push(line);
    }

    /// How the leader is watched.
    fn watch(&mut self, wishes: &Wishes) {
        let name = &wishes.name;
        let milliseconds = |time: Duration| time.as_millis().max(1).to_string();
        let key = ["sentinel", "down-after-milliseconds", name];
        self.set(&key, &milliseconds(wishes.down_after));
        let key = ["sentinel", "failover-timeout", name];
        self.set(&key, &milliseconds(wishes.failover_timeout));
        if let Some(password) = wishes.option("requirepass") {
            self.set(&["sentinel", "auth-pass", name], &quoted(password));
        }
    }

    /// What stands behind these words, in the last line that begins with them.
    #[cfg(feature = "server")]
    fn value(&self, key: &[&str]) -> Option<Vec<String>> {
        self.0.iter().rev().find_map(|line| rest(line, key))
    }

    fn remove(&mut self, key: &[&str]) {
        self.0.retain(|line| rest(line, key).is_none());
    }

    /// Replaces all lines that begin with these words by one, at the end.
    fn set(&mut self, key: &[&str], value: &str) {
        self.remove(key);
        self.add(format!("{} {value}", key.join(" ")));
    }

    /// Replaces what stands behind these words where it stands: other lines rely on this one.
    #[cfg(feature = "server")]
    fn replace(&mut self, key: &[&str], value: &str) {
        for line in &mut self.0 {
            if rest(line, key).is_some() {
                *line = format!("{} {value}", key.join(" "));
            }
        }
    }
}

/// What follows in a line that begins with these words.
fn rest(line: &str, key: &[&str]) -> Option<Vec<String>> {
    let words = split_line(line.as_bytes()).ok()?;
    let mut words = words
        .iter()
        .map(|word| String::from_utf8_lossy(word).into_owned());
    for known in key {
        words
            .next()
            .filter(|word| word.eq_ignore_ascii_case(known))?;
    }
    Some(words.collect())
}
