//! A stored query (a materialized view, a continuous query) as what it reads, and over which windows.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use hyperbytedb_domain::TimeRange;
use hyperbytedb_domain::catalog::Catalog;
use hyperbytedb_functions::window::{Interval, Windows};
use hyperbytedb_timeseriesql::ast::{
    MeasurementName, SelectStatement, Statement, StoredQueryKind as Kind, Target,
};
use hyperbytedb_timeseriesql::reduce::condition_expr;
use hyperbytedb_timeseriesql::regex::Regex;
use hyperbytedb_timeseriesql::walk::measurements;
use hyperbytedb_timeseriesql::{parse_expr, parse_statement};
use jiff::tz::TimeZone;

use super::ranges::Ranges;
use crate::continuous::Schedule;
use crate::waiting::now_ns;

/// Names a stored query.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryKey {
    pub is_view: bool,
    pub database: String,
    pub name: String,
}

impl QueryKey {
    pub fn new(kind: Kind, database: &str, name: &str) -> Self {
        let is_view = kind == Kind::MaterializedView;
        Self { is_view, database: database.to_owned(), name: name.to_owned() }
    }

    /// The name of its state in the node's store; no two keys have the same.
    pub fn stored(&self) -> String {
        let kind = if self.is_view { "view" } else { "cq" };
        format!("{kind}/{}/{}/{}", self.database.len(), self.database, self.name)
    }
}

/// A measurement, or some, of one database. Without a policy: of any.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    pub database: String,
    pub retention_policy: Option<String>,
    pub name: MeasurementName,
}

impl Place {
    pub fn is_in(&self, database: &str, retention_policy: Option<&str>) -> bool {
        self.database == database && self.is_policy(retention_policy)
    }

    pub fn holds(&self, database: &str, retention_policy: Option<&str>, measurement: &str) -> bool {
        self.is_in(database, retention_policy)
            && match &self.name {
                MeasurementName::Name(name) => name == measurement,
                MeasurementName::Regex(regex) => regex.is_match(measurement),
            }
    }

    /// Whether a measurement may be in both; two regular expressions count as if there were one.
    pub fn meets(&self, other: &Self) -> bool {
        let matches = |regex: &Regex, name: &str| regex.is_match(name);
        self.is_in(&other.database, other.retention_policy.as_deref())
            && match (&self.name, &other.name) {
                (MeasurementName::Name(a), MeasurementName::Name(b)) => a == b,
                (MeasurementName::Name(name), MeasurementName::Regex(regex))
                | (MeasurementName::Regex(regex), MeasurementName::Name(name)) => matches(regex, name),
                (MeasurementName::Regex(_), MeasurementName::Regex(_)) => true,
            }
    }

    fn is_policy(&self, other: Option<&str>) -> bool {
        match (self.retention_policy.as_deref(), other) {
            (Some(own), Some(other)) => own == other,
            _ => true,
        }
    }
}

/// A stored query, ready to run.
pub struct StoredQuery {
    pub key: QueryKey,
    /// As it is stored.
    pub text: String,
    pub select: SelectStatement,
    pub sources: Vec<Place>,
    pub targets: Vec<Place>,
    windows: Windows,
    /// Of a view: whether what was stored before it is computed too.
    pub backfill: bool,
    /// Of a continuous query: how old windows that get late points may be, in nanoseconds.
    pub late: Option<i64>,
    /// Of a continuous query.
    pub schedule: Option<Schedule>,
}

impl StoredQuery {
    /// `None` for a text that is no such query, or has no windows.
    pub fn parse(database: &str, text: &str) -> Option<Self> {
        match parse_statement(text) {
            Ok(Statement::CreateMaterializedView(view)) => {
                let key = QueryKey::new(Kind::MaterializedView, database, &view.name);
                let query = Self::new(key, text, view.source)?;
                Some(Self { backfill: view.backfill, ..query })
            }
            Ok(Statement::CreateContinuousQuery(cq)) => {
                let key = QueryKey::new(Kind::ContinuousQuery, database, &cq.name);
                let (schedule, late) = (Schedule::new(&cq), cq.resample.late_ns);
                Some(Self { late, schedule, ..Self::new(key, text, cq.source)? })
            }
            _ => None,
        }
    }

    pub fn new(key: QueryKey, text: &str, select: SelectStatement) -> Option<Self> {
        let every = select.group_by_interval().ok()?.filter(|&ns| ns > 0)?;
        let interval = Interval { every, offset: select.group_by_offset().ok()? };
        let windows =
            Windows { interval: Some(interval), range: TimeRange::ALL, zone: select.time_zone.clone() };
        let sources: Vec<Place> = measurements(&select.sources)
            .into_iter()
            .map(|m| Place {
                database: m.database.clone().unwrap_or_else(|| key.database.clone()),
                retention_policy: m.retention_policy.clone().filter(|policy| !policy.is_empty()),
                name: m.name.clone(),
            })
            .collect();
        let targets = targets(&key, select.target.as_ref()?, &sources);
        let text = text.to_owned();
        Some(Self {
            key,
            text,
            select,
            sources,
            targets,
            windows,
            backfill: false,
            late: None,
            schedule: None,
        })
    }

    /// The window that holds a time.
    pub fn window(&self, time: i64) -> Range<i64> {
        let window = self.windows.window(time);
        window.start..window.end
    }

    /// The windows that overlap a range.
    pub fn windows_over(&self, start: i64, end: i64) -> Range<i64> {
        self.window(start).start..self.window(end.saturating_sub(1)).end
    }

    /// The last windows of a range of whole windows, at most so many.
    pub fn last_windows(&self, start: i64, end: i64, count: usize) -> Range<i64> {
        let every = self.windows.interval.map_or(1, |interval| interval.every);
        let length = every.saturating_mul(i64::try_from(count.max(1)).unwrap_or(i64::MAX));
        let first = self.window(end.saturating_sub(length)).start;
        // Where clocks change, windows are longer than others.
        let first = if first >= end { self.window(end.saturating_sub(1)).start } else { first };
        first.max(start)..end
    }

    /// About how many windows are in so many nanoseconds.
    pub fn count_windows(&self, length: u64) -> u64 {
        let every = self.windows.interval.map_or(1, |interval| interval.every);
        length.div_ceil(every.unsigned_abs().max(1))
    }

    pub fn reads(&self, database: &str, retention_policy: Option<&str>, measurement: &str) -> bool {
        self.sources.iter().any(|place| place.holds(database, retention_policy, measurement))
    }

    /// Whether that is a target of it, and its windows are computed again when something happens there.
    pub fn writes(&self, database: &str, retention_policy: Option<&str>, measurement: &str) -> bool {
        let mut targets = self.targets.iter();
        self.is_told_of_writes() && targets.any(|place| place.holds(database, retention_policy, measurement))
    }

    /// Whether points that come make its windows dirty.
    pub fn is_told_of_writes(&self) -> bool {
        self.key.is_view || self.late.is_some()
    }

    /// The windows over a range of time in which there can be points.
    pub fn backfill_over(&self, times: &Range<i64>, catalog: &Catalog) -> Ranges {
        let windows = self.windows_over(times.start, times.end);
        self.extent(catalog).within(windows.start, windows.end)
    }

    /// The statement over these times instead of those it names.
    pub fn over(&self, times: &Range<i64>) -> Result<SelectStatement, String> {
        with_time(&self.select, times.start, times.end)
    }

    /// The times of which there can be points of a source or of the target.
    pub fn extent(&self, catalog: &Catalog) -> Ranges {
        let mut extent = Ranges::default();
        for place in self.sources.iter().chain(&self.targets) {
            let Some(database) = catalog.database(&place.database) else { continue };
            for policy in database.retention_policies.values() {
                if place.is_policy(Some(&policy.name)) {
                    let groups = policy.shard_groups.values();
                    groups.map(|group| self.windows_over(group.start, group.end)).for_each(|windows| {
                        extent.insert(windows.start, windows.end);
                    });
                }
            }
        }
        extent
    }
}

fn targets(key: &QueryKey, target: &Target, sources: &[Place]) -> Vec<Place> {
    let place = |name: MeasurementName| Place {
        database: target.database.clone().unwrap_or_else(|| key.database.clone()),
        retention_policy: target.retention_policy.clone().filter(|policy| !policy.is_empty()),
        name,
    };
    match &target.name {
        Some(name) => vec![place(MeasurementName::Name(name.clone()))],
        None => sources.iter().map(|source| place(source.name.clone())).collect(),
    }
}

/// The statement over these times instead of those it names.
pub fn with_time(select: &SelectStatement, start: i64, end: i64) -> Result<SelectStatement, String> {
    let zone = select.time_zone.clone().unwrap_or(TimeZone::UTC);
    let (rest, _) =
        condition_expr(select.condition.clone(), Some(now_ns()), &zone).map_err(|e| e.to_string())?;
    let mut condition = format!("time >= {start} AND time < {end}");
    if let Some(rest) = rest {
        condition = format!("({rest}) AND {condition}");
    }
    let condition = parse_expr(&condition).map_err(|error| error.to_string())?;
    Ok(SelectStatement { condition: Some(condition), ..select.clone() })
}

/// The stored queries of a catalogue, by key; those whose text has not changed are kept.
#[derive(Default)]
pub struct StoredQueries(BTreeMap<QueryKey, Arc<StoredQuery>>);

impl StoredQueries {
    pub fn update(&mut self, catalog: &Catalog) {
        let known = std::mem::take(&mut self.0);
        for database in catalog.databases.values() {
            let views = database
                .materialized_views
                .iter()
                .map(|view| (Kind::MaterializedView, &view.name, &view.query));
            let cqs =
                database.continuous_queries.iter().map(|cq| (Kind::ContinuousQuery, &cq.name, &cq.query));
            for (kind, name, text) in views.chain(cqs) {
                let key = QueryKey::new(kind, &database.name, name);
                let query = match known.get(&key) {
                    Some(query) if &query.text == text => Some(query.clone()),
                    _ => StoredQuery::parse(&database.name, text).map(Arc::new),
                };
                self.0.extend(query.map(|query| (key, query)));
            }
        }
    }

    pub fn get(&self, key: &QueryKey) -> Option<&Arc<StoredQuery>> {
        self.0.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<StoredQuery>> {
        self.0.values()
    }

    /// Whether any of them must be told of writes, or of what was asked of another node.
    pub fn follow_the_log(&self, is_in_cluster: bool) -> bool {
        self.iter().any(|query| query.is_told_of_writes() || is_in_cluster)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn view(select: &str) -> StoredQuery {
        let text = format!("CREATE MATERIALIZED VIEW v ON d AS {select}");
        StoredQuery::parse("d", &text).expect("a view")
    }

    #[test]
    fn times_of_a_statement_give_way_to_those_of_the_run() {
        let text = "CREATE CONTINUOUS QUERY q ON d BEGIN SELECT mean(v) INTO t FROM m \
                    WHERE time > now() - 1h AND (host = 'a' OR host = 'b') GROUP BY time(1m), * END";
        let query = StoredQuery::parse("d", text).expect("a query");
        assert_eq!(
            query.over(&(60..120)).map(|select| select.to_string()).as_deref(),
            Ok(
                "SELECT mean(v) INTO t FROM m WHERE (host = 'a' OR host = 'b') AND time >= 60 AND time < 120 \
                GROUP BY time(1m), *"
            )
        );
    }

    #[test]
    fn runs_are_whole_windows() {
        let view = view("SELECT mean(v) INTO t FROM m GROUP BY time(10s, 3s)");
        assert_eq!(view.window(12 * SECOND), 3 * SECOND..13 * SECOND);
        assert_eq!(view.windows_over(12 * SECOND, 13 * SECOND + 1), 3 * SECOND..23 * SECOND);
        assert_eq!(view.last_windows(3 * SECOND, 103 * SECOND, 2), 83 * SECOND..103 * SECOND);
        assert_eq!(view.last_windows(93 * SECOND, 103 * SECOND, 2), 93 * SECOND..103 * SECOND);
    }

    #[test]
    fn days_of_a_zone_are_runs_too() {
        let view = view("SELECT mean(v) INTO t FROM m GROUP BY time(1d) tz('Europe/Berlin')");
        // The clock went back on 2020-10-25: that day has 25 hours.
        let noon = 1_603_623_600 * SECOND;
        let day = view.window(noon);
        assert_eq!(day.end - day.start, 25 * 3600 * SECOND);
        assert_eq!(view.last_windows(i64::MIN, day.end, 1), day);
    }

    #[test]
    fn targets_follow_their_sources() {
        let view = view("SELECT mean(v) INTO b.p.:MEASUREMENT FROM d.autogen./^m/ GROUP BY time(10s)");
        assert!(view.reads("d", Some("autogen"), "mem") && !view.reads("d", Some("p"), "mem"));
        assert!(view.targets[0].holds("b", Some("p"), "mem"));
        assert!(!view.targets[0].meets(&view.sources[0]));
    }

    #[test]
    fn no_two_queries_share_their_state() {
        let key = |database, name| QueryKey::new(Kind::MaterializedView, database, name).stored();
        assert_ne!(key("a/b", "c"), key("a", "b/c"));
    }
}
