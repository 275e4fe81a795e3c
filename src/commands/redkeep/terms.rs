//! REDKEEP FENCE and FOLLOW: whom to follow, as sentinels say it, each in the term of an election.

use super::sub;
use crate::exec::args::is;
use crate::exec::replication::{Change, ask_for, hear_of_term};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx};
use crate::spec::flag;
use crate::util::num;

/// The row of FENCE.
pub(super) const FENCE: Command = sub("fence", 3, fence)
    .flags(&[flag::STALE, flag::NO_ASYNC_LOADING])
    .syntax("term:int")
    .summary("Follow nobody and do not lead, until somebody says otherwise who speaks for this term or a later one.")
    .complexity("O(1)")
    .checked();

/// The row of FOLLOW.
pub(super) const FOLLOW: Command = sub("follow", 5, follow)
    .flags(&[flag::STALE, flag::NO_ASYNC_LOADING])
    .syntax("term:int args=(host-port={host port:int} | no-one={no=NO one=ONE})")
    .summary("Follow another server or lead, in a term, unless a later one is known.")
    .complexity("O(1)")
    .checked();

/// Hears of the term of a call.
fn term(cx: &mut Ctx<'_>, args: Args<'_>) -> Result<u64, CmdError> {
    const LARGEST: u64 = (1 << 48) - 1;
    let term = num::parse_u64(args.at(2)).filter(|term| *term <= LARGEST);
    let term = term.ok_or(CmdError::NOT_INTEGER)?;
    if cx.sys.repl.failover.is_some() {
        return Err(CmdError::fixed(
            "ERR REDKEEP not allowed while failing over.",
        ));
    }
    if !hear_of_term(cx.sys, term) {
        return Err(CmdError::new(format!(
            "STALETERM a later term is known: {}",
            cx.sys.repl.term
        )));
    }
    Ok(term)
}

fn fence(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let term = term(cx, args)?;
    tracing::info!("Fenced in term {term}: nobody is followed any more");
    ask_for(cx.sys, Change::Stand);
    cx.ok()
}

fn follow(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let (host, port) = (args.at(3), args.at(4));
    let up = cx.sys.repl.upstream.as_ref();
    if is(host, "NO") && is(port, "ONE") {
        // Whoever follows somebody has acknowledged what others do not know of.
        let asked = num::parse_u64(args.at(2));
        let stands = up.is_some_and(|up| up.is_nobody()) && asked == Some(cx.sys.repl.term);
        if up.is_some() && !stands {
            return Err(CmdError::fixed(
                "STALETERM only who is fenced in this term can lead in it",
            ));
        }
        let term = term(cx, args)?;
        ask_for(cx.sys, Change::Lead);
        tracing::info!("MASTER MODE enabled in term {term}");
        return cx.ok();
    }
    let port = num::parse_i64(port).and_then(|port| u16::try_from(port).ok());
    let port = port.filter(|port| *port > 0);
    let port = port.ok_or(CmdError::fixed("ERR Invalid master port"))?;
    let host = String::from_utf8_lossy(host).into_owned();
    let follows = up.is_some_and(|up| up.port == port && up.host.eq_ignore_ascii_case(&host));
    let term = term(cx, args)?;
    if !follows {
        tracing::info!("REPLICAOF {host}:{port} enabled in term {term}");
        ask_for(cx.sys, Change::Follow(host, port));
    }
    cx.ok()
}
