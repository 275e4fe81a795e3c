//! SENTINEL CONFIG and SENTINEL DEBUG: what concerns the sentinel as a whole.

use super::{saved, sentinel, sub, told};
use crate::commands::server::config::change;
use crate::exec::args::is;
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::sentinel::{LONGEST_PERIOD, Periods, Settings};
use crate::util::{glob, num};

pub(super) const CONFIG: Command = sub("config", -4, config)
    .since("6.2.0")
    .syntax("action=(SET^set={parameter value}... | GET^parameter...)")
    .summary("Show or change what concerns the sentinel as a whole.")
    .complexity("O(N), N being the number of parameters")
    .history(&[("7.2.0", "Takes several parameters.")])
    .checked();

/// A parameter of the sentinel.
struct Parameter {
    name: &'static str,
    show: fn(&Settings) -> Vec<u8>,
    /// None: the value is no good.
    set: fn(&mut Settings, &[u8]) -> Option<()>,
}

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "resolve-hostnames",
        show: |settings| yes_or_no(settings.naming.resolves),
        set: |settings, value| flag(value).map(|on| settings.naming.resolves = on),
    },
    Parameter {
        name: "announce-hostnames",
        show: |settings| yes_or_no(settings.naming.announces_names),
        set: |settings, value| flag(value).map(|on| settings.naming.announces_names = on),
    },
    Parameter {
        name: "announce-ip",
        show: |settings| settings.announce_ip.clone().into(),
        set: |settings, value| {
            let text = std::str::from_utf8(value).ok()?;
            text.clone_into(&mut settings.announce_ip);
            Some(())
        },
    },
    Parameter {
        name: "announce-port",
        show: |settings| settings.announce_port.to_string().into(),
        set: |settings, value| {
            let port = num::parse_i64(value)?;
            settings.announce_port = u16::try_from(port).ok()?;
            Some(())
        },
    },
    Parameter {
        name: "sentinel-user",
        show: |settings| settings.user.clone(),
        set: |settings, value| {
            settings.user = value.to_vec();
            Some(())
        },
    },
    Parameter {
        name: "sentinel-pass",
        show: |settings| settings.password.clone(),
        set: |settings, value| {
            settings.password = value.to_vec();
            Some(())
        },
    },
];

/// The one parameter that is not the sentinel's alone.
const LOG_LEVEL: &str = "loglevel";

fn yes_or_no(on: bool) -> Vec<u8> {
    if on { b"yes".into() } else { b"no".into() }
}

fn flag(value: &[u8]) -> Option<bool> {
    let on = is(value, "yes");
    (on || is(value, "no")).then_some(on)
}

fn config(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    match args.at(2) {
        action if is(action, "get") => get(cx, args.from(3)),
        action if is(action, "set") && args.len() >= 5 => set(cx, args.from(3)),
        _ => Err(CmdError::fixed(
            "ERR Only SENTINEL CONFIG GET <param> [<param> <param> ...]/ SET <param> <value> [<param> <value> ...] \
             are supported.",
        )),
    }
}

fn get(cx: &mut Ctx<'_>, patterns: &[&[u8]]) -> CmdResult {
    let level = cx.sys.cfg.shown(LOG_LEVEL);
    let settings = &sentinel(cx.sys)?.settings;
    let names = PARAMETERS.iter().map(|parameter| parameter.name);
    let names: Vec<&str> = names.chain([LOG_LEVEL]).collect();
    let mut found: Vec<&str> = Vec::new();
    for pattern in patterns {
        let fits = |name: &&&str| glob::matches(pattern, name.as_bytes(), true);
        for name in names.iter().filter(fits) {
            if !found.contains(name) {
                found.push(name);
            }
        }
    }
    cx.reply.map(found.len());
    for name in found {
        let parameter = PARAMETERS.iter().find(|parameter| parameter.name == name);
        cx.reply.bulk(name.as_bytes());
        match parameter {
            Some(parameter) => cx.reply.bulk(&(parameter.show)(settings)),
            None => cx.reply.bulk(level.as_bytes()),
        }
    }
    Ok(Flow::Done)
}

/// All parameters or none.
fn set(cx: &mut Ctx<'_>, words: &[&[u8]]) -> CmdResult {
    let mut settings = sentinel(cx.sys)?.settings.clone();
    let mut seen: Vec<&str> = Vec::new();
    let mut level = None;
    for pair in words.chunks(2) {
        let name = pair.first().copied().unwrap_or_default();
        let names = PARAMETERS.iter().map(|parameter| parameter.name);
        let known = names.chain([LOG_LEVEL]).find(|known| is(name, known));
        let known = known.ok_or_else(|| refused("Invalid", name))?;
        if seen.contains(&known) {
            return Err(refused("Duplicate", name));
        }
        seen.push(known);
        let Some(value) = pair.get(1) else {
            let name = told(name);
            return Err(CmdError::new(format!(
                "ERR Missing argument '{name}' value"
            )));
        };
        let parameter = PARAMETERS.iter().find(|parameter| parameter.name == known);
        let taken = match parameter {
            Some(parameter) => (parameter.set)(&mut settings, value),
            None => log_level(value).map(|value| level = Some(value)),
        };
        taken.ok_or_else(|| {
            let (name, value) = (told(name), told(value));
            CmdError::new(format!(
                "ERR Invalid value '{value}' to SENTINEL CONFIG SET '{name}'"
            ))
        })?;
    }
    if let Some(level) = level {
        change(cx, &[(LOG_LEVEL.as_bytes(), level)])?;
    }
    let sentinel = sentinel(cx.sys)?;
    sentinel.settings = settings;
    if seen.iter().any(|name| name.starts_with("sentinel-")) {
        sentinel.drop_sentinel_links();
    }
    saved(cx)
}

fn log_level(value: &[u8]) -> Option<&[u8]> {
    let levels = ["debug", "verbose", "notice", "warning", "nothing"];
    levels.iter().any(|level| is(value, level)).then_some(value)
}

fn refused(how: &str, name: &[u8]) -> CmdError {
    let name = told(name);
    CmdError::new(format!(
        "ERR {how} argument '{name}' to SENTINEL CONFIG SET"
    ))
}

pub(super) const DEBUG: Command = sub("debug", -2, debug)
    .since("7.0.0")
    .syntax("[data={parameter value}...]")
    .summary("Show or change the periods that the sentinel goes by.")
    .complexity("O(N), N being the number of parameters")
    .checked();

/// A period, by its name.
type Period = (&'static str, fn(&mut Periods) -> &mut i64);

const PERIODS: &[Period] = &[
    ("INFO-PERIOD", |periods| &mut periods.info),
    ("PING-PERIOD", |periods| &mut periods.ping),
    ("ASK-PERIOD", |periods| &mut periods.ask),
    ("PUBLISH-PERIOD", |periods| &mut periods.publish),
    ("DEFAULT-DOWN-AFTER", |periods| {
        &mut periods.default_down_after
    }),
    ("DEFAULT-FAILOVER-TIMEOUT", |periods| {
        &mut periods.default_failover
    }),
    ("TILT-TRIGGER", |periods| &mut periods.tilt_trigger),
    ("TILT-PERIOD", |periods| &mut periods.tilt),
    ("SLAVE-RECONF-TIMEOUT", |periods| &mut periods.reconfigured),
    ("MIN-LINK-RECONNECT-PERIOD", |periods| {
        &mut periods.least_link
    }),
    ("ELECTION-TIMEOUT", |periods| &mut periods.election),
    ("SCRIPT-MAX-RUNTIME", |periods| &mut periods.script),
    ("SCRIPT-RETRY-DELAY", |periods| &mut periods.script_retry),
];

/// One parameter after the other: those before one that is refused are changed.
fn debug(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let periods = &mut sentinel(cx.sys)?.settings.periods;
    if args.len() == 2 {
        cx.reply.map(PERIODS.len());
        for (name, period) in PERIODS {
            cx.reply.bulk(name.as_bytes());
            cx.reply.bulk_int(*period(periods));
        }
        return Ok(Flow::Done);
    }
    let mut words = args.cursor(2);
    while let Some(name) = words.next() {
        let known = PERIODS.iter().find(|(known, _)| is(name, known));
        let (Some((_, period)), Some(value)) = (known, words.next()) else {
            let name = told(name);
            return Err(CmdError::new(format!(
                "ERR Unknown option or number of arguments for SENTINEL DEBUG '{name}'"
            )));
        };
        let Some(time) = num::parse_i64(value).filter(|time| *time > 0) else {
            let (name, value) = (told(name), told(value));
            return Err(CmdError::new(format!(
                "ERR Invalid argument '{value}' for SENTINEL DEBUG '{name}'"
            )));
        };
        *period(periods) = time.min(LONGEST_PERIOD);
    }
    cx.ok()
}
