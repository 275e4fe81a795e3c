//! Clients that ask sentinels keep at their work, without being started again, while the leader is killed, frozen, and
//! changed by hand.

mod redis_rs;

use super::common::fleet::{Fleet, NAME, Programs};
use super::common::peer::scratch;
use super::tools;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long a client may need to follow, on a machine that does other work besides.
const SOON: Duration = Duration::from_secs(90);

/// A program at work: it is told lines and answers each of them, as `python/follow.py` says.
struct Program {
    name: &'static str,
    child: Option<Child>,
    input: Option<Sender<String>>,
    output: Receiver<String>,
}

impl Program {
    fn start(name: &'static str, fleet: &Fleet, mut command: Command) -> Program {
        let ports = fleet.addresses().into_iter().map(|port| port.to_string());
        let mut child = command
            .env("SENTINELS", ports.collect::<Vec<_>>().join(" "))
            .env("FLEET", NAME)
            .env("PREFIX", name.replace(' ', "-"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (input, told) = channel::<String>();
        thread::spawn(move || told.iter().try_for_each(|line| writeln!(stdin, "{line}")));
        let (said, output) = channel();
        let mut lines = stdout.lines().map_while(Result::ok);
        thread::spawn(move || lines.try_for_each(|line| said.send(line)));
        Program {
            name,
            child: Some(child),
            input: Some(input),
            output,
        }
    }

    /// One that is a thread of this process.
    fn within(
        name: &'static str,
        work: impl FnOnce(Receiver<String>, Sender<String>) + Send + 'static,
    ) -> Program {
        let ((input, told), (said, output)) = (channel(), channel());
        thread::spawn(move || work(told, said));
        Program {
            name,
            child: None,
            input: Some(input),
            output,
        }
    }

    fn tell(&mut self, line: &str) {
        let _ = self.input.as_ref().unwrap().send(line.to_owned());
    }

    /// Waits for the answer to a line.
    fn answers(&mut self, line: &str) {
        let mut other = String::new();
        let heard = loop {
            match self.output.recv_timeout(SOON) {
                Ok(said) if said == line => return,
                // Libraries have things to say, too.
                Ok(said) => other += &(said + "\n"),
                Err(none) => break none,
            }
        };
        other += &self.rest();
        panic!("{}: {line}: {heard}\n{other}", self.name);
    }

    /// Tells it to come to an end; all went well with it.
    fn ends_well(mut self) {
        self.input = None;
        let said = self.rest();
        println!("{}: {said}", self.name);
        assert!(said.ends_with("\nwell\n"), "{}: {said}", self.name);
    }

    /// What else it says until it ends.
    fn rest(&mut self) -> String {
        self.input = None;
        let mut said = String::new();
        loop {
            match self.output.recv_timeout(SOON) {
                Ok(line) => said += &(line + "\n"),
                Err(RecvTimeoutError::Disconnected) => return said,
                Err(RecvTimeoutError::Timeout) => return said + "and it does not end",
            }
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The clients that this machine can run; or, to try the test itself, those whose names hold `REDKEEP_E2E_CLIENT`.
fn clients(fleet: &Fleet) -> Vec<Program> {
    let mut all = Vec::new();
    let only = std::env::var("REDKEEP_E2E_CLIENT").unwrap_or_default();
    if let Some(python) = tools::python() {
        for (name, program, resp) in [
            ("redis-py over RESP2", "follow_sync.py", "2"),
            ("redis-py over RESP3", "follow_sync.py", "3"),
            ("redis-py asyncio over RESP2", "follow_asyncio.py", "2"),
            ("redis-py asyncio over RESP3", "follow_asyncio.py", "3"),
        ] {
            if !name.contains(&only) {
                continue;
            }
            let mut command = Command::new(&python);
            command.arg(tools::here().join("python").join(program));
            command.env("PYTHONPYCACHEPREFIX", scratch().join("pycache"));
            command.env("RESP", resp);
            all.push(Program::start(name, fleet, command));
        }
    }
    if let Some((node, home)) = tools::node() {
        for (name, package, resp) in [
            ("ioredis 5", ("IOREDIS", "ioredis-5"), "2"),
            ("ioredis 6 over RESP2", ("IOREDIS", "ioredis"), "2"),
            ("ioredis 6 over RESP3", ("IOREDIS", "ioredis"), "3"),
            ("node-redis 5", ("NODE_REDIS", "redis-5"), "2"),
            ("node-redis 6", ("NODE_REDIS", "redis"), "3"),
        ] {
            if !name.contains(&only) {
                continue;
            }
            let program = match package.0 {
                "IOREDIS" => "follow_ioredis.mjs",
                _ => "follow_node_redis.mjs",
            };
            let mut command = Command::new(&node);
            command.arg(home.join(program)).env("RESP", resp);
            command.env(package.0, package.1);
            all.push(Program::start(name, fleet, command));
        }
    }
    for (name, way) in [
        ("redis-rs, blocking, over RESP2", redis_rs::Way::Blocking),
        (
            "redis-rs, asynchronous, over RESP3",
            redis_rs::Way::Asynchronous,
        ),
    ] {
        if name.contains(&only) {
            let sentinels = fleet.addresses();
            all.push(Program::within(name, move |told, said| {
                redis_rs::work(way, name, &sentinels, told, said)
            }));
        }
    }
    all
}

#[test]
fn clients_follow_the_leader() {
    let programs = Programs::named("REDKEEP_E2E_SERVER", "REDKEEP_E2E_SENTINEL");
    let lines = format!(
        "sentinel down-after-milliseconds {NAME} 1500\nsentinel failover-timeout {NAME} 5000\n"
    );
    let mut course = Course::start(Fleet::start(&programs, &lines));
    course.follows(2);
    course.reads();

    course.changes("the leader is killed", |fleet, leader| {
        fleet.server(leader).kill()
    });
    let killed = course.follows(1);
    assert!(course.fleet.server(killed).revive());

    course.changes("the leader is frozen", |fleet, leader| {
        fleet.server(leader).stop()
    });
    let frozen = course.follows(0);
    course.fleet.server(frozen).go_on();

    course.fleet.is_whole();
    course.follows(2);
    course.reads();
    course.changes("another one shall lead", |fleet, _| {
        let reply = fleet.sentinels[0]
            .client()
            .run(&format!("SENTINEL FAILOVER {NAME}"));
        assert_eq!(reply.text(), "OK");
    });
    course.follows(0);
    course.reads();
    course.ends_well();
}

/// What happens, and the clients that live through it.
struct Course {
    fleet: Fleet,
    clients: Vec<Program>,
    leader: u16,
    /// The leader is to be another one than before.
    changing: bool,
    begun: Instant,
}

impl Course {
    fn start(fleet: Fleet) -> Course {
        let clients = clients(&fleet);
        Course {
            leader: fleet.leader().unwrap(),
            changing: false,
            begun: Instant::now(),
            fleet,
            clients,
        }
    }

    /// Waits until all clients work at the leader, which has so many good replicas. Returns the leader of before.
    fn follows(&mut self, copies: usize) -> u16 {
        let before = self.leader;
        if std::mem::take(&mut self.changing) {
            self.leader = self.fleet.leader_after(before);
            self.passed("there is another leader");
        }
        self.all(&format!("leader {} {copies}", self.leader));
        self.passed("all have followed");
        before
    }

    /// All clients read at replicas what they wrote at the leader.
    fn reads(&mut self) {
        self.all("read");
        self.passed("all have read at replicas");
    }

    /// Does something to the leader; calls may fail from now on.
    fn changes(&mut self, what: &str, change: impl FnOnce(&mut Fleet, u16)) {
        let now = self.fleet.leader();
        assert_eq!(now, Some(self.leader), "unasked\n{}", self.fleet.told());
        self.all("change");
        self.passed(what);
        change(&mut self.fleet, self.leader);
        self.changing = true;
    }

    /// Tells all clients the same, and waits for all answers.
    fn all(&mut self, line: &str) {
        self.clients.iter_mut().for_each(|c| c.tell(line));
        self.clients.iter_mut().for_each(|c| c.answers(line));
    }

    fn passed(&self, what: &str) {
        println!("{:.1} s: {what}", self.begun.elapsed().as_secs_f32());
    }

    fn ends_well(self) {
        self.clients.into_iter().for_each(Program::ends_well);
    }
}
