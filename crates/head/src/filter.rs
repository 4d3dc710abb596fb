//! Conditions on rows, resolved by series first: what is left is for rows.
//!
//! A comparison with an absent field is false, and so is one of values that cannot be compared.

use std::cmp::Ordering;
use std::sync::Arc;

use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::scan::{CompareOp, FieldId, Operand, Predicate, TagId};
use hyperbytedb_domain::{EngineError, FieldType, FieldValue};
use regex::Regex;

use crate::chunk::Chunk;
use crate::series::SeriesHead;
use crate::table::Index;
use crate::tags::Ordinal;
use crate::value::Value;

/// What a condition makes of a series.
pub enum Verdict {
    /// None of its rows meets it.
    None,
    All,
    Rows(RowFilter),
}

/// A condition on the fields of the rows of one series.
#[derive(Debug, Clone)]
pub enum RowFilter {
    All(Vec<Self>),
    Any(Vec<Self>),
    Compare { left: Side, op: CompareOp, right: Side },
    Regex { side: Side, regex: Arc<Regex>, negated: bool },
}

/// A value of a row or of the condition.
#[derive(Debug, Clone)]
pub enum Side {
    Field(FieldId),
    Literal(FieldValue),
}

/// A condition of one query.
pub enum Filter {
    Constant(bool),
    All(Vec<Self>),
    Any(Vec<Self>),
    /// On one tag: by code, whether its value meets the condition.
    Tag {
        tag: TagId,
        test: Test,
        known: Vec<Option<bool>>,
    },
    Compare {
        left: Operand,
        op: CompareOp,
        right: Operand,
    },
    Regex {
        operand: Operand,
        regex: Arc<Regex>,
        negated: bool,
    },
}

/// A condition on the value of one tag.
pub enum Test {
    Compare(CompareOp, FieldValue),
    Regex(Arc<Regex>, bool),
}

impl Test {
    fn is_met(&self, value: &str) -> bool {
        match self {
            Self::Compare(op, literal) => meets(Some(Value::Text(value)), *op, Value::of_literal(literal)),
            Self::Regex(regex, negated) => regex.is_match(value) != *negated,
        }
    }
}

/// Whether a comparison holds.
fn meets(left: Option<Value<'_>>, op: CompareOp, right: Option<Value<'_>>) -> bool {
    let (Some(left), Some(right)) = (left, right) else { return false };
    let ordered = !matches!((left, right), (Value::Boolean(_), Value::Boolean(_)));
    let Some(order) = left.compare(right) else {
        // Not a number is unequal to every number.
        let numbers = !matches!(left, Value::Text(_) | Value::Boolean(_))
            && !matches!(right, Value::Text(_) | Value::Boolean(_));
        return numbers && op == CompareOp::Ne;
    };
    match op {
        CompareOp::Eq => order == Ordering::Equal,
        CompareOp::Ne => order != Ordering::Equal,
        CompareOp::Lt => ordered && order == Ordering::Less,
        CompareOp::Le => ordered && order != Ordering::Greater,
        CompareOp::Gt => ordered && order == Ordering::Greater,
        CompareOp::Ge => ordered && order != Ordering::Less,
    }
}

impl Filter {
    pub fn new(predicate: &Predicate, table: &Table) -> Result<Self, EngineError> {
        let parts = |parts: &[Predicate]| {
            parts.iter().map(|part| Self::new(part, table)).collect::<Result<Vec<Self>, EngineError>>()
        };
        Ok(match predicate {
            Predicate::Constant(value) => Self::Constant(*value),
            Predicate::And(terms) => Self::All(parts(terms)?),
            Predicate::Or(terms) => Self::Any(parts(terms)?),
            Predicate::Compare { left: Operand::Tag(tag), op, right: Operand::Literal(literal) } => {
                Self::tag(*tag, Test::Compare(*op, literal.clone()))
            }
            Predicate::Compare { left: Operand::Literal(literal), op, right: Operand::Tag(tag) } => {
                Self::tag(*tag, Test::Compare(op.mirrored(), literal.clone()))
            }
            Predicate::Compare { left, op, right } => {
                Self::Compare { left: left.clone(), op: *op, right: right.clone() }
            }
            Predicate::Regex { operand, pattern, negated } => {
                let regex = Regex::new(pattern).map_err(|e| EngineError::failed("compile a condition", e))?;
                let (regex, negated) = (Arc::new(regex), *negated);
                match operand {
                    Operand::Tag(tag) => Self::tag(*tag, Test::Regex(regex, negated)),
                    // Only text matches, or does not match.
                    Operand::Field(field) if table.field_type(*field) != Some(FieldType::String) => {
                        Self::Constant(false)
                    }
                    operand => Self::Regex { operand: operand.clone(), regex, negated },
                }
            }
        })
    }

    fn tag(tag: TagId, test: Test) -> Self {
        Self::Tag { tag, test, known: Vec::new() }
    }

    pub fn of_series(&mut self, index: &Index, series: &SeriesHead) -> Verdict {
        match self {
            Self::Constant(value) => verdict(*value),
            Self::All(parts) => match Self::of_parts(parts, index, series, true) {
                Ok(rest) => Verdict::Rows(RowFilter::All(rest)),
                Err(verdict) => verdict,
            },
            Self::Any(parts) => match Self::of_parts(parts, index, series, false) {
                Ok(rest) => Verdict::Rows(RowFilter::Any(rest)),
                Err(verdict) => verdict,
            },
            Self::Tag { tag, test, known } => {
                let code = series.code(tag.0 as usize) as usize;
                if known.len() <= code {
                    known.resize(code + 1, None);
                }
                let is_met = *known[code].get_or_insert_with(|| test.is_met(index.tag_value(series, *tag)));
                verdict(is_met)
            }
            Self::Compare { left, op, right } => {
                let (left, right) = (Side::of(left, index, series), Side::of(right, index, series));
                match (&left, &right) {
                    (Side::Literal(a), Side::Literal(b)) => {
                        verdict(meets(Value::of_literal(a), *op, Value::of_literal(b)))
                    }
                    _ => Verdict::Rows(RowFilter::Compare { left, op: *op, right }),
                }
            }
            Self::Regex { operand, regex, negated } => match Side::of(operand, index, series) {
                Side::Literal(FieldValue::String(text)) => verdict(regex.is_match(&text) != *negated),
                Side::Literal(_) => Verdict::None,
                side => Verdict::Rows(RowFilter::Regex { side, regex: regex.clone(), negated: *negated }),
            },
        }
    }

    /// What is left of the parts for rows; an error is the verdict on all of them. A part of which the outcome is `neutral`
    /// says nothing.
    fn of_parts(
        parts: &mut [Self],
        index: &Index,
        series: &SeriesHead,
        neutral: bool,
    ) -> Result<Vec<RowFilter>, Verdict> {
        let mut rest = Vec::new();
        for part in parts {
            match part.of_series(index, series) {
                Verdict::Rows(part) => rest.push(part),
                Verdict::All if neutral => {}
                Verdict::None if !neutral => {}
                decided => return Err(decided),
            }
        }
        if rest.is_empty() { Err(verdict(neutral)) } else { Ok(rest) }
    }
}

fn verdict(is_met: bool) -> Verdict {
    if is_met { Verdict::All } else { Verdict::None }
}

impl Side {
    fn of(operand: &Operand, index: &Index, series: &SeriesHead) -> Self {
        match operand {
            Operand::Field(field) => Self::Field(*field),
            Operand::Literal(literal) => Self::Literal(literal.clone()),
            Operand::Tag(tag) => Self::Literal(FieldValue::String(index.tag_value(series, *tag).into())),
        }
    }

    fn value<'a>(&'a self, chunk: &'a Chunk, row: usize) -> Option<Value<'a>> {
        match self {
            Self::Field(field) => chunk.value(row, chunk.layout().position(*field)?),
            Self::Literal(literal) => Value::of_literal(literal),
        }
    }
}

impl RowFilter {
    /// Whether a row meets the condition.
    pub fn is_met(&self, chunk: &Chunk, row: usize) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.is_met(chunk, row)),
            Self::Any(parts) => parts.iter().any(|part| part.is_met(chunk, row)),
            Self::Compare { left, op, right } => meets(left.value(chunk, row), *op, right.value(chunk, row)),
            Self::Regex { side, regex, negated } => match side.value(chunk, row) {
                Some(Value::Text(text)) => regex.is_match(text) != *negated,
                _ => false,
            },
        }
    }
}

/// The series that can meet a condition, where it asks for a value of a tag; `None` = any can.
pub fn postings<'a>(index: &'a Index, predicate: &Predicate) -> Option<&'a [Ordinal]> {
    match predicate {
        Predicate::And(terms) => {
            terms.iter().filter_map(|term| postings(index, term)).min_by_key(|series| series.len())
        }
        Predicate::Compare {
            left: Operand::Tag(tag),
            op: CompareOp::Eq,
            right: Operand::Literal(FieldValue::String(value)),
        } if !value.is_empty() => {
            let none: &[Ordinal] = &[];
            let Some(values) = index.tag(tag.0 as usize) else { return Some(none) };
            Some(values.code(value).map_or(none, |code| values.series_with(code)))
        }
        _ => None,
    }
}
