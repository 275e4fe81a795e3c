//! Real client packages: each program in `python/` and `node/` drives one of them, on a server of its own.

use super::{Target, tools};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// No program needs nearly as long, on a machine that does other work besides.
const LIMIT: Duration = Duration::from_secs(150);

#[test]
fn redis_py_over_resp2() {
    python("redis_py.py", &[("RESP", "2")]);
}

#[test]
fn redis_py_over_resp3() {
    python("redis_py.py", &[("RESP", "3")]);
}

#[test]
fn redis_py_asyncio_over_resp2() {
    python("redis_py_asyncio.py", &[("RESP", "2")]);
}

#[test]
fn redis_py_asyncio_over_resp3() {
    python("redis_py_asyncio.py", &[("RESP", "3")]);
}

#[test]
fn users_by_redis_py_over_resp2() {
    python("redis_py_access.py", &[("RESP", "2")]);
}

#[test]
fn users_by_redis_py_over_resp3() {
    python("redis_py_access.py", &[("RESP", "3")]);
}

#[test]
fn python_redis_lock() {
    python("redis_lock_runs.py", &[]);
}

#[test]
fn celery() {
    python("celery_runs.py", &[]);
}

#[test]
fn rq() {
    python("rq_runs.py", &[]);
}

#[test]
fn huey_with_a_list() {
    python("huey_runs.py", &[("HUEY", "list")]);
}

#[test]
fn huey_with_priorities() {
    python("huey_runs.py", &[("HUEY", "priority")]);
}

#[test]
fn ioredis_5() {
    node("ioredis.mjs", &[("IOREDIS", "ioredis-5"), ("RESP", "2")]);
}

#[test]
fn ioredis_6_over_resp2() {
    node("ioredis.mjs", &[("IOREDIS", "ioredis"), ("RESP", "2")]);
}

#[test]
fn ioredis_6_over_resp3() {
    node("ioredis.mjs", &[("IOREDIS", "ioredis"), ("RESP", "3")]);
}

#[test]
fn node_redis_5_over_resp2() {
    node(
        "node_redis.mjs",
        &[("NODE_REDIS", "redis-5"), ("RESP", "2")],
    );
}

#[test]
fn node_redis_5_over_resp3() {
    node(
        "node_redis.mjs",
        &[("NODE_REDIS", "redis-5"), ("RESP", "3")],
    );
}

#[test]
fn node_redis_6_over_resp2() {
    node("node_redis.mjs", &[("NODE_REDIS", "redis"), ("RESP", "2")]);
}

#[test]
fn node_redis_6_over_resp3() {
    node("node_redis.mjs", &[("NODE_REDIS", "redis"), ("RESP", "3")]);
}

#[test]
fn users_by_ioredis_5_and_node_redis_5() {
    let names = [("IOREDIS", "ioredis-5"), ("NODE_REDIS", "redis-5")];
    node("access.mjs", &[names[0], names[1], ("RESP", "2")]);
}

#[test]
fn users_by_ioredis_6_and_node_redis_6_over_resp2() {
    node("access.mjs", &[("RESP", "2")]);
}

#[test]
fn users_by_ioredis_6_and_node_redis_6_over_resp3() {
    node("access.mjs", &[("RESP", "3")]);
}

#[test]
fn bullmq_5() {
    node("bullmq.mjs", &[("BULLMQ", "bullmq-5")]);
}

#[test]
fn bullmq_6() {
    node("bullmq.mjs", &[("BULLMQ", "bullmq")]);
}

#[test]
fn redlock() {
    node("redlock.mjs", &[]);
}

fn node(program: &str, env: &[(&str, &str)]) {
    if let Some((node, home)) = tools::node() {
        let mut command = Command::new(node);
        command.arg(home.join(program));
        must_end_well(command, env);
    }
}

fn python(program: &str, env: &[(&str, &str)]) {
    if let Some(python) = tools::python() {
        let mut command = Command::new(python);
        command.arg(tools::here().join("python").join(program));
        command.env(
            "PYTHONPYCACHEPREFIX",
            super::common::peer::scratch().join("pycache"),
        );
        must_end_well(command, env);
    }
}

fn must_end_well(mut command: Command, env: &[(&str, &str)]) {
    let target = Target::start();
    let log = target.folder().join("program");
    let out = File::create(&log).unwrap();
    let mut child = command
        .envs(env.iter().copied())
        .env("REDIS_PORT", target.port().to_string())
        .env("REDIS_FOLDER", target.folder())
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .process_group(0)
        .spawn()
        .unwrap();
    let group = rustix::process::Pid::from_child(&child);
    let since = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if since.elapsed() > LIMIT {
            break None;
        }
        thread::sleep(Duration::from_millis(5));
    };
    // Whatever it started ends with it.
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    let _ = child.wait();
    let said = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
    assert!(
        status.is_some_and(|s| s.success()),
        "{command:?}: {status:?} after {:?}\n{said}\nThe server said:\n{}",
        since.elapsed(),
        target.log()
    );
    let (_, last) = said.trim_end().rsplit_once('\n').unwrap_or(("", &said));
    assert!(
        last.ends_with("runs, failed: none"),
        "the program ran nothing:\n{said}"
    );
}
