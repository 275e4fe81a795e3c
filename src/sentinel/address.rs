//! Where an instance is: a host name or an address, and what it resolves to.

use std::fmt;

use super::settings::Naming;
use crate::util::system;

/// The longest host that is taken, as DNS has it.
const LONGEST_HOST: usize = 255;

/// What a sentinel asks the machine that it runs on.
pub trait Resolve {
    /// The IPv4 or IPv6 address of a host name, as text; none if it has none now.
    fn resolve(&self, host: &str) -> Option<String>;

    /// Whether a script is there and may be run.
    fn may_run(&self, path: &str) -> bool {
        system::is_executable(path.as_ref())
    }
}

/// Knows no names.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNames;

impl Resolve for NoNames {
    fn resolve(&self, _: &str) -> Option<String> {
        None
    }
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// As it was given: a name or an address.
    pub host: String,
    /// What the host resolved to. It is the host itself if that is an address, or a name that could not be resolved.
    pub ip: String,
    /// The port. 0: nobody knows it at the moment.
    pub port: u16,
}

/// Why an address is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No port has this number.
    #[error("Invalid port number.")]
    Port,
    /// It is no address, and not a name that has one.
    #[error("Invalid IP address or hostname specified")]
    Host,
}

impl Address {
    /// The address of a host. Names are taken if they are to be resolved (`resolve-hostnames`); one that resolves to nothing
    /// is taken only if it `may_stay_unresolved`.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn new(
        host: &str,
        port: i64,
        naming: Naming,
        names: &dyn Resolve,
        may_stay_unresolved: bool,
    ) -> Result<Address, AddressError> {
        let port = u16::try_from(port).map_err(|_| AddressError::Port)?;
        if host.is_empty()
            || host.len() > LONGEST_HOST
            || !host.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(AddressError::Host);
        }
        let ip = if host.parse::<std::net::IpAddr>().is_ok() {
            host.to_owned()
        } else if !naming.resolves {
            return Err(AddressError::Host);
        } else {
            match names.resolve(host) {
                Some(ip) => ip,
                None if may_stay_unresolved => host.to_owned(),
                None => return Err(AddressError::Host),
            }
        };
        let host = host.to_owned();
        Ok(Address { host, ip, port })
    }

    /// What others are told of the host: the name (`announce-hostnames`) or the address.
    pub fn told(&self, naming: Naming) -> &str {
        if naming.announces_names {
            &self.host
        } else {
            &self.ip
        }
    }

    /// Whether both are the same place: by their names where names are used, or by what these resolve to.
    pub fn is(&self, other: &Address) -> bool {
        self.port == other.port
            && (self.ip == other.ip || self.host.eq_ignore_ascii_case(&other.host))
    }

    /// Whether this is the host of it.
    pub fn is_at(&self, host: &str) -> bool {
        self.ip == host || self.host.eq_ignore_ascii_case(host)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}
