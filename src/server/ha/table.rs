//! What listens where, and how to connect to it.

use std::fmt;

use super::Args;
use crate::server::topology::{Node, Topology};

/// What is told at the start.
pub(super) struct Table<'a> {
    topology: &'a Topology,
    leader: Node,
    lasting: bool,
    sync: bool,
}

impl<'a> Table<'a> {
    pub(super) fn of(topology: &'a Topology, leader: Node, args: &Args) -> Table<'a> {
        Table {
            topology,
            leader,
            lasting: args.dir.is_some(),
            sync: args.sync,
        }
    }

    fn nodes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        for node in self.topology.nodes() {
            let role = match (node.is_sentinel(), node == self.leader) {
                (true, _) => "sentinel",
                (_, true) => "leader",
                _ => "replica",
            };
            let (name, addr) = (node.to_string(), node.addr());
            writeln!(f, "  {name:<12} {addr:<17} {role}")?;
        }
        writeln!(f)
    }

    fn examples(&self, sentinels: &[Node], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.topology.name();
        let each = |show: &dyn Fn(&Node) -> String| {
            let shown: Vec<_> = sentinels.iter().map(show).collect();
            shown.join(", ")
        };
        let first = sentinels.first().map_or(0, Node::port);
        let pairs = each(&|node| format!("(\"127.0.0.1\", {})", node.port()));
        let objects = each(&|node| format!("{{ host: \"127.0.0.1\", port: {} }}", node.port()));
        let urls = each(&|node| format!("\"{}\"", node.url()));
        write!(
            f,
            "
Ask a sentinel who leads:

  redis-cli -p {first} sentinel get-master-addr-by-name {name}

redis-py:

  from redis.sentinel import Sentinel
  sentinel = Sentinel([{pairs}])
  sentinel.master_for(\"{name}\").set(\"key\", \"value\")

ioredis:

  const Redis = require(\"ioredis\");
  const redis = new Redis({{ sentinels: [{objects}], name: \"{name}\" }});
  redis.set(\"key\", \"value\");

redis-rs, with its feature `sentinel`:

  use redis::sentinel::{{SentinelClient, SentinelServerType}};
  let mut sentinel = SentinelClient::build(vec![{urls}], \"{name}\".into(), None, SentinelServerType::Master)?;
  redis::cmd(\"SET\").arg(\"key\").arg(\"value\").exec(&mut sentinel.get_connection()?)?;

Have another server lead; or the leader not answer for a while:

  redis-cli -p {first} sentinel failover {name}
  redis-cli -p {leader} debug sleep 5
",
            leader = self.leader.port()
        )
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.nodes(f)?;
        match self.lasting {
            true => writeln!(f, "Data is kept in {}.", self.topology.dir().display())?,
            false => writeln!(
                f,
                "Data is kept in memory only; --dir DIR keeps it in files."
            )?,
        }
        if self.sync {
            writeln!(f, "Replies wait until a replica has what they show.")?;
        }
        let port = self.leader.port();
        write!(
            f,
            "\nThe leader, as long as it leads:\n\n  redis-cli -p {port}\n"
        )?;
        let sentinels = self.topology.sentinels();
        if !sentinels.is_empty() {
            self.examples(&sentinels, f)?;
        }
        writeln!(f, "\nCtrl-C ends all of it. What happens until then:\n")
    }
}
