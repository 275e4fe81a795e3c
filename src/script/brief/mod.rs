//! Brief scripts: those that say little more than which commands they call, and need no interpreter to be run.
//!
//! A lock that is given back, a counter with a limit, one command with its arguments: most scripts that run millions of times
//! are no longer than that. What they cost in the interpreter is not the running but the crossing, of strings above all: each
//! is hashed and looked up, copied, and collected later. So scripts of this form are kept as a tree ([`parse`]) beside what
//! was compiled, and walked over ([`run`]):
//!
//! ```text
//! block  = { statement [";"] }
//! statement = "local" name ["=" exp] | name "=" exp | call | "return" [exp]
//!           | "if" exp "then" block {"elseif" exp "then" block} ["else" block] "end"
//! exp    = "nil" | "true" | "false" | number | string | local | "(" exp ")" | KEYS[n] | ARGV[n] | #KEYS | #ARGV
//!        | call | "tonumber" "(" exp ")" | exp and exp | exp or exp | not exp | exp (== ~= < <= > >=) exp
//! call   = "redis" "." "call" "(" [exp {"," exp}] ")"
//! ```
//!
//! Whatever goes beyond that by a single token is run by the interpreter, so there is nothing here that could be called
//! half of Lua. What is here behaves as there, to the text of errors: a test runs the same scripts both ways. There are no
//! loops, so nothing has to be looked at but between commands, as [`Run::command`](super::slot::Run::command) does anyway.

mod parse;
mod run;

pub(super) use run::{Given, Room};

/// A script that needs no interpreter.
#[derive(Debug, PartialEq)]
pub(super) struct Brief {
    body: Vec<Stat>,
    /// How many local variables there are at once.
    locals: usize,
}

#[derive(Debug, PartialEq)]
enum Stat {
    /// Puts a value into a local variable.
    Set(usize, Exp),
    Call(Call),
    /// Conditions with what follows from them, and what does if none holds.
    If(Vec<(Exp, Vec<Stat>)>, Vec<Stat>),
    Return(Exp),
}

#[derive(Debug, PartialEq)]
enum Exp {
    Nil,
    Bool(bool),
    Number(f64),
    Text(Box<[u8]>),
    Local(usize),
    /// One of the keys or arguments, from 0.
    Given(Words, usize),
    /// How many there are.
    Count(Words),
    Call(Call),
    ToNumber(Box<Exp>),
    Not(Box<Exp>),
    And(Box<(Exp, Exp)>),
    Or(Box<(Exp, Exp)>),
    Equal(Box<(Exp, Exp)>),
    /// Whether the first is less, or it may be equal; they were written the other way around.
    Less(Box<Comparison>),
}

#[derive(Debug, PartialEq)]
struct Comparison {
    left: Exp,
    right: Exp,
    or_equal: bool,
    /// It was written with `>` or `>=`: the right one is compared to the left one, and yet the left one comes first.
    swapped: bool,
    line: usize,
}

/// redis.call.
#[derive(Debug, PartialEq)]
struct Call {
    args: Vec<Exp>,
    line: usize,
}

/// KEYS or ARGV.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Words {
    Keys,
    Args,
}
