//! Reading.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use hyperbytedb_domain::catalog::{Table, TableId};
use hyperbytedb_domain::ports::{BatchStream, QueryPort};
use hyperbytedb_domain::scan::{DIGEST_BUCKETS, Digest, DigestBy, RowSelection, Scan};
use hyperbytedb_domain::{EngineError, FieldValue, QueryContext, SeriesId};

use super::{EngineDisk, MemoryEngine, Part, merge};
use crate::control::{Call, Controller, engine};
use crate::evaluate::{evaluate, selects};

/// Rows of one batch.
const BATCH_ROWS: usize = 4;

impl QueryPort for MemoryEngine {
    fn scan(&self, scan: &Scan, context: &QueryContext) -> Result<Box<dyn BatchStream>, EngineError> {
        engine(&*self.controller, Call::Scan, Some(context), |_| Ok(()))?;
        Ok(Box::new(Reading {
            disk: self.disk.clone(),
            controller: self.controller.clone(),
            scan: scan.clone(),
            context: context.clone(),
            batches: None,
        }))
    }

    fn explain(&self, scan: &Scan) -> String {
        format!("scan of {}", scan.table.measurement)
    }

    fn distinct_series(
        &self,
        table: &Table,
        rows: &RowSelection,
        context: &QueryContext,
    ) -> Result<Vec<SeriesId>, EngineError> {
        engine(&*self.controller, Call::DistinctSeries, Some(context), |_| {
            let parts = parts(&self.disk, table.id, rows.shards.as_deref());
            let selected = parts.iter().flat_map(|part| &part.rows).filter(|row| selects(rows, row));
            let mut series: Vec<SeriesId> = selected.map(|row| row.series).collect();
            series.sort_unstable();
            series.dedup();
            Ok(series)
        })
    }

    fn digests(
        &self,
        table: &Table,
        rows: &RowSelection,
        _merge_duplicates: bool,
        by: &DigestBy,
        context: &QueryContext,
    ) -> Result<Vec<Digest>, EngineError> {
        engine(&*self.controller, Call::Scan, Some(context), |_| {
            let parts = parts(&self.disk, table.id, rows.shards.as_deref());
            let merged = merge(parts.iter().flat_map(|part| &part.rows));
            let mut digests: BTreeMap<u64, Digest> = BTreeMap::new();
            for row in merged.iter().filter(|row| selects(rows, row)) {
                let series = row.series.0;
                let key = match by {
                    DigestBy::Bucket => series % DIGEST_BUCKETS,
                    DigestBy::Series(buckets) if !buckets.contains(&(series % DIGEST_BUCKETS)) => continue,
                    DigestBy::Series(_) => series,
                };
                let mut hasher = DefaultHasher::new();
                // Missing fields at the end are missing fields.
                let fields = row.fields.iter().enumerate().filter(|(_, value)| **value != FieldValue::Null);
                format!("{series} {} {:?}", row.time, fields.collect::<Vec<_>>()).hash(&mut hasher);
                let digest = digests.entry(key).or_insert(Digest { key, rows: 0, hash: 0 });
                digest.rows += 1;
                digest.hash = digest.hash.wrapping_add(hasher.finish());
            }
            Ok(digests.into_values().collect())
        })
    }
}

fn parts(disk: &EngineDisk, table: TableId, shards: Option<&[u64]>) -> Vec<Arc<Part>> {
    let store = disk.0.lock();
    let is_wanted = |part: &&Arc<Part>| shards.is_none_or(|shards| shards.contains(&part.shard));
    store.parts(table).iter().filter(is_wanted).cloned().collect()
}

/// What a scan reads is fixed with its first batch.
struct Reading {
    disk: Arc<EngineDisk>,
    controller: Arc<dyn Controller>,
    scan: Scan,
    context: QueryContext,
    batches: Option<std::vec::IntoIter<RecordBatch>>,
}

impl Reading {
    fn start(&self) -> Result<std::vec::IntoIter<RecordBatch>, EngineError> {
        let parts = parts(&self.disk, self.scan.table.id, self.scan.shards.as_deref());
        let rows = parts.iter().flat_map(|part| &part.rows);
        let batches = if self.scan.merge_duplicates {
            evaluate(&self.scan, merge(rows).iter(), BATCH_ROWS)
        } else {
            evaluate(&self.scan, rows, BATCH_ROWS)
        };
        Ok(batches?.into_iter())
    }
}

impl BatchStream for Reading {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, EngineError> {
        engine(&*self.controller.clone(), Call::NextBatch, Some(&self.context.clone()), |_| {
            if self.batches.is_none() {
                self.batches = Some(self.start()?);
            }
            Ok(self.batches.as_mut().and_then(Iterator::next))
        })
    }
}
