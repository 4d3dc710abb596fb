//! Times: differences, plain, packed after division by a power of ten, or as a run of one difference.

use super::{checked_count, simple8b};
use crate::cursor::Cursor;
use crate::error::Malformed;

const PLAIN: u8 = 0;
const PACKED: u8 = 1;
const RUN: u8 = 2;

pub fn decode(bytes: &[u8], out: &mut Vec<i64>) -> Result<(), Malformed> {
    let mut cursor = Cursor::new(bytes);
    let head = cursor.u8()?;
    let scale = 10i64.pow(u32::from(head & 0xf));
    match head >> 4 {
        PLAIN => {
            let (words, tail) = cursor.rest().as_chunks::<8>();
            if !tail.is_empty() {
                return Err(Malformed("plain times are no whole words"));
            }
            let mut time = 0i64;
            out.extend(words.iter().map(|word| {
                time = time.wrapping_add(i64::from_be_bytes(*word));
                time
            }));
        }
        PACKED => {
            let mut time = cursor.i64()?;
            out.push(time);
            simple8b::decode(cursor.rest(), out, |difference| {
                time = time.wrapping_add(difference.cast_signed().wrapping_mul(scale));
                time
            })?;
        }
        RUN => {
            let mut time = cursor.i64()?;
            let difference = cursor.varint()?.cast_signed().wrapping_mul(scale);
            let count = checked_count(cursor.length()?)?;
            out.extend((0..count).map(|_| {
                let this = time;
                time = time.wrapping_add(difference);
                this
            }));
        }
        _ => return Err(Malformed("unknown encoding of times")),
    }
    Ok(())
}
