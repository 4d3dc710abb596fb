//! The heads of all tables in a file of the data folder, from an orderly stop to the next start.
//!
//! Without it, as after a crash, the heads are filled from the engine, table by table.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use hyperbytedb_application::flush::FlushService;
use hyperbytedb_head::snapshot;

const NAME: &str = "head.snapshot";

pub fn path(data_dir: &str) -> PathBuf {
    Path::new(data_dir).join(NAME)
}

/// Writes the heads. Nothing may come in any more.
pub fn save(flush: &FlushService, path: &Path) {
    let started = Instant::now();
    match write(flush, path) {
        Ok(()) => {
            let ms = started.elapsed().as_millis() as u64;
            tracing::info!(bytes = flush.head().bytes(), ms, "kept the head for the next start");
        }
        Err(error) => tracing::warn!(%error, "the head is not kept: the next start reads it from the engine"),
    }
}

fn write(flush: &FlushService, path: &Path) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut out = BufWriter::new(File::create(&unfinished)?);
    snapshot::save(flush.head(), flush.applied(), &mut out)?;
    out.flush()?;
    fs::rename(unfinished, path)
}

/// Takes what the last stop left, if the log has not gone on since, and removes the file: it is good for one start.
pub fn restore(flush: &FlushService, last_sequence: u64, path: &Path) {
    let started = Instant::now();
    let mut input = match File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => return tracing::warn!(%error, "the head's file cannot be read"),
    };
    let (tables, outcome) = snapshot::restore(flush.head(), last_sequence, &mut input);
    if let Err(error) = outcome {
        tracing::warn!(%error, tables, "not all of the head's file is taken; the rest comes from the engine");
    }
    let ms = started.elapsed().as_millis() as u64;
    tracing::info!(tables, bytes = flush.head().bytes(), ms, "took the head of the last stop");
}

/// Removes the file: from now on the head changes.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
