//! The commands of the program that are more than one server: each brings its own arguments and says with which status the
//! program ends.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::{dr, drill, ha};

/// What `redkeep` does beside being a server.
#[derive(Debug, Parser)]
#[command(name = "redkeep", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Ha(ha::Args),
    // It says itself what it is for.
    Drill(Box<drill::Args>),
    /// Look after a standby in another region
    Dr(Box<dr::Args>),
}

/// The first word of a command line that is for one of these.
const COMMANDS: &[&[u8]] = &[b"ha", b"drill", b"dr"];

/// Does what the command line asks for, if it is for one of these.
pub(super) fn main(argv: &[Vec<u8>]) -> Option<ExitCode> {
    COMMANDS.contains(&argv.first()?.as_slice()).then_some(())?;
    let words = std::iter::once(OsString::from("redkeep")).chain(argv.iter().map(|word| os(word)));
    Some(match Cli::try_parse_from(words) {
        Ok(cli) => run(cli.command),
        Err(error) => {
            // Help, too, is such an error.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    })
}

fn run(command: Command) -> ExitCode {
    match command {
        Command::Ha(args) => ha::run(&args),
        Command::Dr(args) => dr::run(&args),
        Command::Drill(args) => drill::run(&args),
    }
}

#[cfg(unix)]
fn os(word: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(word.to_vec())
}

#[cfg(not(unix))]
fn os(word: &[u8]) -> OsString {
    String::from_utf8_lossy(word).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn what_is_declared_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_is_known_by_its_first_word() {
        let declared = Cli::command();
        let mut names: Vec<_> = declared
            .get_subcommands()
            .map(|command| command.get_name().as_bytes().to_vec())
            .collect();
        names.sort();
        let mut known = COMMANDS.to_vec();
        known.sort_unstable();
        assert_eq!(names, known);
    }

    #[test]
    fn a_file_is_no_command() {
        assert!(main(&[]).is_none());
        assert!(main(&[b"redkeep.conf".to_vec(), b"drill".to_vec()]).is_none());
    }
}
