//! Statements that change the catalogue, as commands.

use hyperbytedb_domain::catalog::{Catalog, CatalogError, Command, Privilege, RetentionPolicySpec};
use hyperbytedb_timeseriesql::ast::{self, Statement};

use super::StatementError;
use crate::auth::passwords;

/// The command that a statement stands for; `None`: it is no catalogue statement.
pub fn command(
    statement: &Statement,
    database: &str,
    catalog: &Catalog,
) -> Result<Option<Command>, StatementError> {
    let command = match statement {
        Statement::CreateDatabase(s) => Command::CreateDatabase {
            name: s.name.clone(),
            policy: s.retention_policy.as_ref().map(database_policy),
        },
        Statement::DropDatabase(s) => Command::DropDatabase { name: s.name.clone() },
        Statement::CreateRetentionPolicy(s) => create_policy(s)?,
        Statement::AlterRetentionPolicy(s) => alter_policy(s),
        Statement::DropRetentionPolicy(s) => {
            Command::DropRetentionPolicy { database: s.database.clone(), name: s.name.clone() }
        }
        Statement::DropMeasurement(s) => {
            Command::DropMeasurement { database: database.to_owned(), name: s.name.clone() }
        }
        Statement::DropShard(s) => Command::DropShardGroups { ids: vec![s.id] },
        Statement::CreateContinuousQuery(s) => Command::CreateContinuousQuery {
            database: s.database.clone(),
            name: s.name.clone(),
            query: s.to_string(),
        },
        Statement::DropContinuousQuery(s) => {
            Command::DropContinuousQuery { database: s.database.clone(), name: s.name.clone() }
        }
        Statement::CreateSubscription(s) => create_subscription(s)?,
        Statement::DropSubscription(s) => Command::DropSubscription {
            database: s.database.clone(),
            retention_policy: s.retention_policy.clone(),
            name: s.name.clone(),
        },
        Statement::CreateMaterializedView(s) => Command::CreateMaterializedView {
            database: s.database.clone(),
            name: s.name.clone(),
            query: s.to_string(),
        },
        Statement::DropMaterializedView(s) => {
            Command::DropMaterializedView { database: s.database.clone(), name: s.name.clone() }
        }
        other => return user_command(other, catalog),
    };
    Ok(Some(command))
}

fn database_policy(policy: &ast::DatabaseRetentionPolicy) -> RetentionPolicySpec {
    RetentionPolicySpec {
        name: policy.name.clone(),
        duration: policy.duration_ns,
        replication: policy.replication,
        shard_duration: policy.shard_duration_ns,
        future_write_limit: policy.future_write_limit_ns,
        past_write_limit: policy.past_write_limit_ns,
    }
}

fn create_policy(s: &ast::CreateRetentionPolicyStatement) -> Result<Command, StatementError> {
    let spec = RetentionPolicySpec {
        name: Some(s.name.clone()),
        duration: Some(s.duration_ns),
        replication: Some(s.replication),
        shard_duration: s.shard_duration_ns,
        future_write_limit: s.future_write_limit_ns,
        past_write_limit: s.past_write_limit_ns,
    };
    Ok(Command::CreateRetentionPolicy { database: s.database.clone(), spec, default: s.default })
}

fn alter_policy(s: &ast::AlterRetentionPolicyStatement) -> Command {
    let spec = RetentionPolicySpec {
        name: Some(s.name.clone()),
        duration: s.duration_ns,
        replication: s.replication,
        shard_duration: s.shard_duration_ns,
        future_write_limit: s.future_write_limit_ns,
        past_write_limit: s.past_write_limit_ns,
    };
    Command::AlterRetentionPolicy { database: s.database.clone(), spec, default: s.default }
}

fn create_subscription(s: &ast::CreateSubscriptionStatement) -> Result<Command, StatementError> {
    for destination in &s.destinations {
        if !is_destination(destination) {
            return Err(StatementError::SubscriptionUrl(destination.clone()));
        }
    }
    Ok(Command::CreateSubscription {
        database: s.database.clone(),
        retention_policy: s.retention_policy.clone(),
        name: s.name.clone(),
        mode: match s.mode {
            ast::SubscriptionMode::All => "ALL".to_owned(),
            ast::SubscriptionMode::Any => "ANY".to_owned(),
        },
        destinations: s.destinations.clone(),
    })
}

/// `udp://`, `http://` or `https://`, a host, and a port.
fn is_destination(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let Some((host, port)) = place.rsplit_once(':') else { return false };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    ["udp", "http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
        && (bracketed || !host.contains([':', '[', ']']))
        && port.parse::<u32>().is_ok()
}

fn user_command(statement: &Statement, catalog: &Catalog) -> Result<Option<Command>, StatementError> {
    let command = match statement {
        Statement::CreateUser(s) => create_user(s, catalog)?,
        Statement::DropUser(s) => Command::DropUser { name: s.name.clone() },
        Statement::SetPassword(s) => {
            Command::SetPassword { name: s.name.clone(), password_hash: passwords::hash(&s.password)? }
        }
        Statement::Grant(s) => Command::SetPrivilege {
            user: s.user.clone(),
            database: s.database.clone(),
            privilege: privilege(s.privilege),
        },
        Statement::GrantAdmin(s) => Command::SetAdmin { user: s.user.clone(), admin: true },
        Statement::Revoke(s) => {
            let held = catalog.users.get(&s.user).and_then(|u| u.privileges.get(&s.database)).copied();
            Command::SetPrivilege {
                user: s.user.clone(),
                database: s.database.clone(),
                privilege: revoked(held.unwrap_or(Privilege::None), s.privilege),
            }
        }
        Statement::RevokeAdmin(s) => Command::SetAdmin { user: s.user.clone(), admin: false },
        _ => return Ok(None),
    };
    Ok(Some(command))
}

/// Re-creating a user with the same password and role succeeds, as in InfluxDB.
fn create_user(s: &ast::CreateUserStatement, catalog: &Catalog) -> Result<Command, StatementError> {
    if let Some(user) = catalog.users.get(&s.name) {
        let is_same = match &s.password {
            ast::NewPassword::Plain(password) => passwords::verify(password, &user.password_hash),
            ast::NewPassword::Hash(hash) => *hash == user.password_hash,
        };
        if user.admin == s.admin && is_same {
            return Ok(Command::SetAdmin { user: s.name.clone(), admin: s.admin });
        }
        return Err(CatalogError::UserExists.into());
    }
    let password_hash = match &s.password {
        ast::NewPassword::Plain(password) => passwords::hash(password)?,
        ast::NewPassword::Hash(hash) if passwords::is_hash(hash) => hash.clone(),
        ast::NewPassword::Hash(_) => return Err(StatementError::NoPasswordHash),
    };
    Ok(Command::CreateUser { name: s.name.clone(), password_hash, admin: s.admin })
}

fn privilege(privilege: ast::Privilege) -> Privilege {
    match privilege {
        ast::Privilege::Read => Privilege::Read,
        ast::Privilege::Write => Privilege::Write,
        ast::Privilege::All => Privilege::All,
    }
}

/// What is left of a privilege.
fn revoked(held: Privilege, taken: ast::Privilege) -> Privilege {
    match (held, taken) {
        (_, ast::Privilege::All) => Privilege::None,
        (Privilege::All, ast::Privilege::Read) => Privilege::Write,
        (Privilege::All, ast::Privilege::Write) => Privilege::Read,
        (Privilege::Read, ast::Privilege::Read) | (Privilege::Write, ast::Privilege::Write) => {
            Privilege::None
        }
        (held, _) => held,
    }
}
