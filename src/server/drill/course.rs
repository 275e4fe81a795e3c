//! The course of a drill: clients begin, something breaks, it is healed, clients end, and the books are opened.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::args::Plan;
use super::follow::{Calls, Place, Streak};
use super::ground::{Ground, Scenario, Unable};
use super::judge::{Findings, Found, judge};
use super::ledger::{Clock, Ledger, Moment};
use super::pulse::{Pause, Pulse};
use super::reach::Reach;
use super::scene::{self, Scene};
use super::timeline::{self, Mark};
use super::told::{Events, listen};
use super::wire::Trouble;
use super::work::{self, Crew, Job, Names, Worked};
use crate::server::ask::Address;

/// How long it waits before it tries again to read the books.
const AGAIN: Duration = Duration::from_millis(200);

/// How long it may take to take away what was written.
const LEAVING: Duration = Duration::from_secs(5);

/// All that is known in the end.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) plan: Plan,
    pub(super) scene: Scene,
    pub(super) sentinels: usize,
    /// The leader in the end.
    pub(super) leader: Address,
    pub(super) findings: Findings,
    pub(super) calls: Calls,
    /// When nobody could write.
    pub(super) pause: Option<Pause>,
    pub(super) fault: Moment,
    /// In the order of time.
    pub(super) timeline: Vec<Mark>,
}

/// Tells people how far it is.
pub(super) type Say<'a> = &'a dyn Fn(&str);

/// Holds a drill. Whatever happens, what was broken is healed as far as that is possible.
///
/// # Errors
/// When there was no drill, or its outcome is not known.
pub(super) fn hold(
    plan: Plan,
    ground: &mut dyn Ground,
    runtime: &Runtime,
    interrupted: watch::Receiver<bool>,
    say: Say<'_>,
) -> Result<Outcome, Unable> {
    let mut course = Course::new(plan, ground, runtime, interrupted);
    let outcome = course.run(ground, say);
    if outcome.is_err()
        && let Err(error) = ground.heal()
    {
        say(&error.to_string());
    }
    course.leave(ground);
    outcome
}

struct Course<'a> {
    plan: Plan,
    runtime: &'a Runtime,
    place: Arc<Place>,
    names: Names,
    crew: Crew,
    stop: watch::Sender<bool>,
    interrupted: watch::Receiver<bool>,
    events: Events,
    clients: JoinSet<Worked>,
    others: JoinSet<()>,
    marks: Vec<Mark>,
    has_written: bool,
}

impl<'a> Course<'a> {
    fn new(
        plan: Plan,
        ground: &dyn Ground,
        runtime: &'a Runtime,
        interrupted: watch::Receiver<bool>,
    ) -> Self {
        let (login, sentinel_login) = ground.logins();
        let place = Arc::new(Place {
            sentinels: ground.sentinels(),
            master: ground.master(),
            login,
            sentinel_login,
            patience: plan.patience,
            reach: Reach::new(),
            clock: Clock::start(),
            pulse: Mutex::new(Pulse::default()),
            listens: plan.listen,
            switches: AtomicU64::new(0),
        });
        Self {
            plan,
            runtime,
            place,
            names: Names::new(),
            crew: Crew {
                clients: plan.clients,
            },
            stop: watch::Sender::new(false),
            interrupted,
            events: Events::default(),
            clients: JoinSet::new(),
            others: JoinSet::new(),
            marks: Vec::new(),
            has_written: false,
        }
    }

    fn run(&mut self, ground: &mut dyn Ground, say: Say<'_>) -> Result<Outcome, Unable> {
        let plan = self.plan;
        let scene =
            self.unless_interrupted(scene::prepare(&self.place, plan.sync, &self.names))??;
        let began = self.begin();
        say(&format!(
            "{} clients work at {}, {}.",
            plan.clients,
            ground.name(&scene.leader),
            scene.server
        ));
        self.wait(began + plan.before)?;
        let fault = self.break_it(ground, say)?;
        self.wait(fault + plan.outage)?;
        if let Some(done) = ground.heal()? {
            say(&done);
            self.mark("heal", format!("healed: {done}"));
        }
        if self.place.reach.isolated().is_some() {
            self.place.reach.heal();
            self.mark("joined", "the two sides of clients are together again");
        }
        self.wait(began + plan.span)?;
        say("The time is up, the books are opened.");
        let worked = self.end();
        self.judge(scene, fault, worked)
    }

    /// Clients and listeners begin.
    fn begin(&mut self) -> Moment {
        self.has_written = true;
        let handle = self.runtime.handle();
        for sentinel in &self.place.sentinels {
            let listener = listen(
                sentinel.clone(),
                Arc::clone(&self.place),
                Arc::clone(&self.events),
            );
            self.others.spawn_on(listener, handle);
        }
        for client in 0..self.crew.clients {
            self.clients
                .spawn_on(work::client(client, self.job()), handle);
        }
        self.others.spawn_on(work::probe(self.job()), handle);
        self.place.clock.now()
    }

    fn job(&self) -> Job {
        Job {
            place: Arc::clone(&self.place),
            names: self.names.clone(),
            crew: self.crew,
            pace: self.plan.pace,
            stop: self.stop.subscribe(),
        }
    }

    /// Time counts from when it is begun to break something.
    fn break_it(&mut self, ground: &mut dyn Ground, say: Say<'_>) -> Result<Moment, Unable> {
        let Plan {
            scenario, outage, ..
        } = self.plan;
        // It may have changed meanwhile.
        let leader = self.unless_interrupted(scene::agreed(&self.place, scene::AGREEMENT))??;
        let now = self.place.clock.now();
        self.place.pulse.lock().watch(now);
        if scenario == Scenario::PartitionLeader {
            self.place.reach.cut(&leader);
        }
        let done = ground.fault(scenario, &leader, outage)?;
        say(&format!("{}: {done}", scenario.name()));
        let what = format!("fault at {}: {done}", ground.name(&leader));
        self.marks.push(Mark::new(now, "fault", what));
        Ok(now)
    }

    fn mark(&mut self, event: &'static str, what: impl Into<String>) {
        let now = self.place.clock.now();
        self.marks.push(Mark::new(now, event, what));
    }

    /// Clients end, and hand over what they know.
    fn end(&mut self) -> Vec<Worked> {
        self.place.pulse.lock().end(self.place.clock.now());
        self.stop.send_replace(true);
        // Each call of a client ends in time.
        self.runtime.block_on(async {
            let mut worked = Vec::new();
            while let Some(ended) = self.clients.join_next().await {
                worked.extend(ended.ok());
            }
            worked
        })
    }

    fn judge(
        &mut self,
        scene: Scene,
        fault: Moment,
        worked: Vec<Worked>,
    ) -> Result<Outcome, Unable> {
        let (mut ledger, mut calls) = (Ledger::default(), Calls::default());
        let mut streaks = Vec::new();
        for worked in worked {
            ledger.absorb(worked.ledger);
            calls.absorb(&worked.calls);
            streaks.extend(worked.streak);
        }
        let (leader, found, drained) = self.open_books()?;
        ledger.absorb(drained);
        let pause = self.place.pulse.lock().longest();
        let mut timeline = std::mem::take(&mut self.marks);
        timeline.extend(timeline::of_sentinels(&self.events.lock(), fault));
        timeline.extend(timeline::of_pause(pause));
        timeline.extend(reunion(&streaks, &leader, fault));
        timeline.sort_by_key(|mark| mark.at);
        Ok(Outcome {
            plan: self.plan,
            scene,
            sentinels: self.place.sentinels.len(),
            leader,
            findings: judge(&ledger, &found),
            calls,
            pause,
            fault,
            timeline,
        })
    }

    /// What the leader has, once all agree who that is and what was left in the stream is worked off. Servers may still
    /// be busy with what was done to them.
    fn open_books(&self) -> Result<(Address, Found, Ledger), Unable> {
        let mut drained = Ledger::default();
        let until = self.place.clock.now() + scene::AGREEMENT;
        loop {
            let read = self.read_books(&mut drained);
            match self.unless_interrupted(read)?? {
                Ok((leader, found)) => {
                    // What was worked off here is the end of it, however often that was tried.
                    drained.processed.sort_unstable();
                    drained.processed.dedup();
                    return Ok((leader, found, drained));
                }
                Err(trouble) if self.place.clock.now() > until => {
                    return Err(Unable(format!("The books cannot be read: {trouble}.")));
                }
                Err(_) => self.wait(self.place.clock.now() + AGAIN)?,
            }
        }
    }

    /// The same, once.
    async fn read_books(
        &self,
        drained: &mut Ledger,
    ) -> Result<Result<(Address, Found), Trouble>, Unable> {
        let leader = scene::agreed(&self.place, scene::AGREEMENT).await?;
        if let Err(trouble) = work::drain(self.job(), drained).await {
            return Ok(Err(trouble));
        }
        let found = scene::take_stock(&self.place, &leader, &self.names, self.crew).await;
        Ok(found.map(|found| (leader, found)))
    }

    /// Waits until then, or until somebody interrupts.
    fn wait(&self, until: Moment) -> Result<(), Unable> {
        let left = until.saturating_sub(self.place.clock.now());
        // A timer belongs to the runtime, and is made within it.
        self.unless_interrupted(async move { sleep(left).await })
    }

    fn unless_interrupted<T>(&self, work: impl Future<Output = T>) -> Result<T, Unable> {
        let mut interrupted = self.interrupted.clone();
        self.runtime.block_on(async {
            tokio::select! {
                done = work => Ok(done),
                Ok(_) = interrupted.wait_for(|is| *is) => Err(Unable::because("Interrupted.")),
            }
        })
    }

    /// Ends whatever still runs, and takes away what was written where others go on.
    fn leave(mut self, ground: &dyn Ground) {
        self.place.reach.heal();
        self.stop.send_replace(true);
        let (place, names, crew) = (&self.place, &self.names, self.crew);
        let has_written = self.has_written;
        self.runtime.block_on(async {
            self.clients.shutdown().await;
            self.others.shutdown().await;
            if has_written && ground.stays() {
                let clean_up = async {
                    let leader = scene::agreed(place, LEAVING).await.ok()?;
                    scene::clean_up(place, &leader, names, crew).await.ok()
                };
                // Who has no leader has other worries.
                let _ = timeout(LEAVING, clean_up).await;
            }
        });
    }
}

/// When the last client had come to the leader that all have now; none if they never parted.
fn reunion(streaks: &[Streak], leader: &Address, fault: Moment) -> Option<Mark> {
    let astray = streaks.iter().filter(|s| s.server != *leader).count();
    let last = streaks.iter().map(|streak| streak.since).max()?;
    (astray == 0 && last > fault).then(|| {
        let what = format!("all clients on one leader again, {leader}");
        Mark::new(last, "all-on-one-leader", what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_together_when_the_last_one_has_come() {
        let [a, b]: [Address; 2] = ["h:1", "h:2"].map(|a| a.parse().unwrap());
        let streak = |server: &Address, since| Streak {
            server: server.clone(),
            since: Moment::from_millis(since),
        };
        let at = |streaks: &[Streak]| {
            reunion(streaks, &b, Moment::from_millis(100)).map(|mark| mark.at.as_millis())
        };
        assert_eq!(at(&[streak(&b, 300), streak(&b, 700)]), Some(700));
        assert_eq!(at(&[streak(&b, 300), streak(&a, 20)]), None);
        assert_eq!(at(&[streak(&b, 10), streak(&b, 20)]), None);
        assert_eq!(at(&[]), None);
    }
}
