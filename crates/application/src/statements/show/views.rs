//! SHOW MATERIALIZED VIEWS, and the views' part of SHOW STATS.

use hyperbytedb_domain::catalog::{Catalog, Privilege};
use hyperbytedb_domain::field::FieldValue;
use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_timeseriesql::ast::StoredQueryKind;
use hyperbytedb_timeseriesql::time::format_utc;

use super::super::rows::{Rows, integer, text};
use super::catalog::go_duration;
use crate::auth::access::Access;
use crate::windows::{QueryKey, StoredQuery, WindowState};

/// `state` is `None` where views are not kept.
pub fn materialized_views(
    catalog: &Catalog,
    access: Access<'_>,
    state: Option<&WindowState>,
) -> Vec<SeriesBlock> {
    let columns = [
        "name",
        "query",
        "lag",
        "dirtyWindows",
        "backfill",
        "lastRun",
        "pointsWritten",
        "pointsRemoved",
        "lastError",
    ];
    let mut blocks = Vec::new();
    let databases = catalog.databases_in_order().into_iter();
    for database in databases.filter(|database| access.may(Privilege::Read, &database.name)) {
        let mut rows = Rows::new(&database.name, &columns);
        for view in &database.materialized_views {
            let progress = progress(&database.name, &view.name, &view.query, state);
            let [lag, windows, backfill, last_run, written, removed, error] = progress;
            rows.row([
                text(&view.name),
                text(&view.query),
                lag,
                windows,
                backfill,
                last_run,
                written,
                removed,
                error,
            ]);
        }
        blocks.push(rows.block());
    }
    blocks
}

/// Lag, dirty windows, backfill, last run, points written and removed, last error.
fn progress(database: &str, name: &str, query: &str, state: Option<&WindowState>) -> [FieldValue; 7] {
    let key = QueryKey::new(StoredQueryKind::MaterializedView, database, name);
    let known = state.zip(StoredQuery::parse(database, query));
    let Some((state, query)) = known else {
        let error = if state.is_none() { "views are switched off" } else { "no view: drop it" };
        return [text(""), integer(0), text(""), text(""), integer(0), integer(0), text(error)];
    };
    let (backlog, fate) = (state.backlog(&key), state.fate(&key));
    let waits = backlog.since.map_or(0, |since| since.elapsed().as_nanos() as i64);
    let done =
        100 - backlog.dirty_ns.saturating_mul(100).checked_div(backlog.backfill_ns).unwrap_or(100).min(100);
    let backfill = if backlog.backfill_ns == 0 { String::new() } else { format!("{done}%") };
    let last_run = if fate.last_run == 0 { String::new() } else { format_utc(fate.last_run.into()) };
    [
        text(go_duration(waits / 1_000_000 * 1_000_000)),
        integer(query.count_windows(backlog.dirty_ns)),
        text(backfill),
        text(last_run),
        integer(fate.changes.written),
        integer(fate.changes.removed),
        text(&fate.error),
    ]
}

/// Windows of a continuous query that late points or a backfill have it compute again.
pub fn dirty_windows_of_continuous_query(
    catalog: &Catalog,
    database: &str,
    name: &str,
    state: Option<&WindowState>,
) -> u64 {
    let stored = catalog.database(database).and_then(|database| {
        database.continuous_queries.iter().find(|query| query.name == name).map(|query| &query.query)
    });
    let query = stored.and_then(|text| StoredQuery::parse(database, text));
    state.zip(query).map_or(0, |(state, query)| state.late_windows(&query, catalog))
}

/// The module of SHOW STATS.
pub const MODULE: &str = "materializedView";

/// One series a view.
pub fn stats(catalog: &Catalog, state: Option<&WindowState>) -> Vec<SeriesBlock> {
    let columns = ["dirtyWindows", "logRecordsBehind", "pointsRemoved", "pointsWritten", "lastError"];
    let behind = state.map_or(0, |state| state.follower.records_behind());
    let mut blocks = Vec::new();
    for database in catalog.databases_in_order() {
        for view in &database.materialized_views {
            let progress = progress(&database.name, &view.name, &view.query, state);
            let [_, windows, _, _, written, removed, error] = progress;
            let mut rows = Rows::new(MODULE, &columns);
            rows.row([windows, integer(behind), removed, written, error]);
            let tags =
                [("database".to_owned(), database.name.clone()), ("name".to_owned(), view.name.clone())];
            blocks.push(SeriesBlock { tags: Some(tags.into()), ..rows.block() });
        }
    }
    blocks
}
