//! The corpus of conversations in `tests/transcripts`, replayed against the server.
//!
//! Each file is a list of sections; a section is a conversation of one or more clients with an empty server.
//!
//! ```text
//! # a comment
//! ! server --proto-max-bulk-len 2mb      (before the first section: how to start the server)
//! ! sentinel monitor m 127.0.0.1 1 2     (in `sentinel/`: a line of its configuration)
//! == what the section shows              (may end in marks: {direct} {since 7.2})
//! c1> SET k "a value"                    a command of client c1 and its reply
//! +OK
//! c1> XREAD BLOCK 0 STREAMS s $          a command that blocks …
//! (waiting)
//! c2> XADD s 1-1 a 1
//! "1-1"
//! c1<                                    … and the reply that comes later
//! [["s" [["1-1" ["a" "1"]]]]]
//! c1>> "*1\r\n$4\r\nQUIT\r\n"            raw bytes; any number of replies
//! +OK
//! (closed)
//! c1> XREAD STREAMS s t 0                where redis-server 7.0.15 says something else, which later versions changed,
//! -ERR Unbalanced 'xread' list …         its reply stands below, marked
//! (7.0) -ERR Unbalanced XREAD list …
//! ! sleep 20                             milliseconds
//! ```
//! The notation of replies is that of `common/notation.rs`. In arguments `$c1` stands for the id of client c1, `$ms+50`
//! and `$s-10` for the Unix time in milliseconds and seconds plus an offset. `{direct}` sections make sense only as they
//! stand, not through a script or a transaction, `{noscript}` ones not through a script, `{encoding}` ones not where the
//! limits of the encodings are others; in `{expires}` ones keys must go by themselves. `{since …}` sections
//! show what redis-server 7.0.15 does not know; they are written by hand. All others are recorded: `RECORD=1 cargo test --test transcripts` runs them against a real
//! redis-server and writes its replies into the files (where a pattern already matches, the pattern stays).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]

mod common;
#[path = "transcripts/events.rs"]
mod events;
#[path = "transcripts/replica.rs"]
mod replica;
#[path = "transcripts/sentinel.rs"]
mod sentinel;

use common::client::Got;
use common::node::Node;
use common::notation::{self, Kind, Pattern};
use common::{Client, Reply, Server};
use redkeep::embed::{CallError, Message};
use redkeep::util::clock::{Clock, ManualClock};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How the commands of a section reach the server.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    /// As they stand.
    Plain,
    /// Each through `redis.pcall` in a script.
    Script,
    /// Each as the only command of a transaction.
    Multi,
    /// As they stand, to a server in this process and not through a socket.
    Inside,
    /// As they stand, to a server that uses the encoding for big values from the first element on.
    Tight,
}

const WAYS_OF_REDKEEP: &[Way] = &[Way::Plain, Way::Script, Way::Multi];

/// Limits at which every value takes the encoding for big ones.
const TIGHT: &[&str] = &[
    "hash-max-listpack-entries 0",
    "list-max-listpack-size 1",
    "list-compress-depth 1",
    "set-max-intset-entries 0",
    "set-max-listpack-entries 0",
    "zset-max-listpack-entries 0",
    "hll-sparse-max-bytes 0",
];
const WAYS_OF_REDIS: &[Way] = &[Way::Plain, Way::Script, Way::Multi];

#[test]
fn redkeep_gives_the_recorded_replies() {
    run_corpus(false, |file| {
        let mut server = Server::redkeep(&file.server_args());
        let mut report = String::new();
        for way in WAYS_OF_REDKEEP {
            for section in file.sections.iter().filter(|s| s.goes(*way)) {
                report += &replay(&server, section, *way, None);
                if !server.alive() {
                    _ = writeln!(
                        report,
                        "the server died in {:?}:\n{}",
                        section.title,
                        server.log()
                    );
                    server = Server::redkeep(&file.server_args());
                }
            }
        }
        report
    });
}

#[test]
fn redkeep_gives_the_recorded_replies_whatever_the_encoding() {
    run_corpus(false, |file| {
        let server = Server::redkeep(&file.server_args());
        let sections = file.sections.iter().filter(|s| s.goes(Way::Tight));
        sections
            .map(|s| replay(&server, s, Way::Tight, None))
            .collect()
    });
}

#[test]
fn redkeep_gives_the_same_replies_inside_of_a_process() {
    run_corpus(false, |file| {
        let pairs = file
            .server
            .chunks(2)
            .map(|p| (p[0].trim_start_matches("--"), p[1].as_str()));
        let builder = pairs.fold(redkeep::Server::builder(), |b, (name, value)| {
            b.config(name, value)
        });
        let server = builder.start().unwrap();
        let sections = file.sections.iter().filter(|s| s.goes(Way::Inside));
        let report = sections.map(|s| replay_inside(&server, s)).collect();
        server.shutdown();
        report
    });
}

/// What a section did, done again in other ways: by applying its effects, and by moving each key with DUMP and RESTORE.
#[test]
fn what_a_section_did_can_be_done_again() {
    run_corpus(false, |file| {
        let mut report = String::new();
        let sections = file.sections.iter().filter(|s| !s.direct);
        for (seed, section) in (0..).zip(sections) {
            let clock = Arc::new(ManualClock::at_ms(now_ms()));
            let mut leader = Node::new(clock.clone(), seed);
            let mut follower = Node::new(clock.clone(), seed + 1);
            let mut moved = Node::new(clock.clone(), seed + 2);
            leader.engine.collect_effects(true);
            let mut whole = Vec::new();
            for step in &section.steps {
                match &step.act {
                    Act::Sleep(ms) => {
                        clock.advance_ms(*ms as i64);
                        leader.engine.tick();
                    }
                    Act::Command(args) => {
                        let args = args
                            .iter()
                            .map(|a| with_times(a).unwrap_or_else(|| a.clone()));
                        leader.run_named(&step.client, &args.collect::<Vec<_>>());
                    }
                    Act::Raw(_) | Act::Receive => unreachable!("such sections are direct"),
                }
                let effects = leader.engine.take_effects();
                follower.follow(&effects);
                whole.extend(effects);
            }
            leader.restore_into(&mut moved);
            let wanted = leader.contents();
            let (_, _, later) = Node::later(&whole, seed + 3, clock.now_ms());
            for (how, got) in [
                ("effects", follower.contents()),
                ("effects, replayed later,", later),
                ("DUMP", moved.contents()),
            ] {
                if wanted != got {
                    _ = writeln!(
                        report,
                        "{} {:?} by {how}\n  expected {wanted:#?}\n  got      {got:#?}",
                        section.place, section.title
                    );
                }
            }
        }
        report
    });
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(0))
}

#[test]
fn the_corpus_is_what_a_real_redis_says() {
    let record = std::env::var_os("RECORD").is_some();
    run_corpus(true, |file| {
        let Some(server) = Server::redis(&file.server_args()) else {
            return String::new();
        };
        let mut report = String::new();
        let mut fixes = Vec::new();
        for way in if record { &[Way::Plain] } else { WAYS_OF_REDIS } {
            for section in file
                .sections
                .iter()
                .filter(|s| s.goes(*way) && s.since.is_none())
            {
                let fix = if record { Some(&mut fixes) } else { None };
                report += &replay(&server, section, *way, fix);
            }
        }
        if !fixes.is_empty() {
            file.rewrite(&fixes);
        }
        report
    });
}

#[test]
fn the_notation_reads_what_it_writes() {
    let reply = Reply::Array(vec![
        Reply::Int(-3),
        Reply::bulk(b"a \"b\"\n\xff"),
        Reply::Error(b"ERR some text".to_vec()),
        Reply::ok(),
        Reply::Map(vec![(
            Reply::bulk("k"),
            Reply::Set(vec![Reply::Null, Reply::Bool(true)]),
        )]),
        Reply::Array(vec![
            Reply::NullBulk,
            Reply::NullArray,
            Reply::Double("1.5".into()),
        ]),
        Reply::Verbatim("txt".into(), b"x".to_vec()),
    ]);
    let text = notation::render(&reply);
    let pattern = notation::parse(&text).unwrap();
    assert!(pattern.matches(&reply), "{text}");
    let loose = notation::parse("[~:-5..0 ~\"a *\\n*\" ~-ERR* ...]").unwrap();
    assert!(loose.matches(&reply));
    assert!(
        notation::parse("~[:2 :1]")
            .unwrap()
            .matches(&Reply::Array(vec![Reply::Int(1), Reply::Int(2)]))
    );
    assert!(
        !notation::parse("~[:2 :2]")
            .unwrap()
            .matches(&Reply::Array(vec![Reply::Int(1), Reply::Int(2)]))
    );
}

// ---- Files -----------------------------------------------------------------------------------------------------------

/// Marks a line of a reply that only redis-server 7.0.15 gives.
const MARK_7_0: &str = "(7.0) ";

struct File {
    path: PathBuf,
    lines: Vec<String>,
    server: Vec<String>,
    /// Lines of the configuration of a sentinel.
    sentinel: Vec<String>,
    sections: Vec<Section>,
}

struct Section {
    place: String,
    title: String,
    direct: bool,
    noscript: bool,
    encoding: bool,
    expires: bool,
    since: Option<String>,
    steps: Vec<Step>,
}

struct Step {
    line: usize,
    client: String,
    act: Act,
    expect: Vec<Expect>,
    /// What redis-server 7.0.15 says, where that is something else.
    expect_7_0: Vec<Expect>,
    /// Whether `expect` holds what only 7.0.15 says.
    marked: bool,
    /// The lines that hold the expectation, and their text.
    span: std::ops::Range<usize>,
    text: String,
}

#[derive(PartialEq)]
enum Act {
    Command(Vec<Vec<u8>>),
    Raw(Vec<u8>),
    Receive,
    Sleep(u64),
}

#[derive(Clone, PartialEq, Debug)]
enum Expect {
    Reply(Pattern),
    Waiting,
    Closed,
}

impl Section {
    fn goes(&self, way: Way) -> bool {
        match way {
            Way::Plain => true,
            Way::Script => !self.direct && !self.noscript,
            Way::Multi => !self.direct,
            Way::Inside => !self.direct || self.listens(),
            Way::Tight => !self.encoding && !self.steps.iter().any(Step::shows_storage),
        }
    }
}

impl Section {
    /// Whether what its clients get without asking is all that keeps it from other ways than the plain one.
    fn listens(&self) -> bool {
        let can_be_called = |step: &Step| match &step.act {
            Act::Raw(_) => false,
            Act::Command(args) => {
                !step.expect.contains(&Expect::Waiting)
                    && !step.expect.contains(&Expect::Closed)
                    && !step.is(&["MONITOR"])
                    && !args.iter().any(|a| a.starts_with(b"$c"))
            }
            Act::Receive | Act::Sleep(_) => true,
        };
        self.steps.iter().any(Step::subscribes) && self.steps.iter().all(can_be_called)
    }
}

impl File {
    fn load(path: &Path) -> File {
        let text = fs::read_to_string(path).unwrap();
        let mut file = File {
            path: path.to_owned(),
            lines: text.lines().map(str::to_owned).collect(),
            server: Vec::new(),
            sentinel: Vec::new(),
            sections: Vec::new(),
        };
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut i = 0;
        while i < file.lines.len() {
            let line = file.lines[i].clone();
            let place = format!("{name}:{}", i + 1);
            i += 1;
            if let Some(title) = line.strip_prefix("== ") {
                file.sections.push(Section::titled(&place, title));
                continue;
            }
            if let Some(args) = line.strip_prefix("! server ") {
                file.server = args.split(' ').map(str::to_owned).collect();
                continue;
            }
            if let Some(line) = line.strip_prefix("! ")
                && line.starts_with("sentinel ")
            {
                file.sentinel.push(line.to_owned());
                continue;
            }
            if is_pause(&line) {
                continue;
            }
            let mut step = Step::read(&line, i).unwrap_or_else(|e| panic!("{place}: {e}"));
            let from = i;
            while i < file.lines.len() && !is_pause(&file.lines[i]) && !is_head(&file.lines[i]) {
                i += 1;
            }
            step.span = from..i;
            step.text = file.lines[from..i].join("\n");
            let (old, new): (Vec<_>, Vec<_>) = file.lines[from..i]
                .iter()
                .partition(|l| l.starts_with(MARK_7_0));
            let old: Vec<_> = old.iter().map(|l| l[MARK_7_0.len()..].to_owned()).collect();
            let read =
                |lines: &[String]| expectations(lines).unwrap_or_else(|e| panic!("{place}: {e}"));
            step.expect = read(&new.into_iter().cloned().collect::<Vec<_>>());
            step.expect_7_0 = read(&old);
            file.sections
                .last_mut()
                .unwrap_or_else(|| panic!("{place}: no section"))
                .steps
                .push(step);
        }
        for s in &mut file.sections {
            s.direct |= s.steps.iter().any(Step::only_direct);
        }
        file
    }

    fn expect_what_7_0_says(&mut self) {
        for step in self.sections.iter_mut().flat_map(|s| &mut s.steps) {
            if !step.expect_7_0.is_empty() {
                step.expect = std::mem::take(&mut step.expect_7_0);
                step.marked = true;
            }
        }
    }

    fn server_args(&self) -> Vec<&str> {
        self.server.iter().map(String::as_str).collect()
    }

    fn rewrite(&self, fixes: &[(std::ops::Range<usize>, String)]) {
        let by_start: BTreeMap<usize, _> =
            fixes.iter().map(|(r, t)| (r.start, (r.end, t))).collect();
        let mut out = String::new();
        let mut i = 0;
        while i <= self.lines.len() {
            if let Some((end, text)) = by_start.get(&i) {
                out += text;
                if *end > i {
                    i = *end;
                    continue;
                }
            }
            if let Some(line) = self.lines.get(i) {
                out += line;
                out.push('\n');
            }
            i += 1;
        }
        fs::write(&self.path, out).unwrap();
        println!(
            "recorded {} replies in {}",
            fixes.len(),
            self.path.display()
        );
    }
}

fn is_pause(line: &str) -> bool {
    line.is_empty() || line == "#" || line.starts_with("# ")
}

fn is_head(line: &str) -> bool {
    let name = line.bytes().take_while(u8::is_ascii_alphanumeric).count();
    line.starts_with("== ")
        || line.starts_with("! ")
        || (name > 0 && line[name..].starts_with(['>', '<']))
}

impl Section {
    fn titled(place: &str, text: &str) -> Section {
        let (title, marks) = text.split_once('{').unwrap_or((text, ""));
        Section {
            place: place.to_owned(),
            title: title.trim().to_owned(),
            direct: marks.contains("direct"),
            noscript: marks.contains("noscript"),
            encoding: marks.contains("encoding"),
            expires: marks.contains("expires"),
            since: marks
                .split_once("since ")
                .map(|(_, v)| v.trim_end_matches('}').to_owned()),
            steps: Vec::new(),
        }
    }
}

impl Step {
    fn read(line: &str, number: usize) -> Result<Step, String> {
        let step = |client: &str, act| Step {
            line: number,
            client: client.into(),
            act,
            expect: Vec::new(),
            expect_7_0: Vec::new(),
            marked: false,
            span: 0..0,
            text: String::new(),
        };
        if let Some(ms) = line.strip_prefix("! sleep ") {
            return Ok(step(
                "",
                Act::Sleep(ms.parse().map_err(|e| format!("{e}"))?),
            ));
        }
        if let Some((client, text)) = line.split_once(">> ") {
            return Ok(step(client, Act::Raw(notation::words(text)?.concat())));
        }
        if let Some((client, text)) = line.split_once("> ") {
            return Ok(step(client, Act::Command(notation::words(text)?)));
        }
        match line.strip_suffix('<') {
            Some(client) => Ok(step(client, Act::Receive)),
            None => Err(format!("what is {line:?}?")),
        }
    }

    fn is(&self, names: &[&str]) -> bool {
        let Act::Command(args) = &self.act else {
            return false;
        };
        let name = args.first().map(|a| a.to_ascii_uppercase());
        names.iter().any(|n| name.as_deref() == Some(n.as_bytes()))
    }

    /// Whether it makes what follows another conversation: with a subscriber.
    fn subscribes(&self) -> bool {
        self.is(&["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"])
    }

    /// Whether the reply tells how a value is stored.
    fn shows_storage(&self) -> bool {
        self.is(&["DUMP", "DEBUG", "PFDEBUG", "MEMORY", "XINFO"])
    }

    /// Whether the order of the reply is that of the encoding.
    fn has_an_order_of_its_own(&self) -> bool {
        const NAMES: &[&str] = &[
            "HGETALL", "HKEYS", "HVALS", "HSCAN", "SMEMBERS", "SINTER", "SUNION", "SDIFF", "SSCAN",
            "ZSCAN", "SORT", "SORT_RO",
        ];
        self.is(NAMES)
    }

    fn only_direct(&self) -> bool {
        let resp3 = |args: &[Vec<u8>]| {
            args.first()
                .is_some_and(|a| a.eq_ignore_ascii_case(b"HELLO"))
        };
        match &self.act {
            Act::Raw(_) | Act::Receive => true,
            Act::Command(args) => {
                resp3(args) || self.subscribes() || self.expect.contains(&Expect::Waiting)
            }
            Act::Sleep(_) => false,
        }
    }
}

fn expectations(lines: &[String]) -> Result<Vec<Expect>, String> {
    let mut out = Vec::new();
    let mut pending = String::new();
    for line in lines {
        match line.as_str() {
            "(waiting)" => out.push(Expect::Waiting),
            "(closed)" => out.push(Expect::Closed),
            _ => {
                pending += line;
                pending.push('\n');
                if balanced(&pending) {
                    out.push(Expect::Reply(notation::parse(&pending)?));
                    pending.clear();
                }
            }
        }
    }
    if pending.is_empty() {
        Ok(out)
    } else {
        notation::parse(&pending).map(|_| out)
    }
}

/// Whether all brackets outside of quotes are closed.
fn balanced(text: &str) -> bool {
    if text.starts_with(['+', '-']) || text.starts_with("~+") || text.starts_with("~-") {
        return true;
    }
    let (mut depth, mut quoted, mut escaped) = (0i32, false, false);
    for b in text.bytes() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth -= 1,
            _ => {}
        }
    }
    depth <= 0 && !quoted
}

/// Runs every file of the corpus, two at a time, and fails with all of their reports.
fn run_corpus(old: bool, run: impl Fn(&File) -> String + Sync) {
    run_corpus_of("tests/transcripts", old, run);
}

fn run_corpus_of(dir: &str, old: bool, run: impl Fn(&File) -> String + Sync) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let only = std::env::var("TRANSCRIPT").ok();
    let mut paths: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "resp"));
    paths.retain(|p| {
        only.as_deref()
            .is_none_or(|o| p.to_string_lossy().contains(o))
    });
    paths.sort();
    assert!(!paths.is_empty());
    let next = std::sync::atomic::AtomicUsize::new(0);
    let reports = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|s| {
        for _ in 0..4 {
            let name = std::thread::current().name().unwrap_or("").to_owned();
            let work = || {
                while let Some(p) =
                    paths.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    let mut file = File::load(p);
                    if old {
                        file.expect_what_7_0_says();
                    }
                    let report = run(&file);
                    if !report.is_empty() {
                        reports.lock().unwrap().push((p.clone(), report));
                    }
                }
            };
            std::thread::Builder::new()
                .name(name)
                .spawn_scoped(s, work)
                .unwrap();
        }
    });
    let mut reports = reports.into_inner().unwrap();
    reports.sort();
    let text: String = reports.into_iter().map(|(_, r)| r).collect();
    assert!(
        text.is_empty(),
        "{} differences\n\n{text}",
        text.matches("\n  expected").count()
    );
}

// ---- Replay ----------------------------------------------------------------------------------------------------------

type Fixes = Vec<(std::ops::Range<usize>, String)>;

/// What makes a server as good as new. Clients of the section before may still be there: their connections have ended, and
/// the server has not seen it yet.
const RESET: [&str; 9] = [
    "ACL SETUSER default on nopass allkeys allchannels allcommands",
    "ACL DELUSER alice bob carol",
    "ACL LOG RESET",
    "CLIENT KILL TYPE pubsub",
    "CLIENT UNPAUSE",
    "FLUSHALL",
    "SCRIPT FLUSH",
    "FUNCTION FLUSH",
    "CONFIG RESETSTAT",
];

/// How long a reply may take.
const PATIENCE: Duration = Duration::from_secs(5);

struct Stage<'a> {
    server: &'a Server,
    clients: BTreeMap<String, (Client, i64)>,
}

impl Stage<'_> {
    fn client(&mut self, name: &str) -> std::io::Result<&mut (Client, i64)> {
        if !self.clients.contains_key(name) {
            let mut c = Client::connect(self.server.port)?;
            c.send(&["CLIENT", "ID"])?;
            let Got::Reply(id) = c.receive(PATIENCE)? else {
                return Err(std::io::Error::other(format!(
                    "{name} connects and gets no reply"
                )));
            };
            self.clients
                .insert(name.to_owned(), (c, id.int().unwrap_or(-1)));
        }
        Ok(self.clients.get_mut(name).expect("it is there"))
    }

    /// Fills `$c1`, `$ms+n` and `$s+n` in.
    fn fill(&mut self, arg: &[u8]) -> Vec<u8> {
        let id = arg
            .strip_prefix(b"$c")
            .filter(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit));
        if id.is_some() {
            let name = String::from_utf8_lossy(&arg[1..]).into_owned();
            return self
                .client(&name)
                .map_or(-1, |c| c.1)
                .to_string()
                .into_bytes();
        }
        with_times(arg).unwrap_or_else(|| arg.to_vec())
    }
}

/// The time that `$ms+n` or `$s+n` stands for.
fn with_times(arg: &[u8]) -> Option<Vec<u8>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let text = std::str::from_utf8(arg).ok()?.strip_prefix('$')?;
    let (base, offset) = match text.strip_prefix("ms") {
        Some(offset) => (now.as_millis(), offset),
        None => (now.as_secs().into(), text.strip_prefix('s')?),
    };
    Some(
        (base as i128 + offset.parse::<i128>().ok()?)
            .to_string()
            .into_bytes(),
    )
}

/// Plays one section and reports what differs. With `fixes` it takes the replies for granted and notes them instead.
fn replay(server: &Server, section: &Section, way: Way, fixes: Option<&mut Fixes>) -> String {
    let mut admin = server.client();
    for line in RESET {
        admin.run(line);
    }
    if way == Way::Tight {
        for limit in TIGHT {
            admin.run(&format!("CONFIG SET {limit}"));
        }
    }
    replay_new(server, section, way, fixes)
}

/// The same with a server that is as good as new.
fn replay_new(
    server: &Server,
    section: &Section,
    way: Way,
    mut fixes: Option<&mut Fixes>,
) -> String {
    let mut report = String::new();
    let mut stage = Stage {
        server,
        clients: BTreeMap::new(),
    };
    for step in &section.steps {
        let got = match play(&mut stage, step, way) {
            Ok(got) => got,
            Err(e) => {
                _ = writeln!(
                    report,
                    "{} line {} ({:?}): {e}",
                    section.place, step.line, way
                );
                break;
            }
        };
        let tight = way == Way::Tight;
        if agrees(&step.expect, &got, way)
            || tight && step.has_an_order_of_its_own() && agrees_in_any_order(&step.expect, &got)
            || tight && step.is(&["OBJECT"])
        {
            continue;
        }
        if let (Some(fixes), false) = (fixes.as_deref_mut(), step.marked) {
            fixes.push((
                step.span.clone(),
                got.iter().map(|g| show(g) + "\n").collect(),
            ));
            continue;
        }
        let got: Vec<_> = got.iter().map(show).collect();
        _ = writeln!(
            report,
            "{} {:?} line {} ({way:?})\n  command  {}\n  expected {}\n  got      {}",
            section.place,
            section.title,
            step.line,
            describe(&step.act),
            step.text.replace('\n', "\n           "),
            got.join("\n").replace('\n', "\n           ")
        );
        if got.iter().any(|g| g == "(closed)" || g == "(waiting)") {
            break;
        }
    }
    report
}

/// Plays a section through clients of a server in this process.
fn replay_inside(server: &redkeep::Server, section: &Section) -> String {
    let mut report = String::new();
    let mut clients: BTreeMap<&str, redkeep::Client> = BTreeMap::new();
    let mut admin = server.client().unwrap();
    for line in RESET {
        admin.call(line.split(' ')).unwrap();
    }
    for step in &section.steps {
        if let Act::Sleep(ms) = &step.act {
            std::thread::sleep(Duration::from_millis(*ms));
            continue;
        }
        let client = clients
            .entry(&step.client)
            .or_insert_with(|| server.client().unwrap());
        let got = play_inside(client, step);
        if !matches!(&got, Ok(got) if agrees(&step.expect, got, Way::Inside)) {
            let got = match got {
                Ok(got) => got.iter().map(show).collect::<Vec<_>>().join("\n"),
                Err(e) => e.to_string(),
            };
            _ = writeln!(
                report,
                "{} {:?} line {} (Inside)\n  command  {}\n  expected {}\n  got      {got}",
                section.place,
                section.title,
                step.line,
                describe(&step.act),
                step.text
            );
        }
    }
    report
}

/// How long silence must last to count as waiting.
const SILENCE: Duration = Duration::from_millis(60);

/// Calls, and fetches what else is expected; or only that.
fn play_inside(client: &mut redkeep::Client, step: &Step) -> Result<Vec<Got>, CallError> {
    let mut got = Vec::new();
    if let Act::Command(args) = &step.act {
        let filled = args
            .iter()
            .map(|a| with_times(a).unwrap_or_else(|| a.clone()));
        got.push(Got::Reply(reply_of(client.call(filled)?)));
    }
    while got.len() < step.expect.len() {
        let wanted = &step.expect[got.len()];
        let patience = match wanted {
            Expect::Waiting => SILENCE,
            _ => PATIENCE,
        };
        got.push(match client.next_message(Some(patience)) {
            Ok(Some(Message::Other(value))) => Got::Reply(reply_of(value)),
            Ok(Some(message)) => Got::Reply(published(message, wanted)),
            Ok(None) => Got::Nothing,
            Err(CallError::Closed) => Got::Closed,
            Err(e) => return Err(e),
        });
    }
    Ok(got)
}

/// A message as it is on the wire, as an array or a push: whichever is expected.
fn published(message: Message, expect: &Expect) -> Reply {
    let Message::Published {
        pattern,
        channel,
        text,
        shard,
    } = message
    else {
        panic!("{message:?}");
    };
    let mut words = match (pattern, shard) {
        (Some(pattern), _) => vec![b"pmessage".to_vec(), pattern],
        (None, true) => vec![b"smessage".to_vec()],
        (None, false) => vec![b"message".to_vec()],
    };
    words.extend([channel, text]);
    let words: Vec<Reply> = words.iter().map(Reply::bulk).collect();
    let push = Reply::Push(words.clone());
    match expect {
        Expect::Reply(pattern) if pattern.matches(&push) => push,
        _ => Reply::Array(words),
    }
}

/// A value of the library as the reply that it is on the wire.
fn reply_of(value: redkeep::Value) -> Reply {
    use redkeep::Value;
    match value {
        Value::Null => Reply::NullBulk,
        Value::NullArray => Reply::NullArray,
        Value::Simple(b) => Reply::Simple(b),
        Value::Error(b) => Reply::Error(b),
        Value::Int(n) => Reply::Int(n),
        Value::Bulk(b) => Reply::Bulk(b),
        Value::Array(v) => Reply::Array(v.into_iter().map(reply_of).collect()),
        Value::Push(v) => Reply::Push(v.into_iter().map(reply_of).collect()),
        Value::Map(pairs) => {
            let pairs = pairs.into_iter();
            Reply::Map(pairs.map(|(k, v)| (reply_of(k), reply_of(v))).collect())
        }
        Value::Verbatim(format, text) => {
            Reply::Verbatim(String::from_utf8_lossy(&format).into_owned(), text)
        }
        other => panic!("not known here: {other:?}"),
    }
}

fn describe(act: &Act) -> String {
    match act {
        Act::Command(args) => args
            .iter()
            .map(|a| notation::quote(a))
            .collect::<Vec<_>>()
            .join(" "),
        Act::Raw(bytes) => notation::quote(bytes),
        Act::Receive => "(the reply that was waited for)".into(),
        Act::Sleep(ms) => format!("sleep {ms}"),
    }
}

fn show(got: &Got) -> String {
    match got {
        Got::Reply(r) => notation::render(r),
        Got::Nothing => "(waiting)".into(),
        Got::Closed => "(closed)".into(),
    }
}

fn play(stage: &mut Stage<'_>, step: &Step, way: Way) -> std::io::Result<Vec<Got>> {
    let first = match step.expect.as_slice() {
        [] => Duration::from_millis(400),
        [Expect::Waiting] => SILENCE,
        _ => PATIENCE,
    };
    match &step.act {
        Act::Sleep(ms) => {
            std::thread::sleep(Duration::from_millis(*ms));
            Ok(Vec::new())
        }
        Act::Command(args) => {
            let args: Vec<_> = args.iter().map(|a| stage.fill(a)).collect();
            let (client, _) = stage.client(&step.client)?;
            match way {
                Way::Plain | Way::Inside | Way::Tight => client.send(&args)?,
                // A database selected inside a script lasts only as long as the script.
                Way::Script if args[0].eq_ignore_ascii_case(b"SELECT") => client.send(&args)?,
                Way::Script => {
                    let mut wrapped: Vec<Vec<u8>> = vec![
                        b"EVAL".into(),
                        b"return redis.pcall(unpack(ARGV))".into(),
                        b"0".into(),
                    ];
                    wrapped.extend(args);
                    client.send(&wrapped)?;
                }
                Way::Multi => return in_transaction(client, &args),
            }
            receive(client, first, step)
        }
        Act::Raw(bytes) => {
            let (client, _) = stage.client(&step.client)?;
            // The server may close before it has read everything.
            let _ = client.send_raw(bytes);
            if step.expect.is_empty() {
                let mut got = Vec::new();
                loop {
                    got.push(client.receive(SILENCE)?);
                    match got.last() {
                        Some(Got::Nothing) if got.len() > 1 => {
                            got.pop();
                            return Ok(got);
                        }
                        Some(Got::Nothing | Got::Closed) => return Ok(got),
                        _ => {}
                    }
                }
            }
            receive(client, first, step)
        }
        Act::Receive => {
            let (client, _) = stage.client(&step.client)?;
            let patience = match step.expect.as_slice() {
                [Expect::Waiting] => SILENCE,
                _ => PATIENCE,
            };
            receive(client, patience, step)
        }
    }
}

/// As many replies as the step expects, one at least.
fn receive(client: &mut Client, first: Duration, step: &Step) -> std::io::Result<Vec<Got>> {
    let mut got = vec![client.receive(first)?];
    while got.len() < step.expect.len() && matches!(got.last(), Some(Got::Reply(_))) {
        let silence = step.expect[got.len()] == Expect::Waiting;
        got.push(client.receive(Duration::from_millis(if silence { 60 } else { 5000 }))?);
    }
    Ok(got)
}

fn in_transaction(client: &mut Client, args: &[Vec<u8>]) -> std::io::Result<Vec<Got>> {
    client.call(&["MULTI"])?;
    let queued = client.call(args)?;
    let mut result = client.call(&["EXEC"])?;
    if queued.is_error() {
        return Ok(vec![Got::Reply(queued)]);
    }
    if let Reply::Array(items) = &mut result
        && items.len() == 1
    {
        result = items.remove(0);
    }
    Ok(vec![Got::Reply(result)])
}

fn agrees(expect: &[Expect], got: &[Got], way: Way) -> bool {
    expect.len() == got.len()
        && expect.iter().zip(got).all(|(e, g)| match (e, g) {
            (Expect::Reply(p), Got::Reply(r)) => match way {
                Way::Script => through_lua(p).matches(r),
                Way::Inside => p.matches(r) || p.matches(&with_null(r)),
                _ => p.matches(r),
            },
            (Expect::Waiting, Got::Nothing) | (Expect::Closed, Got::Closed) => true,
            _ => false,
        })
}

/// A reply with the null of RESP3, which values do not tell from that of RESP2.
fn with_null(reply: &Reply) -> Reply {
    match reply {
        Reply::NullBulk => Reply::Null,
        Reply::Array(items) => Reply::Array(items.iter().map(with_null).collect()),
        Reply::Push(items) => Reply::Push(items.iter().map(with_null).collect()),
        other => other.clone(),
    }
}

fn agrees_in_any_order(expect: &[Expect], got: &[Got]) -> bool {
    matches!((expect, got), ([Expect::Reply(p)], [Got::Reply(r)]) if in_any_order(p).matches(r))
}

/// The same elements in any order, however deep.
fn in_any_order(p: &Pattern) -> Pattern {
    match p {
        Pattern::Seq {
            kind, items, open, ..
        } => Pattern::Seq {
            kind: *kind,
            items: items.iter().map(in_any_order).collect(),
            any_order: true,
            open: *open,
        },
        other => other.clone(),
    }
}

/// What becomes of a RESP2 reply on its way through Lua: every null is `false` and comes back as a null bulk string, and
/// integers are doubles.
fn through_lua(p: &Pattern) -> Pattern {
    const EXACT: i64 = 1 << 53;
    match p {
        Pattern::Exact(Reply::NullArray) => Pattern::Exact(Reply::NullBulk),
        Pattern::Exact(Reply::Int(n)) if !(-EXACT..=EXACT).contains(n) => {
            Pattern::Int(i64::MIN, i64::MAX)
        }
        Pattern::Exact(Reply::Error(e)) if e.starts_with(b"ERR wrong number of arguments") => {
            let text = b"ERR Wrong number of args calling Redis command from script".to_vec();
            let here = Pattern::Exact(Reply::Error(text));
            Pattern::Either(Box::new(p.clone()), Box::new(here))
        }
        Pattern::Exact(Reply::Error(e))
            if e.starts_with(b"ERR unknown ") && !e.windows(9).any(|w| w == b"or wrong ") =>
        {
            Pattern::Exact(Reply::Error(
                b"ERR Unknown Redis command called from script".to_vec(),
            ))
        }
        Pattern::Seq {
            kind: Kind::Array,
            items,
            any_order,
            open,
        } => Pattern::Seq {
            kind: Kind::Array,
            items: items.iter().map(through_lua).collect(),
            any_order: *any_order,
            open: *open,
        },
        other => other.clone(),
    }
}
