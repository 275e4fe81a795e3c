//! The running configuration: what `CONFIG` reads and changes.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use super::codec::{Fault, Origin};
use super::params::{Config, find, rows};
use super::row::{Effect, Row};
use crate::util::glob;

/// The configuration that is in force, and where it came from. Reading a parameter is reading a field of
/// [`Config`]; changing one goes through [`Settings::set`].
#[derive(Clone, Debug, Default)]
pub struct Settings {
    config: Config,
    file: Option<PathBuf>,
}

impl Deref for Settings {
    type Target = Config;

    fn deref(&self) -> &Config {
        &self.config
    }
}

/// What a client may change at the moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rights {
    /// Parameters that say where files are.
    pub protected: bool,
    /// A data set is loading.
    pub loading: bool,
}

/// A change that was made.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The parameter.
    pub row: &'static Row,
    /// It has no effect in this version.
    pub idle: bool,
}

/// The effect of a change failed, for example because the new port is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyError {
    /// The parameter at fault.
    pub name: &'static str,
    /// Why, in words that end a sentence of Redis.
    pub why: String,
}

/// Makes changes take effect, given the old and the new configuration.
pub type Apply<'a> = dyn FnMut(&Config, &mut Config, &[Change]) -> Result<(), ApplyError> + 'a;

/// Why `CONFIG SET` changed nothing. Displays as the text of the error reply, without its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    /// No such parameter.
    Unknown(Vec<u8>),
    /// The value of this one was refused.
    Refused {
        /// The parameter as the client spelt it.
        name: Vec<u8>,
        /// Why.
        why: String,
    },
    /// Not while a data set is loading.
    Loading,
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                let name = String::from_utf8_lossy(name);
                write!(
                    f,
                    "Unknown option or number of arguments for CONFIG SET - '{name}'"
                )
            }
            Self::Refused { name, why } => {
                let name = String::from_utf8_lossy(name);
                write!(
                    f,
                    "CONFIG SET failed (possibly related to argument '{name}') - {why}"
                )
            }
            Self::Loading => f.write_str("a data set is loading"),
        }
    }
}

impl std::error::Error for SetError {}

impl Settings {
    /// Settings as loaded, from `file` if there was one.
    pub fn new(config: Config, file: Option<PathBuf>) -> Self {
        Self { config, file }
    }

    /// The file that the configuration was read from, which `CONFIG REWRITE` replaces.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What the file that it came from should hold, given what it holds; every parameter if `all`.
    /// `users` are the lines about users.
    pub fn rewritten(&self, old: &[u8], users: &[Vec<u8>], all: bool, sentinel: bool) -> Vec<u8> {
        let wanted = super::rewrite::Rewrite {
            config: &self.config,
            users,
            all,
            sentinel,
        };
        super::rewrite::rewrite(old, wanted)
    }

    /// Another leader is followed from now on, or none: as a client or a sentinel has it, and not CONFIG SET.
    pub fn remember_leader(&mut self, leader: Option<(String, u16)>) {
        self.config.replicaof = leader;
    }

    /// A later term was heard of.
    pub fn remember_term(&mut self, term: u64) {
        self.config.failover_term = term;
    }

    /// All parameters.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Names and values of the parameters that one of `patterns` matches, each name once. A pattern without
    /// wildcards finds hidden parameters too, and its name is given back as it was spelt.
    pub fn get(&self, patterns: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut seen: Vec<&'static str> = Vec::new();
        for pattern in patterns {
            let literal = !pattern.iter().any(|b| b"[*?".contains(b));
            for row in rows() {
                for name in row.names() {
                    let hit = if literal {
                        name.as_bytes().eq_ignore_ascii_case(pattern)
                    } else {
                        row.is_listed_as(name) && glob::matches(pattern, name.as_bytes(), true)
                    };
                    if hit && !seen.contains(&name) {
                        seen.push(name);
                        let spelt = if literal { pattern } else { name.as_bytes() };
                        found.push((spelt.to_vec(), row.show(&self.config)));
                    }
                }
            }
        }
        found
    }

    /// Changes several parameters, all or none. `apply` makes the changes take effect, given the old and the new
    /// configuration; when it fails, it has undone what it did, and nothing has changed.
    pub fn set(
        &mut self,
        pairs: &[(&[u8], &[u8])],
        rights: Rights,
        apply: &mut Apply<'_>,
    ) -> Result<Vec<Change>, SetError> {
        let targets = targets(pairs, rights)?;
        let mut next = self.config.clone();
        for (row, name, value) in &targets {
            let assigned = row.assign(&mut next, &[value], Origin::Command);
            assigned.map_err(|why| refused(known(row, name), why))?;
        }
        let changes: Vec<Change> = targets
            .iter()
            .filter(|(row, ..)| row.reread || row.show(&next) != row.show(&self.config))
            .map(|&(row, ..)| Change {
                row,
                idle: row.effect == Effect::Later,
            })
            .collect();
        apply(&self.config, &mut next, &changes).map_err(|error| {
            let spelt = targets
                .iter()
                .find(|(row, ..)| row.is(error.name.as_bytes()));
            let name = spelt.map_or(error.name.as_bytes(), |(row, name, _)| known(row, name));
            refused(name, error.why.into())
        })?;
        self.config = next;
        Ok(changes)
    }
}

type Target<'a> = (&'static Row, &'a [u8], &'a [u8]);

/// The rows that `pairs` name, when all of them may be changed.
fn targets<'a>(
    pairs: &[(&'a [u8], &'a [u8])],
    rights: Rights,
) -> Result<Vec<Target<'a>>, SetError> {
    let mut targets: Vec<Target<'a>> = Vec::with_capacity(pairs.len());
    for &(name, value) in pairs {
        let row = find(name).ok_or_else(|| SetError::Unknown(name.to_vec()))?;
        let why = if row.immutable {
            "can't set immutable config"
        } else if row.protected && !rights.protected {
            "can't set protected config"
        } else if row.not_loading && rights.loading {
            return Err(SetError::Loading);
        } else if targets
            .iter()
            .any(|(other, spelt, _)| other.name == row.name && same_name(spelt, name))
        {
            "duplicate parameter"
        } else {
            targets.push((row, name, value));
            continue;
        };
        return Err(refused(name, why.into()));
    }
    Ok(targets)
}

/// Redis tells a parameter and its alias apart here: `repl-ping-slave-period` and `repl-ping-replica-period` in
/// one command are no duplicates, the later one wins.
fn same_name(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Redis repeats the name of what cannot be set as it was spelt, but that of a value that it refuses in small letters.
fn known<'a>(row: &Row, spelt: &'a [u8]) -> &'a [u8] {
    row.known_as(spelt).map_or(spelt, str::as_bytes)
}

fn refused(name: &[u8], why: Fault) -> SetError {
    SetError::Refused {
        name: name.to_vec(),
        why: why.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(settings: &mut Settings, pairs: &[(&str, &str)]) -> Result<Vec<&'static str>, String> {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(n, v)| (n.as_bytes(), v.as_bytes()))
            .collect();
        settings
            .set(&pairs, Rights::default(), &mut |_, _, _| Ok(()))
            .map(|changes| changes.iter().map(|c| c.row.name).collect())
            .map_err(|e| e.to_string())
    }

    fn get(settings: &Settings, patterns: &[&str]) -> Vec<(String, String)> {
        let patterns: Vec<_> = patterns.iter().map(|p| p.as_bytes()).collect();
        let text = |b: Vec<u8>| String::from_utf8(b).unwrap();
        settings
            .get(&patterns)
            .into_iter()
            .map(|(n, v)| (text(n), text(v)))
            .collect()
    }

    #[test]
    fn refusals_are_worded_as_redis_words_them() {
        let mut settings = Settings::default();
        let failed = |name: &str, why: &str| {
            format!("CONFIG SET failed (possibly related to argument '{name}') - {why}")
        };
        for (pairs, error) in [
            (
                &[("timeout", "x")][..],
                failed("timeout", "argument couldn't be parsed into an integer"),
            ),
            (
                &[("timeout", "-1")],
                failed(
                    "timeout",
                    "argument must be between 0 and 2147483647 inclusive",
                ),
            ),
            (
                &[("timeout", "1"), ("foo", "1")],
                "Unknown option or number of arguments for CONFIG SET - 'foo'".into(),
            ),
            (
                &[("port", "1"), ("PORT", "2")],
                failed("PORT", "duplicate parameter"),
            ),
            (
                &[("daemonize", "yes")],
                failed("daemonize", "can't set immutable config"),
            ),
            (&[("dir", "/")], failed("dir", "can't set protected config")),
            (
                &[("maxmemory", "1x")],
                failed("maxmemory", "argument must be a memory value"),
            ),
            (
                &[("maxmemory-clients", "200%")],
                failed(
                    "maxmemory-clients",
                    "percentage argument must be less or equal to 100",
                ),
            ),
            (
                &[("protected-mode", "maybe")],
                failed("protected-mode", "argument must be 'yes' or 'no'"),
            ),
            (
                &[("appendfsync", "x")],
                failed(
                    "appendfsync",
                    "argument(s) must be one of the following: everysec, always, no",
                ),
            ),
            (&[("save", "1")], failed("save", "Invalid save parameters")),
        ] {
            assert_eq!(set(&mut settings, pairs), Err(error));
        }
        assert_eq!(*settings, Config::default());
    }

    #[test]
    fn several_parameters_change_together_or_not_at_all() {
        let mut settings = Settings::default();
        assert!(set(&mut settings, &[("timeout", "5"), ("hz", "x")]).is_err());
        assert_eq!(settings.timeout, 0);
        assert_eq!(
            set(&mut settings, &[("timeout", "5"), ("hz", "10")]).unwrap(),
            ["timeout"]
        );
        assert_eq!(settings.timeout, 5);
    }

    #[test]
    fn a_failed_effect_leaves_everything_as_it_was() {
        let mut settings = Settings::default();
        let error = settings
            .set(
                &[(b"timeout", b"5"), (b"Port", b"1")],
                Rights::default(),
                &mut |_, next, changes| {
                    assert_eq!((next.port, changes.len()), (1, 2));
                    Err(ApplyError {
                        name: "port",
                        why: "taken".into(),
                    })
                },
            )
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "CONFIG SET failed (possibly related to argument 'port') - taken"
        );
        assert_eq!(*settings, Config::default());
    }

    #[test]
    fn get_lists_aliases_and_hides_what_is_hidden() {
        let settings = Settings::default();
        let all = get(&settings, &["*"]);
        assert!(
            all.iter().any(|(n, _)| n == "slaveof") && all.iter().any(|(n, _)| n == "replicaof")
        );
        assert!(!all.iter().any(|(n, _)| n == "key-load-delay"));
        let cpulist = |name: &str| all.iter().any(|(n, _)| n == name);
        assert!(cpulist("bio_cpulist") && !cpulist("bio-cpulist"));
        assert_eq!(get(&settings, &["bio-cpulist"]).len(), 1);
        assert_eq!(
            get(&settings, &["key-load-delay"]),
            [("key-load-delay".into(), "0".into())]
        );
        assert_eq!(
            get(&settings, &["TimeOut", "time*"]),
            [("TimeOut".into(), "0".into())]
        );
        let (first, second) = (
            get(&settings, &["maxmemory", "maxmemory*"]),
            get(&settings, &["maxmemory*"]),
        );
        assert_eq!(first.len(), second.len());
    }

    #[test]
    fn every_value_that_get_shows_can_be_set_again() {
        let mut settings = Settings::default();
        for row in rows().filter(|row| !row.immutable && !row.reread) {
            let shown = row.show(&settings);
            let rights = Rights {
                protected: true,
                loading: false,
            };
            let changes = settings.set(&[(row.name.as_bytes(), &shown)], rights, &mut |_, _, _| {
                Ok(())
            });
            assert!(
                changes.is_ok_and(|changes| changes.is_empty()),
                "{}",
                row.name
            );
        }
    }
}
