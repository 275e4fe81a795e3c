//! What a sentinel answers and writes, without sockets: the test is its network, its disk and its clock. What it answers
//! word for word, compared with a real one, is in `tests/transcripts/sentinel`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may stop at the first surprise"
)]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use redkeep::commands;
use redkeep::engine::{Engine, Options};
use redkeep::exec::session::{Peer, SessionId};
use redkeep::exec::{Args, Host};
use redkeep::resp::{Proto, ReplyBuf, Value, parse_reply, split_line};
use redkeep::sentinel::{Ending, Input, NoNames, Order, Sentinel, Settings, SocketId};
use redkeep::service::config::{self, Config};
use redkeep::util::clock::ManualClock;
use redkeep::util::rng::Rng;

const ID: &str = "1111111111111111111111111111111111111111";

/// A disk with one file, which may be full.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, bool)>>);

impl Disk {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap()
    }

    fn set_full(&self, full: bool) {
        self.0.lock().unwrap().1 = full;
    }
}

impl Host for Disk {
    fn read_file(&self, _: &Path) -> io::Result<Option<Vec<u8>>> {
        Ok(Some(self.0.lock().unwrap().0.clone()))
    }

    fn replace_file(&self, _: &Path, contents: &[u8]) -> io::Result<()> {
        let mut file = self.0.lock().unwrap();
        if file.1 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.0 = contents.to_vec();
        Ok(())
    }
}

/// A sentinel, a client of it, and another that is subscribed to all events.
struct Watch {
    engine: Engine,
    clock: ManualClock,
    disk: Disk,
    client: SessionId,
    listener: SessionId,
    orders: Vec<Order>,
    /// Connections by their number: the port, what has come.
    sockets: BTreeMap<SocketId, (u16, Vec<u8>)>,
}

impl Watch {
    fn new(text: &str) -> Watch {
        Watch::with(text, Config::default())
    }

    fn with(text: &str, config: Config) -> Watch {
        let text = format!("sentinel myid {ID}\n{text}\n");
        let lines = text.lines().filter(|line| line.starts_with("sentinel"));
        let lines = lines.map(|line| split_line(line.as_bytes()).unwrap());
        let clock = ManualClock::at_ms(1_000_000);
        let settings = Settings::new(String::new(), 26379);
        let (names, rng) = (Box::new(NoNames), Rng::seed_from_u64(1));
        let mut sentinel = Box::new(Sentinel::new(settings, names, rng, 1_000_000));
        sentinel.load(&lines.collect::<Vec<_>>()).unwrap();
        let disk = Disk::default();
        disk.0.lock().unwrap().0 = text.into_bytes();
        let mut engine = Engine::new(Options {
            settings: config::Settings::new(config, Some(PathBuf::from("sentinel.conf"))),
            clock: Arc::new(clock.clone()),
            host: Box::new(disk.clone()),
            seed: Some(1),
            sentinel: Some(sentinel),
            ..Options::default()
        });
        let peer = || Peer {
            trusted: true,
            ..Peer::default()
        };
        let (client, listener) = (engine.connect(peer()), engine.connect(peer()));
        let mut watch = Watch {
            engine,
            clock,
            disk,
            client,
            listener,
            orders: Vec::new(),
            sockets: BTreeMap::new(),
        };
        watch.call(listener, &[b"PSUBSCRIBE".to_vec(), b"*".to_vec()]);
        watch
    }

    fn call(&mut self, who: SessionId, argv: &[Vec<u8>]) -> Value {
        let args: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        let mut reply = ReplyBuf::new(Proto::Resp2);
        self.engine.refresh_time();
        self.engine.execute(who, Args::new(&args), &mut reply);
        self.settle();
        parse_reply(&reply.take()).unwrap().expect("an answer").0
    }

    fn settle(&mut self) {
        self.engine.settle();
        self.orders.extend(self.engine.sentinel_orders());
    }

    fn ask(&mut self, line: &str) -> Value {
        let argv = split_line(line.as_bytes()).unwrap();
        self.call(self.client, &argv)
    }

    fn say(&mut self, line: &str) -> String {
        self.ask(line).to_string()
    }

    /// The fields of what is answered.
    fn fields(&mut self, line: &str) -> BTreeMap<String, String> {
        let reply = self.ask(line);
        let words: Vec<String> = reply.as_array().unwrap().iter().map(text).collect();
        let pairs = words.chunks(2);
        pairs
            .map(|pair| (pair[0].clone(), pair[1].clone()))
            .collect()
    }

    fn ok(&mut self, line: &str) {
        assert_eq!(self.say(line), "OK", "{line}");
    }

    /// Lets time pass and the sentinel look around.
    fn pass(&mut self, ms: i64) {
        self.clock.advance_ms(ms);
        self.engine.tick();
        self.settle();
    }

    /// What has happened since this was asked last.
    fn events(&mut self) -> Vec<String> {
        let mut out = ReplyBuf::new(Proto::Resp2);
        self.engine.take(self.listener, &mut out, true);
        let bytes = out.take();
        let (mut rest, mut events) = (&bytes[..], Vec::new());
        while let Some((message, len)) = parse_reply(rest).unwrap() {
            rest = &rest[len..];
            let words: Vec<String> = message.as_array().unwrap().iter().map(text).collect();
            events.push(words[2..].join(" "));
        }
        events
    }

    /// Is the network, and the servers behind it, until nobody says anything more. `answer` gives what a server on this
    /// port says to a command; without that the connection fails.
    fn serve(&mut self, answer: impl Fn(u16, &[Vec<u8>]) -> Option<Vec<u8>>) {
        while !self.orders.is_empty() {
            for order in std::mem::take(&mut self.orders) {
                match order {
                    Order::Connect { socket, port, .. } => {
                        self.sockets.insert(socket, (port, Vec::new()));
                        let local_ip = "127.0.0.1".to_owned();
                        self.tell(Input::Connected { socket, local_ip });
                    }
                    Order::Send { socket, bytes } => self.deliver(socket, &bytes, &answer),
                    Order::Close { socket } => {
                        self.sockets.remove(&socket);
                    }
                    Order::Run { .. } | Order::Kill { .. } | Order::Crash => {}
                }
            }
            self.settle();
        }
    }

    fn tell(&mut self, input: Input<'_>) {
        self.engine.refresh_time();
        self.engine.sentinel_input(input);
    }

    fn deliver(
        &mut self,
        socket: SocketId,
        bytes: &[u8],
        answer: &impl Fn(u16, &[Vec<u8>]) -> Option<Vec<u8>>,
    ) {
        let Some((port, buffer)) = self.sockets.get_mut(&socket) else {
            return;
        };
        buffer.extend_from_slice(bytes);
        let mut replies = Vec::new();
        while let Some((command, len)) = parse_reply(buffer).unwrap() {
            buffer.drain(..len);
            let words = command.as_array().unwrap().iter();
            let words: Vec<Vec<u8>> = words.map(|w| w.as_bytes().unwrap().to_vec()).collect();
            match answer(*port, &words) {
                Some(reply) => replies.extend(reply),
                None => {
                    self.sockets.remove(&socket);
                    let why = "Connection refused".to_owned();
                    return self.tell(Input::Lost { socket, why });
                }
            }
        }
        if !replies.is_empty() {
            let bytes = &replies;
            self.tell(Input::Received { socket, bytes });
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Int(n) => n.to_string(),
        value => String::from_utf8_lossy(value.as_bytes().unwrap_or_default()).into_owned(),
    }
}

fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

/// A leader on port 1 with a replica on port 2.
fn servers(port: u16, command: &[Vec<u8>]) -> Option<Vec<u8>> {
    let info = match port {
        1 => {
            "run_id:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nrole:master\r\n\
              slave0:ip=127.0.0.1,port=2,state=online,offset=9,lag=0\r\n"
        }
        2 => {
            "run_id:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\nrole:slave\r\nmaster_host:127.0.0.1\r\n\
              master_port:1\r\nmaster_link_status:up\r\nslave_priority:50\r\nslave_repl_offset:9\r\n"
        }
        _ => return None,
    };
    Some(match command[0].as_slice() {
        b"PING" => b"+PONG\r\n".to_vec(),
        b"INFO" => bulk(info),
        b"PUBLISH" => b":1\r\n".to_vec(),
        b"SUBSCRIBE" => Vec::new(),
        _ => b"+OK\r\n".to_vec(),
    })
}

/// A sentinel of such a leader that has asked everybody.
fn informed() -> Watch {
    let mut watch = Watch::new("sentinel monitor m 127.0.0.1 1 1");
    for _ in 0..3 {
        watch.pass(1100);
        watch.serve(servers);
    }
    watch
}

#[test]
fn a_sentinel_has_the_commands_of_a_real_one() {
    // COMMAND LIST of redis-sentinel 7.0.15, and what is newer.
    let known = "acl acl|cat acl|deluser acl|dryrun acl|genpass acl|getuser acl|help acl|list acl|load acl|log acl|save \
        acl|setuser acl|users acl|whoami auth client client|caching client|getname client|getredir client|help client|id client|info \
        client|kill client|list client|no-evict client|pause client|reply client|setname client|tracking \
        client|trackinginfo client|unblock client|unpause command command|count command|docs command|getkeys \
        command|getkeysandflags command|help command|info command|list hello info ping psubscribe publish \
        punsubscribe role sentinel sentinel|ckquorum sentinel|config sentinel|debug sentinel|failover \
        sentinel|flushconfig sentinel|get-master-addr-by-name sentinel|help sentinel|info-cache \
        sentinel|is-master-down-by-addr sentinel|master sentinel|masters sentinel|monitor sentinel|myid \
        sentinel|pending-scripts sentinel|remove sentinel|replicas sentinel|reset sentinel|sentinels sentinel|set \
        sentinel|simulate-failure sentinel|slaves shutdown subscribe unsubscribe";
    let newer = "client|setinfo sentinel|get-primary-addr-by-name sentinel|is-primary-down-by-addr \
        sentinel|primaries sentinel|primary";
    let mut known: Vec<&str> = known.split(' ').chain(newer.split(' ')).collect();
    known.retain(|name| !name.is_empty());
    known.sort_unstable();
    let mut ours: Vec<&str> = commands::sentinel_registry()
        .iter()
        .map(|e| &*e.name)
        .collect();
    ours.sort_unstable();
    assert_eq!(ours, known);
}

#[test]
fn what_is_set_stands_in_the_file_before_the_answer() {
    let mut watch = Watch::new("sentinel monitor m 127.0.0.1 1 2\n# a comment");
    watch.ok("SENTINEL SET m down-after-milliseconds 5 failover-timeout 6 parallel-syncs 7");
    watch.ok("SENTINEL SET m auth-pass \"a b\" auth-user me rename-command config hidden");
    watch.ok("SENTINEL MONITOR n ::1 3 4");
    watch.ok(
        "SENTINEL CONFIG SET announce-ip 10.0.0.1 announce-port 8 sentinel-user u sentinel-pass p",
    );
    watch.ok("SENTINEL CONFIG SET resolve-hostnames yes announce-hostnames yes");
    watch.ask("SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1 9 candidate");
    // Empty lines are left where others were, as by Redis, never two of them.
    let packed = |text: String| text.replace("\n\n", "\n");
    assert_eq!(
        packed(watch.disk.text()),
        format!(
            "sentinel myid {ID}\n\
             sentinel monitor m 127.0.0.1 1 2\n\
             # a comment\n\
             # Generated by CONFIG REWRITE\n\
             latency-tracking-info-percentiles 50 99 99.9\n\
             sentinel down-after-milliseconds m 5\n\
             sentinel failover-timeout m 6\n\
             sentinel parallel-syncs m 7\n\
             sentinel config-epoch m 0\n\
             sentinel leader-epoch m 9\n\
             sentinel current-epoch 9\n\
             sentinel auth-pass m \"a b\"\n\
             sentinel auth-user m me\n\
             sentinel rename-command m CONFIG hidden\n\
             sentinel monitor n ::1 3 4\n\
             sentinel config-epoch n 0\n\
             sentinel leader-epoch n 0\n\
             sentinel announce-ip \"10.0.0.1\"\n\
             sentinel announce-port 8\n\
             sentinel sentinel-user u\n\
             sentinel sentinel-pass p\n\
             sentinel resolve-hostnames yes\n\
             sentinel announce-hostnames yes\n"
        )
    );
    watch.ok("SENTINEL REMOVE n");
    watch.ok("SENTINEL REMOVE m");
    watch.ok("SENTINEL CONFIG SET announce-ip \"\" announce-port 0 sentinel-user \"\" sentinel-pass \"\"");
    assert_eq!(
        packed(watch.disk.text()),
        format!(
            "sentinel myid {ID}\n# a comment\n# Generated by CONFIG REWRITE\n\
             latency-tracking-info-percentiles 50 99 99.9\nsentinel current-epoch 9\n\
             sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n"
        )
    );
}

#[test]
fn who_cannot_write_says_so() {
    let mut watch = Watch::new("sentinel monitor m 127.0.0.1 1 2");
    watch.disk.set_full(true);
    let before = watch.disk.text();
    for line in [
        "SENTINEL FLUSHCONFIG",
        "SENTINEL MONITOR n 127.0.0.1 2 1",
        "SENTINEL SET m quorum 3",
        "SENTINEL CONFIG SET announce-port 9",
        "SENTINEL REMOVE n",
    ] {
        assert_eq!(
            watch.say(line),
            "(error) ERR Failed to save config file. Check server logs.",
            "{line}"
        );
    }
    assert_eq!(watch.disk.text(), before);
    watch.disk.set_full(false);
    watch.pass(2000);
    let text = watch.disk.text();
    assert!(text.contains("monitor m 127.0.0.1 1 3\n"), "{text}");
    assert!(text.contains("announce-port 9\n"), "{text}");
}

#[test]
fn what_was_set_before_what_is_wrong_stays_set() {
    let mut watch = Watch::new("sentinel monitor m 127.0.0.1 1 2");
    let refused = watch.say("SENTINEL SET m quorum 3 parallel-syncs 0");
    assert!(refused.contains("Invalid argument '0'"), "{refused}");
    assert_eq!(watch.events(), ["+set master m 127.0.0.1 1 quorum 3"]);
    assert!(watch.disk.text().contains("monitor m 127.0.0.1 1 3\n"));
}

#[test]
fn numbers_are_kept_where_redis_reads_them_back() {
    let mut watch = Watch::new("sentinel monitor m 127.0.0.1 1 2");
    let huge = i64::MAX;
    watch.ok(&format!(
        "SENTINEL SET m quorum {huge} down-after-milliseconds {huge} failover-timeout {huge} \
         parallel-syncs {huge} master-reboot-down-after-period {huge}"
    ));
    watch.ok(&format!(
        "SENTINEL DEBUG info-period {huge} script-retry-delay {huge}"
    ));
    let fields = watch.fields("SENTINEL MASTER m");
    for name in [
        "quorum",
        "down-after-milliseconds",
        "failover-timeout",
        "parallel-syncs",
    ] {
        assert_eq!(fields[name], i32::MAX.to_string(), "{name}");
    }
    watch.pass(100);
    watch.serve(servers);
    watch.pass(100);
}

#[test]
fn servers_are_shown_as_they_describe_themselves() {
    let mut watch = informed();
    let master = watch.fields("SENTINEL MASTER m");
    assert_eq!(master["flags"], "master");
    assert_eq!(master["runid"], "a".repeat(40));
    assert_eq!(
        (&*master["num-slaves"], &*master["last-ping-sent"]),
        ("1", "0")
    );
    let reply = watch.ask("SENTINEL REPLICAS m");
    let replica: Vec<String> = reply.as_array().unwrap()[0]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect();
    let from = replica
        .iter()
        .position(|w| w == "master-link-down-time")
        .unwrap();
    assert_eq!(
        replica[from..].join(" "),
        "master-link-down-time 0 master-link-status ok master-host 127.0.0.1 master-port 1 slave-priority 50 \
         slave-repl-offset 9 replica-announced 1"
    );
    let cached = watch.say("SENTINEL INFO-CACHE m");
    assert!(
        cached.contains("run_id:aaa") && cached.contains("run_id:bbb"),
        "{cached}"
    );
    let info = watch.say("INFO sentinel");
    assert!(
        info.contains("master0:name=m,status=ok,address=127.0.0.1:1,slaves=1,sentinels=1"),
        "{info}"
    );
}

#[test]
fn a_failover_shows_in_the_flags() {
    let mut watch = informed();
    watch.ok("SENTINEL FAILOVER m");
    let again = watch.say("SENTINEL FAILOVER m");
    assert_eq!(again, "(error) INPROG Failover already in progress");
    let master = watch.fields("SENTINEL MASTER m");
    assert_eq!(
        master["flags"],
        "master,failover_in_progress,force_failover"
    );
    assert_eq!(master["failover-state"], "wait_start");
    for _ in 0..3 {
        watch.pass(100);
    }
    assert_eq!(
        watch.fields("SENTINEL MASTER m")["failover-state"],
        "wait_promotion"
    );
    let replicas = watch.say("SENTINEL REPLICAS m");
    assert!(
        replicas.contains("\"flags\", \"slave,promoted\""),
        "{replicas}"
    );
}

#[test]
fn who_does_not_answer_is_down() {
    let mut watch =
        Watch::new("sentinel monitor m 127.0.0.1 9 2\nsentinel down-after-milliseconds m 1500");
    for _ in 0..4 {
        watch.pass(1000);
        watch.serve(servers);
    }
    let fields = watch.fields("SENTINEL MASTER m");
    assert_eq!(fields["flags"], "s_down,master,disconnected");
    assert!(fields.contains_key("s-down-time") && !fields.contains_key("o-down-time"));
    let down = "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 9 0 *";
    assert_eq!(watch.say(down), "[(integer) 1, \"*\", (integer) 0]");
    watch.ok("SENTINEL SET m quorum 1");
    watch.pass(100);
    let info = watch.say("INFO sentinel");
    assert!(info.contains("name=m,status=odown"), "{info}");
    // A leap of time: nobody is down any more as far as others are told.
    watch.pass(100_000);
    assert_eq!(watch.say(down), "[(integer) 0, \"*\", (integer) 0]");
    watch.pass(1000);
    let info = watch.say("INFO sentinel");
    assert!(
        info.contains("sentinel_tilt:1\\r\\nsentinel_tilt_since_seconds:1\\r\\n"),
        "{info}"
    );
}

#[test]
fn scripts_that_run_or_wait_are_shown() {
    let mut watch =
        Watch::new("sentinel monitor m 127.0.0.1 1 2\nsentinel deny-scripts-reconfig no");
    let refused = watch.say("SENTINEL SET m notification-script /no/such/script");
    assert_eq!(
        refused,
        "(error) ERR Notification script seems non existing or non executable"
    );
    watch.ok("SENTINEL SET m client-reconfig-script /bin/ls notification-script /bin/sh");
    assert_eq!(
        watch.fields("SENTINEL MASTER m")["client-reconfig-script"],
        "/bin/ls"
    );
    let what =
        "\"argv\", [\"/bin/sh\", \"+set\", \"master m 127.0.0.1 1 notification-script /bin/sh\"]";
    let waits = format!(
        "[[{what}, \"flags\", \"scheduled\", \"pid\", \"0\", \"run-delay\", \"0\", \"retry-num\", \"0\"]]"
    );
    assert_eq!(watch.say("SENTINEL PENDING-SCRIPTS"), waits);
    watch.pass(100);
    let job = watch.orders.iter().find_map(|order| match order {
        Order::Run { job, .. } => Some(*job),
        _ => None,
    });
    let (job, pid) = (job.expect("a script is run"), Some(17));
    watch.tell(Input::Started { job, pid });
    watch.clock.advance_ms(30);
    let runs = format!(
        "[[{what}, \"flags\", \"running\", \"pid\", \"17\", \"run-time\", \"30\", \"retry-num\", \"1\"]]"
    );
    assert_eq!(watch.say("SENTINEL PENDING-SCRIPTS"), runs);
    let info = watch.say("INFO sentinel");
    assert!(
        info.contains("running_scripts:1\\r\\nsentinel_scripts_queue_length:1"),
        "{info}"
    );
    let ending = Ending { code: 0, signal: 0 };
    watch.tell(Input::Ended { job, ending });
    assert_eq!(watch.say("SENTINEL PENDING-SCRIPTS"), "[]");
    watch.ok("SENTINEL SET m notification-script \"\"");
    assert_eq!(watch.say("SENTINEL PENDING-SCRIPTS"), "[]");
}

#[test]
fn other_credentials_make_new_connections() {
    let mut watch = informed();
    let before: Vec<SocketId> = watch.sockets.keys().copied().collect();
    watch.ok("SENTINEL SET m auth-pass secret");
    watch.serve(servers);
    assert!(watch.sockets.is_empty());
    watch.pass(1100);
    let sent = watch.orders.iter().find_map(|order| match order {
        Order::Send { bytes, .. } => Some(bytes.clone()),
        _ => None,
    });
    assert!(
        sent.unwrap()
            .starts_with(b"*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n")
    );
    watch.serve(servers);
    assert!(
        watch.sockets.len() == before.len()
            && !before.iter().any(|id| watch.sockets.contains_key(id))
    );
}

#[test]
fn a_password_keeps_strangers_out() {
    let config = Config {
        requirepass: b"secret".to_vec(),
        ..Config::default()
    };
    let mut watch = Watch::with("sentinel monitor m 127.0.0.1 1 2", config);
    let stranger = watch.engine.connect(Peer::default());
    let ask = |watch: &mut Watch, line: &str| {
        let argv = split_line(line.as_bytes()).unwrap();
        watch.call(stranger, &argv).to_string()
    };
    assert_eq!(
        ask(&mut watch, "SENTINEL MYID"),
        "(error) NOAUTH Authentication required."
    );
    assert_eq!(ask(&mut watch, "AUTH secret"), "OK");
    assert_eq!(ask(&mut watch, "SENTINEL MYID"), format!("\"{ID}\""));
}

#[test]
fn info_has_the_sections_of_a_sentinel() {
    let mut watch = Watch::new("sentinel monitor m 127.0.0.1 1 2");
    for asked in ["INFO", "INFO default", "INFO all", "INFO everything memory"] {
        let info = text(&watch.ask(asked));
        let titles: Vec<&str> = info.lines().filter(|l| l.starts_with('#')).collect();
        let wanted = ["# Server", "# Clients", "# Stats", "# CPU", "# Sentinel"];
        assert_eq!(titles, wanted, "{asked}");
        assert!(info.contains("\r\nredis_mode:sentinel\r\n"), "{info}");
    }
}

#[test]
fn nonsense_is_refused_or_ignored() {
    let mut watch = Watch::new("sentinel monitor m 127.0.0.1 1 2");
    for line in [
        "SENTINEL MASTER \"\\xff\"",
        "SENTINEL MONITOR \"\\xff\" 127.0.0.1 1 1",
        "SENTINEL MONITOR n \"\\xff\" 1 1",
        "SENTINEL MONITOR n \"\" 1 1",
        "SENTINEL SET m rename-command \"\\xff\" x",
        "SENTINEL SET \"\\xff\" quorum 1",
        "SENTINEL CONFIG SET announce-ip \"\\xff\"",
        "SENTINEL GET-MASTER-ADDR-BY-NAME \"\\xff\" x",
    ] {
        let reply = watch.say(line);
        assert!(reply.starts_with("(error)"), "{line}: {reply}");
    }
    let votes = "SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1";
    for epoch in ["-1", "-9223372036854775808"] {
        let reply = watch.say(&format!("{votes} {epoch} candidate"));
        assert_eq!(reply, "[(integer) 0, \"*\", (integer) 0]");
    }
    for hello in [
        "",
        "127.0.0.1,1,x,1,m,127.0.0.1",
        "127.0.0.1,x,x,1,m,127.0.0.1,1,1",
        "127.0.0.1,1,x,-1,m,127.0.0.1,1,1",
        "127.0.0.1,1,x,1,none,127.0.0.1,1,1",
        "127.0.0.1,1,x,1,m,127.0.0.1,1,99999999999999999999",
        "127.0.0.1,1,x,9223372036854775808,m,127.0.0.1,1,1",
        "\\xff,1,x,1,m,127.0.0.1,1,1",
    ] {
        let reply = watch.say(&format!("PUBLISH __sentinel__:hello \"{hello}\""));
        assert_eq!(reply, "(integer) 1", "{hello}");
    }
    assert_eq!(watch.say("SENTINEL SENTINELS m"), "[]");
    assert!(watch.disk.text().starts_with(&format!(
        "sentinel myid {ID}\nsentinel monitor m 127.0.0.1 1 2\n"
    )));
}

#[test]
fn the_last_epoch_ends_failovers_and_nothing_else() {
    let mut watch = informed();
    let last = i64::MAX;
    let hello = format!("127.0.0.1,9,x,{last},m,127.0.0.1,1,0");
    watch.say(&format!("PUBLISH __sentinel__:hello {hello}"));
    watch.ok("SENTINEL FAILOVER m");
    watch.pass(100);
    let epoch = format!("sentinel current-epoch {last}\n");
    assert!(watch.disk.text().contains(&epoch), "{}", watch.disk.text());
    watch.pass(100);
    assert_eq!(watch.say("PING"), "PONG");
}
