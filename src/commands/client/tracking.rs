//! CLIENT TRACKING and what belongs to it: clients that keep copies of what they read.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::sub;
use crate::ds::bytes::SmallBytes;
use crate::exec::args::is;
use crate::exec::error::shown;
use crate::exec::tracking::{Mode, Redirect, Scope};
use crate::exec::{Args, CmdError, CmdResult, Command, Ctx, Flow};
use crate::keyspace::Interest;

pub(super) const CACHING: Command = sub("caching", 3, caching)
    .since("6.0.0")
    .syntax("mode=(YES | NO)")
    .summary("Say whether the keys of the next command are to be tracked.")
    .complexity("O(1)")
    .checked();

pub(super) const GETREDIR: Command = sub("getredir", 2, getredir)
    .since("6.0.0")
    .summary("Tell which connection hears of changed keys for this one.")
    .complexity("O(1)")
    .checked();

pub(super) const TRACKING: Command = sub("tracking", -3, tracking)
    .since("6.0.0")
    .syntax(
        "status=(ON | OFF) [REDIRECT^client-id:int] [PREFIX^prefix...^] [BCAST=BCAST] [OPTIN=OPTIN] \
         [OPTOUT=OPTOUT] [NOLOOP=NOLOOP]",
    )
    .summary("Have this connection be told when keys change that it has read.")
    .complexity("O(1). Some options make it more.")
    .checked();

pub(super) const TRACKINGINFO: Command = sub("trackinginfo", 2, trackinginfo)
    .since("6.2.0")
    .summary("Describe what this connection has asked CLIENT TRACKING for.")
    .complexity("O(1)")
    .checked();

const TWO_REDIRECTS: CmdError =
    CmdError::fixed("ERR A client can only redirect to a single other client");
const NO_SUCH_CLIENT: CmdError =
    CmdError::fixed("ERR The client ID you want redirect to does not exist");
const PREFIX_ALONE: CmdError =
    CmdError::fixed("ERR PREFIX option requires BCAST mode to be enabled");
const BCAST_SWITCH: CmdError = CmdError::fixed(
    "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with \
     a different mode.",
);
const BCAST_AND_OPT: CmdError =
    CmdError::fixed("ERR OPTIN and OPTOUT are not compatible with BCAST");
const OPTIN_AND_OPTOUT: CmdError =
    CmdError::fixed("ERR You can't specify both OPTIN mode and OPTOUT mode");
const OPT_SWITCH: CmdError = CmdError::fixed(
    "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with \
     a different mode.",
);
const NOT_CACHING: CmdError = CmdError::fixed(
    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
);
const YES_WITHOUT_OPTIN: CmdError =
    CmdError::fixed("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.");
const NO_WITHOUT_OPTOUT: CmdError =
    CmdError::fixed("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");

/// The options of CLIENT TRACKING.
#[derive(Default)]
struct Options<'a> {
    redirect: Option<Redirect>,
    prefixes: Vec<&'a [u8]>,
    bcast: bool,
    optin: bool,
    optout: bool,
    noloop: bool,
}

impl<'a> Options<'a> {
    fn parse(cx: &Ctx<'_>, args: Args<'a>) -> Result<Self, CmdError> {
        let mut options = Self::default();
        let mut words = args.cursor(3);
        while let Some(word) = words.next() {
            let more = words.left() > 0;
            match word {
                w if is(w, "REDIRECT") && more => {
                    if options.redirect.is_some() {
                        return Err(TWO_REDIRECTS);
                    }
                    options.redirect = Some(client(cx, words.int()?)?);
                }
                w if is(w, "PREFIX") && more => options.prefixes.push(words.word()?),
                w if is(w, "BCAST") => options.bcast = true,
                w if is(w, "OPTIN") => options.optin = true,
                w if is(w, "OPTOUT") => options.optout = true,
                w if is(w, "NOLOOP") => options.noloop = true,
                _ => return Err(CmdError::SYNTAX),
            }
        }
        Ok(options)
    }

    /// What they ask for, if it goes together, and with what the client asked for before.
    fn mode(self, before: Option<&Mode>) -> Result<Mode, CmdError> {
        if !self.bcast && !self.prefixes.is_empty() {
            return Err(PREFIX_ALONE);
        }
        let scope = match (self.bcast, self.optin, self.optout) {
            (bcast, _, _) if before.is_some_and(|b| bcast != (b.scope == Scope::Broadcast)) => {
                return Err(BCAST_SWITCH);
            }
            (true, false, false) => Scope::Broadcast,
            (true, _, _) => return Err(BCAST_AND_OPT),
            (_, true, true) => return Err(OPTIN_AND_OPTOUT),
            (_, true, _) => Scope::OptIn,
            (_, _, true) => Scope::OptOut,
            _ => Scope::Read,
        };
        if let (Some(Scope::OptIn), Scope::OptOut) | (Some(Scope::OptOut), Scope::OptIn) =
            (before.map(|b| b.scope), scope)
        {
            return Err(OPT_SWITCH);
        }
        Ok(Mode {
            scope,
            noloop: self.noloop,
            redirect: self.redirect,
            broken: false,
            caching: None,
            prefixes: match scope {
                // Without any, of all keys; whatever else it has.
                Scope::Broadcast if self.prefixes.is_empty() => [SmallBytes::new()].into(),
                _ => distinct(&self.prefixes, before)?,
            },
        })
    }
}

/// A client by its id.
fn client(cx: &Ctx<'_>, id: i64) -> Result<Redirect, CmdError> {
    let id = u64::try_from(id).map_err(|_| NO_SUCH_CLIENT)?;
    let sid = cx.sessions.by_id(id).ok_or(NO_SUCH_CLIENT)?;
    if cx.sessions.get(sid).is_none_or(|session| session.follows) {
        // Nobody reads what the leader would be sent.
        return Err(NO_SUCH_CLIENT);
    }
    Ok(Redirect { sid, id })
}

/// Prefixes, none of which may be the beginning of another one, nor of one that the client has. The first that is, in
/// the order given, is refused; however many there are, none is compared with all others.
fn distinct(given: &[&[u8]], before: Option<&Mode>) -> Result<BTreeSet<SmallBytes>, CmdError> {
    let error = |prefix: &[u8], which: &str, other: &[u8]| {
        let (prefix, other) = (shown(prefix, usize::MAX), shown(other, usize::MAX));
        CmdError::new(format!(
            "ERR Prefix '{prefix}' overlaps with {which} prefix '{other}'. Prefixes for a single client must not \
             overlap."
        ))
    };
    let overlapping = overlapping(given);
    for (i, (prefix, overlaps)) in given.iter().zip(overlapping).enumerate() {
        if let Some(other) = before.and_then(|mode| first_overlap(&mode.prefixes, prefix)) {
            return Err(error(prefix, "an existing", other));
        }
        // The other one stands behind it: otherwise that would have been refused.
        let mut others = given.iter().skip(i + 1).filter(|_| overlaps);
        if let Some(other) = others.find(|o| o.starts_with(prefix) || prefix.starts_with(o)) {
            return Err(error(prefix, "another provided", other));
        }
    }
    Ok(given
        .iter()
        .map(|prefix| SmallBytes::from(*prefix))
        .collect())
}

/// Which of these are the beginning of another one, or the other way round.
fn overlapping(given: &[&[u8]]) -> Vec<bool> {
    let mut sorted: Vec<(usize, &[u8])> = given.iter().copied().enumerate().collect();
    sorted.sort_by_key(|&(_, prefix)| prefix);
    let mut found = vec![false; given.len()];
    // What begins with a prefix follows it without a gap.
    let mut first: Option<(usize, &[u8])> = None;
    for (i, prefix) in sorted {
        match first {
            Some((begin, shorter)) if prefix.starts_with(shorter) => {
                found[begin] = true;
                found[i] = true;
            }
            _ => first = Some((i, prefix)),
        }
    }
    found
}

/// The first of the prefixes that a client has which overlaps with this one. None of them overlap, but for the empty
/// one, which overlaps with all.
fn first_overlap<'a>(have: &'a BTreeSet<SmallBytes>, prefix: &[u8]) -> Option<&'a SmallBytes> {
    let empty = have.first().filter(|p| p.is_empty());
    let mut below = have.range::<[u8], _>((Bound::Unbounded, Bound::Included(prefix)));
    let mut above = have.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
    empty
        .or_else(|| below.next_back().filter(|p| prefix.starts_with(p)))
        .or_else(|| above.next().filter(|p| p.starts_with(prefix)))
}

fn tracking(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let options = Options::parse(cx, args)?;
    let Some(session) = cx.sessions.get_mut(cx.sid) else {
        return Ok(Flow::Done);
    };
    match args.at(2) {
        on if is(on, "ON") => {
            let mode = options.mode(session.tracking.as_deref())?;
            cx.sys.tracking.enable(session, cx.sid, mode);
            // At once: the rest of a transaction is looked at, too.
            cx.ks.log.interest.set(Interest::TRACKED, true);
        }
        off if is(off, "OFF") => cx.sys.tracking.disable(session),
        _ => return Err(CmdError::SYNTAX),
    }
    cx.ok()
}

fn caching(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    let container = cx.row.parent;
    let Some(mode) = cx.session().and_then(|s| s.tracking.as_mut()) else {
        return Err(NOT_CACHING);
    };
    match args.at(2) {
        yes if is(yes, "YES") && mode.scope != Scope::OptIn => return Err(YES_WITHOUT_OPTIN),
        no if is(no, "NO") && mode.scope != Scope::OptOut => return Err(NO_WITHOUT_OPTOUT),
        word if is(word, "YES") || is(word, "NO") => mode.caching = container,
        _ => return Err(CmdError::SYNTAX),
    }
    cx.ok()
}

/// The id that this connection redirects to: 0 for none, -1 if it does not track.
pub(super) fn redirect_id(mode: Option<&Mode>) -> i64 {
    mode.map_or(-1, |m| i64::try_from(m.redirect_id()).unwrap_or(i64::MAX))
}

fn getredir(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let mode = cx.session().and_then(|s| s.tracking.as_deref());
    let id = redirect_id(mode);
    cx.int(id)
}

fn trackinginfo(cx: &mut Ctx<'_>, _: Args<'_>) -> CmdResult {
    let session = cx.sessions.get(cx.sid);
    let mode = session.and_then(|s| s.tracking.as_deref());
    let out = &mut *cx.reply;
    let flags = flags(mode);
    out.map(3);
    out.bulk(b"flags");
    out.set(flags.len());
    flags.iter().for_each(|flag| out.bulk(flag.as_bytes()));
    out.bulk(b"redirect");
    out.int(redirect_id(mode));
    out.bulk(b"prefixes");
    out.array(mode.map_or(0, |m| m.prefixes.len()));
    let prefixes = mode.iter().flat_map(|m| &m.prefixes);
    prefixes.for_each(|prefix| out.bulk(prefix));
    Ok(Flow::Done)
}

/// The words of TRACKINGINFO's field `flags`.
fn flags(mode: Option<&Mode>) -> Vec<&'static str> {
    let Some(mode) = mode else {
        return vec!["off"];
    };
    let caching = mode.caching.is_some();
    let words = [
        (true, "on"),
        (mode.scope == Scope::Broadcast, "bcast"),
        (mode.scope == Scope::OptIn, "optin"),
        (mode.scope == Scope::OptIn && caching, "caching-yes"),
        (mode.scope == Scope::OptOut, "optout"),
        (mode.scope == Scope::OptOut && caching, "caching-no"),
        (mode.noloop, "noloop"),
        (mode.broken, "broken_redirect"),
    ];
    let set = words.iter().filter(|(on, _)| *on);
    set.map(|&(_, word)| word).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As it is told, one by one: which prefix overlaps with which.
    fn naive(given: &[&[u8]], have: &BTreeSet<SmallBytes>) -> Option<String> {
        let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
        for (i, prefix) in given.iter().enumerate() {
            let existing = have.iter().map(|p| ("an existing", &p[..]));
            let provided = given[i + 1..].iter().map(|p| ("another provided", *p));
            for (which, other) in existing.chain(provided) {
                if overlap(prefix, other) {
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    return Some(format!("'{}' {which} '{}'", text(prefix), text(other)));
                }
            }
        }
        None
    }

    proptest! {
        #[test]
        fn the_first_overlap_is_told(
            given in prop::collection::vec("[ab]{0,4}", 0..6),
            have in prop::collection::btree_set("[ab]{1,4}", 0..4),
            all in any::<bool>(),
        ) {
            let mut before = BTreeSet::new();
            for prefix in &have {
                if first_overlap(&before, prefix.as_bytes()).is_none() {
                    before.insert(SmallBytes::from(prefix.as_str()));
                }
            }
            if all {
                before.insert(SmallBytes::new());
            }
            let mode = Mode {
                scope: Scope::Broadcast,
                noloop: false,
                redirect: None,
                broken: false,
                caching: None,
                prefixes: before.clone(),
            };
            let given: Vec<&[u8]> = given.iter().map(String::as_bytes).collect();
            let told = distinct(&given, Some(&mode)).err().map(|e| {
                let text = e.text().replace("ERR Prefix ", "").replace("overlaps with ", "");
                text.replace("prefix '", "'").split('.').next().unwrap().to_owned()
            });
            prop_assert_eq!(told, naive(&given, &before));
        }
    }
}
