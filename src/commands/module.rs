//! MODULE, as of a server that has no modules.

use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow, Handler};
use crate::spec::{Group, flag};

use super::server::allowed;

const LIMITS: &str = "Modules cannot be loaded: they are libraries in C for Redis itself.";

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[Command::container("module", -2)
    .since("4.0.0")
    .group(Group::Server)
    .summary("Commands about modules.")
    .complexity("Depends on the subcommand.")
    .subs(&[
        Command::new("list", 2, list)
            .since("4.0.0")
            .group(Group::Server)
            .flags(&[flag::ADMIN, flag::NOSCRIPT])
            .summary("List the loaded modules; there are none.")
            .complexity("O(1)")
            .tips(&["nondeterministic_output_order"])
            .checked(),
        protected("load", -3, load)
            .since("4.0.0")
            .syntax("path [arg...]")
            .summary("Load a module, which fails.")
            .checked(),
        protected("loadex", -3, load)
            .since("7.0.0")
            .syntax("path [CONFIG^configs={name value}...^] [ARGS^args...]")
            .summary("Load a module with its configuration, which fails.")
            .checked(),
        protected("unload", 3, unload)
            .since("4.0.0")
            .syntax("name")
            .summary("Unload a module, which fails.")
            .checked(),
        Command::help("5.0.0", Group::Server, help).checked(),
    ])
    .checked()];

/// What only those may who `enable-module-command` names.
const fn protected(name: &'static str, arity: i16, run: Handler) -> Command {
    Command::new(name, arity, run)
        .group(Group::Server)
        .flags(&[
            flag::ADMIN,
            flag::NOSCRIPT,
            flag::PROTECTED,
            flag::NO_ASYNC_LOADING,
        ])
        .complexity("O(1)")
        .limits(LIMITS)
}

fn list(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.reply.array(0);
    Ok(Flow::Done)
}

fn load(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    is_allowed(cx)?;
    cx.sys
        .host
        .0
        .log("Module not loaded: Redkeep has no modules");
    let text = "ERR Error loading the extension. Please check the server logs.";
    Err(CmdError::fixed(text))
}

fn unload(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    is_allowed(cx)?;
    let text = "ERR Error unloading module: no such module with that name";
    Err(CmdError::fixed(text))
}

fn is_allowed(cx: &Ctx<'_>) -> Result<(), CmdError> {
    match allowed(cx.sys.cfg.enable_module_command, cx.sessions.get(cx.sid)) {
        true => Ok(()),
        false => Err(CmdError::fixed(
            "ERR MODULE command not allowed. If the enable-module-command option is set to \"local\", you can run it from a \
             local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
        )),
    }
}

fn help(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.help(&[
        "LIST",
        "    List the loaded modules; Redkeep has none.",
        "LOAD, LOADEX, UNLOAD",
        "    Fail: there are no modules.",
    ])
}
