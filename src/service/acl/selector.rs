//! Which commands may be run on which keys and channels.

use std::collections::BTreeMap;

use super::rule::{Fault, has_spaces};
use super::user::{Access, Denied};
use crate::resp::split_line;
use crate::spec::{Argv, Categories, Entry, KeyFlags, Keys, Registry, flag};
use crate::util::glob;

/// A pattern of keys, and what may be done to those that it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPattern {
    /// The glob pattern.
    pub pattern: Box<[u8]>,
    /// They may be read (`%R~`).
    pub read: bool,
    /// They may be written (`%W~`).
    pub write: bool,
}

impl KeyPattern {
    fn allows(&self, access: Access) -> bool {
        (self.read || !access.read) && (self.write || !access.write)
    }

    fn describe(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(match (self.read, self.write) {
            (true, false) => b"%R~",
            (false, true) => b"%W~",
            _ => b"~",
        });
        out.extend_from_slice(&self.pattern);
    }
}

/// A rule about commands, as it is shown: `+get`, `-@slow`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CommandRule {
    allow: bool,
    /// The command or category (with its `@`) in lower case.
    what: Box<[u8]>,
}

/// What may be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    all_keys: bool,
    all_channels: bool,
    /// It began with `+@all`: commands that are not known yet are allowed.
    future: bool,
    /// Every command is allowed: none was taken away since `+@all`.
    all_commands: bool,
    /// The allowed commands, a bit for each number.
    commands: Vec<u64>,
    /// Commands that are allowed with these first arguments only, by number.
    first_args: BTreeMap<usize, Vec<Box<[u8]>>>,
    /// What led from `+@all` or `-@all` to the commands that are allowed.
    rules: Vec<CommandRule>,
    keys: Vec<KeyPattern>,
    channels: Vec<Box<[u8]>>,
}

impl Selector {
    /// One that allows nothing; every channel, if `all_channels`.
    pub fn new(all_channels: bool) -> Self {
        Self {
            all_keys: false,
            all_channels,
            future: false,
            all_commands: false,
            commands: Vec::new(),
            first_args: BTreeMap::new(),
            rules: Vec::new(),
            keys: Vec::new(),
            channels: Vec::new(),
        }
    }

    /// Reads one in parentheses: `(+get ~a)`.
    pub(super) fn parse<H>(
        text: &[u8],
        registry: &Registry<H>,
        all_channels: bool,
    ) -> Result<Self, Fault> {
        let inner = text
            .get(1..text.len().saturating_sub(1))
            .unwrap_or_default();
        let mut selector = Self::new(all_channels);
        for rule in split_line(inner).map_err(|_| Fault::Syntax)? {
            selector.apply(&rule, registry)?;
        }
        Ok(selector)
    }

    /// Applies a rule about keys, channels or commands.
    ///
    /// # Errors
    /// When there is no such rule; then nothing has changed.
    pub fn apply<H>(&mut self, rule: &[u8], registry: &Registry<H>) -> Result<(), Fault> {
        let lower = rule.to_ascii_lowercase();
        match lower.as_slice() {
            b"allkeys" | b"~*" => self.set_all_keys(true),
            b"resetkeys" => self.set_all_keys(false),
            b"allchannels" | b"&*" => self.set_all_channels(true),
            b"resetchannels" => self.set_all_channels(false),
            b"allcommands" | b"+@all" => self.set_all_commands(true),
            b"nocommands" | b"-@all" => self.set_all_commands(false),
            [b'~', ..] => self.add_keys(&rule[1..], true, true)?,
            [b'%', ..] => {
                let (read, write, pattern) = permissions(&rule[1..])?;
                self.add_keys(pattern, read, write)?;
            }
            [b'&', ..] => self.add_channel(&rule[1..])?,
            [b'+', b'@', name @ ..] => self.set_category(name, true, registry)?,
            [b'-', b'@', name @ ..] => self.set_category(name, false, registry)?,
            [b'+', name @ ..] => self.allow(name, registry)?,
            [b'-', name @ ..] => {
                let entry = registry.by_full_name(name).ok_or(Fault::Unknown)?;
                self.set_command(entry, false, registry);
                self.note(entry.name.as_bytes(), false);
            }
            _ => return Err(Fault::Syntax),
        }
        Ok(())
    }

    fn set_all_keys(&mut self, all: bool) {
        self.all_keys = all;
        self.keys.clear();
    }

    /// Allows all channels, or those of no pattern any more.
    pub(super) fn set_all_channels(&mut self, all: bool) {
        self.all_channels = all;
        self.channels.clear();
    }

    fn set_all_commands(&mut self, all: bool) {
        self.future = all;
        self.all_commands = all;
        self.commands.fill(if all { u64::MAX } else { 0 });
        self.first_args.clear();
        self.rules.clear();
    }

    fn add_keys(&mut self, pattern: &[u8], read: bool, write: bool) -> Result<(), Fault> {
        if self.all_keys {
            return Err(Fault::AllKeys);
        }
        if has_spaces(pattern) {
            return Err(Fault::Syntax);
        }
        match self
            .keys
            .iter_mut()
            .find(|known| *known.pattern == *pattern)
        {
            Some(known) => {
                known.read |= read;
                known.write |= write;
            }
            None => self.keys.push(KeyPattern {
                pattern: pattern.into(),
                read,
                write,
            }),
        }
        Ok(())
    }

    fn add_channel(&mut self, pattern: &[u8]) -> Result<(), Fault> {
        if self.all_channels {
            return Err(Fault::AllChannels);
        }
        if has_spaces(pattern) {
            return Err(Fault::Syntax);
        }
        if !self.channels.iter().any(|known| **known == *pattern) {
            self.channels.push(pattern.into());
        }
        Ok(())
    }

    /// `+command`, `+container|subcommand` or `+command|first-argument`; `name` in lower case.
    fn allow<H>(&mut self, name: &[u8], registry: &Registry<H>) -> Result<(), Fault> {
        let Some(bar) = memchr::memrchr(b'|', name) else {
            let entry = registry.by_full_name(name).ok_or(Fault::Unknown)?;
            self.set_command(entry, true, registry);
            self.note(entry.name.as_bytes(), true);
            return Ok(());
        };
        let (command, sub) = (&name[..bar], &name[bar + 1..]);
        let entry = registry.by_full_name(command).ok_or(Fault::Unknown)?;
        if entry.parent.is_some() {
            return Err(Fault::OfSubcommand);
        }
        if sub.is_empty() {
            return Err(Fault::Syntax);
        }
        if entry.is_container() {
            let entry = registry.by_full_name(name).ok_or(Fault::Unknown)?;
            self.set_command(entry, true, registry);
        } else {
            let known = self.first_args.entry(entry.id.index()).or_default();
            if !known.iter().any(|arg| **arg == *sub) {
                known.push(sub.into());
            }
        }
        self.note(name, true);
        Ok(())
    }

    /// `+@category` or `-@category`, without its sign and `@`.
    fn set_category<H>(
        &mut self,
        name: &[u8],
        allow: bool,
        registry: &Registry<H>,
    ) -> Result<(), Fault> {
        let wanted = Categories::named(name).ok_or(Fault::Unknown)?;
        for entry in registry.iter().filter(|e| e.categories.has(wanted)) {
            self.set_command(entry, allow, registry);
        }
        self.note(&[b"@", name].concat(), allow);
        Ok(())
    }

    /// A command with all its subcommands.
    fn set_command<H>(&mut self, entry: &Entry<H>, allow: bool, registry: &Registry<H>) {
        self.set_bit(entry.id.index(), allow, registry.len());
        self.first_args.remove(&entry.id.index());
        for sub in registry.subs(entry) {
            self.set_bit(sub.id.index(), allow, registry.len());
        }
    }

    fn set_bit(&mut self, at: usize, allow: bool, commands: usize) {
        let words = commands.div_ceil(64);
        if self.commands.len() < words {
            let rest = if self.future { u64::MAX } else { 0 };
            self.commands.resize(words, rest);
        }
        if let Some(word) = self.commands.get_mut(at / 64) {
            let bit = 1 << (at % 64);
            if allow {
                *word |= bit;
            } else {
                *word &= !bit;
                self.all_commands = false;
            }
        }
    }

    fn bit(&self, at: usize) -> bool {
        match self.commands.get(at / 64) {
            Some(word) => word >> (at % 64) & 1 == 1,
            None => self.future,
        }
    }

    /// A rule is the last word on its command: earlier ones on the same, or on a part of it, say nothing any more.
    fn note(&mut self, what: &[u8], allow: bool) {
        let outdone = |rule: &CommandRule| {
            let rest = rule.what.strip_prefix(what);
            rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'|')
        };
        self.rules.retain(|rule| !outdone(rule));
        self.rules.push(CommandRule {
            allow,
            what: what.into(),
        });
    }

    /// Whether it allows everything.
    pub fn is_unlimited(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels
    }

    /// Whether every key may be accessed so.
    pub(super) fn has_all_keys(&self, access: Access) -> bool {
        let every = |known: &KeyPattern| &*known.pattern == b"*" && known.allows(access);
        self.all_keys || self.keys.iter().any(every)
    }

    /// Whether a key may be accessed so.
    pub(super) fn has_key(&self, key: &[u8], access: Access) -> bool {
        let fits =
            |known: &KeyPattern| known.allows(access) && glob::matches(&known.pattern, key, false);
        self.all_keys || self.keys.iter().any(fits)
    }

    /// Whether a channel may be used. What PSUBSCRIBE names must be one of the patterns, to the letter.
    pub(super) fn has_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        let fits = |known: &[u8]| match is_pattern {
            true => known == channel,
            false => glob::matches(known, channel, false),
        };
        self.all_channels || self.channels.iter().any(|known| fits(known))
    }

    /// Whether it has every channel that another one has.
    pub(super) fn all_channels(&self) -> bool {
        self.all_channels
    }

    /// The patterns of channels.
    pub(super) fn channels(&self) -> &[Box<[u8]>] {
        &self.channels
    }

    /// Whether a command may run, with these arguments. Its keys are looked for once for all selectors of a user.
    pub(super) fn check<H>(
        &self,
        entry: &Entry<H>,
        args: &dyn Argv,
        keys: &mut Option<Keys>,
    ) -> Result<(), Denied> {
        if !self.has_command(entry, args) {
            return Err(Denied::Command);
        }
        if !self.all_keys && entry.has_keys() {
            // Where keys cannot be told, the command will say so itself.
            let keys = keys.get_or_insert_with(|| entry.keys(args).unwrap_or_default());
            let refused = |key: &&crate::spec::KeyRef| {
                let access = Access::of(key.flags);
                !self.has_key(args.arg(key.pos as usize), access)
            };
            if let Some(key) = keys.iter().find(refused) {
                return Err(Denied::Key(key.pos as usize));
            }
        }
        if !self.all_channels
            && let Some(named) = entry.row.channels
        {
            let refused = |&at: &usize| !self.has_channel(args.arg(at), named.patterns);
            if let Some(at) = named.positions(args.len()).find(refused) {
                return Err(Denied::Channel(at));
            }
        }
        Ok(())
    }

    fn has_command<H>(&self, entry: &Entry<H>, args: &dyn Argv) -> bool {
        // Who may not log in could never log in as somebody else.
        if self.all_commands || entry.flags.has(flag::NO_AUTH) || self.bit(entry.id.index()) {
            return true;
        }
        let at = if entry.parent.is_some() { 2 } else { 1 };
        let known = self.first_args.get(&entry.id.index());
        args.len() > at
            && known.is_some_and(|known| {
                let given = args.arg(at);
                known.iter().any(|arg| arg.eq_ignore_ascii_case(given))
            })
    }

    /// The rules about commands that make it again.
    pub fn describe_commands(&self) -> Vec<u8> {
        let mut out = if self.future { b"+@all" } else { b"-@all" }.to_vec();
        for rule in &self.rules {
            out.extend_from_slice(if rule.allow { b" +" } else { b" -" });
            out.extend_from_slice(&rule.what);
        }
        out
    }

    /// The patterns of keys.
    pub fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let mut out = Vec::new();
        for (i, known) in self.keys.iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            known.describe(&mut out);
        }
        out
    }

    /// The patterns of channels.
    pub fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let shown = self.channels.iter().map(|c| [b"&", &**c].concat());
        shown.collect::<Vec<_>>().join(&b' ')
    }

    /// All rules that make it again.
    pub(super) fn describe(&self) -> Vec<u8> {
        let mut parts = vec![self.describe_keys()];
        if !self.all_channels {
            parts.push(b"resetchannels".to_vec());
        }
        parts.push(self.describe_channels());
        parts.push(self.describe_commands());
        parts.retain(|part| !part.is_empty());
        parts.join(&b' ')
    }
}

/// What stands between `%` and `~`, and the pattern behind.
fn permissions(text: &[u8]) -> Result<(bool, bool, &[u8]), Fault> {
    let (mut read, mut write) = (false, false);
    for (i, byte) in text.iter().enumerate() {
        match byte.to_ascii_uppercase() {
            b'R' if !read => read = true,
            b'W' if !write => write = true,
            b'~' if read || write => return Ok((read, write, &text[i + 1..])),
            _ => return Err(Fault::Syntax),
        }
    }
    // Redis takes what ends here for an empty pattern.
    match read || write {
        true => Ok((read, write, &[])),
        false => Err(Fault::Syntax),
    }
}

impl Access {
    /// What must be allowed for a key with these flags.
    pub(super) fn of(flags: KeyFlags) -> Self {
        Self {
            read: flags.reads(),
            write: flags.writes(),
        }
    }
}
