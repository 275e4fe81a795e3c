//! The programs of `examples/` print what they promise in comments `// -> text`, line by line; those whose point are tests
//! are run as such by cargo itself. Those in other languages bring their own test runner, which starts the binary.

use super::common::peer::{missing, scratch, tool};
use super::tools;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const EXE: &str = env!("CARGO_BIN_EXE_redkeep");

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// An example as cargo has built it: it does so whenever it runs all tests.
fn built(name: &str) -> Option<PathBuf> {
    let here = std::env::current_exe().unwrap();
    let path = here.ancestors().nth(2)?.join("examples").join(name);
    if path.is_file() {
        return Some(path);
    }
    missing(name, "cargo test --examples builds it");
    None
}

/// Runs it, and compares what it prints with what its source promises.
fn keeps_its_promises(name: &str) {
    let source = fs::read_to_string(examples().join(name).with_extension("rs")).unwrap();
    let promised: Vec<_> = source
        .lines()
        .filter_map(|l| l.split_once("// -> "))
        .collect();
    let promised: Vec<_> = promised.into_iter().map(|(_, text)| text).collect();
    assert!(!promised.is_empty(), "{name} promises nothing");
    let Some(program) = built(name) else { return };
    let output = Command::new(program).stdin(Stdio::null()).output().unwrap();
    assert_eq!(tools::lines(output), promised);
}

#[test]
fn lock() {
    keeps_its_promises("lock");
}

#[test]
fn unlosable_queue() {
    keeps_its_promises("unlosable_queue");
}

#[test]
fn time_travel() {
    keeps_its_promises("time_travel");
}

/// Runs what has tests of its own, on servers that it starts itself; what it says.
fn succeeds(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{command:?}\n{said}");
    said
}

#[test]
fn pytest() {
    let Some(python) = tools::python() else {
        return;
    };
    let mut command = Command::new(python);
    command
        .args(["-m", "pytest", "-v", "-p", "no:cacheprovider"])
        .arg(examples().join("python"))
        .env("REDKEEP", EXE)
        .env("PYTHONPYCACHEPREFIX", scratch().join("pycache"));
    let said = succeeds(&mut command);
    assert!(said.contains("a_basket_is_sold_once PASSED"), "{said}");
}

#[test]
fn node_test() {
    let Some((node, home)) = tools::node() else {
        return;
    };
    // Node looks for packages beside the file that imports them, and above.
    let here = home.join("examples");
    fs::create_dir_all(&here).unwrap();
    for file in fs::read_dir(examples().join("node")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), here.join(file.file_name())).unwrap();
    }
    let mut command = Command::new(node);
    command.args(["--test", "--test-reporter", "spec"]);
    command.arg(here.join("jobs.test.mjs")).env("REDKEEP", EXE);
    let said = succeeds(&mut command);
    assert!(said.contains("a job is for one worker"), "{said}");
}

#[test]
fn shell_with_redis_cli() {
    if tool("redis-cli").is_some() {
        shell("");
    }
}

#[test]
fn shell_alone() {
    shell("yes");
}

fn shell(no_cli: &str) {
    let mut command = Command::new("bash");
    command.arg(examples().join("shell/test_counter.sh"));
    command.env("REDKEEP_PROGRAM", EXE);
    let said = succeeds(command.env("REDKEEP_NO_CLI", no_cli));
    assert_eq!(said.matches("ok: ").count(), 8, "{said}");
}

/// Each example is run: here, or as a test of its own.
#[test]
fn no_example_is_forgotten() {
    let files = fs::read_dir(examples()).unwrap().map(|f| f.unwrap().path());
    let rust = files.filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let stem = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    let there: BTreeSet<String> = rust.map(stem).collect();
    let mut run = BTreeSet::new();
    for line in include_str!("examples.rs").lines() {
        let name = line.trim().strip_prefix("keeps_its_promises(\"");
        run.extend(name.and_then(|l| Some(l.split_once('"')?.0.to_owned())));
    }
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    for example in manifest.unwrap().split("[[example]]").skip(1) {
        let example = example.split("[[").next().unwrap();
        if example.contains("\ntest = true\n") {
            let name = example.split('"').nth(1).unwrap();
            let source = fs::read_to_string(examples().join(name).with_extension("rs")).unwrap();
            assert!(source.contains("#[test]") || source.contains("#[tokio::test]"));
            run.insert(name.to_owned());
        }
    }
    assert_eq!(there, run);
}
