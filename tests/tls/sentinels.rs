//! Sentinels that watch over TLS and fail over, and our commands that look at servers.

use super::common::fleet::{instances, table};
use super::common::peer::{free_port, tool};
use super::common::{Client, Server};
use super::papers::Papers;
use super::replicas::{Node, ours};
use super::{comes, output};
use std::path::{Path, PathBuf};
use std::process::Command;

struct Fleet {
    papers: Papers,
    servers: Vec<Node>,
    /// With their ports for TLS.
    sentinels: Vec<(Server, u16)>,
}

impl Fleet {
    /// A leader and replicas, and sentinels, all of them over TLS only.
    fn start(servers: &[PathBuf], sentinels: &[PathBuf]) -> Fleet {
        let papers = Papers::new();
        let mut all: Vec<Node> = Vec::new();
        for program in servers {
            let node = Node::start(program, &papers, &[]);
            if let Some(leader) = all.first() {
                assert_eq!(
                    node.run(&format!("REPLICAOF 127.0.0.1 {}", leader.tls_port)),
                    "OK"
                );
            }
            all.push(node);
        }
        let leader = all[0].tls_port;
        let sentinels = sentinels
            .iter()
            .map(|program| sentinel(program, &papers, leader));
        let fleet = Fleet {
            sentinels: sentinels.collect(),
            servers: all,
            papers,
        };
        fleet.is_whole();
        fleet
    }

    fn is_whole(&self) {
        comes("all are well", || {
            let fine = |(sentinel, _): &(Server, u16)| {
                let mut client = sentinel.client();
                let leader = table(&client.run("SENTINEL MASTER fleet"));
                let replicas = instances(&client.run("SENTINEL REPLICAS fleet"));
                let others = instances(&client.run("SENTINEL SENTINELS fleet"));
                leader["flags"] == "master"
                    && replicas.len() == self.servers.len() - 1
                    && replicas
                        .iter()
                        .all(|r| r["flags"] == "slave" && r["master-link-status"] == "ok")
                    && others.len() == self.sentinels.len() - 1
                    && others.iter().all(|other| {
                        // They are known by the ports that speak TLS.
                        other["flags"] == "sentinel"
                            && self
                                .sentinels
                                .iter()
                                .any(|(_, port)| other["port"] == port.to_string())
                    })
            };
            self.sentinels.iter().all(fine).then_some(())
        });
    }

    /// The port of the leader, once all name the same.
    fn leader(&self) -> Option<u16> {
        let says = |(sentinel, _): &(Server, u16)| {
            let reply = sentinel
                .client()
                .run("SENTINEL GET-MASTER-ADDR-BY-NAME fleet");
            reply.items().get(1)?.text().parse::<u16>().ok()
        };
        let mut said = self.sentinels.iter().map(says);
        let first = said.next()??;
        said.all(|other| other == Some(first)).then_some(first)
    }

    /// Kills the leader and waits for the next.
    fn fails_over(&mut self) {
        let before = self.leader().unwrap();
        let dead = self
            .servers
            .iter()
            .position(|node| node.tls_port == before)
            .unwrap();
        self.servers[dead].server.kill();
        let next = comes("another leader", || {
            self.leader().filter(|port| *port != before)
        });
        let leader = self
            .servers
            .iter()
            .find(|node| node.tls_port == next)
            .unwrap();
        comes("it leads", || {
            (leader.tells("role") == "master").then_some(())
        });
        assert_eq!(leader.run("SET k v"), "OK");
        let follows = self
            .servers
            .iter()
            .filter(|node| ![before, next].contains(&node.tls_port));
        for replica in follows {
            comes("the others follow it", || {
                (replica.run("GET k") == "v").then_some(())
            });
        }
    }
}

fn sentinel(program: &Path, papers: &Papers, leader: u16) -> (Server, u16) {
    let tls_port = free_port();
    let tls: String = papers
        .options(tls_port)
        .chunks_exact(2)
        .map(|pair| format!("{} {}\n", pair[0].trim_start_matches("--"), pair[1]))
        .collect();
    let lines = format!(
        "{tls}tls-replication yes\nsentinel monitor fleet 127.0.0.1 {leader} 2\n\
         sentinel down-after-milliseconds fleet 1000\nsentinel failover-timeout fleet 20000\n"
    );
    (Server::sentinel(program, &lines), tls_port)
}

#[test]
fn sentinels_of_ours_fail_over() {
    let ours = [ours(), ours(), ours()];
    let mut fleet = Fleet::start(&ours, &ours);
    our_commands_look_at_it(&fleet);
    fleet.fails_over();
}

#[test]
fn sentinels_of_both_makes_fail_over() {
    let (Some(server), Some(sentinel)) = (tool("redis-server"), tool("redis-sentinel")) else {
        return;
    };
    let servers = [ours(), server, ours()];
    let mut fleet = Fleet::start(&servers, &[ours(), sentinel, ours()]);
    fleet.fails_over();
}

fn our_commands_look_at_it(fleet: &Fleet) {
    let run = |words: &[String], shown: Option<&str>| {
        let mut command = Command::new(ours());
        command
            .args(words)
            .args(fleet.papers.client("ca.crt", shown));
        output(&mut command)
    };
    let words = |line: String| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let status = words(format!(
        "dr status 127.0.0.1:{} --json",
        fleet.servers[1].tls_port
    ));
    let (said, well) = run(&status, Some("client"));
    let leader = format!("127.0.0.1:{}", fleet.servers[0].tls_port);
    assert!(well && said.contains(&leader), "{said}");
    let (said, well) = run(&status, None);
    assert!(!well || said.contains("alert"), "{said}");
    let (said, well) = run(
        &words(format!("{} --insecure", status.join(" "))),
        Some("client"),
    );
    assert!(well, "{said}");
    let mut plain = Command::new(ours());
    let (said, _) = output(plain.args(&status));
    assert!(!said.contains("\"role\":\"master\""), "{said}");
    let drill = format!(
        "drill --scenario planned-failover --seconds 6 --outage 2 --clients 4 --pace 20 --master fleet --yes --json \
         --sentinel 127.0.0.1:{} --sentinel 127.0.0.1:{}",
        fleet.sentinels[0].1, fleet.sentinels[1].1
    );
    let (said, _) = run(&words(drill), Some("client"));
    let report = said.lines().find(|line| line.starts_with('{'));
    assert!(report.is_some(), "no report: {said}");
    fleet.is_whole();
    // It ended where it should: another one leads.
    let _: Client = Client::connect(fleet.servers[0].server.port).unwrap();
    assert!(
        fleet
            .leader()
            .is_some_and(|leader| leader != fleet.servers[0].tls_port),
        "{said}"
    );
}
