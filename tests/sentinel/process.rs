//! A server or a sentinel as a process, with a configuration file that it rewrites.

use super::Kind;
use super::common::peer::tool;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// What a program is run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Server,
    Sentinel,
}

/// A port that belongs to one node for as long as the node lives, whether or not it runs at the moment.
pub struct Port {
    pub number: u16,
    /// What keeps tests in other processes from taking it.
    _claim: UdpSocket,
}

/// Below the ports that connections go out from: who connects to one of those while nobody listens there may meet itself.
const PORTS: std::ops::Range<u16> = 11_000..32_000;

impl Port {
    pub fn take() -> Port {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let first = std::process::id() as usize * 149;
        for _ in 0..PORTS.len() {
            let n = usize::from(NEXT.fetch_add(1, Ordering::Relaxed));
            let number = PORTS.start + ((first + n) % PORTS.len()) as u16;
            if let Ok(claim) = UdpSocket::bind(("127.0.0.1", number))
                && TcpListener::bind(("127.0.0.1", number)).is_ok()
            {
                return Port {
                    number,
                    _claim: claim,
                };
            }
        }
        panic!("no port is free");
    }
}

pub struct Process {
    child: Child,
    part: Part,
    pub dir: tempfile::TempDir,
}

impl Process {
    /// Starts a program on a configuration file with these lines.
    pub fn start(kind: Kind, part: Part, lines: &[String]) -> Process {
        let dir = tempfile::tempdir().unwrap();
        let mut text = lines.join("\n");
        text.push_str(&format!("\ndir {}\n", dir.path().display()));
        fs::write(dir.path().join("conf"), text).unwrap();
        let child = spawn(kind, part, &dir);
        Process { child, part, dir }
    }

    /// Starts a program, which may be another one, on what the last one has left.
    pub fn start_again(&mut self, kind: Kind) {
        self.kill();
        self.child = spawn(kind, self.part, &self.dir);
    }

    pub fn conf(&self) -> PathBuf {
        self.dir.path().join("conf")
    }

    /// What it has printed, its last lines.
    pub fn log(&self, lines: usize) -> String {
        let text = fs::read(self.dir.path().join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<_> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end: the exit code.
    pub fn end(&mut self) -> Option<i32> {
        let until = Instant::now() + Duration::from_secs(20);
        while self.is_alive() {
            assert!(Instant::now() < until, "it does not end\n{}", self.log(40));
            std::thread::sleep(Duration::from_millis(5));
        }
        self.child.wait().ok()?.code()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    /// Stops it as it is; when this returns, none of its threads does anything more.
    pub fn freeze(&self) {
        self.signal("STOP");
        let until = Instant::now() + Duration::from_secs(20);
        while !self.is_frozen() {
            assert!(Instant::now() < until, "it does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_frozen(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
        let stat = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("stat"));
        // Behind the name, which is in brackets, stands the state.
        let stops = |stat: String| stat.rsplit(") ").next().is_some_and(|s| s.starts_with('T'));
        threads
            .flatten()
            .all(|thread| stat(thread).is_ok_and(stops))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(kind: Kind, part: Part, dir: &tempfile::TempDir) -> Child {
    let program = match (kind, part) {
        (Kind::Redkeep, _) => PathBuf::from(env!("CARGO_BIN_EXE_redkeep")),
        (Kind::Redis, Part::Server) => tool("redis-server").unwrap(),
        (Kind::Redis, Part::Sentinel) => tool("redis-sentinel").unwrap(),
    };
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.path().join("log"))
        .unwrap();
    let mut command = Command::new(&program);
    command.arg(dir.path().join("conf"));
    if part == Part::Sentinel {
        command.arg("--sentinel");
    }
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}", program.display()))
}
