//! Who plays: whose sentinels over whose servers.

use super::Kind::{self, Redis, Redkeep};
use super::common::peer::tool;
use std::fmt;
use std::sync::{Condvar, Mutex, PoisonError};

/// How many topologies there are at a time, each of some six processes.
const SIDE_BY_SIDE: usize = 20;

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
        let is_wanted = |name, value| {
            let wanted = std::env::var(name).unwrap_or_else(|_| "all".to_owned());
            wanted == "all" || wanted == value
        };
        let all = SENTINELS.into_iter().flat_map(with);
        all.filter(move |cast| {
            let [sentinels, servers] = cast.name;
            is_wanted("SENTINELS", sentinels) && is_wanted("SERVERS", servers)
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

/// Those of them with sentinels of ours over servers of both kinds; of ours alone where there are no others.
pub fn over_both() -> Vec<Cast> {
    let mut casts = with_ours();
    if std::env::var("SERVERS").is_err() && casts.len() > 1 {
        casts.retain(|cast| cast.sentinels != [Redis; 3] && cast.name[1] == "mixed");
    }
    casts
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

/// Name, casts and what they play.
type Scenario = (&'static str, Vec<Cast>, fn(Cast));

/// Plays scenarios with all their casts, each on a thread of its own; fails when all have ended and one of them has not come
/// through.
pub fn side_by_side(scenarios: &[Scenario]) {
    let wanted = std::env::var("SCENARIO").ok();
    let failed: Vec<String> = std::thread::scope(|scope| {
        let play = |name: &str, cast: Cast, scenario: fn(Cast)| {
            let _room = Room::take();
            let played = std::panic::catch_unwind(|| scenario(cast));
            played.is_err().then(|| format!("SCENARIO={name} {cast}"))
        };
        let mut threads = Vec::new();
        for (name, casts, scenario) in scenarios {
            if wanted.as_ref().is_none_or(|wanted| wanted == name) {
                let starts = |&cast| scope.spawn(move || play(name, cast, *scenario));
                threads.extend(casts.iter().map(starts));
            }
        }
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
