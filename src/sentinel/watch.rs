//! Connecting, asking, and who is down.

use super::address::Address;
use super::instance::{Id, Instance, Kind, Role};
use super::link::{self, LinkId, Purpose, Question, SocketId};
use super::{CHANNEL, Input, Level, Order, Sentinel};
use crate::resp::Value;

/// No more questions wait on a link for each instance that it is shared by.
const MOST_QUESTIONS: usize = 100;

impl Sentinel {
    /// Makes the connections that are missing, but not more often than it pings.
    pub(super) fn reconnect(&mut self, id: Id) {
        let Some(instance) = self.instances.get(&id) else {
            return;
        };
        let (kind, link, port) = (instance.kind, instance.link, instance.address.port);
        let (now, ping) = (self.now, self.settings.periods.ping);
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        // A clock that was set back keeps nobody waiting.
        let soon = (0..ping).contains(&(now - state.tried_at));
        if !state.disconnected || port == 0 || soon {
            return;
        }
        state.tried_at = now;
        let (commands, hello) = (state.commands.is_none(), state.hello.is_none());
        self.resolve(id);
        if commands {
            let socket = self.connect(id, link, Purpose::Commands);
            self.greet(id, socket, "cmd");
            self.ping(id);
        }
        if hello && kind != Kind::Sentinel {
            let socket = self.connect(id, link, Purpose::Hello);
            self.greet(id, socket, "pubsub");
            let subscribe = self.command_for(id, "SUBSCRIBE");
            let bytes = link::command(&[subscribe.as_bytes(), CHANNEL.as_bytes()]);
            self.orders.push(Order::Send { socket, bytes });
        }
        if let Some(state) = self.links.get_mut(&link) {
            state.disconnected = false;
        }
    }

    /// A name may stand for another address by now.
    fn resolve(&mut self, id: Id) {
        let Some(instance) = self.instances.get(&id) else {
            return;
        };
        let Address { host, ip, port } = &instance.address;
        if !self.settings.naming.resolves
            || (host == ip && host.parse::<std::net::IpAddr>().is_ok())
        {
            return;
        }
        let found = self.address(host, (*port).into());
        if let (Ok(address), Some(instance)) = (found, self.instances.get_mut(&id)) {
            instance.address = address;
        }
    }

    fn connect(&mut self, id: Id, link: LinkId, purpose: Purpose) -> SocketId {
        let socket = SocketId(self.number());
        let now = self.now;
        if let Some(link) = self.links.get_mut(&link) {
            link.open(purpose, socket, now);
        }
        self.forget_questions(link, purpose);
        self.sockets.insert(socket, (link, purpose));
        if let Some(instance) = self.instances.get(&id) {
            let Address { ip, port, .. } = instance.address.clone();
            let host = ip;
            self.orders.push(Order::Connect { socket, host, port });
        }
        socket
    }

    /// Says who it is, on a new connection.
    fn greet(&mut self, id: Id, socket: SocketId, what: &str) {
        let Some(instance) = self.instances.get(&id) else {
            return;
        };
        let (user, password) = self.credentials(instance.kind, id);
        let mut bytes = Vec::new();
        let is_commands = what == "cmd";
        let mut questions = 0;
        if !password.is_empty() {
            let auth = self.command_for(id, "AUTH");
            bytes = match user.is_empty() {
                true => link::command(&[auth.as_bytes(), &password]),
                false => link::command(&[auth.as_bytes(), &user, &password]),
            };
            questions += 1;
        }
        let name = format!(
            "sentinel-{}-{what}",
            self.settings.my_id.get(..8).unwrap_or_default()
        );
        let client = self.command_for(id, "CLIENT");
        bytes.extend(link::command(&[
            client.as_bytes(),
            b"SETNAME",
            name.as_bytes(),
        ]));
        questions += 1;
        self.orders.push(Order::Send { socket, bytes });
        let Some(link) = self.link_mut(id) else {
            return;
        };
        if is_commands {
            let unasked = std::iter::repeat_n((Question::Any, None), questions);
            link.questions.extend(unasked);
        } else if let Some(hello) = &mut link.hello {
            hello.greetings = questions;
        }
    }

    /// User and password for an instance. Other sentinels are taken to have the password of this one.
    fn credentials(&self, kind: Kind, id: Id) -> (Vec<u8>, Vec<u8>) {
        let own = &self.settings;
        match kind {
            Kind::Sentinel if !own.password.is_empty() => (own.user.clone(), own.password.clone()),
            Kind::Sentinel => (Vec::new(), own.requirepass.clone()),
            Kind::Master | Kind::Replica => self.group(id).map_or_else(Default::default, |group| {
                let set = &group.settings;
                (set.auth_user.clone(), set.auth_pass.clone())
            }),
        }
    }

    /// What a command is called at an instance. Sentinels have their usual names.
    fn command_for(&self, id: Id, name: &str) -> String {
        let is_sentinel = self
            .instances
            .get(&id)
            .is_some_and(|i| i.kind == Kind::Sentinel);
        match self.group(id) {
            Some(group) if !is_sentinel => group.settings.command(name).to_owned(),
            _ => name.to_owned(),
        }
    }

    /// Asks something, if there is a connection: whether there is.
    pub(super) fn ask(&mut self, id: Id, question: Question, words: &[&[u8]]) -> bool {
        let Some((name, rest)) = words.split_first() else {
            return false;
        };
        let name = self.command_for(id, &String::from_utf8_lossy(name));
        let words: Vec<&[u8]> = std::iter::once(name.as_bytes())
            .chain(rest.iter().copied())
            .collect();
        let bytes = link::command(&words);
        let Some(link) = self.link_mut(id) else {
            return false;
        };
        let Some(socket) = link.commands.as_ref().map(|socket| socket.id) else {
            return false;
        };
        link.questions.push_back((question, Some(id)));
        self.orders.push(Order::Send { socket, bytes });
        true
    }

    fn ping(&mut self, id: Id) {
        if !self.ask(id, Question::Ping, &[b"PING"]) {
            return;
        }
        let now = self.now;
        if let Some(link) = self.link_mut(id) {
            link.pinged_at = now;
            link.waits_since.get_or_insert(now);
        }
    }

    /// Sends PING, INFO and hello, each when it is time for it.
    pub(super) fn send_periodic(&mut self, id: Id) {
        let (Some(instance), Some(link)) = (self.instances.get(&id), self.link(id)) else {
            return;
        };
        let sharing = || self.sharing(instance.link);
        let asked = link.questions.len();
        if link.disconnected || asked >= MOST_QUESTIONS && asked >= MOST_QUESTIONS * sharing() {
            return;
        }
        let (now, periods) = (self.now, &self.settings.periods);
        let info_due = instance.kind != Kind::Sentinel
            && !instance.info_asked
            && (instance.info_at == 0 || now - instance.info_at > self.info_period(id));
        let ping_period = self.down_after(id).min(periods.ping);
        let ping_due =
            now - link.answered_at > ping_period && now - link.pinged_at > ping_period / 2;
        let hello_due = !instance.hello_going && now - instance.hello_sent_at > periods.publish;
        if info_due
            && self.ask(id, Question::Info, &[b"INFO"])
            && let Some(instance) = self.instances.get_mut(&id)
        {
            instance.info_asked = true;
        }
        if ping_due {
            self.ping(id);
        }
        if hello_due {
            self.send_hello(id);
        }
    }

    /// How often a server is asked for INFO: more often when its replication is on the move.
    fn info_period(&self, id: Id) -> i64 {
        let periods = &self.settings.periods;
        let moves = |i: &&Instance| i.kind == Kind::Replica || i.replica.promoted;
        let Some(instance) = self.instances.get(&id).filter(moves) else {
            return periods.info;
        };
        let o_down = self
            .instances
            .get(&instance.master)
            .is_some_and(|m| m.o_down);
        let failing_over = self
            .group(id)
            .is_some_and(|group| group.failover.is_going());
        match o_down || failing_over || instance.replica.link_down_for != 0 {
            true => periods.info.min(1000),
            false => periods.info,
        }
    }

    /// How many instances have this link: as many as masters that a sentinel watches, or one.
    pub fn sharing(&self, link: LinkId) -> usize {
        self.instances.values().filter(|i| i.link == link).count()
    }

    /// After how long without an answer an instance is down: as is set for its master.
    pub fn down_after(&self, id: Id) -> i64 {
        let group = self.group(id);
        group.map_or(self.settings.periods.default_down_after, |g| {
            g.settings.down_after
        })
    }

    pub(super) fn connected(&mut self, socket: SocketId, local_ip: String) {
        if let Some(&(link, purpose)) = self.sockets.get(&socket)
            && let Some(socket) = self
                .links
                .get_mut(&link)
                .and_then(|l| l.socket_mut(purpose))
        {
            socket.local_ip = Some(local_ip);
        }
    }

    pub(super) fn lost(&mut self, socket: SocketId, why: &str) {
        let Some((link, purpose)) = self.sockets.remove(&socket) else {
            return;
        };
        if let Some(link) = self.links.get_mut(&link) {
            link.close(purpose);
        }
        self.forget_questions(link, purpose);
        let Some(id) = self
            .instances
            .values()
            .find(|i| i.link == link)
            .map(|i| i.id)
        else {
            return;
        };
        let name = match purpose {
            Purpose::Commands => "-cmd-link",
            Purpose::Hello => "-pubsub-link",
        };
        self.event_of(Level::Debug, name, id, &format!(" #{why}"));
    }

    pub(super) fn received(&mut self, socket: SocketId, bytes: &[u8]) {
        let found = self.socket_of(socket);
        let Some(taken) = found.map(|found| found.receive(bytes)) else {
            return;
        };
        let mut broken = taken.err();
        while broken.is_none() {
            // What is done about a reply may end the connection.
            let Some(found) = self.socket_of(socket) else {
                return;
            };
            match found.next_reply() {
                Ok(Some(reply)) => self.reply(socket, &reply),
                Ok(None) => return,
                Err(e) => broken = Some(e),
            }
        }
        let (Some(&(link, purpose)), Some(e)) = (self.sockets.get(&socket), broken) else {
            return;
        };
        self.close(link, purpose);
        let about = self
            .instances
            .values()
            .find(|i| i.link == link)
            .map(|i| i.id);
        let about = about.map_or(String::new(), |id| self.describe(id));
        self.note(Level::Warning, format!("Connection of {about} closed: {e}"));
    }

    fn socket_of(&mut self, socket: SocketId) -> Option<&mut super::Socket> {
        let (link, purpose) = self.sockets.get(&socket)?;
        self.links.get_mut(link)?.socket_mut(*purpose)
    }

    fn reply(&mut self, socket: SocketId, reply: &Value) {
        let Some(&(link, purpose)) = self.sockets.get(&socket) else {
            return;
        };
        let now = self.now;
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        if purpose == Purpose::Hello {
            state.hello_heard_at = now;
            let greeting = state.hello.as_mut().filter(|hello| hello.greetings > 0);
            if let Some(hello) = greeting {
                hello.greetings -= 1;
            } else if reply.is_error() {
                // There is nothing to be heard: the password is wrong, say.
                self.close(link, purpose);
                return;
            }
            if let Some([kind, channel, payload]) = reply.as_array()
                && kind.as_bytes() == Some(b"message")
                && channel.as_bytes() == Some(CHANNEL.as_bytes())
                && let Some(payload) = payload.as_bytes()
            {
                self.hear_hello(payload);
            }
            return;
        }
        let Some((question, id)) = state.questions.pop_front() else {
            return;
        };
        // Who has been forgotten meanwhile is of no interest.
        let Some(id) = id.filter(|id| self.instances.contains_key(id)) else {
            return;
        };
        match question {
            Question::Any => {}
            Question::Ping => self.pong(id, reply),
            Question::Info => self.info_came(id, reply),
            Question::Publish => self.hello_came_through(id, reply),
            Question::IsMasterDown => self.answer_came(id, reply),
        }
    }

    /// PING was answered. A server that loads, or whose leader is away, is there.
    fn pong(&mut self, id: Id, reply: &Value) {
        let now = self.now;
        let (says_pong, lives, busy) = match reply {
            Value::Simple(text) => {
                let lives = [&b"PONG"[..], b"LOADING", b"MASTERDOWN"];
                let lives = lives.iter().any(|word| text.starts_with(word));
                (text.starts_with(b"PONG"), lives, false)
            }
            Value::Error(text) => {
                let lives = text.starts_with(b"LOADING") || text.starts_with(b"MASTERDOWN");
                (false, lives, text.starts_with(b"BUSY"))
            }
            _ => (false, false, false),
        };
        if let Some(link) = self.link_mut(id) {
            if matches!(reply, Value::Simple(_) | Value::Error(_)) {
                link.answered_at = now;
            }
            if lives {
                link.available_at = now;
                link.waits_since = None;
            }
        }
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        if says_pong {
            instance.rebooted_at = None;
        }
        if busy && instance.s_down && !instance.script_kill_sent {
            // A script that does not end keeps it from answering.
            instance.script_kill_sent = true;
            self.ask(id, Question::Any, &[b"SCRIPT", b"KILL"]);
        }
    }

    /// Finds out whether an instance is down as far as this sentinel can tell (SDOWN).
    pub(super) fn check_s_down(&mut self, id: Id) {
        let now = self.now;
        let down_after = self.down_after(id);
        let silent_for = self.give_up_silent(id, down_after);
        let reboot_after = self
            .group(id)
            .map_or(0, |group| group.settings.reboot_down_after);
        let info = self.settings.periods.info;
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        // Who says that it is a replica for so long is no master; INFO has told that at least twice by then.
        let is_none = instance.kind == Kind::Master
            && instance.role == Role::Slave
            && now - instance.role_since > down_after + 2 * info;
        let rebooted = instance
            .rebooted_at
            .is_some_and(|at| now - at > reboot_after);
        let down = silent_for > down_after || is_none || rebooted;
        if down == instance.s_down {
            return;
        }
        instance.s_down = down;
        if down {
            instance.s_down_since = now;
            self.event_of(Level::Warning, "+sdown", id, "");
        } else {
            instance.script_kill_sent = false;
            self.event_of(Level::Warning, "-sdown", id, "");
        }
    }

    /// How long an instance has not answered. Connections that seem to be there, and are of no use, are given up.
    fn give_up_silent(&mut self, id: Id, down_after: i64) -> i64 {
        let (now, periods) = (self.now, self.settings.periods);
        let Some(instance) = self.instances.get(&id) else {
            return 0;
        };
        let number = instance.link;
        let Some(link) = self.links.get(&number) else {
            return 0;
        };
        let silent_for = match link.waits_since {
            Some(since) => now - since,
            None if link.disconnected => now - link.available_at,
            None => 0,
        };
        let is_old = |since: i64| now - since > periods.least_link;
        let mute = link.commands.as_ref().is_some_and(|s| is_old(s.since))
            && link
                .waits_since
                .is_some_and(|since| now - since > down_after / 2)
            && now - link.answered_at > down_after / 2;
        let deaf = link.hello.as_ref().is_some_and(|s| is_old(s.since))
            && now - link.hello_heard_at > 3 * periods.publish;
        if mute {
            self.close(number, Purpose::Commands);
        }
        if deaf {
            self.close(number, Purpose::Hello);
        }
        silent_for
    }

    /// Finds out whether enough sentinels say that a master is down (ODOWN).
    pub(super) fn check_o_down(&mut self, id: Id) {
        let (Some(master), Some(instance)) = (self.masters.get(&id), self.instances.get(&id))
        else {
            return;
        };
        let others = master
            .sentinels
            .iter()
            .filter_map(|id| self.instances.get(id));
        let votes = 1 + others.filter(|other| other.opinion.down).count();
        let quorum = master.settings.quorum;
        let down = instance.s_down && votes >= quorum as usize;
        if down == instance.o_down {
            return;
        }
        let now = self.now;
        if let Some(instance) = self.instances.get_mut(&id) {
            instance.o_down = down;
            if down {
                instance.o_down_since = now;
            }
        }
        match down {
            true => {
                self.event_of(
                    Level::Warning,
                    "+odown",
                    id,
                    &format!(" #quorum {votes}/{quorum}"),
                );
            }
            false => self.event_of(Level::Warning, "-odown", id, ""),
        }
    }
}

impl Input<'_> {
    /// The connection that it is about, if it is about one.
    pub const fn socket(&self) -> Option<SocketId> {
        match self {
            Input::Connected { socket, .. }
            | Input::Received { socket, .. }
            | Input::Lost { socket, .. } => Some(*socket),
            Input::Started { .. } | Input::Ended { .. } => None,
        }
    }
}
