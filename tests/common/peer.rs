//! Servers and tools that tests talk to: how they are found, installed where that is possible, started and stopped.

use super::Client;
use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A server process of our own, killed when dropped.
pub struct Server {
    child: Child,
    pub port: u16,
    pub dir: tempfile::TempDir,
    name: String,
    program: PathBuf,
    args: Args,
}

/// How a server is told what it shall be.
#[derive(Clone)]
enum Args {
    /// By options.
    Options(Vec<String>),
    /// By the file `sentinel.conf` in its directory, which has these lines at first, and belongs to it from then on.
    Sentinel(String),
}

impl Args {
    fn options(&mut self) -> &mut Vec<String> {
        match self {
            Args::Options(options) => options,
            Args::Sentinel(_) => panic!("a sentinel has a file"),
        }
    }
}

fn spawn(program: &Path, port: u16, dir: &Path, args: &Args) -> Child {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .expect("a log file");
    let mut command = Command::new(program);
    match args {
        Args::Options(options) => command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--dir"])
            .arg(dir)
            .args(options),
        Args::Sentinel(_) => command.arg(dir.join("sentinel.conf")).arg("--sentinel"),
    };
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log)
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}", program.display()))
}

impl Server {
    /// The binary under test.
    pub fn redkeep(args: &[&str]) -> Server {
        Server::start(Path::new(env!("CARGO_BIN_EXE_redkeep")), args)
    }

    /// A real redis-server, or `None` after having said that it is missing.
    pub fn redis(args: &[&str]) -> Option<Server> {
        let path = tool("redis-server")?;
        Some(Server::start(&path, args))
    }

    /// Any program that takes the options of redis-server.
    pub fn start(program: &Path, args: &[&str]) -> Server {
        let options = args.iter().map(|&a| a.to_owned());
        Server::launch(program, &Args::Options(options.collect()))
    }

    /// Any program that takes a `sentinel.conf` and `--sentinel`; the port and the directory are added to the lines.
    pub fn sentinel(program: &Path, lines: &str) -> Server {
        Server::launch(program, &Args::Sentinel(lines.to_owned()))
    }

    fn launch(program: &Path, args: &Args) -> Server {
        let name = program
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        for _ in 0..5 {
            let port = free_port();
            let dir = tempfile::tempdir().expect("a temporary directory");
            if let Args::Sentinel(lines) = args {
                let at = dir.path().display();
                let conf = format!("port {port}\nbind 127.0.0.1\ndir \"{at}\"\n{lines}");
                fs::write(dir.path().join("sentinel.conf"), conf).expect("a file");
            }
            let child = spawn(program, port, dir.path(), args);
            let mut server = Server {
                child,
                port,
                dir,
                name: name.clone(),
                program: program.to_owned(),
                args: args.clone(),
            };
            if server.answers() {
                return server;
            }
            eprintln!("{name} did not start:\n{}", server.log());
        }
        panic!("{name} did not start");
    }

    /// Starts the program again in its directory, on another port; it must have ended or been killed. Returns whether it
    /// answers.
    pub fn start_again(&mut self) -> bool {
        self.port = free_port();
        self.revive()
    }

    /// As [`start_again`](Self::start_again), on the same port.
    pub fn revive(&mut self) -> bool {
        self.kill();
        self.child = spawn(&self.program, self.port, self.dir.path(), &self.args);
        self.answers()
    }

    /// As [`start_again`](Self::start_again), but returns as soon as anything is answered: it may be loading.
    pub fn start_loading(&mut self) -> Client {
        self.kill();
        self.port = free_port();
        self.child = spawn(&self.program, self.port, self.dir.path(), &self.args);
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(mut c) = Client::connect(self.port)
                && c.call(&["INFO", "server"]).is_ok()
            {
                return c;
            }
            assert!(Instant::now() < until && self.alive(), "{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// From the next start on it has this option as well, in place of what it had of that.
    pub fn set_option(&mut self, name: &str, value: &str) {
        self.add_options(&[name, value]);
    }

    /// From the next start on it has these options as well.
    pub fn add_options(&mut self, options: &[&str]) {
        let more = options.iter().map(|&o| o.to_owned());
        self.args.options().extend(more);
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    /// Stops the process as it is; when this returns, none of its threads does anything more.
    pub fn stop(&self) {
        self.signal("STOP");
        let until = Instant::now() + Duration::from_secs(20);
        while !self.is_stopped() {
            assert!(Instant::now() < until, "it does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_stopped(&self) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.child.id())) else {
            return true;
        };
        let stat = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("stat"));
        // Behind the name, which is in brackets, stands the state.
        let stops = |stat: String| stat.rsplit(") ").next().is_some_and(|s| s.starts_with('T'));
        threads
            .flatten()
            .all(|thread| stat(thread).is_ok_and(stops))
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal("CONT");
    }

    /// Waits for the end of the process: its exit code.
    pub fn end(&mut self) -> Option<i32> {
        let until = Instant::now() + Duration::from_secs(20);
        while self.alive() {
            assert!(Instant::now() < until, "it does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
        self.child.wait().ok()?.code()
    }

    /// Kills the process as a power cut would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends SIGTERM and waits for the end; whether it was a good one.
    pub fn terminate(&mut self) -> bool {
        self.signal("TERM");
        self.child.wait().is_ok_and(|status| status.success())
    }

    fn answers(&mut self) -> bool {
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            if self.child.try_wait().ok().flatten().is_some() {
                return false;
            }
            // Another server may have got the port first: the one that answers must be this process.
            if let Ok(mut c) = Client::connect(self.port)
                && let Ok(info) = c.call(&["INFO", "server"])
            {
                let ours = format!("process_id:{}\r\n", self.child.id());
                if !info.text().contains(&ours) {
                    return false;
                }
                // What it loads may turn out to be damaged.
                if c.call(&["PING"])
                    .is_ok_and(|r| !r.text().starts_with("LOADING"))
                {
                    return true;
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    pub fn client(&self) -> Client {
        Client::connect(self.port)
            .unwrap_or_else(|e| panic!("connecting to {}: {e}\n{}", self.name, self.log()))
    }

    /// Whether the process still runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What the server has printed, its last lines.
    pub fn log(&self) -> String {
        let text = fs::read(self.dir.path().join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// The bytes of memory the process occupies, where the system tells.
    pub fn resident(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
        Some(
            line.trim()
                .trim_end_matches(" kB")
                .trim()
                .parse::<u64>()
                .ok()?
                * 1024,
        )
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The files and sockets that the process has open, where the system tells.
    pub fn descriptors(&self) -> Option<usize> {
        Some(
            fs::read_dir(format!("/proc/{}/fd", self.child.id()))
                .ok()?
                .count(),
        )
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port nobody listens on at this moment.
pub fn free_port() -> u16 {
    let l = TcpListener::bind("127.0.0.1:0").expect("a free port");
    l.local_addr().expect("its address").port()
}

/// Where `cargo` puts what tests leave behind.
pub fn scratch() -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(&dir).expect("the scratch directory");
    dir
}

/// The Debian package that has a tool.
fn package_of(tool: &str) -> Option<&'static str> {
    Some(match tool {
        "redis-server" => "redis-server",
        "redis-sentinel" => "redis-sentinel",
        "redis-cli" | "redis-check-aof" | "redis-check-rdb" => "redis-tools",
        "python3" => "python3",
        "node" | "npm" => "npm",
        _ => return None,
    })
}

/// Finds a program, installing its package first where that is possible. When it stays missing, says so.
pub fn tool(name: &str) -> Option<PathBuf> {
    static TRIED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut tried = TRIED.lock().unwrap_or_else(|e| e.into_inner());
    if in_path(name).is_none() && !tried.iter().any(|t| t == name) {
        tried.push(name.to_owned());
        if let Some(package) = package_of(name) {
            apt_install(package);
        }
    }
    drop(tried);
    let found = in_path(name);
    if found.is_none() {
        missing(name, "not found and not installable");
    }
    found
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|d| d.join(name))
        .find(|p| p.is_file())
}

/// Installs a Debian package when this machine allows that: root, with apt-get.
pub fn apt_install(package: &str) -> bool {
    let root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|o| o.stdout.trim_ascii() == b"0");
    if !root || in_path("apt-get").is_none() {
        return false;
    }
    let apt = |args: &[&str]| {
        Command::new("apt-get")
            .args(args)
            // A package's own service must not start on the machine that runs the tests.
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("RUNLEVEL", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    };
    let install = ["install", "-y", "--no-install-recommends", package];
    apt(&install) || (apt(&["update"]) && apt(&install))
}

/// Says, past the test harness's capture, that a test could not meet its peer, and counts it for the closing line of
/// `zz_peers`. With `CI=true` a missing peer is a failure.
pub fn missing(peer: &str, why: &str) {
    static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("{test}: {peer}");
    let mut said = SAID.lock().unwrap_or_else(|e| e.into_inner());
    if !said.contains(&line) {
        let _ = writeln!(io::stderr(), "SKIPPED {line}: {why}");
        said.push(line);
    }
    drop(said);
    if let Ok(mut f) = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(skips_file())
    {
        let _ = writeln!(f, "{test}: {peer}");
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{peer} is missing ({why}), and CI=true forbids to skip"
    );
}

/// One file per run of `cargo test`: all test binaries of a run have the same parent.
pub fn skips_file() -> PathBuf {
    scratch().join(format!("skipped-{}", std::os::unix::process::parent_id()))
}
