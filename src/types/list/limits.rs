//! How large a listpack of a list becomes, as Redis decides it.

/// Sizes in bytes for `list-max-listpack-size` from -1 to -5.
const SIZES: [usize; 5] = [4096, 8192, 16_384, 32_768, 65_536];
/// No listpack with more than one element is larger, when elements are counted.
const SAFE_SIZE: usize = 8192;
/// What the configuration says of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `list-max-listpack-size`: a number of elements or, negative, one of five sizes.
    pub fill: i32,
    /// `list-compress-depth`: so many nodes at either end stay uncompressed; 0 compresses none.
    pub depth: i32,
    /// Elements of this size and more stand alone.
    pub plain_from: usize,
}

impl Limits {
    /// From this size on an element stands alone, unless another is set.
    pub const PLAIN_FROM: usize = 1 << 30;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fill: -2,
            depth: 0,
            plain_from: Self::PLAIN_FROM,
        }
    }
}

/// How much one listpack takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// So many bytes.
    Bytes(usize),
    /// So many elements.
    Elements(usize),
}

impl Fill {
    /// What a value of `list-max-listpack-size` means.
    pub(super) fn of(setting: i32) -> Self {
        match usize::try_from(setting) {
            Ok(elements) => Self::Elements(elements.max(1)),
            Err(_) => {
                let level = setting.unsigned_abs() as usize - 1;
                Self::Bytes(SIZES[level.min(SIZES.len() - 1)])
            }
        }
    }

    /// Bytes of the largest listpack with more than one element.
    #[inline]
    pub(super) fn most_bytes(self) -> usize {
        match self {
            Self::Bytes(most) => most,
            Self::Elements(_) => SAFE_SIZE,
        }
    }

    /// Whether a listpack of so many bytes and elements is too large.
    #[inline]
    pub(super) fn is_exceeded(self, bytes: usize, elements: usize) -> bool {
        match self {
            Self::Bytes(most) => bytes > most,
            Self::Elements(most) => bytes > SAFE_SIZE || elements > most,
        }
    }

    /// Whether the only listpack of a list is so small that the list may become that listpack.
    pub(super) fn is_small(self, bytes: usize, elements: usize, shrinking: bool) -> bool {
        // Half of it, so that a list which grows and shrinks does not change its form all the time.
        let limit = |most: usize| if shrinking { most / 2 } else { most };
        match self {
            Self::Bytes(most) => bytes <= limit(most),
            Self::Elements(most) => elements <= limit(most),
        }
    }
}
