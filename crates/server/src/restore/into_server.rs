//! Databases of an opened backup into a running server: schema by statements, points by writes, then what works by itself.

use std::error::Error;
use std::sync::Arc;

use hyperbytedb_backup::{Client, Server};
use hyperbytedb_domain::QueryContext;
use hyperbytedb_domain::catalog::{Command, Database, RetentionPolicySpec};
use tokio::runtime::Runtime;

use super::points::write_points;
use super::stored::Stored;
use super::users::restore_users;
use super::{policies, shown};
use crate::compose::Application;

/// What is restored, and under which name.
pub struct Names {
    /// `None`: all databases.
    pub wanted: Option<String>,
    /// Only of one.
    pub new_name: Option<String>,
    /// Databases may be there, from an earlier run that did not come to its end.
    pub resume: bool,
}

impl Names {
    fn target<'a>(&'a self, database: &'a str) -> &'a str {
        self.new_name.as_deref().unwrap_or(database)
    }
}

pub fn restore(
    runtime: &Runtime,
    server: &Server,
    copy: &Application,
    names: &Names,
) -> Result<(), Box<dyn Error>> {
    let catalog = copy.catalog();
    let databases: Vec<&Arc<Database>> =
        catalog.databases_in_order().into_iter().filter(|db| is_wanted(names, db)).collect();
    if let (Some(name), true) = (&names.wanted, databases.is_empty()) {
        return Err(format!("the backup has no database {name}").into());
    }
    let client = Client::new(server)?;
    let before = runtime.block_on(prepare(&client, &databases, names))?;
    let run = |statements: &[String]| run(runtime, &client, statements, names.resume);
    run(&before)?;
    for database in &databases {
        run(&policies::create(database, names.target(&database.name)))?;
    }
    // What views compute from here on may not be in what is read.
    let stored = |database: &&Arc<Database>| Stored::of(database, names.target(&database.name), copy);
    let stored = databases.iter().map(stored).collect::<Result<Vec<_>, _>>()?;
    for database in databases {
        let target = names.target(&database.name);
        show_expired(copy, database)?;
        let counts = write_points(runtime, &client, copy.queries(), database, target)?;
        run(&policies::set_limits(database, target))?;
        let expired = match counts.expired() {
            0 => String::new(),
            expired => format!(", {expired} points had expired and are left out"),
        };
        println!("restored database {target}: {} points{expired}", counts.written());
    }
    for Stored { statements, left_out } in stored {
        run(&statements)?;
        left_out.iter().for_each(|what| println!("not restored: {what}"));
    }
    match &names.wanted {
        None => runtime.block_on(restore_users(&client, &catalog, names.resume))?,
        Some(_) if !catalog.users.is_empty() => {
            println!("not restored: the {} users, which come with all databases only", catalog.users.len());
        }
        Some(_) => {}
    }
    Ok(())
}

/// Runs statements; where a restore goes on, what it has made before is there.
fn run(
    runtime: &Runtime,
    client: &Client,
    statements: &[String],
    resume: bool,
) -> Result<(), Box<dyn Error>> {
    for statement in statements {
        match runtime.block_on(client.query(statement)) {
            Err(error) if resume && error.to_string().contains("already exists") => {}
            ran => drop(ran?),
        }
    }
    Ok(())
}

/// Points past their policy are not shown; here they are to be counted.
fn show_expired(copy: &Application, database: &Database) -> Result<(), Box<dyn Error>> {
    for policy in database.retention_policies.keys() {
        let spec = RetentionPolicySpec {
            name: Some(policy.clone()),
            duration: Some(0),
            ..RetentionPolicySpec::default()
        };
        let alter = Command::AlterRetentionPolicy { database: database.name.clone(), spec, default: false };
        copy.commands().run(alter, &QueryContext::unbounded())?;
    }
    Ok(())
}

fn is_wanted(names: &Names, database: &Database) -> bool {
    names.wanted.as_ref().is_none_or(|name| *name == database.name)
}

/// What has to be run first. Nothing is changed when a database is there already that is not to be gone on with.
async fn prepare(
    client: &Client,
    databases: &[&Arc<Database>],
    names: &Names,
) -> Result<Vec<String>, Box<dyn Error>> {
    let existing = shown(client, "SHOW DATABASES").await?;
    let mut statements = Vec::new();
    for database in databases {
        let target = names.target(&database.name);
        if !existing.iter().any(|name| name == target) {
            continue;
        }
        if !names.resume {
            let hint = "drop it, or restore under another name with --database and --as; --resume goes on where a \
                        restore was interrupted";
            return Err(format!("the server has a database {target} already: {hint}").into());
        }
        statements.extend(policies::lift_limits(client, database, target).await?);
    }
    Ok(statements)
}
