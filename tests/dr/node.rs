//! Servers and sentinels, of either make, in a region; and clients that find the leader through sentinels.

use super::common::peer::tool;
use super::common::{Client, Reply};
use super::line::{Line, Region};
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long anything may take, on a machine that has other things to do.
pub const SOON: Duration = Duration::from_secs(40);

/// Who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    Redkeep,
    Redis,
}

/// Waits until something is so.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !so() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A process of a region, killed when dropped.
pub struct Node {
    line: Arc<Line>,
    pub region: Region,
    pub port: u16,
    pub password: Option<&'static str>,
    program: PathBuf,
    args: Vec<String>,
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Node {
    /// A server with a configuration file of these lines.
    pub fn server(
        line: &Arc<Line>,
        region: Region,
        maker: Maker,
        password: &'static str,
        lines: &[String],
    ) -> Option<Node> {
        let program = match maker {
            Maker::Redkeep => env!("CARGO_BIN_EXE_redkeep").into(),
            Maker::Redis => tool("redis-server")?,
        };
        let own = [
            format!("requirepass {password}"),
            format!("masterauth {password}"),
            "save \"\"".into(),
            "repl-diskless-sync-delay 0".into(),
        ];
        let mut node = Node::new(
            line,
            region,
            program,
            Some(password),
            &[&own, lines].concat(),
        );
        node.start();
        Some(node)
    }

    /// A sentinel with a configuration file of these lines.
    pub fn sentinel(
        line: &Arc<Line>,
        region: Region,
        maker: Maker,
        lines: &[String],
    ) -> Option<Node> {
        let program = match maker {
            Maker::Redkeep => env!("CARGO_BIN_EXE_redkeep").into(),
            Maker::Redis => tool("redis-sentinel")?,
        };
        let mut node = Node::new(line, region, program, None, lines);
        node.args.push("--sentinel".into());
        node.start();
        Some(node)
    }

    fn new(
        line: &Arc<Line>,
        region: Region,
        program: PathBuf,
        password: Option<&'static str>,
        lines: &[String],
    ) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let port = line.port();
        let bind = match &**line {
            Line::Spaces(_) => "0.0.0.0",
            Line::Loopback(_) => "127.0.0.1",
        };
        let dir_line = format!("dir \"{}\"", dir.path().display());
        let text = format!("port {port}\nbind {bind}\nprotected-mode no\n{dir_line}\n");
        let file = dir.path().join("node.conf");
        fs::write(&file, text + &lines.join("\n") + "\n").unwrap();
        Node {
            line: Arc::clone(line),
            region,
            port,
            password,
            program,
            args: vec![file.display().to_string()],
            dir,
            child: None,
        }
    }

    /// Starts it, and waits until it answers.
    pub fn start(&mut self) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .unwrap();
        let mut command = self.line.command(self.region, &self.program);
        let child = command
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let until = Instant::now() + SOON;
        while self
            .try_call(&["PING"])
            .map(|r| r.is_error())
            .unwrap_or(true)
        {
            assert!(Instant::now() < until, "it does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn file(&self) -> String {
        fs::read_to_string(self.dir.path().join("node.conf")).unwrap()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Where it is within its region.
    pub fn near(&self) -> String {
        format!("{}:{}", self.line.host(self.region), self.port)
    }

    /// Where it is for the other one.
    pub fn far(&self) -> String {
        let port = self.line.far_port(self.port);
        format!("{}:{port}", self.line.host(self.region))
    }

    /// The same as the words of REPLICAOF.
    pub fn far_words(&self) -> String {
        self.far().replace(':', " ")
    }

    pub fn near_words(&self) -> String {
        self.near().replace(':', " ")
    }

    pub fn client(&self) -> io::Result<Client> {
        connect(&self.line.control(self.region), self.port, self.password)
    }

    pub fn try_call(&self, words: &[&str]) -> io::Result<Reply> {
        self.client()?.call(words)
    }

    pub fn call(&self, words: &[&str]) -> Reply {
        self.try_call(words)
            .unwrap_or_else(|e| panic!("{words:?}: {e}\n{}", self.log()))
    }

    /// A field of INFO; empty where there is none, or nobody answers.
    pub fn info(&self, name: &str) -> String {
        let text = self
            .try_call(&["INFO", "all"])
            .map(|r| r.text())
            .unwrap_or_default();
        let found = text
            .lines()
            .find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
        found.unwrap_or_default().trim().to_owned()
    }

    pub fn leads(&self) -> bool {
        self.info("role") == "master"
    }

    pub fn is_linked(&self) -> bool {
        self.info("master_link_status") == "up"
    }

    /// What a sentinel says the leader's port is.
    pub fn names(&self, master: &str) -> Option<u16> {
        let reply = self
            .try_call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", master])
            .ok()?;
        reply.items().get(1)?.text().parse().ok()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn connect(host: &str, port: u16, password: Option<&str>) -> io::Result<Client> {
    let addr: SocketAddr = format!("{host}:{port}").parse().unwrap();
    let sock = TcpStream::connect_timeout(&addr, Duration::from_secs(2))?;
    sock.set_write_timeout(Some(Duration::from_secs(5)))?;
    let mut client = Client::over(sock)?;
    if let Some(password) = password {
        client.call(&["AUTH", password])?;
    }
    Ok(client)
}

/// Where sentinels can be asked: their hosts as the test reaches them, and the password of the servers there.
#[derive(Clone)]
pub struct Way {
    pub host: String,
    pub port: u16,
    pub password: &'static str,
}

impl Way {
    pub fn by(sentinel: &Node, password: &'static str) -> Way {
        Way {
            host: sentinel.line.control(sentinel.region),
            port: sentinel.port,
            password,
        }
    }
}

/// A client that counts: it pushes one number after the other, and goes on at whomever the sentinels name.
pub struct Counting {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<(u64, Instant)>>>,
    thread: Option<JoinHandle<()>>,
}

impl Counting {
    /// `ports` maps what sentinels name to a port that the test reaches.
    pub fn start(from: u64, ways: Vec<Way>, ports: Vec<(u16, u16)>) -> Counting {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::default();
        let thread = std::thread::spawn({
            let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
            move || count(from, &ways, &ports, &stop, &acknowledged)
        });
        Counting {
            stop,
            acknowledged,
            thread: Some(thread),
        }
    }

    /// What has been acknowledged so far, and when.
    pub fn acknowledged(&self) -> Vec<(u64, Instant)> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Waits until something more is acknowledged than there is now.
    pub fn goes_on(&self) {
        let before = self.acknowledged().len();
        eventually("clients go on", || self.acknowledged().len() > before + 3);
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn count(
    from: u64,
    ways: &[Way],
    ports: &[(u16, u16)],
    stop: &AtomicBool,
    acknowledged: &Mutex<Vec<(u64, Instant)>>,
) {
    let mut next = from;
    let mut turn = 0;
    while !stop.load(Ordering::SeqCst) {
        turn += 1;
        let way = &ways[turn % ways.len()];
        let leader = || -> io::Result<Client> {
            let mut sentinel = connect(&way.host, way.port, None)?;
            let named = sentinel.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"])?;
            let port = named.items().get(1).and_then(|p| p.text().parse().ok());
            let port = port.ok_or(io::ErrorKind::NotFound)?;
            let real = ports.iter().find(|(far, _)| *far == port);
            connect(
                &way.host,
                real.map_or(port, |(_, p)| *p),
                Some(way.password),
            )
        };
        let Ok(mut client) = leader() else {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        while !stop.load(Ordering::SeqCst) {
            next += 1;
            let pushed = client.send(&["RPUSH", "numbers", &next.to_string()]);
            let answer = pushed.and_then(|()| client.receive(Duration::from_secs(5)));
            match answer {
                Ok(super::common::client::Got::Reply(Reply::Int(_))) => {
                    acknowledged.lock().unwrap().push((next, Instant::now()));
                }
                _ => break,
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }
}
