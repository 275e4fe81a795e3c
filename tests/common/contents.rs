//! What is in a server, as it can be told from outside, and what brings much of it about.

use super::{Client, Reply};
use std::time::{Duration, Instant};

/// Everything that commands and digest tell of all keys and of the functions.
pub fn told(c: &mut Client) -> Vec<String> {
    let mut libraries: Vec<String> = c
        .run("FUNCTION LIST WITHCODE")
        .items()
        .iter()
        .map(library)
        .collect();
    libraries.sort();
    let mut all = vec![c.run("DEBUG DIGEST").text(), libraries.join(" ")];
    for db in 0..3 {
        c.run(&format!("SELECT {db}"));
        let mut keys: Vec<Reply> = c.run("KEYS *").items().to_vec();
        keys.sort();
        for key in keys {
            let mut ask = |words: &[&str]| {
                let word = |w: &&str| match *w {
                    "@" => key.bytes().to_vec(),
                    w => w.as_bytes().to_vec(),
                };
                let words: Vec<Vec<u8>> = words.iter().map(word).collect();
                c.call(&words).unwrap()
            };
            let digest = ask(&["DEBUG", "DIGEST-VALUE", "@"]);
            let deadline = match ask(&["PEXPIRETIME", "@"]) {
                // The last two milliseconds that there are are one to Redkeep.
                Reply::Int(at) => Reply::Int(if at == i64::MAX - 1 { i64::MAX } else { at }),
                other => other,
            };
            let stream = ask(&["XINFO", "STREAM", "@", "FULL", "COUNT", "0"]).lasting();
            let line = [key, digest, deadline, stream].map(|reply| shown(&reply));
            all.push(format!("{db} {}", line.join(" ")));
        }
    }
    c.run("SELECT 0");
    all
}

/// A library, with its functions in an order that all servers share.
fn library(told: &Reply) -> String {
    let functions = told.field("functions").map_or(&[][..], Reply::items);
    let mut functions: Vec<String> = functions.iter().map(shown).collect();
    functions.sort();
    let of = |name: &str| told.field(name).map_or_else(String::new, shown);
    let [name, code] = ["library_name", "library_code"].map(of);
    format!("{name} {} {code}", functions.join(" "))
}

fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Int(n) => n.to_string(),
        Reply::Array(items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            format!("[{}]", items.join(" "))
        }
        Reply::Simple(_) | Reply::Error(_) | Reply::Bulk(_) => {
            reply.bytes().escape_ascii().to_string()
        }
        other => format!("{other:?}"),
    }
}

/// What is no sample: effects that are not what was asked for, groups with pending entries, functions. `name` is part of
/// all names.
pub fn act(c: &mut Client, name: &str) {
    let code = format!(
        "#!lua name=lib{name}\nredis.register_function('f{name}', function(keys) \
         return redis.call('INCR', keys[1]) end)"
    );
    assert!(
        !c.call(&["FUNCTION", "LOAD", "REPLACE", &code])
            .unwrap()
            .is_error()
    );
    for line in [
        "SADD s@ a b c d e f g",
        "SPOP s@",
        "SPOP s@ 2",
        "SET t@ v EX 100000",
        "SET gone@ v PX 1",
        "EXPIRE s@ 100000",
        "GETEX t@ PX 99999999",
        "INCRBYFLOAT x@ 0.1",
        "FCALL f@ 1 counted@",
        "MULTI",
        "RPUSH l@ 1 2 3",
        "LMOVE l@ m@ LEFT RIGHT",
        "EXEC",
        "XADD q@ 1-1 a 1",
        "XADD q@ 1-2 a 2",
        "XADD q@ 1-3 a 3",
        "XGROUP CREATE q@ g 0 ENTRIESREAD 0",
        "XREADGROUP GROUP g one COUNT 2 STREAMS q@ >",
        "XREADGROUP GROUP g two STREAMS q@ >",
        "XACK q@ g 1-1",
        "XCLAIM q@ g three 0 1-2 JUSTID",
        "XGROUP CREATECONSUMER q@ g idle",
        "XDEL q@ 1-1",
        "XADD e@ 5-5 a 1",
        "XGROUP CREATE e@ empty $",
        "XDEL e@ 5-5",
        "PFADD p@ a b c",
        "SETBIT b@ 100 1",
        "GEOADD g@ 13.36 38.11 Palermo",
    ] {
        let reply = c.run(&line.replace('@', name));
        assert!(!reply.is_error(), "{line}: {reply:?}");
    }
    let script = "redis.call('SET', KEYS[1], redis.call('TIME')[1]) return redis.call('LPUSH', KEYS[2], 'x')";
    let keys = [format!("now{name}"), format!("pushed{name}")];
    let reply = c.call(&["EVAL", script, "2", &keys[0], &keys[1]]).unwrap();
    assert_eq!(reply.int(), Some(1));
    let end = Instant::now() + Duration::from_secs(30);
    while c.run(&format!("EXISTS gone{name}")).int() != Some(0) {
        assert!(Instant::now() < end, "it does not expire");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// That both tell the same of every key.
pub fn same(left: &[String], right: &[String]) {
    let one_sided = |ours: &[String], theirs: &[String]| -> Vec<String> {
        let missing = ours[1..].iter().filter(|line| !theirs.contains(line));
        missing.cloned().collect()
    };
    let (l, r) = (one_sided(left, right), one_sided(right, left));
    assert!(l.is_empty() && r.is_empty(), "{l:#?}\nis not\n{r:#?}");
    assert_eq!(left[0], right[0], "the digests");
}

/// The effects of commands do not say how much of a stream a group has read. Redkeep concludes it, a real server does not.
pub fn without_how_much_is_read(told: Vec<String>) -> Vec<String> {
    let words = |line: String| {
        let mut kept = Vec::new();
        let mut words = line.split(' ');
        while let Some(word) = words.next() {
            match word {
                "entries-read" | "lag" => _ = words.next(),
                word => kept.push(word),
            }
        }
        kept.join(" ")
    };
    told.into_iter().map(words).collect()
}
