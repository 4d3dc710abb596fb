//! Stored queries: continuous queries, materialized views, subscriptions.

use super::{Parser, select::Into};
use crate::{ast::*, duration::format_duration, error::ParseError, lexer::Token};

impl Parser<'_> {
    pub(super) fn create_continuous_query(&mut self) -> Result<Statement, ParseError> {
        let name = self.ident()?;
        let database = self.required_on_database()?;
        let (resample_every_ns, resample_for_ns) = match self.accept(Token::Resample) {
            true => self.resample()?,
            false => (None, None),
        };
        self.expect(Token::Begin)?;
        self.expect(Token::Select)?;
        let source = self.select(Into::Required)?;
        let interval = source.group_by_interval();
        if !source.is_raw() && !matches!(interval, Ok(Some(ns)) if ns != 0) {
            return Err(self.missing_interval(interval.err()));
        }
        self.expect(Token::End)?;
        let interval = interval.map_err(|error| ParseError::other(error.to_string()))?;
        check_resample(interval.unwrap_or(0), resample_every_ns, resample_for_ns)?;
        Ok(Statement::CreateContinuousQuery(Box::new(CreateContinuousQueryStatement {
            name,
            database,
            source,
            resample_every_ns,
            resample_for_ns,
        })))
    }

    /// The error for an aggregate without windows points at the last token of the SELECT.
    fn missing_interval(&mut self, error: Option<DimensionError>) -> ParseError {
        self.unscan();
        self.unscan();
        let next = self.scan();
        let detail = error.map(|e| e.to_string());
        let mut expected = vec!["GROUP BY time(...)"];
        expected.extend(detail.as_deref());
        self.unexpected(next, &expected)
    }

    /// `[EVERY d] [FOR d]`, at least one of them.
    fn resample(&mut self) -> Result<(Option<i64>, Option<i64>), ParseError> {
        let every = self.resample_duration(Token::Every)?;
        let past = self.resample_duration(Token::For)?;
        if every.is_none() && past.is_none() {
            let next = self.scan();
            return Err(self.unexpected(next, &["EVERY", "FOR"]));
        }
        Ok((every, past))
    }

    fn resample_duration(&mut self, keyword: Token) -> Result<Option<i64>, ParseError> {
        if !self.accept(keyword) {
            return Ok(None);
        }
        let ns = self.finite_duration()?;
        Ok((ns != 0).then_some(ns))
    }

    pub(super) fn drop_continuous_query(&mut self) -> Result<Statement, ParseError> {
        let name = self.ident()?;
        let database = self.required_on_database()?;
        Ok(Statement::DropContinuousQuery(DropContinuousQueryStatement { name, database }))
    }

    pub(super) fn create_materialized_view(&mut self) -> Result<Statement, ParseError> {
        let name = self.ident()?;
        let database = self.required_on_database()?;
        self.expect(Token::As)?;
        self.expect(Token::Select)?;
        let source = self.select(Into::Optional)?;
        Ok(Statement::CreateMaterializedView(Box::new(CreateMaterializedViewStatement {
            name,
            database,
            source,
        })))
    }

    pub(super) fn drop_materialized_view(&mut self) -> Result<Statement, ParseError> {
        let name = self.ident()?;
        let database = self.required_on_database()?;
        Ok(Statement::DropMaterializedView(DropMaterializedViewStatement { name, database }))
    }

    pub(super) fn create_subscription(&mut self) -> Result<Statement, ParseError> {
        let name = self.ident()?;
        let (database, retention_policy) = self.on_retention_policy()?;
        self.expect(Token::Destinations)?;
        let next = self.scan();
        let mode = match next.token {
            Token::All => SubscriptionMode::All,
            Token::Any => SubscriptionMode::Any,
            _ => return Err(self.unexpected(next, &["ALL", "ANY"])),
        };
        let destinations = self.list(Self::string)?;
        Ok(Statement::CreateSubscription(CreateSubscriptionStatement {
            name,
            database,
            retention_policy,
            mode,
            destinations,
        }))
    }

    pub(super) fn drop_subscription(&mut self) -> Result<Statement, ParseError> {
        let name = self.ident()?;
        let (database, retention_policy) = self.on_retention_policy()?;
        Ok(Statement::DropSubscription(DropSubscriptionStatement { name, database, retention_policy }))
    }

    /// `ON db.rp`.
    fn on_retention_policy(&mut self) -> Result<(String, String), ParseError> {
        let database = self.required_on_database()?;
        let next = self.scan_raw();
        if next.token != Token::Dot {
            return Err(self.unexpected(next, &["."]));
        }
        Ok((database, self.ident()?))
    }
}

/// `FOR` must cover at least one window, and one resampling.
fn check_resample(interval: i64, every_ns: Option<i64>, for_ns: Option<i64>) -> Result<(), ParseError> {
    let least = interval.max(every_ns.unwrap_or(interval));
    match for_ns {
        Some(for_ns) if least > for_ns => Err(ParseError::other(format!(
            "FOR duration must be >= GROUP BY time duration: must be a minimum of {}, got {}",
            format_duration(least),
            format_duration(for_ns)
        ))),
        _ => Ok(()),
    }
}
