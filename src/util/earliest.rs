//! The first of several moments, some of which never come.

/// Of many moments the first: what is asked whenever somebody lets go of the engine, so without a list of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Earliest(i64);

impl Earliest {
    /// Never.
    pub(crate) const NEVER: Self = Self(i64::MAX);

    /// Or then, if that comes at all.
    #[inline(always)]
    #[must_use]
    pub(crate) const fn or(self, at: Option<i64>) -> Self {
        match at {
            Some(at) if at < self.0 => Self(at),
            _ => self,
        }
    }

    /// When that is, if it comes.
    #[inline(always)]
    pub(crate) const fn get(self) -> Option<i64> {
        match self.0 {
            i64::MAX => None,
            at => Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_found_and_none_is_never() {
        assert_eq!(Earliest::NEVER.get(), None);
        assert_eq!(Earliest::NEVER.or(None).or(None).get(), None);
        let first = Earliest::NEVER.or(Some(7)).or(None).or(Some(3)).or(Some(5));
        assert_eq!(first.get(), Some(3));
    }
}
