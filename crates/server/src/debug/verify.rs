//! Whether log, catalogue, series index and engine agree.
//!
//! A server that was killed leaves differences that its next start mends: these are notes. What no start can mend is an
//! error.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Display;
use std::ops::ControlFlow;
use std::sync::Arc;

use hyperbytedb_columnar::accepted;
use hyperbytedb_domain::catalog::{Catalog, Command, Table, TableId};
use hyperbytedb_domain::cluster::AgreedChange;
use hyperbytedb_domain::ports::{CatalogPort, LocalStatePort, QueryPort, SeriesIndexPort, WalPort};
use hyperbytedb_domain::scan::RowSelection;
use hyperbytedb_domain::wal::{Sequence, WalEntry, WriteEntry};
use hyperbytedb_domain::{QueryContext, SeriesId, TimeRange};
use hyperbytedb_engine_chdb::ChdbEngine;
use hyperbytedb_storage_rocksdb::{RocksSeriesIndex, Storage};

use super::folder::Folder;
use super::parts;
use super::repair::stored_series;

const READ_BYTES: usize = 16 << 20;
/// Differences of one kind that are printed.
const PRINTED_MAX: usize = 20;

#[derive(Default)]
struct Report {
    errors: usize,
    notes: usize,
}

impl Report {
    fn error(&mut self, text: impl Display) {
        self.errors += 1;
        if self.errors <= PRINTED_MAX {
            println!("error: {text}");
        }
    }

    fn note(&mut self, text: impl Display) {
        self.notes += 1;
        if self.notes <= PRINTED_MAX {
            println!("note: {text}");
        }
    }
}

/// What the log holds that is not in the engine, or may not be.
#[derive(Default)]
struct Pending {
    /// Tables of points that a start brings back.
    series: BTreeMap<TableId, BTreeSet<SeriesId>>,
    /// Tables of which a start removes points.
    removals: BTreeSet<TableId>,
}

/// Prints what does not agree; an error when something is wrong.
pub fn verify(folder: &Folder) -> Result<(), Box<dyn Error>> {
    let stores = folder.stores()?;
    let mut report = Report::default();
    let mut catalog = Catalog::clone(&stores.catalog.catalog());
    check_cursors(&stores, &mut report)?;
    let pending = check_log(&stores, &mut catalog, &mut report)?;
    check_parts(folder, &stores, &catalog, &mut report)?;
    let copy = folder.engine_copy()?;
    for table in catalog.tables() {
        check_index(&stores.series, table, &mut report)?;
        check_series(&stores, &copy.engine, table, &pending, &mut report)?;
    }
    let (records, tables) =
        (stores.wal.last_sequence() + 1 - stores.wal.first_sequence(), catalog.tables().count());
    let Report { errors, notes } = report;
    println!("{records} log records, {tables} tables: {errors} errors, {notes} notes");
    if errors > 0 { Err("the folder is damaged".into()) } else { Ok(()) }
}

fn check_cursors(stores: &Storage, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let (first, last) = (stores.wal.first_sequence(), stores.wal.last_sequence());
    let mut positions = stores.local_state.cursors()?;
    // Those of single tables hold nothing back, and notes are no positions.
    positions.retain(|name, _| !name.starts_with("flush/") && !name.starts_with("note/"));
    positions.insert("catalogue".to_owned(), stores.catalog.applied());
    for (name, position) in positions {
        if position > last {
            report.error(format!("{name} is at {position}, beyond the log's end {last}"));
        }
        if position + 1 < first {
            report.error(format!("{name} needs the log from {} on, which begins at {first}", position + 1));
        }
    }
    Ok(())
}

/// Reads the whole log, and lets its commands take effect on the catalogue.
fn check_log(
    stores: &Storage,
    catalog: &mut Catalog,
    report: &mut Report,
) -> Result<Pending, Box<dyn Error>> {
    let positions = stores.local_state.cursors()?;
    let flushed = positions.get("flush").copied().unwrap_or(0);
    let flushed_of = |table: TableId| -> Sequence {
        positions.get(&format!("flush/{}", table.0)).copied().unwrap_or(0).max(flushed)
    };
    let mut pending = Pending::default();
    let mut next = stores.wal.first_sequence();
    loop {
        let records = match stores.wal.read_from(next, READ_BYTES) {
            Ok(records) => records,
            Err(error) => {
                report.error(format!("the log cannot be read on from {next}: {error}"));
                return Ok(pending);
            }
        };
        let Some((last, _)) = records.last() else { return Ok(pending) };
        next = last + 1;
        for (sequence, record) in records {
            match record.entry {
                WalEntry::Write(write) => note_series(&write, sequence, &flushed_of, &mut pending),
                WalEntry::Command(command) => {
                    note_removals(&command, sequence, catalog, &flushed_of, &mut pending);
                    if sequence > stores.catalog.applied()
                        && let Err(error) = catalog.apply(&command)
                    {
                        report.error(format!("log record {sequence}: its command is refused: {error}"));
                    }
                }
                WalEntry::Agreed(entry) => {
                    if let AgreedChange::Command(command) = &entry.change {
                        note_removals(command, sequence, catalog, &flushed_of, &mut pending);
                    }
                    if sequence > stores.catalog.applied()
                        && let Err(error) = catalog.agree(&entry)
                    {
                        report.error(format!("log record {sequence}: what was agreed is refused: {error}"));
                    }
                }
            }
        }
    }
}

fn note_series(
    write: &WriteEntry,
    sequence: Sequence,
    flushed_of: &dyn Fn(TableId) -> Sequence,
    pending: &mut Pending,
) {
    let waiting: Vec<_> = write.tables.iter().filter(|table| sequence > flushed_of(table.table)).collect();
    if waiting.is_empty() {
        return;
    }
    // What cannot be read is reported where records are looked at.
    for batch in accepted(write).unwrap_or_default() {
        if let Some(table) = waiting.iter().find(|table| table.measurement == batch.measurement) {
            pending
                .series
                .entry(table.table)
                .or_default()
                .extend(batch.series.iter().map(|tags| tags.series_id()));
        }
    }
}

fn note_removals(
    command: &Command,
    sequence: Sequence,
    catalog: &Catalog,
    flushed_of: &dyn Fn(TableId) -> Sequence,
    pending: &mut Pending,
) {
    let mut note = |table: TableId| {
        if sequence > flushed_of(table) {
            pending.removals.insert(table);
        }
    };
    match command {
        Command::DeletePoints { scopes } => scopes.iter().for_each(|scope| note(scope.table)),
        Command::DropShardGroups { .. } => catalog.tables().for_each(|table| note(table.id)),
        _ => {}
    }
}

fn check_parts(
    folder: &Folder,
    stores: &Storage,
    catalog: &Catalog,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    let (tables, parts) = parts::read(&folder.engine_dir)?;
    for number in tables.iter().filter(|number| catalog.table_by_id(TableId(**number)).is_none()) {
        report
            .note(format!("the engine's table {number} is not in the catalogue: the next start removes it"));
    }
    let partitions: BTreeSet<(u64, u64)> = parts.iter().map(|part| (part.table, part.shard)).collect();
    for (table, shard) in partitions {
        let policy = catalog.table_by_id(TableId(table)).and_then(|table| catalog.policy_of(table));
        let is_known =
            policy.is_none_or(|policy| policy.shard_groups.values().any(|group| group.id == shard));
        if !is_known {
            report.note(format!(
                "table {table} has points of shard {shard}, which is gone: the next start removes them"
            ));
        }
    }
    for dirty in stores.local_state.dirty_partitions()? {
        if !tables.contains(&dirty.table.0) {
            report.note(format!(
                "a mark of duplicates names table {}, which the engine has not",
                dirty.table.0
            ));
        }
    }
    Ok(())
}

/// Whether the views of the index agree with each other.
fn check_index(index: &RocksSeriesIndex, table: &Table, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let (mut series, mut of_tag): (u64, BTreeMap<String, u64>) = (0, BTreeMap::new());
    let mut wrong = Vec::new();
    index.for_each_series(table.id, &mut |id, tags| {
        series += 1;
        if tags.series_id() != id {
            wrong.push(tags.series_key(&table.measurement));
        }
        tags.iter().for_each(|(key, _)| *of_tag.entry(key.to_owned()).or_default() += 1);
        ControlFlow::Continue(())
    })?;
    for key in wrong {
        report.error(format!("index of table {}: {key} has a number that is not its own", table.id.0));
    }
    let counted = index.series_count(table.id)?;
    if counted != series {
        report.error(format!(
            "index of table {}: {counted} series are counted, {series} are there",
            table.id.0
        ));
    }
    for (key, expected) in of_tag {
        let mut values = Vec::new();
        index.for_each_tag_value(table.id, &key, &mut |value| {
            values.push(value.to_owned());
            ControlFlow::Continue(())
        })?;
        let mut found = 0;
        for value in values {
            index.for_each_series_with_tag(table.id, &key, &value, &mut |_, _| {
                found += 1;
                ControlFlow::Continue(())
            })?;
        }
        if found != expected {
            let id = table.id.0;
            report.error(format!(
                "index of table {id}: tag {key:?} leads to {found} series, {expected} have it"
            ));
        }
    }
    Ok(())
}

/// Whether the index has the series of the engine, and no others.
fn check_series(
    stores: &Storage,
    engine: &ChdbEngine,
    table: &Arc<Table>,
    pending: &Pending,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    let id = table.id.0;
    let everything = RowSelection::of_time(TimeRange::ALL);
    let stored: BTreeSet<SeriesId> =
        engine.distinct_series(table, &everything, &QueryContext::unbounded())?.into_iter().collect();
    let by_tags: BTreeSet<SeriesId> =
        stored_series(engine, table)?.iter().map(|tags| tags.series_id()).collect();
    for series in stored.symmetric_difference(&by_tags) {
        report
            .error(format!("table {id}: rows of series {:016x} have other tags than their series", series.0));
    }
    let mut indexed = BTreeSet::new();
    stores.series.for_each_series(table.id, &mut |series, _| {
        indexed.insert(series);
        ControlFlow::Continue(())
    })?;
    let missing = stored.difference(&indexed).count();
    match missing {
        0 => {}
        _ if pending.removals.contains(&table.id) => {
            report.note(format!(
                "table {id}: {missing} series are not in the index: a delete is to be carried out again"
            ));
        }
        _ => report.error(format!(
            "table {id}: {missing} series of the engine are not in the index (`debug repair` mends it)"
        )),
    }
    let in_log = pending.series.get(&table.id);
    let is_without =
        |series: &&SeriesId| !stored.contains(series) && !in_log.is_some_and(|log| log.contains(series));
    let without = indexed.iter().filter(is_without).count();
    if without > 0 {
        report.note(format!("table {id}: {without} series of the index have no points"));
    }
    Ok(())
}
