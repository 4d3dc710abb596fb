//! The write-ahead log.
//!
//! Keys are big-endian sequences, values are [records](record) followed by the record's position: the bytes of all
//! records before it. So the size of the log is a subtraction, also right after it is opened.
//!
//! The floor, the first record still kept, lives in a column family of its own, and so does not stretch the
//! key range of the tables that hold records: forgotten tables can be deleted as whole files.

mod record;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::cluster::NodeId;
use hyperbytedb_domain::ports::{EncodedEntry, LogSnapshotPort, NewRecord, StoredRecord, WalPort};
use hyperbytedb_domain::wal::{Sequence, WalEntry, WalRecord};
use hyperbytedb_metrics as metrics;
use parking_lot::{Mutex, RwLock};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode,
    DEFAULT_COLUMN_FAMILY_NAME, Options, WriteBatch,
};
use serde::{Deserialize, Serialize};

use crate::database::{Database, Durability, OpenDatabase, common_options};
use crate::options::{StorageOptions, WalSync};
use crate::report::report;
use crate::stored;
pub use record::{RecordError, decode_record, encode_record};
use record::{encode_entry, read_head, seal, unseal};
use sync::BackgroundSync;

const RECORDS: &str = DEFAULT_COLUMN_FAMILY_NAME;
const STATE: &str = "state";
const FLOOR_KEY: &[u8] = b"floor";
const RECEIVED_KEY: &[u8] = b"received";
const POSITION_BYTES: usize = 8;
/// What a write batch needs for a record beside its entry, at most.
const RECORD_OVERHEAD_BYTES: usize = 64;
/// The write buffer is split so that one part can be written out while the next fills.
const WRITE_BUFFERS: usize = 4;
const STATE_BUFFER_BYTES: usize = 1 << 20;
/// Bytes of records that an empty log may still hold on disk.
const FORGOTTEN_BYTES_MAX: u64 = 4 << 20;
/// Replay reads each record once.
const READ_CACHE_BYTES: usize = 2 << 20;
const READ_BLOCK_BYTES: usize = 64 << 10;

/// The first record kept.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Floor {
    sequence: Sequence,
    position: u64,
    /// The greatest clock of the records before it.
    clock: u64,
}

/// What came from each node, this one counted. Clocks of others are not in order with this node's, so the log's last record
/// does not say the greatest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Received {
    /// By origin.
    clocks: BTreeMap<NodeId, u64>,
    /// The greatest of the whole log when this was stored.
    greatest: u64,
}

/// Where the next record goes.
#[derive(Debug, Clone, Copy)]
struct Head {
    sequence: Sequence,
    position: u64,
    /// The greatest clock so far.
    clock: u64,
}

pub struct RocksWal {
    db: Arc<Database>,
    durability: Durability,
    head: Mutex<Head>,
    /// The head's sequence less one and its position, for readers that need not wait for a running append.
    last: AtomicU64,
    end_position: AtomicU64,
    /// The greatest clock ever appended.
    clock: AtomicU64,
    floor: RwLock<Floor>,
    received: Mutex<Received>,
    /// The log's end when the space of forgotten records was last given back.
    released_position: AtomicU64,
    _sync: Option<BackgroundSync>,
}

impl RocksWal {
    /// Opens or creates the log in `options.wal_dir`.
    pub fn open(options: &StorageOptions) -> Result<Self, StorageError> {
        let db = Arc::new(open_database(options, Database::open)?);
        let sync = match options.wal_sync {
            WalSync::Interval(interval) => Some(BackgroundSync::start(db.clone(), interval)?),
            WalSync::Always | WalSync::Off => None,
        };
        Self::load(db, options, sync)
    }

    /// Opens the log to look at it: nothing of it changes.
    pub fn open_read_only(options: &StorageOptions) -> Result<Self, StorageError> {
        Self::load(Arc::new(open_database(options, Database::open_read_only)?), options, None)
    }

    fn load(
        db: Arc<Database>,
        options: &StorageOptions,
        sync: Option<BackgroundSync>,
    ) -> Result<Self, StorageError> {
        let floor = match get(&db, STATE, FLOOR_KEY)? {
            Some(bytes) => stored::decode(&bytes, || format!("{}, floor", db.path().display()))?,
            None => Floor { sequence: 1, position: 0, clock: 0 },
        };
        let received: Received = match get(&db, STATE, RECEIVED_KEY)? {
            Some(bytes) => stored::decode(&bytes, || format!("{}, received", db.path().display()))?,
            None => Received::default(),
        };
        let mut head = find_head(&db, floor)?;
        head.clock = head.clock.max(received.greatest);
        Ok(Self {
            db,
            durability: match options.wal_sync {
                WalSync::Always => Durability::Disk,
                WalSync::Interval(_) | WalSync::Off => Durability::Process,
            },
            last: AtomicU64::new(head.sequence - 1),
            end_position: AtomicU64::new(head.position),
            clock: AtomicU64::new(head.clock),
            head: Mutex::new(head),
            floor: RwLock::new(floor),
            received: Mutex::new(received),
            released_position: AtomicU64::new(floor.position),
            _sync: sync,
        })
    }

    pub(crate) fn report(&self) {
        report(&self.db, "log", [RECORDS, STATE].into_iter());
    }

    /// Calls `visit` with each record of `from..=to` until it returns false.
    fn read(
        &self,
        from: Sequence,
        to: Sequence,
        mut visit: impl FnMut(Sequence, &[u8]) -> Result<bool, RecordError>,
    ) -> Result<(), StorageError> {
        // Held so that no record goes while it is read.
        let floor = self.floor.read();
        let mut expected = from.max(floor.sequence);
        let to = to.min(self.last_sequence());
        if expected > to {
            return Ok(());
        }
        let records = self.db.family(RECORDS)?;
        self.db.walk(records, &expected.to_be_bytes(), &(to + 1).to_be_bytes(), |key, value| {
            let sequence = read_sequence(key).ok_or_else(|| self.corrupt(expected, "misshaped key"))?;
            if sequence != expected {
                return Err(self.corrupt(expected, "missing"));
            }
            expected += 1;
            let (record, _) = split_position(value).ok_or_else(|| self.corrupt(sequence, "too short"))?;
            visit(sequence, record).map_err(|error| self.corrupt(sequence, error))
        })
    }

    fn position_of(&self, sequence: Sequence) -> Result<u64, StorageError> {
        let value = get(&self.db, RECORDS, &sequence.to_be_bytes())?
            .ok_or_else(|| self.corrupt(sequence, "missing"))?;
        split_position(&value)
            .map(|(_, position)| position)
            .ok_or_else(|| self.corrupt(sequence, "too short"))
    }

    /// Gives back the disk space of an empty log. RocksDB would keep it until enough new records have come.
    fn release_forgotten(&self, end: Head) -> Result<(), StorageError> {
        let held = end.position - self.released_position.load(Ordering::Relaxed);
        if self.size_bytes() > 0 || held < FORGOTTEN_BYTES_MAX {
            return Ok(());
        }
        self.db.release(&[RECORDS, STATE])?;
        self.released_position.store(end.position, Ordering::Relaxed);
        Ok(())
    }

    fn corrupt(&self, sequence: Sequence, message: impl std::fmt::Display) -> StorageError {
        corrupt(&self.db, sequence, message)
    }
}

impl WalPort for RocksWal {
    fn encode(&self, entry: &WalEntry) -> Result<EncodedEntry, StorageError> {
        encode_entry(entry).map_err(|error| StorageError::failed("encode a log record", error))
    }

    /// Stores once more what is stored.
    fn check_writable(&self) -> Result<(), StorageError> {
        let floor = self.floor.read();
        let mut batch = WriteBatch::default();
        batch.put_cf(self.db.family(STATE)?, FLOOR_KEY, stored::encode(&*floor)?);
        self.db.write(batch, self.durability, "check the log")
    }

    fn append(&self, records: Vec<NewRecord>, durable: bool) -> Result<Sequence, StorageError> {
        let mut head = self.head.lock();
        let first = head.sequence;
        if records.is_empty() {
            return Ok(first);
        }
        let mut next = *head;
        let bytes: usize = records.iter().map(|record| record.entry.0.len() + RECORD_OVERHEAD_BYTES).sum();
        let mut batch = WriteBatch::with_capacity_bytes(bytes);
        let mut received = self.received.lock().clone();
        for record in records {
            next.clock = next.clock.max(record.clock);
            let clock = received.clocks.entry(record.origin).or_default();
            *clock = record.clock.max(*clock);
            received.greatest = next.clock;
            let mut value = seal(record).map_err(|error| StorageError::failed("append", error))?;
            value.extend_from_slice(&next.position.to_be_bytes());
            batch.put(next.sequence.to_be_bytes(), &value);
            next.sequence += 1;
            next.position += value.len() as u64;
        }
        batch.put_cf(self.db.family(STATE)?, RECEIVED_KEY, stored::encode(&received)?);
        metrics::WAL_APPENDED_BYTES.increment(next.position - head.position);
        let started = std::time::Instant::now();
        self.db.write(batch, if durable { Durability::Disk } else { self.durability }, "append")?;
        metrics::WAL_APPEND.record_duration(started.elapsed());
        *head = next;
        *self.received.lock() = received;
        self.end_position.store(next.position, Ordering::Release);
        self.clock.store(next.clock, Ordering::Release);
        self.last.store(next.sequence - 1, Ordering::Release);
        Ok(first)
    }

    fn read_from(
        &self,
        from: Sequence,
        max_bytes: usize,
    ) -> Result<Vec<(Sequence, WalRecord)>, StorageError> {
        let mut records = Vec::new();
        let mut bytes = 0;
        self.read(from, Sequence::MAX, |sequence, record| {
            let record = decode_record(record)?;
            bytes += size_of::<WalRecord>() + body_bytes(&record);
            records.push((sequence, record));
            Ok(bytes < max_bytes)
        })?;
        Ok(records)
    }

    fn read_stored(&self, from: Sequence, max_bytes: usize) -> Result<Vec<StoredRecord>, StorageError> {
        let mut records = Vec::new();
        let mut bytes = 0;
        self.read(from, Sequence::MAX, |sequence, record| {
            let head = read_head(record)?;
            bytes += record.len();
            records.push(StoredRecord {
                sequence,
                origin: head.origin,
                clock: head.clock,
                is_write: head.is_write,
                bytes: record.to_vec(),
            });
            Ok(bytes < max_bytes)
        })?;
        Ok(records)
    }

    fn decode(&self, bytes: &[u8]) -> Result<(WalRecord, EncodedEntry), StorageError> {
        let decoded = decode_record(bytes).and_then(|record| Ok((record, unseal(bytes.to_vec())?)));
        decoded.map_err(|error| StorageError::corrupt("a record of another node", error))
    }

    fn received(&self) -> BTreeMap<NodeId, u64> {
        self.received.lock().clocks.clone()
    }

    fn note_received(&self, origin: NodeId, clock: u64) -> Result<(), StorageError> {
        let head = self.head.lock();
        let mut received = self.received.lock();
        let mut noted = received.clone();
        noted.clocks.insert(origin, clock);
        noted.greatest = head.clock.max(clock);
        let mut batch = WriteBatch::default();
        batch.put_cf(self.db.family(STATE)?, RECEIVED_KEY, stored::encode(&noted)?);
        self.db.write(batch, Durability::Disk, "note what was received")?;
        *received = noted;
        Ok(())
    }

    fn truncate_before(&self, sequence: Sequence) -> Result<(), StorageError> {
        let mut floor = self.floor.write();
        let head = *self.head.lock();
        let sequence = sequence.min(head.sequence);
        if sequence <= floor.sequence {
            return Ok(());
        }
        let position = if sequence == head.sequence { head.position } else { self.position_of(sequence)? };
        // An upper bound will do: the clock must only never go back.
        let new = Floor { sequence, position, clock: head.clock };
        let (from, to) = (floor.sequence.to_be_bytes(), sequence.to_be_bytes());
        let last_forgotten = (sequence - 1).to_be_bytes();
        let mut batch = WriteBatch::default();
        batch.put_cf(self.db.family(STATE)?, FLOOR_KEY, stored::encode(&new)?);
        let records = self.db.family(RECORDS)?;
        batch.delete_range_cf(records, from, to);
        // Lost in a power failure, it only makes the log longer than need be.
        self.db.write(batch, Durability::Process, "truncate")?;
        *floor = new;
        drop(floor);
        // Files are deleted as a whole, also those that begin before the old floor.
        self.db.delete_files(records, &Sequence::MIN.to_be_bytes(), &last_forgotten)?;
        self.release_forgotten(head)
    }

    fn first_sequence(&self) -> Sequence {
        self.floor.read().sequence
    }

    fn last_sequence(&self) -> Sequence {
        self.last.load(Ordering::Acquire)
    }

    fn last_clock(&self) -> u64 {
        self.clock.load(Ordering::Acquire)
    }

    fn size_bytes(&self) -> u64 {
        let floor = self.floor.read().position;
        self.end_position.load(Ordering::Acquire).saturating_sub(floor)
    }

    fn bytes_from(&self, sequence: Sequence) -> Result<u64, StorageError> {
        let floor = self.floor.read();
        let position = match sequence {
            sequence if sequence <= floor.sequence => floor.position,
            sequence if sequence > self.last_sequence() => return Ok(0),
            sequence => self.position_of(sequence)?,
        };
        Ok(self.end_position.load(Ordering::Acquire).saturating_sub(position))
    }

    fn sync(&self) -> Result<(), StorageError> {
        match self.durability {
            Durability::Disk => Ok(()),
            Durability::Process => self.db.sync(),
        }
    }
}

impl LogSnapshotPort for RocksWal {
    fn snapshot(&self, target: &Path) -> Result<Sequence, StorageError> {
        self.db.checkpoint(target)?;
        let options = StorageOptions { wal_dir: target.to_owned(), ..StorageOptions::in_directory("") };
        // Records are appended meanwhile: the copy alone knows which it has.
        Ok(Self::open_read_only(&options)?.last_sequence())
    }
}

fn body_bytes(record: &WalRecord) -> usize {
    match &record.entry {
        WalEntry::Write(write) => write.body.len(),
        WalEntry::Command(_) | WalEntry::Agreed(_) => 0,
    }
}

fn find_head(db: &Database, floor: Floor) -> Result<Head, StorageError> {
    let mut entries =
        db.entries(db.family(RECORDS)?, &floor.sequence.to_be_bytes(), &Sequence::MAX.to_be_bytes());
    entries.seek_to_last();
    let Some((key, value)) = entries.item() else {
        entries.status().map_err(|error| db.failure("read", error))?;
        return Ok(Head { sequence: floor.sequence, position: floor.position, clock: floor.clock });
    };
    let sequence = read_sequence(key).ok_or_else(|| corrupt(db, floor.sequence, "misshaped key"))?;
    let (record, position) = split_position(value).ok_or_else(|| corrupt(db, sequence, "too short"))?;
    if position < floor.position {
        return Err(corrupt(db, sequence, "its position is before the log's first"));
    }
    let record = decode_record(record).map_err(|error| corrupt(db, sequence, error))?;
    Ok(Head {
        sequence: sequence + 1,
        position: position + value.len() as u64,
        // Clocks rise with the log.
        clock: record.clock.max(floor.clock),
    })
}

fn get(db: &Database, family: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
    db.raw().get_cf(db.family(family)?, key).map_err(|error| db.failure("read", error))
}

fn read_sequence(key: &[u8]) -> Option<Sequence> {
    key.try_into().ok().map(Sequence::from_be_bytes)
}

fn split_position(value: &[u8]) -> Option<(&[u8], u64)> {
    let (record, position) = value.split_last_chunk::<POSITION_BYTES>()?;
    Some((record, u64::from_be_bytes(*position)))
}

fn corrupt(db: &Database, sequence: Sequence, message: impl std::fmt::Display) -> StorageError {
    StorageError::corrupt(format!("{}, sequence {sequence}", db.path().display()), message)
}

fn open_database(settings: &StorageOptions, open: OpenDatabase) -> Result<Database, StorageError> {
    let mut options = common_options(settings.max_open_files)?;
    // What was synced is kept up to the first torn record: nothing after it was acknowledged.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_db_write_buffer_size(settings.wal_write_buffer_bytes);
    options.set_max_total_wal_size(2 * settings.wal_write_buffer_bytes as u64);
    let families = vec![
        ColumnFamilyDescriptor::new(RECORDS, record_options(settings)),
        ColumnFamilyDescriptor::new(STATE, state_options()),
    ];
    open(&settings.wal_dir, &options, families)
}

fn record_options(settings: &StorageOptions) -> Options {
    let mut options = Options::default();
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(settings.wal_write_buffer_bytes / WRITE_BUFFERS);
    options.set_max_write_buffer_number(WRITE_BUFFERS as i32);
    // Two together, so that what the second one forgets of the first is not written.
    options.set_min_write_buffer_number_to_merge(2);
    // A backlog of tables slows no one: appends never look at them.
    options.set_level_zero_slowdown_writes_trigger(i32::MAX);
    options.set_level_zero_stop_writes_trigger(i32::MAX);
    options.set_soft_pending_compaction_bytes_limit(0);
    options.set_hard_pending_compaction_bytes_limit(0);
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_size(READ_BLOCK_BYTES);
    blocks.set_block_cache(&Cache::new_lru_cache(READ_CACHE_BYTES));
    options.set_block_based_table_factory(&blocks);
    options
}

fn state_options() -> Options {
    let mut options = Options::default();
    options.set_write_buffer_size(STATE_BUFFER_BYTES);
    options
}
