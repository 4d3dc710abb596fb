//! Printing what is stored.

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::ControlFlow;

use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::clock::millis_of;
use hyperbytedb_domain::ports::{CatalogPort, LocalStatePort, SeriesIndexPort, WalPort};
use hyperbytedb_domain::wal::{WalEntry, WalRecord};
use hyperbytedb_storage_rocksdb::Storage;

use super::folder::Folder;
use super::parts;

const READ_BYTES: usize = 4 << 20;

pub fn log(stores: &Storage, from: u64, limit: usize) -> Result<(), Box<dyn Error>> {
    let wal = &stores.wal;
    println!("records {} to {}, {} bytes", wal.first_sequence(), wal.last_sequence(), wal.size_bytes());
    let (mut next, mut left) = (from.max(wal.first_sequence()), limit);
    while left > 0 {
        let records = wal.read_from(next, READ_BYTES)?;
        let Some((last, _)) = records.last() else { break };
        next = last + 1;
        for (sequence, record) in records.iter().take(left) {
            println!("{sequence} {}", described(record));
        }
        left = left.saturating_sub(records.len());
    }
    Ok(())
}

fn described(record: &WalRecord) -> String {
    let (millis, origin) = (millis_of(record.clock), record.origin);
    match &record.entry {
        WalEntry::Write(write) => {
            let tables: Vec<String> =
                write.tables.iter().map(|t| format!("{}={}", t.measurement, t.table.0)).collect();
            let (database, policy, bytes) = (&write.database, &write.retention_policy, write.body.len());
            let shards = &write.shards;
            format!(
                "{millis} ms origin {origin} write {database:?}.{policy:?} {tables:?} shards {shards:?} {bytes} bytes"
            )
        }
        WalEntry::Command(command) => {
            // A user's command has the password's hash.
            let text = serde_json::to_value(command).map(redacted).map(|value| value.to_string());
            format!("{millis} ms origin {origin} command {}", text.unwrap_or_else(|error| error.to_string()))
        }
        WalEntry::Agreed(entry) => {
            let index = entry.position.index;
            let text = serde_json::to_value(&entry.change).map(redacted).map(|value| value.to_string());
            format!("{millis} ms agreed {index} {}", text.unwrap_or_else(|error| error.to_string()))
        }
    }
}

fn redacted(mut value: serde_json::Value) -> serde_json::Value {
    match &mut value {
        serde_json::Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                *value = if key == "password_hash" { "[REDACTED]".into() } else { redacted(value.take()) };
            }
        }
        serde_json::Value::Array(values) => {
            values.iter_mut().for_each(|value| *value = redacted(value.take()))
        }
        _ => {}
    }
    value
}

pub fn cursors(stores: &Storage) -> Result<(), Box<dyn Error>> {
    let last = stores.wal.last_sequence();
    println!("log: {} to {last}", stores.wal.first_sequence());
    println!("catalogue: {}", stores.catalog.applied());
    for (name, position) in stores.local_state.cursors()? {
        if name.starts_with("note/") {
            println!("{name}: {position}");
        } else {
            println!("{name}: {position} ({} behind)", last.saturating_sub(position));
        }
    }
    for dirty in stores.local_state.dirty_partitions()? {
        println!("may hold duplicates: table {}, shard {}", dirty.table.0, dirty.shard.id);
    }
    Ok(())
}

pub fn catalog(stores: &Storage) -> Result<(), Box<dyn Error>> {
    let catalog = redacted(serde_json::to_value(&*stores.catalog.catalog())?);
    println!("{}", serde_json::to_string_pretty(&catalog)?);
    Ok(())
}

pub fn series(stores: &Storage, table: Option<u64>) -> Result<(), Box<dyn Error>> {
    let catalog = stores.catalog.catalog();
    let Some(number) = table else {
        for table in catalog.tables() {
            let series = stores.series.series_count(table.id)?;
            let (database, policy) = (&table.database, &table.retention_policy);
            println!("table {} {database:?}.{policy:?}.{:?}: {series} series", table.id.0, table.measurement);
        }
        return Ok(());
    };
    let table = catalog.table_by_id(TableId(number)).ok_or_else(|| format!("there is no table {number}"))?;
    stores.series.for_each_series(table.id, &mut |id, tags| {
        println!("{:016x} {}", id.0, tags.series_key(&table.measurement));
        ControlFlow::Continue(())
    })?;
    Ok(())
}

pub fn tables(folder: &Folder, each_part: bool) -> Result<(), Box<dyn Error>> {
    let stores = folder.stores()?;
    let catalog = stores.catalog.catalog();
    let (tables, parts) = parts::read(&folder.engine_dir)?;
    for number in tables {
        match catalog.table_by_id(TableId(number)) {
            Some(table) => println!(
                "table {number} {:?}.{:?}.{:?}: {} tags, {} fields",
                table.database,
                table.retention_policy,
                table.measurement,
                table.tags.len(),
                table.fields.len()
            ),
            None => println!("table {number}: not in the catalogue; the next start removes it"),
        }
        let mut shards: BTreeMap<u64, (usize, u64, u64)> = BTreeMap::new();
        for part in parts.iter().filter(|part| part.table == number) {
            let (count, rows, bytes) = shards.entry(part.shard).or_default();
            (*count, *rows, *bytes) = (*count + 1, *rows + part.rows, *bytes + part.bytes);
        }
        for (shard, (count, rows, bytes)) in shards {
            println!("  shard {shard}: {count} parts, {rows} rows, {bytes} bytes");
            let of_shard =
                parts.iter().filter(|part| each_part && part.table == number && part.shard == shard);
            of_shard.for_each(|part| println!("    {}: {} rows, {} bytes", part.name, part.rows, part.bytes));
        }
        let deletes = parts.iter().find(|part| part.table == number).map_or(0, |part| part.deletes);
        if deletes > 0 {
            println!("  {deletes} deletes are stored, carried out or not");
        }
    }
    Ok(())
}
