//! The command line. Flags are those of `influx`, with one dash or two, as Go's programs take them.

use clap::{Arg, ArgAction, Args, CommandFactory, Parser};

use crate::operations::Operation;

/// The shell of HyperbyteDB: queries, writes and the work of operators, also with InfluxDB 1.x.
#[derive(Debug, Parser)]
#[command(name = "hyperbytedb-cli", version, args_override_self = true, after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    pub connection: Connection,
    /// Database to begin with.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub database: String,
    /// Run these commands, one a line, and end.
    #[arg(long, value_name = "COMMANDS", allow_hyphen_values = true)]
    pub execute: Option<String>,
    /// Form of the answers: column, csv, json or chart.
    #[arg(long, default_value = "column", allow_hyphen_values = true)]
    pub format: String,
    /// Of times in answers and in `insert`: rfc3339, h, m, s, ms, u or ns.
    #[arg(long, default_value = "ns", allow_hyphen_values = true)]
    pub precision: String,
    /// Of writes: any, one, quorum or all.
    #[arg(long, default_value = "all", allow_hyphen_values = true)]
    pub consistency: String,
    /// Number of the node that answers queries.
    #[arg(long, default_value_t = 0)]
    pub node: u64,
    /// Indent JSON.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub pretty: bool,
    /// Import a file that `influx_inspect export` or this shell's `export` has written.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub import: bool,
    /// The file to import.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub path: String,
    /// Points a second that an import writes at most; 0: as many as go.
    #[arg(long, default_value_t = 0)]
    pub pps: u64,
    /// The file to import is compressed with gzip.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub compressed: bool,
    #[command(subcommand)]
    pub operation: Option<Operation>,
}

/// Which server, and who asks.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// Host of the server.
    #[arg(long, default_value = "localhost", allow_hyphen_values = true)]
    pub host: String,
    /// Port of the server.
    #[arg(long, default_value_t = 8086)]
    pub port: u16,
    /// Unix socket of the server, in place of host and port.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub socket: String,
    /// Path under which the server is, behind a proxy.
    #[arg(
        long = "path-prefix",
        visible_alias = "url-prefix",
        default_value = "",
        allow_hyphen_values = true
    )]
    pub path_prefix: String,
    /// Name of the user.
    #[arg(long, default_value = "", env = "INFLUX_USERNAME", allow_hyphen_values = true)]
    pub username: String,
    /// Password of the user; empty: it is asked for.
    #[arg(long, env = "INFLUX_PASSWORD", hide_env_values = true, allow_hyphen_values = true)]
    pub password: Option<String>,
    /// Use HTTPS.
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub ssl: bool,
    /// Do not check the server's certificate.
    #[arg(long = "unsafeSsl", action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true")]
    pub unsafe_ssl: bool,
}

impl Connection {
    /// Where requests go: over a socket the host is of no account.
    pub fn url(&self) -> String {
        let scheme = if self.ssl { "https" } else { "http" };
        let host = if self.host.contains(':') && !self.host.starts_with('[') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        let server = match self.socket.as_str() {
            "" => format!("{scheme}://{host}:{}", self.port),
            _ => "http://localhost".to_owned(),
        };
        match self.path_prefix.trim_matches('/') {
            "" => server,
            prefix => format!("{server}/{prefix}"),
        }
    }

    /// What people are told of it.
    pub fn address(&self) -> String {
        if self.socket.is_empty() { self.url() } else { self.socket.clone() }
    }
}

const EXAMPLES: &str = "Examples:
  hyperbytedb-cli -database metrics -execute 'SELECT * FROM cpu' -format json -pretty
  hyperbytedb-cli -database metrics -execute 'SELECT mean(usage) FROM cpu WHERE time > now() - 1h GROUP BY time(1m)' -format chart
  hyperbytedb-cli -host db1 -port 8086 statements --limit 10";

/// The arguments with two dashes before each flag, up to the subcommand, which has its own. What follows a flag as its
/// value stays as it is.
pub fn with_two_dashes(arguments: impl IntoIterator<Item = String>) -> Vec<String> {
    let command = Arguments::command();
    let takes_value = |flag: &str| {
        let is_meant = |argument: &&Arg| {
            argument.get_long() == Some(flag)
                || argument.get_all_aliases().is_some_and(|aliases| aliases.contains(&flag))
        };
        let argument = command.get_arguments().find(is_meant);
        argument
            .is_some_and(|argument| argument.get_action().takes_values() && !argument.is_require_equals_set())
    };
    let mut arguments = arguments.into_iter();
    let mut normal: Vec<String> = arguments.next().into_iter().collect();
    while let Some(argument) = arguments.next() {
        let flag = argument.trim_start_matches('-');
        if !argument.starts_with('-') || argument == "--" {
            normal.push(argument);
            break;
        }
        let value = if takes_value(flag) { arguments.next() } else { None };
        normal.push(if flag.chars().count() > 1 { format!("--{flag}") } else { argument });
        normal.extend(value);
    }
    normal.extend(arguments);
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Arguments {
        let arguments = ["hyperbytedb-cli"].iter().chain(arguments).map(|&argument| argument.to_owned());
        Arguments::try_parse_from(with_two_dashes(arguments)).unwrap()
    }

    #[test]
    fn flags_take_one_dash_or_two() {
        let arguments =
            parsed(&["-host", "h", "--port=1", "-execute", "-execute", "-pretty", "-unsafeSsl=false"]);
        assert_eq!((arguments.connection.host.as_str(), arguments.connection.port), ("h", 1));
        assert_eq!(arguments.execute.as_deref(), Some("-execute"));
        assert!(arguments.pretty && !arguments.connection.unsafe_ssl);
    }

    #[test]
    fn a_prefix_has_two_names() {
        for flag in ["-path-prefix", "-url-prefix"] {
            let arguments = parsed(&[flag, "/metrics/db", "-node", "2"]);
            assert_eq!((arguments.connection.path_prefix.as_str(), arguments.node), ("/metrics/db", 2));
            assert_eq!(arguments.connection.url(), "http://localhost:8086/metrics/db");
        }
    }

    #[test]
    fn flags_behind_the_subcommand_are_its_own() {
        let arguments = parsed(&["-port", "1", "statements", "--limit", "3"]);
        assert!(matches!(arguments.operation, Some(Operation::Statements(_))));
    }

    #[test]
    fn the_command_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
