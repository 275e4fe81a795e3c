//! A TCP proxy on loopback that does to connections what networks do: cuts, refuses, stalls, delays, slows down and
//! forgets them.
//!
//! What a connection brings goes through a queue for each way: one thread reads into it, another one takes out what may
//! go on. All threads end with the proxy.

use super::peer::free_port;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From who has connected to the target.
    Up,
    /// From the target to who has connected.
    Down,
}

pub const BOTH: [Way; 2] = [Way::Up, Way::Down];

/// The most that is read at once, and how many such pieces are on their way.
const PIECE: usize = 16 * 1024;
const PIECES: usize = 64;

pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    rules: Mutex<Rules>,
    /// Somebody may go on whom the rules of before have held.
    changed: Condvar,
}

struct Rules {
    target: u16,
    refuses: bool,
    /// The proxy has ended.
    over: bool,
    ways: [Weather; 2],
    links: Vec<Arc<Link>>,
    threads: Vec<JoinHandle<()>>,
}

/// What becomes of the bytes that go one way.
#[derive(Default)]
struct Weather {
    stalled: bool,
    delay: Duration,
    bytes_per_second: Option<u64>,
    /// When the line is free again, of what went last.
    free_at: Option<Instant>,
    /// Whoever brings the last of these many bytes is cut.
    cut_after: Option<u64>,
    /// Those who connect after that are turned away.
    then_refuses: bool,
    passed: u64,
}

/// One connection and the one that it goes on with.
struct Link {
    /// By [`Way`]: where the bytes come from that go this way.
    ends: [TcpStream; 2],
    cut: AtomicBool,
    forgotten: AtomicBool,
    /// How many of the two ways have ended.
    ended: AtomicUsize,
}

/// What may be done with the next bytes of a link.
enum Passage {
    /// So many may go on; the link is cut behind them where they are the last ones.
    Go { bytes: usize, last: bool },
    /// They are lost, and nobody is told.
    Vanish,
    /// There is no link any more.
    Over,
}

impl Proxy {
    /// Forwards what connects to its port to that of a target on loopback.
    pub fn to(target: u16) -> Proxy {
        let listener = (0..5)
            .find_map(|_| TcpListener::bind(("127.0.0.1", free_port())).ok())
            .expect("a port to listen on");
        let port = listener.local_addr().expect("its address").port();
        let rules = Rules {
            target,
            refuses: false,
            over: false,
            ways: Default::default(),
            links: Vec::new(),
            threads: Vec::new(),
        };
        let shared = Arc::new(Shared {
            rules: Mutex::new(rules),
            changed: Condvar::new(),
        });
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.accept(&listener)
        });
        Proxy {
            port,
            shared,
            accepting: Some(accepting),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Those who connect from now on are forwarded to another port.
    pub fn set_target(&self, port: u16) {
        self.shared.lock().target = port;
    }

    /// Cuts all connections: both sides see an end, and what is on its way is lost.
    pub fn cut(&self) {
        self.shared.lock().links.drain(..).for_each(|l| l.cut());
        self.shared.changed.notify_all();
    }

    /// Whether those who connect from now on are turned away at once.
    pub fn refuse(&self, refuses: bool) {
        self.shared.lock().refuses = refuses;
    }

    /// Holds bytes, or lets those that were held go on.
    pub fn stall(&self, ways: &[Way], stalled: bool) {
        self.change(ways, |weather| weather.stalled = stalled);
    }

    /// What comes in from now on, and what is on its way, takes so long.
    pub fn delay(&self, ways: &[Way], ms: u64) {
        self.change(ways, |weather| weather.delay = Duration::from_millis(ms));
    }

    /// Lets only so many bytes a second pass, of all connections together.
    pub fn limit(&self, ways: &[Way], bytes_per_second: Option<u64>) {
        self.change(ways, |weather| {
            weather.bytes_per_second = bytes_per_second;
            weather.free_at = None;
        });
    }

    /// So many more bytes pass; the connection that brought the last of them is cut then, once.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        self.change(&[way], |weather| {
            weather.cut_after = Some(bytes);
            weather.then_refuses = false;
        });
    }

    /// The same, and those who connect after that are turned away.
    pub fn cut_for_good_after(&self, way: Way, bytes: u64) {
        self.change(&[way], |weather| {
            weather.cut_after = Some(bytes);
            weather.then_refuses = true;
        });
    }

    /// Forwards nothing any more of the connections that there are, and does not close them: neither side learns
    /// anything. Those who connect anew are forwarded.
    pub fn forget(&self) {
        for link in &self.shared.lock().links {
            link.forgotten.store(true, Ordering::SeqCst);
        }
        self.shared.changed.notify_all();
    }

    /// How many bytes have gone on.
    pub fn passed(&self, way: Way) -> u64 {
        self.shared.lock().ways[way as usize].passed
    }

    /// How many connections there are that anything may still go through.
    pub fn connections(&self) -> usize {
        let rules = self.shared.lock();
        let goes = |l: &&Arc<Link>| !l.is_over() && !l.forgotten.load(Ordering::SeqCst);
        rules.links.iter().filter(goes).count()
    }

    fn change(&self, ways: &[Way], change: impl Fn(&mut Weather)) {
        let mut rules = self.shared.lock();
        ways.iter()
            .for_each(|&w| change(&mut rules.ways[w as usize]));
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.cut();
        // Whoever accepts sees it at the next connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.accepting.take().map(JoinHandle::join);
        let threads = std::mem::take(&mut self.shared.lock().threads);
        threads.into_iter().for_each(|t| drop(t.join()));
    }
}

impl Shared {
    /// A test that has failed must still be able to end the threads.
    fn lock(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for near in listener.incoming() {
            let rules = self.lock();
            if rules.over {
                return;
            }
            let (refuses, target) = (rules.refuses, rules.target);
            drop(rules);
            if let (false, Ok(near)) = (refuses, near)
                && let Ok(far) = TcpStream::connect(("127.0.0.1", target))
            {
                self.join(near, far);
            }
        }
    }

    fn join(self: &Arc<Self>, near: TcpStream, far: TcpStream) {
        for end in [&near, &far] {
            let _ = end.set_nodelay(true);
        }
        let link = Arc::new(Link {
            ends: [near, far],
            cut: AtomicBool::new(false),
            forgotten: AtomicBool::new(false),
            ended: AtomicUsize::new(0),
        });
        let mut rules = self.lock();
        rules.links.retain(|l| !l.is_over());
        rules.threads.retain(|t| !t.is_finished());
        if rules.over {
            return;
        }
        rules.links.push(Arc::clone(&link));
        for way in BOTH {
            let (sender, queue) = mpsc::sync_channel(PIECES);
            let (reader, writer) = (Arc::clone(&link), Arc::clone(&link));
            let shared = Arc::clone(self);
            rules
                .threads
                .push(thread::spawn(move || reader.read(way, &sender)));
            rules
                .threads
                .push(thread::spawn(move || writer.write(way, &queue, &shared)));
        }
    }

    /// Waits until some of the bytes that have come in at a time may go on.
    fn passage(&self, link: &Link, way: Way, came: Instant, waiting: usize) -> Passage {
        let mut rules = self.lock();
        loop {
            if link.cut.load(Ordering::SeqCst) || rules.over {
                return Passage::Over;
            }
            if link.forgotten.load(Ordering::SeqCst) {
                return Passage::Vanish;
            }
            let weather = &mut rules.ways[way as usize];
            let now = Instant::now();
            let due = (came + weather.delay).max(weather.free_at.unwrap_or(came));
            if !weather.stalled && due <= now {
                let passage = weather.take(waiting, now);
                if matches!(passage, Passage::Go { last: true, .. }) {
                    let refuses = weather.then_refuses;
                    rules.refuses |= refuses;
                }
                return passage;
            }
            let wait = if weather.stalled {
                Duration::MAX
            } else {
                due - now
            };
            let wait = wait.min(Duration::from_secs(3600));
            let waited = self.changed.wait_timeout(rules, wait);
            rules = waited.unwrap_or_else(|e| e.into_inner()).0;
        }
    }
}

impl Weather {
    fn take(&mut self, waiting: usize, now: Instant) -> Passage {
        let mut bytes = waiting as u64;
        if let Some(rate) = self.bytes_per_second {
            // A fiftieth of a second's worth at a time.
            bytes = bytes.min((rate / 50).max(1));
            self.free_at = Some(now + Duration::from_secs_f64(bytes as f64 / rate as f64));
        }
        let mut last = false;
        if let Some(left) = self.cut_after {
            bytes = bytes.min(left);
            last = bytes == left;
            self.cut_after = (!last).then_some(left - bytes);
        }
        self.passed += bytes;
        Passage::Go {
            bytes: bytes as usize,
            last,
        }
    }
}

impl Link {
    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for end in &self.ends {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn is_over(&self) -> bool {
        self.cut.load(Ordering::SeqCst) || self.ended.load(Ordering::SeqCst) == 2
    }

    /// Reads what is to go this way until its end.
    fn read(&self, way: Way, queue: &SyncSender<(Instant, Vec<u8>)>) {
        let mut piece = vec![0; PIECE];
        let mut from = &self.ends[way as usize];
        while let Ok(n @ 1..) = from.read(&mut piece) {
            if queue.send((Instant::now(), piece[..n].to_vec())).is_err() {
                return;
            }
        }
    }

    /// Lets go on what was read, and the end behind it.
    fn write(&self, way: Way, queue: &Receiver<(Instant, Vec<u8>)>, shared: &Shared) {
        let mut to = &self.ends[1 - way as usize];
        while let Ok((came, piece)) = queue.recv() {
            let mut rest = &piece[..];
            while !rest.is_empty() {
                match shared.passage(self, way, came, rest.len()) {
                    Passage::Go { bytes, last } => {
                        let sent = to.write_all(&rest[..bytes]);
                        if last || sent.is_err() {
                            return self.cut();
                        }
                        rest = &rest[bytes..];
                    }
                    Passage::Vanish => break,
                    Passage::Over => return self.cut(),
                }
            }
        }
        if !self.forgotten.load(Ordering::SeqCst) {
            let _ = to.shutdown(Shutdown::Write);
            self.ended.fetch_add(1, Ordering::SeqCst);
        }
    }
}
