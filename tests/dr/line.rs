//! Two regions and the line between them, on which everything takes 80 ms.
//!
//! Where this machine allows it a region is a network namespace, and the line a pair of devices with netem, or with a process
//! that keeps packets for a while. Elsewhere both are on loopback, and a delaying proxy stands before each server that is
//! reached from the other region. Which it is, and why, is printed.

use super::common::Proxy;
use super::common::peer::free_port;
use super::common::proxy::BOTH;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

pub const DELAY_MS: u64 = 80;

/// A region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    A,
    B,
}

use Region::{A, B};

/// The two regions.
pub enum Line {
    Spaces(Spaces),
    Loopback(Mutex<Vec<(u16, Proxy)>>),
}

/// Two namespaces. Within the first of two networks they see each other; over the other one the test sees both.
pub struct Spaces {
    names: [String; 2],
    net: u32,
    tag: String,
    kind: Kind,
}

enum Kind {
    Netem,
    Relay(Mutex<Child>),
}

impl Line {
    pub fn new() -> Line {
        match Spaces::new() {
            Ok(spaces) => {
                let by = match spaces.kind {
                    Kind::Netem => "netem",
                    Kind::Relay(_) => "packets kept by a process, for the kernel has no netem",
                };
                eprintln!("two namespaces, {DELAY_MS} ms between them: {by}");
                Line::Spaces(spaces)
            }
            Err(why) => {
                eprintln!("no namespaces ({why}): {DELAY_MS} ms by proxies on loopback");
                Line::Loopback(Mutex::default())
            }
        }
    }

    /// A program that is to run in a region.
    pub fn command(&self, region: Region, program: impl AsRef<OsStr>) -> Command {
        match self {
            Line::Spaces(spaces) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &spaces.names[region as usize]]);
                command.arg(program);
                command
            }
            Line::Loopback(_) => Command::new(program),
        }
    }

    /// The address that servers of a region have there.
    pub fn host(&self, region: Region) -> &'static str {
        match (self, region) {
            (Line::Spaces(_), A) => "10.78.0.1",
            (Line::Spaces(_), B) => "10.78.0.2",
            (Line::Loopback(_), _) => "127.0.0.1",
        }
    }

    /// The port that a server is reached at from the other region.
    pub fn far_port(&self, port: u16) -> u16 {
        let Line::Loopback(proxies) = self else {
            return port;
        };
        let mut proxies = proxies.lock().unwrap();
        if let Some((_, proxy)) = proxies.iter().find(|(to, _)| *to == port) {
            return proxy.port();
        }
        let proxy = Proxy::to(port);
        proxy.delay(&BOTH, DELAY_MS);
        let far = proxy.port();
        proxies.push((port, proxy));
        far
    }

    /// Where the test itself reaches the servers of a region.
    pub fn control(&self, region: Region) -> String {
        match self {
            Line::Spaces(spaces) => spaces.inside(region),
            Line::Loopback(_) => "127.0.0.1".into(),
        }
    }

    /// Whether anything passes: bytes stand still on both ways, and nobody is told.
    pub fn cut(&self, cut: bool) {
        match self {
            Line::Loopback(proxies) => {
                let proxies = proxies.lock().unwrap();
                proxies
                    .iter()
                    .for_each(|(_, proxy)| proxy.stall(&BOTH, cut));
            }
            Line::Spaces(spaces) => spaces.cut(cut),
        }
    }

    /// A port for a new server.
    pub fn port(&self) -> u16 {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        match self {
            // Nobody else is there.
            Line::Spaces(_) => 7000 + (NEXT.fetch_add(1, Ordering::SeqCst) % 20_000) as u16,
            Line::Loopback(_) => free_port(),
        }
    }
}

fn ip(words: &str) -> Result<(), String> {
    run("ip", words)
}

fn run(program: &str, words: &str) -> Result<(), String> {
    let out = Command::new(program)
        .args(words.split(' '))
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{program}: {e}"))?;
    match out.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{program} {words}: {}",
            String::from_utf8_lossy(&out.stderr).trim()
        )),
    }
}

impl Spaces {
    fn new() -> Result<Spaces, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::SeqCst);
        let tag = format!("{}-{n}", std::process::id());
        let mut spaces = Spaces {
            names: [format!("rkdr{tag}a"), format!("rkdr{tag}b")],
            net: (std::process::id() * 8 + n) % 16_000,
            tag: tag.clone(),
            kind: Kind::Netem,
        };
        // What there is of it goes with it if any of this fails.
        for region in [A, B] {
            let name = spaces.names[region as usize].clone();
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {name} link set lo up"))?;
            let (here, there) = (spaces.device(region), format!("rkd{tag}{region:?}"));
            ip(&format!("link add {here} type veth peer name {there}"))?;
            ip(&format!("link set {there} netns {name}"))?;
            let (inside, gateway) = (spaces.inside(region), spaces.gateway(region));
            ip(&format!("addr add {gateway}/30 dev {here}"))?;
            ip(&format!("link set {here} up"))?;
            ip(&format!("-n {name} addr add {inside}/30 dev {there}"))?;
            ip(&format!("-n {name} link set {there} up"))?;
        }
        if let Err(why) = spaces.netem() {
            spaces.kind = Kind::Relay(Mutex::new(
                spaces.relay(&tag).map_err(|e| format!("{why}; {e}"))?,
            ));
        }
        Ok(spaces)
    }

    /// Four addresses for each region, of those that are for measuring.
    fn address(&self, region: Region, host: u32) -> String {
        let n = self.net * 8 + region as u32 * 4 + host;
        format!("198.{}.{}.{}", 18 + (n >> 16), n >> 8 & 255, n & 255)
    }

    /// The test's end of what leads into a region.
    fn device(&self, region: Region) -> String {
        format!("rkc{}{region:?}", self.tag)
    }

    /// Where the test reaches a region, and where it stands itself.
    fn inside(&self, region: Region) -> String {
        self.address(region, 1)
    }

    fn gateway(&self, region: Region) -> String {
        self.address(region, 2)
    }

    fn netem(&self) -> Result<(), String> {
        let [a, b] = &self.names;
        let delay = format!("netem delay {DELAY_MS}ms");
        ip(&format!(
            "-n {a} link add line type veth peer name line netns {b}"
        ))?;
        for (name, address) in [(a, "10.78.0.1"), (b, "10.78.0.2")] {
            let set = run(
                "ip",
                &format!("netns exec {name} tc qdisc add dev line root {delay}"),
            );
            if let Err(why) = set {
                let _ = ip(&format!("-n {a} link del line"));
                return Err(why);
            }
            ip(&format!("-n {name} addr add {address}/30 dev line"))?;
            ip(&format!("-n {name} link set line up"))?;
        }
        Ok(())
    }

    fn relay(&self, tag: &str) -> Result<Child, String> {
        let [a, b] = &self.names;
        let ends = [format!("rke{tag}a"), format!("rke{tag}b")];
        let mut child = Command::new("python3")
            .args(["-c", include_str!("relay.py"), &ends[0], &ends[1]])
            .arg(format!("{}", DELAY_MS as f64 / 1000.0))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("python3: {e}"))?;
        let mut said = String::new();
        let out = child.stdout.as_mut().unwrap();
        let _ = BufReader::new(out).read_line(&mut said);
        let connect = || {
            if said != "ready\n" {
                return Err("no tun devices".to_owned());
            }
            for (name, end, here, there) in [
                (a, &ends[0], "10.78.0.1", "10.78.0.2"),
                (b, &ends[1], "10.78.0.2", "10.78.0.1"),
            ] {
                ip(&format!("link set {end} netns {name} name line"))?;
                ip(&format!("-n {name} addr add {here} peer {there} dev line"))?;
                ip(&format!("-n {name} link set line up"))?;
            }
            Ok(())
        };
        if let Err(why) = connect() {
            let _ = child.kill();
            let _ = child.wait();
            return Err(why);
        }
        Ok(child)
    }

    fn cut(&self, cut: bool) {
        match &self.kind {
            Kind::Relay(relay) => {
                let mut relay = relay.lock().unwrap();
                let word: &[u8] = if cut { b"cut\n" } else { b"heal\n" };
                relay.stdin.as_mut().unwrap().write_all(word).unwrap();
            }
            Kind::Netem => {
                let loss = if cut { "loss 100%" } else { "" };
                for name in &self.names {
                    let words = format!(
                        "netns exec {name} tc qdisc change dev line root netem delay {DELAY_MS}ms {loss}"
                    );
                    run("ip", words.trim()).unwrap();
                }
            }
        }
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        if let Kind::Relay(relay) = &self.kind {
            let mut relay = relay.lock().unwrap_or_else(|e| e.into_inner());
            let _ = relay.kill();
            let _ = relay.wait();
        }
        for region in [A, B] {
            let _ = ip(&format!("netns del {}", self.names[region as usize]));
            // A namespace is there for as long as anybody waits for an answer in it.
            let _ = ip(&format!("link del {}", self.device(region)));
        }
    }
}
