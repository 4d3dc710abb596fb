//! SHOW statements.

use std::fmt::{self, Display, Formatter};

use super::{clause, count, list, optional};
use crate::{
    ast::*,
    quote::{quote_ident, quote_string},
};

impl Display for ShowSeriesStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("SHOW SERIES")?;
        on(f, self.database.as_deref())?;
        clause(f, " FROM ", &self.sources)?;
        optional(f, " WHERE ", self.condition.as_ref())?;
        ordered(f, &self.sort_fields, self.limit, self.offset)
    }
}

impl Display for ShowMeasurementsStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("SHOW MEASUREMENTS")?;
        match (&self.database, &self.retention_policy) {
            (NameOrAll::Unset, NameOrAll::Unset) => {}
            (NameOrAll::Unset, _) => f.write_str(" ON \"\"")?,
            (database, _) => name_or_all(f, " ON ", database)?,
        }
        name_or_all(f, ".", &self.retention_policy)?;
        if let Some(source) = &self.source {
            let op = match source.name {
                MeasurementName::Name(_) => BinaryOp::Eq,
                MeasurementName::Regex(_) => BinaryOp::EqRegex,
            };
            write!(f, " WITH MEASUREMENT {op} {source}")?;
        }
        optional(f, " WHERE ", self.condition.as_ref())?;
        ordered(f, &self.sort_fields, self.limit, self.offset)
    }
}

fn name_or_all(f: &mut Formatter<'_>, prefix: &str, name: &NameOrAll) -> fmt::Result {
    match name {
        NameOrAll::Unset => Ok(()),
        NameOrAll::All => write!(f, "{prefix}*"),
        NameOrAll::Name(name) => write!(f, "{prefix}{}", quote_ident(name)),
    }
}

impl Display for ShowTagKeysStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("SHOW TAG KEYS")?;
        on(f, self.database.as_deref())?;
        clause(f, " FROM ", &self.sources)?;
        optional(f, " WITH KEY ", self.key.as_ref())?;
        optional(f, " WHERE ", self.condition.as_ref())?;
        ordered(f, &self.sort_fields, self.limit, self.offset)?;
        count(f, " SLIMIT ", self.slimit)?;
        count(f, " SOFFSET ", self.soffset)
    }
}

impl Display for ShowTagValuesStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("SHOW TAG VALUES")?;
        on(f, self.database.as_deref())?;
        clause(f, " FROM ", &self.sources)?;
        write!(f, " WITH KEY {}", self.key)?;
        optional(f, " WHERE ", self.condition.as_ref())?;
        ordered(f, &self.sort_fields, self.limit, self.offset)
    }
}

impl Display for TagKeyFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal(key) => write!(f, "= {}", quote_ident(key)),
            Self::NotEqual(key) => write!(f, "!= {}", quote_ident(key)),
            Self::Matches(pattern) => write!(f, "=~ {pattern}"),
            Self::NotMatches(pattern) => write!(f, "!~ {pattern}"),
            Self::OneOf(keys) => {
                let quoted: Vec<_> = keys.iter().map(|key| quote_ident(key)).collect();
                f.write_str("IN (")?;
                list(f, &quoted)?;
                f.write_str(")")
            }
        }
    }
}

impl Display for ShowFieldKeysStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("SHOW FIELD KEYS")?;
        on(f, self.database.as_deref())?;
        clause(f, " FROM ", &self.sources)?;
        ordered(f, &self.sort_fields, self.limit, self.offset)
    }
}

impl Display for ShowCardinalityStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (of, key) = match &self.of {
            CardinalityOf::Series => ("SERIES", None),
            CardinalityOf::Measurement => ("MEASUREMENT", None),
            CardinalityOf::TagKey => ("TAG KEY", None),
            CardinalityOf::TagValues(key) => ("TAG VALUES", Some(key)),
            CardinalityOf::FieldKey => ("FIELD KEY", None),
        };
        let exact = if self.exact { " EXACT" } else { "" };
        write!(f, "SHOW {of}{exact} CARDINALITY")?;
        on(f, self.database.as_deref())?;
        clause(f, " FROM ", &self.sources)?;
        optional(f, " WITH KEY ", key)?;
        optional(f, " WHERE ", self.condition.as_ref())?;
        clause(f, " GROUP BY ", &self.dimensions)?;
        count(f, " LIMIT ", self.limit)?;
        count(f, " OFFSET ", self.offset)
    }
}

impl Display for ShowRetentionPoliciesStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("SHOW RETENTION POLICIES")?;
        on(f, self.database.as_deref())
    }
}

impl Display for ShowGrantsStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "SHOW GRANTS FOR {}", quote_ident(&self.user))
    }
}

impl Display for ShowStatsStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("SHOW STATS")?;
        optional(f, " FOR ", self.module.as_deref().map(quote_string))
    }
}

impl Display for ShowDiagnosticsStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("SHOW DIAGNOSTICS")?;
        optional(f, " FOR ", self.module.as_deref().map(quote_string))
    }
}

fn on(f: &mut Formatter<'_>, database: Option<&str>) -> fmt::Result {
    optional(f, " ON ", database.map(quote_ident))
}

fn ordered(f: &mut Formatter<'_>, sort_fields: &[SortField], limit: u64, offset: u64) -> fmt::Result {
    clause(f, " ORDER BY ", sort_fields)?;
    count(f, " LIMIT ", limit)?;
    count(f, " OFFSET ", offset)
}
