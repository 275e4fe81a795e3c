//! Append-only files: the directory by its manifest, or an old one that is a single file.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Read};
use std::path::Path;

use super::{Out, PIECE, rdb};
use crate::persist::aof::{Entry, Kind, Manifest, Reader, Wrong};

/// What becomes of a log that is not whole.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Mend {
    /// Nothing.
    No,
    /// It is cut off behind what is whole, once the user says so.
    Ask,
    /// It is cut off where the time is after this, in unix seconds.
    Until(i64),
}

/// One file.
struct Part<'a> {
    path: &'a Path,
    name: String,
    what: &'static str,
    /// Only the last file can be cut off.
    last: bool,
}

/// What was found in it.
struct Found {
    /// Up to here it is whole, or to be kept.
    whole: u64,
    /// Lines of the commands up to there.
    lines: u64,
    end: End,
}

enum End {
    /// That of the file.
    Whole,
    /// Something is wrong behind it.
    Wrong(String),
    /// What follows is after the time up to which the file is to be kept.
    After,
    /// A time cannot be read.
    Untimed,
}

/// Whether a log can be loaded, perhaps by now.
pub(super) fn check(path: &Path, mend: Mend, out: Out<'_>) -> io::Result<bool> {
    let manifest = match is_manifest(path) {
        Ok(is_manifest) => is_manifest,
        Err(e) => {
            writeln!(out, "Cannot open file {}: {e}", path.display())?;
            return Ok(false);
        }
    };
    if manifest {
        return check_parts(path, mend, out);
    }
    writeln!(out, "Start checking Old-Style AOF")?;
    let part = Part {
        path,
        name: path.display().to_string(),
        what: "AOF",
        last: true,
    };
    check_part(&part, mend, out)
}

/// A manifest has the ending of one, or lines that begin with its first word.
fn is_manifest(path: &Path) -> io::Result<bool> {
    const LONGEST_LINE: u64 = 1024;
    let mut file = io::BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        (&mut file)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)?;
        if line.first() != Some(&b'#') {
            let named = path.extension().is_some_and(|e| e == "manifest");
            return Ok(named || line.starts_with(b"file"));
        }
    }
}

fn check_parts(path: &Path, mend: Mend, out: Out<'_>) -> io::Result<bool> {
    writeln!(out, "Start checking Multi Part AOF")?;
    let manifest = match Manifest::parse(&std::fs::read(path)?) {
        Ok(manifest) => manifest,
        Err(error) => {
            writeln!(out, "AOF manifest {}: {error}", path.display())?;
            return Ok(false);
        }
    };
    let dir = path.parent().unwrap_or(Path::new(""));
    let count = manifest.parts().count();
    let mut increments = false;
    for (n, (part, kind)) in manifest.parts().enumerate() {
        let what = match kind {
            Kind::Base => "BASE AOF",
            _ => "INCR AOF",
        };
        let path = dir.join(&part.name);
        if kind == Kind::Base {
            let format = if is_rdb(&path) { "RDB" } else { "RESP" };
            writeln!(out, "Start to check BASE AOF ({format} format).")?;
        } else if !std::mem::replace(&mut increments, true) {
            writeln!(out, "Start to check INCR files.")?;
        }
        let part = Part {
            path: &path,
            name: part.name.clone(),
            what,
            last: n + 1 == count,
        };
        if !check_part(&part, mend, out)? {
            return Ok(false);
        }
    }
    writeln!(out, "All AOF files and manifest are valid")?;
    Ok(true)
}

fn is_rdb(path: &Path) -> bool {
    let mut start = [0; 5];
    // What cannot be opened is complained of later.
    File::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok()) && start == *b"REDIS"
}

/// Checks one file; whether it is sound, perhaps by now.
fn check_part(part: &Part<'_>, mend: Mend, out: Out<'_>) -> io::Result<bool> {
    let (path, name, what) = (part.path, &part.name, part.what);
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) => {
            writeln!(out, "Cannot open file {}: {e}, aborting...", path.display())?;
            return Ok(false);
        }
    };
    let size = file.metadata()?.len();
    if size == 0 {
        writeln!(out, "{what} {name} is empty")?;
        return Ok(true);
    }
    let mut reader = Reader::new(0);
    if is_rdb(path) {
        let Some((at, behind)) = rdb::read(&mut file, out)? else {
            writeln!(out, "RDB preamble of AOF file is not sane, aborting.")?;
            return Ok(false);
        };
        writeln!(out, "RDB preamble is OK, proceeding with AOF tail...")?;
        reader = Reader::new(at);
        if !behind.is_empty() {
            reader.feed(&behind);
        }
    }
    let found = read_log(&mut reader, &mut file, mend)?;
    drop(file);
    let (whole, lines, diff) = (found.whole, found.lines, size.saturating_sub(found.whole));
    match &found.end {
        End::Whole => {}
        End::Wrong(wrong) => writeln!(out, "AOF {name}: {wrong}")?,
        End::After => return cut_after(part, whole, mend, out),
        End::Untimed => {
            writeln!(
                out,
                "AOF {name}: Invalid timestamp annotation at offset {whole}"
            )?;
            return Ok(false);
        }
    }
    if let (End::Whole, Mend::Until(until)) = (&found.end, mend) {
        writeln!(out, "Truncate nothing in AOF {name} to timestamp {until}")?;
    } else {
        writeln!(
            out,
            "AOF analyzed: filename={name}, size={size}, ok_up_to={whole}, ok_up_to_line={lines}, diff={diff}"
        )?;
    }
    match found.end {
        End::Whole => {
            writeln!(out, "{what} {name} is valid")?;
            Ok(true)
        }
        _ if mend == Mend::Ask => fix(part, size, whole, out),
        _ => {
            writeln!(
                out,
                "AOF {name} is not valid. Use the --fix option to try fixing it."
            )?;
            Ok(false)
        }
    }
}

/// Cuts off what is not whole, if the user says so.
fn fix(part: &Part<'_>, size: u64, whole: u64, out: Out<'_>) -> io::Result<bool> {
    let (name, less) = (&part.name, size.saturating_sub(whole));
    if !part.last {
        writeln!(
            out,
            "Failed to truncate AOF {name} because it is not the last file"
        )?;
        return Ok(false);
    }
    writeln!(
        out,
        "This will shrink the AOF {name} from {size} bytes, with {less} bytes, to {whole} bytes"
    )?;
    write!(out, "Continue? [y/N]: ")?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if !answer.trim_start().starts_with(['y', 'Y']) {
        writeln!(out, "Aborting...")?;
        return Ok(false);
    }
    truncate(part.path, whole)?;
    writeln!(out, "Successfully truncated AOF {name}")?;
    Ok(true)
}

/// Cuts off what came after a time.
fn cut_after(part: &Part<'_>, whole: u64, mend: Mend, out: Out<'_>) -> io::Result<bool> {
    let name = &part.name;
    let Mend::Until(until) = mend else {
        return Ok(true);
    };
    if whole == 0 {
        writeln!(
            out,
            "AOF {name} has nothing before timestamp {until}, aborting..."
        )?;
        return Ok(false);
    }
    if !part.last {
        writeln!(
            out,
            "Failed to truncate AOF {name} to timestamp {until} to offset {whole} because it is not the last file.\n\
             If you insist, delete the files after it, and their lines in the manifest, and check again."
        )?;
        return Ok(false);
    }
    truncate(part.path, whole)?;
    writeln!(
        out,
        "Successfully truncated AOF {name} to timestamp {until}"
    )?;
    Ok(true)
}

fn truncate(path: &Path, len: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(len)?;
    file.sync_all()
}

/// Reads a log to its end, or as far as it is to be kept. A transaction that does not end is not whole.
fn read_log(reader: &mut Reader, file: &mut dyn Read, mend: Mend) -> io::Result<Found> {
    let mut piece = vec![0; PIECE];
    let mut ended = false;
    // The transaction that is open: where it begins, and the line.
    let mut open = None;
    let (mut whole, mut lines) = (reader.position(), 1);
    let end = loop {
        match reader.next_entry() {
            Ok(Some(Entry::Command(words))) => {
                let read = 1 + 2 * words.len() as u64;
                if words.name().eq_ignore_ascii_case(b"multi") {
                    if open.is_some() {
                        break End::Wrong(format!("Unexpected MULTI at offset {whole}"));
                    }
                    open = Some((whole, lines));
                } else if words.name().eq_ignore_ascii_case(b"exec") && open.take().is_none() {
                    break End::Wrong(format!("Unexpected EXEC at offset {whole}"));
                }
                lines += read;
            }
            Ok(Some(Entry::Time(at))) if matches!(mend, Mend::Until(until) if at > until) => {
                break End::After;
            }
            Ok(Some(Entry::Note(line)))
                if matches!(mend, Mend::Until(_)) && line.starts_with(b"#TS:") =>
            {
                break End::Untimed;
            }
            Ok(Some(_)) => {}
            Ok(None) if ended => match open {
                Some(_) => {
                    let what = "Reached EOF before reading EXEC for MULTI";
                    break End::Wrong(format!("{what} at offset {whole}"));
                }
                None => break End::Whole,
            },
            Ok(None) => match file.read(&mut piece) {
                Ok(n) => {
                    ended = n == 0;
                    reader.feed(piece.get(..n).unwrap_or_default());
                    continue;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            },
            Err(wrong) => {
                whole = whole.min(wrong.offset());
                break End::Wrong(match wrong {
                    Wrong::Torn(_) => wrong.to_string(),
                    Wrong::Damaged(..) => format!("format error: {wrong}"),
                });
            }
        }
        whole = reader.position();
    };
    let (whole, lines) = open.unwrap_or((whole, lines));
    Ok(Found { whole, lines, end })
}
