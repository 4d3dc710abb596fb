//! Bounds on what a statement may ask for.

use hyperbytedb_domain::time::MIN_TIME;

use super::{PrepareError, PrepareLimits};
use crate::prepared::PreparedSelect;

/// Checks the number of windows. Like InfluxDB, not where the range is open below.
pub(super) fn check(select: &PreparedSelect, limits: &PrepareLimits) -> Result<(), PrepareError> {
    let Some(interval) = select.interval else { return Ok(()) };
    if limits.max_buckets == 0 || select.is_raw() || select.time.range.min <= MIN_TIME {
        return Ok(());
    }
    let (every, offset) = (i128::from(interval.every), i128::from(interval.offset));
    let window = |time: i64| (i128::from(time) - offset).div_euclid(every);
    let buckets = window(select.time.range.max.saturating_sub(1)) - window(select.time.range.min) + 1;
    if buckets > limits.max_buckets as i128 {
        return Err(PrepareError::TooManyBuckets { buckets, limit: limits.max_buckets });
    }
    Ok(())
}
