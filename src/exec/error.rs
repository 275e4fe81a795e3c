//! Every wire error text that more than one command can answer with, worded once.

use std::borrow::Cow;

use crate::keyspace::WrongType;

/// An error reply: the text without the leading `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CmdError {
    text: Cow<'static, str>,
    /// Whether errorstats have it already: it comes from a command that a script called.
    counted: bool,
}

/// What a handler returns.
pub type CmdResult = Result<super::Flow, CmdError>;

impl CmdError {
    /// `-WRONGTYPE`.
    pub const WRONG_TYPE: CmdError =
        CmdError::fixed("WRONGTYPE Operation against a key holding the wrong kind of value");
    /// Memory is over `maxmemory`, and the command may need more of it.
    pub const OUT_OF_MEMORY: CmdError =
        CmdError::fixed("OOM command not allowed when used memory > 'maxmemory'.");
    /// The data set is not there yet.
    pub const LOADING: CmdError = CmdError::fixed("LOADING Redis is loading the dataset in memory");
    /// A word of the command is out of place.
    pub const SYNTAX: CmdError = CmdError::fixed("ERR syntax error");
    /// A write on a replica.
    pub const READ_ONLY: CmdError =
        CmdError::fixed("READONLY You can't write against a read only replica.");

    /// The data of a replica without a link may be old (`replica-serve-stale-data`).
    pub const MASTER_DOWN: CmdError = CmdError::fixed(
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    );

    /// Too few replicas are near (`min-replicas-to-write`).
    pub const FEW_REPLICAS: CmdError =
        CmdError::fixed("NOREPLICAS Not enough good replicas to write.");

    /// An argument should have been a 64-bit integer.
    pub const NOT_INTEGER: CmdError =
        CmdError::fixed("ERR value is not an integer or out of range");
    /// An argument should have been a number.
    pub const NOT_FLOAT: CmdError = CmdError::fixed("ERR value is not a valid float");
    /// An argument should have been at least zero.
    pub const NOT_POSITIVE: CmdError =
        CmdError::fixed("ERR value is out of range, must be positive");
    /// The key must exist.
    pub const NO_SUCH_KEY: CmdError = CmdError::fixed("ERR no such key");
    /// SELECT and the like: no database of that number.
    pub const DB_RANGE: CmdError = CmdError::fixed("ERR DB index is out of range");
    /// Two keys or databases must differ.
    pub const SAME_OBJECT: CmdError =
        CmdError::fixed("ERR source and destination objects are the same");
    /// An index outside of the value.
    pub const OUT_OF_RANGE: CmdError = CmdError::fixed("ERR index out of range");
    /// INCR and DECR.
    pub const OVERFLOW: CmdError = CmdError::fixed("ERR increment or decrement would overflow");
    /// A string would become longer than `proto-max-bulk-len`.
    pub const STRING_TOO_LONG: CmdError =
        CmdError::fixed("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    /// The timeout of a blocking command is no number.
    pub const TIMEOUT_NOT_FLOAT: CmdError =
        CmdError::fixed("ERR timeout is not a float or out of range");
    /// The timeout of a blocking command is no integer.
    pub const TIMEOUT_NOT_INTEGER: CmdError =
        CmdError::fixed("ERR timeout is not an integer or out of range");
    /// The timeout of a blocking command is negative.
    pub const TIMEOUT_NEGATIVE: CmdError = CmdError::fixed("ERR timeout is negative");
    /// The timeout of a blocking command overflows the clock.
    pub const TIMEOUT_RANGE: CmdError = CmdError::fixed("ERR timeout is out of range");

    /// An error whose text is known when compiling.
    pub const fn fixed(text: &'static str) -> CmdError {
        CmdError {
            text: Cow::Borrowed(text),
            counted: false,
        }
    }

    /// An error with a text made now.
    pub fn new(text: impl Into<String>) -> CmdError {
        CmdError {
            text: Cow::Owned(text.into()),
            counted: false,
        }
    }

    /// Wrong number of arguments for `name` (its full name, `config|get` say).
    pub fn arity(name: &str) -> CmdError {
        CmdError::new(format!(
            "ERR wrong number of arguments for '{name}' command"
        ))
    }

    /// A TTL that overflows, is zero or negative, for the command `name`.
    pub fn invalid_expire(name: &str) -> CmdError {
        CmdError::new(format!("ERR invalid expire time in '{name}' command"))
    }

    /// A container command without such a subcommand.
    pub fn unknown_subcommand(container: &[u8], given: &[u8]) -> CmdError {
        let given = shown(given, SHOWN);
        let container = container.to_ascii_uppercase();
        CmdError::new(format!(
            "ERR unknown subcommand '{given}'. Try {} HELP.",
            shown(&container, SHOWN)
        ))
    }

    /// A subcommand with a number of arguments that only its own code finds wrong.
    pub fn subcommand_arity(container: &str, given: &[u8]) -> CmdError {
        let given = shown(given, SHOWN);
        CmdError::new(format!(
            "ERR unknown subcommand or wrong number of arguments for '{given}'. Try {} HELP.",
            container.to_ascii_uppercase()
        ))
    }

    /// EXEC itself was refused, and what was queued is gone.
    pub(crate) fn exec_refused(why: &CmdError) -> CmdError {
        let why = why.text().trim_start_matches("ERR ");
        CmdError::new(format!("EXECABORT Transaction discarded because of: {why}"))
    }

    /// No command of that name; Redis shows the first arguments, up to 128 bytes of them.
    pub fn unknown_command(args: &[&[u8]]) -> CmdError {
        let name = args.first().copied().unwrap_or_default();
        let mut beginning = String::new();
        for arg in args.iter().skip(1) {
            if beginning.len() >= SHOWN {
                break;
            }
            let room = SHOWN - beginning.len();
            beginning.push('\'');
            beginning.push_str(&shown(arg, room));
            beginning.push_str("' ");
        }
        let name = shown(name, SHOWN);
        CmdError::new(format!(
            "ERR unknown command '{name}', with args beginning with: {beginning}"
        ))
    }

    /// The same error, which errorstats are not to count again.
    pub fn counted(mut self) -> CmdError {
        self.counted = true;
        self
    }

    /// Whether errorstats have it already.
    pub fn is_counted(&self) -> bool {
        self.counted
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first word, by which errorstats count.
    pub fn code(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }
}

/// Most bytes of an unknown name that an error repeats.
const SHOWN: usize = 128;

/// What an error repeats of an argument: at most so many bytes, and none after a zero byte, as it is with
/// Redis. Bytes that are no UTF-8 are replaced.
pub fn shown(arg: &[u8], most: usize) -> Cow<'_, str> {
    let arg = arg.get(..most).unwrap_or(arg);
    let end = memchr::memchr(0, arg).unwrap_or(arg.len());
    String::from_utf8_lossy(&arg[..end])
}

impl From<WrongType> for CmdError {
    fn from(_: WrongType) -> CmdError {
        CmdError::WRONG_TYPE
    }
}
