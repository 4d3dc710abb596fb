//! Statements that remove data or stop queries.

use super::{Parser, clauses::non_empty};
use crate::{ast::*, error::ParseError, lexer::Token};

impl Parser<'_> {
    pub(super) fn delete(&mut self) -> Result<Statement, ParseError> {
        let (sources, condition) = self
            .sources_or_condition(|source| source.database.is_some().then_some("database not supported"))?;
        Ok(Statement::Delete(DeleteStatement { sources, condition }))
    }

    pub(super) fn drop_series(&mut self) -> Result<Statement, ParseError> {
        let (sources, condition) = self.sources_or_condition(|source| {
            if source.retention_policy.is_some() {
                Some("retention policy not supported")
            } else {
                source.database.is_some().then_some("database not supported")
            }
        })?;
        Ok(Statement::DropSeries(DropSeriesStatement { sources, condition }))
    }

    /// `[FROM …] [WHERE …]`, at least one of them; `objection` judges each source.
    fn sources_or_condition(
        &mut self,
        objection: impl Fn(&Measurement) -> Option<&'static str>,
    ) -> Result<(Vec<Source>, Option<Expr>), ParseError> {
        let next = self.scan();
        let neither = self.unexpected(next, &["FROM", "WHERE"]);
        self.unscan();
        let sources = self.optional_sources()?;
        let objections = sources.iter().filter_map(|source| match source {
            Source::Measurement(measurement) => objection(measurement),
            Source::Subquery(_) => None,
        });
        if let Some(message) = objections.last() {
            return Err(ParseError::invalid(message, Default::default()));
        }
        let condition = self.condition()?;
        if condition.is_none() && sources.is_empty() {
            return Err(neither);
        }
        Ok((sources, condition))
    }

    pub(super) fn kill_query(&mut self) -> Result<Statement, ParseError> {
        let id = self.uint64()?;
        let host = match self.accept(Token::On) {
            true => non_empty(self.ident()?),
            false => None,
        };
        Ok(Statement::KillQuery(KillQueryStatement { id, host }))
    }
}
