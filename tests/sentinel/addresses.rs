//! Hosts and ports that are told in place of those that are.

use super::cast::Cast;
use super::common::Proxy;
use super::topology::{Plan, Topology};
use super::{until, words};

play! { by all: servers_announce_another_address hosts_have_names; by quorums: sentinels_announce_another_address }

fn sentinels_announce_another_address(cast: Cast) {
    let plan = Plan {
        before: words(&["bind 127.0.0.1 127.0.0.2"]),
        sentinels: words(&["sentinel announce-ip 127.0.0.2"]),
        ..Plan::default()
    };
    let mut all = Topology::raise(cast, plan);
    for sentinel in &mut all.sentinels {
        let told = sentinel.list("SENTINELS", &["ip"]);
        assert_eq!(told, [["127.0.0.2"], ["127.0.0.2"]]);
    }
    let proxy = Proxy::to(all.sentinels[0].port);
    let [host, port] = ["127.0.0.1".to_owned(), proxy.port().to_string()];
    for (name, value) in [("announce-ip", &host), ("announce-port", &port)] {
        all.sentinels[0].does(&format!("SENTINEL CONFIG SET {name} {value}"));
        let told = all.sentinels[0].does("SENTINEL CONFIG GET *");
        assert_eq!(told.field(name).unwrap().text(), *value);
    }
    let id = all.sentinels[0].does("SENTINEL MYID").text();
    for n in 1..3 {
        let wanted = vec![
            host.clone(),
            port.clone(),
            id.clone(),
            "sentinel".to_owned(),
        ];
        until("it has moved", || {
            let told = all.sentinels[n].list("SENTINELS", &["ip", "port", "runid", "flags"]);
            told.len() == 2 && told.contains(&wanted)
        });
        let leader = all.servers[0].port;
        let switch = format!("master m 127.0.0.1 {leader} ip {host} port {port} for {id}");
        let told = all.ears[n].on("+sentinel-address-switch");
        assert_eq!(told.last(), Some(&switch), "{told:?}");
    }
    until("the others connect there", || proxy.connections() >= 2);
    all.servers[0].kill();
    let new = all.settles_without(0);
    all.has_changed_once(0, new);
}

fn servers_announce_another_address(cast: Cast) {
    let plan = Plan {
        servers: words(&["bind 127.0.0.1 127.0.0.2", "replica-announce-ip 127.0.0.2"]),
        host: "127.0.0.2",
        ..Plan::default()
    };
    let mut all = Topology::raise(cast, plan);
    for sentinel in &mut all.sentinels {
        until("it has asked the replicas", || {
            sentinel.list("REPLICAS", &["ip", "master-host"]) == [["127.0.0.2"; 2]; 2]
        });
    }
    all.servers[0].kill();
    let new = all.settles_without(0);
    all.has_changed_once(0, new);
    all.see_gone(0);
    all.servers[0].restart();
    all.settles(new);
}

fn hosts_have_names(cast: Cast) {
    let plan = Plan {
        before: words(&[
            "sentinel resolve-hostnames yes",
            "sentinel announce-hostnames yes",
        ]),
        servers: words(&["replica-announce-ip localhost"]),
        host: "localhost",
        ..Plan::default()
    };
    let mut all = Topology::raise(cast, plan);
    for sentinel in &mut all.sentinels {
        assert_eq!(sentinel.address().0, "localhost");
        until("it has asked the replicas", || {
            sentinel.list("REPLICAS", &["ip", "master-host"]) == [["localhost"; 2]; 2]
        });
    }
    all.servers[0].kill();
    let new = all.settles_without(0);
    all.has_changed_once(0, new);
    all.see_gone(0);
    all.servers[0].restart();
    all.settles(new);
    let kind = all.sentinels[0].kind;
    all.sentinels[0].kill();
    all.restart_sentinel(0, kind);
    all.settles(new);
    assert_eq!(all.sentinels[0].address().0, "localhost");
    for (n, server) in all
        .servers
        .iter_mut()
        .enumerate()
        .filter(|(n, _)| *n != new)
    {
        assert_eq!(server.run("ROLE").items()[1].text(), "localhost", "{n}");
    }
    // Without names it is the address that they stand for.
    for sentinel in &mut all.sentinels {
        sentinel.does("SENTINEL CONFIG SET announce-hostnames no");
        assert_eq!(sentinel.address().0, "127.0.0.1");
    }
}
