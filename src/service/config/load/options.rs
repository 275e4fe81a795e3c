//! The command line, as far as it says what to read.

use std::path::PathBuf;

use super::{SENTINEL, find, path_of};
use crate::resp::split_line;

/// What a command line names: a file, standard input, and options.
pub(super) struct CommandLine<'a> {
    pub(super) file: Option<PathBuf>,
    pub(super) stdin: bool,
    options: &'a [Vec<u8>],
}

impl<'a> CommandLine<'a> {
    /// Takes a command line apart, the program's name left out. Standard input is a `-` before or behind the options.
    pub(super) fn new(argv: &'a [Vec<u8>]) -> Self {
        let (file, mut options) = match argv.split_first() {
            Some((first, rest)) if !first.starts_with(b"-") => (Some(path_of(first)), rest),
            _ => (None, argv),
        };
        let mut stdin = false;
        if let Some((first, rest)) = options.split_first()
            && first == b"-"
        {
            (stdin, options) = (true, rest);
        }
        if let Some((last, rest)) = options.split_last()
            && last == b"-"
        {
            (stdin, options) = (true, rest);
        }
        Self {
            file,
            stdin,
            options,
        }
    }

    /// The options as the lines of a configuration file.
    pub(super) fn lines(&self) -> Vec<u8> {
        lines(self.options)
    }
}

/// The options as the lines of a configuration file.
///
/// The word after a name is its value even when it begins with `--`; `--save` alone is `save ""`, `--sentinel` alone has
/// no value, and neither have those whose name alone says `yes`; a name and its values may also come as one argument, which is then taken as a line.
fn lines(options: &[Vec<u8>]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut value_due = false;
    for (i, arg) in options.iter().enumerate() {
        let Some(name) = arg.strip_prefix(b"--").filter(|_| !value_due) else {
            crate::resp::quote(&mut text, arg);
            text.push(b' ');
            value_due = false;
            continue;
        };
        text.push(b'\n');
        text.extend(name);
        text.push(b' ');
        if !split_line(arg).is_ok_and(|words| words.len() == 1) {
            continue;
        }
        let lone = options
            .get(i + 1)
            .is_none_or(|next| next.starts_with(b"--"));
        if lone && name.eq_ignore_ascii_case(b"save") {
            text.extend(b"\"\"");
        } else if lone && find(name).is_some_and(|row| row.bare) {
            text.extend(b"yes");
        } else if !(lone && name == SENTINEL) {
            value_due = true;
        }
    }
    text
}
