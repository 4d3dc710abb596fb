//! Helpers of the engine's tests.
#![allow(dead_code, unused_imports, clippy::unwrap_used)]

mod rows;

use std::sync::Arc;

use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::field::FieldValue;
use hyperbytedb_domain::ports::PointsSinkPort;
use hyperbytedb_domain::scan::{RowScan, Scan};
use hyperbytedb_domain::{EngineError, QueryContext};
use hyperbytedb_engine_chdb::{ChdbEngine, ChdbOptions};
pub use rows::*;

pub struct Fixture {
    pub engine: ChdbEngine,
    pub directory: tempfile::TempDir,
}

pub fn options(directory: &tempfile::TempDir) -> ChdbOptions {
    ChdbOptions::new(directory.path().join("chdb"))
}

pub fn open() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let engine = ChdbEngine::open(options(&directory)).unwrap();
    Fixture { engine, directory }
}

/// An engine with this one table.
pub fn open_with(table: &Table) -> Fixture {
    let fixture = open();
    fixture.engine.ensure_table(table).unwrap();
    fixture
}

impl Fixture {
    pub fn reopen(self) -> Self {
        let Self { engine, directory } = self;
        drop(engine);
        let engine = ChdbEngine::open(options(&directory)).unwrap();
        Self { engine, directory }
    }

    pub fn insert(&self, table: &Table, rows: &[Row]) {
        self.engine.insert(table, batch(table, rows), 1..=1).unwrap();
    }

    pub fn run(&self, scan: &Scan) -> Result<Vec<Vec<FieldValue>>, EngineError> {
        run(&self.engine, scan, &QueryContext::unbounded())
    }

    /// All tags, time and fields of all rows.
    pub fn all_rows(&self, table: &Arc<Table>, merge_duplicates: bool) -> Vec<Vec<FieldValue>> {
        let mut scan = rows(table, RowScan::default());
        scan.merge_duplicates = merge_duplicates;
        self.run(&scan).unwrap()
    }
}
