//! What an engine is asked to read: one table, one pass, typed from end to end.
//!
//! A scan names columns by their position in the table's schema, so no name and no value that a user chose
//! reaches the engine's SQL as anything but a quoted literal.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalog::Table;
use crate::field::FieldValue;
use crate::series::SeriesId;
use crate::time::TimeRange;

/// Position of a tag in [`Table::tags`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TagId(pub u32);

/// Position of a field in [`Table::fields`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FieldId(pub u32);

/// One pass over one table.
#[derive(Debug, Clone)]
pub struct Scan {
    pub table: Arc<Table>,
    pub time: TimeRange,
    pub filter: Option<Predicate>,
    /// Numbers of the shard groups whose partitions hold the range; `None` = all. Set by the reader.
    pub shards: Option<Arc<[u64]>>,
    /// Whether rows of one series and time may be stored apart and must be merged while reading. Set by the reader.
    pub merge_duplicates: bool,
    pub output: ScanOutput,
}

/// Rows of one table by what they are, not by how they are read.
#[derive(Debug, Clone, PartialEq)]
pub struct RowSelection {
    pub time: TimeRange,
    /// Over tags only.
    pub filter: Option<Predicate>,
    /// Only rows of these series.
    pub series: Option<Arc<[SeriesId]>>,
    /// Numbers of the shard groups whose partitions can hold such rows; `None` = all.
    pub shards: Option<Arc<[u64]>>,
}

impl RowSelection {
    /// All rows of a time range.
    pub fn of_time(time: TimeRange) -> Self {
        Self { time, filter: None, series: None, shards: None }
    }
}

/// Into how many parts the series of a table are cut to be compared: by series id modulo this.
pub const DIGEST_BUCKETS: u64 = 256;

/// What rows are taken together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DigestBy {
    /// One part of the series each.
    Bucket,
    /// Each series of these parts.
    Series(Vec<u64>),
}

/// What some rows come to: nodes whose digests are the same have the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Number of the part, or of the series.
    pub key: u64,
    pub rows: u64,
    pub hash: u64,
}

#[derive(Debug, Clone)]
pub enum ScanOutput {
    Rows(RowScan),
    Aggregates(AggregateScan),
}

impl ScanOutput {
    /// Only rows of these series are wanted.
    pub fn series(&self) -> Option<&Arc<[SeriesId]>> {
        match self {
            Self::Rows(rows) => rows.series.as_ref(),
            Self::Aggregates(aggregates) => aggregates.series.as_ref(),
        }
    }

    pub fn set_series(&mut self, series: Arc<[SeriesId]>) {
        match self {
            Self::Rows(rows) => rows.series = Some(series),
            Self::Aggregates(aggregates) => aggregates.series = Some(series),
        }
    }
}

/// Rows as stored. Batches have the columns `tags…` (Utf8, or Dictionary of Utf8; a missing tag is the empty
/// string), `time` (Int64), `fields…` (Float64, Int64, UInt64, Utf8 or Boolean, nullable), in this order.
///
/// Order of rows: the `group_by` tags ascending (bytewise; descending when `descending`), then time, then all
/// other tags in the order of their names.
#[derive(Debug, Clone, Default)]
pub struct RowScan {
    pub group_by: Vec<TagId>,
    pub tags: Vec<TagId>,
    pub fields: Vec<FieldId>,
    /// Leave out rows in which none of these fields has a value (empty: keep all rows).
    pub any_of: Vec<FieldId>,
    pub descending: bool,
    /// Rows per combination of the `group_by` tags; 0 = all.
    pub limit_per_group: u64,
    /// Only rows of these series.
    pub series: Option<Arc<[SeriesId]>>,
    /// What the engine may sort for this scan. Past it the scan fails with [`SortLimit`] instead of its first batch.
    ///
    /// [`SortLimit`]: crate::error::EngineError::SortLimit
    pub sort_bound: Option<SortBound>,
}

/// How much is sorted at one time; 0 = no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SortBound {
    pub rows: u64,
    pub bytes: u64,
}

/// Aggregated rows, one per combination of the `group_by` tags and window. Batches have the columns
/// `group_by…` (as above), `time` (Int64: the window's start, 0 without a window), then for each aggregate its
/// value and, when asked for, the time of the selected point (Int64), at last the number of rows (Int64) when asked
/// for. An aggregate without values is NULL. Ordered by `group_by` tags, then time, both descending when `descending`;
/// the tags `after_time` then decide, ascending.
#[derive(Debug, Clone, Default)]
pub struct AggregateScan {
    pub group_by: Vec<TagId>,
    /// Some of the `group_by` tags.
    pub after_time: Vec<TagId>,
    pub window: Option<Window>,
    pub aggregates: Vec<Aggregate>,
    pub count_rows: bool,
    /// Only rows of these series.
    pub series: Option<Arc<[SeriesId]>>,
    pub descending: bool,
}

/// Windows of `every` nanoseconds: a window starts where `(start - offset)` is a multiple of `every`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub every: i64,
    pub offset: i64,
}

impl Window {
    /// How long before a time its window starts.
    pub fn since_start(self, time: i64) -> i128 {
        (i128::from(time) - i128::from(self.offset)).rem_euclid(i128::from(self.every.max(1)))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    pub function: AggregateFunction,
    pub field: FieldId,
    /// Selectors only: also return the selected point's time.
    pub with_time: bool,
}

/// InfluxQL's definitions, not the engine's: NULLs are skipped everywhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AggregateFunction {
    /// Int64; NULL where no value.
    Count,
    /// Of the field's type; integers wrap.
    Sum,
    /// Float64; integers are summed as integers first.
    Mean,
    /// Ties: the earliest time.
    Min,
    /// Ties: the earliest time.
    Max,
    /// Smallest time; ties: the greatest value.
    First,
    /// Greatest time; ties: the greatest value.
    Last,
    /// Maximum less minimum, of the field's type.
    Spread,
    /// Sample standard deviation; NULL below two values.
    Stddev,
    /// Mean of the two middle values when even, Float64.
    Median,
    /// Nearest rank, of the field's type: the value at `floor(n * p / 100 + 0.5) - 1` of the sorted values, NULL outside.
    Percentile(f64),
}

/// A condition on rows. Comparisons with NULL or between incomparable types are false, never NULL.
/// Serialisable up to [`PREDICATE_DEPTH_MAX`] levels, so that reading one back cannot exhaust the stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Predicate {
    Constant(bool),
    And(#[serde(with = "nested")] Vec<Predicate>),
    Or(#[serde(with = "nested")] Vec<Predicate>),
    Compare {
        left: Operand,
        op: CompareOp,
        right: Operand,
    },
    /// RE2 pattern, found anywhere in the text.
    Regex {
        operand: Operand,
        pattern: String,
        negated: bool,
    },
}

impl Predicate {
    /// Levels of AND and OR within each other.
    pub fn depth(&self) -> usize {
        match self {
            Self::And(terms) | Self::Or(terms) => 1 + terms.iter().map(Self::depth).max().unwrap_or(0),
            _ => 0,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Operand {
    /// A missing tag is the empty string.
    Tag(TagId),
    Field(FieldId),
    Literal(FieldValue),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompareOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl CompareOp {
    /// `a op b` as `b mirrored a`.
    pub const fn mirrored(self) -> Self {
        match self {
            Self::Lt => Self::Gt,
            Self::Le => Self::Ge,
            Self::Gt => Self::Lt,
            Self::Ge => Self::Le,
            same => same,
        }
    }
}

impl Predicate {
    /// Whether the condition looks at a field.
    pub fn reads_fields(&self) -> bool {
        let is_field = |operand: &Operand| matches!(operand, Operand::Field(_));
        match self {
            Self::Constant(_) => false,
            Self::And(parts) | Self::Or(parts) => parts.iter().any(Self::reads_fields),
            Self::Compare { left, right, .. } => is_field(left) || is_field(right),
            Self::Regex { operand, .. } => is_field(operand),
        }
    }
}

/// Levels of AND and OR within each other that a stored predicate may have.
pub const PREDICATE_DEPTH_MAX: usize = 256;

/// Counts the levels while a predicate is written or read, and fails past [`PREDICATE_DEPTH_MAX`].
mod nested {
    use std::cell::Cell;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{PREDICATE_DEPTH_MAX, Predicate};

    thread_local!(static DEPTH: Cell<usize> = const { Cell::new(0) });

    struct Level;

    impl Level {
        fn enter() -> Result<Self, String> {
            let depth = DEPTH.get();
            if depth >= PREDICATE_DEPTH_MAX {
                return Err(format!("condition nested more than {PREDICATE_DEPTH_MAX} levels"));
            }
            DEPTH.set(depth + 1);
            Ok(Self)
        }
    }

    impl Drop for Level {
        fn drop(&mut self) {
            DEPTH.set(DEPTH.get() - 1);
        }
    }

    pub fn serialize<S: Serializer>(terms: &[Predicate], s: S) -> Result<S::Ok, S::Error> {
        let _level = Level::enter().map_err(serde::ser::Error::custom)?;
        terms.serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Predicate>, D::Error> {
        let _level = Level::enter().map_err(serde::de::Error::custom)?;
        Vec::deserialize(d)
    }
}
