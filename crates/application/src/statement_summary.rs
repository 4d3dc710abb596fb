//! What the statements that ran have cost, by statement and database: those that differ in their literals only count as one.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyperbytedb_timeseriesql::ast::Statement;
use hyperbytedb_timeseriesql::normalize::normalized;
use hyperbytedb_timeseriesql::time::format_utc;
use parking_lot::Mutex;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sketches_ddsketch::{Config, DDSketch};

/// Bytes of a text that are kept: statements may be megabytes long.
const TEXT_BYTES_MAX: usize = 4096;
/// Percentiles are right to 2%.
const LATENCY_ERROR: f64 = 0.02;
const LATENCY_BINS_MAX: u32 = 512;

/// Settings.
#[derive(Debug, Clone)]
pub struct StatementSummaryOptions {
    pub enabled: bool,
    /// Statements that are kept; of more, those that ran least often are forgotten.
    pub max_entries: usize,
}

impl Default for StatementSummaryOptions {
    fn default() -> Self {
        Self { enabled: true, max_entries: 1000 }
    }
}

/// A statement, before it runs.
pub struct Described {
    kind: &'static str,
    normalized: String,
    sample: String,
}

impl Described {
    pub fn new(statement: &Statement) -> Self {
        Self { kind: statement.kind(), normalized: normalized(statement), sample: statement.to_string() }
    }

    /// A statement in the engine's own language.
    pub fn sql(text: &str, normalized: String) -> Self {
        Self { kind: "SQL", normalized, sample: text.to_owned() }
    }
}

/// What one execution took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    pub latency: Duration,
    pub failed: bool,
    pub rows_read: u64,
    pub bytes_read: u64,
}

/// A line of the summary, with the names that clients read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatementRow {
    pub digest: String,
    pub normalized_query: String,
    pub sample_query: String,
    pub db: String,
    pub stmt_type: &'static str,
    pub exec_count: u64,
    pub error_count: u64,
    pub sum_latency_us: u64,
    pub min_latency_us: u64,
    pub avg_latency_us: u64,
    pub max_latency_us: u64,
    pub p50_latency_us: u64,
    pub p95_latency_us: u64,
    pub p99_latency_us: u64,
    pub rows_read: u64,
    pub bytes_read: u64,
    pub first_seen: String,
    pub last_seen: String,
}

/// Names that rows can be sorted by.
pub const SORT_KEYS: &[&str] = &[
    "digest",
    "normalized_query",
    "db",
    "stmt_type",
    "exec_count",
    "error_count",
    "sum_latency_us",
    "min_latency_us",
    "avg_latency_us",
    "max_latency_us",
    "p50_latency_us",
    "p95_latency_us",
    "p99_latency_us",
    "rows_read",
    "bytes_read",
    "first_seen",
    "last_seen",
];

impl StatementRow {
    /// By one of [`SORT_KEYS`].
    pub fn compare(&self, other: &Self, key: &str) -> Ordering {
        let number = |row: &Self| match key {
            "exec_count" => row.exec_count,
            "error_count" => row.error_count,
            "sum_latency_us" => row.sum_latency_us,
            "min_latency_us" => row.min_latency_us,
            "avg_latency_us" => row.avg_latency_us,
            "max_latency_us" => row.max_latency_us,
            "p50_latency_us" => row.p50_latency_us,
            "p95_latency_us" => row.p95_latency_us,
            "p99_latency_us" => row.p99_latency_us,
            "rows_read" => row.rows_read,
            "bytes_read" => row.bytes_read,
            _ => 0,
        };
        match key {
            "digest" => self.digest.cmp(&other.digest),
            "normalized_query" => self.normalized_query.cmp(&other.normalized_query),
            "db" => self.db.cmp(&other.db),
            "stmt_type" => self.stmt_type.cmp(other.stmt_type),
            "first_seen" => self.first_seen.cmp(&other.first_seen),
            "last_seen" => self.last_seen.cmp(&other.last_seen),
            _ => number(self).cmp(&number(other)),
        }
    }
}

/// Database, and the digest of the statement.
type Key = (String, [u8; 16]);

struct Entry {
    kind: &'static str,
    normalized: String,
    sample: String,
    count: u64,
    errors: u64,
    latency_us: u64,
    min_us: u64,
    max_us: u64,
    latencies: DDSketch,
    rows_read: u64,
    bytes_read: u64,
    /// In nanoseconds since 1970.
    first_seen: i128,
    last_seen: i128,
}

/// The summary since the start, or since it was cleared.
pub struct StatementSummary {
    options: StatementSummaryOptions,
    entries: Mutex<HashMap<Key, Entry>>,
}

impl StatementSummary {
    pub fn new(options: StatementSummaryOptions) -> Self {
        Self { options, entries: Mutex::default() }
    }

    pub fn is_enabled(&self) -> bool {
        self.options.enabled && self.options.max_entries > 0
    }

    pub fn record(&self, database: &str, statement: Described, cost: Cost) {
        let hash = Sha256::digest(statement.normalized.as_bytes());
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash[..16]);
        let key = (database.to_owned(), digest);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i128;
        let mut entries = self.entries.lock();
        if entries.len() >= self.options.max_entries && !entries.contains_key(&key) {
            forget_least_used(&mut entries);
        }
        entries.entry(key).or_insert_with(|| Entry::new(statement, now)).add(cost, now);
    }

    /// All rows, in no order.
    pub fn rows(&self) -> Vec<StatementRow> {
        self.entries.lock().iter().map(|((database, digest), entry)| entry.row(database, digest)).collect()
    }

    pub fn clear(&self) {
        self.entries.lock().clear();
    }
}

/// The entry that ran least often; of several the one that was not seen for longest.
fn forget_least_used(entries: &mut HashMap<Key, Entry>) {
    let least =
        entries.iter().min_by_key(|(_, entry)| (entry.count, entry.last_seen)).map(|(key, _)| key.clone());
    least.map(|key| entries.remove(&key));
}

impl Entry {
    fn new(statement: Described, now: i128) -> Self {
        Self {
            kind: statement.kind,
            normalized: cut(statement.normalized),
            sample: cut(statement.sample),
            count: 0,
            errors: 0,
            latency_us: 0,
            min_us: u64::MAX,
            max_us: 0,
            latencies: DDSketch::new(Config::new(LATENCY_ERROR, LATENCY_BINS_MAX, 1.0)),
            rows_read: 0,
            bytes_read: 0,
            first_seen: now,
            last_seen: now,
        }
    }

    fn add(&mut self, cost: Cost, now: i128) {
        let latency = u64::try_from(cost.latency.as_micros()).unwrap_or(u64::MAX);
        self.count += 1;
        self.errors += u64::from(cost.failed);
        self.latency_us = self.latency_us.saturating_add(latency);
        self.min_us = self.min_us.min(latency);
        self.max_us = self.max_us.max(latency);
        self.latencies.add(latency as f64);
        self.rows_read = self.rows_read.saturating_add(cost.rows_read);
        self.bytes_read = self.bytes_read.saturating_add(cost.bytes_read);
        self.last_seen = now;
    }

    fn row(&self, database: &str, digest: &[u8; 16]) -> StatementRow {
        // An estimate may be past the extremes, which are known.
        let percentile = |q| match self.latencies.quantile(q) {
            Ok(Some(latency)) => (latency.round() as u64).clamp(self.min_us, self.max_us),
            _ => 0,
        };
        StatementRow {
            digest: format!("{:032x}", u128::from_be_bytes(*digest)),
            normalized_query: self.normalized.clone(),
            sample_query: self.sample.clone(),
            db: database.to_owned(),
            stmt_type: self.kind,
            exec_count: self.count,
            error_count: self.errors,
            sum_latency_us: self.latency_us,
            min_latency_us: self.min_us,
            avg_latency_us: self.latency_us / self.count.max(1),
            max_latency_us: self.max_us,
            p50_latency_us: percentile(0.5),
            p95_latency_us: percentile(0.95),
            p99_latency_us: percentile(0.99),
            rows_read: self.rows_read,
            bytes_read: self.bytes_read,
            first_seen: format_utc(self.first_seen),
            last_seen: format_utc(self.last_seen),
        }
    }
}

fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.push('…');
    }
    text.shrink_to_fit();
    text
}

#[cfg(test)]
mod tests {
    use hyperbytedb_timeseriesql::parse_statement;

    use super::*;

    fn run(summary: &StatementSummary, text: &str, latency_us: u64, failed: bool) {
        let statement = Described::new(&parse_statement(text).unwrap());
        let latency = Duration::from_micros(latency_us);
        summary.record("db", statement, Cost { latency, failed, rows_read: 3, bytes_read: 24 });
    }

    #[test]
    fn statements_that_differ_in_values_count_as_one() {
        let summary = StatementSummary::new(StatementSummaryOptions::default());
        for number in 1..=100 {
            run(
                &summary,
                &format!("SELECT v FROM m WHERE n > {number} LIMIT {number}"),
                number * 1000,
                number > 90,
            );
        }
        run(&summary, "SHOW DATABASES", 5, false);
        let rows = summary.rows();
        let row = rows.iter().find(|row| row.stmt_type == "SELECT").unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(row.normalized_query, "SELECT v FROM m WHERE n > ? LIMIT ?");
        assert_eq!(row.sample_query, "SELECT v FROM m WHERE n > 1 LIMIT 1");
        assert_eq!((row.exec_count, row.error_count, row.rows_read, row.bytes_read), (100, 10, 300, 2400));
        assert_eq!((row.min_latency_us, row.max_latency_us, row.avg_latency_us), (1000, 100_000, 50_500));
        for (latency, expected) in
            [(row.p50_latency_us, 50_000), (row.p95_latency_us, 95_000), (row.p99_latency_us, 99_000)]
        {
            assert!(latency.abs_diff(expected) <= expected / 25, "{latency} {expected}");
        }
        summary.clear();
        assert!(summary.rows().is_empty());
    }

    #[test]
    fn the_least_used_go() {
        let summary = StatementSummary::new(StatementSummaryOptions { enabled: true, max_entries: 3 });
        for name in ["often", "often", "a", "b", "c", "d"] {
            run(&summary, &format!("SELECT v FROM {name}"), 1, false);
        }
        let mut left: Vec<_> = summary.rows().into_iter().map(|row| row.sample_query).collect();
        left.sort_unstable();
        assert_eq!(left, ["SELECT v FROM c", "SELECT v FROM d", "SELECT v FROM often"]);
    }

    #[test]
    fn long_texts_are_cut() {
        let summary = StatementSummary::new(StatementSummaryOptions::default());
        let fields = vec!["é"; 10_000].join("\", \"");
        run(&summary, &format!("SELECT \"{fields}\" FROM m"), 1, false);
        let row = summary.rows().remove(0);
        assert!(row.sample_query.len() <= TEXT_BYTES_MAX + 3 && row.normalized_query.ends_with('…'));
    }
}
