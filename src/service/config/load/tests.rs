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
