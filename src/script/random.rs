//! `math.random` and `math.randomseed`: the 48-bit linear congruential generator of drand48, as Redis has it, so that
//! a seed gives the sequence it gives there. The generator belongs to the interpreter, not to the process.

use std::sync::Arc;

use mlua::{Function, Lua, MultiValue, Result};
use parking_lot::Mutex;

use super::fault::{bad_argument, located, type_name};

/// The generator.
struct Lrand48(u64);

impl Lrand48 {
    fn seeded(seed: u32) -> Lrand48 {
        Lrand48((u64::from(seed) << 16) + 0x330e)
    }

    /// The next 31 bits, in `0.0..1.0`.
    fn next(&mut self) -> f64 {
        const MASK: u64 = (1 << 48) - 1;
        const RANGE: u64 = 0x7fff_ffff;
        self.0 = self.0.wrapping_mul(0x5_deec_e66d).wrapping_add(0xb) & MASK;
        ((self.0 >> 17) % RANGE) as f64 / RANGE as f64
    }
}

/// `random` and `randomseed`, which start from `seed`.
pub(super) fn functions(lua: &Lua, seed: u64) -> Result<(Function, Function)> {
    let shared = Arc::new(Mutex::new(Lrand48::seeded(seed as u32)));
    let generator = Arc::clone(&shared);
    let random = lua.create_function(move |lua, args: MultiValue| {
        let r = generator.lock().next();
        draw(lua, r, &args)
    })?;
    let randomseed = lua.create_function(move |lua, args: MultiValue| {
        let seed = integer(lua, &args, 0, "randomseed")?;
        *shared.lock() = Lrand48::seeded(seed as u32);
        Ok(())
    })?;
    Ok((random, randomseed))
}

fn draw(lua: &Lua, r: f64, args: &MultiValue) -> Result<f64> {
    const EMPTY: &str = "interval is empty";
    let (low, high, last) = match args.len() {
        0 => return Ok(r),
        1 => (1, integer(lua, args, 0, "random")?, 1),
        2 => (
            integer(lua, args, 0, "random")?,
            integer(lua, args, 1, "random")?,
            2,
        ),
        _ => return Err(located(lua, "wrong number of arguments")),
    };
    if low > high {
        return Err(bad_argument(lua, last, "random", EMPTY));
    }
    let span = high as f64 - low as f64 + 1.0;
    Ok((r * span).floor() + low as f64)
}

fn integer(lua: &Lua, args: &MultiValue, at: usize, name: &str) -> Result<i64> {
    let value = args.get(at);
    let number = match value {
        Some(value) => lua.coerce_number(value.clone())?,
        None => None,
    };
    match number {
        Some(n) => Ok(n as i64),
        None => {
            let why = format!("number expected, got {}", type_name(value));
            Err(bad_argument(lua, at + 1, name, &why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_sequence_it_gives_in_redis() {
        let mut generator = Lrand48::seeded(1);
        assert_eq!(format!("{:.15}", generator.next()), "0.041630344484761");
        let mut generator = Lrand48::seeded(10);
        assert_eq!(format!("{:.14}", generator.next()), "0.87885112309775");
    }
}
