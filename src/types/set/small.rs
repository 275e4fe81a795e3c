//! Small sets: integers only, or a few members of any kind.

use super::Repr;
use crate::ds::intset::Intset;
use crate::ds::pack::Pack;

/// A set that is no table: its members in a pack or, in a marked one, an [`Intset`] and some zeros.
#[derive(Debug, Clone)]
pub struct Small(Pack);

/// An allocation of integers is a multiple of this, as it is in most allocators anyway: few changes need a new one.
const STEP: usize = 16;

impl Small {
    /// See [`Value::glance`](crate::types::Value).
    pub(in crate::types) fn glance(&self) {
        self.0.glance();
    }

    #[inline]
    pub(super) fn of_ints(ints: Intset) -> Small {
        let mut bytes = ints.into_bytes();
        let room = (bytes.len() + Pack::TRAILER).next_multiple_of(STEP) - Pack::TRAILER;
        bytes.reserve_exact(room + Pack::TRAILER - bytes.len());
        bytes.resize(room, 0);
        Small(Pack::holding(bytes))
    }

    pub(super) fn of_pack(members: Pack) -> Small {
        Small(members)
    }

    #[inline]
    pub(super) fn repr(&self) -> Repr<'_> {
        if self.0.is_marked() {
            Repr::Ints(Intset::known(self.0.bytes()))
        } else {
            Repr::Packed(&self.0)
        }
    }

    /// The pack of members, of a set that has one.
    pub(super) fn pack_mut(&mut self) -> &mut Pack {
        &mut self.0
    }

    /// Whether it is one of integers.
    #[inline]
    pub(super) fn is_ints(&self) -> bool {
        self.0.is_marked()
    }

    /// Adds to a set of integers; returns whether it was not in yet.
    #[inline]
    pub(super) fn add_int(&mut self, value: i64) -> bool {
        self.edit_ints(|ints| ints.add(value))
    }

    /// Removes from a set of integers; returns whether it was in.
    #[inline]
    pub(super) fn remove_int(&mut self, value: i64) -> bool {
        self.edit_ints(|ints| ints.remove(value))
    }

    /// Changes the integers of a set of integers.
    #[inline]
    pub(super) fn edit_ints<R>(&mut self, edit: impl FnOnce(&mut Intset) -> R) -> R {
        let mut ints = Intset::from_known(self.0.take_bytes());
        let result = edit(&mut ints);
        *self = Small::of_ints(ints);
        result
    }

    /// Bytes allocated.
    pub(super) fn heap_size(&self) -> usize {
        self.0.heap_size()
    }
}
