//! Scripts that fail, hang, and disappear.

use super::*;
use common::Reply;
use common::client::Got;
use std::os::unix::fs::PermissionsExt;

/// Has a script run by the sentinel, with these periods; when it is set, it is there.
fn with_script(text: &str, periods: &str, play: impl Fn(&mut Victim, &Path) -> Vec<String>) {
    both_with("sentinel deny-scripts-reconfig no\n", |victim| {
        let script = victim.server.dir.path().join("script");
        fs::write(
            &script,
            format!(
                "#!/bin/sh\necho \"$@\" >> {}.heard\n{text}\n",
                script.display()
            ),
        )
        .unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(
            victim.c.run(&format!("SENTINEL DEBUG {periods}")).text(),
            "OK"
        );
        let set = format!(
            "SENTINEL SET {NAME} notification-script {}",
            script.display()
        );
        assert_eq!(victim.c.run(&set).text(), "OK");
        let outcome = play(victim, &script);
        victim.is_well();
        let path = script.display().to_string();
        outcome
            .into_iter()
            .map(|line| line.replace(&path, "SCRIPT"))
            .collect::<Vec<_>>()
    });
}

/// Something that a script is called for.
fn happens(victim: &mut Victim, value: u32) {
    let set = format!("SENTINEL SET {NAME} failover-timeout {value}");
    assert_eq!(victim.c.run(&set).text(), "OK");
}

/// What the script was called with.
fn heard(script: &Path) -> Vec<String> {
    let heard = fs::read_to_string(format!("{}.heard", script.display())).unwrap_or_default();
    heard.lines().map(str::to_owned).collect()
}

/// Listens to what is said of scripts.
fn listener(victim: &Victim) -> Client {
    let mut listener = victim.server.client();
    listener.run("PSUBSCRIBE -script*");
    listener
}

/// The next thing that is said.
fn next(listener: &mut Client) -> String {
    match listener.receive(SOON).unwrap() {
        Got::Reply(said) => said.items()[2..]
            .iter()
            .map(Reply::text)
            .collect::<Vec<_>>()
            .join(" "),
        other => panic!("{other:?}"),
    }
}

/// The numbers of the queue: scripts that run, and that wait.
fn pending(victim: &mut Victim) -> (String, String) {
    let info = victim.c.run("INFO sentinel").text();
    let of = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().to_owned()
    };
    (
        of("sentinel_running_scripts:"),
        of("sentinel_scripts_queue_length:"),
    )
}

fn is_done(victim: &mut Victim) {
    eventually("nothing is left to run", || {
        (pending(victim).1 == "0").then_some(())
    });
}

#[test]
fn one_that_does_as_it_should() {
    with_script("exit 0", "script-retry-delay 20", |victim, script| {
        happens(victim, 5001);
        is_done(victim);
        let port = victim.master.port.to_string();
        heard(script)
            .iter()
            .map(|line| line.replace(&port, "PORT"))
            .collect()
    });
}

#[test]
fn one_that_wants_to_be_called_again() {
    with_script("exit 1", "script-retry-delay 5", |victim, script| {
        let mut listener = listener(victim);
        happens(victim, 5001);
        // Once for that it was set, once for what happened; each ten times.
        let said = [next(&mut listener), next(&mut listener)];
        is_done(victim);
        let of = |what: &str| {
            heard(script)
                .iter()
                .filter(|line| line.contains(what))
                .count()
        };
        let times = [of("notification-script"), of("5001")];
        let mut all = said.to_vec();
        all.push(format!("{times:?}"));
        all
    });
}

#[test]
fn one_that_dies_or_gives_up() {
    with_script("kill -9 $$", "script-retry-delay 5", |victim, _| {
        let mut listener = listener(victim);
        happens(victim, 5001);
        let said = vec![next(&mut listener), next(&mut listener)];
        is_done(victim);
        said
    });
    with_script("exit 7", "script-retry-delay 5", |victim, script| {
        let mut listener = listener(victim);
        happens(victim, 5001);
        let said = vec![next(&mut listener), next(&mut listener)];
        is_done(victim);
        assert_eq!(heard(script).len(), 2, "nor are they called again");
        said
    });
}

#[test]
fn one_that_hangs() {
    with_script(
        "exec sleep 1000",
        "script-retry-delay 100000 script-max-runtime 100",
        |victim, _| {
            let mut listener = listener(victim);
            happens(victim, 5001);
            let said: Vec<String> = (0..2).map(|_| next(&mut listener)).collect();
            // With its number as a process.
            let said = said
                .iter()
                .map(|s| s.rsplit_once(' ').unwrap().0.to_owned());
            let said = said.collect();
            eventually("none runs", || (pending(victim).0 == "0").then_some(()));
            said
        },
    );
}

#[test]
fn one_that_is_not_there_any_more_or_may_not_be_run() {
    with_script("exit 0", "script-retry-delay 5", |victim, script| {
        is_done(victim);
        let mut listener = listener(victim);
        fs::set_permissions(script, fs::Permissions::from_mode(0o644)).unwrap();
        happens(victim, 5001);
        let mut said = vec![next(&mut listener)];
        fs::remove_file(script).unwrap();
        happens(victim, 5002);
        said.push(next(&mut listener));
        fs::write(script, "\0\x01 no program at all").unwrap();
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
        happens(victim, 5003);
        said.push(next(&mut listener));
        is_done(victim);
        let set = format!("SENTINEL SET {NAME} notification-script /nowhere/at/all");
        said.push(victim.c.run(&set).text());
        said
    });
}

#[test]
fn very_many_that_wait() {
    with_script(
        "exec sleep 1000",
        "script-retry-delay 100000 script-max-runtime 100000",
        |victim, _| {
            for value in 5000..5400 {
                happens(victim, value);
            }
            eventually("as many run as may", || {
                (pending(victim).0 == "16").then_some(())
            });
            let (running, waiting) = pending(victim);
            let told = victim.c.run("SENTINEL PENDING-SCRIPTS").items().len();
            victim.is_well();
            vec![running, waiting, told.to_string()]
        },
    );
}
