//! Users that a start makes, so that nobody has to send the first statements by hand.

use hyperbytedb_domain::QueryContext;
use hyperbytedb_domain::catalog::{Catalog, Command, Privilege};
use hyperbytedb_domain::ports::CatalogPort;
use thiserror::Error;

use super::passwords::{self, PasswordError};
use crate::commands::CommandService;
use crate::log::LogError;

/// A user to make.
#[derive(Clone)]
pub struct NewUser {
    pub name: String,
    pub password: String,
}

/// What a start makes.
#[derive(Clone, Default)]
pub struct FirstUsers {
    /// An admin who has this password after each start.
    pub admin: Option<NewUser>,
    /// What the first start makes: a database, users with a privilege on it, and an admin.
    pub first_database: Option<String>,
    pub first_users: Vec<(NewUser, Privilege)>,
    pub first_admin: Option<NewUser>,
}

#[derive(Debug, Error)]
pub enum FirstUsersError {
    #[error("the first users could not be made: {0}")]
    Command(#[from] LogError),
    #[error(transparent)]
    Password(#[from] PasswordError),
}

impl FirstUsers {
    pub fn create(
        &self,
        catalog: &dyn CatalogPort,
        commands: &CommandService,
    ) -> Result<(), FirstUsersError> {
        let run = |command| commands.run(command, &QueryContext::unbounded());
        if self.is_first_start(&catalog.catalog()) {
            for command in self.missing(&catalog.catalog())? {
                run(command)?;
            }
        }
        if let Some(admin) = &self.admin {
            for command in reinstate(admin, &catalog.catalog())? {
                run(command)?;
                tracing::info!(user = admin.name, "the admin of the configuration was made or changed");
            }
        }
        Ok(())
    }

    /// Whether there is nothing but what an earlier attempt has made, and not all of it: what is made last is missing.
    fn is_first_start(&self, catalog: &Catalog) -> bool {
        let users: Vec<&String> = self.users().map(|user| &user.name).collect();
        let last_is_missing = users.last().is_none_or(|last| !catalog.users.contains_key(*last));
        last_is_missing
            && catalog.databases.keys().all(|name| self.first_database.as_ref() == Some(name))
            && catalog.users.keys().all(|name| users.contains(&name))
    }

    fn users(&self) -> impl Iterator<Item = &NewUser> {
        self.first_users.iter().map(|(user, _)| user).chain(&self.first_admin)
    }

    fn missing(&self, catalog: &Catalog) -> Result<Vec<Command>, PasswordError> {
        let mut commands = Vec::new();
        if let Some(name) = &self.first_database {
            commands.push(Command::CreateDatabase { name: name.clone(), policy: None });
        }
        for (user, privilege) in &self.first_users {
            if !catalog.users.contains_key(&user.name) {
                commands.push(create(user, false)?);
            }
            commands.extend(self.first_database.as_ref().map(|database| Command::SetPrivilege {
                user: user.name.clone(),
                database: database.clone(),
                privilege: *privilege,
            }));
        }
        if let Some(admin) =
            self.first_admin.as_ref().filter(|admin| !catalog.users.contains_key(&admin.name))
        {
            commands.push(create(admin, true)?);
        }
        Ok(commands)
    }
}

/// What makes somebody an admin with this password, whatever he is now.
fn reinstate(admin: &NewUser, catalog: &Catalog) -> Result<Vec<Command>, PasswordError> {
    let Some(user) = catalog.users.get(&admin.name) else { return Ok(vec![create(admin, true)?]) };
    let mut commands = Vec::new();
    if !passwords::verify(&admin.password, &user.password_hash) {
        let password_hash = passwords::hash(&admin.password)?;
        commands.push(Command::SetPassword { name: admin.name.clone(), password_hash });
    }
    if !user.admin {
        commands.push(Command::SetAdmin { user: admin.name.clone(), admin: true });
    }
    Ok(commands)
}

fn create(user: &NewUser, admin: bool) -> Result<Command, PasswordError> {
    let password_hash = passwords::hash(&user.password)?;
    Ok(Command::CreateUser { name: user.name.clone(), password_hash, admin })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> NewUser {
        NewUser { name: name.into(), password: "p".into() }
    }

    fn apply(catalog: &mut Catalog, commands: &[Command]) {
        commands.iter().for_each(|command| drop(catalog.apply(command).unwrap()));
    }

    #[test]
    fn a_first_start_that_was_cut_short_is_gone_on_with() {
        let first = FirstUsers {
            first_database: Some("db".into()),
            first_users: vec![(user("u"), Privilege::All), (user("r"), Privilege::Read)],
            first_admin: Some(user("adm")),
            admin: None,
        };
        let all = first.missing(&Catalog::default()).unwrap();
        for made in 0..all.len() {
            let mut catalog = Catalog::default();
            apply(&mut catalog, &all[..made]);
            assert!(first.is_first_start(&catalog), "{made}");
            let rest = first.missing(&catalog).unwrap();
            apply(&mut catalog, &rest);
            assert!(!first.is_first_start(&catalog), "{made}");
            assert!(catalog.users["adm"].admin && catalog.users["u"].may(Privilege::Write, "db"));
            assert!(!catalog.users["r"].may(Privilege::Write, "db"));
        }
    }

    #[test]
    fn a_server_in_use_is_left_alone() {
        let first = FirstUsers { first_admin: Some(user("adm")), ..FirstUsers::default() };
        let mut catalog = Catalog::default();
        apply(&mut catalog, &[Command::CreateDatabase { name: "other".into(), policy: None }]);
        assert!(!first.is_first_start(&catalog));
    }

    #[test]
    fn the_configured_admin_is_reinstated() {
        let admin = user("adm");
        let mut catalog = Catalog::default();
        let password_hash = passwords::hash("forgotten").unwrap();
        apply(&mut catalog, &[Command::CreateUser { name: "adm".into(), password_hash, admin: false }]);
        let commands = reinstate(&admin, &catalog).unwrap();
        apply(&mut catalog, &commands);
        assert!(catalog.users["adm"].admin && passwords::verify("p", &catalog.users["adm"].password_hash));
        assert!(reinstate(&admin, &catalog).unwrap().is_empty());
    }
}
