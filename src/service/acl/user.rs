//! A user: passwords, and what they open.

use super::rule::{Fault, SetFault, merge};
use super::selector::Selector;
use crate::spec::{Argv, Entry, Registry};
use crate::util::digest::sha256_hex;

/// A hashed password: SHA-256 in lower-case hex.
type Hash = [u8; 64];

/// How a key is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// What it holds is told.
    pub read: bool,
    /// It is changed.
    pub write: bool,
}

/// What of a command is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    /// The command itself.
    Command,
    /// The key at this position.
    Key(usize),
    /// The channel at this position.
    Channel(usize),
}

impl Denied {
    /// Where in the command it stands.
    pub const fn position(self) -> usize {
        match self {
            Self::Command => 0,
            Self::Key(at) | Self::Channel(at) => at,
        }
    }
}

/// Who may be connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: Box<[u8]>,
    /// Nobody logs in as a user who is off.
    pub on: bool,
    /// Any password will do.
    pub nopass: bool,
    /// Payloads of RESTORE need not be looked at deeply. Ours are, always.
    pub skip_sanitize: bool,
    /// Hashes of the passwords.
    passwords: Vec<Hash>,
    /// What the rules outside of parentheses say.
    root: Selector,
    /// Those in parentheses.
    more: Vec<Selector>,
}

impl User {
    /// One who is off and may do nothing; use every channel, if `all_channels` (`acl-pubsub-default`).
    pub fn new(name: &[u8], all_channels: bool) -> Self {
        Self {
            name: name.into(),
            on: false,
            nopass: false,
            skip_sanitize: false,
            passwords: Vec::new(),
            root: Selector::new(all_channels),
            more: Vec::new(),
        }
    }

    /// Applies rules of ACL SETUSER, all or none.
    ///
    /// # Errors
    /// The first that is refused.
    pub fn with_rules<H>(
        &self,
        rules: &[&[u8]],
        registry: &Registry<H>,
        all_channels: bool,
    ) -> Result<Self, SetFault> {
        let rules = merge(rules).map_err(|start| SetFault::Unmatched(start.to_vec()))?;
        let mut next = self.clone();
        for rule in rules {
            let applied = next.apply(&rule, registry, all_channels);
            applied.map_err(|fault| SetFault::Rule(rule, fault))?;
        }
        Ok(next)
    }

    /// Applies a rule. `all_channels` is what `acl-pubsub-default` says.
    ///
    /// # Errors
    /// When there is no such rule; then nothing has changed.
    pub fn apply<H>(
        &mut self,
        rule: &[u8],
        registry: &Registry<H>,
        all_channels: bool,
    ) -> Result<(), Fault> {
        match rule.to_ascii_lowercase().as_slice() {
            b"" => {}
            b"on" => self.on = true,
            b"off" => self.on = false,
            b"skip-sanitize-payload" => self.skip_sanitize = true,
            b"sanitize-payload" => self.skip_sanitize = false,
            b"nopass" => self.set_no_password(true),
            b"resetpass" => self.set_no_password(false),
            b"clearselectors" => self.more.clear(),
            b"reset" => *self = Self::new(&self.name, all_channels),
            [b'>', ..] => self.add_password(sha256_hex(&rule[1..])),
            [b'#', ..] => self.add_password(hash(&rule[1..])?),
            [b'<', ..] => self.remove_password(&sha256_hex(&rule[1..]))?,
            [b'!', ..] => self.remove_password(&hash(&rule[1..])?)?,
            [b'(', .., b')'] => {
                let selector = Selector::parse(rule, registry, all_channels)?;
                self.more.push(selector);
            }
            _ => self.root.apply(rule, registry)?,
        }
        Ok(())
    }

    fn set_no_password(&mut self, needs_none: bool) {
        self.nopass = needs_none;
        self.passwords.clear();
    }

    fn add_password(&mut self, hash: Hash) {
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.nopass = false;
    }

    fn remove_password(&mut self, hash: &Hash) -> Result<(), Fault> {
        let before = self.passwords.len();
        self.passwords.retain(|known| known != hash);
        match self.passwords.len() < before {
            true => Ok(()),
            false => Err(Fault::NoSuchPassword),
        }
    }

    /// What `requirepass` says of the default user: this password and no other, or none if it is empty.
    pub fn require(&mut self, password: &[u8]) {
        self.set_no_password(password.is_empty());
        if !password.is_empty() {
            self.add_password(sha256_hex(password));
        }
    }

    /// Whether somebody may log in with this password. How long that takes tells nothing of the right ones.
    pub fn opens(&self, password: &[u8]) -> bool {
        if !self.on {
            return false;
        }
        let given = sha256_hex(password);
        let fits = self.passwords.iter().fold(false, |fits, known| {
            let differ = |acc, (x, y): (&u8, &u8)| acc | (x ^ y);
            fits | (std::hint::black_box(known.iter().zip(&given).fold(0, differ)) == 0)
        });
        self.nopass | fits
    }

    /// Whether one is this user without a password.
    pub const fn is_open(&self) -> bool {
        self.nopass && self.on
    }

    /// Whether nothing is forbidden.
    pub fn is_unlimited(&self) -> bool {
        self.selectors().any(Selector::is_unlimited)
    }

    fn selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.more)
    }

    /// Whether a command may run, with these arguments.
    ///
    /// # Errors
    /// What is not allowed. If no selector allows it, for different reasons, it is the one that came furthest.
    pub fn check<H>(&self, entry: &Entry<H>, args: &dyn Argv) -> Result<(), Denied> {
        let mut keys = None;
        let mut furthest = Denied::Command;
        for selector in self.selectors() {
            match selector.check(entry, args, &mut keys) {
                Ok(()) => return Ok(()),
                Err(denied) => furthest = furthest.max(denied),
            }
        }
        Err(furthest)
    }

    /// Whether a command may run, by a selector that allows all keys to be accessed so.
    pub fn check_with_all_keys<H>(
        &self,
        entry: &Entry<H>,
        args: &dyn Argv,
        access: Access,
    ) -> bool {
        let mut keys = None;
        self.selectors().any(|selector| {
            selector.has_all_keys(access) && selector.check(entry, args, &mut keys).is_ok()
        })
    }

    /// Whether a key may be accessed so, by whatever command.
    pub fn has_key(&self, key: &[u8], access: Access) -> bool {
        self.selectors()
            .any(|selector| selector.has_key(key, access))
    }

    /// Whether a channel may be used; `is_pattern` if it is one of PSUBSCRIBE.
    pub fn has_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.selectors()
            .any(|selector| selector.has_channel(channel, is_pattern))
    }

    /// Whether a channel that `before` could use may be out of reach now.
    pub fn lost_channels(&self, before: &Self) -> bool {
        if self.selectors().any(Selector::all_channels) {
            return false;
        }
        let has = |pattern: &[u8]| {
            let mut known = self.selectors().flat_map(|s| s.channels());
            known.any(|known| **known == *pattern)
        };
        before
            .selectors()
            .any(|s| s.all_channels() || !s.channels().iter().all(|c| has(c)))
    }

    /// The words that ACL GETUSER calls flags.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let sanitize = if self.skip_sanitize {
            "skip-sanitize-payload"
        } else {
            "sanitize-payload"
        };
        let flags = [
            (true, if self.on { "on" } else { "off" }),
            (self.nopass, "nopass"),
            (true, sanitize),
        ];
        flags
            .into_iter()
            .filter_map(|(set, name)| set.then_some(name))
    }

    /// Hashes of the passwords, in lower-case hex.
    pub fn passwords(&self) -> &[Hash] {
        &self.passwords
    }

    /// What the rules outside of parentheses say.
    pub const fn root(&self) -> &Selector {
        &self.root
    }

    /// Those in parentheses.
    pub fn more(&self) -> &[Selector] {
        &self.more
    }

    /// The user as a line of a file has it: `user name rules…`.
    pub fn describe(&self) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> = vec![b"user".to_vec(), self.name.to_vec()];
        words.extend(self.flags().map(|flag| flag.as_bytes().to_vec()));
        words.extend(
            self.passwords
                .iter()
                .map(|hash| [b"#".as_slice(), hash].concat()),
        );
        words.push(self.root.describe());
        let inner = self.more.iter().map(Selector::describe);
        words.extend(inner.map(|rules| [b"(", rules.as_slice(), b")"].concat()));
        words.join(&b' ')
    }
}

/// A hash as a rule gives it.
fn hash(text: &[u8]) -> Result<Hash, Fault> {
    let digit = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    let hash: Hash = text.try_into().map_err(|_| Fault::BadHash)?;
    if hash.iter().all(digit) {
        Ok(hash)
    } else {
        Err(Fault::BadHash)
    }
}
