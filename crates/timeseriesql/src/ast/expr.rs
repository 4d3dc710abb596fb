//! Expressions and literals.

use crate::regex::Regex;

/// An expression: a field, a condition, a dimension or an argument.
///
/// Chains of binary operators lean to the left; their depth is bounded by
/// [`MAX_EXPRESSION_DEPTH`](crate::parser::MAX_EXPRESSION_DEPTH).
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    VarRef(VarRef),
    Call(Call),
    Binary(BinaryExpr),
    /// An expression in parentheses.
    Paren(Box<Expr>),
    /// `DISTINCT name`, without parentheses.
    Distinct(String),
    Wildcard(Wildcard),

    Number(f64),
    Integer(i64),
    /// An integer above `i64::MAX`.
    Unsigned(u64),
    String(String),
    Boolean(bool),
    /// Nanoseconds.
    Duration(i64),
    /// Nanoseconds since the Unix epoch, beyond `i64` for years outside 1677 to 2262.
    /// The parser never makes one: reduction does.
    Time(i128),
    Regex(Regex),
    /// What reduction leaves of a reference without a value.
    Nil,
}

/// A reference to a field, a tag or `time`; segments of a dotted name are joined by `.`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VarRef {
    pub name: String,
    /// The cast after `::`, if any.
    pub data_type: Option<DataType>,
}

impl VarRef {
    /// A reference without a cast.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), data_type: None }
    }
}

/// A function call; the name is in lower case.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub name: String,
    pub args: Vec<Expr>,
}

/// `lhs op rhs`.
#[derive(Debug, Clone, PartialEq)]
pub struct BinaryExpr {
    pub op: BinaryOp,
    pub lhs: Box<Expr>,
    pub rhs: Box<Expr>,
}

impl BinaryExpr {
    pub fn new(op: BinaryOp, lhs: Expr, rhs: Expr) -> Self {
        Self { op, lhs: Box::new(lhs), rhs: Box::new(rhs) }
    }
}

/// `*`, `*::field` or `*::tag`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wildcard {
    Any,
    Field,
    Tag,
}

/// Types a reference can be cast to, or an expression can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataType {
    Float,
    Integer,
    Unsigned,
    String,
    Boolean,
    Time,
    Duration,
    Tag,
    /// `::field`: a field of whatever type.
    AnyField,
}

/// Binary operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    BitAnd,
    BitOr,
    BitXor,
    And,
    Or,
    Eq,
    NotEq,
    EqRegex,
    NotEqRegex,
    Lt,
    LtEq,
    Gt,
    GtEq,
}

impl BinaryOp {
    /// Binding strength, 1 (`OR`) to 5 (`*`).
    pub fn precedence(self) -> u8 {
        use BinaryOp::*;
        match self {
            Or => 1,
            And => 2,
            Eq | NotEq | EqRegex | NotEqRegex | Lt | LtEq | Gt | GtEq => 3,
            Add | Sub | BitOr | BitXor => 4,
            Mul | Div | Mod | BitAnd => 5,
        }
    }

    /// `=~` or `!~`.
    pub fn is_regex(self) -> bool {
        matches!(self, Self::EqRegex | Self::NotEqRegex)
    }

    /// `=`, `!=`, `<`, `<=`, `>`, `>=`.
    pub fn is_comparison(self) -> bool {
        use BinaryOp::*;
        matches!(self, Eq | NotEq | Lt | LtEq | Gt | GtEq)
    }

    /// `AND` or `OR`.
    pub fn is_logical(self) -> bool {
        matches!(self, Self::And | Self::Or)
    }

    /// An operator that computes a value rather than a truth.
    pub fn is_arithmetic(self) -> bool {
        self.precedence() > 3
    }
}
