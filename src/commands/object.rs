//! OBJECT: what is behind a key.

use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::keyspace::Record;
use crate::service::config::Eviction;
use crate::spec::{Group, KeySpec, category};
use crate::types::Value;
use crate::types::string::Str;

/// What the subcommands about a key share.
macro_rules! about_key {
    ($name:literal, $run:ident, $since:literal, $summary:literal) => {
        Command::new($name, 3, $run)
            .since($since)
            .group(Group::Generic)
            .read()
            .acl(&[category::KEYSPACE])
            .keys(&[KeySpec::at(2).ro()])
            .syntax("key:key")
            .summary($summary)
            .complexity("O(1)")
            .tips(&["nondeterministic_output"])
            .checked()
    };
}

/// The rows of this family.
pub(super) const COMMANDS: &[Command] = &[Command::container("object", -2)
    .since("2.2.3")
    .group(Group::Generic)
    .summary("Commands about what is behind a key.")
    .complexity("Depends on the subcommand.")
    .subs(&[
        about_key!(
            "encoding",
            encoding,
            "2.2.3",
            "Return how the value is stored."
        ),
        about_key!(
            "freq",
            freq,
            "4.0.0",
            "Return how often the key is accessed."
        ),
        about_key!(
            "idletime",
            idletime,
            "2.2.3",
            "Return the seconds since the key was last accessed."
        ),
        about_key!(
            "refcount",
            refcount,
            "2.2.3",
            "Return the number of references to the value."
        ),
        Command::help("6.2.0", Group::Generic, help)
            .acl(&[category::KEYSPACE])
            .checked(),
    ])
    .checked()];

/// Answers with what `tell` says about the key, null without such a key.
fn about(
    cx: &mut Ctx<'_>,
    args: Args<'_>,
    tell: impl Fn(&Ctx<'_>, &Record) -> Result<i64, CmdError>,
) -> CmdResult {
    let told = cx.ks.inspect(args.at(2)).map(|r| tell(cx, r)).transpose()?;
    match told {
        Some(number) => cx.int(number),
        None => cx.null(),
    }
}

fn encoding(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    match cx.ks.inspect(args.at(2)) {
        Some(record) => cx.reply.bulk(record.value().encoding().as_bytes()),
        None => cx.reply.null(),
    }
    Ok(Flow::Done)
}

/// Redis shares the small integers among all keys and shows it, unless memory is bounded by when a key was
/// used last or how often.
fn refcount(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    about(cx, args, |cx, record| {
        let cfg = &cx.sys.cfg;
        let by_use = matches!(
            cfg.maxmemory_policy,
            Eviction::VolatileLru
                | Eviction::VolatileLfu
                | Eviction::AllKeysLru
                | Eviction::AllKeysLfu
        );
        let shared = match record.value() {
            Value::Str(Str::Int(n)) => (0..10_000).contains(n) && (cfg.maxmemory == 0 || !by_use),
            _ => false,
        };
        Ok(if shared { i64::from(i32::MAX) } else { 1 })
    })
}

const SWITCHING: &str = "Please note that when switching between policies at runtime LRU and LFU data will take \
    some time to adjust.";

fn idletime(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    about(cx, args, |cx, record| {
        if cx.ks.frequency(record).is_some() {
            let text = "ERR An LFU maxmemory policy is selected, idle time not tracked.";
            return Err(CmdError::new(format!("{text} {SWITCHING}")));
        }
        Ok(i64::try_from(record.idle_secs(cx.now)).unwrap_or(i64::MAX))
    })
}

fn freq(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    about(cx, args, |cx, record| {
        let count = cx.ks.frequency(record).ok_or_else(|| {
            let text = "ERR An LFU maxmemory policy is not selected, access frequency not tracked.";
            CmdError::new(format!("{text} {SWITCHING}"))
        })?;
        Ok(i64::from(count))
    })
}

fn help(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    cx.help(&[
        "ENCODING <key>",
        "    How the value is stored.",
        "FREQ <key>",
        "    How often the key is accessed, on a logarithmic scale.",
        "IDLETIME <key>",
        "    Seconds since the key was last accessed.",
        "REFCOUNT <key>",
        "    How many references to the value there are.",
    ])
}
