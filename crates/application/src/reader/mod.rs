//! Reading tables: from memory where the head has all there is, else from the engine.
//!
//! What the engine is asked it is told with what it must know of a table's partitions, so that no row is counted twice.

mod narrowed;
mod series_limit;
pub(crate) mod tag_texts;
pub(crate) mod tier_rows;
mod tiers;

use hyperbytedb_metrics as metrics;
use std::sync::Arc;

use arrow::array::RecordBatch;
use hyperbytedb_domain::catalog::{ShardGroup, Table, TableId};
use hyperbytedb_domain::ports::{BatchStream, CatalogPort, Outbound, QueryPort, SeriesIndexPort};
use hyperbytedb_domain::scan::{Digest, DigestBy, RowSelection, Scan, ScanOutput};
use hyperbytedb_domain::{EngineError, QueryContext, SeriesId, TimeRange};
use hyperbytedb_head::TableHead;

use self::tier_rows::TierRows;
use self::tiers::{Cut, Joint, Tiers};
use crate::flush::FlushService;
use crate::waiting::now_ns;
use crate::warm::all_rows;

/// Values past which the engine, which uses all cores, aggregates faster than the head.
const HEAD_VALUES_MAX: usize = 2_000_000;
/// Series up to which the engine reads with one thread: to bring in others takes longer than they save.
const ONE_THREAD_SERIES_MAX: usize = 16;

/// Reads tables.
#[derive(Clone)]
pub struct TableReader {
    catalog: Arc<dyn CatalogPort>,
    engine: Arc<dyn QueryPort>,
    series: Arc<dyn SeriesIndexPort>,
    flush: Arc<FlushService>,
    /// Where somebody asks how many rows each tier answers with.
    tier_rows: Option<TierRows>,
}

impl TableReader {
    pub fn new(ports: &Outbound, flush: Arc<FlushService>) -> Self {
        let Outbound { catalog, engine, series, .. } = ports.clone();
        Self { catalog, engine, series, flush, tier_rows: None }
    }

    /// A reader that counts into `rows`.
    pub(crate) fn counting(&self, rows: TierRows) -> Self {
        Self { tier_rows: Some(rows), ..self.clone() }
    }

    /// Returns when every point acknowledged before the call is visible to scans of these tables.
    pub fn make_visible(&self, tables: &[TableId], context: &QueryContext) -> Result<(), EngineError> {
        self.flush.flush_tables(tables, context)
    }

    /// The rows of a table that there are for a statement that asks the engine itself. Everything acknowledged before the
    /// call is among them.
    pub(crate) fn all_rows(
        &self,
        table: &Table,
        context: &QueryContext,
    ) -> Result<RowSelection, EngineError> {
        self.flush.wait_for_half_deletes(table.id, context)?;
        self.make_visible(&[table.id], context)?;
        let time = self.unexpired(table, TimeRange::ALL);
        Ok(RowSelection { shards: self.shards(table, time), ..RowSelection::of_time(time) })
    }

    /// What the rows of a partition come to, or what it has of some series. Reads the engine alone, so that what its files have lost is
    /// missing although the head has it.
    pub(crate) fn digests(
        &self,
        table: &Table,
        group: &ShardGroup,
        by: &DigestBy,
        context: &QueryContext,
    ) -> Result<Vec<Digest>, EngineError> {
        let time = self.prepare_partition(table, group, context)?;
        let rows = RowSelection { shards: Some([group.id].into()), ..RowSelection::of_time(time) };
        self.engine.digests(table, &rows, self.flush.dirty().touches(table.id, time), by, context)
    }

    /// As [`digests`](Self::digests): the first rows of some series, by time, with all their columns.
    pub(crate) fn stored_rows(
        &self,
        table: &Arc<Table>,
        group: &ShardGroup,
        series: &[SeriesId],
        from: i64,
        limit: u64,
        context: &QueryContext,
    ) -> Result<Box<dyn BatchStream>, EngineError> {
        let time = self.prepare_partition(table, group, context)?;
        let time = TimeRange { min: time.min.max(from), max: time.max };
        let mut scan = all_rows(table, time);
        if let ScanOutput::Rows(rows) = &mut scan.output {
            rows.group_by.clear();
            rows.limit_per_group = limit;
            rows.series = Some(series.into());
        }
        self.scan_engine(&scan, context)
    }

    /// Has everything of a table in the engine, and the range of a partition that is not past its policy.
    fn prepare_partition(
        &self,
        table: &Table,
        group: &ShardGroup,
        context: &QueryContext,
    ) -> Result<TimeRange, EngineError> {
        self.flush.wait_for_removals(table.id, context)?;
        self.make_visible(&[table.id], context)?;
        Ok(self.unexpired(table, TimeRange { min: group.start, max: group.end.saturating_sub(1) }))
    }

    /// Numbers of the shard groups that overlap a range; `None` when all do, and the engine has no others.
    fn shards(&self, table: &Table, range: TimeRange) -> Option<Arc<[u64]>> {
        let catalog = self.catalog.catalog();
        match catalog.current(table).and_then(|table| catalog.policy_of(table)) {
            Some(policy) => match policy.shards_in(range) {
                Some(inside) => Some(inside.into()),
                // It may still have partitions that were dropped.
                None if self.flush.is_removing(table.id) => {
                    Some(policy.shard_groups.values().map(|group| group.id).collect())
                }
                None => None,
            },
            // What is still stored of a dropped table may have been deleted: its queue forgot that.
            None => Some([].into()),
        }
    }

    /// The part of a range whose points are not past the retention policy.
    fn unexpired(&self, table: &Table, range: TimeRange) -> TimeRange {
        let catalog = self.catalog.catalog();
        let visible_from = catalog.policy_of(table).map_or(i64::MIN, |policy| policy.visible_from(now_ns()));
        TimeRange { min: range.min.max(visible_from), max: range.max }
    }

    fn has_duplicates(&self, scan: &Scan) -> bool {
        self.flush.dirty().touches(scan.table.id, scan.time)
    }

    /// Reads what is in the engine, and nothing else.
    pub(crate) fn scan_engine(
        &self,
        scan: &Scan,
        context: &QueryContext,
    ) -> Result<Box<dyn BatchStream>, EngineError> {
        let stream: Box<dyn BatchStream> = Box::new(self.start(scan, context)?);
        Ok(match &self.tier_rows {
            Some(rows) => rows.count_engine(stream),
            None => stream,
        })
    }

    /// The scan with what the engine must know of the table's partitions and series.
    fn for_engine(&self, scan: &Scan) -> Result<Scan, EngineError> {
        let shards = self.shards(&scan.table, scan.time);
        let scan = Scan { shards, merge_duplicates: self.has_duplicates(scan), ..scan.clone() };
        narrowed::narrowed(scan, &*self.series).map_err(|error| EngineError::failed("look up series", error))
    }

    fn start(&self, scan: &Scan, context: &QueryContext) -> Result<Reading, EngineError> {
        self.flush.wait_for_half_deletes(scan.table.id, context)?;
        let scan = self.for_engine(scan)?;
        let mut context = context.clone();
        if scan.output.series().is_some_and(|series| series.len() <= ONE_THREAD_SERIES_MAX) {
            context.max_threads = 1;
        }
        let stream = self.engine.scan(&scan, &context)?;
        Ok(Reading { reader: self.clone(), scan, context, stream, began: false })
    }
}

/// Where the answer of a scan comes from.
enum Tier {
    /// The head has all of it, and answers unless the engine could aggregate more values than these faster.
    Memory {
        values_max: Option<usize>,
    },
    /// The engine has what is older, the head the rest.
    Both(Cut, Joint),
    Engine,
}

impl Tier {
    /// `first_unflushed`: the earliest time that the scan asks for and of which points may be missing in the engine.
    fn of(scan: &Scan, complete_from: i64, first_unflushed: Option<i64>) -> Self {
        if complete_from <= scan.time.min {
            let is_aggregate = matches!(scan.output, ScanOutput::Aggregates(_));
            let may_be_the_engines = is_aggregate && first_unflushed.is_none();
            return Self::Memory { values_max: may_be_the_engines.then_some(HEAD_VALUES_MAX) };
        }
        let cut = first_unflushed.and_then(|until| tiers::cut(scan, complete_from, until));
        cut.zip(Joint::of(scan)).map_or(Self::Engine, |(cut, joint)| Self::Both(cut, joint))
    }
}

/// What a scan finds of a table in memory.
struct InMemory {
    head: Arc<TableHead>,
    /// The earliest time that the scan asks for and of which points may be missing in the engine.
    first_unflushed: Option<i64>,
}

impl InMemory {
    /// The points of a range, if the head has them all.
    fn scan(
        &self,
        scan: &Scan,
        values_max: Option<usize>,
        context: &QueryContext,
    ) -> Result<Option<Box<dyn BatchStream>>, EngineError> {
        let is_whole = || self.head.complete_from() <= scan.time.min;
        if !is_whole() {
            return Ok(None);
        }
        let stream = hyperbytedb_head::scan(&self.head, scan, values_max, context)?;
        // What has left meanwhile may be missing.
        Ok(stream.filter(|_| is_whole()))
    }
}

impl TableReader {
    /// The head of a table, once it is known what it holds: soon after the start, or with the first flush.
    fn head(&self, table: TableId) -> Option<Arc<TableHead>> {
        self.flush.head().table(table).filter(|head| head.is_known())
    }

    /// The answer from memory, alone or with the engine's for what is older; `None` where memory is of no use.
    fn scan_memory(
        &self,
        scan: &Scan,
        memory: &InMemory,
        context: &QueryContext,
    ) -> Result<Option<Box<dyn BatchStream>>, EngineError> {
        let (cut, joint) = match Tier::of(scan, memory.head.complete_from(), memory.first_unflushed) {
            Tier::Memory { values_max } => {
                let Some(stream) = memory.scan(scan, values_max, context)? else { return Ok(None) };
                metrics::SCANS_MEMORY.increment(1);
                return Ok(Some(self.counted_memory(stream)));
            }
            Tier::Both(cut, joint) => (cut, joint),
            Tier::Engine => return Ok(None),
        };
        let newer = Scan { time: cut.newer, ..scan.clone() };
        let Some(newer) = memory.scan(&newer, None, context)? else { return Ok(None) };
        let older = self.scan_engine(&Scan { time: cut.older, ..scan.clone() }, context)?;
        metrics::SCANS_BOTH.increment(1);
        Ok(Some(Box::new(Tiers::new(joint, older, self.counted_memory(newer)))))
    }

    fn counted_memory(&self, stream: Box<dyn BatchStream>) -> Box<dyn BatchStream> {
        match &self.tier_rows {
            Some(rows) => rows.count_memory(stream),
            None => stream,
        }
    }
}

impl TableReader {
    fn explain_engine(&self, scan: &Scan) -> String {
        match self.for_engine(scan) {
            Ok(scan) => format!("from the engine: {}", self.engine.explain(&scan)),
            Err(error) => error.to_string(),
        }
    }
}

impl QueryPort for TableReader {
    fn scan(&self, scan: &Scan, context: &QueryContext) -> Result<Box<dyn BatchStream>, EngineError> {
        series_limit::check(scan, context.max_series, &*self.series)?;
        let scan = &Scan { time: self.unexpired(&scan.table, scan.time), ..scan.clone() };
        let head = self.head(scan.table.id);
        let first_unflushed = self.flush.first_unflushed(scan.table.id, scan.time);
        if let Some(head) = head
            && let Some(stream) = self.scan_memory(scan, &InMemory { head, first_unflushed }, context)?
        {
            return Ok(stream);
        }
        if first_unflushed.is_some() {
            self.make_visible(&[scan.table.id], context)?;
        }
        metrics::SCANS_ENGINE.increment(1);
        self.scan_engine(scan, context)
    }

    /// Which tier would answer now, and the engine's statement.
    fn explain(&self, scan: &Scan) -> String {
        let scan = &Scan { time: self.unexpired(&scan.table, scan.time), ..scan.clone() };
        let Some(head) = self.head(scan.table.id) else { return self.explain_engine(scan) };
        let first_unflushed = self.flush.first_unflushed(scan.table.id, scan.time);
        match Tier::of(scan, head.complete_from(), first_unflushed) {
            Tier::Memory { values_max: None } => "from memory".to_owned(),
            Tier::Memory { values_max: Some(values_max) } => {
                format!("from memory; of more than {values_max} values {}", self.explain_engine(scan))
            }
            Tier::Both(cut, _) => {
                let older = self.explain_engine(&Scan { time: cut.older, ..scan.clone() });
                format!("from memory from {} on, before that {older}", cut.newer.min)
            }
            Tier::Engine => self.explain_engine(scan),
        }
    }

    fn distinct_series(
        &self,
        table: &Table,
        rows: &RowSelection,
        context: &QueryContext,
    ) -> Result<Vec<SeriesId>, EngineError> {
        let time = self.unexpired(table, rows.time);
        let shards = self.shards(table, time);
        self.engine.distinct_series(table, &RowSelection { time, shards, ..rows.clone() }, context)
    }
}

/// A scan on its way.
struct Reading {
    reader: TableReader,
    scan: Scan,
    context: QueryContext,
    stream: Box<dyn BatchStream>,
    began: bool,
}

impl BatchStream for Reading {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        loop {
            let batch = self.stream.next_batch()?;
            if std::mem::replace(&mut self.began, true) || self.scan.merge_duplicates {
                return Ok(batch);
            }
            // What the engine reads is fixed now. A flush that came between the decision not to merge and this moment
            // may have stored rows a second time; its mark was there before its rows.
            if !self.reader.has_duplicates(&self.scan) {
                return Ok(batch);
            }
            let again = self.reader.start(&self.scan, &self.context)?;
            *self = again;
        }
    }
}
