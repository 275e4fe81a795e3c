//! What sentinels are told while they run.

use super::cast::Cast;
use super::common::Reply;
use super::node::Node;
use super::process::{Part, Port};
use super::topology::{Plan, Topology};
use super::{until, words};

play! { by all: busy_leaders_are_freed; by quorums: leaders_come_and_go settings_change replicas_are_forgotten several_leaders_share_links }

fn has(sentinel: &Node, start: &str) -> bool {
    sentinel.conf().iter().any(|line| line.starts_with(start))
}

fn leaders_come_and_go(cast: Cast) {
    let mut all = Topology::raise(cast, Plan::default());
    let first = all.servers[0].port;
    all.change_by_hand(1);
    let leader = all.settles_without(0);
    let sentinel = &mut all.sentinels[0];
    let epoch = sentinel.field("config-epoch");
    let port = all.servers[leader].port;
    assert_eq!(sentinel.run("SENTINEL REMOVE m"), Reply::ok());
    assert_eq!(
        all.ears[0].on("-monitor"),
        [format!("master m 127.0.0.1 {port}")]
    );
    assert_eq!(sentinel.does("SENTINEL MASTERS").items(), []);
    let unknown = "ERR No such master with that name";
    for line in [
        "SENTINEL MASTER m",
        "SENTINEL REMOVE m",
        "SENTINEL REPLICAS m",
        "SENTINEL SENTINELS m",
    ] {
        assert_eq!(sentinel.run(line).text(), unknown, "{line}");
    }
    assert_eq!(
        sentinel.run("SENTINEL GET-MASTER-ADDR-BY-NAME m"),
        Reply::NullArray
    );
    assert_eq!(sentinel.info("sentinel_masters"), "0");
    for start in [
        "sentinel monitor",
        "sentinel known",
        "sentinel down-after",
        "sentinel config-epoch",
    ] {
        assert!(!has(sentinel, start), "{start} in {:#?}", sentinel.conf());
    }
    // It is told where the leader was: whoever is there hands on what the others say.
    let line = format!("SENTINEL MONITOR m 127.0.0.1 {first} 2");
    assert_eq!(sentinel.run(&line), Reply::ok());
    assert_eq!(
        all.ears[0].on("+monitor"),
        [format!("master m 127.0.0.1 {first} quorum 2")]
    );
    assert!(
        sentinel
            .run(&line)
            .text()
            .starts_with("ERR Duplicate master name.")
    );
    assert_eq!(sentinel.field("down-after-milliseconds"), "30000");
    sentinel.does("SENTINEL SET m down-after-milliseconds 1000 failover-timeout 4000");
    all.settles(leader);
    let line = format!("sentinel monitor m 127.0.0.1 {port} 2");
    assert!(has(&all.sentinels[0], &line));
    assert_eq!(all.sentinels[0].field("config-epoch"), epoch);
    // And it counts: the two others alone do not.
    all.sentinels[1].does("SENTINEL SET m quorum 3");
    all.sentinels[2].does("SENTINEL SET m quorum 3");
    all.servers[leader].kill();
    all.settles_without(leader);
}

fn settings_change(cast: Cast) {
    let mut all = Topology::raise(cast, Plan::default());
    let port = all.servers[0].port;
    let sentinel = &mut all.sentinels[0];
    for (name, value) in [
        ("down-after-milliseconds", "2000"),
        ("failover-timeout", "5000"),
        ("parallel-syncs", "3"),
        ("quorum", "5"),
    ] {
        all.ears[0].clear();
        assert_eq!(
            sentinel.run(&format!("SENTINEL SET m {name} {value}")),
            Reply::ok()
        );
        assert_eq!(sentinel.field(name), value);
        assert_eq!(
            all.ears[0].on("+set"),
            [format!("master m 127.0.0.1 {port} {name} {value}")]
        );
        match name {
            "quorum" => assert!(has(
                sentinel,
                &format!("sentinel monitor m 127.0.0.1 {port} 5")
            )),
            _ => assert!(has(sentinel, &format!("sentinel {name} m {value}"))),
        }
    }
    // What replicas and sentinels are measured by.
    for what in ["REPLICAS", "SENTINELS"] {
        let told = sentinel.list(what, &["down-after-milliseconds"]);
        assert_eq!(told, [["2000"], ["2000"]], "{what}");
    }
    assert_eq!(
        sentinel.run("SENTINEL CKQUORUM m").text(),
        "NOQUORUM 3 usable Sentinels. Not enough available Sentinels to reach the specified quorum for this master"
    );
    // Up to what is wrong it is done.
    all.ears[0].clear();
    let reply = sentinel.run("SENTINEL SET m quorum 4 quorum 0 quorum 1");
    assert_eq!(
        reply.text(),
        "ERR Invalid argument '0' for SENTINEL SET 'quorum'"
    );
    assert_eq!(sentinel.field("quorum"), "4");
    assert!(has(
        sentinel,
        &format!("sentinel monitor m 127.0.0.1 {port} 4")
    ));
    // Secrets are in the file only.
    sentinel.does("SENTINEL SET m auth-pass hush auth-user who");
    let told = [4.to_string(), "******".to_owned(), "who".to_owned()];
    let names = ["quorum", "auth-pass", "auth-user"];
    let wanted: Vec<String> = names
        .iter()
        .zip(told)
        .map(|(name, value)| format!("master m 127.0.0.1 {port} {name} {value}"))
        .collect();
    assert_eq!(all.ears[0].on("+set"), wanted);
    assert!(has(sentinel, "sentinel auth-pass m hush"));
    assert!(has(sentinel, "sentinel auth-user m who"));
}

/// Who is gone for good is known until SENTINEL RESET.
fn replicas_are_forgotten(cast: Cast) {
    let mut all = Topology::raise(cast, Plan::default());
    all.servers[2].kill();
    all.see_gone(2);
    all.servers[0].does("CLIENT KILL TYPE replica");
    until("the leader has one replica", || {
        all.servers[0].run("ROLE").items()[2].items().len() == 1
    });
    let left = all.servers[1].port.to_string();
    let leader = all.servers[0].port;
    for (sentinel, ear) in all.sentinels.iter_mut().zip(&mut all.ears) {
        assert_eq!(sentinel.run("SENTINEL RESET n*"), Reply::Int(0));
        assert_eq!(sentinel.field("num-slaves"), "2");
        ear.clear();
        // Before it hears of anybody again.
        let [reset, told] = sentinel.both("SENTINEL RESET [m]*", "SENTINEL MASTER m");
        assert_eq!(reset, Reply::Int(1));
        for name in ["num-slaves", "num-other-sentinels"] {
            assert_eq!(told.field(name), Some(&Reply::bulk("0")), "{name}");
        }
        assert_eq!(
            ear.on("+reset-master"),
            [format!("master m 127.0.0.1 {leader}")]
        );
        until("they are found again", || {
            sentinel.field("num-other-sentinels") == "2" && sentinel.field("num-slaves") == "1"
        });
        assert_eq!(sentinel.list("REPLICAS", &["port"]), [[&*left]]);
    }
    // Who does not want to be told of is known, and not told of.
    all.servers[1].does("CONFIG SET replica-announced no");
    for sentinel in &mut all.sentinels {
        until("it is not told of", || {
            sentinel.list("REPLICAS", &["port"]).is_empty()
        });
        assert_eq!(sentinel.field("num-slaves"), "1");
    }
}

/// Two sentinels have one connection to each other, however many leaders there are.
fn several_leaders_share_links(cast: Cast) {
    let mut all = Topology::raise(cast, Plan::default());
    let lines = words(&["save \"\""]);
    let mut other = Node::launch(cast.servers[1], Part::Server, Port::take(), &lines);
    other.is_ready();
    let port = other.port;
    for sentinel in &mut all.sentinels {
        sentinel.does(&format!("SENTINEL MONITOR n 127.0.0.1 {port} 2"));
    }
    for sentinel in &mut all.sentinels {
        until("links are shared", || {
            sentinel.list("SENTINELS", &["link-refcount"]) == [["2"], ["2"]]
        });
    }
    let ids: Vec<String> = all
        .sentinels
        .iter_mut()
        .map(|s| s.does("SENTINEL MYID").text())
        .collect();
    let clients = all.sentinels[0].does("CLIENT LIST").text();
    for id in &ids[1..] {
        let name = format!("name=sentinel-{}-cmd ", &id[..8]);
        assert_eq!(clients.matches(&name).count(), 1, "{clients}");
    }
    let told = all.sentinels[0].run("ROLE");
    let mut names: Vec<String> = told.items()[1].items().iter().map(Reply::text).collect();
    names.sort();
    assert_eq!(names, ["m", "n"]);
    // What becomes of one is nothing to the other.
    all.sentinels[0].does("SENTINEL REMOVE n");
    until("the link is left", || {
        all.sentinels[0].list("SENTINELS", &["link-refcount"]) == [["1"], ["1"]]
    });
    all.servers[0].kill();
    let new = all.settles_without(0);
    all.has_changed_once(0, new);
    assert_eq!(
        all.sentinels[1]
            .run("SENTINEL GET-MASTER-ADDR-BY-NAME n")
            .items()[1]
            .text(),
        port.to_string()
    );
}

/// Whoever does not answer for a script that does not end is helped out of it before anybody else leads.
fn busy_leaders_are_freed(cast: Cast) {
    let plan = Plan {
        quorum: 3,
        servers: words(&["busy-reply-threshold 100"]),
        ..Plan::default()
    };
    let mut all = Topology::raise(cast, plan);
    all.sentinels[0].does("SENTINEL SET m quorum 5");
    all.sentinels[1].does("SENTINEL SET m quorum 5");
    all.sentinels[2].does("SENTINEL SET m quorum 5");
    let mut c = all.servers[0].client().unwrap();
    let reply = c.call(&["EVAL", "while true do end", "0"]).unwrap();
    assert!(
        reply.text().contains("Script killed by user"),
        "{}",
        reply.text()
    );
    all.settles(0);
    assert!(all.ears.iter_mut().any(|ear| !ear.on("+sdown").is_empty()));
    for ear in &mut all.ears {
        assert_eq!(ear.on("+odown"), [""; 0]);
    }
}
