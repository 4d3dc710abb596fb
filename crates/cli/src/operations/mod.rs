//! The work of operators: subcommands of the program, and commands of the shell.

mod cluster;
mod generate;
mod statements;
mod top;

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use clap::{Parser, Subcommand};
use serde_json::Value;

use crate::arguments::Connection;
use crate::client::Client;
use crate::error::{Error, Result};
pub use cluster::Cluster;
pub use statements::Statements;

#[derive(Debug, Subcommand)]
pub enum Operation {
    /// Whether the server answers, its version and how long it took.
    Ping,
    /// Whether the server is well; fails if not.
    Health,
    /// Which statements cost most.
    Statements(Statements),
    /// Throughput, queries and limits, live.
    Top {
        /// Seconds between two looks.
        #[arg(long, default_value_t = 1.0)]
        interval: f64,
        /// End after so many looks, printed one below the other; 0: go on, on the whole terminal.
        #[arg(long, default_value_t = 0)]
        count: u32,
    },
    /// Nodes, leader and membership of a cluster.
    #[command(subcommand)]
    Cluster(Cluster),
    #[command(flatten)]
    Files(hyperbytedb_migration::Command),
    /// Print the completions of a shell: bash, zsh, fish, …
    Completions { shell: clap_complete::Shell },
    /// Write the man pages into a folder.
    Man { folder: std::path::PathBuf },
}

impl Operation {
    pub fn run(self, client: &Client, interrupted: &AtomicBool) -> Result<ExitCode> {
        match self {
            Self::Ping => ping(client)?,
            Self::Health => health(client)?,
            Self::Statements(statements) => statements.run(client)?,
            Self::Top { interval, count } => top::run(client, interval, count, interrupted)?,
            Self::Cluster(command) => command.run(client)?,
            Self::Files(command) => return Ok(command.run()),
            Self::Completions { shell } => generate::completions(shell),
            Self::Man { folder } => generate::man_pages(&folder)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A line of the shell.
#[derive(Debug, Parser)]
#[command(name = "", no_binary_name = true, disable_help_subcommand = true)]
struct Line {
    #[command(subcommand)]
    operation: Operation,
}

const WORDS: [&str; 8] = ["ping", "health", "statements", "top", "cluster", "import", "export", "migrate"];

/// Whether a line that begins with this word is for us, not a statement for the server.
pub fn is_operation(word: &str) -> bool {
    WORDS.contains(&word)
}

/// Reads a line of the shell; else what is wrong, or the help that was asked for.
pub fn parse(line: &str, connection: &Connection) -> std::result::Result<Operation, String> {
    let words = shlex::split(line).ok_or("a quote is not closed")?;
    let line = Line::try_parse_from(connected(words, connection)).map_err(|error| error.to_string())?;
    Ok(line.operation)
}

/// Import and export have connections of their own: they get ours, unless they name one.
pub fn connected(mut words: Vec<String>, connection: &Connection) -> Vec<String> {
    let command = words.iter().find(|word| matches!(word.as_str(), "import" | "export"));
    if command.is_none()
        || words.iter().any(|word| word.starts_with("--url") || word == "--help" || word == "-h")
    {
        return words;
    }
    words.extend(["--url".to_owned(), connection.url()]);
    if !connection.username.is_empty() {
        words.extend(["--user".to_owned(), connection.username.clone()]);
        words.extend(connection.password.iter().map(|password| format!("--password={password}")));
    }
    words
}

fn ping(client: &Client) -> Result<()> {
    let started = std::time::Instant::now();
    let version = client.ping()?;
    println!(
        "{} version {version} answered in {:.1} ms",
        client.address(),
        started.elapsed().as_secs_f64() * 1e3
    );
    Ok(())
}

fn health(client: &Client) -> Result<()> {
    let (status, text) = client.text("/health")?;
    let health: Value =
        serde_json::from_str(&text).map_err(|_| Error::Refused(format!("HTTP {status}: {text}")))?;
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    println!("{}: {}", text(&health, "status"), text(&health, "message"));
    for check in health["checks"].as_array().into_iter().flatten() {
        println!("  {}: {}: {}", text(check, "name"), text(check, "status"), text(check, "message"));
    }
    if status == 200 { Ok(()) } else { Err(Error::Refused("the server is not well".to_owned())) }
}
