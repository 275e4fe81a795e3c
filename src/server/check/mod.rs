//! `redkeep check-rdb` and `redkeep check-aof`: whether files can be loaded, and what is wrong with them. The program does
//! the same when it is called by the names of Redis's tools, `redis-check-rdb` and `redis-check-aof`.

mod aof;
mod rdb;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use aof::Mend;

const USAGE: &str = "\
Usage: redkeep check-rdb FILE
       redkeep check-aof [--fix | --truncate-to-timestamp SECONDS] FILE.manifest|FILE.aof
";

/// Bytes read at once.
const PIECE: usize = 1 << 20;

type Out<'a> = &'a mut dyn Write;

/// Does what the command line asks for, if it is for one of these; `program` is the name by which it was called.
pub(super) fn main(program: &[u8], argv: &[Vec<u8>]) -> Option<ExitCode> {
    let words: Vec<String> = called_as(program)
        .into_iter()
        .map(str::to_owned)
        .chain(argv.iter().map(|word| text(word)))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut out = io::stdout().lock();
    let sound = match *words.as_slice() {
        ["check-rdb", "-v" | "--version"] => {
            writeln!(out, "redkeep check-rdb {}", env!("CARGO_PKG_VERSION")).map(|()| true)
        }
        ["check-rdb", file] => rdb::check(Path::new(file), &mut out),
        ["check-aof", file] => aof::check(Path::new(file), Mend::No, &mut out),
        ["check-aof", "--fix", file] => aof::check(Path::new(file), Mend::Ask, &mut out),
        ["check-aof", "--truncate-to-timestamp", seconds, file] => match seconds.parse() {
            // As with Redis's.
            Ok(0) => aof::check(Path::new(file), Mend::No, &mut out),
            Ok(until) => aof::check(Path::new(file), Mend::Until(until), &mut out),
            Err(_) => writeln!(out, "Invalid timestamp, aborting...").map(|()| false),
        },
        ["check-rdb" | "check-aof", ..] => out.write_all(USAGE.as_bytes()).map(|()| false),
        _ => return None,
    };
    Some(match sound {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // There is nowhere else to complain to.
            let _ = writeln!(out, "{error}");
            ExitCode::FAILURE
        }
    })
}

/// The tool that the program is to be by its name.
fn called_as(program: &[u8]) -> Option<&'static str> {
    let program = text(program);
    let name = Path::new(&program).file_stem()?.to_str()?;
    ["check-aof", "check-rdb"]
        .into_iter()
        .find(|tool| name.strip_suffix(tool).is_some_and(|by| by.ends_with('-')))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_what_it_is_called() {
        for (name, tool) in [
            ("redis-check-aof", Some("check-aof")),
            ("/usr/bin/redis-check-rdb", Some("check-rdb")),
            ("redkeep-check-aof.exe", Some("check-aof")),
            ("redkeep", None),
            ("check-aofs", None),
            ("", None),
        ] {
            assert_eq!(called_as(name.as_bytes()), tool, "{name}");
        }
    }
}
