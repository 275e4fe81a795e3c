//! From the command line and the files it names to a configuration.
//!
//! ```text
//! redkeep [file] [--name value ...]... [-]
//! ```
//! A file, then standard input (`-`), then the options are read as one text, so that what comes later overrides.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::codec::Origin;
use super::files::Files;
use super::params::{Config, find, rows};
use super::row::{Effect, Row};
use crate::resp::split_line;
use crate::util::system::reason;

/// What the lines of a sentinel begin with; as an option, what makes it one.
const SENTINEL: &[u8] = b"sentinel";

/// What lines about users begin with.
const USER: &[u8] = b"user";

/// How deeply files may include each other.
const INCLUDE_DEPTH: usize = 16;

/// Directives of Redis that are known and refused.
const REFUSED: &[(&str, &str)] = &[
    ("loadmodule", "modules are not part of Redkeep"),
    (
        "rename-command",
        "commands cannot be renamed in this version",
    ),
    ("sentinel", "this is not a sentinel"),
    ("tls-auth-clients", "TLS is not part of this version"),
    ("tls-ca-cert-dir", "TLS is not part of this version"),
    ("tls-ca-cert-file", "TLS is not part of this version"),
    ("tls-cert-file", "TLS is not part of this version"),
    ("tls-ciphers", "TLS is not part of this version"),
    ("tls-ciphersuites", "TLS is not part of this version"),
    ("tls-client-cert-file", "TLS is not part of this version"),
    ("tls-client-key-file", "TLS is not part of this version"),
    (
        "tls-client-key-file-pass",
        "TLS is not part of this version",
    ),
    ("tls-dh-params-file", "TLS is not part of this version"),
    ("tls-key-file", "TLS is not part of this version"),
    ("tls-key-file-pass", "TLS is not part of this version"),
    (
        "tls-prefer-server-ciphers",
        "TLS is not part of this version",
    ),
    ("tls-protocols", "TLS is not part of this version"),
    ("tls-session-cache-size", "TLS is not part of this version"),
    (
        "tls-session-cache-timeout",
        "TLS is not part of this version",
    ),
    ("tls-session-caching", "TLS is not part of this version"),
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

/// Where a directive stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Line of the file named on the command line.
    File(usize),
    /// Line of a file that was included.
    Included(PathBuf, usize),
    /// Line of standard input.
    Stdin(usize),
    /// Among the options.
    CommandLine,
}

/// Why there is no configuration. Displays as what the operator should read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// A line was refused.
    Directive {
        /// Where it stands.
        place: Place,
        /// The line.
        line: String,
        /// Why.
        why: String,
    },
    /// A file could not be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, why } => {
                write!(
                    f,
                    "Fatal error, can't open config file '{}': {why}",
                    path.display()
                )
            }
            Self::Directive { place, line, why } => {
                let version = env!("CARGO_PKG_VERSION");
                writeln!(f, "\n*** FATAL CONFIG FILE ERROR (Redkeep {version}) ***")?;
                match place {
                    Place::File(n) => writeln!(f, "Reading the configuration file, at line {n}")?,
                    Place::Included(path, n) => {
                        writeln!(
                            f,
                            "Reading the configuration file {}, at line {n}",
                            path.display()
                        )?;
                    }
                    Place::Stdin(n) => writeln!(f, "Reading standard input, at line {n}")?,
                    Place::CommandLine => writeln!(f, "Reading the command line")?,
                }
                write!(f, ">>> '{line}'\n{why}")
            }
        }
    }
}

impl std::error::Error for LoadError {}

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
        _ => {}
    }
    let (file, rest) = match argv.split_first() {
        Some((first, rest)) if !first.starts_with(b"-") => (Some(path_of(first)), rest),
        _ => (None, argv),
    };
    let (stdin, options) = match (rest.split_first(), rest.split_last()) {
        (_, Some((last, options))) if last == b"-" => (true, options),
        (Some((first, options)), _) if first == b"-" => (true, options),
        _ => (false, rest),
    };
    let mut loader = Loader::new(given.or_by(argv), files);
    if let Some(path) = &file {
        loader.file(path, 0)?;
    }
    if stdin {
        let text = files.stdin().map_err(|e| unreadable(Path::new("-"), &e))?;
        loader.text(&text, 0, &Place::Stdin)?;
    }
    if (file.is_some() || stdin) && !given.embedded {
        loader.bind_everywhere();
    }
    loader.text(&option_lines(options), 0, &|_| Place::CommandLine)?;
    loader
        .finish(file)
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

/// The options as the lines of a configuration file.
///
/// The word after a name is its value even when it begins with `--`; `--save` alone is `save ""`, and `--sentinel` alone has
/// no value; a name and its values may also come as one argument, which is then taken as a line.
fn option_lines(options: &[Vec<u8>]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut value_due = false;
    for (i, arg) in options.iter().enumerate() {
        let Some(name) = arg.strip_prefix(b"--").filter(|_| !value_due) else {
            crate::resp::quote(&mut text, arg);
            text.push(b' ');
            value_due = false;
            continue;
        };
        text.push(b'\n');
        text.extend(name);
        text.push(b' ');
        if split_line(name).is_ok_and(|words| words.len() > 1) {
            continue;
        }
        let lone = options
            .get(i + 1)
            .is_none_or(|next| next.starts_with(b"--"));
        if lone && name.eq_ignore_ascii_case(b"save") {
            text.extend(b"\"\"");
        } else if !(lone && name == SENTINEL) {
            value_due = true;
        }
    }
    text
}

struct Loader<'a> {
    files: &'a dyn Files,
    config: Config,
    seen: Vec<&'static str>,
    sentinel: Option<Vec<Directive>>,
    /// The lines that begin with `user`.
    users: Vec<Directive>,
}

impl<'a> Loader<'a> {
    fn new(given: Given, files: &'a dyn Files) -> Self {
        Self {
            files,
            config: given.defaults(),
            seen: Vec::new(),
            sentinel: given.sentinel.then(Vec::new),
            users: Vec::new(),
        }
    }

    fn file(&mut self, path: &Path, depth: usize) -> Result<(), LoadError> {
        let text = self.files.read(path).map_err(|e| unreadable(path, &e))?;
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
        if name.eq_ignore_ascii_case(b"include") {
            let [pattern] = args else {
                return Err("wrong number of arguments".into());
            };
            return self.include(&path_of(pattern), depth + 1);
        }
        let kept = match name.to_ascii_lowercase().as_slice() {
            SENTINEL => self.sentinel.as_mut(),
            USER => Some(&mut self.users),
            _ => None,
        };
        if let Some(lines) = kept {
            lines.push(Directive {
                place: place(),
                line: shown(line),
                words,
            });
            return Ok(());
        }
        let Some(row) = find(name) else {
            return Err(unknown(name).into());
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
            self.config.bind = vec!["*".into(), "-::*".into()];
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
        })
    }
}

/// A line was refused, or a file that it includes.
enum LineFault {
    Here(String),
    Below(LoadError),
}

impl From<&str> for LineFault {
    fn from(why: &str) -> Self {
        Self::Here(why.to_owned())
    }
}

impl From<String> for LineFault {
    fn from(why: String) -> Self {
        Self::Here(why)
    }
}

impl From<LoadError> for LineFault {
    fn from(error: LoadError) -> Self {
        Self::Below(error)
    }
}

fn unknown(name: &[u8]) -> String {
    let refused = REFUSED
        .iter()
        .find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
    match refused {
        Some((known, why)) => format!("'{known}' is not supported: {why}"),
        None => "Bad directive or wrong number of arguments".to_owned(),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> LoadError {
    LoadError::Unreadable {
        path: path.to_owned(),
        why: reason(error),
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
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Default)]
    struct Memory(BTreeMap<PathBuf, &'static str>);

    impl Files for Memory {
        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            let text = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
            Ok(text.as_bytes().to_vec())
        }

        fn stdin(&self) -> io::Result<Vec<u8>> {
            self.read(Path::new("-"))
        }

        fn expand(&self, pattern: &Path) -> Vec<PathBuf> {
            let pattern = pattern.as_os_str().as_encoded_bytes();
            if !pattern.contains(&b'*') {
                return vec![path_of(pattern)];
            }
            let matches = |path: &&PathBuf| {
                crate::util::glob::matches(pattern, path.as_os_str().as_encoded_bytes(), false)
            };
            self.0.keys().filter(matches).cloned().collect()
        }

        fn directory(&self, path: &Path) -> io::Result<PathBuf> {
            if path == Path::new("gone") {
                return Err(io::Error::other("No such file or directory (os error 2)"));
            }
            Ok(Path::new("/cwd").join(path))
        }

        fn absolute(&self, path: &Path) -> PathBuf {
            Path::new("/cwd").join(path)
        }
    }

    fn run(argv: &[&str], files: &[(&str, &'static str)]) -> Result<Loaded, String> {
        let files = Memory(
            files
                .iter()
                .map(|(path, text)| (PathBuf::from(path), *text))
                .collect(),
        );
        let argv: Vec<_> = argv.iter().map(|arg| arg.as_bytes().to_vec()).collect();
        match invocation(&argv, &files) {
            Ok(Invocation::Run(loaded)) => Ok(*loaded),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn value(loaded: &Loaded, name: &str) -> String {
        String::from_utf8(find(name.as_bytes()).unwrap().show(&loaded.config)).unwrap()
    }

    #[test]
    fn options_override_standard_input_which_overrides_the_file() {
        let files = [
            ("a.conf", "port 1\ntimeout 1\nhz 20\n"),
            ("-", "timeout 2\nhz 30"),
        ];
        let loaded = run(&["a.conf", "--hz", "40", "-"], &files).unwrap();
        assert_eq!(
            (loaded.config.port, loaded.config.timeout, loaded.config.hz),
            (1, 2, 40)
        );
        assert_eq!(loaded.file, Some("/cwd/a.conf".into()));
        assert_eq!(run(&["-", "--port", "5"], &files).unwrap().config.port, 5);
    }

    #[test]
    fn only_a_file_without_bind_opens_every_address() {
        assert_eq!(
            value(&run(&["--port", "0"], &[]).unwrap(), "bind"),
            "127.0.0.1 -::1"
        );
        let files = [("a", "port 1"), ("b", "bind 10.0.0.1 -::1")];
        assert_eq!(value(&run(&["a"], &files).unwrap(), "bind"), "* -::*");
        assert_eq!(
            value(&run(&["b"], &files).unwrap(), "bind"),
            "10.0.0.1 -::1"
        );
        assert_eq!(
            value(&run(&["a", "--bind", "::1"], &files).unwrap(), "bind"),
            "::1"
        );
    }

    #[test]
    fn options_are_read_as_redis_reads_them() {
        for (argv, name, shown) in [
            (
                &["--maxmemory 700mb", "--maxmemory-policy volatile-lru"][..],
                "maxmemory",
                "734003200",
            ),
            (
                &["loglevel", "verbose", "--maxmemory '700mb'"],
                "loglevel",
                "verbose",
            ),
            (
                &[
                    "--proc-title-template",
                    "--my--title",
                    "--loglevel",
                    "verbose",
                ],
                "proc-title-template",
                "--my--title",
            ),
            (
                &[
                    "--proc-title-template",
                    "--save",
                    "--save",
                    "",
                    "--loglevel",
                    "verbose",
                ],
                "loglevel",
                "verbose",
            ),
            (
                &["--shutdown-on-sigint", "nosave", "force", "now"],
                "shutdown-on-sigint",
                "nosave now force",
            ),
            (
                &["--shutdown-on-sigterm", "nosave force"],
                "shutdown-on-sigterm",
                "nosave force",
            ),
            (&["--save", "--loglevel", "verbose"], "save", ""),
            (
                &["--save", "100", "100", "--save", "9 9"],
                "save",
                "100 100 9 9",
            ),
            (&["--save", "100", "100", "--save"], "save", ""),
            (&["--lua-time-limit", "7"], "busy-reply-threshold", "7"),
        ] {
            let argv: Vec<_> = std::iter::once("f").chain(argv.iter().copied()).collect();
            let loaded = run(&argv, &[("f", "")]).unwrap();
            assert_eq!(value(&loaded, name), shown, "{argv:?}");
        }
    }

    #[test]
    fn refused_options_name_themselves() {
        for (argv, line, why) in [
            (
                &["--invalid"][..],
                "invalid",
                "Bad directive or wrong number of arguments",
            ),
            (&["--port"], "port", "wrong number of arguments"),
            (
                &["--port", "6380", "--loglevel"],
                "loglevel",
                "wrong number of arguments",
            ),
            (
                &["--port", "6379", "6380"],
                "port \"6379\" \"6380\"",
                "wrong number of arguments",
            ),
            (
                &["--port", "--bla", "--loglevel", "verbose"],
                "port \"--bla\"",
                "argument couldn't be parsed into an integer",
            ),
            (
                &["--replicaof", "127.0.0.1", "abc"],
                "replicaof \"127.0.0.1\" \"abc\"",
                "Invalid master port",
            ),
            (
                &["--replicaof", "--127.0.0.1", "--abc"],
                "replicaof \"--127.0.0.1\"",
                "wrong number of arguments",
            ),
            (
                &["--loadmodule", "x"],
                "loadmodule \"x\"",
                "'loadmodule' is not supported: modules are not part of Redkeep",
            ),
            (
                &["--cluster-enabled", "yes"],
                "cluster-enabled \"yes\"",
                "this value of 'cluster-enabled' is not supported: cluster mode is not part of Redkeep",
            ),
            (
                &["--dir", "gone"],
                "dir \"gone\"",
                "No such file or directory",
            ),
        ] {
            let error = run(argv, &[]).unwrap_err();
            assert!(
                error.ends_with(&format!("Reading the command line\n>>> '{line}'\n{why}")),
                "{error}"
            );
        }
    }

    #[test]
    fn refused_lines_name_file_and_line() {
        let files = [
            ("a", "# x\n\n  foo bar \n"),
            ("b", "port 1\ninclude *.inc"),
            ("x.inc", "hz 1\nport x"),
            ("c", "dir 'open"),
            ("d", "include d"),
            ("e", "include gone"),
            ("f", "include no*match\nport 7"),
        ];
        for (file, text) in [
            (
                "a",
                "file, at line 3\n>>> 'foo bar'\nBad directive or wrong number of arguments",
            ),
            (
                "b",
                "file x.inc, at line 2\n>>> 'port x'\nargument couldn't be parsed into an integer",
            ),
            (
                "c",
                "file, at line 1\n>>> 'dir 'open'\nUnbalanced quotes in configuration line",
            ),
            (
                "d",
                "file d, at line 1\n>>> 'include d'\nfiles include each other too deeply",
            ),
            ("e", "can't open config file 'gone': entity not found"),
            ("gone", "can't open config file 'gone': entity not found"),
        ] {
            let error = run(&[file], &files).unwrap_err();
            assert!(error.ends_with(text), "{error}");
        }
        assert_eq!(run(&["f"], &files).unwrap().config.port, 7);
    }

    #[test]
    fn what_has_no_effect_yet_draws_a_warning() {
        let loaded = run(&["--acllog-max-len", "9", "--hz", "50"], &[]).unwrap();
        assert_eq!(
            loaded.warnings,
            ["'acllog-max-len' is accepted, but has no effect in this version."]
        );
        assert!(run(&[], &[]).unwrap().warnings.is_empty());
    }

    fn lines_of_sentinel(argv: &[&str], files: &[(&str, &'static str)]) -> Vec<(Place, String)> {
        let loaded = run(argv, files).unwrap();
        let lines = loaded.sentinel.unwrap().into_iter();
        lines.map(|line| (line.place, line.line)).collect()
    }

    #[test]
    fn the_option_makes_a_sentinel_wherever_it_stands() {
        let files = [("a", "port 7\nsentinel monitor m 127.0.0.1 1 1"), ("b", "")];
        let line = "sentinel monitor m 127.0.0.1 1 1".to_owned();
        for argv in [
            &["a", "--sentinel"][..],
            &["a", "--sentinel", "--hz", "20"],
            &["a", "--hz", "20", "--sentinel"],
        ] {
            let found = lines_of_sentinel(argv, &files);
            assert_eq!(found[0], (Place::File(2), line.clone()), "{argv:?}");
            assert!(found[1..].iter().all(|(_, line)| line == "sentinel"));
        }
        let found = lines_of_sentinel(&["b", "--sentinel", "myid", "x"], &files);
        let line = "sentinel \"myid\" \"x\"".to_owned();
        assert_eq!(found, [(Place::CommandLine, line)]);
    }

    #[test]
    fn a_sentinel_has_a_port_of_its_own_and_no_protected_mode() {
        let files = [("a", ""), ("b", "port 7\nprotected-mode yes")];
        let settings = |argv: &[&str]| {
            let loaded = run(argv, &files).unwrap();
            (loaded.config.port, loaded.config.protected_mode)
        };
        assert_eq!(settings(&["a", "--sentinel"]), (26379, false));
        assert_eq!(settings(&["b", "--sentinel"]), (7, true));
        assert_eq!(settings(&["a"]), (6379, true));
    }

    #[test]
    fn a_user_is_taken_that_may_do_everything_with_the_password_there_is() {
        let files = [
            ("a", "user default on nopass ~* &* +@all"),
            ("b", "user default on nopass sanitize-payload ~* &* +@all"),
            (
                "c",
                "user default on #2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b ~* &* +@all\nrequirepass secret",
            ),
            (
                "d",
                "user default on nopass ~* &* +@all\nrequirepass secret",
            ),
            ("e", "user default on nopass ~* &* -@all"),
            ("f", "user default on nopass ~* &* +@all -get"),
            ("g", "user alice on nopass ~* &* +@all"),
            ("h", "user"),
        ];
        for file in ["a", "b", "c"] {
            assert!(run(&[file], &files).is_ok(), "{file}");
        }
        for file in ["d", "e", "f", "g", "h"] {
            let error = run(&[file], &files).unwrap_err();
            assert!(error.contains("at line 1\n>>> 'user"), "{error}");
        }
    }

    #[test]
    fn save_points_of_a_file_add_up_until_one_is_empty() {
        let files = [
            ("a", "save 900 1\nsave 300 10"),
            ("b", "save 1 1\nsave ''\nsave 5 5"),
        ];
        assert_eq!(value(&run(&["a"], &files).unwrap(), "save"), "900 1 300 10");
        assert_eq!(value(&run(&["b"], &files).unwrap(), "save"), "5 5");
    }

    #[test]
    fn any_bytes_are_read_without_harm() {
        let mut rng = crate::util::rng::Rng::seed_from_u64(7);
        let alphabet = b"port save 'x\" \\x41\n#include bind\0\xff\r\t--user";
        for _ in 0..500 {
            let text: Vec<u8> = (0..rng.index(60))
                .map(|_| alphabet[rng.index(alphabet.len())])
                .collect();
            let argv: Vec<Vec<u8>> = text.split(|b| *b == b'\t').map(<[u8]>::to_vec).collect();
            let files = Memory::default();
            let _ = invocation(&argv, &files);
            let _ = Loader::new(Given::default(), &files).text(&text, 0, &Place::File);
        }
    }
}
