//! Geographic indexes.
//!
//! No two members are ever at the same place, and none is where a search begins: who comes first among members that are
//! equally far is left to chance.

use super::super::common::Argv;
use super::super::generate::{GEOS, Generator, ZSETS};
use rand::Rng;

const UNITS: &[&str] = &["m", "km", "ft", "mi", "KM"];

impl Generator {
    pub fn geo(&mut self) -> Argv {
        let k = self.key(GEOS);
        match self.rng.random_range(0..20) {
            0..6 => self.geoadd(k),
            6 => {
                let mut argv = cmd!["GEOPOS", k];
                self.places(&mut argv);
                argv
            }
            7 => {
                let mut argv = cmd!["GEOHASH", k];
                self.places(&mut argv);
                argv
            }
            8 | 9 => {
                let mut argv = cmd!["GEODIST", k, self.place(), self.place()];
                let unit = self.unit();
                let twice = cmd!["m", "m"];
                self.options(&mut argv, vec![cmd![unit]], 2);
                self.options(&mut argv, vec![twice], 40);
                argv
            }
            10..15 => self.geosearch(k),
            15..18 => self.georadius(k),
            _ => self.georadiusbymember(k),
        }
    }

    fn place(&mut self) -> String {
        format!("m{}", self.below(24))
    }

    fn places(&mut self, argv: &mut Argv) {
        for _ in 0..self.below(4) {
            argv.extend(cmd![self.place()]);
        }
    }

    fn unit(&mut self) -> &'static str {
        match self.chance(30) {
            true => self.pick(&["cm", "", "mm"]),
            false => self.pick(UNITS),
        }
    }

    fn geoadd(&mut self, k: &str) -> Argv {
        let mut argv = cmd!["GEOADD", k];
        let flags = ["NX", "XX", "CH"].map(|f| cmd![f]).to_vec();
        self.options(&mut argv, flags, 8);
        for _ in 0..self.below(4) + 1 {
            let n = self.below(24);
            let (longitude, latitude) = self.home(n);
            argv.extend(cmd![longitude, latitude, format!("m{n}")]);
        }
        argv
    }

    /// One of the places where a member may be.
    fn home(&mut self, n: usize) -> (String, String) {
        if self.chance(20) {
            let bad = ["abc", "181", "-180.0001", "86", "nan", "inf", ""];
            return (self.pick(&bad).to_owned(), "1".to_owned());
        }
        let turn = self.below(3) as f64;
        let n = n as f64 + 1.0;
        // Half of them all over the world, half of them close together.
        let (longitude, latitude) = if n > 12.0 {
            (
                (n * 37.123 + turn * 91.7) % 360.0 - 180.0,
                (n * 17.77 + turn * 31.3) % 170.0 - 85.0,
            )
        } else {
            (
                13.0 + n * 0.0713 + turn * 0.311,
                38.0 - n * 0.0371 + turn * 0.093,
            )
        };
        (format!("{longitude:.6}"), format!("{latitude:.6}"))
    }

    fn center(&mut self) -> (String, String) {
        let (longitude, latitude) = if self.chance(2) {
            (
                self.rng.random_range(12.0..16.0),
                self.rng.random_range(36.0..39.0),
            )
        } else {
            (
                self.rng.random_range(-181.0..181.0),
                self.rng.random_range(-86.0..86.0),
            )
        };
        (format!("{longitude:.5}"), format!("{latitude:.5}"))
    }

    fn length(&mut self) -> String {
        match self.rng.random_range(0..20) {
            0 => self
                .pick(&["-1", "abc", "nan", "inf", "", "1e400"])
                .to_owned(),
            1 => "0".to_owned(),
            2..8 => self.rng.random_range(1..200).to_string(),
            8..14 => format!("{:.3}", self.rng.random_range(1.0..3000.0)),
            _ => self.rng.random_range(1000..30_000_000).to_string(),
        }
    }

    fn geosearch(&mut self, k: &str) -> Argv {
        let store = self.chance(3);
        let mut argv = match store {
            true => cmd!["GEOSEARCHSTORE", self.target(), k],
            false => cmd!["GEOSEARCH", k],
        };
        let (longitude, latitude) = self.center();
        let from = match self.chance(2) {
            true => cmd!["FROMMEMBER", self.place()],
            false => cmd!["FROMLONLAT", longitude, latitude],
        };
        let by = match self.chance(2) {
            true => cmd!["BYRADIUS", self.length(), self.unit()],
            false => cmd!["BYBOX", self.length(), self.length(), self.unit()],
        };
        let mut words = vec![from, by];
        if self.chance(30) {
            words.remove(self.below(2));
        }
        if self.chance(30) {
            words.push(cmd!["FROMLONLAT", "15", "37"]);
        }
        if self.chance(30) {
            words.push(cmd!["BYRADIUS", "100", "km"]);
        }
        self.shuffle(&mut words);
        argv.extend(words.into_iter().flatten());
        self.search_options(&mut argv, store);
        if store {
            self.options(&mut argv, vec![cmd!["STOREDIST"]], 2);
        }
        argv
    }

    fn target(&mut self) -> &'static str {
        match self.chance(2) {
            true => self.key(GEOS),
            false => self.key(ZSETS),
        }
    }

    fn search_options(&mut self, argv: &mut Argv, store: bool) {
        let mut count = cmd!["COUNT", self.small()];
        if self.chance(3) {
            count.extend(cmd!["ANY"]);
        }
        let order = cmd![self.pick(&["ASC", "DESC"])];
        self.options(argv, vec![count, order], 3);
        self.options(argv, vec![cmd!["ANY"]], 40);
        let with = ["WITHDIST", "WITHHASH", "WITHCOORD"]
            .map(|w| cmd![w])
            .to_vec();
        self.options(argv, with, if store { 40 } else { 3 });
    }

    fn georadius(&mut self, k: &str) -> Argv {
        let name = self.pick(&["GEORADIUS", "GEORADIUS_RO"]);
        let (longitude, latitude) = self.center();
        let mut argv = cmd![name, k, longitude, latitude, self.length(), self.unit()];
        self.radius_options(&mut argv);
        argv
    }

    fn georadiusbymember(&mut self, k: &str) -> Argv {
        let name = self.pick(&["GEORADIUSBYMEMBER", "GEORADIUSBYMEMBER_RO"]);
        let mut argv = cmd![name, k, self.place(), self.length(), self.unit()];
        self.radius_options(&mut argv);
        argv
    }

    fn radius_options(&mut self, argv: &mut Argv) {
        let store = self.chance(3);
        self.search_options(argv, store);
        if store {
            let word = self.pick(&["STORE", "STOREDIST"]);
            argv.extend(cmd![word, self.target()]);
        }
    }
}
