//! Client packages at pinned versions, installed under `target/` once and used until the pins change.

use super::common::peer::{apt_install, missing, scratch, tool};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// The folder of this test.
pub fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e")
}

/// A Python that has the packages of `python/requirements.txt`, or `None` after having said why not.
pub fn python() -> Option<PathBuf> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let system = tool("python3")?;
    known("the Python packages", MADE.get_or_init(|| venv(&system)))
}

fn venv(system: &Path) -> Result<PathBuf, String> {
    let pins = here().join("python/requirements.txt");
    let home = scratch().join("python");
    once(&home, &[&pins], || {
        let make = || {
            run(Command::new(system)
                .args(["-m", "venv", "--clear"])
                .arg(&home))
        };
        make().or_else(|why| match apt_install("python3-venv") {
            true => make(),
            false => Err(why),
        })?;
        let mut pip = Command::new(home.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]);
        run(pip.args(["--require-hashes", "-r"]).arg(&pins))
    })?;
    Ok(home.join("bin/python"))
}

/// Node and a folder whose programs find the packages of `node/package-lock.json`, or `None` after having said why not.
pub fn node() -> Option<(PathBuf, PathBuf)> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let (node, npm) = (tool("node")?, tool("npm")?);
    let home = known("the Node packages", MADE.get_or_init(|| modules(&npm)))?;
    Some((node, home))
}

fn modules(npm: &Path) -> Result<PathBuf, String> {
    let from = here().join("node");
    let home = scratch().join("node");
    let pins = ["package.json", "package-lock.json"].map(|name| from.join(name));
    once(&home, &[&pins[0], &pins[1]], || {
        fs::create_dir_all(&home).map_err(|e| e.to_string())?;
        for (pin, name) in pins.iter().zip(["package.json", "package-lock.json"]) {
            fs::copy(pin, home.join(name)).map_err(|e| e.to_string())?;
        }
        let mut ci = Command::new(npm);
        ci.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        run(ci.current_dir(&home))
    })?;
    // Node looks for packages beside the file that imports them.
    for entry in fs::read_dir(&from).map_err(|e| e.to_string())?.flatten() {
        if entry.path().extension().is_some_and(|e| e == "mjs") {
            fs::copy(entry.path(), home.join(entry.file_name())).map_err(|e| e.to_string())?;
        }
    }
    Ok(home)
}

/// Installs unless the folder holds what the pins say; one process at a time.
fn once(
    home: &Path,
    pins: &[&Path],
    install: impl Fn() -> Result<(), String>,
) -> Result<(), String> {
    let said = |e: std::io::Error| format!("{}: {e}", home.display());
    let lock = File::create(home.with_extension("lock")).map_err(said)?;
    lock.lock().map_err(said)?;
    let mut wanted = String::new();
    for pin in pins {
        wanted.push_str(&fs::read_to_string(pin).map_err(said)?);
    }
    let mark = home.join("installed");
    if fs::read_to_string(&mark).is_ok_and(|had| had == wanted) {
        return Ok(());
    }
    let _ = fs::remove_file(&mark);
    // A registry may fail to answer once.
    install().or_else(|_| install())?;
    fs::write(mark, wanted).map_err(said)
}

/// Runs a command to its end; when it fails, the last it said.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last: Vec<_> = said.lines().rev().take(5).collect();
    let last: Vec<_> = last.into_iter().rev().collect();
    Err(format!(
        "{command:?}: {}: {}",
        output.status,
        last.join("; ")
    ))
}

fn known(what: &str, made: &Result<PathBuf, String>) -> Option<PathBuf> {
    match made {
        Ok(path) => Some(path.clone()),
        Err(why) => {
            missing(what, why);
            None
        }
    }
}

/// The lines a program printed; it must have ended well.
pub fn lines(output: Output) -> Vec<String> {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{error}", output.status);
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}
