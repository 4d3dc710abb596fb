//! Field types and values.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The type of a field, fixed by the first point that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FieldType {
    // In the order in which InfluxDB prefers them where a field has several.
    Float,
    Integer,
    Unsigned,
    String,
    Boolean,
}

impl FieldType {
    /// The type of one of InfluxDB's names.
    pub fn parse(name: &str) -> Option<Self> {
        let all = [Self::Float, Self::Integer, Self::Unsigned, Self::String, Self::Boolean];
        all.into_iter().find(|field_type| field_type.name() == name)
    }

    /// InfluxDB's name of the type, as SHOW FIELD KEYS and error texts print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Integer => "integer",
            Self::Unsigned => "unsigned",
            Self::String => "string",
            Self::Boolean => "boolean",
        }
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One value of a result row or a literal of a predicate.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub enum FieldValue {
    #[default]
    Null,
    Float(f64),
    Integer(i64),
    Unsigned(u64),
    String(Arc<str>),
    Boolean(bool),
    /// Nanoseconds since 1970; only in the time column of a result.
    Time(i64),
    /// A list of strings; only in results of SHOW SUBSCRIPTIONS.
    Strings(Arc<[String]>),
}
