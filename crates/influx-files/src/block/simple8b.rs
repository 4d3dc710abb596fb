//! Simple-8b: words of 64 bits, of which the highest four say how many integers of how many bits follow.

use super::checked_count;
use crate::error::Malformed;

/// Count and bits by selector. The first two stand for runs of ones that need no bits.
const LAYOUTS: [(usize, u32); 16] = [
    (240, 0),
    (120, 0),
    (60, 1),
    (30, 2),
    (20, 3),
    (15, 4),
    (12, 5),
    (10, 6),
    (8, 7),
    (7, 8),
    (6, 10),
    (5, 12),
    (4, 15),
    (3, 20),
    (2, 30),
    (1, 60),
];

/// Appends `map` of each integer.
pub fn decode(words: &[u8], out: &mut Vec<i64>, mut map: impl FnMut(u64) -> i64) -> Result<(), Malformed> {
    let (words, tail) = words.as_chunks::<8>();
    if !tail.is_empty() {
        return Err(Malformed("packed integers are no whole words"));
    }
    let layout = |word: u64| LAYOUTS[(word >> 60) as usize];
    let count: usize = words.iter().map(|word| layout(u64::from_be_bytes(*word)).0).sum();
    out.reserve(checked_count(count)?);
    for word in words {
        let mut word = u64::from_be_bytes(*word);
        let (count, bits) = layout(word);
        if bits == 0 {
            out.extend((0..count).map(|_| map(1)));
            continue;
        }
        let mask = (1 << bits) - 1;
        out.extend((0..count).map(|_| {
            let value = word & mask;
            word >>= bits;
            map(value)
        }));
    }
    Ok(())
}
