//! Pointers of twelve bytes and of eight that need no more than an alignment of four.
//!
//! A `Box<[u8]>` is sixteen bytes, and its alignment makes the tag of whatever it is a variant of eight more. [`Slim`] is the
//! same allocation behind a pointer and a length of 32 bits, which leaves room for a tag within sixteen bytes; [`SlimBox`] is
//! a `Box` that fits in its place.

use std::fmt;
use std::mem::ManuallyDrop;
use std::num::NonZero;
use std::ops::{Deref, DerefMut};

use crate::util::heap;

/// Bytes of their own allocation, of exactly their length: what a `Box<[u8]>` is, made of one and into one without a copy.
///
/// Invariants:
/// 1. Where `len` is not [`WIDE`], `at` and `len - 1` are pointer and length of a `Box<[u8]>` that is owned.
/// 2. Where `len` is [`WIDE`], `at` is a box, which is owned, of a pointer that was a `Box<[u8]>`, which is owned as well. That
///    is what is longer than [`LONGEST`].
// The pointer may be null as far as the compiler knows, so that a length of zero is what tells others from it, and there can
// be a `SlimBox` in the place of the pointer.
#[repr(C, packed(4))]
pub struct Slim {
    at: *mut u8,
    len: NonZero<u32>,
}

const _: () = assert!(size_of::<Slim>() == 12 && align_of::<Slim>() == 4);
const _: () = assert!(size_of::<Option<Slim>>() == 12);

/// Stands for a length that is told elsewhere.
const WIDE: NonZero<u32> = NonZero::<u32>::MAX;

/// The longest bytes whose length is told with the pointer. Tests of this crate have longer ones, too.
const LONGEST: usize = if cfg!(test) {
    1 << 16
} else {
    u32::MAX as usize - 2
};

/// What `len` says of bytes of this length, if they are not too long.
#[inline]
fn length(bytes: usize) -> Option<NonZero<u32>> {
    if bytes > LONGEST {
        return None;
    }
    NonZero::new(u32::try_from(bytes).ok()? + 1)
}

// SAFETY: it owns its bytes as a box does, and a box of bytes may be sent and shared.
#[expect(unsafe_code, reason = "a pointer is neither sent nor shared")]
unsafe impl Send for Slim {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "a pointer is neither sent nor shared")]
unsafe impl Sync for Slim {}

impl Slim {
    /// Bytes allocated.
    #[inline]
    #[must_use]
    pub fn heap_size(&self) -> usize {
        let wide = if self.len == WIDE {
            heap::rounded(size_of::<Box<[u8]>>())
        } else {
            0
        };
        heap::rounded(self.len()) + wide
    }

    /// The bytes, of which there are so many.
    #[inline]
    fn slice(&self) -> *mut [u8] {
        let (at, len) = (self.at, self.len);
        if len == WIDE {
            return Self::wide(at);
        }
        std::ptr::slice_from_raw_parts_mut(at, len.get() as usize - 1)
    }

    /// The bytes whose pointer is in a box.
    #[cold]
    #[expect(unsafe_code, reason = "a pointer is all there is of the box")]
    fn wide(at: *mut u8) -> *mut [u8] {
        // SAFETY: it is called with the pointer of a `Slim` that is there, so that by invariant 2 a box is.
        unsafe { at.cast::<*mut [u8]>().read() }
    }
}

impl From<Box<[u8]>> for Slim {
    #[inline]
    fn from(bytes: Box<[u8]>) -> Self {
        match length(bytes.len()) {
            Some(len) => Self {
                at: Box::into_raw(bytes).cast(),
                len,
            },
            None => Self {
                at: Box::into_raw(Box::new(Box::into_raw(bytes))).cast(),
                len: WIDE,
            },
        }
    }
}

impl From<Slim> for Box<[u8]> {
    #[inline]
    #[expect(unsafe_code, reason = "a box is made of what it was")]
    fn from(slim: Slim) -> Self {
        let slim = ManuallyDrop::new(slim);
        // SAFETY: by the invariants these are the bytes of a box, which is owned by nobody else now.
        let bytes = unsafe { Box::from_raw(slim.slice()) };
        if slim.len == WIDE {
            // SAFETY: by invariant 2; that is the box in which the pointer to the bytes was.
            drop(unsafe { Box::from_raw(slim.at.cast::<*mut [u8]>()) });
        }
        bytes
    }
}

impl Drop for Slim {
    #[inline]
    fn drop(&mut self) {
        let (at, len) = (self.at, self.len);
        drop(Box::<[u8]>::from(Self { at, len }));
    }
}

impl Deref for Slim {
    type Target = [u8];

    #[inline]
    #[expect(unsafe_code, reason = "a reference is made of what a box was")]
    fn deref(&self) -> &[u8] {
        // SAFETY: by the invariants there are bytes of a box, which is owned and not given up before this is.
        unsafe { &*self.slice() }
    }
}

impl DerefMut for Slim {
    #[inline]
    #[expect(unsafe_code, reason = "a reference is made of what a box was")]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and whoever owns the box has nobody else look at it now.
        unsafe { &mut *self.slice() }
    }
}

impl From<&[u8]> for Slim {
    #[inline]
    fn from(bytes: &[u8]) -> Self {
        Box::<[u8]>::from(bytes).into()
    }
}

impl From<Vec<u8>> for Slim {
    #[inline]
    fn from(bytes: Vec<u8>) -> Self {
        bytes.into_boxed_slice().into()
    }
}

impl From<Slim> for Vec<u8> {
    #[inline]
    fn from(bytes: Slim) -> Self {
        Box::<[u8]>::from(bytes).into_vec()
    }
}

impl Default for Slim {
    /// No bytes, and no allocation.
    #[inline]
    fn default() -> Self {
        Box::<[u8]>::default().into()
    }
}

impl Clone for Slim {
    fn clone(&self) -> Self {
        (**self).into()
    }
}

impl fmt::Debug for Slim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

/// A `Box` that may stand at any multiple of four.
#[repr(C, packed(4))]
pub struct SlimBox<T>(Box<T>);

impl<T> SlimBox<T> {
    /// Puts a value on the heap.
    #[inline]
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(Box::new(value))
    }
}

impl<T> Deref for SlimBox<T> {
    type Target = T;

    #[inline]
    #[expect(
        clippy::explicit_auto_deref,
        reason = "that would borrow what is not aligned"
    )]
    fn deref(&self) -> &T {
        // The compiler copies the pointer out before it follows it.
        &*self.0
    }
}

impl<T> DerefMut for SlimBox<T> {
    #[inline]
    #[expect(
        clippy::explicit_auto_deref,
        reason = "that would borrow what is not aligned"
    )]
    fn deref_mut(&mut self) -> &mut T {
        &mut *self.0
    }
}

impl<T: Clone> Clone for SlimBox<T> {
    fn clone(&self) -> Self {
        Self::new(T::clone(self))
    }
}

impl<T: fmt::Debug> fmt::Debug for SlimBox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    fn lengths() -> impl Iterator<Item = usize> {
        (0..70).chain([4096, LONGEST - 1, LONGEST, LONGEST + 1, 3 * LONGEST])
    }

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7) as u8).collect()
    }

    #[test]
    fn bytes_of_any_length_come_back_without_a_copy() {
        for len in lengths() {
            let boxed = bytes(len).into_boxed_slice();
            let at = boxed.as_ptr();
            let slim = Slim::from(boxed);
            assert_eq!((&*slim, slim.as_ptr()), (&*bytes(len), at));
            let back = Vec::from(slim);
            assert_eq!(
                (&*back, back.as_ptr(), back.capacity()),
                (&*bytes(len), at, len)
            );
        }
    }

    #[test]
    fn what_is_changed_is_changed_in_one_place() {
        for len in lengths() {
            let mut slim = Slim::from(&*bytes(len));
            let copy = slim.clone();
            slim.iter_mut().for_each(|byte| *byte = !*byte);
            assert_eq!(*copy, *bytes(len));
            assert!(slim.iter().zip(&*copy).all(|(a, b)| *a == !b));
            assert_eq!(std::mem::take(&mut slim).len(), len);
            assert!(slim.is_empty());
        }
    }

    #[test]
    fn tells_what_it_has_allocated() {
        assert_eq!(Slim::default().heap_size(), 0);
        assert_eq!(Slim::from(&[0; 17][..]).heap_size(), 32);
        let wide = LONGEST + 1;
        assert_eq!(
            Slim::from(bytes(wide)).heap_size(),
            heap::rounded(wide) + 16
        );
    }

    #[test]
    fn goes_from_one_thread_to_another() {
        let there = Slim::from(bytes(100));
        let back = std::thread::spawn(move || {
            assert_eq!(*there, *bytes(100));
            there
        });
        assert_eq!(back.join().unwrap().len(), 100);
    }

    /// A place where neither is aligned as its pointer would be.
    #[repr(C)]
    struct Odd<T>(u32, T);

    #[test]
    fn a_box_at_a_multiple_of_four_is_one_and_drops_once() {
        let shared = Rc::new(5);
        for skew in 0..2 {
            let mut boxes: Vec<_> = (0..4)
                .map(|_| Odd(0, SlimBox::new((shared.clone(), 1u64))))
                .collect();
            assert_eq!(size_of_val(&boxes[0]), 12);
            for Odd(_, it) in &mut boxes {
                let (five, one) = &mut **it;
                *one += skew;
                assert_eq!((**five, *one), (5, 1 + skew));
            }
            let copies: Vec<_> = boxes.iter().map(|odd| odd.1.clone()).collect();
            assert_eq!(Rc::strong_count(&shared), 9);
            drop(boxes);
            assert_eq!(Rc::strong_count(&shared), 5);
            assert_eq!(copies[3].1, 1 + skew);
        }
        assert_eq!(Rc::strong_count(&shared), 1);
    }

    #[test]
    fn either_is_told_from_the_other_by_the_length() {
        #[derive(Clone, Debug)]
        enum Either {
            Bytes(Slim),
            Box(SlimBox<u64>),
        }
        assert_eq!((size_of::<Either>(), align_of::<Either>()), (12, 4));
        for len in lengths() {
            for odd in [
                Odd(0, Either::Bytes(bytes(len).into())),
                Odd(0, Either::Box(SlimBox::new(len as u64))),
            ] {
                match odd.1.clone() {
                    Either::Bytes(it) => assert_eq!(it.len(), len),
                    Either::Box(it) => assert_eq!(*it, len as u64),
                }
            }
        }
    }
}
