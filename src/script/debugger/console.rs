//! What a client may tell the debugger.

use mlua::{Lua, Value};

use super::super::fault;
use super::super::slot::{Notes, Shared};
use super::CHUNK;
use super::show;
use crate::exec::Argv;
use crate::resp::ReplyBuf;

/// Lines that may be marked, as Redis has it.
const MARKS: usize = 64;

/// Lines shown on either side of one.
const AROUND: usize = 5;

const HELP: &[&str] = &[
    "Lua debugger help:",
    "[h]elp               Show this help.",
    "[s]tep, [n]ext       Run this line and stand still at the next.",
    "[c]ontinue           Run to the next break point.",
    "[l]ist [line] [ctx]  Show the code around a line, or around this one.",
    "[w]hole              Show all of the code.",
    "[p]rint [var]        Show a global variable, KEYS and ARGV among them.",
    "[b]reak              Show the break points.",
    "[b]reak <line> ...   Set break points; remove them with -<line>, all with 0.",
    "[t]race              Show where the script is.",
    "[e]val <code>        Run Lua code beside the script.",
    "[r]edis <cmd> ...    Call a command.",
    "[m]axlen [len]       Cut what is shown off behind so many bytes; 0 for never.",
    "[a]bort              End the script. What it has changed stays.",
];

/// What comes of an order.
pub(super) enum Said {
    /// It is answered so, and the script still stands.
    Lines(Vec<String>),
    /// The script goes on.
    GoOn,
    /// The script ends.
    Abort,
}

/// Where the script stands, and where it is to.
pub(super) struct Console {
    code: Vec<String>,
    line: usize,
    /// It stands still at the next line, whichever that is.
    steps: bool,
    marks: Vec<usize>,
    /// Where what is shown is cut off; 0 for nowhere.
    longest: usize,
}

impl Console {
    /// It stands still at the first line.
    pub(super) fn of(code: &[u8]) -> Console {
        let code = String::from_utf8_lossy(code);
        Console {
            code: code.split('\n').map(str::to_owned).collect(),
            line: 0,
            steps: true,
            marks: Vec::new(),
            longest: 256,
        }
    }

    /// A line is about to run: what is to be shown if the script stands still there, the commands before it first.
    pub(super) fn comes_to(&mut self, line: usize, shared: &Shared) -> Option<Vec<String>> {
        self.line = line;
        let is_marked = self.marks.contains(&line);
        let called = shared.lock().notes.as_mut().is_some_and(|notes| {
            notes.line = line;
            std::mem::take(&mut notes.stops)
        });
        if !self.steps && !is_marked && !called {
            return None;
        }
        self.steps = false;
        let why = match (called, is_marked) {
            (true, _) => "redis.breakpoint() called",
            (_, true) => "break point",
            _ => "step over",
        };
        let mut lines = self.called(shared);
        lines.push(format!("* Stopped at {line}, stop reason = {why}"));
        lines.push(self.source(line));
        Some(lines)
    }

    /// What the script has called since the last line that it stepped over, and what it has said.
    pub(super) fn called(&self, shared: &Shared) -> Vec<String> {
        let mut slot = shared.lock();
        let called = slot.run.as_mut().and_then(|run| run.called.take());
        let mut lines = self.calls(&called.unwrap_or_default());
        lines.extend(slot.notes.as_mut().map(Notes::take).unwrap_or_default());
        lines
    }

    /// Does what the client says.
    pub(super) fn obey(&mut self, lua: &Lua, shared: &Shared, words: &Argv) -> Said {
        let name = words.first().map(|word| word.to_ascii_lowercase());
        let rest = words.get(1..).unwrap_or_default();
        Said::Lines(match name.as_deref().unwrap_or_default() {
            b"s" | b"step" | b"n" | b"next" => {
                self.steps = true;
                if let Some(run) = &mut shared.lock().run {
                    run.called = Some(Vec::new());
                }
                return Said::GoOn;
            }
            b"c" | b"continue" => return Said::GoOn,
            b"a" | b"abort" => return Said::Abort,
            b"h" | b"help" => HELP.iter().map(|&line| line.to_owned()).collect(),
            b"l" | b"list" => {
                let number = |at: usize| rest.get(at).and_then(|word| number(word));
                let line = number(0).filter(|&n| n > 0);
                let around = number(1).map_or(AROUND, |n| usize::try_from(n).unwrap_or(0));
                self.list(
                    line.and_then(|n| n.try_into().ok()).unwrap_or(self.line),
                    around,
                )
            }
            b"w" | b"whole" => self.list(1, self.code.len()),
            b"b" | b"break" => self.mark(rest),
            b"t" | b"trace" => self.trace(lua),
            b"m" | b"maxlen" => self.cut(rest),
            b"p" | b"print" => self.print(lua, rest),
            b"e" | b"eval" => {
                let value = self.eval(lua, rest);
                let mut lines = self.called(shared);
                lines.push(value);
                lines
            }
            b"r" | b"redis" if !rest.is_empty() => self.call(shared, rest),
            _ => vec![
                "<error> Unknown Redis Lua debugger command or wrong number of arguments."
                    .to_owned(),
            ],
        })
    }

    fn source(&self, line: usize) -> String {
        let code = line.checked_sub(1).and_then(|at| self.code.get(at));
        let here = if line == self.line { "->" } else { "  " };
        let mark = if self.marks.contains(&line) { '#' } else { ' ' };
        let code = code.map_or("<out of range source code line>", String::as_str);
        format!("{here}{mark}{line:<3} {code}")
    }

    fn list(&self, line: usize, around: usize) -> Vec<String> {
        let first = line.saturating_sub(around).max(1);
        let last = line.saturating_add(around).min(self.code.len());
        (first..=last).map(|line| self.source(line)).collect()
    }

    fn mark(&mut self, words: &[Vec<u8>]) -> Vec<String> {
        if words.is_empty() {
            if self.marks.is_empty() {
                return vec!["No breakpoints set. Use 'b <line>' to add one.".to_owned()];
            }
            let head = format!("{} breakpoints set:", self.marks.len());
            let lines = self.marks.iter().map(|&line| self.source(line));
            return std::iter::once(head).chain(lines).collect();
        }
        words.iter().flat_map(|word| self.mark_one(word)).collect()
    }

    fn mark_one(&mut self, word: &[u8]) -> Vec<String> {
        let Some(given) = number(word) else {
            let word = String::from_utf8_lossy(word);
            return vec![format!("Invalid argument:'{word}'")];
        };
        let line = usize::try_from(given.unsigned_abs()).unwrap_or(usize::MAX);
        let text = match given {
            0 => {
                self.marks.clear();
                "All breakpoints removed."
            }
            ..0 => {
                let before = self.marks.len();
                self.marks.retain(|&mark| mark != line);
                match self.marks.len() < before {
                    true => "Breakpoint removed.",
                    false => "No breakpoint in the specified line.",
                }
            }
            _ if self.marks.len() == MARKS => "Too many breakpoints set.",
            _ if line > self.code.len() => "Wrong line number.",
            _ => {
                self.marks.push(line);
                return self.list(line, 1);
            }
        };
        vec![text.to_owned()]
    }

    /// Where the script is, from the inside out.
    fn trace(&self, lua: &Lua) -> Vec<String> {
        let frames = (0..).map_while(|level| {
            lua.inspect_stack(level, |frame| {
                let is_script = frame.source().source.as_deref() == Some(CHUNK);
                let name = frame.names().name.map(std::borrow::Cow::into_owned);
                frame
                    .current_line()
                    .filter(|_| is_script)
                    .map(|line| (name, line))
            })
        });
        let mut lines = Vec::new();
        for (name, line) in frames.flatten() {
            let from = if lines.is_empty() { "In" } else { "From" };
            lines.push(format!(
                "{from} {}:",
                name.as_deref().unwrap_or("top level")
            ));
            lines.push(self.source(line));
        }
        lines
    }

    fn cut(&mut self, words: &[Vec<u8>]) -> Vec<String> {
        if let [word] = words {
            let given = number(word).and_then(|n| usize::try_from(n).ok());
            self.longest = match given.unwrap_or(0) {
                0 => 0,
                given => given.max(60),
            };
        }
        vec![match self.longest {
            0 => "<value> replies are unlimited.".to_owned(),
            longest => format!("<value> replies are truncated at {longest} bytes."),
        }]
    }

    /// Local variables are out of reach: Lua shows them to its library `debug` only.
    fn print(&self, lua: &Lua, words: &[Vec<u8>]) -> Vec<String> {
        let value = |name: &[u8]| {
            lua.globals()
                .get::<Value>(lua.create_string(name).ok()?)
                .ok()
        };
        let shown = |value: &Value| self.short(show::value(value));
        match words {
            [] => ["KEYS", "ARGV"]
                .iter()
                .filter_map(|name| Some((name, value(name.as_bytes())?)))
                .map(|(name, value)| format!("<value> {name} = {}", shown(&value)))
                .collect(),
            [name, ..] => match value(name) {
                Some(value) if !value.is_nil() => vec![format!("<value> {}", shown(&value))],
                _ => vec!["No such variable.".to_owned()],
            },
        }
    }

    fn eval(&self, lua: &Lua, words: &[Vec<u8>]) -> String {
        let code = words.join(&b' ');
        let expression = [b"return ", &code[..]].concat();
        let load = |code: &[u8]| lua.load(code).set_name("@ldb_eval").into_function();
        let ended = load(&expression)
            .or_else(|_| load(&code))
            .and_then(|function| function.call::<Value>(()));
        match ended {
            Ok(value) => format!("<retval> {}", self.short(show::value(&value))),
            Err(e) => format!("<error> {}", String::from_utf8_lossy(&fault::text_of(&e))),
        }
    }

    fn call(&self, shared: &Shared, words: &[Vec<u8>]) -> Vec<String> {
        let argv: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let mut slot = shared.lock();
        let Some(run) = &mut slot.run else {
            return Vec::new();
        };
        run.called = Some(Vec::new());
        // Its reply tells what became of it.
        let _ = run.command(&argv, &mut ReplyBuf::default());
        let called = run.called.take().unwrap_or_default();
        self.calls(&called)
    }

    /// Commands and their replies.
    fn calls(&self, called: &[(Argv, Vec<u8>)]) -> Vec<String> {
        let shown = called.iter().flat_map(|(words, reply)| {
            let call = String::from_utf8_lossy(&words.join(&b' ')).into_owned();
            [
                format!("<redis> {}", self.short(call)),
                format!("<reply> {}", self.short(show::reply(reply))),
            ]
        });
        shown.collect()
    }

    fn short(&self, mut text: String) -> String {
        if self.longest > 0 && text.len() > self.longest {
            let end = (0..=self.longest)
                .rev()
                .find(|&at| text.is_char_boundary(at));
            text.truncate(end.unwrap_or(0));
            text.push_str(" ...");
        }
        text
    }
}

fn number(word: &[u8]) -> Option<i64> {
    std::str::from_utf8(word).ok()?.parse().ok()
}
