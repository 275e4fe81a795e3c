//! Requests that are in the buffer as a whole, as nearly all are: found without remembering anything on the way.
//!
//! Whatever has to be waited for, looked at closely or refused is left to the [`Decoder`](super::Decoder).

use super::batch::{Batch, Span};
use super::decode::Limits;

impl Batch {
    /// Takes multibulk requests from the consumed bytes on as long as they are whole and plain; whether there was any.
    #[inline(never)]
    pub(super) fn take_whole(&mut self, buf: &[u8], limits: &Limits) -> bool {
        let (most, max_bulk) = (limits.max_requests, limits.max_bulk);
        let mut at = self.consumed;
        let mut first = self.spans.len();
        while self.len() < most
            && let Some(end) = whole(buf, at, max_bulk, &mut self.spans)
        {
            self.push(first, end, false);
            first = self.spans.len();
            at = end;
        }
        self.spans.truncate(first);
        std::mem::replace(&mut self.consumed, at) < at
    }
}

/// Appends the arguments of the request at `at` and says where it ends, if all of it is here, each header is short and
/// no argument too long. Otherwise some may have been appended.
#[inline(always)]
fn whole(buf: &[u8], at: usize, max_bulk: usize, spans: &mut Vec<Span>) -> Option<usize> {
    let (count, mut at) = short_header(buf, at, b'*')?;
    if count == 0 {
        return None;
    }
    for _ in 0..count {
        let (len, start) = short_header(buf, at, b'$')?;
        let end = start + len;
        // The two bytes behind an argument are taken as its line end, whatever they are.
        at = end + 2;
        if len > max_bulk || at > buf.len() {
            return None;
        }
        spans.push(Span { start, end });
    }
    Some(at)
}

/// The number in a line of `tag` and one to six digits without needless zeros, and where the next line begins.
///
/// The line ends at the CR, and the byte after it is skipped unseen. None for whatever else the bytes are, or may become.
#[inline(always)]
pub(super) fn short_header(buf: &[u8], at: usize, tag: u8) -> Option<(usize, usize)> {
    // No request and no argument ends sooner.
    let head = buf.get(at..)?.first_chunk::<6>()?;
    if head[0] != tag {
        return None;
    }
    let a = digit(head[1])?;
    if head[2] == b'\r' {
        return Some((a, at + 4));
    }
    let b = digit(head[2])?;
    if a == 0 {
        return None;
    }
    if head[3] == b'\r' {
        return Some((a * 10 + b, at + 5));
    }
    longer_header(buf, at + 3, a * 10 + b)
}

/// The same from the third digit on, at `at`.
#[inline(never)]
fn longer_header(buf: &[u8], at: usize, mut n: usize) -> Option<(usize, usize)> {
    // Up to four digits and the CR, each of them followed by something.
    let pairs = buf.get(at..)?.windows(2).take(5);
    for (pair, next) in pairs.zip(at + 2..) {
        match pair[0] {
            b'\r' => return Some((n, next)),
            byte => n = n * 10 + digit(byte)?,
        }
    }
    None
}

#[inline(always)]
fn digit(byte: u8) -> Option<usize> {
    let digit = byte.wrapping_sub(b'0');
    (digit <= 9).then_some(usize::from(digit))
}
