//! The thread behind [`WalSync::Interval`](crate::WalSync::Interval).

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use hyperbytedb_domain::StorageError;

use crate::database::Database;

/// Syncs the log again and again; dropping it ends the thread after a last sync.
pub(super) struct BackgroundSync {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl BackgroundSync {
    pub fn start(db: Arc<Database>, interval: Duration) -> Result<Self, StorageError> {
        let (stop, stopped) = channel::<()>();
        let run = move || {
            loop {
                let last = stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout);
                if let Err(error) = db.sync() {
                    tracing::error!(%error, "the write-ahead log could not be synced");
                }
                if last {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("wal-sync".to_owned())
            .spawn(run)
            .map_err(|error| StorageError::failed("start the sync thread", error))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for BackgroundSync {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the sync thread of the write-ahead log panicked");
        }
    }
}
