//! What a server tells of itself: INFO and ROLE, of Redkeep and of Redis.

use std::time::{Duration, Instant};

use crate::resp::Value;
use crate::server::ask::{Address, Ask, AskError, Info, text};

/// What a server has told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standing {
    /// When it told so.
    pub at: Instant,
    /// How long one question and its answer took.
    pub round_trip: Duration,
    pub role: Role,
    pub run_id: String,
    /// `Redkeep 0.1.0`, `Redis 7.0.15`.
    pub program: String,
    pub config_file: bool,
    /// How far it is in its history: bytes of the stream.
    pub offset: u64,
    /// The name of that history, and the one that it went on from, up to the offset before this one.
    pub history: String,
    pub former: Option<(String, u64)>,
    pub priority: Option<u64>,
    pub backlog: Backlog,
    pub followers: Vec<Follower>,
    pub syncs: Syncs,
}

/// What a server does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    Leader,
    Replica(Upstream),
}

/// Whom a replica follows, and how that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Upstream {
    pub address: Address,
    /// `connected`, `connecting`, `sync`...: in the words of ROLE.
    pub state: String,
    pub up: bool,
    /// It is being copied to: what it has is not whole.
    pub copying: bool,
    /// Seconds since it was last heard, while the link is up.
    pub heard: Option<u64>,
    /// Seconds since the link went down.
    pub down: Option<u64>,
}

/// What of the stream is kept for those who were away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Backlog {
    pub active: bool,
    pub size: u64,
    /// The offset of the first byte that is there.
    pub first: u64,
}

/// One who follows a server, as that one sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Follower {
    pub address: Address,
    pub state: String,
    pub offset: u64,
    /// Seconds since it was heard.
    pub heard: Option<u64>,
    /// What it has not acknowledged, and for how long: Redkeep tells.
    pub behind_bytes: Option<u64>,
    pub behind_ms: Option<u64>,
}

/// Copies that a server has made, and those that it was spared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Syncs {
    pub full: u64,
    pub partial: u64,
    pub refused: u64,
}

impl Standing {
    /// Asks a server.
    pub(super) fn ask(ask: &mut Ask) -> Result<Self, AskError> {
        let started = Instant::now();
        let answers = ask.call_all(&[
            &["ROLE"][..],
            &["INFO", "server"],
            &["INFO", "replication"],
            &["INFO", "stats"],
        ])?;
        let round_trip = started.elapsed();
        let mut info = Info::default();
        for section in answers.iter().skip(1).filter_map(text) {
            info.add(&section);
        }
        let standing = answers
            .first()
            .and_then(|role| Self::read(role, &info, round_trip));
        standing.ok_or_else(|| AskError::Unexpected("ROLE".into()))
    }

    /// Reads what a server has answered.
    fn read(role: &Value, info: &Info, round_trip: Duration) -> Option<Self> {
        let word = |n: usize| text(role.as_array()?.get(n)?);
        let role = match word(0)?.as_str() {
            "master" => Role::Leader,
            "slave" => Role::Replica(Upstream {
                address: Address::new(word(1)?, word(2)?.parse().ok()?),
                state: word(3)?,
                up: info.get("master_link_status") == Some("up"),
                copying: info.get("master_sync_in_progress") == Some("1"),
                heard: info.number("master_last_io_seconds_ago"),
                down: info.number("master_link_down_since_seconds"),
            }),
            _ => return None,
        };
        let number = |name| info.number::<u64>(name).unwrap_or_default();
        let program = match info.get("redkeep_version") {
            Some(version) => format!("Redkeep {version}"),
            None => format!("Redis {}", info.get("redis_version").unwrap_or("?")),
        };
        let former = info.get("master_replid2").map(str::to_owned);
        let until = info.number("second_repl_offset");
        Some(Self {
            at: Instant::now(),
            round_trip,
            role,
            run_id: info.get("run_id").unwrap_or_default().to_owned(),
            program,
            config_file: info.get("config_file").is_some_and(|file| !file.is_empty()),
            offset: number("master_repl_offset"),
            history: info.get("master_replid").unwrap_or_default().to_owned(),
            former: former.zip(until),
            priority: info.number("slave_priority"),
            backlog: Backlog {
                active: info.get("repl_backlog_active") == Some("1"),
                size: number("repl_backlog_size"),
                first: number("repl_backlog_first_byte_offset"),
            },
            followers: followers(info),
            syncs: Syncs {
                full: number("sync_full"),
                partial: number("sync_partial_ok"),
                refused: number("sync_partial_err"),
            },
        })
    }

    /// One that has told nothing.
    #[cfg(test)]
    pub(super) fn silent() -> Self {
        let leader = Value::Array(vec![Value::Bulk("master".into())]);
        Self::read(&leader, &Info::default(), Duration::ZERO).unwrap()
    }

    /// Whom it follows, if it follows anybody.
    pub(super) const fn upstream(&self) -> Option<&Upstream> {
        match &self.role {
            Role::Leader => None,
            Role::Replica(upstream) => Some(upstream),
        }
    }

    pub(super) const fn leads(&self) -> bool {
        matches!(self.role, Role::Leader)
    }

    /// How many follow it and have their copy.
    pub(super) fn online(&self) -> usize {
        let online = |f: &&Follower| f.state == "online";
        self.followers.iter().filter(online).count()
    }

    /// Whether a replica has never got a whole copy, or is getting one.
    pub(super) fn has_nothing(&self) -> bool {
        self.upstream()
            .is_some_and(|up| up.copying || (!up.up && self.offset == 0))
    }

    /// What this one knows of a follower: the one at that address, or with that port if only one has it, since many are seen
    /// from behind an address that is not theirs.
    pub(super) fn follower(&self, address: &Address, ips: &[String]) -> Option<&Follower> {
        let mut ports = self
            .followers
            .iter()
            .filter(|f| f.address.port == address.port);
        let exact = ports
            .clone()
            .find(|f| f.address.host == address.host || ips.contains(&f.address.host));
        exact.or_else(|| ports.next().filter(|_| ports.next().is_none()))
    }
}

/// The lines `slaveN:ip=..,port=..,state=..,offset=..,lag=..`.
fn followers(info: &Info) -> Vec<Follower> {
    let is_one = |name: &str| {
        let n = name.strip_prefix("slave").unwrap_or_default();
        !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())
    };
    info.fields()
        .filter(|(name, _)| is_one(name))
        .filter_map(|(_, line)| {
            let part = |name: &str| {
                let mut parts = line.split(',').filter_map(|part| part.split_once('='));
                parts.find(|(n, _)| *n == name).map(|(_, value)| value)
            };
            let number = |name| part(name)?.parse::<u64>().ok();
            Some(Follower {
                address: Address::new(part("ip")?, part("port")?.parse().ok()?),
                state: part("state")?.to_owned(),
                offset: number("offset")?,
                heard: number("lag"),
                behind_bytes: number("behind_bytes"),
                behind_ms: number("behind_ms"),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.into())
    }

    fn standing(role: &[Value], info: &str) -> Option<Standing> {
        let role = Value::Array(role.to_vec());
        Standing::read(&role, &Info::of_lines(info), Duration::ZERO)
    }

    #[test]
    fn a_leader_and_those_who_follow_it() {
        let info = "redis_version:7.2.4\r\nredkeep_version:0.1.0\r\nconfig_file:\r\nconnected_slaves:2\r\n\
            slave0:ip=10.1.0.2,port=6379,state=online,offset=90,lag=1,behind_bytes=10,behind_ms=74\r\n\
            slave1:ip=10.1.0.3,port=6380,state=wait_bgsave,offset=0,lag=0\r\nslave2:nonsense\r\n\
            master_replid:aa\r\nmaster_replid2:00\r\nmaster_repl_offset:100\r\nsecond_repl_offset:-1\r\n\
            repl_backlog_active:1\r\nrepl_backlog_size:1048576\r\nrepl_backlog_first_byte_offset:1\r\n";
        let leader = standing(&[bulk("master"), Value::Int(100)], info).unwrap();
        assert!(leader.leads() && !leader.config_file);
        assert_eq!((leader.offset, leader.former.clone()), (100, None));
        assert_eq!(leader.followers.len(), 2);
        // Seen from behind another address.
        let seen = leader.follower(&Address::new("standby.example", 6379), &[]);
        assert_eq!(seen.and_then(|f| f.behind_ms), Some(74));
        assert_eq!(leader.follower(&Address::new("10.1.0.2", 6381), &[]), None);
        assert_eq!(leader.followers[1].behind_bytes, None);
    }

    #[test]
    fn a_replica_whose_link_is_down() {
        let role = [
            bulk("slave"),
            bulk("10.0.0.1"),
            Value::Int(6379),
            bulk("connect"),
            Value::Int(-1),
        ];
        let info = "master_link_status:down\r\nmaster_last_io_seconds_ago:-1\r\nmaster_sync_in_progress:0\r\n\
            master_link_down_since_seconds:42\r\nmaster_repl_offset:7\r\nslave_priority:0\r\n";
        let replica = standing(&role, info).unwrap();
        let up = replica.upstream().unwrap();
        assert_eq!((up.heard, up.down, up.up), (None, Some(42), false));
        assert_eq!(replica.priority, Some(0));
        assert!(!replica.has_nothing());
    }

    #[test]
    fn a_sentinel_is_no_server() {
        assert_eq!(standing(&[bulk("sentinel")], ""), None);
        assert_eq!(standing(&[], ""), None);
    }
}
