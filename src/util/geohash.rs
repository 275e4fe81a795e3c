//! Geohashes: places on the globe as numbers, near places mostly as near numbers.
//!
//! A grid of 2^step by 2^step cells covers the map. The number of a cell has the bits of its column and of its row
//! by turns, the column first, so that a cell of a coarser grid is a range of numbers of the finest one. That one has
//! 26 steps: its numbers have 52 bits and are exact as scores of a sorted set.
//!
//! The map is that of web maps (EPSG:3857) and ends before the poles. All arithmetic is done in Redis's order, so
//! that the numbers are Redis's to the last bit.

use std::ops::Range;

/// The greatest longitude, east and west.
pub const MAX_LONGITUDE: f64 = 180.0;
/// The greatest latitude, north and south.
pub const MAX_LATITUDE: f64 = 85.051_128_78;
/// The finest grid.
pub const STEPS: u32 = 26;

/// A place, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// East is positive.
    pub longitude: f64,
    /// North is positive.
    pub latitude: f64,
}

impl Point {
    /// Whether the map has it.
    pub fn is_on_map(self) -> bool {
        self.longitude.abs() <= MAX_LONGITUDE && self.latitude.abs() <= MAX_LATITUDE
    }

    /// The nearest place that the map has.
    #[must_use]
    pub fn onto_map(self) -> Point {
        Point {
            longitude: self.longitude.clamp(-MAX_LONGITUDE, MAX_LONGITUDE),
            latitude: self.latitude.clamp(-MAX_LATITUDE, MAX_LATITUDE),
        }
    }

    /// The place as the score of a member.
    pub fn score(self) -> f64 {
        Cell::of(self, STEPS).scores().start
    }

    /// The place that a score stands for: the middle of a cell of the finest grid.
    pub fn from_score(score: f64) -> Point {
        let bounds = Cell {
            bits: score_bits(score),
            step: STEPS,
        }
        .bounds();
        let middle = |(min, max): (f64, f64)| (min + max) / 2.0;
        Point {
            longitude: middle(bounds.longitude),
            latitude: middle(bounds.latitude),
        }
        .onto_map()
    }

    /// The geohash in the usual letters. It counts latitudes from pole to pole, and of its eleven letters the last one
    /// always stands for zero.
    pub fn letters(self) -> [u8; 11] {
        const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = Cell::on(self, STEPS, 90.0).bits;
        std::array::from_fn(|i| match (2 * STEPS as usize).checked_sub(5 * (i + 1)) {
            Some(shift) => ALPHABET[(bits >> shift & 31) as usize],
            None => ALPHABET[0],
        })
    }
}

/// A score as a number of 64 bits, as C on x86-64 converts one: anybody may store any score.
fn score_bits(score: f64) -> u64 {
    const LIMIT: f64 = (1u64 << 63) as f64;
    if score < LIMIT {
        (score as i64) as u64
    } else if score < LIMIT * 2.0 {
        score as u64
    } else {
        0
    }
}

/// What a cell covers, in degrees: least and greatest longitude and latitude.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// West and east.
    pub longitude: (f64, f64),
    /// South and north.
    pub latitude: (f64, f64),
}

/// A cell of one of the grids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    bits: u64,
    step: u32,
}

/// The bits of the column.
const COLUMN: u64 = 0xaaaa_aaaa_aaaa_aaaa;
/// The bits of the row.
const ROW: u64 = 0x5555_5555_5555_5555;

impl Cell {
    /// The cell of a place on the map, in the grid of this step (1 to [`STEPS`]).
    pub fn of(point: Point, step: u32) -> Cell {
        Cell::on(point, step, MAX_LATITUDE)
    }

    /// The cell on a map that ends at another latitude.
    fn on(point: Point, step: u32, max_latitude: f64) -> Cell {
        let cells = (1u64 << step) as f64;
        let offset = |at: f64, max: f64| ((at + max) / (max + max) * cells) as u32;
        let row = offset(point.latitude, max_latitude);
        let column = offset(point.longitude, MAX_LONGITUDE);
        Cell {
            bits: spread(row) | spread(column) << 1,
            step,
        }
    }

    /// What it covers.
    pub fn bounds(self) -> Bounds {
        let cells = (1u64 << self.step) as f64;
        let at = |offset: u32, max: f64| -max + (f64::from(offset) / cells) * (max + max);
        let side = |offset: u32, max| (at(offset, max), at(offset.wrapping_add(1), max));
        Bounds {
            longitude: side(gather(self.bits >> 1), MAX_LONGITUDE),
            latitude: side(gather(self.bits), MAX_LATITUDE),
        }
    }

    /// The cell so many columns to the east and so many rows to the north, -1 to 1 of each. The map has no edges: west
    /// of the westernmost column is the easternmost, and so with rows.
    #[must_use]
    pub fn neighbour(self, east: i8, north: i8) -> Cell {
        let own = u64::MAX >> (64 - 2 * self.step);
        let bits = self.bits;
        let column = shift(bits & COLUMN, COLUMN & own, ROW & own, east);
        let row = shift(bits & ROW, ROW & own, COLUMN & own, north);
        Cell {
            bits: column | row,
            ..self
        }
    }

    /// The scores of the places that it covers.
    pub fn scores(self) -> Range<f64> {
        let align = |bits: u64| (bits << (2 * (STEPS - self.step))) as f64;
        align(self.bits)..align(self.bits + 1)
    }
}

/// Moves the coordinate that has these bits among others by one: with the others set a carry runs through them.
fn shift(bits: u64, own: u64, others: u64, by: i8) -> u64 {
    match by {
        0 => bits,
        1.. => bits.wrapping_add(others + 1) & own,
        _ => (bits | others).wrapping_sub(others + 1) & own,
    }
}

/// Puts the bits of a number into every second bit.
fn spread(n: u32) -> u64 {
    let mut bits = u64::from(n);
    for (by, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, ROW),
    ] {
        bits = (bits | bits << by) & mask;
    }
    bits
}

/// Takes every second bit.
fn gather(bits: u64) -> u32 {
    let mut bits = bits & ROW;
    for (by, mask) in [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ] {
        bits = (bits | bits >> by) & mask;
    }
    bits as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point(longitude: f64, latitude: f64) -> Point {
        Point {
            longitude,
            latitude,
        }
    }

    /// A coordinate as Redis prints it.
    fn shown(degrees: f64) -> String {
        let text = format!("{degrees:.17}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }

    #[test]
    fn scores_and_letters_are_those_that_a_real_redis_gave() {
        for (longitude, latitude, score, east, north, letters) in [
            (
                0.0,
                0.0,
                3377699720527872.0,
                "0.00000268220901489",
                "0.00000126736058093",
                "s0000000000",
            ),
            (
                180.0,
                85.05112878,
                13510798882111488.0,
                "180",
                "85.0511287799999991",
                "bp05b5048p0",
            ),
            (
                -180.0,
                -85.05112878,
                0.0,
                "-179.99999731779098511",
                "-85.05112751263942528",
                "00bh0hbj200",
            ),
            (
                13.361389,
                38.115556,
                3479099956230698.0,
                "13.36138933897018433",
                "38.11555639549629859",
                "sqc8b49rny0",
            ),
            (
                15.087269,
                37.502669,
                3479447370796909.0,
                "15.08726745843887329",
                "37.50266842333162032",
                "sqdtr74hyu0",
            ),
            (
                -122.27652,
                37.805186,
                1367952638197536.0,
                "-122.27652043104171753",
                "37.80518485897756165",
                "9q9p1d0znt0",
            ),
            (
                -5.6,
                42.6,
                2157242200379188.0,
                "-5.59999912977218628",
                "42.6000002789257266",
                "ezs42e44yx0",
            ),
            (
                179.9999999,
                -85.05,
                3002399751663611.0,
                "179.99999731779098511",
                "-85.04999956172352427",
                "pbzupvpgzf0",
            ),
            (
                -131.62887211953557,
                59.06373527932956,
                1570685688018030.0,
                "-131.62887364625930786",
                "59.06373406964146966",
                "c4d2h8nz0y0",
            ),
            (
                54.573470180194676,
                49.08296969303723,
                3807192688577344.0,
                "54.57347184419631958",
                "49.0829704076475366",
                "v0wz1z71n00",
            ),
            (
                -146.21054876127545,
                -80.18092899125892,
                45428198449036.0,
                "-146.21054738759994507",
                "-80.18092948541251985",
                "0c8pbgs8pr0",
            ),
        ] {
            let at = point(longitude, latitude);
            assert_eq!(at.score(), score, "{at:?}");
            let back = Point::from_score(score);
            assert_eq!(
                (&*shown(back.longitude), &*shown(back.latitude)),
                (east, north)
            );
            assert_eq!(std::str::from_utf8(&back.letters()), Ok(letters));
        }
    }

    #[test]
    fn any_score_is_read_as_by_redis() {
        for (score, east, north, letters) in [
            (-1.0, "180", "85.0511287799999991", "bp05b5048p0"),
            (
                1.5,
                "-179.99999731779098511",
                "-85.05112497791824921",
                "00bh0hbj210",
            ),
            (1e17, "180", "85.0511287799999991", "bp05b5048p0"),
            (
                9007199254740993.0,
                "180",
                "-85.05112751263942528",
                "00bh0hbj200",
            ),
            (
                9223372036854775808.0,
                "180",
                "-85.05112751263942528",
                "00bh0hbj200",
            ),
            (1e19, "180", "85.0511287799999991", "bp05b5048p0"),
            (
                1e20,
                "-179.99999731779098511",
                "-85.05112751263942528",
                "00bh0hbj200",
            ),
            (
                f64::INFINITY,
                "-179.99999731779098511",
                "-85.05112751263942528",
                "00bh0hbj200",
            ),
            (
                f64::NEG_INFINITY,
                "180",
                "-85.05112751263942528",
                "00bh0hbj200",
            ),
            (-1e30, "180", "-85.05112751263942528", "00bh0hbj200"),
            (
                4503599627370496.0,
                "-179.99999731779098511",
                "85.0511287799999991",
                "bp05b5048p0",
            ),
            (
                4503599627370495.0,
                "179.99999731779098511",
                "85.05112751263942528",
                "zzpgzgpfxz0",
            ),
        ] {
            let at = Point::from_score(score);
            assert_eq!(
                (&*shown(at.longitude), &*shown(at.latitude)),
                (east, north),
                "{score}"
            );
            assert_eq!(std::str::from_utf8(&at.letters()), Ok(letters), "{score}");
        }
    }

    #[test]
    fn ties_are_printed_as_c_prints_them() {
        // 18 digits behind the dot, the last one a five: to the even one.
        let tie = |n: f64| format!("{:.17}", n / 262_144.0);
        assert_eq!(tie(1.0), "0.00000381469726562");
        assert_eq!(tie(3.0), "0.00001144409179688");
    }

    proptest! {
        #[test]
        fn neighbours_are_one_cell_away(
            longitude in -179.0..179.0,
            latitude in -84.0..84.0,
            step in 1u32..=STEPS,
            east in -1i8..=1,
            north in -1i8..=1,
        ) {
            let cell = Cell::of(point(longitude, latitude), step);
            let bounds = cell.bounds();
            prop_assert!((bounds.longitude.0..=bounds.longitude.1).contains(&longitude));
            prop_assert!((bounds.latitude.0..=bounds.latitude.1).contains(&latitude));
            let cells = 1i64 << step;
            let (row, column) = (gather(cell.bits), gather(cell.bits >> 1));
            let moved = cell.neighbour(east, north);
            let by = |n: u32, by: i8| (i64::from(n) + i64::from(by)).rem_euclid(cells);
            prop_assert_eq!(i64::from(gather(moved.bits)), by(row, north));
            prop_assert_eq!(i64::from(gather(moved.bits >> 1)), by(column, east));
        }

        #[test]
        fn a_cell_is_a_range_of_scores(
            longitude in -180.0..=180.0,
            latitude in -85.0..=85.0,
            step in 1u32..=STEPS,
        ) {
            let at = point(longitude, latitude);
            prop_assert!(Cell::of(at, step).scores().contains(&at.score()));
            let back = Point::from_score(at.score());
            prop_assert!((back.longitude - longitude).abs() < 1e-5);
            prop_assert!((back.latitude - latitude).abs() < 1e-5);
            prop_assert_eq!(back.score(), at.score());
        }
    }
}
