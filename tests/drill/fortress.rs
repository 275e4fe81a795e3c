//! A leader, two replicas and three sentinels of real Redis, which drills break.

use super::common::peer::{free_port, tool};
use super::common::{Client, Server};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Much less, and a busy machine has sentinels depose leaders that nobody has broken.
const DOWN_AFTER: u64 = 1000;

pub(crate) struct Fortress {
    pub(crate) servers: Vec<Server>,
    pub(crate) sentinels: Vec<Sentinel>,
}

/// Looks again and again, for no longer than a test may take.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "{what}: it does not come to that");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Fortress {
    /// All of it, ready; `None` after having said that Redis is missing.
    pub(crate) fn redis() -> Option<Fortress> {
        let program = tool("redis-server")?;
        let none: &[&str] = &["--repl-diskless-sync-delay", "0"];
        let leader = Server::start(&program, none);
        let follow = format!("127.0.0.1 {}", leader.port);
        let replica = || Server::start(&program, &[none, &["--replicaof", &follow]].concat());
        let mut servers = vec![replica(), replica()];
        for replica in &servers {
            let mut client = replica.client();
            until("it follows", || {
                client
                    .run("INFO replication")
                    .text()
                    .contains("master_link_status:up")
            });
        }
        let sentinels: Vec<_> = (0..3)
            .map(|_| Sentinel::start(&program, leader.port))
            .collect();
        for sentinel in &sentinels {
            until("they know each other", || sentinel.knows_all());
        }
        servers.insert(0, leader);
        Some(Fortress { servers, sentinels })
    }

    pub(crate) fn leader(&self) -> &Server {
        &self.servers[0]
    }

    /// The words that tell a drill of it, and that it may be broken.
    pub(crate) fn args(&self) -> Vec<String> {
        let mut args = vec!["--yes".to_owned(), "--sentinel".to_owned()];
        args.extend(self.sentinels.iter().map(Sentinel::addr));
        args
    }
}

/// A sentinel's process, killed when dropped.
pub(crate) struct Sentinel {
    child: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Sentinel {
    fn start(program: &Path, leader: u16) -> Sentinel {
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let conf: PathBuf = dir.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor mymaster 127.0.0.1 {leader} 2\n\
             sentinel down-after-milliseconds mymaster {DOWN_AFTER}\nsentinel failover-timeout mymaster 5000\n",
            dir.path().display()
        );
        fs::write(&conf, text).unwrap();
        let child = Command::new(program)
            .arg(&conf)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Sentinel {
            child,
            port,
            _dir: dir,
        }
    }

    pub(crate) fn addr(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn knows_all(&self) -> bool {
        Client::connect(self.port)
            .and_then(|mut client| client.call(&["INFO", "sentinel"]))
            .is_ok_and(|info| info.text().contains("slaves=2,sentinels=3"))
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
