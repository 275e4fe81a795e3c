//! Who can reach whom while a leader is cut off.

use crate::server::ask::Address;
use std::sync::Arc;

use tokio::sync::watch;

/// On which side of the cut a client is. Without one there is no difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// With the sentinels: the leader that is cut off is out of its reach.
    Sentinels,
    /// With the leader that is cut off: it goes on with that, and reaches nobody else.
    Leader,
}

/// The leader that is cut off from the clients on the sentinels' side. To them it is as if the network were silent:
/// what is sent does not arrive, nor does what was answered before, until the cut has healed.
#[derive(Clone, Debug)]
pub(super) struct Reach(Arc<watch::Sender<Option<Address>>>);

impl Reach {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    pub(super) fn cut(&self, leader: &Address) {
        self.0.send_replace(Some(leader.clone()));
    }

    pub(super) fn heal(&self) {
        self.0.send_replace(None);
    }

    /// The leader that is cut off.
    pub(super) fn isolated(&self) -> Option<Address> {
        self.0.borrow().clone()
    }

    /// Returns as soon as bytes get from that side to that server.
    pub(super) async fn open(&self, side: Side, server: &Address) {
        let is_open = |cut: &Option<Address>| side == Side::Leader || cut.as_ref() != Some(server);
        if !is_open(&self.0.borrow()) {
            // The sender is alive as long as this is.
            let _ = self.0.subscribe().wait_for(is_open).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_cut_is_between_one_leader_and_one_side() {
        let reach = Reach::new();
        let [one, other]: [Address; 2] = ["h:1", "h:2"].map(|a| a.parse().unwrap());
        reach.open(Side::Sentinels, &one).await;
        reach.cut(&one);
        assert_eq!(reach.isolated(), Some(one.clone()));
        reach.open(Side::Sentinels, &other).await;
        reach.open(Side::Leader, &one).await;
        let waits = reach.open(Side::Sentinels, &one);
        tokio::pin!(waits);
        let short = timeout(Duration::from_millis(20), &mut waits).await;
        assert!(short.is_err());
        reach.heal();
        waits.await;
        assert_eq!(reach.isolated(), None);
    }
}
