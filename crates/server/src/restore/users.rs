//! The users of a backup, with what the server kept of their passwords.

use std::error::Error;

use hyperbytedb_backup::Client;
use hyperbytedb_domain::catalog::{Catalog, Privilege, User};
use hyperbytedb_timeseriesql::quote::{quote_ident, quote_string};

use super::shown;

/// Makes the users that the server does not have, in the order in which they were made. Where a restore goes on, the
/// others may lack their rights.
pub async fn restore_users(client: &Client, catalog: &Catalog, resume: bool) -> Result<(), Box<dyn Error>> {
    let existing = shown(client, "SHOW USERS").await?;
    let mut users: Vec<&User> = catalog.users.values().map(AsRef::as_ref).collect();
    users.sort_unstable_by_key(|user| user.ordinal);
    for user in users {
        let is_there = existing.contains(&user.name);
        if (resume || !is_there) && restore_user(client, user, is_there).await? {
            println!("restored user {}", user.name);
        } else {
            println!("not restored: the user {}, whom the server has already", user.name);
        }
    }
    Ok(())
}

/// False when it is another user of the same name. The same one is not made again and gets the rights.
async fn restore_user(client: &Client, user: &User, is_there: bool) -> Result<bool, Box<dyn Error>> {
    for statement in statements(user) {
        match client.query(&statement).await {
            Ok(_) => {}
            Err(error) if is_there && error.to_string().contains("user already exists") => return Ok(false),
            // The statement in the error's text has the hash.
            Err(error) => {
                let text = error.to_string().replace(&user.password_hash, "…");
                return Err(format!("the user {}: {text}", user.name).into());
            }
        }
    }
    Ok(true)
}

fn statements(user: &User) -> Vec<String> {
    let (name, hash) = (quote_ident(&user.name), quote_string(&user.password_hash));
    let admin = if user.admin { " WITH ALL PRIVILEGES" } else { "" };
    let create = format!("CREATE USER {name} WITH PASSWORD HASH {hash}{admin}");
    let grants = user.privileges.iter().filter_map(|(database, privilege)| {
        let privilege = match privilege {
            Privilege::None => return None,
            Privilege::Read => "READ",
            Privilege::Write => "WRITE",
            Privilege::All => "ALL",
        };
        Some(format!("GRANT {privilege} ON {} TO {name}", quote_ident(database)))
    });
    std::iter::once(create).chain(grants).collect()
}
