//! HyperLogLogs: strings that estimate how many different elements were added to them.
//!
//! The value is a plain string, byte for byte as Redis has it:
//!
//! ```text
//! "HYLL" | encoding (1 byte) | 3 bytes unused | cached cardinality (8 bytes, little endian) | registers
//! ```
//! The highest bit of the cardinality says that it is out of date. There are 2^14 registers of 6 bits; how they are
//! stored is up to the encoding, [`dense`] or [`sparse`]. As anybody may SET any bytes, nothing here trusts them:
//! what is no HyperLogLog at all is [`Invalid`], what does not hold exactly its registers is [`Corrupt`].

pub mod dense;
mod estimate;
pub mod hash;
mod selftest;
pub mod sparse;

pub use estimate::Histogram;
pub use selftest::{SelfTestError, self_test};
use sparse::{Place, Raised};

/// Number of registers.
pub const REGISTERS: usize = 1 << 14;
/// Bytes before the registers.
pub const HEADER: usize = 16;

const MAGIC: &[u8] = b"HYLL";
/// Position of the encoding.
const ENCODING: usize = 4;
/// Position of the cached cardinality.
const CARDINALITY: usize = 8;
/// In the last byte of the cardinality.
const OUTDATED: u8 = 0x80;

/// Every register, a byte each: what several HyperLogLogs have in common.
#[derive(Debug, Clone)]
pub struct Registers(Box<[u8; REGISTERS]>);

impl Default for Registers {
    /// All of them zero.
    fn default() -> Self {
        Registers(Box::new([0; REGISTERS]))
    }
}

impl Registers {
    /// Raises registers to those of a HyperLogLog. On an error some of them are raised.
    pub fn merge(&mut self, hll: Hll<'_>) -> Result<(), Corrupt> {
        match hll.encoding {
            Encoding::Dense => {
                dense::merge_into(hll.body, &mut self.0);
                Ok(())
            }
            Encoding::Sparse => sparse::merge_into(hll.body, &mut self.0),
        }
    }

    /// Estimates the cardinality.
    pub fn count(&self) -> u64 {
        Histogram::of(self.0.as_chunks().0.iter().copied()).cardinality()
    }
}

/// How the registers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Six bits each.
    Dense,
    /// Runs of equal registers.
    Sparse,
}

impl Encoding {
    /// The name that PFDEBUG prints.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Dense => "dense",
            Encoding::Sparse => "sparse",
        }
    }

    const fn tag(self) -> u8 {
        match self {
            Encoding::Dense => 0,
            Encoding::Sparse => 1,
        }
    }
}

/// The string is no HyperLogLog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

/// The string says that it is a HyperLogLog, but its runs do not add up to the registers that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt;

/// A HyperLogLog, to be read.
#[derive(Debug, Clone, Copy)]
pub struct Hll<'a> {
    encoding: Encoding,
    header: &'a [u8; HEADER],
    body: &'a [u8],
}

impl<'a> Hll<'a> {
    /// Takes a string for a HyperLogLog, if it looks like one.
    pub fn of(bytes: &'a [u8]) -> Result<Hll<'a>, Invalid> {
        let (header, body) = bytes.split_first_chunk::<HEADER>().ok_or(Invalid)?;
        let encoding = match header[ENCODING] {
            0 if body.len() == dense::SIZE => Encoding::Dense,
            1 => Encoding::Sparse,
            _ => return Err(Invalid),
        };
        if !header.starts_with(MAGIC) {
            return Err(Invalid);
        }
        Ok(Hll {
            encoding,
            header,
            body,
        })
    }

    /// How the registers are stored.
    pub fn encoding(self) -> Encoding {
        self.encoding
    }

    /// The bytes of the registers.
    pub fn body(self) -> &'a [u8] {
        self.body
    }

    /// The cardinality as of the last count, unless elements were added since.
    pub fn cached(self) -> Option<u64> {
        let (_, cardinality) = self.header.split_last_chunk::<8>()?;
        let outdated = cardinality[7] & OUTDATED != 0;
        (!outdated).then(|| u64::from_le_bytes(*cardinality))
    }

    /// Estimates the cardinality.
    pub fn count(self) -> Result<u64, Corrupt> {
        let histogram = match self.encoding {
            Encoding::Dense => dense::histogram(self.body),
            Encoding::Sparse => sparse::histogram(self.body)?,
        };
        Ok(histogram.cardinality())
    }
}

/// An empty HyperLogLog: sparse, one run of zeros.
pub fn empty() -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[ENCODING] = Encoding::Sparse.tag();
    sparse::write_empty(&mut bytes);
    bytes
}

/// Remembers the cardinality of a HyperLogLog.
pub fn cache(bytes: &mut [u8], cardinality: u64) {
    if let Some(cached) = bytes.get_mut(CARDINALITY..HEADER) {
        cached.copy_from_slice(&cardinality.to_le_bytes());
    }
}

/// Forgets the cardinality of a HyperLogLog: elements were added.
pub fn outdate(bytes: &mut [u8]) {
    if let Some(last) = bytes.get_mut(HEADER - 1) {
        *last |= OUTDATED;
    }
}

/// A HyperLogLog, to be changed. The string must be one: see [`Hll::of`].
#[derive(Debug)]
pub struct HllMut<'a> {
    bytes: &'a mut Vec<u8>,
    encoding: Encoding,
    /// Most bytes of a sparse one.
    sparse_max: usize,
}

impl<'a> HllMut<'a> {
    /// Takes a string for a HyperLogLog, if it looks like one.
    pub fn of(bytes: &'a mut Vec<u8>, sparse_max: usize) -> Result<HllMut<'a>, Invalid> {
        let encoding = Hll::of(bytes)?.encoding;
        Ok(HllMut {
            bytes,
            encoding,
            sparse_max,
        })
    }

    /// How the registers are stored.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The same, to be read.
    pub fn view(&self) -> Result<Hll<'_>, Invalid> {
        Hll::of(self.bytes)
    }

    /// Adds elements; returns how many of them raised a register. On an error nothing has changed.
    pub fn add_all(&mut self, elements: &[&[u8]]) -> Result<u64, Corrupt> {
        // A corrupt HyperLogLog may take some of the elements before it refuses one. A single one it takes or refuses.
        if self.encoding == Encoding::Sparse && elements.len() > 1 {
            let before = self.bytes.clone();
            let raised = self.add_each(elements);
            if raised.is_err() {
                *self.bytes = before;
                self.encoding = Encoding::Sparse;
            }
            return raised;
        }
        self.add_each(elements)
    }

    fn add_each(&mut self, elements: &[&[u8]]) -> Result<u64, Corrupt> {
        let mut raised = 0;
        for element in elements {
            let (register, run) = hash::place(element);
            raised += u64::from(self.raise(register, run)?);
        }
        Ok(raised)
    }

    /// Raises one register, if it is lower; returns whether it was. Changes nothing on an error.
    pub fn raise(&mut self, register: usize, value: u8) -> Result<bool, Corrupt> {
        let mut from = Place::START;
        self.raise_from(&mut from, register, value)
    }

    /// The same, if the register is not before a place; moves the place on.
    fn raise_from(
        &mut self,
        from: &mut Place,
        register: usize,
        value: u8,
    ) -> Result<bool, Corrupt> {
        if self.encoding == Encoding::Sparse {
            let raised = sparse::raise(self.bytes, from, register, value, self.sparse_max)?;
            if raised != Raised::NoRoom {
                return Ok(raised == Raised::Yes);
            }
            self.make_dense()?;
        }
        Ok(dense::raise(self.body_mut(), register, value))
    }

    /// Stores the registers densely; returns whether they were not yet. Changes nothing on an error.
    pub fn make_dense(&mut self) -> Result<bool, Corrupt> {
        if self.encoding == Encoding::Dense {
            return Ok(false);
        }
        let (header, body) = self.bytes.split_at(HEADER);
        let mut registers = Registers::default();
        sparse::merge_into(body, &mut registers.0)?;
        let mut bytes = Vec::with_capacity(HEADER + dense::SIZE);
        bytes.extend_from_slice(header);
        bytes[ENCODING] = Encoding::Dense.tag();
        dense::write(&registers.0, &mut bytes);
        *self.bytes = bytes;
        self.encoding = Encoding::Dense;
        Ok(true)
    }

    /// Raises every register to at least these. What is read from a HyperLogLog and merged back is never corrupt.
    pub fn raise_all(&mut self, registers: &Registers) -> Result<(), Corrupt> {
        let mut from = Place::START;
        for (register, value) in registers.0.iter().enumerate() {
            if *value > 0 {
                self.raise_from(&mut from, register, *value)?;
            }
        }
        Ok(())
    }

    fn body_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(HEADER..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
