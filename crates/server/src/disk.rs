//! Looks how much disk space is left where data is written, and whether a log that could not be written can be again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_application::Readiness;
use hyperbytedb_application::disk_space::DISK;
use hyperbytedb_application::flush::FlushService;
use hyperbytedb_application::log::committer::LOG;
use hyperbytedb_application::threads::Stop;
use hyperbytedb_domain::ports::WalPort;

const INTERVAL: Duration = Duration::from_secs(1);

/// Watches the folders' file systems.
pub struct DiskWatch {
    pub flush: Arc<FlushService>,
    pub wal: Arc<dyn WalPort>,
    pub readiness: Arc<Readiness>,
    pub folders: Vec<PathBuf>,
}

impl DiskWatch {
    pub fn run(&self, stop: &Stop) {
        while stop.wait(INTERVAL) {
            self.look();
            // Nobody sends writes to a server that is not healthy.
            if self.readiness.is_failing(LOG) && self.wal.check_writable().is_ok() {
                self.readiness.note(LOG, None);
            }
        }
    }

    /// The file system with the least space counts.
    pub fn look(&self) {
        let free = |folder: &PathBuf| match rustix::fs::statvfs(folder) {
            Ok(found) => Some(found.f_bavail.saturating_mul(found.f_frsize)),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "the free disk space cannot be read");
                None
            }
        };
        if let Some(free_bytes) = self.folders.iter().filter_map(free).min() {
            self.flush.disk_space().note(free_bytes);
            self.readiness.note(DISK, self.flush.disk_space().read_only());
        }
    }
}
