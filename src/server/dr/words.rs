//! Figures as people read them.

use super::chain::{Behind, Loss};
use crate::server::json::Json;

/// `244 bytes`, `12.3 kB`, `64 MB`.
pub(super) fn bytes(n: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    if n < 1000 {
        return format!("{n} bytes");
    }
    let (mut value, mut unit) = (n as f64 / 1000.0, 0);
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    match value < 99.95 {
        true => format!("{value:.1} {}", units[unit]),
        false => format!("{value:.0} {}", units[unit]),
    }
}

/// `74 ms`, `42 s`, `1 h 23 min`.
pub(super) fn time(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..1 => format!("{ms} ms"),
        1..10 => format!("{:.1} s", ms as f64 / 1000.0),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

pub(super) fn seconds(s: u64) -> String {
    match s {
        0 => "less than 1 s".into(),
        s => time(s.saturating_mul(1000)),
    }
}

impl Behind {
    /// `nothing`, `244 bytes, at most 74 ms`.
    pub(super) fn words(&self) -> String {
        let about = if self.estimated { "about " } else { "at most " };
        match (self.bytes, self.ms) {
            (Some(0), _) => "nothing".into(),
            (Some(n), Some(ms)) => format!("{}, {about}{}", bytes(n), time(ms)),
            (Some(n), None) => bytes(n),
            (None, Some(ms)) => format!("an unknown number of bytes, {about}{}", time(ms)),
            (None, None) => "an unknown amount".into(),
        }
    }
}

impl Loss {
    /// A sentence.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Known(behind) => format!("would lose {} of acknowledged writes", behind.words()),
            Self::Unknown { silent: Some(s) } => format!(
                "would lose whatever was written within {} and did not get there: the leader cannot be asked",
                match s {
                    0 => "the last second".into(),
                    s => format!("the last {}", seconds(*s)),
                }
            ),
            Self::Unknown { silent: None } => {
                "would lose whatever did not get there: the leader cannot be asked".into()
            }
            Self::Strange => {
                "would lose everything: it and the leader have different histories".into()
            }
        }
    }

    pub(super) fn json(&self) -> Json {
        let (known, behind, silent) = match self {
            Self::Known(behind) => (true, *behind, None),
            Self::Unknown { silent } => (false, Behind::default(), *silent),
            Self::Strange => (false, Behind::default(), None),
        };
        Json::Object(vec![
            ("known", known.into()),
            ("bytes", behind.bytes.into()),
            ("ms", behind.ms.into()),
            ("ms_is_estimated", behind.estimated.into()),
            ("silent_seconds", silent.into()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        for (n, words) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (99_949, "99.9 kB"),
            (99_951, "100 kB"),
            (999_500, "1.0 MB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(bytes(n), words);
        }
        for (ms, words) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1500, "1.5 s"),
            (42_000, "42 s"),
            (600_000, "10 min"),
            (8_000_000, "2 h 13 min"),
            (u64::MAX, "213503982334 days"),
        ] {
            assert_eq!(time(ms), words);
        }
    }
}
