//! `migrate check`: what differs between two servers.
//!
//! Schemas are compared by what the servers say, points by themselves: both servers send all of them, and each window of
//! time has a number of points and a sum over the hashes of their values, in which the order does not matter. Windows that
//! differ are asked for again, to name their series.

mod points;
mod report;
mod schema;

use clap::Args;

use crate::client::{Connection, Login, Server};
use crate::error::Error;
use crate::read::Selection;
use crate::time::parse_duration;
use report::Report;

#[derive(Debug, Args)]
pub struct Check {
    /// One server.
    url_a: String,
    /// The other server.
    url_b: String,
    #[command(flatten)]
    login: Login,
    /// Name of the user on the other server, if it is another one.
    #[arg(long)]
    user_b: Option<String>,
    /// Password of the user on the other server, if it is another one.
    #[arg(long, env = "HYPERBYTEDB_PASSWORD_B", hide_env_values = true)]
    password_b: Option<String>,
    /// Only this database; else all but _internal.
    #[arg(long)]
    database: Option<String>,
    #[command(flatten)]
    selection: Selection,
    /// Length of the windows that are compared.
    #[arg(long, default_value = "1d", value_parser = parse_duration)]
    window: i64,
    /// Leave out the points.
    #[arg(long)]
    schema_only: bool,
    /// Rows of one piece of an answer.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    chunk_rows: u32,
    /// Take any certificates of the servers.
    #[arg(long)]
    unsafe_ssl: bool,
    /// Seconds to go on trying where a server does not answer or is overloaded.
    #[arg(long, default_value_t = 60)]
    retry_secs: u64,
}

impl Check {
    /// Whether nothing differs.
    pub fn run(&self) -> Result<bool, Error> {
        let connect = |url: &str, login: Login| {
            Server::new(&Connection {
                url: url.to_owned(),
                login,
                unsafe_ssl: self.unsafe_ssl,
                retry_secs: self.retry_secs,
            })
        };
        let login_b = Login::new(self.user_b.clone(), self.password_b.clone()).or(&self.login);
        let servers = [connect(&self.url_a, self.login.clone())?, connect(&self.url_b, login_b)?];
        let mut report = Report::default();
        for database in schema::databases(&servers, self.database.as_deref(), &mut report)? {
            let policies = schema::policies(
                &servers,
                &database,
                self.selection.retention_policy.as_deref(),
                &mut report,
            )?;
            let only = self.selection.measurement.as_deref();
            let measurements = schema::measurements(&servers, &database, &policies, only, &mut report)?;
            if !self.schema_only {
                for measurement in &measurements {
                    points::compare(self, &servers, &database, measurement, &mut report)?;
                }
            }
        }
        Ok(report.finish())
    }
}
