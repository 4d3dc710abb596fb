//! A SELECT with every name resolved and every type known: what the executor runs.

use std::sync::Arc;

use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::{FieldType, TimeRange};
use hyperbytedb_functions::Interval;
use hyperbytedb_timeseriesql::ast::{Call, DataType, Expr, Fill, VarRef};
use jiff::tz::TimeZone;

/// A checked SELECT.
///
/// In all expressions a [`VarRef`] carries the type it resolved to: [`DataType::Tag`] for a tag, the type of the
/// field otherwise (after a cast the type asked for, which may differ from the stored one), `None` when no source
/// knows the name. Where several tables disagree it is the type that all are read as.
///
/// A subquery says only what it says itself: the bounds, tags and windows of the statements around it
/// apply on top.
#[derive(Debug, Clone)]
pub struct PreparedSelect {
    /// The columns after time, wildcards and regexes expanded, with the extra columns of `top` and `bottom`.
    pub fields: Vec<PreparedField>,
    /// The name of the time column: `time` or its alias.
    pub time_column: String,
    /// In order; regexes expanded. Empty when nothing in the catalogue matches: the result is empty.
    pub sources: Vec<PreparedSource>,
    /// Without time bounds, constants folded. Over a subquery it refers to the columns of that.
    pub condition: Option<Expr>,
    pub time: TimeBounds,
    /// Tags of GROUP BY, wildcards and regexes expanded, sorted, each once.
    /// A key no source knows is kept: it is the empty string everywhere.
    pub dimensions: Vec<String>,
    /// GROUP BY time.
    pub interval: Option<Interval>,
    pub fill: Fill,
    pub zone: Option<TimeZone>,
    pub ascending: bool,
    /// Rows per series; 0 = all.
    pub limit: usize,
    pub offset: usize,
    /// Series; 0 = all.
    pub slimit: usize,
    pub soffset: usize,
    /// Distinct outermost calls that make rows (aggregates, selectors and transforms, not mathematics), in the order
    /// of the fields. Each runs on its own; fields are computed from their results.
    pub calls: Vec<Call>,
    /// The types InfluxDB assigns to `calls`; `None` where that depends on a column nothing is known of.
    pub call_types: Vec<Option<DataType>>,
    /// Fields and tags that are selected outside of calls, each once, by name and type: beside a selector they come
    /// from the selected point.
    pub aux: Vec<VarRef>,
    /// There is one call and it selects points: rows carry the time of the point (unless there is an interval).
    pub is_selector: bool,
    pub into: Option<IntoTarget>,
}

/// A column of the result.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedField {
    pub expr: Expr,
    /// Made unique as InfluxDB does; aliases are left as written. In a subquery the name by which the statement
    /// around it finds the column: not unique, the first wins.
    pub name: String,
    /// The type InfluxDB assigns, which for mathematics over integers is not that of the values. `None`: always null.
    pub data_type: Option<DataType>,
    /// Added by `top` or `bottom`, not written in the statement. INTO writes it as a tag.
    pub implied: bool,
}

#[derive(Debug, Clone)]
pub enum PreparedSource {
    Measurement { name: String, table: Arc<Table> },
    Subquery(Box<PreparedSelect>),
}

/// The range of time, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeBounds {
    pub range: TimeRange,
    /// Whether the statement (or the one around it) gives a lower bound: the time of a lone aggregate is
    /// `range.min` then, else 0.
    pub explicit_min: bool,
    pub explicit_max: bool,
}

/// Where INTO writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntoTarget {
    pub database: String,
    /// Empty: the database's default.
    pub retention_policy: String,
    /// `None`: `:MEASUREMENT`, the name of the source.
    pub measurement: Option<String>,
}

impl PreparedSelect {
    /// No call: rows of stored points.
    pub fn is_raw(&self) -> bool {
        self.calls.is_empty()
    }

    /// Names of all output columns, time first.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.time_column.as_str()).chain(self.fields.iter().map(|f| f.name.as_str()))
    }
}

/// The type of a stored field in the language's terms.
pub const fn data_type_of(field: FieldType) -> DataType {
    match field {
        FieldType::Float => DataType::Float,
        FieldType::Integer => DataType::Integer,
        FieldType::Unsigned => DataType::Unsigned,
        FieldType::String => DataType::String,
        FieldType::Boolean => DataType::Boolean,
    }
}
