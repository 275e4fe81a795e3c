//! Access control in the pipeline: who a client is, and what becomes of what it may not do.

use std::io;
use std::path::{Path, PathBuf};

use super::error::shown;
use super::session::{Session, SessionId, Sessions};
use super::{Args, CmdError, Ctx, Entry, State, System, admit, pubsub};
use crate::keyspace::Keyspace;
use crate::service::acl::{
    Access, Context, DEFAULT, Denied, FileFault, Incident, Log, Reason, User, UserId, Users,
};
use crate::util::system::reason;

/// Who may do what, and what was refused.
#[derive(Debug, Default)]
pub struct Acl {
    /// All users.
    pub users: Users,
    /// ACL LOG.
    pub log: Log,
}

/// What CLIENT LIST tells of a client, in a line.
pub type Describe = fn(&Session, &System) -> String;

/// What follows from the configuration.
pub(super) fn configure(sys: &mut System) {
    let System { acl, cfg, .. } = sys;
    acl.users.all_channels = cfg.acl_pubsub_default == "allchannels";
    acl.users.require(&cfg.requirepass);
    acl.log.trim(cfg.acllog_max_len);
}

/// Whether a client must log in before it may do anything else.
pub fn must_log_in(sys: &System, session: &Session) -> bool {
    !session.authenticated && !sys.acl.users.is_open()
}

/// Whether a client's user may run a command, with these arguments.
#[inline]
pub(super) fn check(
    sys: &System,
    session: &Session,
    row: &'static Entry,
    args: Args<'_>,
) -> Result<(), Denied> {
    if session.unrestricted {
        return Ok(());
    }
    sys.acl.users.check(session.user, row, &args.all())
}

/// Whether a client's user may run this command; none if there is no such command.
pub fn may_run(state: &State, sid: SessionId, args: Args<'_>) -> Option<bool> {
    let row = state.sys.registry.find(args.at(0), args.get(1)).found()?;
    let session = state.sessions.get(sid)?;
    Some(check(&state.sys, session, row, args).is_ok())
}

/// The name of a client's user.
pub fn name_of<'a>(sys: &'a System, session: &Session) -> &'a [u8] {
    let user = sys.acl.users.get(session.user);
    user.map_or(b"default", |user| &user.name)
}

/// Who a client is and as whom, for the log.
pub fn who(sys: &System, session: &Session) -> String {
    let user = String::from_utf8_lossy(name_of(sys, session));
    format!("{} user={user}", session.who())
}

/// What a user is told of what it may not do, without the code of the error; with names of keys and channels only if
/// `verbose`.
pub fn explain(user: &[u8], row: &Entry, object: &[u8], denied: Denied, verbose: bool) -> String {
    let user = shown(user, usize::MAX);
    let object = shown(object, usize::MAX);
    match denied {
        Denied::Command => format!(
            "User {user} has no permissions to run the '{}' command",
            row.name
        ),
        Denied::Key(_) if verbose => {
            format!("User {user} has no permissions to access the '{object}' key")
        }
        Denied::Channel(_) if verbose => {
            format!("User {user} has no permissions to access the '{object}' channel")
        }
        Denied::Key(_) => "No permissions to access a key".to_owned(),
        Denied::Channel(_) => "No permissions to access a channel".to_owned(),
    }
}

/// Notes what a client may not do, and words it.
#[cold]
pub(super) fn refuse(
    state: &mut State,
    sid: SessionId,
    row: &'static Entry,
    args: Args<'_>,
    denied: Denied,
    context: Context,
) -> CmdError {
    let object = args.at(denied.position());
    let Some(session) = state.sessions.get(sid) else {
        return CmdError::fixed("NOPERM No permissions");
    };
    let username = name_of(&state.sys, session).to_vec();
    let text = explain(&username, row, object, denied, false);
    let (reason, object) = match denied {
        Denied::Command => (Reason::Command, row.name.as_bytes()),
        Denied::Key(_) => (Reason::Key, object),
        Denied::Channel(_) => (Reason::Channel, object),
    };
    let incident = Incident {
        reason,
        context,
        object: object.to_vec(),
        username,
        client: (state.sys.describe)(session, &state.sys),
    };
    note(&mut state.sys, incident);
    match context {
        Context::Lua => CmdError::new(format!("ERR ACL failure in script: {text}")),
        Context::Toplevel | Context::Multi => CmdError::new(format!("NOPERM {text}")),
    }
}

/// A command that was queued when it was allowed, and is so no longer.
#[cold]
pub(super) fn refuse_queued(
    state: &mut State,
    sid: SessionId,
    row: &'static Entry,
    args: Args<'_>,
    denied: Denied,
) -> CmdError {
    refuse(state, sid, row, args, denied, Context::Multi);
    let why = match denied {
        Denied::Command => "no permission to execute the command or subcommand",
        Denied::Key(_) => "no permission to touch the specified keys",
        Denied::Channel(_) => "no permission to access one of the channels used as arguments",
    };
    CmdError::new(format!(
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command \
         is no longer allowed for the following reason: {why}"
    ))
}

fn note(sys: &mut System, incident: Incident) {
    let (now, max) = (sys.now_us / 1000, sys.cfg.acllog_max_len);
    sys.acl.log.add(incident, now, max);
}

const WRONGPASS: CmdError =
    CmdError::fixed("WRONGPASS invalid username-password pair or user is disabled.");

/// Makes a client another user, or leaves it who it is. `command` is how it asked.
///
/// # Errors
/// When there is no such user, or this is not its password; nobody is told which.
pub fn log_in(
    cx: &mut Ctx<'_>,
    command: &[u8],
    name: &[u8],
    password: &[u8],
) -> Result<(), CmdError> {
    if let Some(user) = cx.sys.acl.users.log_in(name, password) {
        if let Some(session) = cx.session() {
            session.become_user(user);
        }
        tracing::debug!("Client authenticated {}", cx.who());
        return Ok(());
    }
    if let Some(session) = cx.sessions.get(cx.sid) {
        let incident = Incident {
            reason: Reason::Auth,
            context: match session.multi {
                Some(_) => Context::Multi,
                None => Context::Toplevel,
            },
            object: command.to_vec(),
            username: name.to_vec(),
            client: (cx.sys.describe)(session, cx.sys),
        };
        note(cx.sys, incident);
    }
    Err(WRONGPASS)
}

/// Whether the client at hand may run its command and, beside that, read every key there is.
pub fn reads_every_key(cx: &Ctx<'_>, args: Args<'_>) -> bool {
    let Some(session) = cx.sessions.get(cx.sid) else {
        return true;
    };
    let reads = Access {
        read: true,
        write: false,
    };
    let user = cx.sys.acl.users.get(session.user);
    session.unrestricted
        || user.is_some_and(|user| user.check_with_all_keys(cx.row, &args.all(), reads))
}

/// ACL SETUSER.
///
/// # Errors
/// The rule that was refused.
pub fn set_user(cx: &mut Ctx<'_>, name: &[u8], rules: &[&[u8]]) -> Result<(), CmdError> {
    let registry = cx.sys.registry.own();
    let set = cx.sys.acl.users.set(name, rules, registry);
    let (id, before) = set.map_err(|fault| CmdError::new(format!("ERR {fault}")))?;
    let user = String::from_utf8_lossy(name);
    tracing::info!(%user, client = cx.who(), "User changed");
    if let Some(before) = before {
        part_with_listeners(cx.sys, cx.sessions, cx.ks, id, &before);
    }
    Ok(())
}

/// ACL DELUSER: whether there was such a user. Its clients are gone.
pub fn delete_user(cx: &mut Ctx<'_>, name: &[u8]) -> bool {
    let Some(id) = cx.sys.acl.users.remove(name) else {
        return false;
    };
    let user = String::from_utf8_lossy(name);
    tracing::info!(%user, client = cx.who(), "User deleted");
    part_with_clients(cx.sys, cx.sessions, cx.ks, id);
    true
}

/// Ends the connections of a user who is no more. Who did that gets the reply first.
fn part_with_clients(sys: &mut System, sessions: &mut Sessions, ks: &Keyspace, user: UserId) {
    let of_user = |session: &Session| session.user == user && !session.unrestricted;
    let clients: Vec<SessionId> = sessions
        .iter()
        .filter_map(|(sid, session)| of_user(session).then_some(sid))
        .collect();
    for sid in clients {
        if sys.current == Some(sid) {
            if let Some(session) = sessions.get_mut(sid) {
                session.user = DEFAULT;
                session.authenticated = false;
                session.closing = true;
            }
        } else {
            admit::expel(sys, sessions, ks, sid);
        }
    }
}

/// Ends the connections of a user that are subscribed to what it may not hear any more.
fn part_with_listeners(
    sys: &mut System,
    sessions: &mut Sessions,
    ks: &Keyspace,
    id: UserId,
    before: &User,
) {
    let Some(user) = sys.acl.users.get(id) else {
        return;
    };
    if !user.lost_channels(before) {
        return;
    }
    let overhears = |session: &Session| {
        let Some(subscribed) = &session.subscriptions else {
            return false;
        };
        let any = |kind, is_pattern| {
            let mut names = subscribed.of(kind).iter();
            names.any(|name| !user.has_channel(name, is_pattern))
        };
        any(pubsub::Kind::Channel, false)
            || any(pubsub::Kind::Pattern, true)
            || any(pubsub::Kind::Shard, false)
    };
    let clients: Vec<SessionId> = sessions
        .iter()
        .filter(|(_, session)| session.user == id && !session.unrestricted && overhears(session))
        .map(|(sid, _)| sid)
        .collect();
    for sid in clients {
        admit::expel(sys, sessions, ks, sid);
    }
}

/// Where the users are kept, if not in the configuration.
pub fn file(sys: &System) -> Option<PathBuf> {
    let name = &sys.cfg.aclfile;
    (!name.is_empty()).then(|| Path::new(&sys.cfg.dir).join(name))
}

/// ACL LOAD. Clients of users who are gone or have changed are gone; others do not notice.
///
/// # Errors
/// Everything that is wrong with the file; then nothing has changed.
pub fn load(cx: &mut Ctx<'_>, path: &Path) -> Result<(), FileFault> {
    let name = cx.sys.cfg.aclfile.clone();
    let text = match cx.sys.host.0.read_file(path) {
        Ok(Some(text)) => text,
        Ok(None) => return Err(FileFault::unreadable(&name, "No such file or directory")),
        Err(e) => return Err(FileFault::unreadable(&name, &reason(&e))),
    };
    let registry = cx.sys.registry.own();
    let changed = cx.sys.acl.users.load(&text, &name, registry)?;
    for (id, before) in changed {
        match cx.sys.acl.users.get(id) {
            Some(now) if now.name == before.name && id == DEFAULT => {
                part_with_listeners(cx.sys, cx.sessions, cx.ks, id, &before);
            }
            _ => part_with_clients(cx.sys, cx.sessions, cx.ks, id),
        }
    }
    Ok(())
}

/// ACL SAVE.
///
/// # Errors
/// Those of the system; then the file is as it was.
pub fn save(sys: &System, path: &Path) -> io::Result<()> {
    sys.host.0.replace_file(path, &sys.acl.users.to_file())
}
