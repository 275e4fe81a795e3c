//! Bytes of a file that come in piece by piece and go out item by item.

/// What has come in and was not read yet.
#[derive(Debug, Default)]
pub(super) struct Input {
    buf: Vec<u8>,
    at: usize,
    /// Where in the file `buf` begins.
    before: u64,
    /// No more is to come.
    pub(super) complete: bool,
}

impl Input {
    /// The first byte to come stands at this offset of the file.
    pub(super) fn at(offset: u64) -> Self {
        Self {
            before: offset,
            ..Self::default()
        }
    }

    /// Takes the next bytes; none say that the file ends.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.complete |= bytes.is_empty();
        if self.at > 0 {
            self.before += self.at as u64;
            self.buf.drain(..self.at);
            self.at = 0;
        }
        self.buf.extend_from_slice(bytes);
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &[u8] {
        self.buf.get(self.at..).unwrap_or_default()
    }

    /// Reads so many bytes of it.
    pub(super) fn read(&mut self, bytes: usize) -> &[u8] {
        let start = self.at;
        self.at = self.buf.len().min(start + bytes);
        self.buf.get(start..self.at).unwrap_or_default()
    }

    /// Forgets the rest but for so many bytes.
    pub(super) fn truncate(&mut self, bytes: usize) {
        self.buf.truncate(self.at + bytes);
    }

    /// What was read from an offset of the file on, unless it is gone by now.
    pub(super) fn passed(&self, from: u64) -> &[u8] {
        let from = from.checked_sub(self.before).map(usize::try_from);
        let from = from.and_then(Result::ok).unwrap_or(self.at);
        self.buf.get(from..self.at).unwrap_or_default()
    }

    /// Where in the file the rest begins.
    pub(super) fn position(&self) -> u64 {
        self.before + self.at as u64
    }
}
