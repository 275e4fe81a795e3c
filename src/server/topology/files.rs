//! The configuration files of the nodes: made when a topology is new, and else told only what was asked for this time, for
//! the nodes have written into them who leads.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::Error;
use super::node::{Node, name};
use crate::resp::{quote, split_line};
use crate::service::config;
use crate::util::rng::Rng;

/// What was asked for.
#[derive(Debug, Clone)]
pub(super) struct Wishes {
    /// What the sentinels call the leader.
    pub(super) name: String,
    /// How many sentinels have to find that the leader is down.
    pub(super) quorum: usize,
    pub(super) down_after: Duration,
    pub(super) failover_timeout: Duration,
    pub(super) sync: bool,
    /// Data is kept in files.
    pub(super) lasting: bool,
    /// Parameters of the servers.
    pub(super) options: Vec<(String, String)>,
}

impl Wishes {
    fn option(&self, name: &str) -> Option<&str> {
        let mut options = self.options.iter().rev();
        let found = options.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(&found.1)
    }
}

/// The file of a node, below the directory of the topology.
pub(super) fn path(dir: &Path, sentinel: bool, number: usize) -> PathBuf {
    let file = match sentinel {
        true => "sentinel.conf",
        false => "redkeep.conf",
    };
    dir.join(name(sentinel, number)).join(file)
}

/// The ports of the nodes of a topology that is in a directory already: of its servers and of its sentinels.
pub(super) fn ports(dir: &Path) -> Result<[Vec<u16>; 2], Error> {
    let of = |sentinel| {
        let mut ports = Vec::new();
        while let Some(text) = read(&path(dir, sentinel, ports.len() + 1))? {
            let lines = Lines::of(&text);
            let port = lines
                .value(&["port"])
                .and_then(|words| words.first()?.parse().ok());
            let Some(port) = port else {
                return Err(Error::Other {
                    dir: dir.to_owned(),
                    what: format!("{} says no port", name(sentinel, ports.len() + 1)),
                });
            };
            ports.push(port);
        }
        Ok(ports)
    };
    Ok([of(false)?, of(true)?])
}

/// Makes or changes the files of all nodes, of which the first leads if they are new.
pub(super) fn write(dir: &Path, nodes: &[Node], wishes: &Wishes) -> Result<(), Error> {
    let ids: Vec<String> = {
        let mut rng = Rng::from_entropy();
        nodes.iter().map(|_| rng.hex_id_string()).collect()
    };
    for node in nodes {
        let path = path(dir, node.sentinel, node.number);
        let old = read(&path)?;
        let text = match (node.sentinel, &old) {
            (false, _) => server(old.as_deref(), node, nodes, &path, wishes),
            (true, None) => new_sentinel(node, nodes, &ids, &path, wishes),
            (true, Some(old)) => sentinel(Lines::of(old), wishes).ok_or_else(|| Error::Other {
                dir: dir.to_owned(),
                what: format!("{node} does not watch {}", wishes.name),
            })?,
        };
        let written = path.parent().map_or(Ok(()), fs::create_dir_all);
        written
            .and_then(|()| config::replace(&path, text.as_bytes()))
            .map_err(|source| Error::File { path, source })?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File {
            path: path.to_owned(),
            source,
        }),
    }
}

fn server(old: Option<&str>, node: &Node, nodes: &[Node], path: &Path, wishes: &Wishes) -> String {
    let mut lines = Lines::of(old.unwrap_or_default());
    if old.is_none() {
        lines.set(&["bind"], "127.0.0.1");
        lines.set(&["port"], &node.port().to_string());
        lines.set(&["dir"], &quoted_dir(path));
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
            lines.set(&["replicaof"], &format!("127.0.0.1 {}", leader.port()));
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

fn new_sentinel(
    node: &Node,
    nodes: &[Node],
    ids: &[String],
    path: &Path,
    wishes: &Wishes,
) -> String {
    let mut lines = Lines(Vec::new());
    let name = &wishes.name;
    let port_of = |node: Option<&Node>| node.map_or(0, Node::port);
    let id_of = |node: &Node| ids.get(node.place).map(String::as_str).unwrap_or_default();
    lines.set(&["bind"], "127.0.0.1");
    lines.set(&["port"], &node.port().to_string());
    lines.set(&["dir"], &quoted_dir(path));
    lines.set(&["sentinel", "myid"], id_of(node));
    let leader = port_of(nodes.first());
    let quorum = wishes.quorum;
    lines.add(format!(
        "sentinel monitor {name} 127.0.0.1 {leader} {quorum}"
    ));
    // Whom it knows from the start it need not find.
    for other in nodes.iter().skip(1).filter(|other| *other != node) {
        let port = other.port();
        lines.add(match other.sentinel {
            false => format!("sentinel known-replica {name} 127.0.0.1 {port}"),
            true => {
                let id = id_of(other);
                format!("sentinel known-sentinel {name} 127.0.0.1 {port} {id}")
            }
        });
    }
    lines.watch(wishes);
    lines.text()
}

/// None when it watches something else.
fn sentinel(mut lines: Lines, wishes: &Wishes) -> Option<String> {
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

fn quoted_dir(path: &Path) -> String {
    quoted(&path.parent().unwrap_or(path).to_string_lossy())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr};

    fn nodes() -> Vec<Node> {
        let node = |place, sentinel, number, port| Node {
            place,
            number,
            sentinel,
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        };
        vec![
            node(0, false, 1, 7000),
            node(1, false, 2, 7001),
            node(2, true, 1, 27000),
            node(3, true, 2, 27001),
        ]
    }

    fn wishes() -> Wishes {
        Wishes {
            name: "mymaster".into(),
            quorum: 2,
            down_after: Duration::from_secs(1),
            failover_timeout: Duration::from_secs(10),
            sync: false,
            lasting: true,
            options: Vec::new(),
        }
    }

    fn file(dir: &Path, name: &str) -> String {
        fs::read_to_string(dir.join(name)).unwrap()
    }

    #[test]
    fn new_files_say_who_leads_and_who_is_there() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &nodes(), &wishes()).unwrap();
        assert!(!file(dir.path(), "node-1/redkeep.conf").contains("replicaof"));
        let replica = file(dir.path(), "node-2/redkeep.conf");
        assert!(replica.contains("replicaof 127.0.0.1 7000\n"), "{replica}");
        let text = file(dir.path(), "sentinel-1/sentinel.conf");
        let other = file(dir.path(), "sentinel-2/sentinel.conf");
        let id = Lines::of(&other).value(&["sentinel", "myid"]).unwrap();
        for line in [
            "sentinel monitor mymaster 127.0.0.1 7000 2",
            "sentinel known-replica mymaster 127.0.0.1 7001",
            "sentinel down-after-milliseconds mymaster 1000",
            &format!("sentinel known-sentinel mymaster 127.0.0.1 27001 {}", id[0]),
        ] {
            assert!(text.lines().any(|known| known == line), "{line}: {text}");
        }
        assert_eq!(
            ports(dir.path()).unwrap(),
            [vec![7000, 7001], vec![27000, 27001]]
        );
    }

    #[test]
    fn what_the_nodes_wrote_stays_and_what_is_asked_for_changes() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &nodes(), &wishes()).unwrap();
        let node = dir.path().join("node-1/redkeep.conf");
        let sentinel = dir.path().join("sentinel-1/sentinel.conf");
        fs::write(
            &node,
            "port 7000\nreplicaof 127.0.0.1 7001\nSYNC-replicas 0\n",
        )
        .unwrap();
        let old = "port 27000\nsentinel monitor mymaster 127.0.0.1 7001 2\n\
                   sentinel config-epoch mymaster 5\n";
        fs::write(&sentinel, old).unwrap();
        let wishes = Wishes {
            sync: true,
            quorum: 1,
            options: vec![
                ("save".into(), "60 1 30 5".into()),
                ("requirepass".into(), "a b".into()),
            ],
            ..wishes()
        };
        // A second time makes no difference.
        for _ in 0..2 {
            write(dir.path(), &nodes(), &wishes).unwrap();
            assert_eq!(
                file(dir.path(), "node-1/redkeep.conf"),
                "port 7000\nreplicaof 127.0.0.1 7001\nsync-replicas 1\nmin-replicas-to-write 1\n\
                 masterauth \"a b\"\nsave 60 1 30 5\nrequirepass \"a b\"\n"
            );
            assert_eq!(
                file(dir.path(), "sentinel-1/sentinel.conf"),
                "port 27000\nsentinel monitor mymaster 127.0.0.1 7001 1\n\
                 sentinel config-epoch mymaster 5\nsentinel down-after-milliseconds mymaster 1000\n\
                 sentinel failover-timeout mymaster 10000\nsentinel auth-pass mymaster \"a b\"\n"
            );
        }
        let other = Wishes {
            name: "other".into(),
            ..wishes
        };
        let error = write(dir.path(), &nodes(), &other).unwrap_err();
        assert!(matches!(error, Error::Other { .. }), "{error}");
    }
}
