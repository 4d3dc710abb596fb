//! Which points are read.

use std::ops::RangeInclusive;

use clap::Args;

use crate::error::Error;
use crate::time::{parse_time, range};

/// A range of time as options.
#[derive(Debug, Clone, Args)]
pub struct Range {
    /// Only points from this time on (RFC 3339).
    #[arg(long, value_parser = parse_time)]
    since: Option<i64>,
    /// Only points before this time (RFC 3339).
    #[arg(long, value_parser = parse_time)]
    until: Option<i64>,
}

impl Range {
    pub fn get(&self) -> Result<RangeInclusive<i64>, Error> {
        range(self.since, self.until)
    }
}

/// Parts of a database as options.
#[derive(Debug, Clone, Args)]
pub struct Selection {
    /// Only this retention policy.
    #[arg(long)]
    pub retention_policy: Option<String>,
    /// Only this measurement.
    #[arg(long)]
    pub measurement: Option<String>,
    #[command(flatten)]
    pub range: Range,
}
