//! The first line of a script, which tells the engine and the script's flags: `#!lua flags=no-writes,allow-oom`; and
//! that of a library, which tells engine and name: `#!lua name=mylib`.

use crate::exec::CmdError;
use crate::exec::declared::ScriptFlags;
use crate::exec::functions::is_name;
use crate::resp::split_line;

/// What a script says about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// It has a shebang. Without one a script may do whatever the commands it calls may do.
    pub(super) declared: bool,
    /// It does not write.
    pub(super) no_writes: bool,
    /// It may run when memory is over its limit.
    pub(super) allow_oom: bool,
    /// It may run on a replica whose data is stale.
    pub(super) allow_stale: bool,
}

impl Flags {
    /// The same as a set.
    pub(super) fn as_declared(self) -> ScriptFlags {
        [
            (self.no_writes, ScriptFlags::NO_WRITES),
            (self.allow_oom, ScriptFlags::ALLOW_OOM),
            (self.allow_stale, ScriptFlags::ALLOW_STALE),
        ]
        .into_iter()
        .filter(|(given, _)| *given)
        .fold(ScriptFlags::default(), |all, (_, flag)| all.with(flag))
    }
}

/// Splits a script into its flags and its code. The end of the first line stays, so that lines keep their numbers.
pub(super) fn parse(body: &[u8]) -> Result<(Flags, &[u8]), CmdError> {
    if !body.starts_with(b"#!") {
        return Ok((Flags::default(), body));
    }
    let end = memchr::memchr(b'\n', body).ok_or(CmdError::fixed("ERR Invalid script shebang"))?;
    let (line, code) = body.split_at(end);
    let words = split_line(line).unwrap_or_default();
    let Some((engine, words)) = words.split_first() else {
        return Err(CmdError::fixed("ERR Invalid engine in script shebang"));
    };
    if engine != b"#!lua" {
        return Err(error("Unexpected engine in script shebang: ", engine));
    }
    let mut flags = Flags {
        declared: true,
        ..Flags::default()
    };
    for word in words {
        let Some(list) = word.strip_prefix(b"flags=") else {
            return Err(error("Unknown lua shebang option: ", word));
        };
        if !list.is_empty() {
            list.split(|&b| b == b',')
                .try_for_each(|flag| set(&mut flags, flag))?;
        }
    }
    Ok((flags, code))
}

fn set(flags: &mut Flags, flag: &[u8]) -> Result<(), CmdError> {
    match flag {
        b"no-writes" => flags.no_writes = true,
        b"allow-oom" => flags.allow_oom = true,
        b"allow-stale" => flags.allow_stale = true,
        // They mean something to a cluster only.
        b"no-cluster" | b"allow-cross-slot-keys" => {}
        _ => return Err(error("Unexpected flag in script shebang: ", flag)),
    }
    Ok(())
}

/// What the first line of a library tells, and its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LibraryHead<'a> {
    /// The name: letters, digits and underscores.
    pub(super) name: String,
    /// The code from the end of the first line on.
    pub(super) code: &'a [u8],
}

/// Reads the first line of a library, whose words may be quoted.
pub(super) fn library(body: &[u8]) -> Result<LibraryHead<'_>, CmdError> {
    const INVALID: CmdError = CmdError::fixed("ERR Invalid library metadata");
    if !body.starts_with(b"#!") {
        return Err(CmdError::fixed("ERR Missing library metadata"));
    }
    // The line does not reach beyond a zero byte.
    let end = memchr::memchr2(b'\n', 0, body).filter(|&end| body.get(end) == Some(&b'\n'));
    let (line, code) = body.split_at(end.ok_or(INVALID)?);
    let words = split_line(line).map_err(|_| INVALID)?;
    let (engine, words) = words.split_first().ok_or(INVALID)?;
    let name = name_among(words)?;
    if !is_name(name) {
        return Err(CmdError::new(format!("ERR {NAME}")));
    }
    let engine = engine.get(2..).unwrap_or_default();
    if !engine.eq_ignore_ascii_case(b"lua") {
        let engine = String::from_utf8_lossy(engine);
        return Err(CmdError::new(format!("ERR Engine '{engine}' not found")));
    }
    let name = String::from_utf8_lossy(name).into_owned();
    Ok(LibraryHead { name, code })
}

/// What Redis says to a wrong name, of a function too.
pub(super) const NAME: &str = "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";

fn name_among(words: &[Vec<u8>]) -> Result<&[u8], CmdError> {
    const KEY: &[u8] = b"name=";
    let mut name = None;
    for word in words {
        match word.split_at_checked(KEY.len()) {
            Some((key, value)) if key.eq_ignore_ascii_case(KEY) => {
                if name.replace(value).is_some() {
                    return Err(CmdError::fixed(
                        "ERR Invalid metadata value, name argument was given multiple times",
                    ));
                }
            }
            _ => return Err(error("Invalid metadata value given: ", word)),
        }
    }
    name.ok_or(CmdError::fixed("ERR Library name was not given"))
}

fn error(text: &str, what: &[u8]) -> CmdError {
    CmdError::new(format!("ERR {text}{}", String::from_utf8_lossy(what)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_without_a_shebang_is_all_code() {
        let (flags, code) = parse(b"return 1").unwrap();
        assert!(!flags.declared);
        assert_eq!(code, b"return 1");
    }

    #[test]
    fn flags_are_read_and_the_line_end_kept() {
        let (flags, code) = parse(b"#!lua  flags=no-writes,allow-stale flags=\nreturn 1").unwrap();
        assert!(flags.declared && flags.no_writes && flags.allow_stale && !flags.allow_oom);
        assert_eq!(code, b"\nreturn 1");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, text) in [
            (&b"#!lua"[..], "ERR Invalid script shebang"),
            (b"#!\n", "ERR Unexpected engine in script shebang: #!"),
            (b"#! lua\n", "ERR Unexpected engine in script shebang: #!"),
            (
                b"#!luax\n",
                "ERR Unexpected engine in script shebang: #!luax",
            ),
            (b"#!lua x=y\n", "ERR Unknown lua shebang option: x=y"),
            (
                b"#!lua flags=a\n",
                "ERR Unexpected flag in script shebang: a",
            ),
            (
                b"#!lua flags=no-writes,,allow-oom\n",
                "ERR Unexpected flag in script shebang: ",
            ),
        ] {
            assert_eq!(parse(body).unwrap_err().text(), text);
        }
    }

    #[test]
    fn a_library_has_a_name() {
        for (body, name, code) in [
            (&b"#!lua name=a\nreturn 1"[..], "a", &b"\nreturn 1"[..]),
            (b"#!LUA\t NAME=\"a_\\x31\"  \r\n\0", "a_1", b"\n\0"),
            (b"#!'lua name'=b\n", "", b""),
        ] {
            let head = library(body).map(|head| (head.name, head.code));
            match name {
                "" => assert_eq!(head.unwrap_err().text(), "ERR Invalid library metadata"),
                name => assert_eq!(head.unwrap(), (name.to_owned(), code)),
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_library_is_named() {
        let name = &format!("ERR {NAME}");
        for (body, text) in [
            (&b""[..], "ERR Missing library metadata"),
            (b" #!lua name=a\n", "ERR Missing library metadata"),
            (b"#!lua name=a", "ERR Invalid library metadata"),
            (b"#!lua name=a\0\n", "ERR Invalid library metadata"),
            (b"#!lua name=\"a\n\"", "ERR Invalid library metadata"),
            (b"#!\n", "ERR Library name was not given"),
            (b"#!lua\n", "ERR Library name was not given"),
            (b"#!x y\n", "ERR Invalid metadata value given: y"),
            (
                b"#!x name=a name=a\n",
                "ERR Invalid metadata value, name argument was given multiple times",
            ),
            (b"#!x name=\n", name),
            (b"#!x name=a-b\n", name),
            (b"#! name=a\n", "ERR Engine '' not found"),
            (b"#!python name=a\n", "ERR Engine 'python' not found"),
        ] {
            assert_eq!(library(body).unwrap_err().text(), text);
        }
    }
}
