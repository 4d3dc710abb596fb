//! Parsed batches against the catalogue: tables, columns, field types, series, retention.
//!
//! Points that break a rule are left out, one by one, as InfluxDB does; the first reason and the number of points left
//! out make the `partial write` error.

use std::sync::Arc;

use hyperbytedb_domain::catalog::{
    Catalog, CatalogError, Command, Database, FieldDef, RetentionPolicy, Table,
};
use hyperbytedb_domain::points::{FieldColumn, FieldValues, PointsBatch, StringValues};
use hyperbytedb_domain::ports::{MetadataError, MetadataPort, SeriesIndexPort};
use hyperbytedb_domain::scan::FieldId;
use hyperbytedb_domain::{SeriesId, StorageError, Tags};

use crate::flush::overlap::OverlapTracker;
use crate::memtable::ResolvedBatch;

/// What became of a request's batches.
#[derive(Debug, Default)]
pub struct Resolved {
    pub batches: Vec<ResolvedBatch>,
    /// Lines whose points were left out.
    pub dropped_lines: Vec<u32>,
    /// Of each measurement with dropped points, the line of the first and why it was.
    pub reasons: Vec<(u32, String)>,
}

/// Where a request writes to.
pub struct Target<'a> {
    pub database: &'a Database,
    pub policy: &'a RetentionPolicy,
    /// Now, in nanoseconds, for the retention check; `None` while replaying: the log holds accepted points only.
    pub now: Option<i64>,
}

/// Resolves batches; changes catalogue and series index as needed.
pub struct SchemaResolver<'a> {
    pub metadata: &'a dyn MetadataPort,
    pub series: &'a dyn SeriesIndexPort,
    pub overlap: &'a OverlapTracker,
}

impl SchemaResolver<'_> {
    pub fn resolve(&self, target: &Target<'_>, batches: Vec<PointsBatch>) -> Result<Resolved, StorageError> {
        let mut resolved = Resolved::default();
        for batch in batches {
            self.resolve_batch(target, batch, &mut resolved)?;
        }
        self.ensure_shard_groups(target, &resolved.batches)?;
        Ok(resolved)
    }

    fn resolve_batch(
        &self,
        target: &Target<'_>,
        batch: PointsBatch,
        resolved: &mut Resolved,
    ) -> Result<(), StorageError> {
        let mut rows = RowFilter::new(batch.rows());
        check_time(target, &batch, &mut rows);
        if rows.kept == 0 {
            rows.finish(&batch, resolved);
            return Ok(());
        }
        let table = self.table_for(target, &batch, &rows)?;
        let columns = check_types(&table, &batch, &mut rows);
        let table =
            if rows.kept == 0 { table } else { self.extend_table(target, &batch, &columns, &rows, table)? };
        let series: Vec<(SeriesId, &Tags)> = batch.series.iter().map(|t| (t.series_id(), t)).collect();
        if rows.kept > 0 {
            self.register_series(&table, &batch, &series, &mut rows)?;
        }
        let ids = series.into_iter().map(|(id, _)| id).collect();
        let keep = rows.finish(&batch, resolved);
        if let Some(batch) = resolved_batch(table, batch, ids, columns, keep) {
            resolved.batches.push(batch);
        }
        Ok(())
    }

    /// The measurement's table as it is, made if missing.
    fn table_for(
        &self,
        target: &Target<'_>,
        batch: &PointsBatch,
        rows: &RowFilter,
    ) -> Result<Arc<Table>, StorageError> {
        if let Some(table) = target.policy.tables.get(&batch.measurement) {
            return Ok(table.clone());
        }
        // The newest catalogue: another writer may have made it since the request's snapshot.
        let catalog = self.metadata.catalog();
        if let Some(table) = catalog.table(&target.database.name, &target.policy.name, &batch.measurement) {
            return Ok(table.clone());
        }
        debug_assert!(rows.kept > 0);
        self.apply_extension(target, &batch.measurement, Vec::new(), Vec::new())
    }

    /// Adds the tags and fields of the kept rows that the table lacks.
    fn extend_table(
        &self,
        target: &Target<'_>,
        batch: &PointsBatch,
        columns: &[bool],
        rows: &RowFilter,
        table: Arc<Table>,
    ) -> Result<Arc<Table>, StorageError> {
        let fields: Vec<FieldDef> = batch
            .fields
            .iter()
            .zip(columns)
            .filter(|(column, usable)| {
                **usable && table.field(&column.name).is_none() && rows.keeps_any(column)
            })
            .map(|(column, _)| FieldDef { name: column.name.clone(), field_type: column.values.field_type() })
            .collect();
        let mut tags: Vec<String> = Vec::new();
        for key in batch.series.iter().flat_map(|t| t.iter()).map(|(key, _)| key) {
            if table.tag(key).is_none() && !tags.iter().any(|t| t == key) {
                tags.push(key.to_owned());
            }
        }
        if fields.is_empty() && tags.is_empty() {
            return Ok(table);
        }
        self.apply_extension(target, &batch.measurement, tags, fields)
    }

    fn apply_extension(
        &self,
        target: &Target<'_>,
        measurement: &str,
        tags: Vec<String>,
        fields: Vec<FieldDef>,
    ) -> Result<Arc<Table>, StorageError> {
        let command = Command::ExtendTable {
            database: target.database.name.clone(),
            retention_policy: target.policy.name.clone(),
            measurement: measurement.to_owned(),
            tags,
            fields,
        };
        let effects = self.metadata.apply(&command).map_err(|error| match error {
            MetadataError::Storage(error) => error,
            MetadataError::Refused(error) => StorageError::failed("extend table", error),
        })?;
        effects.table.ok_or_else(|| StorageError::failed("extend table", "the catalogue returned no table"))
    }

    fn register_series(
        &self,
        table: &Table,
        batch: &PointsBatch,
        series: &[(SeriesId, &Tags)],
        rows: &mut RowFilter,
    ) -> Result<(), StorageError> {
        let answers = self.series.register(table, series)?;
        let new = answers.iter().zip(series).filter(|(a, _)| matches!(a, Ok(true))).map(|(_, (id, _))| *id);
        self.overlap.note_new(table.id, new);
        if answers.iter().all(Result::is_ok) {
            return Ok(());
        }
        for (row, &s) in batch.series_of_row.iter().enumerate() {
            if let Some(Err(refusal)) = answers.get(s as usize) {
                rows.drop_row(row, || refusal.to_string());
            }
        }
        Ok(())
    }

    fn ensure_shard_groups(
        &self,
        target: &Target<'_>,
        batches: &[ResolvedBatch],
    ) -> Result<(), StorageError> {
        let mut missing: Vec<i64> = Vec::new();
        let mut covered: Option<(i64, i64)> = None;
        for &time in batches.iter().flat_map(|b| &b.times) {
            if covered.is_some_and(|(start, end)| start <= time && time < end) {
                continue;
            }
            match target.policy.shard_group_of(time) {
                Some(group) => covered = Some((group.start, group.end)),
                None => {
                    let width = target.policy.shard_duration;
                    // One time in each unknown slice will do; slices repeat rarely within a request.
                    if !missing.iter().any(|&m: &i64| m.div_euclid(width) == time.div_euclid(width)) {
                        missing.push(time);
                    }
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let command = Command::EnsureShardGroups {
            database: target.database.name.clone(),
            retention_policy: target.policy.name.clone(),
            times: missing,
        };
        match self.metadata.apply(&command) {
            Ok(_) | Err(MetadataError::Refused(CatalogError::DatabaseNotFound(_))) => Ok(()),
            Err(MetadataError::Refused(error)) => Err(StorageError::failed("register shard group", error)),
            Err(MetadataError::Storage(error)) => Err(error),
        }
    }
}

/// Finds database and policy of a write.
pub fn find_target<'a>(
    catalog: &'a Catalog,
    database: &str,
    policy: &str,
) -> Result<(&'a Database, &'a RetentionPolicy), hyperbytedb_domain::ports::WriteError> {
    use hyperbytedb_domain::ports::WriteError;
    let db = catalog.database(database).ok_or_else(|| WriteError::DatabaseNotFound(database.to_owned()))?;
    let policy =
        db.retention_policy(policy).ok_or_else(|| WriteError::RetentionPolicyNotFound(policy.to_owned()))?;
    Ok((db, policy))
}

/// Which rows of a batch are kept.
struct RowFilter {
    dropped: Option<Vec<bool>>,
    rows: usize,
    kept: usize,
    /// The first dropped row and why it was.
    reason: Option<(usize, String)>,
}

impl RowFilter {
    fn new(rows: usize) -> Self {
        Self { dropped: None, rows, kept: rows, reason: None }
    }

    fn drop_row(&mut self, row: usize, reason: impl FnOnce() -> String) {
        let dropped = self.dropped.get_or_insert_with(|| vec![false; self.rows]);
        if let Some(slot) = dropped.get_mut(row).filter(|slot| !**slot) {
            *slot = true;
            self.kept -= 1;
            if self.reason.as_ref().is_none_or(|(first, _)| row < *first) {
                self.reason = Some((row, reason()));
            }
        }
    }

    fn is_kept(&self, row: usize) -> bool {
        self.dropped.as_ref().is_none_or(|d| !d[row])
    }

    fn keeps_any(&self, column: &FieldColumn) -> bool {
        match (&self.dropped, &column.present) {
            (None, None) => true,
            _ => (0..self.rows).any(|row| self.is_kept(row) && column.is_present(row)),
        }
    }

    /// Reports the dropped rows; returns those to keep, or `None` for all.
    fn finish(self, batch: &PointsBatch, resolved: &mut Resolved) -> Option<Vec<bool>> {
        let dropped = self.dropped?;
        let lines = batch.line_of_row.iter().zip(&dropped).filter(|(_, d)| **d).map(|(line, _)| *line);
        resolved.dropped_lines.extend(lines);
        let line_of = |row: usize| batch.line_of_row.get(row).copied().unwrap_or_default();
        resolved.reasons.extend(self.reason.map(|(row, reason)| (line_of(row), reason)));
        Some(dropped.into_iter().map(|d| !d).collect())
    }
}

fn check_time(target: &Target<'_>, batch: &PointsBatch, rows: &mut RowFilter) {
    let Some(now) = target.now else { return };
    let policy = target.policy;
    let oldest = match (policy.duration, policy.past_write_limit) {
        (0, 0) => i64::MIN,
        (0, limit) | (limit, 0) => now.saturating_sub(limit),
        (duration, limit) => now.saturating_sub(duration.min(limit)),
    };
    let newest =
        if policy.future_write_limit == 0 { i64::MAX } else { now.saturating_add(policy.future_write_limit) };
    if oldest == i64::MIN && newest == i64::MAX {
        return;
    }
    for (row, &time) in batch.times.iter().enumerate() {
        if time < oldest {
            rows.drop_row(row, || "points beyond retention policy".to_owned());
        } else if time > newest {
            rows.drop_row(row, || "points beyond the future write limit of the retention policy".to_owned());
        }
    }
}

/// Drops the rows whose field types conflict; true for each column that may be stored.
fn check_types(table: &Table, batch: &PointsBatch, rows: &mut RowFilter) -> Vec<bool> {
    let mut usable = Vec::with_capacity(batch.fields.len());
    for (i, column) in batch.fields.iter().enumerate() {
        let input = column.values.field_type();
        let existing = match table.field(&column.name) {
            Some((_, existing)) => existing,
            // The request itself may name a field twice with different types: the first one counts.
            None => batch.fields[..i]
                .iter()
                .find(|c| c.name == column.name)
                .map_or(input, |first| first.values.field_type()),
        };
        usable.push(existing == input);
        if existing != input {
            let reason = || {
                CatalogError::FieldTypeConflict {
                    measurement: batch.measurement.clone(),
                    field: column.name.clone(),
                    input,
                    existing,
                }
                .to_string()
            };
            (0..batch.rows())
                .filter(|&row| column.is_present(row))
                .for_each(|row| rows.drop_row(row, reason));
        }
    }
    usable
}

/// Builds the batch that goes to the memtable from the kept rows; `None` when there are none.
fn resolved_batch(
    table: Arc<Table>,
    batch: PointsBatch,
    ids: Vec<SeriesId>,
    usable: Vec<bool>,
    keep: Option<Vec<bool>>,
) -> Option<ResolvedBatch> {
    let keep = keep.as_deref();
    if keep.is_some_and(|k| !k.contains(&true)) {
        return None;
    }
    let fields = batch
        .fields
        .into_iter()
        .zip(usable)
        .filter(|(_, usable)| *usable)
        .filter_map(|(column, _)| {
            let (id, _): (FieldId, _) = table.field(&column.name)?;
            Some((id, filter_column(column, keep)))
        })
        .collect();
    Some(ResolvedBatch {
        times: filter(batch.times, keep),
        series_of_row: filter(batch.series_of_row, keep),
        series: ids.into_iter().zip(batch.series).collect(),
        fields,
        table,
    })
}

fn filter<T>(values: Vec<T>, keep: Option<&[bool]>) -> Vec<T> {
    match keep {
        None => values,
        Some(keep) => values.into_iter().zip(keep).filter(|(_, k)| **k).map(|(v, _)| v).collect(),
    }
}

fn filter_column(column: FieldColumn, keep: Option<&[bool]>) -> FieldColumn {
    let Some(kept) = keep else { return column };
    let values = match column.values {
        FieldValues::Float(v) => FieldValues::Float(filter(v, keep)),
        FieldValues::Integer(v) => FieldValues::Integer(filter(v, keep)),
        FieldValues::Unsigned(v) => FieldValues::Unsigned(filter(v, keep)),
        FieldValues::Boolean(v) => FieldValues::Boolean(filter(v, keep)),
        FieldValues::String(v) => {
            let mut strings = StringValues::default();
            kept.iter().enumerate().filter(|(_, k)| **k).for_each(|(row, _)| strings.push(v.get(row)));
            FieldValues::String(strings)
        }
    };
    FieldColumn { name: column.name, values, present: column.present.map(|p| filter(p, keep)) }
}
