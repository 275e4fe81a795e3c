//! What is over, and when. As in Redis, a key is there still in the millisecond of its deadline, and gone in the next.

use super::{START, call, info, ms, seconds, server, with};

#[test]
fn a_key_is_there_to_the_last_millisecond() {
    let server = server();
    let mut client = server.client().unwrap();
    call(&mut client, "SET key value PX 30000");
    server.clock().advance(ms(29_999));
    assert_eq!(call(&mut client, "PTTL key"), "1");
    server.clock().advance(ms(1));
    assert_eq!(call(&mut client, "PTTL key"), "0");
    assert_eq!(info(&mut client, "expired_keys"), "0");
    server.clock().advance(ms(1));
    // Nobody has looked: it has gone by itself.
    assert_eq!(info(&mut client, "expired_keys"), "1");
    assert_eq!(call(&mut client, "EXISTS key"), "0");
}

#[test]
fn a_field_is_there_to_the_last_millisecond() {
    let server = server();
    let mut client = server.client().unwrap();
    call(&mut client, "HSET key a 1 b 2");
    call(&mut client, "HPEXPIRE key 5000 FIELDS 1 a");
    server.clock().advance(ms(4_999));
    assert_eq!(call(&mut client, "HPTTL key FIELDS 2 a b"), "[1 -1]");
    server.clock().advance(ms(1));
    assert_eq!(call(&mut client, "HPTTL key FIELDS 2 a b"), "[0 -1]");
    server.clock().advance(ms(1));
    assert_eq!(call(&mut client, "HGETALL key"), "[b 2]");
}

#[test]
fn the_order_of_deadlines_is_the_order_of_their_ends() {
    let server = with(&[("notify-keyspace-events", "Ex")]);
    let mut client = server.client().unwrap();
    let mut listener = server.client().unwrap();
    call(&mut listener, "SUBSCRIBE __keyevent@0__:expired");
    for (key, ttl) in [("c", 30), ("a", 10), ("b", 20)] {
        call(&mut client, &format!("SET {key} x EX {ttl}"));
    }
    server.clock().advance(seconds(60));
    let mut names = Vec::new();
    while let Some(redkeep::embed::Message::Published { text, .. }) =
        listener.next_message(Some(ms(0))).unwrap()
    {
        names.push(String::from_utf8(text).unwrap());
    }
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn ids_of_streams_are_the_time_and_never_go_back() {
    let server = server();
    let mut client = server.client().unwrap();
    assert_eq!(call(&mut client, "XADD s * f 1"), format!("{START}-0"));
    assert_eq!(call(&mut client, "XADD s * f 2"), format!("{START}-1"));
    server.clock().advance(ms(7));
    let third = START + 7;
    assert_eq!(call(&mut client, "XADD s * f 3"), format!("{third}-0"));
    server.clock().set_ms(START - 5_000);
    assert_eq!(call(&mut client, "XADD s * f 4"), format!("{third}-1"));
    assert_eq!(
        call(&mut client, "TIME"),
        format!("[{} 0]", START / 1000 - 5)
    );
}

#[test]
fn an_entry_can_be_claimed_once_it_was_idle_for_that_long() {
    let server = server();
    let mut client = server.client().unwrap();
    call(&mut client, "XADD s 1-1 f v");
    call(&mut client, "XGROUP CREATE s g 0");
    call(
        &mut client,
        "XREADGROUP GROUP g crashed COUNT 1 STREAMS s >",
    );
    server.clock().advance(ms(59_999));
    assert_eq!(
        call(&mut client, "XAUTOCLAIM s g other 60000 0 JUSTID"),
        "[0-0 [] []]"
    );
    assert_eq!(
        call(&mut client, "XPENDING s g - + 1"),
        "[[1-1 crashed 59999 1]]"
    );
    server.clock().advance(ms(1));
    assert_eq!(
        call(&mut client, "XAUTOCLAIM s g other 60000 0 JUSTID"),
        "[0-0 [1-1] []]"
    );
}

#[test]
fn the_age_of_keys_and_of_the_server_is_the_clock_s() {
    let server = with(&[("maxmemory-policy", "allkeys-lru")]);
    let mut client = server.client().unwrap();
    call(&mut client, "SET key value");
    server.clock().advance(seconds(100));
    assert_eq!(call(&mut client, "OBJECT IDLETIME key"), "100");
    assert_eq!(info(&mut client, "uptime_in_seconds"), "100");
    call(&mut client, "CONFIG SET maxmemory-policy allkeys-lfu");
    call(&mut client, "SET counted value");
    for _ in 0..20 {
        call(&mut client, "GET counted");
    }
    let before: u32 = call(&mut client, "OBJECT FREQ counted").parse().unwrap();
    server.clock().advance(seconds(4 * 60));
    let after: u32 = call(&mut client, "OBJECT FREQ counted").parse().unwrap();
    assert_eq!(after, before - 4);
}
