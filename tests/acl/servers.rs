//! Users in files and in configurations, and between servers.

use super::common::peer::{free_port, tool};
use super::common::{Client, Server};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < end, "{what}: it does not come to that");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What the program says when it does not start with this configuration.
fn complaint(program: &Path, dir: &Path, conf: &str) -> String {
    let path = dir.join("refused.conf");
    let text = format!(
        "port {}\nbind 127.0.0.1\ndir {}\n{conf}\n",
        free_port(),
        dir.display()
    );
    fs::write(&path, text).unwrap();
    let ran = Command::new(program)
        .arg(&path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(1), "{conf}");
    String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned()
}

fn redkeep() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_redkeep"))
}

const USERS: &str = "user default on nopass ~* &* +@all\nuser joe on >secret ~a +get\n";

#[test]
fn users_are_kept_in_their_file() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("users.acl");
    fs::write(&path, USERS).unwrap();
    let shown = path.display().to_string();
    let mut server = Server::redkeep(&["--aclfile", &shown]);
    let (mut root, mut joe) = (server.client(), server.client());
    assert_eq!(joe.run("AUTH joe secret").text(), "OK");
    assert!(joe.run("SET a 1").is_error());
    assert_eq!(root.run("ACL SETUSER jim on nopass +@all").text(), "OK");
    assert_eq!(root.run("ACL SETUSER joe +set").text(), "OK");
    // Existing clients get the right at once.
    assert_eq!(joe.run("SET a 1").text(), "OK");
    assert_eq!(root.run("ACL SAVE").text(), "OK");
    let saved = fs::read_to_string(&path).unwrap();
    assert_eq!(saved.lines().count(), 3, "{saved}");
    assert!(!saved.contains("secret"), "{saved}");
    // Another hand at the file: joe loses a right, jim goes, jane comes.
    let edited = saved.replace(" +set", "").replace("user jim", "user jane");
    fs::write(&path, &edited).unwrap();
    let (mut jim, mut other) = (server.client(), server.client());
    assert_eq!(jim.run("AUTH jim x").text(), "OK");
    assert_eq!(root.run("ACL LOAD").text(), "OK");
    for gone in [&mut joe, &mut jim] {
        assert!(gone.call(&["PING"]).is_err());
    }
    // Others do not notice.
    assert_eq!(other.run("PING").text(), "PONG");
    assert_eq!(root.run("ACL USERS").items().len(), 3);
    // What is wrong changes nothing.
    fs::write(&path, edited.clone() + "user bad +nonsense\n").unwrap();
    let refused = root.run("ACL LOAD").text();
    assert!(
        refused.contains("users.acl:4: Error in applying operation '+nonsense'"),
        "{refused}"
    );
    assert_eq!(root.run("ACL USERS").items().len(), 3);
    fs::write(&path, edited).unwrap();
    assert!(server.terminate());
    assert!(server.start_again(), "{}", server.log());
    assert_eq!(server.client().run("AUTH jane x").text(), "OK");
    // CONFIG REWRITE has nothing to do with it.
    assert!(server.client().run("CONFIG REWRITE").is_error());
}

#[test]
fn users_are_kept_in_the_configuration_where_there_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("redkeep.conf");
    fs::write(
        &conf,
        "# mine\nrequirepass pw\nuser joe on >secret ~a (+set %W~b) +get\n",
    )
    .unwrap();
    let path = conf.display().to_string();
    // The file stands first.
    let program = redkeep();
    let start = || {
        let port = free_port();
        let child = Command::new(program)
            .arg(&path)
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until("it listens", || Client::connect(port).is_ok());
        (Killed(child), Client::connect(port).unwrap())
    };
    let (running, mut root) = start();
    assert_eq!(root.run("AUTH pw").text(), "OK");
    let refused = root.run("ACL SAVE").text();
    assert!(
        refused.contains("not configured to use an ACL file"),
        "{refused}"
    );
    let listed = root.run("ACL LIST");
    assert_eq!(root.run("ACL SETUSER jim on nopass").text(), "OK");
    assert_eq!(root.run("CONFIG REWRITE").text(), "OK");
    let text = fs::read_to_string(&conf).unwrap();
    assert!(text.starts_with("# mine\nrequirepass"), "{text}");
    let users: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("user "))
        .collect();
    // The default user is what requirepass says.
    assert_eq!(users.len(), 2, "{text}");
    drop(running);
    let (_running, mut root) = start();
    assert_eq!(root.run("AUTH pw").text(), "OK");
    assert_eq!(root.run("ACL DELUSER jim").int(), Some(1));
    assert_eq!(root.run("ACL LIST"), listed);
}

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn configurations_that_say_two_things_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("users.acl"), USERS).unwrap();
    fs::write(dir.path().join("broken.acl"), "user joe +nonsense\n").unwrap();
    for (conf, what) in [
        (
            "user joe on +nonsense",
            "Error in user declaration '+nonsense': Unknown command",
        ),
        ("user joe on (+get", "Error in user declaration '(+get'"),
        ("user joe on\nuser joe off", "Duplicate user found"),
        ("user", "user"),
        (
            "aclfile missing.acl",
            "opening file 'missing.acl': No such file or directory",
        ),
        (
            "aclfile broken.acl",
            "broken.acl:1: Error in applying operation '+nonsense'",
        ),
        ("aclfile users.acl\nuser joe on", "but not both"),
    ] {
        let said = complaint(redkeep(), dir.path(), conf);
        assert!(said.contains(what), "{conf}: {said}");
    }
}

/// A replica logs in as a user who may do no more than following takes, whoever leads.
#[test]
fn replicas_log_in_as_users() {
    let Some(redis) = tool("redis-server") else {
        return;
    };
    for (leads, follows) in [
        (redkeep(), redkeep()),
        (redkeep(), &*redis),
        (&*redis, redkeep()),
    ] {
        let leader = Server::start(leads, &["--repl-diskless-sync-delay", "0"]);
        let mut root = leader.client();
        root.run("ACL SETUSER replica on >secret +psync +replconf +ping");
        root.run("ACL SETUSER default resetpass >other");
        let address = format!("127.0.0.1 {}", leader.port);
        let replica = Server::start(
            follows,
            &[
                "--replicaof",
                &address,
                "--masteruser",
                "replica",
                "--masterauth",
                "wrong",
            ],
        );
        let mut client = replica.client();
        let mut up = || {
            client
                .run("INFO replication")
                .text()
                .contains("master_link_status:up")
        };
        until("it was refused", || !root.run("ACL LOG").items().is_empty());
        assert!(!up());
        assert_eq!(
            replica.client().run("CONFIG SET masterauth secret").text(),
            "OK"
        );
        until("it follows", &mut up);
        assert_eq!(root.run("SET a 1").text(), "OK");
        until("it has it", || {
            client_of(&replica).run("GET a").text() == "1"
        });
        let listed = root.run("CLIENT LIST TYPE replica").text();
        assert!(listed.contains("user=replica"), "{listed}");
        // The rules of the leader are not the replica's: the stream is not asked.
        assert_eq!(
            client_of(&replica).run("ACL SETUSER default -set").text(),
            "OK"
        );
        assert_eq!(root.run("SET a 2").text(), "OK");
        until("it has that, too", || {
            client_of(&replica).run("GET a").text() == "2"
        });
        // Without the user the link ends, and does not come back.
        assert_eq!(root.run("ACL DELUSER replica").int(), Some(1));
        let mut down = || {
            client_of(&replica)
                .run("INFO replication")
                .text()
                .contains("master_link_status:down")
        };
        until("it is cut off", &mut down);
    }
}

fn client_of(server: &Server) -> Client {
    server.client()
}
