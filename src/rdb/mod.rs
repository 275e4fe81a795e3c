//! The RDB format: how Redis writes values into files, into the payloads of DUMP and down to its replicas.
//!
//! ```text
//! payload  = tag object version:u16le crc64:u64le                what DUMP answers and RESTORE takes
//! object   = what the tag says, made of the following
//! library  = 11110101 string                                     the code of a library of functions
//!
//! length   = 00llllll                                            up to 63
//!          | 01llllll l                                          up to 16383
//!          | 10000000 l*4                                        big endian
//!          | 10000001 l*8                                        big endian
//! string   = length bytes
//!          | 11000000 i | 11000001 i*2 | 11000010 i*4            an integer, little endian: its decimal form
//!          | 11000011 packed:length unpacked:length lzf          compressed
//! double   = 8 bytes, little endian
//! old double = 253 (not a number) | 254 (+infinity) | 255 (-infinity) | length:u8 text
//! time     = 8 bytes, little endian: milliseconds
//! ```
//!
//! This layer knows bytes only. [`Reader`] takes them apart without copying and never trusts a length further than
//! what is left of its input; [`Writer`] puts them together. What the objects are is told in `types::dump`.

mod blob;
pub mod file;
pub mod library;
pub mod payload;
mod read;
pub mod span;
mod tag;
mod write;
pub mod ziplist;
pub mod zipmap;

pub use blob::Blob;
pub use read::Reader;
pub use tag::Tag;
pub use write::Writer;

/// Bytes that are not what they should be, or that end too soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid RDB object")]
pub struct Corrupt;

/// First two bits of a length: it is in the other six.
const LEN_6: u8 = 0b00;
/// It is in the other six and the next byte.
const LEN_14: u8 = 0b01;
/// No length, but a string in another form.
const ENCODED: u8 = 0b11;
/// A length of 32 bits follows.
const LEN_32: u8 = 0x80;
/// A length of 64 bits follows.
const LEN_64: u8 = 0x81;

/// A string that is the decimal form of an 8-bit integer.
const INT_8: u8 = 0;
/// Of a 16-bit integer.
const INT_16: u8 = 1;
/// Of a 32-bit integer.
const INT_32: u8 = 2;
/// A compressed string.
const LZF: u8 = 3;

/// The old form of doubles: not a number.
const NAN: u8 = 253;
/// Positive infinity.
const INFINITY: u8 = 254;
/// Negative infinity.
const NEG_INFINITY: u8 = 255;
