//! `statements`: the server's statement summary as a table.

use clap::Args;
use serde::Deserialize;
use ureq::http::Method;

use crate::client::Client;
use crate::error::Result;
use crate::format::table::new_table;
use crate::session::width;

const PATH: &str = "/api/v1/statements";
const WIDTH_OF_FILES: u16 = 160;

#[derive(Debug, Args)]
pub struct Statements {
    /// What to order by, for example sum_latency_us, exec_count, p99_latency_us, rows_read.
    #[arg(long, default_value = "sum_latency_us")]
    sort_by: String,
    /// desc or asc.
    #[arg(long, default_value = "desc")]
    order: String,
    /// Statements to show.
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Of this database only.
    #[arg(long, default_value = "")]
    db: String,
    /// Of this kind only, for example SELECT.
    #[arg(long, default_value = "")]
    stmt_type: String,
    /// Print the server's JSON.
    #[arg(long)]
    json: bool,
    /// Begin the count anew instead.
    #[arg(long)]
    clear: bool,
}

#[derive(Debug, Deserialize)]
struct Summary {
    statements: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    normalized_query: String,
    db: String,
    exec_count: u64,
    error_count: u64,
    sum_latency_us: u64,
    p50_latency_us: u64,
    p99_latency_us: u64,
    rows_read: u64,
}

impl Statements {
    pub fn run(self, client: &Client) -> Result<()> {
        if self.clear {
            client.request(Method::DELETE, PATH, &[], Vec::new())?;
            return Ok(());
        }
        let limit = self.limit.to_string();
        let parameters = [
            ("sort_by", self.sort_by.as_str()),
            ("order", &self.order),
            ("limit", &limit),
            ("db", &self.db),
            ("stmt_type", &self.stmt_type),
        ];
        if self.json {
            println!("{:#}", client.get::<serde_json::Value>(PATH, &parameters)?);
            return Ok(());
        }
        let summary: Summary = client.get(PATH, &parameters)?;
        let mut table = new_table(width().unwrap_or(WIDTH_OF_FILES));
        table.set_header(["statement", "database", "runs", "errors", "total ms", "p50 ms", "p99 ms", "rows"]);
        for entry in summary.statements {
            table.add_row([
                entry.normalized_query,
                entry.db,
                entry.exec_count.to_string(),
                entry.error_count.to_string(),
                milliseconds(entry.sum_latency_us),
                milliseconds(entry.p50_latency_us),
                milliseconds(entry.p99_latency_us),
                entry.rows_read.to_string(),
            ]);
        }
        println!("{table}");
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn milliseconds(microseconds: u64) -> String {
    format!("{:.1}", microseconds as f64 / 1e3)
}
