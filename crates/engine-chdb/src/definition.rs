//! Definitions that a full disk has emptied are written anew.
//!
//! A table's definition is rewritten as a whole when the table gets a column. What it said is in the table's parts: each
//! names its columns with their types. A column that no part has yet is added again when the table is next asked for.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use hyperbytedb_clickhouse_sql::Settings;
use hyperbytedb_clickhouse_sql::schema::{ColumnDef, stored_column};
use hyperbytedb_clickhouse_sql::statement;

/// Of a part: what its columns are.
const COLUMNS: &str = "columns.txt";

/// Whether a table's folder has rows in it.
pub(crate) fn has_parts(folder: &Path) -> io::Result<bool> {
    Ok(!parts(folder)?.is_empty())
}

/// The columns of each part.
fn parts(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut parts = Vec::new();
    for entry in entries {
        let entry = entry?;
        // PARTITION_FIRSTBLOCK_LASTBLOCK_LEVEL: whole ones, and not what is being made or removed.
        if !entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        match fs::read_to_string(entry.path().join(COLUMNS)) {
            Ok(columns) => parts.push(columns),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(parts)
}

/// Writes the definition of the table whose folder is at `place`, a link to where the engine keeps its parts.
pub(crate) fn rebuild(file: &Path, place: &Path, settings: Settings) -> io::Result<()> {
    let target = fs::read_link(place)?;
    let uuid = target.file_name().and_then(|name| name.to_str()).filter(|uuid| uuid.len() == UUID_LENGTH);
    let uuid = uuid.ok_or_else(|| io::Error::other(format!("{} is no table's folder", target.display())))?;
    let definition = statement::stored_table(uuid, columns_of(&parts(place)?)?, settings).to_string();
    let new = file.with_extension("sql.new");
    let mut writer = File::create(&new)?;
    writer.write_all(definition.as_bytes())?;
    writer.write_all(b"\n")?;
    writer.sync_all()?;
    fs::rename(&new, file)?;
    file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

const UUID_LENGTH: usize = 36;

/// All columns that some part has, in their order.
fn columns_of(parts: &[String]) -> io::Result<Vec<ColumnDef>> {
    let mut columns: BTreeMap<_, ColumnDef> = BTreeMap::new();
    for line in parts.iter().flat_map(|part| part.lines()).filter(|line| line.starts_with('`')) {
        let column = line[1..].split_once("` ").and_then(|(name, text)| stored_column(name, text));
        let (order, column) = column
            .ok_or_else(|| io::Error::other(format!("a part has a column that is not ours: {line}")))?;
        columns.insert(order, column);
    }
    Ok(columns.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_of_all_parts_in_their_order() {
        let older = "columns format version: 1\n4 columns:\n`time` Int64\n`sid` UInt64\n`shard` UInt64\n\
                     `f0` SimpleAggregateFunction(anyLast, Nullable(Float64))\n";
        let later = "`t10` LowCardinality(String)\n`t9` LowCardinality(String)\n";
        let names = |parts: &[&str]| {
            let parts: Vec<String> = parts.iter().map(|&part| part.to_owned()).collect();
            columns_of(&parts)
                .map(|columns| columns.into_iter().map(|column| column.name).collect::<Vec<_>>())
        };
        assert_eq!(
            names(&[older, later]).ok(),
            Some(["time", "sid", "shard", "t9", "t10", "f0"].map(String::from).to_vec())
        );
        for other in ["`x` UInt8", "`f0` UInt8", "`t0`"] {
            assert!(names(&[older, other]).is_err(), "{other}");
        }
    }
}
