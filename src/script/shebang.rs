//! The first line of a script that tells the engine and the script's flags: `#!lua flags=no-writes,allow-oom`.

use crate::exec::CmdError;

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

/// Splits a script into its flags and its code. The end of the first line stays, so that lines keep their numbers.
pub(super) fn parse(body: &[u8]) -> Result<(Flags, &[u8]), CmdError> {
    if !body.starts_with(b"#!") {
        return Ok((Flags::default(), body));
    }
    let end = memchr::memchr(b'\n', body).ok_or(CmdError::fixed("ERR Invalid script shebang"))?;
    let (line, code) = body.split_at(end);
    let mut words = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let engine = words.next().unwrap_or_default();
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
}
