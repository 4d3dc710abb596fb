//! Parsed batches against the catalogue: tables, columns, field types, series, retention.
//!
//! Points that break a rule are left out, one by one, as InfluxDB does; the first reason and the number of points left
//! out make the `partial write` error.

use std::sync::Arc;

use hyperbytedb_domain::catalog::{
    Catalog, CatalogError, Command, FieldDef, RetentionPolicy, ShardGroup, Table, TableExtension,
};
use hyperbytedb_domain::points::{FieldColumn, FieldValues, PointsBatch, StringValues};
use hyperbytedb_domain::ports::{CatalogPort, SeriesIndexPort, WriteError};
use hyperbytedb_domain::scan::FieldId;
use hyperbytedb_domain::{SeriesId, StorageError, Tags, limits, settings};

use super::log_error;
use crate::flush::FlushService;
use crate::log::LogError;
use crate::log::committer::Committer;
use crate::log::epochs::Epoch;
use crate::memtable::ResolvedBatch;

/// What became of a request's batches.
pub struct Resolved {
    /// The catalogue they were resolved against.
    pub catalog: Arc<Catalog>,
    /// Taken before the series were registered.
    pub epoch: Epoch,
    pub batches: Vec<ResolvedBatch>,
    /// The policy's name.
    pub retention_policy: String,
    /// Lines whose points were left out.
    pub dropped_lines: Vec<u32>,
    /// Of each measurement with dropped points, the line of the first and why it was.
    pub reasons: Vec<(u32, String)>,
}

/// Where a request writes to.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    pub database: &'a str,
    /// Empty: the database's default.
    pub retention_policy: &'a str,
    /// Now, in nanoseconds, for the retention check.
    pub now: i64,
}

/// Series that a request has registered, and whose record is not in the log yet.
#[derive(Default)]
pub struct UnloggedSeries(Vec<(Arc<Table>, Vec<SeriesId>)>);

impl UnloggedSeries {
    fn add(&mut self, table: &Arc<Table>, series: Vec<SeriesId>) {
        if !series.is_empty() {
            self.0.push((table.clone(), series));
        }
    }

    /// They are in the log. What cannot be noted now is looked at when the server starts.
    pub fn settle(&mut self, index: &dyn SeriesIndexPort) {
        for (table, series) in self.0.drain(..) {
            if let Err(error) = index.settle(table.id, &series) {
                tracing::warn!(%error, table = table.id.0, "what a write has registered is looked at again at the next start");
            }
        }
    }

    /// They will not be logged: those without points go.
    pub fn give_up(self, flush: &FlushService) {
        for (table, series) in self.0 {
            flush.unregister_unlogged(&table, series);
        }
    }
}

/// How often the catalogue may change under a request before it is given up.
const ATTEMPTS_MAX: usize = 64;

/// Resolves batches; changes catalogue and series index as needed.
pub struct SchemaResolver<'a> {
    pub catalog: &'a dyn CatalogPort,
    pub series: &'a dyn SeriesIndexPort,
    pub committer: &'a Committer,
    pub flush: &'a FlushService,
    /// Measurements of a database; 0 = no limit.
    pub max_measurements: usize,
}

/// A batch checked against a catalogue.
struct Checked {
    rows: RowFilter,
    /// The measurement's table, if it exists.
    table: Option<Arc<Table>>,
    /// Whether each column may be stored.
    usable: Vec<bool>,
}

impl SchemaResolver<'_> {
    /// `unlogged`: gets what is registered.
    pub fn resolve(
        &self,
        target: &Target<'_>,
        batches: Vec<PointsBatch>,
        unlogged: &mut UnloggedSeries,
    ) -> Result<Resolved, WriteError> {
        for _ in 0..ATTEMPTS_MAX {
            let catalog = self.catalog.catalog();
            let policy = find_policy(&catalog, target)?;
            let mut checked: Vec<Checked> =
                batches.iter().map(|batch| check(policy, target.now, batch)).collect();
            let is_too_many = self.leave_out_measurements(&catalog, target, &batches, &mut checked);
            let Some(command) = missing_schema(target, policy, &batches, &checked) else {
                if is_too_many {
                    limits::exceeded(settings::LIMITS_MAX_MEASUREMENTS_PER_DATABASE);
                }
                let policy = policy.clone();
                return Ok(self.register(catalog, &policy, batches, checked, unlogged)?);
            };
            match self.committer.command(command) {
                // Another writer was first with another type, or a drop: the next round sees it.
                Ok(_) | Err(LogError::Refused(_)) => {}
                Err(error) => return Err(log_error(error)),
            }
        }
        Err(StorageError::failed("write", "the schema kept changing; please retry").into())
    }

    /// Leaves out the points of new measurements for which the database has no room; whether there are any.
    fn leave_out_measurements(
        &self,
        catalog: &Catalog,
        target: &Target<'_>,
        batches: &[PointsBatch],
        checked: &mut [Checked],
    ) -> bool {
        let max = self.max_measurements;
        let is_new = |checked: &Checked| checked.table.is_none() && checked.rows.kept > 0;
        if max == 0 || !checked.iter().any(is_new) {
            return false;
        }
        let Some(database) = catalog.database(target.database) else { return false };
        // Those of other retention policies count, and may be written to.
        let measurements = database.measurements();
        let (mut count, mut is_too_many) = (measurements.len(), false);
        for (batch, checked) in batches.iter().zip(checked).filter(|(_, checked)| is_new(checked)) {
            if measurements.binary_search(&batch.measurement.as_str()).is_ok() {
                continue;
            }
            if count < max {
                count += 1;
                continue;
            }
            is_too_many = true;
            let reason = || format!("max-measurements-per-database limit exceeded: ({max})");
            (0..batch.rows()).for_each(|row| checked.rows.drop_row(row, reason));
        }
        is_too_many
    }

    /// Registers the series of the kept rows and drops the rows of those that are refused.
    fn register(
        &self,
        catalog: Arc<Catalog>,
        policy: &RetentionPolicy,
        batches: Vec<PointsBatch>,
        checked: Vec<Checked>,
        unlogged: &mut UnloggedSeries,
    ) -> Result<Resolved, StorageError> {
        let mut resolved = Resolved {
            catalog,
            epoch: self.flush.epochs().now(),
            batches: Vec::with_capacity(batches.len()),
            retention_policy: policy.name.clone(),
            dropped_lines: Vec::new(),
            reasons: Vec::new(),
        };
        for (batch, Checked { mut rows, table, usable }) in batches.into_iter().zip(checked) {
            if let Some(table) = &table {
                self.register_series(table, &batch, &mut rows, unlogged)?;
            }
            let keep = rows.finish(&batch, &mut resolved);
            let Some(table) = table else { continue };
            let shards = shards_of_kept_times(policy, &batch, keep.as_deref());
            resolved.batches.extend(resolved_batch(table, batch, &usable, keep.as_deref(), shards));
        }
        resolved.dropped_lines.sort_unstable();
        Ok(resolved)
    }

    fn register_series(
        &self,
        table: &Arc<Table>,
        batch: &PointsBatch,
        rows: &mut RowFilter,
        unlogged: &mut UnloggedSeries,
    ) -> Result<(), StorageError> {
        let used = rows.used_series(batch);
        let is_used = |s: usize| used.as_ref().is_none_or(|used| used[s]);
        let (positions, series): (Vec<usize>, Vec<(SeriesId, &Tags)>) = batch
            .series
            .iter()
            .enumerate()
            .filter(|(s, _)| is_used(*s))
            .map(|(s, tags)| (s, (tags.series_id(), tags)))
            .unzip();
        if series.is_empty() {
            return Ok(());
        }
        let registered = self.series.register(table, &series);
        let answers = registered.inspect_err(|_| {
            // Who knows which.
            unlogged.add(table, series.iter().map(|(id, _)| *id).collect());
        })?;
        let new = answers.iter().zip(&series).filter(|(a, _)| matches!(a, Ok(true))).map(|(_, (id, _))| *id);
        let new: Vec<SeriesId> = new.collect();
        self.flush.overlap().note_new(table.id, new.iter().copied());
        unlogged.add(table, new);
        if answers.iter().all(Result::is_ok) {
            return Ok(());
        }
        let mut refusals = vec![None; batch.series.len()];
        answers.iter().filter_map(|a| a.as_ref().err()?.limit()).for_each(limits::exceeded);
        for (position, answer) in positions.into_iter().zip(answers) {
            refusals[position] = answer.err();
        }
        for (row, &s) in batch.series_of_row.iter().enumerate() {
            if let Some(Some(refusal)) = refusals.get(s as usize) {
                rows.drop_row(row, || refusal.to_string());
            }
        }
        Ok(())
    }
}

fn check(policy: &RetentionPolicy, now: i64, batch: &PointsBatch) -> Checked {
    let mut rows = RowFilter::new(batch.rows());
    check_time(policy, now, batch, &mut rows);
    let table = policy.tables.get(&batch.measurement).cloned();
    let usable = check_types(table.as_deref(), batch, &mut rows);
    Checked { rows, table, usable }
}

/// The command that brings what the kept rows need and the catalogue lacks.
fn missing_schema(
    target: &Target<'_>,
    policy: &RetentionPolicy,
    batches: &[PointsBatch],
    checked: &[Checked],
) -> Option<Command> {
    let (mut tables, mut times) = (Vec::new(), MissingTimes::new(policy));
    for (batch, checked) in batches.iter().zip(checked) {
        if checked.rows.kept == 0 {
            continue;
        }
        tables.extend(extension(batch, checked));
        let kept = |(row, _): &(usize, &i64)| checked.rows.is_kept(*row);
        batch.times.iter().enumerate().filter(kept).for_each(|(_, &time)| times.look_at(time));
    }
    if tables.is_empty() && times.missing.is_empty() {
        return None;
    }
    Some(Command::ExtendSchema {
        database: target.database.to_owned(),
        retention_policy: policy.name.clone(),
        tables,
        times: times.missing,
    })
}

/// The tags and fields of the kept rows that the table lacks; the table itself if it does not exist.
fn extension(batch: &PointsBatch, checked: &Checked) -> Option<TableExtension> {
    let table = checked.table.as_deref();
    let has_field = |name: &str| table.is_some_and(|table| table.field(name).is_some());
    let fields: Vec<FieldDef> = batch
        .fields
        .iter()
        .zip(&checked.usable)
        .filter(|(column, usable)| **usable && !has_field(&column.name) && checked.rows.keeps_any(column))
        .map(|(column, _)| FieldDef { name: column.name.clone(), field_type: column.values.field_type() })
        .collect();
    let tags = missing_tags(table, batch, &checked.rows);
    let is_complete = table.is_some() && fields.is_empty() && tags.is_empty();
    (!is_complete).then(|| TableExtension { measurement: batch.measurement.clone(), tags, fields })
}

/// The tags of the kept rows that the table lacks.
fn missing_tags(table: Option<&Table>, batch: &PointsBatch, rows: &RowFilter) -> Vec<String> {
    let has_tag = |key: &str| table.is_some_and(|table| table.tag(key).is_some());
    let mut missing: Vec<String> = Vec::new();
    if batch.tag_keys.as_ref().is_some_and(|keys| keys.iter().all(|key| has_tag(key))) {
        return missing;
    }
    let used = rows.used_series(batch);
    let is_used = |s: usize| used.as_ref().is_none_or(|used| used[s]);
    let mut last: Option<&Tags> = None;
    for (_, tags) in batch.series.iter().enumerate().filter(|(s, _)| is_used(*s)) {
        // Neighbours mostly have the same keys.
        if last.replace(tags).is_some_and(|last| last.has_keys_of(tags)) {
            continue;
        }
        for (key, _) in tags.iter() {
            if !has_tag(key) && !missing.iter().any(|tag| tag == key) {
                missing.push(key.to_owned());
            }
        }
    }
    missing
}

/// Times that no shard group holds: one for each group that is to be opened.
struct MissingTimes<'a> {
    policy: &'a RetentionPolicy,
    /// The group of the last time looked at.
    covered: Option<ShardGroup>,
    missing: Vec<i64>,
}

impl<'a> MissingTimes<'a> {
    fn new(policy: &'a RetentionPolicy) -> Self {
        Self { policy, covered: None, missing: Vec::new() }
    }

    fn look_at(&mut self, time: i64) {
        if self.covered.is_some_and(|group| group.contains(time)) {
            return;
        }
        match self.policy.shard_group_of(time) {
            Some(group) => self.covered = Some(*group),
            None => {
                let group = self.policy.new_shard_group(0, time);
                self.covered = Some(group);
                if !self.missing.iter().any(|&other| group.contains(other)) {
                    self.missing.push(time);
                }
            }
        }
    }
}

/// The shard groups that hold the times, by start time; times without a group are passed over.
pub fn shards_of_times(policy: &RetentionPolicy, times: &[i64]) -> Vec<ShardGroup> {
    let mut groups: Vec<ShardGroup> = Vec::new();
    for &time in times {
        if groups.last().is_some_and(|group| group.contains(time)) {
            continue;
        }
        let Some(group) = policy.shard_group_of(time) else { continue };
        if let Some(known) = groups.iter().position(|g| g.id == group.id) {
            let last = groups.len() - 1;
            groups.swap(known, last);
        } else {
            groups.push(*group);
        }
    }
    groups.sort_unstable_by_key(|group| group.start);
    groups
}

fn shards_of_kept_times(
    policy: &RetentionPolicy,
    batch: &PointsBatch,
    keep: Option<&[bool]>,
) -> Vec<ShardGroup> {
    match keep {
        None => shards_of_times(policy, &batch.times),
        Some(_) => shards_of_times(policy, &filter(batch.times.clone(), keep)),
    }
}

/// Which columns of a batch a table can store.
pub fn columns_of(table: &Table, batch: &PointsBatch) -> Vec<bool> {
    let is_stored = |column: &FieldColumn| {
        table.field(&column.name).is_some_and(|(_, stored)| stored == column.values.field_type())
    };
    batch.fields.iter().map(is_stored).collect()
}

/// Finds the policy of a write.
fn find_policy<'a>(
    catalog: &'a Catalog,
    target: &Target<'_>,
) -> Result<&'a Arc<RetentionPolicy>, WriteError> {
    let database = catalog
        .database(target.database)
        .ok_or_else(|| WriteError::DatabaseNotFound(target.database.to_owned()))?;
    database
        .retention_policy(target.retention_policy)
        .ok_or_else(|| WriteError::RetentionPolicyNotFound(target.retention_policy.to_owned()))
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

    /// Which series of the batch have a kept row; `None` = all.
    fn used_series(&self, batch: &PointsBatch) -> Option<Vec<bool>> {
        self.dropped.as_ref()?;
        let mut used = vec![false; batch.series.len()];
        for (row, &s) in batch.series_of_row.iter().enumerate() {
            if self.is_kept(row)
                && let Some(used) = used.get_mut(s as usize)
            {
                *used = true;
            }
        }
        Some(used)
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

fn check_time(policy: &RetentionPolicy, now: i64, batch: &PointsBatch, rows: &mut RowFilter) {
    let oldest = match policy.past_write_limit {
        0 => policy.visible_from(now),
        limit => policy.visible_from(now).max(now.saturating_sub(limit)),
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
fn check_types(table: Option<&Table>, batch: &PointsBatch, rows: &mut RowFilter) -> Vec<bool> {
    let mut usable = Vec::with_capacity(batch.fields.len());
    for (i, column) in batch.fields.iter().enumerate() {
        let input = column.values.field_type();
        let existing = match table.and_then(|table| table.field(&column.name)) {
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
pub fn resolved_batch(
    table: Arc<Table>,
    batch: PointsBatch,
    usable: &[bool],
    keep: Option<&[bool]>,
    shards: Vec<ShardGroup>,
) -> Option<ResolvedBatch> {
    if keep.is_some_and(|k| !k.contains(&true)) {
        return None;
    }
    let fields = batch
        .fields
        .into_iter()
        .zip(usable)
        .filter(|(_, usable)| **usable)
        .filter_map(|(column, _)| {
            let (id, _): (FieldId, _) = table.field(&column.name)?;
            Some((id, filter_column(column, keep)))
        })
        .collect();
    let (series, series_of_row) = kept_series(batch.series, batch.series_of_row, keep);
    Some(ResolvedBatch { times: filter(batch.times, keep), series_of_row, series, fields, shards, table })
}

/// The series of the kept rows, and each such row's position among them.
fn kept_series(
    series: Vec<Tags>,
    series_of_row: Vec<u32>,
    keep: Option<&[bool]>,
) -> (Vec<(SeriesId, Tags)>, Vec<u32>) {
    let with_id = |tags: Tags| (tags.series_id(), tags);
    if keep.is_none() {
        return (series.into_iter().map(with_id).collect(), series_of_row);
    }
    let rows = filter(series_of_row, keep);
    let mut used = vec![false; series.len()];
    rows.iter().for_each(|&s| used[s as usize] = true);
    let mut next = 0;
    let numbers: Vec<u32> = used
        .iter()
        .map(|&used| {
            let number = next;
            next += u32::from(used);
            number
        })
        .collect();
    let kept = series.into_iter().zip(&used).filter(|(_, used)| **used).map(|(tags, _)| with_id(tags));
    (kept.collect(), rows.into_iter().map(|s| numbers[s as usize]).collect())
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
