//! The fields of INFO: each that redis-server has is there, or stands in docs/COMPATIBILITY.md with the reason why not.

use super::common::{Client, Server};
use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = include_str!("../../docs/COMPATIBILITY.md");

/// Fields by section, in their order.
fn report(client: &mut Client, line: &str) -> Vec<(String, Vec<(String, String)>)> {
    let text = client.run(line).text();
    let mut sections: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        match (line.strip_prefix("# "), sections.last_mut()) {
            (Some(title), _) => sections.push((title.to_owned(), Vec::new())),
            (None, Some((_, fields))) => {
                let (name, value) = line.split_once(':').expect("a field has a name");
                fields.push((name.to_owned(), value.to_owned()));
            }
            (None, None) => panic!("a field without a section: {line}"),
        }
    }
    sections
}

/// What stands in the first column of a table under this heading: each name by itself.
fn table(heading: &str) -> BTreeSet<String> {
    let (_, below) = PAGE.split_once(&format!("\n{heading}\n")).expect(heading);
    let rows = below
        .split("\n## ")
        .next()
        .unwrap_or(below)
        .split("\n### ")
        .next()
        .unwrap_or(below);
    let cells = rows
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names.map(str::to_owned).collect()
}

/// Sections whose fields depend on what was done.
const VARIABLE: &[&str] = &[
    "Commandstats",
    "Errorstats",
    "Latencystats",
    "Keyspace",
    "Modules",
];

fn names(sections: &[(String, Vec<(String, String)>)]) -> BTreeMap<String, Vec<String>> {
    let fixed = sections
        .iter()
        .filter(|(title, _)| !VARIABLE.contains(&title.as_str()));
    fixed
        .map(|(title, fields)| {
            (
                title.clone(),
                fields.iter().map(|(name, _)| name.clone()).collect(),
            )
        })
        .collect()
}

#[test]
fn every_field_of_redis_is_there_or_listed_with_its_reason() {
    let Some(redis) = Server::redis(&["--appendonly", "yes"]) else {
        return;
    };
    let ours = Server::redkeep(&["--appendonly", "yes"]);
    let (ours, theirs) = (
        report(&mut ours.client(), "INFO everything"),
        report(&mut redis.client(), "INFO everything"),
    );
    let titles = |sections: &[(String, Vec<(String, String)>)]| -> Vec<String> {
        sections.iter().map(|(title, _)| title.clone()).collect()
    };
    assert_eq!(titles(&ours), titles(&theirs));
    let (ours, theirs) = (names(&ours), names(&theirs));
    let absent = table("### Fields of INFO that are not there");
    let more = table("### Fields of INFO that redis-server 7.0 does not have");
    for (title, theirs) in &theirs {
        let ours = &ours[title];
        let missing: Vec<&String> = theirs
            .iter()
            .filter(|name| !ours.contains(name) && !absent.contains(*name))
            .collect();
        assert!(
            missing.is_empty(),
            "{title}: neither there nor listed: {missing:?}"
        );
        let unlisted: Vec<&String> = ours
            .iter()
            .filter(|name| !theirs.contains(name) && !more.contains(*name))
            .collect();
        assert!(
            unlisted.is_empty(),
            "{title}: there, and not listed: {unlisted:?}"
        );
        let common = |of: &[String], other: &[String]| -> Vec<String> {
            of.iter()
                .filter(|name| other.contains(name))
                .cloned()
                .collect()
        };
        assert_eq!(
            common(ours, theirs),
            common(theirs, ours),
            "the order in {title}"
        );
    }
    let all: BTreeSet<&String> = ours.values().flatten().collect();
    let idle: Vec<&String> = absent.iter().filter(|name| all.contains(name)).collect();
    assert!(idle.is_empty(), "listed as absent, and there: {idle:?}");
}

#[test]
fn sections_are_given_as_redis_gives_them() {
    let Some(redis) = Server::redis(&[]) else {
        return;
    };
    let ours = Server::redkeep(&[]);
    let (mut ours, mut theirs) = (ours.client(), redis.client());
    for line in [
        "INFO",
        "INFO default",
        "INFO all",
        "INFO everything",
        "INFO SERVER",
        "INFO keyspace cpu",
        "INFO commandstats latencystats errorstats",
        "INFO default commandstats",
        "INFO server server nosuch",
        "INFO modules cluster",
        "INFO sentinel",
        "INFO nosuch",
    ] {
        let titles = |client: &mut Client| -> Vec<String> {
            let sections = report(client, line);
            sections.into_iter().map(|(title, _)| title).collect()
        };
        assert_eq!(titles(&mut ours), titles(&mut theirs), "{line}");
    }
    // It came with 7.2.
    let debug = report(&mut ours, "INFO debug");
    assert_eq!(debug[0].0, "Debug");
    assert_eq!(debug[0].1.len(), 4);
}

fn number(client: &mut Client, section: &str, name: &str) -> u64 {
    let sections = report(client, &format!("INFO {section}"));
    let mut fields = sections.into_iter().flat_map(|(_, fields)| fields);
    let field = fields.find(|(known, _)| known == name);
    let (_, value) = field.unwrap_or_else(|| panic!("no {name}"));
    value.parse().unwrap_or_else(|_| panic!("{name}:{value}"))
}

#[test]
fn sockets_are_counted_by_reads_writes_and_bytes() {
    let server = Server::redkeep(&[]);
    let mut client = server.client();
    let stats = |client: &mut Client| {
        [
            "total_reads_processed",
            "total_writes_processed",
            "total_net_input_bytes",
            "total_net_output_bytes",
        ]
        .map(|name| number(client, "stats", name))
    };
    let before = stats(&mut client);
    let mut other = server.client();
    for _ in 0..10 {
        other.run("PING");
    }
    // What others leave for a client is counted, too.
    other.run("SUBSCRIBE news");
    let said = "x".repeat(100_000);
    client.call(&["PUBLISH", "news", &said]).unwrap();
    assert_eq!(other.reply().unwrap().items()[2].text().len(), said.len());
    drop(other);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while number(&mut client, "clients", "connected_clients") > 1 {
        assert!(std::time::Instant::now() < until, "the client does not go");
    }
    let after = stats(&mut client);
    let [reads, writes, input, output] = std::array::from_fn(|i| after[i] - before[i]);
    assert!(
        reads >= 15 && writes >= 15,
        "{reads} reads, {writes} writes"
    );
    assert!(
        input >= 100_000 && output >= 100_000,
        "{input} in, {output} out"
    );
}

#[test]
fn turns_and_their_commands_are_timed() {
    let server = Server::redkeep(&["--enable-debug-command", "yes"]);
    let mut client = server.client();
    client.run("DEBUG SLEEP 0.05");
    assert!(number(&mut client, "stats", "eventloop_duration_cmd_sum") >= 50_000);
    assert!(number(&mut client, "stats", "eventloop_duration_sum") >= 50_000);
    assert!(number(&mut client, "debug", "eventloop_duration_max") >= 50_000);
    let before = number(&mut client, "stats", "eventloop_cycles");
    client
        .send_raw(b"PING\r\nPING\r\nPING\r\nPING\r\nPING\r\n")
        .unwrap();
    (0..5).for_each(|_| assert_eq!(client.reply().unwrap().text(), "PONG"));
    assert!(number(&mut client, "stats", "eventloop_cycles") > before);
    assert!(number(&mut client, "debug", "eventloop_cmd_per_cycle_max") >= 5);
}

/// What a transaction or a script calls has its own time, and its own place in the slow log.
#[test]
fn nested_commands_are_timed_by_themselves() {
    let server = Server::redkeep(&[
        "--enable-debug-command",
        "yes",
        "--slowlog-log-slower-than",
        "10000",
    ]);
    let mut client = server.client();
    client.run("CLIENT SETNAME me");
    client.run("MULTI");
    client.run("DEBUG SLEEP 0.03");
    client.run("PING");
    client.run("EXEC");
    client.run("DEBUG SET-DISABLE-DENY-SCRIPTS 1");
    client
        .call(&["EVAL", "redis.call('debug', 'sleep', '0.03')", "0"])
        .unwrap();
    let entries = client.run("SLOWLOG GET");
    let shown: Vec<(String, String, String)> = entries
        .items()
        .iter()
        .map(|entry| {
            let at = |i: usize| &entry.items()[i];
            let words: Vec<String> = at(3)
                .items()
                .iter()
                .map(super::common::Reply::text)
                .collect();
            (words.join(" "), at(4).text(), at(5).text())
        })
        .collect();
    let commands: Vec<&str> = shown.iter().map(|(words, ..)| words.as_str()).collect();
    let wanted = [
        "EVAL redis.call('debug', 'sleep', '0.03') 0",
        "debug sleep 0.03",
        "DEBUG SLEEP 0.03",
    ];
    assert_eq!(commands, wanted);
    assert_eq!((shown[1].1.as_str(), shown[1].2.as_str()), ("?:0", ""));
    assert_eq!((shown[0].2.as_str(), shown[2].2.as_str()), ("me", "me"));
    let stats = client.run("INFO commandstats").text();
    let usec = |name: &str| -> u64 {
        let (_, rest) = stats.split_once(&format!("cmdstat_{name}:")).expect(name);
        rest.split("usec=")
            .nth(1)
            .and_then(|r| r.split(',').next()?.parse().ok())
            .expect(name)
    };
    assert!(
        usec("debug") >= 60_000 && usec("exec") >= 30_000 && usec("eval") >= 30_000,
        "{stats}"
    );
    assert!(usec("ping") < 30_000, "{stats}");
}
