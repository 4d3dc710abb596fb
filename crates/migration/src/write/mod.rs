//! Sends bodies of line protocol over several connections.

mod batch;
mod pace;
mod pool;
mod report;

use clap::Args;

pub use batch::Batch;
pub use pool::{Lanes, Pool};
pub use report::Report;

/// How points are sent.
#[derive(Debug, Clone, Args)]
pub struct WriteOptions {
    /// Requests at one time.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub connections: u16,
    /// Lines of one request.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub batch_lines: u32,
    /// Bytes of one request, about.
    #[arg(long, default_value_t = 4 << 20, value_parser = clap::value_parser!(u32).range(1..=1 << 30))]
    pub batch_bytes: u32,
    /// Lines a second at most.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
}
