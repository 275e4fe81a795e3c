//! What is declared about one parameter.

use super::codec::{Fault, Origin};
use super::params::Config;
use crate::resp::split_line;

/// What a parameter does in this version of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It does what its documentation says.
    Live,
    /// A hint about the insides of Redis that has no counterpart here, and why not. Any value is as good as another.
    Hint(&'static str),
    /// Kept and reported, but without effect in this version: a value other than the default draws a warning.
    Later,
    /// Only these values are accepted; the text says why no other is.
    Only(&'static [&'static str], &'static str),
}

/// One parameter: everything that its syntax, `CONFIG`, the configuration file and the reference derive from.
#[derive(Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// Names that older versions and Valkey have for it: accepted, and listed by `CONFIG GET`.
    pub aliases: &'static [&'static str],
    /// Its default, as a configuration file would spell it.
    pub default: &'static str,
    /// What it does, for the reference.
    pub doc: &'static [&'static str],
    /// What it does in this version.
    pub effect: Effect,
    /// `CONFIG SET` refuses it.
    pub immutable: bool,
    /// `CONFIG SET` needs `enable-protected-configs`.
    pub protected: bool,
    /// Its value must not be logged.
    pub sensitive: bool,
    /// `CONFIG GET` lists it only under its full name.
    pub hidden: bool,
    /// It takes several words.
    pub multi: bool,
    /// `CONFIG SET` refuses it while a data set is loading.
    pub not_loading: bool,
    /// `CONFIG REWRITE` writes it whether or not it has its default.
    pub written: bool,
    /// It names a file: setting it to what it is already is a change, for there may be something else in the file.
    pub reread: bool,
    /// As an option, its name alone says `yes`.
    pub bare: bool,
    pub(super) access: Access,
}

/// Replaces a field by what words say.
type Assign = fn(&mut Config, &[&[u8]], Origin) -> Result<(), Fault>;

/// Typed access to the field behind a row.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) assign: Assign,
    pub(super) show: fn(&Config) -> Vec<u8>,
    pub(super) lines: fn(&Config) -> Vec<Vec<u8>>,
    pub(super) accepts: fn() -> String,
}

impl Row {
    pub(super) const fn new(
        name: &'static str,
        default: &'static str,
        doc: &'static [&'static str],
        access: Access,
    ) -> Self {
        Self {
            name,
            aliases: &[],
            default,
            doc,
            effect: Effect::Live,
            immutable: false,
            protected: false,
            sensitive: false,
            hidden: false,
            multi: false,
            not_loading: false,
            written: false,
            reread: false,
            bare: false,
            access,
        }
    }

    pub(super) const fn alias(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    pub(super) const fn hint(self, why: &'static str) -> Self {
        Self {
            effect: Effect::Hint(why),
            ..self
        }
    }

    pub(super) const fn only(self, values: &'static [&'static str], why: &'static str) -> Self {
        Self {
            effect: Effect::Only(values, why),
            ..self
        }
    }

    pub(super) const fn immutable(self) -> Self {
        Self {
            immutable: true,
            ..self
        }
    }

    pub(super) const fn protected(self) -> Self {
        Self {
            protected: true,
            ..self
        }
    }

    pub(super) const fn sensitive(self) -> Self {
        Self {
            sensitive: true,
            ..self
        }
    }

    pub(super) const fn hidden(self) -> Self {
        Self {
            hidden: true,
            ..self
        }
    }

    pub(super) const fn multi(self) -> Self {
        Self {
            multi: true,
            ..self
        }
    }

    pub(super) const fn not_loading(self) -> Self {
        Self {
            not_loading: true,
            ..self
        }
    }

    pub(super) const fn written(self) -> Self {
        Self {
            written: true,
            ..self
        }
    }

    pub(super) const fn reread(self) -> Self {
        Self {
            reread: true,
            ..self
        }
    }

    pub(super) const fn bare(self) -> Self {
        Self { bare: true, ..self }
    }

    /// The names under which it is known, its own first.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// Whether somebody who asks for many parameters is shown this one of its names: not one that is only spelt in the
    /// manner of another server.
    pub(super) fn is_listed_as(&self, name: &str) -> bool {
        !self.hidden && (name == self.name || name != self.name.replace('_', "-"))
    }

    /// The one of its names that `name` is, in any case.
    pub fn known_as(&self, name: &[u8]) -> Option<&'static str> {
        self.names()
            .find(|known| known.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether `name` is one of its names, in any case.
    pub fn is(&self, name: &[u8]) -> bool {
        self.known_as(name).is_some()
    }

    /// Its value as `CONFIG GET` answers it.
    pub fn show(&self, config: &Config) -> Vec<u8> {
        (self.access.show)(config)
    }

    /// The argument part of each line that a configuration file needs for its value.
    pub fn lines(&self, config: &Config) -> Vec<Vec<u8>> {
        (self.access.lines)(config)
    }

    /// The values it takes, in words; empty where the documentation says all.
    pub fn accepts(&self) -> String {
        (self.access.accepts)()
    }

    /// Replaces the value by what `words` say. A parameter of several words takes them also as one word with spaces:
    /// of a file it is read as a line would be, of `CONFIG SET` it is cut at each space.
    pub(super) fn assign(
        &self,
        config: &mut Config,
        words: &[&[u8]],
        origin: Origin,
    ) -> Result<(), Fault> {
        match words {
            [word] if self.multi && origin == Origin::Command => {
                let words = word.split(|&b| b == b' ').filter(|_| !word.is_empty());
                (self.access.assign)(config, &words.collect::<Vec<_>>(), origin)?;
            }
            [word] if self.multi && !word.is_empty() => {
                let split =
                    split_line(word).map_err(|_| "Unbalanced quotes in configuration line")?;
                let words: Vec<_> = split.iter().map(Vec::as_slice).collect();
                (self.access.assign)(config, &words, origin)?;
            }
            _ => (self.access.assign)(config, words, origin)?,
        }
        self.check_effect(config)
    }

    /// Refuses values that would have to do something that this version cannot do.
    fn check_effect(&self, config: &Config) -> Result<(), Fault> {
        let Effect::Only(values, why) = self.effect else {
            return Ok(());
        };
        let shown = self.show(config);
        if values.iter().any(|value| value.as_bytes() == shown) {
            return Ok(());
        }
        let name = self.name;
        Err(format!("this value of '{name}' is not supported: {why}").into())
    }
}
