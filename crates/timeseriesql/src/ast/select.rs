//! SELECT and what it is made of.

use jiff::tz::TimeZone;

use super::Expr;
use crate::regex::Regex;

/// `SELECT … [INTO …] FROM … [WHERE …] [GROUP BY …] [fill(…)] [ORDER BY …] [LIMIT …] … [tz(…)]`.
#[derive(Debug, Clone, PartialEq)]
pub struct SelectStatement {
    pub fields: Vec<Field>,
    /// `INTO`.
    pub target: Option<Target>,
    pub sources: Vec<Source>,
    pub condition: Option<Expr>,
    /// `GROUP BY`: tags, `time(…)`, wildcards and regexes.
    pub dimensions: Vec<Expr>,
    pub fill: Fill,
    /// At most one: `ORDER BY time [ASC|DESC]`, or `ORDER BY ASC|DESC`.
    pub sort_fields: Vec<SortField>,
    /// Rows a series; 0 means no limit.
    pub limit: u64,
    pub offset: u64,
    /// Series; 0 means no limit.
    pub slimit: u64,
    pub soffset: u64,
    /// `tz('…')`.
    pub time_zone: Option<TimeZone>,
}

/// One column of the selection.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub expr: Expr,
    pub alias: Option<String>,
}

/// What stands in for windows without points.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Fill {
    #[default]
    Null,
    None,
    Number(FillValue),
    Previous,
    Linear,
}

/// The number of `fill(number)`, as written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FillValue {
    Integer(i64),
    Number(f64),
}

impl FillValue {
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Integer(n) => n as f64,
            Self::Number(n) => n,
        }
    }
}

/// `ORDER BY` of one name; the parser lets only `time` or no name pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortField {
    pub name: Option<String>,
    pub ascending: bool,
}

/// Where rows come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Measurement(Measurement),
    Subquery(Box<SelectStatement>),
}

/// `[[database.]retention_policy.]name`, or a regex in place of the name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Measurement {
    pub database: Option<String>,
    pub retention_policy: Option<String>,
    pub name: MeasurementName,
}

/// A measurement by name or by pattern.
#[derive(Debug, Clone, PartialEq)]
pub enum MeasurementName {
    /// Empty where the statement says `""`.
    Name(String),
    Regex(Regex),
}

impl Default for MeasurementName {
    fn default() -> Self {
        Self::Name(String::new())
    }
}

/// Where `INTO` writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub database: Option<String>,
    pub retention_policy: Option<String>,
    /// None for `:MEASUREMENT`, the name of the source measurement.
    pub name: Option<String>,
}

/// `EXPLAIN [ANALYZE] [VERBOSE] SELECT …`.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplainStatement {
    pub statement: SelectStatement,
    pub analyze: bool,
    pub verbose: bool,
}
