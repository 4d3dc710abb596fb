//! From the log to dirty windows.
//!
//! One cursor follows the log for all stored queries: a record is read once, whatever the number of queries. Marks are
//! stored before the cursor moves; marking twice only has a window computed once more.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use hyperbytedb_columnar::accepted;
use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::catalog::{Catalog, Command, DeleteScope, TableId};
use hyperbytedb_domain::clock::millis_of;
use hyperbytedb_domain::cluster::NodeId;
use hyperbytedb_domain::ports::{CatalogPort, WalPort};
use hyperbytedb_domain::wal::{Sequence, WalEntry, WalRecord, WriteEntry};
use parking_lot::Mutex;

use super::WindowOptions;
use super::dirty::{DirtyBoard, Mark};
use super::query::{QueryKey, StoredQueries, StoredQuery};
use super::ranges::Ranges;
use crate::flush::FlushService;
use crate::log::cursors::WINDOWS;

/// Bytes of log read at a time.
const READ_BYTES: usize = 4 << 20;
const NS_PER_MS: u64 = 1_000_000;

/// Reads the log behind its cursor.
pub struct Follower {
    pub wal: Arc<dyn WalPort>,
    pub catalog: Arc<dyn CatalogPort>,
    pub flush: Arc<FlushService>,
    pub board: Arc<DirtyBoard>,
    node: NodeId,
    /// Bytes of the log past which it is not followed record by record: all windows become dirty instead.
    pub max_log_bytes: u64,
    state: Mutex<State>,
}

struct State {
    /// The last record that has been read.
    position: Sequence,
    queries: StoredQueries,
    names: TableNames,
    /// What `names` has the tables of.
    catalog: Arc<Catalog>,
    /// Whether the cursor is in the node's state.
    is_stored: bool,
    /// Views of which nothing is known yet: their creation is behind the cursor, or was never followed.
    unknown: Option<Vec<QueryKey>>,
}

type Marks = BTreeMap<QueryKey, Mark>;

impl Follower {
    /// Nothing may have been appended to the log yet.
    pub fn new(
        flush: Arc<FlushService>,
        wal: Arc<dyn WalPort>,
        catalog: Arc<dyn CatalogPort>,
        board: Arc<DirtyBoard>,
        options: &WindowOptions,
    ) -> Self {
        let first = wal.first_sequence().saturating_sub(1);
        // After a power failure the log may be shorter than what was read of it.
        let stored = flush.cursors().position(WINDOWS);
        let position = stored.map_or(first, |stored| stored.min(wal.last_sequence()));
        flush.cursors().hold(WINDOWS, position);
        let state = State {
            position,
            queries: StoredQueries::default(),
            names: TableNames::default(),
            catalog: Arc::default(),
            is_stored: stored.is_some(),
            unknown: None,
        };
        let WindowOptions { node, max_log_bytes, .. } = *options;
        Self { wal, catalog, flush, board, node, max_log_bytes, state: Mutex::new(state) }
    }

    /// Records that have not been read yet.
    pub fn records_behind(&self) -> u64 {
        let position = self.flush.cursors().position(WINDOWS).unwrap_or(0);
        self.flush.applied().saturating_sub(position)
    }

    /// Marks windows for all records that have taken effect.
    pub fn follow(&self) -> Result<(), StorageError> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let applied = self.flush.applied();
        let catalog = self.catalog.catalog();
        if !Arc::ptr_eq(&state.catalog, &catalog) {
            state.queries.update(&catalog);
            state.names.update(&catalog);
            let names: Vec<String> = state.queries.iter().map(|query| query.key.stored()).collect();
            self.board.retain(|name| names.iter().any(|known| known == name))?;
            state.catalog = catalog.clone();
        }
        let views = || state.queries.iter().filter(|query| query.key.is_view);
        let unknown = state.unknown.get_or_insert_with(|| {
            views().filter(|view| !self.board.knows(&view.key)).map(|view| view.key.clone()).collect()
        });
        let is_in_cluster = !catalog.cluster.membership.nodes.is_empty();
        if !state.queries.follow_the_log(is_in_cluster) {
            if std::mem::take(&mut state.is_stored) {
                self.flush.cursors().unstore(WINDOWS)?;
            }
            state.position = state.position.max(applied);
            self.flush.cursors().hold(WINDOWS, state.position);
            state.names.replace(&catalog);
            return Ok(());
        }
        if applied > state.position && self.is_too_far_behind(state.position, applied) {
            tracing::warn!(
                from = state.position,
                to = applied,
                "views are too far behind the log (views.max_log_bytes): they are computed anew"
            );
            let marks = views().map(|view| (view.key.clone(), whole(view, &catalog))).collect();
            unknown.clear();
            state.is_stored = true;
            return self.advance(&marks, applied, &mut state.position);
        }
        while state.position < applied {
            let chunk = self.wal.read_from(state.position + 1, READ_BYTES)?;
            let mut marks = Marks::new();
            let mut last = state.position;
            for (sequence, record) in chunk.into_iter().take_while(|(sequence, _)| *sequence <= applied) {
                let (board, queries) = (&*self.board, &state.queries);
                let reading = Reading { node: self.node, board, catalog: &catalog, queries };
                reading.record(record, &mut state.names, &mut marks);
                last = sequence;
            }
            if last == state.position {
                break;
            }
            unknown.retain(|key| !marks.contains_key(key));
            state.is_stored = true;
            self.advance(&marks, last, &mut state.position)?;
        }
        state.names.replace(&catalog);
        let marks: Marks = unknown
            .drain(..)
            .filter_map(|key| Some((key.clone(), whole(state.queries.get(&key)?, &catalog))))
            .collect();
        self.board.mark(&marks)
    }

    /// Whether records were forgotten, or more are to be read than is worth it.
    fn is_too_far_behind(&self, position: Sequence, applied: Sequence) -> bool {
        let (first, last) = (self.wal.first_sequence(), self.wal.last_sequence());
        let kept = u128::from((last + 1).saturating_sub(first).max(1));
        let bytes = u128::from(self.wal.size_bytes()) * u128::from(applied - position) / kept;
        first > position + 1 || bytes > u128::from(self.max_log_bytes)
    }

    fn advance(&self, marks: &Marks, to: Sequence, position: &mut Sequence) -> Result<(), StorageError> {
        self.board.mark(marks)?;
        self.flush.cursors().advance(WINDOWS, to)?;
        *position = to;
        Ok(())
    }
}

fn whole(query: &StoredQuery, catalog: &Catalog) -> Mark {
    Mark { ranges: query.extent(catalog), is_backfill: true }
}

/// What records are understood with.
struct Reading<'a> {
    node: NodeId,
    board: &'a DirtyBoard,
    catalog: &'a Catalog,
    queries: &'a StoredQueries,
}

impl Reading<'_> {
    fn record(&self, record: WalRecord, names: &mut TableNames, marks: &mut Marks) {
        match record.entry {
            WalEntry::Write(write) => {
                names.learn(&write);
                let came = millis_of(record.clock).saturating_mul(NS_PER_MS);
                let is_own = record.origin == self.node;
                self.write(&write, is_own, i64::try_from(came).unwrap_or(i64::MAX), marks);
            }
            entry @ (WalEntry::Command(_) | WalEntry::Agreed(_)) => {
                if let Some(command) = entry.command() {
                    self.command(command, names, marks);
                }
            }
        }
    }

    /// Whether a query is told of what the log says from here on.
    fn is_told(&self, query: &StoredQuery, marks: &Marks) -> bool {
        query.is_told_of_writes()
            && (!query.key.is_view || marks.contains_key(&query.key) || self.board.knows(&query.key))
    }

    fn write(&self, write: &WriteEntry, is_own: bool, came: i64, marks: &mut Marks) {
        let (database, policy) = (write.database.as_str(), Some(write.retention_policy.as_str()));
        let readers_of = |measurement: &str| -> Vec<&Arc<StoredQuery>> {
            // What a node that has led wrote into a target may come when this one has computed the window already.
            let is_foreign_result =
                |query: &StoredQuery| !is_own && query.writes(database, policy, measurement);
            let is_wanted = |query: &&Arc<StoredQuery>| {
                query.is_told_of_writes()
                    && (query.reads(database, policy, measurement) || is_foreign_result(query))
            };
            self.queries.iter().filter(is_wanted).collect()
        };
        if write.tables.iter().all(|table| readers_of(&table.measurement).is_empty()) {
            return;
        }
        // What cannot be read stops the replay, not the views.
        let batches = accepted(write).unwrap_or_default();
        for batch in &batches {
            for query in readers_of(&batch.measurement) {
                if self.is_told(query, marks) {
                    let ranges = windows_of(query, &batch.times, came);
                    marks.entry(query.key.clone()).or_default().ranges.extend(&ranges);
                }
            }
        }
        marks.retain(|key, mark| key.is_view || !mark.ranges.is_empty());
    }

    fn command(&self, command: &Command, names: &TableNames, marks: &mut Marks) {
        match command {
            Command::CreateMaterializedView { database, name, .. } => {
                let key = QueryKey { is_view: true, database: database.clone(), name: name.clone() };
                let Some(view) = self.queries.get(&key) else { return };
                let mark = if view.backfill { whole(view, self.catalog) } else { Mark::default() };
                marks.insert(key, mark);
            }
            Command::DropMaterializedView { database, name } => {
                marks.remove(&QueryKey { is_view: true, database: database.clone(), name: name.clone() });
            }
            Command::Backfill { database, name, is_view, from, to } => {
                let key = QueryKey { is_view: *is_view, database: database.clone(), name: name.clone() };
                let Some(query) = self.queries.get(&key) else { return };
                let mark = marks.entry(key).or_default();
                mark.ranges.extend(&query.backfill_over(&(*from..*to), self.catalog));
                mark.is_backfill = true;
            }
            Command::DeletePoints { scopes } => {
                scopes.iter().for_each(|scope| self.delete(scope, names, marks));
            }
            Command::DropMeasurement { database, name } => {
                self.mark_views(marks, |view| view.reads(database, None, name), None);
            }
            // Once the place is there again, its earlier points are not.
            Command::DropDatabase { name } => {
                let is_source = |view: &StoredQuery| view.sources.iter().any(|s| s.database == *name);
                self.mark_views(marks, is_source, None);
            }
            Command::DropRetentionPolicy { database, name } => {
                let is_source =
                    |view: &StoredQuery| view.sources.iter().any(|s| s.is_in(database, Some(name)));
                self.mark_views(marks, is_source, None);
            }
            // What a policy or DROP SHARD takes from a source stays in the target.
            _ => {}
        }
    }

    fn delete(&self, scope: &DeleteScope, names: &TableNames, marks: &mut Marks) {
        let times = Some((scope.time.min, scope.time.max.saturating_add(1)));
        match names.get(scope.table) {
            // What a run has deleted of its target may go only when a later one has found it there, where the first was told of
            // a failure.
            Some(name) => {
                let (database, policy) = (name.database.as_str(), Some(name.retention_policy.as_str()));
                let is_about = |view: &StoredQuery| {
                    view.reads(database, policy, &name.measurement)
                        || view.writes(database, policy, &name.measurement)
                };
                self.mark_views(marks, is_about, times);
            }
            // A table that is gone: it may have been any.
            None => self.mark_views(marks, |_| true, times),
        }
    }

    fn mark_views(&self, marks: &mut Marks, reads: impl Fn(&StoredQuery) -> bool, times: Option<(i64, i64)>) {
        for view in self.queries.iter().filter(|query| query.key.is_view && reads(query)) {
            if self.is_told(view, marks) {
                let ranges = within(view, view.extent(self.catalog), times);
                marks.entry(view.key.clone()).or_default().ranges.extend(&ranges);
            }
        }
    }
}

/// The part of an extent whose windows hold some of these times.
fn within(view: &StoredQuery, extent: Ranges, times: Option<(i64, i64)>) -> Ranges {
    let bounds = extent.iter().next().zip(extent.iter().next_back());
    let (Some((start, end)), Some((first, last))) = (times, bounds) else { return extent };
    // No window of the ends of time is asked for: with an offset it would begin beyond them.
    let (start, end) = (start.max(first.0), end.min(last.1));
    if start >= end {
        return Ranges::default();
    }
    let windows = view.windows_over(start, end);
    extent.within(windows.start, windows.end)
}

/// The windows that hold these times; of a continuous query those that were not too old when the points came, which may be
/// long ago. Where a window has not ended, the run that is to compute it may be another node's, which has not got the points.
fn windows_of(query: &StoredQuery, times: &[i64], came: i64) -> Ranges {
    let is_wanted = |window: &std::ops::Range<i64>| match query.late {
        Some(late) if !query.key.is_view => window.end > came.saturating_sub(late),
        _ => true,
    };
    let mut ranges = Ranges::default();
    let mut window = 0..0;
    for &time in times {
        if !window.contains(&time) {
            window = query.window(time);
            if is_wanted(&window) {
                ranges.insert(window.start, window.end);
            }
        }
    }
    ranges
}

/// Which measurements tables are of, those of dropped tables too, for records that only have the number.
#[derive(Default)]
struct TableNames {
    names: HashMap<TableId, Arc<TableName>>,
}

struct TableName {
    database: String,
    retention_policy: String,
    measurement: String,
}

impl TableNames {
    fn get(&self, table: TableId) -> Option<&Arc<TableName>> {
        self.names.get(&table)
    }

    fn learn(&mut self, write: &WriteEntry) {
        for version in &write.tables {
            self.names.entry(version.table).or_insert_with(|| {
                Arc::new(TableName {
                    database: write.database.clone(),
                    retention_policy: write.retention_policy.clone(),
                    measurement: version.measurement.clone(),
                })
            });
        }
    }

    fn update(&mut self, catalog: &Catalog) {
        for table in catalog.tables() {
            self.names.entry(table.id).or_insert_with(|| {
                Arc::new(TableName {
                    database: table.database.clone(),
                    retention_policy: table.retention_policy.clone(),
                    measurement: table.measurement.clone(),
                })
            });
        }
    }

    /// No record behind this one is about a table that has been dropped before it.
    fn replace(&mut self, catalog: &Catalog) {
        let before = std::mem::take(&mut self.names);
        self.names =
            catalog.tables().filter_map(|table| Some((table.id, before.get(&table.id)?.clone()))).collect();
        self.update(catalog);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000_000;

    /// A server that was down looks at what came before only later.
    #[test]
    fn what_was_late_when_it_came_is_late_although_it_is_looked_at_much_later() {
        let text = "CREATE CONTINUOUS QUERY q ON d RESAMPLE LATE 2h BEGIN SELECT mean(v) INTO t FROM m \
                    GROUP BY time(1h) END";
        let query = StoredQuery::parse("d", text).expect("a query");
        let windows = |came: i64| windows_of(&query, &[10 * HOUR], came * HOUR);
        assert_eq!(windows(12), Ranges::of(10 * HOUR, 11 * HOUR));
        assert!(windows(13).is_empty(), "it was too old when the point came");
        assert_eq!(windows(10), Ranges::of(10 * HOUR, 11 * HOUR), "the window has not ended");
    }
}
