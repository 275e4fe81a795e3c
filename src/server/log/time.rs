//! Moments as the log writes them, in UTC.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Milliseconds since the Unix epoch: displayed as `DD Mon YYYY HH:MM:SS.mmm`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment(u64);

impl Moment {
    pub(super) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = since.unwrap_or_default().as_millis();
        Self(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// The same as RFC 3339 has it.
    pub(super) const fn rfc3339(self) -> Rfc3339 {
        Rfc3339(self)
    }

    fn parts(self) -> Parts {
        let (seconds, days) = (self.0 / 1000 % 86_400, self.0 / 86_400_000);
        let (year, month, day) = civil(days);
        Parts {
            year,
            month,
            day,
            hour: seconds / 3600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            milli: self.0 % 1000,
        }
    }
}

/// A moment, displayed as `YYYY-MM-DDTHH:MM:SS.mmmZ`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rfc3339(Moment);

/// A moment as people count it; months from 0.
struct Parts {
    year: u64,
    month: usize,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    milli: u64,
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts {
            hour,
            minute,
            second,
            milli,
            ..
        } = self;
        write!(f, "{hour:02}:{minute:02}:{second:02}.{milli:03}")
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts();
        let month = MONTHS.get(parts.month).copied().unwrap_or_default();
        write!(f, "{:02} {month} {} {parts}", parts.day, parts.year)
    }
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.0.parts();
        let (year, month, day) = (parts.year, parts.month + 1, parts.day);
        write!(f, "{year:04}-{month:02}-{day:02}T{parts}Z")
    }
}

/// Year, month (from 0) and day of a number of days since 1 January 1970.
fn civil(days: u64) -> (u64, usize, u64) {
    let (mut year, mut left) = (1970, days);
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 0;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (millis, human, machine) in [
            (0, "01 Jan 1970 00:00:00.000", "1970-01-01T00:00:00.000Z"),
            (
                951_827_696_789,
                "29 Feb 2000 12:34:56.789",
                "2000-02-29T12:34:56.789Z",
            ),
            (
                4_107_542_399_999,
                "28 Feb 2100 23:59:59.999",
                "2100-02-28T23:59:59.999Z",
            ),
            (
                4_107_542_400_000,
                "01 Mar 2100 00:00:00.000",
                "2100-03-01T00:00:00.000Z",
            ),
        ] {
            assert_eq!(Moment(millis).to_string(), human);
            assert_eq!(Moment(millis).rfc3339().to_string(), machine);
        }
    }
}
