//! What can be seen in a library that lets its functions run faster. Where in doubt, it is not seen.
//!
//! A function gets two tables, keys and arguments. Making them costs as much as a short function, so that those of
//! functions that can only read them are used again. This holds for functions that are written where they are registered,
//! so that nothing else can call them, that contain no other functions, and that mention their parameters only where
//! `[` follows or `#` precedes, with nothing assigned to an index.

use std::ops::Range;

use super::traits::{Token, assigns_no_index, only_read, tokens};

/// Whether all functions that a library registers leave keys and arguments as they are and keep neither.
pub(super) fn leave_arguments(code: &[u8]) -> bool {
    let Some(tokens) = tokens(code) else {
        return false;
    };
    tokens.iter().enumerate().all(|(at, token)| match token {
        // Under another name, anything could be registered.
        Token::Name(b"redis" | b"server") => tokens.get(at + 1) == Some(&Token::Mark(b'.')),
        Token::Name(b"register_function") => {
            registered(&tokens, at + 1).is_some_and(|callback| leaves(&tokens, &callback))
        }
        _ => true,
    })
}

/// A function where it is written.
struct Callback<'a> {
    /// The first two parameters.
    params: Vec<&'a [u8]>,
    body: Range<usize>,
}

/// The function that a call of register_function registers, the call's arguments beginning at `at`.
fn registered<'a>(tokens: &[Token<'a>], at: usize) -> Option<Callback<'a>> {
    use Token::{Literal, Mark};
    match tokens.get(at..)? {
        [Mark(b'('), Literal, Mark(b','), ..] => {
            let callback = function(tokens, at + 3)?;
            (tokens.get(callback.body.end + 1)? == &Mark(b')')).then_some(callback)
        }
        [Mark(b'('), Mark(b'{'), ..] => in_table(tokens, at + 2),
        [Mark(b'{'), ..] => in_table(tokens, at + 1),
        _ => None,
    }
}

/// The callback among named arguments, which must all be of the form `name = value`.
fn in_table<'a>(tokens: &[Token<'a>], mut at: usize) -> Option<Callback<'a>> {
    let mut found = None;
    loop {
        match tokens.get(at..)? {
            [Token::Mark(b'}'), ..] => return found,
            [Token::Name(name), Token::Mark(b'='), ..] => {
                if name.eq_ignore_ascii_case(b"callback") {
                    let callback = function(tokens, at + 2)?;
                    at = callback.body.end + 1;
                    if found.replace(callback).is_some() {
                        return None;
                    }
                } else {
                    at = value_end(tokens, at + 2)?;
                }
            }
            _ => return None,
        }
        if matches!(tokens.get(at)?, Token::Mark(b',' | b';')) {
            at += 1;
        } else if tokens.get(at)? != &Token::Mark(b'}') {
            return None;
        }
    }
}

/// Where a value ends that contains no functions.
fn value_end(tokens: &[Token<'_>], from: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token {
            Token::Mark(b',' | b';' | b'}') if depth == 0 => return Some(at),
            Token::Mark(b'{' | b'(' | b'[') => depth += 1,
            Token::Mark(b'}' | b')' | b']') => depth = depth.checked_sub(1)?,
            Token::Name(b"function") => return None,
            _ => {}
        }
    }
    None
}

/// The function that begins at `at` with the word itself.
fn function<'a>(tokens: &[Token<'a>], at: usize) -> Option<Callback<'a>> {
    let [Token::Name(b"function"), Token::Mark(b'('), ..] = tokens.get(at..)? else {
        return None;
    };
    let mut params = Vec::new();
    let mut body = at + 2;
    loop {
        match tokens.get(body)? {
            Token::Mark(b')') => break,
            Token::Name(name) if params.len() < 2 => params.push(*name),
            Token::Name(_) | Token::Mark(b',') => {}
            _ => return None,
        }
        body += 1;
    }
    let mut depth = 1usize;
    for (at, token) in tokens.iter().enumerate().skip(body + 1) {
        match token {
            Token::Name(b"function" | b"do" | b"if" | b"repeat") => depth += 1,
            Token::Name(b"end" | b"until") => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(Callback {
                params,
                body: body + 1..at,
            });
        }
    }
    None
}

fn leaves(tokens: &[Token<'_>], callback: &Callback<'_>) -> bool {
    let start = callback.body.start;
    callback.body.clone().all(|at| match tokens[at] {
        Token::Name(b"function") => false,
        Token::Name(name) if callback.params.contains(&name) => only_read(tokens, at),
        Token::Mark(b'=') => assigns_no_index(&tokens[start..at]),
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_that_only_read_are_seen() {
        for code in [
            "redis.register_function('f', function() return 1 end)",
            "redis.register_function('f', function(keys, args) return redis.call('get', keys[1]) end)",
            "redis.register_function('f', function(k, a) if redis.call('get', k[1]) == a[1] then \
             return redis.call('del', k[1]) else return 0 end end) server.register_function(\"g\", function(k) \
             for i = 1, #k do redis.call('set', k[i], i) end return #k end)",
            "redis.register_function{function_name = 'f', callback = function(k) repeat until k[1] return k[2] end, \
             flags = {'no-writes', 'allow-oom'}}",
            "redis.register_function({Callback = function(k) while k[1] do return k[1] end end; \
             function_name = 'f' .. ('x'):rep(2)})",
            "local function add(a, b) return a + b end local n = 0\n\
             redis.register_function('f', function(keys) n = add(n, #keys) return n end)",
        ] {
            assert!(leave_arguments(code.as_bytes()), "{code}");
        }
    }

    #[test]
    fn whatever_may_change_or_keep_the_tables_is_seen() {
        for code in [
            "redis.register_function('f', function(k) k[1] = 'x' end)",
            "redis.register_function('f', function(k) k.x = 1 end)",
            "redis.register_function('f', function(k) return k end)",
            "redis.register_function('f', function(k, a) return a end)",
            "redis.register_function('f', function(k) kept = k end)",
            "redis.register_function('f', function(k) return {k} end)",
            "redis.register_function('f', function(k) table.insert(k, 1) end)",
            "redis.register_function('f', function(k) return function() return k[1] end end)",
            "redis.register_function('f', function(...) return ... end)",
            "redis.register_function('f', function(k, ...) return k[1] end)",
            "redis.register_function('f', function(k) local t = {} t[1] = k[1] end)",
            "redis.register_function('f', f)",
            "redis.register_function('f' .. 1, function(k) return k[1] end)",
            "redis.register_function('f', function(k) return k[1] end and f)",
            "redis.register_function('f', (function(k) return f end)())",
            "redis['register_function']('f', f)",
            "local lib = redis lib.register_function('f', function(k) return k[1] end)",
            "local r = redis.register_function r('f', f)",
            "for _, l in ipairs{redis} do l['register_function']('f', f) end",
            "redis.register_function{function_name = 'f', callback = f}",
            "redis.register_function{function_name = 'f', ['callback'] = f}",
            "redis.register_function{function_name = 'f', callback = function(k) return k[1] end, callback = f}",
            "redis.register_function{function_name = 'f', callback = function(k) return k[1] end or f, x = 1}",
            "redis.register_function{function_name = (function() end)(), callback = function(k) return k[1] end}",
            "redis.register_function{function_name = 'f'}",
            "redis.register_function(named)",
            "redis.register_function('f', function(k) return k[1]",
            "redis.register_function('f', function(k) return k[1] end) redis.register_function('g', function(k) g(k) end)",
            "return 'unfinished",
        ] {
            assert!(!leave_arguments(code.as_bytes()), "{code}");
        }
    }
}
