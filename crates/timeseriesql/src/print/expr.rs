//! Expressions.

use std::fmt::{self, Display, Formatter};

use super::{format_float, list};
use crate::{
    ast::*,
    duration::format_duration,
    quote::{quote_ident, quote_string},
    regex::Regex,
    time::format_utc,
};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::VarRef(reference) => reference.fmt(f),
            Self::Call(call) => call.fmt(f),
            Self::Binary(binary) => binary.fmt(f),
            Self::Paren(inner) => write!(f, "({inner})"),
            Self::Distinct(name) => write!(f, "DISTINCT {}", quote_ident(name)),
            Self::Wildcard(wildcard) => wildcard.fmt(f),
            Self::Number(n) => f.write_str(&format_number(*n)),
            Self::Integer(n) => n.fmt(f),
            Self::Unsigned(n) => n.fmt(f),
            Self::String(text) => f.write_str(&quote_string(text)),
            Self::Boolean(b) => b.fmt(f),
            Self::Duration(ns) => f.write_str(&format_duration(*ns)),
            Self::Time(ns) => write!(f, "'{}'", format_utc(*ns)),
            Self::Regex(regex) => regex.fmt(f),
            Self::Nil => f.write_str("nil"),
        }
    }
}

/// Three decimals, as InfluxDB prints numbers, or as many as it takes.
fn format_number(n: f64) -> String {
    let short = format!("{n:.3}");
    if short.parse() == Ok(n) { short } else { format_float(n) }
}

impl Display for BinaryExpr {
    /// Walks down the left operands in a loop: chains of operators are long there.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut chain = vec![self];
        let mut first = &*self.lhs;
        let mut precedence = self.op.precedence();
        while let Expr::Binary(binary) = first {
            if binary.op.precedence() < precedence {
                break;
            }
            precedence = binary.op.precedence();
            chain.push(binary);
            first = &binary.lhs;
        }
        operand(f, first, matches!(first, Expr::Binary(_)))?;
        for binary in chain.iter().rev() {
            write!(f, " {} ", binary.op)?;
            let weak = |rhs: &BinaryExpr| rhs.op.precedence() <= binary.op.precedence();
            let parens = matches!(&*binary.rhs, Expr::Binary(rhs) if weak(rhs));
            operand(f, &binary.rhs, parens)?;
        }
        Ok(())
    }
}

fn operand(f: &mut Formatter<'_>, expr: &Expr, parens: bool) -> fmt::Result {
    if parens { write!(f, "({expr})") } else { expr.fmt(f) }
}

impl Display for BinaryOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::BitAnd => "&",
            Self::BitOr => "|",
            Self::BitXor => "^",
            Self::And => "AND",
            Self::Or => "OR",
            Self::Eq => "=",
            Self::NotEq => "!=",
            Self::EqRegex => "=~",
            Self::NotEqRegex => "!~",
            Self::Lt => "<",
            Self::LtEq => "<=",
            Self::Gt => ">",
            Self::GtEq => ">=",
        })
    }
}

impl Display for VarRef {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&quote_ident(&self.name))?;
        super::optional(f, "::", self.data_type)
    }
}

impl Display for Call {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // The one keyword that may be called bare.
        match self.name.as_str() {
            "distinct" => f.write_str("distinct(")?,
            name => write!(f, "{}(", quote_ident(name))?,
        }
        list(f, &self.args)?;
        f.write_str(")")
    }
}

impl Display for Wildcard {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "*",
            Self::Field => "*::field",
            Self::Tag => "*::tag",
        })
    }
}

impl Display for DataType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float => "float",
            Self::Integer => "integer",
            Self::Unsigned => "unsigned",
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::Time => "time",
            Self::Duration => "duration",
            Self::Tag => "tag",
            Self::AnyField => "field",
        })
    }
}

impl Display for Regex {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.source().replace('/', "\\/"))
    }
}
