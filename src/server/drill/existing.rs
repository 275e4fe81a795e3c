//! Servers that are there already, of whatever make: broken by commands over the wire, or by commands of the shell.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::ground::{Ground, Scenario, Unable};
use crate::resp::Value;
use crate::server::ask::{Address, Ask, AskError, Credentials, Info};

/// How long a server that is to end may take to do so.
const ENDING: Duration = Duration::from_secs(10);

/// Within this time a command that is refused is refused.
const REFUSAL: Duration = Duration::from_millis(200);

/// Servers that are there already.
#[derive(Debug)]
pub(super) struct Existing {
    pub(super) sentinels: Vec<Address>,
    pub(super) master: String,
    pub(super) login: Credentials,
    pub(super) sentinel_login: Credentials,
    pub(super) patience: Duration,
    pub(super) fault_command: Option<String>,
    pub(super) heal_command: Option<String>,
    /// What the commands are told, once there was a fault.
    pub(super) broken: Option<(Scenario, Address)>,
}

impl Ground for Existing {
    fn sentinels(&self) -> Vec<Address> {
        self.sentinels.clone()
    }

    fn master(&self) -> String {
        self.master.clone()
    }

    fn logins(&self) -> (Credentials, Credentials) {
        (self.login.clone(), self.sentinel_login.clone())
    }

    fn stays(&self) -> bool {
        true
    }

    fn fault(
        &mut self,
        scenario: Scenario,
        leader: &Address,
        outage: Duration,
    ) -> Result<String, Unable> {
        self.broken = Some((scenario, leader.clone()));
        if let Some(command) = &self.fault_command {
            self.shell(command)?;
            return Ok(format!("ran: {command}"));
        }
        let done = self.over_the_wire(scenario, leader, outage);
        if done.is_err() {
            self.broken = None;
        }
        done
    }

    fn heal(&mut self) -> Result<Option<String>, Unable> {
        let Some(command) = self.heal_command.clone().filter(|_| self.broken.is_some()) else {
            return Ok(None);
        };
        self.shell(&command)?;
        self.broken = None;
        Ok(Some(format!("ran: {command}")))
    }
}

impl Existing {
    /// Runs a command, which finds in its environment what it is about.
    fn shell(&self, command: &str) -> Result<(), Unable> {
        let mut child = if cfg!(windows) {
            Command::new("cmd")
        } else {
            Command::new("sh")
        };
        child.args([if cfg!(windows) { "/C" } else { "-c" }, command]);
        // What a command prints would mix with the report.
        child.stdin(Stdio::null()).stdout(Stdio::null());
        child.env("REDKEEP_DRILL_MASTER", &self.master);
        if let Some((scenario, leader)) = &self.broken {
            child.env("REDKEEP_DRILL_SCENARIO", scenario.name());
            child.env("REDKEEP_DRILL_LEADER", leader.to_string());
        }
        match child.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Unable(format!("`{command}` failed: {status}"))),
            Err(error) => Err(Unable(format!("`{command}` cannot be run: {error}"))),
        }
    }

    fn over_the_wire(
        &self,
        scenario: Scenario,
        leader: &Address,
        outage: Duration,
    ) -> Result<String, Unable> {
        match scenario {
            Scenario::KillLeader => self.shut_down(leader, &self.login),
            Scenario::FreezeLeader => self.freeze(leader, outage),
            Scenario::Restart => self.restart(leader),
            Scenario::KillReplica => {
                let replica = self.replica()?;
                self.shut_down(&replica, &self.login)
            }
            Scenario::KillSentinel => match self.sentinels.last() {
                Some(sentinel) => self.shut_down(sentinel, &self.sentinel_login),
                None => Err(Unable::because("there is no sentinel")),
            },
            Scenario::PlannedFailover => self.fail_over(),
            Scenario::PartitionLeader | Scenario::LoseRegion => Err(Unable(format!(
                "{} needs a --fault-command, and a --heal-command to undo it",
                scenario.name()
            ))),
        }
    }

    fn open(&self, server: &Address, login: &Credentials, wait: Duration) -> Result<Ask, Unable> {
        Ask::open(server, login, wait).map_err(|error| Unable(format!("{server}: {error}")))
    }

    /// Ends a server at once. The answer to that is that the connection ends.
    fn shut_down(&self, server: &Address, login: &Credentials) -> Result<String, Unable> {
        let mut last = String::new();
        // NOW is of Redis 7.0; older ones do not wait anyway.
        for words in [&["SHUTDOWN", "NOSAVE", "NOW"][..], &["SHUTDOWN", "NOSAVE"]] {
            match self.open(server, login, ENDING)?.call(words) {
                Err(AskError::Unreachable(_)) => {
                    return Ok(format!("{} at {server}", words.join(" ")));
                }
                Err(error) => last = error.to_string(),
                Ok(answer) => last = answer.to_string(),
            }
        }
        Err(Unable(format!("{server} does not shut down: {last}")))
    }

    /// A server that sleeps answers nobody; one that pauses its clients answers no client, and that includes sentinels.
    fn freeze(&self, leader: &Address, outage: Duration) -> Result<String, Unable> {
        let seconds = outage.as_secs_f64().to_string();
        let mut ask = self.open(leader, &self.login, REFUSAL)?;
        if let Err(AskError::Silent(_)) = ask.call(&["DEBUG", "SLEEP", &seconds]) {
            return Ok(format!("DEBUG SLEEP {seconds} at {leader}"));
        }
        let ms = outage.as_millis().to_string();
        let mut ask = self.open(leader, &self.login, self.patience)?;
        match ask.call(&["CLIENT", "PAUSE", &ms, "ALL"]) {
            Ok(_) => Ok(format!("CLIENT PAUSE {ms} ALL at {leader}")),
            Err(error) => Err(Unable(format!("{leader} does not pause: {error}"))),
        }
    }

    fn restart(&self, leader: &Address) -> Result<String, Unable> {
        let mut ask = self.open(leader, &self.login, ENDING)?;
        match ask.call(&["DEBUG", "RESTART"]) {
            Err(AskError::Unreachable(_)) => Ok(format!("DEBUG RESTART at {leader}")),
            Err(error) => Err(Unable(format!(
                "{leader} does not restart by DEBUG RESTART, give a --fault-command: {error}"
            ))),
            Ok(_) => Err(Unable(format!("{leader} does not restart"))),
        }
    }

    /// Asks one sentinel after the other.
    fn ask(&self, words: &[&str]) -> Result<(&Address, Value), Unable> {
        let mut last = Unable::because("there is no sentinel");
        for sentinel in &self.sentinels {
            let asked = Ask::open(sentinel, &self.sentinel_login, self.patience);
            match asked.and_then(|mut ask| ask.call(words)) {
                Ok(answer) => return Ok((sentinel, answer)),
                Err(error) => last = Unable(format!("{sentinel}: {error}")),
            }
        }
        Err(last)
    }

    fn fail_over(&self) -> Result<String, Unable> {
        let words = ["SENTINEL", "FAILOVER", &self.master];
        let (sentinel, _) = self.ask(&words)?;
        Ok(format!("{} at {sentinel}", words.join(" ")))
    }

    /// A replica that the sentinels take for alive.
    fn replica(&self) -> Result<Address, Unable> {
        let (_, replicas) = self.ask(&["SENTINEL", "REPLICAS", &self.master])?;
        let replicas = replicas.as_array().unwrap_or_default();
        replicas
            .iter()
            .map(Info::of_pairs)
            .find(|replica| replica.get("flags") == Some("slave"))
            .and_then(|replica| Some(Address::new(replica.get("ip")?, replica.number("port")?)))
            .ok_or_else(|| Unable::because("no replica is up"))
    }
}
