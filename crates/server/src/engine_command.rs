//! `hyperbytedb engine copy`: from the embedded engine to ClickHouse servers and back.
//!
//! The catalogue, the series index and the log stay with the data folder, and so do the numbers of tables and series: only rows
//! are copied. While the server runs they come from a snapshot of its engine, or from ClickHouse. What has changed since comes
//! with a last copy while the server is stopped, which is exact: from then on the data folder's points are in the other engine.

mod places;
mod progress;

use std::error::Error;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use hyperbytedb_application::engine_copy::EngineCopy;
use hyperbytedb_backup::Server;

use self::places::Places;
use self::progress::Progress;
use crate::config::Config;

#[derive(Debug, Args)]
pub struct EngineArguments {
    #[command(subcommand)]
    command: EngineCommand,
}

#[derive(Debug, Subcommand)]
enum EngineCommand {
    /// Copy all stored points to the other engine. Running it again copies what has changed, and goes on after an interruption.
    Copy(CopyArguments),
}

#[derive(Debug, Args)]
pub struct CopyArguments {
    /// Configuration file (TOML) of the server, with the section `clickhouse`.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where the points are.
    #[arg(long)]
    from: EngineKind,
    /// Where they go.
    #[arg(long)]
    to: EngineKind,
    /// The server is stopped: after the copy its points are in the other engine, which `engine.kind` must then name.
    #[arg(long)]
    switch: bool,
    /// Asked for a snapshot while it runs on the embedded engine.
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EngineKind {
    Chdb,
    Clickhouse,
}

pub fn run(arguments: EngineArguments) -> Result<(), Box<dyn Error>> {
    let EngineCommand::Copy(arguments) = arguments.command;
    if arguments.from == arguments.to {
        return Err("--from and --to name the same engine".into());
    }
    let config = Config::load(arguments.config.as_deref())?;
    if config.cluster.enabled {
        return Err("a cluster of HyperbyteDB nodes has embedded engines (cluster.enabled)".into());
    }
    let places = Places::new(&config, arguments.to == EngineKind::Clickhouse)?;
    if arguments.switch && places.is_in_use {
        return Err("the server is running: copy without --switch, stop it, then copy with --switch".into());
    }
    let progress = Progress::default();
    let opened = places.open(&arguments.server)?;
    let copy = EngineCopy {
        from: opened.from,
        to: opened.to,
        catalog: opened.catalog,
        is_still: opened.is_still,
        report: &|step| progress.note(step),
    };
    let tally = copy.run()?;
    println!("{}", progress::summary(&tally));
    // Nobody else opens the folder before the points are said to be elsewhere.
    drop(copy);
    if arguments.switch {
        places.switch()?;
        let kind = if arguments.to == EngineKind::Clickhouse { "clickhouse" } else { "chdb" };
        println!("the points are there now: start the server with engine.kind = \"{kind}\"");
    } else {
        println!("the server's points are where they were: stop it and copy with --switch to change over");
    }
    drop(opened.guard);
    Ok(())
}
