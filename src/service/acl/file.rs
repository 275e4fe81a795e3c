//! The file of users (`aclfile`): `user name rules…`, a line each. There are no comments: ACL SAVE would lose them.

use std::fmt::{self, Write};

use super::rule::{Fault, has_spaces, merge};
use super::user::User;
use crate::spec::Registry;

/// Everything that is wrong with a file, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFault(String);

impl FileFault {
    /// The file cannot be read.
    pub fn unreadable(path: &str, why: &str) -> Self {
        Self(format!("Error loading ACLs, opening file '{path}': {why}"))
    }
}

impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FileFault {}

/// The users of a file.
pub(super) fn parse<H>(
    text: &[u8],
    path: &str,
    registry: &Registry<H>,
    all_channels: bool,
) -> Result<Vec<User>, FileFault> {
    let mut users: Vec<User> = Vec::new();
    let mut faults = String::new();
    for (i, line) in text.split(|&b| b == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let at = format!("{path}:{}", i + 1);
        match parse_line(
            line,
            &at,
            i + 1,
            &users,
            registry,
            all_channels,
            &mut faults,
        ) {
            Some(user) => users.push(user),
            None => continue,
        }
    }
    if faults.is_empty() {
        return Ok(users);
    }
    faults.push_str(
        "WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
    );
    Err(FileFault(faults))
}

/// A line's user. What is wrong with it is added to `faults`.
fn parse_line<H>(
    line: &[u8],
    at: &str,
    number: usize,
    users: &[User],
    registry: &Registry<H>,
    all_channels: bool,
    faults: &mut String,
) -> Option<User> {
    let words: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
    let [b"user", name, rules @ ..] = words.as_slice() else {
        let _ = write!(
            faults,
            "{at} should start with user keyword followed by the username. "
        );
        return None;
    };
    let shown = String::from_utf8_lossy(name);
    if has_spaces(name) {
        let _ = write!(
            faults,
            "'{at}: username '{shown}' contains invalid characters. "
        );
        return None;
    }
    if users.iter().any(|user| *user.name == **name) {
        let _ = write!(
            faults,
            "WARNING: Duplicate user '{shown}' found on line {number}. "
        );
        return None;
    }
    let Ok(rules) = merge(rules) else {
        let _ = write!(
            faults,
            "{at}: Unmatched parenthesis in selector definition."
        );
        return None;
    };
    let mut user = User::new(name, all_channels);
    let mut told = false;
    for rule in rules {
        match user.apply(rule.trim_ascii(), registry, all_channels) {
            Ok(()) => {}
            // The name of a command is no secret.
            Err(fault @ Fault::Unknown) => {
                let rule = String::from_utf8_lossy(&rule);
                let _ = write!(
                    faults,
                    "{at}: Error in applying operation '{rule}': {fault}. "
                );
            }
            Err(fault) if !told => {
                let _ = write!(faults, "{at}: {fault}. ");
                told = true;
            }
            Err(_) => {}
        }
    }
    Some(user)
}
