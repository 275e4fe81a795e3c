//! Client libraries as their users install them.

use super::common::peer::scratch;
use super::{Target, output, tools};
use std::process::Command;

#[test]
fn redis_py() {
    if let Some(python) = tools::python() {
        let mut command = Command::new(python);
        command.arg(tools::here().join("python/tls.py"));
        runs_well(command.env("PYTHONPYCACHEPREFIX", scratch().join("pycache")));
    }
}

#[test]
fn ioredis() {
    if let Some((node, home)) = tools::node() {
        runs_well(Command::new(node).arg(home.join("tls.mjs")));
    }
}

fn runs_well(command: &mut Command) {
    let target = Target::start(&[]);
    command
        .env("REDIS_PORT", target.server.port.to_string())
        .env("REDIS_FOLDER", target.server.dir.path())
        .env("TLS_PORT", target.tls_port.to_string())
        .env("TLS_PAPERS", target.papers.path(""));
    let (said, well) = output(command);
    assert!(
        well && said.trim_end().ends_with("runs, failed: none"),
        "{said}\n{}",
        target.server.log()
    );
}
