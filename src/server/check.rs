//! `redkeep check-rdb` and `redkeep check-aof`: whether files can be loaded, and what is wrong with them.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::ds::table::Seed;
use crate::persist::aof::reader::Entry;
use crate::persist::aof::{Kind, Manifest, Reader, Wrong};
use crate::persist::{LoadError, Loaded, Loader};
use crate::types::dump::Limits;
use crate::types::{hash, list, set, zset};

const USAGE: &str = "\
Usage: redkeep check-rdb FILE
       redkeep check-aof [--fix | --truncate-to-timestamp SECONDS] FILE.manifest|FILE.aof
";

/// Bytes read at once.
const PIECE: usize = 1 << 20;

type Out<'a> = &'a mut dyn Write;

/// Does what the command line asks for, if it is for one of these; `argv` begins with the name of it.
pub(super) fn main(argv: &[Vec<u8>]) -> Option<ExitCode> {
    let words: Vec<&str> = argv
        .iter()
        .map_while(|word| std::str::from_utf8(word).ok())
        .collect();
    let mut out = io::stdout().lock();
    let sound = match words.as_slice() {
        ["check-rdb", file] => check_rdb(Path::new(file), &mut out),
        ["check-aof", file] => check_aof(Path::new(file), Mend::No, &mut out),
        ["check-aof", "--fix", file] => check_aof(Path::new(file), Mend::Ask, &mut out),
        ["check-aof", "--truncate-to-timestamp", seconds, file] => match seconds.parse() {
            Ok(until) => check_aof(Path::new(file), Mend::Until(until), &mut out),
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

/// What the values are read with: which encodings they would take is of no interest.
fn limits() -> Limits {
    let seed = Seed::random(|| 1);
    Limits {
        list: list::Limits {
            fill: -2,
            depth: 0,
            plain_from: list::Limits::PLAIN_FROM,
        },
        hash: hash::Limits {
            entries: 512,
            value: 64,
            seed,
        },
        set: set::Limits {
            max_intset: 512,
            max_packed: 128,
            max_value: 64,
            seed,
        },
        zset: zset::Limits {
            entries: 128,
            value: 64,
            seed,
        },
    }
}

/// What was found in an RDB file.
#[derive(Default)]
struct Found {
    keys: u64,
    expires: u64,
    expired: u64,
}

fn check_rdb(path: &Path, out: Out<'_>) -> io::Result<bool> {
    let mut file = File::open(path)?;
    writeln!(out, "[offset 0] Checking RDB file {}", path.display())?;
    Ok(read_rdb(&mut file, out)?.is_some())
}

/// Reads a snapshot; none if it is damaged, otherwise what follows it, as far as that was read.
fn read_rdb(file: &mut dyn Read, out: Out<'_>) -> io::Result<Option<(u64, Vec<u8>)>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |time| {
        i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
    });
    let (limits, mut loader, mut found) = (limits(), Loader::new(true), Found::default());
    let mut piece = vec![0; PIECE];
    let mut key = None;
    loop {
        let at = loader.position();
        match loader.next(&limits, now) {
            Ok(None) => {
                let n = file.read(&mut piece)?;
                loader.feed(piece.get(..n).unwrap_or_default());
            }
            Ok(Some(Loaded::End)) => break,
            Ok(Some(loaded)) => tell(loaded, at, now, &mut found, &mut key, out)?,
            Err(LoadError { offset, what }) => {
                writeln!(out, "--- RDB ERROR DETECTED ---")?;
                writeln!(out, "[offset {offset}] {what}")?;
                if let Some(key) = key {
                    writeln!(
                        out,
                        "[additional info] The last key that was read is '{key}'"
                    )?;
                }
                summary(&found, out)?;
                return Ok(None);
            }
        }
    }
    let at = loader.position();
    writeln!(out, "[offset {at}] Checksum OK")?;
    writeln!(out, "[offset {at}] \\o/ RDB looks OK! \\o/")?;
    summary(&found, out)?;
    Ok(Some((at, loader.rest().to_vec())))
}

fn tell(
    loaded: Loaded,
    at: u64,
    now: i64,
    found: &mut Found,
    key: &mut Option<String>,
    out: Out<'_>,
) -> io::Result<()> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match loaded {
        Loaded::Key(read) => {
            found.keys += 1;
            found.expires += u64::from(read.deadline.is_some());
            found.expired += u64::from(read.deadline.is_some_and(|at| at < now));
            *key = Some(text(&read.name));
        }
        Loaded::Empty(name) => writeln!(out, "[offset {at}] Empty key: {}", text(&name))?,
        Loaded::Select(db) => writeln!(out, "[offset {at}] Selecting DB ID {db}")?,
        Loaded::Fact(name, value) => {
            let (name, value) = (text(&name), text(&value));
            writeln!(out, "[offset {at}] AUX FIELD {name} = '{value}'")?;
        }
        Loaded::Module(name) if !name.is_empty() => {
            writeln!(out, "[offset {at}] MODULE AUX for: {name}")?;
        }
        Loaded::Sizes(_) | Loaded::Function(_) | Loaded::Module(_) | Loaded::End => {}
    }
    Ok(())
}

fn summary(found: &Found, out: Out<'_>) -> io::Result<()> {
    writeln!(out, "[info] {} keys read", found.keys)?;
    writeln!(out, "[info] {} expires", found.expires)?;
    writeln!(out, "[info] {} already expired", found.expired)
}

/// What becomes of a log that is not whole.
#[derive(Clone, Copy, PartialEq)]
enum Mend {
    /// Nothing.
    No,
    /// It is cut off behind what is whole, once the user says so.
    Ask,
    /// It is cut off where the time is after this, in unix seconds.
    Until(i64),
}

fn check_aof(path: &Path, mend: Mend, out: Out<'_>) -> io::Result<bool> {
    let mut first = [0];
    // An empty file is no manifest.
    let _ = File::open(path)?.read(&mut first)?;
    let is_manifest = path.extension().is_some_and(|e| e == "manifest") || first == *b"f";
    if !is_manifest {
        writeln!(out, "Start checking Old-Style AOF")?;
        return check_log(path, Kind::Base, true, mend, out);
    }
    let manifest = match Manifest::parse(&std::fs::read(path)?) {
        Ok(manifest) => manifest,
        Err(error) => {
            writeln!(out, "{error}")?;
            return Ok(false);
        }
    };
    writeln!(out, "Start checking Multi Part AOF")?;
    let dir = path.parent().unwrap_or(Path::new(""));
    let count = manifest.parts().count();
    let mut logs = false;
    for (n, (part, kind)) in manifest.parts().enumerate() {
        if kind == Kind::Increment && !std::mem::replace(&mut logs, true) {
            writeln!(out, "Start to check INCR files.")?;
        }
        if !check_log(&dir.join(&part.name), kind, n + 1 == count, mend, out)? {
            return Ok(false);
        }
    }
    writeln!(out, "All AOF files and manifest are valid")?;
    Ok(true)
}

/// Checks one file of a log; whether it is sound, perhaps by now.
fn check_log(path: &Path, kind: Kind, last: bool, mend: Mend, out: Out<'_>) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let (name, size) = (path.display(), file.metadata()?.len());
    let is_base = kind == Kind::Base;
    let kind = if is_base { "BASE" } else { "INCR" };
    let mut start = Vec::new();
    (&mut file as &mut dyn Read)
        .take(5)
        .read_to_end(&mut start)?;
    let mut rest = io::Cursor::new(start.clone()).chain(file);
    let mut reader = Reader::new(0);
    if start == b"REDIS" {
        writeln!(out, "Start to check {kind} AOF (RDB format).")?;
        let Some((at, behind)) = read_rdb(&mut rest, out)? else {
            writeln!(out, "RDB preamble of AOF file is not sane, aborting.")?;
            return Ok(false);
        };
        writeln!(out, "RDB preamble is OK, proceeding with AOF tail...")?;
        reader = Reader::new(at);
        if !behind.is_empty() {
            reader.feed(&behind);
        }
    } else if is_base {
        writeln!(out, "Start to check BASE AOF (RESP format).")?;
    }
    let Kept { whole, line, wrong } = read_log(&mut reader, &mut rest, mend)?;
    let diff = size - whole;
    if let Some(wrong) = &wrong {
        writeln!(out, "{wrong}")?;
    }
    writeln!(
        out,
        "AOF analyzed: filename={name}, size={size}, ok_up_to={whole}, ok_up_to_line={line}, diff={diff}"
    )?;
    if diff == 0 {
        writeln!(out, "{kind} AOF {name} is valid")?;
        return Ok(true);
    }
    let what = match mend {
        Mend::Until(time) => format!("AOF {name} to timestamp {time}"),
        Mend::No | Mend::Ask => format!("AOF {name}"),
    };
    let refusal = match (mend, wrong) {
        (Mend::No, _) | (Mend::Until(_), Some(_)) => {
            format!("AOF {name} is not valid. Use the --fix option to try fixing it.")
        }
        (Mend::Until(time), None) if whole == 0 => {
            format!("AOF {name} has nothing before timestamp {time}, aborting...")
        }
        _ if !last => format!("Failed to truncate {what} because it is not the last file"),
        (Mend::Ask, _) if !agreed(path, (size, whole), out)? => "Aborting...".to_owned(),
        (Mend::Ask | Mend::Until(_), _) => {
            OpenOptions::new().write(true).open(path)?.set_len(whole)?;
            writeln!(out, "Successfully truncated {what}")?;
            return Ok(true);
        }
    };
    writeln!(out, "{refusal}")?;
    Ok(false)
}

/// How far a log is to be kept.
struct Kept {
    /// Up to this offset.
    whole: u64,
    /// The line of commands and notes that comes next, from 1.
    line: u64,
    /// What is wrong there.
    wrong: Option<Wrong>,
}

/// Reads a log to its end, or as far as it is to be kept. A transaction that does not end is not whole.
fn read_log(reader: &mut Reader, file: &mut dyn Read, mend: Mend) -> io::Result<Kept> {
    let mut piece = vec![0; PIECE];
    let (mut ended, mut open) = (false, None);
    let (mut whole, mut line) = (reader.position(), 1);
    let wrong = loop {
        match reader.next_entry() {
            Ok(Some(Entry::Time(at))) if matches!(mend, Mend::Until(until) if at > until) => {
                return Ok(Kept {
                    whole,
                    line,
                    wrong: None,
                });
            }
            Ok(Some(Entry::Command(words))) => {
                let name = words.name();
                if name.eq_ignore_ascii_case(b"multi") {
                    open = Some((whole, line));
                } else if name.eq_ignore_ascii_case(b"exec") {
                    open = None;
                }
                line += 1 + 2 * words.len() as u64;
            }
            Ok(Some(_)) => line += 1,
            Ok(None) if ended => break open.map(|(at, _)| Wrong::Torn(at)),
            Ok(None) => {
                let n = file.read(&mut piece)?;
                ended = n == 0;
                reader.feed(piece.get(..n).unwrap_or_default());
                continue;
            }
            Err(wrong) => break Some(wrong),
        }
        whole = reader.position();
    };
    let (whole, line) = open.unwrap_or((whole, line));
    Ok(Kept { whole, line, wrong })
}

fn agreed(path: &Path, (size, whole): (u64, u64), out: Out<'_>) -> io::Result<bool> {
    let (name, less) = (path.display(), size - whole);
    writeln!(
        out,
        "This will shrink the AOF {name} from {size} bytes, with {less} bytes, to {whole} bytes"
    )?;
    write!(out, "Continue? [y/N]: ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}
