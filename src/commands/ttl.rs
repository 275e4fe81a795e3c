//! The TTL options that SET, GETEX, MSETEX and INCREX share.

use crate::exec::CmdError;
use crate::exec::args::{Cursor, int, is};
use crate::keyspace::NEVER;

/// How a TTL is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Seconds from now.
    Ex,
    /// Milliseconds from now.
    Px,
    /// Unix time in seconds.
    ExAt,
    /// Unix time in milliseconds.
    PxAt,
}

/// What a command says about the TTL. The number is read only when it is needed: a syntax error goes before a bad one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ttl<'a> {
    /// Nothing.
    Unsaid,
    /// KEEPTTL.
    Keep,
    /// PERSIST.
    Persist,
    /// EX, PX, EXAT or PXAT.
    In(Unit, &'a [u8]),
}

impl<'a> Ttl<'a> {
    /// Takes `word` as one of EX, PX, EXAT and PXAT, its number from the cursor; whether it was one. The same may be said
    /// twice, the last time counts; different ones exclude each other.
    pub(super) fn take_unit(
        &mut self,
        word: &[u8],
        rest: &mut Cursor<'a>,
    ) -> Result<bool, CmdError> {
        let Some(unit) = Unit::named(word) else {
            return Ok(false);
        };
        match self {
            Ttl::Unsaid => {}
            Ttl::In(before, _) if *before == unit => {}
            _ => return Err(CmdError::SYNTAX),
        }
        *self = Ttl::In(unit, rest.word()?);
        Ok(true)
    }

    /// Takes `word` as this option, if it is the `token`; whether it was. Others exclude it.
    pub(super) fn take_token(
        &mut self,
        word: &[u8],
        token: &str,
        meaning: Ttl<'a>,
    ) -> Result<bool, CmdError> {
        if !is(word, token) {
            return Ok(false);
        }
        if *self != Ttl::Unsaid && *self != meaning {
            return Err(CmdError::SYNTAX);
        }
        *self = meaning;
        Ok(true)
    }

    /// Whether it names a time in unix milliseconds, which is the same everywhere.
    pub(super) const fn is_absolute(self) -> bool {
        matches!(self, Ttl::In(Unit::PxAt, _))
    }

    /// The deadline, where one is given; errors name the `command`.
    pub(super) fn deadline(self, now: i64, command: &str) -> Result<Option<i64>, CmdError> {
        match self {
            Ttl::In(unit, number) => unit.deadline(number, now, command).map(Some),
            _ => Ok(None),
        }
    }
}

impl Unit {
    fn named(word: &[u8]) -> Option<Unit> {
        [
            ("EX", Unit::Ex),
            ("PX", Unit::Px),
            ("EXAT", Unit::ExAt),
            ("PXAT", Unit::PxAt),
        ]
        .into_iter()
        .find(|(name, _)| is(word, name))
        .map(|(_, unit)| unit)
    }

    /// The deadline in unix milliseconds. A number that is not positive or too large is refused, time gone by is not.
    pub(super) fn deadline(self, number: &[u8], now: i64, command: &str) -> Result<i64, CmdError> {
        let number = int(number)?;
        let scale = if matches!(self, Unit::Ex | Unit::ExAt) {
            1000
        } else {
            1
        };
        let base = if matches!(self, Unit::Ex | Unit::Px) {
            now
        } else {
            0
        };
        let at = number
            .checked_mul(scale)
            .and_then(|ms| ms.checked_add(base));
        match at {
            Some(at) if number > 0 => Ok(at.min(NEVER - 1)),
            _ => Err(CmdError::invalid_expire(command)),
        }
    }
}
