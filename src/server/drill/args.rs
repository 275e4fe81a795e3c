//! What the command line says.

use std::time::Duration;

use super::ground::Scenario;
use crate::server::ask::Address;
use crate::server::tls::TlsOptions;

const ABOUT: &str = "\
Break a leader under load and tell what was lost

Clients take and release locks and work a stream as a consumer group, through the leader that the sentinels name. After a
while something breaks. In the end what clients were told is compared with what the leader has: the report says for how
long nobody could write, which acknowledged writes are gone, and whether a lock was held by two at once.";

const EXISTING: &str = "\
Without --sentinel, servers and sentinels of its own are raised, broken and taken down again.

With --sentinel, THE SERVERS THAT ARE NAMED ARE BROKEN. What is done to them, unless a --fault-command does it:
  kill-leader       SHUTDOWN NOSAVE NOW at the leader. It stays down unless a --heal-command starts it.
  freeze-leader     DEBUG SLEEP at the leader or, where that is refused, CLIENT PAUSE ... ALL.
  restart           DEBUG RESTART at the leader, where that is allowed. It may come back without its data, and
                    replicas would follow it in that.
  kill-replica      SHUTDOWN NOSAVE NOW at a replica. It stays down unless a --heal-command starts it.
  kill-sentinel     SHUTDOWN at the last --sentinel. It stays down unless a --heal-command starts it.
  planned-failover  SENTINEL FAILOVER at a sentinel.
  partition-leader, lose-region   need a --fault-command and a --heal-command.
Writes that others make meanwhile may be lost as those of the drill may. The drill writes keys `drill:...` to database 0
of the leader, as fast as --clients and --pace say, and deletes them in the end. All that needs --yes.

Commands are run by the shell, with REDKEEP_DRILL_SCENARIO, REDKEEP_DRILL_MASTER and REDKEEP_DRILL_LEADER (HOST:PORT) in
their environment. The heal command is run after an interrupt, too. In partition-leader, clients that follow the sentinels
do as if the leader were cut off from them between the two commands; the others go on with it.

Status: 0 if everything that was acknowledged is there and no lock was held by two at once, 1 if not, 2 if there was no
drill.";

/// Arguments of `redkeep drill`.
#[derive(Clone, Debug, clap::Args)]
#[command(about = "Break a leader under load and tell what was lost", long_about = ABOUT, after_help = EXISTING)]
pub(in crate::server) struct Args {
    /// What is done to the servers
    #[arg(long, value_enum, default_value_t = Scenario::KillLeader)]
    pub(super) scenario: Scenario,
    /// A write is acknowledged when a replica has it (sync-replicas 1); existing servers must be set so
    #[arg(long)]
    pub(super) sync: bool,
    /// How long clients work
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(4..=86_400))]
    pub(super) seconds: u64,
    /// From the fault, after a sixth of the time, until it is healed; half of the time if it is not said
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    outage: Option<u64>,
    /// How many clients there are; half of them work with locks
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(4..=1000))]
    pub(super) clients: u32,
    /// How long a client rests between two rounds of its work
    #[arg(long, value_name = "MS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pace: u64,
    /// How long a client waits for a connection or an answer
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    timeout: u64,
    /// Clients go to another leader as soon as a sentinel tells of it (+switch-master), as some libraries do; otherwise
    /// they go on with the one they have until it fails them
    #[arg(long)]
    listen: bool,
    /// Report for machines: one line of JSON
    #[arg(long)]
    pub(super) json: bool,

    /// Replicas to raise
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16), help_heading = RAISED)]
    pub(super) replicas: u32,
    /// Sentinels to raise
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=15), help_heading = RAISED)]
    pub(super) sentinels: u32,
    /// The sentinels' down-after-milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..=600_000), help_heading = RAISED)]
    pub(super) down_after: u64,
    /// A parameter of the servers to raise, as in their configuration file
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting, help_heading = RAISED)]
    pub(super) set: Vec<(String, String)>,

    /// Sentinels of existing servers, which will be broken
    #[arg(long, value_name = "HOST:PORT", num_args = 1.., help_heading = THERE)]
    pub(super) sentinel: Vec<Address>,
    /// The name of the leader among the sentinels
    #[arg(long, value_name = "NAME", default_value = "mymaster", help_heading = THERE)]
    pub(super) master: String,
    /// User at the servers
    #[arg(long, value_name = "NAME", requires = "password", help_heading = THERE)]
    pub(super) user: Option<String>,
    /// Password at the servers
    #[arg(long, value_name = "TEXT", help_heading = THERE)]
    pub(super) password: Option<String>,
    /// Password at the sentinels
    #[arg(long, value_name = "TEXT", help_heading = THERE)]
    pub(super) sentinel_password: Option<String>,
    /// What the shell is to run instead of what is built in
    #[arg(long, value_name = "COMMAND", requires = "sentinel", help_heading = THERE)]
    pub(super) fault_command: Option<String>,
    /// What undoes it
    #[arg(long, value_name = "COMMAND", requires = "sentinel", help_heading = THERE)]
    pub(super) heal_command: Option<String>,
    #[command(flatten)]
    pub(super) tls: TlsOptions,
    /// Yes, break the servers of these sentinels
    #[arg(long, requires = "sentinel", help_heading = THERE)]
    pub(super) yes: bool,
}

const RAISED: &str = "Servers of its own";
const THERE: &str = "Existing servers";

fn setting(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("this is not NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// When what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) scenario: Scenario,
    pub(super) sync: bool,
    /// How long clients work.
    pub(super) span: Duration,
    /// How long they do before the fault.
    pub(super) before: Duration,
    pub(super) outage: Duration,
    pub(super) clients: u32,
    pub(super) listen: bool,
    pub(super) pace: Duration,
    pub(super) patience: Duration,
}

impl Args {
    /// How long a client waits for an answer.
    pub(super) const fn patience(&self) -> Duration {
        Duration::from_millis(self.timeout)
    }

    /// What is to happen; none if there is no time for it.
    pub(super) fn plan(&self) -> Option<Plan> {
        let span = Duration::from_secs(self.seconds);
        let before = span / 6;
        let outage = self.outage.map_or(span / 2, Duration::from_secs);
        (before + outage < span).then_some(Plan {
            scenario: self.scenario,
            sync: self.sync,
            span,
            before,
            outage,
            clients: self.clients,
            listen: self.listen,
            pace: Duration::from_millis(self.pace),
            patience: self.patience(),
        })
    }
}
