//! InfluxDB's max-select-series: how many series a scan may read. Counted in the series index, before anything is read.

use std::ops::ControlFlow;

use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::ports::SeriesIndexPort;
use hyperbytedb_domain::scan::{CompareOp, Operand, Predicate, Scan, TagId};
use hyperbytedb_domain::{EngineError, FieldValue, StorageError, Tags};
use regex::Regex;

/// Refuses a scan of more series; 0 = no limit.
pub fn check(scan: &Scan, max: u64, index: &dyn SeriesIndexPort) -> Result<(), EngineError> {
    if max == 0 {
        return Ok(());
    }
    let is_too_many =
        reads_more(scan, max, index).map_err(|error| EngineError::failed("count series", error))?;
    // As InfluxDB, which stops at the first one too many.
    if is_too_many { Err(EngineError::SeriesLimit { count: max + 1, limit: max }) } else { Ok(()) }
}

fn reads_more(scan: &Scan, max: u64, index: &dyn SeriesIndexPort) -> Result<bool, StorageError> {
    if scan.output.series().is_some_and(|series| series.len() as u64 <= max) {
        return Ok(false);
    }
    if index.series_count(scan.table.id)? <= max {
        return Ok(false);
    }
    let Some(filter) = &scan.filter else { return Ok(true) };
    let condition = Condition::of(filter, &scan.table);
    let mut count = 0;
    index.for_each_series(scan.table.id, &mut |_, tags| {
        count += u64::from(condition.may_be_met(tags));
        if count > max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(count > max)
}

/// A condition as far as it is one on tags.
enum Condition<'a> {
    Constant(bool),
    And(Vec<Self>),
    Or(Vec<Self>),
    Compare(Side<'a>, CompareOp, Side<'a>),
    Regex(Side<'a>, Regex, bool),
}

enum Side<'a> {
    Tag(&'a str),
    Text(&'a str),
}

impl Side<'_> {
    fn value<'t>(&'t self, tags: &'t Tags) -> &'t str {
        match self {
            Self::Tag(key) => tags.get(key).unwrap_or_default(),
            Self::Text(text) => text,
        }
    }
}

impl<'a> Condition<'a> {
    fn of(predicate: &'a Predicate, table: &'a Table) -> Self {
        let terms = |terms: &'a [Predicate]| terms.iter().map(|term| Self::of(term, table)).collect();
        let tag = |tag: &TagId| table.tags.get(tag.0 as usize).map(|key| Side::Tag(key));
        let side = |operand: &'a Operand| match operand {
            Operand::Tag(id) => tag(id),
            Operand::Literal(FieldValue::String(text)) => Some(Side::Text(text)),
            Operand::Field(_) | Operand::Literal(_) => None,
        };
        match predicate {
            Predicate::Constant(value) => Self::Constant(*value),
            Predicate::And(parts) => Self::And(terms(parts)),
            Predicate::Or(parts) => Self::Or(terms(parts)),
            Predicate::Compare { left, op, right } => match (side(left), side(right)) {
                (Some(left), Some(right)) => Self::Compare(left, *op, right),
                _ => Self::Constant(predicate.reads_fields()),
            },
            Predicate::Regex { operand, pattern, negated } => match (side(operand), Regex::new(pattern)) {
                (Some(side), Ok(regex)) => Self::Regex(side, regex, *negated),
                _ => Self::Constant(true),
            },
        }
    }

    /// False where no row of the series can meet it.
    fn may_be_met(&self, tags: &Tags) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::And(terms) => terms.iter().all(|term| term.may_be_met(tags)),
            Self::Or(terms) => terms.iter().any(|term| term.may_be_met(tags)),
            Self::Compare(left, op, right) => {
                let order = left.value(tags).cmp(right.value(tags));
                match op {
                    CompareOp::Eq => order.is_eq(),
                    CompareOp::Ne => order.is_ne(),
                    CompareOp::Lt => order.is_lt(),
                    CompareOp::Le => order.is_le(),
                    CompareOp::Gt => order.is_gt(),
                    CompareOp::Ge => order.is_ge(),
                }
            }
            Self::Regex(side, regex, negated) => regex.is_match(side.value(tags)) != *negated,
        }
    }
}
