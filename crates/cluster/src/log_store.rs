//! Raft's log and vote over `ConsensusLogPort`.

use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::cluster::NodeId;
use hyperbytedb_domain::ports::ConsensusLogPort;
use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{Entry, LogId, OptionalSend, RaftLogReader, Vote};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::types::{Failed, RaftStorageError, TypeConfig, corrupt, storage_error};

const VOTE: &str = "vote";
const COMMITTED: &str = "committed";
const PURGED: &str = "purged";
/// Stored values begin with it.
const VERSION: u8 = 1;

/// Cheap to clone. Calls block shortly: a group of entries is one synced write.
#[derive(Clone)]
pub struct LogStore(Arc<dyn ConsensusLogPort>);

impl LogStore {
    pub fn new(log: Arc<dyn ConsensusLogPort>) -> Self {
        Self(log)
    }

    /// Whether this node has ever been in a cluster.
    pub fn is_used(&self) -> Result<bool, StorageError> {
        Ok(self.0.value(VOTE)?.is_some() || self.0.last()?.is_some())
    }

    fn value<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StorageError> {
        self.0.value(name)?.map(|bytes| decode(name, &bytes)).transpose()
    }

    fn set_value<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StorageError> {
        self.0.set_value(name, &encode(value)?)
    }

    fn entries(&self, from: u64, to: u64) -> Result<Vec<Entry<TypeConfig>>, StorageError> {
        let entries = self.0.entries(from, to)?;
        entries.into_iter().map(|(index, bytes)| decode(&format!("entry {index}"), &bytes)).collect()
    }

    fn state(&self) -> Result<LogState<TypeConfig>, StorageError> {
        let last_purged_log_id = self.value::<LogId<NodeId>>(PURGED)?;
        let last: Option<Entry<TypeConfig>> =
            self.0.last()?.map(|(index, bytes)| decode(&format!("entry {index}"), &bytes)).transpose()?;
        let last_log_id = last.map(|entry| entry.log_id).or(last_purged_log_id);
        Ok(LogState { last_purged_log_id, last_log_id })
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry<TypeConfig>>, RaftStorageError> {
        let from = match range.start_bound() {
            Bound::Included(&index) => index,
            Bound::Excluded(&index) => index + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(&index) => index + 1,
            Bound::Excluded(&index) => index,
            Bound::Unbounded => u64::MAX,
        };
        self.entries(from, to).map_err(|error| storage_error(Failed::ReadLogs, &error))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, RaftStorageError> {
        self.state().map_err(|error| storage_error(Failed::ReadLogs, &error))
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<NodeId>) -> Result<(), RaftStorageError> {
        self.set_value(VOTE, vote).map_err(|error| storage_error(Failed::WriteVote, &error))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<NodeId>>, RaftStorageError> {
        self.value(VOTE).map_err(|error| storage_error(Failed::ReadVote, &error))
    }

    async fn save_committed(&mut self, committed: Option<LogId<NodeId>>) -> Result<(), RaftStorageError> {
        self.set_value(COMMITTED, &committed).map_err(|error| storage_error(Failed::WriteLogs, &error))
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<NodeId>>, RaftStorageError> {
        let committed: Result<Option<Option<LogId<NodeId>>>, _> = self.value(COMMITTED);
        committed.map(Option::flatten).map_err(|error| storage_error(Failed::ReadLogs, &error))
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), RaftStorageError>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let encoded = |entry: Entry<TypeConfig>| Ok((entry.log_id.index, encode(&entry)?));
        let entries: Result<Vec<_>, StorageError> = entries.into_iter().map(encoded).collect();
        entries
            .and_then(|entries| self.0.append(entries))
            .map_err(|error| storage_error(Failed::WriteLogs, &error))?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId<NodeId>) -> Result<(), RaftStorageError> {
        self.0.truncate(log_id.index).map_err(|error| storage_error(Failed::WriteLogs, &error))
    }

    async fn purge(&mut self, log_id: LogId<NodeId>) -> Result<(), RaftStorageError> {
        encode(&log_id)
            .and_then(|value| self.0.purge(log_id.index, PURGED, &value))
            .map_err(|error| storage_error(Failed::WriteLogs, &error))
    }
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StorageError> {
    postcard::to_extend(value, vec![VERSION]).map_err(|error| corrupt("a value to store", error))
}

fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, StorageError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|error| corrupt(what, error)),
        Some((version, _)) => {
            Err(corrupt(what, format!("version {version} is unknown; was it written by a newer server?")))
        }
        None => Err(corrupt(what, "empty value")),
    }
}
