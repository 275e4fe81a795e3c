//! How the values of parameters are read, checked and shown.
//!
//! A codec is a small constant beside its parameter's row. It words its refusals as Redis does, because clients and
//! Redis's own tests match on them.

use std::borrow::Cow;
use std::fmt::Display;

use crate::util::num;

/// Why a value was refused, in the words of Redis.
pub(crate) type Fault = Cow<'static, str>;

/// Where a value comes from. In a file (or on the command line) some directives add to what stood before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The first line of a file that names this parameter.
    FileFirst,
    /// A later line.
    FileAgain,
    /// `CONFIG SET`.
    Command,
}

/// Reads and shows the value of one parameter.
pub(crate) trait Codec<T> {
    /// Replaces `value` by what `words` say, or leaves it alone and says why not.
    fn assign(&self, value: &mut T, words: &[&[u8]], origin: Origin) -> Result<(), Fault>;

    /// What `CONFIG GET` answers.
    fn show(&self, value: &T) -> Vec<u8>;

    /// The argument part of each line that a configuration file needs for this value.
    fn lines(&self, value: &T) -> Vec<Vec<u8>> {
        vec![quoted(&self.show(value))]
    }

    /// The values it takes, for the reference; empty where the row's documentation says all.
    fn accepts(&self) -> String {
        String::new()
    }
}

/// The one word of a directive that takes exactly one.
pub(crate) fn single<'a>(words: &[&'a [u8]]) -> Result<&'a [u8], Fault> {
    match words {
        [word] => Ok(word),
        _ => Err("wrong number of arguments".into()),
    }
}

/// A word as a configuration file must spell it to be read back as the same bytes.
pub(crate) fn quoted(word: &[u8]) -> Vec<u8> {
    let plain = !word.is_empty()
        && word
            .iter()
            .all(|&b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\' | b'#'));
    match plain {
        true => word.to_vec(),
        false => in_quotes(word),
    }
}

/// The same, always between quotes: so Redis writes what is text.
pub(crate) fn in_quotes(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len() + 2);
    crate::resp::quote(&mut out, word);
    out
}

/// An amount of memory as Redis writes it into a file: with the largest unit that fits.
pub(crate) fn memory(bytes: u64) -> String {
    let units = [(30, "gb"), (20, "mb"), (10, "kb")];
    let fits = |&(bits, _): &(u32, &str)| bytes != 0 && bytes.trailing_zeros() >= bits;
    match units.into_iter().find(fits) {
        Some((bits, unit)) => format!("{}{unit}", bytes >> bits),
        None => bytes.to_string(),
    }
}

/// `yes` or `no`.
pub(crate) struct YesNo;

impl Codec<bool> for YesNo {
    fn assign(&self, value: &mut bool, words: &[&[u8]], _: Origin) -> Result<(), Fault> {
        let word = single(words)?;
        *value = if word.eq_ignore_ascii_case(b"yes") {
            true
        } else if word.eq_ignore_ascii_case(b"no") {
            false
        } else {
            return Err("argument must be 'yes' or 'no'".into());
        };
        Ok(())
    }

    fn show(&self, value: &bool) -> Vec<u8> {
        if *value {
            b"yes".to_vec()
        } else {
            b"no".to_vec()
        }
    }

    fn accepts(&self) -> String {
        "yes or no".into()
    }
}

/// An integer within bounds, both inclusive.
pub(crate) struct Int(pub(crate) i64, pub(crate) i64);

impl<T: TryFrom<i64> + Display> Codec<T> for Int {
    fn assign(&self, value: &mut T, words: &[&[u8]], _: Origin) -> Result<(), Fault> {
        let number =
            num::parse_i64(single(words)?).ok_or("argument couldn't be parsed into an integer")?;
        *value = within(number, self.0, self.1)?;
        Ok(())
    }

    fn show(&self, value: &T) -> Vec<u8> {
        value.to_string().into_bytes()
    }

    fn accepts(&self) -> String {
        bounds(self.0, self.1)
    }
}

/// An integer of which everything within the bounds of `taken` is accepted and moved into those of `kept`.
pub(crate) struct Clamped {
    pub(crate) taken: (i64, i64),
    pub(crate) kept: (i64, i64),
}

impl<T: TryFrom<i64> + Display> Codec<T> for Clamped {
    fn assign(&self, value: &mut T, words: &[&[u8]], _: Origin) -> Result<(), Fault> {
        let number =
            num::parse_i64(single(words)?).ok_or("argument couldn't be parsed into an integer")?;
        let number: i64 = within(number, self.taken.0, self.taken.1)?;
        let (least, most) = self.kept;
        *value = within(number.clamp(least, most), least, most)?;
        Ok(())
    }

    fn show(&self, value: &T) -> Vec<u8> {
        value.to_string().into_bytes()
    }

    fn accepts(&self) -> String {
        format!("{} to {}", self.kept.0, self.kept.1)
    }
}

/// An amount of memory, with or without a unit, within bounds.
pub(crate) struct Mem(pub(crate) u64, pub(crate) u64);

impl<T: TryFrom<u64> + Copy + Display> Codec<T> for Mem
where
    u64: TryFrom<T>,
{
    fn assign(&self, value: &mut T, words: &[&[u8]], _: Origin) -> Result<(), Fault> {
        let number = num::parse_memory(single(words)?).ok_or("argument must be a memory value")?;
        let fits = (self.0..=self.1).contains(&number);
        *value = T::try_from(number)
            .ok()
            .filter(|_| fits)
            .ok_or_else(|| outside(self.0, self.1))?;
        Ok(())
    }

    fn show(&self, value: &T) -> Vec<u8> {
        value.to_string().into_bytes()
    }

    fn lines(&self, value: &T) -> Vec<Vec<u8>> {
        let line = match u64::try_from(*value) {
            Ok(bytes) => memory(bytes),
            Err(_) => value.to_string(),
        };
        vec![line.into_bytes()]
    }

    fn accepts(&self) -> String {
        "bytes, or with a unit: 1k 1kb 1m 1mb 1g 1gb".into()
    }
}

/// An amount of memory, absolute or as a share of `maxmemory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Bytes.
    Bytes(u64),
    /// Per cent of `maxmemory`.
    Percent(u8),
}

impl Default for Share {
    fn default() -> Self {
        Self::Bytes(0)
    }
}

/// Reads a [`Share`].
pub(crate) struct MemOrPercent;

impl Codec<Share> for MemOrPercent {
    fn assign(&self, value: &mut Share, words: &[&[u8]], _: Origin) -> Result<(), Fault> {
        let word = single(words)?;
        let wrong = "argument must be a memory or percent value";
        *value = match word.strip_suffix(b"%") {
            None => Share::Bytes(num::parse_memory(word).ok_or(wrong)?),
            Some(digits) => match num::parse_i64(digits).ok_or(wrong)? {
                n @ 0..=100 => Share::Percent(n as u8),
                n if n > 100 => {
                    return Err("percentage argument must be less or equal to 100".into());
                }
                _ => return Err(wrong.into()),
            },
        };
        Ok(())
    }

    fn show(&self, value: &Share) -> Vec<u8> {
        match value {
            Share::Bytes(n) => n.to_string().into_bytes(),
            Share::Percent(n) => format!("{n}%").into_bytes(),
        }
    }

    fn lines(&self, value: &Share) -> Vec<Vec<u8>> {
        vec![match value {
            Share::Bytes(n) => memory(*n).into_bytes(),
            Share::Percent(_) => self.show(value),
        }]
    }

    fn accepts(&self) -> String {
        "bytes, or a percentage of maxmemory: 5%".into()
    }
}

/// One of several words, each standing for a value. The first word of a value is the one that is shown.
pub(crate) struct Choice<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Codec<T> for Choice<T> {
    fn assign(&self, value: &mut T, words: &[&[u8]], _: Origin) -> Result<(), Fault> {
        let found = match words {
            [word] => self
                .0
                .iter()
                .find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word)),
            _ if words.is_empty() => return Err("wrong number of arguments".into()),
            _ => None,
        };
        match found {
            Some(&(_, chosen)) => *value = chosen,
            None if words.len() != 1 => return Err("wrong number of arguments".into()),
            None => return Err(one_of(self.0.iter().map(|&(name, _)| name))),
        }
        Ok(())
    }

    fn show(&self, value: &T) -> Vec<u8> {
        let found = self.0.iter().find(|(_, known)| known == value);
        found.map_or_else(Vec::new, |(name, _)| name.as_bytes().to_vec())
    }

    fn accepts(&self) -> String {
        self.0
            .iter()
            .map(|&(name, _)| name)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// One of several words that nothing in the code tells apart yet.
pub(crate) struct Word(pub(crate) &'static [&'static str]);

impl Codec<&'static str> for Word {
    fn assign(&self, value: &mut &'static str, words: &[&[u8]], _: Origin) -> Result<(), Fault> {
        let word = single(words)?;
        let found = self
            .0
            .iter()
            .find(|name| name.as_bytes().eq_ignore_ascii_case(word));
        *value = found.ok_or_else(|| one_of(self.0.iter().copied()))?;
        Ok(())
    }

    fn show(&self, value: &&'static str) -> Vec<u8> {
        value.as_bytes().to_vec()
    }

    fn accepts(&self) -> String {
        self.0.join(", ")
    }
}

/// Text that is used as text: a path, an address, a name.
pub(crate) struct Text;

impl Codec<String> for Text {
    fn assign(&self, value: &mut String, words: &[&[u8]], _: Origin) -> Result<(), Fault> {
        *value = utf8(single(words)?)?;
        Ok(())
    }

    fn show(&self, value: &String) -> Vec<u8> {
        value.as_bytes().to_vec()
    }

    fn lines(&self, value: &String) -> Vec<Vec<u8>> {
        vec![in_quotes(value.as_bytes())]
    }
}

/// Text that is not there when it is empty: then it has no line.
pub(crate) struct TextOrNone;

impl Codec<String> for TextOrNone {
    fn assign(&self, value: &mut String, words: &[&[u8]], origin: Origin) -> Result<(), Fault> {
        Text.assign(value, words, origin)
    }

    fn show(&self, value: &String) -> Vec<u8> {
        Text.show(value)
    }

    fn lines(&self, value: &String) -> Vec<Vec<u8>> {
        lines_unless_empty(value.as_bytes())
    }
}

fn lines_unless_empty(value: &[u8]) -> Vec<Vec<u8>> {
    match value {
        b"" => Vec::new(),
        _ => vec![in_quotes(value)],
    }
}

/// The name of a machine, or none.
pub(crate) struct HostName;

impl Codec<String> for HostName {
    fn assign(&self, value: &mut String, words: &[&[u8]], _: Origin) -> Result<(), Fault> {
        let name = utf8(single(words)?)?;
        if name.len() >= 256 {
            return Err("Hostnames must be less than 256 characters".into());
        }
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
        if !name.bytes().all(fits) {
            return Err(
                "Hostnames may only contain alphanumeric characters, hyphens or dots".into(),
            );
        }
        *value = name;
        Ok(())
    }

    fn show(&self, value: &String) -> Vec<u8> {
        Text.show(value)
    }

    fn lines(&self, value: &String) -> Vec<Vec<u8>> {
        lines_unless_empty(value.as_bytes())
    }
}

/// The name of something in `dir`, never a path: the parameter's name and the word for what it names.
pub(crate) struct FileName(pub(crate) &'static str, pub(crate) &'static str);

impl Codec<String> for FileName {
    fn assign(&self, value: &mut String, words: &[&[u8]], _: Origin) -> Result<(), Fault> {
        let Self(parameter, what) = self;
        let name = utf8(single(words)?)?;
        if name.is_empty() {
            return Err(format!("{parameter} can't be empty").into());
        }
        if name.contains(['/', '\\']) {
            return Err(format!("{parameter} can't be a path, just a {what}").into());
        }
        *value = name;
        Ok(())
    }

    fn show(&self, value: &String) -> Vec<u8> {
        Text.show(value)
    }

    fn lines(&self, value: &String) -> Vec<Vec<u8>> {
        Text.lines(value)
    }
}

/// The title of the process: text with `{names}` out of a fixed set.
pub(crate) struct TitleTemplate;

impl Codec<String> for TitleTemplate {
    fn assign(&self, value: &mut String, words: &[&[u8]], _: Origin) -> Result<(), Fault> {
        const NAMES: [&str; 7] = [
            "title",
            "listen-addr",
            "server-mode",
            "port",
            "tls-port",
            "unixsocket",
            "config-file",
        ];
        let text = utf8(single(words)?)?;
        let known = text.split('{').skip(1).all(|part| {
            part.split_once('}')
                .is_some_and(|(name, _)| NAMES.contains(&name))
        });
        if !known {
            return Err("template format is invalid or contains unknown variables".into());
        }
        *value = text;
        Ok(())
    }

    fn show(&self, value: &String) -> Vec<u8> {
        value.as_bytes().to_vec()
    }

    fn lines(&self, value: &String) -> Vec<Vec<u8>> {
        Text.lines(value)
    }
}

/// Any bytes: a password, a user's name. It has no line when it is empty.
pub(crate) struct Secret;

impl Codec<Vec<u8>> for Secret {
    fn assign(&self, value: &mut Vec<u8>, words: &[&[u8]], _: Origin) -> Result<(), Fault> {
        *value = single(words)?.to_vec();
        Ok(())
    }

    fn show(&self, value: &Vec<u8>) -> Vec<u8> {
        value.clone()
    }

    fn lines(&self, value: &Vec<u8>) -> Vec<Vec<u8>> {
        lines_unless_empty(value)
    }
}

/// Permission bits, written in octal.
pub(crate) struct Octal(pub(crate) u32);

impl Codec<u32> for Octal {
    fn assign(&self, value: &mut u32, words: &[&[u8]], _: Origin) -> Result<(), Fault> {
        let text = utf8(single(words)?)?;
        let number = u32::from_str_radix(&text, 8)
            .map_err(|_| "argument couldn't be parsed as an octal number")?;
        if number > self.0 {
            return Err(format!("argument must be between 0 and {:o} inclusive", self.0).into());
        }
        *value = number;
        Ok(())
    }

    fn show(&self, value: &u32) -> Vec<u8> {
        format!("{value:o}").into_bytes()
    }

    fn accepts(&self) -> String {
        format!("octal, 0 to {:o}", self.0)
    }
}

pub(crate) fn utf8(word: &[u8]) -> Result<String, Fault> {
    match std::str::from_utf8(word) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err("argument must be valid UTF-8".into()),
    }
}

pub(crate) fn one_of(names: impl Iterator<Item = &'static str>) -> Fault {
    let names: Vec<_> = names.collect();
    format!(
        "argument(s) must be one of the following: {}",
        names.join(", ")
    )
    .into()
}

fn within<T: TryFrom<i64>>(number: i64, min: i64, max: i64) -> Result<T, Fault> {
    let fits = (min..=max).contains(&number);
    T::try_from(number)
        .ok()
        .filter(|_| fits)
        .ok_or_else(|| outside(min, max))
}

fn outside(min: impl Display, max: impl Display) -> Fault {
    format!("argument must be between {min} and {max} inclusive").into()
}

fn bounds(min: i64, max: i64) -> String {
    match max {
        i64::MAX | 2_147_483_647 | 4_294_967_295 => format!("an integer from {min}"),
        _ => format!("an integer from {min} to {max}"),
    }
}
