//! `math.random` and `math.randomseed`: the 48-bit linear congruential generator of drand48, as Redis has it, so that
//! a seed gives the sequence it gives there. The generator belongs to the interpreter, not to the process.

use std::sync::Arc;

use mlua::{Function, Lua, MultiValue, Result};
use parking_lot::Mutex;

use super::fault::located;
use super::passed::Passed;

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
        draw(&Passed::new(lua, &args), r)
    })?;
    let randomseed = lua.create_function(move |lua, args: MultiValue| {
        let seed = Passed::new(lua, &args).int(0)?;
        *shared.lock() = Lrand48::seeded(seed.cast_unsigned());
        Ok(())
    })?;
    Ok((random, randomseed))
}

fn draw(args: &Passed<'_>, r: f64) -> Result<f64> {
    const EMPTY: &str = "interval is empty";
    let (low, high) = match args.len() {
        0 => return Ok(r),
        1 => (1, args.int(0)?),
        2 => (args.int(0)?, args.int(1)?),
        _ => return Err(located(args.lua, "wrong number of arguments")),
    };
    if low > high {
        return Err(args.wrong(args.len() - 1, EMPTY));
    }
    // More than 31 bits are lost, as in C.
    let span = if args.len() == 1 {
        high
    } else {
        high.wrapping_sub(low).wrapping_add(1)
    };
    Ok((r * f64::from(span)).floor() + f64::from(low))
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
