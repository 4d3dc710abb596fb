//! SHOW statements with clauses.

use super::{Parser, clauses::non_empty};
use crate::{ast::*, error::ParseError, lexer::Token};

impl Parser<'_> {
    /// `[FOR 'module']`.
    pub(super) fn module(&mut self) -> Result<Option<String>, ParseError> {
        if self.accept(Token::For) { Ok(non_empty(self.string()?)) } else { Ok(None) }
    }

    pub(super) fn show_series(&mut self) -> Result<Statement, ParseError> {
        let exact = self.accept(Token::Exact);
        if self.accept(Token::Cardinality) {
            return self.cardinality(CardinalityOf::Series, exact);
        }
        Ok(Statement::ShowSeries(ShowSeriesStatement {
            database: self.on_database()?,
            sources: self.optional_sources()?,
            condition: self.condition()?,
            sort_fields: self.order_by()?,
            limit: self.optional_count(Token::Limit)?,
            offset: self.optional_count(Token::Offset)?,
        }))
    }

    /// What follows `SHOW MEASUREMENT`.
    pub(super) fn show_measurement(&mut self) -> Result<Statement, ParseError> {
        let next = self.scan();
        match next.token {
            Token::Exact => {
                self.expect(Token::Cardinality)?;
                self.cardinality(CardinalityOf::Measurement, true)
            }
            Token::Cardinality => self.cardinality(CardinalityOf::Measurement, false),
            _ => Err(self.unexpected(next, &["EXACT", "CARDINALITY"])),
        }
    }

    pub(super) fn show_measurements(&mut self) -> Result<Statement, ParseError> {
        let (database, retention_policy) = self.on_databases()?;
        Ok(Statement::ShowMeasurements(ShowMeasurementsStatement {
            database,
            retention_policy,
            source: self.with_measurement()?,
            condition: self.condition()?,
            sort_fields: self.order_by()?,
            limit: self.optional_count(Token::Limit)?,
            offset: self.optional_count(Token::Offset)?,
        }))
    }

    /// `[ON db|*[.rp|.*]]`.
    fn on_databases(&mut self) -> Result<(NameOrAll, NameOrAll), ParseError> {
        if !self.accept(Token::On) {
            return Ok((NameOrAll::Unset, NameOrAll::Unset));
        }
        let database = self.name_or_all()?;
        let retention_policy = match self.accept(Token::Dot) {
            true => self.name_or_all()?,
            false => NameOrAll::Unset,
        };
        Ok((database, retention_policy))
    }

    fn name_or_all(&mut self) -> Result<NameOrAll, ParseError> {
        let next = self.scan();
        match next.token {
            Token::Ident => Ok(non_empty(self.take_text()).map_or(NameOrAll::Unset, NameOrAll::Name)),
            Token::Mul => Ok(NameOrAll::All),
            _ => Err(self.unexpected(next, &["identifier or *"])),
        }
    }

    fn with_measurement(&mut self) -> Result<Option<Measurement>, ParseError> {
        if !self.accept(Token::With) {
            return Ok(None);
        }
        self.expect(Token::Measurement)?;
        let next = self.scan();
        match next.token {
            Token::Eq | Token::EqRegex => self.measurement().map(Some),
            _ => Err(self.unexpected(next, &["=", "=~"])),
        }
    }

    /// What follows `SHOW TAG`.
    pub(super) fn show_tag(&mut self) -> Result<Statement, ParseError> {
        let next = self.scan();
        match next.token {
            Token::Key => {
                let exact = self.exact_cardinality()?;
                self.cardinality(CardinalityOf::TagKey, exact)
            }
            Token::Keys => self.show_tag_keys(),
            Token::Values => self.show_tag_values(),
            _ => Err(self.unexpected(next, &["KEY", "KEYS", "VALUES"])),
        }
    }

    fn show_tag_keys(&mut self) -> Result<Statement, ParseError> {
        let database = self.on_database()?;
        let sources = self.optional_sources()?;
        let with = self.scan().token == Token::With;
        self.unscan();
        let key = if with { Some(self.tag_key_filter()?) } else { None };
        Ok(Statement::ShowTagKeys(ShowTagKeysStatement {
            database,
            sources,
            key,
            condition: self.condition()?,
            sort_fields: self.order_by()?,
            limit: self.optional_count(Token::Limit)?,
            offset: self.optional_count(Token::Offset)?,
            slimit: self.optional_count(Token::Slimit)?,
            soffset: self.optional_count(Token::Soffset)?,
        }))
    }

    fn show_tag_values(&mut self) -> Result<Statement, ParseError> {
        let exact = self.accept(Token::Exact);
        if exact {
            self.expect(Token::Cardinality)?;
        }
        if exact || self.accept(Token::Cardinality) {
            return self.tag_values_cardinality(exact);
        }
        Ok(Statement::ShowTagValues(ShowTagValuesStatement {
            database: self.on_database()?,
            sources: self.optional_sources()?,
            key: self.tag_key_filter()?,
            condition: self.condition()?,
            sort_fields: self.order_by()?,
            limit: self.optional_count(Token::Limit)?,
            offset: self.optional_count(Token::Offset)?,
        }))
    }

    /// What follows `SHOW FIELD`.
    pub(super) fn show_field(&mut self) -> Result<Statement, ParseError> {
        let next = self.scan();
        match next.token {
            Token::Key => {
                let exact = self.exact_cardinality()?;
                self.cardinality(CardinalityOf::FieldKey, exact)
            }
            Token::Keys => Ok(Statement::ShowFieldKeys(ShowFieldKeysStatement {
                database: self.on_database()?,
                sources: self.optional_sources()?,
                sort_fields: self.order_by()?,
                limit: self.optional_count(Token::Limit)?,
                offset: self.optional_count(Token::Offset)?,
            })),
            _ => Err(self.unexpected(next, &["KEY", "KEYS"])),
        }
    }

    /// `[EXACT] CARDINALITY`, where it is required.
    fn exact_cardinality(&mut self) -> Result<bool, ParseError> {
        let exact = self.accept(Token::Exact);
        let next = self.scan();
        match next.token {
            Token::Cardinality => Ok(exact),
            _ if exact => Err(self.unexpected(next, &["CARDINALITY"])),
            _ => Err(self.unexpected(next, &["EXACT", "CARDINALITY"])),
        }
    }

    fn cardinality(&mut self, of: CardinalityOf, exact: bool) -> Result<Statement, ParseError> {
        let database = self.on_database()?;
        let sources = self.optional_sources()?;
        self.counted(of, exact, database, sources)
    }

    fn tag_values_cardinality(&mut self, exact: bool) -> Result<Statement, ParseError> {
        let database = self.on_database()?;
        let sources = self.optional_sources()?;
        let key = self.tag_key_filter()?;
        self.counted(CardinalityOf::TagValues(key), exact, database, sources)
    }

    fn counted(
        &mut self,
        of: CardinalityOf,
        exact: bool,
        database: Option<String>,
        sources: Vec<Source>,
    ) -> Result<Statement, ParseError> {
        Ok(Statement::ShowCardinality(ShowCardinalityStatement {
            of,
            exact,
            database,
            sources,
            condition: self.condition()?,
            dimensions: self.dimensions()?,
            limit: self.optional_count(Token::Limit)?,
            offset: self.optional_count(Token::Offset)?,
        }))
    }

    /// `[FROM measurement, …]`.
    pub(super) fn optional_sources(&mut self) -> Result<Vec<Source>, ParseError> {
        if self.accept(Token::From) { self.sources(false) } else { Ok(Vec::new()) }
    }
}
