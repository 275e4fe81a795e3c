//! Everything that a server holds, as text that a test can compare and a person can read.
//!
//! ```text
//! db 0
//!   "cart:1" hash ttl 30s
//!     "qty" "2"
//!     "sku" "A-7" ttl 0.5s
//!   "events" stream last 2-0 added 2
//!     1-0 "kind" "created"
//!     2-0 "kind" "paid"
//!     group "mail" last 1-0 read 1 lag 1
//!       consumer "w1" pending 1 idle 2s inactive 2s
//!       pending 1-0 consumer "w1" deliveries 1 idle 2s
//!   "name" string "Ada"
//!   "queue" list
//!     "a"
//!     "b"
//!   "ranks" zset
//!     1.5 "ada"
//! functions
//!   "lib" sha1 07ab…
//!     "f"
//! ```

use std::fmt;

use super::diff::{Diff, diff};
use super::{StateError, StreamView, contents, hold};
use crate::embed::Node;
use crate::exec::State;
use crate::exec::functions::Libraries;
use crate::keyspace::{Keyspace, Record};
use crate::resp::quote;
use crate::types::Value;
use crate::util::digest::sha1_hex;
use crate::util::{glob, num};

/// What a dump is to show.
///
/// ```
/// use redkeep::embed::DumpOptions;
///
/// let server = redkeep::Server::builder().start()?;
/// let mut client = server.client()?;
/// client.call(["SET", "session:1", "a very long token", "EX", "60"])?;
/// client.call(["SET", "other", "x"])?;
/// let options = DumpOptions::default().keys("session:*").without_times().shorten(6);
/// let dump = server.dump_as(&options)?;
/// assert_eq!(dump.as_str(), "db 0\n  \"session:1\" string expires \"a very\"... 17 bytes\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct DumpOptions {
    /// Whatever changes while time passes is left out.
    timeless: bool,
    /// So many bytes of a string, and elements of a collection, are shown.
    most: Option<usize>,
    /// Of which keys.
    pattern: Option<Vec<u8>>,
}

impl DumpOptions {
    /// Leaves out whatever changes while time passes: of what has a deadline it is said that it `expires`, and of deliveries
    /// not how long they are ago.
    pub fn without_times(mut self) -> Self {
        self.timeless = true;
        self
    }

    /// Shows at most so many bytes of a string, and so many elements of a collection, and how many there are.
    pub fn shorten(mut self, most: usize) -> Self {
        self.most = Some(most);
        self
    }

    /// Shows only keys that match a pattern as KEYS takes it.
    pub fn keys(mut self, pattern: impl AsRef<[u8]>) -> Self {
        self.pattern = Some(pattern.as_ref().to_vec());
        self
    }

    fn shows(&self, key: &[u8]) -> bool {
        let pattern = self.pattern.as_deref();
        pattern.is_none_or(|pattern| glob::matches(pattern, key, false))
    }
}

/// Everything that a server held at one moment, as text: databases by number, keys and elements by their bytes (those of
/// lists, sorted sets and streams in their own order), strings quoted as redis-cli does it, all times as time to live or time
/// since. Equal contents give equal text.
///
/// ```
/// let server = redkeep::Server::builder().start()?;
/// let mut client = server.client()?;
/// client.call(["SET", "name", "Ada"])?;
/// client.call(["SADD", "tags", "b", "a"])?;
/// let before = server.dump()?;
/// assert_eq!(
///     before.to_string(),
///     "db 0\n  \"name\" string \"Ada\"\n  \"tags\" set\n    \"a\"\n    \"b\"\n",
/// );
///
/// client.call(["SREM", "tags", "b"])?;
/// client.call(["SET", "age", "36"])?;
/// let changes = server.dump()?.since(&before);
/// assert_eq!(
///     changes.to_string(),
///     "+ db 0 \"age\" string \"36\"\n  db 0 \"tags\" set\n-   \"b\"\n",
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump {
    text: String,
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl AsRef<str> for Dump {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl Dump {
    /// Takes one of a server.
    ///
    /// # Errors
    /// [`StateError::Busy`] or [`StateError::Stopped`].
    pub fn of(node: &Node, options: &DumpOptions) -> Result<Dump, StateError> {
        let mut engine = hold(node)?;
        let State { ks, sys, .. } = engine.state();
        let mut page = Page {
            options,
            now: sys.now_us / 1000,
            out: Vec::new(),
        };
        for index in 0..ks.databases() {
            ks.begin(index, page.now);
            page.database(ks);
        }
        if options.pattern.is_none() {
            page.functions(&sys.libraries);
        }
        Ok(page.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What has changed since an earlier one.
    pub fn since(&self, before: &Dump) -> Diff {
        diff(&before.text, &self.text)
    }
}

impl From<Page<'_>> for Dump {
    fn from(page: Page<'_>) -> Dump {
        // Everything but ASCII is quoted.
        let text = String::from_utf8_lossy(&page.out).into_owned();
        Dump { text }
    }
}

/// A string between quotes.
pub(super) fn quoted(text: &[u8]) -> String {
    let mut out = Vec::new();
    quote(&mut out, text);
    String::from_utf8_lossy(&out).into_owned()
}

/// A record as a dump has it, without the indentation of its key.
pub(super) fn shown(record: &Record, now: i64) -> String {
    let options = DumpOptions::default().shorten(50);
    let mut page = Page {
        options: &options,
        now,
        out: Vec::new(),
    };
    page.record(record);
    Dump::from(page).text
}

/// Seconds, to the millisecond.
struct Seconds(i64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.max(0);
        write!(f, "{}", ms / 1000)?;
        if ms % 1000 != 0 {
            let fraction = format!("{:03}", ms % 1000);
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        f.write_str("s")
    }
}

/// A dump in the making.
struct Page<'a> {
    options: &'a DumpOptions,
    /// Unix milliseconds.
    now: i64,
    out: Vec<u8>,
}

impl Page<'_> {
    fn put(&mut self, text: impl fmt::Display) {
        self.out.extend(text.to_string().bytes());
    }

    fn line(&mut self) {
        self.out.push(b'\n');
    }

    fn string(&mut self, text: &[u8]) {
        let most = self.options.most.unwrap_or(usize::MAX);
        match text.get(..most).filter(|_| text.len() > most) {
            Some(start) => {
                quote(&mut self.out, start);
                self.put(format_args!("... {} bytes", text.len()));
            }
            None => quote(&mut self.out, text),
        }
    }

    /// One line each for elements, as many as are to be shown.
    fn elements<T>(&mut self, all: Vec<T>, mut put: impl FnMut(&mut Self, T)) {
        let most = self.options.most.unwrap_or(usize::MAX);
        let left = all.len().saturating_sub(most);
        for element in all.into_iter().take(most) {
            self.out.extend(b"    ");
            put(self, element);
            self.line();
        }
        if left > 0 {
            self.put(format_args!("    ... {left} more\n"));
        }
    }

    /// Until a deadline in unix milliseconds.
    fn ttl(&mut self, deadline: Option<i64>) {
        match deadline {
            None => {}
            Some(_) if self.options.timeless => self.put(" expires"),
            Some(at) => self.put(format_args!(
                " ttl {}",
                Seconds(at.saturating_sub(self.now))
            )),
        }
    }

    /// Milliseconds since something was.
    fn since(&mut self, what: &str, ms: Option<i64>) {
        if let Some(ms) = ms.filter(|_| !self.options.timeless) {
            self.put(format_args!(" {what} {}", Seconds(ms)));
        }
    }

    /// The database that is selected.
    fn database(&mut self, ks: &Keyspace) {
        let mut records = Vec::new();
        ks.for_each(|record| records.push(record));
        records.retain(|record| self.options.shows(record.key()));
        if records.is_empty() {
            return;
        }
        records.sort_unstable_by_key(|record| record.key());
        self.put(format_args!("db {}\n", ks.current()));
        for record in records {
            self.out.extend(b"  ");
            self.record(record);
        }
    }

    fn record(&mut self, record: &Record) {
        quote(&mut self.out, record.key());
        let value = record.value();
        self.put(format_args!(" {}", value.type_name()));
        self.ttl(record.expire_at());
        match value {
            Value::Str(string) => {
                self.out.push(b' ');
                string.with(|text| self.string(text));
                self.line();
            }
            Value::List(list) => {
                self.line();
                self.elements(contents::elements(list), |page, text| page.string(&text));
            }
            Value::Set(set) => {
                self.line();
                let members = contents::members(set).into_iter().collect();
                self.elements(members, |page, text: Vec<u8>| page.string(&text));
            }
            Value::Hash(hash) => {
                self.line();
                let fields = contents::fields(hash, self.now).into_iter().collect();
                self.elements(fields, |page, (name, field): (Vec<u8>, _)| {
                    page.string(&name);
                    page.out.push(b' ');
                    page.string(&field.value);
                    page.ttl(field.deadline);
                });
            }
            Value::ZSet(zset) => {
                self.line();
                self.elements(contents::scored(zset), |page, (member, score)| {
                    num::write_f64(&mut page.out, score);
                    page.out.push(b' ');
                    page.string(&member);
                });
            }
            Value::Stream(stream) => self.stream(StreamView::of(stream, self.now)),
        }
    }

    fn stream(&mut self, stream: StreamView) {
        self.put(format_args!(
            " last {} added {}",
            stream.last_id, stream.added
        ));
        if let Some(id) = &stream.max_deleted_id {
            self.put(format_args!(" deleted {id}"));
        }
        self.line();
        self.elements(stream.entries, |page, entry| {
            page.put(&entry.id);
            for word in entry.fields.iter().flat_map(|(name, value)| [name, value]) {
                page.out.push(b' ');
                page.string(word);
            }
        });
        for group in &stream.groups {
            self.group(group);
        }
    }

    fn group(&mut self, group: &super::GroupView) {
        self.out.extend(b"    group ");
        self.string(&group.name);
        let number = |n: Option<String>| n.unwrap_or_else(|| "?".to_owned());
        let read = number(group.read.map(|n| n.to_string()));
        let lag = number(group.lag.map(|n| n.to_string()));
        self.put(format_args!(
            " last {} read {read} lag {lag}\n",
            group.last_id
        ));
        for consumer in &group.consumers {
            self.out.extend(b"      consumer ");
            self.string(&consumer.name);
            self.put(format_args!(" pending {}", consumer.pending));
            self.since("idle", Some(consumer.idle_ms));
            self.since("inactive", consumer.inactive_ms);
            self.line();
        }
        for pending in &group.pending {
            self.put(format_args!("      pending {}", pending.id));
            if let Some(name) = &pending.consumer {
                self.out.extend(b" consumer ");
                self.string(name);
            }
            self.put(format_args!(" deliveries {}", pending.deliveries));
            self.since("idle", pending.idle_ms);
            self.line();
        }
    }

    fn functions(&mut self, libraries: &Libraries) {
        if !libraries.is_empty() {
            self.put("functions\n");
        }
        for (name, library) in libraries.iter() {
            self.out.extend(b"  ");
            self.string(name.as_bytes());
            self.out.extend(b" sha1 ");
            self.out.extend(sha1_hex(&library.code));
            self.line();
            let ids = library.functions.iter();
            let functions = ids.filter_map(|id| libraries.function(*id));
            let mut names: Vec<_> = functions.map(|function| &*function.name).collect();
            names.sort_unstable();
            self.elements(names, |page, name| page.string(name.as_bytes()));
        }
    }
}
