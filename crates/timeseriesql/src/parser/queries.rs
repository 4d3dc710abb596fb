//! Stored queries: continuous queries, materialized views, subscriptions.

use super::{Parser, select::Into};
use crate::{ast::*, duration::format_duration, error::ParseError, lexer::Token};

impl Parser<'_> {
    pub(super) fn create_continuous_query(&mut self) -> Result<Statement, ParseError> {
        let name = self.ident()?;
        let database = self.required_on_database()?;
        let resample = match self.accept(Token::Resample) {
            true => self.resample()?,
            false => Resample::default(),
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
        check_resample(interval.unwrap_or(0), &resample)?;
        Ok(Statement::CreateContinuousQuery(Box::new(CreateContinuousQueryStatement {
            name,
            database,
            source,
            resample,
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

    /// `[EVERY d] [FOR d] [LATE d]`, at least one of them.
    fn resample(&mut self) -> Result<Resample, ParseError> {
        let is_every = self.accept(Token::Every);
        let every_ns = self.resample_duration(is_every)?;
        let is_for = self.accept(Token::For);
        let for_ns = self.resample_duration(is_for)?;
        let is_late = self.accept_word("LATE");
        let late_ns = self.resample_duration(is_late)?;
        if every_ns.is_none() && for_ns.is_none() && late_ns.is_none() {
            let next = self.scan();
            return Err(self.unexpected(next, &["EVERY", "FOR"]));
        }
        Ok(Resample { every_ns, for_ns, late_ns })
    }

    fn resample_duration(&mut self, is_given: bool) -> Result<Option<i64>, ParseError> {
        if !is_given {
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
        let backfill = self.accept(Token::With);
        if backfill {
            self.expect_word("BACKFILL")?;
        }
        let is_block = self.accept(Token::Begin);
        if !is_block {
            self.expect(Token::As)?;
        }
        self.expect(Token::Select)?;
        let source = self.select(Into::Required)?;
        if is_block {
            self.expect(Token::End)?;
        }
        Ok(Statement::CreateMaterializedView(Box::new(CreateMaterializedViewStatement {
            name,
            database,
            backfill,
            source,
        })))
    }

    /// What follows `BACKFILL`.
    pub(super) fn backfill(&mut self) -> Result<Statement, ParseError> {
        let next = self.scan();
        let kind = match next.token {
            Token::Continuous => {
                self.expect(Token::Query)?;
                StoredQueryKind::ContinuousQuery
            }
            Token::Ident if self.is_word("MATERIALIZED") => {
                self.expect_word("VIEW")?;
                StoredQueryKind::MaterializedView
            }
            _ => return Err(self.unexpected(next, &["CONTINUOUS", "MATERIALIZED"])),
        };
        let name = self.ident()?;
        let database = self.required_on_database()?;
        self.expect(Token::From)?;
        let from = self.expr()?;
        self.expect(Token::To)?;
        let to = self.expr()?;
        Ok(Statement::Backfill(Box::new(BackfillStatement { kind, name, database, from, to })))
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
fn check_resample(interval: i64, resample: &Resample) -> Result<(), ParseError> {
    let least = interval.max(resample.every_ns.unwrap_or(interval));
    match resample.for_ns {
        Some(for_ns) if least > for_ns => Err(ParseError::other(format!(
            "FOR duration must be >= GROUP BY time duration: must be a minimum of {}, got {}",
            format_duration(least),
            format_duration(for_ns)
        ))),
        _ => Ok(()),
    }
}
