//! Which clients CLIENT LIST and CLIENT KILL mean.

use std::collections::BTreeSet;

use crate::exec::args::{Cursor, is};
use crate::exec::error::shown;
use crate::exec::session::{Session, SessionId};
use crate::exec::{CmdError, Ctx};
use crate::service::acl::{UserId, Users};
use crate::util::num;

use super::list::flags_of;

/// What TYPE tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Master,
    Replica,
    PubSub,
}

impl Kind {
    fn parse(word: &[u8]) -> Result<Self, CmdError> {
        match word.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Self::Normal),
            b"master" | b"primary" => Ok(Self::Master),
            b"slave" | b"replica" => Ok(Self::Replica),
            b"pubsub" => Ok(Self::PubSub),
            _ => {
                let word = shown(word, usize::MAX);
                Err(CmdError::new(format!("ERR Unknown client type '{word}'")))
            }
        }
    }

    /// What a client is. One that monitors is normal.
    fn of(session: &Session) -> Self {
        if session.follows {
            Self::Master
        } else if session.is_replica() {
            Self::Replica
        } else if session.subscriptions.is_some() {
            Self::PubSub
        } else {
            Self::Normal
        }
    }
}

/// One thing to know of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test<'a> {
    Kind(Kind),
    Addr(&'a [u8]),
    Laddr(&'a [u8]),
    Ip(&'a [u8]),
    User(UserId),
    Name(&'a [u8]),
    LibName(&'a [u8]),
    LibVer(&'a [u8]),
    /// All of these letters are among its flags.
    Flags(&'a [u8]),
    Db(usize),
    /// It has declared that it understands REDIRECT; the only capability that there is.
    Redirects,
    /// Seconds since it connected, at least.
    MaxAge(i64),
    /// Seconds since it sent something, at least.
    Idle(i64),
}

impl Test<'_> {
    fn passes(self, session: &Session, now: i64) -> bool {
        let for_seconds = |since: i64| now.saturating_sub(since) / 1000;
        match self {
            Self::Kind(kind) => kind == Kind::of(session),
            Self::Addr(addr) => addr == session.peer.addr.as_bytes(),
            Self::Laddr(addr) => addr == session.peer.laddr.as_bytes(),
            Self::Ip(ip) => {
                let (host, _) = session.peer.addr.rsplit_once(':').unwrap_or_default();
                ip == host.trim_matches(['[', ']']).as_bytes()
            }
            // The link to the leader is no user's.
            Self::User(user) => user == session.user && !session.follows,
            Self::Name(name) => name == session.name,
            Self::LibName(name) => name == session.lib_name,
            Self::LibVer(version) => version == session.lib_ver,
            Self::Flags(letters) => {
                let flags = flags_of(session);
                letters
                    .iter()
                    .all(|&letter| flags.as_bytes().contains(&letter))
            }
            Self::Db(db) => db == session.db,
            Self::Redirects => session.redirects,
            Self::MaxAge(age) => for_seconds(session.since) >= age,
            Self::Idle(time) => for_seconds(session.seen) >= time,
        }
    }
}

/// The command that filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    List,
    Kill,
}

/// The clients that pass all tests.
#[derive(Debug, Default)]
pub(super) struct Filter<'a> {
    /// Only these, in this order.
    ids: Option<Vec<u64>>,
    /// None of these.
    not_ids: BTreeSet<u64>,
    /// What must be so, or must not.
    tests: Vec<(bool, Test<'a>)>,
    skip_me: bool,
}

const BAD_ID: CmdError = CmdError::fixed("ERR Invalid client ID");
const ID_NOT_POSITIVE: CmdError = CmdError::fixed("ERR client-id should be greater than 0");

/// Letters that field `flags` may have.
const LETTERS: &[u8] = b"OSMPxbtRBdcuAUreTN";

impl<'a> Filter<'a> {
    /// The client at this address.
    pub(super) fn address(addr: &'a [u8]) -> Self {
        Self {
            tests: vec![(true, Test::Addr(addr))],
            ..Self::default()
        }
    }

    /// Reads filters. KILL spares the client that asks, unless told otherwise.
    pub(super) fn parse(
        mut words: Cursor<'a>,
        what_for: For,
        users: &Users,
    ) -> Result<Self, CmdError> {
        let mut filter = Self {
            skip_me: what_for == For::Kill,
            ..Self::default()
        };
        while let Some(word) = words.next() {
            if words.left() == 0 {
                return Err(CmdError::SYNTAX);
            }
            let word = word.to_ascii_lowercase();
            match word.strip_prefix(b"not-") {
                Some(name) => filter.option(name, false, &mut words, what_for, users)?,
                None => filter.option(&word, true, &mut words, what_for, users)?,
            }
        }
        Ok(filter)
    }

    /// Reads what stands behind the name of a filter; `wanted` unless it is one that must not apply.
    fn option(
        &mut self,
        name: &[u8],
        wanted: bool,
        words: &mut Cursor<'a>,
        what_for: For,
        users: &Users,
    ) -> Result<(), CmdError> {
        if name == b"id" {
            let ids = read_ids(words, what_for)?;
            if wanted {
                self.ids.get_or_insert_default().extend(ids);
            } else {
                self.not_ids.extend(ids);
            }
            return Ok(());
        }
        let value = words.word()?;
        let test = match name {
            b"type" => Test::Kind(Kind::parse(value)?),
            b"addr" => Test::Addr(value),
            b"laddr" => Test::Laddr(value),
            b"ip" => Test::Ip(value),
            b"name" => Test::Name(value),
            b"lib-name" => Test::LibName(value),
            b"lib-ver" => Test::LibVer(value),
            b"user" => Test::User(users.by_name(value).ok_or_else(|| {
                let user = shown(value, usize::MAX);
                CmdError::new(format!("ERR No such user '{user}'"))
            })?),
            b"flags" => Test::Flags(read_flags(value)?),
            b"db" => {
                let db = num::parse_i64(value).ok_or(CmdError::NOT_INTEGER)?;
                Test::Db(usize::try_from(db).map_err(|_| CmdError::DB_RANGE)?)
            }
            b"capa" => read_capabilities(value)?,
            b"maxage" if wanted => Test::MaxAge(seconds("maxage", value)?),
            b"idle" if wanted => Test::Idle(seconds("idle", value)?),
            b"skipme" if wanted => {
                self.skip_me = match value {
                    yes if is(yes, "YES") => true,
                    no if is(no, "NO") => false,
                    _ => return Err(CmdError::SYNTAX),
                };
                return Ok(());
            }
            _ => return Err(CmdError::SYNTAX),
        };
        // What is said last counts.
        let same = std::mem::discriminant(&test);
        self.tests
            .retain(|(w, t)| *w != wanted || std::mem::discriminant(t) != same);
        self.tests.push((wanted, test));
        Ok(())
    }

    /// The clients that are meant: in the order in which they are named by id, otherwise as they connected.
    pub(super) fn select(&self, cx: &Ctx<'_>) -> Vec<SessionId> {
        let passes = |&(sid, session): &(SessionId, &Session)| {
            let spared = (self.skip_me && sid == cx.sid) || self.not_ids.contains(&session.id);
            let mut tests = self.tests.iter();
            !spared && tests.all(|&(wanted, test)| wanted == test.passes(session, cx.now))
        };
        match &self.ids {
            Some(ids) => {
                let named = ids.iter().filter_map(|&id| cx.sessions.by_id(id));
                let named = named.filter_map(|sid| Some((sid, cx.sessions.get(sid)?)));
                named.filter(passes).map(|(sid, _)| sid).collect()
            }
            None => {
                let all = cx.sessions.iter();
                all.filter(passes).map(|(sid, _)| sid).collect()
            }
        }
    }
}

/// One id at least, and all the numbers that follow.
fn read_ids(words: &mut Cursor<'_>, what_for: For) -> Result<Vec<u64>, CmdError> {
    let mut ids = Vec::new();
    while let Some(word) = words.peek() {
        let id = num::parse_i64(word);
        if id.is_none() && !ids.is_empty() && (what_for == For::Kill || is_option(word)) {
            break;
        }
        let id = match (id, what_for) {
            (Some(id), For::List) => u64::try_from(id).unwrap_or(0),
            (None, For::List) => return Err(BAD_ID),
            (id, For::Kill) => {
                let id = id.and_then(|id| u64::try_from(id).ok());
                id.filter(|&id| id > 0).ok_or(ID_NOT_POSITIVE)?
            }
        };
        ids.push(id);
        words.next();
    }
    Ok(ids)
}

/// Whether a word can be the name of a filter.
fn is_option(word: &[u8]) -> bool {
    const NAMES: &[&str] = &[
        "id", "type", "addr", "laddr", "ip", "user", "name", "lib-name", "lib-ver", "flags", "db",
        "capa", "maxage", "idle", "skipme",
    ];
    let word = match word.split_at_checked(4) {
        Some((not, name)) if is(not, "not-") => name,
        _ => word,
    };
    NAMES.iter().any(|name| is(word, name))
}

fn read_flags(letters: &[u8]) -> Result<&[u8], CmdError> {
    if letters.is_empty() || letters.iter().any(|letter| !LETTERS.contains(letter)) {
        let letters = shown(letters, usize::MAX);
        let text = format!("ERR Unknown flags found in the provided filter: {letters}");
        return Err(CmdError::new(text));
    }
    Ok(letters)
}

/// Letters of capabilities: `r` is `redirect`.
fn read_capabilities(letters: &[u8]) -> Result<Test<'_>, CmdError> {
    if letters.is_empty() || letters.iter().any(|letter| *letter != b'r') {
        let letters = shown(letters, usize::MAX);
        let text = format!("ERR Unknown capa found in the provided filter: {letters}");
        return Err(CmdError::new(text));
    }
    Ok(Test::Redirects)
}

fn seconds(name: &str, value: &[u8]) -> Result<i64, CmdError> {
    match num::parse_i64(value) {
        Some(n @ 1..) => Ok(n),
        Some(_) => Err(CmdError::new(format!(
            "ERR {name} should be greater than 0"
        ))),
        None => Err(CmdError::new(format!(
            "ERR {name} is not an integer or out of range"
        ))),
    }
}
