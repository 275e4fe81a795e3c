//! Patterns of Lua 5.1, matched so that a script can be ended meanwhile.
//!
//! The matcher of Lua's library runs without looking up, and some patterns take it for ever: each `*`, `+`, `-` and `?`
//! may multiply the work by the length of the subject. Each also takes a level of its recursion, which has no end.
//! prelude.lua asks [`repetitions`] and comes here when the product is large. What is matched, and how errors read, is as
//! in the library.

use mlua::{Function, Lua, LuaString, MultiValue, Result, Value};

use super::fault::located;
use super::slot::Shared;

/// How often a pattern walks over the subject: an upper bound, since what is in a set counts too.
pub(super) fn repetitions(pattern: &[u8]) -> usize {
    let escaped = pattern
        .windows(2)
        .filter(|pair| matches!(pair, [b'%', b'b' | b'0'..=b'9']))
        .count();
    let repeated = pattern
        .iter()
        .filter(|b| matches!(b, b'*' | b'+' | b'-' | b'?'))
        .count();
    escaped + repeated
}

/// `search(subject, pattern, init, anchored)`: tries from byte `init` (from 0) on, there only if `anchored`. Returns
/// where the match starts (from 1) and ends, then the captures; nil if there is no match.
pub(super) fn search(lua: &Lua, shared: &Shared) -> Result<Function> {
    let shared = shared.clone();
    lua.create_function(
        move |lua, (subject, pattern, init, anchored): (LuaString, LuaString, usize, bool)| {
            matched(
                lua,
                &shared,
                &subject.as_bytes(),
                &pattern.as_bytes(),
                init,
                anchored,
            )
        },
    )
}

/// `find(subject, pattern, init, plain)`: the same as string.find knows it. What has nothing special in it, or is meant
/// `plain`, is looked for as it is.
pub(super) fn find(lua: &Lua, shared: &Shared) -> Result<Function> {
    let shared = shared.clone();
    lua.create_function(
        move |lua, (subject, pattern, init, plain): (LuaString, LuaString, usize, bool)| {
            let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
            if !plain && until_zero(&pattern).iter().any(is_special) {
                let bare = pattern.strip_prefix(b"^");
                let anchored = bare.is_some();
                let bare = bare.unwrap_or(&pattern);
                return matched(lua, &shared, &subject, bare, init, anchored);
            }
            let rest = subject.get(init..).unwrap_or_default();
            let values = match memchr::memmem::find(rest, &pattern) {
                Some(at) => vec![
                    Value::Number((init + at + 1) as f64),
                    Value::Number((init + at + pattern.len()) as f64),
                ],
                None => vec![Value::Nil],
            };
            Ok(MultiValue::from_vec(values))
        },
    )
}

fn is_special(byte: &u8) -> bool {
    b"^$*+?.([%-".contains(byte)
}

/// In Lua 5.1 a pattern ends at a zero byte.
fn until_zero(pattern: &[u8]) -> &[u8] {
    let end = memchr::memchr(0, pattern).unwrap_or(pattern.len());
    pattern.get(..end).unwrap_or_default()
}

fn matched(
    lua: &Lua,
    shared: &Shared,
    subject: &[u8],
    pattern: &[u8],
    init: usize,
    anchored: bool,
) -> Result<MultiValue> {
    let mut tick = || {
        let ticked = shared.lock().tick();
        ticked.map_err(|e| Failed::Raised(e.into()))
    };
    let mut matcher = Matcher::new(subject, until_zero(pattern), &mut tick);
    let found = (init..=subject.len())
        .take(if anchored { 1 } else { usize::MAX })
        .find_map(|start| {
            matcher.captures.clear();
            let end = matcher.matches(start, 0).transpose()?;
            Some(end.map(|end| (start, end)))
        })
        .transpose();
    match found {
        Ok(None) => Ok(MultiValue::from_vec(vec![Value::Nil])),
        Ok(Some((start, end))) => matcher.values(lua, start, end),
        Err(Failed::Raised(e)) => Err(e),
        Err(Failed::Pattern(text)) => Err(located(lua, text)),
    }
}

/// Why matching ended.
#[derive(Debug)]
enum Failed {
    /// The pattern is wrong.
    Pattern(&'static str),
    /// The script must end.
    Raised(mlua::Error),
}

type Step<T> = std::result::Result<T, Failed>;

/// One level of recursion per repetition or capture at hand; so much of the thread's stack is there for it.
const DEEPEST: usize = 200;

/// The clock is looked at once in so many steps.
const STEPS_PER_TICK: usize = 1 << 14;

const MOST_CAPTURES: usize = 32;

#[derive(Debug, Clone, Copy)]
struct Capture {
    start: usize,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// `()`: where it stands is the value.
    Position,
    At(usize),
}

struct Matcher<'a> {
    subject: &'a [u8],
    pattern: &'a [u8],
    captures: Vec<Capture>,
    depth: usize,
    steps: usize,
    tick: &'a mut dyn FnMut() -> Step<()>,
}

impl<'a> Matcher<'a> {
    fn new(
        subject: &'a [u8],
        pattern: &'a [u8],
        tick: &'a mut dyn FnMut() -> Step<()>,
    ) -> Matcher<'a> {
        Matcher {
            subject,
            pattern,
            captures: Vec::new(),
            depth: 0,
            steps: 0,
            tick,
        }
    }

    fn at(&self, p: usize) -> Option<u8> {
        self.pattern.get(p).copied()
    }

    fn step(&mut self) -> Step<()> {
        self.long_step(0)
    }

    /// A step that looks at so many bytes at once.
    fn long_step(&mut self, bytes: usize) -> Step<()> {
        const BYTES_PER_STEP: usize = 8;
        self.steps += 1 + bytes / BYTES_PER_STEP;
        if self.steps >= STEPS_PER_TICK {
            self.steps = 0;
            (self.tick)()?;
        }
        Ok(())
    }

    /// Matches the pattern from `p` at `s`; where the match ends.
    fn matches(&mut self, s: usize, p: usize) -> Step<Option<usize>> {
        if self.depth >= DEEPEST {
            return Err(Failed::Pattern("pattern too complex"));
        }
        self.depth += 1;
        let end = self.matches_here(s, p);
        self.depth -= 1;
        end
    }

    fn matches_here(&mut self, mut s: usize, mut p: usize) -> Step<Option<usize>> {
        loop {
            self.step()?;
            let Some(first) = self.at(p) else {
                return Ok(Some(s));
            };
            match (first, self.at(p + 1)) {
                (b'(', Some(b')')) => return self.open(s, p + 2, End::Position),
                (b'(', _) => return self.open(s, p + 1, End::Open),
                (b')', _) => return self.close(s, p + 1),
                (b'$', None) => return Ok((s == self.subject.len()).then_some(s)),
                (b'%', Some(b'b')) => match self.balanced(s, p + 2)? {
                    Some(after) => (s, p) = (after, p + 4),
                    None => return Ok(None),
                },
                (b'%', Some(b'f')) => match self.frontier(s, p + 2)? {
                    Some(after) => p = after,
                    None => return Ok(None),
                },
                (b'%', Some(digit @ b'0'..=b'9')) => match self.repeated(s, digit)? {
                    Some(after) => (s, p) = (after, p + 2),
                    None => return Ok(None),
                },
                _ => {
                    let after = self.class_end(p)?;
                    self.long_step(after - p)?;
                    let one = self.single(s, p, after);
                    match self.at(after) {
                        Some(b'?') => {
                            if one && let Some(end) = self.matches(s + 1, after + 1)? {
                                return Ok(Some(end));
                            }
                            p = after + 1;
                        }
                        Some(b'*') => return self.most(s, p, after),
                        Some(b'+') if one => return self.most(s + 1, p, after),
                        Some(b'-') => return self.fewest(s, p, after),
                        _ if one => (s, p) = (s + 1, after),
                        _ => return Ok(None),
                    }
                }
            }
        }
    }

    /// As many as possible, then the rest of the pattern.
    fn most(&mut self, s: usize, p: usize, after: usize) -> Step<Option<usize>> {
        let mut n = 0;
        while self.single(s + n, p, after) {
            self.long_step(after - p)?;
            n += 1;
        }
        for n in (0..=n).rev() {
            if let Some(end) = self.matches(s + n, after + 1)? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// As few as possible, then the rest of the pattern.
    fn fewest(&mut self, mut s: usize, p: usize, after: usize) -> Step<Option<usize>> {
        loop {
            if let Some(end) = self.matches(s, after + 1)? {
                return Ok(Some(end));
            }
            self.long_step(after - p)?;
            if !self.single(s, p, after) {
                return Ok(None);
            }
            s += 1;
        }
    }

    fn open(&mut self, s: usize, p: usize, end: End) -> Step<Option<usize>> {
        if self.captures.len() >= MOST_CAPTURES {
            return Err(Failed::Pattern("too many captures"));
        }
        let level = self.captures.len();
        self.captures.push(Capture { start: s, end });
        let found = self.matches(s, p)?;
        if found.is_none() {
            self.captures.truncate(level);
        }
        Ok(found)
    }

    fn close(&mut self, s: usize, p: usize) -> Step<Option<usize>> {
        let open = self.captures.iter().rposition(|c| c.end == End::Open);
        let Some(level) = open else {
            return Err(Failed::Pattern("invalid pattern capture"));
        };
        self.end_capture(level, End::At(s));
        let found = self.matches(s, p)?;
        if found.is_none() {
            self.end_capture(level, End::Open);
        }
        Ok(found)
    }

    fn end_capture(&mut self, level: usize, end: End) {
        if let Some(capture) = self.captures.get_mut(level) {
            capture.end = end;
        }
    }

    /// `%bxy`: from an x to the y that balances it.
    fn balanced(&mut self, s: usize, p: usize) -> Step<Option<usize>> {
        let (Some(open), Some(close)) = (self.at(p), self.at(p + 1)) else {
            return Err(Failed::Pattern("unbalanced pattern"));
        };
        if self.subject.get(s) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1;
        for at in s + 1..self.subject.len() {
            self.step()?;
            match self.subject.get(at) {
                Some(&b) if b == close => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(Some(at + 1));
                    }
                }
                Some(&b) if b == open => depth += 1,
                _ => {}
            }
        }
        Ok(None)
    }

    /// `%f[set]`: where the set begins to hold; both ends of the subject count as zero bytes.
    fn frontier(&mut self, s: usize, p: usize) -> Step<Option<usize>> {
        if self.at(p) != Some(b'[') {
            return Err(Failed::Pattern("missing '[' after '%f' in pattern"));
        }
        let after = self.class_end(p)?;
        let byte = |at: Option<usize>| at.and_then(|at| self.subject.get(at)).copied().unwrap_or(0);
        let here = !self.in_set(byte(s.checked_sub(1)), p, after - 1)
            && self.in_set(byte(Some(s)), p, after - 1);
        Ok(here.then_some(after))
    }

    /// `%1`: what a capture holds.
    fn repeated(&mut self, s: usize, digit: u8) -> Step<Option<usize>> {
        let capture = usize::from(digit - b'0')
            .checked_sub(1)
            .and_then(|level| self.captures.get(level));
        let Some(&Capture { start, end }) = capture else {
            return Err(Failed::Pattern("invalid capture index"));
        };
        let held = match end {
            End::Open => return Err(Failed::Pattern("invalid capture index")),
            End::Position => return Ok(None),
            End::At(end) => self.subject.get(start..end).unwrap_or_default(),
        };
        self.long_step(held.len())?;
        let rest = self.subject.get(s..).unwrap_or_default();
        Ok(rest.starts_with(held).then_some(s + held.len()))
    }

    /// Where the single character class at `p` ends.
    fn class_end(&self, p: usize) -> Step<usize> {
        const UNFINISHED: Failed = Failed::Pattern("malformed pattern (missing ']')");
        match self.at(p) {
            Some(b'%') if self.at(p + 1).is_none() => {
                Err(Failed::Pattern("malformed pattern (ends with '%')"))
            }
            Some(b'%') => Ok(p + 2),
            Some(b'[') => {
                let mut at = p + 1 + usize::from(self.at(p + 1) == Some(b'^'));
                // The first character is in the set whatever it is.
                loop {
                    let Some(b) = self.at(at) else {
                        return Err(UNFINISHED);
                    };
                    at += if b == b'%' && self.at(at + 1).is_some() {
                        2
                    } else {
                        1
                    };
                    match self.at(at) {
                        None => return Err(UNFINISHED),
                        Some(b']') => return Ok(at + 1),
                        Some(_) => {}
                    }
                }
            }
            _ => Ok(p + 1),
        }
    }

    /// Whether the character at `s` is in the class from `p` to `after`.
    fn single(&self, s: usize, p: usize, after: usize) -> bool {
        let Some(&byte) = self.subject.get(s) else {
            return false;
        };
        match self.at(p) {
            Some(b'.') => true,
            Some(b'%') => in_class(byte, self.at(p + 1).unwrap_or_default()),
            Some(b'[') => self.in_set(byte, p, after - 1),
            other => other == Some(byte),
        }
    }

    /// Whether a byte is in the set that begins at `p` with `[` and ends at `close` with `]`.
    fn in_set(&self, byte: u8, p: usize, close: usize) -> bool {
        let negated = self.at(p + 1) == Some(b'^');
        let mut set = self
            .pattern
            .get(p + 1 + usize::from(negated)..close)
            .unwrap_or_default();
        while let [first, rest @ ..] = set {
            let (hit, left) = match (first, rest) {
                (b'%', [class, left @ ..]) => (in_class(byte, *class), left),
                (low, [b'-', high, left @ ..]) => ((*low..=*high).contains(&byte), left),
                (one, left) => (*one == byte, left),
            };
            if hit {
                return !negated;
            }
            set = left;
        }
        negated
    }

    /// The match and its captures, as values.
    fn values(&self, lua: &Lua, start: usize, end: usize) -> Result<MultiValue> {
        let mut values = MultiValue::with_capacity(2 + self.captures.len());
        values.push_back(Value::Number((start + 1) as f64));
        values.push_back(Value::Number(end as f64));
        for capture in &self.captures {
            values.push_back(match capture.end {
                End::Open => return Err(located(lua, "unfinished capture")),
                End::Position => Value::Number((capture.start + 1) as f64),
                End::At(end) => {
                    let held = self.subject.get(capture.start..end).unwrap_or_default();
                    Value::String(lua.create_string(held)?)
                }
            });
        }
        Ok(values)
    }
}

/// `%a` and its like; in upper case, the complement. Any other character stands for itself.
fn in_class(byte: u8, class: u8) -> bool {
    let hit = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    hit != class.is_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(subject: &str, pattern: &str) -> Step<Option<(usize, usize)>> {
        let mut tick = || Ok(());
        let mut matcher = Matcher::new(subject.as_bytes(), pattern.as_bytes(), &mut tick);
        for start in 0..=subject.len() {
            matcher.captures.clear();
            if let Some(end) = matcher.matches(start, 0)? {
                return Ok(Some((start, end)));
            }
        }
        Ok(None)
    }

    #[test]
    fn patterns_match_as_in_the_library() {
        let lua = Lua::new();
        let library: Function = lua.load("return string.find(...)").into_function().unwrap();
        let subjects = [
            "",
            "a",
            "aaa",
            "abc",
            "hello world",
            "x=1, y=22",
            "f(a(b)c)d",
            "THE (quick) fox",
            "]-^%",
            "a\0b",
        ];
        let patterns = [
            "",
            "a",
            "a*",
            "a+",
            "a-",
            "a?",
            "a-b",
            ".-c",
            "b*c",
            "o w",
            "(o)%s(w)",
            "(%w+)=(%w+)",
            "%b()",
            "%f[%a]%a+",
            "[abc]+",
            "[^abc]",
            "[]]",
            "[^]]+",
            "[%]]",
            "[a-c]+",
            "[a-]",
            "%-",
            "()b()",
            "((a)(b))",
            "(a)%1",
            "(.)%1",
            "c$",
            "$",
            "a$b",
            "%d+",
            "%S+",
            "%z",
            "%x%x",
            "x?y?z?",
            ".*",
            ".-",
            "[%w_]*=",
            "%(%a+%)",
            "%",
            "[a",
            "[",
            "(a",
            "(a))",
            "%1",
            "%b",
            "%bx",
            "%f",
            "[%",
            "(()",
            "%p",
            "%c",
            "%l%u",
            "[z-a]",
            "a.c",
            ".",
            "^a",
        ];
        for subject in subjects {
            for pattern in patterns {
                // There the anchor is not the matcher's business.
                let plain = pattern.strip_prefix('^').unwrap_or(pattern);
                let theirs = library.call::<(Option<usize>, Option<usize>)>((subject, plain));
                let ours = find(subject, plain);
                match (theirs, ours) {
                    (Ok((Some(start), Some(end))), Ok(Some(found))) => {
                        assert_eq!((start - 1, end), found, "{subject:?} {pattern:?}");
                    }
                    (Ok((None, None)), Ok(None)) => {}
                    (Err(theirs), Err(Failed::Pattern(ours))) => {
                        assert!(
                            theirs.to_string().contains(ours),
                            "{pattern:?}: {theirs}, {ours}"
                        );
                    }
                    // An open capture is found only when its value is wanted.
                    (Err(theirs), Ok(Some(_))) => {
                        assert!(
                            theirs.to_string().contains("unfinished capture"),
                            "{theirs}"
                        );
                    }
                    (theirs, ours) => panic!("{subject:?} {pattern:?}: {theirs:?} {ours:?}"),
                }
            }
        }
    }

    #[test]
    fn whatever_walks_over_the_subject_counts() {
        for (pattern, n) in [
            ("abc", 0),
            ("%d%%", 0),
            ("%b()", 1),
            ("(a*)%1", 2),
            ("a?b-c+", 3),
            ("[a-z]", 1),
        ] {
            assert_eq!(repetitions(pattern.as_bytes()), n, "{pattern}");
        }
    }

    #[test]
    fn a_long_match_looks_up() {
        let mut ticks = 0;
        let mut tick = || {
            ticks += 1;
            if ticks > 3 {
                Err(Failed::Pattern("enough"))
            } else {
                Ok(())
            }
        };
        let subject = "a".repeat(40);
        let pattern = "a?".repeat(40) + &subject;
        let mut matcher = Matcher::new(subject.as_bytes(), pattern.as_bytes(), &mut tick);
        assert!(matcher.matches(0, 0).is_err());
        assert_eq!(ticks, 4);
    }
}
