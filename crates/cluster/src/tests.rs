//! Openraft's own tests of a store, against ours.

use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::cluster::{AgreedEntry, NodeId};
use hyperbytedb_domain::ports::{ClusterNodePort, PeerBatch, PeerLag, Proposer, ReceiveError};
use hyperbytedb_storage_rocksdb::RocksConsensusLog;
use openraft::testing::{StoreBuilder, Suite};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::log_store::LogStore;
use crate::state_machine::StateMachine;
use crate::types::{RaftStorageError, TypeConfig};

/// A node that has a catalogue and nothing else.
#[derive(Default)]
struct CatalogNode(Mutex<Arc<Catalog>>);

impl ClusterNodePort for CatalogNode {
    fn id(&self) -> NodeId {
        1
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.0.lock().clone()
    }

    fn stamp(&self, seen: u64) -> u64 {
        seen + 1
    }

    fn agreed(&self, entry: AgreedEntry, _: u64, _: Option<Proposer>) -> Result<(), StorageError> {
        // A refused command is agreed on all the same.
        let _ = Arc::make_mut(&mut self.0.lock()).agree(&entry);
        Ok(())
    }

    fn receive(&self, _: &PeerBatch) -> Result<(), ReceiveError> {
        Err(ReceiveError::NotNow("never".to_owned()))
    }

    fn lags(&self) -> Vec<PeerLag> {
        Vec::new()
    }

    fn is_ready(&self) -> bool {
        true
    }

    fn drain(&self, _: Duration) -> Result<(), ReceiveError> {
        Ok(())
    }

    fn is_draining(&self) -> bool {
        false
    }

    fn fail(&self, reason: String) {
        panic!("{reason}");
    }
}

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
