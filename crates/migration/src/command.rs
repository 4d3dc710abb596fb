//! The subcommands, and what the process ends with.

use std::process::ExitCode;

use clap::Subcommand;

use crate::check::Check;
use crate::error::Error;
use crate::export::Export;
use crate::influxdb::ImportInfluxdb;
use crate::lines::ImportLines;

/// What a comparison ends with that failed.
const NOT_COMPARED: u8 = 2;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write points from files to a server.
    #[command(subcommand)]
    Import(Import),
    /// Write the points of a database into files.
    Export(Export),
    /// Compare servers.
    #[command(subcommand)]
    Migrate(Migrate),
}

#[derive(Debug, Subcommand)]
pub enum Migrate {
    /// Compare the databases, policies, schemas, series and points of two servers. Ends with 0 where they are equal, with 1
    /// where they differ, with 2 where they cannot be compared.
    Check(Check),
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
            Self::Export(command) => ended(command.run()),
            Self::Migrate(Migrate::Check(command)) => match command.run() {
                Err(error) => {
                    eprintln!("hyperbytedb: {error}");
                    ExitCode::from(NOT_COMPARED)
                }
                result => ended(result),
            },
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
