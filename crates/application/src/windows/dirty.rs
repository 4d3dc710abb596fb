//! The dirty windows of stored queries: in memory, and through to the node's state.
//!
//! What a worker takes stays stored until its points are written, so that a crash has it computed again; what becomes
//! dirty meanwhile is dirty behind it, too.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use hyperbytedb_domain::StorageError;
use hyperbytedb_domain::ports::{DirtyWindows, LocalStatePort};
use parking_lot::Mutex;

use super::query::QueryKey;
use super::ranges::Ranges;

/// Ranges that one query may have: beyond, the gaps between them are computed too.
const RANGES_MAX: usize = 4096;

/// What a log record means for a query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mark {
    pub ranges: Ranges,
    pub is_backfill: bool,
}

#[derive(Default)]
struct State {
    dirty: Ranges,
    /// What a worker is at.
    taken: Option<(i64, i64)>,
    /// The windows that a run of a continuous query is at.
    running: Option<(i64, i64)>,
    /// What was dirty of these when it began.
    covered: Ranges,
    backfill_ns: u64,
    /// Since when there have been dirty windows.
    since: Option<Instant>,
}

impl State {
    /// Everything that is not computed yet.
    fn all(&self) -> Ranges {
        let mut all = self.dirty.clone();
        all.extend(&self.taken.iter().copied().collect::<Vec<_>>().as_slice().into());
        all.extend(&self.covered);
        all
    }

    fn stored(&self) -> DirtyWindows {
        DirtyWindows { ranges: self.all().iter().collect(), backfill_ns: self.backfill_ns }
    }
}

/// How much a query has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Nanoseconds of dirty windows.
    pub dirty_ns: u64,
    /// With how many the backfill at work began; 0: there is none.
    pub backfill_ns: u64,
    pub since: Option<Instant>,
}

/// The dirty windows of all stored queries. A query that is known here is told of writes.
pub struct DirtyBoard {
    local_state: Arc<dyn LocalStatePort>,
    states: Mutex<BTreeMap<String, State>>,
}

impl DirtyBoard {
    pub fn load(local_state: Arc<dyn LocalStatePort>) -> Result<Self, StorageError> {
        let state = |stored: DirtyWindows| State {
            dirty: stored.ranges.as_slice().into(),
            backfill_ns: stored.backfill_ns,
            since: Some(Instant::now()).filter(|_| !stored.ranges.is_empty()),
            ..State::default()
        };
        let stored = local_state.dirty_windows()?;
        let states = stored.into_iter().map(|(name, stored)| (name, state(stored))).collect();
        Ok(Self { local_state, states: Mutex::new(states) })
    }

    pub fn knows(&self, key: &QueryKey) -> bool {
        self.states.lock().contains_key(&key.stored())
    }

    /// All that a query has still to compute.
    pub fn ranges(&self, key: &QueryKey) -> Ranges {
        self.states.lock().get(&key.stored()).map(State::all).unwrap_or_default()
    }

    /// Adds to the dirty windows of queries, which are known from now on.
    pub fn mark(&self, marks: &BTreeMap<QueryKey, Mark>) -> Result<(), StorageError> {
        if marks.is_empty() {
            return Ok(());
        }
        let mut states = self.states.lock();
        let mut changes = Vec::with_capacity(marks.len());
        for (key, mark) in marks {
            let name = key.stored();
            let state = states.entry(name.clone()).or_default();
            state.dirty.extend(&mark.ranges);
            state.dirty.limit(RANGES_MAX);
            if mark.is_backfill {
                state.backfill_ns = state.dirty.length();
            }
            if !state.dirty.is_empty() {
                state.since.get_or_insert_with(Instant::now);
            }
            changes.push((name, Some(state.stored())));
        }
        self.local_state.store_dirty_windows(&changes)
    }

    /// Takes what `pick` chooses of a query's dirty windows, for one worker at a time.
    pub fn take(
        &self,
        key: &QueryKey,
        pick: impl FnOnce(&Ranges) -> Option<Range<i64>>,
    ) -> Option<Range<i64>> {
        let mut states = self.states.lock();
        let state = states.get_mut(&key.stored())?;
        if state.taken.is_some() {
            return None;
        }
        let range = match state.running {
            None => pick(&state.dirty)?,
            Some((start, end)) => {
                // The run may have read these before what is dirty now, and write them later.
                let mut free = state.dirty.clone();
                free.remove(start, end);
                pick(&free)?
            }
        };
        state.dirty.remove(range.start, range.end);
        state.taken = Some((range.start, range.end));
        Some(range)
    }

    /// What was taken is computed, or need not be.
    pub fn done(&self, key: &QueryKey) -> Result<(), StorageError> {
        let mut states = self.states.lock();
        let name = key.stored();
        let Some(state) = states.get_mut(&name) else { return Ok(()) };
        let taken = state.taken.take();
        let (since, backfill_ns) = (state.since, state.backfill_ns);
        if state.dirty.is_empty() {
            (state.since, state.backfill_ns) = (None, 0);
        }
        let stored = state.stored();
        self.local_state.store_dirty_windows(&[(name, Some(stored))]).inspect_err(|_| {
            (state.since, state.backfill_ns) = (since, backfill_ns);
            state.dirty.extend(&taken.iter().copied().collect::<Vec<_>>().as_slice().into());
        })
    }

    /// What was taken is dirty again.
    pub fn give_back(&self, key: &QueryKey) {
        if let Some(state) = self.states.lock().get_mut(&key.stored())
            && let Some((start, end)) = state.taken.take()
        {
            state.dirty.insert(start, end);
        }
    }

    /// A run of a continuous query computes these windows; what becomes dirty from now on it may not see.
    pub fn cover(&self, key: &QueryKey, windows: &Range<i64>) {
        if let Some(state) = self.states.lock().get_mut(&key.stored()) {
            state.running = Some((windows.start, windows.end));
            let mut covered = state.dirty.within(windows.start, windows.end);
            if let Some((start, end)) = state.taken {
                // The worker may write them later than the run.
                covered.remove(start, end);
            }
            covered.iter().for_each(|(start, end)| state.dirty.remove(start, end));
            state.covered = covered;
        }
    }

    /// The run is over. What it covered goes from the store with the next change.
    pub fn uncover(&self, key: &QueryKey, has_succeeded: bool) {
        if let Some(state) = self.states.lock().get_mut(&key.stored()) {
            state.running = None;
            let covered = std::mem::take(&mut state.covered);
            if !has_succeeded {
                state.dirty.extend(&covered);
            }
        }
    }

    /// Drops what need not be computed; it goes from the store with the next change.
    pub fn leave_out(&self, key: &QueryKey, start: i64, end: i64) {
        if let Some(state) = self.states.lock().get_mut(&key.stored()) {
            state.dirty.remove(start, end);
            if state.dirty.is_empty() && state.taken.is_none() {
                (state.since, state.backfill_ns) = (None, 0);
            }
        }
    }

    /// Forgets a query that is gone.
    pub fn forget(&self, key: &QueryKey) -> Result<(), StorageError> {
        let name = key.stored();
        let mut states = self.states.lock();
        if states.contains_key(&name) {
            self.local_state.store_dirty_windows(&[(name.clone(), None)])?;
            states.remove(&name);
        }
        Ok(())
    }

    /// Forgets all queries but these.
    pub fn retain(&self, is_there: impl Fn(&str) -> bool) -> Result<(), StorageError> {
        let mut states = self.states.lock();
        let gone: Vec<_> =
            states.keys().filter(|name| !is_there(name)).map(|name| (name.clone(), None)).collect();
        if !gone.is_empty() {
            self.local_state.store_dirty_windows(&gone)?;
            states.retain(|name, _| is_there(name));
        }
        Ok(())
    }

    pub fn backlog(&self, key: &QueryKey) -> Backlog {
        let states = self.states.lock();
        states.get(&key.stored()).map_or_else(Backlog::default, |state| Backlog {
            dirty_ns: state.all().length(),
            backfill_ns: state.backfill_ns,
            since: state.since,
        })
    }
}

#[cfg(test)]
mod tests {
    use hyperbytedb_memory_ports::{Disk, MemoryPorts, Undisturbed};
    use hyperbytedb_timeseriesql::ast::StoredQueryKind;

    use super::*;

    fn key() -> QueryKey {
        QueryKey::new(StoredQueryKind::MaterializedView, "d", "v")
    }

    fn mark(board: &DirtyBoard, start: i64, end: i64) {
        let mark = Mark { ranges: Ranges::of(start, end), is_backfill: false };
        board.mark(&BTreeMap::from([(key(), mark)])).expect("a mark");
    }

    fn newest(ranges: &Ranges) -> Option<Range<i64>> {
        ranges.iter().next_back().map(|(start, end)| start.max(end - 10)..end)
    }

    #[test]
    fn what_a_run_computes_no_worker_does() {
        let board = DirtyBoard::load(MemoryPorts::default().local_state).expect("a board");
        mark(&board, 0, 30);
        assert_eq!(board.take(&key(), newest), Some(20..30));
        mark(&board, 20, 30);
        board.cover(&key(), &(10..40));
        board.done(&key()).expect("done");
        mark(&board, 10, 15);
        assert_eq!(board.take(&key(), newest), Some(0..10), "nothing of the run's windows");
        board.done(&key()).expect("done");
        board.uncover(&key(), true);
        assert_eq!(board.ranges(&key()).iter().collect::<Vec<_>>(), [(10, 15), (20, 30)], "they came later");
        board.cover(&key(), &(0..40));
        board.uncover(&key(), false);
        assert_eq!(board.backlog(&key()).dirty_ns, 15);
    }

    #[test]
    fn what_is_taken_is_dirty_until_it_is_done() {
        let disk = Disk::default();
        let open = || {
            DirtyBoard::load(MemoryPorts::open(&disk, Arc::new(Undisturbed)).local_state).expect("a board")
        };
        let board = open();
        mark(&board, 0, 30);
        assert_eq!(board.take(&key(), newest), Some(20..30));
        assert_eq!(board.take(&key(), newest), None, "one worker at a time");
        // A point that comes meanwhile has its window computed again.
        mark(&board, 20, 30);
        assert_eq!(open().backlog(&key()).dirty_ns, 30);
        board.done(&key()).expect("done");
        assert_eq!(board.take(&key(), newest), Some(20..30));
        board.done(&key()).expect("done");
        assert_eq!(open().backlog(&key()).dirty_ns, 20);
        board.take(&key(), newest).expect("a range");
        board.give_back(&key());
        assert_eq!(board.take(&key(), newest), Some(10..20));
    }
}
