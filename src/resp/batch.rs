//! Requests that were found complete, as positions in the buffer they were found in.

use smallvec::SmallVec;

use super::decode::{MAX_LINE, ProtocolError};

/// Requests, and arguments of them, that a batch keeps room for.
const KEEP: usize = 4096;

/// Bytes of heap that come of it.
const KEEP_BYTES: usize = KEEP * (size_of::<Span>() + size_of::<Request>()) + MAX_LINE;

/// The arguments of one request, as slices of the read buffer.
pub type ArgVec<'a> = SmallVec<[&'a [u8]; 16]>;

/// One argument: a range of the read buffer, or of the batch's words for an inline request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A complete request: the range of its arguments.
#[derive(Debug, Clone, Copy)]
struct Request {
    first: usize,
    last: usize,
    /// Where in the buffer the request ends.
    end: usize,
    inline: bool,
}

/// Complete requests, in order, and whether a protocol error follows them.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) spans: Vec<Span>,
    requests: Vec<Request>,
    /// The unquoted words of inline requests.
    pub(super) words: Vec<u8>,
    pub(super) consumed: usize,
    pub(super) error: Option<ProtocolError>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of complete requests.
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether there is no complete request.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Bytes at the front of the buffer that no later request needs.
    #[must_use]
    pub const fn consumed(&self) -> usize {
        self.consumed
    }

    /// Where in the buffer request `index` ends. Whoever stops behind it goes on there with a new [`Decoder`](super::Decoder).
    #[must_use]
    pub fn end(&self, index: usize) -> usize {
        self.requests.get(index).map_or(self.consumed, |r| r.end)
    }

    /// Whether request `index` is a line of words and not an array.
    #[must_use]
    pub fn is_inline(&self, index: usize) -> bool {
        self.requests.get(index).is_some_and(|r| r.inline)
    }

    /// What is wrong behind the complete requests; the connection answers it and closes.
    #[must_use]
    pub const fn error(&self) -> Option<ProtocolError> {
        self.error
    }

    /// The arguments of request `index`; `buf` is the buffer the batch was decoded from.
    ///
    /// A request has at least one argument. None are given for an index out of range.
    pub fn args<'a>(
        &'a self,
        index: usize,
        buf: &'a [u8],
    ) -> impl ExactSizeIterator<Item = &'a [u8]> {
        let request = self.requests.get(index);
        let spans = request
            .and_then(|r| self.spans.get(r.first..r.last))
            .unwrap_or_default();
        let source = if request.is_some_and(|r| r.inline) {
            &self.words
        } else {
            buf
        };
        spans
            .iter()
            .map(move |s| source.get(s.start..s.end).unwrap_or_default())
    }

    /// The arguments of request `index` as one vector, see [`args`](Self::args).
    #[must_use]
    pub fn argv<'a>(&'a self, index: usize, buf: &'a [u8]) -> ArgVec<'a> {
        self.args(index, buf).collect()
    }

    /// The arguments of request `index` in `room`, see [`args`](Self::args).
    #[inline]
    pub fn args_in<'r, 'a>(
        &'a self,
        index: usize,
        buf: &'a [u8],
        room: &'r mut Room<'a>,
    ) -> &'r [&'a [u8]] {
        let Some(request) = self.requests.get(index) else {
            return &[];
        };
        let Some(spans) = self.spans.get(request.first..request.last) else {
            return &[];
        };
        let source = if request.inline { &self.words } else { buf };
        let slots = room.of(spans.len());
        for (slot, s) in slots.iter_mut().zip(spans) {
            let Some(arg) = source.get(s.start..s.end) else {
                return &[];
            };
            *slot = arg;
        }
        slots
    }

    /// Bytes of heap held.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.spans.capacity() * size_of::<Span>()
            + self.requests.capacity() * size_of::<Request>()
            + self.words.capacity()
    }

    /// Forgets all requests. Memory is kept up to a bound that ordinary pipelines stay below.
    pub fn clear(&mut self) {
        self.spans.clear();
        self.requests.clear();
        self.words.clear();
        if self.memory() > KEEP_BYTES {
            self.shrink();
        }
        self.consumed = 0;
        self.error = None;
    }

    #[cold]
    fn shrink(&mut self) {
        self.spans.shrink_to(KEEP);
        self.requests.shrink_to(KEEP);
        self.words.shrink_to(MAX_LINE);
    }

    /// Adds a request whose arguments are all spans from `first` on.
    #[inline]
    pub(super) fn push(&mut self, first: usize, end: usize, inline: bool) {
        self.requests.push(Request {
            first,
            last: self.spans.len(),
            end,
            inline,
        });
    }
}

/// Where the arguments of one request after another are put, see [`Batch::args_in`].
#[derive(Debug, Default)]
pub struct Room<'a> {
    few: [&'a [u8]; 16],
    many: Vec<&'a [u8]>,
}

impl<'a> Room<'a> {
    #[inline]
    fn of(&mut self, n: usize) -> &mut [&'a [u8]] {
        match self.few.get_mut(..n) {
            Some(few) => few,
            None => more(&mut self.many, n),
        }
    }
}

#[cold]
fn more<'a, 'r>(many: &'r mut Vec<&'a [u8]>, n: usize) -> &'r mut [&'a [u8]] {
    many.resize(n, &[]);
    many
}
