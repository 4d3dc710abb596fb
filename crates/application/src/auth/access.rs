//! What a caller may do, as the catalogue has it at that moment.

use hyperbytedb_domain::catalog::{Catalog, Privilege, User};
use hyperbytedb_domain::ports::{Caller, WriteError};
use hyperbytedb_timeseriesql::ast::Statement;
use thiserror::Error;

use super::privileges::{Required, required};

/// Why no statement of a request runs. InfluxDB's texts.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("create admin user first or disable authentication")]
    NoAdmin,
    #[error("no user provided")]
    NoUser,
    #[error("{user} not authorized to execute statement '{statement}', requires {needs}")]
    Forbidden { user: String, statement: String, needs: String },
}

/// A caller's rights.
#[derive(Debug, Clone, Copy)]
pub enum Access<'a> {
    All,
    Of(&'a User),
    None,
}

impl<'a> Access<'a> {
    /// A user who is gone meanwhile has none.
    pub fn of(caller: &Caller, catalog: &'a Catalog) -> Self {
        match caller {
            Caller::Trusted => Self::All,
            Caller::User(name) => match catalog.users.get(&**name) {
                Some(user) if user.admin => Self::All,
                Some(user) => Self::Of(user),
                None => Self::None,
            },
            Caller::Nobody => Self::None,
        }
    }

    pub fn is_all(self) -> bool {
        matches!(self, Self::All)
    }

    pub fn may(self, privilege: Privilege, database: &str) -> bool {
        match self {
            Self::All => true,
            Self::Of(user) => user.may(privilege, database),
            Self::None => false,
        }
    }

    /// Whether the caller may know that the database exists.
    pub fn may_see(self, database: &str) -> bool {
        self.may(Privilege::Read, database) || self.may(Privilege::Write, database)
    }
}

/// Checks all statements of a request before any of them runs.
pub fn authorize(
    caller: &Caller,
    catalog: &Catalog,
    statements: &[Statement],
    database: &str,
) -> Result<(), Refusal> {
    match Access::of(caller, catalog) {
        Access::All => Ok(()),
        Access::Of(user) => statements.iter().try_for_each(|s| check(user, s, database)),
        Access::None if !catalog.users.is_empty() => Err(Refusal::NoUser),
        Access::None if makes_first_admin(statements) => Ok(()),
        Access::None => Err(Refusal::NoAdmin),
    }
}

fn makes_first_admin(statements: &[Statement]) -> bool {
    matches!(statements, [Statement::CreateUser(create)] if create.admin)
}

fn check(user: &User, statement: &Statement, database: &str) -> Result<(), Refusal> {
    let needs = match required(statement, database) {
        Required::Admin => "admin privilege".to_owned(),
        Required::Each(all) => match all.iter().find(|(privilege, place)| !user.may(*privilege, place)) {
            Some((privilege, place)) => format!("{} on {place}", privilege.name()),
            None => return Ok(()),
        },
    };
    Err(Refusal::Forbidden { user: user.name.clone(), statement: statement.to_string(), needs })
}

/// Checks that the caller may write points to a database.
pub fn authorize_write(caller: &Caller, catalog: &Catalog, database: &str) -> Result<(), WriteError> {
    if Access::of(caller, catalog).may(Privilege::Write, database) {
        return Ok(());
    }
    Err(match caller.user() {
        Some(user) => WriteError::Forbidden { user: user.to_owned(), database: database.to_owned() },
        None => WriteError::UserRequired(database.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use hyperbytedb_domain::catalog::Command;
    use hyperbytedb_timeseriesql::parse_query;

    use super::*;

    fn catalog(commands: &[Command]) -> Catalog {
        let mut catalog = Catalog::default();
        for command in commands {
            catalog.apply(command).unwrap();
        }
        catalog
    }

    fn user(name: &str, admin: bool) -> Command {
        Command::CreateUser { name: name.into(), password_hash: "hash".into(), admin }
    }

    fn ask(caller: &Caller, catalog: &Catalog, text: &str) -> String {
        let query = parse_query(text).unwrap();
        let answer = authorize(caller, catalog, &query.statements, "a");
        answer.err().map(|refusal| refusal.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_first_admin_comes_alone() {
        let empty = Catalog::default();
        let create = "CREATE USER x WITH PASSWORD 'p' WITH ALL PRIVILEGES";
        assert_eq!(ask(&Caller::Nobody, &empty, create), "");
        let first = "create admin user first or disable authentication";
        assert_eq!(ask(&Caller::Nobody, &empty, "CREATE USER x WITH PASSWORD 'p'"), first);
        assert_eq!(ask(&Caller::Nobody, &empty, &format!("{create}; SHOW DATABASES")), first);
        let locked_out = catalog(&[user("x", false)]);
        assert_eq!(ask(&Caller::Nobody, &locked_out, create), "no user provided");
    }

    #[test]
    fn all_statements_are_checked_and_the_first_that_fails_is_named() {
        let database = |name: &str| Command::CreateDatabase { name: name.into(), policy: None };
        let grant = |privilege| Command::SetPrivilege { user: "u".into(), database: "a".into(), privilege };
        let commands = [database("a"), user("u", false), user("adm", true), grant(Privilege::Read)];
        let catalog = catalog(&commands);
        let caller = Caller::User("u".into());
        assert_eq!(ask(&caller, &catalog, "SELECT v FROM m; SHOW DATABASES"), "");
        assert_eq!(
            ask(&caller, &catalog, "SELECT v FROM m; SELECT v FROM b..m; DROP DATABASE a"),
            "u not authorized to execute statement 'SELECT v FROM b..m', requires READ on b"
        );
        assert_eq!(
            ask(&caller, &catalog, "SET PASSWORD FOR u = 'x'"),
            "u not authorized to execute statement 'SET PASSWORD FOR u = [REDACTED]', requires admin privilege"
        );
        assert_eq!(ask(&Caller::User("gone".into()), &catalog, "SHOW DATABASES"), "no user provided");
        assert_eq!(ask(&Caller::User("adm".into()), &catalog, "DROP DATABASE a"), "");
        assert_eq!(ask(&Caller::Trusted, &catalog, "DROP DATABASE a"), "");
        let text = authorize_write(&caller, &catalog, "a").unwrap_err().to_string();
        assert_eq!(text, "\"u\" user is not authorized to write to database \"a\"");
        assert!(authorize_write(&Caller::Nobody, &catalog, "a").is_err());
    }
}
