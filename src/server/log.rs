//! The log of the binary, in the shape that programs which read Redis's log expect:
//! `PID:ROLE DD Mon YYYY HH:MM:SS.mmm LEVEL MESSAGE`, in UTC.

use std::fmt::{self, Write as _};
use std::fs::OpenOptions;
use std::io;
use std::sync::{Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::service::config::{Config, LogLevel};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

type Setter = Box<dyn Fn(LevelFilter) + Send + Sync>;

/// Changes the level of the log of this process, once there is one.
static SETTER: OnceLock<Setter> = OnceLock::new();

/// Logs to a file, or to standard output if none is configured, and to the syslog if it is to. The role is M, or X for a sentinel.
pub(super) fn start(config: &Config, role: char) -> io::Result<()> {
    if config.logfile.is_empty() {
        start_on(io::stdout, config, role);
    } else {
        let mut file = OpenOptions::new();
        let file = file.create(true).append(true).open(&config.logfile)?;
        start_on(Mutex::new(file), config, role);
    }
    Ok(())
}

fn start_on(
    writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static,
    config: &Config,
    role: char,
) {
    let (level, handle) = reload::Layer::new(filter(config.loglevel));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .event_format(Shape {
            pid: std::process::id(),
            role,
        });
    tracing_subscriber::registry()
        .with(level)
        .with(lines)
        .with(syslog(config))
        .init();
    // The first log of the process stays.
    let _ = SETTER.set(Box::new(move |level| {
        // It fails only when the log is gone.
        let _ = handle.reload(level);
    }));
}

#[cfg(unix)]
fn syslog(config: &Config) -> Option<super::syslog::Syslog> {
    super::syslog::layer(config)
}

#[cfg(not(unix))]
fn syslog(_: &Config) -> Option<tracing_subscriber::layer::Identity> {
    None
}

/// Logs more or less from now on. A program that merely contains a server keeps its own log as it is.
pub(super) fn set_level(level: LogLevel) {
    if let Some(set) = SETTER.get() {
        set(filter(level));
    }
}

const fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Nothing => LevelFilter::OFF,
    }
}

struct Shape {
    pid: u32,
    role: char,
}

impl<S, N> FormatEvent<S, N> for Shape
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mark = match *event.metadata().level() {
            Level::TRACE => '.',
            Level::DEBUG => '-',
            Level::INFO => '*',
            _ => '#',
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let Shape { pid, role } = self;
        write!(out, "{pid}:{role} {} {mark} ", Stamp(now.as_millis()))?;
        let mut message = Message(String::new());
        event.record(&mut message);
        writeln!(out, "{}", message.0)
    }
}

/// The message first, then the fields.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = if field.name() == "message" {
            write!(self.0, "{value:?}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }
}

/// Milliseconds since the Unix epoch, as `DD Mon YYYY HH:MM:SS.mmm`.
struct Stamp(u128);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0).unwrap_or(0);
        let (seconds, days) = (millis / 1000 % 86_400, millis / 86_400_000);
        let (year, month, day) = civil(days);
        let month = MONTHS.get(month).copied().unwrap_or_default();
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{day:02} {month} {year} {hour:02}:{minute:02}:{second:02}.{:03}",
            millis % 1000
        )
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
    let mut month = 0;
    for length in [
        31,
        if is_leap(year) { 29 } else { 28 },
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ] {
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
        let stamp = |millis| Stamp(millis).to_string();
        assert_eq!(stamp(0), "01 Jan 1970 00:00:00.000");
        assert_eq!(stamp(951_827_696_789), "29 Feb 2000 12:34:56.789");
        assert_eq!(stamp(4_107_542_399_999), "28 Feb 2100 23:59:59.999");
        assert_eq!(stamp(4_107_542_400_000), "01 Mar 2100 00:00:00.000");
    }
}
