//! `redkeep drill` as people run it: what it reports of servers that were broken, and with which status it ends.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may stop at the first surprise"
)]
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;
mod existing;
mod fortress;
mod raised;
mod usage;

use serde_json::Value as Json;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The longest that a drill of a few seconds may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A drill that runs; killed when dropped.
pub(crate) struct Drill {
    child: Child,
}

/// What a drill left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Drill {
    pub(crate) fn start<A: AsRef<std::ffi::OsStr>>(args: &[A]) -> Drill {
        let child = Command::new(env!("CARGO_BIN_EXE_redkeep"))
            .arg("drill")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Drill { child }
    }

    pub(crate) fn interrupt(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", "INT", &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    pub(crate) fn end(mut self) -> Ended {
        let end = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "the drill does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        let (mut out, mut err) = (String::new(), String::new());
        let stdout = self.child.stdout.as_mut().unwrap();
        stdout.read_to_string(&mut out).unwrap();
        let stderr = self.child.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut err).unwrap();
        let status = self.child.wait().unwrap().code();
        Ended { status, out, err }
    }
}

impl Drop for Drill {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a drill to its end.
pub(crate) fn drill(args: &[&str], more: &[String]) -> Ended {
    let args: Vec<_> = args
        .iter()
        .map(|a| (*a).to_owned())
        .chain(more.iter().cloned())
        .collect();
    Drill::start(&args).end()
}

/// A report that was made for machines, with what must hold of each.
pub(crate) struct Report {
    pub(crate) json: Json,
    pub(crate) status: i32,
}

impl Ended {
    pub(crate) fn report(&self) -> Report {
        let json: Json =
            serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"));
        let report = Report {
            json,
            status: self.status.unwrap(),
        };
        assert_eq!(report.json["kept"], report.status == 0, "{self:?}");
        let is_loss = report.n("/writes/lost") > 0
            || report.n("/locks/held_by_two") > 0
            || report.n("/messages/lost") > 0;
        assert_eq!(report.status, i32::from(is_loss), "{self:?}");
        // Somebody did something.
        assert!(report.n("/writes/acknowledged") > 50, "{self:?}");
        assert!(report.n("/locks/taken") > 5, "{self:?}");
        assert!(report.n("/messages/delivered") > 20, "{self:?}");
        let marks = report.json["timeline"].as_array().unwrap();
        let times: Vec<_> = marks.iter().map(|m| m["ms"].as_f64().unwrap()).collect();
        assert!(times.is_sorted(), "{self:?}");
        assert_eq!(report.ms("fault"), Some(0.0), "{self:?}");
        report
    }
}

impl Report {
    /// A number in it.
    pub(crate) fn n(&self, pointer: &str) -> u64 {
        let found = self.json.pointer(pointer).and_then(Json::as_u64);
        found.unwrap_or_else(|| panic!("no {pointer} in {}", self.json))
    }

    /// When something happened, in milliseconds from the fault on.
    pub(crate) fn ms(&self, event: &str) -> Option<f64> {
        let marks = self.json["timeline"].as_array()?;
        marks.iter().find(|m| m["event"] == event)?["ms"].as_f64()
    }

    /// That another leader came, in the order in which that happens.
    pub(crate) fn changed_leaders(&self) {
        let steps = ["sdown", "odown", "elected", "promoted", "switch-master"];
        let times = steps.map(|step| {
            self.ms(step)
                .unwrap_or_else(|| panic!("no {step} in {}", self.json))
        });
        assert!(times.is_sorted(), "{}", self.json);
        assert_ne!(self.json["leader_before"], self.json["leader_after"]);
        let (last, first) = (self.ms("last-success"), self.ms("first-success"));
        let without = self.json["without_leader_ms"].as_f64().unwrap();
        let between = first.unwrap() - last.unwrap();
        assert!((without - between).abs() < 1.0, "{}", self.json);
        assert!(without > 300.0, "{}", self.json);
        assert_eq!(self.json["leader_came_back"], true);
    }
}
