mod links;
mod nodes;
mod store;

use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::cluster::{AgreedEntry, NodeId};
use hyperbytedb_domain::ports::{ClusterNodePort, PeerBatch, PeerLag, Proposer, ReceiveError};
use parking_lot::Mutex;

/// A node that has a catalogue and nothing else.
#[derive(Default)]
struct CatalogNode {
    catalog: Mutex<Arc<Catalog>>,
    /// What it says of the others.
    lags: Mutex<Vec<PeerLag>>,
}

impl ClusterNodePort for CatalogNode {
    fn id(&self) -> NodeId {
        1
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.lock().clone()
    }

    fn stamp(&self, seen: u64) -> u64 {
        seen + 1
    }

    fn agreed(&self, entry: AgreedEntry, _: u64, _: Option<Proposer>) -> Result<(), StorageError> {
        // A refused command is agreed on all the same.
        let _ = Arc::make_mut(&mut self.catalog.lock()).agree(&entry);
        Ok(())
    }

    fn receive(&self, _: &PeerBatch) -> Result<u64, ReceiveError> {
        Err(ReceiveError::NotNow("never".to_owned()))
    }

    fn lags(&self) -> Vec<PeerLag> {
        self.lags.lock().clone()
    }

    fn needs_repair(&self) -> bool {
        false
    }

    fn is_proven(&self) -> bool {
        true
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
