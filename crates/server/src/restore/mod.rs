//! `hyperbytedb restore`: a backup as a new data folder, or its databases into a running server.

mod into_server;
mod points;
mod policies;
mod stored;
mod users;

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Args;
use hyperbytedb_backup::{Client, Place, Server, lay_out};
use hyperbytedb_domain::QueryContext;
use hyperbytedb_domain::catalog::Command;

use crate::backup::{runtime, summary};
use crate::compose::Application;
use crate::config::Config;

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("target").required(true).args(["data_dir", "url"]))]
pub struct RestoreArguments {
    /// The backup: a folder, or s3://BUCKET/PREFIX.
    #[arg(long)]
    input: String,
    /// Restore into this folder, empty or absent, for a server to be started on.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Restore into the running server at this address.
    #[arg(long, conflicts_with = "data_dir")]
    url: Option<String>,
    /// Name of the user, where the server asks for one.
    #[arg(long, requires = "url")]
    user: Option<String>,
    /// Password of the user; better in the variable HYPERBYTEDB_PASSWORD, which others cannot see.
    #[arg(long, env = "HYPERBYTEDB_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Restore this database alone.
    #[arg(long, requires = "url")]
    database: Option<String>,
    /// Restore the database under this name.
    #[arg(long = "as", requires = "database")]
    new_name: Option<String>,
    /// Go on with a restore of this backup that was interrupted: its points are written once more.
    #[arg(long, requires = "url")]
    resume: bool,
    /// Where the backup is unpacked while it is restored into a server.
    #[arg(long, requires = "url")]
    work_dir: Option<PathBuf>,
}

pub fn run(arguments: RestoreArguments) -> Result<(), Box<dyn Error>> {
    let runtime = runtime()?;
    let place = Place::open(&arguments.input)?;
    if let Some(folder) = &arguments.data_dir {
        let manifest = runtime.block_on(lay_out(&place, folder))?;
        if let Some(database) = &manifest.database {
            keep_only(folder, database)?;
        }
        println!("restored into {}: {}", folder.display(), summary(&manifest));
        return Ok(());
    }
    let RestoreArguments { url, user, password, database, new_name, resume, work_dir, .. } = arguments;
    let server = Server { url: url.unwrap_or_default(), user, password };
    let folder = tempfile::tempdir_in(work_dir.unwrap_or_else(std::env::temp_dir))?;
    let manifest = runtime.block_on(lay_out(&place, folder.path()))?;
    let wanted = match (database, &manifest.database) {
        (Some(wanted), Some(only)) if wanted != *only => {
            return Err(format!("the backup has the points of {only} alone, not of {wanted}").into());
        }
        (wanted, only) => wanted.or_else(|| only.clone()),
    };
    let names = into_server::Names { wanted, new_name, resume };
    into_server::restore(&runtime, &server, &open(folder.path())?, &names)
}

/// The names that a statement shows first in its rows.
async fn shown(client: &Client, statement: &str) -> Result<Vec<String>, hyperbytedb_backup::Error> {
    let answer = client.query(statement).await?;
    let rows = answer["results"][0]["series"][0]["values"].as_array();
    Ok(rows.into_iter().flatten().filter_map(|row| row[0].as_str().map(str::to_owned)).collect())
}

/// A backup of one database knows of the others, but not their points, and of the users, who are not the database's. It
/// becomes what it becomes on a server: the database alone.
fn keep_only(folder: &Path, database: &str) -> Result<(), Box<dyn Error>> {
    let copy = open(folder)?;
    let catalog = copy.catalog();
    let others = catalog.databases.keys().filter(|name| *name != database);
    let drops = others.map(|name| Command::DropDatabase { name: name.clone() });
    let users = catalog.users.keys().map(|name| Command::DropUser { name: name.clone() });
    for drop in drops.chain(users) {
        copy.commands().run(drop, &QueryContext::unbounded())?;
    }
    if !catalog.users.is_empty() {
        println!("not restored: the {} users, which come with all databases only", catalog.users.len());
    }
    copy.stop()
}

/// The services over a folder that no server has, with nothing that works by itself.
fn open(folder: &Path) -> Result<Application, Box<dyn Error>> {
    let mut config = Config::default();
    config.storage.data_dir = folder.to_str().ok_or("the folder's name is not UTF-8")?.to_owned();
    config.retention.enabled = false;
    config.continuous_queries.enabled = false;
    config.subscriber.enabled = false;
    // Series are counted against the limits of the server that they go to.
    config.limits.max_series_per_database = 0;
    config.limits.max_values_per_tag = 0;
    config.query.timeout_secs = 0;
    let application = Application::open(&config)?;
    application.replay().map_err(|error| error.to_string())?;
    Ok(application)
}
