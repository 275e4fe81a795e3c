//! What the sentinels tell, once and in words.

use std::collections::HashSet;

use crate::server::topology::{Node, Topology};

/// What a sentinel tells: an event with its text, as subscribers get it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) sentinel: String,
    pub(super) event: String,
    pub(super) text: String,
}

/// What is known of the nodes. Each sentinel tells what it finds by itself; who reads wants to hear it once.
pub(super) struct Story {
    nodes: Vec<(u16, String)>,
    /// Who leads.
    leader: String,
    /// Which sentinel finds which node silent.
    silent: HashSet<(String, String)>,
    /// What was told since somebody else leads.
    told: HashSet<String>,
}

impl Story {
    pub(super) fn of(topology: &Topology, leader: Node) -> Story {
        let nodes = topology.nodes().into_iter();
        Story::new(
            nodes.map(|node| (node.port(), node.to_string())).collect(),
            leader.to_string(),
        )
    }

    fn new(nodes: Vec<(u16, String)>, leader: String) -> Story {
        Story {
            nodes,
            leader,
            silent: HashSet::new(),
            told: HashSet::new(),
        }
    }

    /// What there is to tell of an event.
    pub(super) fn line(&mut self, told: &Told) -> Option<String> {
        let words: Vec<&str> = told.text.split(' ').collect();
        let who = || self.name(words.get(3)?);
        let line = match told.event.as_str() {
            "+sdown" => return self.silent(who()?, &told.sentinel),
            "-sdown" => return self.speaks(who()?, &told.sentinel),
            "+odown" => format!("{} is down: enough sentinels agree", who()?),
            "+elected-leader" => format!("{} carries out the failover", told.sentinel),
            "+selected-slave" => format!("{} is chosen", who()?),
            "+switch-master" => return self.switch(self.name(words.get(4)?)?),
            "+slave-reconf-done" => format!("{} follows {}", who()?, self.leader),
            "+convert-to-slave" => format!("{} is made a replica of {}", who()?, self.leader),
            "+reboot" => format!("{} was started again", who()?),
            "+tilt" => return Some(format!("{} distrusts its clock", told.sentinel)),
            "-tilt" => return Some(format!("{} trusts its clock again", told.sentinel)),
            event if event.starts_with("-failover-abort") => {
                let why = event.trim_start_matches("-failover-abort-");
                return Some(format!("The failover is given up: {why}"));
            }
            _ => return None,
        };
        self.told.insert(line.clone()).then_some(line)
    }

    fn name(&self, port: &str) -> Option<String> {
        let port: u16 = port.parse().ok()?;
        let known = self.nodes.iter().find(|(known, _)| *known == port);
        Some(known.map_or_else(|| format!("port {port}"), |(_, name)| name.clone()))
    }

    fn is_silent(&self, node: &str) -> bool {
        self.silent.iter().any(|(silent, _)| silent == node)
    }

    fn silent(&mut self, node: String, sentinel: &str) -> Option<String> {
        let first = !self.is_silent(&node);
        self.silent.insert((node.clone(), sentinel.to_owned()));
        first.then(|| format!("{node} does not answer {sentinel}"))
    }

    fn speaks(&mut self, node: String, sentinel: &str) -> Option<String> {
        let was = self.silent.remove(&(node.clone(), sentinel.to_owned()));
        (was && !self.is_silent(&node)).then(|| {
            // If it happens again it is told again.
            self.told.retain(|line| !line.starts_with(&node));
            format!("{node} answers again")
        })
    }

    fn switch(&mut self, leader: String) -> Option<String> {
        if self.leader == leader {
            return None;
        }
        self.told.clear();
        // Whoever is silent now is told anew, as what it is from now on.
        self.silent.clear();
        self.leader = leader;
        Some(format!("{} leads", self.leader))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(events: &[(&str, &str, &str)]) -> Vec<String> {
        let nodes = [(7000, "node-1"), (7001, "node-2"), (27000, "sentinel-1")];
        let nodes = nodes.map(|(port, name)| (port, name.to_owned())).to_vec();
        let mut story = Story::new(nodes, "node-1".into());
        let lines = events.iter().filter_map(|(sentinel, event, text)| {
            story.line(&Told {
                sentinel: (*sentinel).into(),
                event: (*event).into(),
                text: (*text).into(),
            })
        });
        lines.collect()
    }

    #[test]
    fn what_several_sentinels_find_is_told_once() {
        let leader = "master mymaster 127.0.0.1 7000";
        let next = "slave 127.0.0.1:7001 127.0.0.1 7001 @ mymaster 127.0.0.1 7000";
        let old = "slave 127.0.0.1:7000 127.0.0.1 7000 @ mymaster 127.0.0.1 7001";
        let switch = "mymaster 127.0.0.1 7000 127.0.0.1 7001";
        let lines = story(&[
            ("sentinel-2", "+sdown", leader),
            ("sentinel-1", "+sdown", leader),
            ("sentinel-1", "+odown", &format!("{leader} #quorum 2/2")),
            ("sentinel-2", "+odown", &format!("{leader} #quorum 2/2")),
            ("sentinel-1", "+new-epoch", "1"),
            ("sentinel-1", "+elected-leader", leader),
            ("sentinel-1", "+selected-slave", next),
            ("sentinel-1", "+switch-master", switch),
            ("sentinel-2", "+switch-master", switch),
            ("sentinel-2", "+sdown", old),
            ("sentinel-1", "+sdown", old),
            ("sentinel-1", "-sdown", old),
            ("sentinel-2", "-sdown", old),
            ("sentinel-1", "+convert-to-slave", old),
            ("sentinel-2", "+convert-to-slave", old),
        ]);
        assert_eq!(
            lines,
            [
                "node-1 does not answer sentinel-2",
                "node-1 is down: enough sentinels agree",
                "sentinel-1 carries out the failover",
                "node-2 is chosen",
                "node-2 leads",
                "node-1 does not answer sentinel-2",
                "node-1 answers again",
                "node-1 is made a replica of node-2",
            ]
        );
    }

    #[test]
    fn what_makes_no_sense_is_not_told() {
        let lines = story(&[
            ("sentinel-1", "+sdown", ""),
            ("sentinel-1", "+sdown", "master mymaster 127.0.0.1 x"),
            ("sentinel-1", "+switch-master", "mymaster"),
            ("sentinel-1", "+anything", "at all"),
            (
                "sentinel-1",
                "-failover-abort-no-good-slave",
                "master mymaster 127.0.0.1 7000",
            ),
        ]);
        assert_eq!(lines, ["The failover is given up: no-good-slave"]);
    }
}
