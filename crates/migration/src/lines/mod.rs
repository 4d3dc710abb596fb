//! `import lines`: files of line protocol, plain or compressed by gzip.
//!
//! Also reads what `influx_inspect export` writes and `influx -import` reads: statements behind `# DDL`, lines behind
//! `# DML`, and comments that say which database and policy the lines behind them belong to. Statements behind
//! [`AFTER_IMPORT`] are run when all points have arrived.
//!
//! Of two points of a file with the same series and time the later one must win, over several connections too. So the
//! lines of a series always take the same one.

mod lane;
mod reader;
mod state;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::client::{Connection, Server, Target};
use crate::error::Error;
use crate::progress::Progress;
use crate::write::{Batch, Lanes, Pool, Report, WriteOptions};
use reader::{Input, total_bytes};
use state::{Position, State, Tracker};

/// What `export` writes before statements that would keep the points out if they came before them. To others, a comment.
pub const AFTER_IMPORT: &str = "# AFTER-IMPORT: ";

#[derive(Debug, Args)]
pub struct ImportLines {
    #[command(flatten)]
    connection: Connection,
    /// Database of lines before the first `# CONTEXT-DATABASE:`.
    #[arg(long)]
    database: Option<String>,
    /// Retention policy of lines before the first `# CONTEXT-RETENTION-POLICY:`; the default one if not given.
    #[arg(long)]
    retention_policy: Option<String>,
    /// Unit of the times.
    #[arg(long, default_value = "ns", value_parser = ["ns", "us", "ms", "s", "m", "h"])]
    precision: String,
    #[command(flatten)]
    write: WriteOptions,
    /// File that remembers how far the import is, until it is through; the next run goes on from there. Beside the first
    /// FILE if not given; standard input has none.
    #[arg(long)]
    state: Option<PathBuf>,
    /// Files of line protocol; - is standard input.
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl ImportLines {
    pub fn run(&self) -> Result<bool, Error> {
        let server = Server::new(&self.connection)?;
        let mut state = State::open(self.state_file(), &self.files)?;
        let report = Arc::new(Report::resumed(state.accepted, state.refused));
        let tracker = Arc::new(Tracker::default());
        let pool = {
            let tracker = tracker.clone();
            Pool::start(&server, &self.write, Lanes::Ordered, &report, move |ticket| tracker.done(ticket))
        };
        let progress = Progress::start(total_bytes(&self.files), &report);
        let lanes = usize::from(self.write.connections);
        let mut import = Importing {
            command: self,
            server,
            pool,
            tracker,
            report,
            progress,
            batches: (0..lanes).map(|_| Batch::default()).collect(),
            target: Arc::default(),
            next_ticket: 0,
        };
        let read = import.files(&mut state);
        import.finish(read, state)
    }

    fn state_file(&self) -> Option<PathBuf> {
        let beside = || {
            let first = self.files.first().filter(|file| file.as_os_str() != "-")?;
            let mut name = first.clone().into_os_string();
            name.push(".import-state");
            Some(name.into())
        };
        self.state.clone().or_else(beside)
    }

    /// Where lines go that no comment says otherwise of.
    fn first_target(&self) -> Target {
        Target {
            database: self.database.clone().unwrap_or_default(),
            policy: self.retention_policy.clone().unwrap_or_default(),
            precision: self.precision.clone(),
        }
    }
}

/// What a comment says about the lines behind it.
enum Comment<'a> {
    Statements,
    Lines,
    Database(&'a str),
    Policy(&'a str),
    Behind(&'a str),
    Nothing,
}

fn comment(line: &[u8]) -> Comment<'_> {
    let Ok(text) = std::str::from_utf8(line) else { return Comment::Nothing };
    if let Some(name) = text.strip_prefix("# CONTEXT-DATABASE:") {
        Comment::Database(name.trim())
    } else if let Some(name) = text.strip_prefix("# CONTEXT-RETENTION-POLICY:") {
        Comment::Policy(name.trim())
    } else if let Some(statement) = text.strip_prefix(AFTER_IMPORT) {
        Comment::Behind(statement.trim())
    } else if text.starts_with("# DDL") {
        Comment::Statements
    } else if text.starts_with("# DML") {
        Comment::Lines
    } else {
        Comment::Nothing
    }
}

struct Importing<'a> {
    command: &'a ImportLines,
    server: Server,
    pool: Pool,
    tracker: Arc<Tracker>,
    report: Arc<Report>,
    progress: Progress,
    /// One a lane.
    batches: Vec<Batch>,
    target: Arc<Target>,
    next_ticket: u64,
}

impl Importing<'_> {
    fn files(&mut self, state: &mut State) -> Result<(), Error> {
        let first = std::mem::take(&mut state.position);
        let mut before = 0;
        for (number, file) in self.command.files.iter().enumerate().skip(first.file) {
            let mut input = Input::open(file)?;
            let mut position = Position { file: number, ..Position::default() };
            self.target(self.command.first_target());
            if number == first.file && first.offset > 0 {
                input.skip(first.offset, first.line)?;
                position = first.clone();
                self.target(Target {
                    database: position.database.clone(),
                    policy: position.policy.clone(),
                    precision: self.command.precision.clone(),
                });
            }
            self.lines(&mut input, &mut position, state, before)?;
            self.flush()?;
            before += input.bytes_read();
        }
        Ok(())
    }

    fn lines(
        &mut self,
        input: &mut Input,
        position: &mut Position,
        state: &mut State,
        before: u64,
    ) -> Result<(), Error> {
        while let Some(line) = input.next_line()? {
            (position.offset, position.line) = (line.offset, line.number);
            let text = line.text.trim_ascii_end();
            if text.starts_with(b"#") {
                match comment(text) {
                    Comment::Behind(statement) => state.add_behind(statement),
                    comment => self.comment(comment, position)?,
                }
            } else if position.statements && !text.is_empty() {
                self.statement(&String::from_utf8_lossy(text), line.number);
            } else if !text.is_empty() {
                self.line(line.text, position)?;
            }
            if line.number.is_multiple_of(1000) {
                self.progress.update(before + input.bytes_read());
                state.save_now_and_then(
                    || self.tracker.oldest().unwrap_or_else(|| position.clone()),
                    &self.report,
                )?;
            }
        }
        Ok(())
    }

    fn comment(&mut self, comment: Comment<'_>, position: &mut Position) -> Result<(), Error> {
        let mut target = Target::clone(&self.target);
        match comment {
            Comment::Statements => position.statements = true,
            Comment::Lines => position.statements = false,
            Comment::Database(name) => target.database = name.to_owned(),
            Comment::Policy(name) => target.policy = name.to_owned(),
            Comment::Behind(_) | Comment::Nothing => return Ok(()),
        }
        if target != *self.target {
            self.flush()?;
            self.target(target);
        }
        Ok(())
    }

    fn target(&mut self, target: Target) {
        self.target = Arc::new(target);
    }

    /// What a server refuses of the statements is told and does not stop the lines.
    fn statement(&self, statement: &str, number: u64) {
        if let Err(error) = self.server.query(&self.target.database, statement) {
            self.report.refuse_line(Some(number), statement.as_bytes(), &error.to_string());
        }
    }

    fn line(&mut self, line: &[u8], position: &mut Position) -> Result<(), Error> {
        if self.target.database.is_empty() {
            let text = format!(
                "line {}: no database: give --database, or a line # CONTEXT-DATABASE:",
                position.line
            );
            return Err(Error::usage(text));
        }
        let lane = lane::of(line, self.batches.len());
        let batch = &mut self.batches[lane];
        if batch.lines() == 0 {
            position.database.clone_from(&self.target.database);
            position.policy.clone_from(&self.target.policy);
            *batch = Batch::new(&self.target, self.next_ticket);
            self.tracker.begin(self.next_ticket, position.clone());
            self.next_ticket += 1;
        }
        batch.push(line, position.line);
        if batch.is_full(&self.command.write) { self.submit(lane) } else { Ok(()) }
    }

    fn submit(&mut self, lane: usize) -> Result<(), Error> {
        let batch = std::mem::take(&mut self.batches[lane]);
        if batch.lines() == 0 { Ok(()) } else { self.pool.submit(lane, batch) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        (0..self.batches.len()).try_for_each(|lane| self.submit(lane))
    }

    /// Waits for the connections, and keeps the state for the next run unless all was read.
    fn finish(self, read: Result<(), Error>, mut state: State) -> Result<bool, Error> {
        let sent = self.pool.finish();
        self.progress.finish();
        match (sent, read) {
            (Ok(()), Ok(())) => {
                for statement in &state.behind {
                    match self.server.query("", statement) {
                        Err(Error::Statement { text, .. }) => {
                            self.report.refuse_line(None, statement.as_bytes(), &text);
                        }
                        ran => drop(ran?),
                    }
                }
                state.remove()?;
                Ok(self.report.refused() == 0)
            }
            (Err(error), _) | (_, Err(error)) => {
                state.stop(self.tracker.oldest(), &self.report)?;
                Err(error)
            }
        }
    }
}
