//! A group of servers that are no more than what they say, and sentinels that watch them, on a clock that is moved by hand.

use super::*;
use crate::replication::History;
use crate::resp::{Value, encode_command};
use std::collections::{BTreeSet, VecDeque};

const START: i64 = 1_700_000_000_000;

/// A server.
#[derive(Clone)]
struct Server {
    up: bool,
    leader: Option<u16>,
    offset: u64,
    priority: i64,
    run_id: String,
    link_up: bool,
    sync: u32,
    term: u64,
    history: History,
}

/// A connection that a sentinel has made.
struct Conn {
    from: usize,
    to: u16,
    socket: SocketId,
    subscribed: bool,
    queued: Option<Vec<Vec<Vec<u8>>>>,
}

struct World {
    now: i64,
    servers: BTreeMap<u16, Server>,
    sentinels: Vec<Sentinel>,
    down: BTreeSet<usize>,
    conns: Vec<Conn>,
    /// Bytes on their way to sentinels.
    inbox: VecDeque<(usize, SocketId, Vec<u8>)>,
    events: Vec<(usize, Event)>,
    scripts: Vec<Vec<String>>,
    jobs: Vec<(usize, JobId)>,
}

fn port_of(sentinel: usize) -> u16 {
    5000 + u16::try_from(sentinel).unwrap()
}

impl World {
    fn new(replicas: u16, sentinels: usize) -> World {
        let server = |n: u16| {
            let leader = (n > 0).then_some(7000);
            let server = Server {
                up: true,
                leader,
                offset: 100,
                priority: 100,
                run_id: format!("{n:0>40}"),
                link_up: true,
                sync: 0,
                term: 0,
                history: History::default(),
            };
            (7000 + n, server)
        };
        let sentinel = |n: usize| {
            let settings = Settings::new(format!("{:a>40}", n), port_of(n));
            let rng = Rng::seed_from_u64(n as u64);
            let mut sentinel = Sentinel::new(settings, Box::new(NoNames), rng, START);
            let id = sentinel.monitor("mymaster", "127.0.0.1", 7000, 2).unwrap();
            let set = &mut sentinel.master_mut(id).unwrap().settings;
            set.down_after = 1000;
            set.failover_timeout = 6000;
            set.reconfig_script = "/reconf".into();
            sentinel
        };
        World {
            now: START,
            servers: (0..=replicas).map(server).collect(),
            sentinels: (0..sentinels).map(sentinel).collect(),
            down: BTreeSet::new(),
            conns: Vec::new(),
            inbox: VecDeque::new(),
            events: Vec::new(),
            scripts: Vec::new(),
            jobs: Vec::new(),
        }
    }

    fn is_up(&self, port: u16) -> bool {
        match self.servers.get(&port) {
            Some(server) => server.up,
            None => {
                (0..self.sentinels.len()).any(|n| port_of(n) == port && !self.down.contains(&n))
            }
        }
    }

    fn run(&mut self, ms: i64) {
        let end = self.now + ms;
        while self.now < end {
            self.now += 5;
            self.step();
        }
    }

    fn run_until(&mut self, ms: i64, mut done: impl FnMut(&World) -> bool) {
        let end = self.now + ms;
        while !done(self) {
            assert!(self.now < end, "{:#?}", self.story());
            self.now += 5;
            self.step();
        }
    }

    fn step(&mut self) {
        for n in 0..self.sentinels.len() {
            if !self.down.contains(&n) && self.sentinels[n].next_deadline() <= self.now {
                self.sentinels[n].tick(self.now);
            }
            self.obey(n);
        }
        while let Some((n, socket, bytes)) = self.inbox.pop_front() {
            if !self.down.contains(&n) {
                let bytes = &bytes[..];
                self.sentinels[n].input(self.now, Input::Received { socket, bytes });
                self.obey(n);
            }
        }
    }

    fn obey(&mut self, n: usize) {
        self.sentinels[n].take_changed();
        for event in self.sentinels[n].take_events() {
            self.events.push((n, event));
        }
        for order in self.sentinels[n].take_orders() {
            match order {
                Order::Connect { socket, port, .. } => self.connect(n, socket, port),
                Order::Close { socket } => self.conns.retain(|c| (c.from, c.socket) != (n, socket)),
                Order::Send { socket, bytes } => self.deliver(n, socket, &bytes),
                Order::Run { job, argv } => {
                    self.scripts.push(argv);
                    self.jobs.push((n, job));
                }
                Order::Kill { .. } | Order::Crash => {}
            }
        }
    }

    fn connect(&mut self, from: usize, socket: SocketId, to: u16) {
        let now = self.now;
        if self.is_up(to) {
            self.conns.push(Conn {
                from,
                to,
                socket,
                subscribed: false,
                queued: None,
            });
            let local_ip = "127.0.0.1".to_owned();
            self.sentinels[from].input(now, Input::Connected { socket, local_ip });
        } else {
            let why = "Connection refused".to_owned();
            self.sentinels[from].input(now, Input::Lost { socket, why });
        }
    }

    /// A frozen server takes bytes and says nothing.
    fn deliver(&mut self, from: usize, socket: SocketId, bytes: &[u8]) {
        let Some(at) = self
            .conns
            .iter()
            .position(|c| (c.from, c.socket) == (from, socket))
        else {
            return;
        };
        let to = self.conns[at].to;
        let mut rest = bytes;
        while let Ok(Some((value, len))) = crate::resp::parse_reply(rest) {
            rest = &rest[len..];
            let words = value.as_array().unwrap().iter();
            let words: Vec<Vec<u8>> = words.map(|w| w.as_bytes().unwrap().to_vec()).collect();
            if self.is_up(to) {
                let reply = self.answer(at, to, words);
                self.inbox.push_back((from, socket, reply));
            }
        }
    }

    fn answer(&mut self, at: usize, to: u16, words: Vec<Vec<u8>>) -> Vec<u8> {
        let text = |n: usize| String::from_utf8(words[n].clone()).unwrap();
        let name = text(0).to_ascii_uppercase();
        if name != "EXEC"
            && let Some(queued) = &mut self.conns[at].queued
        {
            queued.push(words);
            return b"+QUEUED\r\n".to_vec();
        }
        match &*name {
            "PING" => b"+PONG\r\n".to_vec(),
            "INFO" => self.info(to),
            "SUBSCRIBE" => {
                self.conns[at].subscribed = true;
                b"*3\r\n$9\r\nsubscribe\r\n$18\r\n__sentinel__:hello\r\n:1\r\n".to_vec()
            }
            "PUBLISH" if self.servers.contains_key(&to) => {
                let mut message = Vec::new();
                encode_command(&mut message, &[&b"message"[..], &words[1], &words[2]]);
                for conn in self.conns.iter().filter(|c| c.to == to && c.subscribed) {
                    self.inbox
                        .push_back((conn.from, conn.socket, message.clone()));
                }
                b":1\r\n".to_vec()
            }
            "PUBLISH" => {
                let n = usize::from(to - 5000);
                self.sentinels[n].set_now(self.now);
                self.sentinels[n].hear_hello(&words[2]);
                b":1\r\n".to_vec()
            }
            "SENTINEL" => {
                let candidate = Some(text(5)).filter(|id| id != "*");
                let n = usize::from(to - 5000);
                self.sentinels[n].set_now(self.now);
                let (port, epoch) = (text(3).parse().unwrap(), text(4).parse().unwrap());
                let answer =
                    self.sentinels[n].is_master_down(&text(2), port, epoch, candidate.as_deref());
                let vote = answer.vote.unwrap_or(Vote {
                    leader: "*".into(),
                    epoch: 0,
                });
                let down = i64::from(answer.down);
                let (leader, epoch) = (vote.leader, vote.epoch);
                format!(
                    "*3\r\n:{down}\r\n${}\r\n{leader}\r\n:{epoch}\r\n",
                    leader.len()
                )
                .into()
            }
            "MULTI" => {
                self.conns[at].queued = Some(Vec::new());
                b"+OK\r\n".to_vec()
            }
            "EXEC" => {
                for words in self.conns[at].queued.take().unwrap() {
                    if words[0] == b"SLAVEOF" {
                        let port = String::from_utf8(words[2].clone()).unwrap();
                        self.servers.get_mut(&to).unwrap().leader = port.parse().ok();
                    } else if words[0] == b"REDKEEP" {
                        self.obey_term(to, &words);
                    }
                }
                b"*0\r\n".to_vec()
            }
            _ => b"+OK\r\n".to_vec(),
        }
    }

    fn obey_term(&mut self, port: u16, words: &[Vec<u8>]) {
        let text = |n: usize| String::from_utf8(words[n].clone()).unwrap();
        let server = self.servers.get_mut(&port).unwrap();
        let term: u64 = text(2).parse().unwrap();
        if term < server.term {
            return;
        }
        match &*text(1) {
            "FENCE" => server.leader = Some(0),
            _ if text(3) == "NO" && server.leader == Some(0) && term == server.term => {
                server.leader = None;
                server.history = server.history.next(term);
            }
            _ if text(3) == "NO" => {}
            _ => server.leader = Some(text(4).parse().unwrap()),
        }
        server.term = term;
    }

    fn info(&self, port: u16) -> Vec<u8> {
        let server = &self.servers[&port];
        let mut rng = Rng::seed_from_u64(port.into());
        let history = match server.history == History::default() {
            true => "0".repeat(40),
            false => server.history.name(&mut rng),
        };
        let mut text = format!(
            "run_id:{}\r\nmaster_replid:{history}\r\nfailover_term:{}\r\nsync_replicas:{}\r\n",
            server.run_id, server.term, server.sync
        );
        match server.leader {
            None => {
                text += "role:master\r\n";
                let replicas = self
                    .servers
                    .iter()
                    .filter(|(_, s)| s.leader == Some(port) && s.up);
                for (n, (at, _)) in replicas.enumerate() {
                    text += &format!("slave{n}:ip=127.0.0.1,port={at},state=online\r\n");
                }
            }
            Some(leader) => {
                let is_there = self.servers.get(&leader).is_some_and(|s| s.up);
                text += &format!(
                    "role:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:{leader}\r\nmaster_link_status:{}\r\n\
                     slave_repl_offset:{}\r\nslave_priority:{}\r\n",
                    if is_there && server.link_up {
                        "up"
                    } else {
                        "down"
                    },
                    server.offset,
                    server.priority
                );
            }
        }
        format!("${}\r\n{text}\r\n", text.len()).into()
    }

    /// The connections of a server or sentinel are gone.
    fn cut(&mut self, port: u16) {
        let (gone, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.conns)
            .into_iter()
            .partition(|c| c.to == port);
        self.conns = left;
        for Conn { from, socket, .. } in gone {
            let why = "gone".to_owned();
            self.sentinels[from].input(self.now, Input::Lost { socket, why });
        }
    }

    fn kill(&mut self, port: u16) {
        self.servers.get_mut(&port).unwrap().up = false;
        self.cut(port);
    }

    fn kill_sentinel(&mut self, n: usize) {
        self.down.insert(n);
        self.conns.retain(|c| c.from != n);
        self.cut(port_of(n));
    }

    fn leader(&self, n: usize) -> u16 {
        let id = self.sentinels[n].find("mymaster").unwrap().id;
        self.sentinels[n].instance(id).unwrap().address.port
    }

    fn known(&self, n: usize) -> (usize, usize) {
        let master = self.sentinels[n].find("mymaster").unwrap();
        (master.replicas.len(), master.sentinels.len())
    }

    fn has(&self, name: &str) -> bool {
        self.events.iter().any(|(_, event)| event.name == name)
    }

    fn story(&self) -> Vec<String> {
        let line = |(n, e): &(usize, Event)| format!("{n}: {} {}", e.name, e.text);
        self.events.iter().map(line).collect()
    }

    /// Until everybody knows everybody.
    fn settle(&mut self) {
        let replicas = self.servers.len() - 1;
        let others = self.sentinels.len() - 1;
        self.run_until(15_000, |world| {
            (0..=others).all(|n| world.known(n) == (replicas, others))
        });
        // Every sentinel has heard INFO of every replica.
        self.run(11_000);
    }
}

#[test]
fn sentinels_find_replicas_and_each_other() {
    let mut world = World::new(2, 3);
    world.settle();
    assert!(world.has("+slave") && world.has("+sentinel"));
    assert!(!world.has("+sdown"), "{:#?}", world.story());
}

#[test]
fn a_dead_leader_is_replaced_by_the_replica_that_has_most() {
    let mut world = World::new(3, 3);
    world.settle();
    world.servers.get_mut(&7002).unwrap().offset = 200;
    world.run(11_000);
    world.kill(7000);
    world.run_until(20_000, |world| (0..3).all(|n| world.leader(n) == 7002));
    assert_eq!(world.servers[&7002].leader, None);
    world.run(2000);
    assert_eq!(world.servers[&7001].leader, Some(7002));
    assert_eq!(world.servers[&7003].leader, Some(7002));
    let elected: Vec<_> = world
        .events
        .iter()
        .filter(|(_, e)| e.name == "+elected-leader")
        .collect();
    assert_eq!(elected.len(), 1, "{:#?}", world.story());
    let epochs = world
        .sentinels
        .iter()
        .map(|s| s.masters().next().unwrap().config_epoch);
    let epochs: Vec<_> = epochs.collect();
    assert!(
        epochs.windows(2).all(|pair| pair[0] == pair[1]),
        "{epochs:?}"
    );
    // One leads the failover, the others hear of it.
    let parts: BTreeSet<_> = world.scripts.iter().map(|argv| argv[2].as_str()).collect();
    assert_eq!(parts, BTreeSet::from(["leader", "observer"]));
    let old = world.servers.get_mut(&7000).unwrap();
    old.up = true;
    old.leader = None;
    world.run_until(30_000, |world| world.servers[&7000].leader == Some(7002));
    assert!(world.has("+convert-to-slave"));
}

#[test]
fn without_a_majority_nobody_is_promoted() {
    let mut world = World::new(2, 3);
    world.settle();
    world.kill_sentinel(1);
    world.kill_sentinel(2);
    world.kill(7000);
    world.run(40_000);
    assert!(
        world.has("+sdown") && !world.has("+odown"),
        "{:#?}",
        world.story()
    );
    assert!((1..3).all(|n| world.servers[&(7000 + n)].leader == Some(7000)));
}

#[test]
fn priority_zero_is_never_promoted() {
    let mut world = World::new(2, 3);
    world.servers.get_mut(&7001).unwrap().priority = 0;
    world.servers.get_mut(&7001).unwrap().offset = 1000;
    world.settle();
    world.kill(7000);
    world.run_until(20_000, |world| (0..3).all(|n| world.leader(n) == 7002));
}

#[test]
fn an_operator_may_hand_the_lead_over() {
    let mut world = World::new(2, 3);
    world.settle();
    let id = world.sentinels[0].find("mymaster").unwrap().id;
    world.sentinels[0].set_now(world.now);
    world.sentinels[0].force_failover(id).unwrap();
    assert_eq!(
        world.sentinels[0].force_failover(id),
        Err(ForceError::InProgress)
    );
    world.run_until(30_000, |world| (0..3).all(|n| world.leader(n) != 7000));
    let leader = world.leader(0);
    world.run_until(30_000, |world| world.servers[&7000].leader == Some(leader));
}

#[test]
fn a_vote_is_cast_once_per_epoch() {
    let mut world = World::new(1, 1);
    let one = &mut world.sentinels[0];
    let mut vote = |epoch, who| one.is_master_down("127.0.0.1", 7000, epoch, Some(who)).vote;
    let first = vote(5, "a");
    assert_eq!(
        first,
        Some(Vote {
            leader: "a".into(),
            epoch: 5
        })
    );
    assert_eq!(vote(5, "b"), first);
    assert_eq!(vote(4, "b"), first);
    assert_eq!(
        vote(6, "b"),
        Some(Vote {
            leader: "b".into(),
            epoch: 6
        })
    );
    assert_eq!(world.sentinels[0].epoch, 6);
    assert!(world.sentinels[0].take_changed());
}

#[test]
fn a_leap_of_the_clock_keeps_it_from_acting() {
    let mut world = World::new(2, 3);
    world.settle();
    world.kill(7000);
    world.now += 5000;
    for n in 0..3 {
        world.sentinels[n].tick(world.now);
    }
    world.run(20_000);
    assert!(
        world.has("+tilt") && !world.has("+sdown"),
        "{:#?}",
        world.story()
    );
    world.run_until(60_000, |world| (0..3).all(|n| world.leader(n) != 7000));
    assert!(world.has("-tilt"));
}

#[test]
fn what_comes_is_not_believed_blindly() {
    let mut world = World::new(1, 1);
    world.settle();
    let sentinel = &mut world.sentinels[0];
    let before = format!(
        "{:?}",
        sentinel.master(sentinel.find("mymaster").unwrap().id)
    );
    let own = sentinel.settings.my_id.clone();
    for hello in [
        "",
        ",,,,,,,",
        "127.0.0.1,5001,x,1,mymaster,127.0.0.1,7000",
        "127.0.0.1,5001,x,1,mymaster,127.0.0.1,7000,0,0",
        "127.0.0.1,70000,x,0,mymaster,127.0.0.1,7000,0",
        "nowhere,5001,x,0,mymaster,127.0.0.1,7000,0",
        "127.0.0.1,5001,x,-1,mymaster,127.0.0.1,7000,0",
        "127.0.0.1,5001,x,1,other,127.0.0.1,7000,1",
        &format!("127.0.0.1,5001,{own},9,mymaster,127.0.0.1,7001,9"),
    ] {
        sentinel.hear_hello(hello.as_bytes());
        let after = format!(
            "{:?}",
            sentinel.master(sentinel.find("mymaster").unwrap().id)
        );
        assert_eq!(before, after, "{hello}");
    }
    // A number of another world is no reply.
    assert_eq!(Value::Int(1).as_array(), None);
}

#[test]
fn scripts_are_tried_again_when_they_ask_for_it() {
    let mut world = World::new(1, 1);
    let sentinel = &mut world.sentinels[0];
    sentinel.schedule(vec!["/s".into()]);
    let mut at = START;
    let mut tries = 0;
    for _ in 0..100_000 {
        at += 100;
        sentinel.tick(at);
        for order in sentinel.take_orders() {
            if let Order::Run { job, .. } = order {
                tries += 1;
                let ending = Ending { code: 1, signal: 0 };
                sentinel.input(at, Input::Started { job, pid: Some(7) });
                sentinel.input(at, Input::Ended { job, ending });
            }
        }
    }
    assert_eq!(tries, 9);
    let errors = sentinel.take_events();
    assert!(!errors.iter().any(|e| e.name == "-script-error"));
    assert_eq!(sentinel.scripts.iter().len(), 1);
}

/// Every server of a world waits for one replica.
fn synchronous(replicas: u16) -> World {
    let mut world = World::new(replicas, 3);
    world
        .servers
        .values_mut()
        .for_each(|server| server.sync = 1);
    world.settle();
    world
}

#[test]
fn whoever_leads_has_what_was_acknowledged() {
    let mut world = synchronous(2);
    // It is further, and of an older history: what it has was never acknowledged.
    let newer = History::default().next(3);
    world.servers.get_mut(&7001).unwrap().offset = 500;
    let second = world.servers.get_mut(&7002).unwrap();
    second.offset = 400;
    second.history = newer;
    world.kill(7000);
    world.run_until(20_000, |world| (0..3).all(|n| world.leader(n) == 7002));
    world.run(2000);
    let (first, second) = (&world.servers[&7001], &world.servers[&7002]);
    assert_eq!((first.leader, second.leader), (Some(7002), None));
    assert_eq!(second.history, newer.next(second.term));
    assert_eq!(first.term, second.term);
    assert_eq!(
        second.term,
        world.sentinels[0].masters().next().unwrap().config_epoch
    );
    assert!(world.has("+failover-state-fence"));
}

#[test]
fn nobody_leads_while_a_replica_may_know_more() {
    let mut world = synchronous(2);
    world.kill(7001);
    world.kill(7000);
    world.run(30_000);
    assert!(
        world.has("+odown") && !world.has("+switch-master"),
        "{:#?}",
        world.story()
    );
    assert_eq!(world.servers[&7002].leader, Some(0));
    // Both of them are enough. One of them may be the old leader.
    world.servers.get_mut(&7001).unwrap().offset = 300;
    world.servers.get_mut(&7001).unwrap().up = true;
    world.run_until(60_000, |world| (0..3).all(|n| world.leader(n) == 7001));
}

#[test]
fn the_old_leader_leads_again_when_it_has_most() {
    let mut world = synchronous(2);
    world.kill(7001);
    world.kill(7000);
    world.run(15_000);
    world.servers.get_mut(&7000).unwrap().offset = 300;
    world.servers.get_mut(&7000).unwrap().up = true;
    world.run_until(90_000, |world| {
        let (old, replica) = (&world.servers[&7000], &world.servers[&7002]);
        old.leader.is_none() && old.term > 0 && replica.leader == Some(7000)
    });
    assert!(!world.has("+switch-master"), "{:#?}", world.story());
    world.run(10_000);
    let epoch = world.sentinels[0].masters().next().unwrap().config_epoch;
    assert_eq!(world.servers[&7000].term, epoch, "{:#?}", world.story());
}

#[test]
fn an_operator_gets_another_leader_that_has_everything() {
    let mut world = synchronous(2);
    let id = world.sentinels[0].find("mymaster").unwrap().id;
    world.sentinels[0].set_now(world.now);
    world.sentinels[0].force_failover(id).unwrap();
    world.run_until(30_000, |world| (0..3).all(|n| world.leader(n) != 7000));
    let leader = world.leader(0);
    world.run_until(30_000, |world| world.servers[&7000].leader == Some(leader));
}

#[test]
fn a_newer_configuration_ends_an_older_failover() {
    let mut world = World::new(3, 3);
    world.settle();
    world.servers.values_mut().for_each(|s| s.link_up = false);
    world.kill(7000);
    let promotes = |world: &World, n: usize| {
        let failover = world.sentinels[n].masters().next().unwrap().failover;
        failover.state == FailoverState::Reconfigure
    };
    world.run_until(20_000, |world| (0..3).any(|n| promotes(world, n)));
    let n = (0..3).find(|n| promotes(&world, *n)).unwrap();
    let other = (n + 1) % 3;
    let (id, port) = (&world.sentinels[other].settings.my_id, port_of(other));
    // It is the very one that is being replaced.
    let hello = format!("127.0.0.1,{port},{id},9,mymaster,127.0.0.1,7000,9");
    let sentinel = &mut world.sentinels[n];
    sentinel.hear_hello(hello.as_bytes());
    let master = sentinel.masters().next().unwrap();
    assert_eq!(master.config_epoch, 9);
    assert!(!master.failover.is_going());
    assert_eq!(sentinel.current_address(master.id).unwrap().port, 7000);
    let events = sentinel.take_events();
    let mut told = events.iter().rev();
    let told = told.find(|event| event.name == "+switch-master");
    assert!(told.unwrap().text.ends_with(" 127.0.0.1 7000"));
}

#[test]
fn votes_count_in_the_epoch_that_they_were_asked_for() {
    let mut world = World::new(1, 3);
    world.settle();
    let sentinel = &mut world.sentinels[0];
    let id = sentinel.find("mymaster").unwrap().id;
    let master = sentinel.instances.get_mut(&id).unwrap();
    (master.s_down, master.o_down) = (true, true);
    assert!(sentinel.start_failover_if_needed(id));
    let hello = |epoch| {
        let id = format!("{:a>40}", 1);
        format!("127.0.0.1,5001,{id},{epoch},mymaster,127.0.0.1,7000,0").into_bytes()
    };
    sentinel.hear_hello(&hello(7));
    sentinel.take_orders();
    sentinel.ask_others(id, true);
    let asked = sentinel.take_orders().into_iter().map(|order| match order {
        Order::Send { bytes, .. } => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    });
    let asked: Vec<String> = asked.collect();
    assert!(asked.len() == 2 && asked.iter().all(|q| q.contains("\r\n1\r\n$40")));
    for epoch in [7, 1] {
        for other in sentinel.master(id).unwrap().sentinels.clone() {
            let leader = sentinel.settings.my_id.clone();
            let vote = Some(Vote { leader, epoch });
            sentinel.instances.get_mut(&other).unwrap().opinion.vote = vote;
        }
        let own = sentinel.settings.my_id.clone();
        assert_eq!(sentinel.elected(id, 1), Some(own).filter(|_| epoch == 1));
    }
}

#[test]
fn nobody_is_put_right_while_a_failover_is_carried_out() {
    let mut world = World::new(2, 1);
    world.settle();
    let stray = world.servers.get_mut(&7002).unwrap();
    stray.leader = Some(7001);
    let info = world.info(7002);
    let (info, _) = crate::resp::parse_reply(&info).unwrap().unwrap();
    let now = world.now;
    let sentinel = &mut world.sentinels[0];
    let id = sentinel.find("mymaster").unwrap().id;
    let replica = |port| {
        let mut all = sentinel.instances.values();
        all.find(|one| one.address.port == port).unwrap().id
    };
    let (promoted, stray) = (replica(7001), replica(7002));
    sentinel.info_came(stray, &info);
    let mut is_put_right = |state, now| {
        sentinel.set_now(now);
        sentinel.instances.get_mut(&id).unwrap().info_at = now;
        let failover = &mut sentinel.masters.get_mut(&id).unwrap().failover;
        failover.state = state;
        failover.epoch = 1;
        failover.promoted = Some(promoted);
        sentinel.take_events();
        sentinel.info_came(stray, &info);
        let mut events = sentinel.take_events().into_iter();
        events.any(|event| event.name == "+fix-slave-config")
    };
    assert!(!is_put_right(FailoverState::Reconfigure, now + 7000));
    assert!(is_put_right(FailoverState::None, now + 7000));
}
