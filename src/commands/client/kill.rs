//! CLIENT KILL.

use crate::exec::args::is;
use crate::exec::error::shown;
use crate::exec::session::{Session, SessionId};
use crate::exec::{Args, CmdError, CmdResult, Ctx, admit};
use crate::util::num;

use super::list::{Kind, USER};

/// Which clients CLIENT KILL means.
#[derive(Debug, Default)]
struct Filter<'a> {
    id: Option<u64>,
    kind: Option<Kind>,
    addr: Option<&'a [u8]>,
    laddr: Option<&'a [u8]>,
    max_age: Option<i64>,
    /// SKIPME; unless told otherwise, the client that asks is spared.
    skip_me: Option<bool>,
}

impl<'a> Filter<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CmdError> {
        let mut filter = Self::default();
        let mut words = args.cursor(2);
        while let Some(option) = words.next() {
            filter.option(option, words.word()?)?;
        }
        Ok(filter)
    }

    fn option(&mut self, option: &[u8], value: &'a [u8]) -> Result<(), CmdError> {
        match option.to_ascii_lowercase().as_slice() {
            b"id" => {
                let id = num::parse_i64(value).and_then(|id| u64::try_from(id).ok());
                let id = id.filter(|&id| id > 0);
                let e = CmdError::fixed("ERR client-id should be greater than 0");
                self.id = Some(id.ok_or(e)?);
            }
            b"maxage" => {
                let age = num::parse_i64(value);
                let e = CmdError::fixed("ERR maxage is not an integer or out of range");
                let age = age.ok_or(e)?;
                if age <= 0 {
                    return Err(CmdError::fixed("ERR maxage should be greater than 0"));
                }
                self.max_age = Some(age);
            }
            b"type" => self.kind = Some(Kind::parse(value)?),
            b"addr" => self.addr = Some(value),
            b"laddr" => self.laddr = Some(value),
            b"user" => {
                if value != USER.as_bytes() {
                    let user = shown(value, usize::MAX);
                    return Err(CmdError::new(format!("ERR No such user '{user}'")));
                }
            }
            b"skipme" => {
                self.skip_me = match value {
                    yes if is(yes, "YES") => Some(true),
                    no if is(no, "NO") => Some(false),
                    _ => return Err(CmdError::SYNTAX),
                };
            }
            _ => return Err(CmdError::SYNTAX),
        }
        Ok(())
    }

    fn matches(&self, session: &Session, is_me: bool, now: i64) -> bool {
        !(is_me && self.skip_me.unwrap_or(true))
            && self.id.is_none_or(|id| id == session.id)
            && self.kind.is_none_or(|kind| kind == Kind::of(session))
            && self
                .addr
                .is_none_or(|addr| addr == session.peer.addr.as_bytes())
            && self
                .laddr
                .is_none_or(|laddr| laddr == session.peer.laddr.as_bytes())
            && self
                .max_age
                .is_none_or(|age| (now - session.since) / 1000 >= age)
    }
}

pub(super) fn kill(cx: &mut Ctx<'_>, args: Args<'_>) -> CmdResult {
    // With a single argument this is the old form: an address, an OK, and oneself not excepted.
    let old_form = args.len() == 3;
    let filter = if old_form {
        Filter {
            addr: Some(args.at(2)),
            skip_me: Some(false),
            ..Filter::default()
        }
    } else {
        Filter::parse(args)?
    };
    let (me, now) = (cx.sid, cx.now);
    let hits = cx
        .sessions
        .iter()
        .filter(|(sid, s)| filter.matches(s, *sid == me, now));
    let hits: Vec<SessionId> = hits.map(|(sid, _)| sid).collect();
    for &sid in &hits {
        close(cx, sid);
    }
    match old_form {
        true if hits.is_empty() => Err(CmdError::fixed("ERR No such client")),
        true => cx.ok(),
        false => cx.count(hits.len()),
    }
}

/// Ends a connection: one's own after the reply, any other at once, with what it had still to be sent.
fn close(cx: &mut Ctx<'_>, sid: SessionId) {
    if sid != cx.sid {
        admit::expel(cx.sys, cx.sessions, cx.ks, sid);
    } else if let Some(session) = cx.session() {
        session.closing = true;
    }
}
