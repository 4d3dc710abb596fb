//! `export`: a database as line protocol that `influx -import` and `import lines` read, or as Parquet files.
//!
//! Points come as the answers of chunked queries and are written as they come, so memory does not depend on their number.

mod lines;
mod parquet;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::client::{Connection, Server};
use crate::error::Error;
use crate::read::{Measurement, Points, PointsOf, Policy, Selection, measurements, policies};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Lines,
    Parquet,
}

#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    connection: Connection,
    #[arg(long)]
    database: String,
    #[command(flatten)]
    selection: Selection,
    /// What is written: line protocol, or a Parquet file for each measurement of each policy.
    #[arg(long, value_enum, default_value_t = Format::Lines)]
    format: Format,
    /// The file, compressed if its name ends in .gz; - is standard output. For Parquet the folder.
    #[arg(long)]
    output: PathBuf,
    /// Rows of one piece of an answer.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    chunk_rows: u32,
}

impl Export {
    pub fn run(&self) -> Result<bool, Error> {
        self.selection.range.get()?;
        let server = Server::new(&self.connection)?;
        let policies = self.policies(&server)?;
        let mut found = Vec::new();
        for policy in &policies {
            found.extend(measurements(
                &server,
                &self.database,
                &policy.name,
                self.selection.measurement.as_deref(),
            )?);
        }
        if found.is_empty() {
            return Err(Error::usage("nothing to export: no such measurement has points"));
        }
        for measurement in found.iter().filter(|measurement| measurement.has_mixed_types) {
            eprintln!(
                "note: {} has a field with several types; what queries answer is exported",
                measurement.source()
            );
        }
        let export = Exporting { command: self, server, policies };
        let points = match self.format {
            Format::Lines => lines::write(&export, &found)?,
            Format::Parquet => parquet::write(&export, &found)?,
        };
        eprintln!("{points} points of {} measurements", found.len());
        for policy in export.policies.iter().filter(|policy| !policy.write_limits().is_empty()) {
            let (name, limits) = (&policy.name, policy.write_limits());
            match self.format {
                Format::Lines => eprintln!(
                    "note: policy {name:?} has{limits}: `import lines` sets that behind the points, `influx -import` does not"
                ),
                Format::Parquet => {}
            }
        }
        Ok(true)
    }

    fn policies(&self, server: &Server) -> Result<Vec<Policy>, Error> {
        let mut found = policies(server, &self.database)?;
        if let Some(only) = &self.selection.retention_policy {
            found.retain(|policy| policy.name == *only);
            if found.is_empty() {
                return Err(Error::usage(format!("no retention policy {only:?} on {:?}", self.database)));
            }
        }
        Ok(found)
    }
}

/// Writes a file under another name first: what is cut off must not look like an export, nor stay.
fn write_whole<T>(path: &Path, write: impl FnOnce(&Path) -> Result<T, Error>) -> Result<T, Error> {
    let new = path.with_added_extension("part");
    let written = write(&new).and_then(|written| {
        std::fs::rename(&new, path).map_err(Error::file(path))?;
        Ok(written)
    });
    if written.is_err() {
        // It may not have come to be.
        let _ = std::fs::remove_file(&new);
    }
    written
}

struct Exporting<'a> {
    command: &'a Export,
    server: Server,
    policies: Vec<Policy>,
}

impl Exporting<'_> {
    fn points(&self, measurement: &Measurement) -> Result<Points, Error> {
        let of = PointsOf {
            database: &self.command.database,
            measurement,
            range: self.command.selection.range.get()?,
            chunk_rows: self.command.chunk_rows as usize,
        };
        Points::ask(&self.server, &of)
    }
}
