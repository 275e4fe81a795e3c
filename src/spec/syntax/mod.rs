//! The arguments of a command in one line, read into the tree that COMMAND DOCS shows.
//!
//! ```text
//! line    = [ item { ' ' item } ]
//! item    = '[' arg ']'                        optional
//!         | arg
//! arg     = [ token '^' ] core { suffix }      token: the word that introduces the argument
//! core    = name [ ':' type ]                  a value; type: string (the default), key, int, double,
//!                                              unix-time, pattern
//!         | [ name '=' ] token                 the word alone; its name is the word in lower case
//!         | name '=' '(' item { '|' item } ')' one of
//!         | name '=' '{' line '}'              a block, all of it in this order
//! suffix  = '...' [ '^' ] [ '=' name ]         repeated; '^': its token too, each time; '=': as often as
//!                                              the number of that name says, or the arguments of it occur
//!         | '#' digit                          index of the key spec, where it is not 0 (or is no key)
//!         | '"' text '"'                       display text, where it is not the name
//!         | '@' version                        since
//!         | '!' version                        deprecated since
//! token   = WORD without lower case letters | '\'' any text '\''
//! ```
//!
//! So `key:key [LIMIT^limit={offset:int count:int}] [order=(ASC | DESC)] [GET^p:pattern...^#1]`.

mod generate;
mod parse;
mod usage;

use std::borrow::Cow;

pub use generate::Choices;
pub use parse::SyntaxError;

/// The arguments of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Syntax<'a> {
    /// In their order.
    pub args: Vec<Arg<'a>>,
}

/// One argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// What it is.
    pub kind: Kind<'a>,
    /// The word that introduces it, or that it is.
    pub token: Option<&'a str>,
    /// May be left out.
    pub optional: bool,
    /// May be repeated.
    pub multiple: bool,
    /// Repeated with its token.
    pub multiple_token: bool,
    /// Name of the argument that tells how often it is repeated.
    pub count: Option<&'a str>,
    /// Which of the command's key specs finds it.
    pub key_spec: Option<u8>,
    /// First version that had it.
    pub since: Option<&'a str>,
    /// Deprecated since.
    pub deprecated: Option<&'a str>,
    display: Option<&'a str>,
}

/// What an argument is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// Any bytes.
    String,
    /// A key.
    Key,
    /// A whole number.
    Integer,
    /// A number with a fraction.
    Double,
    /// Seconds or milliseconds since 1970.
    UnixTime,
    /// A glob.
    Pattern,
    /// The word alone.
    PureToken,
    /// Exactly one of these.
    OneOf(Vec<Arg<'a>>),
    /// All of these.
    Block(Vec<Arg<'a>>),
}

impl<'a> Kind<'a> {
    /// The name of the type in COMMAND DOCS.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Key => "key",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::UnixTime => "unix-time",
            Self::Pattern => "pattern",
            Self::PureToken => "pure-token",
            Self::OneOf(_) => "oneof",
            Self::Block(_) => "block",
        }
    }

    /// The arguments inside.
    pub fn inner(&self) -> &[Arg<'a>] {
        match self {
            Self::OneOf(args) | Self::Block(args) => args,
            _ => &[],
        }
    }
}

impl Arg<'_> {
    /// What a person is shown in its place; nothing for what only holds others.
    pub fn display(&self) -> Option<&str> {
        match self.kind {
            Kind::OneOf(_) | Kind::Block(_) => None,
            _ => Some(self.display.unwrap_or(&self.name)),
        }
    }

    /// Fewest words it takes when it is there, and whether it never takes more.
    fn extent(&self) -> (u16, bool) {
        let (inner, fixed) = match &self.kind {
            Kind::PureToken => (0, true),
            Kind::Block(args) => extent(args),
            Kind::OneOf(args) => {
                let each: Vec<_> = args.iter().map(Arg::extent).collect();
                let least = each.iter().map(|e| e.0).min().unwrap_or(0);
                (least, each.iter().all(|&e| e == (least, true)))
            }
            _ => (1, true),
        };
        (
            inner + u16::from(self.token.is_some()),
            fixed && !self.multiple,
        )
    }
}

fn extent(args: &[Arg<'_>]) -> (u16, bool) {
    args.iter()
        .fold((0, true), |(n, fixed), a| match a.extent() {
            _ if a.optional => (n, false),
            (m, f) => (n + m, fixed && f),
        })
}

impl<'a> Syntax<'a> {
    /// Reads a line.
    pub fn parse(line: &'a str) -> Result<Self, SyntaxError> {
        parse::parse(line).map(|args| Self { args })
    }

    /// The arity that follows, for a name of this many words: negative when it is a minimum.
    pub fn arity(&self, words: u16) -> i16 {
        let (n, fixed) = extent(&self.args);
        let n = i16::try_from(n + words).unwrap_or(i16::MAX);
        if fixed { n } else { -n }
    }
}

#[cfg(test)]
mod tests;
