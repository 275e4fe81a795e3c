//! Passwords are nowhere to be read but where they were written.

use std::fs;
use std::io::Write;

use crate::program::{Program, connect, converse, eventually, free_port};

/// Each in a place of its own, so that one that is found tells where from.
const SECRETS: [&str; 14] = [
    "pw-requirepass",
    "pw-masterauth",
    "pw-auth-wrong",
    "pw-auth-user",
    "pw-hello",
    "pw-acl-setuser",
    "pw-acl-hash",
    "pw-config-set",
    "pw-config-auth",
    "pw-migrate",
    "pw-migrate2",
    "pw-script",
    "pw-sentinel",
    "pw-broken-line",
];

fn hold_no_secret(what: &str, text: &str) {
    assert!(!text.is_empty(), "{what} is empty");
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} stands in {what}: {text}");
    }
}

/// Whatever it calls, a script has its text shown, as with Redis: who writes a password there has told everybody. Not so in
/// the log.
fn without_scripts(text: &str) -> String {
    text.replace("pw-script", "")
}

#[test]
fn no_password_is_told_to_anybody() {
    let (port, http) = (free_port(), free_port());
    let program = Program::start_as(
        &[
            "own.conf",
            "--port",
            &port,
            "--metrics-port",
            &http,
            "--logfile",
            "own.log",
            "--loglevel",
            "debug",
            "--log-format",
            "json",
            "--save",
            "",
            "--slowlog-log-slower-than",
            "0",
            "--bind",
            "127.0.0.1",
            "--replicaof",
            "127.0.0.1 1",
        ],
        |_, dir| {
            let text = "requirepass pw-requirepass\nmasterauth pw-masterauth\n";
            fs::write(dir.join("own.conf"), text).unwrap();
        },
    );
    let log = program.dir().join("own.log");
    let read = || fs::read_to_string(&log).unwrap_or_default();
    eventually("it does not start", || read().contains("Ready to accept"));
    let mut monitor = connect(&port);
    monitor
        .write_all(b"AUTH pw-requirepass\r\nMONITOR\r\n")
        .unwrap();
    let mut seen = Vec::new();
    let mut monitored = |until: &str| {
        use std::io::Read;
        let mut bytes = [0; 4096];
        while !String::from_utf8_lossy(&seen).contains(until) {
            let n = monitor.read(&mut bytes).unwrap();
            assert_ne!(n, 0, "{}", String::from_utf8_lossy(&seen));
            seen.extend(&bytes[..n]);
        }
        String::from_utf8_lossy(&seen).into_owned()
    };
    monitored("+OK\r\n+OK\r\n");
    let hash = "#7465737474657374746573747465737474657374746573747465737474657374";
    // Who waits for another server and has hung up is gone.
    for auth in ["AUTH pw-migrate", "AUTH2 user pw-migrate2"] {
        let line = format!("MIGRATE 127.0.0.1 1 k 0 10 {auth}");
        let before = "AUTH pw-requirepass\r\nREPLICAOF NO ONE\r\nSET k v";
        converse(&port, &format!("{before}\r\n{line}\r\n"));
    }
    let said = converse(
        &port,
        &format!(
            "AUTH pw-auth-wrong\r\nAUTH nobody pw-auth-user\r\nAUTH a b pw-auth-user\r\n\
             HELLO 3 AUTH default pw-hello SETNAME x\r\nHELLO 2 AUTH default pw-requirepass\r\nAUTH pw-requirepass\r\n\
             REPLICAOF NO ONE\r\nACL SETUSER bob on >pw-acl-setuser {hash} ~* +@all\r\nACL SETUSER bob >pw-acl-hash nonsense\r\n\
             AUTH bob pw-acl-setuser\r\nAUTH pw-requirepass\r\nCONFIG SET masterauth pw-config-set\r\n\
             CONFIG SET masterauth pw-config-set nonsense\r\nCONFIG SET timeout x requirepass pw-config-auth\r\n\
             CONFIG SET requirepass pw-config-auth\r\nSET k v\r\nMULTI\r\nCONFIG SET requirepass pw-config-auth\r\n\
             AUTH pw-auth-wrong\r\nEXEC\r\nEVAL \"return redis.pcall('AUTH', 'pw-script')\" 0\r\nCONFIG REWRITE\r\n"
        ),
    );
    assert!(
        said.contains("-WRONGPASS") && said.contains("+QUEUED"),
        "{said}"
    );
    let asked = "AUTH pw-config-auth\r\n";
    for what in [
        "SLOWLOG GET 1000",
        "INFO everything",
        "CLIENT LIST",
        "LATENCY LATEST",
        "ACL LOG",
    ] {
        let text = converse(&port, &format!("{asked}{what}\r\n"));
        assert!(text.starts_with("+OK"), "{text}");
        hold_no_secret(what, &without_scripts(&text));
    }
    converse(&port, &format!("{asked}PING last-word\r\n"));
    let seen = monitored("last-word");
    hold_no_secret("MONITOR", &without_scripts(&seen));
    let mut page = connect(&http);
    page.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut page, &mut text).unwrap();
    assert!(text.contains("redis_up 1"), "{text}");
    hold_no_secret("/metrics", &text);
    let text = read();
    assert!(
        text.contains("\"parameter\":\"requirepass\",\"value\":\"(redacted)\""),
        "{text}"
    );
    hold_no_secret("the log", &text);
}

#[test]
fn a_sentinel_keeps_the_passwords_of_others_to_itself() {
    let port = free_port();
    let mut program = Program::start_as(
        &[
            "s.conf",
            "--sentinel",
            "--port",
            &port,
            "--loglevel",
            "debug",
            "--log-format",
            "json",
            "--bind",
            "127.0.0.1",
        ],
        |_, dir| {
            let text = "requirepass pw-requirepass\nsentinel monitor m 127.0.0.1 1 2\nsentinel auth-pass m pw-sentinel\n\
                        sentinel sentinel-pass pw-hello\n";
            fs::write(dir.join("s.conf"), text).unwrap();
        },
    );
    let mut log = program.until("+monitor master m");
    let said = converse(
        &port,
        "AUTH pw-auth-wrong\r\nAUTH pw-requirepass\r\nSENTINEL SET m auth-pass pw-config-set\r\n\
         SENTINEL SET m auth-pass pw-config-set nonsense\r\nSENTINEL CONFIG SET sentinel-pass pw-config-auth\r\n\
         SENTINEL SET m auth-pass pw-sentinel quorum 1\r\nSENTINEL FLUSHCONFIG\r\n",
    );
    assert!(said.contains("+OK"), "{said}");
    let info = converse(&port, "AUTH pw-requirepass\r\nINFO\r\nSENTINEL MASTERS\r\n");
    hold_no_secret("INFO and SENTINEL MASTERS", &info);
    log += &program.terminate();
    hold_no_secret("the log of a sentinel", &log);
}

#[test]
fn a_line_that_is_wrong_is_not_shown_if_it_may_hold_a_password() {
    for line in [
        "requirepass pw-broken-line more",
        "masterauth \"pw-broken-line",
        "user bob on >pw-broken-line nonsense",
        "sentinel auth-pass nobody pw-broken-line",
    ] {
        let (code, text) = Program::start_as(&["own.conf"], |_, dir| {
            let port = free_port();
            fs::write(dir.join("own.conf"), format!("port {port}\n{line}\n")).unwrap();
        })
        .end();
        assert_eq!(code, Some(1), "{line}: {text}");
        hold_no_secret(line, &text);
    }
}
