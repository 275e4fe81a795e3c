//! The log of the binary, in the shape that programs which read Redis's log expect, or as JSON. A library has no log of
//! its own: what happens in a server is told by `tracing` to whatever its program has installed.

mod file;
mod line;
mod time;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

pub(super) use line::Role;

use super::parent;
use crate::exec::host::CHILD;
use crate::service::config::{Config, LogFormat, LogLevel};
use file::Output;
use line::Head;
use time::Moment;

type Setter = Box<dyn Fn(LevelFilter) + Send + Sync>;

/// The log of this process, once there is one. The first one stays.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    set_level: Setter,
    /// The letter of who writes.
    role: AtomicU8,
    json: AtomicBool,
}

/// Logs as configured, from now on.
pub(super) fn start(config: &Config) -> io::Result<()> {
    // As Redis, which is in that directory when it logs.
    let path = match config.logfile.as_str() {
        "" => Path::new("").to_owned(),
        file => Path::new(&config.dir).join(file),
    };
    let output = match path.as_os_str().is_empty() && parent::has_stdout(config) {
        true => Output::Stderr,
        false => Output::open(&path)?,
    };
    let (level, handle) = reload::Layer::new(filter(config.loglevel));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(output)
        .event_format(Shape {
            pid: std::process::id(),
        });
    tracing_subscriber::registry()
        .with(level)
        .with(lines)
        .with(syslog(config))
        .try_init()
        .map_err(io::Error::other)?;
    LOG.get_or_init(|| Log {
        set_level: Box::new(move |level| {
            // It fails only when the log is gone.
            let _ = handle.reload(level);
        }),
        role: AtomicU8::new(Role::Child as u8),
        json: AtomicBool::new(config.log_format == LogFormat::Json),
    });
    Ok(())
}

#[cfg(unix)]
fn syslog(config: &Config) -> Option<super::syslog::Syslog> {
    super::syslog::layer(config)
}

#[cfg(not(unix))]
fn syslog(_: &Config) -> Option<tracing_subscriber::layer::Identity> {
    None
}

/// Logs more or less, or in another shape, from now on. A program that merely contains a server keeps its own log as it is.
pub(super) fn configure(config: &Config) {
    if let Some(log) = LOG.get() {
        (log.set_level)(filter(config.loglevel));
        let json = config.log_format == LogFormat::Json;
        log.json.store(json, Ordering::Relaxed);
    }
}

/// Lines are told by somebody else from now on.
pub(super) fn speak_as(role: Role) {
    if let Some(log) = LOG.get() {
        log.role.store(role as u8, Ordering::Relaxed);
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

/// Writes events as lines.
struct Shape {
    pid: u32,
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
        let log = LOG.get();
        let role = match event.metadata().target() {
            CHILD => Role::Child,
            _ => Role::of(log.map_or(0, |log| log.role.load(Ordering::Relaxed))),
        };
        let head = Head {
            pid: self.pid,
            role,
            at: Moment::now(),
        };
        match log.is_some_and(|log| log.json.load(Ordering::Relaxed)) {
            true => line::json(&mut out, head, event),
            false => line::human(&mut out, head, event),
        }
    }
}
