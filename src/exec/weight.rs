//! What clients weigh: the memory that each of them takes, and who must go when all together take more than
//! `maxmemory-clients`.
//!
//! While nothing bounds it, nobody adds anything up: a client is weighed when somebody asks. While something does, the
//! sum of all is estimated in O(1) from what is counted anyway, before each command and at the end of each batch; only
//! when that comes near the limit are clients weighed one by one.

use super::session::{Session, SessionId, Sessions};
use super::{State, System};
use crate::ds::bytes::SmallBytes;
use crate::service::config::Share;

/// So often clients are weighed although nothing seems to have changed, in milliseconds.
const EVERY: i64 = 100;

/// So many clients are weighed whenever there is reason to.
const FEW: usize = 256;

/// What is known of the weight of all clients.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scales {
    /// The most that they may weigh; 0 is no limit.
    limit: usize,
    /// When they were weighed last, unix milliseconds, what the estimate was, and how far below the limit they were.
    weighed_at: i64,
    estimate: usize,
    spare: usize,
}

impl Scales {
    /// Whether there is a limit.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.limit > 0
    }

    /// When to weigh next in any case, unix milliseconds.
    #[inline]
    pub(crate) fn next_tick(&self) -> Option<i64> {
        self.is_on().then_some(self.weighed_at + EVERY)
    }
}

/// Heeds `maxmemory-clients`: so many bytes, or a share of `maxmemory`, if there is one.
pub(super) fn configure(sys: &mut System) {
    let limit = match sys.cfg.maxmemory_clients {
        Share::Bytes(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
        Share::Percent(percent) => {
            let share = u128::from(sys.cfg.maxmemory) * u128::from(percent) / 100;
            usize::try_from(share).unwrap_or(usize::MAX)
        }
    };
    sys.scales = Scales {
        limit,
        ..Scales::default()
    };
}

impl Session {
    /// Bytes that it takes: what is known of it, what it has sent that has not run, what is queued and to be sent.
    pub fn memory(&self) -> usize {
        let text = self.name.capacity() + self.lib_name.capacity() + self.lib_ver.capacity();
        let peer = self.peer.addr.capacity() + self.peer.laddr.capacity();
        let subscriptions = self.subscriptions.as_ref().map_or(0, |s| s.memory());
        let prefixes = self.tracking.as_ref().map_or(0, |mode| {
            mode.prefixes
                .iter()
                .map(|p| 2 * size_of::<SmallBytes>() + p.heap_size())
                .sum()
        });
        size_of::<Self>()
            + text
            + peer
            + self.multi.as_ref().map_or(0, |multi| multi.memory())
            + self.watch.memory()
            + subscriptions
            + prefixes
            + self.outbox.capacity()
            + self.peer.unsent.held()
            + self.replica.as_ref().map_or(0, |replica| replica.waiting)
    }

    /// Whether it is one of those that the limit is for.
    fn is_weighed(&self) -> bool {
        !self.replays && !self.is_replica() && !self.cut_off
    }

    /// Whether it may be made to go.
    fn may_be_evicted(&self) -> bool {
        self.is_weighed() && !self.no_evict && !self.peer.trusted
    }
}

/// All that clients take, without looking at each of them; and a little more.
pub fn estimate(sys: &System, sessions: &Sessions) -> usize {
    sessions.memory()
        + sys.queued.get()
        + sys.pubsub.memory()
        + sys.watchers.memory()
        + sys.tracking.memory_of_prefixes()
}

/// Who must go for all to weigh less than the limit: the heaviest first. `running` is whoever is about to run a command,
/// and the bytes of its arguments.
pub(crate) fn overweight(state: &mut State, running: Option<(SessionId, usize)>) -> Vec<SessionId> {
    let State { sys, sessions, .. } = state;
    let estimate = estimate(sys, sessions) + running.map_or(0, |(_, bytes)| bytes);
    let now = sys.now_us / 1000;
    let scales = sys.scales;
    let is_known = sessions.len() > FEW
        && estimate < scales.estimate.saturating_add(scales.spare)
        && now - scales.weighed_at < EVERY;
    if estimate < scales.limit || is_known {
        return Vec::new();
    }
    weigh(sys, sessions, running, estimate)
}

#[cold]
fn weigh(
    sys: &mut System,
    sessions: &Sessions,
    running: Option<(SessionId, usize)>,
    estimate: usize,
) -> Vec<SessionId> {
    let limit = sys.scales.limit;
    let mut total = 0;
    let mut heavy = Vec::new();
    for (sid, session) in sessions.iter().filter(|(_, s)| s.is_weighed()) {
        // Arguments that came in pieces are counted with these.
        let args = running.filter(|(other, _)| *other == sid);
        let args = args.map_or(0, |(_, bytes)| bytes);
        let bytes = session.memory() + args.saturating_sub(session.peer.unsent.input().parsed);
        total += bytes;
        if session.may_be_evicted() {
            heavy.push((bytes, sid));
        }
    }
    let (mut gone, mut freed) = (Vec::new(), 0);
    if total >= limit {
        heavy.sort_unstable();
        while total >= limit {
            let Some((bytes, sid)) = heavy.pop() else {
                tracing::warn!("Over client maxmemory after evicting all evictable clients");
                break;
            };
            total -= bytes;
            freed += bytes;
            gone.push(sid);
        }
    }
    sys.scales.weighed_at = sys.now_us / 1000;
    sys.scales.estimate = estimate.saturating_sub(freed);
    // Where nobody can be made to go it is of no use to look at each command.
    sys.scales.spare = limit.checked_sub(total).unwrap_or(limit / 16);
    gone
}
