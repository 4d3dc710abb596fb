//! The users of a backup, with what the server kept of their passwords.

use std::error::Error;

use hyperbytedb_backup::Client;
use hyperbytedb_domain::catalog::{Catalog, Privilege, User};
use hyperbytedb_timeseriesql::quote::{quote_ident, quote_string};

use super::shown;

/// Makes the users that the server does not have, in the order in which they were made.
pub async fn restore_users(client: &Client, catalog: &Catalog) -> Result<(), Box<dyn Error>> {
    let existing = shown(client, "SHOW USERS").await?;
    let mut users: Vec<&User> = catalog.users.values().map(AsRef::as_ref).collect();
    users.sort_unstable_by_key(|user| user.ordinal);
    for user in users {
        if existing.contains(&user.name) {
            println!("not restored: the user {}, whom the server has already", user.name);
            continue;
        }
        for statement in statements(user) {
            // The statement in the error's text has the hash.
            let refused = |error: hyperbytedb_backup::Error| {
                format!("the user {}: {}", user.name, error.to_string().replace(&user.password_hash, "…"))
            };
            client.query(&statement).await.map_err(refused)?;
        }
        println!("restored user {}", user.name);
    }
    Ok(())
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
