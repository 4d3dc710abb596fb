//! The `hyperbytedb` binary: reads the configuration, puts the parts together, listens, and stops in order.

mod backup;
mod batch;
mod cluster;
mod cluster_command;
mod compose;
mod config;
mod debug;
mod diagnostics;
mod disk;
mod engine;
mod engine_command;
mod first_users;
mod graphite;
mod head_file;
mod line_listener;
mod listeners;
mod logging;
mod metrics;
mod opentsdb;
mod options;
mod proxy;
mod restore;
mod serve;
mod trace_parent;
mod traces;
mod udp;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use hyperbytedb_application::auth::privileges;

use crate::config::Config;

/// glibc's keeps most of what a load has used; this one gives it back within seconds.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What the allocator reads at its start: memory goes back after a second without use, not after ten.
#[unsafe(export_name = "_rjem_malloc_conf")]
static ALLOCATOR_OPTIONS: &AllocatorOptions = &AllocatorOptions(*b"dirty_decay_ms:1000,muzzy_decay_ms:0\0");

/// Of the layout of a C string; the allocator wants a pointer to it.
#[repr(transparent)]
struct AllocatorOptions([u8; 37]);

/// A time-series database that speaks InfluxDB 1.x.
#[derive(Debug, Parser)]
#[command(name = "hyperbytedb", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server.
    Serve {
        /// Configuration file (TOML).
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Listen in front of a cluster's nodes, for clients that can name only one address.
    Proxy {
        /// Configuration file (TOML).
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Print the effective configuration, with comments.
    Config {
        /// Configuration file (TOML).
        #[arg(long)]
        config: Option<PathBuf>,
        /// Print the reference of all keys instead.
        #[arg(long, conflicts_with = "config")]
        markdown: bool,
        /// Print what this configuration file of InfluxDB 1.x says in our keys, and what has no counterpart.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "markdown"])]
        from_influxdb: Option<PathBuf>,
    },
    /// Back up a running server, or check a backup.
    Backup(backup::BackupArguments),
    /// Look at a cluster, and change who is in it.
    Cluster(cluster_command::ClusterArguments),
    /// Look into the data folder of a stopped server, or into a copy.
    Debug(debug::DebugArguments),
    /// Move the points between the embedded engine and ClickHouse servers.
    Engine(engine_command::EngineArguments),
    /// Restore a backup, as a new data folder or into a running server.
    Restore(restore::RestoreArguments),
    /// Commands that talk to a server, ours or InfluxDB's.
    #[command(flatten)]
    Migration(hyperbytedb_migration::Command),
    /// Print the limits and what happens past them, as Markdown.
    Limits,
    /// Print the reference of all metrics, as Markdown.
    Metrics,
    /// Print what each statement takes where authentication is on, as Markdown.
    Privileges,
    /// Print the completions of a shell: bash, zsh, fish, …
    Completions { shell: clap_complete::Shell },
    /// Write the man pages into a folder.
    Man { folder: PathBuf },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hyperbytedb: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, Box<dyn std::error::Error>> {
    match command {
        Command::Serve { config } => {
            let config = Config::load(config.as_deref())?;
            let _traces = logging::init(&config)?;
            serve::serve(&config)?;
        }
        Command::Metrics => {
            print!("{}", metrics::markdown());
        }
        Command::Proxy { config } => {
            let config = Config::load(config.as_deref())?;
            let _traces = logging::init(&config)?;
            proxy::run(&config)?;
        }
        Command::Privileges => {
            print!("{}", privileges::markdown());
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "hyperbytedb", &mut std::io::stdout());
        }
        Command::Man { folder } => clap_mangen::generate_to(Arguments::command(), &folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?,
        Command::Limits => print!("{}", config::print_limits(&Config::default())),
        Command::Config { markdown: true, .. } => {
            print!("{}", config::print_markdown(&Config::default()));
        }
        Command::Config { from_influxdb: Some(path), .. } => {
            let named = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let theirs = std::fs::read_to_string(&path).map_err(|error| named(&error))?;
            print!("{}", config::from_influxdb(&theirs).map_err(|error| named(&error))?);
        }
        Command::Config { config, .. } => {
            print!("{}", config::print_toml(&Config::load(config.as_deref())?));
        }
        Command::Cluster(arguments) => cluster_command::run(arguments)?,
        Command::Engine(arguments) => engine_command::run(arguments)?,
        Command::Backup(arguments) => backup::run(arguments)?,
        Command::Restore(arguments) => restore::run(arguments)?,
        Command::Migration(command) => return Ok(command.run()),
        Command::Debug(arguments) => debug::run(arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}
