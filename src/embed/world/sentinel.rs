//! A sentinel on a machine of its own: its connections, and what is heard of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::host::{OnDisk, configuration};
use super::machine::{Machine, Place, join};
use super::net::{Caller, ConnId, End, Piece};
use super::{Down, Error, News, World, address, note, place_of};
use crate::engine::{Engine, Options};
use crate::exec::{Args, SessionId};
use crate::resp::{Proto, ReplyBuf, Value, parse_reply};
use crate::sentinel::{self, Input, NoNames, Order, Sentinel, SocketId};
use crate::util::clock::Clock;
use crate::util::rng::Rng;

/// What only a machine with a sentinel has.
pub(super) struct Lookout {
    /// By what the sentinel calls them.
    sockets: BTreeMap<u64, ConnId>,
    /// What is to be done once the file is written.
    orders: Vec<Order>,
    /// Hears everything that the sentinel publishes.
    listener: SessionId,
}

impl Lookout {
    /// Connections that the sentinel has made.
    pub(super) fn conns(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.sockets.values().copied()
    }

    fn socket_of(&self, conn: ConnId) -> Option<u64> {
        let mut sockets = self.sockets.iter();
        sockets
            .find(|(_, id)| **id == conn)
            .map(|(socket, _)| *socket)
    }
}

impl Machine {
    /// Starts a sentinel on what the disk holds.
    pub(super) fn start_sentinel(&mut self, seed: u64) -> Result<(), Error> {
        let (loaded, settings) = configuration(&self.disk, true)?;
        let own = sentinel::Settings::new(String::new(), loaded.config.port);
        let rng = Rng::seed_from_u64(!seed);
        let mut sentinel = Sentinel::new(own, Box::new(NoNames), rng, self.clock.now_ms());
        let lines = loaded.sentinel.unwrap_or_default();
        let words: Vec<_> = lines.into_iter().map(|line| line.words).collect();
        sentinel.load(&words).map_err(|(_, why)| Error::Told(why))?;
        sentinel.begin(self.clock.now_ms());
        let (host, file) = OnDisk::new(&self.disk, true);
        let mut engine = Engine::new(Options {
            settings,
            clock: Arc::new(self.clock.clone()),
            host: Box::new(host),
            seed: Some(seed),
            sentinel: Some(Box::new(sentinel)),
            ..Options::default()
        });
        engine.refresh_time();
        let listener = join(&mut engine);
        let mut reply = ReplyBuf::new(Proto::Resp2);
        engine.execute(listener, Args::new(&[b"PSUBSCRIBE", b"*"]), &mut reply);
        let lookout = Lookout {
            sockets: BTreeMap::new(),
            orders: Vec::new(),
            listener,
        };
        self.run(engine, None, file, Some(lookout));
        Ok(())
    }
}

impl World {
    /// What a sentinel wants done waits until that is carried out.
    pub(super) fn take_orders(&mut self, place: Place) {
        if let Some(up) = self.machines[place].up.as_mut()
            && let Some(lookout) = up.lookout.as_mut()
        {
            lookout.orders.extend(up.engine.sentinel_orders());
        }
    }

    /// Carries out what a sentinel has ordered.
    pub(super) fn carry_out(&mut self, place: Place) {
        let Some(lookout) = self.lookout(place) else {
            return;
        };
        for order in std::mem::take(&mut lookout.orders) {
            match order {
                Order::Connect { socket, host, port } => self.connects(place, socket, &host, port),
                Order::Send { socket, bytes } => self.sends(place, socket, bytes),
                Order::Close { socket } => {
                    let lookout = self.lookout(place);
                    let closed = lookout.and_then(|lookout| lookout.sockets.remove(&socket.0));
                    if let Some(conn) = closed {
                        self.net.close(self.now, conn, End::Caller, &mut self.queue);
                    }
                }
                // No scripts are run here.
                Order::Run { job, .. } => {
                    self.tell_sentinel(place, Input::Started { job, pid: None });
                }
                Order::Kill { .. } => {}
                Order::Crash => return self.take_down(place, Down::Killed),
            }
        }
        self.listen(place);
    }

    fn lookout(&mut self, place: Place) -> Option<&mut Lookout> {
        self.machines[place].up.as_mut()?.lookout.as_mut()
    }

    fn tell_sentinel(&mut self, place: Place, input: Input<'_>) {
        if let Some(up) = self.machines[place].up.as_mut() {
            up.hold(|engine| engine.sentinel_input(input));
        }
    }

    fn connects(&mut self, place: Place, socket: SocketId, host: &str, port: u16) {
        let to = place_of(host).filter(|to| {
            let machine = self.machines.get(*to);
            machine.is_some_and(|machine| machine.port == port)
        });
        let Some(to) = to else {
            let (host, why) = (host.to_owned(), "No route to host".to_owned());
            self.tell(News::Nowhere { place, host, port });
            return self.tell_sentinel(place, Input::Lost { socket, why });
        };
        let caller = Caller::Sentinel {
            place,
            socket: socket.0,
        };
        let conn = self.net.call(self.now, caller, place, to, &mut self.queue);
        if let Some(lookout) = self.lookout(place) {
            lookout.sockets.insert(socket.0, conn);
        }
    }

    fn sends(&mut self, place: Place, socket: SocketId, bytes: Vec<u8>) {
        let lookout = self.lookout(place);
        let conn = lookout.and_then(|lookout| lookout.sockets.get(&socket.0).copied());
        let Some(conn) = conn else {
            return;
        };
        self.net
            .send(self.now, conn, End::Caller, &bytes, &mut self.queue);
        let to = self.net.get(conn).map_or(0, |conn| conn.places[1]);
        self.tell(News::Said { place, to, bytes });
    }

    /// Something has come for a sentinel on a connection that it has made.
    pub(super) fn sentinel_gets(&mut self, place: Place, conn: ConnId, piece: Piece) {
        let Some(lookout) = self.lookout(place) else {
            return;
        };
        let Some(socket) = lookout.socket_of(conn) else {
            return;
        };
        if piece == Piece::End {
            lookout.sockets.remove(&socket);
            self.net.vanish(conn, End::Caller);
        }
        let socket = SocketId(socket);
        let input = match &piece {
            Piece::Open => Input::Connected {
                socket,
                local_ip: address(place),
            },
            Piece::Bytes(bytes) => Input::Received { socket, bytes },
            Piece::End => Input::Lost {
                socket,
                why: "Connection reset by peer".to_owned(),
            },
        };
        self.tell_sentinel(place, input);
        self.after(place);
    }

    /// Hears what a sentinel has published.
    fn listen(&mut self, place: Place) {
        let Some(up) = self.machines[place].up.as_mut() else {
            return;
        };
        let Some(listener) = up.lookout.as_ref().map(|lookout| lookout.listener) else {
            return;
        };
        let mut out = ReplyBuf::new(Proto::Resp2);
        up.engine.take(listener, &mut out, true);
        let mut rest = out.as_slice();
        while let Ok(Some((value, used))) = parse_reply(rest) {
            rest = rest.get(used..).unwrap_or_default();
            if let Value::Array(parts) = &value
                && let [_, _, event, text] = &parts[..]
            {
                self.hears(place, event, text);
            }
        }
    }

    fn hears(&mut self, place: Place, event: &Value, text: &Value) {
        let show = |value: &Value| {
            String::from_utf8_lossy(value.as_bytes().unwrap_or_default()).into_owned()
        };
        let (event, text) = (show(event), show(text));
        let name = &self.machines[place].name;
        note!(self, "{name}: {event} {text}");
        self.tell(News::Published { place, event, text });
    }
}
