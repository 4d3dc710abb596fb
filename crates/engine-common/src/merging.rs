//! Merging a partition to one part while the engine's own merges come in between.

use std::thread;
use std::time::Duration;

use hyperbytedb_domain::EngineError;

/// Attempts to merge a partition while other merges are in the way, and the pause between them.
const ATTEMPTS_MAX: u32 = 600;
const PAUSE: Duration = Duration::from_millis(100);

/// First and last block of a part.
pub type PartBlocks = (i64, i64);

/// What became of an attempt to merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    Done,
    /// The engine merges some of the parts already.
    Refused,
}

/// Merges until the parts that are there now are one. Parts that came later are the business of a later call.
pub fn merge_parts(
    parts: impl Fn() -> Result<Vec<PartBlocks>, EngineError>,
    attempt: impl Fn() -> Result<Attempt, EngineError>,
) -> Result<(), EngineError> {
    let Some(newest_block) = parts()?.into_iter().map(|(_, last)| last).max() else { return Ok(()) };
    for _ in 0..ATTEMPTS_MAX {
        if parts()?.iter().filter(|(first, _)| *first <= newest_block).count() <= 1 {
            return Ok(());
        }
        if attempt()? == Attempt::Refused {
            thread::sleep(PAUSE);
        }
    }
    Err(EngineError::failed("merging a partition", "other merges never made way"))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn merges_until_one_part_is_left_of_those_that_were_there() {
        let attempts = Cell::new(0);
        let parts = || {
            Ok(match attempts.get() {
                0 | 1 => vec![(1, 1), (2, 2)],
                // The third part came after the call.
                _ => vec![(1, 2), (3, 3)],
            })
        };
        let attempt = || {
            attempts.set(attempts.get() + 1);
            Ok(if attempts.get() == 1 { Attempt::Refused } else { Attempt::Done })
        };
        merge_parts(parts, attempt).unwrap();
        assert_eq!(attempts.get(), 2);
    }

    #[test]
    fn nothing_is_merged_where_there_is_nothing_or_one_part() {
        let never = || panic!("nothing to merge");
        merge_parts(|| Ok(Vec::new()), never).unwrap();
        merge_parts(|| Ok(vec![(1, 7)]), never).unwrap();
    }
}
