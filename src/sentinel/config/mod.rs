//! The configuration of a sentinel: lines that begin with `sentinel`, read and written.
//!
//! A directive is one row of a table, which says how it is read and how it is written. Whatever the order of the lines,
//! those about the sentinel itself are read first, as they say how hosts are named; then which masters there are; then
//! what is said of these. Lines that were not there yet are written in the order of the tables.

mod directives;
mod page;
#[cfg(test)]
mod tests;
mod words;

use directives::{FIRST, LAST, OF_MASTERS, Read, directive};
use page::Page;
use words::{Line, int, no_address, place, quoted, text};

use super::Sentinel;
use super::instance::Id;
use super::masters::MonitorError;

const NO_DIRECTIVE: &str = "Unrecognized sentinel configuration statement.";
const NO_MASTER: &str = "No such master with specified name.";

/// Why a line is not taken.
type Why = &'static str;

impl Sentinel {
    /// Takes the lines of a configuration, as words; the first of each is `sentinel`. That needs not be written again, unless
    /// there is no id in it.
    ///
    /// # Errors
    /// Which line is not taken, and why, as Redis says it. What was read before it has been done.
    pub fn load(&mut self, lines: &[Vec<Vec<u8>>]) -> Result<(), (usize, String)> {
        let changed = self.changed;
        let mut stages = [Vec::new(), Vec::new(), Vec::new()];
        for (at, line) in lines.iter().enumerate() {
            // A `sentinel` alone only says what this is.
            let Some((name, words)) = line.get(1..).and_then(<[_]>::split_first) else {
                continue;
            };
            let name = directive(name).ok_or_else(|| (at, NO_DIRECTIVE.to_owned()))?;
            let [first, masters, rest] = &mut stages;
            let stage = match name {
                "monitor" => masters,
                _ if OF_MASTERS.iter().any(|row| row.name == name) => rest,
                _ => first,
            };
            stage.push((at, name, words));
        }
        let mut has_id = false;
        for (at, name, words) in stages.into_iter().flatten() {
            has_id |= name == "myid";
            self.apply(name, words)
                .map_err(|why| (at, why.to_owned()))?;
        }
        self.changed = changed || !has_id;
        Ok(())
    }

    fn apply(&mut self, name: &str, words: &[Vec<u8>]) -> Result<(), Why> {
        if let Some(row) = FIRST.iter().chain(LAST).find(|row| row.name == name) {
            let [value] = words else {
                return Err(NO_DIRECTIVE);
            };
            return (row.read)(self, value);
        }
        let row = OF_MASTERS.iter().find(|row| row.name == name);
        let (Some(row), Some((master, words))) = (row, words.split_first()) else {
            return Err(NO_DIRECTIVE);
        };
        let fits = match &row.read {
            Read::Monitor => words.len() == 3,
            Read::Setting(_) | Read::Script(..) => words.len() == 1,
            Read::Known(counts, _) => counts.contains(&words.len()),
        };
        if !fits {
            return Err(NO_DIRECTIVE);
        }
        let master = text(master)?;
        if let Read::Monitor = row.read {
            return self.read_monitor(master, words);
        }
        let id = self.find(master).map(|master| master.id).ok_or(NO_MASTER)?;
        self.read_of_master(&row.read, id, words)
    }

    fn read_monitor(&mut self, name: &str, words: &[Vec<u8>]) -> Result<(), Why> {
        let (host, port) = place(words)?;
        let quorum = words.get(2).map_or(0, |word| int(word));
        match self.monitor_unresolved(name, host, port, quorum) {
            Ok(_) => Ok(()),
            Err(MonitorError::Duplicate) => Err("Duplicate master name."),
            Err(MonitorError::Quorum) => Err("Quorum must be 1 or greater."),
            Err(MonitorError::Address(e)) => Err(no_address(e)),
        }
    }

    fn read_of_master(&mut self, read: &Read, id: Id, words: &[Vec<u8>]) -> Result<(), Why> {
        let word = words.first().map(Vec::as_slice).unwrap_or_default();
        let may_run = |path: &str| self.names.may_run(path);
        match read {
            Read::Monitor => Ok(()),
            Read::Script(field, why) => {
                let path = text(word)?;
                if !may_run(path) {
                    return Err(why);
                }
                let master = self.masters.get_mut(&id).ok_or(NO_MASTER)?;
                path.clone_into(field(&mut master.settings));
                Ok(())
            }
            Read::Setting(read) => {
                let master = self.masters.get_mut(&id).ok_or(NO_MASTER)?;
                read(&mut master.settings, word)
            }
            Read::Known(_, read) => read(self, id, words),
        }
    }

    /// What a configuration file should hold, given what it holds: comments and the order of lines stay, lines about what is
    /// forgotten go, and what there was no line for follows at the end.
    pub fn rewritten(&self, old: &[u8]) -> Vec<u8> {
        let mut page = Page::read(old);
        page.write_own(self, FIRST);
        for master in self.masters() {
            let Some(instance) = self.instances.get(&master.id) else {
                continue;
            };
            for row in OF_MASTERS {
                for Line(rest) in (row.write)(self, master) {
                    let name = quoted(instance.name.as_bytes());
                    let line = [b"sentinel ", row.name.as_bytes(), b" ", &name, &rest].concat();
                    page.put(row.name, line, true);
                }
            }
        }
        page.write_own(self, LAST);
        page.finish()
    }
}
