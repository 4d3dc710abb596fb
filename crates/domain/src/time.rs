//! Time ranges and the precisions of the HTTP interface.

use serde::{Deserialize, Serialize};

/// The earliest time a point may have (1677-09-21T00:12:43.145224194Z), as in InfluxDB.
pub const MIN_TIME: i64 = i64::MIN + 2;
/// The latest time a point may have (2262-04-11T23:47:16.854775806Z), as in InfluxDB.
pub const MAX_TIME: i64 = i64::MAX - 1;

/// Nanoseconds since 1970, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    pub min: i64,
    pub max: i64,
}

impl TimeRange {
    pub const ALL: Self = Self { min: MIN_TIME, max: MAX_TIME };

    pub const fn is_empty(&self) -> bool {
        self.min > self.max
    }

    pub const fn contains(&self, time: i64) -> bool {
        self.min <= time && time <= self.max
    }

    pub const fn is_all(&self) -> bool {
        self.min <= MIN_TIME && self.max >= MAX_TIME
    }
}

/// The unit of timestamps in a write (`precision`) or a result (`epoch`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Precision {
    #[default]
    Nanosecond,
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
}

impl Precision {
    /// Reads `n u ms s m h`; anything else counts as nanoseconds, as in InfluxDB, `us` and `µ` too.
    pub fn parse(text: &str) -> Self {
        match text {
            "u" => Self::Microsecond,
            "ms" => Self::Millisecond,
            "s" => Self::Second,
            "m" => Self::Minute,
            "h" => Self::Hour,
            _ => Self::Nanosecond,
        }
    }

    /// Nanoseconds in one unit.
    pub const fn nanoseconds(self) -> i64 {
        match self {
            Self::Nanosecond => 1,
            Self::Microsecond => 1_000,
            Self::Millisecond => 1_000_000,
            Self::Second => 1_000_000_000,
            Self::Minute => 60_000_000_000,
            Self::Hour => 3_600_000_000_000,
        }
    }
}
