//! A running program, and what is said to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// How long something may take that happens at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running program; killed when a test fails.
pub struct Program {
    child: Child,
    /// The lines that it prints.
    output: Receiver<String>,
    /// Where it runs, and leaves its files.
    dir: tempfile::TempDir,
}

impl Program {
    pub fn start(args: &[&str]) -> Program {
        Self::start_as(args, |_, _| {})
    }

    /// Starts it; `prepare` gets the command and its directory first.
    pub fn start_as(args: &[&str], prepare: impl FnOnce(&mut Command, &Path)) -> Program {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_redkeep"));
        command
            .args(args)
            .current_dir(dir.path())
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        prepare(&mut command, dir.path());
        let mut child = command.spawn().unwrap();
        Program {
            output: lines_of(child.stdout.take().unwrap()),
            child,
            dir,
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads its log up to a line with this text.
    pub fn until(&mut self, text: &str) -> String {
        let mut log = String::new();
        while !log.contains(text) {
            match self.output.recv_timeout(PATIENCE) {
                Ok(line) => log.push_str(&line),
                Err(why) => panic!("{text}: {why} behind {log}"),
            }
        }
        log
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.unwrap().success());
    }

    /// Its exit code, and what it printed that nobody has read.
    pub fn end(mut self) -> (Option<i32>, String) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut output: String = self.output.iter().collect();
        let mut errors = self.child.stderr.take().unwrap();
        errors.read_to_string(&mut output).unwrap();
        (status.code(), output)
    }

    /// Ends it with SIGTERM; what it printed that nobody has read.
    pub fn terminate(self) -> String {
        self.signal("TERM");
        let (code, output) = self.end();
        assert_eq!(code, Some(0), "{output}");
        output
    }
}

fn lines_of(output: ChildStdout) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = String::new();
        // It ends with the program.
        while output.read_line(&mut line).is_ok_and(|n| n > 0) {
            let _ = sender.send(std::mem::take(&mut line));
        }
    });
    lines
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port().to_string()
}

/// A connection that waits for nothing longer than ten seconds.
pub fn connect(port: &str) -> TcpStream {
    let stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    let patience = Some(Duration::from_secs(10));
    stream.set_read_timeout(patience).unwrap();
    stream
}

/// The first line of the answer to a line.
pub fn ask(port: &str, line: &str) -> String {
    let mut stream = connect(port);
    stream.write_all(line.as_bytes()).unwrap();
    let mut reply = String::new();
    BufReader::new(stream).read_line(&mut reply).unwrap();
    reply
}

/// All that is answered to these lines on one connection, which ends with them.
pub fn converse(port: &str, lines: &str) -> String {
    let mut stream = connect(port);
    stream.write_all(lines.as_bytes()).unwrap();
    stream.write_all(b"QUIT\r\n").unwrap();
    // A sentinel knows no QUIT.
    stream.shutdown(Shutdown::Write).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    String::from_utf8_lossy(&reply).into_owned()
}

/// Waits until something is so.
pub fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
