//! A region around the server that a command is about: the sentinels that watch it, its own and others, and the replicas that
//! are to follow it.

use super::args::{Access, Side};
use super::consent::Findings;
use super::journal::{Journal, PATIENCE, Peer};
use super::sentinels::{Guard, Watched, Watcher};
use super::server::{Role, Standing};
use crate::server::ask::{Address, Credentials};

/// Somebody who watches a server and is not of those that were named.
#[derive(Debug)]
pub(super) struct Stranger {
    pub watcher: Watcher,
    /// None where it has not said where it is.
    pub guard: Option<Guard>,
}

/// The sentinels of a region by name, whether they answer or not.
pub(super) fn guards(all: &[Address], master: Option<&str>, access: &Access) -> Vec<Guard> {
    let name = master.unwrap_or_default();
    all.iter().map(|a| Guard::look(a, name, access)).collect()
}

/// Those who watch a server beside these.
pub(super) fn strangers(
    server: &Address,
    side: Side,
    guards: &[Guard],
    access: &Access,
) -> Vec<Stranger> {
    let others = Watcher::others(server, side, guards, access).unwrap_or_default();
    others
        .into_iter()
        .map(|watcher| Stranger {
            guard: watcher
                .hello
                .as_ref()
                .map(|hello| Guard::look(&hello.address, &hello.name, access)),
            watcher,
        })
        .collect()
}

/// Says who of these cannot be told to forget the leader, and what comes of that.
pub(super) fn report(strangers: &[Stranger], consequence: &str, found: &mut Findings) {
    for stranger in strangers {
        let words = stranger.watcher.words();
        match &stranger.guard {
            None => found.warnings.push(format!(
                "The leader is watched by {words}, which cannot be told to forget it: {consequence} if it comes back."
            )),
            Some(Guard {
                error: Some(error), ..
            }) => found.refusals.push(format!(
                "The leader is watched by {words}, which cannot be told to forget it ({error}): {consequence}. Stop it \
                 first."
            )),
            Some(_) => found.warnings.push(format!(
                "The leader is watched by {words}, which will be told to forget it."
            )),
        }
    }
}

/// Says which of a region's own sentinels do not answer.
pub(super) fn report_guards(guards: &[Guard], found: &mut Findings) {
    for guard in guards {
        if let Some(error) = &guard.error {
            found.warnings.push(format!(
                "The sentinel {} does not answer: {error}.",
                guard.peer.address
            ));
        }
    }
}

/// Writes what was set into a server's configuration file, if it has one.
pub(super) fn rewrite(server: &mut Peer, standing: &Standing, journal: &mut Journal) {
    if standing.config_file {
        journal.order(server, &["CONFIG", "REWRITE"]);
    }
}

/// Lets a server know as whom it is to follow others.
pub(super) fn set_credentials(server: &mut Peer, who: &Credentials, journal: &mut Journal) -> bool {
    let Some(password) = &who.password else {
        return true;
    };
    let user = who.user.as_deref().unwrap_or_default();
    let set = |name, value, journal: &mut Journal, server: &mut Peer| {
        journal.order(server, &["CONFIG", "SET", name, value])
    };
    set("masterauth", password, journal, server)
        && (user.is_empty() || set("masteruser", user, journal, server))
}

/// A replica that is to follow another server.
pub(super) struct Replica {
    pub peer: Peer,
    standing: Option<Standing>,
}

impl Replica {
    pub(super) fn look(address: &Address, access: &Access) -> Self {
        let mut peer = Peer::new(address.clone(), access.open(address, Side::Here));
        let standing = peer.ask().and_then(Standing::ask).ok();
        Self { peer, standing }
    }

    /// Puts it behind a leader.
    pub(super) fn follow(&mut self, leader: &Address, who: &Credentials, journal: &mut Journal) {
        let port = leader.port.to_string();
        if set_credentials(&mut self.peer, who, journal)
            && journal.order(&mut self.peer, &["REPLICAOF", &leader.host, &port])
            && let Some(standing) = &self.standing
        {
            rewrite(&mut self.peer, standing, journal);
        }
    }

    /// Waits until it follows.
    pub(super) fn verify(&mut self, leader: &Address, journal: &mut Journal) {
        follows(&mut self.peer, leader, journal);
    }
}

/// Waits until a server follows a leader; a copy that is under way will do.
pub(super) fn follows(server: &mut Peer, leader: &Address, journal: &mut Journal) -> bool {
    let by_hand = server.by_hand(&["INFO", "replication"]);
    let address = server.address.clone();
    let what = format!("follows {leader}");
    journal.expect(&address, &what, &by_hand, PATIENCE, || {
        let standing = server.ask().and_then(Standing::ask);
        match standing.map_err(|e| e.to_string())?.role {
            Role::Leader => Err("it leads".into()),
            Role::Replica(up) if up.address != *leader => Err(format!("it follows {}", up.address)),
            Role::Replica(up) if up.up || up.copying => Ok(()),
            Role::Replica(up) => Err(format!("the link is down ({})", up.state)),
        }
    })
}

/// What is to be set at the `n`th sentinel: what it had of before, or one of the others, or those of the other region.
pub(super) fn as_before(guards: &[Guard], n: usize, strangers: &[Stranger], name: &str) -> Watched {
    let own = guards.get(n).and_then(|guard| guard.watched.as_ref());
    let any = || guards.iter().find_map(|guard| guard.watched.as_ref());
    let others = || {
        strangers
            .iter()
            .find_map(|s| s.guard.as_ref()?.watched.as_ref())
    };
    match own.or_else(any).or_else(others) {
        Some(watched) => watched.named(name),
        None => Watched::fresh(name),
    }
}
