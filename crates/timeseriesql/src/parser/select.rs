//! SELECT, its sources and target, and EXPLAIN.

use jiff::tz::TimeZone;

use super::{Parser, clauses::non_empty};
use crate::{ast::*, error::ParseError, lexer::Token, walk::walk_expr};

/// Whether a SELECT must have an INTO.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Into {
    Required,
    Optional,
}

impl Parser<'_> {
    /// What follows `SELECT`.
    pub(super) fn select(&mut self, into: Into) -> Result<SelectStatement, ParseError> {
        let fields = self.fields()?;
        let target = self.target(into)?;
        self.expect(Token::From)?;
        let sources = self.sources(true)?;
        let condition = self.condition()?;
        let dimensions = self.dimensions()?;
        let fill = self.fill()?;
        let sort_fields = self.order_by()?;
        let limit = self.optional_count(Token::Limit)?;
        let offset = self.optional_count(Token::Offset)?;
        let slimit = self.optional_count(Token::Slimit)?;
        let soffset = self.optional_count(Token::Soffset)?;
        let time_zone = self.time_zone()?;
        Ok(SelectStatement {
            fields,
            target,
            sources,
            condition,
            dimensions,
            fill,
            sort_fields,
            limit,
            offset,
            slimit,
            soffset,
            time_zone,
        })
    }

    pub(super) fn explain(&mut self) -> Result<Statement, ParseError> {
        let analyze = self.accept(Token::Analyze);
        let verbose = self.accept(Token::Verbose);
        self.expect(Token::Select)?;
        let statement = self.select(Into::Optional)?;
        Ok(Statement::Explain(Box::new(ExplainStatement { statement, analyze, verbose })))
    }

    fn fields(&mut self) -> Result<Vec<Field>, ParseError> {
        let mut fields = vec![self.field()?];
        while self.accept_raw(Token::Comma) {
            fields.push(self.field()?);
        }
        Ok(fields)
    }

    fn field(&mut self) -> Result<Field, ParseError> {
        let expr = match self.optional_regex()? {
            Some(regex) => Expr::Regex(regex),
            None => self.field_expr()?,
        };
        let alias = match self.accept(Token::As) {
            true => non_empty(self.ident()?),
            false => None,
        };
        self.accept_raw(Token::Whitespace);
        Ok(Field { expr, alias })
    }

    fn field_expr(&mut self) -> Result<Expr, ParseError> {
        let start = self.scan().position;
        self.unscan();
        let expr = self.expr()?;
        let mut misplaced = None;
        walk_expr(&expr, &mut |node| {
            if let Expr::Binary(binary) = node
                && (binary.op.is_comparison() || binary.op.is_regex() || binary.op.is_logical())
            {
                misplaced = Some(binary.op);
                return false;
            }
            true
        });
        match misplaced {
            None => Ok(expr),
            Some(op) => Err(ParseError::other(format!(
                "invalid operator {op} in SELECT clause at {start}; operator is intended for WHERE clause"
            ))),
        }
    }

    fn target(&mut self, into: Into) -> Result<Option<Target>, ParseError> {
        let next = self.scan();
        if next.token != Token::Into {
            if into == Into::Required {
                return Err(self.unexpected(next, &["INTO"]));
            }
            self.unscan();
            return Ok(None);
        }
        let mut segments = self.segmented_idents()?;
        if segments.len() < 3 && self.lexer.peek() == ':' {
            self.expect(Token::Colon)?;
            self.expect(Token::Measurement)?;
            segments.push(String::new());
        }
        let [database, retention_policy, name] = aligned(segments);
        Ok(Some(Target { database, retention_policy, name }))
    }

    /// One or more sources; subqueries where they are allowed.
    pub(super) fn sources(&mut self, subqueries: bool) -> Result<Vec<Source>, ParseError> {
        self.list(|parser| parser.source(subqueries))
    }

    fn source(&mut self, subqueries: bool) -> Result<Source, ParseError> {
        if let Some(regex) = self.optional_regex()? {
            let name = MeasurementName::Regex(regex);
            return Ok(Source::Measurement(Measurement { name, ..Measurement::default() }));
        }
        if subqueries && self.accept(Token::LParen) {
            self.expect(Token::Select)?;
            let statement = self.nested(|parser| parser.select(Into::Optional))?;
            self.expect(Token::RParen)?;
            return Ok(Source::Subquery(Box::new(statement)));
        }
        self.named_measurement().map(Source::Measurement)
    }

    /// A measurement by name or regex, without a subquery.
    pub(super) fn measurement(&mut self) -> Result<Measurement, ParseError> {
        match self.optional_regex()? {
            Some(regex) => Ok(Measurement { name: MeasurementName::Regex(regex), ..Measurement::default() }),
            None => self.named_measurement(),
        }
    }

    fn named_measurement(&mut self) -> Result<Measurement, ParseError> {
        let mut segments = self.segmented_idents()?;
        let regex = match segments.len() {
            3 => None,
            _ => self.optional_regex()?,
        };
        if regex.is_some() {
            segments.push(String::new());
        }
        let [database, retention_policy, name] = aligned(segments);
        let name = match regex {
            Some(regex) => MeasurementName::Regex(regex),
            None => MeasurementName::Name(name.unwrap_or_default()),
        };
        Ok(Measurement { database, retention_policy, name })
    }

    fn fill(&mut self) -> Result<Fill, ParseError> {
        let Some(expr) = self.clause_call("fill")? else {
            return Ok(Fill::Null);
        };
        let Expr::Call(call) = expr else {
            return Err(ParseError::other("fill must be a function call"));
        };
        let [arg] = call.args.as_slice() else {
            return Err(ParseError::other(
                "fill requires an argument, e.g.: 0, null, none, previous, linear",
            ));
        };
        match arg {
            Expr::VarRef(VarRef { name, data_type: None }) => match name.as_str() {
                "null" => Ok(Fill::Null),
                "none" => Ok(Fill::None),
                "previous" => Ok(Fill::Previous),
                "linear" => Ok(Fill::Linear),
                _ => Err(ParseError::other("expected number argument in fill()")),
            },
            Expr::Integer(n) => Ok(Fill::Number(FillValue::Integer(*n))),
            Expr::Number(n) => Ok(Fill::Number(FillValue::Number(*n))),
            _ => Err(ParseError::other("expected number argument in fill()")),
        }
    }

    fn time_zone(&mut self) -> Result<Option<TimeZone>, ParseError> {
        let Some(expr) = self.clause_call("tz")? else {
            return Ok(None);
        };
        let Expr::Call(call) = expr else {
            return Err(ParseError::other("tz must be a function call"));
        };
        let [arg] = call.args.as_slice() else {
            return Err(ParseError::other("tz requires exactly one argument"));
        };
        let Expr::String(name) = arg else {
            return Err(ParseError::other("expected string argument in tz()"));
        };
        load_time_zone(name).map(Some)
    }

    /// The expression that begins with `name` in any case, if one comes next.
    fn clause_call(&mut self, name: &str) -> Result<Option<Expr>, ParseError> {
        let next = self.scan();
        let found = next.token == Token::Ident && self.text().eq_ignore_ascii_case(name);
        self.unscan();
        if found { self.expr().map(Some) } else { Ok(None) }
    }
}

/// The zone of an IANA name, in its exact case. The empty name and `Local` are UTC.
fn load_time_zone(name: &str) -> Result<TimeZone, ParseError> {
    let iana = if matches!(name, "" | "Local") { "UTC" } else { name };
    TimeZone::get(iana)
        .ok()
        .filter(|zone| zone.iana_name() == Some(iana))
        .ok_or_else(|| ParseError::other(format!("unable to find time zone {name}")))
}

/// Up to three segments as database, retention policy and name.
fn aligned(segments: Vec<String>) -> [Option<String>; 3] {
    let mut aligned = [const { None }; 3];
    let start = 3 - segments.len().min(3);
    for (slot, segment) in aligned[start..].iter_mut().zip(segments) {
        *slot = non_empty(segment);
    }
    aligned
}
