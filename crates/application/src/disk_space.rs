//! Free disk space: little of it is a warning, less makes the server read-only, so that what is left serves the removal of
//! points, which has to write before it frees anything.

use std::sync::atomic::{AtomicU64, Ordering};

use hyperbytedb_domain::{limits, settings};
use hyperbytedb_metrics as metrics;
use parking_lot::Mutex;

/// The part of the server that fails when there is too little.
pub const DISK: &str = "disk";

/// 0 = no bound.
#[derive(Debug, Clone, Copy)]
pub struct DiskSpaceOptions {
    /// Free bytes below which the log warns.
    pub warn_free_bytes: u64,
    /// Free bytes below which nothing is written but by deletes and drops.
    pub min_free_bytes: u64,
}

impl Default for DiskSpaceOptions {
    fn default() -> Self {
        Self { warn_free_bytes: 2 << 30, min_free_bytes: 512 << 20 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Enough,
    Low,
    ReadOnly,
}

/// What is known of it.
#[derive(Debug)]
pub struct DiskSpace {
    options: DiskSpaceOptions,
    free_bytes: AtomicU64,
    level: Mutex<Level>,
}

impl DiskSpace {
    pub fn new(options: DiskSpaceOptions) -> Self {
        Self { options, free_bytes: AtomicU64::new(u64::MAX), level: Mutex::new(Level::Enough) }
    }

    /// Takes note of the free bytes where there are fewest.
    pub fn note(&self, free_bytes: u64) {
        self.free_bytes.store(free_bytes, Ordering::Release);
        let now = self.level_of(free_bytes);
        metrics::DISK_FREE_BYTES.set(free_bytes as f64);
        metrics::DISK_READ_ONLY.set(f64::from(now == Level::ReadOnly));
        let before = std::mem::replace(&mut *self.level.lock(), now);
        if before == now {
            return;
        }
        match now {
            Level::Enough => tracing::info!(free_bytes, "there is enough disk space again"),
            Level::Low => {
                limits::exceeded(settings::STORAGE_WARN_FREE_BYTES);
                let setting = settings::STORAGE_WARN_FREE_BYTES;
                tracing::warn!(
                    free_bytes,
                    setting,
                    "disk space runs out; below storage.min_free_bytes the server is read-only"
                );
            }
            Level::ReadOnly => tracing::error!(
                free_bytes,
                setting = settings::STORAGE_MIN_FREE_BYTES,
                "the server is read-only until there is more disk space"
            ),
        }
    }

    fn level_of(&self, free_bytes: u64) -> Level {
        match free_bytes {
            free if free < self.options.min_free_bytes => Level::ReadOnly,
            free if free < self.options.warn_free_bytes => Level::Low,
            _ => Level::Enough,
        }
    }

    /// Why nothing is written now, if so.
    pub fn read_only(&self) -> Option<String> {
        let free = self.free_bytes.load(Ordering::Acquire);
        (self.level_of(free) == Level::ReadOnly).then(|| {
            format!(
                "the server is read-only, for only {free} bytes of disk space are free ({}): delete or drop what is not \
                 needed, or add space",
                settings::STORAGE_MIN_FREE_BYTES
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_space_makes_read_only_until_there_is_more() {
        let space = DiskSpace::new(DiskSpaceOptions { warn_free_bytes: 200, min_free_bytes: 100 });
        assert_eq!(space.read_only(), None);
        for (free, read_only) in [(500, false), (150, false), (99, true), (100, false)] {
            space.note(free);
            assert_eq!(space.read_only().is_some(), read_only, "{free}");
        }
    }

    #[test]
    fn no_bound_is_no_bound() {
        let space = DiskSpace::new(DiskSpaceOptions { warn_free_bytes: 0, min_free_bytes: 0 });
        space.note(0);
        assert_eq!(space.read_only(), None);
    }
}
