//! Named cursors on the log: how far each consumer is. The log is kept from the least of them on.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::catalog::TableId;
use hyperbytedb_domain::ports::LocalStatePort;
use hyperbytedb_domain::wal::Sequence;
use parking_lot::Mutex;

/// What marks the windows of views and continuous queries.
pub const WINDOWS: &str = "windows";
/// The flush of all tables together.
const FLUSH: &str = "flush";
/// With a table's number behind it: a table that is further than all together. These hold nothing back.
const FLUSH_TABLE: &str = "flush/";

/// The last log record each consumer is done with, in memory and through to the node's state.
pub struct Cursors {
    local_state: Arc<dyn LocalStatePort>,
    positions: Mutex<BTreeMap<String, Sequence>>,
}

impl Cursors {
    pub fn load(local_state: Arc<dyn LocalStatePort>) -> Result<Self, StorageError> {
        let positions = Mutex::new(local_state.cursors()?);
        Ok(Self { local_state, positions })
    }

    /// The last record whose points, and those before it, are in the engine.
    pub fn flushed(&self) -> Sequence {
        self.positions.lock().get(FLUSH).copied().unwrap_or(0)
    }

    /// As [`flushed`](Self::flushed), for one table.
    pub fn flushed_of(&self, table: TableId) -> Sequence {
        let positions = self.positions.lock();
        let of_all = positions.get(FLUSH).copied().unwrap_or(0);
        positions.get(&table_cursor(table)).copied().unwrap_or(0).max(of_all)
    }

    /// Notes how far the flush is: of all tables, and of tables that are further.
    pub fn store_flushed(
        &self,
        all: Sequence,
        tables: impl Iterator<Item = (TableId, Sequence)>,
    ) -> Result<(), StorageError> {
        let mut positions = self.positions.lock();
        let mut changes: Vec<(String, Option<Sequence>)> = Vec::new();
        if positions.get(FLUSH) != Some(&all) {
            changes.push((FLUSH.to_owned(), Some(all)));
        }
        for (table, sequence) in tables.filter(|(_, sequence)| *sequence > all) {
            let name = table_cursor(table);
            if positions.get(&name) != Some(&sequence) {
                changes.push((name, Some(sequence)));
            }
        }
        let is_behind =
            |(name, sequence): &(&String, &Sequence)| name.starts_with(FLUSH_TABLE) && **sequence <= all;
        changes.extend(positions.iter().filter(is_behind).map(|(name, _)| (name.clone(), None)));
        if changes.is_empty() {
            return Ok(());
        }
        self.local_state.store_cursors(&changes)?;
        for (name, sequence) in changes {
            match sequence {
                Some(sequence) => positions.insert(name, sequence),
                None => positions.remove(&name),
            };
        }
        Ok(())
    }

    /// The last record that a consumer is done with.
    pub fn position(&self, consumer: &str) -> Option<Sequence> {
        self.positions.lock().get(consumer).copied()
    }

    /// Moves a consumer's cursor.
    pub fn store(&self, consumer: &str, sequence: Sequence) -> Result<(), StorageError> {
        self.local_state.store_cursors(&[(consumer.to_owned(), Some(sequence))])?;
        self.hold(consumer, sequence);
        Ok(())
    }

    /// Moves a consumer's cursor for as long as this process runs.
    pub fn hold(&self, consumer: &str, sequence: Sequence) {
        self.positions.lock().insert(consumer.to_owned(), sequence);
    }

    /// Takes a consumer's cursor out of the node's state: its position counts for as long as this process runs.
    pub fn unstore(&self, consumer: &str) -> Result<(), StorageError> {
        self.local_state.store_cursors(&[(consumer.to_owned(), None)])
    }

    /// Keeps no records for a consumer that does not run.
    pub fn release(&self, consumer: &str) {
        self.positions.lock().remove(consumer);
    }

    /// The first record that some consumer still needs.
    pub fn oldest_needed(&self) -> Sequence {
        let positions = self.positions.lock();
        let consumers = positions.iter().filter(|(name, _)| !name.starts_with(FLUSH_TABLE));
        let others = consumers.map(|(_, &sequence)| sequence).min();
        others.map_or(0, |least| least.min(positions.get(FLUSH).copied().unwrap_or(0)) + 1)
    }
}

fn table_cursor(table: TableId) -> String {
    format!("{FLUSH_TABLE}{}", table.0)
}
