//! Openraft's own tests of a store, against ours.

use std::sync::Arc;

use hyperbytedb_storage_rocksdb::RocksConsensusLog;
use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::CatalogNode;
use crate::log_store::LogStore;
use crate::state_machine::StateMachine;
use crate::types::{RaftStorageError, TypeConfig};

struct Stores;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Stores {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), RaftStorageError> {
        let dir = tempfile::tempdir().expect("a folder");
        let log = RocksConsensusLog::open(dir.path()).expect("a log");
        let machine = StateMachine::new(Arc::new(CatalogNode::default()));
        Ok((dir, LogStore::new(Arc::new(log)), machine))
    }
}

#[test]
fn the_store_is_what_raft_needs() {
    Suite::test_all(Stores).expect("a good store");
}
