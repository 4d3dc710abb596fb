//! The `hyperbytedb` binary: reads the configuration, puts the parts together, listens, and stops in order.

mod compose;
mod config;
mod logging;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;

/// A time-series database that speaks InfluxDB 1.x.
#[derive(Debug, Parser)]
#[command(name = "hyperbytedb", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server.
    Serve {
        /// Configuration file (TOML).
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Print the effective configuration, with comments.
    Config {
        /// Configuration file (TOML).
        #[arg(long)]
        config: Option<PathBuf>,
        /// Print the reference of all keys instead.
        #[arg(long)]
        markdown: bool,
    },
    /// Commands that talk to a server, ours or InfluxDB's.
    #[command(flatten)]
    Migration(hyperbytedb_migration::Command),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hyperbytedb: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Box<dyn std::error::Error>> {
    match command {
        Command::Serve { config } => {
            let config = Config::load(config.as_deref())?;
            logging::init(&config.logging)?;
            serve::serve(&config)?;
        }
        Command::Config { markdown: true, .. } => {
            print!("{}", config::print_markdown(&Config::default()));
        }
        Command::Config { config, .. } => {
            print!("{}", config::print_toml(&Config::load(config.as_deref())?));
        }
        Command::Migration(command) => return Ok(command.run()),
    }
    Ok(ExitCode::SUCCESS)
}
