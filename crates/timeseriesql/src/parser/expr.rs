//! Expressions.

use super::{MAX_EXPRESSION_DEPTH, Parser, Scanned};
use crate::{ast::*, duration::parse_duration, error::ParseError, lexer::Token, regex::Regex};

/// An expression and the depth of its tree.
type Measured = (Expr, usize);

/// Depths along the right edge of a tree under construction.
struct RightEdge {
    /// Precedence of each operator on the edge, rising, and the depth of its left operand.
    open: Vec<(u8, usize)>,
    /// Depth of the last operand.
    last: usize,
}

impl RightEdge {
    /// An operator and its right operand come; operators that bind as strongly become its left one.
    fn push(&mut self, precedence: u8, depth: usize) {
        let mut lhs = self.last;
        while let Some((_, depth)) = self.open.pop_if(|(open, _)| *open >= precedence) {
            lhs = 1 + lhs.max(depth);
        }
        self.open.push((precedence, lhs));
        self.last = depth;
    }

    /// Depth of the whole tree.
    fn depth(&self) -> usize {
        self.open.iter().rev().fold(self.last, |depth, &(_, lhs)| 1 + depth.max(lhs))
    }
}

impl Parser<'_> {
    pub(super) fn expr(&mut self) -> Result<Expr, ParseError> {
        self.measured_expr().map(|(expr, _)| expr)
    }

    fn measured_expr(&mut self) -> Result<Measured, ParseError> {
        self.nested(Self::operators)
    }

    /// Operands and the operators between them, as a tree by precedence.
    fn operators(&mut self) -> Result<Measured, ParseError> {
        let (mut root, depth) = self.unary()?;
        let mut edge = RightEdge { open: Vec::new(), last: depth };
        loop {
            let Some(op) = binary_op(self.scan().token) else {
                self.unscan();
                return Ok((root, edge.depth()));
            };
            let (rhs, depth) = match op.is_regex() {
                true => (Expr::Regex(self.regex()?), 1),
                false => self.unary()?,
            };
            edge.push(op.precedence(), depth);
            if edge.depth() > MAX_EXPRESSION_DEPTH {
                return Err(ParseError::other(format!(
                    "expression nests deeper than {MAX_EXPRESSION_DEPTH} levels"
                )));
            }
            attach(&mut root, op, rhs);
        }
    }

    fn unary(&mut self) -> Result<Measured, ParseError> {
        let next = self.scan();
        let leaf = match next.token {
            Token::LParen => {
                let (expr, depth) = self.measured_expr()?;
                self.expect(Token::RParen)?;
                return Ok((Expr::Paren(Box::new(expr)), depth + 1));
            }
            Token::Ident => {
                let name = self.take_text();
                if self.scan_raw().token == Token::LParen {
                    return self.call(&name);
                }
                self.unscan();
                self.unscan();
                Expr::VarRef(self.var_ref()?)
            }
            Token::Distinct => return self.distinct(),
            Token::Add | Token::Sub => return self.signed(next.token == Token::Sub),
            Token::Mul => Expr::Wildcard(self.wildcard()?),
            Token::String => Expr::String(self.take_text()),
            Token::Number => self.number(next)?,
            Token::Integer => self.integer(next)?,
            Token::True | Token::False => Expr::Boolean(next.token == Token::True),
            Token::DurationVal => {
                let duration = parse_duration(self.text());
                Expr::Duration(duration.map_err(|e| ParseError::other(e.to_string()))?)
            }
            Token::Regex => {
                let regex = Regex::new(self.text());
                Expr::Regex(regex.map_err(|e| ParseError::invalid(e.to_string(), next.position))?)
            }
            Token::BoundParam => return Err(self.unbound()),
            _ => return Err(self.unexpected(next, &["identifier", "string", "number", "bool"])),
        };
        Ok((leaf, 1))
    }

    /// The operand after a sign.
    fn signed(&mut self, negative: bool) -> Result<Measured, ParseError> {
        let next = self.scan();
        match next.token {
            Token::Number | Token::Integer | Token::DurationVal | Token::LParen | Token::Ident => {}
            _ => return Err(self.unexpected(next, &["identifier", "number", "duration", "("])),
        }
        self.unscan();
        let (operand, depth) = self.unary()?;
        let sign = if negative { -1 } else { 1 };
        let expr = match operand {
            Expr::Number(n) => Expr::Number(n * sign as f64),
            Expr::Integer(n) => Expr::Integer(n.wrapping_mul(sign)),
            Expr::Duration(ns) => Expr::Duration(ns.wrapping_mul(sign)),
            Expr::Unsigned(n) if !negative => Expr::Unsigned(n),
            Expr::Unsigned(n) if n == i64::MIN.unsigned_abs() => Expr::Integer(i64::MIN),
            Expr::Unsigned(n) => {
                return Err(ParseError::other(format!("constant -{n} underflows int64")));
            }
            other => Expr::Binary(BinaryExpr::new(BinaryOp::Mul, Expr::Integer(sign), other)),
        };
        Ok((expr, depth + 1))
    }

    fn number(&self, next: Scanned) -> Result<Expr, ParseError> {
        let parsed = self.text().parse().ok().filter(|n: &f64| n.is_finite());
        parsed.map(Expr::Number).ok_or_else(|| ParseError::invalid("unable to parse number", next.position))
    }

    fn integer(&self, next: Scanned) -> Result<Expr, ParseError> {
        let text = self.text();
        let signed = text.parse().map(Expr::Integer);
        signed
            .or_else(|_| text.parse().map(Expr::Unsigned))
            .map_err(|_| ParseError::invalid("unable to parse integer", next.position))
    }

    fn wildcard(&mut self) -> Result<Wildcard, ParseError> {
        if !self.accept_raw(Token::DoubleColon) {
            return Ok(Wildcard::Any);
        }
        let next = self.scan_raw();
        match next.token {
            Token::Field => Ok(Wildcard::Field),
            Token::Tag => Ok(Wildcard::Tag),
            _ => Err(self.unexpected(next, &["field", "tag"])),
        }
    }

    fn distinct(&mut self) -> Result<Measured, ParseError> {
        let next = self.scan_raw();
        match next.token {
            Token::LParen => self.call("distinct"),
            Token::Whitespace => Ok((Expr::Distinct(self.ident()?), 1)),
            _ => Err(self.unexpected(next, &["(", "identifier"])),
        }
    }

    /// Why a parameter has no value.
    fn unbound(&self) -> ParseError {
        match self.text().trim_start_matches('$') {
            "" => ParseError::other("empty bound parameter"),
            name => ParseError::other(format!("missing parameter: {name}")),
        }
    }

    /// `name`, `a.b.c`, `name::type`.
    pub(super) fn var_ref(&mut self) -> Result<VarRef, ParseError> {
        let name = self.segmented_idents()?.join(".");
        let data_type = match self.accept_raw(Token::DoubleColon) {
            true => Some(self.cast()?),
            false => None,
        };
        Ok(VarRef { name, data_type })
    }

    fn cast(&mut self) -> Result<DataType, ParseError> {
        let next = self.scan_raw();
        match next.token {
            Token::Field => Ok(DataType::AnyField),
            Token::Tag => Ok(DataType::Tag),
            Token::Ident => match self.text().to_ascii_lowercase().as_str() {
                "float" => Ok(DataType::Float),
                "integer" => Ok(DataType::Integer),
                "unsigned" => Ok(DataType::Unsigned),
                "string" => Ok(DataType::String),
                "boolean" => Ok(DataType::Boolean),
                _ => Err(self.unexpected(
                    next,
                    &["float", "integer", "unsigned", "string", "boolean", "field", "tag"],
                )),
            },
            _ => Err(self.unexpected(next, &["float", "integer", "string", "boolean", "field", "tag"])),
        }
    }

    /// The arguments of a call whose name and parenthesis have been read.
    fn call(&mut self, name: &str) -> Result<Measured, ParseError> {
        let name = name.to_lowercase();
        let mut args = Vec::new();
        let mut deepest = 0;
        if let Some(regex) = self.optional_regex()? {
            args.push(Expr::Regex(regex));
        } else if self.accept_raw(Token::RParen) {
            return Ok((Expr::Call(Call { name, args }), 1));
        } else {
            let (arg, depth) = self.measured_expr()?;
            args.push(arg);
            deepest = depth;
        }
        while self.accept(Token::Comma) {
            if let Some(regex) = self.optional_regex()? {
                args.push(Expr::Regex(regex));
                continue;
            }
            let (arg, depth) = self.measured_expr()?;
            args.push(arg);
            deepest = deepest.max(depth);
        }
        let next = self.scan_raw();
        if next.token != Token::RParen {
            return Err(self.unexpected(next, &[")"]));
        }
        Ok((Expr::Call(Call { name, args }), deepest + 1))
    }

    /// A regular expression, where there must be one.
    pub(super) fn regex(&mut self) -> Result<Regex, ParseError> {
        if let Some(regex) = self.optional_regex()? {
            return Ok(regex);
        }
        let next = self.scan();
        Err(self.unexpected(next, &["regex"]))
    }

    /// A regular expression, or a parameter that is one, if the next character begins it.
    pub(super) fn optional_regex(&mut self) -> Result<Option<Regex>, ParseError> {
        if matches!(self.lexer.peek(), ' ' | '\t' | '\n') {
            self.accept_raw(Token::Whitespace);
        }
        match self.lexer.peek() {
            '/' => {}
            '$' => {
                let next = self.scan_raw();
                self.unscan();
                if next.token != Token::Regex {
                    return Ok(None);
                }
            }
            _ => return Ok(None),
        }
        let next = self.scan_regex();
        let text = self.text();
        let invalid = |message: String| ParseError::invalid(message, next.position);
        match next.token {
            Token::Regex => Regex::new(text).map(Some).map_err(|e| invalid(e.to_string())),
            Token::BadEscape => Err(invalid(format!("bad escape: {text}"))),
            Token::BadRegex => Err(invalid(format!("bad regex: {text}"))),
            _ => Err(self.unexpected(next, &["regex"])),
        }
    }
}

/// Adds `op rhs` to the tree: below the first operator on its right edge that binds weaker.
fn attach(node: &mut Expr, op: BinaryOp, rhs: Expr) {
    match node {
        Expr::Binary(binary) if binary.op.precedence() < op.precedence() => {
            attach(&mut binary.rhs, op, rhs);
        }
        _ => {
            let lhs = std::mem::replace(node, Expr::Nil);
            *node = Expr::Binary(BinaryExpr::new(op, lhs, rhs));
        }
    }
}

fn binary_op(token: Token) -> Option<BinaryOp> {
    Some(match token {
        Token::Add => BinaryOp::Add,
        Token::Sub => BinaryOp::Sub,
        Token::Mul => BinaryOp::Mul,
        Token::Div => BinaryOp::Div,
        Token::Mod => BinaryOp::Mod,
        Token::BitAnd => BinaryOp::BitAnd,
        Token::BitOr => BinaryOp::BitOr,
        Token::BitXor => BinaryOp::BitXor,
        Token::And => BinaryOp::And,
        Token::Or => BinaryOp::Or,
        Token::Eq => BinaryOp::Eq,
        Token::NotEq => BinaryOp::NotEq,
        Token::EqRegex => BinaryOp::EqRegex,
        Token::NotEqRegex => BinaryOp::NotEqRegex,
        Token::Lt => BinaryOp::Lt,
        Token::LtEq => BinaryOp::LtEq,
        Token::Gt => BinaryOp::Gt,
        Token::GtEq => BinaryOp::GtEq,
        _ => return None,
    })
}
