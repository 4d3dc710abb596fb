//! Tables that are stored but not open.
//!
//! Opening a table takes the engine some milliseconds, and its start waits for all of them. So they are marked as
//! detached before it starts, by an empty file beside each definition, as `DETACH TABLE … PERMANENTLY` leaves it; and a
//! table is attached when it is first asked for, which takes the mark away.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use hyperbytedb_clickhouse_sql::Settings;
use hyperbytedb_clickhouse_sql::schema::{DATABASE, parse_table_name, table_name};
use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_engine_common::ColumnCounts;
use parking_lot::Mutex;

use crate::definition;

/// How the engine names parts that it could not read when it opened their table.
const BROKEN: &str = "broken-on-start";

pub(crate) struct DormantTables {
    /// Where the engine keeps the definitions of tables.
    definitions: PathBuf,
    /// Where it keeps a link to each table's parts.
    places: PathBuf,
    tables: Mutex<HashSet<TableId>>,
}

impl DormantTables {
    /// Marks all tables of a data path that no engine has open. `settings`: of tables.
    pub(crate) fn mark(data_path: &Path, settings: &Settings) -> io::Result<Self> {
        let definitions = data_path.join("metadata").join(DATABASE);
        let places = data_path.join("data").join(DATABASE);
        let dormant = Self { definitions, places, tables: Mutex::default() };
        let mut tables = dormant.defined()?;
        for table in tables.clone() {
            if dormant.mend_if_empty(table, settings)? {
                tables.remove(&table);
            }
        }
        for table in &tables {
            File::create(dormant.file(*table, "sql.detached"))?;
        }
        *dormant.tables.lock() = tables;
        Ok(dormant)
    }

    /// A full disk leaves the definition empty of a table that is made or changed then, and the engine does not start with it.
    /// One with rows is written anew, one without is removed: true.
    fn mend_if_empty(&self, table: TableId, settings: &Settings) -> io::Result<bool> {
        let file = self.file(table, "sql");
        if fs::metadata(&file)?.len() > 0 {
            return Ok(false);
        }
        let place = self.place(table);
        if definition::has_parts(&place)? {
            definition::rebuild(&file, &place, settings.clone()).map_err(|error| {
                let text =
                    "is empty, as a full disk leaves it, and cannot be written anew from the table's rows";
                io::Error::other(format!("{} {text}: {error}", file.display()))
            })?;
            tracing::warn!(
                table = table.0,
                "wrote the definition of a table anew that was emptied by a full disk"
            );
            return Ok(false);
        }
        tracing::warn!(
            table = table.0,
            "removing the empty definition of a table that was made while the disk was full"
        );
        match fs::remove_file(place) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => fs::remove_file(file)?,
        }
        Ok(true)
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

    fn place(&self, table: TableId) -> PathBuf {
        self.places.join(table_name(table).table)
    }

    /// The parts of a table that the engine has put aside because they are broken: what they hold is not read any more.
    pub(crate) fn broken_parts(&self, table: TableId) -> Vec<String> {
        let entries = fs::read_dir(self.place(table).join("detached")).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.starts_with(BROKEN)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_definitions_of_tables_without_rows_go_and_broken_parts_are_seen() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let definitions = dir.path().join("metadata").join(DATABASE);
        fs::create_dir_all(&definitions)?;
        fs::write(definitions.join("m1.sql"), "ATTACH TABLE _")?;
        fs::write(definitions.join("m2.sql"), "")?;
        let settings = Settings::default();
        let dormant = DormantTables::mark(dir.path(), &settings)?;
        assert_eq!(dormant.all(), [TableId(1)]);
        assert!(!definitions.join("m2.sql").exists());
        fs::write(definitions.join("m3.sql"), "")?;
        assert_eq!(dormant.broken_parts(TableId(1)), Vec::<String>::new());
        for name in ["m1/detached/broken-on-start_1_1_1_0", "m1/detached/1_2_2_0"] {
            fs::create_dir_all(dir.path().join("data").join(DATABASE).join(name))?;
        }
        assert_eq!(dormant.broken_parts(TableId(1)), ["broken-on-start_1_1_1_0"]);
        let part = dir.path().join("data").join(DATABASE).join("m3/1_1_1_0");
        fs::create_dir_all(&part)?;
        fs::write(part.join("columns.txt"), "x")?;
        let refused = DormantTables::mark(dir.path(), &settings).err().map(|error| error.to_string());
        let refused = refused.unwrap_or_default();
        assert!(refused.contains("m3.sql is empty"), "not a folder of the engine: {refused}");
        Ok(())
    }
}
