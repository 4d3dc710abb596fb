//! Running statements: parse, dispatch, and the rules about several statements in one request.

mod ddl;
mod delete;
mod error;
mod rows;
pub mod running;
mod select;
mod show;
mod tag_filter;
mod views;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use hyperbytedb_domain::catalog::{Catalog, Command, Database};
use hyperbytedb_domain::pace::HeavySlots;
use hyperbytedb_domain::ports::{
    CatalogPort, ClusterPort, IngestionPort, NodeInfo, SchemaPort, SeriesIndexPort, WalPort,
};
use hyperbytedb_domain::result::{Message, SeriesBlock};
use hyperbytedb_domain::scan::SortBound;
use hyperbytedb_domain::{CancelToken, QueryContext, StorageError, limits};
use hyperbytedb_executor::{ExecOptions, ExecStats};
use hyperbytedb_metrics as metrics;
use hyperbytedb_timeseriesql::ast::Statement;
use hyperbytedb_timeseriesql::duration::format_duration;
use hyperbytedb_timeseriesql::{BindValue, Params, parse_query_with_params};
use tracing::debug_span;

pub use self::error::StatementError;
pub use self::rows::{Rows, integer, text};
use self::running::RunningQueries;
pub use self::select::IntoPoint;
pub use self::show::catalog::go_duration;
pub use self::show::server::About;
use self::show::stats::Sources;
use crate::api::{
    AnnouncedQuery, DEFAULT_CHUNK_ROWS, Parameter, QueryApi, QueryError, QueryRequest, ResultEvent,
    ResultSink,
};
use crate::auth::access::{Access, authorize};
use crate::commands::CommandService;
use crate::continuous::Runs;
use crate::flush::FlushService;
use crate::log::LogError;
use crate::reader::TableReader;
use crate::statement_summary::{Cost, Described, StatementSummary};
use crate::subscriptions::SubscriberCounts;
use crate::windows::WindowState;

/// Bounds of queries; 0 = none.
#[derive(Debug, Clone)]
pub struct QueryOptions {
    /// Queries that may run at the same time.
    pub max_concurrent: usize,
    /// Time of one request's statements together.
    pub timeout: Option<Duration>,
    /// Engine memory of one scan, in bytes.
    pub max_memory_bytes: u64,
    /// Rows one scan may read.
    pub max_rows_read: u64,
    /// Engine threads of one scan.
    pub max_threads: u32,
    /// InfluxDB's max-select-buckets.
    pub max_select_buckets: usize,
    /// InfluxDB's max-select-point.
    pub max_select_points: usize,
    /// InfluxDB's max-select-series, for each measurement.
    pub max_select_series: u64,
    /// Points that the operators of one SELECT may hold back.
    pub max_buffered_points: usize,
    /// What the engine may sort at one time: longer scans are read in slices.
    pub sort_bound: SortBound,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self {
            max_concurrent: 64,
            timeout: Some(Duration::from_secs(300)),
            max_memory_bytes: 2 << 30,
            max_rows_read: 0,
            max_threads: 0,
            max_select_buckets: 0,
            max_select_points: 0,
            max_select_series: 0,
            max_buffered_points: ExecOptions::default().max_buffered_points,
            sort_bound: SortBound { rows: 1_000_000, bytes: 128 << 20 },
        }
    }
}

/// Runs statements against the services.
pub struct StatementService {
    pub catalog: Arc<dyn CatalogPort>,
    pub series: Arc<dyn SeriesIndexPort>,
    pub reader: TableReader,
    pub wal: Arc<dyn WalPort>,
    pub flush: Arc<FlushService>,
    pub commands: Arc<CommandService>,
    /// Where INTO writes.
    pub ingestion: Arc<dyn IngestionPort>,
    pub running: Arc<RunningQueries>,
    /// `None`: heavy queries need not wait for each other.
    pub heavy: Option<Arc<HeavySlots>>,
    pub summary: Arc<StatementSummary>,
    /// Of continuous queries.
    pub runs: Arc<Runs>,
    /// Of materialized views; `None`: they are not kept.
    pub windows: Option<Arc<WindowState>>,
    pub subscribers: Arc<SubscriberCounts>,
    /// Empty on a node of its own, and until the cluster is there.
    pub cluster: Arc<OnceLock<Arc<dyn ClusterPort>>>,
    pub options: QueryOptions,
    pub about: About,
}

/// Whether all statements of a request succeeded.
struct Success(bool);

/// A statement on its way: the request around it, and where its rows go.
struct Execution<'a> {
    request: &'a QueryRequest,
    statement_id: usize,
    context: QueryContext,
    sink: &'a mut dyn ResultSink,
    messages: Vec<Message>,
    /// What its scans have read.
    rows_read: u64,
    bytes_read: u64,
}

impl Execution<'_> {
    fn emit(&mut self, block: SeriesBlock) -> Result<(), StatementError> {
        let event = ResultEvent::Series { statement_id: self.statement_id, block };
        self.context.while_paused(|| self.sink.emit(event, &self.context))?;
        Ok(self.context.check()?)
    }

    fn emit_documents(&mut self, documents: Vec<Vec<SeriesBlock>>) -> Result<(), StatementError> {
        let event = ResultEvent::Documents { statement_id: self.statement_id, documents };
        self.context.while_paused(|| self.sink.emit(event, &self.context))?;
        Ok(self.context.check()?)
    }

    fn note(&mut self, stats: &ExecStats) {
        metrics::QUERY_ROWS_READ.increment(stats.rows_read);
        metrics::QUERY_BYTES_READ.increment(stats.bytes_read);
        self.rows_read += stats.rows_read;
        self.bytes_read += stats.bytes_read;
    }

    /// Rows of a block at most.
    fn chunk_rows(&self) -> usize {
        self.request.chunk_rows.unwrap_or(DEFAULT_CHUNK_ROWS).max(1)
    }

    /// Emits the blocks in pieces of the chunk size.
    fn emit_chunks(&mut self, blocks: Vec<SeriesBlock>) -> Result<(), StatementError> {
        for mut block in blocks {
            let length = self.chunk_rows().saturating_mul(block.columns.len().max(1));
            while block.values.len() > length {
                let rest = block.values.split_off(length);
                let values = std::mem::replace(&mut block.values, rest);
                self.emit(SeriesBlock { values, partial: true, ..block.clone() })?;
            }
            self.emit(block)?;
        }
        Ok(())
    }

    /// The database a statement is about: its own, else the request's.
    fn database<'b>(&'b self, own: Option<&'b str>) -> &'b str {
        own.filter(|name| !name.is_empty()).unwrap_or(&self.request.database)
    }
}

impl QueryApi for StatementService {
    fn announce(&self, request: QueryRequest) -> Result<AnnouncedQuery, QueryError> {
        let started = Instant::now();
        let announced = debug_span!("parse").in_scope(|| self.parse(request));
        metrics::QUERY_REQUESTS.increment(1);
        metrics::QUERY_PARSE.record_duration(started.elapsed());
        if announced.is_err() {
            metrics::QUERY_ERRORS.increment(1);
        }
        announced
    }

    fn run(&self, query: AnnouncedQuery, sink: &mut dyn ResultSink) -> Result<(), QueryError> {
        let started = Instant::now();
        let outcome = self.run_statements(query, sink);
        if !matches!(outcome, Ok(Success(true))) {
            metrics::QUERY_ERRORS.increment(1);
        }
        metrics::QUERY_DURATION.record_duration(started.elapsed());
        outcome.map(drop)
    }
}

impl StatementService {
    fn parse(&self, request: QueryRequest) -> Result<AnnouncedQuery, QueryError> {
        let params: Params =
            request.parameters.iter().map(|(name, value)| (name.clone(), bind_value(value))).collect();
        let query = parse_query_with_params(&request.text, &params)?;
        authorize(&request.caller, &self.catalog.catalog(), &query.statements, &request.database)?;
        let ticket = Some(self.running.announce(query.to_string(), &request));
        Ok(AnnouncedQuery { request, statements: query.statements, ticket })
    }

    fn run_statements(
        &self,
        query: AnnouncedQuery,
        sink: &mut dyn ResultSink,
    ) -> Result<Success, QueryError> {
        let is_urgent = query.is_urgent();
        let AnnouncedQuery { request, statements, ticket } = query;
        if let Some(ticket) = &ticket {
            if is_urgent {
                ticket.start_at_once();
            } else if !ticket.start() {
                metrics::QUERIES_REFUSED.increment(1);
                return Err(QueryError::TooManyQueries { limit: self.options.max_concurrent });
            }
        }
        let request = &request;
        let context = self.context(&request.cancel);
        let count = statements.len();
        for (statement_id, statement) in statements.into_iter().enumerate() {
            let mut execution = Execution {
                request,
                statement_id,
                context: context.clone(),
                sink,
                messages: Vec::new(),
                rows_read: 0,
                bytes_read: 0,
            };
            let result = match context.check() {
                Ok(()) => debug_span!("statement", number = statement_id)
                    .in_scope(|| self.run_recorded(statement, &mut execution)),
                Err(ended) => Err(ended.into()),
            };
            let (messages, error) = match result {
                Ok(()) => (std::mem::take(&mut execution.messages), None),
                Err(StatementError::Closed(_)) => return Ok(Success(true)),
                Err(error) => (Vec::new(), Some(error)),
            };
            let failed = error.is_some();
            error.as_ref().and_then(StatementError::limit).into_iter().for_each(limits::exceeded);
            for error in reported_errors(error, statement_id + 1 < count, request.chunk_rows.is_some()) {
                let messages = messages.clone();
                if sink.emit(ResultEvent::End { statement_id, messages, error }, &context).is_err() {
                    return Ok(Success(!failed));
                }
            }
            if failed {
                return Ok(Success(false));
            }
        }
        Ok(Success(true))
    }
}

impl SchemaPort for StatementService {
    fn catalog(&self) -> Arc<Catalog> {
        self.catalog.catalog()
    }
}

/// The ends of a statement's results. InfluxDB names no statement after a failed one, but reports the failed one again as
/// not executed when others follow; without chunks the second report takes the place of the first.
fn reported_errors(
    error: Option<StatementError>,
    others_follow: bool,
    chunked: bool,
) -> Vec<Option<StatementError>> {
    let not_executed = Some(StatementError::NotExecuted);
    match (error, others_follow) {
        (Some(error), true) if chunked => vec![Some(error), not_executed],
        (Some(_), true) => vec![not_executed],
        (error, _) => vec![error],
    }
}

impl StatementService {
    /// The bounds of a query that begins now.
    pub(crate) fn context(&self, cancel: &CancelToken) -> QueryContext {
        QueryContext {
            cancel: cancel.clone(),
            deadline: self.options.timeout.map(|t| Instant::now() + t),
            max_memory_bytes: self.options.max_memory_bytes,
            max_rows_read: self.options.max_rows_read,
            max_series: self.options.max_select_series,
            pace: self.heavy.as_ref().map(HeavySlots::pace),
            max_threads: self.options.max_threads,
        }
    }

    /// Runs a statement and adds what that took to the summary.
    fn run_recorded(
        &self,
        statement: Statement,
        execution: &mut Execution<'_>,
    ) -> Result<(), StatementError> {
        metrics::STATEMENTS.with([statement.kind()]).increment(1);
        if !self.summary.is_enabled() {
            return self.run_statement(statement, execution);
        }
        let (described, started) = (Described::new(&statement), Instant::now());
        let result = self.run_statement(statement, execution);
        let cost = Cost {
            latency: started.elapsed(),
            failed: result.as_ref().is_err_and(|error| !matches!(error, StatementError::Closed(_))),
            rows_read: execution.rows_read,
            bytes_read: execution.bytes_read,
        };
        self.summary.record(&execution.request.database, described, cost);
        result
    }

    fn run_statement(
        &self,
        statement: Statement,
        execution: &mut Execution<'_>,
    ) -> Result<(), StatementError> {
        let statement = self.with_defaults(statement, execution)?;
        if execution.request.read_only && !is_read_only(&statement) {
            let statement = self.with_places(&statement, execution);
            let text = format!(
                "deprecated use of '{statement}' in a read only context, please use a POST request instead"
            );
            execution.messages.push(Message { level: "warning", text });
        }
        match statement {
            Statement::Select(select) => self.select(&select, execution),
            Statement::Explain(explain) => self.explain(&explain, execution),
            Statement::Delete(s) => self.remove(execution, |catalog, database| {
                delete::delete(catalog, database, &s.sources, s.condition.as_ref())
            }),
            Statement::DropSeries(s) => self.remove(execution, |catalog, database| {
                delete::drop_series(catalog, database, &s.sources, s.condition.as_ref())
            }),
            Statement::KillQuery(s) if self.running.kill(s.id) => Ok(()),
            Statement::Backfill(s) => self.backfill(&s),
            Statement::KillQuery(s) => Err(StatementError::NoSuchQuery(s.id)),
            other => self.catalog_statement(&other, execution),
        }
    }

    /// Runs a command that is compiled against the catalogue, again when that has changed meanwhile.
    fn remove(
        &self,
        execution: &Execution<'_>,
        compile: impl Fn(&Catalog, &str) -> Result<Command, StatementError>,
    ) -> Result<(), StatementError> {
        loop {
            let command = compile(&self.catalog.catalog(), execution.database(None))?;
            match self.commands.run(command, &execution.context) {
                Err(LogError::Stale) => execution.context.check()?,
                outcome => return Ok(outcome?),
            }
        }
    }

    fn catalog_statement(
        &self,
        statement: &Statement,
        execution: &mut Execution<'_>,
    ) -> Result<(), StatementError> {
        let catalog = self.catalog.catalog();
        if let Some(command) = ddl::command(statement, execution.database(None), &catalog)? {
            return Ok(self.commands.run(command, &execution.context)?);
        }
        let blocks = self.show(statement, execution)?;
        match statement {
            Statement::ShowSeries(_) | Statement::ShowFieldKeys(_) | Statement::ShowCardinality(_) => {
                execution.emit_chunks(blocks)
            }
            Statement::ShowTagKeys(_) | Statement::ShowTagValues(_) => {
                execution.emit_documents(blocks.into_iter().map(|block| vec![block]).collect())
            }
            _ => execution.emit_documents(vec![blocks]),
        }
    }

    fn show(
        &self,
        statement: &Statement,
        execution: &Execution<'_>,
    ) -> Result<Vec<SeriesBlock>, StatementError> {
        use show::{cardinality, catalog as from_catalog, cluster, index, server, views};
        let catalog = self.catalog.catalog();
        let settle = |table, context: &QueryContext| self.flush.wait_for_replayed_removals(table, context);
        let lookup = show::Lookup {
            catalog: catalog.clone(),
            index: show::WatchedIndex::new(&*self.series, &settle, &execution.context),
            reader: &self.reader,
            context: &execution.context,
        };
        let policy = execution.request.retention_policy.as_str();
        let access = Access::of(&execution.request.caller, &catalog);
        let database = |own: &Option<String>| -> Result<Arc<Database>, StatementError> {
            let name = execution.database(own.as_deref());
            if name.is_empty() {
                return Err(StatementError::DatabaseRequired);
            }
            catalog.database(name).cloned().ok_or_else(|| StatementError::database_not_found(name))
        };
        match statement {
            Statement::ShowDatabases => Ok(from_catalog::databases(&catalog, access)),
            Statement::ShowRetentionPolicies(s) => {
                let name = execution.database(s.database.as_deref());
                if name.is_empty() {
                    return Err(StatementError::DatabaseRequired);
                }
                from_catalog::retention_policies(&catalog, name)
            }
            Statement::ShowUsers => Ok(from_catalog::users(&catalog)),
            Statement::ShowGrants(s) => from_catalog::grants(&catalog, &s.user),
            Statement::ShowContinuousQueries => Ok(from_catalog::continuous_queries(&catalog, access)),
            Statement::ShowMaterializedViews => {
                Ok(views::materialized_views(&catalog, access, self.windows.as_deref()))
            }
            Statement::ShowSubscriptions => Ok(from_catalog::subscriptions(&catalog)),
            Statement::ShowShards => Ok(from_catalog::shards(&catalog)),
            Statement::ShowServers => Ok(cluster::servers(&self.nodes())),
            Statement::ShowShardGroups => Ok(from_catalog::shard_groups(&catalog)),
            Statement::ShowMeasurements(s) => index::show_measurements(&lookup, s, execution.database(None)),
            Statement::ShowSeries(s) => {
                index::show_series(&lookup, s, execution.database(s.database.as_deref()), policy)
            }
            Statement::ShowTagKeys(s) => index::show_tag_keys(&lookup, s, &*database(&s.database)?),
            Statement::ShowTagValues(s) => index::show_tag_values(&lookup, s, &*database(&s.database)?),
            Statement::ShowFieldKeys(s) => {
                index::show_field_keys(&lookup, s, execution.database(s.database.as_deref()), policy)
            }
            Statement::ShowCardinality(s) => {
                cardinality::show_cardinality(&lookup, s, execution.database(s.database.as_deref()))
            }
            Statement::ShowStats(s) => Ok(self.stats(s.module.as_deref())?),
            Statement::ShowQueries => {
                let mut running = self.running.list();
                running.retain(|query| access.is_all() || query.caller == execution.request.caller);
                Ok(server::queries(&running))
            }
            Statement::ShowDiagnostics(s) => {
                let cluster = cluster::diagnostics(&self.nodes());
                Ok(server::diagnostics(&self.about, cluster, s.module.as_deref()))
            }
            other => Err(StatementError::Unexpected(other.to_string())),
        }
    }

    /// Of the cluster; none on a node of its own.
    fn nodes(&self) -> Vec<NodeInfo> {
        self.cluster.get().map(|cluster| cluster.nodes()).unwrap_or_default()
    }

    /// What SHOW STATS shows.
    pub fn stats(&self, module: Option<&str>) -> Result<Vec<SeriesBlock>, StorageError> {
        let sources = Sources {
            catalog: &self.catalog.catalog(),
            series: &*self.series,
            about: &self.about,
            runs: &self.runs,
            windows: self.windows.as_deref(),
            subscribers: &self.subscribers,
            queries_active: self.running.list().len(),
            memtable_bytes: self.flush.memory_bytes(),
            log_bytes: self.wal.size_bytes(),
            log_sequence: self.wal.last_sequence(),
        };
        show::stats::stats(&sources, module)
    }
}

fn bind_value(parameter: &Parameter) -> BindValue {
    match parameter {
        Parameter::String(text) => BindValue::String(text.clone()),
        Parameter::Float(value) => BindValue::Number(*value),
        Parameter::Integer(value) => BindValue::Integer(*value),
        Parameter::Unsigned(value) => BindValue::Unsigned(*value),
        Parameter::Boolean(value) => BindValue::Boolean(*value),
        Parameter::Identifier(name) => BindValue::Identifier(name.clone()),
        Parameter::Regex(source) => BindValue::Regex(source.clone()),
        Parameter::Duration(text) => BindValue::Duration(text.clone()),
        Parameter::Nanoseconds(ns) => BindValue::Duration(format_duration(*ns)),
        Parameter::Error(text) => BindValue::Error(text.clone()),
    }
}

/// Whether InfluxDB lets the statement pass in a GET without a warning.
fn is_read_only(statement: &Statement) -> bool {
    statement.only_reads()
        || matches!(statement, Statement::Delete(_) | Statement::Explain(_) | Statement::KillQuery(_))
}
