//! Sessions that clients may take up again (`tls-session-caching`).

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::server::StoresServerSessions;

/// Where no number is said.
const MOST: usize = 1 << 20;

/// Sessions, the oldest first: each is forgotten after a while, or when there are too many.
pub(super) struct Sessions {
    most: usize,
    lasts: Duration,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    sessions: HashMap<Vec<u8>, (Instant, Vec<u8>)>,
    /// Their names by age; some are gone already.
    order: VecDeque<(Instant, Vec<u8>)>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl Sessions {
    pub(super) fn new(size: u32, seconds: u32) -> Self {
        Self {
            most: match usize::try_from(size) {
                Ok(size @ 1..) => size.min(MOST),
                _ => MOST,
            },
            lasts: Duration::from_secs(seconds.into()),
            kept: Mutex::default(),
        }
    }

    fn put_at(&self, key: Vec<u8>, value: Vec<u8>, now: Instant) {
        let mut kept = self.kept.lock();
        while let Some((since, _)) = kept.order.front()
            && (kept.order.len() >= self.most || self.is_over(*since, now))
        {
            kept.forget_oldest();
        }
        kept.order.push_back((now, key.clone()));
        kept.sessions.insert(key, (now, value));
    }

    fn take_at(&self, key: &[u8], now: Instant) -> Option<Vec<u8>> {
        let (since, value) = self.kept.lock().sessions.remove(key)?;
        (!self.is_over(since, now)).then_some(value)
    }

    fn is_over(&self, since: Instant, now: Instant) -> bool {
        now.duration_since(since) >= self.lasts
    }
}

impl Kept {
    fn forget_oldest(&mut self) {
        // Another may have come under the same name since.
        if let Some((since, key)) = self.order.pop_front()
            && self.sessions.get(&key).is_some_and(|(at, _)| *at == since)
        {
            self.sessions.remove(&key);
        }
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.put_at(key, value, Instant::now());
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let kept = self.kept.lock();
        let (since, value) = kept.sessions.get(key)?;
        (!self.is_over(*since, Instant::now())).then(|| value.clone())
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.take_at(key, Instant::now())
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_few_and_last_a_while() {
        let sessions = Sessions::new(3, 10);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        for n in 0..5u8 {
            sessions.put_at(vec![n], vec![n, n], at(n.into()));
        }
        assert_eq!(sessions.take_at(&[1], at(5)), None);
        assert_eq!(sessions.take_at(&[2], at(5)), Some(vec![2, 2]));
        assert_eq!(sessions.take_at(&[2], at(5)), None);
        assert_eq!(sessions.take_at(&[3], at(13)), None);
        assert_eq!(sessions.take_at(&[4], at(13)), Some(vec![4, 4]));
        // One that came anew under an old name is as young as it is.
        sessions.put_at(vec![9], vec![0], at(20));
        sessions.put_at(vec![9], vec![1], at(21));
        sessions.put_at(vec![8], vec![1], at(30));
        assert_eq!(sessions.take_at(&[9], at(30)), Some(vec![1]));
        assert!(sessions.kept.lock().order.len() <= 3);
    }
}
