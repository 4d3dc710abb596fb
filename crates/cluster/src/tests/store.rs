//! Openraft's own tests of a store, against ours.

use std::sync::{Arc, Weak};

use hyperbytedb_storage_rocksdb::RocksConsensusLog;
use openraft::testing::{StoreBuilder, Suite};
use parking_lot::Mutex;
use tempfile::TempDir;

use super::CatalogNode;
use crate::log_store::LogStore;
use crate::state_machine::StateMachine;
use crate::types::{RaftStorageError, TypeConfig};

/// The logs of those that were built.
struct Stores(Arc<Mutex<Vec<Weak<RocksConsensusLog>>>>);

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Stores {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), RaftStorageError> {
        let dir = tempfile::tempdir().expect("a folder");
        let log = Arc::new(RocksConsensusLog::open(dir.path()).expect("a log"));
        self.0.lock().push(Arc::downgrade(&log));
        let machine = StateMachine::new(Arc::new(CatalogNode::default()));
        Ok((dir, LogStore::new(log), machine))
    }
}

#[test]
fn the_store_is_what_raft_needs() {
    let logs = Arc::default();
    Suite::test_all(Stores(Arc::clone(&logs))).expect("a good store");
    let logs = logs.lock();
    assert!(!logs.is_empty() && logs.iter().all(|log| log.strong_count() == 0), "a store is open");
}
