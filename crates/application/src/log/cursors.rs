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
/// What begins so is kept beside the cursors, and holds nothing back.
pub const NOTE: &str = "note/";

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

    /// How far a consumer is; `None` for one that has no cursor.
    pub fn position(&self, name: &str) -> Option<Sequence> {
        self.positions.lock().get(name).copied()
    }

    /// Moves a consumer's cursor, or makes it; never back.
    pub fn advance(&self, name: &str, sequence: Sequence) -> Result<(), StorageError> {
        let mut positions = self.positions.lock();
        if positions.get(name).is_some_and(|&position| position >= sequence) {
            return Ok(());
        }
        self.local_state.store_cursors(&[(name.to_owned(), Some(sequence))])?;
        positions.insert(name.to_owned(), sequence);
        Ok(())
    }

    /// Moves a consumer's cursor; one that was removed stays so.
    pub fn advance_existing(&self, name: &str, sequence: Sequence) -> Result<(), StorageError> {
        let mut positions = self.positions.lock();
        match positions.get_mut(name) {
            Some(position) if *position < sequence => {
                self.local_state.store_cursors(&[(name.to_owned(), Some(sequence))])?;
                *position = sequence;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Sets cursors (`Some`), also back, and removes them (`None`), all or none.
    pub fn set(&self, changes: &[(String, Option<u64>)]) -> Result<(), StorageError> {
        let mut positions = self.positions.lock();
        self.local_state.store_cursors(changes)?;
        for (name, position) in changes {
            match position {
                Some(position) => positions.insert(name.clone(), *position),
                None => positions.remove(name),
            };
        }
        Ok(())
    }

    /// A power failure does not take back what was stored before.
    pub fn sync(&self) -> Result<(), StorageError> {
        self.local_state.sync()
    }

    /// Removes the cursors whose names begin so and are not wanted any more, as of a record. False when some are further
    /// than it: they may have been made since.
    pub fn retain(
        &self,
        prefix: &str,
        as_of: Sequence,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<bool, StorageError> {
        let mut positions = self.positions.lock();
        let unwanted = positions.iter().filter(|(name, _)| name.starts_with(prefix) && !is_wanted(name));
        let (over, later): (Vec<_>, Vec<_>) = unwanted.partition(|(_, position)| **position <= as_of);
        let (are_all, over) = (later.is_empty(), over.into_iter().map(|(name, _)| name.clone()));
        let over: Vec<String> = over.collect();
        if over.is_empty() {
            return Ok(are_all);
        }
        let changes: Vec<_> = over.iter().map(|name| (name.clone(), None)).collect();
        self.local_state.store_cursors(&changes)?;
        for name in over {
            positions.remove(&name);
        }
        Ok(are_all)
    }

    /// Moves a consumer's cursor for as long as this process runs.
    pub fn hold(&self, name: &str, sequence: Sequence) {
        self.positions.lock().insert(name.to_owned(), sequence);
    }

    /// Takes a consumer's cursor out of the node's state: its position counts for as long as this process runs.
    pub fn unstore(&self, name: &str) -> Result<(), StorageError> {
        self.local_state.store_cursors(&[(name.to_owned(), None)])
    }

    /// Keeps no records for a consumer that does not run.
    pub fn release(&self, name: &str) {
        self.positions.lock().remove(name);
    }

    /// The first record that some consumer still needs.
    pub fn oldest_needed(&self) -> Sequence {
        let positions = self.positions.lock();
        let holds = |name: &str| !name.starts_with(FLUSH_TABLE) && !name.starts_with(NOTE);
        let others = positions.iter().filter(|(name, _)| holds(name)).map(|(_, &sequence)| sequence).min();
        others.map_or(0, |least| least.min(positions.get(FLUSH).copied().unwrap_or(0)) + 1)
    }
}

fn table_cursor(table: TableId) -> String {
    format!("{FLUSH_TABLE}{}", table.0)
}

#[cfg(test)]
mod tests {
    use hyperbytedb_memory_ports::{Call, Disk, MemoryPorts, Undisturbed};

    use super::*;
    use crate::testing::Faults;

    const FIRST: TableId = TableId(1);
    const SECOND: TableId = TableId(2);

    fn load(disk: &Disk) -> Cursors {
        Cursors::load(MemoryPorts::open(disk, Arc::new(Undisturbed)).local_state).expect("cursors")
    }

    fn store(cursors: &Cursors, all: Sequence, tables: &[(TableId, Sequence)]) {
        cursors.store_flushed(all, tables.iter().copied()).expect("a store");
    }

    #[test]
    fn a_new_node_needs_its_whole_log() {
        let cursors = load(&Disk::default());
        assert_eq!((cursors.flushed(), cursors.flushed_of(FIRST), cursors.oldest_needed()), (0, 0, 0));
    }

    #[test]
    fn a_table_may_be_ahead_of_all_together_but_not_behind() {
        let disk = Disk::default();
        let cursors = load(&disk);
        store(&cursors, 10, &[(FIRST, 15), (SECOND, 7)]);
        for cursors in [cursors, load(&disk)] {
            assert_eq!((cursors.flushed_of(FIRST), cursors.flushed_of(SECOND)), (15, 10));
            assert_eq!(cursors.oldest_needed(), 11, "what is ahead holds nothing back");
        }
    }

    #[test]
    fn cursors_that_all_together_have_reached_go() {
        let disk = Disk::default();
        let cursors = load(&disk);
        store(&cursors, 10, &[(FIRST, 15), (SECOND, 20)]);
        store(&cursors, 15, &[]);
        let node = MemoryPorts::open(&disk, Arc::new(Undisturbed)).local_state;
        let names: Vec<String> = node.cursors().expect("cursors").into_keys().collect();
        assert_eq!(names, ["flush", "flush/2"]);
        assert_eq!((cursors.flushed_of(FIRST), cursors.flushed_of(SECOND)), (15, 20));
    }

    #[test]
    fn the_slowest_consumer_decides_what_is_needed() {
        let disk = Disk::default();
        let node = MemoryPorts::open(&disk, Arc::new(Undisturbed)).local_state;
        node.store_cursors(&[("peer/7".to_owned(), Some(4))]).expect("a store");
        let cursors = load(&disk);
        store(&cursors, 10, &[]);
        assert_eq!((cursors.flushed(), cursors.oldest_needed()), (10, 5));
    }

    #[test]
    fn notes_hold_nothing_back_and_cursors_can_be_set_back() {
        let disk = Disk::default();
        let cursors = load(&disk);
        store(&cursors, 10, &[]);
        let note = format!("{NOTE}x");
        let changes = [("peer/7".to_owned(), Some(9)), (note.clone(), Some(1))];
        cursors.set(&changes).expect("a store");
        cursors.set(&[("peer/7".to_owned(), Some(4))]).expect("a store");
        for cursors in [cursors, load(&disk)] {
            assert_eq!((cursors.position(&note), cursors.oldest_needed()), (Some(1), 5));
        }
    }

    #[test]
    fn cursors_that_cannot_be_stored_do_not_move() {
        let (disk, faults) = (Disk::default(), Arc::new(Faults::default()));
        let cursors = Cursors::load(MemoryPorts::open(&disk, faults.clone()).local_state).expect("cursors");
        faults.fail(Call::StoreCursors, 1);
        assert!(cursors.store_flushed(10, [(FIRST, 15)].into_iter()).is_err());
        assert_eq!((cursors.flushed(), cursors.flushed_of(FIRST)), (0, 0));
        store(&cursors, 10, &[(FIRST, 15)]);
        assert_eq!((cursors.flushed(), cursors.flushed_of(FIRST)), (10, 15));
    }
}
