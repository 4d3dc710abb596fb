//! Tables that are stored but not open.
//!
//! Opening a table takes the engine some milliseconds, and its start waits for all of them. So they are marked as
//! detached before it starts, by an empty file beside each definition, as `DETACH TABLE … PERMANENTLY` leaves it; and a
//! table is attached when it is first asked for, which takes the mark away.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use hyperbytedb_clickhouse_sql::schema::{DATABASE, parse_table_name, table_name};
use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_engine_common::ColumnCounts;
use parking_lot::Mutex;

pub(crate) struct DormantTables {
    /// Where the engine keeps the definitions of tables.
    definitions: PathBuf,
    tables: Mutex<HashSet<TableId>>,
}

impl DormantTables {
    /// Marks all tables of a data path that no engine has open.
    pub(crate) fn mark(data_path: &Path) -> io::Result<Self> {
        let definitions = data_path.join("metadata").join(DATABASE);
        let tables = Mutex::default();
        let dormant = Self { definitions, tables };
        let tables = dormant.defined()?;
        for table in &tables {
            File::create(dormant.file(*table, "sql.detached"))?;
        }
        *dormant.tables.lock() = tables;
        Ok(dormant)
    }

    /// All tables that have a definition, open or not.
    pub(crate) fn defined(&self) -> io::Result<HashSet<TableId>> {
        let entries = match fs::read_dir(&self.definitions) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(HashSet::new()),
            Err(error) => return Err(error),
        };
        let mut tables = HashSet::new();
        for entry in entries {
            let name = entry?.file_name();
            tables.extend(name.to_str().and_then(|name| parse_table_name(name.strip_suffix(".sql")?)));
        }
        Ok(tables)
    }

    fn file(&self, table: TableId, extension: &str) -> PathBuf {
        self.definitions.join(format!("{}.{extension}", table_name(table).table))
    }

    /// The columns of a table as its definition lists them, one a line; `None` where it does not tell.
    pub(crate) fn columns(&self, table: TableId) -> Option<ColumnCounts> {
        let definition = fs::read_to_string(self.file(table, "sql")).ok()?;
        let mut counts = ColumnCounts::default();
        let lines = definition.lines().skip_while(|line| *line != "(").skip(1);
        for line in lines.take_while(|line| *line != ")") {
            counts.add(line.trim_start().strip_prefix('`')?.split_once('`')?.0);
        }
        Some(counts)
    }

    pub(crate) fn contains(&self, table: TableId) -> bool {
        self.tables.lock().contains(&table)
    }

    pub(crate) fn all(&self) -> Vec<TableId> {
        self.tables.lock().iter().copied().collect()
    }

    /// Notes that the table is open, or gone.
    pub(crate) fn remove(&self, table: TableId) {
        self.tables.lock().remove(&table);
    }
}
