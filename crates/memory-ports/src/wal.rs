//! The write-ahead log.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::cluster::NodeId;
use hyperbytedb_domain::ports::{EncodedEntry, NewRecord, StoredRecord, WalPort};
use hyperbytedb_domain::wal::{Sequence, WalEntry, WalRecord};
use parking_lot::Mutex;

use crate::control::{Call, Controller, storage};
use crate::random::Random;
use crate::versions::Versions;

const WRITE: u8 = 0;
const COMMAND: u8 = 1;
const AGREED: u8 = 2;

/// Sees each record that is appended.
pub type Witness = Box<dyn Fn(&WalRecord) + Send + Sync>;

/// A log that outlives its process.
pub struct WalDisk {
    log: Mutex<Versions<Log>>,
    /// Whether each append is synced.
    sync_always: bool,
    witness: OnceLock<Witness>,
}

impl fmt::Debug for WalDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalDisk").field("log", &self.log).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Default)]
struct Log {
    records: BTreeMap<Sequence, Arc<Record>>,
    last: Sequence,
    clock: u64,
    received: BTreeMap<NodeId, u64>,
}

#[derive(Debug)]
struct Record {
    bytes: u64,
    record: WalRecord,
    is_foreign: bool,
}

impl Default for WalDisk {
    fn default() -> Self {
        Self::new(true)
    }
}

impl WalDisk {
    /// `sync_always`: each append is synced, also when it need not be.
    pub fn new(sync_always: bool) -> Self {
        Self { log: Mutex::default(), sync_always, witness: OnceLock::new() }
    }

    /// Another disk with what this one has, synced.
    pub fn copy(&self) -> Self {
        let log = Mutex::new(Versions::of(self.log.lock().now().clone()));
        Self { log, sync_always: self.sync_always, witness: OnceLock::new() }
    }

    /// Has all records seen that are appended from now on. Only the first one counts.
    pub fn set_witness(&self, witness: Witness) {
        let _ = self.witness.set(witness);
    }

    pub(crate) fn fail_power(&self, random: &mut Random) {
        self.log.lock().fail_power(random);
    }
}

/// The log as a process has it.
pub struct MemoryWal {
    disk: Arc<WalDisk>,
    controller: Arc<dyn Controller>,
}

impl MemoryWal {
    pub(crate) fn open(disk: Arc<WalDisk>, controller: Arc<dyn Controller>) -> Self {
        Self { disk, controller }
    }
}

impl WalPort for MemoryWal {
    fn encode(&self, entry: &WalEntry) -> Result<EncodedEntry, StorageError> {
        storage(&*self.controller, Call::WalEncode, || {
            let encoded = match entry {
                WalEntry::Write(write) => postcard::to_extend(write, vec![WRITE]),
                WalEntry::Command(command) => postcard::to_extend(command, vec![COMMAND]),
                WalEntry::Agreed(entry) => postcard::to_extend(entry, vec![AGREED]),
            };
            encoded.map(EncodedEntry).map_err(|error| StorageError::failed("encode", error))
        })
    }

    fn append(&self, records: Vec<NewRecord>, durable: bool) -> Result<Sequence, StorageError> {
        storage(&*self.controller, Call::WalAppend, || {
            let records: Vec<Record> = records.into_iter().map(decode).collect::<Result<_, _>>()?;
            Ok(self.disk.log.lock().write(durable || self.disk.sync_always, |log| {
                let first = log.last + 1;
                for record in records {
                    let clock = record.record.clock;
                    assert!(
                        record.is_foreign || clock > log.clock,
                        "the clock goes back: {clock} after {}",
                        log.clock
                    );
                    let received = log.received.entry(record.record.origin).or_default();
                    *received = clock.max(*received);
                    if let Some(witness) = self.disk.witness.get() {
                        witness(&record.record);
                    }
                    log.last += 1;
                    log.clock = clock.max(log.clock);
                    log.records.insert(log.last, Arc::new(record));
                }
                first
            }))
        })
    }

    fn read_from(
        &self,
        from: Sequence,
        max_bytes: usize,
    ) -> Result<Vec<(Sequence, WalRecord)>, StorageError> {
        storage(&*self.controller, Call::WalRead, || {
            let log = self.disk.log.lock();
            let mut bytes = 0;
            let mut records = Vec::new();
            for (&sequence, record) in log.now().records.range(from..) {
                records.push((sequence, record.record.clone()));
                bytes += record.bytes as usize;
                if bytes >= max_bytes {
                    break;
                }
            }
            Ok(records)
        })
    }

    fn read_stored(&self, from: Sequence, max_bytes: usize) -> Result<Vec<StoredRecord>, StorageError> {
        let stored = |(sequence, record): (Sequence, WalRecord)| {
            let WalRecord { origin, clock, ref entry } = record;
            let is_write = matches!(entry, WalEntry::Write(_));
            let bytes = postcard::to_extend(&(origin, clock), self.encode(entry)?.0);
            let bytes = bytes.map_err(|error| StorageError::failed("encode", error))?;
            Ok(StoredRecord { sequence, origin, clock, is_write, bytes })
        };
        self.read_from(from, max_bytes)?.into_iter().map(stored).collect()
    }

    fn decode(&self, bytes: &[u8]) -> Result<(WalRecord, EncodedEntry), StorageError> {
        let failed = |error: postcard::Error| StorageError::corrupt("a record of another node", error);
        let (entry, rest) = take_entry(bytes)?;
        let (origin, clock) = postcard::from_bytes(rest).map_err(failed)?;
        let encoded = EncodedEntry(bytes[..bytes.len() - rest.len()].to_vec());
        Ok((WalRecord { origin, clock, entry }, encoded))
    }

    fn received(&self) -> BTreeMap<NodeId, u64> {
        self.disk.log.lock().now().received.clone()
    }

    fn note_received(&self, origin: NodeId, clock: u64) -> Result<(), StorageError> {
        storage(&*self.controller, Call::WalAppend, || {
            Ok(self.disk.log.lock().write(true, |log| {
                log.received.insert(origin, clock);
                log.clock = log.clock.max(clock);
            }))
        })
    }

    fn truncate_before(&self, sequence: Sequence) -> Result<(), StorageError> {
        storage(&*self.controller, Call::WalTruncate, || {
            Ok(self.disk.log.lock().write(false, |log| log.records = log.records.split_off(&sequence)))
        })
    }

    fn first_sequence(&self) -> Sequence {
        let log = self.disk.log.lock();
        let log = log.now();
        log.records.first_key_value().map_or(log.last + 1, |(&first, _)| first)
    }

    fn last_sequence(&self) -> Sequence {
        self.disk.log.lock().now().last
    }

    fn last_clock(&self) -> u64 {
        self.disk.log.lock().now().clock
    }

    fn size_bytes(&self) -> u64 {
        self.disk.log.lock().now().records.values().map(|record| record.bytes).sum()
    }

    fn bytes_from(&self, sequence: Sequence) -> Result<u64, StorageError> {
        Ok(self.disk.log.lock().now().records.range(sequence..).map(|(_, record)| record.bytes).sum())
    }

    fn sync(&self) -> Result<(), StorageError> {
        storage(&*self.controller, Call::WalSync, || Ok(self.disk.log.lock().sync()))
    }
}

fn decode(new: NewRecord) -> Result<Record, StorageError> {
    let NewRecord { origin, clock, entry: encoded, is_foreign } = new;
    let (entry, _) = take_entry(&encoded.0)?;
    Ok(Record { bytes: encoded.0.len() as u64, record: WalRecord { origin, clock, entry }, is_foreign })
}

/// An encoded entry, and the bytes behind it.
fn take_entry(bytes: &[u8]) -> Result<(WalEntry, &[u8]), StorageError> {
    let failed = |error: postcard::Error| StorageError::corrupt("memory", error);
    match bytes.split_first() {
        Some((&WRITE, bytes)) => postcard::take_from_bytes(bytes)
            .map(|(write, rest)| (WalEntry::Write(write), rest))
            .map_err(failed),
        Some((&COMMAND, bytes)) => postcard::take_from_bytes(bytes)
            .map(|(command, rest)| (WalEntry::Command(command), rest))
            .map_err(failed),
        Some((&AGREED, bytes)) => postcard::take_from_bytes(bytes)
            .map(|(entry, rest)| (WalEntry::Agreed(entry), rest))
            .map_err(failed),
        _ => Err(StorageError::corrupt("memory", "not an entry")),
    }
}
