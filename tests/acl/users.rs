//! Rules, and what they allow.

use redkeep::commands::registry;
use redkeep::service::acl::*;
use redkeep::spec::Lookup;

fn user(rules: &str) -> Result<User, String> {
    let rules: Vec<&[u8]> = rules.split(' ').map(str::as_bytes).collect();
    let fresh = User::new(b"joe", false);
    fresh
        .with_rules(&rules, registry(), false)
        .map_err(|fault| fault.to_string())
}

fn described(rules: &str) -> String {
    String::from_utf8(user(rules).unwrap().describe()).unwrap()
}

fn may(user: &User, command: &str) -> Result<(), Denied> {
    let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
    let Lookup::Found(row) = registry().find(words[0], words.get(1).copied()) else {
        panic!("{command}");
    };
    user.check(row, &words)
}

#[test]
fn a_user_is_described_by_rules_that_make_it_again() {
    for (rules, shown) in [
        ("", "off sanitize-payload resetchannels -@all"),
        (
            "on nopass",
            "on nopass sanitize-payload resetchannels -@all",
        ),
        ("+@all ~* &*", "off sanitize-payload ~* &* +@all"),
        (
            "allkeys allchannels allcommands",
            "off sanitize-payload ~* &* +@all",
        ),
        (
            "~a %R~b %W~c %RW~d %r~c &x &y",
            "off sanitize-payload ~a %R~b ~c ~d resetchannels &x &y -@all",
        ),
        (
            "+GET +get|x -@slow -get +@read +config|get",
            "off sanitize-payload resetchannels -@all -@slow -get +@read +config|get",
        ),
        (
            "+config|get +config|set -config",
            "off sanitize-payload resetchannels -@all -config",
        ),
        (
            "(+get ~a) ( +set %W~b )",
            "off sanitize-payload resetchannels -@all (~a resetchannels -@all +get) (%W~b resetchannels -@all +set)",
        ),
        (
            "skip-sanitize-payload >secret",
            "off skip-sanitize-payload #2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b resetchannels -@all",
        ),
        (
            "+@all -get on (+get) reset",
            "off sanitize-payload resetchannels -@all",
        ),
        (
            ">a nopass >b <b",
            "off sanitize-payload resetchannels -@all",
        ),
    ] {
        let shown = format!("user joe {shown}");
        assert_eq!(described(rules), shown, "{rules}");
        let again = shown.strip_prefix("user joe ").unwrap();
        assert_eq!(described(again), shown, "{rules}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    for (rules, why) in [
        ("nonsense", "Syntax error"),
        ("+nonsense", "Unknown command or category name in ACL"),
        ("+@nonsense", "Unknown command or category name in ACL"),
        (
            "+config|nonsense",
            "Unknown command or category name in ACL",
        ),
        ("-select|0", "Unknown command or category name in ACL"),
        ("+config|", "Syntax error"),
        (
            "+config|get|x",
            "Allowing first-arg of a subcommand is not supported",
        ),
        ("%~a", "Syntax error"),
        ("%RR~a", "Syntax error"),
        ("%X~a", "Syntax error"),
        (
            "<x",
            "The password you are trying to remove from the user does not exist",
        ),
        (
            "#123",
            "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters",
        ),
    ] {
        assert_eq!(
            user(&format!("on {rules}")),
            Err(format!("Error in ACL SETUSER modifier '{rules}': {why}"))
        );
    }
    assert_eq!(
        user("(+get ~x"),
        Err("Unmatched parenthesis in acl selector starting at '(+get'.".to_owned())
    );
    assert!(user("~* ~a").unwrap_err().contains("Try 'resetkeys'"));
    assert!(user("&* &a").unwrap_err().contains("Try 'resetchannels'"));
}

#[test]
fn commands_need_their_keys_as_well() {
    let joe = user("+@all -config +config|get %R~read:* %W~write:* ~both:*").unwrap();
    assert_eq!(may(&joe, "get read:1"), Ok(()));
    assert_eq!(may(&joe, "get both:1"), Ok(()));
    assert_eq!(may(&joe, "get write:1"), Err(Denied::Key(1)));
    assert_eq!(may(&joe, "set write:1 x"), Ok(()));
    assert_eq!(may(&joe, "set write:1 x get"), Err(Denied::Key(1)));
    assert_eq!(may(&joe, "set read:1 x"), Err(Denied::Key(1)));
    assert_eq!(may(&joe, "mget read:1 other"), Err(Denied::Key(2)));
    assert_eq!(may(&joe, "copy read:1 write:1"), Ok(()));
    assert_eq!(may(&joe, "copy write:1 read:1"), Err(Denied::Key(1)));
    assert_eq!(may(&joe, "strlen write:1"), Ok(()));
    assert_eq!(may(&joe, "config get x"), Ok(()));
    assert_eq!(may(&joe, "config set x y"), Err(Denied::Command));
    assert_eq!(may(&joe, "publish a b"), Err(Denied::Channel(1)));
    assert_eq!(may(&joe, "ping"), Ok(()));
}

#[test]
fn channels_are_matched_and_patterns_are_compared() {
    let joe = user("+@pubsub &news.*").unwrap();
    assert_eq!(may(&joe, "publish news.a x"), Ok(()));
    assert_eq!(may(&joe, "subscribe news.a old"), Err(Denied::Channel(2)));
    assert_eq!(may(&joe, "psubscribe news.*"), Ok(()));
    assert_eq!(may(&joe, "psubscribe news.a*"), Err(Denied::Channel(1)));
    assert_eq!(may(&joe, "unsubscribe old"), Ok(()));
    assert_eq!(may(&joe, "ssubscribe old"), Err(Denied::Channel(1)));
}

#[test]
fn one_selector_must_allow_all_of_a_command() {
    let joe = user("+get ~a (+set ~b) (+@read %R~c)").unwrap();
    assert_eq!(may(&joe, "get a"), Ok(()));
    assert_eq!(may(&joe, "set b x"), Ok(()));
    assert_eq!(may(&joe, "get c"), Ok(()));
    assert_eq!(may(&joe, "get b"), Err(Denied::Key(1)));
    assert_eq!(may(&joe, "set a x"), Err(Denied::Key(1)));
    assert_eq!(may(&joe, "del a"), Err(Denied::Command));
}

#[test]
fn a_command_may_be_allowed_with_one_first_argument_only() {
    let joe = user("+select|0").unwrap();
    assert_eq!(may(&joe, "select 0"), Ok(()));
    assert_eq!(may(&joe, "select 1"), Err(Denied::Command));
    assert_eq!(
        may(&user("+select|0 -select").unwrap(), "select 0"),
        Err(Denied::Command)
    );
    // Whoever cannot log in could never become somebody who can.
    assert_eq!(may(&joe, "auth x"), Ok(()));
}

#[test]
fn passwords_open_only_who_is_on() {
    let opens = |rules: &str, password: &str| user(rules).unwrap().opens(password.as_bytes());
    assert!(opens("on >a >b", "a") && opens("on >a >b", "b"));
    assert!(!opens("on >a", "b") && !opens("on >a", "") && !opens(">a", "a") && !opens("on", ""));
    assert!(opens("on nopass", "whatever") && !opens("nopass", ""));
    assert!(!opens("on >a <a", "a"));
}

#[test]
fn what_a_user_lost_is_seen() {
    let lost = |before: &str, now: &str| user(now).unwrap().lost_channels(&user(before).unwrap());
    assert!(lost("&*", "&a") && lost("&a &b", "&a") && lost("&a", "resetchannels"));
    assert!(!lost("&a", "&a &b") && !lost("&a", "&*") && !lost("", ""));
    assert!(!lost("(&a)", "&a"));
}

#[test]
fn the_default_user_follows_requirepass_and_its_own_rules() {
    let mut users = Users::default();
    assert!(users.is_open() && users.lines_beside_requirepass().is_empty());
    users.require(b"secret");
    assert!(!users.is_open() && users.log_in(b"default", b"secret").is_some());
    assert!(users.lines_beside_requirepass().is_empty());
    users.set(b"default", &[b">other"], registry()).unwrap();
    users.require(b"secret");
    assert!(users.log_in(b"default", b"other").is_some());
    assert_eq!(users.lines_beside_requirepass().len(), 1);
    users.require(b"");
    assert!(users.is_open());
    assert!(users.remove(b"default").is_none());
}

#[test]
fn a_file_is_loaded_whole_or_not_at_all() {
    let mut users = Users::default();
    users.set(b"kept", &[b"on"], registry()).unwrap();
    users.set(b"gone", &[b"on"], registry()).unwrap();
    let text = b"user kept on sanitize-payload resetchannels -@all\n\nuser new on >x ~* +@all\n";
    let changed = users.load(text, "f", registry()).unwrap();
    let names: Vec<_> = changed.iter().map(|(_, user)| &*user.name).collect();
    assert_eq!(names, [b"gone"]);
    let before = users.lines();
    let broken =
        b"user a +nonsense\nsomething\nuser b ~* ~x\nuser b on\nuser c (+get\nuser d\te on\n";
    let faults = users.load(broken, "f", registry()).unwrap_err().to_string();
    for part in [
        "f:1: Error in applying operation '+nonsense': Unknown command or category name in ACL. ",
        "f:2 should start with user keyword followed by the username. ",
        "f:3: Adding a pattern after the * pattern",
        "WARNING: Duplicate user 'b' found on line 4. ",
        "f:5: Unmatched parenthesis in selector definition.",
        "'f:6: username 'd\te' contains invalid characters. ",
        "no change to the previously active ACL rules was performed",
    ] {
        assert!(faults.contains(part), "{part}: {faults}");
    }
    assert_eq!(users.lines(), before);
    let again = users.to_file();
    assert!(users.load(&again, "f", registry()).unwrap().is_empty());
}

#[test]
fn alike_incidents_are_one_entry() {
    let mut log = Log::default();
    let incident = |object: &str| Incident {
        reason: Reason::Key,
        context: Context::Lua,
        object: object.into(),
        username: b"joe".to_vec(),
        client: String::new(),
    };
    log.add(incident("a"), 0, 2);
    log.add(incident("b"), 10, 2);
    log.add(incident("a"), 20, 2);
    let shown = |log: &Log| -> Vec<(u64, u64, Vec<u8>)> {
        log.iter()
            .map(|e| (e.id, e.count, e.latest.object.clone()))
            .collect()
    };
    assert_eq!(shown(&log), [(0, 2, b"a".to_vec()), (1, 1, b"b".to_vec())]);
    log.add(incident("a"), 60_021, 2);
    assert_eq!(shown(&log), [(2, 1, b"a".to_vec()), (0, 2, b"a".to_vec())]);
    assert_eq!(log.count(Reason::Key), 4);
}
