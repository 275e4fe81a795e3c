//! A node of a long list: a listpack, or one large element.

use std::borrow::Cow;

use crate::ds::listpack::Value;
use crate::ds::lzf;
use crate::ds::packed::{Needle, Packed, View};
use crate::util::heap;

/// Nodes below this size are not compressed.
const LEAST_TO_COMPRESS: usize = 48;
/// Compression must save more than this.
const LEAST_TO_SAVE: usize = 8;

/// A run of elements.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// In a listpack.
    Packed(Packed),
    /// One element, too large for a listpack.
    Plain(Box<[u8]>),
    /// Either, compressed.
    Lzf(Lzf),
}

/// Compressed contents of a node.
#[derive(Clone, Debug)]
pub(super) struct Lzf {
    data: Box<[u8]>,
    /// Size of the contents.
    size: u32,
    plain: bool,
}

/// The contents of a node, as they are read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    Packed(View<'a>),
    Plain(&'a [u8]),
}

impl Node {
    /// A node with one element.
    pub(super) fn with_one(value: &[u8], plain_from: usize) -> Self {
        if value.len() >= plain_from {
            return Self::Plain(value.into());
        }
        let mut packed = Packed::new();
        packed.push_back(value);
        Self::Packed(packed)
    }

    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_) | Self::Lzf(Lzf { plain: true, .. }))
    }

    #[inline]
    pub(super) fn is_compressed(&self) -> bool {
        matches!(self, Self::Lzf(_))
    }

    /// Size of the contents, uncompressed.
    #[inline]
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.byte_len(),
            Self::Plain(bytes) => bytes.len(),
            Self::Lzf(lzf) => lzf.size as usize,
        }
    }

    /// Bytes on the heap.
    #[inline]
    pub(super) fn heap_size(&self) -> usize {
        match self {
            Self::Packed(packed) => packed.heap_size(),
            Self::Plain(bytes) => heap::rounded(bytes.len()),
            Self::Lzf(lzf) => heap::rounded(lzf.data.len()),
        }
    }

    /// The contents; what is compressed is decompressed into `buffer`.
    pub(super) fn content<'a>(&'a self, buffer: &'a mut Vec<u8>) -> Content<'a> {
        match self {
            Self::Packed(packed) => Content::Packed(packed.view()),
            Self::Plain(bytes) => Content::Plain(bytes),
            Self::Lzf(lzf) => {
                let whole = lzf::decompress_into(&lzf.data, lzf.size as usize, buffer);
                debug_assert!(whole.is_ok(), "it was compressed here");
                if lzf.plain {
                    Content::Plain(buffer)
                } else {
                    Content::Packed(View::new(buffer))
                }
            }
        }
    }

    /// Undoes the compression. `count` is the number of elements.
    #[inline]
    pub(super) fn decompress(&mut self, count: usize) {
        if self.is_compressed() {
            self.undo(count);
        }
    }

    #[cold]
    fn undo(&mut self, count: usize) {
        if let Self::Lzf(lzf) = self {
            let bytes = lzf::decompress(&lzf.data, lzf.size as usize).unwrap_or_default();
            *self = if lzf.plain {
                Self::Plain(bytes.into())
            } else {
                Self::Packed(Packed::from_known(bytes, count))
            };
        }
    }

    /// The same node compressed, if that is worth it.
    pub(super) fn compressed(&self) -> Option<Self> {
        let (bytes, plain) = match self {
            Self::Packed(packed) => (packed.as_bytes(), false),
            Self::Plain(bytes) => (&**bytes, true),
            Self::Lzf(_) => return None,
        };
        if bytes.len() < LEAST_TO_COMPRESS {
            return None;
        }
        let data = lzf::compress(bytes, bytes.len())?;
        let worth = data.len() + LEAST_TO_SAVE < bytes.len();
        worth.then(|| {
            Self::Lzf(Lzf {
                data: data.into(),
                size: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
                plain,
            })
        })
    }
}

impl<'a> Content<'a> {
    /// Calls `f` with elements from the one at `offset` on, in either direction, until it gives `false`; whether it
    /// never did. `count` is the number of elements.
    #[inline]
    pub(super) fn for_each(
        self,
        offset: usize,
        count: usize,
        backwards: bool,
        f: &mut impl FnMut(Value<'a>) -> bool,
    ) -> bool {
        let view = match self {
            Self::Plain(bytes) => return f(Value::Str(bytes)),
            Self::Packed(view) => view,
        };
        if backwards {
            let mut pos = view.seek(offset + 1, count);
            while let Some((value, at)) = pos.and_then(|pos| view.step_back(pos)) {
                if !f(value) {
                    return false;
                }
                pos = Some(at);
            }
        } else {
            let mut pos = view.seek(offset, count);
            while let Some((value, next)) = pos.and_then(|pos| view.step(pos)) {
                if !f(value) {
                    return false;
                }
                pos = Some(next);
            }
        }
        true
    }

    /// Which element, counted from the first, is the first that is `needle`.
    pub(super) fn find(self, needle: &Needle<'_>) -> Option<usize> {
        let mut index = 0;
        let missing = self.for_each(0, usize::MAX, false, &mut |value| {
            let hit = needle.is(value);
            index += usize::from(!hit);
            !hit
        });
        (!missing).then_some(index)
    }
}

/// A node as it is stored, for formats that store it the same way.
#[derive(Clone, Debug)]
pub struct NodeView<'a>(pub(super) Stored<'a>);

#[derive(Clone, Debug)]
pub(super) enum Stored<'a> {
    /// All of a short list.
    List(&'a Packed),
    Node(&'a Node),
}

impl<'a> NodeView<'a> {
    /// Whether it is one large element instead of a listpack.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        match self.0 {
            Stored::List(_) => false,
            Stored::Node(node) => node.is_plain(),
        }
    }

    /// The element, or the bytes of the listpack; decompressed where they are compressed.
    #[must_use]
    pub fn bytes(&self) -> Cow<'a, [u8]> {
        match self.0 {
            Stored::List(packed) | Stored::Node(Node::Packed(packed)) => {
                Cow::Borrowed(packed.as_bytes())
            }
            Stored::Node(Node::Plain(bytes)) => Cow::Borrowed(bytes),
            Stored::Node(Node::Lzf(lzf)) => {
                let bytes = lzf::decompress(&lzf.data, lzf.size as usize);
                Cow::Owned(bytes.unwrap_or_default())
            }
        }
    }

    /// The compressed bytes and the size that they decompress to, where they are compressed.
    #[must_use]
    pub fn compressed(&self) -> Option<(&'a [u8], usize)> {
        match self.0 {
            Stored::Node(Node::Lzf(lzf)) => Some((&lzf.data, lzf.size as usize)),
            _ => None,
        }
    }
}
