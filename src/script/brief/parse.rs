//! Finds out whether a script is brief. Lua has compiled it by then: its syntax is right.

use super::super::api;
use super::{Brief, Call, Comparison, Exp, Stat, Words};

/// Longer scripts are not looked at.
const LONGEST: usize = 4 << 10;

/// And none of more tokens: as deep may a chain of operators become.
const MOST: usize = 600;

/// So deep may expressions and blocks nest.
const DEEPEST: usize = 40;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    /// A name or a keyword.
    Name(&'a [u8]),
    Text(&'a [u8]),
    Number(f64),
    Mark(&'a [u8]),
    End,
}

impl Brief {
    /// The script with this code, if it is brief.
    pub(in crate::script) fn of(code: &[u8]) -> Option<Brief> {
        if code.len() > LONGEST {
            return None;
        }
        let mut parser = Parser::new(tokens(code)?, [Some(b"KEYS"), Some(b"ARGV")]);
        if parser.tokens.len() > MOST {
            return None;
        }
        let body = parser.block()?;
        (parser.peek() == Token::End).then_some(Brief {
            body,
            locals: parser.locals,
        })
    }

    /// The functions of a library with their names, if it does nothing but register functions, and all of them are brief.
    pub(in crate::script) fn functions(code: &[u8]) -> Vec<(&[u8], Brief)> {
        if code.len() > LONGEST {
            return Vec::new();
        }
        tokens(code).and_then(functions).unwrap_or_default()
    }
}

fn functions(tokens: Vec<(Token<'_>, usize)>) -> Option<Vec<(&[u8], Brief)>> {
    let mut functions = Vec::new();
    let mut parser = Parser::new(tokens, [None, None]);
    while parser.peek() != Token::End {
        (parser.word(b"redis") || parser.word(b"server")).then_some(())?;
        parser.mark(b".")?;
        parser.word(b"register_function").then_some(())?;
        let in_parens = parser.mark(b"(").is_some();
        if parser.mark(b"{").is_some() {
            functions.push(parser.registered()?);
        } else {
            let Token::Text(name) = parser.peek() else {
                return None;
            };
            parser.at += 1;
            parser.mark(b",")?;
            functions.push((name, parser.function()?));
        }
        if in_parens {
            parser.mark(b")")?;
        }
        let _ = parser.mark(b";");
    }
    Some(functions)
}

/// Takes the code apart; each token with its line. Nothing where something unusual is met.
fn tokens(code: &[u8]) -> Option<Vec<(Token<'_>, usize)>> {
    let mut tokens = Vec::new();
    let mut rest = code;
    let mut line = 1;
    while let Some(&first) = rest.first() {
        let len = match first {
            b'\n' => {
                line += 1;
                1
            }
            b' ' | b'\t' => 1,
            b'-' if rest.starts_with(b"--[") => return None,
            b'-' if rest.starts_with(b"--") => memchr::memchr(b'\n', rest).unwrap_or(rest.len()),
            b'\'' | b'"' => {
                let text = quoted(rest.get(1..)?, first)?;
                tokens.push((Token::Text(text), line));
                text.len() + 2
            }
            b'0'..=b'9' => {
                let n = rest.iter().take_while(|&&b| is_of_word(b) || b == b'.');
                let text = rest.get(..n.count())?;
                tokens.push((Token::Number(plain_number(text)?), line));
                text.len()
            }
            b if is_of_word(b) => {
                let name = rest.get(..rest.iter().take_while(|&&b| is_of_word(b)).count())?;
                tokens.push((Token::Name(name), line));
                name.len()
            }
            _ => {
                let len = mark(rest)?;
                tokens.push((Token::Mark(rest.get(..len)?), line));
                len
            }
        };
        rest = rest.get(len..)?;
    }
    Some(tokens)
}

const fn is_of_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

/// A string up to its quote, without anything that stands for something else.
fn quoted(text: &[u8], quote: u8) -> Option<&[u8]> {
    let end = memchr::memchr(quote, text)?;
    let text = text.get(..end)?;
    let is_plain = |b: &u8| !matches!(b, b'\\' | b'\n' | b'\r' | 0);
    text.iter().all(is_plain).then_some(text)
}

/// Digits, perhaps with a point and more digits. All are exact, or rounded as C rounds them.
pub(super) fn plain_number(text: &[u8]) -> Option<f64> {
    let (whole, part) = match memchr::memchr(b'.', text) {
        Some(at) => (text.get(..at)?, text.get(at + 1..)?),
        None => (text, &b"0"[..]),
    };
    let are_digits =
        |text: &[u8]| matches!(text.len(), 1..=15) && text.iter().all(u8::is_ascii_digit);
    if !are_digits(whole) || !are_digits(part) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn mark(text: &[u8]) -> Option<usize> {
    match text {
        [b'=' | b'~' | b'<' | b'>', b'=', ..] => Some(2),
        [b'.', b'.', ..] | [b'[', b'[' | b'=', ..] => None,
        [b'=' | b'<' | b'>' | b'.' | b',' | b';' | b'#' | b'-', ..] => Some(1),
        [b'(' | b')' | b'[' | b']' | b'{' | b'}', ..] => Some(1),
        _ => None,
    }
}

struct Parser<'a> {
    tokens: Vec<(Token<'a>, usize)>,
    at: usize,
    /// What keys and arguments are called.
    given: [Option<&'a [u8]>; 2],
    /// The local variables that can be seen, the innermost last.
    scope: Vec<&'a [u8]>,
    locals: usize,
    depth: usize,
}

const KEYWORDS: [&[u8]; 21] = [
    b"and",
    b"break",
    b"do",
    b"else",
    b"elseif",
    b"end",
    b"false",
    b"for",
    b"function",
    b"if",
    b"in",
    b"local",
    b"nil",
    b"not",
    b"or",
    b"repeat",
    b"return",
    b"then",
    b"true",
    b"until",
    b"while",
];

impl<'a> Parser<'a> {
    const fn new(tokens: Vec<(Token<'a>, usize)>, given: [Option<&'a [u8]>; 2]) -> Parser<'a> {
        Parser {
            tokens,
            at: 0,
            given,
            scope: Vec::new(),
            locals: 0,
            depth: 0,
        }
    }

    /// The named arguments of register_function: which function has which name.
    fn registered(&mut self) -> Option<(&'a [u8], Brief)> {
        let (mut name, mut callback) = (None, None);
        while self.mark(b"}").is_none() {
            let field = self.name()?;
            self.mark(b"=")?;
            match (field, self.peek()) {
                (b"callback", _) if callback.is_none() => callback = Some(self.function()?),
                (b"function_name", Token::Text(text)) if name.is_none() => {
                    name = Some(text);
                    self.at += 1;
                }
                (b"description", Token::Text(_)) => self.at += 1,
                (b"flags", Token::Mark(b"{")) => {
                    self.at += 1;
                    while self.mark(b"}").is_none() {
                        let (Token::Text(_) | Token::Mark(b",")) = self.peek() else {
                            return None;
                        };
                        self.at += 1;
                    }
                }
                _ => return None,
            }
            let _ = self.mark(b",").or_else(|| self.mark(b";"));
        }
        name.zip(callback)
    }

    /// A function where it is written, with the word itself.
    fn function(&mut self) -> Option<Brief> {
        let from = self.at;
        self.word(b"function").then_some(())?;
        self.mark(b"(")?;
        self.given = [None, None];
        self.locals = 0;
        if self.mark(b")").is_none() {
            self.given[0] = Some(self.name()?);
            if self.mark(b",").is_some() {
                self.given[1] = Some(self.name()?);
            }
            self.mark(b")")?;
        }
        if self.given[0].is_some() && self.given[0] == self.given[1] {
            return None;
        }
        let body = self.block()?;
        self.word(b"end").then_some(())?;
        (self.at - from <= MOST).then_some(Brief {
            body,
            locals: self.locals,
        })
    }

    fn peek(&self) -> Token<'a> {
        self.tokens
            .get(self.at)
            .map_or(Token::End, |(token, _)| *token)
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).map_or(0, |(_, line)| *line)
    }

    /// Passes over a token if it is this one.
    fn takes(&mut self, token: Token<'_>) -> bool {
        let is = self.peek() == token;
        self.at += usize::from(is);
        is
    }

    fn mark(&mut self, mark: &[u8]) -> Option<()> {
        self.takes(Token::Mark(mark)).then_some(())
    }

    fn word(&mut self, word: &[u8]) -> bool {
        self.takes(Token::Name(word))
    }

    /// A name that is no keyword.
    fn name(&mut self) -> Option<&'a [u8]> {
        let Token::Name(name) = self.peek() else {
            return None;
        };
        if KEYWORDS.contains(&name) {
            return None;
        }
        self.at += 1;
        Some(name)
    }

    fn local(&self, name: &[u8]) -> Option<usize> {
        self.scope.iter().rposition(|local| *local == name)
    }

    /// What nests: nothing if it does so too deep.
    fn nested<T>(&mut self, work: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth == DEEPEST {
            return None;
        }
        self.depth += 1;
        let done = work(self);
        self.depth -= 1;
        done
    }

    fn block(&mut self) -> Option<Vec<Stat>> {
        let outside = self.scope.len();
        let mut stats = Vec::new();
        while !matches!(
            self.peek(),
            Token::End | Token::Name(b"end" | b"else" | b"elseif")
        ) {
            let stat = self.nested(Self::statement)?;
            stats.push(stat);
            let _ = self.mark(b";");
        }
        self.scope.truncate(outside);
        Some(stats)
    }

    fn statement(&mut self) -> Option<Stat> {
        if self.word(b"local") {
            let name = self.name()?;
            let value = match self.mark(b"=") {
                Some(()) => self.whole()?,
                None => Exp::Nil,
            };
            // Others behind a comma make what follows no statement.
            self.scope.push(name);
            self.locals = self.locals.max(self.scope.len());
            return Some(Stat::Set(self.scope.len() - 1, value));
        }
        if self.word(b"if") {
            return self.condition();
        }
        if self.word(b"return") {
            return match self.peek() {
                Token::End | Token::Mark(b";") | Token::Name(b"end" | b"else" | b"elseif") => {
                    Some(Stat::Return(Exp::Nil))
                }
                _ => self.whole().map(Stat::Return),
            };
        }
        let (at, line) = (self.at, self.line());
        let name = self.name()?;
        if let Some(slot) = self.local(name) {
            self.mark(b"=")?;
            return self.whole().map(|value| Stat::Set(slot, value));
        }
        self.at = at;
        let name = self.name()?;
        let call = self.call(name, line)?;
        self.ends_on(line)?;
        Some(Stat::Call(call))
    }

    fn condition(&mut self) -> Option<Stat> {
        let mut cases = Vec::new();
        loop {
            let condition = self.whole()?;
            self.word(b"then").then_some(())?;
            cases.push((condition, self.block()?));
            if !self.word(b"elseif") {
                break;
            }
        }
        let otherwise = match self.word(b"else") {
            true => self.block()?,
            false => Vec::new(),
        };
        self.word(b"end").then_some(Stat::If(cases, otherwise))
    }

    /// An expression on one line: so it is known where an error in it is.
    fn whole(&mut self) -> Option<Exp> {
        let line = self.line();
        let exp = self.exp()?;
        self.ends_on(line)?;
        Some(exp)
    }

    /// Whether what was taken last stands on this line.
    fn ends_on(&self, line: usize) -> Option<()> {
        let (_, last) = self.tokens.get(self.at.checked_sub(1)?)?;
        (*last == line).then_some(())
    }

    fn exp(&mut self) -> Option<Exp> {
        self.nested(|parser| {
            let mut left = parser.conjunction()?;
            while parser.word(b"or") {
                left = Exp::Or(Box::new((left, parser.conjunction()?)));
            }
            Some(left)
        })
    }

    fn conjunction(&mut self) -> Option<Exp> {
        let mut left = self.comparison()?;
        while self.word(b"and") {
            left = Exp::And(Box::new((left, self.comparison()?)));
        }
        Some(left)
    }

    fn comparison(&mut self) -> Option<Exp> {
        let mut left = self.unary()?;
        loop {
            let line = self.line();
            let Token::Mark(mark @ (b"==" | b"~=" | b"<" | b"<=" | b">" | b">=")) = self.peek()
            else {
                return Some(left);
            };
            self.at += 1;
            let right = self.unary()?;
            left = match mark {
                b"==" => Exp::Equal(Box::new((left, right))),
                b"~=" => Exp::Not(Box::new(Exp::Equal(Box::new((left, right))))),
                _ => Exp::Less(Box::new(Comparison {
                    left,
                    right,
                    or_equal: mark.len() == 2,
                    swapped: mark.first() == Some(&b'>'),
                    line,
                })),
            };
        }
    }

    fn unary(&mut self) -> Option<Exp> {
        if self.word(b"not") {
            let exp = self.nested(Self::unary)?;
            return Some(Exp::Not(Box::new(exp)));
        }
        if self.mark(b"-").is_some() {
            let Token::Number(n) = self.peek() else {
                return None;
            };
            self.at += 1;
            return Some(Exp::Number(-n));
        }
        if self.mark(b"#").is_some() {
            let name = self.name()?;
            return self.words(name).map(Exp::Count);
        }
        self.primary()
    }

    /// KEYS or ARGV, unless something else has the name.
    fn words(&self, name: &[u8]) -> Option<Words> {
        let words = match self.given {
            [Some(keys), _] if keys == name => Words::Keys,
            [_, Some(args)] if args == name => Words::Args,
            _ => return None,
        };
        self.local(name).is_none().then_some(words)
    }

    fn primary(&mut self) -> Option<Exp> {
        let line = self.line();
        let token = self.peek();
        self.at += 1;
        match token {
            Token::Number(n) => Some(Exp::Number(n)),
            Token::Text(text) => Some(Exp::Text(text.into())),
            Token::Name(b"nil") => Some(Exp::Nil),
            Token::Name(b"true") => Some(Exp::Bool(true)),
            Token::Name(b"false") => Some(Exp::Bool(false)),
            Token::Mark(b"(") => {
                let exp = self.exp()?;
                self.mark(b")")?;
                Some(exp)
            }
            Token::Name(_) => {
                self.at -= 1;
                let name = self.name()?;
                self.named(name, line)
            }
            _ => None,
        }
    }

    fn named(&mut self, name: &'a [u8], line: usize) -> Option<Exp> {
        if let Some(slot) = self.local(name) {
            return Some(Exp::Local(slot));
        }
        if let Some(words) = self.words(name) {
            self.mark(b"[")?;
            let Token::Number(n) = self.peek() else {
                return None;
            };
            self.at += 1;
            self.mark(b"]")?;
            let is_index = n.trunc() == n && (1.0..1e6).contains(&n);
            return is_index.then(|| Exp::Given(words, n as usize - 1));
        }
        if name == b"tonumber" {
            self.mark(b"(")?;
            let exp = self.exp()?;
            self.mark(b")")?;
            return Some(Exp::ToNumber(Box::new(exp)));
        }
        self.call(name, line).map(Exp::Call)
    }

    /// A call of a command, whose first name was taken.
    fn call(&mut self, name: &[u8], line: usize) -> Option<Call> {
        let is_taken = self.local(name).is_some() || self.words(name).is_some();
        if is_taken || !matches!(name, b"redis" | b"server") {
            return None;
        }
        self.mark(b".")?;
        self.word(b"call").then_some(())?;
        self.mark(b"(")?;
        let mut args = Vec::new();
        if self.mark(b")").is_some() {
            return Some(Call { args, line });
        }
        loop {
            args.push(match self.exp()? {
                // As a command gets it.
                Exp::Number(n) => Exp::Text(api::digits(n).as_slice().into()),
                arg => arg,
            });
            if self.mark(b",").is_none() {
                break;
            }
        }
        self.mark(b")")?;
        Some(Call { args, line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brief_scripts_are_seen() {
        for code in [
            "",
            "return 1",
            "return redis.call('get', KEYS[1])",
            "if redis.call(\"get\",KEYS[1])==ARGV[1] then return redis.call(\"del\",KEYS[1]) else return 0 end",
            "local n = redis.call('INCR', KEYS[1])\nif n == 1 then\n\tredis.call('PEXPIRE', KEYS[1], ARGV[1])\nend\n\
             return n -- how many",
            "local a = 1; a = 'x' if not a and #KEYS >= 1 or (a ~= -2) then return end",
            "return tonumber(server.call('get', 'x')) <= 5.25",
        ] {
            assert!(Brief::of(code.as_bytes()).is_some(), "{code}");
        }
    }

    #[test]
    fn functions_that_are_brief_are_seen() {
        for (code, names) in [
            ("redis.register_function('f', function() return 1 end)", "f"),
            (
                "redis.register_function('f', function(k, a) return redis.call('set', k[1], a[1]) end);\n\
                 server.register_function(\"g\", function(keys) if #keys == 1 then return 2 end end)",
                "f g",
            ),
            (
                "redis.register_function{function_name='f', callback=function(KEYS) return KEYS[1] end, \
                 flags={'no-writes', 'allow-oom'}, description='d'}",
                "f",
            ),
            (
                "local x = 1 redis.register_function('f', function() return 1 end)",
                "",
            ),
            (
                "redis.register_function('f', function(k, a, x) return 1 end)",
                "",
            ),
            (
                "redis.register_function('f', function(...) return 1 end)",
                "",
            ),
            (
                "redis.register_function('f', function(k, k) return k[1] end)",
                "",
            ),
            (
                "redis.register_function('f', function() return KEYS[1] end)",
                "",
            ),
            ("redis.register_function('f', function(k) return k end)", ""),
            (
                "redis.register_function('f', function(k) k = 1 return 1 end)",
                "",
            ),
            (
                "redis.register_function('f', function(redis) return redis.call('x') end)",
                "",
            ),
            (
                "redis.register_function('f', function(tonumber) return tonumber('1') end)",
                "",
            ),
            (
                "redis.register_function('f', function() return 1 end) return f",
                "",
            ),
            ("redis.register_function('f', g)", ""),
            ("redis.register_function{function_name='f', callback=g}", ""),
            (
                "redis.register_function{function_name='f', callback=function() end, x=1}",
                "",
            ),
        ] {
            let found = Brief::functions(code.as_bytes());
            let found: Vec<_> = found
                .iter()
                .map(|(name, _)| String::from_utf8_lossy(name))
                .collect();
            assert_eq!(found.join(" "), names, "{code}");
        }
    }

    #[test]
    fn whatever_goes_beyond_is_not() {
        for code in [
            "do end return 1",
            "return 1 + 1",
            "return 1 - 1",
            "return 'a' .. 'b'",
            "return 'a\\n'",
            "return [[a]]",
            "return 0x10",
            "return 1e3",
            "return {1}",
            "return a",
            "return KEYS",
            "return KEYS[0]",
            "return KEYS[1.5]",
            "return KEYS[i]",
            "return KEYS[1] [1]",
            "return #ARGV[1]",
            "return -KEYS[1]",
            "return 1, 2",
            "local a, b = 1, 2",
            "local a = 1, 2",
            "local function f() end",
            "a = 1",
            "local a = 1 local b = a.x",
            "local a = 1 local b = a()",
            "local redis = 1 redis.call('x')",
            "local redis = 1 return redis.call('x')",
            "local tonumber = 1 return tonumber('1')",
            "local KEYS = 1 return KEYS[1]",
            "local KEYS = 1 return #KEYS",
            "return redis.pcall('get', 'x')",
            "return redis.call('get', 'x')[1]",
            "return redis.call('get', 'x'):len()",
            "return redis.call 'x'",
            "return redis.call('get',\n'x')",
            "return tonumber('1', 10)",
            "for i = 1, 2 do end",
            "while true do end",
            "--[[ long ]] return 1",
            "return 1 --[[ long ]]",
            "return 1 == 1 and\n2",
        ] {
            assert!(Brief::of(code.as_bytes()).is_none(), "{code}");
        }
        for nests in [10, 10_000] {
            let code = format!("return {}1{}", "(".repeat(nests), ")".repeat(nests));
            assert_eq!(Brief::of(code.as_bytes()).is_some(), nests == 10);
            let code = format!("return 1{}", " and 1".repeat(nests));
            assert_eq!(Brief::of(code.as_bytes()).is_some(), nests == 10);
        }
    }
}
