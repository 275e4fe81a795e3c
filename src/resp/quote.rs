//! Words, quoted as inline commands, configuration files and MONITOR have them.

/// Appends `word` between double quotes, so that [`split_line`](crate::resp::split_line) reads it back as it is.
pub(crate) fn quote(out: &mut Vec<u8>, word: &[u8]) {
    out.push(b'"');
    for &byte in word {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            7 => out.extend(b"\\a"),
            8 => out.extend(b"\\b"),
            0x20..=0x7e => out.push(byte),
            _ => out.extend(format!("\\x{byte:02x}").bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::split_line;

    #[test]
    fn quoting_is_undone_by_splitting() {
        let all: Vec<u8> = (0..=255).collect();
        let mut line = Vec::new();
        quote(&mut line, &all);
        assert_eq!(split_line(&line).unwrap(), [all]);
    }
}
