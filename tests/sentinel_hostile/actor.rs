//! A server or a sentinel that answers as it is told, on threads of its own.

use super::common::Reply;
use super::common::client::encode;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::eventually;

/// What it plays.
#[derive(Default)]
struct Part {
    /// The answers to commands, by name; what is not here is answered with OK.
    answers: HashMap<String, Vec<u8>>,
    /// The commands that have come.
    heard: Vec<Vec<String>>,
    /// Its connections, and those that have subscribed to something.
    lines: Vec<TcpStream>,
    subscribers: Vec<TcpStream>,
}

pub struct Actor {
    pub port: u16,
    part: Arc<Mutex<Part>>,
    over: Arc<AtomicBool>,
}

impl Actor {
    /// One that says that it leads.
    pub fn leader() -> Actor {
        Actor::saying("role:master\r\n")
    }

    /// One that says this when it is asked for INFO.
    pub fn saying(info: &str) -> Actor {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let actor = Actor {
            port,
            part: Arc::default(),
            over: Arc::default(),
        };
        actor.answers("PING", "+PONG\r\n");
        actor.answers("PUBLISH", ":1\r\n");
        actor.tells(info);
        let (part, over) = (Arc::clone(&actor.part), Arc::clone(&actor.over));
        thread::spawn(move || {
            for line in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                part.lock().unwrap().lines.push(line.try_clone().unwrap());
                let part = Arc::clone(&part);
                thread::spawn(move || converse(line, &part));
            }
        });
        actor
    }

    /// From now on a command is answered so; with nothing: not at all.
    pub fn answers(&self, command: &str, reply: impl Into<Vec<u8>>) {
        let mut part = self.part.lock().unwrap();
        part.answers.insert(command.into(), reply.into());
    }

    /// From now on this is what INFO says.
    pub fn tells(&self, info: impl AsRef<[u8]>) {
        let info = info.as_ref();
        let head = format!("${}\r\n", info.len());
        self.answers("INFO", [head.as_bytes(), info, b"\r\n"].concat());
    }

    /// Publishes something to whoever has subscribed.
    pub fn publishes(&self, message: &[u8]) {
        let words: [&[u8]; 3] = [b"message", super::CHANNEL.as_bytes(), message];
        let mut bytes = Vec::new();
        encode(&words, &mut bytes);
        self.says(&bytes);
    }

    /// Says something to whoever has subscribed, or does so soon.
    pub fn says(&self, bytes: &[u8]) {
        eventually("somebody subscribes", || {
            let mut part = self.part.lock().unwrap();
            part.subscribers
                .retain_mut(|line| line.write_all(bytes).is_ok());
            (!part.subscribers.is_empty()).then_some(())
        });
    }

    /// How often a command has come.
    pub fn heard(&self, command: &str) -> usize {
        let part = self.part.lock().unwrap();
        part.heard
            .iter()
            .filter(|words| words[0] == command)
            .count()
    }

    /// All that has come and begins with this word.
    pub fn commands(&self, command: &str) -> Vec<Vec<String>> {
        let part = self.part.lock().unwrap();
        let fits = part.heard.iter().filter(|words| words[0] == command);
        fits.cloned().collect()
    }

    /// Waits until a command has come so many times more, counted from now on.
    pub fn hears(&self, command: &str, more: usize) {
        let before = self.heard(command);
        eventually(command, || {
            (self.heard(command) >= before + more).then_some(())
        });
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.part.lock().unwrap().lines.len()
    }

    /// Drops all connections.
    pub fn hangs_up(&self) {
        let mut part = self.part.lock().unwrap();
        part.subscribers.clear();
        for line in &part.lines {
            let _ = line.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        self.hangs_up();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Answers until the other side hangs up.
fn converse(mut line: TcpStream, part: &Mutex<Part>) {
    let (mut heard, mut chunk) = (Vec::new(), [0; 16 * 1024]);
    let _ = line.set_write_timeout(Some(Duration::from_secs(20)));
    while let Ok(n @ 1..) = line.read(&mut chunk) {
        heard.extend(&chunk[..n]);
        while let Ok(Some((command, len))) = Reply::parse(&heard) {
            heard.drain(..len);
            let words: Vec<String> = command.items().iter().map(Reply::text).collect();
            if line.write_all(&answer(words, &line, part)).is_err() {
                return;
            }
        }
    }
}

fn answer(mut words: Vec<String>, line: &TcpStream, part: &Mutex<Part>) -> Vec<u8> {
    let mut part = part.lock().unwrap();
    words[0].make_ascii_uppercase();
    let name = words[0].clone();
    let channel = words.get(1).cloned().unwrap_or_default();
    part.heard.push(words);
    if let Some(answer) = part.answers.get(&name) {
        return answer.clone();
    }
    if name != "SUBSCRIBE" {
        return b"+OK\r\n".to_vec();
    }
    part.subscribers.push(line.try_clone().unwrap());
    let length = channel.len();
    format!("*3\r\n$9\r\nsubscribe\r\n${length}\r\n{channel}\r\n:1\r\n").into_bytes()
}
