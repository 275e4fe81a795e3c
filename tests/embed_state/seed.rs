//! Seeds: the same again, byte for byte.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use redkeep::{Client, Server, Value};

fn seeded(seed: u64) -> (Server, Client) {
    let server = Server::builder()
        .seed(seed)
        .config("maxmemory-policy", "allkeys-random");
    let server = server.start().unwrap();
    let client = server.client().unwrap();
    (server, client)
}

/// Commands whose answers depend on chance, and such that make something to draw from.
fn command(rng: &mut SmallRng, at: usize, room: &str) -> Vec<String> {
    let k = rng.random_range(0..20);
    let (a, b, n) = (
        rng.random_range(0..3000),
        rng.random_range(0..3000),
        rng.random_range(-40_i32..40),
    );
    let line = match rng.random_range(0..26) {
        0..4 => format!("SADD s{k} m{a} m{b} {a}"),
        4..7 => format!("HSET h{k} f{a} {b} f{b} {a}"),
        7..10 => format!("ZADD z{k} {a} m{a} {b} m{b}"),
        10 => format!("SADD i{k} {a} {b}"),
        11 => format!("SPOP s{k}"),
        12 => format!("SPOP s{k} {}", n.abs()),
        13 => format!("SRANDMEMBER s{k} {n}"),
        14 => format!("HRANDFIELD h{k} {n} WITHVALUES"),
        15 => format!("ZRANDMEMBER z{k} {n} WITHSCORES"),
        16 => "RANDOMKEY".into(),
        17 => format!("SMEMBERS s{k}"),
        18 => format!("HGETALL h{k}"),
        19 => format!("SSCAN s{k} 0 COUNT 5"),
        20 => "SCAN 0 COUNT 7".into(),
        21 => "ACL GENPASS 64".into(),
        22 => format!("SRANDMEMBER i{k}"),
        23 => "EVAL return{math.random(1000000),redis.call('RANDOMKEY')} 0".into(),
        24 => format!("SUBSCRIBE c{k} c{a}"),
        _ => "PUBSUB CHANNELS".into(),
    };
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    match at % 500 {
        // Keys are evicted from here on, until there is room for more.
        300 => {
            words = ["CONFIG", "SET", "maxmemory", room]
                .map(str::to_owned)
                .into()
        }
        400 => {
            words = ["CONFIG", "SET", "maxmemory", "0"]
                .map(str::to_owned)
                .into()
        }
        450 => words = ["KEYS", "*"].map(str::to_owned).into(),
        499 => words = ["FLUSHALL"].map(str::to_owned).into(),
        _ => {}
    }
    words
}

fn info(client: &mut Client) -> Vec<String> {
    let info = client.call(["INFO", "everything"]).unwrap();
    let info = String::from_utf8_lossy(info.as_bytes().unwrap()).into_owned();
    info.lines().map(str::to_owned).collect()
}

fn used(client: &mut Client) -> u64 {
    let info = info(client);
    let mut used = info
        .iter()
        .filter_map(|line| line.strip_prefix("used_memory:"));
    used.next().unwrap().parse().unwrap()
}

#[test]
fn servers_of_one_seed_answer_the_same() {
    let (one, mut first) = seeded(7);
    let (other, mut second) = seeded(7);
    let (_third, mut third) = seeded(8);
    first.call(["HELLO", "3"]).unwrap();
    second.call(["HELLO", "3"]).unwrap();
    third.call(["HELLO", "3"]).unwrap();
    let mut rng = SmallRng::seed_from_u64(1);
    let mut differs = 0;
    for at in 0..6000 {
        let room = match at % 500 {
            300 => {
                let used = used(&mut first);
                assert_eq!(used, self::used(&mut second));
                (used - 4096).to_string()
            }
            _ => String::new(),
        };
        let words = command(&mut rng, at, &room);
        let answer = first.call(&words).unwrap();
        assert_eq!(
            answer,
            second.call(&words).unwrap(),
            "{at}: {}",
            words.join(" ")
        );
        differs += usize::from(third.call(&words).unwrap() != answer);
    }
    assert!(differs > 500, "another seed gives other answers: {differs}");
    assert_eq!(one.dump().unwrap(), other.dump().unwrap());
    let ids = |client: &mut Client| {
        let mut lines = info(client);
        let names = ["run_id:", "master_replid:", "evicted_keys:"];
        lines.retain(|line| names.iter().any(|name| line.starts_with(name)));
        lines
    };
    let told = ids(&mut first);
    assert_eq!(told, ids(&mut second));
    assert!(
        told.len() == 3 && !told.contains(&"evicted_keys:0".to_owned()),
        "{told:?}"
    );
}

#[test]
fn without_a_seed_nothing_is_the_same() {
    let answers: Vec<Value> = (0..2)
        .map(|_| {
            let server = Server::builder().start().unwrap();
            let mut client = server.client().unwrap();
            for n in 0..2000 {
                client.call(["SADD", "s", &format!("member {n}")]).unwrap();
            }
            // The order of a table is that of the secret that it is hashed with.
            client.call(["SMEMBERS", "s"]).unwrap()
        })
        .collect();
    assert_ne!(answers[0], answers[1]);
}
