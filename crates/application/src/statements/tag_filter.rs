//! Conditions on tags alone, over series of the index: WHERE of SHOW, DELETE and DROP SERIES.

use hyperbytedb_domain::Tags;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::field::FieldValue;
use hyperbytedb_domain::scan::{CompareOp, Operand, Predicate};
use hyperbytedb_timeseriesql::ast::{BinaryExpr, BinaryOp, Expr};
use hyperbytedb_timeseriesql::regex::Regex;

/// A condition compiled for evaluation against tag sets.
#[derive(Debug, Clone)]
pub enum TagFilter {
    Constant(bool),
    And(Box<TagFilter>, Box<TagFilter>),
    Or(Box<TagFilter>, Box<TagFilter>),
    /// A missing tag is the empty string.
    Equals {
        key: String,
        value: String,
        negated: bool,
    },
    Matches {
        key: String,
        pattern: Regex,
        negated: bool,
    },
    SameAs {
        left: String,
        right: String,
        negated: bool,
    },
}

/// The key that stands for the measurement's name.
const NAME_KEY: &str = "_name";

impl TagFilter {
    /// Compiles a condition without time bounds. `table` tells fields from tags; errors are InfluxDB's texts.
    pub fn compile(condition: &Expr, table: &Table) -> Result<Self, String> {
        match condition {
            Expr::Paren(inner) => Self::compile(inner, table),
            Expr::Boolean(value) => Ok(Self::Constant(*value)),
            Expr::Binary(binary) => Self::compile_binary(binary, table),
            other => Err(format!("invalid tag expression: {other}")),
        }
    }

    fn compile_binary(binary: &BinaryExpr, table: &Table) -> Result<Self, String> {
        let both = || -> Result<_, String> {
            Ok((Box::new(Self::compile(&binary.lhs, table)?), Box::new(Self::compile(&binary.rhs, table)?)))
        };
        match binary.op {
            BinaryOp::And => both().map(|(l, r)| Self::And(l, r)),
            BinaryOp::Or => both().map(|(l, r)| Self::Or(l, r)),
            _ => Self::compile_comparison(binary, table),
        }
    }

    fn compile_comparison(binary: &BinaryExpr, table: &Table) -> Result<Self, String> {
        let (key, other) = match (&*binary.lhs, &*binary.rhs) {
            (Expr::VarRef(reference), other) | (other, Expr::VarRef(reference)) => {
                (reference.name.clone(), other)
            }
            _ => return Err("invalid tag comparison operator".to_owned()),
        };
        if key.eq_ignore_ascii_case("time") {
            return Ok(Self::Constant(true));
        }
        let negated = matches!(binary.op, BinaryOp::NotEq | BinaryOp::NotEqRegex);
        match (binary.op, other) {
            (BinaryOp::Eq | BinaryOp::NotEq, Expr::String(value)) if key == NAME_KEY => {
                Ok(Self::Constant((*value == table.measurement) != negated))
            }
            (BinaryOp::Eq | BinaryOp::NotEq, Expr::String(value)) => {
                Ok(Self::Equals { key, value: value.clone(), negated })
            }
            (BinaryOp::Eq | BinaryOp::NotEq, Expr::VarRef(right)) => {
                Ok(Self::SameAs { left: key, right: right.name.clone(), negated })
            }
            (BinaryOp::EqRegex | BinaryOp::NotEqRegex, Expr::Regex(pattern)) => {
                let pattern = pattern.clone();
                if key == NAME_KEY {
                    return Ok(Self::Constant(pattern.is_match(&table.measurement) != negated));
                }
                Ok(Self::Matches { key, pattern, negated })
            }
            // Comparing a tag with a number or a boolean is never true.
            (
                BinaryOp::Eq | BinaryOp::NotEq,
                Expr::Number(_) | Expr::Integer(_) | Expr::Unsigned(_) | Expr::Boolean(_),
            ) => Ok(Self::Constant(false)),
            _ => Err("invalid tag comparison operator".to_owned()),
        }
    }

    pub fn matches(&self, tags: &Tags) -> bool {
        self.matches_with(&|key| tags.get(key).unwrap_or_default())
    }

    /// Evaluates against any source of tag values.
    pub fn matches_with<'a>(&self, value_of: &impl Fn(&str) -> &'a str) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::And(l, r) => l.matches_with(value_of) && r.matches_with(value_of),
            Self::Or(l, r) => l.matches_with(value_of) || r.matches_with(value_of),
            Self::Equals { key, value, negated } => (value_of(key) == value) != *negated,
            Self::Matches { key, pattern, negated } => pattern.is_match(value_of(key)) != *negated,
            Self::SameAs { left, right, negated } => (value_of(left) == value_of(right)) != *negated,
        }
    }

    /// Whether the condition looks at a tag that is not among these.
    pub fn names_missing_tag(&self, tags: &Tags) -> bool {
        match self {
            Self::Constant(_) => false,
            Self::And(l, r) | Self::Or(l, r) => l.names_missing_tag(tags) || r.names_missing_tag(tags),
            Self::Equals { key, .. } | Self::Matches { key, .. } => tags.get(key).is_none(),
            Self::SameAs { left, right, .. } => tags.get(left).is_none() || tags.get(right).is_none(),
        }
    }

    /// A tag value that every match must have, if the condition says so: a way into the index.
    pub fn required_value(&self) -> Option<(&str, &str)> {
        match self {
            Self::Equals { key, value, negated: false } if !value.is_empty() => Some((key, value)),
            Self::And(l, r) => l.required_value().or_else(|| r.required_value()),
            _ => None,
        }
    }

    /// The same condition for the engine.
    pub fn predicate(&self, table: &Table) -> Predicate {
        let operand = |key: &str| {
            table.tag(key).map_or_else(|| Operand::Literal(FieldValue::String("".into())), Operand::Tag)
        };
        let op = |negated: bool| if negated { CompareOp::Ne } else { CompareOp::Eq };
        match self {
            Self::Constant(value) => Predicate::Constant(*value),
            Self::And(l, r) => Predicate::And(vec![l.predicate(table), r.predicate(table)]),
            Self::Or(l, r) => Predicate::Or(vec![l.predicate(table), r.predicate(table)]),
            Self::Equals { key, value, negated } => Predicate::Compare {
                left: operand(key),
                op: op(*negated),
                right: Operand::Literal(FieldValue::String(value.as_str().into())),
            },
            Self::Matches { key, pattern, negated } => Predicate::Regex {
                operand: operand(key),
                pattern: pattern.source().to_owned(),
                negated: *negated,
            },
            Self::SameAs { left, right, negated } => {
                Predicate::Compare { left: operand(left), op: op(*negated), right: operand(right) }
            }
        }
    }
}
