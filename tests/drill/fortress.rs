//! A leader, two replicas and three sentinels of real Redis, which drills break.

use super::common::peer::tool;
use super::common::{Client, Server};
use std::time::{Duration, Instant};

/// Much less, and a busy machine has sentinels depose leaders that nobody has broken.
const DOWN_AFTER: u64 = 1000;

pub(crate) struct Fortress {
    pub(crate) servers: Vec<Server>,
    pub(crate) sentinels: Vec<Server>,
}

/// Looks again and again, for no longer than a test may take.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
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
        let watch = format!(
            "sentinel monitor mymaster 127.0.0.1 {} 2\nsentinel down-after-milliseconds mymaster {DOWN_AFTER}\n\
             sentinel failover-timeout mymaster 5000\n",
            leader.port
        );
        let sentinels = [(); 3].map(|()| Server::sentinel(&program, &watch));
        for sentinel in &sentinels {
            until("they know each other", || knows_all(sentinel));
        }
        servers.insert(0, leader);
        Some(Fortress {
            servers,
            sentinels: sentinels.into(),
        })
    }

    pub(crate) fn leader(&self) -> &Server {
        &self.servers[0]
    }

    /// The words that tell a drill of it, and that it may be broken.
    pub(crate) fn args(&self) -> Vec<String> {
        let mut args = vec!["--yes".to_owned(), "--sentinel".to_owned()];
        let addr = |sentinel: &Server| format!("127.0.0.1:{}", sentinel.port);
        args.extend(self.sentinels.iter().map(addr));
        args
    }
}

/// What one of them knows: all the others.
fn knows_all(sentinel: &Server) -> bool {
    Client::connect(sentinel.port)
        .and_then(|mut client| client.call(&["INFO", "sentinel"]))
        .is_ok_and(|info| info.text().contains("slaves=2,sentinels=3"))
}
