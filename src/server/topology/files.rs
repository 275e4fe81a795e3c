//! Where the configuration files of the nodes are: below the directory of the topology.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::embed::topology::files::{Wishes, new_sentinel, port, sentinel, server};
use crate::embed::topology::node::name;
use crate::embed::topology::{Error, Node};
use crate::service::config;
use crate::util::rng::Rng;

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
            let Some(port) = port(&text) else {
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
pub(super) fn write(
    dir: &Path,
    nodes: &[Node],
    wishes: &Wishes,
    seed: Option<u64>,
) -> Result<(), Error> {
    let ids: Vec<String> = {
        let mut rng = Rng::new(seed);
        nodes.iter().map(|_| rng.hex_id_string()).collect()
    };
    for node in nodes {
        let path = path(dir, node.sentinel, node.number);
        let old = read(&path)?;
        let own = dir_of(&path);
        let text = match (node.sentinel, &old) {
            (false, _) => server(old.as_deref(), node, nodes, &own, wishes),
            (true, None) => new_sentinel(node, nodes, &ids, &own, wishes),
            (true, Some(old)) => sentinel(old, wishes).ok_or_else(|| Error::Other {
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

/// The directory that a file is in.
fn dir_of(path: &Path) -> String {
    let dir = path.parent().unwrap_or(path);
    dir.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

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
        write(dir.path(), &nodes(), &wishes(), None).unwrap();
        assert!(!file(dir.path(), "node-1/redkeep.conf").contains("replicaof"));
        let replica = file(dir.path(), "node-2/redkeep.conf");
        assert!(replica.contains("replicaof 127.0.0.1 7000\n"), "{replica}");
        let text = file(dir.path(), "sentinel-1/sentinel.conf");
        let other = file(dir.path(), "sentinel-2/sentinel.conf");
        let id = other
            .lines()
            .find_map(|line| line.strip_prefix("sentinel myid "));
        let id = id.unwrap();
        for line in [
            "sentinel monitor mymaster 127.0.0.1 7000 2",
            "sentinel known-replica mymaster 127.0.0.1 7001",
            "sentinel down-after-milliseconds mymaster 1000",
            &format!("sentinel known-sentinel mymaster 127.0.0.1 27001 {id}"),
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
        write(dir.path(), &nodes(), &wishes(), None).unwrap();
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
            write(dir.path(), &nodes(), &wishes, None).unwrap();
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
        let error = write(dir.path(), &nodes(), &other, None).unwrap_err();
        assert!(matches!(error, Error::Other { .. }), "{error}");
    }
}
