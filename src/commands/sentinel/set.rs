//! SENTINEL SET: what is set for one master.

use super::{master, saved, sentinel, sub, told};
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx};
use crate::sentinel::{Id, LONGEST_PERIOD, MasterSettings, Sentinel};
use crate::util::num;

pub(super) const SET: Command = sub("set", -5, set)
    .since("2.8.4")
    .syntax("master-name data={option value}...")
    .summary("Change what is set for a master.")
    .complexity("O(1)")
    .checked();

/// An option, which takes one value.
struct Setting {
    name: &'static str,
    write: Write,
}

/// How it is set.
enum Write {
    /// To a number that is so great at least, and is kept below a limit.
    Number(i64, fn(&mut MasterSettings, i64)),
    /// To a script, which must be there; or to none.
    Script(fn(&mut MasterSettings) -> &mut String, &'static str),
    /// To what the connections are authenticated with; they are made anew.
    Credential(fn(&mut MasterSettings) -> &mut Vec<u8>),
}

/// The most of something that is counted, for the same reason.
const MOST: i64 = i32::MAX as i64;

const SETTINGS: &[Setting] = &[
    Setting {
        name: "down-after-milliseconds",
        write: Write::Number(1, |set, n| set.down_after = n.min(LONGEST_PERIOD)),
    },
    Setting {
        name: "failover-timeout",
        write: Write::Number(1, |set, n| set.failover_timeout = n.min(LONGEST_PERIOD)),
    },
    Setting {
        name: "parallel-syncs",
        write: Write::Number(1, |set, n| set.parallel_syncs = n.min(MOST) as u32),
    },
    Setting {
        name: "notification-script",
        write: Write::Script(
            |set| &mut set.notification_script,
            "ERR Notification script seems non existing or non executable",
        ),
    },
    Setting {
        name: "client-reconfig-script",
        write: Write::Script(
            |set| &mut set.reconfig_script,
            "ERR Client reconfiguration script seems non existing or non executable",
        ),
    },
    Setting {
        name: "auth-pass",
        write: Write::Credential(|set| &mut set.auth_pass),
    },
    Setting {
        name: "auth-user",
        write: Write::Credential(|set| &mut set.auth_user),
    },
    Setting {
        name: "quorum",
        write: Write::Number(1, |set, n| set.quorum = n.min(MOST) as u32),
    },
    Setting {
        name: "master-reboot-down-after-period",
        write: Write::Number(0, |set, n| set.reboot_down_after = n.min(LONGEST_PERIOD)),
    },
];

/// The one option that takes two values.
const RENAME: &str = "rename-command";

const SCRIPTS_DENIED: CmdError = CmdError::fixed(
    "ERR Reconfiguration of scripts path is denied for security reasons. Check the deny-scripts-reconfig \
     configuration directive in your Sentinel configuration",
);

/// One option after the other: those before one that is refused are set.
fn set(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let sentinel = sentinel(cx.sys)?;
    let id = master(sentinel, args.at(2))?;
    let mut words = args.cursor(3);
    while let Some(option) = words.next() {
        let values = match words.rest() {
            [from, to, ..] if is(option, RENAME) => {
                rename(sentinel, id, option, from, to)?;
                words.nth(1);
                format!("{} {}", told(from), told(to))
            }
            [value, ..] => {
                let setting = SETTINGS.iter().find(|setting| is(option, setting.name));
                let setting = setting.ok_or_else(|| unknown(option))?;
                write(sentinel, id, &setting.write, option, value)?;
                words.next();
                match setting.name {
                    "auth-pass" => "******".to_owned(),
                    _ => told(value),
                }
            }
            [] => return Err(unknown(option)),
        };
        sentinel.tell_set(id, &format!("{} {values}", told(option)));
    }
    saved(cx)
}

fn unknown(option: &[u8]) -> CmdError {
    let option = told(option);
    CmdError::new(format!(
        "ERR Unknown option or number of arguments for SENTINEL SET '{option}'"
    ))
}

fn invalid(option: &[u8], value: &[u8]) -> CmdError {
    let (option, value) = (told(option), told(value));
    CmdError::new(format!(
        "ERR Invalid argument '{value}' for SENTINEL SET '{option}'"
    ))
}

fn write(
    sentinel: &mut Sentinel,
    id: Id,
    how: &Write,
    option: &[u8],
    value: &[u8],
) -> Result<(), CmdError> {
    let scripts_denied = sentinel.settings.deny_scripts;
    match how {
        Write::Number(least, set) => {
            let number = num::parse_i64(value).filter(|number| number >= least);
            let number = number.ok_or_else(|| invalid(option, value))?;
            sentinel.change_settings(id, |settings| set(settings, number));
        }
        Write::Script(..) if scripts_denied => return Err(SCRIPTS_DENIED),
        Write::Script(field, why) => {
            let path = std::str::from_utf8(value).map_err(|_| CmdError::fixed(why))?;
            if !path.is_empty() && !sentinel.may_run(path) {
                return Err(CmdError::fixed(why));
            }
            sentinel.change_settings(id, |settings| path.clone_into(field(settings)));
        }
        Write::Credential(field) => {
            sentinel.change_settings(id, |settings| value.clone_into(field(settings)));
            sentinel.drop_links(id);
        }
    }
    Ok(())
}

/// A command that is called as it is has no other name.
fn rename(
    sentinel: &mut Sentinel,
    id: Id,
    option: &[u8],
    from: &[u8],
    to: &[u8],
) -> Result<(), CmdError> {
    let text = |word| {
        std::str::from_utf8(word)
            .ok()
            .filter(|word| !word.is_empty())
    };
    let old = text(from).ok_or_else(|| invalid(option, from))?;
    let new = text(to).ok_or_else(|| invalid(option, to))?;
    sentinel.change_settings(id, |settings| {
        let old = old.to_ascii_uppercase();
        match old.eq_ignore_ascii_case(new) {
            true => settings.renamed.remove(&old),
            false => settings.renamed.insert(old, new.to_owned()),
        };
    });
    Ok(())
}
