//! Which commands a recorder keeps, and how many.

use crate::exec::monitor::Heard;
use crate::util::glob;

/// Which commands are [recorded](super::Recorder), and how many of them are kept.
///
/// ```
/// use redkeep::embed::Selection;
///
/// let server = redkeep::Server::builder().start()?;
/// let writes = Selection::everything().command("SET").command("CONFIG").key("user:*").most(100);
/// let recorder = server.record(writes)?;
/// let mut client = server.client()?;
/// client.call(["SET", "user:1", "Ada"])?;
/// client.call(["SET", "other", "x"])?;
/// client.call(["GET", "user:1"])?;
/// let words: Vec<_> = recorder.take().iter().map(ToString::to_string).collect();
/// assert_eq!(words, [r#""SET" "user:1" "Ada""#]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Selection {
    /// In lower case; any if there is none.
    commands: Vec<Vec<u8>>,
    keys: Vec<Vec<u8>>,
    pub(super) most: usize,
}

impl Default for Selection {
    fn default() -> Self {
        Self::everything()
    }
}

impl Selection {
    /// How many commands are kept where nothing is said.
    const MOST: usize = 10_000;

    /// Every command of every client, the last ten thousand.
    pub fn everything() -> Self {
        Self {
            commands: Vec::new(),
            keys: Vec::new(),
            most: Self::MOST,
        }
    }

    /// Commands of this name, which may be a pattern as KEYS takes it, in any case. That of a container is that of all its
    /// subcommands; one of them is `config|set`, say. Said several times, either will do.
    pub fn command(mut self, pattern: &str) -> Self {
        self.commands
            .push(pattern.to_ascii_lowercase().into_bytes());
        self
    }

    /// Commands with a key that matches this pattern. Said several times, either will do.
    pub fn key(mut self, pattern: impl AsRef<[u8]>) -> Self {
        self.keys.push(pattern.as_ref().to_vec());
        self
    }

    /// Keeps the last so many commands; what was before those is dropped, and counted.
    pub fn most(mut self, commands: usize) -> Self {
        self.most = commands;
        self
    }

    /// Whether a command is kept.
    pub(super) fn takes(&self, heard: &Heard<'_>) -> bool {
        self.takes_name(heard) && self.takes_keys(heard)
    }

    fn takes_name(&self, heard: &Heard<'_>) -> bool {
        if self.commands.is_empty() {
            return true;
        }
        let name = match (heard.row, heard.argv.first()) {
            (Some(row), _) => row.name.to_ascii_lowercase().into_bytes(),
            (None, Some(word)) => word.to_ascii_lowercase(),
            (None, None) => return false,
        };
        let container = name.split(|byte| *byte == b'|').next();
        let container = container.unwrap_or_default();
        let fits = |pattern: &Vec<u8>| {
            glob::matches(pattern, &name, false) || glob::matches(pattern, container, false)
        };
        self.commands.iter().any(fits)
    }

    fn takes_keys(&self, heard: &Heard<'_>) -> bool {
        if self.keys.is_empty() {
            return true;
        }
        let Some(keys) = heard.row.and_then(|row| row.keys(&&heard.argv[..]).ok()) else {
            return false;
        };
        keys.iter().any(|key| {
            let name = heard.argv.get(key.pos as usize);
            name.is_some_and(|name| self.keys.iter().any(|p| glob::matches(p, name, false)))
        })
    }
}
