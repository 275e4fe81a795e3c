//! Servers that are there already, of whatever make: broken by commands over the wire, or by commands of the shell.

use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::runtime::Handle;

use super::ground::{Ground, Scenario, Unable};
use super::wire::{Addr, Conn, Login, Trouble, text};
use crate::resp::Value;

/// How long a server that is to end may take to do so.
const ENDING: Duration = Duration::from_secs(10);

/// Within this time a command that is refused is refused.
const REFUSAL: Duration = Duration::from_millis(200);

/// Servers that are there already.
#[derive(Debug)]
pub(super) struct Existing {
    pub(super) runtime: Handle,
    pub(super) sentinels: Vec<Addr>,
    pub(super) master: String,
    pub(super) login: Login,
    pub(super) sentinel_login: Login,
    pub(super) patience: Duration,
    pub(super) fault_command: Option<String>,
    pub(super) heal_command: Option<String>,
    /// What the commands are told, once there was a fault.
    pub(super) broken: Option<(Scenario, Addr)>,
}

impl Ground for Existing {
    fn sentinels(&self) -> Vec<Addr> {
        self.sentinels.clone()
    }

    fn master(&self) -> String {
        self.master.clone()
    }

    fn logins(&self) -> (Login, Login) {
        (self.login.clone(), self.sentinel_login.clone())
    }

    fn stays(&self) -> bool {
        true
    }

    fn fault(
        &mut self,
        scenario: Scenario,
        leader: &Addr,
        outage: Duration,
    ) -> Result<String, Unable> {
        self.broken = Some((scenario, leader.clone()));
        if let Some(command) = &self.fault_command {
            self.shell(command)?;
            return Ok(format!("ran: {command}"));
        }
        let done = self
            .runtime
            .block_on(self.over_the_wire(scenario, leader, outage));
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

    async fn over_the_wire(
        &self,
        scenario: Scenario,
        leader: &Addr,
        outage: Duration,
    ) -> Result<String, Unable> {
        match scenario {
            Scenario::KillLeader => self.shut_down(leader, &self.login).await,
            Scenario::FreezeLeader => self.freeze(leader, outage).await,
            Scenario::Restart => self.restart(leader).await,
            Scenario::KillReplica => {
                let replica = self.replica().await?;
                self.shut_down(&replica, &self.login).await
            }
            Scenario::KillSentinel => match self.sentinels.last() {
                Some(sentinel) => self.shut_down(sentinel, &self.sentinel_login).await,
                None => Err(Unable::because("there is no sentinel")),
            },
            Scenario::PlannedFailover => self.fail_over().await,
            Scenario::PartitionLeader | Scenario::LoseRegion => Err(Unable(format!(
                "{} needs a --fault-command, and a --heal-command to undo it",
                scenario.name()
            ))),
        }
    }

    async fn open(&self, server: &Addr, login: &Login) -> Result<Conn, Unable> {
        let conn = Conn::open(server, login, self.patience).await;
        conn.map_err(|trouble| Unable(format!("{server}: {trouble}")))
    }

    /// Ends a server at once. The answer to that is that the connection ends.
    async fn shut_down(&self, server: &Addr, login: &Login) -> Result<String, Unable> {
        let mut last = Trouble::Timeout;
        // NOW is of Redis 7.0; older ones do not wait anyway.
        for words in [&["SHUTDOWN", "NOSAVE", "NOW"][..], &["SHUTDOWN", "NOSAVE"]] {
            let mut conn = self.open(server, login).await?;
            match conn.call(words, ENDING).await {
                Err(Trouble::Closed) => return Ok(format!("{} at {server}", words.join(" "))),
                Err(trouble) => last = trouble,
                Ok(answer) => last = Trouble::Reply(answer.to_string()),
            }
        }
        Err(Unable(format!("{server} does not shut down: {last}")))
    }

    /// A server that sleeps answers nobody; one that pauses its clients answers no client, and that includes sentinels.
    async fn freeze(&self, leader: &Addr, outage: Duration) -> Result<String, Unable> {
        let seconds = outage.as_secs_f64().to_string();
        let mut conn = self.open(leader, &self.login).await?;
        let slept = conn.call(&["DEBUG", "SLEEP", &seconds], REFUSAL).await;
        if slept == Err(Trouble::Timeout) {
            return Ok(format!("DEBUG SLEEP {seconds} at {leader}"));
        }
        let ms = outage.as_millis().to_string();
        let mut conn = self.open(leader, &self.login).await?;
        match conn
            .call(&["CLIENT", "PAUSE", &ms, "ALL"], self.patience)
            .await
        {
            Ok(_) => Ok(format!("CLIENT PAUSE {ms} ALL at {leader}")),
            Err(trouble) => Err(Unable(format!("{leader} does not pause: {trouble}"))),
        }
    }

    async fn restart(&self, leader: &Addr) -> Result<String, Unable> {
        let mut conn = self.open(leader, &self.login).await?;
        match conn.call(&["DEBUG", "RESTART"], ENDING).await {
            Err(Trouble::Closed) => Ok(format!("DEBUG RESTART at {leader}")),
            Err(trouble) => Err(Unable(format!(
                "{leader} does not restart by DEBUG RESTART, give a --fault-command: {trouble}"
            ))),
            Ok(_) => Err(Unable(format!("{leader} does not restart"))),
        }
    }

    /// Asks one sentinel after the other.
    async fn ask(&self, words: &[&str]) -> Result<(Addr, Value), Unable> {
        let mut last = Unable::because("there is no sentinel");
        for sentinel in &self.sentinels {
            let answer = match self.open(sentinel, &self.sentinel_login).await {
                Ok(mut conn) => conn.call(words, self.patience).await,
                Err(unable) => {
                    last = unable;
                    continue;
                }
            };
            match answer {
                Ok(answer) => return Ok((sentinel.clone(), answer)),
                Err(trouble) => last = Unable(format!("{sentinel}: {trouble}")),
            }
        }
        Err(last)
    }

    async fn fail_over(&self) -> Result<String, Unable> {
        let words = ["SENTINEL", "FAILOVER", &self.master];
        let (sentinel, _) = self.ask(&words).await?;
        Ok(format!("{} at {sentinel}", words.join(" ")))
    }

    /// A replica that the sentinels take for alive.
    async fn replica(&self) -> Result<Addr, Unable> {
        let (_, replicas) = self.ask(&["SENTINEL", "REPLICAS", &self.master]).await?;
        replicas
            .as_array()
            .unwrap_or_default()
            .iter()
            .find(|replica| field(replica, "flags") == Some("slave"))
            .and_then(|replica| {
                Some(Addr {
                    host: field(replica, "ip")?.to_owned(),
                    port: field(replica, "port")?.parse().ok()?,
                })
            })
            .ok_or_else(|| Unable::because("no replica is up"))
    }
}

/// A field of a flat list of names and values.
fn field<'a>(list: &'a Value, name: &str) -> Option<&'a str> {
    let pairs = list.as_array()?.chunks_exact(2);
    pairs
        .filter_map(|pair| Some((text(pair.first()?)?, text(pair.last()?)?)))
        .find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_name() {
        let words = ["ip", "a", "port", "1", "odd"].map(|w| Value::Bulk(w.into()));
        let list = Value::Array(words.into());
        assert_eq!(field(&list, "port"), Some("1"));
        assert_eq!(field(&list, "odd"), None);
        assert_eq!(field(&list, "a"), None);
        assert_eq!(field(&Value::Null, "a"), None);
    }
}
