//! A program outside of the repository that uses the library: with what it has by default, and without that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What both programs do.
const WITHOUT: &str = r#"
use redkeep::embed::Instance;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let instance = Instance::builder().start()?;
    let mut client = instance.client()?;
    client.call(["SET", "k", "without sockets"])?;
    println!("{}", client.call(["GET", "k"])?);
    instance.shutdown();
    Ok(())
}
"#;

const WITH: &str = r#"
use std::io::{Read, Write};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = redkeep::Server::builder().start()?;
    server.client()?.call(["EVAL", "return redis.call('SET', 'k', ARGV[1])", "0", "+with sockets"])?;
    let mut stream = std::net::TcpStream::connect(server.addr())?;
    stream.write_all(b"GETRANGE k 1 -1\r\nQUIT\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    println!("{}", reply.lines().nth(1).unwrap_or_default());
    server.shutdown();
    Ok(())
}
"#;

/// Puts a file there, unless it is there as it should be: what is built from it would be built again.
fn put(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return;
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Both programs, in one workspace: what they share is built once. Nothing of it lies in the repository's own workspace, and
/// what was built is kept for the next time.
fn workspace() -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("consumer");
    put(
        &home.join("Cargo.toml"),
        "[workspace]\nmembers = [\"with\", \"without\"]\nresolver = \"2\"\n\n[profile.dev]\ndebug = false\nincremental = false\n",
    );
    for (name, features, main) in [
        ("with", "", WITH),
        ("without", ", default-features = false", WITHOUT),
    ] {
        let path = repository.display();
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\nredkeep = {{ path = '{path}'{features} }}\n"
        );
        put(&home.join(name).join("Cargo.toml"), &manifest);
        put(&home.join(name).join("src/main.rs"), main);
    }
    if !home.join("Cargo.lock").exists() {
        fs::copy(repository.join("Cargo.lock"), home.join("Cargo.lock")).unwrap();
    }
    home
}

fn run(home: &Path, name: &str) -> String {
    let out = Command::new(env!("CARGO"))
        .args(["run", "--offline", "--quiet", "--package", name])
        .current_dir(home)
        .env("CARGO_TARGET_DIR", home.join("target"))
        // What the build of this test was told is none of theirs.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{name}: {errors}");
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn a_program_outside_of_the_repository_builds_and_runs() {
    let home = workspace();
    assert_eq!(run(&home, "without"), "\"without sockets\"\n");
    assert_eq!(run(&home, "with"), "with sockets\n");
}
