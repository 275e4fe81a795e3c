//! Asking memory for something before it is needed.

/// Has the processor fetch the beginning of a value, and does not wait for it. Only the time changes that a look at it takes soon
/// after.
///
/// Reading the value instead does not do: what is decided by what was read, and nearly everything is, waits for it, and so
/// whatever comes behind.
#[inline(always)]
pub fn fetch<T: ?Sized>(value: &T) {
    fetch_at(std::ptr::from_ref(value).cast());
}

/// As [`fetch`], all of a value that is no longer than a line of the cache, but may lie in two.
#[inline(always)]
pub fn fetch_whole<T>(value: &T) {
    let first = std::ptr::from_ref(value).cast::<i8>();
    fetch_at(first);
    if size_of::<T>() > 1 {
        fetch_at(first.wrapping_add(size_of::<T>() - 1));
    }
}

#[inline(always)]
fn fetch_at(_at: *const i8) {
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "there is no safe name for the instruction")]
    // SAFETY: a hint that changes nothing a program can see, whatever the address is; all processors of this kind know it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(_at);
    }
    #[cfg(target_arch = "aarch64")]
    #[expect(unsafe_code, reason = "there is no safe name for the instruction")]
    // SAFETY: as above; it writes nothing, and no flag.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) _at, options(nostack, readonly, preserves_flags));
    }
}
