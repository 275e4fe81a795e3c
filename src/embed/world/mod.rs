//! A world in memory: servers and sentinels on machines with disks and clocks, a network between them, and one virtual time in
//! which everything happens in one thread, one thing after the other.
//!
//! What runs on the machines is the [`Engine`] that servers with sockets have. Nothing here waits: time goes from one
//! event to the next, so that seconds of it take less than a millisecond. Whatever is left to chance comes from one seed: with
//! the same seed and the same requests the same happens, and the [`Journal`] has the same lines.
//!
//! ```text
//! queue    what is to happen, and when       net       connections, and what may happen to them
//! machine  a disk, a clock, and what runs    disk      a disk that forgets what was not synced
//! serve    what it does for its clients      link      how it follows its leader
//! sentinel how it watches, if it does        jobs      snapshots and logs, step by step
//! host     its configuration file            down      how it ends, and what is left of it
//! clock    the clock of a machine            parcel    keys on their way to another one
//! journal  what happened
//! ```
//! This is what `tests/cluster_sim` disturbs and judges. Who wants a leader, replicas and sentinels that behave as a
//! [`Topology`](crate::topology) does takes a [`Simulation`](crate::embed::simulation::Simulation), which is one of these
//! with that around it.

mod clock;
pub mod disk;
mod down;
mod host;
mod jobs;
mod journal;
mod link;
mod machine;
mod net;
mod parcel;
mod queue;
mod sentinel;
mod serve;

use std::collections::VecDeque;
use std::net::Ipv4Addr;

pub use down::Down;
pub use host::{DIR, FILE};
pub use journal::Journal;
pub use machine::{Machine, Place, Up};
pub use net::{Caller, Conn, ConnId, End, Manners, Piece};

use crate::embed::jobs::JobError;
use crate::engine::Engine;
use crate::exec::Action;
use crate::resp::Value;
use crate::service::config::LoadError;
use crate::util::rng::Rng;
use journal::note;
use net::Net;
use queue::{Due, Queue};

/// When every world begins, in unix milliseconds: in November 2023.
pub const START: i64 = 1_700_000_000_000;

/// The most machines that there can be: each has an address of its own.
pub const MOST_MACHINES: usize = 250;

/// Why a machine does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its configuration is refused.
    #[error(transparent)]
    Configuration(#[from] LoadError),
    /// What its disk holds cannot be loaded.
    #[error(transparent)]
    Data(#[from] JobError),
    /// What else there is.
    #[error("{0}")]
    Told(String),
}

/// The address of a machine.
pub fn address(place: Place) -> String {
    ip(place).to_string()
}

/// The same, not as text.
pub(super) fn ip(place: Place) -> Ipv4Addr {
    let last = u8::try_from(place + 1).unwrap_or(u8::MAX);
    Ipv4Addr::new(10, 0, 0, last)
}

/// The machine that has this address, if there are so many.
pub fn place_of(address: &str) -> Option<Place> {
    let last = address.strip_prefix("10.0.0.")?;
    last.parse::<usize>().ok()?.checked_sub(1)
}

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The first piece that an end of a connection has sent arrives.
    Arrive { conn: ConnId, from: End },
    /// A machine looks at its deadlines.
    Wake { place: Place, starts: u64 },
    /// A machine goes on with a client that waited.
    Serve { place: Place, conn: ConnId },
    /// A replica does what its leader has said.
    Work { place: Place, starts: u64 },
    /// A replica calls its leader.
    Call {
        place: Place,
        number: u64,
        calls: u64,
    },
    /// A step of a snapshot.
    Job { place: Place, starts: u64 },
    /// A machine writes its log.
    Write { place: Place, starts: u64 },
    /// A machine has its file on its disk, or goes on after it stood still.
    GoOn { place: Place, starts: u64 },
    /// A machine may have waited too long for what has come of its parcel.
    Patience {
        place: Place,
        starts: u64,
        conn: ConnId,
    },
    /// What whoever is outside has planned.
    Due(u64),
}

/// What concerns whoever is outside of the world. All but the first two are told only if that
/// [is wanted](World::tells_all).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Something has come for a client.
    Received {
        /// The client, by its number.
        client: usize,
        /// On this connection.
        conn: ConnId,
        /// What.
        piece: Piece,
    },
    /// What was [planned](World::plan) is due.
    Due(u64),
    /// A machine went down.
    Down {
        /// Which.
        place: Place,
        /// How.
        down: Down,
    },
    /// A sentinel has published something.
    Published {
        /// Where it is.
        place: Place,
        /// The channel.
        event: String,
        /// The message.
        text: String,
    },
    /// A sentinel has told another one whom it votes for.
    Voted {
        /// Where it is.
        place: Place,
        /// The id of that one.
        whom: String,
        /// The epoch.
        epoch: u64,
    },
    /// A sentinel has sent something to another machine.
    Said {
        /// Where it is.
        place: Place,
        /// To whom.
        to: Place,
        /// What.
        bytes: Vec<u8>,
    },
    /// A sentinel has called where nobody is.
    Nowhere {
        /// Where it is.
        place: Place,
        /// Whom it called.
        host: String,
        /// And the port.
        port: u16,
    },
}

/// Everything there is, and what happens next.
#[derive(Debug)]
pub struct World {
    /// Microseconds since the beginning.
    now: i64,
    queue: Queue<Event>,
    net: Net,
    news: VecDeque<News>,
    /// The machines, by their places.
    pub machines: Vec<Machine>,
    /// Decides on whatever is left to chance.
    pub rng: Rng,
    /// What happened.
    pub journal: Journal,
    /// News are told that only a witness wants to hear.
    pub tells_all: bool,
    /// Microseconds that a configuration file takes to be on its disk, at most.
    pub slow_files: u64,
    /// How many of them took their time.
    pub slowly_written: u64,
}

impl World {
    /// A world in which nothing runs yet.
    pub fn new(seed: u64, machines: Vec<Machine>, manners: Manners, journal: Journal) -> World {
        let mut rng = Rng::seed_from_u64(seed);
        // Whoever is outside has a place, too.
        let net = Net::new(machines.len() + 1, manners, rng.next_u64());
        World {
            now: 0,
            queue: Queue::new(),
            net,
            news: VecDeque::new(),
            machines,
            rng,
            journal,
            tells_all: false,
            slow_files: 0,
            slowly_written: 0,
        }
    }

    /// Microseconds since the beginning.
    pub const fn now(&self) -> i64 {
        self.now
    }

    /// The place of whoever is outside, which is cut off from nobody unless that is asked for.
    pub const fn outside(&self) -> Place {
        self.machines.len()
    }

    /// Plans something: its number is told when it is due, at a time in microseconds.
    pub fn plan(&mut self, at: i64, number: u64) {
        self.queue.add(at, Event::Due(number));
    }

    /// When something happens next.
    pub fn next_at(&self) -> Option<i64> {
        self.queue.next_at().map(|at| at.max(self.now))
    }

    /// Nothing happens up to this time.
    pub fn pass(&mut self, until: i64) {
        let next = self.next_at().unwrap_or(i64::MAX);
        self.now = self.now.max(until.min(next));
    }

    /// What has happened that concerns whoever is outside, oldest first.
    pub fn take_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    fn tell(&mut self, news: News) {
        if self.tells_all {
            self.news.push_back(news);
        }
    }

    /// Starts a machine on what its disk holds, unless something runs on it.
    ///
    /// # Errors
    /// When its configuration or its data are refused.
    pub fn start(&mut self, place: Place) -> Result<(), Error> {
        if self.machines[place].is_up() {
            return Ok(());
        }
        let (now, seed) = (self.now, self.rng.next_u64());
        let machine = &mut self.machines[place];
        machine.stalled = 0;
        machine.start(now, seed)?;
        let name = &machine.name;
        note!(self, "{name} starts");
        self.follow(place);
        self.after(place);
        Ok(())
    }

    /// Does something with what runs on a machine, past the network, and then what follows from that. None if nothing runs.
    pub fn with<T>(&mut self, place: Place, work: impl FnOnce(&mut Up) -> T) -> Option<T> {
        let now = self.now;
        let machine = &mut self.machines[place];
        machine.sync_clock(now);
        let done = work(machine.up.as_mut()?);
        self.after(place);
        Some(done)
    }

    /// The clock of a machine is set by so many microseconds, as an operator does.
    pub fn set_clock_by(&mut self, place: Place, micros: i64) {
        let now = self.now;
        let machine = &mut self.machines[place];
        machine.sync_clock(now);
        machine.jump(micros);
        let name = &machine.name;
        note!(self, "the clock of {name} is set by {micros} microseconds");
        self.after(place);
    }

    /// Looks at the engine on a machine: nothing follows from that. None if nothing runs.
    pub fn look<T>(&mut self, place: Place, look: impl FnOnce(&mut Engine) -> T) -> Option<T> {
        let up = self.machines.get_mut(place)?.up.as_mut()?;
        Some(look(&mut up.engine))
    }

    /// Runs a command past the network; null if it has to wait. None if nothing runs on the machine.
    pub fn ask(&mut self, place: Place, words: &[&str]) -> Option<Value> {
        self.with(place, |up| up.call(words))
    }

    /// Does what happens next. Gives the machine that it happened to, if it was one.
    pub fn step(&mut self) -> Option<Place> {
        let (at, event) = self.queue.pop()?;
        self.now = self.now.max(at);
        if self.is_outdated(event) {
            return None;
        }
        let touched = self.machine_of(event);
        if let Some(place) = touched {
            let machine = &mut self.machines[place];
            if let Some(waiting) = machine.frozen.as_mut() {
                waiting.push(event);
                return None;
            }
            if machine.is_up() && machine.is_stalled(self.now) {
                self.queue.add(machine.stalled, event);
                return None;
            }
            machine.sync_clock(self.now);
        }
        self.happen(event);
        touched
    }

    fn is_current(&self, place: Place, starts: u64) -> bool {
        self.machines[place].starts == starts && self.machines[place].is_up()
    }

    /// Whether whom it happens to has been started again since it was planned.
    fn is_outdated(&self, event: Event) -> bool {
        match event {
            Event::Wake { place, starts }
            | Event::Work { place, starts }
            | Event::Job { place, starts }
            | Event::Write { place, starts }
            | Event::Patience { place, starts, .. }
            | Event::GoOn { place, starts } => !self.is_current(place, starts),
            _ => false,
        }
    }

    /// The machine that it happens to, if it happens to one.
    fn machine_of(&self, event: Event) -> Option<Place> {
        match event {
            Event::Wake { place, .. }
            | Event::Work { place, .. }
            | Event::Job { place, .. }
            | Event::Write { place, .. }
            | Event::GoOn { place, .. }
            | Event::Patience { place, .. }
            | Event::Serve { place, .. }
            | Event::Call { place, .. } => Some(place),
            Event::Arrive { conn, from } => {
                let conn = self.net.get(conn)?;
                match (from, conn.caller) {
                    (End::Called, Caller::Client { .. }) => None,
                    _ => Some(conn.places[from.other() as usize]),
                }
            }
            Event::Due(_) => None,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { conn, from } => self.arrive(conn, from),
            Event::Wake { place, .. } => self.tick(place),
            Event::Serve { place, conn } => self.serve(place, conn),
            Event::Work { place, .. } => self.link_works(place),
            Event::Call {
                place,
                number,
                calls,
            } => self.link_calls(place, number, calls),
            Event::Job { place, .. } => self.job_turn(place),
            Event::Write { place, .. } => self.write_turn(place),
            Event::GoOn { place, .. } => self.go_on(place),
            Event::Patience { place, conn, .. } => self.lose_patience(place, conn),
            Event::Due(number) => self.news.push_back(News::Due(number)),
        }
    }

    fn arrive(&mut self, conn: ConnId, from: End) {
        let Some(found) = self.net.get(conn) else {
            return;
        };
        let (caller, places) = (found.caller, found.places);
        let piece = self.net.arrive(self.now, conn, from, &mut self.queue);
        if from == End::Called {
            // There is room for more.
            self.machines[places[1]].sync_clock(self.now);
            self.flush(places[1], conn);
        }
        let Some(piece) = piece else {
            return;
        };
        match (from, caller) {
            (End::Caller, _) => self.machine_gets(places[1], conn, piece),
            (End::Called, Caller::Client { id: client, .. }) => {
                self.news.push_back(News::Received {
                    client,
                    conn,
                    piece,
                });
            }
            (End::Called, Caller::Link { place, .. }) => self.link_gets(place, conn, piece),
            (End::Called, Caller::Sentinel { place, .. }) => {
                self.sentinel_gets(place, conn, piece);
            }
            (End::Called, Caller::Parcel { place }) => self.parcel_gets(place, conn, piece),
        }
    }

    /// Nothing happens on a machine for so many microseconds.
    pub fn stall(&mut self, place: Place, micros: i64) {
        let machine = &mut self.machines[place];
        machine.stalled = machine.stalled.max(self.now.saturating_add(micros));
        let (at, starts) = (machine.stalled, machine.starts);
        self.queue.add(at, Event::GoOn { place, starts });
    }

    /// Nothing happens on a machine until it is thawed. Whether it was up and not frozen.
    pub fn freeze(&mut self, place: Place) -> bool {
        let machine = &mut self.machines[place];
        let can = machine.is_up() && !machine.is_frozen();
        if can {
            machine.frozen = Some(Vec::new());
            let name = &machine.name;
            note!(self, "{name} is frozen");
        }
        can
    }

    /// A machine goes on that was frozen. Whether it was.
    pub fn thaw(&mut self, place: Place) -> bool {
        if !self.thaw_events(place) {
            return false;
        }
        let machine = &mut self.machines[place];
        let (name, starts) = (&machine.name, machine.starts);
        note!(self, "{name} thaws");
        self.queue.add(self.now, Event::GoOn { place, starts });
        true
    }

    /// What waits on a frozen machine waits no longer. Whether it was frozen.
    fn thaw_events(&mut self, place: Place) -> bool {
        let waiting = self.machines[place].frozen.take();
        let was_frozen = waiting.is_some();
        for event in waiting.into_iter().flatten() {
            self.queue.add(self.now, event);
        }
        was_frozen
    }

    /// A machine goes on.
    fn go_on(&mut self, place: Place) {
        self.machines[place].is_written();
        self.after(place);
        let served = self.machines[place].up.as_ref().map(|up| up.served.keys());
        let conns: Vec<ConnId> = served.into_iter().flatten().copied().collect();
        for conn in conns {
            self.serve(place, conn);
        }
    }

    /// A machine does what is due.
    fn tick(&mut self, place: Place) {
        let Machine { up, starts, .. } = &mut self.machines[place];
        let Some(up) = up.as_mut() else {
            return;
        };
        match up.wake.comes(self.now) {
            Due::Now => {}
            Due::Later(at) => {
                let starts = *starts;
                return self.queue.add(at, Event::Wake { place, starts });
            }
            Due::Never => return,
        }
        up.hold(Engine::tick);
        self.after(place);
    }

    /// Something was done with a machine: what follows from it is done.
    pub fn after(&mut self, place: Place) {
        self.act(place, false);
    }

    /// The log was written: it is looked at again only if there is more.
    fn after_writing(&mut self, place: Place) {
        self.act(place, true);
    }

    fn act(&mut self, place: Place, was_written: bool) {
        loop {
            if self.machines[place].is_stalled(self.now) {
                return;
            }
            let Some(up) = self.machines[place].up.as_mut() else {
                return;
            };
            let engine = &mut up.engine;
            engine.settle();
            up.actions.extend(engine.take_actions());
            drop(engine.take_garbage());
            self.take_orders(place);
            if !self.has_written(place) {
                return;
            }
            self.carry_out(place);
            self.carry_parcels(place);
            let Some(up) = self.machines[place].up.as_mut() else {
                return;
            };
            let actions = std::mem::take(&mut up.actions);
            if actions.is_empty() {
                self.plan_next(place, was_written);
                break;
            }
            for action in actions {
                self.act_on(place, action);
            }
        }
        self.look_at_held(place);
    }

    fn act_on(&mut self, place: Place, action: Action) {
        match action {
            Action::Wake(sid) | Action::Close(sid) => self.wake(place, sid),
            Action::Save { id, start } => self.begin_job(place, id, start),
            Action::Log { log, .. } => self.begin_log(place, &log),
            Action::Follow => self.follow(place),
            Action::Shutdown => self.take_down(place, Down::Ended),
            Action::Freeze(time) => {
                // Whoever asked for it is answered before.
                let served = self.machines[place].up.as_ref().map(|up| up.served.keys());
                let conns: Vec<ConnId> = served.into_iter().flatten().copied().collect();
                conns.into_iter().for_each(|conn| self.flush(place, conn));
                self.stall(place, i64::try_from(time.as_micros()).unwrap_or(i64::MAX));
            }
            // Clocks are moved by whoever is outside: REDKEEP CLOCK is refused.
            Action::Reconfigure(_) | Action::Sentinel | Action::Clock { .. } => {}
        }
    }

    /// A machine has done what was to be done: it is looked at again later.
    fn plan_next(&mut self, place: Place, was_written: bool) {
        let Some(up) = self.machines[place].up.as_mut() else {
            return;
        };
        let engine = &mut up.engine;
        let deadline = engine.next_deadline();
        let logging = engine.state().sys.persist.logging.as_ref();
        let writes = !was_written || logging.is_some_and(|l| l.log.unwritten() > 0);
        self.plan_wake(place, deadline);
        if writes {
            self.plan_write(place);
        }
    }

    fn plan_write(&mut self, place: Place) {
        let Machine {
            up, starts, slow, ..
        } = &mut self.machines[place];
        let Some(up) = up.as_mut() else {
            return;
        };
        if up.writers.is_empty() || up.writes {
            return;
        }
        up.writes = true;
        // Nobody waits for a log that is synced when it pleases.
        let always = up.engine.state().sys.cfg.appendfsync == "always";
        let most = match always {
            true if *slow => [10_000, 300_000, 2_000_000],
            true => [100, 1000, 8000],
            false => [5000, 50_000, 500_000],
        };
        let (most, starts) = (most[self.rng.index(3)], *starts);
        let pause = 20 + self.rng.below(most) as i64;
        self.queue
            .add(self.now + pause, Event::Write { place, starts });
    }

    fn plan_wake(&mut self, place: Place, deadline: Option<i64>) {
        /// Nobody looks more often.
        const LEAST: i64 = 5_000;
        let Machine {
            up, starts, origin, ..
        } = &mut self.machines[place];
        let (Some(up), Some(deadline)) = (up.as_mut(), deadline) else {
            return;
        };
        let at = (deadline.saturating_mul(1000) - *origin).max(self.now + LEAST);
        if up.wake.is_to_be_planned(at) {
            let starts = *starts;
            self.queue.add(at, Event::Wake { place, starts });
        }
    }
}

/// What may be done on the network.
impl World {
    /// How it behaves from now on.
    pub const fn set_manners(&mut self, manners: Manners) {
        self.net.manners = manners;
    }

    /// How it behaves.
    pub const fn manners(&self) -> Manners {
        self.net.manners
    }

    /// A client calls a machine. What comes is told as [`News::Received`]; first [`Piece::Open`], if it is answered.
    pub fn call(&mut self, client: usize, trusted: bool, from: Place, to: Place) -> ConnId {
        let caller = Caller::Client {
            id: client,
            trusted,
        };
        self.net.call(self.now, caller, from, to, &mut self.queue)
    }

    /// A client sends bytes.
    pub fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        self.net
            .send(self.now, conn, End::Caller, bytes, &mut self.queue);
    }

    /// A client closes its connection.
    pub fn close(&mut self, conn: ConnId) {
        self.net.close(self.now, conn, End::Caller, &mut self.queue);
    }

    /// A client has learned that its connection is gone.
    pub fn forget(&mut self, conn: ConnId) {
        self.net.vanish(conn, End::Caller);
    }

    /// A connection is cut: both ends learn of it.
    pub fn cut(&mut self, conn: ConnId) {
        self.net.cut(self.now, conn, &mut self.queue);
    }

    /// Nothing passes over a connection any more, and nobody learns of it.
    pub fn kill_silently(&mut self, conn: ConnId) {
        self.net.die(conn);
    }

    /// A connection, if it is there.
    pub fn conn(&self, conn: ConnId) -> Option<&Conn> {
        self.net.get(conn)
    }

    /// All connections.
    pub fn conns(&self) -> impl Iterator<Item = (ConnId, &Conn)> {
        self.net.all()
    }

    /// Nothing passes from one place to another from now on.
    pub fn block(&mut self, from: Place, to: Place) {
        self.net.block(from, to);
    }

    /// Everything passes again. What waited goes on.
    pub fn unblock_all(&mut self) {
        self.net.unblock_all(self.now, &mut self.queue);
    }

    /// What is sent from one place to another takes so many microseconds longer from now on.
    pub fn delay(&mut self, from: Place, to: Place, micros: i64) {
        self.net.delay(from, to, micros);
    }

    /// What is sent from one place to another is lost with this probability from now on, and sent again.
    pub fn lose(&mut self, from: Place, to: Place, probability: f64) {
        self.net.lose_some(from, to, probability);
    }

    /// Whether two places reach each other.
    pub fn reaches(&self, one: Place, other: Place) -> bool {
        self.net.passes(one, other) && self.net.passes(other, one)
    }
}
