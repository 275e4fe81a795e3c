//! ACL SETUSER, DELUSER, LOAD and SAVE.

use std::path::PathBuf;

use crate::exec::{Args, CmdError, CmdResult, Ctx, acl};

const NO_FILE: CmdError = CmdError::fixed(
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER \
     command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users \
     in the Redis configuration.",
);

pub(super) fn setuser(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    // Passwords are among the rules.
    cx.sys.redact.extend(2..args.len());
    let name = args.at(2);
    if name
        .iter()
        .any(|b| b.is_ascii_whitespace() || matches!(b, 0 | 11))
    {
        let text = "ERR Usernames can't contain spaces or null characters";
        return Err(CmdError::fixed(text));
    }
    acl::set_user(cx, name, args.from(3))?;
    cx.ok()
}

pub(super) fn deluser(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let names = args.from(2);
    if names.iter().any(|name| *name == b"default") {
        let text = "ERR The 'default' user cannot be removed";
        return Err(CmdError::fixed(text));
    }
    let mut deleted = 0;
    for name in names {
        deleted += usize::from(acl::delete_user(cx, name));
    }
    cx.count(deleted)
}

fn file(cx: &Ctx<'_>) -> Result<PathBuf, CmdError> {
    acl::file(cx.sys).ok_or(NO_FILE)
}

pub(super) fn load(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let path = file(cx)?;
    acl::load(cx, &path).map_err(|faults| CmdError::new(format!("ERR {faults}")))?;
    tracing::info!("The users were loaded from the ACL file");
    cx.ok()
}

pub(super) fn save(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let path = file(cx)?;
    acl::save(cx.sys, &path).map_err(|e| {
        tracing::warn!("Cannot write the ACL file: {e}");
        CmdError::fixed(
            "ERR There was an error trying to save the ACLs. Please check the server logs for more information",
        )
    })?;
    cx.ok()
}
