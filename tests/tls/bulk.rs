//! Much at once, and clients that wait.

use super::Target;
use super::client::Client;
use super::common::client::encode;
use std::thread;

#[test]
fn a_large_value_goes_and_comes_whole() {
    let target = Target::start(&[]);
    let mut client = target.client();
    let value: Vec<u8> = (0..64u32 << 20)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    assert_eq!(
        client.call(&[b"SET", &b"k"[..], &value]).unwrap().text(),
        "OK"
    );
    assert!(
        client.call(&["GET", "k"]).unwrap().bytes() == value,
        "the value is another one"
    );
    assert_eq!(target.client().run("STRLEN k").int(), Some(64 << 20));
}

#[test]
fn a_long_pipeline_is_answered_in_order() {
    let target = Target::start(&[]);
    let mut client = target.client();
    let mut out = Vec::new();
    for i in 0..30_000 {
        encode(
            &["SET".to_owned(), format!("k{i}"), format!("{i:0100}")],
            &mut out,
        );
        encode(&["GET".to_owned(), format!("k{i}")], &mut out);
    }
    client.send_raw(&out);
    for i in 0..30_000 {
        assert_eq!(client.reply().unwrap().text(), "OK");
        assert_eq!(client.reply().unwrap().text(), format!("{i:0100}"));
    }
}

#[test]
fn who_waits_is_woken() {
    let target = Target::start(&[]);
    let (mut waits, mut hears, mut acts) = (target.client(), target.client(), target.client());
    assert_eq!(hears.run("SUBSCRIBE news").items().len(), 3);
    waits.send_raw(b"BLPOP list 0\r\n");
    while !acts
        .run("INFO clients")
        .text()
        .contains("blocked_clients:1")
    {}
    acts.run("RPUSH list a");
    assert_eq!(waits.reply().unwrap().items()[1].text(), "a");
    // More than any buffer holds.
    let long = "x".repeat(200_000);
    for _ in 0..20 {
        assert_eq!(
            acts.call(&["PUBLISH", "news", &long]).unwrap().int(),
            Some(1)
        );
    }
    for _ in 0..20 {
        assert_eq!(hears.reply().unwrap().items()[2].bytes().len(), 200_000);
    }
}

#[test]
fn what_is_not_read_is_kept_and_others_go_on() {
    let target = Target::start(&[]);
    let mut slow = target.client();
    let value = "v".repeat(1 << 20);
    assert_eq!(slow.call(&["SET", "k", &value]).unwrap().text(), "OK");
    slow.send_raw("GET k\r\n".repeat(40).as_bytes());
    let busy: Vec<_> = (0..4)
        .map(|n| {
            let mut client: Client = target.client();
            thread::spawn(move || {
                for i in 0..200 {
                    assert_eq!(client.run(&format!("INCR n{n}")).int(), Some(i + 1));
                }
            })
        })
        .collect();
    busy.into_iter().for_each(|thread| thread.join().unwrap());
    for _ in 0..40 {
        assert_eq!(slow.reply().unwrap().bytes().len(), 1 << 20);
    }
}
