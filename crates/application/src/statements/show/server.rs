//! SHOW QUERIES and SHOW DIAGNOSTICS: the server about itself.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyperbytedb_domain::result::SeriesBlock;
use hyperbytedb_timeseriesql::time::format_utc;

use super::super::rows::{Rows, integer, text};
use super::super::running::RunningQuery;
use super::catalog::go_duration;

pub fn queries(running: &[RunningQuery]) -> Vec<SeriesBlock> {
    let mut rows = Rows::new("", &["qid", "query", "database", "duration", "status"]);
    for query in running {
        let status = match query {
            query if query.cancel.is_cancelled() => "killed",
            query if query.is_waiting => "waiting",
            _ => "running",
        };
        let duration = go_duration(in_whole_units(query.announced.elapsed()));
        rows.row([integer(query.id), text(&query.text), text(&query.database), text(duration), text(status)]);
    }
    vec![rows.block()]
}

/// Nanoseconds, cut to whole seconds, milliseconds or microseconds.
fn in_whole_units(elapsed: Duration) -> i64 {
    let ns = i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX);
    let unit = [1_000_000_000, 1_000_000, 1_000].into_iter().find(|unit| ns >= *unit).unwrap_or(1);
    ns - ns % unit
}

/// What the server knows of itself from its start on.
#[derive(Debug, Clone)]
pub struct About {
    pub started: Instant,
    pub started_at: SystemTime,
    /// Addresses that are listened on.
    pub http: String,
    pub udp: Option<String>,
    pub opentsdb: Option<String>,
    /// With the protocol.
    pub graphite: Option<(String, String)>,
    /// The modules of SHOW DIAGNOSTICS that do not change.
    pub diagnostics: Vec<SeriesBlock>,
}

impl Default for About {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            started_at: SystemTime::now(),
            http: String::new(),
            udp: None,
            opentsdb: None,
            graphite: None,
            diagnostics: Vec::new(),
        }
    }
}

/// The modules of SHOW DIAGNOSTICS, by name.
pub fn diagnostics(about: &About, cluster: Option<SeriesBlock>, module: Option<&str>) -> Vec<SeriesBlock> {
    let mut system = Rows::new("system", &["PID", "currentTime", "started", "uptime"]);
    let uptime = i64::try_from(about.started.elapsed().as_nanos()).unwrap_or(i64::MAX);
    system.row([
        integer(std::process::id()),
        text(utc(SystemTime::now())),
        text(utc(about.started_at)),
        text(go_duration(uptime)),
    ]);
    let mut blocks = about.diagnostics.clone();
    blocks.extend([system.block()].into_iter().chain(cluster));
    blocks.retain(|block| module.is_none_or(|module| module == &*block.name));
    blocks.sort_by(|a, b| a.name.cmp(&b.name));
    blocks
}

fn utc(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format_utc(since.as_nanos() as i128)
}
