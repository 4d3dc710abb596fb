//! SELECT and its parts.

use std::fmt::{self, Display, Formatter};

use super::{clause, count, format_float, list, optional};
use crate::{
    ast::*,
    quote::{quote_ident, quote_string},
};

impl Display for SelectStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("SELECT ")?;
        list(f, &self.fields)?;
        optional(f, " INTO ", self.target.as_ref())?;
        clause(f, " FROM ", &self.sources)?;
        optional(f, " WHERE ", self.condition.as_ref())?;
        clause(f, " GROUP BY ", &self.dimensions)?;
        self.fill.fmt(f)?;
        clause(f, " ORDER BY ", &self.sort_fields)?;
        count(f, " LIMIT ", self.limit)?;
        count(f, " OFFSET ", self.offset)?;
        count(f, " SLIMIT ", self.slimit)?;
        count(f, " SOFFSET ", self.soffset)?;
        match self.time_zone.as_ref().and_then(|zone| zone.iana_name()) {
            Some(name) => write!(f, " TZ({})", quote_string(name)),
            None => Ok(()),
        }
    }
}

impl Display for ExplainStatement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("EXPLAIN ")?;
        if self.analyze {
            f.write_str("ANALYZE ")?;
        }
        if self.verbose {
            f.write_str("VERBOSE ")?;
        }
        self.statement.fmt(f)
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)?;
        optional(f, " AS ", self.alias.as_deref().map(quote_ident))
    }
}

impl Display for Fill {
    /// With a space before, or nothing for the default.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::None => f.write_str(" fill(none)"),
            Self::Number(value) => write!(f, " fill({value})"),
            Self::Previous => f.write_str(" fill(previous)"),
            Self::Linear => f.write_str(" fill(linear)"),
        }
    }
}

impl Display for FillValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(n) => n.fmt(f),
            Self::Number(n) => f.write_str(&format_float(*n)),
        }
    }
}

impl Display for SortField {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{} ", quote_ident(name))?;
        }
        f.write_str(if self.ascending { "ASC" } else { "DESC" })
    }
}

impl Display for Source {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Measurement(measurement) => measurement.fmt(f),
            Self::Subquery(statement) => write!(f, "({statement})"),
        }
    }
}

impl Display for Measurement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        prefix(f, self.database.as_deref(), self.retention_policy.as_deref())?;
        match &self.name {
            MeasurementName::Name(name) => f.write_str(&quote_ident(name)),
            MeasurementName::Regex(regex) => regex.fmt(f),
        }
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        prefix(f, self.database.as_deref(), self.retention_policy.as_deref())?;
        match (&self.name, &self.database, &self.retention_policy) {
            (Some(name), ..) => f.write_str(&quote_ident(name)),
            // Without a prefix only an empty name can say that it is the source's.
            (None, None, None) => f.write_str("\"\""),
            _ => f.write_str(":MEASUREMENT"),
        }
    }
}

/// `db.rp.`, `db..`, `rp.` or nothing.
fn prefix(f: &mut Formatter<'_>, database: Option<&str>, policy: Option<&str>) -> fmt::Result {
    if let Some(database) = database {
        write!(f, "{}.", quote_ident(database))?;
    }
    if let Some(policy) = policy {
        f.write_str(&quote_ident(policy))?;
    }
    if database.is_some() || policy.is_some() {
        f.write_str(".")?;
    }
    Ok(())
}
