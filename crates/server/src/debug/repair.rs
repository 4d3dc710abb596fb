//! Making the series index anew from the engine.
//!
//! Series whose points are only in the log come back with the replay of the next start.

use std::collections::BTreeSet;
use std::error::Error;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use hyperbytedb_domain::catalog::Table;
use hyperbytedb_domain::ports::{CatalogPort, LocalStatePort, QueryPort, SeriesIndexPort};
use hyperbytedb_domain::scan::{AggregateScan, Scan, ScanOutput, TagId};
use hyperbytedb_domain::{QueryContext, SeriesId, Tags, TimeRange};
use hyperbytedb_engine_chdb::ChdbEngine;

use super::folder::Folder;

/// Series registered at a time.
const AT_A_TIME: usize = 10_000;

pub fn repair(folder: &Folder) -> Result<(), Box<dyn Error>> {
    let stores = folder.stores_to_change()?;
    let copy = folder.engine_copy()?;
    for table in stores.catalog.catalog().tables() {
        let stored = stored_series(&copy.engine, table)?;
        let mut before = BTreeSet::new();
        stores.series.for_each_series(table.id, &mut |id, _| {
            before.insert(id);
            ControlFlow::Continue(())
        })?;
        stores.series.drop_table(table.id)?;
        for some in stored.chunks(AT_A_TIME) {
            let series: Vec<(SeriesId, &Tags)> = some.iter().map(|tags| (tags.series_id(), tags)).collect();
            stores.series.restore(table, &series)?;
        }
        let after: BTreeSet<SeriesId> = stored.iter().map(Tags::series_id).collect();
        let (added, removed) = (after.difference(&before).count(), before.difference(&after).count());
        println!("table {}: {} series, {added} added, {removed} removed", table.id.0, after.len());
    }
    Ok(stores.local_state.sync()?)
}

/// The tag sets that the engine has rows of.
pub fn stored_series(engine: &ChdbEngine, table: &Arc<Table>) -> Result<Vec<Tags>, Box<dyn Error>> {
    let group_by: Vec<TagId> = (0u32..).take(table.tags.len()).map(TagId).collect();
    let scan = Scan {
        table: table.clone(),
        time: TimeRange::ALL,
        filter: None,
        shards: None,
        merge_duplicates: false,
        output: ScanOutput::Aggregates(AggregateScan {
            group_by,
            count_rows: true,
            ..AggregateScan::default()
        }),
    };
    let mut stream = engine.scan(&scan, &QueryContext::unbounded())?;
    let mut series = Vec::new();
    while let Some(batch) = stream.next_batch()? {
        let columns: Vec<_> = (0..table.tags.len())
            .map(|column| Ok(cast(batch.column(column), &DataType::Utf8)?.as_string::<i32>().clone()))
            .collect::<Result<_, arrow::error::ArrowError>>()?;
        for row in 0..batch.num_rows() {
            let pairs = table
                .tags
                .iter()
                .zip(&columns)
                .map(|(key, values)| (key.clone(), values.value(row).to_owned()));
            series.push(Tags::new(pairs.collect()));
        }
    }
    // Without tags the engine counts to zero where there is nothing.
    let is_empty = table.tags.is_empty() && engine_is_empty(engine, table)?;
    Ok(if is_empty { Vec::new() } else { series })
}

fn engine_is_empty(engine: &ChdbEngine, table: &Table) -> Result<bool, Box<dyn Error>> {
    let everything = hyperbytedb_domain::scan::RowSelection::of_time(TimeRange::ALL);
    Ok(engine.distinct_series(table, &everything, &QueryContext::unbounded())?.is_empty())
}
