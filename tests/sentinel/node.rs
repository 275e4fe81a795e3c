//! A server or a sentinel, and a client of it that connects anew when it was hung up on.

use super::common::{Client, Reply, argv};
use super::process::{Part, Port, Process};
use super::{Kind, until};
use std::io;
use std::time::{Duration, Instant};

pub struct Node {
    pub kind: Kind,
    pub part: Part,
    pub port: u16,
    _port: Port,
    pub process: Process,
    /// Neither killed nor frozen.
    pub lives: bool,
    /// What clients say first.
    pub password: Option<String>,
    c: Option<Client>,
}

/// What a server says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    Leader,
    Replica {
        of: u16,
        host: String,
        in_step: bool,
    },
    /// It does not say.
    Unknown(String),
}

impl Node {
    /// Starts it, and does not wait until it runs.
    pub fn launch(kind: Kind, part: Part, port: Port, lines: &[String]) -> Node {
        let mut lines = lines.to_vec();
        lines.insert(0, format!("port {}", port.number));
        if !lines.iter().any(|line| line.starts_with("bind ")) {
            lines.insert(1, "bind 127.0.0.1".to_owned());
        }
        let password = |line: &String| Some(line.strip_prefix("requirepass ")?.to_owned());
        Node {
            kind,
            part,
            port: port.number,
            _port: port,
            password: lines.iter().find_map(password),
            process: Process::start(kind, part, &lines),
            lives: true,
            c: None,
        }
    }

    /// Waits until it answers.
    pub fn is_ready(&mut self) {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            assert!(self.process.is_alive(), "it ends:\n{}", self.log(40));
            let hello = self.try_call(&["PING"]);
            if hello.is_ok_and(|reply| reply.text() == "PONG") {
                return;
            }
            assert!(Instant::now() < end, "it does not start:\n{}", self.log(40));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A connection of its own.
    pub fn client(&self) -> io::Result<Client> {
        let mut c = Client::connect(self.port)?;
        if let Some(password) = &self.password {
            c.call(&["AUTH", password])?;
        }
        Ok(c)
    }

    fn try_call(&mut self, words: &[impl AsRef<[u8]>]) -> io::Result<Reply> {
        let mut c = match self.c.take() {
            Some(c) => c,
            None => self.client()?,
        };
        let reply = c.call(words)?;
        self.c = Some(c);
        Ok(reply)
    }

    /// Runs a command, once more when the connection turns out to be closed: sentinels have servers hang up.
    pub fn call(&mut self, words: &[impl AsRef<[u8]>]) -> Reply {
        let first = self.try_call(words);
        first.or_else(|_| self.try_call(words)).unwrap_or_else(|e| {
            panic!("{} at {}: {e}\n{}", self.kind_of(), self.port, self.log(40))
        })
    }

    /// A command written as words separated by single spaces.
    pub fn run(&mut self, line: &str) -> Reply {
        self.call(&argv(line))
    }

    /// Runs two commands that come at once.
    pub fn both(&mut self, first: &str, second: &str) -> [Reply; 2] {
        let mut c = self.client().unwrap();
        let (replies, end) = c.pipeline(&[first, second].map(argv));
        end.unwrap();
        replies.try_into().unwrap()
    }

    /// Runs a command that must not fail.
    pub fn does(&mut self, line: &str) -> Reply {
        let reply = self.run(line);
        assert!(!reply.is_error(), "{line}: {}", reply.text());
        reply
    }

    /// A field of INFO, and nothing where there is none.
    pub fn info(&mut self, name: &str) -> String {
        let text = self.run("INFO").text();
        let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(':')?.to_owned());
        text.lines().find_map(value).unwrap_or_default()
    }

    pub fn role(&mut self) -> Role {
        let told = self.run("ROLE");
        let word = |n: usize| told.items().get(n).map(Reply::text).unwrap_or_default();
        match &*word(0) {
            "master" => Role::Leader,
            "slave" => Role::Replica {
                of: told.items()[2].int().unwrap_or_default() as u16,
                host: word(1),
                in_step: word(3) == "connected",
            },
            _ => Role::Unknown(told.text()),
        }
    }

    /// How far its data are.
    pub fn offset(&mut self) -> i64 {
        let told = self.run("ROLE");
        let at = if told.items()[0].bytes() == b"master" {
            1
        } else {
            4
        };
        told.items()[at].int().unwrap()
    }

    /// What a sentinel tells of its leader: a field of SENTINEL MASTER.
    pub fn field(&mut self, name: &str) -> String {
        let told = self.run("SENTINEL MASTER m");
        told.field(name).map(Reply::text).unwrap_or_default()
    }

    /// What a sentinel tells of all replicas, or of all other sentinels: some fields of each, in order.
    pub fn list(&mut self, what: &str, fields: &[&str]) -> Vec<Vec<String>> {
        let told = self.does(&format!("SENTINEL {what} m"));
        let of = |one: &Reply| {
            let field = |name: &&str| one.field(name).map(Reply::text).unwrap_or_default();
            fields.iter().map(field).collect::<Vec<String>>()
        };
        let mut all: Vec<_> = told.items().iter().map(of).collect();
        all.sort();
        all
    }

    /// Where a sentinel says that the leader is.
    pub fn address(&mut self) -> (String, u16) {
        let told = self.run("SENTINEL GET-MASTER-ADDR-BY-NAME m");
        let words: Vec<String> = told.items().iter().map(Reply::text).collect();
        match &words[..] {
            [host, port] => (host.clone(), port.parse().unwrap()),
            _ => (String::new(), 0),
        }
    }

    pub fn kill(&mut self) {
        self.lives = false;
        self.c = None;
        self.process.kill();
    }

    pub fn freeze(&mut self) {
        self.lives = false;
        self.process.freeze();
    }

    pub fn thaw(&mut self) {
        self.lives = true;
        self.c = None;
        self.process.signal("CONT");
    }

    /// Starts it again on what it has left.
    pub fn restart(&mut self) {
        self.restart_as(self.kind);
    }

    pub fn restart_as(&mut self, kind: Kind) {
        self.kind = kind;
        self.c = None;
        self.process.start_again(kind);
        self.lives = true;
        self.is_ready();
    }

    /// Ends it as it should be, and waits until it has ended.
    pub fn terminate(&mut self) {
        self.lives = false;
        self.c = None;
        self.process.signal("TERM");
        assert_eq!(self.process.end(), Some(0), "{}", self.log(40));
    }

    /// The lines of its configuration file.
    pub fn conf(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.process.conf()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    pub fn log(&self, lines: usize) -> String {
        self.process.log(lines)
    }

    /// Waits until its log has a line with this in it.
    pub fn logs(&self, text: &str) {
        until(&format!("a log line with {text:?}"), || {
            self.log(usize::MAX).contains(text)
        });
    }

    fn kind_of(&self) -> String {
        format!("{:?} {:?}", self.kind, self.part)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "---- {} at {}:\n{}",
                self.kind_of(),
                self.port,
                self.log(40)
            );
        }
    }
}
