//! Floats as in the Gorilla paper: each value XORed with the one before, of which the bits between the leading and the
//! trailing zeros are stored. One special NaN ends the values.

use crate::error::Malformed;

const GORILLA: u8 = 1;
const END: u64 = 0x7ff8_0000_0000_0001;

/// Decodes the `count` values that must be there.
pub fn decode(bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<(), Malformed> {
    let (&head, bytes) = bytes.split_first().ok_or(Malformed("ends too early"))?;
    if head >> 4 != GORILLA {
        return Err(Malformed("unknown encoding of floats"));
    }
    let mut bits = Bits { bytes, at: 0 };
    let mut value = bits.take(64)?;
    let (mut width, mut trailing) = (64u32, 0u32);
    out.reserve(count);
    while value != END {
        if out.len() == count {
            return Err(Malformed("a block has more floats than times"));
        }
        out.push(f64::from_bits(value));
        if bits.take(1)? == 0 {
            continue;
        }
        if bits.take(1)? == 1 {
            let leading = bits.take(5)? as u32;
            // 64 does not fit into six bits and stands as 0.
            width = match bits.take(6)? as u32 {
                0 => 64,
                width => width,
            };
            trailing =
                64u32.checked_sub(leading + width).ok_or(Malformed("a float has more than 64 bits"))?;
        }
        value ^= bits.take(width)? << trailing;
    }
    Ok(())
}

/// Bits, the highest of each byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    /// The next 1 to 64 bits.
    #[inline]
    fn take(&mut self, count: u32) -> Result<u64, Malformed> {
        let (byte, skip) = (self.at / 8, (self.at % 8) as u32);
        self.at += count as usize;
        if self.at > self.bytes.len() * 8 {
            return Err(Malformed("floats end too early"));
        }
        let rest = &self.bytes[byte..];
        let (word, ninth) = match rest.first_chunk::<9>() {
            Some([word @ .., ninth]) => (u64::from_be_bytes(*word), *ninth),
            None => {
                let mut padded = [0; 9];
                padded[..rest.len()].copy_from_slice(rest);
                let [word @ .., ninth] = padded;
                (u64::from_be_bytes(word), ninth)
            }
        };
        let bits = (word << skip) | (u64::from(ninth) << skip >> 8);
        Ok(bits >> (64 - count))
    }
}
