//! HyperLogLogs: strings that estimate how many different elements were added to them.
//!
//! ```text
//!  "HYLL"  encoding  0 0 0  count (64 bits, little endian)  registers
//!          0 dense                                          16,384 numbers of 6 bits, 12,288 bytes
//!          1 sparse                                         runs of equal registers
//! ```
//! An element's hash chooses a register, and the register keeps the longest run of zeros seen in
//! the rest of the hash. The bytes are those of Redis, bit for bit, since GET and DUMP show them and
//! other servers load them. The highest bit of the count says that it is out of date.

mod dense;
mod estimate;
mod murmur;
mod sparse;

/// How many registers there are.
pub const REGISTERS: usize = 1 << INDEX_BITS;

/// Bits of a hash that choose the register.
const INDEX_BITS: u32 = 14;
/// Bits of a hash in which zeros are counted.
const VALUE_BITS: u32 = 64 - INDEX_BITS;

const MAGIC: &[u8; 4] = b"HYLL";
const ENCODING_AT: usize = 4;
const COUNT_AT: usize = 8;
const HEADER: usize = 16;
const STALE: u64 = 1 << 63;

/// How the registers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Each in six bits.
    Dense,
    /// As runs.
    Sparse,
}

/// The bytes begin as a HyperLogLog does, and do not describe one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("INVALIDOBJ Corrupted HLL object detected")]
pub struct Corrupted;

/// A HyperLogLog without elements: 18 bytes.
pub fn empty() -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes[ENCODING_AT] = 1;
    sparse::push_zeros(&mut bytes, REGISTERS);
    bytes
}

/// What kind of HyperLogLog the bytes claim to be; `None` if they are another string.
pub fn encoding(bytes: &[u8]) -> Option<Encoding> {
    if bytes.len() < HEADER || !bytes.starts_with(MAGIC) {
        return None;
    }
    match bytes[ENCODING_AT] {
        0 => (bytes.len() == HEADER + dense::BYTES).then_some(Encoding::Dense),
        1 => Some(Encoding::Sparse),
        _ => None,
    }
}

/// The encoding of what the caller has found to be a HyperLogLog.
fn known(bytes: &[u8]) -> Encoding {
    encoding(bytes).expect("the caller has asked for the encoding")
}

/// Adds an element; true if that changed a register. Past `sparse_max` bytes it becomes dense.
///
/// # Errors
/// The runs do not describe all registers.
///
/// # Panics
/// If [`encoding`] does not know the bytes; the same holds below.
pub fn add(bytes: &mut Vec<u8>, element: &[u8], sparse_max: usize) -> Result<bool, Corrupted> {
    let (index, value) = place(element);
    raise(bytes, index, value, sparse_max)
}

/// The register that an element belongs to, and the least that it holds from then on.
fn place(element: &[u8]) -> (usize, u8) {
    const SEED: u64 = 0xadc8_3b19;
    let hash = murmur::hash64a(element, SEED);
    // The bit behind the last ends the run of zeros.
    let rest = hash >> INDEX_BITS | 1 << VALUE_BITS;
    (hash as usize % REGISTERS, rest.trailing_zeros() as u8 + 1)
}

/// Makes a register hold at least `value`; true if that changed it.
///
/// # Errors
/// As [`add`].
pub fn raise(
    bytes: &mut Vec<u8>,
    index: usize,
    value: u8,
    sparse_max: usize,
) -> Result<bool, Corrupted> {
    if known(bytes) == Encoding::Dense {
        return Ok(dense::raise(&mut bytes[HEADER..], index, value));
    }
    match sparse::raise(bytes, index, value, sparse_max)? {
        sparse::Raised::No => Ok(false),
        sparse::Raised::Yes => {
            mark_stale(bytes);
            Ok(true)
        }
        sparse::Raised::DoesNotFit => {
            to_dense(bytes)?;
            Ok(dense::raise(&mut bytes[HEADER..], index, value))
        }
    }
}

/// Makes it dense; true if it was not.
///
/// # Errors
/// As [`add`].
pub fn to_dense(bytes: &mut Vec<u8>) -> Result<bool, Corrupted> {
    if known(bytes) == Encoding::Dense {
        return Ok(false);
    }
    let mut dense = vec![0; HEADER + dense::BYTES];
    dense[..HEADER].copy_from_slice(&bytes[..HEADER]);
    dense[ENCODING_AT] = 0;
    sparse::each(&bytes[HEADER..], |index, value| {
        dense::raise(&mut dense[HEADER..], index, value);
    })?;
    *bytes = dense;
    Ok(true)
}

/// The estimate that was last made, if nothing has changed since.
pub fn cached_count(bytes: &[u8]) -> Option<u64> {
    let count = bytes[COUNT_AT..HEADER].try_into().expect("the count has eight bytes");
    let count = u64::from_le_bytes(count);
    (count & STALE == 0).then_some(count)
}

/// Keeps an estimate for [`cached_count`].
pub fn cache_count(bytes: &mut [u8], count: u64) {
    bytes[COUNT_AT..HEADER].copy_from_slice(&count.to_le_bytes());
}

/// The estimate that is kept is out of date.
pub fn mark_stale(bytes: &mut [u8]) {
    bytes[HEADER - 1] |= 0x80;
}

/// About how many different elements were added.
///
/// # Errors
/// As [`add`].
pub fn count(bytes: &[u8]) -> Result<u64, Corrupted> {
    Ok(Registers::of(bytes)?.count())
}

/// The runs of a sparse one as PFDEBUG DECODE shows them; `None` for a dense one.
pub fn describe(bytes: &[u8]) -> Option<String> {
    (known(bytes) == Encoding::Sparse).then(|| sparse::describe(&bytes[HEADER..]))
}

/// The largest values of the registers of some HyperLogLogs: what they are together.
#[derive(Clone, Debug)]
pub struct Registers(Box<[u8; REGISTERS]>);

impl Default for Registers {
    fn default() -> Self {
        Self(Box::new([0; REGISTERS]))
    }
}

impl Registers {
    /// Those of one HyperLogLog.
    ///
    /// # Errors
    /// As [`add`].
    pub fn of(bytes: &[u8]) -> Result<Self, Corrupted> {
        let mut registers = Self::default();
        registers.merge(bytes)?;
        Ok(registers)
    }

    /// Takes in another HyperLogLog.
    ///
    /// # Errors
    /// As [`add`]; some registers may have been taken in.
    pub fn merge(&mut self, bytes: &[u8]) -> Result<(), Corrupted> {
        let raise = |index: usize, value: u8| self.0[index] = self.0[index].max(value);
        match known(bytes) {
            Encoding::Dense => {
                dense::each(&bytes[HEADER..], raise);
                Ok(())
            }
            Encoding::Sparse => sparse::each(&bytes[HEADER..], raise),
        }
    }

    /// About how many different elements were added.
    pub fn count(&self) -> u64 {
        let mut histogram: estimate::Histogram = [0; 64];
        for &value in &*self.0 {
            histogram[usize::from(value)] += 1;
        }
        estimate::count(&histogram)
    }

    /// The registers themselves.
    pub fn values(&self) -> &[u8; REGISTERS] {
        &self.0
    }

    /// Raises the registers of a HyperLogLog to these.
    ///
    /// # Errors
    /// As [`add`].
    pub fn raise(&self, bytes: &mut Vec<u8>, sparse_max: usize) -> Result<(), Corrupted> {
        for (index, &value) in self.0.iter().enumerate() {
            if value > 0 {
                raise(bytes, index, value, sparse_max)?;
            }
        }
        mark_stale(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
