//! SHOW statements.

use super::{Expr, Measurement, SortField, Source};
use crate::regex::Regex;

/// `SHOW SERIES [ON db] [FROM …] [WHERE …] [ORDER BY …] [LIMIT …] [OFFSET …]`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ShowSeriesStatement {
    pub database: Option<String>,
    pub sources: Vec<Source>,
    pub condition: Option<Expr>,
    pub sort_fields: Vec<SortField>,
    pub limit: u64,
    pub offset: u64,
}

/// `SHOW MEASUREMENTS [ON …] [WITH MEASUREMENT …] [WHERE …] …`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ShowMeasurementsStatement {
    /// `ON db`, `ON *`, `ON db.rp`, `ON db.*`.
    pub database: NameOrAll,
    pub retention_policy: NameOrAll,
    /// `WITH MEASUREMENT = name` or `=~ /regex/`.
    pub source: Option<Measurement>,
    pub condition: Option<Expr>,
    pub sort_fields: Vec<SortField>,
    pub limit: u64,
    pub offset: u64,
}

/// A name, `*`, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NameOrAll {
    #[default]
    Unset,
    All,
    Name(String),
}

/// `SHOW TAG KEYS [ON db] [FROM …] [WITH KEY …] [WHERE …] …`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ShowTagKeysStatement {
    pub database: Option<String>,
    pub sources: Vec<Source>,
    pub key: Option<TagKeyFilter>,
    pub condition: Option<Expr>,
    pub sort_fields: Vec<SortField>,
    pub limit: u64,
    pub offset: u64,
    pub slimit: u64,
    pub soffset: u64,
}

/// `SHOW TAG VALUES [ON db] [FROM …] WITH KEY … [WHERE …] …`.
#[derive(Debug, Clone, PartialEq)]
pub struct ShowTagValuesStatement {
    pub database: Option<String>,
    pub sources: Vec<Source>,
    pub key: TagKeyFilter,
    pub condition: Option<Expr>,
    pub sort_fields: Vec<SortField>,
    pub limit: u64,
    pub offset: u64,
}

/// `WITH KEY = a | != a | =~ /r/ | !~ /r/ | IN (a, b)`. `IN` exists here only: conditions have no such operator.
#[derive(Debug, Clone, PartialEq)]
pub enum TagKeyFilter {
    Equal(String),
    NotEqual(String),
    Matches(Regex),
    NotMatches(Regex),
    OneOf(Vec<String>),
}

impl TagKeyFilter {
    /// Whether it asks for this key.
    pub fn matches(&self, key: &str) -> bool {
        match self {
            Self::Equal(wanted) => wanted == key,
            Self::NotEqual(unwanted) => unwanted != key,
            Self::Matches(pattern) => pattern.is_match(key),
            Self::NotMatches(pattern) => !pattern.is_match(key),
            Self::OneOf(keys) => keys.iter().any(|k| k == key),
        }
    }
}

/// `SHOW FIELD KEYS [ON db] [FROM …] …`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ShowFieldKeysStatement {
    pub database: Option<String>,
    pub sources: Vec<Source>,
    pub sort_fields: Vec<SortField>,
    pub limit: u64,
    pub offset: u64,
}

/// `SHOW … [EXACT] CARDINALITY [ON db] [FROM …] [WITH KEY …] [WHERE …] [GROUP BY …] …`.
#[derive(Debug, Clone, PartialEq)]
pub struct ShowCardinalityStatement {
    pub of: CardinalityOf,
    pub exact: bool,
    pub database: Option<String>,
    pub sources: Vec<Source>,
    pub condition: Option<Expr>,
    pub dimensions: Vec<Expr>,
    pub limit: u64,
    pub offset: u64,
}

/// What a cardinality statement counts.
#[derive(Debug, Clone, PartialEq)]
pub enum CardinalityOf {
    Series,
    Measurement,
    TagKey,
    TagValues(TagKeyFilter),
    FieldKey,
}

/// `SHOW RETENTION POLICIES [ON db]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShowRetentionPoliciesStatement {
    pub database: Option<String>,
}

/// `SHOW GRANTS FOR user`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShowGrantsStatement {
    pub user: String,
}

/// `SHOW STATS [FOR 'module']`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShowStatsStatement {
    pub module: Option<String>,
}

/// `SHOW DIAGNOSTICS [FOR 'module']`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShowDiagnosticsStatement {
    pub module: Option<String>,
}
