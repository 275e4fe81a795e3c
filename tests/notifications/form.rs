//! The forms of `forms.txt`: how they are read and played.

use super::common::listener::{Listener, show};
use super::common::{Argv, Client, Reply, Server, notation};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long something may take that is bound to happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// One line of the file.
pub(crate) struct Form {
    pub(crate) line: &'static str,
    pub(crate) before: Vec<String>,
    pub(crate) calls: Vec<String>,
    /// The version that first knew it, if that is none of 7.0.
    pub(crate) since: Option<String>,
    /// What redis-server 7.0.15 tells of instead, and why.
    pub(crate) in_7_0: Option<(String, String)>,
}

/// All forms, by title.
pub(crate) fn all() -> Vec<(&'static str, Vec<Form>)> {
    let mut sections: Vec<(_, Vec<_>)> = Vec::new();
    for line in include_str!("forms.txt").lines() {
        if let Some(title) = line.strip_prefix("== ") {
            sections.push((title, Vec::new()));
        } else if !line.is_empty() && !line.starts_with('#') {
            let (_, forms) = sections.last_mut().expect("a title above");
            forms.push(Form::read(line));
        }
    }
    sections
}

impl Form {
    fn read(line: &'static str) -> Form {
        let (steps, mark) = match line.rsplit_once(" {") {
            Some((steps, mark)) => (steps, mark.strip_suffix('}').expect("the end of a mark")),
            None => (line, ""),
        };
        let (before, calls) = steps
            .split_once("=> ")
            .unwrap_or_else(|| panic!("no call in {line:?}"));
        let split = |text: &str| -> Vec<String> {
            let steps = text.split(" ; ").map(|s| s.trim().to_owned());
            steps.filter(|s| !s.is_empty()).collect()
        };
        let in_7_0 = mark.strip_prefix("7.0: ").map(|m| {
            let (events, why) = m.split_once("; ").expect("a reason");
            (events.to_owned(), why.to_owned())
        });
        let since = mark.strip_prefix("since ").map(str::to_owned);
        assert!(
            mark.is_empty() || since.is_some() || in_7_0.is_some(),
            "{line}"
        );
        Form {
            line,
            before: split(before),
            calls: split(calls),
            since,
            in_7_0,
        }
    }
}

/// The words of a step's command.
pub(crate) fn words(step: &str) -> Argv {
    notation::words(command(step).1).expect("words")
}

/// Who does a step, and the command.
fn command(step: &str) -> (&str, &str) {
    match step.split_once(' ') {
        Some((who, text)) if who.starts_with('@') => (who, text),
        Some((who, text)) if who.ends_with('>') => (who, text),
        _ => ("c1>", step),
    }
}

/// A server on which a form is played.
pub(crate) struct Stage<'a> {
    server: &'a Server,
    clients: BTreeMap<String, Client>,
    listener: Listener,
    last: Reply,
    heard: Vec<super::common::listener::Event>,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(server: &'a Server) -> Self {
        let mut admin = server.client();
        let switch = "DEBUG SET-ACTIVE-EXPIRE 0";
        for line in ["FLUSHALL", "SCRIPT FLUSH", "FUNCTION FLUSH", switch] {
            assert!(!admin.run(line).is_error(), "{line}");
        }
        Self {
            server,
            clients: BTreeMap::from([("c1>".to_owned(), admin)]),
            listener: Listener::new(server),
            last: Reply::Null,
            heard: Vec::new(),
        }
    }

    /// The events of the calls, and the code of the error if the last one fails.
    pub(crate) fn play(mut self, form: &Form) -> (String, Option<String>) {
        for step in &form.before {
            self.step(step);
            assert!(
                !self.last.is_error(),
                "{}: {:?}",
                form.line,
                self.last.text()
            );
        }
        self.listen();
        self.heard.clear();
        for step in &form.calls {
            self.step(step);
        }
        self.listen();
        let fault = match &self.last {
            Reply::Error(text) => {
                let text = String::from_utf8_lossy(text);
                text.split(' ').next().map(str::to_owned)
            }
            _ => None,
        };
        (show(&self.heard), fault)
    }

    fn listen(&mut self) {
        let heard = self.listener.heard().expect("the listener");
        self.heard.extend(heard);
    }

    fn step(&mut self, step: &str) {
        if let Some(name) = step.strip_prefix("!until ") {
            return self.await_event(name);
        }
        if let Some(ms) = step.strip_prefix('!') {
            let ms = ms.parse().expect("milliseconds");
            return std::thread::sleep(Duration::from_millis(ms));
        }
        let (who, text) = command(step);
        let mut argv = notation::words(text).expect("words");
        for word in argv.iter_mut().filter(|w| **w == b"$reply") {
            *word = self.last.bytes().to_vec();
        }
        let waits = who.ends_with('>') && who != "c1>";
        let waiting = waits.then(|| self.waiting());
        let client = self.client(who);
        client.send(&argv).expect("a connection");
        match waiting {
            None => self.last = client.reply().expect("a reply"),
            Some(before) => self.await_wait(who, before),
        }
    }

    fn client(&mut self, who: &str) -> &mut Client {
        let server = self.server;
        self.clients.entry(who.to_owned()).or_insert_with(|| {
            let mut client = server.client();
            if let Some(db) = who.strip_prefix('@') {
                client.run(&format!("SELECT {db}"));
            }
            client
        })
    }

    /// How many clients wait for a key.
    fn waiting(&mut self) -> String {
        let info = self.client("observer").run("INFO clients").text();
        let line = info.lines().find(|l| l.starts_with("blocked_clients:"));
        line.expect("a number").to_owned()
    }

    /// Waits until a client has its reply or waits, too.
    fn await_wait(&mut self, who: &str, before: String) {
        let start = Instant::now();
        while self.client(who).poll().expect("a connection").is_none() && self.waiting() == before {
            assert!(
                start.elapsed() < PATIENCE,
                "{who} neither waits nor gets a reply"
            );
        }
    }

    fn await_event(&mut self, name: &str) {
        let start = Instant::now();
        while !self.heard.iter().any(|e| e.name == name) {
            assert!(start.elapsed() < PATIENCE, "no event {name}");
            self.listen();
        }
    }
}
