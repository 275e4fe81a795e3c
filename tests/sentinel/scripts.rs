//! Programs that sentinels run when something happens.

use super::cast::Cast;
use super::common::Reply;
use super::topology::{Plan, Topology};
use super::{until, words};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

play! { by all: ; by quorums: they_are_told_what_happens they_fail_and_are_tried_again }

/// A shell script in a directory.
fn script(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    let text = format!("#!/bin/sh\ncd {}\n{text}\n", dir.display());
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Lines that scripts have written, in order of their letters: they run side by side.
fn written(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// What is told to scripts: all that an operator should know.
const TOLD: &[&str] = &[
    "+config-update-from",
    "+elected-leader",
    "+failover-end",
    "+failover-state-reconf-slaves",
    "+failover-state-select-slave",
    "+new-epoch",
    "+odown",
    "+promoted-slave",
    "+sdown",
    "+selected-slave",
    "+set",
    "+switch-master",
    "+try-failover",
    "+vote-for-leader",
    "-odown",
    "-sdown",
];

/// Each argument in brackets.
const ARGUMENTS: &str = "line=; for a in \"$@\"; do line=\"$line[$a]\"; done";

fn they_are_told_what_happens(cast: Cast) {
    let dir = tempfile::tempdir().unwrap();
    let mut plan = Plan::default();
    for (n, lines) in plan.sentinel.iter_mut().enumerate() {
        let text = format!("{ARGUMENTS}\necho \"$line\" >> told{n}");
        let told = script(dir.path(), &format!("tell{n}"), &text);
        let text = format!("{ARGUMENTS}\necho \"$line\" >> moved{n}");
        let moved = script(dir.path(), &format!("move{n}"), &text);
        lines.push(format!("sentinel notification-script m {}", told.display()));
        lines.push(format!(
            "sentinel client-reconfig-script m {}",
            moved.display()
        ));
    }
    let mut all = Topology::raise(cast, plan);
    let [old, tell] = [
        all.servers[0].port.to_string(),
        format!("{}", dir.path().join("tell0").display()),
    ];
    assert_eq!(all.sentinels[0].field("notification-script"), tell);
    let moved = dir.path().join("move0").display().to_string();
    assert_eq!(all.sentinels[0].field("client-reconfig-script"), moved);
    all.change_by_hand(0);
    let new = all.settles_without(0);
    until("the old leader follows", || {
        all.ears
            .iter_mut()
            .any(|ear| !ear.on("+convert-to-slave").is_empty())
    });
    all.sentinels[1].does("SENTINEL SET m parallel-syncs 7");
    let new = all.servers[new].port.to_string();
    for n in 0..3 {
        let role = if n == 0 { "leader" } else { "observer" };
        let wanted = format!("[m][{role}][start][127.0.0.1][{old}][127.0.0.1][{new}]");
        let path = dir.path().join(format!("moved{n}"));
        until("it is told of the new leader", || {
            !written(&path).is_empty()
        });
        assert_eq!(written(&path), [wanted]);
        let monitor = format!("[+monitor][master m 127.0.0.1 {old} quorum 2]");
        until("it is told of all", || {
            let told = all.ears[n]
                .heard()
                .iter()
                .filter(|(channel, _)| TOLD.contains(&&**channel));
            let mut wanted: Vec<String> = told.map(|(c, p)| format!("[{c}][{p}]")).collect();
            wanted.push(monitor.clone());
            wanted.sort();
            written(&dir.path().join(format!("told{n}"))) == wanted
        });
        until("no script is left", || {
            let sentinel = &mut all.sentinels[n];
            sentinel.does("SENTINEL PENDING-SCRIPTS").items().is_empty()
                && sentinel.info("sentinel_running_scripts") == "0"
        });
        assert_eq!(all.sentinels[n].info("sentinel_scripts_queue_length"), "0");
    }
}

/// An exit code of one, or a signal: once more. Any other one: an event.
fn they_fail_and_are_tried_again(cast: Cast) {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let plan = Plan {
        replicas: 0,
        sentinels: words(&["sentinel deny-scripts-reconfig no"]),
        ..Plan::default()
    };
    let mut all = Topology::launch(cast, plan);
    let sentinel = &mut all.sentinels[0];
    sentinel.does("SENTINEL DEBUG script-retry-delay 1000 script-max-runtime 1000");
    let missing = format!("SENTINEL SET m notification-script {}", at("missing"));
    assert_eq!(
        sentinel.run(&missing).text(),
        "ERR Notification script seems non existing or non executable"
    );
    // It may be tried again, and then it is good.
    let text = "echo \"$1\" >> tries; [ $(wc -l < tries) -ge 2 ]";
    script(dir.path(), "again", text);
    sentinel.does(&format!(
        "SENTINEL SET m notification-script {}",
        at("again")
    ));
    let mut told = Reply::Array(Vec::new());
    until("it is tried again", || {
        told = sentinel.does("SENTINEL PENDING-SCRIPTS");
        let one = told.items().first();
        one.is_some_and(|one| {
            let is = |name, value| one.field(name) == Some(&Reply::bulk(value));
            is("flags", "scheduled") && is("retry-num", "1")
        })
    });
    let [one] = told.items() else {
        panic!("{told:?}");
    };
    let argv: Vec<String> = one
        .field("argv")
        .unwrap()
        .items()
        .iter()
        .map(Reply::text)
        .collect();
    assert_eq!(argv[..2], [at("again"), "+set".to_owned()]);
    assert_eq!(one.field("pid"), Some(&Reply::bulk("0")));
    let delay: i64 = one.field("run-delay").unwrap().text().parse().unwrap();
    assert!((0..=1000).contains(&delay), "{delay}");
    until("it is good", || {
        sentinel.does("SENTINEL PENDING-SCRIPTS").items().is_empty()
    });
    assert_eq!(written(&dir.path().join("tries")), ["+set", "+set"]);
    assert_eq!(all.ears[0].on("-script-error"), [""; 0]);
    // It is not worth to be tried again.
    script(dir.path(), "wrong", "echo >> wrongs; exit 3");
    sentinel.does(&format!(
        "SENTINEL SET m notification-script {}",
        at("wrong")
    ));
    let wanted = [format!("{} 0 3", at("wrong"))];
    until("that is told", || all.ears[0].on("-script-error") == wanted);
    // It does not end, and is made to.
    script(
        dir.path(),
        "slow",
        "echo >> slows; [ $(wc -l < slows) -ge 2 ] || exec sleep 60",
    );
    sentinel.does(&format!(
        "SENTINEL SET m notification-script {}",
        at("slow")
    ));
    until("it runs", || {
        told = sentinel.does("SENTINEL PENDING-SCRIPTS");
        let one = told.items().first();
        one.is_some_and(|one| {
            let has = |name, value| one.field(name) == Some(&Reply::bulk(value));
            has("flags", "running") && !has("pid", "0")
        })
    });
    let one = &told.items()[0];
    assert!(one.field("run-time").is_some());
    assert_eq!(one.field("retry-num"), Some(&Reply::bulk("1")));
    let pid = one.field("pid").unwrap().text();
    let wanted = format!("{} {pid}", at("slow"));
    until("its time is over", || {
        all.ears[0].on("-script-timeout").contains(&wanted)
    });
    until("it has ended the second time", || {
        sentinel.does("SENTINEL PENDING-SCRIPTS").items().is_empty()
    });
    assert_eq!(written(&dir.path().join("slows")).len(), 2);
    // None.
    assert_eq!(
        sentinel.call(&["SENTINEL", "SET", "m", "notification-script", ""]),
        Reply::ok()
    );
    assert_eq!(sentinel.field("notification-script"), "");
}
