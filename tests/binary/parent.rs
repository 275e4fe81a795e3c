//! A server that a test or a script starts for itself: how it is told where it listens, and that nothing of it stays.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::program::{Program, ask, converse, eventually, free_port};

const EXE: &str = env!("CARGO_BIN_EXE_redkeep");

/// The port behind the last colon.
fn port_in(address: &str) -> &str {
    address.trim_end().rsplit(':').next().unwrap()
}

fn started(args: &[&str]) -> (Program, String) {
    let mut program = Program::start(args);
    // If anything stood before it, it would be here.
    let address = program.until("\n");
    (program, address)
}

#[test]
fn port_0_is_any_free_port_for_whoever_asks_for_the_address() {
    let (first, one) = started(&["--port", "0", "--print-addr"]);
    let (second, other) = started(&["--print-addr", "--port", "0"]);
    for address in [&one, &other] {
        assert!(address.starts_with("redis://127.0.0.1:"), "{address}");
        let port = port_in(address);
        assert_eq!(ask(port, "PING\r\n"), "+PONG\r\n");
        let told = converse(port, "CONFIG GET port\r\n");
        assert!(told.contains(&format!("\r\n{port}\r\n")), "{told}");
    }
    assert_ne!(one, other);
    for program in [first, second] {
        let log = program.terminate();
        assert!(log.contains("Ready to accept connections tcp"), "{log}");
    }
}

#[test]
fn the_line_is_all_of_standard_output_and_the_log_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| std::fs::File::create(dir.path().join(name)).unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    for log in ["", "log"] {
        let port = free_port();
        let args = ["--port", &port, "--print-addr", "yes", "--logfile", log];
        let mut child = Killed(
            Command::new(EXE)
                .args(args)
                .current_dir(dir.path())
                .stdin(Stdio::null())
                .stdout(file("out"))
                .stderr(file("errors"))
                .spawn()
                .unwrap(),
        );
        // It is there when clients are served, and not before.
        eventually("the line", || !read("out").is_empty());
        assert_eq!(read("out"), format!("redis://127.0.0.1:{port}\n"));
        assert_eq!(ask(&port, "SHUTDOWN NOSAVE\r\n"), "");
        assert!(child.0.wait().unwrap().success());
        assert_eq!(read("out"), format!("redis://127.0.0.1:{port}\n"));
        let told = read(if log.is_empty() { "errors" } else { log });
        assert!(told.contains("Ready to accept connections tcp"), "{told}");
        assert!(log.is_empty() || read("errors").is_empty());
    }
}

#[test]
fn what_else_is_listened_on_leaves_port_0_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s").to_str().unwrap().to_owned();
    let (program, address) = started(&["--port", "0", "--print-addr", "--unixsocket", &path]);
    assert_eq!(address, format!("unix://{path}\n"));
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"CONFIG GET port\r\nQUIT\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert_eq!(reply, "*2\r\n$4\r\nport\r\n$1\r\n0\r\n+OK\r\n");
    program.terminate();
}

#[test]
fn with_a_certificate_the_free_port_is_for_tls() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let file = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (cert, key) = (
        file("cert", made.cert.pem()),
        file("key", made.signing_key.serialize_pem()),
    );
    let tls = ["--tls-cert-file", &cert, "--tls-key-file", &key];
    let tls = [&tls[..], &["--tls-auth-clients", "no", "--tls-port", "0"]].concat();
    let args = [&["--port", "0", "--print-addr"], &tls[..]].concat();
    let (program, address) = started(&args);
    assert!(address.starts_with("rediss://127.0.0.1:"), "{address}");
    // Somebody who does not speak it is not understood.
    let mut stream = TcpStream::connect(format!("127.0.0.1:{}", port_in(&address))).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    assert!(!reply.starts_with(b"+PONG"));
    program.terminate();
}

#[test]
fn a_descriptor_that_was_handed_down_gets_the_line() {
    for (redirection, place) in [("3>address", "address"), ("7>>address", "address")] {
        let dir = tempfile::tempdir().unwrap();
        let fd = &redirection[..1];
        let script = format!("exec '{EXE}' --port 0 --ready-fd {fd} --save '' {redirection}");
        let mut child = Killed(
            Command::new("sh")
                .args(["-c", &script])
                .current_dir(dir.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap(),
        );
        let read = || std::fs::read_to_string(dir.path().join(place)).unwrap_or_default();
        eventually("the line", || read().ends_with('\n'));
        let address = read();
        assert!(address.starts_with("redis://127.0.0.1:"), "{address}");
        assert_eq!(ask(port_in(&address), "SHUTDOWN\r\n"), "");
        assert!(child.0.wait().unwrap().success());
    }
}

#[test]
fn a_pipe_that_was_handed_down_gets_the_line() {
    // Standard error of the shell is the pipe; what the server says there itself goes nowhere.
    let script = format!("exec '{EXE}' --port 0 --ready-fd 9 --save '' 9>&2 2>&1 >/dev/null");
    let mut child = Killed(
        Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut address = String::new();
    let mut pipe = BufReader::new(child.0.stderr.take().unwrap());
    pipe.read_line(&mut address).unwrap();
    assert_eq!(ask(port_in(&address), "SHUTDOWN\r\n"), "");
    assert!(child.0.wait().unwrap().success());
}

#[test]
fn a_descriptor_that_cannot_be_written_to_is_named() {
    let (_ours, theirs) = UnixStream::pair().unwrap();
    let (code, log) = Program::start_as(&["--port", "0", "--ready-fd", "0"], |command, _| {
        command.stdin(theirs.as_fd().try_clone_to_owned().unwrap());
    })
    .end();
    assert_eq!(code, Some(1));
    let hint = "it is a socket, and has to be a pipe or a file";
    assert!(
        log.contains("ready-fd 0: ") && log.contains(hint) || cfg!(not(target_os = "linux")),
        "{log}"
    );
    let (code, log) = Program::start(&["--port", "0", "--ready-fd", "57"]).end();
    assert_eq!(code, Some(1));
    assert!(log.contains("ready-fd 57: "), "{log}");
}

#[test]
fn it_does_not_outlive_a_parent_that_is_killed() {
    let mut orphan = Orphan::of("--exit-with-parent --save ''", Path::new("."));
    assert_eq!(ask(&orphan.port, "SET k v\r\n"), "+OK\r\n");
    orphan.kill_parent();
    let log = orphan.last_words();
    let gone = "The process that started this one is gone, scheduling shutdown...";
    assert!(log.contains(gone) && log.contains("bye bye"), "{log}");
}

#[test]
fn without_being_asked_to_it_outlives_its_parent() {
    let mut orphan = Orphan::of("--save ''", Path::new("."));
    orphan.kill_parent();
    // Longer than it takes to notice where the system does not tell.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(ask(&orphan.port, "PING\r\n"), "+PONG\r\n");
    assert_eq!(ask(&orphan.port, "SHUTDOWN\r\n"), "");
    orphan.last_words();
}

#[test]
fn a_script_that_never_ends_and_a_save_that_fails_do_not_keep_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let options = format!(
        "--exit-with-parent --save '3600 1' --lua-time-limit 20 --dir '{}'",
        data.display()
    );
    let mut orphan = Orphan::of(&options, dir.path());
    assert_eq!(ask(&orphan.port, "SET k v\r\n"), "+OK\r\n");
    let mut looping = TcpStream::connect(format!("127.0.0.1:{}", orphan.port)).unwrap();
    looping
        .write_all(b"EVAL 'while true do end' 0\r\n")
        .unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    orphan.kill_parent();
    let log = orphan.last_words();
    assert!(
        log.contains("Error trying to save the DB, can't exit."),
        "{log}"
    );
}

/// A process that is killed when the test fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server whose parent is a shell.
struct Orphan {
    parent: Option<Killed>,
    pid: String,
    port: String,
    log: Option<std::process::ChildStderr>,
}

impl Orphan {
    /// Started by a shell, which waits for it in the background.
    fn of(options: &str, dir: &Path) -> Orphan {
        let script = format!("'{EXE}' --port 0 --print-addr {options} & wait");
        let mut parent = Killed(
            Command::new("sh")
                .args(["-c", &script])
                .current_dir(dir)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let mut address = String::new();
        let mut output = BufReader::new(parent.0.stdout.take().unwrap());
        output.read_line(&mut address).unwrap();
        let port = port_in(&address).to_owned();
        let info = converse(&port, "INFO server\r\n");
        let pid = info.lines().find_map(|l| l.strip_prefix("process_id:"));
        Orphan {
            pid: pid.unwrap().to_owned(),
            port,
            log: parent.0.stderr.take(),
            parent: Some(parent),
        }
    }

    fn kill_parent(&mut self) {
        assert!(self.parent.take().is_some());
    }

    /// What it logs until it has ended: so long it holds its end of the pipe.
    fn last_words(&mut self) -> String {
        let mut log = self.log.take().unwrap();
        let (sender, said) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = log.read_to_string(&mut text);
            let _ = sender.send(text);
        });
        let log = said.recv_timeout(Duration::from_secs(20));
        let log = log.unwrap_or_else(|why| panic!("it outlives its parent: {why}"));
        self.pid.clear();
        log
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        self.parent = None;
        if !self.pid.is_empty() {
            let _ = Command::new("kill")
                .args(["-s", "KILL", &self.pid])
                .status();
        }
    }
}
