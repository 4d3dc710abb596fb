//! The blocks of a TSM file: up to some thousand points of one field of one series, times and values encoded apart.

mod booleans;
mod floats;
mod integers;
mod simple8b;
pub(crate) mod strings;
mod times;
mod values;

pub use values::{Points, Strings, ValueType, Values};

use crate::cursor::Cursor;
use crate::error::Malformed;

/// More points than any InfluxDB puts into a block; a corrupt count must not make us reserve memory.
const MAX_POINTS: usize = 1 << 20;

/// Kinds of blocks by their first byte.
pub(crate) const FLOAT: u8 = 0;
pub(crate) const INTEGER: u8 = 1;
pub(crate) const BOOLEAN: u8 = 2;
pub(crate) const STRING: u8 = 3;
pub(crate) const UNSIGNED: u8 = 4;

/// Decodes a block without its checksum into `points`, whose old content goes.
pub fn decode(block: &[u8], points: &mut Points) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(block);
    let kind = cursor.u8()?;
    let times_length = cursor.length()?;
    let times = cursor.take(times_length)?;
    let encoded = cursor.rest();
    points.clear();
    times::decode(times, &mut points.times)?;
    let count = points.times.len();
    match kind {
        FLOAT => floats::decode(encoded, count, points.values.floats())?,
        INTEGER => integers::decode(encoded, points.values.integers())?,
        BOOLEAN => booleans::decode(encoded, points.values.booleans())?,
        STRING => strings::decode(encoded, points.values.strings())?,
        UNSIGNED => integers::decode_unsigned(encoded, points.values.unsigned())?,
        _ => return Err(Malformed("unknown type of block")),
    }
    if points.values.len() != count {
        return Err(Malformed("a block has not as many values as times"));
    }
    // They are in order but for the blocks of some early versions.
    points.sort();
    Ok(())
}

/// The type of the values in blocks of a kind.
pub(crate) const fn value_type(kind: u8) -> Result<ValueType, Malformed> {
    match kind {
        FLOAT => Ok(ValueType::Float),
        INTEGER => Ok(ValueType::Integer),
        BOOLEAN => Ok(ValueType::Boolean),
        STRING => Ok(ValueType::String),
        UNSIGNED => Ok(ValueType::Unsigned),
        _ => Err(Malformed("unknown type of block")),
    }
}

/// A count, where it is possible.
fn checked_count(count: usize) -> Result<usize, Malformed> {
    if count > MAX_POINTS { Err(Malformed("a block states too many points")) } else { Ok(count) }
}

fn zigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests;
