//! An allocator that counts what the whole process holds, whichever thread asked for it.
#![expect(
    unsafe_code,
    reason = "nothing else can be asked by the allocator's users"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};

static BLOCKS: AtomicIsize = AtomicIsize::new(0);
static BYTES: AtomicIsize = AtomicIsize::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(blocks: isize, bytes: isize) {
    BLOCKS.fetch_add(blocks, Ordering::Relaxed);
    BYTES.fetch_add(bytes, Ordering::Relaxed);
}

// SAFETY: all is left to the system's; the counters are plain numbers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size().cast_signed());
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-1, -layout.size().cast_signed());
        // SAFETY: as the caller's.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(0, size.cast_signed() - layout.size().cast_signed());
        // SAFETY: as the caller's.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

/// What the process has got from the allocator and not given back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) blocks: isize,
    pub(crate) bytes: isize,
}

impl Held {
    pub(crate) fn now() -> Self {
        Self {
            blocks: BLOCKS.load(Ordering::Relaxed),
            bytes: BYTES.load(Ordering::Relaxed),
        }
    }

    /// How much more that is than it was then.
    pub(crate) fn since(self, then: Self) -> Self {
        Self {
            blocks: self.blocks - then.blocks,
            bytes: self.bytes - then.bytes,
        }
    }
}
