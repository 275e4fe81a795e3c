//! The log goes to the syslog of the machine as well, if it is to.
//!
//! One datagram a line: `<PRIORITY>IDENT[PID]: MESSAGE`, as syslog(3) sends it, but without a time, which whoever takes it
//! knows as well.

use std::fmt::{self, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::service::config::Config;

/// Where the syslog of a machine listens.
const SOCKET: &str = "/dev/log";

/// As syslog.h numbers them.
const FACILITIES: [(&str, u32); 9] = [
    ("user", 1),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// The longest message that is sent: more does not fit everywhere.
const LONGEST: usize = 2048;

/// Passes events on to a syslog.
pub(super) struct Syslog {
    path: PathBuf,
    facility: u32,
    head: String,
    /// Connected, as far as is known.
    socket: Mutex<Option<UnixDatagram>>,
}

/// What passes on what is logged, if the configuration asks for that.
pub(super) fn layer(config: &Config) -> Option<Syslog> {
    config
        .syslog_enabled
        .then(|| Syslog::new(Path::new(SOCKET), config))
}

impl Syslog {
    fn new(path: &Path, config: &Config) -> Self {
        let known = FACILITIES
            .iter()
            .find(|(name, _)| *name == config.syslog_facility);
        Self {
            path: path.to_owned(),
            facility: known.map_or(1, |(_, number)| *number),
            head: format!("{}[{}]: ", config.syslog_ident, std::process::id()),
            socket: Mutex::new(None),
        }
    }

    /// Sends a datagram. Nothing waits for that: what the syslog cannot take is lost, and where there is none all is. A
    /// syslog that was started anew is connected to anew.
    fn send(&self, datagram: &[u8]) {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = |socket: &UnixDatagram| match socket.send(datagram) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        };
        if !socket.as_ref().is_some_and(sent) {
            *socket = self.connect().ok();
            if let Some(socket) = &*socket {
                sent(socket);
            }
        }
    }

    fn connect(&self) -> std::io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(&self.path)?;
        Ok(socket)
    }
}

impl<S: Subscriber> Layer<S> for Syslog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let severity = match *event.metadata().level() {
            Level::TRACE => 7,
            Level::DEBUG => 6,
            Level::INFO => 5,
            _ => 4,
        };
        let mut line = Line(format!("<{}>{}", self.facility * 8 + severity, self.head));
        event.record(&mut line);
        // One line of the log is one of the syslog.
        let text = line.0.replace(|c: char| c.is_control(), " ");
        let bytes = text.as_bytes();
        self.send(bytes.get(..LONGEST).unwrap_or(bytes));
    }
}

/// The message first, then the fields.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let n = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..n].to_vec()).unwrap()
    }

    #[test]
    fn lines_come_with_their_priority_also_when_the_syslog_was_started_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let config = Config {
            syslog_ident: "keeper".into(),
            syslog_facility: "local1",
            ..Config::default()
        };
        let log = tracing_subscriber::registry().with(Syslog::new(&path, &config));
        let pid = std::process::id();
        tracing::subscriber::with_default(log, || {
            // Nobody is there yet.
            tracing::info!("lost");
            for _ in 0..2 {
                let syslog = UnixDatagram::bind(&path).unwrap();
                syslog
                    .set_read_timeout(Some(std::time::Duration::from_secs(10)))
                    .unwrap();
                tracing::info!("one\ntwo");
                assert_eq!(received(&syslog), format!("<141>keeper[{pid}]: one two"));
                tracing::warn!(n = 5, "three");
                assert_eq!(received(&syslog), format!("<140>keeper[{pid}]: three n=5"));
                tracing::warn!("{}", "x".repeat(5000));
                assert_eq!(received(&syslog).len(), LONGEST);
                drop(syslog);
                std::fs::remove_file(&path).unwrap();
            }
        });
    }
}
