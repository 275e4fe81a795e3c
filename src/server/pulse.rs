//! Whether a runtime has come to rest.

use std::sync::{Arc, Weak, mpsc};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeMetrics};

use crate::util::clock::{ManualClock, Settling, Timed};

/// How long it is waited between two looks at the threads.
const LOOK: Duration = Duration::from_micros(20);

/// Feels the pulse of a runtime for whoever moves the clock: all sockets that are ready have been looked at, and all that
/// followed from that has been done.
pub(super) struct Pulse {
    runtime: Handle,
}

impl Pulse {
    /// The clock asks for as long as this is kept.
    pub(super) fn of(runtime: &Handle, clock: &ManualClock) -> Arc<Self> {
        let pulse = Arc::new(Self {
            runtime: runtime.clone(),
        });
        let weak: Weak<Self> = Arc::downgrade(&pulse);
        clock.follow(weak);
        pulse
    }
}

fn rests(metrics: &RuntimeMetrics) -> bool {
    // It is counted when a thread begins to wait and when it goes on.
    let waits = |worker| metrics.worker_park_unpark_count(worker) % 2 == 1;
    metrics.global_queue_depth() == 0 && (0..metrics.num_workers()).all(waits)
}

impl Timed for Pulse {
    fn settle(&self) -> Option<Settling> {
        let (sender, seen) = mpsc::channel();
        self.runtime.spawn(async move {
            last_in_line().await;
            // Who asks may have given up.
            let _ = sender.send(());
        });
        let metrics = self.runtime.metrics();
        Some(Box::new(move |until| {
            // A runtime that has ended drops what it is given.
            let _ = seen.recv_timeout(until.saturating_duration_since(Instant::now()));
            while !rests(&metrics) && Instant::now() < until {
                std::thread::sleep(LOOK);
            }
        }))
    }
}

/// Waits until every socket that is ready now has been seen to be.
async fn last_in_line() {
    // Sockets are reported in the order in which they became ready: this is the last.
    #[cfg(unix)]
    if let Ok((mut here, there)) = tokio::net::UnixStream::pair() {
        use tokio::io::AsyncReadExt;
        if there.try_write(b".").is_ok() {
            let _ = here.read_u8().await;
        }
    }
    // And once more, for what they had left to do.
    tokio::task::yield_now().await;
}
