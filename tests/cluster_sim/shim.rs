use super::sentinel::NAME;
use redkeep::engine::Engine;
use redkeep::resp::ReplyBuf;
use redkeep::sentinel::{NoNames, Sentinel, Settings};
use redkeep::util::rng::Rng;

pub fn shim(engine: &mut Engine, argv: &[&[u8]], reply: &mut ReplyBuf) -> bool {
    let w: Vec<String> = argv.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect();
    let state = engine.state();
    let now = state.sys.now_us / 1000;
    let Some(s) = state.sys.sentinel.as_mut() else { return false };
    s.set_now(now);
    if w[0].eq_ignore_ascii_case("publish") {
        s.hear_hello(argv[2]);
        reply.int(1);
        return true;
    }
    if !w[0].eq_ignore_ascii_case("sentinel") {
        return false;
    }
    let id = s.find(NAME).unwrap().id;
    match w[1].to_ascii_lowercase().as_str() {
        "get-master-addr-by-name" => {
            let a = s.current_address(id).unwrap();
            reply.array(2);
            reply.bulk(a.host.as_bytes());
            reply.bulk(a.port.to_string().as_bytes());
        }
        "is-master-down-by-addr" => {
            let cand = (w[5] != "*").then_some(&w[5][..]);
            let a = s.is_master_down(&w[2], w[3].parse().unwrap(), w[4].parse().unwrap(), cand);
            reply.array(3);
            reply.int(a.down.into());
            match a.vote {
                None => { reply.bulk(b"*"); reply.int(0); }
                Some(v) => { reply.bulk(v.leader.as_bytes()); reply.int(v.epoch as i64); }
            }
        }
        "failover" => match s.force_failover(id) {
            Ok(()) => reply.ok(),
            Err(e) => reply.error_bytes(e.to_string().as_bytes()),
        },
        "master" => {
            let m = s.master(id).unwrap();
            let i = s.instance(id).unwrap();
            let mut flags = "master".to_owned();
            if i.s_down { flags += ",s_down"; }
            if i.o_down { flags += ",o_down"; }
            if m.failover.is_going() { flags += ",failover_in_progress"; }
            let all = [
                ("flags", flags), ("config-epoch", m.config_epoch.to_string()),
                ("num-slaves", m.replicas.len().to_string()),
                ("num-other-sentinels", m.sentinels.len().to_string()),
            ];
            reply.array(all.len() * 2);
            for (a, b) in all { reply.bulk(a.as_bytes()); reply.bulk(b.as_bytes()); }
        }
        other => panic!("{other}"),
    }
    true
}

pub fn text(s: &Sentinel) -> String {
    let id = s.find(NAME).unwrap().id;
    let m = s.master(id).unwrap();
    let a = s.current_address(id).unwrap();
    let set = &m.settings;
    let mut t = format!("my {}\nm {} {} {} {} {} {}\ne {} {} {}\na {}\n", s.settings.my_id, a.host, a.port, set.quorum, set.down_after, set.failover_timeout, set.parallel_syncs, s.epoch, m.config_epoch, m.vote_epoch, s.settings.announce_ip);
    for r in &m.replicas { let i = s.instance(*r).unwrap(); let i = if i.address.host == a.host { s.instance(id).unwrap() } else { i }; t += &format!("r {} {}\n", i.address.host, i.address.port); }
    for r in &m.sentinels { let i = s.instance(*r).unwrap(); t += &format!("s {} {} {}\n", i.address.host, i.address.port, i.name); }
    t
}

pub fn first(watch: &super::plan::Watch, place: usize) -> String {
    let a = if watch.announces { super::world::address(place) } else { String::new() };
    format!("my {:040x}\nm {} 6379 {} {} {} {}\ne 0 0 0\na {a}\n", (place as u128 + 7) << 120, super::world::address(0), watch.quorum, watch.down_after, watch.failover_timeout, watch.parallel_syncs)
}

pub fn read(text: &str, rng: Rng, now: i64) -> Sentinel {
    let mut s: Option<Sentinel> = None;
    let mut rng = Some(rng);
    for line in text.lines() {
        let w: Vec<&str> = line.split(' ').collect();
        assert!(w.len() >= 2 && (w[0] != "s" || w.len() == 4), "TORN {text:?}");
        if w[0] == "my" {
            s = Some(Sentinel::new(Settings::new(w[1].to_owned(), 26379), Box::new(NoNames), rng.take().unwrap(), now));
            continue;
        }
        let s = s.as_mut().unwrap();
        let id = s.find(NAME).map(|m| m.id);
        match w[0] {
            "m" => {
                let id = s.monitor(NAME, w[1], 6379, w[3].parse().unwrap()).unwrap();
                let set = &mut s.master_mut(id).unwrap().settings;
                set.down_after = w[4].parse().unwrap();
                set.failover_timeout = w[5].parse().unwrap();
                set.parallel_syncs = w[6].parse().unwrap();
            }
            "e" => {
                s.remember_epochs(id.unwrap(), Some(w[2].parse().unwrap()), Some(w[3].parse().unwrap()));
                s.epoch = w[1].parse().unwrap();
            }
            "a" => s.settings.announce_ip = w[1].to_owned(),
            "r" => { s.add_replica(id.unwrap(), w[1], 6379); }
            _ => { s.add_sentinel(id.unwrap(), w[1], 26379, w[3]); }
        }
    }
    s.unwrap()
}
