use super::*;
use crate::exec::RunningScript;
use crate::util::clock::{Clock, ManualClock};

fn engine() -> (Engine, SessionId, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at_ms(1_000_000));
    let (engine, sid) = engine_by(clock.clone());
    (engine, sid, clock)
}

fn engine_by(clock: Arc<dyn Clock>) -> (Engine, SessionId) {
    let options = Options {
        clock,
        seed: Some(1),
        ..Options::default()
    };
    let mut engine = Engine::new(options);
    let sid = engine.connect(Peer::default());
    (engine, sid)
}

fn run(engine: &mut Engine, sid: SessionId, line: &str) -> String {
    let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let mut reply = ReplyBuf::new(Proto::Resp2);
    engine.refresh_time();
    engine.execute(sid, Args::new(&args), &mut reply);
    String::from_utf8_lossy(reply.as_slice()).into_owned()
}

#[test]
fn a_command_is_answered() {
    let (mut e, c, _) = engine();
    assert_eq!(run(&mut e, c, "SET k v"), "+OK\r\n");
    assert_eq!(run(&mut e, c, "get k"), "$1\r\nv\r\n");
    assert_eq!(
        run(&mut e, c, "nosuch a b"),
        "-ERR unknown command 'nosuch', with args beginning with: 'a' 'b' \r\n"
    );
    assert_eq!(
        run(&mut e, c, "get"),
        "-ERR wrong number of arguments for 'get' command\r\n"
    );
}

#[test]
fn a_transaction_runs_as_one_unit() {
    let (mut e, c, _) = engine();
    e.collect_effects(true);
    assert_eq!(run(&mut e, c, "EXEC"), "-ERR EXEC without MULTI\r\n");
    assert_eq!(run(&mut e, c, "MULTI"), "+OK\r\n");
    assert_eq!(run(&mut e, c, "SET a 1"), "+QUEUED\r\n");
    assert_eq!(run(&mut e, c, "GET a"), "+QUEUED\r\n");
    assert_eq!(run(&mut e, c, "SET b 2"), "+QUEUED\r\n");
    assert_eq!(run(&mut e, c, "EXEC"), "*3\r\n+OK\r\n$1\r\n1\r\n+OK\r\n");
    let log = String::from_utf8_lossy(&e.take_effects()).into_owned();
    assert!(log.contains("MULTI") && log.ends_with("EXEC\r\n"), "{log}");
    run(&mut e, c, "MULTI");
    assert!(run(&mut e, c, "GET").starts_with("-ERR wrong number"));
    assert!(run(&mut e, c, "EXEC").starts_with("-EXECABORT"));
}

#[test]
fn a_watched_key_that_changed_aborts_the_transaction() {
    let (mut e, c, clock) = engine();
    let other = e.connect(Peer::default());
    run(&mut e, c, "WATCH k");
    run(&mut e, other, "SET k 1");
    run(&mut e, c, "MULTI");
    run(&mut e, c, "SET k 2");
    assert_eq!(run(&mut e, c, "EXEC"), "*-1\r\n");
    run(&mut e, c, "WATCH k");
    run(&mut e, other, "SET unrelated 1");
    run(&mut e, c, "MULTI");
    assert_eq!(run(&mut e, c, "EXEC"), "*0\r\n");
    run(&mut e, c, "SET k 1 PX 10");
    run(&mut e, c, "WATCH k");
    clock.advance_ms(11);
    run(&mut e, c, "MULTI");
    assert_eq!(run(&mut e, c, "EXEC"), "*-1\r\n");
}

/// A script that was past its limit when it ended, with a request posted too late for it to serve.
struct LateScript(SessionId, &'static str, Arc<std::sync::Mutex<Vec<u8>>>);

impl ScriptHost for LateScript {
    fn run(
        &mut self,
        mut state: Box<State>,
        _: ScriptOrigin,
        _: &ScriptCall,
        _: Args<'_>,
        reply: &mut ReplyBuf,
    ) -> (Box<State>, Result<(), CmdError>) {
        state.sys.running = Some(RunningScript {
            busy: true,
            ..RunningScript::default()
        });
        state.sys.gate.shut();
        let answer = Arc::clone(&self.2);
        let argv = self.1.split(' ').map(|w| w.as_bytes().to_vec()).collect();
        let request = BusyRequest::Run {
            sid: self.0,
            requests: vec![argv],
            done: Box::new(move |served| *answer.lock().unwrap() = served.bytes),
        };
        assert!(state.sys.gate.post(request).is_ok());
        reply.ok();
        (state, Ok(()))
    }

    fn memory(&self) -> usize {
        0
    }
}

/// A script that is replayed, and past its limit while a client asks.
struct BusyReplay(SessionId, Arc<std::sync::Mutex<Vec<u8>>>);

impl ScriptHost for BusyReplay {
    fn run(
        &mut self,
        mut state: Box<State>,
        _: ScriptOrigin,
        _: &ScriptCall,
        _: Args<'_>,
        _: &mut ReplyBuf,
    ) -> (Box<State>, Result<(), CmdError>) {
        state.sys.running = Some(RunningScript {
            busy: true,
            replays: state.ks.replays(),
            ..RunningScript::default()
        });
        let answer = Arc::clone(&self.1);
        let command = |line: &str| line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
        let request = BusyRequest::Run {
            sid: self.0,
            requests: ["SCRIPT KILL", "GET k"].map(command).into(),
            done: Box::new(move |served| *answer.lock().unwrap() = served.bytes),
        };
        assert!(state.ks.peek(b"k").is_some());
        busy::serve(&mut state, request);
        assert!(
            state.ks.peek(b"k").is_some(),
            "it is over for the client only"
        );
        (state, Ok(()))
    }

    fn memory(&self) -> usize {
        0
    }
}

#[test]
fn a_busy_script_that_is_replayed_sees_on_what_is_over_and_cannot_be_ended() {
    let (mut e, client, _) = engine();
    e.refresh_time();
    let answer = Arc::default();
    e.host = Box::new(BusyReplay(client, Arc::clone(&answer)));
    let mut replay = e.begin_replay();
    for words in [
        &[&b"SET"[..], b"k", b"v", b"PXAT", b"500"][..],
        &[b"EVAL", b"script", b"0"],
        &[b"MULTI"],
        &[b"EVAL", b"script", b"0"],
        &[b"EXEC"],
    ] {
        assert_eq!(e.replay(&mut replay, words), Ok(()));
    }
    let answer = answer.lock().unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("-UNKILLABLE "), "{answer}");
    assert!(answer.contains("\r\n-BUSY "), "{answer}");
    assert_eq!(e.state().sys.stats.unexpected_errors, 0);
    e.end_replay(replay);
}

#[test]
fn nobody_comes_between_a_busy_script_and_the_rest_of_its_transaction() {
    let (mut e, c, _) = engine();
    let other = e.connect(Peer::default());
    let answer = Arc::default();
    e.host = Box::new(LateScript(other, "GET k", Arc::clone(&answer)));
    run(&mut e, c, "SET k before");
    run(&mut e, c, "MULTI");
    run(&mut e, c, "EVAL script 0");
    run(&mut e, c, "SET k after");
    assert_eq!(run(&mut e, c, "EXEC"), "*2\r\n+OK\r\n+OK\r\n");
    assert_eq!(&answer.lock().unwrap()[..], b"$5\r\nafter\r\n");
    assert!(!e.gate().is_shut());
}

#[test]
fn what_stands_behind_a_late_command_that_waits_is_given_back() {
    let (mut e, c, _) = engine();
    let other = e.connect(Peer::default());
    let served = Arc::new(std::sync::Mutex::new(None));
    let answer = Arc::clone(&served);
    e.gate.shut();
    let command = |line: &str| line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
    let requests: Vec<_> = ["PING", "BLPOP l 0", "GET k", "GET l"].map(command).into();
    let behind = requests[2..].to_vec();
    let posted = e.gate.post(BusyRequest::Run {
        sid: other,
        requests,
        done: Box::new(move |served| *answer.lock().unwrap() = Some(served)),
    });
    assert!(posted.is_ok());
    e.was_busy = true;
    run(&mut e, c, "SET k v");
    let served = served.lock().unwrap().take().unwrap();
    assert_eq!(served.bytes, b"+PONG\r\n");
    assert!(served.blocked && !served.closing);
    assert_eq!(served.unserved, behind);
}

#[test]
fn protected_mode_keeps_strangers_out() {
    let (mut e, here, _) = engine();
    let stranger = Peer::default;
    let neighbour = || Peer {
        local: true,
        ..Peer::default()
    };
    assert_eq!(e.admit(stranger()), Err(Refusal::Protected));
    assert!(
        Refusal::Protected
            .to_string()
            .starts_with("DENIED Redis is running in protected mode")
    );
    assert!(!Refusal::Protected.to_string().contains('\n'));
    assert!(e.admit(neighbour()).is_ok());
    run(&mut e, here, "CONFIG SET protected-mode no");
    assert!(e.admit(stranger()).is_ok());
    run(&mut e, here, "CONFIG SET protected-mode yes requirepass pw");
    let c = e.admit(stranger()).unwrap();
    assert_eq!(
        run(&mut e, c, "PING"),
        "-NOAUTH Authentication required.\r\n"
    );
    assert_eq!(run(&mut e, c, "AUTH pw"), "+OK\r\n");
}

#[test]
fn what_changed_is_logged_once() {
    let (mut e, c, _) = engine();
    e.collect_effects(true);
    run(&mut e, c, "SET k v");
    run(&mut e, c, "GET k");
    let log = e.take_effects();
    assert_eq!(
        String::from_utf8_lossy(&log),
        "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"
    );
}

#[cfg(feature = "lua")]
#[test]
fn functions_that_keep_too_much_are_loaded_afresh() {
    let (mut e, c, _) = engine();
    e.host = Box::new(crate::script::LuaHost::with_memory_limit(16 << 20));
    let code = "#!lua name=lib\nlocal kept = {}\n\
        redis.register_function('keep', function() kept[#kept + 1] = ('x'):rep(1e6) .. #kept return #kept end)\n\
        redis.register_function('burst', function() local t = {} while true do t[#t + 1] = {} end end)";
    let call = |e: &mut Engine, args: &[&str]| {
        let args: Vec<&[u8]> = args.iter().map(|a| a.as_bytes()).collect();
        let mut reply = ReplyBuf::new(Proto::Resp2);
        e.execute(c, Args::new(&args), &mut reply);
        String::from_utf8_lossy(reply.as_slice()).into_owned()
    };
    assert_eq!(call(&mut e, &["FUNCTION", "LOAD", code]), "$3\r\nlib\r\n");
    let kept: Vec<String> = (0..30)
        .map(|_| call(&mut e, &["FCALL", "keep", "0"]))
        .collect();
    let afresh = kept.iter().filter(|reply| *reply == ":1\r\n").count();
    assert!((2..6).contains(&afresh), "{kept:?}");
    assert!(kept.iter().all(|reply| reply.starts_with(':')), "{kept:?}");
    for _ in 0..3 {
        let burst = call(&mut e, &["FCALL", "burst", "0"]);
        assert!(burst.contains("not enough memory"), "{burst}");
        assert!(call(&mut e, &["FCALL", "keep", "0"]).starts_with(':'));
    }
    assert_eq!(call(&mut e, &["FUNCTION", "FLUSH"]), "+OK\r\n");
    assert_eq!(e.state().sys.libraries.interpreter, 0);
}

#[test]
fn whoever_waits_for_the_disk_is_looked_at_when_it_has_got_on_and_not_before() {
    use crate::persist::Files;
    use crate::persist::aof::{Directory, Log, Place, Policy, Tail, Writer};
    let dir = tempfile::tempdir().unwrap();
    let place = Place::new(dir.path().to_str().unwrap(), "log", "l");
    let files = Directory::open(Arc::new(Files), place).unwrap();
    let log = Arc::new(Log::new(Policy::EverySecond));
    let mut writer = Writer::resume(Arc::clone(&log), files, Tail::default(), 0).unwrap();
    let (mut e, c, clock) = engine();
    e.state().sys.cfg = Settings::new(
        crate::service::config::Config {
            appendonly: true,
            ..Default::default()
        },
        None,
    );
    exec::persist::log::opened(e.state(), Arc::clone(&log));
    run(&mut e, c, "SET k v");
    e.settle();
    assert_eq!(run(&mut e, c, "WAITAOF 1 0 0"), "");
    let mut orders = std::collections::VecDeque::new();
    writer.step();
    e.tick();
    log.take_orders(&mut orders);
    assert!(orders.is_empty(), "{orders:?}");
    let mut out = ReplyBuf::new(Proto::Resp2);
    e.take_output(c, &mut out);
    assert!(out.as_slice().is_empty());
    clock.advance_ms(1000);
    e.tick();
    writer.step();
    e.tick();
    e.take_output(c, &mut out);
    assert_eq!(out.as_slice(), b"*2\r\n:1\r\n:0\r\n");
}

#[test]
fn packets_are_gathered_for_replicas_alone_and_if_that_is_asked_for() {
    let (mut e, c, _) = engine();
    let replica = e.connect(Peer::default());
    let gathers = |e: &mut Engine, sid| {
        let mut out = ReplyBuf::new(Proto::Resp2);
        e.take(sid, &mut out, true).gathers
    };
    run(&mut e, c, "CONFIG SET repl-disable-tcp-nodelay yes");
    assert!(!gathers(&mut e, replica));
    run(&mut e, replica, "PSYNC ? -1");
    assert!(gathers(&mut e, replica) && !gathers(&mut e, c));
    run(&mut e, c, "CONFIG SET repl-disable-tcp-nodelay no");
    assert!(!gathers(&mut e, replica));
}

#[test]
fn who_comes_between_a_busy_script_and_what_follows_it_in_the_stream_finds_them_apart() {
    let (mut e, c, _) = engine();
    let replica = e.connect(Peer::default());
    run(&mut e, replica, "PSYNC ? -1");
    e.settle();
    run(&mut e, c, "REPLICAOF elsewhere 6379");
    e.settle();
    let mut follower = follow::Follower::begin(&mut e).unwrap();
    let script = "*3\r\n$4\r\nEVAL\r\n$6\r\nscript\r\n$1\r\n0\r\n";
    let set = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
    for said in [
        "+PONG\r\n+OK\r\n+OK\r\n+OK\r\n",
        "+CONTINUE\r\n",
        script,
        "*1\r\n$4\r\nPING\r\n",
        set,
    ] {
        follower.receive(said.as_bytes()).unwrap();
    }
    let offset = e.state().sys.repl.offset();
    let answer = Arc::default();
    e.host = Box::new(LateScript(c, "REPLICAOF NO ONE", Arc::clone(&answer)));
    let mut steps = (0..10).map(|_| follower.work(&mut e));
    let parted = steps.find_map(Result::err);
    assert_eq!(parted, Some(follow::Parted::Superseded));
    assert_eq!(&answer.lock().unwrap()[..], b"+OK\r\n");
    follower.lost(&mut e);
    // The script belongs to the old history, and what followed it to none.
    assert_eq!(run(&mut e, c, "EXISTS k"), ":0\r\n");
    let repl = &e.state().sys.repl;
    let until = offset + script.len() as u64;
    assert_eq!(repl.offset(), until);
    assert_eq!(repl.former.as_ref().unwrap().1, until + 1);
}

/// Sets the limit so that there are so many bytes of room, which may be less than none.
fn leave_room(e: &mut Engine, c: SessionId, policy: &str, room: i64) {
    let used = i64::try_from(e.state().used_memory()).unwrap();
    run(e, c, &format!("CONFIG SET maxmemory-policy {policy}"));
    let limit = (used + room).max(1);
    assert_eq!(
        run(e, c, &format!("CONFIG SET maxmemory {limit}")),
        "+OK\r\n"
    );
}

const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";

#[test]
fn what_is_evicted_goes_before_the_transaction_that_needs_room_and_outside_of_it() {
    for (lazy, name) in [("no", "DEL"), ("yes", "UNLINK")] {
        let (mut e, c, clock) = engine();
        let other = e.connect(Peer::default());
        run(
            &mut e,
            c,
            &format!("CONFIG SET lazyfree-lazy-eviction {lazy}"),
        );
        let value = "x".repeat(10_000);
        for n in 0..3 {
            run(&mut e, c, &format!("SET k{n} {value}"));
            clock.advance_ms(1000);
        }
        run(&mut e, c, "MULTI");
        run(&mut e, c, &format!("SET a {value}"));
        run(&mut e, c, "SET b 1");
        e.collect_effects(true);
        leave_room(&mut e, other, "allkeys-lru", -15_000);
        assert_eq!(run(&mut e, c, "EXEC"), "*2\r\n+OK\r\n+OK\r\n");
        let log = String::from_utf8_lossy(&e.take_effects()).into_owned();
        let words: Vec<&str> = log.lines().filter(|l| !l.starts_with(['*', '$'])).collect();
        let expected = ["SELECT", "0", name, "k0", name, "k1", "MULTI", "SET", "a"];
        assert_eq!(words[..expected.len()], expected);
        assert_eq!(e.state().sys.stats.evicted_keys, 2);
    }
}

#[test]
fn without_a_key_that_may_go_what_needs_memory_is_refused() {
    for policy in [
        "noeviction",
        "volatile-lru",
        "volatile-ttl",
        "volatile-random",
    ] {
        let (mut e, c, _) = engine();
        run(&mut e, c, "SET k v");
        leave_room(&mut e, c, policy, -100);
        assert_eq!(run(&mut e, c, "SET k w"), OOM, "{policy}");
        assert_eq!(run(&mut e, c, "GET k"), "$1\r\nv\r\n");
        // Without a limit there is room at once, for scripts too.
        run(&mut e, c, "CONFIG SET maxmemory 0");
        let set = "EVAL return(redis.call('set',KEYS[1],'v')) 1 k";
        assert_eq!(run(&mut e, c, set), "+OK\r\n");
        leave_room(&mut e, c, policy, -100);
        assert_eq!(run(&mut e, c, "DEL k"), ":1\r\n");
        run(&mut e, c, "CONFIG SET maxmemory 0");
        assert_eq!(run(&mut e, c, "SET k w"), "+OK\r\n");
    }
}

#[test]
fn a_lower_limit_is_kept_without_any_command() {
    let (mut e, c, _) = engine();
    for n in 0..100 {
        run(&mut e, c, &format!("SET k{n} {}", "x".repeat(1000)));
    }
    leave_room(&mut e, c, "allkeys-random", -50_000);
    assert!(e.next_deadline().is_some());
    e.tick();
    let left = e.state().ks.db(0).map_or(0, crate::keyspace::Db::len);
    assert!((40..60).contains(&left), "{left}");
    assert_eq!(e.state().sys.stats.evicted_keys, 100 - left as u64);
}

#[test]
fn who_tracks_hears_of_an_eviction_before_the_reply() {
    let (mut e, c, clock) = engine();
    run(&mut e, c, "HELLO 3");
    run(&mut e, c, &format!("SET k {}", "x".repeat(5000)));
    run(&mut e, c, "CLIENT TRACKING ON");
    run(&mut e, c, "GET k");
    clock.advance_ms(1000);
    leave_room(&mut e, c, "allkeys-lru", -100);
    let reply = run(&mut e, c, "PING");
    assert!(
        reply.starts_with(">2\r\n$10\r\ninvalidate\r\n") && reply.ends_with("+PONG\r\n"),
        "{reply}"
    );
}

#[test]
fn keys_whose_time_is_over_make_room_before_others() {
    let (mut e, c, clock) = engine();
    let value = "x".repeat(10_000);
    run(&mut e, c, &format!("SET old {value}"));
    clock.advance_ms(1000);
    run(&mut e, c, &format!("SET brief {value} PX 100"));
    clock.advance_ms(1000);
    leave_room(&mut e, c, "allkeys-lru", -100);
    run(&mut e, c, "PING");
    assert_eq!(run(&mut e, c, "EXISTS old brief"), ":1\r\n");
    assert_eq!(e.state().sys.stats.evicted_keys, 0);
}

#[test]
fn a_replica_leaves_eviction_to_its_leader() {
    let (mut e, c, _) = engine();
    run(&mut e, c, &format!("SET k {}", "x".repeat(5000)));
    run(&mut e, c, "REPLICAOF 127.0.0.1 1");
    leave_room(&mut e, c, "allkeys-lru", -100);
    run(&mut e, c, "PING");
    e.tick();
    assert_eq!(e.state().sys.stats.evicted_keys, 0);
}

#[test]
fn who_was_made_to_go_weighs_nothing_though_its_connection_is_still_there() {
    let (mut e, c, _) = engine();
    let unsent = e.state().sessions.unsent().connection();
    let peer = Peer {
        unsent: unsent.clone(),
        ..Peer::default()
    };
    let (heavy, light) = (e.connect(peer), e.connect(Peer::default()));
    run(&mut e, c, "CLIENT NO-EVICT ON");
    run(&mut e, light, "MULTI");
    run(&mut e, light, &format!("SET k {}", "x".repeat(50_000)));
    let before = e.state().used_memory();
    unsent.set(200_000);
    assert!(e.state().used_memory() >= before + 200_000);
    run(&mut e, c, "CONFIG SET maxmemory-clients 100000");
    for _ in 0..3 {
        run(&mut e, c, "PING");
        e.weigh_clients();
    }
    assert!(e.state().sessions.get(heavy).unwrap().cut_off);
    assert!(!e.state().sessions.get(light).unwrap().cut_off);
    assert!(e.state().used_memory() < before + 1000);
    e.disconnect(heavy);
    unsent.set(0);
    assert!(e.state().used_memory() < before + 1000);
}

#[test]
fn the_heaviest_client_goes_when_all_weigh_too_much_but_for_those_that_may_stay() {
    let (mut e, c, _) = engine();
    let (heavy, light, kept) = (
        e.connect(Peer::default()),
        e.connect(Peer::default()),
        e.connect(Peer::default()),
    );
    run(&mut e, kept, "CLIENT NO-EVICT ON");
    for (sid, len) in [(heavy, 40_000), (light, 30_000), (kept, 50_000)] {
        run(&mut e, sid, "MULTI");
        run(&mut e, sid, &format!("SET k {}", "x".repeat(len)));
    }
    assert_eq!(
        run(&mut e, c, "CONFIG SET maxmemory-clients 110000"),
        "+OK\r\n"
    );
    e.take_actions();
    assert_eq!(e.state().sys.stats.evicted_clients, 1);
    let left = run(&mut e, c, "CLIENT LIST");
    assert_eq!(left.matches("multi=1").count(), 2, "{left}");
    assert!(e.state().sessions.get(heavy).unwrap().cut_off);
    // Only those are left that may not be made to go, and whoever asks goes last.
    run(&mut e, c, "CLIENT NO-EVICT ON");
    run(&mut e, c, "CONFIG SET maxmemory-clients 1");
    e.take_actions();
    assert!(e.state().sessions.get(light).unwrap().cut_off);
    assert!(!e.state().sessions.get(kept).unwrap().cut_off);
    assert_eq!(run(&mut e, c, "PING"), "+PONG\r\n");
}

/// What is run to compare the two ways of a command: whoever runs it, and the line.
const BOTH_WAYS: &[(usize, &str)] = &[
    (0, "SET a 1"),
    (0, "GET a"),
    (0, "GET"),
    (0, "LPUSH a x"),
    (0, "nosuch a"),
    (0, "INCR a"),
    (0, "RPUSH l 1 2 3"),
    (0, "LPOP l 2"),
    (0, "LPOP l"),
    (0, "EXISTS l a"),
    (0, "SET t 1 PX 10"),
    (0, "HSET h f v g w"),
    (0, "HPEXPIRE h 10 FIELDS 1 f"),
    (9, "advance"),
    (0, "GET t"),
    (0, "HGETALL h"),
    (0, "SET t 2"),
    (1, "WATCH a"),
    (0, "INCR a"),
    (1, "MULTI"),
    (1, "SET b 1"),
    (1, "EXEC"),
    (1, "SUBSCRIBE __keyspace@0__:n"),
    (0, "CONFIG SET notify-keyspace-events KEAnm"),
    (0, "SET n 1"),
    (0, "DEL n"),
    (0, "GET n"),
    (0, "XGROUP CREATE st g 0 MKSTREAM"),
    (2, "XREADGROUP GROUP g c BLOCK 0 STREAMS st >"),
    (0, "XADD st 1-1 f v"),
    (0, "XACK st g 1-1"),
    (2, "BLPOP l 0"),
    (0, "RPUSH l x y"),
    (0, "SELECT 3"),
    (0, "SET a there"),
    (0, "MOVE a 0"),
    (0, "MOVE a 4"),
    (0, "SELECT 0"),
    (0, "SCAN 0"),
    (
        0,
        "EVAL redis.call('set',KEYS[1],ARGV[1])return{redis.call('get',KEYS[1]),redis.pcall('lpush',KEYS[1],1)} 1 s v",
    ),
    (
        0,
        "EVAL return{redis.pcall('get'),redis.pcall('nosuch'),redis.call('blpop','none',0)} 0",
    ),
    (
        0,
        "EVAL redis.call('incr','s2')redis.call('publish','c','m')redis.call('incr','s2')redis.call('lpush','s2',1) 0",
    ),
    (
        0,
        "EVAL_RO return{redis.call('get','a'),redis.pcall('set','a',1)} 0",
    ),
    (
        0,
        "EVAL redis.call('select',3)redis.call('set','x',1)return(redis.call('get','x')) 0",
    ),
    (
        0,
        "EVAL redis.setresp(3)return(redis.call('hgetall','h')) 0",
    ),
    (2, "BLPOP woken 0"),
    (0, "EVAL return(redis.call('rpush','woken',1,2)) 0"),
    (0, "EVALSHA 0000000000000000000000000000000000000000 0"),
    (0, "CLIENT NO-TOUCH on"),
    (0, "OBJECT IDLETIME a"),
    (0, "SORT h"),
    (0, "ZADD z 1 a 2 b"),
    (0, "ZRANGE z 0 -1 WITHSCORES"),
    (0, "PFADD p a b"),
    (0, "PFCOUNT p"),
    (0, "CLIENT REPLY SKIP"),
    (0, "GET a"),
    (0, "GET a"),
    (0, "MULTI"),
    (0, "SET a 5"),
    (0, "GET a"),
    (0, "EXEC"),
    (0, "CLIENT PAUSE 100000 WRITE"),
    (0, "GET a"),
    (2, "SET a 6"),
    (0, "CLIENT UNPAUSE"),
    (0, "GET a"),
    (3, "MONITOR"),
    (0, "SET m 1"),
    (0, "CONFIG SET maxmemory 1"),
    (0, "SET a 7"),
    (0, "GET a"),
    (0, "DEL m"),
    (
        0,
        "EVAL return{redis.call('get',KEYS[1]),redis.pcall('set',KEYS[1],1)} 1 a",
    ),
    (0, "CONFIG SET maxmemory-policy allkeys-lru"),
    (0, "GET a"),
    (0, "SET a 7"),
    (0, "CONFIG SET maxmemory 100000000"),
    (0, "SET a 7"),
    (0, "EVAL return(redis.call('set',KEYS[1],1)) 1 a"),
    (0, "GET a"),
    (0, "CONFIG SET maxmemory-policy noeviction"),
    (0, "CONFIG SET maxmemory 0"),
    (0, "ACL SETUSER default -get"),
    (0, "GET a"),
    (0, "ACL SETUSER default +@all"),
    (0, "CLIENT TRACKING on"),
    (0, "HELLO 3"),
    (0, "CLIENT TRACKING on"),
    (0, "GET a"),
    (2, "SET a 8"),
    (0, "SET a 9"),
    (0, "CLIENT TRACKING off"),
    (0, "FLUSHALL"),
    (0, "DBSIZE"),
    (0, "QUIT"),
    (0, "GET a"),
];

/// What comes of all of it: the ends of commands, replies and what came beside, and what is told of it afterwards. With `care`
/// somebody watches, so that the short way is never free.
fn lived_through(care: bool) -> Vec<String> {
    let clock = Arc::new(ManualClock::at_ms(1_000_000));
    let mut config = crate::service::config::Config::default();
    if care {
        config.latency_monitor_threshold = i64::MAX / 1_000_000;
    }
    let options = Options {
        settings: Settings::new(config, None),
        clock: clock.clone(),
        seed: Some(1),
        ..Options::default()
    };
    let mut engine = Engine::new(options);
    engine.collect_effects(true);
    let clients: Vec<SessionId> = (0..4).map(|_| engine.connect(Peer::default())).collect();
    let mut told = Vec::new();
    let mut hurried = 0;
    for (who, line) in BOTH_WAYS {
        if *line == "advance" {
            clock.advance_ms(50);
            continue;
        }
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut reply = ReplyBuf::new(Proto::Resp2);
        // Twice in one hold, so that the second finds the way as the first left it.
        engine.refresh_time();
        for _ in 0..2 {
            let outcome = engine.execute(clients[*who], Args::new(&args), &mut reply);
            hurried += usize::from(engine.express.is_some());
            told.push(format!("{line}: {outcome:?}"));
            if outcome != Outcome::Done {
                break;
            }
        }
        let _ = engine.settle();
        for (i, client) in clients.iter().enumerate() {
            let mut out = ReplyBuf::new(Proto::Resp2);
            let outcome = engine.take_output(*client, &mut out);
            told.push(format!("{i} {outcome:?} {}", out.as_slice().escape_ascii()));
        }
        told.push(format!("{}", reply.as_slice().escape_ascii()));
        told.push(format!("{}", engine.take_effects().escape_ascii()));
        told.push(format!("{:?}", engine.take_actions()));
    }
    assert_eq!(hurried > 60, !care, "{hurried}");
    let state = engine.state();
    let count = |index: usize| {
        let stats = state.sys.stats.command(index)?;
        Some(format!(
            "{index}: {} {} {}",
            stats.calls, stats.rejected, stats.failed
        ))
    };
    told.extend((0..).map_while(count));
    told.extend(
        state
            .sys
            .stats
            .errors()
            .map(|(code, n)| format!("{code}: {n}")),
    );
    for (_, session) in state.sessions.iter() {
        told.push(format!(
            "{} {} {}",
            session.last_cmd, session.seen, session.wrote_offset
        ));
    }
    told.push(format!(
        "{:?} {}",
        state.ks.read_stats(),
        state.sys.stats.changes
    ));
    told
}

#[test]
fn both_ways_of_a_command_come_to_the_same() {
    let (short, long) = (lived_through(false), lived_through(true));
    for (short, long) in short.iter().zip(&long) {
        assert_eq!(short, long);
    }
    assert_eq!(short.len(), long.len());
}

#[test]
fn what_is_foreseen_is_as_it_was() {
    let (mut e, c, clock) = engine();
    let mut lines = Vec::new();
    for n in 0..1200 {
        lines.push(format!("SET k{n} {}", "v".repeat(n % 100)));
    }
    for n in 0..400 {
        lines.push(format!("SADD set m{n}"));
        lines.push(format!("HSET hash f{n} v"));
        lines.push(format!("ZADD zset {n} m{n}"));
    }
    lines.extend(["RPUSH list a b", "SADD ints 1 2", "XADD stream 1-1 f v"].map(str::to_owned));
    lines.extend(["HSET small f v", "ZADD few 1 m", "SET gone v PX 5"].map(str::to_owned));
    for line in &lines {
        run(&mut e, c, line);
    }
    clock.advance_ms(10);
    let asked = [
        "GET k7",
        "GET k77",
        "GET none",
        "GET gone",
        "SISMEMBER set m3",
        "SISMEMBER set none",
        "HGET hash f3",
        "HGET small f",
        "ZSCORE zset m3",
        "ZADD few 2 m",
        "LRANGE list 0 -1",
        "SISMEMBER ints 2",
        "XLEN stream",
        "PING",
        "EVAL return(1) 1 k7",
        "FCALL none 1",
        "GET",
        "eval",
        "SET k8 other",
    ];
    for (limit, foresight) in [(0, 0), (1, 1), (7, 7), (128, AT_ONCE)] {
        run(
            &mut e,
            c,
            &format!("CONFIG SET prefetch-batch-max-size {limit}"),
        );
        assert_eq!(e.foresight(), foresight);
        let before: Vec<_> = asked.iter().map(|line| run(&mut e, c, line)).collect();
        let words: Vec<Vec<&[u8]>> = asked
            .iter()
            .map(|line| line.split(' ').map(str::as_bytes).collect())
            .collect();
        let touched = words
            .iter()
            .filter_map(|words| Touch::of(words.iter().copied()));
        assert_eq!(touched.clone().count(), asked.len() - 4);
        e.foresee(c, touched);
        let after: Vec<_> = asked.iter().map(|line| run(&mut e, c, line)).collect();
        assert_eq!(before, after);
    }
}

#[test]
fn what_is_hidden_of_a_command_is_hidden_of_no_other() {
    let (mut e, c, _) = engine();
    run(&mut e, c, "CONFIG SET slowlog-log-slower-than 0");
    let migrated = run(&mut e, c, "MIGRATE host 1 none 0 10 AUTH secret");
    assert_eq!(migrated, "+NOKEY\r\n");
    run(&mut e, c, "RPUSH l a b c d e f g");
    let log = run(&mut e, c, "SLOWLOG GET 2");
    assert!(!log.contains("secret"), "{log}");
    assert_eq!(log.matches("(redacted)").count(), 1, "{log}");
}

/// A clock that stands until it is moved, real time and the cheap clock included.
#[derive(Default)]
struct Stopwatch(std::sync::atomic::AtomicI64);

impl Stopwatch {
    fn pass_us(&self, micros: i64) {
        self.0
            .fetch_add(micros, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Clock for Stopwatch {
    fn read(&self) -> Reading {
        let now_us = self.0.load(std::sync::atomic::Ordering::Relaxed);
        Reading {
            now_us,
            real_us: now_us,
        }
    }

    fn tick(&self) -> u64 {
        self.read().real_us.unsigned_abs() / 4000
    }
}

/// One engine, and commands of one batch for it, each with the microseconds that it takes.
fn timed(config: &str, batch: &[(&str, i64)]) -> (Engine, SessionId, String) {
    let clock = Arc::new(Stopwatch::default());
    let (mut engine, sid) = engine_by(clock.clone());
    run(&mut engine, sid, config);
    run(&mut engine, sid, "SET warm 1");
    run(&mut engine, sid, "CONFIG RESETSTAT");
    let mut reply = ReplyBuf::new(Proto::Resp2);
    engine.refresh_time();
    for (line, takes) in batch {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        // A command begins where the one before it ended.
        clock.pass_us(*takes);
        engine.execute(sid, Args::new(&args), &mut reply);
    }
    engine.settle();
    let stats = run(&mut engine, sid, "INFO commandstats");
    (engine, sid, stats)
}

#[track_caller]
fn assert_stats(stats: &str, command: &str, calls: u64, usec: u64) {
    let wanted = format!("cmdstat_{command}:calls={calls},usec={usec},");
    assert!(stats.contains(&wanted), "{wanted} in {stats}");
}

#[test]
fn brief_commands_of_a_batch_share_their_time_and_none_is_lost() {
    let batch: Vec<_> = (0..40).map(|i| (["GET a", "SET a 1"][i % 2], 2)).collect();
    let (_, _, stats) = timed("PING", &batch);
    assert_stats(&stats, "get", 20, 40);
    assert_stats(&stats, "set", 20, 40);
    // What is left over goes to the last.
    let (_, _, stats) = timed(
        "PING",
        &[("GET a", 1), ("GET a", 1), ("SET a 1", 1), ("INCR n", 2)],
    );
    assert_stats(&stats, "get", 2, 2);
    assert_stats(&stats, "set", 1, 1);
    assert_stats(&stats, "incr", 1, 2);
}

#[test]
fn what_is_not_brief_is_timed_by_itself() {
    let long = "x".repeat(2000);
    let append = format!("APPEND long {long}");
    // Time passes before a command: what is not brief ends the stint before it, and is a stint of its own.
    let batch = [
        ("STRLEN a", 5),
        (append.as_str(), 0),
        ("INCR n", 3),
        ("SADD s a b c d e f g h i j", 0),
        ("INCR n", 3),
        ("SMEMBERS s", 0),
        // What has answered much is more likely to have taken long than those before it.
        ("EXISTS a", 2),
        ("GET long", 50),
        ("TYPE a", 1),
    ];
    let (_, _, stats) = timed("PING", &batch);
    assert_stats(&stats, "strlen", 1, 5);
    assert_stats(&stats, "append", 1, 0);
    assert_stats(&stats, "incr", 2, 6);
    assert_stats(&stats, "sadd", 1, 0);
    assert_stats(&stats, "smembers", 1, 0);
    assert_stats(&stats, "exists", 1, 0);
    assert_stats(&stats, "get", 1, 52);
    assert_stats(&stats, "type", 1, 1);
}

#[test]
fn a_slow_command_among_brief_ones_is_the_one_that_is_noted() {
    let mut batch = vec![("GET a", 1); 5];
    batch.push(("SET slow 1", 20_000));
    batch.extend([("INCR n", 1); 5]);
    let (mut e, c, stats) = timed("PING", &batch);
    assert_stats(&stats, "set", 1, 20_005);
    assert_stats(&stats, "incr", 5, 5);
    let slow = run(&mut e, c, "SLOWLOG GET");
    assert_eq!(run(&mut e, c, "SLOWLOG LEN"), ":1\r\n");
    assert!(slow.contains("slow"), "{slow}");
    // Whoever looks closer has each timed by itself.
    let (mut e, c, stats) = timed(
        "CONFIG SET slowlog-log-slower-than 30",
        &[("GET a", 29), ("GET b", 30), ("GET c", 31)],
    );
    assert_stats(&stats, "get", 3, 90);
    let slow = run(&mut e, c, "SLOWLOG GET");
    assert!(
        slow.contains("\r\nb\r\n") && slow.contains("\r\nc\r\n") && !slow.contains("\r\na\r\n"),
        "{slow}"
    );
}
