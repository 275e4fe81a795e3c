//! `redkeep drill`: breaks a leader while clients work, and tells what became of what they were told.
//!
//! Clients (`locks`, `stream`) go to the leader that the sentinels name (`follow`, `wire`) and note what was acknowledged
//! (`ledger`). Meanwhile the servers (`ground`) are broken and healed (`course`), and listeners note what the sentinels
//! tell (`watch`). In the end the notes are compared with what the leader has (`scene`, `judge`), and that is told
//! (`timeline`, `report`). docs/HA.md says what each figure means.

mod args;
mod course;
mod existing;
mod follow;
mod ground;
mod json;
mod judge;
mod ledger;
mod locks;
mod pulse;
mod reach;
mod report;
mod scene;
mod stream;
mod timeline;
mod watch;
mod wire;
mod work;

use std::io::{self, Write};
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};

pub(super) use args::Args;
use existing::Existing;
use ground::{Ground, Unable};
use wire::Login;

/// Something acknowledged was lost, or a lock was held by two at once.
const LOSS: u8 = 1;

/// There was no drill, or its outcome is not known.
const NO_DRILL: u8 = 2;

/// Runs a drill; the status says whether something acknowledged was lost.
pub(super) fn run(args: &Args) -> ExitCode {
    match drill(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(LOSS),
        Err(error) => {
            say(&error.to_string());
            ExitCode::from(NO_DRILL)
        }
    }
}

/// Whether all that was acknowledged was kept.
fn drill(args: &Args) -> Result<bool, Unable> {
    let plan = args
        .plan()
        .ok_or_else(|| Unable::because("The time is too short for such an outage."))?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| Unable(format!("There are no threads: {error}")))?;
    let mut ground = ground(args, &runtime)?;
    let outcome = course::hold(plan, ground.as_mut(), &runtime, &say)?;
    let report = if args.json {
        format!("{}\n", report::json(&outcome))
    } else {
        report::Table(&outcome).to_string()
    };
    io::stdout()
        .write_all(report.as_bytes())
        .map_err(|error| Unable(format!("The report cannot be written: {error}")))?;
    Ok(!outcome.findings.is_loss())
}

/// The servers that are broken.
fn ground(args: &Args, runtime: &Runtime) -> Result<Box<dyn Ground>, Unable> {
    if args.sentinel.is_empty() {
        return Err(Unable::because(
            "This version raises no servers of its own: give it --sentinel.",
        ));
    }
    if !args.yes {
        let sentinels: Vec<_> = args.sentinel.iter().map(ToString::to_string).collect();
        return Err(Unable(format!(
            "The servers behind {} would be broken ({}), and writes to them may be lost.\n\
             See `redkeep drill --help` for what would be done, and say --yes if that is what you want.",
            sentinels.join(", "),
            args.scenario.name()
        )));
    }
    Ok(Box::new(Existing {
        runtime: runtime.handle().clone(),
        sentinels: args.sentinel.clone(),
        master: args.master.clone(),
        login: Login {
            user: args.user.clone(),
            password: args.password.clone(),
        },
        sentinel_login: Login {
            user: None,
            password: args.sentinel_password.clone(),
        },
        patience: args.patience(),
        fault_command: args.fault_command.clone(),
        heal_command: args.heal_command.clone(),
        broken: None,
    }))
}

/// Tells people how far it is, beside the report.
fn say(text: &str) {
    // There is nowhere else to complain to.
    let _ = writeln!(io::stderr(), "{text}");
}
