//! What a person or a script says, line by line: the commands of `influx`, statements, and the operations of ours.

use std::io::{self, BufWriter};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::crossterm::terminal;

use crate::arguments::{Arguments, Connection};
use crate::client::{Client, Query, Target};
use crate::error::{Error, Result};
use crate::format::{self, Format, TabWriter};
use crate::{history, insert, operations, password};

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    Continue,
    Quit,
}

pub struct Session {
    pub connection: Connection,
    pub client: Client,
    pub database: String,
    policy: String,
    /// A name that is none shows at the first answer, as in `influx`.
    format: Result<Format, String>,
    pretty: bool,
    /// Empty: RFC 3339.
    precision: String,
    consistency: String,
    chunked: bool,
    chunk_size: u64,
    node: u64,
    /// Answers go to a person, not to a program.
    pub interactive: bool,
    /// Set by an interrupt, which ends the query at work.
    pub interrupted: Arc<AtomicBool>,
    /// A command, not a statement, failed: scripts go on, and see it at the end.
    pub failed: bool,
}

impl Session {
    pub fn new(arguments: &Arguments) -> Result<Self> {
        let mut session = Self {
            connection: arguments.connection.clone(),
            client: Client::new(&arguments.connection)?,
            database: arguments.database.clone(),
            policy: String::new(),
            format: Format::named(&arguments.format).ok_or_else(|| arguments.format.clone()),
            pretty: arguments.pretty,
            precision: "ns".to_owned(),
            consistency: arguments.consistency.clone(),
            chunked: true,
            chunk_size: 0,
            node: arguments.node,
            interactive: false,
            interrupted: Arc::default(),
            failed: false,
        };
        session.set_precision(&arguments.precision);
        Ok(session)
    }

    /// Runs one line. An error is one of a statement, which has been shown already.
    pub fn run(&mut self, line: &str) -> Result<Flow> {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let value = rest.trim();
        match word.to_ascii_lowercase().as_str() {
            "" => {}
            "exit" | "quit" => return Ok(Flow::Quit),
            "connect" => self.connect(value)?,
            "auth" => self.log_in(value)?,
            "help" => println!("{HELP}"),
            "history" => self.show_history(),
            "format" => self.set_format(value),
            "precision" => self.set_precision(value),
            "consistency" => self.set_consistency(value),
            "settings" => self.show_settings()?,
            "chunked" => {
                self.chunked = !self.chunked;
                println!(
                    "chunked {} {}",
                    if self.chunked { "responses" } else { "reponses" },
                    on_off(self.chunked)
                );
            }
            "chunk" => self.set_chunk_size(value),
            "pretty" => {
                self.pretty = !self.pretty;
                println!("Pretty print {}", on_off(self.pretty));
            }
            "use" => self.use_database(line, value)?,
            "node" => self.set_node(value),
            "clear" => self.clear(value),
            "insert" => self.insert(rest)?,
            command if operations::is_operation(command) => self.operate(line)?,
            _ => self.query(line)?,
        }
        Ok(Flow::Continue)
    }

    fn complain(&mut self, text: impl std::fmt::Display) {
        println!("{text}");
        self.failed = true;
    }

    fn connect(&mut self, address: &str) -> Result<()> {
        let mut connection = self.connection.clone();
        if !address.is_empty() {
            let (host, port) = address.rsplit_once(':').unwrap_or((address, "8086"));
            connection.port =
                port.parse().map_err(|_| Error::Usage(format!("{port} is no port: connect host:port")))?;
            connection.host = host.to_ascii_lowercase();
            connection.socket.clear();
        }
        let client = Client::new(&connection)?;
        client.ping()?;
        (self.connection, self.client) = (connection, client);
        Ok(())
    }

    fn log_in(&mut self, value: &str) -> Result<()> {
        let words: Vec<&str> = value.split_whitespace().collect();
        let (username, password) = match words.as_slice() {
            [username, password] => ((*username).to_owned(), (*password).to_owned()),
            _ => (password::ask("username: ", true)?, password::ask("password: ", false)?),
        };
        self.client.log_in(&username, &password);
        self.connection.username = username;
        self.connection.password = Some(password);
        Ok(())
    }

    fn show_history(&mut self) {
        match history::open().map(|history| history::lines(&history)) {
            Ok(lines) => lines.iter().for_each(|line| println!("{line}")),
            Err(error) => self.complain(error),
        }
    }

    fn set_format(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        match Format::named(&name) {
            Some(format) => self.format = Ok(format),
            None => self.complain(format!("Unknown format {name:?}. Please use json, csv, column or chart.")),
        }
    }

    fn set_precision(&mut self, name: &str) {
        match name.to_ascii_lowercase().as_str() {
            "rfc3339" => self.precision.clear(),
            name @ ("h" | "m" | "s" | "ms" | "u" | "ns") => self.precision = name.to_owned(),
            name => self
                .complain(format!("Unknown precision {name:?}. Please use rfc3339, h, m, s, ms, u or ns.")),
        }
    }

    fn set_consistency(&mut self, name: &str) {
        match name.to_ascii_lowercase().as_str() {
            name @ ("any" | "one" | "quorum" | "all") => self.consistency = name.to_owned(),
            name => {
                self.complain(format!(
                    "Unknown consistency level {name:?}. Please use any, one, quorum, or all."
                ));
            }
        }
    }

    fn set_chunk_size(&mut self, value: &str) {
        let value = value.to_ascii_lowercase();
        let value = value.strip_prefix("size").unwrap_or(&value).trim();
        match value.parse::<i64>() {
            Ok(size) => {
                self.chunk_size = size.try_into().unwrap_or(0);
                println!("chunk size set to {}", self.chunk_size);
            }
            Err(_) => self.complain(format!("unable to parse chunk size from {value:?}")),
        }
    }

    fn set_node(&mut self, value: &str) {
        let value = value.trim_end_matches(';');
        match value {
            "clear" => self.node = 0,
            _ if value.is_empty() || value.contains(' ') => {
                self.complain("Improper number of arguments for 'node' command, requires exactly one.");
            }
            _ => match value.parse() {
                Ok(node) => self.node = node,
                Err(_) => {
                    self.complain(format!(
                        "Unable to parse node id from {value}. Must be an integer or 'clear'."
                    ));
                }
            },
        }
    }

    fn clear(&mut self, value: &str) {
        match value.trim_end_matches(';').to_ascii_lowercase().as_str() {
            "database" | "db" => {
                self.database.clear();
                println!("database context cleared");
            }
            "retention policy" | "rp" => {
                self.policy.clear();
                println!("retention policy context cleared");
            }
            "" => println!("{CLEAR_HELP}"),
            other => self.complain(format!("invalid command {other:?}.\n{CLEAR_HELP}")),
        }
    }

    fn show_settings(&self) -> Result<()> {
        let host = format!("{}:{}", self.connection.host, self.connection.port);
        let host = if self.connection.socket.is_empty() { host } else { self.connection.socket.clone() };
        let mut lines = TabWriter::default();
        for (name, value) in [
            ("Setting", "Value"),
            ("--------", "--------"),
            ("Host", &host),
            ("Username", &self.connection.username),
            ("Database", &self.database),
            ("RetentionPolicy", &self.policy),
            ("Pretty", &self.pretty.to_string()),
            ("Format", self.format.as_ref().map_or_else(String::as_str, |format| format.name())),
            ("Write Consistency", &self.consistency),
            ("Chunked", &self.chunked.to_string()),
            ("Chunk Size", &self.chunk_size.to_string()),
        ] {
            lines.line(vec![name.to_owned(), value.to_owned()]);
        }
        lines.line(Vec::new());
        Ok(lines.flush(&mut io::stdout().lock())?)
    }

    fn use_database(&mut self, line: &str, value: &str) -> Result<()> {
        let value = value.trim_end_matches(';');
        if value.is_empty() {
            self.complain(format!("Could not parse database name from {line:?}."));
            return Ok(());
        }
        let Some((database, policy)) = insert::database_and_policy(value) else {
            self.complain(format!("Unable to parse database or retention policy from {value}"));
            return Ok(());
        };
        if !self.exists(&database, "SHOW DATABASES") {
            self.complain(format!(
                "ERR: Database {database} doesn't exist. Run SHOW DATABASES for a list of existing databases.\nDB does not exist!"
            ));
            return Ok(());
        }
        println!("Using database {database}");
        let quoted = format!("\"{}\"", database.replace('\\', r"\\").replace('"', "\\\""));
        if !policy.is_empty() {
            if self.exists(&policy, &format!("SHOW RETENTION POLICIES ON {quoted}")) {
                println!("Using retention policy {policy}");
                self.policy = policy;
            } else {
                self.complain(format!(
                    "ERR: RETENTION POLICY {policy} doesn't exist. Run SHOW RETENTION POLICIES ON {quoted} for a list of existing retention polices."
                ));
            }
        }
        self.database = database;
        Ok(())
    }

    /// Whether a statement answers a name. Who may not ask is believed, with a warning.
    fn exists(&mut self, name: &str, statement: &str) -> bool {
        match self.client.first_column(statement, "") {
            Ok(names) => names.contains(name),
            Err(error) if self.connection.username.is_empty() => {
                self.complain(format!("ERR: {error}"));
                false
            }
            Err(error) => {
                println!("WARN: {error}");
                true
            }
        }
    }

    fn insert(&mut self, text: &str) -> Result<()> {
        let insert = insert::parse(text);
        let target = Target {
            database: insert.database.unwrap_or_else(|| self.database.clone()),
            policy: insert.policy.unwrap_or_else(|| self.policy.clone()),
            precision: self.precision.clone(),
            consistency: self.consistency.clone(),
        };
        if let Err(error) = self.client.write(&target, insert.points.as_bytes().to_vec()) {
            self.complain(format!("ERR: {error}"));
            if self.database.is_empty() {
                println!("{INSERT_NOTE}");
            }
        }
        Ok(())
    }

    /// Runs statements and shows their answer.
    pub fn query(&mut self, text: &str) -> Result<()> {
        let result = self.show_answer(text);
        match &result {
            Err(error) if error.is_closed_output() => {}
            Err(error) => {
                println!("ERR: {error}");
                if matches!(error, Error::Refused(_)) && self.database.is_empty() {
                    println!("{QUERY_NOTE}");
                }
            }
            Ok(()) => {}
        }
        result
    }

    fn show_answer(&self, text: &str) -> Result<()> {
        let format = match &self.format {
            Ok(format) => *format,
            Err(name) => {
                println!("Unknown output format {name:?}.");
                return Ok(());
            }
        };
        let query = Query {
            text: text.to_owned(),
            database: self.database.clone(),
            policy: self.policy.clone(),
            epoch: if format == Format::Chart { "ns".to_owned() } else { self.precision.clone() },
            chunk_size: self.chunked.then_some(self.chunk_size),
            node: self.node,
        };
        let terminal = if self.interactive { width() } else { None };
        let mut printer = format::printer(format, self.pretty, terminal, BufWriter::new(io::stdout().lock()));
        let (mut failure, mut request_error) = (None, None);
        self.interrupted.store(false, Ordering::Relaxed);
        let ended = self.client.query(&query, &self.interrupted, |answer| {
            for result in &answer.results {
                printer.result(result)?;
            }
            failure = failure.take().or_else(|| answer.failure().map(str::to_owned));
            request_error = request_error.take().or(answer.error);
            Ok(())
        });
        match ended {
            // Of a request that failed as a whole, `influx` prints nothing but the error.
            Err(error @ (Error::Request(_) | Error::Interrupted)) => return Err(error),
            Err(Error::Refused(error)) => {
                printer.end(Some(&error))?;
                return Err(Error::Refused(error));
            }
            ended => {
                printer.end(request_error.as_deref())?;
                ended?;
            }
        }
        failure.map_or(Ok(()), |error| Err(Error::Refused(error)))
    }

    fn operate(&mut self, line: &str) -> Result<()> {
        match operations::parse(line, &self.connection) {
            Ok(operation) => {
                if let Err(error) = operation.run(&self.client, &self.interrupted) {
                    self.complain(format!("ERR: {error}"));
                }
            }
            Err(help) => self.complain(help),
        }
        Ok(())
    }
}

/// The width of the terminal, where the output goes to one.
pub fn width() -> Option<u16> {
    use std::io::IsTerminal;
    if io::stdout().is_terminal() { terminal::size().ok().map(|(width, _)| width) } else { None }
}

const fn on_off(on: bool) -> &'static str {
    if on { "enabled" } else { "disabled" }
}

const INSERT_NOTE: &str = "Note: error may be due to not setting a database or retention policy.
Please set a database with the command \"use <database>\" or
INSERT INTO <database>.<retention-policy> <point>";

const QUERY_NOTE: &str = "Warning: It is possible this error is due to not setting a database.
Please set a database with the command \"use <database>\".";

const CLEAR_HELP: &str = "Possible commands for 'clear' are:
    # Clear the database context
    clear database
    clear db

    # Clear the retention policy context
    clear retention policy
    clear rp
\t\t";

const HELP: &str = "Commands:
  use <database>[.<policy>]    choose a database and a retention policy
  insert [into [<database>.]<policy>] <points>
                               write line protocol
  format <format>              column, csv, json or chart (draws series)
  precision <unit>             of times: rfc3339, h, m, s, ms, u or ns
  pretty                       indent JSON, or not
  chunked, chunk size <rows>   take answers in parts, and how large (0: as the server likes)
  consistency <level>          of writes: any, one, quorum or all
  node <id>|clear              the node that answers
  clear database|rp            forget a choice
  auth [<user> <password>]     log in
  connect <host>:<port>        go to another server
  settings, history            show them
  exit, quit, Ctrl-D           leave

  ping, health                 whether the server is there, and well
  statements [--help]          which statements cost most
  top                          throughput, queries and limits, live
  cluster [--help]             nodes, leader and membership
  import|export [--help]       files of line protocol or Parquet

  Tab completes, Ctrl-R searches the history, Ctrl-C ends a query. A statement goes on over the next line while a quote or
  a parenthesis is open, and after Alt-Enter.";
