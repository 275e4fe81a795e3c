//! CONFIG.

use super::allowed;
use crate::exec::replication::Syncs;
use crate::exec::{self, Action, Args, CmdError, CmdResult, Command, Ctx, Flow, System};
use crate::service::config::{Change, Config, Rights, SetError, find};
use crate::spec::{Group, flag};
use crate::util::system::reason;

const ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

/// The rows of this family.
pub(crate) const COMMANDS: &[Command] = &[Command::container("config", -2)
    .since("2.0.0")
    .group(Group::Server)
    .summary("Commands about the configuration.")
    .complexity("Depends on the subcommand.")
    .subs(&[
        sub("get", -3, get)
            .since("2.0.0")
            .syntax("parameter...")
            .summary("Return the values of parameters whose names match.")
            .complexity("O(N) in the number of parameters")
            .history(&[("7.0.0", "Takes several patterns.")])
            .checked(),
        sub("set", -4, set)
            .since("2.0.0")
            .syntax("data={parameter value}...")
            .summary("Change parameters, all of them or none.")
            .complexity("O(N) in the number of parameters")
            .history(&[("7.0.0", "Takes several parameters.")])
            .tips(ALL_NODES)
            .checked(),
        sub("rewrite", 2, rewrite)
            .since("2.8.0")
            .summary("Write the configuration into the file it came from.")
            .complexity("O(1)")
            .tips(ALL_NODES)
            .checked(),
        sub("resetstat", 2, resetstat)
            .since("2.0.0")
            .summary("Set the counters of INFO to zero.")
            .complexity("O(1)")
            .tips(ALL_NODES)
            .checked(),
        Command::help("5.0.0", Group::Server, help).checked(),
    ])
    .checked()];

const fn sub(name: &'static str, arity: i16, run: crate::exec::Handler) -> Command {
    Command::new(name, arity, run).group(Group::Server).flags(&[
        flag::ADMIN,
        flag::NOSCRIPT,
        flag::LOADING,
        flag::STALE,
    ])
}

fn get(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let found = cx.sys.cfg.get(args.from(2));
    cx.reply.map(found.len());
    for (name, value) in found {
        cx.reply.bulk(&name);
        cx.reply.bulk(&value);
    }
    Ok(Flow::Done)
}

fn set(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let pairs: Vec<(&[u8], &[u8])> = args
        .from(2)
        .chunks_exact(2)
        .filter_map(|pair| Some((*pair.first()?, *pair.get(1)?)))
        .collect();
    for (i, (name, _)) in pairs.iter().enumerate() {
        if find(name).is_some_and(|row| row.sensitive) {
            cx.sys.redact.push(2 * i + 3);
        }
    }
    if !args.len().is_multiple_of(2) {
        return Err(CmdError::SYNTAX);
    }
    change(cx, &pairs)?;
    cx.ok()
}

/// Changes parameters, all of them or none.
pub(in crate::commands) fn change(
    cx: &mut Ctx<'_>,
    pairs: &[(&[u8], &[u8])],
) -> Result<(), CmdError> {
    let rights = Rights {
        protected: allowed(cx.sys.cfg.enable_protected_configs, cx.sessions.get(cx.sid)),
        loading: cx.sys.persist.loads(),
    };
    let System { cfg, host, .. } = &mut *cx.sys;
    let changes = cfg
        .set(pairs, rights, &mut |old, new, changes| {
            host.0.apply(old, new, changes)
        })
        .map_err(|e| match e {
            SetError::Loading => CmdError::LOADING,
            e => CmdError::new(format!("ERR {e}")),
        })?;
    took_effect(cx, &changes);
    Ok(())
}

/// What follows from a change inside of the engine; the rest is the surroundings'.
fn took_effect(cx: &mut Ctx<'_>, changes: &[Change]) {
    if changes.is_empty() {
        return;
    }
    exec::configure(cx.ks, cx.sys);
    let client = cx.who();
    for change in changes {
        let value = shown(change, &cx.sys.cfg);
        tracing::info!(
            parameter = change.row.name,
            value,
            client,
            "Configuration changed"
        );
    }
    for change in changes.iter().filter(|change| change.idle) {
        tracing::warn!(
            "'{}' is accepted, but has no effect in this version.",
            change.row.name
        );
    }
    let names = changes.iter().map(|change| change.row.name).collect();
    cx.sys.actions.push(Action::Reconfigure(names));
}

/// The value of a parameter for the log: the beginning of a long one, and nothing of what is to stay secret.
fn shown(change: &Change, config: &Config) -> String {
    const MOST: usize = 200;
    if change.row.sensitive {
        return "(redacted)".to_owned();
    }
    let value = change.row.show(config);
    let text = String::from_utf8_lossy(&value);
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.into_owned(),
    }
}

fn rewrite(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    write_file(cx, false)
}

/// CONFIG REWRITE, of all parameters if `all`.
pub(super) fn write_file(cx: &mut Ctx<'_>, all: bool) -> CmdResult {
    if cx.sys.cfg.file().is_none() {
        return Err(CmdError::fixed(
            "ERR The server is running without a config file",
        ));
    }
    exec::save_config(cx.sys, all).map_err(|e| {
        let why = reason(&e);
        tracing::warn!("CONFIG REWRITE failed: {why}");
        CmdError::new(format!("ERR Rewriting config file: {why}"))
    })?;
    let client = cx.who();
    tracing::info!(client, "CONFIG REWRITE executed with success.");
    cx.ok()
}

fn resetstat(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.sys.stats.reset();
    cx.sys.eviction.reset_stats();
    cx.ks.reset_stats();
    cx.sys.repl.counts = Syncs::default();
    let persist = &mut cx.sys.persist;
    persist.saves = 0;
    persist.rewrites.begun = 0;
    persist.rewrites.failures = 0;
    if let Some(logging) = &persist.logging {
        logging.log.forget_delayed_syncs();
    }
    cx.sys.acl.log.reset_counts();
    cx.sys.unconfirmed.gate().reset_figures();
    cx.ok()
}

fn help(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.help(&[
        "GET <pattern> [<pattern> ...]",
        "    Show the parameters whose names match, with their values.",
        "SET <parameter> <value> [<parameter> <value> ...]",
        "    Change parameters, all of them or none.",
        "REWRITE",
        "    Write the configuration into the file it came from.",
        "RESETSTAT",
        "    Set the counters of INFO to zero.",
    ])
}
