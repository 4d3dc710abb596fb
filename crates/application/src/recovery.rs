//! Start-up: what the log holds goes back to the memtables, or is carried out again.

use std::sync::Arc;
use std::time::Instant;

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::ports::{FlushPort, WalPort};
use hyperbytedb_domain::wal::{Sequence, WalEntry};

use crate::commands::{CommandError, CommandService};
use crate::flush::FlushService;
use crate::ingestion::IngestionService;

/// Bytes of log read at a time.
const READ_BYTES: usize = 16 << 20;

/// Replays the log. Returns the number of records.
pub fn replay(
    wal: &Arc<dyn WalPort>,
    ingestion: &IngestionService,
    commands: &CommandService,
    flush: &FlushService,
) -> Result<u64, CommandError> {
    let started = Instant::now();
    let (mut next, mut records): (Sequence, u64) = (0, 0);
    loop {
        let chunk = wal.read_from(next, READ_BYTES)?;
        let Some((last, _)) = chunk.last() else { break };
        next = last + 1;
        records += chunk.len() as u64;
        for (sequence, record) in chunk {
            match record.entry {
                WalEntry::Write(entry) => ingestion.replay(sequence, &entry)?,
                WalEntry::Command(command) => {
                    flush.flush_all()?;
                    match commands.carry_out(&command) {
                        // It was refused when it was first run, or has done its work already.
                        Ok(()) | Err(CommandError::Refused(_)) => flush.push(sequence, Vec::new()),
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        if !flush.has_room() {
            flush.flush_all()?;
        }
    }
    if records > 0 {
        let ms = started.elapsed().as_millis() as u64;
        tracing::info!(records, ms, "replayed the write-ahead log");
    }
    Ok(records)
}

impl From<hyperbytedb_domain::ports::WriteError> for CommandError {
    fn from(error: hyperbytedb_domain::ports::WriteError) -> Self {
        Self::Storage(StorageError::failed("replay", error))
    }
}
