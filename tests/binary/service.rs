//! The program as a service: what its manager is told, the file with its process id, and why it does not start.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use crate::program::{Program, ask, connect, converse, eventually, free_port};

/// The manager's end of the notify socket.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Manager {
        Self::of(UnixDatagram::bind(path).unwrap())
    }

    fn of(socket: UnixDatagram) -> Manager {
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Manager(socket)
    }

    /// The next that it is told.
    fn hear(&self) -> String {
        let mut bytes = [0; 4096];
        let n = self.0.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..n].to_vec()).unwrap()
    }
}

fn supervised(how: &str, port: &str, more: &[&str]) -> (Program, Manager) {
    let mut manager = None;
    let args = [
        &["--port", port, "--supervised", how, "--bind", "127.0.0.1"],
        more,
    ]
    .concat();
    let program = Program::start_as(&args, |command, dir| {
        let path = dir.join("notify");
        command.env("NOTIFY_SOCKET", &path);
        manager = Some(Manager::at(&path));
    });
    (program, manager.unwrap())
}

const LOADING: &str = "STATUS=Redkeep is loading...\n";
const READY: &str = "STATUS=Ready to accept connections\nREADY=1\n";

#[test]
fn the_manager_is_told_when_it_is_ready_and_when_it_stops() {
    for how in ["systemd", "auto"] {
        let port = free_port();
        let (mut program, manager) = supervised(how, &port, &["--save", "3600 1"]);
        assert_eq!(manager.hear(), LOADING);
        assert_eq!(manager.hear(), READY);
        program.until("Supervised by systemd.");
        let info = converse(&port, "SET k v\r\nINFO server\r\n");
        assert!(info.contains("process_supervised:systemd\r\n"), "{info}");
        program.signal("TERM");
        assert_eq!(manager.hear(), "STOPPING=1\n");
        assert_eq!(manager.hear(), "STATUS=Saving the final RDB snapshot\n");
        assert_eq!(program.end().0, Some(0));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_socket_may_have_an_abstract_name() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;
    let name = format!("redkeep-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager::of(UnixDatagram::bind_addr(&address).unwrap());
    let program = Program::start_as(
        &["--port", &free_port(), "--supervised", "systemd"],
        |command, _| {
            command.env("NOTIFY_SOCKET", format!("@{name}"));
        },
    );
    assert_eq!(manager.hear(), LOADING);
    assert_eq!(manager.hear(), READY);
    drop(program);
}

#[test]
fn it_is_not_ready_before_the_data_set_is_loaded() {
    let port = free_port();
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().to_str().unwrap();
    let mut program = Program::start(&["--port", &port, "--dir", dir, "--save", "3600 1"]);
    program.until("Ready to accept");
    let many: String = (0..200).map(|n| format!("SET k{n} v\r\n")).collect();
    converse(&port, &many);
    program.terminate();
    let more = ["--dir", dir, "--key-load-delay", "5000", "--save", "3600 1"];
    let (program, manager) = supervised("systemd", &port, &more);
    assert_eq!(manager.hear(), LOADING);
    manager.0.set_nonblocking(true).unwrap();
    // It listens already.
    let answer = loop {
        match std::net::TcpStream::connect(format!("127.0.0.1:{port}")) {
            Ok(_) => break ask(&port, "GET k1\r\n"),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    if answer.starts_with("-LOADING") {
        assert!(manager.0.recv(&mut [0; 100]).is_err());
    }
    manager.0.set_nonblocking(false).unwrap();
    assert_eq!(manager.hear(), READY);
    assert_eq!(ask(&port, "GET k1\r\n"), "$1\r\n");
    assert!(answer.starts_with("-LOADING"), "{answer}");
    drop(program);
}

#[test]
fn a_replica_says_how_far_it_is() {
    let (port, own) = (free_port(), free_port());
    let mut leader = Program::start(&[
        "--port",
        &port,
        "--save",
        "",
        "--repl-diskless-sync-delay",
        "0",
    ]);
    leader.until("Ready to accept");
    let (mut program, manager) = supervised(
        "systemd",
        &own,
        &["--save", "", "--replicaof", "127.0.0.1", &port],
    );
    assert_eq!(manager.hear(), LOADING);
    let ready = manager.hear();
    assert!(
        ready.starts_with(
            "STATUS=Ready to accept connections in read-only mode. Waiting for MASTER"
        ) && ready.ends_with("\nREADY=1\n"),
        "{ready}"
    );
    let synced = "STATUS=MASTER <-> REPLICA sync: Finished with success. Ready to accept connections in read-write mode.\n";
    assert_eq!(manager.hear(), synced);
    program.until("sync: Finished with success");
    assert!(converse(&port, "CLIENT KILL TYPE replica\r\n").contains(":1"));
    let resumed = manager.hear();
    assert!(
        resumed.contains("Partial Resynchronization accepted."),
        "{resumed}"
    );
    assert_eq!(ask(&own, "SHUTDOWN\r\n"), "");
    assert_eq!(manager.hear(), "STOPPING=1\n");
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn a_sentinel_is_a_service_too() {
    let port = free_port();
    let mut manager = None;
    let program = Program::start_as(
        &[
            "s.conf",
            "--sentinel",
            "--supervised",
            "systemd",
            "--port",
            &port,
        ],
        |command, dir| {
            fs::write(dir.join("s.conf"), "").unwrap();
            command.env("NOTIFY_SOCKET", dir.join("n"));
            manager = Some(Manager::at(&dir.join("n")));
        },
    );
    let manager = manager.unwrap();
    assert_eq!(manager.hear(), LOADING);
    assert_eq!(manager.hear(), READY);
    program.signal("TERM");
    assert_eq!(manager.hear(), "STOPPING=1\n");
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn without_a_manager_it_serves_all_the_same() {
    let mut program = Program::start(&["--port", &free_port(), "--supervised", "systemd"]);
    program.until("systemd supervision error: NOTIFY_SOCKET not found!");
    program.until("Ready to accept");
    let mut program = Program::start(&["--port", &free_port(), "--supervised", "auto"]);
    assert!(!program.until("Ready to accept").contains("supervision"));
    // Nobody listens there.
    let mut program = Program::start_as(
        &["--port", &free_port(), "--supervised", "systemd"],
        |command, dir| {
            command.env("NOTIFY_SOCKET", dir.join("gone"));
        },
    );
    program.until("systemd supervision error: ");
    program.until("Ready to accept");
}

#[test]
fn why_it_does_not_start_is_told_and_the_exit_code_says_so() {
    let refused = |args: &[&str]| {
        let (code, text) = Program::start_as(args, |_, dir| {
            fs::write(dir.join("secret.conf"), "port 0\n").unwrap();
            fs::create_dir(dir.join("folder.conf")).unwrap();
            fs::write(dir.join("file"), "").unwrap();
        })
        .end();
        assert_eq!(code, Some(1), "{args:?}: {text}");
        text
    };
    for (args, texts) in [
        (
            &["--daemonize", "yes"][..],
            &["conf/redkeep.service", "nohup"][..],
        ),
        (
            &["--supervised", "upstart"],
            &["supervised systemd", ">>> 'supervised \"upstart\"'"],
        ),
        (
            &["no-such.conf"],
            &[
                "Fatal error, can't open config file '",
                "No such file or directory",
            ],
        ),
        (
            &["folder.conf"],
            &["Fatal error, can't open config file '", "Is a directory"],
        ),
        (
            &["--no-such-option", "1"],
            &["FATAL CONFIG FILE ERROR", "no-such-option"],
        ),
        (
            &["--port", "70000"],
            &["FATAL CONFIG FILE ERROR", "between 0 and 65535"],
        ),
        (&["--dir", "nowhere"], &["No such file or directory"]),
        (&["--dir", "file"], &["not a directory"]),
        (
            &["--logfile", "nowhere/log"],
            &["Can't open the log file: No such file or directory"],
        ),
        (
            &["--port", "0"],
            &["Configured to not listen anywhere, exiting."],
        ),
        (
            &["--port", "0", "--unixsocket", "nowhere/s"],
            &["Failed opening Unix socket"],
        ),
    ] {
        let text = refused(args);
        for part in texts {
            assert!(text.contains(part), "{args:?} {part}: {text}");
        }
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_told() {
    let data = tempfile::tempdir().unwrap();
    let dir = data.path().join("data");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(dir.join("x"), "").is_ok() {
        // Root may write anywhere.
        return;
    }
    let (code, text) = Program::start(&[
        "--port",
        &free_port(),
        "--dir",
        dir.to_str().unwrap(),
        "--appendonly",
        "yes",
    ])
    .end();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("Permission denied"), "{text}");
}

#[test]
fn the_file_with_the_process_id_comes_early_and_goes_with_the_server() {
    let port = free_port();
    let mut program = Program::start(&["--port", &port, "--pidfile", "own.pid"]);
    let path = program.dir().join("own.pid");
    program.until("Server initialized");
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        format!("{}\n", program.pid())
    );
    program.until("Ready to accept");
    program.signal("TERM");
    program.until("Removing the pid file.");
    eventually("the file stays", || !path.exists());
    assert_eq!(program.end().0, Some(0));
    // That it cannot be written is no reason not to serve.
    let mut program = Program::start(&["--port", &port, "--pidfile", "nowhere/own.pid"]);
    let log = program.until("Ready to accept");
    let line = log
        .lines()
        .find(|line| line.contains("Failed to write PID file: No such file or directory"));
    assert!(line.is_some_and(|line| line.contains(" # ")), "{log}");
    connect(&port).write_all(b"SHUTDOWN\r\n").unwrap();
    assert_eq!(program.end().0, Some(0));
}
