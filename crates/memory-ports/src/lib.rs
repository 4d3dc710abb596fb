//! The outbound ports in memory, for tests and the simulator.
//!
//! A [`Disk`] is what outlives a process; [`MemoryPorts`] are what one process sees of it. They promise what the ports'
//! documentation promises and no more: what was not synced can be lost in a power failure, a batch that fails may be
//! stored in part. A [`Controller`] is asked before each call and decides what becomes of it.

mod control;
mod engine;
pub mod evaluate;
mod node;
mod random;
mod versions;
mod wal;

use std::sync::Arc;

use hyperbytedb_domain::ports::Outbound;

pub use control::{Call, Controller, Undisturbed, Verdict};
pub use engine::{EngineDisk, MemoryEngine};
pub use node::{MemoryCatalog, MemoryLocalState, MemorySeriesIndex, NodeDisk};
pub use random::Random;
pub use wal::{MemoryWal, WalDisk, Witness};

/// What outlives a process. Cheap to share.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    pub wal: Arc<WalDisk>,
    pub node: Arc<NodeDisk>,
    pub engine: Arc<EngineDisk>,
}

impl Disk {
    /// Forgets what was not synced, or as much of it as the numbers say.
    pub fn fail_power(&self, random: &mut Random) {
        self.wal.fail_power(random);
        self.node.fail_power(random);
        self.engine.fail_power(random);
    }
}

/// The ports of one process.
#[derive(Clone)]
pub struct MemoryPorts {
    pub wal: Arc<MemoryWal>,
    pub catalog: Arc<MemoryCatalog>,
    pub local_state: Arc<MemoryLocalState>,
    pub series: Arc<MemorySeriesIndex>,
    pub engine: Arc<MemoryEngine>,
}

impl MemoryPorts {
    /// What a process that starts finds on the disk.
    pub fn open(disk: &Disk, controller: Arc<dyn Controller>) -> Self {
        Self {
            wal: Arc::new(MemoryWal::open(disk.wal.clone(), controller.clone())),
            catalog: Arc::new(MemoryCatalog::open(disk.node.clone(), controller.clone())),
            local_state: Arc::new(MemoryLocalState::open(disk.node.clone(), controller.clone())),
            series: Arc::new(MemorySeriesIndex::open(disk.node.clone(), controller.clone())),
            engine: Arc::new(MemoryEngine::open(disk.engine.clone(), controller)),
        }
    }

    /// As the services take them.
    pub fn outbound(&self) -> Outbound {
        Outbound {
            sink: self.engine.clone(),
            engine: self.engine.clone(),
            catalog: self.catalog.clone(),
            local_state: self.local_state.clone(),
            series: self.series.clone(),
            wal: self.wal.clone(),
        }
    }
}

impl Default for MemoryPorts {
    /// Of an empty disk, undisturbed.
    fn default() -> Self {
        Self::open(&Disk::default(), Arc::new(Undisturbed))
    }
}
