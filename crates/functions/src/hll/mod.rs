//! HyperLogLog++ sketches (Heule, Nunkesser, Hall: "HyperLogLog in Practice", 2013) in InfluxDB's printed
//! form: `HLL_` and the base64 of version, precision and registers, sparse or dense.
//!
//! The order of a sparse sketch's pending values in print is InfluxDB's chance and ascending here; both
//! read the other's.

mod bias;

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use xxhash_rust::xxh64::xxh64;

const PREFIX: &str = "HLL_";
/// In place of a sketch: why there is none.
pub const ERROR_PREFIX: &str = "HLLERROR ";
const VERSION: u8 = 1;
const PRECISION: u8 = 16;
/// The precision of sparse sketches.
const SPARSE_PRECISION: u8 = 25;
const REGISTERS: usize = 1 << PRECISION;
/// Estimates from empty registers count up to here.
const LINEAR_COUNT_MAX: f64 = 50_000.0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SketchError {
    #[error("bad prefix for hll.Plus")]
    Prefix,
    #[error("malformed hll.Plus")]
    Malformed,
    #[error("precisions must be equal")]
    Precision,
}

/// A set's cardinality in bounded space.
#[derive(Debug, Clone)]
pub enum Sketch {
    Sparse {
        /// Codes not yet merged into the list.
        pending: BTreeSet<u32>,
        /// Ascending codes.
        list: Vec<u32>,
    },
    Dense(Vec<u8>),
}

impl Default for Sketch {
    fn default() -> Self {
        Self::Sparse { pending: BTreeSet::new(), list: Vec::new() }
    }
}

impl Sketch {
    pub fn add(&mut self, value: &[u8]) {
        let hash = xxh64(value, 0);
        match self {
            Self::Sparse { pending, list } => {
                pending.insert(code(hash));
                if pending.len() * 100 > REGISTERS {
                    merge_pending(pending, list);
                    if compressed(list).len() > REGISTERS {
                        self.densify();
                    }
                }
            }
            Self::Dense(registers) => {
                let rest = hash << PRECISION | 1 << (PRECISION - 1);
                raise(registers, (hash >> (64 - PRECISION)) as usize, rest.leading_zeros() as u8 + 1);
            }
        }
    }

    pub fn merge(&mut self, other: &Self) {
        let registers = self.densify();
        match other {
            Self::Sparse { pending, list } => {
                for &code in pending.iter().chain(list) {
                    let (index, rank) = decode(code);
                    raise(registers, index, rank);
                }
            }
            Self::Dense(others) => {
                for (index, &rank) in others.iter().enumerate() {
                    raise(registers, index, rank);
                }
            }
        }
    }

    /// The estimated number of different values.
    pub fn count(&self) -> u64 {
        match self {
            Self::Sparse { pending, list } => {
                let new = pending.iter().filter(|code| list.binary_search(code).is_err()).count();
                let total = f64::from(1_u32 << SPARSE_PRECISION);
                linear_count(total, total - (list.len() + new) as f64) as u64
            }
            Self::Dense(registers) => estimate(registers),
        }
    }

    /// Turns into the dense form.
    fn densify(&mut self) -> &mut Vec<u8> {
        if let Self::Sparse { pending, list } = self {
            let mut registers = vec![0; REGISTERS];
            for &code in pending.iter().chain(list.iter()) {
                let (index, rank) = decode(code);
                raise(&mut registers, index, rank);
            }
            *self = Self::Dense(registers);
        }
        match self {
            Self::Dense(registers) => registers,
            Self::Sparse { .. } => unreachable!("made dense above"),
        }
    }

    pub fn print(&self) -> String {
        let mut bytes = vec![VERSION, PRECISION];
        match self {
            Self::Sparse { pending, list } => {
                bytes.push(1);
                put(&mut bytes, pending.len() as u32);
                for &code in pending {
                    put(&mut bytes, code);
                }
                put(&mut bytes, list.len() as u32);
                put(&mut bytes, list.last().copied().unwrap_or(0));
                let packed = compressed(list);
                put(&mut bytes, packed.len() as u32);
                bytes.extend(packed);
            }
            Self::Dense(registers) => {
                bytes.push(0);
                put(&mut bytes, registers.len() as u32);
                bytes.extend(registers);
            }
        }
        format!("{PREFIX}{}", STANDARD.encode(bytes))
    }

    /// `None` for the empty print `HLL_`.
    pub fn parse(text: &str) -> Result<Option<Self>, SketchError> {
        let body = text.strip_prefix(PREFIX).ok_or(SketchError::Prefix)?;
        if body.is_empty() {
            return Ok(None);
        }
        let bytes = STANDARD.decode(body).map_err(|_| SketchError::Malformed)?;
        let [_, precision, sparse, rest @ ..] = bytes.as_slice() else { return Err(SketchError::Malformed) };
        if *precision != PRECISION {
            return Err(SketchError::Precision);
        }
        let sketch = if *sparse == 1 { parse_sparse(rest) } else { parse_dense(rest) };
        sketch.map(Some).ok_or(SketchError::Malformed)
    }
}

fn parse_sparse(mut bytes: &[u8]) -> Option<Sketch> {
    let pending_count = take(&mut bytes)? as usize;
    if bytes.len() / 4 < pending_count {
        return None;
    }
    let pending = (0..pending_count).map(|_| take(&mut bytes)).collect::<Option<BTreeSet<u32>>>()?;
    let (count, _last, length) = (take(&mut bytes)?, take(&mut bytes)?, take(&mut bytes)?);
    let packed = bytes.get(..length as usize)?;
    let mut list = Vec::new();
    let (mut code, mut delta, mut shift) = (0_u32, 0_u32, 0);
    for byte in packed {
        delta |= u32::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        if byte & 0x80 == 0 {
            code = code.checked_add(delta)?;
            list.push(code);
            (delta, shift) = (0, 0);
        }
    }
    (list.len() == count as usize && shift == 0 && list.is_sorted())
        .then_some(Sketch::Sparse { pending, list })
}

fn parse_dense(mut bytes: &[u8]) -> Option<Sketch> {
    let length = take(&mut bytes)? as usize;
    let ranks_fit = bytes.iter().all(|rank| *rank <= 64 - PRECISION + 1);
    (length == REGISTERS && bytes.len() == REGISTERS && ranks_fit).then(|| Sketch::Dense(bytes.to_vec()))
}

fn put(bytes: &mut Vec<u8>, number: u32) {
    bytes.extend(number.to_be_bytes());
}

fn take(bytes: &mut &[u8]) -> Option<u32> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_be_bytes(*number))
}

fn raise(registers: &mut [u8], index: usize, rank: u8) {
    if registers[index] < rank {
        registers[index] = rank;
    }
}

/// `length` bits of `x` from bit `start` on.
fn bits(x: u64, start: u8, length: u8) -> u64 {
    x >> start & ((1 << length) - 1)
}

/// A hash in 32 bits: the sparse index, and the rank where the index does not tell it.
fn code(hash: u64) -> u32 {
    const REST: u8 = 64 - SPARSE_PRECISION;
    let index = bits(hash, REST, SPARSE_PRECISION) as u32;
    if bits(hash, REST, SPARSE_PRECISION - PRECISION) != 0 {
        return index << 1;
    }
    let rest = bits(hash, 0, REST) << SPARSE_PRECISION | ((1 << SPARSE_PRECISION) - 1);
    let rank = rest.leading_zeros() + 1;
    index << 7 | rank << 1 | 1
}

/// The dense register and rank of a code.
fn decode(code: u32) -> (usize, u8) {
    if code & 1 == 1 {
        let rank = bits(code.into(), 1, 6) as u8 + SPARSE_PRECISION - PRECISION;
        ((code >> (32 - PRECISION)) as usize, rank)
    } else {
        let rank = (code << (32 - SPARSE_PRECISION + PRECISION - 1)).leading_zeros() as u8 + 1;
        (bits(code.into(), SPARSE_PRECISION - PRECISION + 1, PRECISION) as usize, rank)
    }
}

fn merge_pending(pending: &mut BTreeSet<u32>, list: &mut Vec<u32>) {
    list.extend(std::mem::take(pending));
    list.sort_unstable();
    list.dedup();
}

/// Differences of the ascending codes, seven bits a byte, the low ones first.
fn compressed(list: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut last = 0;
    for &code in list {
        let mut delta = code - last;
        last = code;
        while delta > 0x7f {
            bytes.push(delta as u8 | 0x80);
            delta >>= 7;
        }
        bytes.push(delta as u8);
    }
    bytes
}

fn linear_count(total: f64, empty: f64) -> f64 {
    total * (total / empty).ln()
}

fn estimate(registers: &[u8]) -> u64 {
    let m = REGISTERS as f64;
    let alpha = 0.7213 / (1.0 + 1.079 / m);
    let sum = registers.iter().fold(0.0, |sum, &rank| sum + 1.0 / (1_u64 << rank) as f64);
    let empty = registers.iter().filter(|rank| **rank == 0).count();
    let raw = alpha * m * m / sum;
    if empty > 0 {
        let linear = linear_count(m, empty as f64);
        if linear <= LINEAR_COUNT_MAX {
            return linear as u64;
        }
    }
    if raw <= 5.0 * m { (raw - bias::of(raw)) as u64 } else { raw as u64 }
}
