//! `redkeep drill`: breaks a leader while clients work, and tells what became of what they were told.
//!
//! Clients (`locks`, `stream`) go to the leader that the sentinels name (`follow`, `wire`) and note what was acknowledged
//! (`ledger`). Meanwhile the servers (`ground`) are broken and healed (`course`), and listeners note what the sentinels
//! tell (`told`). In the end the notes are compared with what the leader has (`scene`, `judge`), and that is told
//! (`timeline`, `report`). docs/HA.md says what each figure means.

mod args;
mod course;
mod existing;
mod follow;
mod ground;
mod judge;
mod ledger;
mod locks;
mod pulse;
mod raised;
mod reach;
mod report;
mod scene;
mod stream;
mod timeline;
mod told;
mod wire;
mod work;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::watch;

use super::ask::Credentials;
use super::summons::Signals;
pub(super) use args::Args;
use existing::Existing;
use ground::{Ground, Unable};
use raised::{Raised, Wishes};

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
    // Before there is anything that would be left behind.
    let interrupted = heed()?;
    let mut ground = ground(args)?;
    let outcome = course::hold(plan, ground.as_mut(), &runtime, interrupted, &say)?;
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
fn ground(args: &Args) -> Result<Box<dyn Ground>, Unable> {
    let tls = args.tls.secure();
    let tls = tls.map_err(|error| Unable(error.to_string()))?;
    if args.sentinel.is_empty() && tls.is_some() {
        return Err(Unable::because(
            "Servers of its own do not speak TLS: --tls goes with --sentinel.",
        ));
    }
    if args.sentinel.is_empty() {
        return Ok(Box::new(Raised::new(Wishes {
            replicas: args.replicas,
            sentinels: args.sentinels,
            down_after: Duration::from_millis(args.down_after),
            sync: args.sync,
            options: &args.set,
        })?));
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
        sentinels: args.sentinel.clone(),
        master: args.master.clone(),
        login: Credentials {
            user: args.user.clone(),
            password: args.password.clone(),
            tls: tls.clone(),
        },
        sentinel_login: Credentials {
            user: None,
            password: args.sentinel_password.clone(),
            tls,
        },
        patience: args.patience(),
        fault_command: args.fault_command.clone(),
        heal_command: args.heal_command.clone(),
        broken: None,
    }))
}

/// Becomes true when somebody wants the program to end. Nothing else ends it then: what was broken is to be healed.
fn heed() -> Result<watch::Receiver<bool>, Unable> {
    let (interrupt, interrupted) = watch::channel(false);
    let heard = Signals::hear().and_then(|signals| {
        let thread = std::thread::Builder::new().name("redkeep-signals".into());
        thread.spawn(move || {
            signals.each(move |_| {
                interrupt.send_replace(true);
            });
        })
    });
    match heard {
        Ok(_) => Ok(interrupted),
        Err(error) => Err(Unable(format!("Signals are not heard: {error}"))),
    }
}

/// Tells people how far it is, beside the report.
fn say(text: &str) {
    // There is nowhere else to complain to.
    let _ = writeln!(io::stderr(), "{text}");
}
