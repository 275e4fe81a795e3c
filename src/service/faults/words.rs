//! Faults in words: `COMMAND SET KEY lock:* ERROR LOADING TIMES 2`.
//!
//! ```text
//! fault  = where { which } what { when }
//! where  = COMMAND name | COMMAND @category | COMMAND * | CONNECTION | DISK op
//! which  = KEY pattern | ID client | NAME pattern | USER name | ADDR pattern       of commands
//!        | ADDR pattern                                                            of connections
//!        | PATH pattern                                                            of the disk
//! what   = ERROR text | DELAY ms | DROP [moment] | HANG [moment]                   of commands
//!        | REFUSE | ERROR text | HANG                                              of connections
//!        | ERROR errno | SHORT bytes | DELAY ms                                    of the disk
//! moment = BEFORE | AFTER                                                          (it runs), BEFORE if not said
//! when   = SKIP n | TIMES n | CHANCE p | SEED n
//! op     = OPEN | READ | WRITE | FSYNC | RENAME | REMOVE | *
//! errno  = ENOSPC | EIO | EACCES | EROFS
//! ```

use std::fmt;
use std::time::Duration;

use super::{
    DiskError, DiskOp, Effect, End, Entry, Failure, Fault, FaultError, Kind, Moment, OnCommands,
    OnConnections, OnDisk, What, When,
};
use crate::util::num;

impl Fault {
    /// Reads a fault from its words, as [`Display`](fmt::Display) writes them.
    ///
    /// ```
    /// use redkeep::faults::Fault;
    ///
    /// let words = "COMMAND set KEY lock:* ERROR LOADING TIMES 2";
    /// let fault = Fault::parse(words.split(' '))?;
    /// assert_eq!(fault, Fault::command("set").key("lock:*").fail("LOADING").times(2));
    /// assert_eq!(fault.to_string(), words);
    /// # Ok::<(), redkeep::faults::FaultError>(())
    /// ```
    ///
    /// # Errors
    /// Says which word is wrong, or what is missing.
    pub fn parse<I>(words: I) -> Result<Fault, FaultError>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let words: Vec<I::Item> = words.into_iter().collect();
        let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
        let mut words = Words { rest: &words };
        let kind = words.kind()?;
        let when = words.when()?;
        match words.rest.first() {
            Some(word) => Err(wrong(word)),
            None => Ok(Fault { kind, when }),
        }
    }
}

/// The words that are still to be read.
struct Words<'a> {
    rest: &'a [&'a [u8]],
}

fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}

fn wrong(word: &[u8]) -> FaultError {
    FaultError::Word(text(word.get(..64).unwrap_or(word)))
}

impl<'a> Words<'a> {
    fn next(&mut self, what: &'static str) -> Result<&'a [u8], FaultError> {
        let (first, rest) = self.rest.split_first().ok_or(FaultError::Missing(what))?;
        self.rest = rest;
        Ok(first)
    }

    /// Takes the next word if it is this one, in any case.
    fn is(&mut self, word: &str) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if first.eq_ignore_ascii_case(word.as_bytes()) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn number(&mut self) -> Result<u64, FaultError> {
        let word = self.next("a number")?;
        num::parse_u64(word).ok_or_else(|| wrong(word))
    }

    fn milliseconds(&mut self) -> Result<Duration, FaultError> {
        Ok(Duration::from_millis(self.number()?))
    }

    fn of<T: Copy>(&mut self, all: &[(&str, T)], what: &'static str) -> Result<T, FaultError> {
        let word = self.next(what)?;
        let found = all
            .iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| *value).ok_or_else(|| wrong(word))
    }

    fn kind(&mut self) -> Result<Kind, FaultError> {
        const WHERE: &str = "COMMAND, CONNECTION or DISK";
        if self.is("command") {
            let on = self.commands()?;
            Ok(Kind::Commands(on, self.effect()?))
        } else if self.is("connection") {
            let mut on = Fault::connection();
            while self.is("addr") {
                on = on.addr(self.next("a pattern")?);
            }
            Ok(Kind::Connections(on, self.entry()?))
        } else if self.is("disk") {
            let mut on = Fault::disk(self.of(DiskOp::ALL, "an operation")?);
            while self.is("path") {
                on = on.path(self.next("a pattern")?);
            }
            Ok(Kind::Disk(on, self.failure()?))
        } else {
            Err(wrong(self.next(WHERE)?))
        }
    }

    fn commands(&mut self) -> Result<OnCommands, FaultError> {
        let name = self.next("a command")?;
        let mut on = match name {
            b"*" => Fault::any_command(),
            [b'@', category @ ..] => Fault::category(text(category)),
            name => Fault::command(text(name)),
        };
        loop {
            if self.is("key") {
                on = on.key(self.next("a pattern")?);
            } else if self.is("id") {
                on = on.client_id(self.number()?);
            } else if self.is("name") {
                on = on.client_name(self.next("a pattern")?);
            } else if self.is("user") {
                on = on.user(self.next("a user")?);
            } else if self.is("addr") {
                on = on.addr(self.next("a pattern")?);
            } else {
                return Ok(on);
            }
        }
    }

    fn effect(&mut self) -> Result<Effect, FaultError> {
        if self.is("error") {
            Ok(Effect::Fail(text(self.next("a text")?)))
        } else if self.is("delay") {
            Ok(Effect::Delay(self.milliseconds()?))
        } else if self.is("drop") {
            Ok(Effect::End(End::Drop, self.moment()))
        } else if self.is("hang") {
            Ok(Effect::End(End::Hang, self.moment()))
        } else {
            Err(wrong(self.next("ERROR, DELAY, DROP or HANG")?))
        }
    }

    fn moment(&mut self) -> Moment {
        if self.is("after") {
            return Moment::After;
        }
        self.is("before");
        Moment::Before
    }

    fn entry(&mut self) -> Result<Entry, FaultError> {
        if self.is("refuse") {
            Ok(Entry::Refuse)
        } else if self.is("error") {
            Ok(Entry::Fail(text(self.next("a text")?)))
        } else if self.is("hang") {
            Ok(Entry::Hang)
        } else {
            Err(wrong(self.next("REFUSE, ERROR or HANG")?))
        }
    }

    fn failure(&mut self) -> Result<Failure, FaultError> {
        if self.is("error") {
            Ok(Failure::Fail(self.of(DiskError::ALL, "an error")?))
        } else if self.is("short") {
            Ok(Failure::Short(self.number()?))
        } else if self.is("delay") {
            Ok(Failure::Slow(self.milliseconds()?))
        } else {
            Err(wrong(self.next("ERROR, SHORT or DELAY")?))
        }
    }

    fn when(&mut self) -> Result<When, FaultError> {
        let mut when = When::default();
        let mut seed = 0;
        loop {
            if self.is("skip") {
                when.skip = self.number()?;
            } else if self.is("times") {
                when.times = Some(self.number()?);
            } else if self.is("chance") {
                let word = self.next("a probability")?;
                let p = num::parse_f64(word).ok_or_else(|| wrong(word))?;
                when.chance = Some((p, 0));
            } else if self.is("seed") {
                seed = self.number()?;
            } else {
                when.chance = when.chance.map(|(p, _)| (p, seed));
                return Ok(when);
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Commands(on, effect) => write!(f, "{on} {effect}")?,
            Kind::Connections(on, entry) => write!(f, "{on} {entry}")?,
            Kind::Disk(on, failure) => write!(f, "{on} {failure}")?,
        }
        self.when.fmt(f)
    }
}

/// A word that may be empty or hold anything, as a client would have to write it.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\');
        match !self.0.is_empty() && self.0.iter().all(plain) {
            true => f.write_str(&String::from_utf8_lossy(self.0)),
            false => write!(f, "\"{}\"", self.0.escape_ascii()),
        }
    }
}

fn which(f: &mut fmt::Formatter<'_>, word: &str, pattern: Option<&Vec<u8>>) -> fmt::Result {
    match pattern {
        Some(pattern) => write!(f, " {word} {}", Shown(pattern)),
        None => Ok(()),
    }
}

impl fmt::Display for OnCommands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("COMMAND ")?;
        match &self.what {
            What::Any => f.write_str("*")?,
            What::Named(name) => Shown(name.as_bytes()).fmt(f)?,
            What::Category(name) => write!(f, "@{name}")?,
        }
        which(f, "KEY", self.key.as_ref())?;
        if let Some(id) = self.client {
            write!(f, " ID {id}")?;
        }
        which(f, "NAME", self.name.as_ref())?;
        which(f, "USER", self.user.as_ref())?;
        which(f, "ADDR", self.addr.as_ref())
    }
}

impl fmt::Display for OnConnections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CONNECTION")?;
        which(f, "ADDR", self.addr.as_ref())
    }
}

impl fmt::Display for OnDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DISK {}", name_of(DiskOp::ALL, self.op))?;
        which(f, "PATH", self.path.as_ref())
    }
}

fn name_of<T: PartialEq>(all: &'static [(&'static str, T)], value: T) -> &'static str {
    let found = all.iter().find(|(_, other)| *other == value);
    found.map_or("", |(name, _)| name)
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::Fail(text) => write!(f, "ERROR {}", Shown(text.as_bytes())),
            Effect::Delay(by) => write!(f, "DELAY {}", by.as_millis()),
            Effect::End(end, moment) => {
                let end = match end {
                    End::Drop => "DROP",
                    End::Hang => "HANG",
                };
                let moment = match moment {
                    Moment::Before => "BEFORE",
                    Moment::After => "AFTER",
                };
                write!(f, "{end} {moment}")
            }
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Refuse => f.write_str("REFUSE"),
            Entry::Fail(text) => write!(f, "ERROR {}", Shown(text.as_bytes())),
            Entry::Hang => f.write_str("HANG"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Fail(error) => write!(f, "ERROR {}", name_of(DiskError::ALL, *error)),
            Failure::Short(bytes) => write!(f, "SHORT {bytes}"),
            Failure::Slow(by) => write!(f, "DELAY {}", by.as_millis()),
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.skip > 0 {
            write!(f, " SKIP {}", self.skip)?;
        }
        if let Some(times) = self.times {
            write!(f, " TIMES {times}")?;
        }
        if let Some((p, seed)) = self.chance {
            write!(f, " CHANCE {p} SEED {seed}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Fault, FaultError> {
        Fault::parse(line.split_whitespace())
    }

    #[test]
    fn every_fault_is_read_as_it_is_written() {
        for line in [
            "COMMAND * ERROR LOADING",
            "COMMAND @write KEY lock:* ID 7 NAME w-* USER joe ADDR 127.* DELAY 50 SKIP 1 TIMES 2",
            "COMMAND xgroup|create DROP BEFORE CHANCE 0.25 SEED 42",
            "COMMAND set DROP AFTER",
            "COMMAND set HANG BEFORE",
            "COMMAND set HANG AFTER TIMES 0",
            "CONNECTION REFUSE",
            "CONNECTION ADDR 10.* ERROR MAX",
            "CONNECTION HANG",
            "DISK WRITE PATH *.aof ERROR ENOSPC TIMES 1",
            "DISK * SHORT 3",
            "DISK FSYNC DELAY 20",
        ] {
            assert_eq!(parse(line).map(|fault| fault.to_string()), Ok(line.into()));
        }
        let short = parse("command set drop chance 1").map(|fault| fault.to_string());
        let long = "COMMAND set DROP BEFORE CHANCE 1 SEED 0";
        assert_eq!(short.as_deref(), Ok(long));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, word) in [
            ("SOMETHING", "SOMETHING"),
            ("COMMAND set BOIL", "BOIL"),
            ("COMMAND set DELAY soon", "soon"),
            ("COMMAND set DELAY -1", "-1"),
            ("COMMAND set DROP LATER", "LATER"),
            ("CONNECTION DROP", "DROP"),
            ("CONNECTION KEY x HANG", "KEY"),
            ("DISK BURN ERROR EIO", "BURN"),
            ("DISK WRITE ERROR EPERM", "EPERM"),
            ("DISK WRITE ERROR EIO TWICE", "TWICE"),
            ("COMMAND set DROP CHANCE often", "often"),
        ] {
            assert_eq!(parse(line), Err(FaultError::Word(word.into())), "{line}");
        }
        for line in [
            "",
            "COMMAND",
            "COMMAND set",
            "COMMAND set ERROR",
            "DISK",
            "CONNECTION",
        ] {
            assert!(matches!(parse(line), Err(FaultError::Missing(_))), "{line}");
        }
    }
}
