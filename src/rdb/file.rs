//! The frame of an RDB file: what stands between the objects.
//!
//! ```text
//! file     = "REDIS" version(4 digits) item* 255 crc64:u64le     the checksum from version 5 on; 0 where none was made
//! item     = 250 key:string value:string                        a fact about the file
//!          | 254 db:length                                       what follows is in this database
//!          | 251 keys:length expiring:length                     how large it is
//!          | 245 code:string                                     a library of functions
//!          | 247 …                                               what a module wrote beside its values
//!          | [253 seconds:i32le | 252 millis:i64le] [248 idle:length | 249 frequency:u8] tag key:string object
//! ```

use super::{Corrupt, Reader, Tag};

/// The bytes that are no tags.
pub mod opcode {
    /// A slot of a cluster, as Valkey writes it: three lengths.
    pub const SLOT_INFO: u8 = 244;
    /// A library of functions.
    pub const FUNCTION: u8 = 245;
    /// The same, as release candidates of 7.0 wrote it.
    pub const FUNCTION_OLD: u8 = 246;
    /// What a module wrote beside its values.
    pub const MODULE_AUX: u8 = 247;
    /// Seconds since the last access of the next key.
    pub const IDLE: u8 = 248;
    /// How often the next key is used.
    pub const FREQUENCY: u8 = 249;
    /// A fact about the file.
    pub const AUX: u8 = 250;
    /// How large the database is.
    pub const SIZES: u8 = 251;
    /// Deadline of the next key in milliseconds.
    pub const DEADLINE_MS: u8 = 252;
    /// Deadline of the next key in seconds.
    pub const DEADLINE: u8 = 253;
    /// What follows is in this database.
    pub const SELECT: u8 = 254;
    /// The end.
    pub const END: u8 = 255;
}

/// Bytes of the header.
pub const HEADER: usize = 9;

/// The first version whose files end in a checksum.
pub const CHECKSUMMED: u16 = 5;

/// The header of a file.
pub fn header(version: u16) -> [u8; HEADER] {
    let mut header = *b"REDIS0000";
    let mut rest = version;
    for digit in header.iter_mut().rev().take(4) {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    header
}

/// The version of a file that begins so.
pub fn version(header: [u8; HEADER]) -> Option<u16> {
    let digits = header.strip_prefix(b"REDIS")?;
    let mut version = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        version = version * 10 + u16::from(digit - b'0');
    }
    Some(version)
}

/// What stands between a key and the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A fact about the file.
    Aux(Vec<u8>, Vec<u8>),
    /// The database of what follows.
    Select(u64),
    /// So many keys, and so many of them with a deadline.
    Sizes(u64, u64),
    /// A library of functions.
    Function(Vec<u8>),
    /// A library of functions as release candidates of 7.0 wrote it, which nobody can read.
    FunctionOld,
    /// Something of a module of this name; it was passed over.
    ModuleAux(String),
    /// Nothing of interest.
    Other,
    /// A key; its object follows where the reader stands then.
    Key(Head<'a>),
    /// A value of a module of this name, which nobody can read.
    ModuleValue(String),
    /// The end, and the checksum if there is one.
    End(Option<u64>),
}

/// What comes before an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// What the object is.
    pub tag: Tag,
    /// The key.
    pub key: super::Blob<'a>,
    /// Its deadline, in unix milliseconds.
    pub deadline: Option<i64>,
    /// Seconds since the last access.
    pub idle: Option<u64>,
    /// How often it is used.
    pub frequency: Option<u8>,
}

/// Tags of modules' values; the first of them, of old, says nothing of its length.
pub(super) const MODULE_OLD: u8 = 6;
pub(super) const MODULE: u8 = 7;

/// Reads the next item of a file of some version.
///
/// # Errors
/// [`Corrupt`], also when the bytes end too soon.
pub fn next<'a>(r: &mut Reader<'a>, version: u16) -> Result<Item<'a>, Corrupt> {
    let (mut deadline, mut idle, mut frequency) = (None, None, None);
    loop {
        match r.byte()? {
            opcode::DEADLINE => {
                deadline = Some(i64::from(i32::from_le_bytes(r.array()?)) * 1000);
            }
            opcode::DEADLINE_MS => deadline = Some(r.millis()?),
            opcode::IDLE => idle = Some(r.length()?),
            opcode::FREQUENCY => frequency = Some(r.byte()?),
            opcode::END => {
                let sum = (version >= CHECKSUMMED).then(|| r.array());
                return Ok(Item::End(sum.transpose()?.map(u64::from_le_bytes)));
            }
            opcode::SELECT => return r.length().map(Item::Select),
            opcode::SIZES => return Ok(Item::Sizes(r.length()?, r.length()?)),
            opcode::AUX => {
                let (key, value) = (r.string()?.into_vec(), r.string()?.into_vec());
                return Ok(Item::Aux(key, value));
            }
            opcode::FUNCTION => return Ok(Item::Function(r.string()?.into_vec())),
            opcode::FUNCTION_OLD => return Ok(Item::FunctionOld),
            opcode::SLOT_INFO => {
                for _ in 0..3 {
                    r.length()?;
                }
                return Ok(Item::Other);
            }
            opcode::MODULE_AUX => {
                let name = module_name(r.length()?);
                skip_module(r)?;
                return Ok(Item::ModuleAux(name));
            }
            MODULE | MODULE_OLD => {
                r.string()?;
                return Ok(Item::ModuleValue(module_name(r.length()?)));
            }
            byte => {
                let tag = Tag::from_byte(byte).ok_or(Corrupt)?;
                return Ok(Item::Key(Head {
                    tag,
                    key: r.string()?,
                    deadline,
                    idle,
                    frequency,
                }));
            }
        }
    }
}

/// The name of a module: nine characters of six bits each, and a version in the low ten.
fn module_name(id: u64) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9)
        .rev()
        .map(|i| char::from(ALPHABET[(id >> (10 + 6 * i)) as usize & 63]))
        .collect()
}

/// Passes over what a module wrote: pieces, each with a number that says of what kind it is.
fn skip_module(r: &mut Reader<'_>) -> Result<(), Corrupt> {
    loop {
        match r.length()? {
            0 => return Ok(()),
            1 | 2 => drop(r.length()?),
            3 => drop(r.array::<4>()?),
            4 => drop(r.array::<8>()?),
            5 => drop(r.string()?),
            _ => return Err(Corrupt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_four_digits() {
        assert_eq!(&header(10), b"REDIS0010");
        assert_eq!(version(*b"REDIS0010"), Some(10));
        assert_eq!(version(*b"REDIS001x"), None);
        assert_eq!(version(*b"VALKE0010"), None);
        assert_eq!(version(header(9999)), Some(9999));
    }

    #[test]
    fn items_are_read_one_by_one() {
        let bytes = [
            &b"\xfa\x01a\x01b\xfe\x03\xfb\x02\x01"[..],
            b"\xfc\x01\0\0\0\0\0\0\0\xf8\x05\0\x01k\x01v",
            b"\xf5\x02fn\xf4\x01\x02\x03\xff\x01\0\0\0\0\0\0\0",
        ]
        .concat();
        let mut r = Reader::new(&bytes);
        let mut read = || next(&mut r, 10).unwrap();
        assert_eq!(read(), Item::Aux(b"a".to_vec(), b"b".to_vec()));
        assert_eq!(read(), Item::Select(3));
        assert_eq!(read(), Item::Sizes(2, 1));
        let Item::Key(head) = read() else {
            panic!("a key comes here")
        };
        assert_eq!(
            (head.tag, head.deadline, head.idle),
            (Tag::Str, Some(1), Some(5))
        );
        assert_eq!(r.string().unwrap().into_vec(), b"v");
        let mut read = || next(&mut r, 10).unwrap();
        assert_eq!(read(), Item::Function(b"fn".to_vec()));
        assert_eq!(read(), Item::Other);
        assert_eq!(read(), Item::End(Some(1)));
        assert!(next(&mut r, 10).is_err());
    }

    #[test]
    fn what_modules_wrote_is_passed_over_and_named() {
        // A made-up module: id of zeros, then an integer, a string, the end.
        let mut r = Reader::new(b"\xf7\x00\x02\x07\x05\x02xx\x00\xff");
        assert_eq!(
            next(&mut r, 4).unwrap(),
            Item::ModuleAux("AAAAAAAAA".into())
        );
        assert_eq!(next(&mut r, 4).unwrap(), Item::End(None));
        assert!(next(&mut Reader::new(b"\xf7\x00\x09"), 10).is_err());
    }
}
