//! From the command line and the files it names to a configuration.
//!
//! ```text
//! redkeep [file] [--name value ...]... [-]
//! ```
//! A file, then standard input (`-`), then the options are read as one text, so that what comes later overrides.

mod fault;
mod options;

use std::io;
use std::path::{Path, PathBuf};

use self::fault::{LineFault, unreadable};
use self::options::CommandLine;
use super::codec::Origin;
use super::files::{Files, LARGEST_FILE};
use super::params::{Config, find, rows};
use super::row::{Effect, Row};
use crate::resp::split_line;
use crate::util::system::reason;

pub use self::fault::{LoadError, Place};

/// What the lines of a sentinel begin with; as an option, what makes it one.
const SENTINEL: &[u8] = b"sentinel";

/// What lines about users begin with.
const USER: &[u8] = b"user";

/// What gives a command another name.
const RENAME_COMMAND: &[u8] = b"rename-command";

/// How deeply files may include each other.
const INCLUDE_DEPTH: usize = 16;

/// How much all files together may hold. Each counts as a page at least, for there may be many small ones.
const MOST_BYTES: usize = LARGEST_FILE as usize;
const LEAST_BYTES: usize = 4096;

/// Where a server listens whose file does not say where.
pub(super) const EVERYWHERE: [&str; 2] = ["*", "-::*"];

/// Directives of older versions that say nothing any more, for anybody.
const FORGOTTEN: [&str; 3] = [
    "list-max-ziplist-entries",
    "list-max-ziplist-value",
    "lua-replicate-commands",
];

/// Directives of Redis that are known and refused.
pub const REFUSED: &[(&str, &str)] = &[
    ("loadmodule", "modules are not part of Redkeep"),
    ("rdma-bind", "there is no RDMA"),
    ("rdma-port", "there is no RDMA"),
];

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Invocation {
    /// Run a server.
    Run(Box<Loaded>),
    /// Say how the command is used.
    Help,
    /// Say which version this is.
    Version,
}

/// A configuration, complete.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The value of every parameter; `dir` is absolute.
    pub config: Config,
    /// The file named on the command line, absolute.
    pub file: Option<PathBuf>,
    /// What was asked for and will not happen in this version, one sentence each.
    pub warnings: Vec<String>,
    /// The lines that only a sentinel understands, in order; none: it is not to be one.
    pub sentinel: Option<Vec<Directive>>,
    /// The lines about users.
    pub users: Vec<Directive>,
    /// The lines that give commands other names, in order.
    pub renames: Vec<Directive>,
}

/// A line that is not a parameter's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// Where it stands.
    pub place: Place,
    /// The line.
    pub line: String,
    /// Its words.
    pub words: Vec<Vec<u8>>,
}

impl Directive {
    /// The line was refused.
    pub fn refused(&self, why: String) -> LoadError {
        LoadError::Directive {
            place: self.place.clone(),
            line: self.line.clone(),
            why,
        }
    }
}

/// What is settled before the command line is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given {
    /// It is to be a sentinel, also without `--sentinel`.
    pub sentinel: bool,
    /// It is a part of another program: it listens on a free port of this machine, unless it is told otherwise.
    pub embedded: bool,
}

/// The port of a sentinel.
const SENTINEL_PORT: u16 = 26379;

impl Given {
    /// The same, and what `--sentinel` settles, wherever it stands.
    fn or_by(self, argv: &[Vec<u8>]) -> Given {
        let asked = |arg: &Vec<u8>| arg.strip_prefix(b"--") == Some(SENTINEL);
        Given {
            sentinel: self.sentinel || argv.iter().any(asked),
            ..self
        }
    }

    /// What holds unless something else is asked for.
    fn defaults(self) -> Config {
        let mut config = Config::default();
        if self.sentinel {
            config.port = SENTINEL_PORT;
            // Sentinels reach each other from the first moment.
            config.protected_mode = false;
        }
        if self.embedded {
            config.port = 0;
        }
        config
    }
}

/// Reads the command line (without the name of the program) and everything it refers to.
pub fn invocation(argv: &[Vec<u8>], files: &dyn Files) -> Result<Invocation, LoadError> {
    invocation_as(Given::default(), argv, files)
}

/// The same, when something is settled before.
pub fn invocation_as(
    given: Given,
    argv: &[Vec<u8>],
    files: &dyn Files,
) -> Result<Invocation, LoadError> {
    match argv.first().map(Vec::as_slice) {
        Some(b"--help" | b"-h") => return Ok(Invocation::Help),
        Some(b"--version" | b"-v") => return Ok(Invocation::Version),
        Some(option @ (b"--test-memory" | b"--check-system")) => {
            return Err(LoadError::Option(
                String::from_utf8_lossy(option).into_owned(),
            ));
        }
        _ => {}
    }
    let called = CommandLine::new(argv);
    let mut loader = Loader::new(given.or_by(argv), files);
    if let Some(path) = &called.file {
        loader.file(path, 0)?;
    }
    if called.stdin {
        let text = files.stdin().map_err(|e| unreadable(Path::new("-"), &e))?;
        loader.text(&text, 0, &Place::Stdin)?;
    }
    if (called.file.is_some() || called.stdin) && !given.embedded {
        loader.bind_everywhere();
    }
    loader.text(&called.lines(), 0, &|_| Place::CommandLine)?;
    loader
        .finish(called.file)
        .map(|loaded| Invocation::Run(Box::new(loaded)))
}

/// A line as an error shows it: without what may be a password.
fn shown(line: &[u8]) -> String {
    let end = |line: &[u8]| {
        line.iter()
            .position(|b| b.is_ascii_whitespace() || *b == b'"')
    };
    let (mut name, rest) = line.split_at(end(line).unwrap_or(line.len()));
    let secret = match name.to_ascii_lowercase().as_slice() {
        USER => {
            // Whose rules they are is none.
            let space = rest.len() - rest.trim_ascii_start().len();
            let first = rest.get(space..).unwrap_or_default();
            let whose = end(first).unwrap_or(first.len());
            name = line.get(..name.len() + space + whose).unwrap_or(name);
            name.len() < line.len()
        }
        SENTINEL => rest
            .to_ascii_lowercase()
            .windows(4)
            .any(|part| part == b"pass"),
        name => find(name).is_some_and(|row| row.sensitive),
    };
    let shown = String::from_utf8_lossy(if secret { name } else { line });
    match secret {
        true => format!("{shown} (redacted)"),
        false => shown.into_owned(),
    }
}

struct Loader<'a> {
    files: &'a dyn Files,
    config: Config,
    seen: Vec<&'static str>,
    sentinel: Option<Vec<Directive>>,
    /// The lines that begin with `user`.
    users: Vec<Directive>,
    renames: Vec<Directive>,
    /// How much may still be read.
    left: usize,
}

impl<'a> Loader<'a> {
    fn new(given: Given, files: &'a dyn Files) -> Self {
        Self {
            files,
            config: given.defaults(),
            seen: Vec::new(),
            sentinel: given.sentinel.then(Vec::new),
            users: Vec::new(),
            renames: Vec::new(),
            left: MOST_BYTES,
        }
    }

    fn file(&mut self, path: &Path, depth: usize) -> Result<(), LoadError> {
        let text = self.files.read(path).map_err(|e| unreadable(path, &e))?;
        let left = self.left.checked_sub(text.len().max(LEAST_BYTES));
        self.left = left.ok_or_else(|| {
            let too_large = io::Error::other("the files are too large together, or too many");
            unreadable(path, &too_large)
        })?;
        let place = |line| match depth {
            0 => Place::File(line),
            _ => Place::Included(path.to_owned(), line),
        };
        self.text(&text, depth, &place)
    }

    fn text(
        &mut self,
        text: &[u8],
        depth: usize,
        place: &dyn Fn(usize) -> Place,
    ) -> Result<(), LoadError> {
        for (number, line) in text.split(|&b| b == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let here = || place(number + 1);
            self.line(line, depth, &here).map_err(|fault| match fault {
                LineFault::Here(why) => LoadError::Directive {
                    place: here(),
                    line: shown(line),
                    why,
                },
                LineFault::Below(error) => error,
            })?;
        }
        Ok(())
    }

    fn line(
        &mut self,
        line: &[u8],
        depth: usize,
        place: &dyn Fn() -> Place,
    ) -> Result<(), LineFault> {
        let words = split_line(line).map_err(|_| "Unbalanced quotes in configuration line")?;
        let Some((name, args)) = words.split_first() else {
            return Ok(());
        };
        let keep = |words| Directive {
            place: place(),
            line: shown(line),
            words,
        };
        let Some(row) = find(name) else {
            match (name.to_ascii_lowercase().as_slice(), args) {
                (b"include", [pattern]) => return self.include(&path_of(pattern), depth + 1),
                (RENAME_COMMAND, [_, _]) => self.renames.push(keep(words)),
                (USER, _) => self.users.push(keep(words)),
                // Its place on the command line has been seen to.
                (SENTINEL, []) if self.sentinel.is_none() => {}
                (SENTINEL, _) => match &mut self.sentinel {
                    Some(lines) => lines.push(keep(words)),
                    None => return Err("sentinel directive while not in sentinel mode".into()),
                },
                (name, [_]) if FORGOTTEN.iter().any(|known| known.as_bytes() == name) => {}
                (name, _) => return Err(unknown(name).into()),
            }
            return Ok(());
        };
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        let origin = if self.seen.contains(&row.name) {
            Origin::FileAgain
        } else {
            Origin::FileFirst
        };
        row.assign(&mut self.config, &args, origin)
            .map_err(|why| LineFault::Here(why.into_owned()))?;
        if origin == Origin::FileFirst {
            self.seen.push(row.name);
        }
        if row.name == "dir" {
            self.config.dir = self
                .absolute_dir()
                .map_err(|e| LineFault::Here(reason(&e)))?;
        }
        Ok(())
    }

    /// Files that a pattern matches, in the order of their names; a pattern may match none, a plain name must.
    fn include(&mut self, pattern: &Path, depth: usize) -> Result<(), LineFault> {
        if depth > INCLUDE_DEPTH {
            return Err("files include each other too deeply".into());
        }
        // A `dir` that was read is where the server is from then on.
        let pattern = match self.seen.contains(&"dir") {
            true => &Path::new(&self.config.dir).join(pattern),
            false => pattern,
        };
        for path in self.files.expand(pattern) {
            self.file(&path, depth)?;
        }
        Ok(())
    }

    fn absolute_dir(&self) -> io::Result<String> {
        let dir = self.files.directory(Path::new(&self.config.dir))?;
        dir.into_os_string().into_string().map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidFilename,
                "the path is not valid UTF-8",
            )
        })
    }

    /// A file without `bind` has always meant every address; see the row of `bind`.
    fn bind_everywhere(&mut self) {
        if !self.seen.contains(&"bind") {
            self.config.bind = EVERYWHERE.map(str::to_owned).to_vec();
        }
    }

    fn finish(mut self, file: Option<PathBuf>) -> Result<Loaded, LoadError> {
        let dir = PathBuf::from(&self.config.dir);
        self.config.dir = self.absolute_dir().map_err(|e| unreadable(&dir, &e))?;
        let defaults = Config::default();
        let idle = |row: &&Row| {
            row.effect == Effect::Later && row.show(&self.config) != row.show(&defaults)
        };
        let warnings = rows()
            .filter(idle)
            .map(|row| {
                format!(
                    "'{}' is accepted, but has no effect in this version.",
                    row.name
                )
            })
            .collect();
        let file = file.map(|path| self.files.absolute(&path));
        Ok(Loaded {
            config: self.config,
            file,
            warnings,
            sentinel: self.sentinel,
            users: self.users,
            renames: self.renames,
        })
    }
}

fn unknown(name: &[u8]) -> String {
    let refused = REFUSED
        .iter()
        .find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
    match refused {
        Some((known, why)) => format!("'{known}' is not supported: {why}"),
        None if name.contains(&b'.') => {
            let name = String::from_utf8_lossy(name);
            format!("'{name}' is not supported: modules are not part of Redkeep")
        }
        None => "Bad directive or wrong number of arguments".to_owned(),
    }
}

#[cfg(unix)]
fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
}

#[cfg(test)]
mod tests;
