//! Which connection the lines of a series take.

use memchr::memchr3;
use xxhash_rust::xxh3::xxh3_64;

/// The same for all lines of a series, in whatever order they name its tags.
pub fn of(line: &[u8], lanes: usize) -> usize {
    // A sum does not know the order of its terms.
    let mut hash = 0u64;
    let (mut start, mut at) = (0, 0);
    while let Some(found) = line.get(at..).and_then(|rest| memchr3(b',', b' ', b'\\', rest)) {
        let end = at + found;
        at = end + 1;
        match line[end] {
            b'\\' => at += 1,
            separator => {
                hash = hash.wrapping_add(xxh3_64(&line[start..end]));
                if separator == b' ' {
                    break;
                }
                start = end + 1;
            }
        }
    }
    (hash % lanes.max(1) as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn a_series_has_one_lane() {
        let lanes = 1 << 20;
        let lane = of(b"cpu,host=a\\ b,region=x v=1 5", lanes);
        assert_eq!(of(b"cpu,region=x,host=a\\ b w=2", lanes), lane);
        assert_ne!(of(b"cpu,region=x,host=a\\ c w=2", lanes), lane);
        assert_ne!(of(b"mem,region=x,host=a\\ b w=2", lanes), lane);
        assert!(of(b"", 3) < 3);
        assert!(of(b"broken\\", 3) < 3);
    }
}
