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
        (&["--print-addr", "--port", "0"], "print-addr", "yes"),
        (&["--print-addr", "--port", "0"], "port", "0"),
        (&["--print-addr", "no"], "print-addr", "no"),
        (
            &["--port", "7", "--exit-with-parent"],
            "exit-with-parent",
            "yes",
        ),
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
fn only_what_has_no_effect_draws_a_warning() {
    for row in rows() {
        let idle = row.effect == Effect::Later;
        let value = ["7", "no", "yes", "x"]
            .into_iter()
            .find(|value| run(&[&format!("--{} {value}", row.name)], &[]).is_ok());
        let Some(value) = value else { continue };
        let loaded = run(&[&format!("--{} {value}", row.name)], &[]).unwrap();
        let changed = row.show(&loaded.config) != row.show(&Config::default());
        assert_eq!(!loaded.warnings.is_empty(), idle && changed, "{}", row.name);
    }
}

/// A configuration file of lines that are often right.
fn some_file(rng: &mut crate::util::rng::Rng) -> String {
    const VALUES: [&str; 24] = [
        "yes",
        "no",
        "0",
        "1",
        "7",
        "100",
        "-1",
        "5000",
        "1mb",
        "10gb",
        "5%",
        "\"\"",
        "a",
        "\"a b\"",
        "'it'",
        "\"\\x41\\n\"",
        "normal 0 0 0",
        "900 1",
        "127.0.0.1 ::1",
        "1 2 3",
        "KEA",
        "local",
        "default",
        "nosave now",
    ];
    let all: Vec<&Row> = rows().collect();
    let mut text = String::new();
    for _ in 0..rng.index(12) {
        let row = all[rng.index(all.len())];
        let names: Vec<_> = row.names().collect();
        let value = match rng.index(3) {
            0 => row.default,
            _ => VALUES[rng.index(VALUES.len())],
        };
        match rng.index(8) {
            0 => text.push_str("  # a comment\n\n\n"),
            1 => text.push_str("rename-command get \"\"\n"),
            _ => text.push_str(&format!("{} {value}\n", names[rng.index(names.len())])),
        }
    }
    text
}

#[test]
fn what_loads_is_rewritten_to_what_loads_to_the_same() {
    let mut rng = crate::util::rng::Rng::seed_from_u64(11);
    let load = |text: &str| {
        let text: &'static str = Box::leak(text.to_owned().into_boxed_str());
        run(&["a"], &[("a", text)])
    };
    let mut loaded_well = 0;
    for _ in 0..2000 {
        let text = some_file(&mut rng);
        let Ok(loaded) = load(&text) else { continue };
        loaded_well += 1;
        for all in [false, true] {
            let wanted = crate::service::config::Rewrite {
                config: &loaded.config,
                users: &[],
                all,
                sentinel: false,
            };
            let again = crate::service::config::rewrite(text.as_bytes(), wanted);
            let again = String::from_utf8(again).unwrap();
            let reloaded = load(&again).unwrap_or_else(|e| panic!("{text}\n->\n{again}\n{e}"));
            assert_eq!(reloaded.config, loaded.config, "{text}\n->\n{again}");
            assert_eq!(reloaded.renames.len(), loaded.renames.len());
            // And it stays as it is, but for the empty line at its end, of which Redis makes one.
            let third = crate::service::config::rewrite(again.as_bytes(), wanted);
            let third = String::from_utf8(third).unwrap();
            assert_eq!(third.trim_end(), again.trim_end());
        }
    }
    assert!(loaded_well > 200, "only {loaded_well}");
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
fn lines_about_users_and_names_of_commands_are_handed_on() {
    let files = [("a", "user alice on\nRename-Command get \"\"\n")];
    let loaded = run(&["a", "--user", "bob on"], &files).unwrap();
    let lines = |lines: &[Directive]| -> Vec<String> {
        lines.iter().map(|line| line.line.clone()).collect()
    };
    assert_eq!(
        lines(&loaded.users),
        ["user alice (redacted)", "user  (redacted)"]
    );
    assert_eq!(lines(&loaded.renames), ["Rename-Command get \"\""]);
    assert_eq!(loaded.renames[0].words[1..], [b"get".to_vec(), Vec::new()]);
}

#[test]
fn what_older_versions_said_is_passed_over_and_what_is_known_of_others_is_refused() {
    let files = [
        (
            "a",
            "list-max-ziplist-entries 5\nlua-replicate-commands yes\nsentinel\nport 7",
        ),
        ("b", "lua-replicate-commands yes no"),
        ("c", "rename-command get"),
        ("d", "include"),
        ("e", "sentinel monitor m 127.0.0.1 1 1"),
        ("f", "search.timeout 5"),
        ("g", "rdma-port 5"),
    ];
    assert_eq!(run(&["a"], &files).unwrap().config.port, 7);
    for (file, why) in [
        ("b", "Bad directive or wrong number of arguments"),
        ("c", "Bad directive or wrong number of arguments"),
        ("d", "Bad directive or wrong number of arguments"),
        ("e", "sentinel directive while not in sentinel mode"),
        (
            "f",
            "'search.timeout' is not supported: modules are not part of Redkeep",
        ),
        ("g", "'rdma-port' is not supported: there is no RDMA"),
    ] {
        let error = run(&[file], &files).unwrap_err();
        assert!(error.ends_with(why), "{error}");
    }
    for option in ["--test-memory", "--check-system"] {
        let error = run(&[option, "5"], &files).unwrap_err();
        assert!(error.starts_with(&format!("'{option}' is not supported")));
    }
}

#[test]
fn an_error_has_the_shape_that_redis_gives_it() {
    let error = run(&["a"], &[("a", "\nport x")]).unwrap_err();
    let version = crate::service::info::REDIS_VERSION;
    assert_eq!(
        error,
        format!(
            "\n*** FATAL CONFIG FILE ERROR (Redis {version}) ***\nReading the configuration file, at line 2\n>>> 'port x'\n\
             argument couldn't be parsed into an integer"
        )
    );
}

#[test]
fn what_is_included_stands_where_dir_has_led() {
    let files = [
        ("a", "dir sub\ninclude b\n"),
        ("/cwd/sub/b", "port 7"),
        ("c", "include a2"),
        ("a2", "port 8"),
    ];
    assert_eq!(run(&["a"], &files).unwrap().config.port, 7);
    assert_eq!(run(&["c"], &files).unwrap().config.port, 8);
}

#[test]
fn files_that_multiply_come_to_an_end() {
    let many: String = "include b\n".repeat(200);
    let text: &'static str = Box::leak(many.into_boxed_str());
    let more: &'static str = Box::leak("include c\n".repeat(200).into_boxed_str());
    let files = [("a", text), ("b", more), ("c", "hz 10")];
    let error = run(&["a"], &files).unwrap_err();
    assert!(error.contains("too large together, or too many"), "{error}");
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
