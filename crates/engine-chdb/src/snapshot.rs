//! Snapshots of the engine's files while it works.
//!
//! A table's unfinished deletes are stored beside its parts and count for those that are older. They are linked before the
//! parts, and the definitions after them: so no part lacks a delete or a column that it needs. What else happens to a table
//! meanwhile is behind the flush's cursor and comes again from the log.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use hyperbytedb_clickhouse_sql::schema::{DATABASE, table_name};
use hyperbytedb_clickhouse_sql::statement::Statement;
use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::ports::{PointsSinkPort, SnapshotPort};
use hyperbytedb_domain::{QueryContext, StorageError};

use crate::engine::ChdbEngine;

/// Where the engine links frozen parts.
const SHADOW: &str = "shadow";
/// The only snapshot at a time.
const FROZEN: &str = "snapshot";
const METADATA: &str = "metadata";
const FORMAT: &str = "format_version.txt";

impl SnapshotPort for ChdbEngine {
    fn snapshot(&self, target: &Path, wanted: &dyn Fn(TableId) -> bool) -> Result<(), StorageError> {
        let failed = |error: io::Error| {
            let context = format!("link the engine's files into {}", target.display());
            StorageError::failed(context, error)
        };
        self.wait_until_open().map_err(|e| StorageError::failed("open the engine", e))?;
        clear_shadow(&self.data_path).map_err(failed)?;
        let tables =
            self.existing_tables().map_err(|e| StorageError::failed("list the engine's tables", e))?;
        let mut frozen = Vec::new();
        for table in tables.into_iter().filter(|table| wanted(*table)) {
            let Some(folder) = self.folder_of(table).map_err(failed)? else { continue };
            link_deletes(&self.data_path.join(&folder), &target.join(&folder)).map_err(failed)?;
            if self.freeze(table)? {
                frozen.push((table, folder));
            } else {
                fs::remove_dir_all(target.join(&folder)).map_err(failed)?;
            }
        }
        self.collect(&frozen, target).map_err(failed)
    }
}

impl ChdbEngine {
    /// The table's folder within the data path; `None` when it is gone.
    fn folder_of(&self, table: TableId) -> io::Result<Option<PathBuf>> {
        let file = self.data_path.join(METADATA).join(DATABASE).join(definition(table));
        match fs::read_to_string(file) {
            Ok(text) => uuid_of(&text).map(|uuid| Some(store_folder(uuid))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// False when the table is gone.
    fn freeze(&self, table: TableId) -> Result<bool, StorageError> {
        let context = || format!("freeze table {}", table.0);
        let failed = |error| StorageError::failed(context(), error);
        let unbounded = QueryContext::unbounded();
        self.open_table(table, &unbounded).map_err(failed)?;
        let statement = Statement::Freeze { table: table_name(table), name: FROZEN.to_owned() };
        match self.try_execute(&statement, &unbounded).map_err(failed)? {
            Err(exception) if exception.is_unknown_table() => Ok(false),
            result => result.map(|()| true).map_err(|e| failed(e.into_engine_error("freeze"))),
        }
    }

    /// Moves the frozen parts to their places and adds the definitions.
    fn collect(&self, frozen: &[(TableId, PathBuf)], target: &Path) -> io::Result<()> {
        let shadow = self.data_path.join(SHADOW).join(FROZEN);
        let metadata = self.data_path.join(METADATA);
        let database = format!("{DATABASE}.sql");
        let definitions = store_folder(uuid_of(&fs::read_to_string(metadata.join(&database))?)?);
        fs::create_dir_all(target.join(METADATA))?;
        fs::create_dir_all(target.join(&definitions))?;
        fs::copy(metadata.join(&database), target.join(METADATA).join(&database))?;
        symlink(Path::new("..").join(&definitions), target.join(METADATA).join(DATABASE))?;
        for (table, folder) in frozen {
            let definition = definition(*table);
            let copied = fs::copy(
                metadata.join(DATABASE).join(&definition),
                target.join(&definitions).join(&definition),
            );
            match copied.and_then(|_| {
                fs::copy(self.data_path.join(folder).join(FORMAT), target.join(folder).join(FORMAT))
            }) {
                Ok(_) => {}
                // Dropped meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let _ = fs::remove_file(target.join(&definitions).join(&definition));
                    fs::remove_dir_all(target.join(folder))?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            // A table without parts leaves nothing.
            for part in entries(&shadow.join(folder))? {
                fs::rename(shadow.join(folder).join(&part), target.join(folder).join(&part))?;
            }
        }
        clear_shadow(&self.data_path)
    }
}

/// Removes what an unfinished snapshot has left.
pub(crate) fn clear_shadow(data_path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(data_path.join(SHADOW)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn definition(table: TableId) -> String {
    format!("{}.sql", table_name(table).table)
}

/// The number in `ATTACH TABLE _ UUID '…'`.
fn uuid_of(definition: &str) -> io::Result<&str> {
    let uuid = definition.split_once("UUID '").and_then(|(_, rest)| Some(rest.split_once('\'')?.0));
    uuid.filter(|uuid| uuid.len() > 3 && uuid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'))
        .ok_or_else(|| io::Error::other("a definition without a UUID"))
}

fn store_folder(uuid: &str) -> PathBuf {
    Path::new("store").join(&uuid[..3]).join(uuid)
}

fn link_deletes(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for name in entries(from)?.into_iter().filter(|name| name.starts_with("mutation_")) {
        match fs::hard_link(from.join(&name), to.join(&name)) {
            // Carried out meanwhile, in all parts.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            linked => linked?,
        }
    }
    Ok(())
}

/// Names in a folder; none where there is no folder.
fn entries(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}
