//! Running a script: the file itself with its arguments and our environment. Nobody reads what it prints.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use tokio::process::{Child, Command};
use tokio::sync::Notify;

use super::tell;
use crate::embed::Node;
use crate::sentinel::{Ending, Input, JobId};

/// The exit code that stands for a file that cannot be executed.
const NOT_EXECUTED: i32 = 2;

/// Runs a script to its end, which `kill` may bring about.
pub(super) async fn run(node: Node, job: JobId, argv: Vec<String>, kill: Arc<Notify>) -> JobId {
    let ending = match start(&argv) {
        Ok(child) => {
            let pid = child.id();
            tell(&node, Input::Started { job, pid }).await;
            wait(child, &kill).await
        }
        Err(e) if is_for_want_of_a_process(&e) => {
            tell(&node, Input::Started { job, pid: None }).await;
            return job;
        }
        Err(_) => Ending {
            code: NOT_EXECUTED,
            signal: 0,
        },
    };
    tell(&node, Input::Ended { job, ending }).await;
    job
}

fn start(argv: &[String]) -> io::Result<Child> {
    let (path, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    // A name without a directory is one in ours: it is not looked for elsewhere.
    let path = match path.contains('/') {
        true => path.clone(),
        false => format!("./{path}"),
    };
    let mut command = Command::new(path);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    // What it starts ends with it when it is killed.
    #[cfg(unix)]
    command.process_group(0);
    command.spawn()
}

/// Whether it was not the file that was to blame.
fn is_for_want_of_a_process(e: &io::Error) -> bool {
    use io::ErrorKind::{OutOfMemory, WouldBlock};
    // Too many open files have no kind of their own.
    #[cfg(unix)]
    let files = matches!(e.raw_os_error(), Some(23 | 24));
    #[cfg(not(unix))]
    let files = false;
    files || matches!(e.kind(), WouldBlock | OutOfMemory)
}

async fn wait(mut child: Child, kill: &Notify) -> Ending {
    let ended = tokio::select! {
        ended = child.wait() => ended,
        () = kill.notified() => {
            kill_all(&mut child);
            child.wait().await
        }
    };
    match ended {
        Ok(status) => ending(status),
        // Somebody else in this process has waited for it.
        Err(_) => Ending { code: 0, signal: 0 },
    }
}

/// Kills a script, and what it has started.
fn kill_all(child: &mut Child) {
    #[cfg(unix)]
    if let Some(pid) = child.id()
        && let Ok(pid) = i32::try_from(pid)
        && let Some(pid) = rustix::process::Pid::from_raw(pid)
    {
        // It may have ended by itself.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
    let _ = child.start_kill();
}

fn ending(status: ExitStatus) -> Ending {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal = None;
    Ending {
        code: status.code().unwrap_or(0),
        signal: signal.unwrap_or(0),
    }
}
