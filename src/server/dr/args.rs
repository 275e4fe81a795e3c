//! What the command line says.

use std::str::FromStr;
use std::time::Duration;

use clap::{Args as Arguments, Subcommand};

use crate::server::ask::{Address, Ask, AskError, Credentials};
use crate::server::tls::TlsOptions;

/// Arguments of `redkeep dr`.
#[derive(Debug, Arguments)]
pub(in crate::server) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Tell how far a standby is behind, hop by hop up to the leader
    Status(Box<Status>),
    /// Make a standby the leader, and let its region's sentinels watch it
    Promote(Box<Promote>),
    /// Make a leader that came back, and has been replaced, the standby of the new one
    Demote(Box<Demote>),
}

#[derive(Debug, Arguments)]
pub(super) struct Status {
    /// The standby
    #[arg(value_name = "HOST:PORT")]
    pub server: Address,
    #[command(flatten)]
    pub access: Access,
    /// Milliseconds over which the rate of writes is measured
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    pub sample: u64,
}

#[derive(Debug, Arguments)]
pub(super) struct Promote {
    /// The standby
    #[arg(value_name = "HOST:PORT")]
    pub server: Address,
    /// A sentinel of its region, which is to watch it; may be given several times
    #[arg(long, value_name = "HOST:PORT", requires = "master")]
    pub sentinel: Vec<Address>,
    /// The name that those sentinels and their clients know the leader by
    #[arg(long, value_name = "NAME")]
    pub master: Option<String>,
    /// How many of them must agree that the leader is gone [default: what they had, or most of them]
    #[arg(long, value_name = "N")]
    pub quorum: Option<u32>,
    /// A setting of those sentinels for this leader, as of SENTINEL SET [default: what they had]
    #[arg(long = "set", value_name = "OPTION=VALUE")]
    pub settings: Vec<Setting>,
    /// A server of its region that is to follow it; those that follow it already need not be named
    #[arg(long, value_name = "HOST:PORT")]
    pub replica: Vec<Address>,
    /// The address that sentinels and replicas reach it by [default: that of HOST:PORT]
    #[arg(long = "as", value_name = "HOST:PORT")]
    pub known_as: Option<Address>,
    /// The leader lives, nothing may be lost: stop writes there, wait so many seconds at most until the standby has
    /// everything, and make the leader its replica
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "10", require_equals = true)]
    pub wait: Option<u64>,
    /// Promote although something speaks against it: a leader that lives, a sentinel that will undo it
    #[arg(long, conflicts_with = "wait")]
    pub force: bool,
    #[command(flatten)]
    pub consent: Consent,
    #[command(flatten)]
    pub access: Access,
}

#[derive(Debug, Arguments)]
pub(super) struct Demote {
    /// The leader that was replaced
    #[arg(value_name = "HOST:PORT")]
    pub server: Address,
    /// The leader that it is to follow
    #[arg(long, value_name = "HOST:PORT")]
    pub to: Address,
    /// A server of its region that is to follow it; those that follow it already need not be named
    #[arg(long, value_name = "HOST:PORT")]
    pub replica: Vec<Address>,
    /// The address that those reach it by [default: that of HOST:PORT]
    #[arg(long = "as", value_name = "HOST:PORT")]
    pub known_as: Option<Address>,
    /// A sentinel of its region that is to forget it; those that watch it are found by themselves
    #[arg(long, value_name = "HOST:PORT", requires = "master")]
    pub sentinel: Vec<Address>,
    /// The name that those sentinels know it by
    #[arg(long, value_name = "NAME")]
    pub master: Option<String>,
    /// Go on although something speaks against it: a sentinel that cannot be told
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub consent: Consent,
    #[command(flatten)]
    pub access: Access,
}

#[derive(Debug, Clone, Copy, Arguments)]
pub(super) struct Consent {
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Look at everything, say what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// How servers are spoken to.
#[derive(Debug, Clone, Arguments)]
pub(super) struct Access {
    /// The password of the servers, or of one [default: $REDISCLI_AUTH]
    #[arg(long, value_name = "[HOST:PORT=]PASSWORD")]
    password: Vec<Of>,
    /// The user to authenticate as
    #[arg(long, value_name = "[HOST:PORT=]USER")]
    user: Vec<Of>,
    /// The password of the servers upstream, in the other region [default: the same]
    #[arg(long, value_name = "PASSWORD")]
    upstream_password: Option<String>,
    /// The user to authenticate as in the other region [default: the same]
    #[arg(long, value_name = "USER")]
    upstream_user: Option<String>,
    /// The password of sentinels themselves [default: none]
    #[arg(long, value_name = "PASSWORD")]
    sentinel_password: Option<String>,
    /// The user to authenticate as at sentinels
    #[arg(long, value_name = "USER")]
    sentinel_user: Option<String>,
    /// Milliseconds to wait for a connection, and for an answer
    #[arg(long, value_name = "MS", default_value_t = 3000)]
    timeout: u64,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    tls: TlsOptions,
}

/// Where a server stands, for what it wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The region of the server that the command is about.
    Here,
    /// The other one.
    Upstream,
    /// A sentinel, of whichever.
    Sentinel,
}

impl Access {
    /// Connects and authenticates.
    pub(super) fn open(&self, address: &Address, side: Side) -> Result<Ask, AskError> {
        let who = Credentials {
            tls: self.tls.secure()?,
            ..self.who(address, side)
        };
        Ask::open(address, &who, self.timeout())
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout.max(1))
    }

    /// As whom a server is spoken to, whatever the way there.
    pub(super) fn who(&self, address: &Address, side: Side) -> Credentials {
        let (user, password) = match side {
            Side::Here => (None, None),
            Side::Upstream => (self.upstream_user.as_ref(), self.upstream_password.as_ref()),
            Side::Sentinel => {
                return Credentials {
                    user: Of::only(&self.user, address).or(self.sentinel_user.clone()),
                    password: Of::only(&self.password, address).or(self.sentinel_password.clone()),
                    tls: None,
                };
            }
        };
        // The user of one region is nobody in the other one, where the password is another.
        let same = password.is_none();
        let all = |of| Of::all(of).filter(|_| same);
        let environment = || std::env::var("REDISCLI_AUTH").ok();
        Credentials {
            user: Of::only(&self.user, address)
                .or(user.cloned())
                .or_else(|| all(&self.user)),
            password: Of::only(&self.password, address)
                .or(password.cloned())
                .or_else(|| all(&self.password))
                .or_else(environment),
            tls: None,
        }
    }
}

/// What holds for one server, or for all.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Of {
    address: Option<Address>,
    value: String,
}

impl FromStr for Of {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let one = text
            .split_once('=')
            .and_then(|(address, value)| Some((address.parse().ok()?, value)));
        Ok(match one {
            Some((address, value)) => Self {
                address: Some(address),
                value: value.to_owned(),
            },
            None => Self {
                address: None,
                value: text.to_owned(),
            },
        })
    }
}

impl Of {
    fn find(all: &[Self], address: Option<&Address>) -> Option<String> {
        let found = all.iter().rfind(|of| of.address.as_ref() == address)?;
        Some(found.value.clone())
    }

    fn only(all: &[Self], address: &Address) -> Option<String> {
        Self::find(all, Some(address))
    }

    fn all(all: &[Self]) -> Option<String> {
        Self::find(all, None)
    }
}

/// An option of SENTINEL SET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub option: String,
    pub value: String,
}

impl FromStr for Setting {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (option, value) = text.split_once('=').ok_or("this is not OPTION=VALUE")?;
        Ok(Self {
            option: option.to_owned(),
            value: value.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(words: &[&str]) -> Access {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            access: Access,
        }
        let words = [&["dr"], words].concat();
        <Line as clap::Parser>::parse_from(words).access
    }

    #[test]
    fn a_password_of_one_server_goes_before_that_of_its_side() {
        let one = Address::new("10.0.0.1", 6379);
        let other = Address::new("10.0.0.2", 6379);
        let access = access(&[
            "--password=all=x",
            "--password=10.0.0.1:6379=one",
            "--user=me",
            "--upstream-password=far",
        ]);
        let password = |address, side| access.who(address, side).password;
        assert_eq!(password(&one, Side::Here).as_deref(), Some("one"));
        assert_eq!(password(&one, Side::Upstream).as_deref(), Some("one"));
        assert_eq!(password(&other, Side::Here).as_deref(), Some("all=x"));
        assert_eq!(password(&other, Side::Upstream).as_deref(), Some("far"));
        assert_eq!(password(&other, Side::Sentinel), None);
        let user = |side| access.who(&other, side).user;
        assert_eq!(user(Side::Here).as_deref(), Some("me"));
        assert_eq!(user(Side::Upstream), None);
    }
}
