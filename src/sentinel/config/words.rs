//! The words of a line: how they are read, as leniently as Redis reads them, and how they are written.

use super::directives::Written;
use super::{NO_DIRECTIVE, Why};
use crate::resp::quote;
use crate::sentinel::AddressError;
use crate::sentinel::election::LAST_EPOCH;
use crate::sentinel::settings::LONGEST_PERIOD;

const NO_TEXT: &str = "Names, hosts and paths must be UTF-8.";
pub(super) const NO_PORT: &str = "Invalid port number.";
pub(super) const NO_HOST: &str = "Can't resolve instance hostname.";
pub(super) const NO_TIME: &str = "negative or zero time parameter.";

/// What follows the name of a master in a line.
pub(super) struct Line(pub(super) Vec<u8>);

impl Line {
    pub(super) const fn new() -> Line {
        Line(Vec::new())
    }

    pub(super) fn word(mut self, word: impl AsRef<[u8]>) -> Line {
        self.0.push(b' ');
        self.0.append(&mut quoted(word.as_ref()));
        self
    }

    pub(super) fn number(self, number: impl ToString) -> Line {
        self.word(number.to_string())
    }
}

pub(super) fn unless<T: PartialEq + ToString>(value: T, default: T) -> Vec<Line> {
    match value == default {
        true => Vec::new(),
        false => vec![Line::new().number(value)],
    }
}

pub(super) fn unless_empty(value: &(impl AsRef<[u8]> + ?Sized)) -> Vec<Line> {
    match value.as_ref() {
        [] => Vec::new(),
        value => vec![Line::new().word(value)],
    }
}

pub(super) fn flag(value: bool, default: bool) -> Written {
    let word = if value { "yes" } else { "no" };
    match value == default {
        true => Written::Kept(word.into()),
        false => Written::Always(word.into()),
    }
}

pub(super) fn if_any(value: &[u8], written: Vec<u8>) -> Written {
    match value {
        [] => Written::Never,
        _ => Written::Always(written),
    }
}

/// A word as it is read back: as it is, if it can be.
pub(super) fn quoted(word: &[u8]) -> Vec<u8> {
    let plain = |b: &u8| b.is_ascii_graphic() && !b"\"'".contains(b) || *b >= 0x80;
    if !word.is_empty() && word.iter().all(plain) {
        return word.to_vec();
    }
    let mut out = Vec::new();
    quote(&mut out, word);
    out
}

pub(super) fn text(word: &[u8]) -> Result<&str, Why> {
    std::str::from_utf8(word).map_err(|_| NO_TEXT)
}

pub(super) fn yes_or_no(word: &[u8]) -> Option<bool> {
    let is = |known: &[u8]| word.eq_ignore_ascii_case(known);
    (is(b"yes") || is(b"no")).then(|| is(b"yes"))
}

/// Host and port.
pub(super) fn place(words: &[Vec<u8>]) -> Result<(&str, i64), Why> {
    let [host, port, ..] = words else {
        return Err(NO_DIRECTIVE);
    };
    Ok((text(host)?, int(port)))
}

pub(super) const fn no_address(e: AddressError) -> Why {
    match e {
        AddressError::Port => NO_PORT,
        AddressError::Host => NO_HOST,
    }
}

pub(super) fn time(word: &[u8]) -> Result<i64, Why> {
    Some(int(word)).filter(|&time| time > 0).ok_or(NO_TIME)
}

/// A number as C's `atoi` reads it: what follows it does not matter, and what is none is 0.
pub(super) fn int(word: &[u8]) -> i64 {
    let (negative, digits) = match word.trim_ascii_start() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let magnitude = i64::try_from(leading(digits)).unwrap_or(i64::MAX);
    let value = if negative { -magnitude } else { magnitude };
    value.clamp(-LONGEST_PERIOD, LONGEST_PERIOD)
}

/// An epoch, read as leniently.
pub(super) fn epoch(word: &[u8]) -> u64 {
    leading(word.trim_ascii_start()).min(LAST_EPOCH)
}

/// The number that a text begins with.
fn leading(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|b| b.is_ascii_digit());
    digits.fold(0u64, |n, digit| {
        n.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    })
}
