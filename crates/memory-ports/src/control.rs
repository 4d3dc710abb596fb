//! Who decides what becomes of a call.

use hyperbytedb_domain::{EngineError, QueryContext, StorageError};

/// A call of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    WalEncode,
    WalAppend,
    WalRead,
    WalTruncate,
    WalSync,
    CatalogPublish,
    MarkDirty,
    ClearDirty,
    StoreCursors,
    StoreWindows,
    NodeSync,
    RegisterSeries,
    RestoreSeries,
    SettleSeries,
    CountSeries,
    ReadSeries,
    RemoveSeries,
    DropSeriesOfTable,
    RetainTables,
    EnsureTable,
    Insert,
    DeleteRows,
    UnfinishedDeletes,
    DropTable,
    DropPartitions,
    Partitions,
    MaxTimes,
    MergePartition,
    ExistingTables,
    EngineSync,
    Scan,
    NextBatch,
    DistinctSeries,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Proceed,
    /// It fails and changes nothing.
    Fail,
    /// It fails after a part of it, chosen by the number, has taken effect; for calls that are all or nothing, the same
    /// as [`Fail`](Self::Fail).
    FailPartly(u64),
}

/// Decides about calls.
pub trait Controller: Send + Sync {
    /// Before a call takes effect. May wait; returns at the latest when the context, if there is one, has ended.
    fn before(&self, call: Call, context: Option<&QueryContext>) -> Verdict;

    /// When it has taken effect, or failed.
    fn after(&self, call: Call);
}

/// Lets every call pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct Undisturbed;

impl Controller for Undisturbed {
    fn before(&self, _: Call, _: Option<&QueryContext>) -> Verdict {
        Verdict::Proceed
    }

    fn after(&self, _: Call) {}
}

/// Runs a storage call that is all or nothing.
pub(crate) fn storage<T>(
    controller: &dyn Controller,
    call: Call,
    run: impl FnOnce() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    let answer = match controller.before(call, None) {
        Verdict::Proceed => run(),
        Verdict::Fail | Verdict::FailPartly(_) => {
            Err(StorageError::failed("memory", format!("{call:?} fails")))
        }
    };
    controller.after(call);
    answer
}

/// Runs an engine call; `run` gets the number of a partial failure.
pub(crate) fn engine<T>(
    controller: &dyn Controller,
    call: Call,
    context: Option<&QueryContext>,
    run: impl FnOnce(Option<u64>) -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    let verdict = controller.before(call, context);
    let failed = || EngineError::failed("memory", format!("{call:?} fails"));
    let answer = match (context.map_or(Ok(()), QueryContext::check), verdict) {
        (Err(ended), _) => Err(ended),
        (Ok(()), Verdict::Proceed) => run(None),
        (Ok(()), Verdict::Fail) => Err(failed()),
        (Ok(()), Verdict::FailPartly(part)) => run(Some(part)).and(Err(failed())),
    };
    controller.after(call);
    answer
}
