//! What becomes of the file when it cannot be written, and when the process is killed while it is.

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a sentinel says when it could not write its file.
const NOT_SAVED: &str = "WARNING: Sentinel was not able to save the new configuration on disk!!!";

/// Nobody: whom permissions hold for.
const NOBODY: u32 = 65534;

fn set(victim: &mut Victim, value: u64) {
    let set = format!("SENTINEL SET {NAME} failover-timeout {value}");
    assert_eq!(victim.c.run(&set).text(), "OK");
}

fn is_in_file(victim: &Victim, value: u64) -> bool {
    victim
        .file()
        .contains(&format!("sentinel failover-timeout {NAME} {value}"))
}

#[test]
fn a_directory_that_goes_away_and_comes_back() {
    both(|victim| {
        set(victim, 1001);
        assert!(is_in_file(victim, 1001));
        let dir = victim.server.dir.path().to_owned();
        let away = dir.with_extension("away");
        fs::rename(&dir, &away).unwrap();
        let asked = victim
            .c
            .run(&format!("SENTINEL SET {NAME} failover-timeout 1002"))
            .text();
        let asked = asked.split(':').next().unwrap().to_owned();
        victim.is_alive();
        // Somebody else is at work there meanwhile.
        fs::rename(&away, &dir).unwrap();
        victim.says(NOT_SAVED);
        assert!(is_in_file(victim, 1001), "what was there is there");
        set(victim, 1003);
        assert!(is_in_file(victim, 1003));
        victim.starts_again();
        (asked, victim.master()["failover-timeout"].clone())
    });
}

#[test]
fn something_else_in_the_place_of_the_file() {
    both(|victim| {
        set(victim, 1001);
        let conf = victim.server.dir.path().join("sentinel.conf");
        let aside = conf.with_extension("aside");
        fs::rename(&conf, &aside).unwrap();
        fs::create_dir(&conf).unwrap();
        fs::write(conf.join("x"), "x").unwrap();
        victim
            .c
            .run(&format!("SENTINEL SET {NAME} failover-timeout 1002"));
        victim.says(NOT_SAVED);
        victim.is_well();
        fs::remove_dir_all(&conf).unwrap();
        // It is made anew.
        set(victim, 1003);
        assert!(is_in_file(victim, 1003));
        let rest = fs::read_dir(victim.server.dir.path()).unwrap().flatten();
        let rest = rest.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut rest: Vec<String> = rest.collect();
        rest.sort();
        rest
    });
}

#[test]
fn what_was_acknowledged_is_in_the_file_when_the_process_is_killed() {
    both(|victim| {
        for round in 0..5 {
            let (acknowledged, server) = (AtomicU64::new(0), &mut victim.server);
            thread::scope(|s| {
                let mut c = server.client();
                s.spawn(|| {
                    for value in (round + 1) * 100_000.. {
                        let set = format!("SENTINEL SET {NAME} failover-timeout {value}");
                        if !c
                            .call(&common::argv(&set))
                            .is_ok_and(|reply| reply.text() == "OK")
                        {
                            return;
                        }
                        acknowledged.store(value, Ordering::SeqCst);
                    }
                });
                eventually("some are set", || {
                    let enough = acknowledged.load(Ordering::SeqCst) > (round + 1) * 100_000 + 5;
                    enough.then_some(())
                });
                server.kill();
            });
            victim.starts_again();
            let is: u64 = victim.master()["failover-timeout"].parse().unwrap();
            let told = acknowledged.load(Ordering::SeqCst);
            assert!(
                is == told || is == told + 1,
                "{told} was told, {is} is there"
            );
        }
    });
}

#[test]
fn a_file_that_may_not_be_written_and_a_directory_that_may_not() {
    let outcomes = file::programs().into_iter().map(|program| {
        let mut said = Vec::new();
        for (of_dir, of_file) in [(0o555, 0o444), (0o777, 0o444), (0o555, 0o666)] {
            let dir = tempfile::tempdir().unwrap();
            let port = common::peer::free_port();
            let conf = dir.path().join("sentinel.conf");
            fs::write(
                &conf,
                format!("port {port}\nbind 127.0.0.1\nsentinel monitor m 127.0.0.1 1 2\n"),
            )
            .unwrap();
            let may = |path: &Path, mode| {
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap()
            };
            may(&conf, of_file);
            may(dir.path(), of_dir);
            let mut command = Command::new(&program);
            if rustix::process::geteuid().is_root() {
                // Of those that may do everything nobody is kept from anything.
                command.uid(NOBODY);
            }
            let outcome = file::ends_or_runs(
                command.args(["sentinel.conf", "--sentinel"]),
                dir.path(),
                port,
            );
            may(dir.path(), 0o777);
            let log = fs::read_to_string(dir.path().join("log")).unwrap();
            said.push((outcome, log.contains(NOT_SAVED)));
        }
        said
    });
    let outcomes: Vec<_> = outcomes.collect();
    assert!(
        outcomes.iter().all(|other| *other == outcomes[0]),
        "{outcomes:#?}"
    );
}
