//! The libraries that scripts find beside Lua's own.

mod bit;
mod cjson;
mod cmsgpack;
mod packing;

use mlua::{Function, Lua, MultiValue, Result, Table, Value};

use super::api::Unlimited;
use super::convert::{self, Item};
use super::passed::Passed;
use super::watch::Watch;

/// All of them, by name. `limit` is the memory limit that is in force while a script runs.
pub(super) fn all(lua: &Lua, limit: usize) -> Result<Table> {
    let all = lua.create_table()?;
    all.raw_set("bit", bit::library(lua)?)?;
    all.raw_set("cjson", cjson::library(lua, limit)?)?;
    all.raw_set("cmsgpack", cmsgpack::library(lua, limit)?)?;
    all.raw_set("struct", packing::library(lua, limit)?)?;
    Ok(all)
}

/// What a function of a library does with its arguments. It has a watch over its work.
type Body<R> = fn(&Passed<'_>, &mut Watch<'_>) -> Result<R>;

/// A function of a library.
fn function<R: mlua::IntoLuaMulti + 'static>(
    lua: &Lua,
    limit: usize,
    body: Body<R>,
) -> Result<Function> {
    lua.create_function(move |lua, args: MultiValue| {
        let _unlimited = Unlimited::new(lua, limit)?;
        let mut watch = Watch::new(lua, limit);
        body(&Passed::new(lua, &args), &mut watch)
    })
}

/// So many values fit on the stack of a function, its arguments among them.
const STACK: usize = 8000;

/// A value that was read from a text. Strings are taken from there when they are handed on.
#[derive(Clone)]
enum Read<'a> {
    Text(&'a [u8]),
    Value(Value),
}

impl<'a> Read<'a> {
    fn item(self, lua: &Lua) -> Result<Item<'a>> {
        match self {
            Read::Text(bytes) => convert::text(lua, bytes),
            Read::Value(value) => Ok(Item::Right(value)),
        }
    }
}

/// What a function returns that read values.
fn results(lua: &Lua, values: Vec<Read<'_>>) -> Result<mlua::Variadic<Out>> {
    values
        .into_iter()
        .map(|value| Ok(value.item(lua)?.map_left(str::to_owned)))
        .collect()
}

/// A value on its way to Lua that has left its text.
type Out = mlua::Either<String, Value>;
