//! Conditions on tags, over series of the index: WHERE of SHOW, DELETE and DROP SERIES.
//!
//! The index decides what it can, as InfluxDB's does; what needs the values of fields it leaves undecided, and each
//! statement has its own way to take that.

use hyperbytedb_domain::Tags;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::field::FieldValue;
use hyperbytedb_domain::scan::{CompareOp, Operand, Predicate};
use hyperbytedb_timeseriesql::ast::{BinaryExpr, BinaryOp, DataType, Expr, VarRef};
use hyperbytedb_timeseriesql::regex::Regex;

/// A condition compiled for evaluation against tag sets. A missing tag is the empty string.
#[derive(Debug, Clone)]
pub enum TagFilter {
    Constant(bool),
    /// A comparison with the measurement's name.
    Name {
        matches: bool,
    },
    /// Only the points could tell.
    Undecided,
    And(Box<TagFilter>, Box<TagFilter>),
    Or(Box<TagFilter>, Box<TagFilter>),
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
    /// Two tags are equal if both are there; else, to anything but `=`, they are not.
    SameValue {
        left: String,
        right: String,
        negated: bool,
    },
}

/// What a filter says about a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    No,
    Undecided,
    Yes,
}

impl From<bool> for Verdict {
    fn from(matches: bool) -> Self {
        if matches { Self::Yes } else { Self::No }
    }
}

/// The key that stands for the measurement's name.
pub const NAME_KEY: &str = "_name";

impl TagFilter {
    /// Compiles a condition without time bounds; `table` tells fields from tags.
    pub fn compile(condition: &Expr, table: &Table) -> Self {
        match condition {
            Expr::Paren(inner) => Self::compile(inner, table),
            Expr::Boolean(value) => Self::Constant(*value),
            Expr::Binary(binary) => Self::compile_binary(binary, table),
            _ => Self::Constant(false),
        }
    }

    fn compile_binary(binary: &BinaryExpr, table: &Table) -> Self {
        let both =
            || (Box::new(Self::compile(&binary.lhs, table)), Box::new(Self::compile(&binary.rhs, table)));
        match binary.op {
            BinaryOp::And => {
                let (left, right) = both();
                Self::And(left, right)
            }
            BinaryOp::Or => {
                let (left, right) = both();
                Self::Or(left, right)
            }
            _ => Self::compile_comparison(binary, table),
        }
    }

    fn compile_comparison(binary: &BinaryExpr, table: &Table) -> Self {
        let (reference, other) = match (&*binary.lhs, &*binary.rhs) {
            (Expr::Binary(_), _) | (_, Expr::Binary(_)) => return Self::Undecided,
            (Expr::VarRef(reference), other) | (other, Expr::VarRef(reference)) => (reference, other),
            _ => return Self::Undecided,
        };
        if is_field(reference, table) {
            return Self::Undecided;
        }
        let key = reference.name.clone();
        let negated = !matches!(binary.op, BinaryOp::Eq | BinaryOp::EqRegex);
        match other {
            Expr::String(value) if key == NAME_KEY => {
                Self::Name { matches: (*value == table.measurement) != negated }
            }
            Expr::String(value) => Self::Equals { key, value: value.clone(), negated },
            Expr::Regex(pattern) if key == NAME_KEY => {
                Self::Name { matches: pattern.is_match(&table.measurement) != negated }
            }
            Expr::Regex(pattern) => Self::Matches { key, pattern: pattern.clone(), negated },
            Expr::VarRef(right) if !is_field(right, table) => {
                Self::SameValue { left: key, right: right.name.clone(), negated }
            }
            _ => Self::Undecided,
        }
    }

    /// Whether a series with these tags matches.
    pub fn verdict(&self, tags: &Tags) -> Verdict {
        self.verdict_with(&|key| tags.get(key))
    }

    /// Evaluates against any source of tag values.
    pub fn verdict_with<'a>(&self, tag: &impl Fn(&str) -> Option<&'a str>) -> Verdict {
        let value_of = |key: &str| tag(key).unwrap_or_default();
        match self {
            Self::Constant(value) | Self::Name { matches: value } => (*value).into(),
            Self::Undecided => Verdict::Undecided,
            Self::And(l, r) => l.verdict_with(tag).min(r.verdict_with(tag)),
            Self::Or(l, r) => l.verdict_with(tag).max(r.verdict_with(tag)),
            Self::Equals { key, value, negated } => ((value_of(key) == value) != *negated).into(),
            Self::Matches { key, pattern, negated } => (pattern.is_match(value_of(key)) != *negated).into(),
            Self::SameValue { left, right, negated } => {
                let is_same = tag(left).is_some_and(|value| tag(right) == Some(value));
                (is_same != *negated).into()
            }
        }
    }

    /// As [`TagFilter::verdict`], but a comparison with anything else than a tag that the series has is false.
    pub fn matches_present(&self, tags: &Tags) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::Undecided | Self::Name { .. } => false,
            Self::And(l, r) => l.matches_present(tags) && r.matches_present(tags),
            Self::Or(l, r) => l.matches_present(tags) || r.matches_present(tags),
            Self::Equals { key, .. } | Self::Matches { key, .. } => {
                tags.get(key).is_some() && self.verdict(tags) == Verdict::Yes
            }
            Self::SameValue { left, right, negated } => match (tags.get(left), tags.get(right)) {
                (Some(left), Some(right)) => (left == right) != *negated,
                _ => false,
            },
        }
    }

    /// Whether some series might need its points looked at.
    pub fn may_be_undecided(&self) -> bool {
        match self {
            Self::Undecided => true,
            Self::And(l, r) | Self::Or(l, r) => l.may_be_undecided() || r.may_be_undecided(),
            _ => false,
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

    /// The same condition for the engine, undecided parts as false.
    pub fn predicate(&self, table: &Table) -> Predicate {
        let empty = || Operand::Literal(FieldValue::String("".into()));
        let operand = |key: &str| table.tag(key).map_or_else(empty, Operand::Tag);
        let op = |negated: bool| if negated { CompareOp::Ne } else { CompareOp::Eq };
        match self {
            Self::Constant(value) | Self::Name { matches: value } => Predicate::Constant(*value),
            Self::Undecided => Predicate::Constant(false),
            // A chain of one operator becomes one level, however long it is.
            Self::And(l, r) => Predicate::And(match l.predicate(table) {
                Predicate::And(terms) => with(terms, r.predicate(table)),
                other => vec![other, r.predicate(table)],
            }),
            Self::Or(l, r) => Predicate::Or(match l.predicate(table) {
                Predicate::Or(terms) => with(terms, r.predicate(table)),
                other => vec![other, r.predicate(table)],
            }),
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
            Self::SameValue { left, right, negated } => {
                let is_there = Predicate::Compare { left: operand(left), op: op(!*negated), right: empty() };
                let is_same =
                    Predicate::Compare { left: operand(left), op: op(*negated), right: operand(right) };
                let terms = vec![is_there, is_same];
                if *negated { Predicate::Or(terms) } else { Predicate::And(terms) }
            }
        }
    }
}

fn with(mut terms: Vec<Predicate>, term: Predicate) -> Vec<Predicate> {
    terms.push(term);
    terms
}

/// Whether a name in a condition is a field: InfluxDB prefers it to a tag of the same name.
fn is_field(reference: &VarRef, table: &Table) -> bool {
    reference.name != NAME_KEY
        && match &reference.data_type {
            None => table.field(&reference.name).is_some(),
            Some(DataType::Tag) => false,
            Some(_) => true,
        }
}
