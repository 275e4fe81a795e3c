//! One event as one line: for people as Redis writes it, for programs as an object of JSON.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::time::Moment;
use crate::server::json::write_text;

/// What a line tells beside its event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) pid: u32,
    pub(super) role: Role,
    pub(super) at: Moment,
}

/// Who writes a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::server) enum Role {
    /// Whoever is starting, or does what a child process of Redis does.
    Child = b'C',
    /// A server that leads.
    Leader = b'M',
    /// A server that follows another.
    Replica = b'S',
    /// A sentinel.
    Sentinel = b'X',
}

impl Role {
    /// The role of this letter.
    pub(super) const fn of(letter: u8) -> Self {
        match letter {
            b'M' => Self::Leader,
            b'S' => Self::Replica,
            b'X' => Self::Sentinel,
            _ => Self::Child,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Child => "child",
            Self::Leader => "master",
            Self::Replica => "replica",
            Self::Sentinel => "sentinel",
        }
    }
}

/// The character of a level, and its name in the configuration.
const fn level(level: Level) -> (char, &'static str) {
    match level {
        Level::TRACE => ('.', "debug"),
        Level::DEBUG => ('-', "verbose"),
        Level::INFO => ('*', "notice"),
        _ => ('#', "warning"),
    }
}

/// `PID:ROLE DD Mon YYYY HH:MM:SS.mmm LEVEL MESSAGE`, the fields behind the message.
///
/// What came from a client cannot begin another line: control characters are written as escapes.
pub(super) fn human(out: &mut dyn Write, head: Head, event: &Event<'_>) -> fmt::Result {
    let Head { pid, role, at } = head;
    let (mark, _) = level(*event.metadata().level());
    let mut text = Plain::default();
    event.record(&mut text);
    write!(out, "{pid}:{} {at} {mark} ", char::from(role as u8))?;
    write_escaped(out, &text.message)?;
    write_escaped(out, &text.fields)?;
    out.write_char('\n')
}

fn write_escaped(out: &mut dyn Write, text: &str) -> fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_control() && c != '\t') {
        let (plain, control) = rest.split_at(at);
        out.write_str(plain)?;
        let mut chars = control.chars();
        if let Some(c) = chars.next() {
            write!(out, "{}", c.escape_default())?;
        }
        rest = chars.as_str();
    }
    out.write_str(rest)
}

/// The message, and ` name=value` for each field.
#[derive(Default)]
struct Plain {
    message: String,
    fields: String,
}

impl Visit for Plain {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

/// An object of JSON: time, level, role, process, message, and then the fields by their names.
pub(super) fn json(out: &mut dyn Write, head: Head, event: &Event<'_>) -> fmt::Result {
    let Head { pid, role, at } = head;
    let (_, level) = level(*event.metadata().level());
    let at = at.rfc3339();
    let mut object = Object::default();
    event.record(&mut object);
    let role = role.name();
    write!(
        out,
        "{{\"time\":\"{at}\",\"level\":\"{level}\",\"role\":\"{role}\",\"pid\":{pid},\"message\":"
    )?;
    write_text(out, &object.message)?;
    out.write_str(&object.fields)?;
    out.write_str("}\n")
}

/// The names that every object has.
const TAKEN: [&str; 5] = ["time", "level", "role", "pid", "message"];

/// The message, and `,"name":value` for each field.
#[derive(Default)]
struct Object {
    message: String,
    fields: String,
}

impl Object {
    fn name(&mut self, field: &Field) {
        let name = field.name();
        let end = if TAKEN.contains(&name) { "_" } else { "" };
        // The names come from the source.
        let _ = write!(self.fields, ",\"{name}{end}\":");
    }

    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        self.name(field);
        let _ = write!(self.fields, "{value}");
    }
}

impl Visit for Object {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.bare(field, value),
            false => self.bare(field, "null"),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        let _ = write_text(&mut self.fields, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            self.record_str(field, &format!("{value:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing::level_filters::LevelFilter;
    use tracing_subscriber::fmt::format::Writer;
    use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::registry::LookupSpan;

    type Write1 = fn(&mut dyn Write, Head, &Event<'_>) -> fmt::Result;

    struct Shape(Write1);

    impl<S, N> FormatEvent<S, N> for Shape
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
        N: for<'a> FormatFields<'a> + 'static,
    {
        fn format_event(
            &self,
            _: &FmtContext<'_, S, N>,
            mut out: Writer<'_>,
            event: &Event<'_>,
        ) -> fmt::Result {
            let head = Head {
                pid: 42,
                role: Role::Replica,
                at: Moment::now(),
            };
            (self.0)(&mut out, head, event)
        }
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is written of what is logged.
    fn written(shape: Write1, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .event_format(Shape(shape));
        let all = tracing_subscriber::registry()
            .with(LevelFilter::TRACE)
            .with(layer);
        tracing::subscriber::with_default(all, log);
        let bytes = std::mem::take(&mut *lines.0.lock().unwrap());
        String::from_utf8(bytes).unwrap()
    }

    /// A line without its date and time.
    fn dateless(line: &str) -> String {
        let words: Vec<&str> = line.splitn(6, ' ').collect();
        let [pid, _, _, _, _, rest] = words[..] else {
            panic!("{line}")
        };
        format!("{pid} {rest}")
    }

    #[test]
    fn people_read_what_redis_would_write() {
        let line = |log: fn()| dateless(&written(human, log));
        assert_eq!(line(|| tracing::trace!("a")), "42:S . a\n");
        assert_eq!(line(|| tracing::debug!("a b")), "42:S - a b\n");
        assert_eq!(line(|| tracing::info!("x {}", 1)), "42:S * x 1\n");
        assert_eq!(line(|| tracing::warn!("!")), "42:S # !\n");
        assert_eq!(line(|| tracing::error!("!")), "42:S # !\n");
        assert_eq!(
            line(|| tracing::info!(size = 5, who = %"me", "Big")),
            "42:S * Big size=5 who=me\n"
        );
    }

    #[test]
    fn nobody_writes_lines_of_his_own() {
        let forged = "x\n1:M 26 Nov 2026 07:20:46.123 * forged\r\x1b[2J\tü";
        let line = dateless(&written(human, || tracing::info!("{forged}")));
        assert_eq!(
            line,
            "42:S * x\\n1:M 26 Nov 2026 07:20:46.123 * forged\\r\\u{1b}[2J\tü\n"
        );
        let line = written(json, || tracing::info!(name = forged, "{forged}"));
        assert_eq!(line.matches('\n').count(), 1);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&read["message"], &read["name"]),
            (&forged.into(), &forged.into())
        );
    }

    #[test]
    fn programs_read_an_object() {
        let line = written(json, || {
            tracing::warn!(
                bytes = 7u64,
                less = -1,
                ratio = 1.5,
                none = f64::NAN,
                yes = true,
                pid = %"taken",
                why = ?Some("\"quoted\" \\ \u{2028}"),
                "Said \"no\""
            );
        });
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        let time = read["time"].as_str().unwrap().to_owned();
        assert!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[10] == b'T');
        assert_eq!(
            read,
            serde_json::json!({
                "time": time, "level": "warning", "role": "replica", "pid": 42, "message": "Said \"no\"",
                "bytes": 7, "less": -1, "ratio": 1.5, "none": null, "yes": true, "pid_": "taken",
                "why": format!("{:?}", Some("\"quoted\" \\ \u{2028}")),
            })
        );
    }
}
