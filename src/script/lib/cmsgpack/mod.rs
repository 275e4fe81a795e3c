//! The `cmsgpack` library: MessagePack for scripts, with the texts and limits of lua-cmsgpack 0.4.0.

mod decode;
mod encode;

use mlua::{Lua, Result, Table, Value};

use super::{Out, STACK, function, results};
use crate::script::fault::{bad_argument, located};
use crate::script::passed::Passed;
use crate::script::watch::Watch;

/// The library.
pub(super) fn library(lua: &Lua, limit: usize) -> Result<Table> {
    let library = lua.create_table()?;
    library.raw_set("pack", function(lua, limit, pack)?)?;
    library.raw_set("unpack", function(lua, limit, unpack)?)?;
    library.raw_set("unpack_one", function(lua, limit, unpack_one)?)?;
    library.raw_set("unpack_limit", function(lua, limit, unpack_limit)?)?;
    library.raw_set("_NAME", "cmsgpack")?;
    library.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    library.raw_set("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo")?;
    library.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    Ok(library)
}

/// All arguments, one behind the other.
fn pack(args: &Passed<'_>, watch: &mut Watch<'_>) -> Result<Value> {
    if args.len() == 0 {
        return Err(bad_argument(args.lua, 0, "MessagePack pack needs input."));
    }
    if args.len() * 2 > STACK {
        let why = "Too many arguments for MessagePack pack.";
        return Err(bad_argument(args.lua, 0, why));
    }
    let mut encoder = encode::Encoder::new(watch);
    for at in 0..args.len() {
        encoder.value(args.get(at).unwrap_or(&Value::Nil), 0)?;
    }
    let packed = args.lua.create_string(encoder.finish())?;
    Ok(Value::String(packed))
}

/// All values of a text.
fn unpack(args: &Passed<'_>, watch: &mut Watch<'_>) -> Result<mlua::Variadic<Out>> {
    unpack_some(args, watch, &Some(args.len()), 0, 0)
}

/// The value at an offset, behind the offset of the next one.
fn unpack_one(args: &Passed<'_>, watch: &mut Watch<'_>) -> Result<mlua::Variadic<Out>> {
    let offset = args.integer_or(1, 0)?;
    unpack_some(args, watch, &None, 1, offset)
}

/// So many values from an offset on, behind the offset of the next one.
fn unpack_limit(args: &Passed<'_>, watch: &mut Watch<'_>) -> Result<mlua::Variadic<Out>> {
    let limit = args.integer(1)?;
    let offset = args.integer_or(2, 0)?;
    unpack_some(args, watch, &None, limit, offset)
}

/// `kept` arguments stay on the stack; one if nothing is said. No limit and no offset mean all values, without an
/// offset before them.
fn unpack_some(
    args: &Passed<'_>,
    watch: &mut Watch<'_>,
    kept: &Option<usize>,
    limit: i64,
    offset: i64,
) -> Result<mlua::Variadic<Out>> {
    let lua = args.lua;
    let text = args.text(0)?;
    let text = text.as_bytes();
    let len = text.len();
    if limit < 0 || offset < 0 {
        // It is the length that is told for the limit.
        let (offset, len) = (offset as i32, len as i32);
        let why = format!("Invalid request to unpack with offset of {offset} and limit of {len}.");
        return Err(located(lua, why));
    }
    let Some(rest) = usize::try_from(offset).ok().and_then(|n| text.get(n..)) else {
        let (offset, len) = (offset as i32, len as i32);
        let why = format!("Start offset {offset} greater than input length {len}.");
        return Err(located(lua, why));
    };
    let all = limit == 0 && offset == 0;
    let mut decoder = decode::Decoder::new(lua, watch, rest, kept.unwrap_or(1));
    let mut values = Vec::new();
    while !decoder.is_done() && (all || (values.len() as i64) < limit) {
        values.push(decoder.value()?);
    }
    if !all {
        let next = if decoder.is_done() {
            -1.0
        } else {
            (len - decoder.left()) as f64
        };
        values.insert(0, super::Read::Value(Value::Number(next)));
    }
    results(lua, values)
}
