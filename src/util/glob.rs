//! Glob patterns as KEYS, SCAN MATCH, PSUBSCRIBE, CONFIG GET and ACL key patterns know them.
//!
//! `*` any run, `?` any byte, `[abc]`, `[^a-z]`, `\x` the byte `x` itself. Three quirks of Redis are kept:
//! a class that is never closed ends with the pattern, a range runs over the byte after its dash even when that is `]`,
//! and an empty text is matched by the empty pattern alone, not by `*`.

/// A pattern with more runs of stars than this before its end matches nothing, as in Redis.
const MAX_STARS: u32 = 1000;

/// Whether the whole of `text` is matched by `pattern`; with `nocase`, ASCII letters match in either case.
///
/// The time is at most the product of the two lengths: all but the last `*` met are settled for good,
/// since what stands between two stars has one width and so its leftmost match is as good as any.
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    // Where to resume: the pattern after the last star, and the text it has not swallowed yet.
    let mut star: Option<(usize, usize)> = None;
    let mut stars = 0;
    loop {
        if pattern.get(p) == Some(&b'*') {
            while pattern.get(p) == Some(&b'*') {
                p += 1;
            }
            if p == pattern.len() {
                return true;
            }
            stars += 1;
            if stars > MAX_STARS {
                return false;
            }
            star = Some((p, t));
            continue;
        }
        let Some(&byte) = text.get(t) else {
            return p == pattern.len();
        };
        if let Some(width) = one(&pattern[p..], byte, nocase) {
            p += width;
            t += 1;
            continue;
        }
        match &mut star {
            None => return false,
            Some((after, swallowed)) => {
                *swallowed += 1;
                p = *after;
                t = *swallowed;
            }
        }
    }
}

/// Matches the element at the head of `pattern` against one byte: its width in the pattern, or nothing.
fn one(pattern: &[u8], byte: u8, nocase: bool) -> Option<usize> {
    match *pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', ref rest @ ..] => {
            let (hit, width) = class(rest, byte, nocase);
            hit.then_some(1 + width)
        }
        [b'\\', escaped, ..] => same(escaped, byte, nocase).then_some(2),
        [literal, ..] => same(literal, byte, nocase).then_some(1),
    }
}

/// Reads a class after its `[`: whether it takes the byte, and its width including the `]`.
fn class(body: &[u8], byte: u8, nocase: bool) -> (bool, usize) {
    let fold = |b: u8| if nocase { b.to_ascii_lowercase() } else { b };
    let negated = body.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut hit = false;
    loop {
        match body.get(at..).unwrap_or_default() {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', escaped, ..] => {
                // An escaped byte of a class matches its own case only, in Redis too.
                hit |= *escaped == byte;
                at += 2;
            }
            [from, b'-', to, ..] => {
                let (from, to) = (fold(*from), fold(*to));
                hit |= (from.min(to)..=from.max(to)).contains(&fold(byte));
                at += 3;
            }
            [member, ..] => {
                hit |= same(*member, byte, nocase);
                at += 1;
            }
        }
    }
    (hit != negated, at)
}

fn same(a: u8, b: u8, nocase: bool) -> bool {
    a == b || (nocase && a.eq_ignore_ascii_case(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn m(pattern: &str, text: &str) -> bool {
        matches(pattern.as_bytes(), text.as_bytes(), false)
    }

    #[test]
    fn a_pattern_of_too_many_stars_matches_nothing() {
        let text = "a".repeat(2000);
        assert!(m(&"*a".repeat(1000), &text) && m(&("*a".repeat(1000) + "**"), &text));
        assert!(!m(&"*a".repeat(1001), &text));
        assert!(m(&("*".repeat(1500) + "a"), &text));
    }

    #[test]
    fn stars_and_question_marks() {
        assert!(
            m("*", "a") && m("a*", "a") && m("*a", "a") && m("**a**", "xax") && m("h?llo", "hello")
        );
        assert!(m("a*b*c", "a-b-b-c") && m("*foo*bar", "foo foo bar bar"));
        assert!(!m("a", "") && !m("", "a") && !m("a?", "a") && !m("a*b", "a-bc"));
    }

    #[test]
    fn classes_ranges_and_escapes() {
        assert!(m("h[ae]llo", "hallo") && !m("h[ae]llo", "hillo"));
        assert!(m("h[^e]llo", "hallo") && !m("h[^e]llo", "hello"));
        assert!(m("[a-c]", "b") && m("[c-a]", "b") && !m("[a-c]", "d"));
        assert!(m(r"\*", "*") && !m(r"\*", "x") && m(r"[\]]", "]") && m(r"[\-]", "-"));
        assert!(!m("[]]", "]") && m("[^]", "z"));
    }

    #[test]
    fn unfinished_patterns() {
        assert!(m("[abc", "b") && !m("[abc", "d") && m("[^", "x") && !m("[", "["));
        assert!(m(r"a\", r"a\") && !m(r"a\", "a"));
        // The range swallows the bracket, and the class never ends.
        assert!(m("[a-]", "_") && !m("[a-]b", "ab"));
    }

    #[test]
    fn an_empty_text_is_matched_by_the_empty_pattern_alone() {
        assert!(m("", "") && !m("*", "") && !m("**", ""));
    }

    #[test]
    fn case_is_folded_on_request() {
        assert!(matches(b"HeL*", b"hello", true) && !matches(b"HeL*", b"hello", false));
        assert!(matches(b"[A-C]x", b"bX", true) && matches(b"[AB]", b"b", true));
    }

    #[test]
    fn bytes_need_not_be_text() {
        assert!(matches(b"\xff?[\x80-\xfe]", b"\xff\x00\x90", false));
    }

    #[test]
    fn bounded_time_on_nested_stars() {
        let pattern = "a*".repeat(500) + "b";
        assert!(!m(&pattern, &"a".repeat(50_000)));
    }
}
