//! Servers and sentinels that do not talk to just anybody.

use super::cast::Cast;
use super::common::Client;
use super::topology::{Plan, Topology};
use super::{until, words};

play! { by all: servers_ask_for_a_password; by quorums: sentinels_ask_for_a_password }

fn servers_ask_for_a_password(cast: Cast) {
    let plan = Plan {
        servers: words(&["requirepass secret", "masterauth secret"]),
        sentinels: words(&["sentinel auth-pass m secret"]),
        ..Plan::default()
    };
    let mut all = Topology::raise(cast, plan);
    // Who has the wrong one gets no answers that count.
    all.sentinels[0].does("SENTINEL SET m auth-pass wrong");
    until("the leader is down to it", || {
        all.sentinels[0].field("flags").contains("s_down")
    });
    all.sentinels[0].does("SENTINEL SET m auth-pass secret");
    all.settles(0);
    for ear in &mut all.ears {
        assert_eq!(ear.on("+odown"), [""; 0]);
    }
    all.servers[0].kill();
    let new = all.settles_without(0);
    all.has_changed_once(0, new);
    all.see_gone(0);
    all.servers[0].restart();
    all.settles(new);
    all.write("k", "v");
    all.have("k", "v");
}

fn sentinels_ask_for_a_password(cast: Cast) {
    let mut plan = Plan {
        sentinels: words(&["requirepass hush"]),
        ..Plan::default()
    };
    // What they say to each other is what they ask for themselves, if nothing else is said.
    plan.sentinel[1] = words(&["sentinel sentinel-pass hush"]);
    plan.sentinel[2] = words(&[
        "sentinel sentinel-user default",
        "sentinel sentinel-pass hush",
    ]);
    let mut all = Topology::raise(cast, plan);
    for sentinel in &all.sentinels {
        let mut stranger = Client::connect(sentinel.port).unwrap();
        for line in [
            "PING",
            "SENTINEL MASTERS",
            "INFO",
            "PUBLISH __sentinel__:hello x",
            "SUBSCRIBE x",
        ] {
            assert_eq!(
                stranger.run(line).text(),
                "NOAUTH Authentication required.",
                "{line}"
            );
        }
        assert_eq!(stranger.run("AUTH hush").text(), "OK");
        assert_eq!(stranger.run("PING").text(), "PONG");
    }
    for n in 0..3 {
        all.sentinels[n].terminate();
        let kind = all.sentinels[n].kind;
        all.restart_sentinel(n, kind);
        let told = all.sentinels[n].does("SENTINEL CONFIG GET sentinel-pass");
        let wanted = ["", "hush", "hush"][n];
        assert_eq!(told.field("sentinel-pass").unwrap().text(), wanted);
    }
    all.settles(0);
    for sentinel in &mut all.sentinels {
        until("the others answer", || {
            sentinel.list("SENTINELS", &["flags"]) == [["sentinel"], ["sentinel"]]
        });
    }
    all.servers[0].kill();
    let new = all.settles_without(0);
    all.has_changed_once(0, new);
    // Whoever says the wrong thing from now on is not heard.
    all.sentinels[1].does("SENTINEL CONFIG SET sentinel-pass wrong");
    until("nobody answers it", || {
        let flags = all.sentinels[1].list("SENTINELS", &["flags"]);
        flags.iter().all(|f| f[0].contains("s_down"))
    });
    all.sentinels[1].does("SENTINEL CONFIG SET sentinel-pass hush");
    all.settles(new);
    until("they answer again", || {
        all.sentinels[1].list("SENTINELS", &["flags"]) == [["sentinel"], ["sentinel"]]
    });
}
