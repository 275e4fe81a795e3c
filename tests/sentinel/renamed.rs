//! Servers whose commands have other names. Those of Redkeep cannot have them.

use super::Kind;
use super::cast::Cast;
use super::topology::{Plan, Topology};
use super::until;

play! { by all: commands_have_other_names; by quorums:  }

/// What sentinels say and replicas do not; without SUBSCRIBE, of which a real sentinel knows by its name only what comes then.
const RENAMED: &[&str] = &["CONFIG", "SLAVEOF", "CLIENT", "PUBLISH", "INFO", "SCRIPT"];

fn commands_have_other_names(cast: Cast) {
    if cast.servers != [Kind::Redis; 3] {
        return;
    }
    let names = |line: &str| {
        RENAMED
            .iter()
            .map(|name| format!("{line} {name} my-{name}"))
            .collect()
    };
    let plan = Plan {
        servers: names("rename-command"),
        sentinels: names("sentinel rename-command m"),
        ..Plan::default()
    };
    let mut all = Topology::raise(cast, plan);
    all.servers[0].kill();
    let new = all.settles_without(0);
    all.has_changed_once(0, new);
    all.see_gone(0);
    all.servers[0].restart();
    all.settles(new);
    // Without their names there is no answer that says what it is.
    let sentinel = &mut all.sentinels[0];
    sentinel.does("SENTINEL SET m rename-command PING nothing");
    until("it is down", || sentinel.field("flags").contains("s_down"));
    sentinel.does("SENTINEL SET m rename-command PING PING");
    all.settles(new);
    let conf = all.sentinels[0].conf();
    let mut renamed: Vec<&String> = conf
        .iter()
        .filter(|l| l.starts_with("sentinel rename"))
        .collect();
    renamed.sort();
    let mut wanted: Vec<String> = names("sentinel rename-command m");
    wanted.sort();
    assert_eq!(renamed, wanted.iter().collect::<Vec<_>>());
}
