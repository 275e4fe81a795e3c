//! What an operator is to hear of although clients can make it happen as often as they like: the first time at once, then
//! no more than a line in a second, which says how often it happened meanwhile.

use super::session::Peer;
use super::{SessionId, State, System, acl, used_memory};

/// How long nothing more is said of the same, in microseconds.
const SILENCE: i64 = 1_000_000;

/// How long nothing more is said of keys that go: a cache evicts all the time.
const EVICTING_SILENCE: i64 = 60_000_000;

/// Something that is not to fill the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// `maxclients` are connected.
    Full,
    /// Protected mode let somebody not in.
    Protected,
    /// A name or password was wrong.
    WrongPassword,
    /// A user may not do that.
    NoPermission,
    /// A command was refused for want of memory.
    OutOfMemory,
    /// A write was refused, or not confirmed, for want of replicas.
    FewReplicas,
    /// A write was refused since nothing can be saved.
    CannotSave,
    /// Somebody did not agree on TLS.
    Handshake,
    /// Keys go to make room.
    Evicting,
}

impl Alarm {
    const fn silence(self) -> i64 {
        match self {
            Alarm::Evicting => EVICTING_SILENCE,
            _ => SILENCE,
        }
    }
}

/// How many there are.
const ALARMS: usize = Alarm::Evicting as usize + 1;

/// When each may be told of again, and how often it was not.
#[derive(Clone, Debug, Default)]
pub struct Alarms([Quiet; ALARMS]);

#[derive(Clone, Copy, Debug, Default)]
struct Quiet {
    until: i64,
    untold: u64,
}

impl Alarms {
    /// Whether to tell of it now, and how often that was not done since the last time.
    pub fn rings(&mut self, alarm: Alarm, now_us: i64) -> Option<u64> {
        let quiet = self.0.get_mut(alarm as usize)?;
        let silence = alarm.silence();
        // A clock that was set back keeps nothing quiet for long.
        if now_us < quiet.until && quiet.until - now_us <= silence {
            quiet.untold += 1;
            return None;
        }
        quiet.until = now_us + silence;
        Some(std::mem::take(&mut quiet.untold))
    }
}

/// Somebody was not let in.
#[cold]
pub(super) fn turned_away(sys: &mut System, alarm: Alarm, peer: &Peer) {
    if let Some(untold) = sys.alarms.rings(alarm, sys.now_us) {
        let why = match alarm {
            Alarm::Full => "maxclients are connected",
            _ => "protected mode, and the default user has no password",
        };
        tracing::warn!(addr = %peer.addr, why, untold, "Connection refused");
    }
}

/// Somebody is gone without having agreed on TLS.
#[cold]
pub fn not_agreed(sys: &mut System, addr: &str, laddr: &str, why: &str) {
    if let Some(untold) = sys.alarms.rings(Alarm::Handshake, sys.now_us) {
        tracing::warn!(
            untold,
            "Error accepting a client connection: {why} (addr={addr} laddr={laddr})"
        );
    }
}

/// Keys have to go: memory is over its limit by so many bytes.
#[cold]
pub(super) fn evicting(sys: &mut System, excess: usize) {
    if sys.alarms.rings(Alarm::Evicting, sys.now_us).is_some() {
        let policy = sys.cfg.shown("maxmemory-policy");
        let (maxmemory, evicted) = (sys.cfg.maxmemory, sys.stats.evicted_keys);
        tracing::info!(maxmemory, excess, policy, evicted, "Keys are evicted");
    }
}

/// A command was answered with an error of this code.
#[cold]
pub(super) fn answered(state: &mut State, sid: Option<SessionId>, command: &str, code: &str) {
    let (alarm, text) = match code {
        "WRONGPASS" => (
            Alarm::WrongPassword,
            "A client gave a wrong user or password",
        ),
        "NOPERM" => (Alarm::NoPermission, "A user has no right to do that"),
        "OOM" => (Alarm::OutOfMemory, "Out of memory: commands are refused"),
        "NOREPLICAS" => (Alarm::FewReplicas, "Too few replicas for a write"),
        "MISCONF" => (
            Alarm::CannotSave,
            "Writes are refused: nothing can be saved",
        ),
        _ => return,
    };
    let now = state.sys.now_us;
    let Some(untold) = state.sys.alarms.rings(alarm, now) else {
        return;
    };
    let session = sid.and_then(|sid| state.sessions.get(sid));
    let client = session.map(|session| acl::who(&state.sys, session));
    let client = client.unwrap_or_default();
    match alarm {
        Alarm::OutOfMemory => {
            let used = used_memory(&state.ks, &state.sessions, &state.sys);
            let maxmemory = state.sys.cfg.maxmemory;
            tracing::warn!(used, maxmemory, command, client, untold, "{text}");
        }
        _ => tracing::warn!(command, client, untold, "{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_a_second() {
        let mut alarms = Alarms::default();
        let mut ring = |at| alarms.rings(Alarm::WrongPassword, at);
        assert_eq!(ring(5_000_000), Some(0));
        assert_eq!(ring(5_000_001), None);
        assert_eq!(ring(5_999_999), None);
        assert_eq!(ring(6_000_000), Some(2));
        assert_eq!(ring(6_000_001), None);
        // The clock was set back.
        assert_eq!(ring(1_000_000), Some(1));
        assert_eq!(alarms.rings(Alarm::Full, 1_000_001), Some(0));
    }
}
