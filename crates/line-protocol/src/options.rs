//! What the caller decides about a write, and the bounds of one request.

use hyperbytedb_domain::Precision;

/// How to read a body. The limits keep one request from costing more than its size suggests.
#[derive(Debug, Clone)]
pub struct ParseOptions {
    /// Unit of the timestamps.
    pub precision: Precision,
    /// Time of lines without one, in nanoseconds since 1970. It is cut down to `precision`.
    pub default_time: i64,
    /// Most points. The parser stops behind them.
    pub max_points: usize,
    /// Longest line, in bytes.
    pub max_line_bytes: usize,
    /// Most tags on a line.
    pub max_tags: usize,
    /// Most fields on a line.
    pub max_fields: usize,
    /// Longest string value, in bytes: a point with a longer one is dropped.
    pub max_string_bytes: usize,
    /// Most empty cells that lines with different fields may cause in the columns of one request.
    pub max_absent_values: usize,
    /// Most bytes of line errors, each counted as the line it quotes and 64 bytes: the line that passes
    /// the bound is cut, and further ones are only counted.
    pub max_error_bytes: usize,
    /// Whether `1u` is a number, as in InfluxDB built with support for unsigned integers.
    pub uint_support: bool,
}

impl ParseOptions {
    /// More than a body of the default size can hold, unless it was compressed.
    pub const DEFAULT_MAX_POINTS: usize = 5_000_000;
    pub const DEFAULT_MAX_LINE_BYTES: usize = 16 << 20;
    pub const DEFAULT_MAX_TAGS: usize = 256;
    pub const DEFAULT_MAX_FIELDS: usize = 4096;
    /// As in InfluxDB.
    pub const DEFAULT_MAX_STRING_BYTES: usize = 1 << 20;
    pub const DEFAULT_MAX_ABSENT_VALUES: usize = 16 << 20;
    pub const DEFAULT_MAX_ERROR_BYTES: usize = 1 << 20;

    /// The default limits with the given precision and default time (nanoseconds since 1970).
    pub const fn new(precision: Precision, default_time: i64) -> Self {
        Self {
            precision,
            default_time,
            max_points: Self::DEFAULT_MAX_POINTS,
            max_line_bytes: Self::DEFAULT_MAX_LINE_BYTES,
            max_tags: Self::DEFAULT_MAX_TAGS,
            max_fields: Self::DEFAULT_MAX_FIELDS,
            max_string_bytes: Self::DEFAULT_MAX_STRING_BYTES,
            max_absent_values: Self::DEFAULT_MAX_ABSENT_VALUES,
            max_error_bytes: Self::DEFAULT_MAX_ERROR_BYTES,
            uint_support: true,
        }
    }

    /// For lines that have been accepted before, under whatever settings: everything, without limits.
    pub const fn accepted(precision: Precision, default_time: i64) -> Self {
        Self {
            max_points: usize::MAX,
            max_line_bytes: usize::MAX,
            max_tags: usize::MAX,
            max_fields: usize::MAX,
            max_string_bytes: usize::MAX,
            max_absent_values: usize::MAX,
            ..Self::new(precision, default_time)
        }
    }

    /// The default time cut down to the precision.
    pub(crate) const fn rounded_default_time(&self) -> i64 {
        let unit = self.precision.nanoseconds();
        self.default_time.saturating_sub(self.default_time.rem_euclid(unit))
    }
}
