//! Requests, decoded from whatever pieces the network delivers.
//!
//! A [`Decoder`] belongs to a connection and remembers how far an unfinished request has come; a [`Batch`] belongs to
//! whoever reads and holds the requests found complete, as positions in the read buffer. Nothing is copied but
//! the words of inline requests, and nothing is allocated on the strength of a claimed length: memory follows the bytes received.
//!
//! The buffer given to [`Decoder::decode`] starts with the unfinished request, if any: after a batch has run, its
//! [`consumed`](Batch::consumed) bytes are dropped from the front, and new bytes are appended. Every byte is looked at once.

use super::batch::{Batch, Span};
use super::inline::{self, Unbalanced};
use super::whole::short_header;
use crate::util::num;

/// The longest line: an inline request, or the header of a multibulk request or of one of its arguments.
pub(super) const MAX_LINE: usize = 64 * 1024;

/// Arguments a client may send in one request before it has authenticated.
const UNAUTHENTICATED_ARGS: i64 = 10;

/// The longest argument a client may send before it has authenticated.
const UNAUTHENTICATED_BULK: i64 = 16 * 1024;

/// Argument positions a connection keeps room for between requests.
const KEEP_PENDING: usize = 64;

/// What a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `proto-max-bulk-len`: the longest argument of a multibulk request.
    pub max_bulk: usize,
    /// Whether the smaller limits apply that hold before authentication.
    ///
    /// A pipeline may authenticate midway, so such a client's requests are decoded one at a time.
    pub unauthenticated: bool,
    /// The most requests in one batch.
    pub max_requests: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bulk: 512 * 1024 * 1024,
            unauthenticated: false,
            max_requests: 256,
        }
    }
}

/// Why a connection is closed for what it sent. The text is what follows `-ERR ` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// An inline request without a line end within 64 KiB.
    #[error("Protocol error: too big inline request")]
    InlineTooBig,
    /// Quotes in an inline request that never close, or that close in the middle of a word.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// A multibulk header without a line end within 64 KiB.
    #[error("Protocol error: too big mbulk count string")]
    MultibulkHeaderTooBig,
    /// The header of an argument without a line end within 64 KiB.
    #[error("Protocol error: too big bulk count string")]
    BulkHeaderTooBig,
    /// A number of arguments that is no number, or beyond 2^31 - 1.
    #[error("Protocol error: invalid multibulk length")]
    MultibulkLength,
    /// More arguments than a client may send before authentication.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulk,
    /// Something other than `$` where an argument starts.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0))]
    ExpectedDollar(u8),
    /// An argument length that is no number, negative, or beyond `proto-max-bulk-len`.
    #[error("Protocol error: invalid bulk length")]
    BulkLength,
    /// A longer argument than a client may send before authentication.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulk,
}

impl ProtocolError {
    /// The error as it goes to the client, without the leading `-` and in the client's own bytes.
    #[must_use]
    pub fn wire_text(&self) -> Vec<u8> {
        match self {
            Self::ExpectedDollar(got) => [
                b"ERR Protocol error: expected '$', got '",
                &[*got][..],
                b"'",
            ]
            .concat(),
            other => format!("ERR {other}").into_bytes(),
        }
    }
}

/// The decoding state of one connection.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Arguments still to come of the unfinished request; 0 when none has been started.
    missing: usize,
    /// Arguments already seen of the unfinished request, relative to its start.
    pending: Vec<Span>,
    /// How far the unfinished request has been decoded, relative to its start.
    done: usize,
    /// The length of the argument whose header has been read.
    bulk: Option<usize>,
    /// How far a line end has been looked for in vain, relative to the start of the line.
    scanned: usize,
}

/// What came of a step of decoding.
enum Step {
    Complete,
    Incomplete,
}

impl Decoder {
    /// A decoder at the start of a connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes of heap held.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.pending.capacity() * size_of::<Span>()
    }

    /// Whether no request has begun: of one that has, the header is among the bytes that were consumed.
    #[must_use]
    pub const fn is_between(&self) -> bool {
        self.missing == 0
    }

    /// How far the request has been decoded that has begun, from the start of the buffer.
    #[must_use]
    pub const fn done(&self) -> usize {
        self.done
    }

    /// Bytes known to be missing for the argument being received; a hint of how much to read.
    #[must_use]
    pub fn wanted(&self, buffered: usize) -> usize {
        self.bulk
            .map_or(0, |len| (self.done + len + 2).saturating_sub(buffered))
    }

    /// Decodes all complete requests in `buf` into `batch`, which is cleared first.
    ///
    /// `buf` starts where the last batch's [`consumed`](Batch::consumed) bytes ended. After an error nothing more can be decoded.
    pub fn decode(&mut self, buf: &[u8], limits: &Limits, batch: &mut Batch) {
        batch.clear();
        let most = if limits.unauthenticated {
            1
        } else {
            limits.max_requests
        };
        if self.missing > 0 {
            match self.resume(buf, limits, batch) {
                Ok(Step::Complete) => {}
                Ok(Step::Incomplete) => return,
                Err(error) => return batch.error = Some(error),
            }
        }
        loop {
            let step = match buf.get(batch.consumed) {
                _ if batch.len() >= most => return,
                None => return,
                Some(b'*') if !limits.unauthenticated && batch.take_whole(buf, limits) => {
                    self.scanned = 0;
                    continue;
                }
                Some(b'*') => self.multibulk(buf, limits, batch),
                Some(_) => self.inline(buf, batch),
            };
            match step {
                Ok(Step::Complete) => {}
                Ok(Step::Incomplete) => return,
                Err(error) => return batch.error = Some(error),
            }
        }
    }

    /// Goes on with the request that the buffer starts with.
    #[inline(never)]
    fn resume(
        &mut self,
        buf: &[u8],
        limits: &Limits,
        batch: &mut Batch,
    ) -> Result<Step, ProtocolError> {
        let mut pending = std::mem::take(&mut self.pending);
        let step = self.arguments(buf, self.done, limits, &mut pending);
        if let Ok(Step::Complete) = step {
            batch.consumed = self.done;
            batch.spans.append(&mut pending);
            pending.shrink_to(KEEP_PENDING);
            self.pending = pending;
            batch.push(0, self.done, false);
        } else {
            self.pending = pending;
        }
        step
    }

    /// Decodes one multibulk request, which starts at the batch's consumed bytes.
    #[inline(never)]
    fn multibulk(
        &mut self,
        buf: &[u8],
        limits: &Limits,
        batch: &mut Batch,
    ) -> Result<Step, ProtocolError> {
        let start = batch.consumed;
        let header = match short_header(buf, start, b'*') {
            Some((count, at)) => Some((Some(count as i64), at)),
            None => self.header(buf, start, ProtocolError::MultibulkHeaderTooBig)?,
        };
        let Some((count, at)) = header else {
            return Ok(Step::Incomplete);
        };
        let count = count
            .filter(|&n| n <= i64::from(i32::MAX))
            .ok_or(ProtocolError::MultibulkLength)?;
        if limits.unauthenticated && count > UNAUTHENTICATED_ARGS {
            return Err(ProtocolError::UnauthenticatedMultibulk);
        }
        batch.consumed = at;
        self.scanned = 0;
        self.missing = usize::try_from(count).unwrap_or(0);
        if self.missing == 0 {
            return Ok(Step::Complete);
        }
        let first = batch.spans.len();
        let step = self.arguments(buf, at, limits, &mut batch.spans)?;
        match step {
            Step::Complete => {
                batch.consumed = self.done;
                batch.push(first, self.done, false);
            }
            Step::Incomplete => {
                // The header is done with: positions count from the first argument on.
                self.done -= at;
                self.pending
                    .extend(batch.spans.drain(first..).map(|s| Span {
                        start: s.start - at,
                        end: s.end - at,
                    }));
            }
        }
        Ok(step)
    }

    /// Decodes arguments from `at` on until none is missing. `self.done` says where it ended.
    fn arguments(
        &mut self,
        buf: &[u8],
        mut at: usize,
        limits: &Limits,
        spans: &mut Vec<Span>,
    ) -> Result<Step, ProtocolError> {
        while self.missing > 0 {
            let len = match self.bulk {
                Some(len) => len,
                None => {
                    let header = match short_header(buf, at, b'$') {
                        Some((len, next)) => Some((Some(len as i64), next)),
                        None => self.bulk_header(buf, at)?,
                    };
                    let Some((len, next)) = header else {
                        self.done = at;
                        return Ok(Step::Incomplete);
                    };
                    at = next;
                    self.scanned = 0;
                    bulk_len(len, limits)?
                }
            };
            // The two bytes behind an argument are taken as its line end, whatever they are.
            if buf.len() - at < len + 2 {
                self.bulk = Some(len);
                self.done = at;
                return Ok(Step::Incomplete);
            }
            spans.push(Span {
                start: at,
                end: at + len,
            });
            at += len + 2;
            self.bulk = None;
            self.missing -= 1;
        }
        self.done = at;
        Ok(Step::Complete)
    }

    /// The length line of an argument, once it is complete.
    fn bulk_header(
        &mut self,
        buf: &[u8],
        at: usize,
    ) -> Result<Option<(Option<i64>, usize)>, ProtocolError> {
        let header = self.header(buf, at, ProtocolError::BulkHeaderTooBig)?;
        match buf.get(at) {
            Some(&got) if header.is_some() && got != b'$' => {
                Err(ProtocolError::ExpectedDollar(got))
            }
            _ => Ok(header),
        }
    }

    /// A line of a type byte and a number: the number, if it is one, and where the next line starts.
    ///
    /// The line ends at the first CR, and the byte after it is skipped unseen. A NUL byte hides the line end.
    fn header(
        &mut self,
        buf: &[u8],
        at: usize,
        too_big: ProtocolError,
    ) -> Result<Option<(Option<i64>, usize)>, ProtocolError> {
        match self.line_end(buf, at, b'\r') {
            Some(len) if len > MAX_LINE => Err(too_big),
            Some(len) if at + len + 1 < buf.len() => {
                let digits = buf.get(at + 1..at + len).unwrap_or_default();
                Ok(Some((num::parse_i64(digits), at + len + 2)))
            }
            None if buf.len() - at > MAX_LINE => Err(too_big),
            _ => Ok(None),
        }
    }

    /// Decodes one inline request, which starts at the batch's consumed bytes.
    #[inline(never)]
    fn inline(&mut self, buf: &[u8], batch: &mut Batch) -> Result<Step, ProtocolError> {
        let start = batch.consumed;
        let Some(len) = self.line_end(buf, start, b'\n') else {
            let too_big = buf.len() - start > MAX_LINE;
            return if too_big {
                Err(ProtocolError::InlineTooBig)
            } else {
                Ok(Step::Incomplete)
            };
        };
        if len > MAX_LINE {
            return Err(ProtocolError::InlineTooBig);
        }
        self.scanned = 0;
        let line = buf.get(start..start + len).unwrap_or_default();
        let first = batch.spans.len();
        let (words, spans) = (&mut batch.words, &mut batch.spans);
        inline::split_into(line, words, |start, end| spans.push(Span { start, end }))
            .map_err(|Unbalanced| ProtocolError::UnbalancedQuotes)?;
        batch.consumed = start + len + 1;
        if batch.spans.len() > first {
            batch.push(first, batch.consumed, true);
        }
        Ok(Step::Complete)
    }

    /// The length of the line at `at`, up to its end byte and without it.
    fn line_end(&mut self, buf: &[u8], at: usize, end: u8) -> Option<usize> {
        let rest = buf.get(at + self.scanned..).unwrap_or_default();
        match memchr::memchr2(end, 0, rest) {
            Some(found) if rest[found] == end => {
                let len = self.scanned + found;
                // An unfinished header is looked at again, from its end on.
                self.scanned = len;
                Some(len)
            }
            Some(nul) => {
                self.scanned += nul;
                None
            }
            None => {
                self.scanned += rest.len();
                None
            }
        }
    }
}

/// The stated length of an argument, checked.
#[inline]
fn bulk_len(len: Option<i64>, limits: &Limits) -> Result<usize, ProtocolError> {
    let len = len.ok_or(ProtocolError::BulkLength)?;
    if limits.unauthenticated && len > UNAUTHENTICATED_BULK && len as u64 <= limits.max_bulk as u64
    {
        return Err(ProtocolError::UnauthenticatedBulk);
    }
    usize::try_from(len)
        .ok()
        .filter(|&len| len <= limits.max_bulk)
        .ok_or(ProtocolError::BulkLength)
}
