//! Elements in order: by their own value, or by weights found elsewhere.

use std::cmp::Ordering;
use std::ops::Range;

use super::request::Request;
use super::source::Source;
use crate::ds::bytes::SmallBytes;
use crate::ds::listpack::Value as Element;
use crate::exec::{CmdError, Ctx};
use crate::util::num;

const NO_NUMBER: CmdError =
    CmdError::fixed("ERR One or more scores can't be converted into double");

/// What an element is compared by.
enum Weight {
    /// A number; elements of the same are compared as bytes.
    Number(f64),
    /// A text; an element without one comes first.
    Text(Option<SmallBytes>),
    /// The element itself, as bytes.
    Element,
}

struct Item {
    element: SmallBytes,
    weight: Weight,
    /// Where it was before: what compares equal stays in order, where there was one.
    index: usize,
}

/// The elements of a source that stand in a window of the order that is asked for.
pub(super) fn sort(
    cx: &Ctx<'_>,
    source: &Source<'_>,
    req: &Request<'_>,
    window: Range<usize>,
) -> Result<Vec<SmallBytes>, CmdError> {
    let mut items = Vec::with_capacity(source.len());
    let mut fault = None;
    source.each(|element| {
        let text = SmallBytes::from(element.bytes(&mut itoa::Buffer::new()));
        let weight = weigh(cx, req, element, &text).unwrap_or_else(|e| {
            fault = Some(e);
            Weight::Element
        });
        items.push(Item {
            element: text,
            weight,
            index: items.len(),
        });
    });
    if let Some(e) = fault {
        return Err(e);
    }
    let compare = |a: &Item, b: &Item| {
        let order = compare(a, b);
        let order = if req.descending {
            order.reverse()
        } else {
            order
        };
        // The order of a set is by chance, and what is stored must not depend on it.
        let order = match source.is_ordered() {
            true => order,
            false => order.then_with(|| a.element.cmp(&b.element)),
        };
        order.then(a.index.cmp(&b.index))
    };
    if window.end < items.len() / 2 {
        // Only what comes before the end of the window needs to be sorted.
        items.select_nth_unstable_by(window.end, compare);
        items.truncate(window.end);
    }
    items.sort_unstable_by(compare);
    let wanted = items.into_iter().skip(window.start).take(window.len());
    Ok(wanted.map(|item| item.element).collect())
}

fn weigh(
    cx: &Ctx<'_>,
    req: &Request<'_>,
    element: Element<'_>,
    text: &[u8],
) -> Result<Weight, CmdError> {
    match (&req.by, req.alpha) {
        (None, true) => Ok(Weight::Element),
        (None, false) => number(element).map(Weight::Number),
        (Some(by), true) => {
            let found = by.find(cx.ks, text, |found| {
                SmallBytes::from(found.bytes(&mut itoa::Buffer::new()))
            });
            Ok(Weight::Text(found))
        }
        (Some(by), false) => {
            let found = by.find(cx.ks, text, number).unwrap_or(Ok(0.0));
            found.map(Weight::Number)
        }
    }
}

fn compare(a: &Item, b: &Item) -> Ordering {
    match (&a.weight, &b.weight) {
        // There is no NaN among them.
        (Weight::Number(x), Weight::Number(y)) => x
            .partial_cmp(y)
            .unwrap_or(Ordering::Equal)
            .then_with(|| a.element.cmp(&b.element)),
        (Weight::Text(x), Weight::Text(y)) => x.cmp(y),
        _ => a.element.cmp(&b.element),
    }
}

/// An element as a number, the way C's `strtod` reads one: leading space counts for nothing, nothing at all is 0, and
/// the text ends at a zero byte. What a double cannot hold is none.
fn number(element: Element<'_>) -> Result<f64, CmdError> {
    let text = match element {
        Element::Int(n) => return Ok(n as f64),
        Element::Str(text) => text,
    };
    let text = &text[..memchr::memchr(0, text).unwrap_or(text.len())];
    if text.is_empty() {
        return Ok(0.0);
    }
    let start = text.iter().take_while(|b| num::is_space(**b)).count();
    num::parse_f64(&text[start..])
        .filter(|n| !n.is_subnormal())
        .ok_or(NO_NUMBER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_strtod_reads_them() {
        for (text, value) in [
            ("", Some(0.0)),
            ("12", Some(12.0)),
            (" \t12", Some(12.0)),
            ("+1.5e3", Some(1500.0)),
            ("0x10", Some(16.0)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("1\0junk", Some(1.0)),
            ("\0", Some(0.0)),
            (" ", None),
            ("12 ", None),
            ("nan", None),
            ("1e400", None),
            ("1e-310", None),
            ("1e-400", None),
            ("abc", None),
            ("--1", None),
        ] {
            let read = number(Element::Str(text.as_bytes())).ok();
            assert_eq!(read, value, "{text:?}");
        }
        assert_eq!(number(Element::Int(-3)), Ok(-3.0));
    }
}
