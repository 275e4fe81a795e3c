//! What can be seen in a script that lets it run faster. Where in doubt, it is not seen.

/// What is known of a script from its text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Traits {
    /// It leaves the tables KEYS and ARGV as it found them, so that they can be used again: making two tables costs
    /// as much as the rest of a short script. Each mention of them is followed by `[` or preceded by `#`, nothing is
    /// assigned to an index, and nothing is used that could reach the tables in another way.
    pub(super) leaves_arguments: bool,
    /// It raises no tables, since it never mentions `error` or what could hide it. Then no error handler is needed.
    pub(super) is_plain: bool,
    /// All of its code stands on this line, counted from 1. Where a tail call has left nothing on the stack to tell, this
    /// is where it was.
    pub(super) sole_line: Option<usize>,
}

impl Traits {
    /// Looks at the code of a script.
    pub(super) fn of(code: &[u8]) -> Traits {
        let sole_line = sole_line(code);
        let Some(tokens) = tokens(code) else {
            return Traits {
                sole_line,
                ..Traits::default()
            };
        };
        let hidden = tokens
            .iter()
            .any(|t| matches!(t, Token::Name(b"_G" | b"load" | b"loadstring")));
        let named = |name: &[u8]| tokens.contains(&Token::Name(name));
        Traits {
            leaves_arguments: !hidden && !named(b"rawset") && leaves_arguments(&tokens),
            is_plain: !hidden && !named(b"error"),
            sole_line,
        }
    }
}

fn sole_line(code: &[u8]) -> Option<usize> {
    let mut lines = code.split(|&b| b == b'\n').zip(1..);
    let is_code = |(line, _): &(&[u8], usize)| !line.trim_ascii().is_empty();
    let (_, at) = lines.find(is_code)?;
    lines.find(is_code).is_none().then_some(at)
}

fn leaves_arguments(tokens: &[Token<'_>]) -> bool {
    (0..tokens.len()).all(|at| match tokens[at] {
        Token::Name(b"KEYS" | b"ARGV") => only_read(tokens, at),
        Token::Mark(b'=') => assigns_no_index(&tokens[..at]),
        _ => true,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A name or a keyword.
    Name(&'a [u8]),
    /// A string or a number.
    Literal,
    /// `==`, `~=`, `<=`, `>=`, `..` or `...`.
    Operator,
    /// Any other character.
    Mark(u8),
}

pub(super) fn only_read(tokens: &[Token<'_>], at: usize) -> bool {
    tokens.get(at + 1) == Some(&Token::Mark(b'['))
        || (at > 0 && tokens[at - 1] == Token::Mark(b'#'))
}

/// What stands before a `=` is a list of targets, the name of a field in a constructor, or names declared. None may
/// end in `]`. Walks back over names, dots and commas: a `]` there ends a target if nothing or a comma or dot follows
/// it; a name that follows it begins another statement.
pub(super) fn assigns_no_index(before: &[Token<'_>]) -> bool {
    let mut follows = None;
    for &token in before.iter().rev() {
        match token {
            Token::Name(b"local") => return true,
            Token::Name(_) | Token::Mark(b'.' | b',') => follows = Some(token),
            Token::Mark(b']' | b')') => return matches!(follows, Some(Token::Name(_))),
            _ => return true,
        }
    }
    true
}

/// Takes a script apart; nothing if it ends within a string or comment.
pub(super) fn tokens(code: &[u8]) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some((&first, tail)) = rest.split_first() {
        let taken = match first {
            b if b.is_ascii_whitespace() => 1,
            b'-' if tail.starts_with(b"-") => 2 + comment(&rest[2..])?,
            b'\'' | b'"' => {
                tokens.push(Token::Literal);
                1 + quoted(tail, first)?
            }
            b'[' if long_bracket(rest).is_some() => {
                tokens.push(Token::Literal);
                long(rest)?
            }
            b if b.is_ascii_alphabetic() || b == b'_' => {
                let n = word(rest);
                tokens.push(Token::Name(&rest[..n]));
                n
            }
            b if b.is_ascii_digit() => {
                tokens.push(Token::Literal);
                word(rest)
            }
            _ => {
                let n = operator(rest);
                tokens.push(if n > 1 {
                    Token::Operator
                } else {
                    Token::Mark(first)
                });
                n
            }
        };
        rest = &rest[taken..];
    }
    Some(tokens)
}

fn word(text: &[u8]) -> usize {
    text.iter()
        .position(|b| !b.is_ascii_alphanumeric() && *b != b'_')
        .unwrap_or(text.len())
}

fn operator(text: &[u8]) -> usize {
    if text.starts_with(b"...") {
        3
    } else if [&b"=="[..], b"~=", b"<=", b">=", b".."]
        .iter()
        .any(|op| text.starts_with(op))
    {
        2
    } else {
        1
    }
}

/// Length of a comment's text, after the dashes.
fn comment(text: &[u8]) -> Option<usize> {
    if long_bracket(text).is_some() {
        return long(text);
    }
    Some(memchr::memchr(b'\n', text).unwrap_or(text.len()))
}

/// Length of a quoted string, after its opening quote.
fn quoted(text: &[u8], quote: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        match *text.get(at)? {
            b'\\' => at += 2,
            b if b == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// The number of equals signs of an opening long bracket.
fn long_bracket(text: &[u8]) -> Option<usize> {
    let inner = text.strip_prefix(b"[")?;
    let level = inner.iter().position(|&b| b != b'=')?;
    (inner[level] == b'[').then_some(level)
}

/// Length of a long string or comment with its brackets.
fn long(text: &[u8]) -> Option<usize> {
    let level = long_bracket(text)?;
    let close = [b"]", &b"=".repeat(level)[..], b"]"].concat();
    let end = memchr::memmem::find(text, &close)?;
    Some(end + close.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_that_only_read_are_seen() {
        for code in [
            "return 0",
            "if redis.call(\"get\",KEYS[1])==ARGV[1] then return redis.call(\"del\",KEYS[1]) else return 0 end",
            "local a, b = KEYS[1], ARGV[1] local c = {x = 1, y = #KEYS} c = 5 return a",
            "for i = 1, #ARGV do redis.call('set', KEYS[i], ARGV[i]) end",
            "local x = redis.call('incr', KEYS[1])\nif x == 1 then redis.call('expire', KEYS[1], ARGV[1]) end\nreturn x",
            "-- KEYS = {} \n--[[ KEYS=1 ]] return 'KEYS=1' .. \"\\\"ARGV=2\" .. [==[ ]] KEYS]==]",
            "local v = KEYS[1] x = 5",
        ] {
            assert!(Traits::of(code.as_bytes()).leaves_arguments, "{code}");
        }
    }

    #[test]
    fn code_on_one_line_is_seen() {
        for (code, line) in [
            ("return 1", Some(1)),
            ("\n return 1 \n\n", Some(2)),
            ("return\n1", None),
            ("", None),
            ("return 'open", Some(1)),
        ] {
            assert_eq!(Traits::of(code.as_bytes()).sole_line, line, "{code}");
        }
    }

    #[test]
    fn whatever_may_change_the_tables_is_seen() {
        for code in [
            "KEYS[1]='x'",
            "KEYS [ 1 ] = 5",
            "KEYS[9],x=1,2",
            "x,KEYS[9]=1,2",
            "KEYS[9],y.x=1,2",
            "KEYS[9],f().x=1,2",
            "KEYS[9],t[1].x=1,2",
            "KEYS.x=1",
            "KEYS--[[c]][9]=1",
            "local k=KEYS k[1]=1",
            "table.insert(KEYS,'x')",
            "return KEYS",
            "f(KEYS)",
            "_G.KEYS[1]=1",
            "_G['KE'..'YS'][1]=1",
            "rawset(x,1,1)",
            "loadstring(ARGV[1])()",
            "local t={} t[1]=2",
            "(KEYS)[1]=2",
            "function KEYS.f() end",
            "return 'unfinished",
            "--[[ unfinished",
        ] {
            assert!(!Traits::of(code.as_bytes()).leaves_arguments, "{code}");
        }
    }
}
