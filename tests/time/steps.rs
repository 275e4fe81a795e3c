//! What the clock itself does: it stands, moves, is set, and goes on.

use std::thread;
use std::time::{Duration, Instant};

use redkeep::Server;
use redkeep::util::clock::{Clock, ManualClock};

use super::{call, info, ms, on, seconds, waiting};

#[test]
fn a_running_server_can_be_stopped_and_goes_on_from_where_it_stood() {
    let server = Server::builder().start().unwrap();
    let mut client = server.client().unwrap();
    call(&mut client, "SET key value PX 200");
    server.clock().freeze();
    let left = call(&mut client, "PTTL key");
    thread::sleep(ms(250));
    assert_eq!(call(&mut client, "PTTL key"), left);
    let waits = waiting(&server, |mut client| call(&mut client, "BLPOP queue 0.02"));
    thread::sleep(ms(40));
    assert!(!waits.is_finished());
    // Nothing of that time was.
    server.clock().thaw();
    assert_ne!(call(&mut client, "PTTL key"), "-2");
    let thawed = Instant::now();
    assert_eq!(waits.join().unwrap(), "(nil)");
    assert!(thawed.elapsed() >= ms(15), "{:?}", thawed.elapsed());
    while call(&mut client, "EXISTS key") == "1" {
        assert!(thawed.elapsed() < seconds(10));
        thread::sleep(ms(5));
    }
}

#[test]
fn a_clock_that_runs_can_be_moved_as_well() {
    let server = Server::builder().start().unwrap();
    let mut client = server.client().unwrap();
    call(&mut client, "SET key value EX 3600");
    let waits = waiting(&server, |mut client| call(&mut client, "BLPOP queue 1800"));
    server.clock().advance(seconds(1800));
    assert_eq!(waits.join().unwrap(), "(nil)");
    assert_eq!(call(&mut client, "EXISTS key"), "1");
    server.clock().advance(seconds(1801));
    assert_eq!(call(&mut client, "EXISTS key"), "0");
    assert!(!server.clock().is_frozen());
}

#[test]
fn what_is_set_has_nothing_between() {
    let clock = ManualClock::at_ms(1_000_000);
    let server = on(&clock, &[]);
    let mut client = server.client().unwrap();
    call(&mut client, "SET key value PX 10000");
    let chain = waiting(&server, |mut client| {
        call(&mut client, "BLPOP queue 5");
        call(&mut client, "XADD log * f v")
    });
    clock.set_ms(1_060_000);
    assert_eq!(chain.join().unwrap(), "1060000-0");
    assert_eq!(call(&mut client, "EXISTS key"), "0");
    // Backwards: what had ten seconds has them still.
    call(&mut client, "SET key value PX 10000");
    clock.set_ms(1_000_000);
    assert_eq!(call(&mut client, "PTTL key"), "70000");
    clock.advance(ms(70_000));
    assert_eq!(call(&mut client, "EXISTS key"), "1");
    clock.advance(ms(1));
    assert_eq!(call(&mut client, "EXISTS key"), "0");
}

#[test]
fn years_take_no_time() {
    let clock = ManualClock::at_ms(0);
    let server = on(&clock, &[]);
    let mut client = server.client().unwrap();
    for day in 0..1_000 {
        call(
            &mut client,
            &format!("SET key:{day} x EX {}", 86_400 * day + 1),
        );
    }
    let began = Instant::now();
    clock.advance(Duration::from_secs(86_400 * 2_000));
    assert_eq!(call(&mut client, "DBSIZE"), "0");
    assert_eq!(info(&mut client, "expired_keys"), "1000");
    eprintln!("a thousand keys of a thousand days: {:?}", began.elapsed());
    assert!(began.elapsed() < seconds(20));
}

#[test]
fn how_long_a_command_took_is_real_time() {
    let clock = ManualClock::at_ms(0);
    let server = on(
        &clock,
        &[
            ("slowlog-log-slower-than", "10000"),
            ("enable-debug-command", "yes"),
        ],
    );
    let mut client = server.client().unwrap();
    call(&mut client, "DEBUG SLEEP 0.02");
    let slow = call(&mut client, "SLOWLOG GET 1");
    assert!(slow.contains("DEBUG SLEEP 0.02"), "{slow}");
    assert_eq!(clock.now_ms(), 0);
    let stats = call(&mut client, "INFO commandstats");
    let line = stats
        .lines()
        .find(|l| l.starts_with("cmdstat_debug"))
        .unwrap();
    let usec = line
        .split("usec=")
        .nth(1)
        .unwrap()
        .split(',')
        .next()
        .unwrap();
    assert!(usec.parse::<u64>().unwrap() >= 20_000, "{line}");
}

#[test]
fn a_server_that_is_gone_does_not_hold_a_clock_up() {
    let clock = ManualClock::at_ms(0);
    let (gone, stays) = (on(&clock, &[]), on(&clock, &[]));
    call(&mut gone.client().unwrap(), "SET key value PX 10");
    call(&mut stays.client().unwrap(), "SET key value PX 10");
    gone.shutdown();
    let began = Instant::now();
    clock.advance(seconds(1));
    assert!(began.elapsed() < ms(900), "{:?}", began.elapsed());
    assert_eq!(info(&mut stays.client().unwrap(), "expired_keys"), "1");
}
