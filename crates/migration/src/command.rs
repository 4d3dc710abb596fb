//! The subcommands, and what the process ends with.

use std::process::ExitCode;

use clap::Subcommand;

use crate::error::Error;
use crate::influxdb::ImportInfluxdb;
use crate::lines::ImportLines;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write points from files to a server.
    #[command(subcommand)]
    Import(Import),
}

#[derive(Debug, Subcommand)]
pub enum Import {
    /// Line protocol, also as `influx_inspect export` writes it.
    Lines(ImportLines),
    /// The data folder of an InfluxDB 1.x that is stopped, or a portable backup of one.
    Influxdb(ImportInfluxdb),
}

impl Command {
    /// Runs the command: success when all was done, else a failure that was told on standard error.
    pub fn run(self) -> ExitCode {
        match self {
            Self::Import(Import::Lines(command)) => ended(command.run()),
            Self::Import(Import::Influxdb(command)) => ended(command.run()),
        }
    }
}

/// A command says whether all of its work was done.
fn ended(result: Result<bool, Error>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hyperbytedb: {error}");
            ExitCode::FAILURE
        }
    }
}
