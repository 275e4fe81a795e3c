//! Who plays: whose sentinels over whose servers.

use super::Kind::{self, Redis, Redkeep};
use super::common::peer::tool;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Condvar, Mutex, PoisonError};

/// How many topologies there are at a time, each of some six processes.
const SIDE_BY_SIDE: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    name: [&'static str; 2],
    pub sentinels: [Kind; 3],
    /// The leader first.
    pub servers: [Kind; 3],
}

const SENTINELS: [(&str, [Kind; 3]); 4] = [
    ("redkeep", [Redkeep; 3]),
    ("2+1", [Redkeep, Redkeep, Redis]),
    ("1+2", [Redis, Redkeep, Redis]),
    ("redis", [Redis; 3]),
];

const SERVERS: [(&str, [Kind; 3]); 3] = [
    ("redkeep", [Redkeep; 3]),
    ("mixed", [Redkeep, Redis, Redkeep]),
    ("redis", [Redis; 3]),
];

impl fmt::Display for Cast {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let [sentinels, servers] = self.name;
        write!(f, "SENTINELS={sentinels} SERVERS={servers}")
    }
}

impl Cast {
    fn all() -> impl Iterator<Item = Cast> {
        let with = |(sentinels, s)| {
            SERVERS.map(|(servers, n)| Cast {
                name: [sentinels, servers],
                sentinels: s,
                servers: n,
            })
        };
        let asked = |name, value| std::env::var(name).is_ok_and(|wanted| wanted != value);
        let all = SENTINELS.into_iter().flat_map(with);
        all.filter(move |cast| {
            let [sentinels, servers] = cast.name;
            !asked("SENTINELS", sentinels) && !asked("SERVERS", servers)
        })
    }

    /// Who checks the scenarios.
    pub fn redis_alone() -> Cast {
        Cast {
            name: ["redis"; 2],
            sentinels: [Redis; 3],
            servers: [Redis; 3],
        }
    }

    /// Whether nobody of Redkeep plays, or nobody but Redkeep.
    fn is_all(&self, kind: Kind) -> bool {
        self.sentinels == [kind; 3] && self.servers == [kind; 3]
    }
}

/// The casts that check something of ours; those for which the real programs are missing are left out.
pub fn with_ours() -> Vec<Cast> {
    let is_redis_there = is_redis_there();
    Cast::all()
        .filter(|cast| !cast.is_all(Redis) && (is_redis_there || cast.is_all(Redkeep)))
        .collect()
}

/// The cast that checks a scenario.
pub fn of_redis() -> Vec<Cast> {
    let is_redis_there = is_redis_there();
    Cast::all()
        .filter(|cast| cast.is_all(Redis) && is_redis_there)
        .collect()
}

/// Says so when not.
pub fn is_redis_there() -> bool {
    tool("redis-server").is_some() && tool("redis-sentinel").is_some()
}

/// Plays a scenario with all casts, each on a thread of its own; fails when all have ended and one of them has not come
/// through.
pub fn side_by_side(casts: Vec<Cast>, scenario: impl Fn(Cast) + Sync) {
    let failed: Vec<String> = std::thread::scope(|scope| {
        let play = |cast: Cast| {
            let _room = Room::take();
            let played = std::panic::catch_unwind(AssertUnwindSafe(|| scenario(cast)));
            played.is_err().then(|| cast.to_string())
        };
        let threads: Vec<_> = casts
            .into_iter()
            .map(|cast| scope.spawn(move || play(cast)))
            .collect();
        let ends = threads.into_iter().map(|thread| thread.join().unwrap());
        ends.flatten().collect()
    });
    assert!(failed.is_empty(), "failed with\n{}", failed.join("\n"));
}

/// Room for one topology.
struct Room;

static FREE: Mutex<usize> = Mutex::new(SIDE_BY_SIDE);
static LEFT: Condvar = Condvar::new();

impl Room {
    fn take() -> Room {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let free = LEFT.wait_while(free, |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Room
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        LEFT.notify_one();
    }
}
