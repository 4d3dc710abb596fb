//! Expressions.

use std::fmt;
use std::sync::Arc;

use hyperbytedb_domain::field::FieldValue;

use crate::quote;

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    String(Arc<str>),
}

impl Literal {
    pub fn string(text: impl Into<Arc<str>>) -> Self {
        Self::String(text.into())
    }
}

impl From<&FieldValue> for Literal {
    fn from(value: &FieldValue) -> Self {
        match value {
            // Lists are only in results.
            FieldValue::Null | FieldValue::Strings(_) => Self::Null,
            FieldValue::Float(v) => Self::Float(*v),
            FieldValue::Integer(v) | FieldValue::Time(v) => Self::Int(*v),
            FieldValue::Unsigned(v) => Self::UInt(*v),
            FieldValue::String(v) => Self::String(v.clone()),
            FieldValue::Boolean(v) => Self::Bool(*v),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Bool(v) => write!(f, "{v}"),
            Self::Int(v) => write!(f, "{v}"),
            Self::UInt(v) => write!(f, "{v}"),
            Self::Float(v) => quote::float(f, *v),
            Self::String(v) => quote::string(f, v),
        }
    }
}

/// An expression. Sub-expressions are parenthesised where they need it, so composing is always safe.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    Column(String),
    /// A part of a column that is stored by itself.
    Subcolumn {
        column: String,
        part: &'static str,
    },
    Literal(Literal),
    /// `function(arguments)`, or `function(parameters)(arguments)` when there are parameters.
    Call {
        function: &'static str,
        parameters: Vec<Literal>,
        arguments: Vec<Expr>,
    },
    /// `(a op b op c)`; a single operand stands alone.
    Infix {
        operator: &'static str,
        operands: Vec<Expr>,
    },
    /// `expr IN (values)`.
    In {
        expr: Box<Expr>,
        values: Vec<Literal>,
    },
    /// `expr AS name`.
    Alias {
        expr: Box<Expr>,
        name: String,
    },
}

impl Expr {
    pub fn column(name: impl Into<String>) -> Self {
        Self::Column(name.into())
    }

    pub const fn int(value: i64) -> Self {
        Self::Literal(Literal::Int(value))
    }

    pub fn string(text: impl Into<Arc<str>>) -> Self {
        Self::Literal(Literal::string(text))
    }

    pub fn call(function: &'static str, arguments: impl Into<Vec<Self>>) -> Self {
        Self::Call { function, parameters: Vec::new(), arguments: arguments.into() }
    }

    /// A parametric aggregate function.
    pub fn parametric(
        function: &'static str,
        parameters: impl Into<Vec<Literal>>,
        arguments: impl Into<Vec<Self>>,
    ) -> Self {
        Self::Call { function, parameters: parameters.into(), arguments: arguments.into() }
    }

    pub fn infix(self, operator: &'static str, right: Self) -> Self {
        Self::Infix { operator, operands: vec![self, right] }
    }

    /// All of them; true when there are none.
    pub fn all(operands: Vec<Self>) -> Self {
        if operands.is_empty() {
            return Self::Literal(Literal::Bool(true));
        }
        Self::Infix { operator: "AND", operands }
    }

    /// One of them; false when there are none.
    pub fn any(operands: Vec<Self>) -> Self {
        if operands.is_empty() {
            return Self::Literal(Literal::Bool(false));
        }
        Self::Infix { operator: "OR", operands }
    }

    pub fn is_not_null(self) -> Self {
        Self::call("isNotNull", [self])
    }

    pub fn tuple(items: impl Into<Vec<Self>>) -> Self {
        Self::call("tuple", items)
    }

    pub fn alias(self, name: impl Into<String>) -> Self {
        Self::Alias { expr: Box::new(self), name: name.into() }
    }
}

/// Writes the items with `separator` between them.
pub(crate) fn join<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T], separator: &str) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column(name) => quote::identifier(f, name),
            Self::Subcolumn { column, part } => {
                quote::identifier(f, column)?;
                f.write_str(".")?;
                quote::identifier(f, part)
            }
            Self::Literal(literal) => literal.fmt(f),
            Self::Call { function, parameters, arguments } => {
                f.write_str(function)?;
                if !parameters.is_empty() {
                    f.write_str("(")?;
                    join(f, parameters, ", ")?;
                    f.write_str(")")?;
                }
                f.write_str("(")?;
                join(f, arguments, ", ")?;
                f.write_str(")")
            }
            Self::Infix { operands, .. } if operands.len() == 1 => join(f, operands, ""),
            Self::Infix { operator, operands } => {
                f.write_str("(")?;
                for (i, operand) in operands.iter().enumerate() {
                    if i > 0 {
                        write!(f, " {operator} ")?;
                    }
                    operand.fmt(f)?;
                }
                f.write_str(")")
            }
            Self::In { expr, values } => {
                write!(f, "({expr} IN (")?;
                join(f, values, ", ")?;
                f.write_str("))")
            }
            Self::Alias { expr, name } => {
                write!(f, "{expr} AS ")?;
                quote::identifier(f, name)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text() {
        let a = || Expr::column("a`b");
        for (expr, expected) in [
            (a(), r"`a\`b`"),
            (a().infix("-", Expr::int(-5)), r"(`a\`b` - -5)"),
            (Expr::int(i64::MIN), "-9223372036854775808"),
            (Expr::Literal(Literal::UInt(u64::MAX)), "18446744073709551615"),
            (Expr::string("x'"), r"'x\''"),
            (Expr::all(vec![]), "true"),
            (Expr::any(vec![]), "false"),
            (Expr::any(vec![Expr::int(1)]), "1"),
            (Expr::all(vec![Expr::int(1), Expr::int(2)]), "(1 AND 2)"),
            (Expr::parametric("quantile", [Literal::Float(0.5)], [Expr::column("f")]), "quantile(0.5)(`f`)"),
            (
                Expr::In { expr: Box::new(a()), values: vec![Literal::string("x"), Literal::Null] },
                r"(`a\`b` IN ('x', NULL))",
            ),
            (Expr::int(0).alias("w"), "0 AS `w`"),
        ] {
            assert_eq!(expr.to_string(), expected);
        }
    }
}
