//! `hyperbytedb debug`: looking into the data folder of a server that is stopped, or into a copy of one.
//!
//! Everything but `repair` leaves the folder as it is.

mod folder;
mod parts;
mod repair;
mod show;
mod verify;

use std::error::Error;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use self::folder::Folder;
pub use self::folder::{LINKS, copy_by_links, is_in_use};
use crate::config::Config;

#[derive(Debug, Args)]
pub struct DebugArguments {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: DebugCommand,
}

#[derive(Debug, Args)]
struct Place {
    /// Data folder; it must not be in use.
    #[arg(long, global = true, conflicts_with = "config")]
    data_dir: Option<String>,
    /// Configuration file (TOML) that names the folders.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    /// Where `verify` and `repair` make a working copy of links; default: beside the data folder.
    #[arg(long, global = true)]
    work_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum DebugCommand {
    /// Print log records.
    Log {
        /// Sequence of the first one.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Records at most.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Print how far the consumers of the log are, and which partitions may hold duplicates.
    Cursors,
    /// Print the catalogue as JSON, without password hashes.
    Catalog,
    /// Print the number of series of each table, or the series of one.
    Series {
        /// Number of the table.
        #[arg(long)]
        table: Option<u64>,
    },
    /// Print the engine's tables and partitions, with parts, rows and bytes.
    Tables {
        /// Print each part.
        #[arg(long)]
        parts: bool,
    },
    /// Check that log, catalogue, series index and engine agree.
    Verify,
    /// Make the series index anew from the engine. The folder must not be in use.
    Repair,
}

pub fn run(arguments: DebugArguments) -> Result<(), Box<dyn Error>> {
    let Place { data_dir, config, work_dir } = arguments.place;
    let mut config = Config::load(config.as_deref())?;
    if let Some(data_dir) = data_dir {
        config.storage.data_dir = data_dir;
    }
    let folder = Folder::new(&config, work_dir)?;
    match arguments.command {
        DebugCommand::Log { from, limit } => show::log(&folder.stores()?, from, limit),
        DebugCommand::Cursors => show::cursors(&folder.stores()?),
        DebugCommand::Catalog => show::catalog(&folder.stores()?),
        DebugCommand::Series { table } => show::series(&folder.stores()?, table),
        DebugCommand::Tables { parts } => show::tables(&folder, parts),
        DebugCommand::Verify => verify::verify(&folder),
        DebugCommand::Repair => repair::repair(&folder),
    }
}
