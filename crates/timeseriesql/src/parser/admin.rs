//! Databases, retention policies, users and privileges.

use super::{Parser, Scanned};
use crate::{ast::*, error::ParseError, lexer::Token};

impl Parser<'_> {
    pub(super) fn create_database(&mut self) -> Result<Statement, ParseError> {
        let name = self.ident()?;
        let retention_policy = match self.accept(Token::With) {
            true => Some(self.database_retention_policy()?),
            false => None,
        };
        Ok(Statement::CreateDatabase(CreateDatabaseStatement { name, retention_policy }))
    }

    fn database_retention_policy(&mut self) -> Result<DatabaseRetentionPolicy, ParseError> {
        let next = self.scan();
        if !matches!(
            next.token,
            Token::Duration | Token::Name | Token::Replication | Token::Shard | Token::Future | Token::Past
        ) {
            return Err(self.unexpected(next, &["DURATION", "NAME", "REPLICATION", "SHARD"]));
        }
        self.unscan();
        let mut policy = DatabaseRetentionPolicy::default();
        if self.accept(Token::Duration) {
            policy.duration_ns = Some(self.duration()?);
        }
        if self.accept(Token::Replication) {
            policy.replication = Some(self.replication()?);
        }
        if self.accept(Token::Shard) {
            self.expect(Token::Duration)?;
            policy.shard_duration_ns = Some(self.duration()?);
        }
        policy.future_write_limit_ns = self.write_limit(Token::Future)?;
        policy.past_write_limit_ns = self.write_limit(Token::Past)?;
        if self.accept(Token::Name) {
            policy.name = Some(self.ident()?);
        }
        Ok(policy)
    }

    pub(super) fn create_retention_policy(&mut self) -> Result<Statement, ParseError> {
        let name = self.ident()?;
        let database = self.required_on_database()?;
        self.expect(Token::Duration)?;
        let duration_ns = self.duration()?;
        self.expect(Token::Replication)?;
        let replication = self.replication()?;
        let shard_duration_ns = match self.accept(Token::Shard) {
            true => Some(self.shard_duration()?),
            false => None,
        };
        Ok(Statement::CreateRetentionPolicy(CreateRetentionPolicyStatement {
            name,
            database,
            duration_ns,
            replication,
            shard_duration_ns,
            default: self.accept(Token::Default),
            future_write_limit_ns: self.write_limit(Token::Future)?,
            past_write_limit_ns: self.write_limit(Token::Past)?,
        }))
    }

    /// What follows `SHARD`; unlike other durations it must be finite.
    fn shard_duration(&mut self) -> Result<i64, ParseError> {
        self.expect(Token::Duration)?;
        let next = self.scan();
        if next.token == Token::Inf {
            let message = "invalid duration INF for shard duration";
            return Err(ParseError::invalid(message, next.position));
        }
        self.unscan();
        self.duration()
    }

    /// `FUTURE LIMIT d` or `PAST LIMIT d`.
    fn write_limit(&mut self, keyword: Token) -> Result<Option<i64>, ParseError> {
        if !self.accept(keyword) {
            return Ok(None);
        }
        self.required_write_limit().map(Some)
    }

    fn required_write_limit(&mut self) -> Result<i64, ParseError> {
        self.expect(Token::Limit)?;
        self.duration()
    }

    pub(super) fn alter_retention_policy(&mut self) -> Result<Statement, ParseError> {
        let next = self.scan();
        let name = match next.token {
            Token::Default => "default".to_owned(),
            Token::Ident => self.take_text(),
            _ => return Err(self.unexpected(next, &["identifier"])),
        };
        let database = self.required_on_database()?;
        let mut statement = AlterRetentionPolicyStatement { name, database, ..Default::default() };
        let mut seen = Vec::new();
        loop {
            let next = self.scan();
            if seen.contains(&next.token) {
                let message = format!("found duplicate {} option", next.token.name());
                return Err(ParseError::invalid(message, next.position));
            }
            if !self.alter_option(&mut statement, next)? {
                if seen.is_empty() {
                    return Err(self.unexpected(next, &["DURATION", "REPLICATION", "SHARD", "DEFAULT"]));
                }
                self.unscan();
                return Ok(Statement::AlterRetentionPolicy(statement));
            }
            seen.push(next.token);
        }
    }

    /// Whether `option` is one; then its value is read.
    fn alter_option(
        &mut self,
        statement: &mut AlterRetentionPolicyStatement,
        option: Scanned,
    ) -> Result<bool, ParseError> {
        match option.token {
            Token::Duration => statement.duration_ns = Some(self.duration()?),
            Token::Replication => statement.replication = Some(self.replication()?),
            Token::Shard => statement.shard_duration_ns = Some(self.shard_duration()?),
            Token::Default => statement.default = true,
            Token::Future => {
                statement.future_write_limit_ns = Some(self.required_write_limit()?);
            }
            Token::Past => statement.past_write_limit_ns = Some(self.required_write_limit()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn drop_retention_policy(&mut self) -> Result<Statement, ParseError> {
        let name = self.ident()?;
        let database = self.required_on_database()?;
        Ok(Statement::DropRetentionPolicy(DropRetentionPolicyStatement { name, database }))
    }

    pub(super) fn create_user(&mut self) -> Result<Statement, ParseError> {
        let name = self.ident()?;
        self.expect(Token::With)?;
        self.expect(Token::Password)?;
        let is_hash = self.accept_word("HASH");
        let password = self.string()?;
        let password = if is_hash { NewPassword::Hash(password) } else { NewPassword::Plain(password) };
        let admin = self.accept(Token::With);
        if admin {
            self.expect(Token::All)?;
            self.expect(Token::Privileges)?;
        }
        Ok(Statement::CreateUser(CreateUserStatement { name, password, admin }))
    }

    pub(super) fn set_password(&mut self) -> Result<Statement, ParseError> {
        let name = self.ident()?;
        self.expect(Token::Eq)?;
        let password = self.string()?;
        Ok(Statement::SetPassword(SetPasswordStatement { name, password }))
    }

    pub(super) fn grant(&mut self) -> Result<Statement, ParseError> {
        let privilege = self.privilege()?;
        let Some(database) = self.privilege_database(privilege, Token::To)? else {
            return Ok(Statement::GrantAdmin(GrantAdminStatement { user: self.ident()? }));
        };
        self.expect(Token::To)?;
        let user = self.ident()?;
        Ok(Statement::Grant(GrantStatement { privilege, database, user }))
    }

    pub(super) fn revoke(&mut self) -> Result<Statement, ParseError> {
        let privilege = self.privilege()?;
        let Some(database) = self.privilege_database(privilege, Token::From)? else {
            return Ok(Statement::RevokeAdmin(RevokeAdminStatement { user: self.ident()? }));
        };
        self.expect(Token::From)?;
        let user = self.ident()?;
        Ok(Statement::Revoke(RevokeStatement { privilege, database, user }))
    }

    fn privilege(&mut self) -> Result<Privilege, ParseError> {
        let next = self.scan();
        match next.token {
            Token::Read => Ok(Privilege::Read),
            Token::Write => Ok(Privilege::Write),
            Token::All => {
                self.accept(Token::Privileges);
                Ok(Privilege::All)
            }
            _ => Err(self.unexpected(next, &["READ", "WRITE", "ALL [PRIVILEGES]"])),
        }
    }

    /// `ON db`; or, for all privileges, `direction` (`TO` or `FROM`) without a database.
    fn privilege_database(
        &mut self,
        privilege: Privilege,
        direction: Token,
    ) -> Result<Option<String>, ParseError> {
        let next = self.scan();
        match (next.token, privilege) {
            (Token::On, _) => self.ident().map(Some),
            (token, Privilege::All) if token == direction => Ok(None),
            (_, Privilege::All) => Err(self.unexpected(next, &["ON", direction.name()])),
            _ => Err(self.unexpected(next, &["ON"])),
        }
    }
}
