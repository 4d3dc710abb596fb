//! What a statement may use, and how the engine is to run it.

use std::sync::Arc;
use std::time::Instant;

use hyperbytedb_clickhouse_sql::Settings;
use hyperbytedb_domain::QueryContext;
use hyperbytedb_domain::scan::{RowSelection, Scan};

/// Series up to which a scan is small: there the new analyzer takes a fifth of its time, and comes to the same plan.
const OLD_ANALYZER_SERIES_MAX: usize = 16;

/// Bytes of one statement's text: room for conditions with many long values.
const MAX_STATEMENT_BYTES: &str = "67108864";

/// Settings of every statement.
pub const STATEMENT_SETTINGS: &[(&str, &str)] = &[
    // Rows of one batch are distinct already; folding them again costs most of an insert.
    ("optimize_on_insert", "0"),
    ("max_partitions_per_insert_block", "0"),
    ("max_query_size", MAX_STATEMENT_BYTES),
    ("max_ast_elements", MAX_STATEMENT_BYTES),
    ("max_expanded_ast_elements", MAX_STATEMENT_BYTES),
    // Scans leave out rows of deletes that are still to be carried out.
    ("apply_mutations_on_fly", "1"),
    // Looking for one takes a tenth of a small query's time.
    ("optimize_use_projections", "0"),
    // Conditions are cheap comparisons: deciding which to leave out costs more, with many of them very much.
    ("short_circuit_function_evaluation", "disable"),
    ("log_queries", "0"),
    ("query_profiler_real_time_period_ns", "0"),
    ("query_profiler_cpu_time_period_ns", "0"),
];

/// Sets the limits of the context.
pub fn bound(settings: &mut Settings, context: &QueryContext) {
    if let Some(deadline) = context.deadline {
        let remaining = deadline.saturating_duration_since(Instant::now());
        // Zero would mean no limit.
        settings.set("max_execution_time", remaining.as_secs_f64().max(0.001));
    }
    for (name, limit) in [
        ("max_memory_usage", context.max_memory_bytes),
        ("max_rows_to_read", context.max_rows_read),
        ("max_threads", u64::from(context.max_threads)),
    ] {
        if limit > 0 {
            settings.set(name, limit);
        }
    }
}

/// Whether the list is there and names nothing.
fn is_empty<T>(list: &Option<Arc<[T]>>) -> bool {
    list.as_ref().is_some_and(|list| list.is_empty())
}

pub fn selects_nothing(rows: &RowSelection) -> bool {
    rows.time.is_empty() || is_empty(&rows.shards) || is_empty(&rows.series)
}

/// Whether no row can be meant.
pub fn wants_nothing(scan: &Scan) -> bool {
    let no_series = scan.output.series().is_some_and(|series| series.is_empty());
    scan.time.is_empty() || is_empty(&scan.shards) || no_series
}

/// Whether the old analyzer is the faster one.
pub fn is_small(scan: &Scan) -> bool {
    scan.output.series().is_some_and(|series| series.len() <= OLD_ANALYZER_SERIES_MAX)
}
