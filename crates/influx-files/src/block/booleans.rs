//! Booleans: a bit each, the first one highest.

use super::checked_count;
use crate::cursor::Cursor;
use crate::error::Malformed;

const PACKED: u8 = 1;

pub fn decode(bytes: &[u8], out: &mut Vec<bool>) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(bytes);
    if cursor.u8()? >> 4 != PACKED {
        return Err(Malformed("unknown encoding of booleans"));
    }
    let count = checked_count(cursor.length()?)?;
    let bits = cursor.take(count.div_ceil(8))?;
    out.extend((0..count).map(|at| bits[at / 8] & (0x80 >> (at % 8)) != 0));
    Ok(())
}
