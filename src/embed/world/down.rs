//! How a machine goes down, and what is left on its disk.

use super::disk::{Cut, Data, Image, Names, SimDisk};
use super::machine::Place;
use super::net::{ConnId, End};
use super::{News, World, note};
use crate::exec::persist::log;

/// How a machine goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// SHUTDOWN: its data is saved, where it keeps any.
    Clean,
    /// It ends by itself: a client has asked for that.
    Ended,
    /// The process is killed: what it has written is there.
    Killed,
    /// The process is killed, and exactly what it has synced is there.
    Crashed,
    /// The power goes: what it has not synced may be there, or some of it. Nobody is told.
    Power,
}

impl World {
    /// A machine goes down. It is started again on what its disk holds then. Nothing, if it is down.
    pub fn take_down(&mut self, place: Place, down: Down) {
        if !self.machines[place].is_up() {
            return;
        }
        let name = &self.machines[place].name;
        note!(self, "{name} goes down: {down:?}");
        self.machines[place].sync_clock(self.now);
        let image = match down {
            Down::Clean => self.shut_down(place),
            Down::Ended => self.end_logs(place),
            Down::Killed => {
                let done = self.how_much_is_done(place);
                self.kill(place, done)
            }
            Down::Crashed => {
                let disk = &self.machines[place].disk;
                let cut = Cut {
                    data: Data::Lost,
                    names: Names::Lost,
                    seed: 0,
                };
                disk.tape().cut(disk.ops(), &cut)
            }
            Down::Power => {
                let done = self.how_much_is_done(place);
                self.cut_power(place, done)
            }
        };
        self.hang_up(place, down == Down::Power);
        self.thaw_events(place);
        let machine = &mut self.machines[place];
        machine.up = None;
        machine.stalled = 0;
        machine.disk = SimDisk::from_image(&image);
        self.tell(News::Down { place, down });
    }

    fn shut_down(&mut self, place: Place) -> Image {
        let machine = &mut self.machines[place];
        if let Some(up) = &mut machine.up {
            let logs = up.engine.state().sys.cfg.appendonly;
            let saves = machine.lasting && !machine.is_sentinel && !logs;
            let how = if saves { "SAVE" } else { "NOSAVE" };
            // Whoever waits for replicas does not wait long.
            up.call(&["SHUTDOWN", how, "NOW", "FORCE"]);
        }
        self.end_logs(place)
    }

    /// The log is written to its end.
    fn end_logs(&mut self, place: Place) -> Image {
        let machine = &mut self.machines[place];
        if let Some(up) = &mut machine.up {
            up.hold(|engine| log::close(engine.state()));
            up.end_logs();
        }
        machine.disk.image()
    }

    /// Of what a machine has done to its disk. It may be about to write its file, and says nothing before it has.
    fn how_much_is_done(&mut self, place: Place) -> usize {
        let (least, most) = self.machines[place].done();
        least + self.rng.index(most - least + 1)
    }

    /// What is left of a process that is killed after so many operations of the disk.
    fn kill(&self, place: Place, done: usize) -> Image {
        let disk = &self.machines[place].disk;
        if done == disk.ops() {
            return disk.image();
        }
        disk.tape().cut(
            done,
            &Cut {
                data: Data::Kept,
                names: Names::Kept,
                seed: 0,
            },
        )
    }

    /// What is left when the power goes after so many operations of the disk.
    fn cut_power(&mut self, place: Place, done: usize) -> Image {
        let tape = self.machines[place].disk.tape();
        let rng = &mut self.rng;
        let data = [Data::Lost, Data::Kept, Data::Torn, Data::Torn, Data::Pages];
        let data = data[rng.index(data.len())];
        let mut model = tape.start();
        tape.ops.iter().take(done).for_each(|op| model.step(op));
        let names = match rng.below(3) {
            0 => Names::Lost,
            1 => Names::Kept,
            _ => Names::First(rng.index(model.open_names() + 1)),
        };
        let seed = rng.next_u64();
        model.image(&Cut { data, names, seed })
    }

    /// The connections of a machine end with it; if the power has gone, nobody is told.
    fn hang_up(&mut self, place: Place, silently: bool) {
        let Some(up) = self.machines[place].up.as_ref() else {
            return;
        };
        let called = up.served.keys().map(|conn| (*conn, End::Called));
        let link = up.link.as_ref().and_then(|link| link.conn);
        let lookout = up.lookout.iter().flat_map(|lookout| lookout.conns());
        let parcels = up.parcels.keys().copied();
        let calls = link.into_iter().chain(lookout).chain(parcels);
        let calls = calls.map(|conn| (conn, End::Caller));
        let all: Vec<(ConnId, End)> = called.chain(calls).collect();
        for (conn, end) in all {
            if silently || self.rng.chance(0.3) {
                self.net.lose(conn, end);
            }
            if silently {
                self.net.vanish(conn, end);
            } else {
                self.net.close(self.now, conn, end, &mut self.queue);
            }
        }
    }
}
