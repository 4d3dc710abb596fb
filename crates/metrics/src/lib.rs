//! Every metric of the server, in one [list]: what is not in it cannot be counted, for no other crate knows a recorder.
//!
//! A metric without labels looks itself up once; counting is then an atomic addition. One with labels is looked up each
//! time, so it counts requests, runs and the like, never points.

mod handle;
mod list;
pub mod stats;

use metrics::{describe_counter, describe_gauge, describe_histogram};

pub use handle::{Counter, Gauge, Histogram, LabelledCounter, LabelledGauge, LabelledHistogram};
pub use list::*;

/// What a metric counts up or shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up only.
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What is known of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Description {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

/// Durations from a hit in memory to a long query.
const SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0, 60.0, 300.0,
];
const BYTES: &[f64] = &[256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0];
const NUMBERS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

impl Description {
    /// The unit that the name ends with, as Prometheus wants it; a number of things without one.
    pub fn unit(&self) -> &'static str {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(unit)).unwrap_or("number")
    }

    /// Upper bounds of a histogram's buckets.
    pub fn buckets(&self) -> &'static [f64] {
        match self.unit() {
            "seconds" => SECONDS,
            "bytes" => BYTES,
            _ => NUMBERS,
        }
    }
}

/// Metrics that belong together.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    pub title: &'static str,
    pub metrics: &'static [Description],
}

/// All metrics.
pub fn all() -> impl Iterator<Item = &'static Description> {
    GROUPS.iter().flat_map(|group| group.metrics)
}

/// Tells the recorder the help texts.
pub fn describe() {
    for metric in all() {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, metric.help),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn names_are_unique_and_follow_the_conventions() {
        let mut names = BTreeSet::new();
        for metric in all() {
            assert!(names.insert(metric.name), "{} is there twice", metric.name);
            let own = metric.name.starts_with("hyperbytedb_") || metric.name.starts_with("process_");
            assert!(own, "{}", metric.name);
            let is_counter = metric.kind == Kind::Counter;
            assert_eq!(metric.name.ends_with("_total"), is_counter, "{}", metric.name);
            assert!(!metric.help.is_empty() && !metric.help.ends_with(' '), "{}", metric.name);
        }
    }

    #[test]
    fn no_other_crate_can_count() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for entry in std::fs::read_dir(crates).into_iter().flatten().flatten() {
            if entry.file_name() == "metrics" {
                continue;
            }
            let manifest = std::fs::read_to_string(entry.path().join("Cargo.toml")).unwrap_or_default();
            let counts =
                manifest.lines().any(|line| line.starts_with("metrics.") || line.starts_with("metrics "));
            assert!(!counts, "{}: metrics go through this crate's list", entry.path().display());
        }
    }
}
