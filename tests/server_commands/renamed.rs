//! `rename-command`: other names for clients, the same commands for everybody else.

use super::say;
use redkeep::Server;
use redkeep::embed::OpenError;
use redkeep::server::StartError;
use std::fs;

fn refusal(from: &str, to: &str) -> String {
    match Server::builder().rename_command(from, to).start() {
        Err(StartError::Instance(OpenError::Config(error))) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn commands_are_found_by_their_new_names_only() {
    let server = Server::builder()
        .rename_command("GET", "fetch")
        .rename_command("flushall", "")
        .rename_command("config", "Settings")
        .start()
        .unwrap();
    let mut client = server.client().unwrap();
    let mut answers = |line: &str| say(&mut client, line);
    assert_eq!(answers("SET k v"), "OK");
    assert_eq!(answers("FETCH k"), "v");
    assert!(answers("GET k").starts_with("ERR unknown command 'GET'"));
    assert!(answers("FLUSHALL").starts_with("ERR unknown command 'FLUSHALL'"));
    assert_eq!(answers("settings get timeout"), "timeout\n0");
    assert!(answers("CONFIG GET timeout").starts_with("ERR unknown command"));
    // Everything about it goes by its own name.
    assert_eq!(
        answers("FETCH"),
        "ERR wrong number of arguments for 'get' command"
    );
    assert!(answers("COMMAND INFO fetch").starts_with("get\n2\n"));
    assert_eq!(answers("COMMAND GETKEYS fetch k"), "k");
    let list = answers("COMMAND LIST");
    let has = |name: &str| list.lines().any(|known| known == name);
    assert!(
        has("get") && has("config|get") && !has("flushall"),
        "{list}"
    );
    let count: usize = answers("COMMAND COUNT").parse().unwrap();
    assert_eq!(answers("EVAL return(redis.call('fetch','k')) 0"), "v");
    assert!(answers("EVAL redis.call('get','k') 0").contains("Unknown Redis command"));
    // Another server of this process has its own names.
    let plain = Server::builder().start().unwrap();
    let mut plain = plain.client().unwrap();
    assert_eq!(say(&mut plain, "GET k"), "(nil)");
    assert_eq!(say(&mut plain, "COMMAND COUNT"), (count + 1).to_string());
}

#[test]
fn names_that_cannot_be_given_are_refused_as_redis_refuses_them() {
    for (from, to, why) in [
        ("nothing", "x", "No such command in rename-command"),
        ("config|get", "x", "No such command in rename-command"),
        ("get", "SET", "Target command name already exists"),
    ] {
        let error = refusal(from, to);
        assert!(
            error.ends_with(&format!(">>> 'rename-command \"{from}\" \"{to}\"'\n{why}")),
            "{error}"
        );
    }
}

#[test]
fn a_log_holds_the_names_that_commands_have_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let keeps = || {
        Server::builder()
            .config("dir", path)
            .config("appendonly", "yes")
            .config("appendfsync", "always")
    };
    let server = keeps()
        .rename_command("set", "put")
        .rename_command("incr", "set")
        .start()
        .unwrap();
    let mut client = server.client().unwrap();
    assert_eq!(say(&mut client, "PUT k 5"), "OK");
    assert_eq!(say(&mut client, "SET k"), "6");
    assert_eq!(say(&mut client, "PUT g 1 GET"), "(nil)");
    drop(client);
    server.shutdown();
    let log: String = fs::read_dir(dir.path().join("appendonlydir"))
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .map(|bytes| String::from_utf8_lossy(&bytes).to_ascii_lowercase())
        .collect();
    assert!(log.contains("incr") && !log.contains("put"), "{log}");
    let plain = keeps().start().unwrap();
    let mut client = plain.client().unwrap();
    assert_eq!(say(&mut client, "MGET k g"), "6\n1");
}
