//! What SORT is asked to do.

use std::ops::Range;

use super::pattern::Pattern;
use crate::exec::args::is;
use crate::exec::{Args, CmdError};

/// A call of SORT.
#[derive(Debug, Clone, Default)]
pub(super) struct Request<'a> {
    /// What holds the elements.
    pub(super) key: &'a [u8],
    /// Where the weights of elements are, if not in themselves.
    pub(super) by: Option<Pattern<'a>>,
    /// BY was given a pattern that is the same for all elements: nothing is to be sorted.
    pub(super) unsorted: bool,
    /// What to return in the place of an element.
    pub(super) gets: Vec<Pattern<'a>>,
    /// The largest first.
    pub(super) descending: bool,
    /// Compare as bytes and not as numbers.
    pub(super) alpha: bool,
    /// Where to store the result.
    pub(super) store: Option<&'a [u8]>,
    limit: Option<(i64, i64)>,
}

const BY_DENIED: CmdError =
    CmdError::fixed("ERR BY option of SORT denied due to insufficient ACL permissions.");
const GET_DENIED: CmdError =
    CmdError::fixed("ERR GET option of SORT denied due to insufficient ACL permissions.");

impl<'a> Request<'a> {
    /// Reads the arguments; the last of an option given several times counts.
    /// `reads_all` if the client may read whatever keys BY and GET lead to.
    pub(super) fn parse(
        args: Args<'a>,
        may_store: bool,
        reads_all: bool,
    ) -> Result<Request<'a>, CmdError> {
        let mut req = Request {
            key: args.at(1),
            ..Request::default()
        };
        let mut rest = args.cursor(2);
        while let Some(word) = rest.next() {
            if is(word, "ASC") {
                req.descending = false;
            } else if is(word, "DESC") {
                req.descending = true;
            } else if is(word, "ALPHA") {
                req.alpha = true;
            } else if is(word, "LIMIT") && rest.left() >= 2 {
                req.limit = Some((rest.int()?, rest.int()?));
            } else if is(word, "STORE") && may_store {
                req.store = Some(rest.word()?);
            } else if is(word, "BY") {
                let pattern = Pattern::new(rest.word()?);
                if pattern.varies() && !reads_all {
                    return Err(BY_DENIED);
                }
                // Once unsorted, always unsorted, as in Redis.
                req.unsorted |= !pattern.varies();
                req.by = Some(pattern);
            } else if is(word, "GET") {
                let pattern = Pattern::new(rest.word()?);
                if !reads_all {
                    return Err(GET_DENIED);
                }
                req.gets.push(pattern);
            } else {
                return Err(CmdError::SYNTAX);
            }
        }
        Ok(req)
    }

    /// The same, but sorted by the bytes of the elements themselves.
    pub(super) fn by_text(&self) -> Request<'a> {
        Request {
            by: None,
            alpha: true,
            ..self.clone()
        }
    }

    /// Which of `len` elements, once in order, are asked for. A negative count means all of them.
    pub(super) fn window(&self, len: usize) -> Range<usize> {
        let Some((offset, count)) = self.limit else {
            return 0..len;
        };
        let start = usize::try_from(offset.max(0)).map_or(len, |n| n.min(len));
        let count = usize::try_from(count).map_or(len, |n| n.min(len));
        start..start.saturating_add(count).min(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(limit: &[&[u8]], len: usize) -> Range<usize> {
        let mut argv: Vec<&[u8]> = vec![b"SORT", b"k"];
        argv.extend(limit);
        Request::parse(Args::new(&argv), true, true)
            .unwrap()
            .window(len)
    }

    #[test]
    fn limits_are_those_of_sort() {
        for (limit, range) in [
            (["0", "3"], 0..3),
            (["2", "-1"], 2..10),
            (["-5", "2"], 0..2),
            (["8", "5"], 8..10),
            (["10", "1"], 10..10),
            (["11", "-1"], 10..10),
            (["3", "0"], 3..3),
            (["9223372036854775807", "9223372036854775807"], 10..10),
            (["-9223372036854775808", "-9223372036854775808"], 0..10),
        ] {
            let words = [b"LIMIT", limit[0].as_bytes(), limit[1].as_bytes()];
            assert_eq!(window(&words, 10), range, "{limit:?}");
            assert!(window(&words, 0).is_empty());
        }
        assert_eq!(window(&[], 10), 0..10);
    }

    #[test]
    fn options_that_lack_something_are_a_syntax_error() {
        for rest in [
            &[&b"BY"[..]][..],
            &[b"GET"],
            &[b"STORE"],
            &[b"LIMIT", b"1"],
            &[b"UP"],
        ] {
            let mut argv: Vec<&[u8]> = vec![b"SORT", b"k", b"desc"];
            argv.extend(rest);
            let refused = Request::parse(Args::new(&argv), true, true);
            assert_eq!(refused.unwrap_err(), CmdError::SYNTAX);
        }
        let argv: [&[u8]; 4] = [b"SORT_RO", b"k", b"STORE", b"to"];
        let refused = Request::parse(Args::new(&argv), false, true);
        assert_eq!(refused.unwrap_err(), CmdError::SYNTAX);
    }
}
