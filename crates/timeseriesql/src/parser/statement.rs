//! Which words begin which statement.

use super::Parser;
use crate::{ast::*, error::ParseError, lexer::Token};

impl Parser<'_> {
    pub(super) fn statement(&mut self) -> Result<Statement, ParseError> {
        let next = self.scan();
        match next.token {
            Token::Select => Ok(Statement::Select(Box::new(self.select(super::select::Into::Optional)?))),
            Token::Delete => self.delete(),
            Token::Show => self.show(),
            Token::Create => self.create(),
            Token::Drop => self.drop_statement(),
            Token::Explain => self.explain(),
            Token::Grant => self.grant(),
            Token::Revoke => self.revoke(),
            Token::Alter => {
                self.expect(Token::Retention)?;
                self.expect(Token::Policy)?;
                self.alter_retention_policy()
            }
            Token::Set => {
                self.expect(Token::Password)?;
                self.expect(Token::For)?;
                self.set_password()
            }
            Token::Kill => {
                self.expect(Token::Query)?;
                self.kill_query()
            }
            Token::Ident if self.is_word("BACKFILL") => self.backfill(),
            _ => Err(self.unexpected(
                next,
                &[
                    "SELECT", "DELETE", "SHOW", "CREATE", "DROP", "EXPLAIN", "GRANT", "REVOKE", "ALTER",
                    "SET", "KILL",
                ],
            )),
        }
    }

    fn create(&mut self) -> Result<Statement, ParseError> {
        let next = self.scan();
        match next.token {
            Token::Continuous => {
                self.expect(Token::Query)?;
                self.create_continuous_query()
            }
            Token::Database => self.create_database(),
            Token::User => self.create_user(),
            Token::Retention => {
                self.expect(Token::Policy)?;
                self.create_retention_policy()
            }
            Token::Subscription => self.create_subscription(),
            Token::Ident if self.is_word("MATERIALIZED") => {
                self.expect_word("VIEW")?;
                self.create_materialized_view()
            }
            _ => Err(self.unexpected(next, &["CONTINUOUS", "DATABASE", "USER", "RETENTION", "SUBSCRIPTION"])),
        }
    }

    fn drop_statement(&mut self) -> Result<Statement, ParseError> {
        let next = self.scan();
        match next.token {
            Token::Continuous => {
                self.expect(Token::Query)?;
                self.drop_continuous_query()
            }
            Token::Database => Ok(Statement::DropDatabase(DropDatabaseStatement { name: self.ident()? })),
            Token::Measurement => {
                Ok(Statement::DropMeasurement(DropMeasurementStatement { name: self.ident()? }))
            }
            Token::Retention => {
                self.expect(Token::Policy)?;
                self.drop_retention_policy()
            }
            Token::Series => self.drop_series(),
            Token::Shard => Ok(Statement::DropShard(DropShardStatement { id: self.uint64()? })),
            Token::Subscription => self.drop_subscription(),
            Token::User => Ok(Statement::DropUser(DropUserStatement { name: self.ident()? })),
            Token::Ident if self.is_word("MATERIALIZED") => {
                self.expect_word("VIEW")?;
                self.drop_materialized_view()
            }
            _ => Err(self.unexpected(
                next,
                &[
                    "CONTINUOUS",
                    "DATABASE",
                    "MEASUREMENT",
                    "RETENTION",
                    "SERIES",
                    "SHARD",
                    "SUBSCRIPTION",
                    "USER",
                ],
            )),
        }
    }

    fn show(&mut self) -> Result<Statement, ParseError> {
        let next = self.scan();
        match next.token {
            Token::Continuous => {
                self.expect(Token::Queries)?;
                Ok(Statement::ShowContinuousQueries)
            }
            Token::Databases => Ok(Statement::ShowDatabases),
            Token::Diagnostics => {
                let module = self.module()?;
                Ok(Statement::ShowDiagnostics(ShowDiagnosticsStatement { module }))
            }
            Token::Field => self.show_field(),
            Token::Grants => {
                self.expect(Token::For)?;
                Ok(Statement::ShowGrants(ShowGrantsStatement { user: self.ident()? }))
            }
            Token::Measurement => self.show_measurement(),
            Token::Measurements => self.show_measurements(),
            Token::Queries => Ok(Statement::ShowQueries),
            Token::Retention => {
                self.expect(Token::Policies)?;
                let database = self.on_database()?;
                Ok(Statement::ShowRetentionPolicies(ShowRetentionPoliciesStatement { database }))
            }
            Token::Series => self.show_series(),
            Token::Shard => {
                self.expect(Token::Groups)?;
                Ok(Statement::ShowShardGroups)
            }
            Token::Shards => Ok(Statement::ShowShards),
            Token::Stats => {
                let module = self.module()?;
                Ok(Statement::ShowStats(ShowStatsStatement { module }))
            }
            Token::Subscriptions => Ok(Statement::ShowSubscriptions),
            Token::Tag => self.show_tag(),
            Token::Users => Ok(Statement::ShowUsers),
            Token::Ident if self.is_word("SERVERS") => Ok(Statement::ShowServers),
            Token::Ident if self.is_word("MATERIALIZED") => {
                self.expect_word("VIEWS")?;
                Ok(Statement::ShowMaterializedViews)
            }
            _ => Err(self.unexpected(
                next,
                &[
                    "CONTINUOUS",
                    "DATABASES",
                    "DIAGNOSTICS",
                    "FIELD",
                    "GRANTS",
                    "MEASUREMENT",
                    "MEASUREMENTS",
                    "QUERIES",
                    "RETENTION",
                    "SERIES",
                    "SHARD",
                    "SHARDS",
                    "STATS",
                    "SUBSCRIPTIONS",
                    "TAG",
                    "USERS",
                ],
            )),
        }
    }

    /// Whether the token last read spells a word of our extensions, which are not reserved.
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.text().eq_ignore_ascii_case(word)
    }

    pub(super) fn accept_word(&mut self, word: &str) -> bool {
        let found = self.scan().token == Token::Ident && self.is_word(word);
        if !found {
            self.unscan();
        }
        found
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), ParseError> {
        let next = self.scan();
        if next.token == Token::Ident && self.is_word(word) {
            return Ok(());
        }
        Err(self.unexpected(next, &[word]))
    }
}
