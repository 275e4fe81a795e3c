//! The arguments of a command, and a cursor to parse them with.

use super::error::CmdError;
use crate::util::num;

/// The arguments of a command, its name first. They borrow the connection's read buffer.
#[derive(Debug, Clone, Copy)]
pub struct Args<'a>(&'a [&'a [u8]]);

/// An owned argv: what blocked clients, transactions and scripts keep.
pub type Argv = Vec<Vec<u8>>;

impl<'a> Args<'a> {
    /// Wraps argument slices; there is at least the name.
    pub fn new(args: &'a [&'a [u8]]) -> Args<'a> {
        debug_assert!(!args.is_empty());
        Args(args)
    }

    /// Number of arguments, the name included.
    #[expect(clippy::len_without_is_empty, reason = "there is always a name")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them, the name included.
    pub fn all(&self) -> &'a [&'a [u8]] {
        self.0
    }

    /// The argument at `i` (0 is the name). Arity is checked before a handler runs, so that positions below
    /// the minimum exist; any other position reads as empty.
    pub fn at(&self, i: usize) -> &'a [u8] {
        self.0.get(i).copied().unwrap_or_default()
    }

    /// The argument at `i`, if there is one.
    pub fn get(&self, i: usize) -> Option<&'a [u8]> {
        self.0.get(i).copied()
    }

    /// The arguments from `i` on; none if there are fewer.
    pub fn from(&self, i: usize) -> &'a [&'a [u8]] {
        self.0.get(i..).unwrap_or_default()
    }

    /// Bytes of the command in RESP: what it takes in the query buffer.
    pub fn encoded_len(&self) -> usize {
        let digits = |n: usize| n.checked_ilog10().map_or(1, |d| d as usize + 1);
        let bulk = |a: &&[u8]| 5 + digits(a.len()) + a.len();
        3 + digits(self.len()) + self.0.iter().map(bulk).sum::<usize>()
    }

    /// The argument at `i` as an integer.
    pub fn int(&self, i: usize) -> Result<i64, CmdError> {
        int(self.at(i))
    }

    /// The argument at `i` as a finite or infinite number.
    pub fn float(&self, i: usize) -> Result<f64, CmdError> {
        num::parse_f64(self.at(i)).ok_or(CmdError::NOT_FLOAT)
    }

    /// A cursor that stands at `i`.
    pub fn cursor(&self, i: usize) -> Cursor<'a> {
        Cursor {
            args: self.0,
            at: i,
        }
    }

    /// An owned copy.
    pub fn to_argv(&self) -> Argv {
        self.0.iter().map(|a| a.to_vec()).collect()
    }
}

/// A 64-bit integer, as Redis reads one from an argument.
pub fn int(arg: &[u8]) -> Result<i64, CmdError> {
    num::parse_i64(arg).ok_or(CmdError::NOT_INTEGER)
}

/// Walks over optional arguments.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    args: &'a [&'a [u8]],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The next argument, or a syntax error.
    pub fn word(&mut self) -> Result<&'a [u8], CmdError> {
        self.next().ok_or(CmdError::SYNTAX)
    }

    /// The next argument as an integer; a syntax error if there is none.
    pub fn int(&mut self) -> Result<i64, CmdError> {
        int(self.word()?)
    }

    /// Takes the next argument if it is this token, in any case.
    pub fn token(&mut self, token: &str) -> bool {
        let hit = self.peek().is_some_and(|a| is(a, token));
        self.at += usize::from(hit);
        hit
    }

    /// The next argument, left where it is.
    pub fn peek(&self) -> Option<&'a [u8]> {
        self.args.get(self.at).copied()
    }

    /// How many are left.
    pub fn left(&self) -> usize {
        self.args.len().saturating_sub(self.at)
    }

    /// The position of the next argument.
    pub fn position(&self) -> usize {
        self.at
    }

    /// All that are left.
    pub fn rest(&self) -> &'a [&'a [u8]] {
        self.args.get(self.at..).unwrap_or_default()
    }
}

impl<'a> Iterator for Cursor<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let arg = self.peek()?;
        self.at += 1;
        Some(arg)
    }
}

/// Whether an argument is a token, in any case.
pub fn is(arg: &[u8], token: &str) -> bool {
    arg.eq_ignore_ascii_case(token.as_bytes())
}
