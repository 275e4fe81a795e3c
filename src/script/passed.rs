//! The arguments that a library function was passed, read as Lua's auxiliary library reads them.

use mlua::{Error, Lua, LuaString, MultiValue, Result, Value};

use super::convert::truncated;
use super::fault::{bad_argument, type_name};

/// The arguments of a call. They are counted from 0 here, and from 1 in messages.
pub(super) struct Passed<'a> {
    pub(super) lua: &'a Lua,
    args: &'a MultiValue,
    /// What is said to be where an argument is missing.
    missing: &'static str,
}

impl<'a> Passed<'a> {
    pub(super) fn new(lua: &'a Lua, args: &'a MultiValue) -> Passed<'a> {
        Passed {
            lua,
            args,
            missing: type_name(None),
        }
    }

    /// The same with a nil behind the last one, as some functions leave it there.
    pub(super) fn before_nil(&self) -> Passed<'a> {
        Passed {
            missing: type_name(Some(&Value::Nil)),
            ..*self
        }
    }

    pub(super) fn len(&self) -> usize {
        self.args.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&'a Value> {
        self.args.get(at)
    }

    /// An argument that is neither missing nor nil.
    pub(super) fn given(&self, at: usize) -> Option<&'a Value> {
        self.get(at).filter(|value| !value.is_nil())
    }

    /// A number, or a string that reads as one.
    pub(super) fn number(&self, at: usize) -> Result<f64> {
        let number = match self.get(at) {
            Some(value) => self.lua.coerce_number(value.clone())?,
            None => None,
        };
        number.ok_or_else(|| self.mistyped(at, "number"))
    }

    /// A number without its fraction.
    pub(super) fn integer(&self, at: usize) -> Result<i64> {
        self.number(at).map(truncated)
    }

    /// The same, if it is given.
    pub(super) fn integer_or(&self, at: usize, default: i64) -> Result<i64> {
        match self.given(at) {
            Some(_) => self.integer(at),
            None => Ok(default),
        }
    }

    /// A number as a C `int`, which loses what is beyond 32 bits.
    pub(super) fn int(&self, at: usize) -> Result<i32> {
        self.integer(at).map(|n| n as i32)
    }

    /// A string, or a number in its digits.
    pub(super) fn text(&self, at: usize) -> Result<LuaString> {
        let text = match self.get(at) {
            Some(value) => self.lua.coerce_string(value.clone())?,
            None => None,
        };
        text.ok_or_else(|| self.mistyped(at, "string"))
    }

    /// An argument is of another type than wanted.
    fn mistyped(&self, at: usize, wanted: &str) -> Error {
        let found = match self.get(at) {
            None => self.missing,
            found => type_name(found),
        };
        self.wrong(at, format!("{wanted} expected, got {found}"))
    }

    /// An argument is wrong.
    pub(super) fn wrong(&self, at: usize, why: impl AsRef<[u8]>) -> Error {
        bad_argument(self.lua, at + 1, why)
    }
}
