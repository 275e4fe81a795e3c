//! The `bit` library: operations on 32-bit integers, with the semantics of LuaJIT's.

use mlua::{Function, Lua, MultiValue, Result, Table};

use crate::script::passed::Passed;

/// The library.
pub(super) fn library(lua: &Lua) -> Result<Table> {
    let library = lua.create_table()?;
    library.raw_set("tobit", unary(lua, |x| x)?)?;
    library.raw_set("bnot", unary(lua, |x| !x)?)?;
    library.raw_set("bswap", unary(lua, i32::swap_bytes)?)?;
    library.raw_set("band", fold(lua, |a, b| a & b)?)?;
    library.raw_set("bor", fold(lua, |a, b| a | b)?)?;
    library.raw_set("bxor", fold(lua, |a, b| a ^ b)?)?;
    library.raw_set("lshift", shift(lua, i32::wrapping_shl)?)?;
    library.raw_set(
        "rshift",
        shift(lua, |x, n| (x as u32).wrapping_shr(n) as i32)?,
    )?;
    library.raw_set("arshift", shift(lua, i32::wrapping_shr)?)?;
    library.raw_set("rol", shift(lua, i32::rotate_left)?)?;
    library.raw_set("ror", shift(lua, i32::rotate_right)?)?;
    library.raw_set("tohex", lua.create_function(tohex)?)?;
    Ok(library)
}

fn unary(lua: &Lua, op: fn(i32) -> i32) -> Result<Function> {
    lua.create_function(move |lua, args: MultiValue| Ok(op(operand(lua, &args, 0)?)))
}

fn fold(lua: &Lua, op: fn(i32, i32) -> i32) -> Result<Function> {
    lua.create_function(move |lua, args: MultiValue| {
        let first = operand(lua, &args, 0)?;
        // Of several wrong ones the last is told.
        (1..args.len())
            .rev()
            .try_fold(first, |acc, i| Ok(op(acc, operand(lua, &args, i)?)))
    })
}

/// Only the lower five bits of the distance count.
fn shift(lua: &Lua, op: fn(i32, u32) -> i32) -> Result<Function> {
    lua.create_function(move |lua, args: MultiValue| {
        let value = operand(lua, &args, 0)?;
        let distance = operand(lua, &args, 1)? as u32 & 31;
        Ok(op(value, distance))
    })
}

/// Hexadecimal digits: eight, or as many as the second argument says; upper case if that is negative.
fn tohex(lua: &Lua, args: MultiValue) -> Result<String> {
    let value = operand(lua, &args, 0)?;
    let wanted = if args.len() > 1 {
        operand(lua, &args, 1)?
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

/// A number reduced to 32 bits: rounded to the nearest integer, ties to even, modulo 2^32 if it is not too large.
fn operand(lua: &Lua, args: &MultiValue, at: usize) -> Result<i32> {
    Passed::new(lua, args).number(at).map(to_bits)
}

/// The lower bits of what a double holds when so much is added that its unit is 1, as the library does it: above 2^51 they
/// are those of the mantissa.
fn to_bits(n: f64) -> i32 {
    const UNIT: f64 = 6_755_399_441_055_744.0;
    (n + UNIT).to_bits() as i32
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
            (1e100, 630_506_365),
        ] {
            assert_eq!(to_bits(n), bits, "{n}");
        }
    }
}
