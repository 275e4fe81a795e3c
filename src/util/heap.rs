//! What the allocator takes for an allocation.

/// Bytes that an allocation of so many takes: allocators have four sizes between a power of two and the next, as mimalloc
/// and jemalloc do, and whole pages for large ones.
#[inline]
#[must_use]
pub const fn rounded(bytes: usize) -> usize {
    const LEAST: usize = 16;
    /// From here on pages are given, or groups of them.
    const LARGE: usize = 128 << 10;
    let step = match bytes {
        0 => return 0,
        1..=8 => return 8,
        9..=64 => LEAST,
        65..=LARGE => 1 << ((bytes - 1).ilog2() - 2),
        0x2_0001..0x8_0000 => 4 << 10,
        0x8_0000..0x20_0000 => 64 << 10,
        0x20_0000..0x80_0000 => 256 << 10,
        0x80_0000..0x200_0000 => 1 << 20,
        _ => 4 << 20,
    };
    match bytes.checked_next_multiple_of(step) {
        Some(rounded) => rounded,
        None => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_classes() {
        for (bytes, taken) in [
            (0, 0),
            (1, 8),
            (9, 16),
            (17, 32),
            (64, 64),
            (65, 80),
            (129, 160),
            (257, 320),
            (4096, 4096),
            (4097, 5120),
            (131_072, 131_072),
            (131_073, 135_168),
            (usize::MAX, usize::MAX),
        ] {
            assert_eq!(rounded(bytes), taken, "{bytes}");
        }
    }
}
