//! The rules of ACL SETUSER as words: what they have in common, and what can be wrong with them.

use std::fmt;

use super::User;
use crate::spec::Registry;

/// Why a rule was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No such command or category.
    #[error("Unknown command or category name in ACL")]
    Unknown,
    /// No such rule, or a pattern with spaces in it.
    #[error("Syntax error")]
    Syntax,
    /// A pattern of keys behind the one that matches all.
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. \
         Try 'resetkeys' to start with an empty list of patterns"
    )]
    AllKeys,
    /// A pattern of channels behind the one that matches all.
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. \
         Try 'resetchannels' to start with an empty list of channels"
    )]
    AllChannels,
    /// A password to be removed is not there.
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    /// A hash that is none.
    #[error(
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
    )]
    BadHash,
    /// `+config|get|x`.
    #[error("Allowing first-arg of a subcommand is not supported")]
    OfSubcommand,
    /// A user who was there before.
    #[error("Duplicate user found. A user can only be defined once in config files")]
    Duplicate,
}

/// Why none of several rules was applied. Displays as the text of the error reply, without its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetFault {
    /// A selector that does not end.
    Unmatched(Vec<u8>),
    /// One of them was refused.
    Rule(Vec<u8>, Fault),
}

impl fmt::Display for SetFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmatched(start) => {
                let start = String::from_utf8_lossy(start);
                write!(
                    f,
                    "Unmatched parenthesis in acl selector starting at '{start}'."
                )
            }
            Self::Rule(rule, fault) => {
                let rule = String::from_utf8_lossy(rule);
                write!(f, "Error in ACL SETUSER modifier '{rule}': {fault}")
            }
        }
    }
}

/// Puts selectors together that were given as several words: `(+get` `~a)`. The word that begins one without an end is
/// the error.
pub fn merge<'a>(words: &[&'a [u8]]) -> Result<Vec<Vec<u8>>, &'a [u8]> {
    let mut merged: Vec<Vec<u8>> = Vec::with_capacity(words.len());
    let mut open: Option<(&'a [u8], Vec<u8>)> = None;
    for word in words {
        match &mut open {
            Some((_, selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(word);
                if word.ends_with(b")") {
                    merged.extend(open.take().map(|(_, selector)| selector));
                }
            }
            None if word.starts_with(b"(") && !word.ends_with(b")") => {
                open = Some((word, word.to_vec()));
            }
            None => merged.push(word.to_vec()),
        }
    }
    match open {
        Some((start, _)) => Err(start),
        None => Ok(merged),
    }
}

/// Looks at the rules of a line of a configuration file before anybody needs them: `words` begin with the user's name. That
/// a command is unknown is found out later.
///
/// # Errors
/// The word at fault, and why.
pub fn verify<'a, H>(
    words: &[&'a [u8]],
    registry: &Registry<H>,
) -> Result<(), (std::borrow::Cow<'a, [u8]>, Fault)> {
    let rules = words.get(1..).unwrap_or_default();
    let rules = merge(rules).map_err(|start| (start.into(), Fault::Syntax))?;
    let mut user = User::new(b"", false);
    for rule in rules {
        match user.apply(&rule, registry, false) {
            Ok(()) | Err(Fault::Unknown) => {}
            Err(fault) => return Err((rule.into(), fault)),
        }
    }
    Ok(())
}

/// Whether a name or a pattern has what would take it apart in a file.
pub(super) fn has_spaces(text: &[u8]) -> bool {
    // What C's isspace takes for one.
    let splits = |b: &u8| matches!(b, b' ' | b'\t'..=b'\r' | 0);
    text.iter().any(splits)
}
