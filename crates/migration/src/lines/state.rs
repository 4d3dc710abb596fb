//! How far an import is, so that the next run can go on where one was interrupted.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::write::Report;

const SAVE_EVERY: Duration = Duration::from_secs(1);

/// The beginning of a line, and what the lines before it said about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Which of the files.
    pub file: usize,
    pub offset: u64,
    pub line: u64,
    pub database: String,
    pub policy: String,
    /// Statements follow, not lines.
    pub statements: bool,
}

/// The file that remembers it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct State {
    files: Vec<PathBuf>,
    pub position: Position,
    /// Lines so far.
    pub accepted: u64,
    pub refused: u64,
    /// Statements that were read and are to be run when all points have arrived.
    #[serde(default)]
    pub behind: Vec<String>,
    #[serde(skip)]
    path: Option<PathBuf>,
    #[serde(skip)]
    saved: Option<Instant>,
}

impl State {
    /// The state that an interrupted import of the same files left behind, or a new one.
    pub fn open(path: Option<PathBuf>, files: &[PathBuf]) -> Result<Self, Error> {
        let new = |path| Self { files: files.to_vec(), path, ..Self::default() };
        let Some(path) = path else { return Ok(new(None)) };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(new(Some(path))),
            Err(error) => return Err(Error::file(&path)(error)),
        };
        let state: Self =
            serde_json::from_slice(&bytes).map_err(|error| of_others(&path, &error.to_string()))?;
        if state.files != files {
            return Err(of_others(&path, "it belongs to an import of other files"));
        }
        eprintln!(
            "going on from line {} of {} ({})",
            state.position.line,
            files.get(state.position.file).unwrap_or(&path).display(),
            path.display()
        );
        Ok(Self { path: Some(path), ..state })
    }

    pub fn add_behind(&mut self, statement: &str) {
        // What is read again after an interruption is there already.
        if !self.behind.iter().any(|found| found == statement) {
            self.behind.push(statement.to_owned());
        }
    }

    pub fn save_now_and_then(
        &mut self,
        position: impl FnOnce() -> Position,
        report: &Report,
    ) -> Result<(), Error> {
        let saved = self.saved.get_or_insert_with(Instant::now);
        if saved.elapsed() < SAVE_EVERY {
            return Ok(());
        }
        *saved = Instant::now();
        self.position = position();
        self.save(report)
    }

    /// Remembers where to go on after an error; a position of none says that no line was waiting.
    pub fn stop(&mut self, position: Option<Position>, report: &Report) -> Result<(), Error> {
        let Some(position) = position else { return Ok(()) };
        self.position = position;
        self.save(report)?;
        if let Some(path) = &self.path {
            eprintln!("the next run goes on from line {} ({})", self.position.line, path.display());
        }
        Ok(())
    }

    fn save(&mut self, report: &Report) -> Result<(), Error> {
        let Some(path) = &self.path else { return Ok(()) };
        (self.accepted, self.refused) = (report.accepted(), report.refused());
        let text = serde_json::to_vec(self).map_err(|error| Error::file(path)(error.into()))?;
        let new = path.with_added_extension("new");
        fs::write(&new, text).and_then(|()| fs::rename(&new, path)).map_err(Error::file(path))
    }

    /// The import is through.
    pub fn remove(&self) -> Result<(), Error> {
        match &self.path {
            Some(path) if path.exists() => fs::remove_file(path).map_err(Error::file(path)),
            _ => Ok(()),
        }
    }
}

fn of_others(path: &Path, problem: &str) -> Error {
    Error::usage(format!("{}: {problem}; remove it to begin anew, or give another --state", path.display()))
}

/// The batches that are not yet through, by their tickets, which rise with their first lines.
#[derive(Debug, Default)]
pub struct Tracker(Mutex<BTreeMap<u64, Position>>);

impl Tracker {
    pub fn begin(&self, ticket: u64, first: Position) {
        self.0.lock().insert(ticket, first);
    }

    pub fn done(&self, ticket: u64) {
        self.0.lock().remove(&ticket);
    }

    /// The first line that may have to be sent again.
    pub fn oldest(&self) -> Option<Position> {
        self.0.lock().first_key_value().map(|(_, position)| position.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupted_import_is_remembered_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (path, files) = (folder.path().join("state"), [PathBuf::from("a"), PathBuf::from("b")]);
        let open = |files: &[PathBuf]| State::open(Some(path.clone()), files);
        let mut first = open(&files).unwrap();
        assert_eq!(first.position, Position::default());
        first.add_behind("ALTER x");
        let position = Position { file: 1, offset: 70, line: 5, ..Position::default() };
        let report = Report::resumed(4, 1);
        first.stop(Some(position.clone()), &report).unwrap();
        let mut second = open(&files).unwrap();
        assert_eq!((&second.position, second.accepted, second.refused), (&position, 4, 1));
        second.add_behind("ALTER x");
        assert_eq!(second.behind, ["ALTER x"], "it is run once");
        assert!(open(&files[..1]).is_err());
        second.remove().unwrap();
        assert!(!path.exists());
    }
}
