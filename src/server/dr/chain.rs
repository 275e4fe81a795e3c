//! The way of a write to a standby: from the standby up to the leader, hop by hop, and what the hops together tell.

use std::time::{Duration, Instant};

use super::args::{Access, Side};
use super::server::{Backlog, Standing};
use crate::server::ask::{Address, Ask, AskError};

/// The longest chain that is walked.
const LONGEST: usize = 16;

/// One server of the chain.
#[derive(Debug)]
pub(super) struct Hop {
    pub address: Address,
    /// What it told, or why it did not.
    pub seen: Result<Standing, AskError>,
    /// Bytes of the stream in a second, as measured here.
    pub rate: Option<f64>,
    /// Its addresses, by number.
    ips: Vec<String>,
    ask: Option<Ask>,
}

/// The standby first, whoever is furthest up last.
#[derive(Debug)]
pub(super) struct Chain {
    pub hops: Vec<Hop>,
    /// The chain bites its tail: everybody follows somebody, and nobody leads.
    pub circle: bool,
}

/// How far one server is behind another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Behind {
    /// What it lacks of the stream. Taken from offsets that are not of one moment: rather too much than too little.
    pub bytes: Option<u64>,
    /// For how long the first of that has been there.
    pub ms: Option<u64>,
    /// That time is guessed: from the measured rate, or from how long the link has been down.
    pub estimated: bool,
}

/// What a link between two servers can bear.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reserve {
    /// What the lower one lacks is there: it goes on without a copy.
    pub holds: bool,
    /// For how many seconds that stays so if the link is down from now on; none if nothing is written.
    pub seconds: Option<f64>,
}

/// What would be missing if the standby led now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// The leader was asked.
    Known(Behind),
    /// The leader cannot be asked: whatever was written in the seconds since the standby last heard anything.
    Unknown { silent: Option<u64> },
    /// The standby's history is not that of the leader: what it has is something else.
    Strange,
}

impl Hop {
    fn look(address: Address, access: &Access, side: Side) -> Self {
        let mut open = access.open(&address, side);
        if let (Side::Upstream, Err(AskError::Refused(_))) = (side, &open) {
            // It may be of the same region still.
            open = access.open(&address, Side::Here).or(open);
        }
        let (ask, seen) = match open {
            Ok(mut ask) => {
                let seen = Standing::ask(&mut ask);
                (Some(ask), seen)
            }
            Err(error) => (None, Err(error)),
        };
        let resolved = address.resolve().unwrap_or_default();
        Self {
            ips: resolved.iter().map(|addr| addr.ip().to_string()).collect(),
            address,
            seen,
            rate: None,
            ask,
        }
    }

    /// What it told, if it did.
    pub(super) fn standing(&self) -> Option<&Standing> {
        self.seen.as_ref().ok()
    }

    /// Asks once more, which tells how much was written meanwhile.
    fn measure(&mut self) {
        let Some(ask) = self.ask.as_mut().filter(|_| self.seen.is_ok()) else {
            return;
        };
        let again = Standing::ask(ask);
        if let (Ok(before), Ok(now)) = (&self.seen, &again)
            && before.history == now.history
        {
            let seconds = now.at.duration_since(before.at).as_secs_f64();
            let written = now.offset.saturating_sub(before.offset) as f64;
            self.rate = Some(written / seconds.max(0.001));
        }
        self.seen = again;
    }
}

impl Chain {
    /// Walks up from a server to the one that follows nobody, as far as servers answer.
    pub(super) fn walk(standby: &Address, access: &Access) -> Self {
        let mut hops = vec![Hop::look(standby.clone(), access, Side::Here)];
        let mut circle = false;
        while hops.len() < LONGEST {
            let above = hops.last().and_then(Hop::standing);
            // A server that is fenced follows nobody, at port 0.
            let upstream = above.and_then(Standing::upstream);
            let Some(next) = upstream.filter(|up| up.address.port != 0) else {
                break;
            };
            let hop = Hop::look(next.address.clone(), access, Side::Upstream);
            let known = |one: &Hop| {
                let ids = one.standing().zip(hop.standing());
                ids.is_some_and(|(one, hop)| one.run_id == hop.run_id)
            };
            circle = hops.iter().any(known);
            hops.push(hop);
            if circle {
                break;
            }
        }
        Self { hops, circle }
    }

    /// Looks a second time after a while, from the standby up: so what the standby lacks is not told too small.
    pub(super) fn measure(&mut self, interval: Duration) {
        let first = self.hops.iter().filter_map(Hop::standing).map(|s| s.at);
        let until = first.max().map(|at| at + interval);
        if let Some(left) = until.and_then(|until| until.checked_duration_since(Instant::now())) {
            std::thread::sleep(left);
        }
        self.hops.iter_mut().for_each(Hop::measure);
    }

    /// The server that the chain was walked from.
    pub(super) fn standby(&self) -> Option<&Hop> {
        self.hops.first()
    }

    /// The server at the top, if it answers and leads.
    pub(super) fn leader(&self) -> Option<&Hop> {
        let top = self.hops.last()?;
        top.standing().is_some_and(Standing::leads).then_some(top)
    }

    /// Whether everybody answers, every link is up, and somebody leads.
    pub(super) fn is_whole(&self) -> bool {
        let up = |hop: &Hop| {
            hop.standing()
                .is_some_and(|s| s.upstream().is_none_or(|u| u.up))
        };
        self.leader().is_some() && self.hops.iter().all(up)
    }

    /// The rate of writes: as the uppermost that answers has it.
    pub(super) fn rate(&self) -> Option<f64> {
        self.hops.iter().rev().find_map(|hop| hop.rate)
    }

    /// How far the `n`th hop is behind the one above it.
    pub(super) fn behind(&self, n: usize) -> Behind {
        let pair = self.hops.get(n).zip(self.hops.get(n + 1));
        let Some((lower, upper)) = pair else {
            return Behind::default();
        };
        let Some(above) = upper.standing() else {
            return Behind::default();
        };
        let told = above.follower(&lower.address, &lower.ips);
        let measured = lower
            .standing()
            .filter(|below| below.history == above.history)
            .map(|below| above.offset.saturating_sub(below.offset));
        let bytes = measured.or(told.and_then(|f| f.behind_bytes));
        let online = told.filter(|f| f.state == "online");
        let behind = Behind::of(bytes, online.and_then(|f| f.behind_ms), upper.rate);
        let down = lower
            .standing()
            .and_then(Standing::upstream)
            .and_then(|u| u.down);
        match down {
            Some(seconds) if bytes != Some(0) => Behind {
                ms: Some(seconds.saturating_mul(1000)),
                estimated: true,
                ..behind
            },
            _ => behind,
        }
    }

    /// What the backlog above the `n`th hop can do for it.
    pub(super) fn reserve(&self, n: usize) -> Option<Reserve> {
        let below = self.hops.get(n)?.standing()?;
        let above = self.hops.get(n + 1)?.standing()?;
        let lacks = above.offset.saturating_sub(below.offset);
        let same = above.history == below.history;
        Some(
            above
                .backlog
                .reserve(same, below.offset, lacks, self.rate()),
        )
    }

    /// What would be lost if the standby led now.
    pub(super) fn loss(&self) -> Loss {
        let standby = self.standby().and_then(Hop::standing);
        let leader = self.leader().and_then(Hop::standing);
        let (Some(standby), Some(leader)) = (standby, leader) else {
            let ups = self
                .hops
                .iter()
                .filter_map(|hop| hop.standing()?.upstream());
            let silent = ups.filter_map(|up| up.down.or(up.heard)).max();
            return Loss::Unknown { silent };
        };
        if standby.history != leader.history {
            return Loss::Strange;
        }
        let hops: Vec<_> = (0..self.hops.len() - 1).map(|n| self.behind(n)).collect();
        let bytes = leader.offset.saturating_sub(standby.offset);
        let of_all = Behind::of(Some(bytes), None, self.rate());
        if bytes == 0 || hops.iter().any(|b| b.ms.is_none()) {
            return Loss::Known(of_all);
        }
        Loss::Known(Behind {
            bytes: Some(bytes),
            ms: Some(hops.iter().filter_map(|b| b.ms).sum()),
            estimated: hops.iter().any(|b| b.estimated),
        })
    }
}

impl Behind {
    fn of(bytes: Option<u64>, told_ms: Option<u64>, rate: Option<f64>) -> Self {
        // Nothing is missing: whatever has not been acknowledged yet is there.
        let told = told_ms.map(|ms| if bytes == Some(0) { 0 } else { ms });
        let guess = || match (bytes?, rate) {
            (0, _) => Some(0),
            (bytes, Some(rate)) if rate > 0.0 => Some((bytes as f64 * 1000.0 / rate) as u64),
            _ => None,
        };
        Self {
            bytes,
            ms: told.or_else(guess),
            estimated: told.is_none() && bytes != Some(0),
        }
    }
}

impl Backlog {
    /// What it can do for somebody of the same history or not, who is at that offset and lacks so much.
    fn reserve(&self, same: bool, offset: u64, lacks: u64, rate: Option<f64>) -> Reserve {
        let holds = self.active && same && self.first <= offset.saturating_add(1);
        let left = self.size.saturating_sub(lacks) as f64;
        let seconds = rate.filter(|rate| *rate > 0.0).map(|rate| left / rate);
        Reserve { holds, seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_told_or_guessed_and_none_where_nothing_is_missing() {
        let behind = |bytes, told, rate| {
            let b = Behind::of(bytes, told, rate);
            (b.ms, b.estimated)
        };
        assert_eq!(behind(Some(100), Some(74), Some(1.0)), (Some(74), false));
        assert_eq!(behind(Some(0), Some(74), Some(1.0)), (Some(0), false));
        assert_eq!(behind(Some(0), None, None), (Some(0), false));
        assert_eq!(behind(Some(500), None, Some(1000.0)), (Some(500), true));
        assert_eq!(behind(Some(500), None, Some(0.0)), (None, true));
        assert_eq!(behind(None, None, Some(1.0)), (None, true));
    }

    #[test]
    fn a_backlog_lasts_as_long_as_writes_let_it() {
        let backlog = Backlog {
            active: true,
            size: 64_000,
            first: 1000,
        };
        let reserve = backlog.reserve(true, 5000, 4000, Some(1000.0));
        assert_eq!((reserve.holds, reserve.seconds), (true, Some(60.0)));
        assert!(backlog.reserve(true, 999, 0, None).holds);
        assert!(!backlog.reserve(true, 998, 0, None).holds);
        assert!(!backlog.reserve(false, 5000, 0, None).holds);
        assert_eq!(backlog.reserve(true, 5000, 0, Some(0.0)).seconds, None);
        // It is too small already.
        let reserve = backlog.reserve(true, 5000, 70_000, Some(1.0));
        assert_eq!(reserve.seconds, Some(0.0));
    }
}
