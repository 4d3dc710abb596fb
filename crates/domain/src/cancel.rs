//! How a running query is bounded and stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use crate::error::EngineError;
use crate::pace::Pace;

/// Shared flag: set by KILL QUERY or by a client that went away, read by everything that works for the query.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<AtomicU8>);

const RUNNING: u8 = 0;
const KILLED: u8 = 1;

impl CancelToken {
    pub fn cancel(&self) {
        self.0.store(KILLED, Ordering::Release);
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire) != RUNNING
    }
}

/// The bounds of one query.
#[derive(Debug, Clone)]
pub struct QueryContext {
    pub cancel: CancelToken,
    /// When the query must have ended.
    pub deadline: Option<Instant>,
    /// Memory the engine may use for one scan, in bytes; 0 = the engine's own setting.
    pub max_memory_bytes: u64,
    /// Rows the engine may read for one scan; 0 = no limit.
    pub max_rows_read: u64,
    /// Series that one scan may read; 0 = no limit.
    pub max_series: u64,
    /// Lets short queries pass; `None`: it need not.
    pub pace: Option<Pace>,
    /// Threads for one scan; 0 = the engine's own setting.
    pub max_threads: u32,
}

impl QueryContext {
    /// No limits: for internal work that its caller bounds.
    pub fn unbounded() -> Self {
        Self {
            cancel: CancelToken::default(),
            deadline: None,
            max_memory_bytes: 0,
            max_rows_read: 0,
            max_series: 0,
            pace: None,
            max_threads: 0,
        }
    }

    /// As [`check`](Self::check), where a query works and may wait for others: not under a lock.
    pub fn keep_pace(&self) -> Result<(), EngineError> {
        self.check()?;
        self.pace.as_ref().map_or(Ok(()), |pace| pace.keep(self))
    }

    /// Does what waits for the client: not work.
    pub fn while_paused<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.pace.iter().for_each(Pace::pause);
        let result = wait();
        self.pace.iter().for_each(Pace::resume);
        result
    }

    /// Errors once the query is cancelled or past its deadline; long loops call it regularly.
    pub fn check(&self) -> Result<(), EngineError> {
        if self.cancel.is_cancelled() {
            return Err(EngineError::Cancelled);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(EngineError::Timeout),
            _ => Ok(()),
        }
    }
}
