//! Clauses and values that several statements share.

use super::Parser;
use crate::{
    ast::{Expr, SortField, TagKeyFilter},
    duration::parse_duration,
    error::ParseError,
    lexer::Token,
    quote::quote_ident,
};

impl Parser<'_> {
    pub(super) fn ident(&mut self) -> Result<String, ParseError> {
        let next = self.scan();
        match next.token {
            Token::Ident => Ok(self.take_text()),
            _ => Err(self.unexpected(next, &["identifier"])),
        }
    }

    pub(super) fn string(&mut self) -> Result<String, ParseError> {
        let next = self.scan();
        match next.token {
            Token::String => Ok(self.take_text()),
            _ => Err(self.unexpected(next, &["string"])),
        }
    }

    /// One or more of `item`, separated by commas.
    pub(super) fn list<T>(
        &mut self,
        item: impl Fn(&mut Self) -> Result<T, ParseError>,
    ) -> Result<Vec<T>, ParseError> {
        let mut items = vec![item(self)?];
        while self.accept(Token::Comma) {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// `a`, `a.b`, `a.b.c` or `a..c`; it stops before a regex or `:MEASUREMENT`.
    pub(super) fn segmented_idents(&mut self) -> Result<Vec<String>, ParseError> {
        let mut idents = vec![self.ident()?];
        while self.accept_raw(Token::Dot) {
            match self.lexer.peek() {
                '/' | ':' => break,
                '.' => idents.push(String::new()),
                _ => idents.push(self.ident()?),
            }
        }
        if idents.len() > 3 {
            let name = quote_segments(&idents);
            return Err(ParseError::invalid(format!("too many segments in {name}"), Default::default()));
        }
        Ok(idents)
    }

    /// An integer of `1..=i32::MAX`.
    pub(super) fn replication(&mut self) -> Result<u32, ParseError> {
        const MAX: i64 = i32::MAX as i64;
        let next = self.scan();
        if next.token != Token::Integer {
            return Err(self.unexpected(next, &["integer"]));
        }
        let text = self.text();
        let Ok(n) = text.parse::<i64>() else {
            let message = format!("strconv.Atoi: parsing \"{text}\": value out of range");
            return Err(ParseError::invalid(message, next.position));
        };
        if !(1..=MAX).contains(&n) {
            let message = format!("invalid value {n}: must be 1 <= n <= {MAX}");
            return Err(ParseError::invalid(message, next.position));
        }
        Ok(n as u32)
    }

    pub(super) fn uint64(&mut self) -> Result<u64, ParseError> {
        let next = self.scan();
        if next.token != Token::Integer {
            return Err(self.unexpected(next, &["integer"]));
        }
        let text = self.text();
        text.parse().map_err(|_| {
            let reason = if text.starts_with('-') { "invalid syntax" } else { "value out of range" };
            let message = format!("strconv.ParseUint: parsing \"{text}\": {reason}");
            ParseError::invalid(message, next.position)
        })
    }

    /// A duration in nanoseconds; `INF` is 0.
    pub(super) fn duration(&mut self) -> Result<i64, ParseError> {
        if self.accept(Token::Inf) {
            return Ok(0);
        }
        self.finite_duration()
    }

    /// A duration in nanoseconds that cannot be `INF`.
    pub(super) fn finite_duration(&mut self) -> Result<i64, ParseError> {
        let next = self.scan();
        if next.token != Token::DurationVal {
            return Err(self.unexpected(next, &["duration"]));
        }
        parse_duration(self.text()).map_err(|error| ParseError::invalid(error.to_string(), next.position))
    }

    /// `keyword n`, or 0.
    pub(super) fn optional_count(&mut self, keyword: Token) -> Result<u64, ParseError> {
        if !self.accept(keyword) {
            return Ok(0);
        }
        let next = self.scan();
        if next.token != Token::Integer {
            return Err(self.unexpected(next, &["integer"]));
        }
        let text = self.text();
        if text.starts_with('-') {
            let message = format!("{} must be >= 0", keyword.name());
            return Err(ParseError::invalid(message, next.position));
        }
        Ok(text.parse().unwrap_or(u64::MAX).min(i64::MAX as u64))
    }

    /// `ON db`.
    pub(super) fn on_database(&mut self) -> Result<Option<String>, ParseError> {
        if self.accept(Token::On) { Ok(non_empty(self.ident()?)) } else { Ok(None) }
    }

    /// `ON db`, where it is required.
    pub(super) fn required_on_database(&mut self) -> Result<String, ParseError> {
        self.expect(Token::On)?;
        self.ident()
    }

    /// `WHERE expr`.
    pub(super) fn condition(&mut self) -> Result<Option<Expr>, ParseError> {
        if self.accept(Token::Where) { Ok(Some(self.expr()?)) } else { Ok(None) }
    }

    /// `GROUP BY dimension, …`.
    pub(super) fn dimensions(&mut self) -> Result<Vec<Expr>, ParseError> {
        if !self.accept(Token::Group) {
            return Ok(Vec::new());
        }
        self.expect(Token::By)?;
        let mut dimensions = vec![self.dimension()?];
        while self.accept_raw(Token::Comma) {
            dimensions.push(self.dimension()?);
        }
        Ok(dimensions)
    }

    fn dimension(&mut self) -> Result<Expr, ParseError> {
        if let Some(regex) = self.optional_regex()? {
            return Ok(Expr::Regex(regex));
        }
        let expr = self.expr()?;
        self.accept_raw(Token::Whitespace);
        Ok(expr)
    }

    /// `ORDER BY time [ASC|DESC]` or `ORDER BY ASC|DESC`.
    pub(super) fn order_by(&mut self) -> Result<Vec<SortField>, ParseError> {
        if !self.accept(Token::Order) {
            return Ok(Vec::new());
        }
        self.expect(Token::By)?;
        let unsupported = || ParseError::other("only ORDER BY time supported at this time");
        let first = self.scan();
        let mut fields = match first.token {
            Token::Asc | Token::Desc => {
                vec![SortField { name: None, ascending: first.token == Token::Asc }]
            }
            Token::Ident => {
                self.unscan();
                let field = self.sort_field()?;
                if field.name.as_deref() != Some("time") {
                    return Err(unsupported());
                }
                vec![field]
            }
            _ => return Err(self.unexpected(first, &["identifier", "ASC", "DESC"])),
        };
        while self.accept(Token::Comma) {
            fields.push(self.sort_field()?);
        }
        if fields.len() > 1 { Err(unsupported()) } else { Ok(fields) }
    }

    fn sort_field(&mut self) -> Result<SortField, ParseError> {
        let name = Some(self.ident()?);
        let descending = self.accept(Token::Desc);
        if !descending {
            self.accept(Token::Asc);
        }
        Ok(SortField { name, ascending: !descending })
    }

    /// `WITH KEY = a | != a | =~ /r/ | !~ /r/ | IN (a, b)`.
    pub(super) fn tag_key_filter(&mut self) -> Result<TagKeyFilter, ParseError> {
        self.expect(Token::With)?;
        self.expect(Token::Key)?;
        let next = self.scan();
        Ok(match next.token {
            Token::In => {
                self.expect(Token::LParen)?;
                let keys = self.list(Self::ident)?;
                self.expect(Token::RParen)?;
                TagKeyFilter::OneOf(keys)
            }
            Token::Eq => TagKeyFilter::Equal(self.ident()?),
            Token::NotEq => TagKeyFilter::NotEqual(self.ident()?),
            Token::EqRegex => TagKeyFilter::Matches(self.regex()?),
            Token::NotEqRegex => TagKeyFilter::NotMatches(self.regex()?),
            _ => return Err(self.unexpected(next, &["IN", "=", "=~"])),
        })
    }
}

/// An empty name is as good as none.
pub(super) fn non_empty(name: String) -> Option<String> {
    if name.is_empty() { None } else { Some(name) }
}

/// The segments as a dotted name; all but the last are quoted.
fn quote_segments(segments: &[String]) -> String {
    let last = segments.len() - 1;
    let quoted = segments.iter().enumerate().map(|(i, segment)| match segment.as_str() {
        "" if i > 0 && i < last => String::new(),
        _ if i < last => {
            let inner = quote_ident(segment);
            if inner.starts_with('"') { inner } else { format!("\"{inner}\"") }
        }
        _ => quote_ident(segment),
    });
    quoted.collect::<Vec<_>>().join(".")
}
