//! Configurations that are read, refused, and written again.

use super::NO_DIRECTIVE;
use super::words::{NO_HOST, NO_PORT, NO_TIME, epoch, int};
use super::*;
use crate::resp::split_line;
use crate::sentinel::NoNames;
use crate::sentinel::election::LAST_EPOCH;
use crate::sentinel::settings::{LONGEST_PERIOD, Settings};
use crate::util::rng::Rng;

const OWN: &str = "1111111111111111111111111111111111111111";
const OTHER: &str = "2222222222222222222222222222222222222222";

fn sentinel() -> Sentinel {
    let settings = Settings::new(OWN.to_owned(), 26379);
    Sentinel::new(
        settings,
        Box::new(NoNames),
        Rng::seed_from_u64(1),
        1_000_000,
    )
}

fn load(text: &str) -> Result<Sentinel, (usize, String)> {
    let lines = text
        .lines()
        .map(|line| split_line(line.as_bytes()).unwrap());
    let mut sentinel = sentinel();
    sentinel.load(&lines.collect::<Vec<_>>())?;
    Ok(sentinel)
}

fn loaded(text: &str) -> Sentinel {
    load(text).unwrap()
}

/// The file of a sentinel that was configured with `text`, after `old`.
fn rewritten(text: &str, old: &str) -> String {
    String::from_utf8(loaded(text).rewritten(old.as_bytes())).unwrap()
}

#[test]
fn the_order_of_lines_does_not_matter() {
    let lines = [
        "sentinel resolve-hostnames yes",
        "sentinel monitor a leader.example 6379 2",
        "sentinel down-after-milliseconds a 5000",
        "sentinel known-replica a 10.0.0.2 6380",
    ];
    let there = |lines: &[&str]| {
        let sentinel = loaded(&lines.join("\n"));
        let master = sentinel.find("a").unwrap();
        (master.settings.down_after, master.replicas.len())
    };
    assert_eq!(there(&lines), (5000, 1));
    let back: Vec<&str> = lines.iter().rev().copied().collect();
    assert_eq!(there(&back), (5000, 1));
}

#[test]
fn every_directive_is_taken() {
    let sentinel = loaded(&format!(
        "sentinel\n\
         sentinel myid {OTHER}\n\
         sentinel current-epoch 7\n\
         SENTINEL Monitor a 10.0.0.1 6379 2\n\
         sentinel down-after-milliseconds a 1\n\
         sentinel failover-timeout a 2\n\
         sentinel parallel-syncs a 3\n\
         sentinel notification-script a /bin/sh\n\
         sentinel client-reconfig-script a /bin/ls\n\
         sentinel auth-pass a pass\n\
         sentinel auth-user a user\n\
         sentinel config-epoch a 8\n\
         sentinel leader-epoch a 9\n\
         sentinel known-slave a 10.0.0.2 6380\n\
         sentinel known-replica a ::1 6380\n\
         sentinel known-sentinel a 10.0.0.3 26379\n\
         sentinel known-sentinel a 10.0.0.3 26379 {OWN}\n\
         sentinel rename-command a slaveof hidden\n\
         sentinel announce-ip 10.0.0.9\n\
         sentinel announce-port 7000\n\
         sentinel deny-scripts-reconfig NO\n\
         sentinel sentinel-user su\n\
         sentinel sentinel-pass sp\n\
         sentinel resolve-hostnames yes\n\
         sentinel announce-hostnames yes\n\
         sentinel master-reboot-down-after-period a 4"
    ));
    let Settings {
        my_id,
        announce_ip,
        announce_port,
        user,
        password,
        naming,
        deny_scripts,
        ..
    } = &sentinel.settings;
    assert_eq!(
        (&my_id[..], &announce_ip[..], *announce_port),
        (OTHER, "10.0.0.9", 7000)
    );
    assert_eq!((&user[..], &password[..]), (&b"su"[..], &b"sp"[..]));
    assert!(naming.resolves && naming.announces_names && !deny_scripts);
    assert_eq!(sentinel.epoch, 9);
    let master = sentinel.find("a").unwrap();
    let set = &master.settings;
    assert_eq!(
        (set.quorum, set.down_after, set.failover_timeout),
        (2, 1, 2)
    );
    assert_eq!((set.parallel_syncs, set.reboot_down_after), (3, 4));
    assert_eq!(
        (&set.notification_script[..], &set.reconfig_script[..]),
        ("/bin/sh", "/bin/ls")
    );
    assert_eq!(
        (&set.auth_user[..], &set.auth_pass[..]),
        (&b"user"[..], &b"pass"[..])
    );
    assert_eq!((master.config_epoch, master.vote_epoch), (8, 9));
    assert_eq!((master.replicas.len(), master.sentinels.len()), (2, 1));
    assert_eq!(set.command("SLAVEOF"), "hidden");
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let monitor = "sentinel monitor a 10.0.0.1 6379 2\n";
    for (line, why) in [
        ("monitor b 10.0.0.1 6379 0", "Quorum must be 1 or greater."),
        ("monitor b 10.0.0.1 6379 x", "Quorum must be 1 or greater."),
        ("monitor a 10.0.0.1 6379 1", "Duplicate master name."),
        ("monitor b 10.0.0.1 65536 1", NO_PORT),
        ("monitor b leader.example 6379 1", NO_HOST),
        ("monitor b 10.0.0.1 6379", NO_DIRECTIVE),
        ("down-after-milliseconds b 1", NO_MASTER),
        ("down-after-milliseconds a 0", NO_TIME),
        ("down-after-milliseconds a 1 2", NO_DIRECTIVE),
        ("failover-timeout a -1", NO_TIME),
        (
            "master-reboot-down-after-period a -1",
            "negative time parameter.",
        ),
        (
            "notification-script a /no/such/script",
            "Notification script seems non existing or non executable.",
        ),
        (
            "client-reconfig-script a /etc/passwd",
            "Client reconfiguration script seems non existing or non executable.",
        ),
        ("myid 12", "Malformed Sentinel id in myid option."),
        ("known-replica a host 1", NO_HOST),
        ("known-replica a 10.0.0.1 -1", NO_PORT),
        (
            "deny-scripts-reconfig maybe",
            "Please specify yes or no for the deny-scripts-reconfig options.",
        ),
        (
            "resolve-hostnames 1",
            "Please specify yes or no for the resolve-hostnames option.",
        ),
        (
            "announce-hostnames 1",
            "Please specify yes or no for the announce-hostnames option.",
        ),
        ("no-such-thing", NO_DIRECTIVE),
    ] {
        let text = format!("{monitor}sentinel {line}");
        assert_eq!(load(&text).unwrap_err(), (1, why.to_owned()), "{line}");
    }
    for (twice, why) in [
        (
            "known-replica a 10.0.0.2 1",
            "Duplicate hostname and port for replica.",
        ),
        (
            "known-sentinel a 10.0.0.2 1 x",
            "Duplicate runid for sentinel.",
        ),
        (
            "rename-command a get x",
            "Same command renamed multiple times with rename-command.",
        ),
    ] {
        let text = format!("sentinel {twice}\nsentinel {twice}\n{monitor}");
        assert_eq!(load(&text).unwrap_err(), (1, why.to_owned()), "{twice}");
    }
}

#[test]
fn what_was_read_is_written_again_only_for_want_of_an_id() {
    assert!(loaded("sentinel monitor a 10.0.0.1 6379 2").take_changed());
    let id = format!("sentinel myid {OTHER}");
    assert!(!loaded(&format!("{id}\nsentinel monitor a 10.0.0.1 6379 2")).take_changed());
}

#[test]
fn lines_are_brought_up_to_date_where_they_stand() {
    let old = format!(
        "# mine\n\
         port 26379\n\
         \n\
         sentinel monitor a 10.0.0.9 6379 2\n\
         sentinel down-after-milliseconds a 30000\n\
         sentinel auth-pass a old\n\
         sentinel myid {OWN}\n\
         # end\n"
    );
    let now = format!(
        "sentinel myid {OTHER}\n\
         sentinel monitor a 10.0.0.1 6379 2\n\
         sentinel failover-timeout a 5"
    );
    assert_eq!(
        rewritten(&now, &old),
        format!(
            "# mine\n\
             port 26379\n\
             \n\
             sentinel monitor a 10.0.0.1 6379 2\n\
             \n\
             sentinel myid {OTHER}\n\
             # end\n\
             # Generated by CONFIG REWRITE\n\
             sentinel failover-timeout a 5\n\
             sentinel config-epoch a 0\n\
             sentinel leader-epoch a 0\n\
             sentinel current-epoch 0\n"
        )
    );
}

#[test]
fn rewriting_twice_changes_nothing() {
    let text = format!(
        "sentinel myid {OTHER}\n\
         sentinel monitor a 10.0.0.1 6379 2\n\
         sentinel monitor b 10.0.0.1 6380 2\n\
         sentinel known-slave b 10.0.0.2 6380\n\
         sentinel known-slave a 10.0.0.2 6380"
    );
    let once = rewritten(&text, &text);
    assert_eq!(rewritten(&text, &once), once);
    assert!(!once.contains("known-slave"), "{once}");
}

#[test]
fn defaults_are_kept_only_where_they_stand() {
    let flags = "sentinel resolve-hostnames no\nsentinel deny-scripts-reconfig yes\n";
    assert!(rewritten("", flags).starts_with(flags));
    assert!(!rewritten("", "").contains("resolve-hostnames"));
    let gone = rewritten(
        "",
        "sentinel announce-ip 1.2.3.4\nsentinel known-sentinel x 1 2 3\n",
    );
    assert!(
        !gone.contains("announce-ip") && !gone.contains("known"),
        "{gone}"
    );
}

#[test]
fn whatever_is_written_is_read_back() {
    let mut before = loaded(
        "sentinel monitor a 10.0.0.1 6379 2\nsentinel known-replica a ::1 6380\n\
         sentinel known-sentinel a 10.0.0.3 26379 x\nsentinel rename-command a GET \"b c\"",
    );
    let id = before.find("a").unwrap().id;
    let set = &mut before.master_mut(id).unwrap().settings;
    set.auth_pass = b"a \"b'\\\n#\xff".to_vec();
    set.auth_user = b"#x".to_vec();
    before.settings.password = (0..=255).collect();
    before.settings.announce_ip = "a \"host\"".to_owned();
    before.settings.announce_port = 9;
    let text = before.rewritten(b"");
    let lines = text.split(|&b| b == b'\n');
    let lines: Vec<_> = lines
        .filter(|line| line.starts_with(b"sentinel"))
        .map(|line| split_line(line).unwrap())
        .collect();
    let mut after = sentinel();
    after.load(&lines).unwrap();
    assert_eq!(after.settings, before.settings);
    let of = |sentinel: &Sentinel| sentinel.find("a").unwrap().settings.clone();
    assert_eq!(of(&after), of(&before));
    assert_eq!(after.rewritten(b""), text);
}

#[test]
fn numbers_are_read_as_leniently_as_ever() {
    for (word, number) in [
        ("12", 12),
        (" 12x", 12),
        ("-3", -3),
        ("+4", 4),
        ("x", 0),
        ("", 0),
        ("99999999999999999999", LONGEST_PERIOD),
    ] {
        assert_eq!(int(word.as_bytes()), number, "{word}");
    }
    assert_eq!(epoch(b"18446744073709551616"), LAST_EPOCH);
}
