//! Who has not said yet who it is: small requests, few replies, and no way to guess.

use super::raw::{Raw, alone, info, resident};
use super::witness::Witness;
use crate::common::client::encode;
use crate::common::{Client, Server, argv};

const PASSWORD: &str = "correct horse battery";

fn start() -> Server {
    // Whether it answers is asked without a password; it is set afterwards.
    let server = Server::redkeep(&[]);
    let mut client = server.client();
    let set = client.call(&["CONFIG", "SET", "requirepass", PASSWORD]);
    assert_eq!(set.unwrap().text(), "OK");
    server
}

fn known(server: &Server) -> Client {
    let mut client = server.client();
    assert_eq!(client.call(&["AUTH", PASSWORD]).unwrap().text(), "OK");
    client
}

#[test]
fn requests_of_strangers_are_small() {
    let server = start();
    let most = format!("*10\r\n$6\r\nEXISTS\r\n{}", "$1\r\nk\r\n".repeat(9));
    let long = format!("*2\r\n$3\r\nGET\r\n$16384\r\n{}\r\n", "k".repeat(16384));
    let refused = "-NOAUTH Authentication required.\r\n";
    Raw::to(&server)
        .send(most + &long)
        .expect(refused)
        .expect(refused);
    for (request, what) in [
        ("*11\r\n", "multibulk"),
        ("*2147483647\r\n", "multibulk"),
        ("*1\r\n$16385\r\n", "bulk"),
        ("*2\r\n$4\r\nAUTH\r\n$536870912\r\n", "bulk"),
    ] {
        let mut raw = Raw::to(&server);
        raw.send("GET k\r\n").send(request).send("PING\r\n");
        let told = format!("{refused}-ERR Protocol error: unauthenticated {what} length\r\n");
        assert_eq!(String::from_utf8_lossy(&raw.rest()), told, "{request}");
    }
}

#[test]
fn who_resets_the_connection_is_a_stranger_again() {
    let server = start();
    let mut raw = Raw::to(&server);
    let mut request = Vec::new();
    encode(&["AUTH", PASSWORD], &mut request);
    raw.send(request).expect("+OK\r\n");
    raw.send(format!("*11\r\n{}", "$3\r\nDEL\r\n".repeat(11)))
        .expect(":0\r\n");
    raw.send("RESET\r\n").expect("+RESET\r\n").send("*11\r\n");
    let told = "-ERR Protocol error: unauthenticated multibulk length\r\n";
    assert_eq!(String::from_utf8_lossy(&raw.rest()), told);
}

#[test]
#[cfg(feature = "lua")]
fn who_comes_while_a_script_is_busy_is_a_stranger_too() {
    let server = start();
    let (mut runner, mut killer) = (known(&server), known(&server));
    assert_eq!(
        killer.run("CONFIG SET busy-reply-threshold 20").text(),
        "OK"
    );
    runner.send(&["EVAL", "while true do end", "0"]).unwrap();
    super::raw::eventually("the script is busy", || {
        killer.run("PING").text().starts_with("BUSY")
    });
    let mut raw = Raw::to(&server);
    raw.send("*11\r\n");
    let told = "-ERR Protocol error: unauthenticated multibulk length\r\n";
    assert_eq!(String::from_utf8_lossy(&raw.rest()), told);
    assert_eq!(killer.run("SCRIPT KILL").text(), "OK");
    assert!(runner.reply().unwrap().text().contains("killed by user"));
}

#[test]
fn a_stranger_who_takes_no_replies_is_cut_off() {
    const MOST: usize = 256 << 20;
    let server = start();
    let witness = Witness::who_says(&server, &["AUTH", PASSWORD]);
    let before = resident(&server);
    for _ in 0..3 {
        let (taken, closed) = Raw::to(&server).pour(&b"GET k\r\n".repeat(1000), MOST);
        assert!(closed, "{taken} bytes were taken");
        assert!(taken < MOST);
    }
    let mut client = known(&server);
    assert_eq!(
        info(&mut client, "client_output_buffer_limit_disconnections"),
        3
    );
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown}");
    witness.was_served();
}

#[test]
fn passwords_cannot_be_guessed_bit_by_bit() {
    let server = start();
    let mut guesses: Vec<Vec<u8>> = vec![Vec::new(), PASSWORD.repeat(2).into(), vec![0; 21]];
    for at in 0..PASSWORD.len() {
        guesses.push(PASSWORD.as_bytes()[..at].to_vec());
        guesses.push(PASSWORD.as_bytes()[at + 1..].to_vec());
        for bit in 0..8 {
            let mut guess = PASSWORD.as_bytes().to_vec();
            guess[at] ^= 1 << bit;
            guesses.push(guess);
        }
    }
    guesses.push([PASSWORD.as_bytes(), b"\0"].concat());
    let mut client = server.client();
    for guess in &guesses {
        let user: &[&[u8]] = &[b"AUTH", b"default", guess];
        let hello: &[&[u8]] = &[b"HELLO", b"3", b"AUTH", b"default", guess];
        for words in [user, &[b"AUTH", guess], hello] {
            let answer = client.call(words).unwrap().text();
            assert!(answer.starts_with("WRONGPASS"), "{guess:?}: {answer}");
        }
    }
    assert!(client.run("GET k").text().starts_with("NOAUTH"));
    assert_eq!(client.call(&["AUTH", PASSWORD]).unwrap().text(), "OK");
}

#[test]
fn a_flood_of_guesses_keeps_nobody_from_being_served() {
    const EACH: usize = 5000;
    let server = start();
    let witness = Witness::who_says(&server, &["AUTH", PASSWORD]);
    let guessers: Vec<_> = (0..4)
        .map(|who| {
            let mut client = server.client();
            std::thread::spawn(move || {
                let guess = |n| argv(&format!("AUTH default secret-guess-{who}-{n}"));
                let guesses: Vec<_> = (0..EACH).map(guess).collect();
                let (answers, end) = client.pipeline(&guesses);
                let wrong = |a: &crate::common::Reply| a.text().starts_with("WRONGPASS");
                assert!(end.is_ok() && answers.len() == EACH && answers.iter().all(wrong));
            })
        })
        .collect();
    guessers.into_iter().for_each(|g| g.join().unwrap());
    witness.was_served();
    assert!(!server.log().contains("secret-guess"), "{}", server.log());
    alone(&mut known(&server));
}
