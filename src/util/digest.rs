//! Checksums and digests: SHA-1, SHA-256, XXH3, and the CRCs of cluster slots and of RDB.

use sha1::Digest as _;

/// SHA-1.
pub fn sha1(data: &[u8]) -> [u8; 20] {
    sha1::Sha1::digest(data).into()
}

/// SHA-1 as forty lower-case hex digits, as script names have it.
pub fn sha1_hex(data: &[u8]) -> [u8; 40] {
    hex(&sha1::Sha1::digest(data))
}

/// SHA-256 as 64 lower-case hex digits, as ACL passwords have it.
pub fn sha256_hex(data: &[u8]) -> [u8; 64] {
    hex(&sha2::Sha256::digest(data))
}

/// XXH3 of 64 bits with seed 0, as DIGEST and IFDEQ have it.
pub fn xxh3_64(data: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(data)
}

/// Sixteen lower-case hex digits, leading zeros included.
pub fn hex_u64(value: u64) -> [u8; 16] {
    hex(&value.to_be_bytes())
}

/// Lower-case hex of the first `N / 2` bytes; `N` is twice the length of `raw`.
pub fn hex<const N: usize>(raw: &[u8]) -> [u8; N] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = [b'0'; N];
    for (pair, byte) in out.chunks_exact_mut(2).zip(raw) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    out
}

/// CRC-16/XMODEM, the hash of cluster slots.
pub fn crc16(data: &[u8]) -> u16 {
    data.iter().fold(0, |crc, &byte| {
        (crc << 8) ^ CRC16[usize::from((crc >> 8) as u8 ^ byte)]
    })
}

/// CRC-64 of Jones as RDB files and DUMP payloads carry it (reflected, initial value 0, no final xor).
/// Feed the result back in as `crc` to go on where an earlier call ended.
pub fn crc64(crc: u64, data: &[u8]) -> u64 {
    let (words, tail) = data.as_chunks::<8>();
    let crc = words.iter().fold(crc, |crc, word| {
        let bytes = (crc ^ u64::from_le_bytes(*word)).to_le_bytes();
        let mut next = 0;
        for (table, byte) in CRC64.iter().rev().zip(bytes) {
            next ^= table[usize::from(byte)];
        }
        next
    });
    tail.iter().fold(crc, |crc, &byte| {
        CRC64[0][usize::from(crc as u8 ^ byte)] ^ (crc >> 8)
    })
}

/// The checksum, begun with `crc`, of `zeros` zero bytes: what a piece counts for when so many bytes follow it. With it
/// the checksum of a whole is put together from those of its parts.
pub fn crc64_shifted(crc: u64, zeros: u64) -> u64 {
    // A polynomial over two elements, the lowest power in the highest bit; zeros multiply it by x^8 each.
    const ONE: u64 = 1 << 63;
    let times = |a: u64, b: u64| {
        let (mut a, mut product) = (a, 0);
        for bit in (0..64).rev() {
            if b & (1 << bit) != 0 {
                product ^= a;
            }
            a = (a >> 1) ^ if a & 1 != 0 { CRC64_POLY } else { 0 };
        }
        product
    };
    let (mut power, mut left, mut factor) = (ONE >> 8, zeros, ONE);
    while left > 0 {
        if left & 1 != 0 {
            factor = times(factor, power);
        }
        power = times(power, power);
        left >>= 1;
    }
    times(crc, factor)
}

/// The polynomial of CRC-64, reflected.
const CRC64_POLY: u64 = 0xad93_d235_94c9_35a9_u64.reverse_bits();

static CRC16: [u16; 256] = crc16_table();
/// `CRC64[k][b]` is the checksum of byte `b` followed by `k` zero bytes.
static CRC64: [[u64; 256]; 8] = crc64_tables();

const fn crc16_table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc << 1) ^ if crc & 0x8000 != 0 { 0x1021 } else { 0 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

const fn crc64_tables() -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 != 0 { CRC64_POLY } else { 0 };
            bit += 1;
        }
        tables[0][i] = crc;
        i += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut i = 0;
        while i < 256 {
            let prev = tables[k - 1][i];
            tables[k][i] = tables[0][(prev & 0xff) as usize] ^ (prev >> 8);
            i += 1;
        }
        k += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn published_check_values_hold() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc64(0, b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc64(0, b""), 0);
        assert_eq!(
            &sha1_hex(b"return 1"),
            b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
        );
        assert_eq!(
            &sha256_hex(b""),
            b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(xxh3_64(b""), 0x2d06_8005_38d3_94c2);
    }

    #[test]
    fn hex_keeps_leading_zeros() {
        assert_eq!(&hex_u64(0xab), b"00000000000000ab");
        assert_eq!(&hex_u64(u64::MAX), b"ffffffffffffffff");
    }

    proptest! {
        #[test]
        fn checksums_of_parts_make_that_of_the_whole(
            a in prop::collection::vec(any::<u8>(), 0..50),
            b in prop::collection::vec(any::<u8>(), 0..500),
        ) {
            let shifted = crc64_shifted(crc64(0, &a), b.len() as u64);
            prop_assert_eq!(shifted ^ crc64(0, &b), crc64(0, &[a, b].concat()));
        }

        #[test]
        fn crc64_of_parts_is_crc64_of_the_whole(data in prop::collection::vec(any::<u8>(), 0..100), cut in 0usize..100) {
            let cut = cut.min(data.len());
            let bytewise = data.iter().fold(0, |crc, &byte| crc64(crc, &[byte]));
            prop_assert_eq!(crc64(0, &data), bytewise);
            prop_assert_eq!(crc64(crc64(0, &data[..cut]), &data[cut..]), bytewise);
        }
    }
}
