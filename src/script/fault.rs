//! Errors that scripts raise and see, and how they read on the wire.

use mlua::{Error, Lua, Table, Value};

use crate::exec::CmdError;

/// The chunk name of prelude.lua. Positions in it mean nothing to a script.
pub(super) const PRELUDE: &str = "redkeep";

/// The chunk name of what stands in for a function of Lua's library: its messages have no position.
pub(super) const NOWHERE: &str = "redkeep.";

/// The field by which an error table says that errorstats have the error already.
pub(super) const COUNTED: &str = "ignore_error_stats_update";

/// An error raised by a host function.
#[derive(Debug, Clone)]
pub(super) enum Thrown {
    /// A message, as Lua's own library raises it.
    Message(Vec<u8>),
    /// An error reply, which scripts see as `{err = ...}`.
    Reply {
        /// The text, code first.
        text: Vec<u8>,
        /// Whether errorstats have it already.
        counted: bool,
    },
    /// The script must end, whatever it catches; where it was, if no traceback tells.
    Stop(Stop, Option<Place>),
}

/// Why a script must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// SCRIPT KILL.
    Killed,
    /// The server stops.
    Shutdown,
    /// A command panicked.
    Panicked,
}

impl Stop {
    fn text(self) -> &'static str {
        match self {
            Stop::Killed => "ERR Script killed by user with SCRIPT KILL...",
            Stop::Shutdown => "ERR Script stopped by a shutdown",
            Stop::Panicked => "ERR Internal error in a command called by the script",
        }
    }
}

impl std::fmt::Display for Thrown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Thrown::Message(text) | Thrown::Reply { text, .. } => {
                f.write_str(&String::from_utf8_lossy(text))
            }
            Thrown::Stop(stop, _) => f.write_str(stop.text()),
        }
    }
}

impl std::error::Error for Thrown {}

impl From<Thrown> for Error {
    fn from(thrown: Thrown) -> Error {
        Error::external(thrown)
    }
}

/// An error reply of the host's own, raised.
pub(super) fn reply_error(text: &str) -> Error {
    Thrown::Reply {
        text: text.as_bytes().to_vec(),
        counted: false,
    }
    .into()
}

/// A message with the position of the calling function before it, as luaL_error raises it.
pub(super) fn located(lua: &Lua, message: impl AsRef<[u8]>) -> Error {
    let mut text = match caller(lua) {
        Some(place) => format!("{}:{}: ", place.short, place.line).into_bytes(),
        None => Vec::new(),
    };
    text.extend_from_slice(message.as_ref());
    Thrown::Message(text).into()
}

/// Where the running function was called, if a script did that. The prelude is passed over.
fn caller(lua: &Lua) -> Option<Place> {
    (1..)
        .map_while(|level| lua.inspect_stack(level, |frame| (is_prelude(frame), look(frame))))
        .find(|(is_prelude, _)| !is_prelude)
        .and_then(|(_, place)| place)
}

fn is_prelude(frame: &mlua::debug::Debug<'_>) -> bool {
    frame.source().short_src.as_deref() == Some(PRELUDE)
}

/// A wrong argument of the running function, as Lua words it.
pub(super) fn bad_argument(lua: &Lua, position: usize, why: impl AsRef<[u8]>) -> Error {
    let (name, is_method) = lua
        .inspect_stack(0, |frame| {
            let names = frame.names();
            let name = names.name.map(std::borrow::Cow::into_owned);
            (name, names.name_what == Some("method"))
        })
        .unwrap_or_default();
    let name = name.as_deref().unwrap_or("?");
    // What stands before the colon of a method is no argument.
    let what = match (position, is_method) {
        (1, true) => format!("calling '{name}' on bad self"),
        (n, _) => {
            let n = n as isize - isize::from(is_method);
            format!("bad argument #{n} to '{name}'")
        }
    };
    located(lua, [what.as_bytes(), b" (", why.as_ref(), b")"].concat())
}

/// What a value is called in messages, where it may be missing.
pub(super) fn type_name(value: Option<&Value>) -> &'static str {
    match value {
        None => "no value",
        Some(Value::Integer(_)) => "number",
        Some(Value::LightUserData(_)) => "userdata",
        Some(value) => value.type_name(),
    }
}

/// Finds what a host function raised.
pub(super) fn thrown(error: &Error) -> Option<&Thrown> {
    match error {
        Error::CallbackError { cause, .. } | Error::WithContext { cause, .. } => thrown(cause),
        Error::ExternalError(e) => e.downcast_ref(),
        _ => None,
    }
}

/// The text of an error of the interpreter or its interface.
pub(super) fn text_of(error: &Error) -> Vec<u8> {
    match error {
        Error::CallbackError { cause, .. } | Error::WithContext { cause, .. } => text_of(cause),
        Error::RuntimeError(text) | Error::MemoryError(text) => text.clone().into_bytes(),
        Error::SyntaxError { message, .. } => message.clone().into_bytes(),
        Error::ExternalError(e) => e.to_string().into_bytes(),
        other => other.to_string().into_bytes(),
    }
}

/// A place in a script.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The chunk name as given, `@user_script` say.
    source: String,
    /// The chunk name as messages show it.
    short: String,
    line: usize,
}

impl Place {
    fn new(chunk: &str, line: usize) -> Place {
        Place {
            source: format!("@{chunk}"),
            short: chunk.to_owned(),
            line,
        }
    }
}

/// So many levels of the stack are looked at.
const DEEPEST: usize = 200;

/// The innermost place in a script, from `level` of the stack on. Host functions and the prelude are passed over.
pub(super) fn place(lua: &Lua, level: usize) -> Option<Place> {
    (level..level + DEEPEST)
        .map_while(|level| lua.inspect_stack(level, look))
        .flatten()
        .next()
}

/// Whether the script left by a tail call, so that its place is not known.
fn left_by_tail_call(lua: &Lua) -> bool {
    (1..DEEPEST)
        .map_while(|level| lua.inspect_stack(level, |frame| frame.source().what == "tail"))
        .any(|is_tail| is_tail)
}

fn look(frame: &mlua::debug::Debug<'_>) -> Option<Place> {
    let line = frame.current_line()?;
    let source = frame.source();
    let short = source.short_src?;
    (source.what != "C" && short != PRELUDE).then(|| Place {
        source: source.source.unwrap_or_default().into_owned(),
        short: short.into_owned(),
        line,
    })
}

/// How a script failed.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    text: Vec<u8>,
    place: Option<Place>,
    /// There is no place, yet it was the script.
    lost: bool,
    counted: bool,
}

impl Failure {
    /// What is known where an error ends a script, all of whose code may stand on one line.
    pub(super) fn of(lua: &Lua, error: &Value, line: Option<usize>) -> Failure {
        let place = place(lua, 1).or_else(|| line.map(|line| Place::new("user_script", line)));
        let (text, counted) = match error {
            Value::Error(e) => match thrown(e) {
                Some(Thrown::Reply { text, counted }) => (text.clone(), *counted),
                Some(Thrown::Message(text)) => (with_code(text), false),
                Some(Thrown::Stop(stop, _)) => (stop.text().into(), false),
                None => (with_code(&text_of(e)), false),
            },
            Value::Table(table) => {
                let text = match table.raw_get::<Value>("err") {
                    Ok(text) if !text.is_nil() => lua.coerce_string(text).ok().flatten(),
                    _ => None,
                };
                let text = match text {
                    Some(text) => text.as_bytes().to_vec(),
                    None => b"ERR unknown error".to_vec(),
                };
                (text, is_counted(table))
            }
            Value::String(text) => (with_code(&own_position(&text.as_bytes(), &place)), false),
            other => (with_code(&plain_text(lua, other)), false),
        };
        Failure {
            lost: place.is_none() && left_by_tail_call(lua),
            text,
            place,
            counted,
        }
    }

    /// The same as a table, which is what an error handler returns.
    pub(super) fn into_table(self, lua: &Lua) -> mlua::Result<Table> {
        let table = lua.create_table()?;
        table.raw_set("err", lua.create_string(self.text)?)?;
        if let Some(place) = self.place {
            table.raw_set("source", place.source)?;
            table.raw_set("line", place.line)?;
        } else if self.lost {
            table.raw_set("source", "?")?;
        }
        if self.counted {
            table.raw_set(COUNTED, true)?;
        }
        Ok(table)
    }
}

/// What runs, as errors name it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a> {
    /// The name of its chunk, as messages show it.
    pub(super) chunk: &'static str,
    /// Its own name: of a script, the SHA1.
    pub(super) own: &'a str,
    /// The only line of its code, if that is known.
    pub(super) line: Option<usize>,
}

/// The error reply of a script that ended with an error: `raised` is the table of the handler, or what no handler saw
/// because memory ran out or the handler itself failed.
pub(super) fn failure_reply(raised: &Value, name: Name<'_>) -> CmdError {
    let table = match raised {
        Value::Table(table) => table,
        Value::Error(e) if is_memory(e) => return unhandled(name, "not enough memory"),
        Value::Error(e) => return plain_failure(e, name),
        Value::String(text) => return unhandled(name, &text.to_string_lossy()),
        _ => return CmdError::fixed("ERR unknown error"),
    };
    let mut text = match table.raw_get::<Value>("err") {
        Ok(Value::String(text)) => {
            String::from_utf8_lossy(super::convert::up_to_zero(&text.as_bytes())).into_owned()
        }
        _ => "ERR unknown error".to_owned(),
    };
    if let Ok(Value::String(source)) = table.raw_get("source") {
        text.push_str(&format!(" script: {}", name.own));
        if let Ok(Value::Integer(line)) = table.raw_get("line") {
            text.push_str(&format!(", on {}:{line}.", source.to_string_lossy()));
        }
    }
    error_reply(text, is_counted(table))
}

/// The error reply of a script that raised this on a line that is known.
pub(super) fn raised_at(thrown: &Thrown, line: usize, name: Name<'_>) -> CmdError {
    let lossy = |text| String::from_utf8_lossy(super::convert::up_to_zero(text)).into_owned();
    let (text, counted) = match thrown {
        Thrown::Reply { text, counted } => (lossy(text), *counted),
        Thrown::Message(text) => (format!("ERR {}", lossy(text)), false),
        Thrown::Stop(stop, _) => (stop.text().to_owned(), false),
    };
    let Name { chunk, own, .. } = name;
    error_reply(
        format!("{text} script: {own}, on @{chunk}:{line}."),
        counted,
    )
}

/// An error that no handler saw.
pub(super) fn unhandled(name: Name<'_>, text: &str) -> CmdError {
    CmdError::new(format!("ERR Error running script {}, {text}", name.own))
}

fn is_memory(error: &Error) -> bool {
    match error {
        Error::CallbackError { cause, .. } | Error::WithContext { cause, .. } => is_memory(cause),
        error => matches!(error, Error::MemoryError(_)),
    }
}

/// The error reply of a script that ran without a handler of its own: the interface added a traceback, which tells the
/// line.
fn plain_failure(e: &Error, name: Name<'_>) -> CmdError {
    const TRACEBACK: &str = "\nstack traceback:\n";
    let whole = String::from_utf8_lossy(&text_of(e)).into_owned();
    let (message, frames) = match (e, whole.rfind(TRACEBACK)) {
        (Error::CallbackError { traceback, .. }, _) => (whole.as_str(), traceback.as_str()),
        (_, Some(at)) => (&whole[..at], &whole[at..]),
        (_, None) => (whole.as_str(), ""),
    };
    let line = frames.split('\n').find_map(|frame| {
        let rest = frame.trim_start().strip_prefix(name.chunk)?;
        rest.strip_prefix(':')?.split(':').next()?.parse().ok()
    });
    let place = match (line, thrown(e)) {
        (None, Some(Thrown::Stop(_, Some(place)))) => Some(place.clone()),
        (line, _) => line.or(name.line).map(|line| Place::new(name.chunk, line)),
    };
    let (mut text, counted) = match thrown(e) {
        Some(Thrown::Reply { text, counted }) => {
            let text = super::convert::up_to_zero(text);
            (String::from_utf8_lossy(text).into_owned(), *counted)
        }
        Some(Thrown::Stop(stop, _)) => (stop.text().to_owned(), false),
        Some(Thrown::Message(_)) | None => {
            let message = own_position(message.as_bytes(), &place);
            let message =
                String::from_utf8_lossy(super::convert::up_to_zero(&message)).into_owned();
            (format!("ERR {message}"), false)
        }
    };
    if let Some(place) = place {
        let Place { source, line, .. } = place;
        text.push_str(&format!(" script: {}, on {source}:{line}.", name.own));
    } else if frames.contains("(...tail calls...)") {
        text.push_str(&format!(" script: {}", name.own));
    }
    error_reply(text, counted)
}

/// An error reply as it leaves a script: errorstats count it unless they have it already.
pub(super) fn error_reply(text: String, counted: bool) -> CmdError {
    let e = CmdError::new(text);
    if counted { e.counted() } else { e }
}

/// Whether errorstats have the error of this table already.
pub(super) fn is_counted(table: &Table) -> bool {
    matches!(table.raw_get::<Value>(COUNTED), Ok(Value::Boolean(true)))
}

fn with_code(text: &[u8]) -> Vec<u8> {
    [b"ERR ", text].concat()
}

fn plain_text(lua: &Lua, value: &Value) -> Vec<u8> {
    match value {
        Value::Nil => b"nil".to_vec(),
        Value::Boolean(b) => b.to_string().into_bytes(),
        other => match lua.coerce_string(other.clone()) {
            Ok(Some(text)) => text.as_bytes().to_vec(),
            _ => other.type_name().as_bytes().to_vec(),
        },
    }
}

/// A message that a library function raised inside of the prelude, with the position of the script in place of
/// the prelude's.
pub(super) fn own_position(message: &[u8], place: &Option<Place>) -> Vec<u8> {
    let from = |chunk: &str| message.strip_prefix(chunk.as_bytes());
    if let Some(bare) = from(NOWHERE).and_then(|rest| rest.strip_prefix(b":1: ")) {
        return bare.to_vec();
    }
    let inner = from(PRELUDE)
        .and_then(|rest| rest.strip_prefix(b":"))
        .and_then(|rest| {
            let end = rest.iter().position(|b| !b.is_ascii_digit())?;
            rest.get(end..)?.strip_prefix(b": ")
        });
    match (inner, place) {
        (Some(inner), Some(place)) => {
            let mut text = format!("{}:{}: ", place.short, place.line).into_bytes();
            text.extend_from_slice(inner);
            text
        }
        (Some(inner), None) => inner.to_vec(),
        (None, _) => message.to_vec(),
    }
}
