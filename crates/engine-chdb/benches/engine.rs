//! Inserts and scans of a million rows: 4,000 series with 10 tags and 10 float fields, 250 points each.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, UInt64Array,
};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use hyperbytedb_domain::catalog::{FieldDef, Table, TableId};
use hyperbytedb_domain::field::FieldValue;
use hyperbytedb_domain::ports::{PointsSinkPort, QueryPort};
use hyperbytedb_domain::scan::{
    Aggregate, AggregateFunction, AggregateScan, CompareOp, FieldId, Operand, Predicate, RowScan, Scan,
    ScanOutput, TagId, Window,
};
use hyperbytedb_domain::time::TimeRange;
use hyperbytedb_domain::{FieldType, QueryContext};
use hyperbytedb_engine_chdb::{ChdbEngine, ChdbOptions};

const SERIES: i64 = 4_000;
const POINTS: i64 = 250;
const START: i64 = 1_700_000_000_000_000_000;
const STEP: i64 = 10_000_000_000;
const HOUR: i64 = 3_600_000_000_000;

fn main() {
    divan::main();
}

fn table(id: u64) -> Table {
    Table {
        id: TableId(id),
        database: "bench".into(),
        retention_policy: "autogen".into(),
        measurement: "cpu".into(),
        version: 0,
        shard_duration: 168 * HOUR,
        tags: (0..10).map(|n| format!("tag{n}")).collect(),
        fields: (0..10)
            .map(|n| FieldDef { name: format!("field{n}"), field_type: FieldType::Float })
            .collect(),
    }
}

/// `points` points of each series from `start` on.
fn batch(series: i64, start: i64, points: i64) -> RecordBatch {
    let rows = || (0..series).flat_map(|s| (0..points).map(move |p| (s, p)));
    let mut columns: Vec<(String, ArrayRef)> = vec![
        ("time".into(), Arc::new(Int64Array::from_iter_values(rows().map(|(_, p)| start + p * STEP)))),
        ("sid".into(), Arc::new(UInt64Array::from_iter_values(rows().map(|(s, _)| s as u64)))),
        ("shard".into(), Arc::new(UInt64Array::from_iter_values(rows().map(|_| 1)))),
    ];
    for tag in 0..10i64 {
        let count = if tag == 0 { series } else { 3 + tag };
        let names = StringArray::from_iter_values((0..count).map(|n| format!("value_{tag}_{n}")));
        let keys = Int32Array::from_iter_values(rows().map(|(s, _)| (s % count) as i32));
        columns.push((format!("t{tag}"), Arc::new(DictionaryArray::new(keys, Arc::new(names)))));
    }
    for field in 0..10i64 {
        let value = |(s, p): (i64, i64)| ((s * 31 + p * 17 + field * 7) % 10_000) as f64 / 100.0;
        columns.push((format!("f{field}"), Arc::new(Float64Array::from_iter_values(rows().map(value)))));
    }
    RecordBatch::try_from_iter(columns).unwrap()
}

struct Loaded {
    engine: ChdbEngine,
    table: Arc<Table>,
}

fn loaded() -> &'static Loaded {
    static LOADED: OnceLock<(Loaded, tempfile::TempDir)> = OnceLock::new();
    let (loaded, _) = LOADED.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let engine = ChdbEngine::open(ChdbOptions::new(directory.path().join("chdb"))).unwrap();
        let table = Arc::new(table(1));
        engine.ensure_table(&table).unwrap();
        for part in 0..5 {
            engine.insert(&table, batch(SERIES, START + part * 50 * STEP, POINTS / 5), 1..=1).unwrap();
        }
        (Loaded { engine, table }, directory)
    });
    loaded
}

impl Loaded {
    fn rows(&self, output: ScanOutput, change: impl FnOnce(&mut Scan)) -> usize {
        let mut scan = Scan {
            table: self.table.clone(),
            time: TimeRange::ALL,
            filter: None,
            shards: None,
            merge_duplicates: false,
            output,
        };
        change(&mut scan);
        let mut stream = self.engine.scan(&scan, &QueryContext::unbounded()).unwrap();
        let mut rows = 0;
        while let Some(batch) = stream.next_batch().unwrap() {
            rows += batch.num_rows();
            black_box(batch);
        }
        rows
    }
}

fn aggregates(group_by: &[u32], every: Option<i64>, functions: &[AggregateFunction]) -> ScanOutput {
    let aggregates = (0..).zip(functions).map(|(field, function)| Aggregate {
        function: *function,
        field: FieldId(field),
        with_time: false,
    });
    ScanOutput::Aggregates(AggregateScan {
        group_by: group_by.iter().map(|t| TagId(*t)).collect(),
        window: every.map(|every| Window { every, offset: 0 }),
        aggregates: aggregates.collect(),
        ..AggregateScan::default()
    })
}

fn one_host_one_hour(scan: &mut Scan) {
    scan.time = TimeRange { min: START, max: START + HOUR };
    scan.filter = Some(Predicate::Compare {
        left: Operand::Tag(TagId(0)),
        op: CompareOp::Eq,
        right: Operand::Literal(FieldValue::String("value_0_77".into())),
    });
}

#[divan::bench(sample_count = 10, args = [1_000, 100_000])]
fn insert(bencher: Bencher, rows: i64) {
    static NEXT: AtomicI64 = AtomicI64::new(0);
    let loaded = loaded();
    let table = table(2);
    loaded.engine.ensure_table(&table).unwrap();
    bencher
        .with_inputs(|| batch(rows / 25, START + NEXT.fetch_add(25, Ordering::Relaxed) * STEP, 25))
        .input_counter(|batch| ItemsCount::new(batch.num_rows()))
        .bench_local_values(|batch| loaded.engine.insert(&table, batch, 1..=1).unwrap());
}

#[divan::bench(sample_count = 10)]
fn scan_all_rows_by_host(bencher: Bencher) {
    let loaded = loaded();
    let output = || {
        ScanOutput::Rows(RowScan {
            group_by: vec![TagId(0)],
            tags: vec![TagId(0)],
            fields: vec![FieldId(0)],
            ..RowScan::default()
        })
    };
    bencher.counter(ItemsCount::new((SERIES * POINTS) as u64)).bench_local(|| loaded.rows(output(), |_| {}));
}

#[divan::bench(sample_count = 5)]
fn scan_all_rows_by_time(bencher: Bencher) {
    let loaded = loaded();
    let output = || ScanOutput::Rows(RowScan { fields: vec![FieldId(0)], ..RowScan::default() });
    bencher.counter(ItemsCount::new((SERIES * POINTS) as u64)).bench_local(|| loaded.rows(output(), |_| {}));
}

#[divan::bench(sample_count = 10, args = [false, true])]
fn rows_of_one_host(bencher: Bencher, merge_duplicates: bool) {
    let loaded = loaded();
    let output = || ScanOutput::Rows(RowScan { fields: vec![FieldId(0)], ..RowScan::default() });
    bencher.bench_local(|| {
        loaded.rows(output(), |scan| {
            one_host_one_hour(scan);
            scan.merge_duplicates = merge_duplicates;
        })
    });
}

#[divan::bench(sample_count = 20)]
fn one_host_by_minute(bencher: Bencher) {
    let loaded = loaded();
    let output = || aggregates(&[0], Some(60_000_000_000), &[AggregateFunction::Mean]);
    bencher.bench_local(|| loaded.rows(output(), one_host_one_hour));
}

#[divan::bench(sample_count = 10, args = [1, 10])]
fn mean_by_host_by_hour(bencher: Bencher, fields: usize) {
    let loaded = loaded();
    let output = || aggregates(&[0], Some(HOUR), &vec![AggregateFunction::Mean; fields]);
    bencher.bench_local(|| loaded.rows(output(), |_| {}));
}

#[divan::bench(sample_count = 10, args = [1, 10])]
fn last_by_host(bencher: Bencher, fields: usize) {
    let loaded = loaded();
    let output = || aggregates(&[0], None, &vec![AggregateFunction::Last; fields]);
    bencher.bench_local(|| loaded.rows(output(), |_| {}));
}

#[divan::bench(sample_count = 10)]
fn count_of_10_fields(bencher: Bencher) {
    let loaded = loaded();
    let output = || aggregates(&[], None, &[AggregateFunction::Count; 10]);
    bencher.bench_local(|| loaded.rows(output(), |_| {}));
}

#[divan::bench(sample_count = 10)]
fn percentile(bencher: Bencher) {
    let loaded = loaded();
    let output = || aggregates(&[], None, &[AggregateFunction::Percentile(95.0)]);
    bencher.bench_local(|| loaded.rows(output(), |_| {}));
}
