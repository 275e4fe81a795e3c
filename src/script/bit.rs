//! The `bit` library: operations on 32-bit integers, with the semantics of LuaJIT's.

use mlua::{Function, Lua, MultiValue, Result, Table};

use super::fault::{bad_argument, type_name};

/// The library.
pub(super) fn library(lua: &Lua) -> Result<Table> {
    let library = lua.create_table()?;
    library.raw_set("tobit", unary(lua, "tobit", |x| x)?)?;
    library.raw_set("bnot", unary(lua, "bnot", |x| !x)?)?;
    library.raw_set("bswap", unary(lua, "bswap", i32::swap_bytes)?)?;
    library.raw_set("band", fold(lua, "band", |a, b| a & b)?)?;
    library.raw_set("bor", fold(lua, "bor", |a, b| a | b)?)?;
    library.raw_set("bxor", fold(lua, "bxor", |a, b| a ^ b)?)?;
    library.raw_set("lshift", shift(lua, "lshift", i32::wrapping_shl)?)?;
    library.raw_set(
        "rshift",
        shift(lua, "rshift", |x, n| (x as u32).wrapping_shr(n) as i32)?,
    )?;
    library.raw_set("arshift", shift(lua, "arshift", i32::wrapping_shr)?)?;
    library.raw_set("rol", shift(lua, "rol", i32::rotate_left)?)?;
    library.raw_set("ror", shift(lua, "ror", i32::rotate_right)?)?;
    library.raw_set("tohex", lua.create_function(tohex)?)?;
    Ok(library)
}

fn unary(lua: &Lua, name: &'static str, op: fn(i32) -> i32) -> Result<Function> {
    lua.create_function(move |lua, args: MultiValue| Ok(op(operand(lua, &args, 0, name)?)))
}

fn fold(lua: &Lua, name: &'static str, op: fn(i32, i32) -> i32) -> Result<Function> {
    lua.create_function(move |lua, args: MultiValue| {
        let first = operand(lua, &args, 0, name)?;
        (1..args.len()).try_fold(first, |acc, i| Ok(op(acc, operand(lua, &args, i, name)?)))
    })
}

/// Only the lower five bits of the distance count.
fn shift(lua: &Lua, name: &'static str, op: fn(i32, u32) -> i32) -> Result<Function> {
    lua.create_function(move |lua, args: MultiValue| {
        let value = operand(lua, &args, 0, name)?;
        let distance = operand(lua, &args, 1, name)? as u32 & 31;
        Ok(op(value, distance))
    })
}

/// Hexadecimal digits: eight, or as many as the second argument says; upper case if that is negative.
fn tohex(lua: &Lua, args: MultiValue) -> Result<String> {
    let value = operand(lua, &args, 0, "tohex")?;
    let wanted = if args.len() > 1 {
        operand(lua, &args, 1, "tohex")?
    } else {
        8
    };
    let digits = wanted.unsigned_abs().min(8) as usize;
    let all = if wanted < 0 {
        format!("{value:08X}")
    } else {
        format!("{value:08x}")
    };
    Ok(all[8 - digits..].to_owned())
}

/// A number reduced to 32 bits: rounded to the nearest integer, ties to even, modulo 2^32.
fn operand(lua: &Lua, args: &MultiValue, at: usize, name: &str) -> Result<i32> {
    let value = args.get(at);
    let number = match value {
        Some(value) => lua.coerce_number(value.clone())?,
        None => None,
    };
    match number {
        Some(n) => Ok(to_bits(n)),
        None => {
            let why = format!("number expected, got {}", type_name(value));
            Err(bad_argument(lua, at + 1, name, &why))
        }
    }
}

fn to_bits(n: f64) -> i32 {
    if !n.is_finite() {
        return 0;
    }
    let n = n.round_ties_even().rem_euclid(4_294_967_296.0);
    n as u32 as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_and_wrapped() {
        for (n, bits) in [
            (2.5, 2),
            (3.5, 4),
            (-2.5, -2),
            (4_294_967_301.0, 5),
            (-1.0, -1),
            (2_147_483_648.0, i32::MIN),
            (f64::INFINITY, 0),
            (f64::NAN, 0),
            (9_007_199_254_740_992.0, 0),
        ] {
            assert_eq!(to_bits(n), bits, "{n}");
        }
    }
}
