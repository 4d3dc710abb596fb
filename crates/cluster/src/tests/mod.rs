mod links;
mod nodes;
mod requests;
mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_domain::cluster::{AgreedEntry, NodeId};
use hyperbytedb_domain::ports::{ClusterNodePort, PeerBatch, PeerLag, Proposer, ReceiveError};
use parking_lot::Mutex;

const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

fn until(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(POLL);
    }
}

/// A node that has a catalogue and nothing else.
#[derive(Default)]
struct CatalogNode {
    catalog: Mutex<Arc<Catalog>>,
    /// What it says of the others.
    lags: Mutex<Vec<PeerLag>>,
    is_removed: AtomicBool,
    /// How often it was drained to be taken out.
    drained: AtomicUsize,
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
        self.drained.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn drain_for_stop(&self, _: Duration) -> Result<Option<String>, ReceiveError> {
        Ok(None)
    }

    fn is_draining(&self) -> bool {
        false
    }

    fn removed(&self) {
        self.is_removed.store(true, Ordering::Release);
    }

    fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Acquire)
    }

    fn fail(&self, reason: String) {
        panic!("{reason}");
    }
}
