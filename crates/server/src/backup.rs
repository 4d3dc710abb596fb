//! `hyperbytedb backup`.

use std::error::Error;

use clap::{Args, Subcommand};
use hyperbytedb_backup::{Manifest, Place, Server};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct BackupArguments {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    #[command(flatten)]
    server: Server,
    /// Where the backup goes: a folder that is empty or absent, or s3://BUCKET/PREFIX.
    #[arg(long, required = true)]
    output: Option<String>,
    /// Back up the points of this database alone.
    #[arg(long)]
    database: Option<String>,
    /// An earlier backup beside the new one: files that it has are not fetched again.
    #[arg(long)]
    since: Option<String>,
}

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Read a whole backup and compare it with its checksums.
    Verify {
        /// A folder, or s3://BUCKET/PREFIX.
        backup: String,
    },
}

pub fn run(arguments: BackupArguments) -> Result<(), Box<dyn Error>> {
    runtime()?.block_on(async {
        match arguments.command {
            Some(BackupCommand::Verify { backup }) => {
                let manifest = hyperbytedb_backup::verify(&Place::open(&backup)?).await?;
                println!("{backup} is good: {}", summary(&manifest));
                Ok(())
            }
            None => make(arguments).await,
        }
    })
}

async fn make(arguments: BackupArguments) -> Result<(), Box<dyn Error>> {
    let output = arguments.output.unwrap_or_default();
    let since = arguments.since.as_deref().map(Place::open).transpose()?;
    let place = Place::create(&output)?;
    let fetched =
        hyperbytedb_backup::fetch(&arguments.server, &place, arguments.database.as_deref(), since.as_ref());
    let fetched = fetched.await?;
    println!("{output}: {}, {} fetched", summary(&fetched.manifest), bytes(fetched.fetched_bytes));
    Ok(())
}

/// What a backup is, in a line.
pub fn summary(manifest: &Manifest) -> String {
    let of = manifest.database.as_ref().map_or_else(String::new, |name| format!(" of {name}"));
    let builds_on: Vec<&str> = manifest.builds_on().into_iter().collect();
    let on =
        if builds_on.is_empty() { String::new() } else { format!(", builds on {}", builds_on.join(", ")) };
    format!(
        "backup{of} at sequence {}, {} files, {}{on}",
        manifest.sequence,
        manifest.files.len(),
        bytes(manifest.bytes())
    )
}

fn bytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// For commands that talk over the network.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    hyperbytedb_backup::init();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
