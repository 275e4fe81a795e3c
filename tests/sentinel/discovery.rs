//! Sentinels find replicas and each other.

use super::cast::Cast;
use super::common::Reply;
use super::topology::{Plan, Topology};
use super::until;

play! { by all: all_find_all; by quorums:  }

fn all_find_all(cast: Cast) {
    let mut all = Topology::raise(cast, Plan::default());
    let leader = all.servers[0].port.to_string();
    let ids: Vec<String> = all
        .sentinels
        .iter_mut()
        .map(|s| s.does("SENTINEL MYID").text())
        .collect();
    let ports: Vec<String> = all.sentinels.iter().map(|s| s.port.to_string()).collect();
    let runs: Vec<String> = all.servers.iter_mut().map(|s| s.info("run_id")).collect();
    let replicas: Vec<String> = all.servers[1..]
        .iter()
        .map(|s| s.port.to_string())
        .collect();
    for (n, sentinel) in all.sentinels.iter_mut().enumerate() {
        let told = sentinel.does("SENTINEL MASTERS");
        assert_eq!(told.items().len(), 1);
        assert_eq!(told.items()[0].field("name"), Some(&Reply::bulk("m")));
        until("it has asked the leader", || {
            sentinel.field("runid") == runs[0]
        });
        assert_eq!(sentinel.field("role-reported"), "master");
        let fields = [
            "name",
            "ip",
            "port",
            "runid",
            "flags",
            "master-host",
            "master-port",
            "master-link-status",
        ];
        let wanted = (1..3).map(|r| {
            let name = format!("127.0.0.1:{}", replicas[r - 1]);
            let wanted = [
                &name,
                "127.0.0.1",
                &replicas[r - 1],
                &runs[r],
                "slave",
                "127.0.0.1",
                &leader,
                "ok",
            ];
            wanted.map(str::to_owned).to_vec()
        });
        let mut wanted: Vec<_> = wanted.collect();
        wanted.sort();
        for command in ["REPLICAS", "SLAVES"] {
            until("it has asked the replicas", || {
                sentinel.list(command, &fields) == wanted
            });
        }
        let others = (0..3).filter(|&other| other != n);
        let wanted = others.map(|other| {
            let wanted = [
                &*ids[other],
                "127.0.0.1",
                &ports[other],
                &ids[other],
                "sentinel",
                "?",
                "0",
            ];
            wanted.map(str::to_owned).to_vec()
        });
        let mut wanted: Vec<_> = wanted.collect();
        wanted.sort();
        let fields = [
            "name",
            "ip",
            "port",
            "runid",
            "flags",
            "voted-leader",
            "voted-leader-epoch",
        ];
        until("it is connected to the others", || {
            sentinel.list("SENTINELS", &fields) == wanted
        });
        assert_eq!(
            sentinel.does("SENTINEL CKQUORUM m").text(),
            "OK 3 usable Sentinels. Quorum and failover authorization can be reached"
        );
        assert!(sentinel.info("master0").ends_with("slaves=2,sentinels=3"));
    }
    // Each of them has its two connections to each server, under a name that tells whose they are.
    for server in &mut all.servers {
        let clients = server.does("CLIENT LIST").text();
        for id in &ids {
            for what in ["cmd", "pubsub"] {
                let name = format!("name=sentinel-{}-{what} ", &id[..8]);
                assert_eq!(clients.matches(&name).count(), 1, "{name} in {clients}");
            }
        }
    }
    // What was found is in the files.
    for (n, sentinel) in all.sentinels.iter_mut().enumerate() {
        let conf = sentinel.conf();
        let has = |line: String| assert!(conf.contains(&line), "{line} in {conf:#?}");
        has(format!("sentinel myid {}", ids[n]));
        replicas
            .iter()
            .for_each(|port| has(format!("sentinel known-replica m 127.0.0.1 {port}")));
        for other in (0..3).filter(|&other| other != n) {
            has(format!(
                "sentinel known-sentinel m 127.0.0.1 {} {}",
                ports[other], ids[other]
            ));
        }
    }
}
