//! Client libraries at pinned versions, installed under `target/`.

use super::common::peer::{apt_install, missing, scratch, tool};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e")
}

/// A Python that has redis-py, or `None` after having said why not.
pub fn python() -> Option<PathBuf> {
    let system = tool("python3")?;
    let wanted = fs::read_to_string(here().join("requirements.txt")).unwrap();
    let home = scratch().join("python");
    let (python, mark) = (home.join("bin/python"), home.join("requirements.txt"));
    if fs::read_to_string(&mark).is_ok_and(|had| had == wanted) {
        return Some(python);
    }
    let make = || {
        succeeds(
            Command::new(&system)
                .args(["-m", "venv", "--clear"])
                .arg(&home),
        )
    };
    let made = make() || (apt_install("python3-venv") && make());
    if !made {
        missing("redis-py", "no virtual environment can be made");
        return None;
    }
    let mut pip = Command::new(&python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
    ]);
    if !succeeds(pip.arg(here().join("requirements.txt"))) {
        missing("redis-py", "pip cannot install it");
        return None;
    }
    fs::write(mark, wanted).unwrap();
    Some(python)
}

/// A folder whose modules Node finds ioredis among, or `None` after having said why not.
pub fn node() -> Option<(PathBuf, PathBuf)> {
    let (node, npm) = (tool("node")?, tool("npm")?);
    let wanted = fs::read_to_string(here().join("package-lock.json")).unwrap();
    let home = scratch().join("node");
    let mark = home.join("installed");
    if fs::read_to_string(&mark).is_ok_and(|had| had == wanted) {
        return Some((node, home));
    }
    fs::create_dir_all(&home).unwrap();
    for name in ["package.json", "package-lock.json"] {
        fs::copy(here().join(name), home.join(name)).unwrap();
    }
    if !succeeds(
        Command::new(npm)
            .args(["ci", "--no-audit", "--no-fund"])
            .current_dir(&home),
    ) {
        missing("ioredis", "npm cannot install it");
        return None;
    }
    fs::write(mark, wanted).unwrap();
    Some((node, home))
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
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
