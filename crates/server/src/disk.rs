//! Looks how much disk space is left where data is written.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyperbytedb_application::flush::FlushService;
use hyperbytedb_application::threads::Stop;

const INTERVAL: Duration = Duration::from_secs(1);

/// Watches the folders' file systems.
pub struct DiskWatch {
    pub flush: Arc<FlushService>,
    pub folders: Vec<PathBuf>,
}

impl DiskWatch {
    pub fn run(&self, stop: &Stop) {
        while stop.wait(INTERVAL) {
            self.look();
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
        }
    }
}
