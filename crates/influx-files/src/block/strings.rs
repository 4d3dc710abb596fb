//! Strings with their lengths, all compressed at once by Snappy.

use super::{Strings, checked_count};
use crate::cursor::Cursor;
use crate::error::Malformed;

const SNAPPY: u8 = 1;

/// Snappy makes of three bytes sixty-four at most. A length beyond is a lie.
const MAX_EXPANSION: usize = 32;

pub fn decode(bytes: &[u8], out: &mut Strings) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(bytes);
    if cursor.u8()? >> 4 != SNAPPY {
        return Err(Malformed("unknown encoding of strings"));
    }
    let texts = inflate(cursor.rest())?;
    let mut cursor = Cursor::new(&texts);
    while !cursor.is_empty() {
        let length = cursor.length()?;
        out.push(cursor.take(length)?);
        checked_count(out.len())?;
    }
    Ok(())
}

/// What Snappy compressed, unless its length cannot be true.
pub(crate) fn inflate(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
    let length = snap::raw::decompress_len(bytes).map_err(|_| Malformed("no Snappy data"))?;
    if length > bytes.len().saturating_mul(MAX_EXPANSION) {
        return Err(Malformed("Snappy data states an impossible length"));
    }
    snap::raw::Decoder::new().decompress_vec(bytes).map_err(|_| Malformed("corrupt Snappy data"))
}
