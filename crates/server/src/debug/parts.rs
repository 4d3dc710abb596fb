//! The engine's tables as its files show them: no engine is needed to look.

use std::error::Error;
use std::fs;
use std::path::Path;

/// Folders beside the parts of a table.
const NO_PARTS: [&str; 2] = ["tmp_", "delete_tmp_"];

#[derive(Debug)]
pub struct Part {
    pub table: u64,
    /// Number of the shard group.
    pub shard: u64,
    pub name: String,
    pub rows: u64,
    pub bytes: u64,
    pub deletes: usize,
}

/// Numbers of the tables that have a definition, and all parts; a part that others cover counts, too.
pub fn read(engine_dir: &Path) -> Result<(Vec<u64>, Vec<Part>), Box<dyn Error>> {
    let definitions = engine_dir.join("metadata/hyperbyte");
    let (mut tables, mut parts) = (Vec::new(), Vec::new());
    let Ok(entries) = fs::read_dir(&definitions) else { return Ok((tables, parts)) };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let number = name.strip_prefix('m').and_then(|rest| rest.strip_suffix(".sql")?.parse().ok());
        let Some(table) = number else { continue };
        tables.push(table);
        let definition = fs::read_to_string(definitions.join(&name))?;
        let uuid = definition.split_once("UUID '").and_then(|(_, rest)| Some(rest.split_once('\'')?.0));
        let uuid = uuid
            .filter(|uuid| uuid.is_char_boundary(3))
            .ok_or_else(|| format!("{name} has no UUID (a server that starts writes an empty one anew)"))?;
        read_table(table, &engine_dir.join("store").join(&uuid[..3]).join(uuid), &mut parts)?;
    }
    tables.sort_unstable();
    parts.sort_by(|a, b| (a.table, a.shard, &a.name).cmp(&(b.table, b.shard, &b.name)));
    Ok((tables, parts))
}

fn read_table(table: u64, folder: &Path, parts: &mut Vec<Part>) -> Result<(), Box<dyn Error>> {
    let (mut found, mut deletes) = (Vec::new(), 0);
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        deletes += usize::from(name.starts_with("mutation_"));
        if !entry.file_type()?.is_dir() || NO_PARTS.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        // PARTITION_FIRSTBLOCK_LASTBLOCK_LEVEL[_MUTATION]
        let Some(shard) = name.split_once('_').and_then(|(shard, _)| shard.parse().ok()) else { continue };
        let rows = fs::read_to_string(entry.path().join("count.txt")).unwrap_or_default();
        let mut bytes = 0;
        for file in fs::read_dir(entry.path())? {
            bytes += file?.metadata()?.len();
        }
        found.push(Part { table, shard, name, rows: rows.trim().parse().unwrap_or(0), bytes, deletes: 0 });
    }
    found.iter_mut().for_each(|part| part.deletes = deletes);
    parts.extend(found);
    Ok(())
}
