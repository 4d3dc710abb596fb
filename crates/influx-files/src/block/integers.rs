//! Integers: differences with the sign in the lowest bit, plain, packed, or as a run of one difference.

use super::{checked_count, simple8b, zigzag};
use crate::cursor::Cursor;
use crate::error::Malformed;

const PLAIN: u8 = 0;
const PACKED: u8 = 1;
const RUN: u8 = 2;

pub fn decode(bytes: &[u8], out: &mut Vec<i64>) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(bytes);
    match cursor.u8()? >> 4 {
        PLAIN => {
            let (words, tail) = cursor.rest().as_chunks::<8>();
            if !tail.is_empty() {
                return Err(Malformed("plain integers are no whole words"));
            }
            let mut value = 0i64;
            out.extend(words.iter().map(|word| {
                value = value.wrapping_add(zigzag(u64::from_be_bytes(*word)));
                value
            }));
        }
        PACKED => {
            let mut value = zigzag(cursor.u64()?);
            out.push(value);
            simple8b::decode(cursor.rest(), out, |difference| {
                value = value.wrapping_add(zigzag(difference));
                value
            })?;
        }
        RUN => {
            let mut value = zigzag(cursor.u64()?);
            let difference = zigzag(cursor.varint()?);
            // The first value is not counted.
            let more = checked_count(cursor.length()?)?;
            out.push(value);
            out.extend((0..more).map(|_| {
                value = value.wrapping_add(difference);
                value
            }));
        }
        _ => return Err(Malformed("unknown encoding of integers")),
    }
    Ok(())
}

/// Unsigned integers are stored as the signed ones of the same bits.
pub fn decode_unsigned(bytes: &[u8], out: &mut Vec<u64>) -> Result<(), Malformed> {
    let mut signed = Vec::new();
    decode(bytes, &mut signed)?;
    out.extend(signed.into_iter().map(i64::cast_unsigned));
    Ok(())
}
