//! Statements of operators: each on a connection of its own, which can do nothing but read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use chdb_rust::format::OutputFormat;
use crossbeam_channel::{RecvTimeoutError, bounded};
use hyperbytedb_clickhouse_sql::raw::{Listing, RawSelect, RawStatement, Refused, normalized, view};
use hyperbytedb_clickhouse_sql::schema::table_name;
use hyperbytedb_domain::ports::{SqlAnswer, SqlError, SqlPort, SqlStatement, SqlText};
use hyperbytedb_domain::{EngineError, QueryContext};

use crate::engine::ChdbEngine;
use crate::error::exception;
use crate::killer::StatementTag;
use crate::pool::{WATCH_INTERVAL, connect};
use crate::worker::STACK_BYTES;

/// Elements of a statement's tree, those of the tables that it reads among them.
const AST_ELEMENTS_MAX: u32 = 100_000;

/// The formats that write nothing but the answer and need nothing but it.
const FORMATS: &[OutputFormat] = &[
    OutputFormat::TabSeparated,
    OutputFormat::TabSeparatedRaw,
    OutputFormat::TabSeparatedWithNames,
    OutputFormat::TabSeparatedWithNamesAndTypes,
    OutputFormat::CSV,
    OutputFormat::CSVWithNames,
    OutputFormat::Values,
    OutputFormat::Vertical,
    OutputFormat::JSON,
    OutputFormat::JSONStrings,
    OutputFormat::JSONColumns,
    OutputFormat::JSONCompact,
    OutputFormat::JSONCompactStrings,
    OutputFormat::JSONEachRow,
    OutputFormat::JSONStringsEachRow,
    OutputFormat::JSONCompactEachRow,
    OutputFormat::JSONCompactEachRowWithNames,
    OutputFormat::JSONCompactEachRowWithNamesAndTypes,
    OutputFormat::Pretty,
    OutputFormat::PrettyCompact,
    OutputFormat::Parquet,
    OutputFormat::Arrow,
    OutputFormat::ArrowStream,
    OutputFormat::ORC,
    OutputFormat::RowBinary,
    OutputFormat::RowBinaryWithNamesAndTypes,
    OutputFormat::Native,
    OutputFormat::Null,
    OutputFormat::XML,
    OutputFormat::Markdown,
    OutputFormat::MsgPack,
];

/// Other names of formats.
const ALIASES: [(&str, OutputFormat); 5] = [
    ("TSV", OutputFormat::TabSeparated),
    ("TSVRaw", OutputFormat::TabSeparatedRaw),
    ("TSVWithNames", OutputFormat::TabSeparatedWithNames),
    ("TSVWithNamesAndTypes", OutputFormat::TabSeparatedWithNamesAndTypes),
    ("JSONLines", OutputFormat::JSONEachRow),
];

fn format(name: &str) -> Result<OutputFormat, SqlError> {
    let named = FORMATS.iter().map(|format| (format.as_str(), *format)).chain(ALIASES);
    let found = named.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, format)| format).ok_or_else(|| SqlError::Refused(format!("unknown format {name:?}")))
}

fn refused(refused: Refused) -> SqlError {
    SqlError::Refused(refused.to_string())
}

fn parse(statement: &SqlStatement<'_>) -> Result<RawStatement, Refused> {
    let Some((listing, format)) = Listing::parse(statement.text)? else {
        return RawStatement::parse(statement.text);
    };
    let databases = statement.catalog.databases.keys().map(String::as_str);
    let tables = statement.policy.into_iter().flat_map(|policy| policy.tables.values()).map(|table| &**table);
    listing.statement(databases, tables, format)
}

impl SqlPort for ChdbEngine {
    fn read(&self, text: &str) -> Result<SqlText, SqlError> {
        let normalized = normalized(text).map_err(refused)?;
        if Listing::parse(text).map_err(refused)?.is_some() {
            return Ok(SqlText { normalized, ..SqlText::default() });
        }
        let statement = RawStatement::parse(text).map_err(refused)?;
        Ok(SqlText { names: statement.names().into_iter().map(str::to_owned).collect(), normalized })
    }

    fn run(&self, statement: &SqlStatement<'_>, context: &QueryContext) -> Result<SqlAnswer, SqlError> {
        let parsed = parse(statement).map_err(refused)?;
        let format = format(parsed.format.as_deref().unwrap_or(statement.format))?;
        let mut views = Vec::with_capacity(statement.tables.len());
        for (table, rows) in &statement.tables {
            if !self.complete_table(table, context)? {
                self.create_table(table)?;
            }
            views.push((table.measurement.clone(), view(table, table_name(table.id), rows)));
        }
        let sql = RawSelect::new(parsed, views, statement.parameters).map_err(refused)?.to_string();
        tracing::debug!(target: "hyperbytedb::sql", %sql);
        let tag = StatementTag::next();
        let arguments = self.reading_arguments(&tag, statement.max_result_bytes, context);
        let body = self.run_alone(arguments, sql, format, tag, context)?;
        // The engine counts a constant once, however often it is written; the memory of the statement bounds that.
        if body.len() as u64 > statement.max_result_bytes {
            return Err(SqlError::TooLarge);
        }
        Ok(SqlAnswer { body, format: format.as_str().to_owned() })
    }
}

impl ChdbEngine {
    /// Arguments of a connection that can only read, within the bounds of the context. Read-only mode also keeps the
    /// statement from changing them.
    fn reading_arguments(
        &self,
        tag: &StatementTag,
        max_result_bytes: u64,
        context: &QueryContext,
    ) -> Vec<String> {
        let mut own: Vec<(&str, String)> = vec![
            ("readonly", "1".into()),
            // Tables are looked for in common table expressions of outer statements by this one only.
            ("allow_experimental_analyzer", "1".into()),
            ("log_comment", tag.0.clone()),
            ("max_result_bytes", max_result_bytes.to_string()),
            ("result_overflow_mode", "throw".into()),
            ("max_query_size", (64_u32 << 20).to_string()),
            ("max_ast_elements", AST_ELEMENTS_MAX.to_string()),
            ("max_expanded_ast_elements", AST_ELEMENTS_MAX.to_string()),
            // One series and time is always in one partition.
            ("do_not_merge_across_partitions_select_final", "1".into()),
        ];
        if let Some(deadline) = context.deadline {
            let remaining = deadline.saturating_duration_since(Instant::now());
            // Zero would mean no limit.
            own.push(("max_execution_time", format!("{:.3}", remaining.as_secs_f64().max(0.001))));
        }
        for (name, limit) in [
            ("max_memory_usage", context.max_memory_bytes),
            ("max_rows_to_read", context.max_rows_read),
            ("max_threads", u64::from(context.max_threads)),
        ] {
            if limit > 0 {
                own.push((name, limit.to_string()));
            }
        }
        let path = self.data_path.to_string_lossy();
        let mut arguments = self.options.arguments(&path);
        // An argument may come once only.
        arguments.retain(|argument| {
            let name = argument.trim_start_matches("--").split('=').next().unwrap_or_default();
            own.iter().all(|(own, _)| *own != name)
        });
        arguments.extend(own.into_iter().map(|(name, value)| format!("--{name}={value}")));
        arguments
    }

    /// Runs a statement on a thread and a connection that end with it.
    fn run_alone(
        &self,
        arguments: Vec<String>,
        sql: String,
        format: OutputFormat,
        tag: StatementTag,
        context: &QueryContext,
    ) -> Result<Vec<u8>, SqlError> {
        context.check()?;
        self.wait_until_open()?;
        let (answer, result) = bounded(1);
        let run = move || {
            let outcome = connect(&arguments).map_err(SqlError::Engine).and_then(|connection| {
                let answer = connection.query(&sql, format).map_err(|e| exception(e).into_sql_error())?;
                Ok(answer.data_ref().to_vec())
            });
            // Somebody always waits.
            let _ = answer.send(outcome);
        };
        thread::Builder::new()
            .name("chdb-sql".into())
            .stack_size(STACK_BYTES)
            .spawn(run)
            .map_err(|e| EngineError::failed("starting a thread", e))?;
        let mut stopped: Option<(EngineError, Arc<AtomicBool>)> = None;
        // Until it has ended also when it must: nothing of it may outlive the engine.
        let outcome = loop {
            match result.recv_timeout(WATCH_INTERVAL) {
                Ok(outcome) => break outcome,
                Err(RecvTimeoutError::Disconnected) => {
                    break Err(EngineError::failed("running a statement", "its thread panicked").into());
                }
                Err(RecvTimeoutError::Timeout) => {
                    if stopped.is_none()
                        && let Err(error) = context.check()
                    {
                        let finished = Arc::new(AtomicBool::new(false));
                        self.killer.kill(tag.clone(), Arc::clone(&finished));
                        stopped = Some((error, finished));
                    }
                }
            }
        };
        match stopped {
            Some((error, finished)) => {
                finished.store(true, Ordering::Release);
                Err(error.into())
            }
            None => outcome,
        }
    }
}
