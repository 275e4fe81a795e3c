//! MIGRATE: between our servers, to a real one and from it, and to a target that answers as it likes.

use super::common::scripted::{Line, Listener};
use super::common::{Client, Reply, Server};
use super::samples;
use super::target::Target;

fn port(server: &Server) -> String {
    server.port.to_string()
}

fn migrate(client: &mut Client, port: &str, key: &str, rest: &[&str]) -> String {
    let words = [&["MIGRATE", "127.0.0.1", port, key, "0", "5000"], rest].concat();
    client.call(&words).unwrap().text()
}

/// Every sample goes from one server to the other.
fn all_samples_move(from: &Server, to: &Server) {
    let (mut here, mut there) = (Target::at(from), Target::at(to));
    let mut client = from.client();
    let port = port(to);
    for sample in samples::all() {
        here.run_all(&sample.commands);
        let made = here.contents(b"k");
        here.run("PEXPIREAT k 99999999999999");
        assert_eq!(
            migrate(&mut client, &port, "k", &[]),
            "OK",
            "{}",
            sample.name
        );
        assert_eq!(here.run("EXISTS k"), Reply::Int(0), "{}", sample.name);
        assert_eq!(there.contents(b"k"), made, "{}", sample.name);
        let left = 99_999_999_999_999 - there.run("PEXPIRETIME k").int().unwrap();
        assert!(left.abs() < 60_000, "{}: {left}", sample.name);
        here.reset();
        there.reset();
    }
}

#[test]
fn everything_migrates_between_our_servers() {
    all_samples_move(&Server::redkeep(&[]), &Server::redkeep(&[]));
}

#[test]
fn everything_migrates_to_a_real_server() {
    if let Some(redis) = Server::redis(&[]) {
        all_samples_move(&Server::redkeep(&[]), &redis);
    }
}

#[test]
fn everything_migrates_from_a_real_server() {
    if let Some(redis) = Server::redis(&[]) {
        all_samples_move(&redis, &Server::redkeep(&[]));
    }
}

/// The options, at both kinds of server in the same words.
#[test]
fn options_of_migrate_do_the_same_as_with_a_real_server() {
    let ours = options(&Server::redkeep(&[]));
    assert!(ours.iter().any(|line| line.contains("BUSYKEY")), "{ours:?}");
    if let Some(redis) = Server::redis(&[]) {
        assert_eq!(ours, options(&redis));
    }
}

fn options(from: &Server) -> Vec<String> {
    let to = Server::redkeep(&["--databases", "4"]);
    let (mut here, mut there) = (from.client(), to.client());
    there.run("CONFIG SET requirepass secret");
    let to = port(&to);
    let mut said = Vec::new();
    let mut say = |here: &mut Client, there: &mut Client, key: &str, rest: &[&str]| {
        let answer = migrate(here, &to, key, rest);
        let keys = ["a", "b", "c"].map(|key| {
            let (ours, theirs) = (
                here.run(&format!("GET {key}")),
                there.run(&format!("GET {key}")),
            );
            format!("{}/{}", ours.text(), theirs.text())
        });
        said.push(format!("{rest:?}: {answer}: {keys:?}"));
    };
    here.run("MSET a 1 b 2 c 3");
    say(&mut here, &mut there, "a", &[]);
    say(&mut here, &mut there, "a", &["AUTH", "wrong"]);
    say(&mut here, &mut there, "a", &["AUTH2", "nobody", "secret"]);
    say(&mut here, &mut there, "a", &["AUTH", "secret", "COPY"]);
    say(&mut here, &mut there, "a", &["AUTH", "secret"]);
    say(
        &mut here,
        &mut there,
        "a",
        &["AUTH2", "default", "secret", "REPLACE"],
    );
    there.run("SET b other");
    let several = ["AUTH", "secret", "KEYS", "missing", "b", "c"];
    say(&mut here, &mut there, "", &several);
    say(
        &mut here,
        &mut there,
        "",
        &["REPLACE", "AUTH", "secret", "KEYS", "b", "c"],
    );
    say(
        &mut here,
        &mut there,
        "",
        &["AUTH", "secret", "KEYS", "b", "c"],
    );
    here.run("SET a 9");
    let far = [
        "MIGRATE",
        "127.0.0.1",
        &to,
        "a",
        "9",
        "5000",
        "AUTH",
        "secret",
    ];
    said.push(here.call(&far).unwrap().text());
    let near = [
        "MIGRATE",
        "127.0.0.1",
        &to,
        "a",
        "3",
        "5000",
        "AUTH",
        "secret",
    ];
    said.push(here.call(&near).unwrap().text());
    there.run("SELECT 3");
    said.push(there.run("GET a").text());
    said
}

/// A key on its way to a target that has not answered yet.
fn on_its_way(server: &Server, target: &Listener, words: &[&str]) -> (Client, Line) {
    let mut mover = server.client();
    let port = target.port().to_string();
    let all = [&["MIGRATE", "127.0.0.1", &port][..], words].concat();
    mover.send(&all).unwrap();
    let mut line = target.accept();
    assert_eq!(line.words().unwrap(), ["SELECT", "0"]);
    (mover, line)
}

#[test]
fn others_are_served_while_keys_are_on_their_way_and_what_changes_is_sent_again() {
    let (server, target) = (Server::redkeep(&[]), Listener::open());
    let mut other = server.client();
    other.run("MSET same 1 changed 1 gone 1");
    let words = ["", "0", "60000", "KEYS", "same", "changed", "gone"];
    let (mut mover, mut line) = on_its_way(&server, &target, &words);
    for key in ["same", "changed", "gone"] {
        assert_eq!(line.words().unwrap()[..2], ["RESTORE", key]);
    }
    other.run("SET changed 2");
    other.run("DEL gone");
    line.say("+OK\r\n+OK\r\n+OK\r\n+OK\r\n");
    let mut line = target.accept();
    assert_eq!(line.words().unwrap(), ["SELECT", "0"]);
    let again = line.words().unwrap();
    assert_eq!(
        (again[1].as_str(), again[4].as_str()),
        ("changed", "REPLACE")
    );
    assert_eq!(line.words().unwrap(), ["DEL", "gone"]);
    assert_eq!(other.run("KEYS *").items().len(), 1, "the one that changed");
    line.say("+OK\r\n+OK\r\n:1\r\n");
    assert_eq!(mover.reply().unwrap().text(), "OK");
    assert_eq!(other.run("DBSIZE"), Reply::Int(0));
}

#[test]
fn a_target_that_breaks_off_leaves_what_it_has_not_taken() {
    let (server, target) = (Server::redkeep(&[]), Listener::open());
    let mut other = server.client();
    other.run("MSET taken 1 left 1");
    let words = ["", "0", "60000", "KEYS", "taken", "left"];
    let (mut mover, mut line) = on_its_way(&server, &target, &words);
    line.say("+OK\r\n+OK\r\n");
    line.hang_up();
    let lost = "IOERR error or timeout reading to target instance";
    assert_eq!(mover.reply().unwrap().text(), lost);
    assert_eq!(other.run("KEYS *").items()[0].text(), "left");
    // One that does not answer is not waited for.
    let words = ["left", "0", "50"];
    let (mut mover, _line) = on_its_way(&server, &target, &words);
    assert_eq!(mover.reply().unwrap().text(), lost);
    // Nor is one that says what is no answer.
    let (mut mover, mut line) = on_its_way(&server, &target, &["left", "0", "60000"]);
    line.say("HTTP/1.1 400 Bad Request\r\n");
    assert_eq!(mover.reply().unwrap().text(), lost);
    let (mut mover, mut line) = on_its_way(&server, &target, &["left", "0", "60000"]);
    line.say(format!("+{}", "x".repeat(100_000)));
    assert_eq!(mover.reply().unwrap().text(), lost);
    assert_eq!(other.run("GET left").text(), "1");
}

#[test]
fn who_goes_away_or_is_let_go_keeps_the_keys() {
    let (server, target) = (Server::redkeep(&[]), Listener::open());
    let mut other = server.client();
    other.run("SET k 1");
    let (mover, mut line) = on_its_way(&server, &target, &["k", "0", "60000"]);
    drop(mover);
    while other
        .run("INFO clients")
        .text()
        .contains("connected_clients:2")
    {
        std::thread::yield_now();
    }
    line.say("+OK\r\n+OK\r\n");
    // It does not wait for time, nor for CLIENT UNBLOCK.
    let (mut mover, mut line) = on_its_way(&server, &target, &["k", "0", "60000"]);
    let clients = other.run("CLIENT LIST").text();
    let waits = clients.lines().find(|l| l.contains("cmd=migrate")).unwrap();
    let id = waits.split([' ', '=']).nth(1).unwrap();
    assert_eq!(other.run(&format!("CLIENT UNBLOCK {id}")), Reply::Int(0));
    line.say("+OK\r\n+OK\r\n");
    assert_eq!(mover.reply().unwrap().text(), "OK");
    assert_eq!(other.run("EXISTS k"), Reply::Int(0));
    // Nobody can wait within a transaction.
    other.run("SET k 1");
    other.run("MULTI");
    assert_eq!(
        migrate(&mut other, &target.port().to_string(), "k", &[]),
        "QUEUED"
    );
    let refused = other.run("EXEC").items()[0].text();
    assert!(refused.contains("inside of a transaction"), "{refused}");
}
