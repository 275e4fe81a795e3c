//! Names of keys, and of fields of hashes, that are made from an element.

use crate::ds::listpack::Value as Element;
use crate::keyspace::Keyspace;
use crate::types::Value;
use crate::types::string::Str;

/// The operand of BY or GET. Like Redis it reads patterns as C strings: what follows a zero byte has no meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// No `*`: there is nothing of that name.
    Nothing,
    /// The element between two texts is a key; `before*after` or `before*after->field`.
    Key {
        before: &'a [u8],
        after: &'a [u8],
        /// The field, if the key is that of a hash.
        field: Option<&'a [u8]>,
    },
}

impl<'a> Pattern<'a> {
    pub(super) fn new(text: &'a [u8]) -> Pattern<'a> {
        let end = memchr::memchr(0, text).unwrap_or(text.len());
        if &text[..end] == b"#" {
            return Pattern::Element;
        }
        let Some(star) = memchr::memchr(b'*', &text[..end]) else {
            return Pattern::Nothing;
        };
        let (before, after) = (&text[..star], &text[star + 1..]);
        // An arrow at the very end belongs to the key.
        let arrow = text[star + 1..end]
            .windows(2)
            .position(|w| w == b"->")
            .filter(|at| star + at + 3 < end);
        match arrow {
            Some(at) => Pattern::Key {
                before,
                after: &after[..at],
                field: Some(&after[at + 2..]),
            },
            None => Pattern::Key {
                before,
                after,
                field: None,
            },
        }
    }

    /// Whether it names something else for each element.
    pub(super) fn varies(&self) -> bool {
        matches!(self, Pattern::Key { .. })
    }

    /// Calls `then` with what there is for an element: a string, or a field of a hash.
    pub(super) fn find<R>(
        &self,
        ks: &Keyspace,
        element: &[u8],
        then: impl FnOnce(Element<'_>) -> R,
    ) -> Option<R> {
        let (before, after, field) = match *self {
            Pattern::Element => return Some(then(Element::Str(element))),
            Pattern::Nothing => return None,
            Pattern::Key {
                before,
                after,
                field,
            } => (before, after, field),
        };
        let key = [before, element, after].concat();
        match (ks.read_any(&key)?.value(), field) {
            (Value::Str(Str::Int(n)), None) => Some(then(Element::Int(*n))),
            (Value::Str(text), None) => Some(text.with(|bytes| then(Element::Str(bytes)))),
            (Value::Hash(hash), Some(field)) => hash.get(field, ks.horizon()).map(then),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_taken_apart_as_by_redis() {
        let key =
            |before: &'static str, after: &'static str, field: Option<&'static str>| Pattern::Key {
                before: before.as_bytes(),
                after: after.as_bytes(),
                field: field.map(str::as_bytes),
            };
        for (text, pattern) in [
            ("#", Pattern::Element),
            ("#\0*", Pattern::Element),
            ("", Pattern::Nothing),
            ("##", Pattern::Nothing),
            ("nosort", Pattern::Nothing),
            ("a->b", Pattern::Nothing),
            ("a\0*", Pattern::Nothing),
            ("*", key("", "", None)),
            ("w_*", key("w_", "", None)),
            ("a*b*c", key("a", "b*c", None)),
            ("h_*->f", key("h_", "", Some("f"))),
            ("h_*x->f->g", key("h_", "x", Some("f->g"))),
            ("h_*->", key("h_", "->", None)),
            ("a->*", key("a->", "", None)),
            ("a->*->f", key("a->", "", Some("f"))),
            ("h_*\0->f", key("h_", "\0->f", None)),
            ("h_*->f\0g", key("h_", "", Some("f\0g"))),
            ("h_*->\0", key("h_", "->\0", None)),
        ] {
            assert_eq!(Pattern::new(text.as_bytes()), pattern, "{text:?}");
        }
    }
}
