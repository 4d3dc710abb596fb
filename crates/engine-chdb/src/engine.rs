//! The engine: its connections, and what it knows of the tables.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use chdb_rust::connection::Connection;
use chdb_rust::format::OutputFormat;
use crossbeam_channel::bounded;
use hyperbytedb_clickhouse_sql::Select;
use hyperbytedb_clickhouse_sql::schema::{Database, table_name};
use hyperbytedb_clickhouse_sql::statement::{self, Statement, TableEngine};
use hyperbytedb_domain::catalog::{Table, TableId};
use hyperbytedb_domain::scan::RowSelection;
use hyperbytedb_domain::{EngineError, QueryContext, settings};
use hyperbytedb_engine_common::{ColumnCounts, Exception, KnownTables, answers, selects_nothing};

use crate::dormant::DormantTables;
use crate::killer::Killer;
use crate::options::ChdbOptions;
use crate::pool::{Pool, connect};
use crate::snapshot::clear_shadow;
use crate::spill::SpillArea;
use crate::stream::SelectStream;
use crate::worker::Task;
use crate::writes;

/// An open engine. Closed when dropped; running scans are waited for.
pub struct ChdbEngine {
    pub(crate) query_pool: Arc<Pool>,
    pub(crate) write_pool: Arc<Pool>,
    pub(crate) killer: Arc<Killer>,
    pub(crate) data_path: PathBuf,
    pub(crate) options: ChdbOptions,
    pub(crate) dormant: DormantTables,
    /// Tables known to exist.
    pub(crate) tables: KnownTables,
}

impl ChdbEngine {
    /// Opens the engine on its data path, which no other process may have open. It is opened in the background: whoever
    /// needs it waits, or gets the error.
    pub fn open(options: ChdbOptions) -> Result<Self, EngineError> {
        let failed = |e: std::io::Error| EngineError::failed("opening the data path", e);
        fs::create_dir_all(&options.data_path).map_err(failed)?;
        let data_path = options.data_path.canonicalize().map_err(failed)?;
        let path = data_path
            .to_str()
            .ok_or_else(|| EngineError::failed("opening the data path", "the path is not valid UTF-8"))?;
        clear_shadow(&data_path).map_err(failed)?;
        writes::watch(&data_path).map_err(failed)?;
        let dormant = DormantTables::mark(&data_path, &options.table_settings()).map_err(failed)?;
        let arguments: Arc<[String]> = options.arguments(path).into();

        // Signals are the host's business.
        chdb_rust::runtime::signal_handlers(false);
        let spill = SpillArea::new(data_path.clone(), options.max_spill_bytes);
        let pool = |connections, setting| {
            let (arguments, spill) = (Arc::clone(&arguments), Arc::clone(&spill));
            Pool::new(arguments, connections, options.connection_wait, setting, spill)
        };
        let query_pool = pool(options.query_connections, settings::CHDB_QUERY_CONNECTIONS);
        let write_pool = pool(options.write_connections, settings::CHDB_WRITE_CONNECTIONS);
        let pools = [Arc::clone(&query_pool), Arc::clone(&write_pool)];
        let killer = Killer::spawn(move || {
            let connection = open_database(&arguments);
            pools
                .iter()
                .for_each(|pool| pool.set_opened(connection.as_ref().map(drop).map_err(Clone::clone)));
            connection.ok()
        })?;
        let tables = KnownTables::default();
        Ok(Self { query_pool, write_pool, killer: Arc::new(killer), data_path, options, dormant, tables })
    }

    /// Returns when the engine is open, or cannot be opened.
    pub fn wait_until_open(&self) -> Result<(), EngineError> {
        self.write_pool.wait_until_open()
    }

    /// Runs a statement to its end. Waits for a connection no longer than the context allows.
    pub(crate) fn execute(
        &self,
        statement: &Statement,
        purpose: &str,
        context: &QueryContext,
    ) -> Result<(), EngineError> {
        self.try_execute(statement, context)?.map_err(|e| e.into_engine_error(purpose))
    }

    /// As [`Self::execute`], with the engine's own answer.
    pub(crate) fn try_execute(
        &self,
        statement: &Statement,
        context: &QueryContext,
    ) -> Result<Result<(), Exception>, EngineError> {
        let sql = statement.to_string();
        tracing::debug!(target: "hyperbytedb::sql", %sql);
        let (answer, result) = bounded(1);
        self.write_pool.take(context)?.assign(Task::Execute { sql, answer });
        result.recv().map_err(|_| EngineError::failed("running a statement", "the connection's thread ended"))
    }

    /// Inserts into a table by its quoted name.
    pub(crate) fn insert_batch(&self, table: String, batch: RecordBatch) -> Result<(), EngineError> {
        let (answer, result) = bounded(1);
        self.write_pool.take(&QueryContext::unbounded())?.assign(Task::Insert { table, batch, answer });
        let result =
            result.recv().map_err(|_| EngineError::failed("insert", "the connection's thread ended"))?;
        result.map_err(|e| e.into_engine_error("insert"))
    }

    /// The whole answer of a small internal query, while the query that it is for may go on.
    pub(crate) fn rows(
        &self,
        select: Select,
        context: &QueryContext,
    ) -> Result<Vec<RecordBatch>, EngineError> {
        let (cancel, deadline) = (context.cancel.clone(), context.deadline);
        let context = QueryContext { cancel, deadline, max_threads: 1, ..QueryContext::unbounded() };
        SelectStream::start(&self.write_pool, &self.killer, select, &context)?.collect()
    }

    /// Opens a table that is stored. Whoever names a table in a statement has done so.
    pub(crate) fn open_table(&self, id: TableId, context: &QueryContext) -> Result<(), EngineError> {
        if !self.dormant.contains(id) {
            return Ok(());
        }
        let columns = self.dormant.columns(id);
        match self.try_execute(&Statement::AttachTable { table: table_name(id) }, context)? {
            Err(exception) if exception.is_without_definition() => {}
            Err(exception) => return Err(exception.into_engine_error("opening a table")),
            // To ask the engine takes longer than to open the table.
            Ok(()) => columns.into_iter().for_each(|counts| self.tables.remember(id, counts)),
        }
        let broken = self.dormant.broken_parts(id);
        if !broken.is_empty() {
            tracing::error!(
                table = id.0,
                parts = ?broken,
                "parts of a table cannot be read and are put aside (chdb/data/hyperbyte/…/detached). After a power failure \
                 nothing is missing: the log has the points of what was not yet synced. Otherwise their points are in \
                 backups, and on the other nodes of a cluster (cluster repair)"
            );
        }
        self.dormant.remove(id);
        Ok(())
    }

    /// Opens one table, or all.
    pub(crate) fn open_tables(
        &self,
        table: Option<TableId>,
        context: &QueryContext,
    ) -> Result<(), EngineError> {
        match table {
            Some(table) => self.open_table(table, context),
            None => self.dormant.all().into_iter().try_for_each(|table| self.open_table(table, context)),
        }
    }

    /// Whether the table exists with all its columns; missing columns are added to an existing one.
    pub(crate) fn complete_table(&self, table: &Table, context: &QueryContext) -> Result<bool, EngineError> {
        let mut known = self.tables.get(table.id);
        if known.is_none() {
            self.open_table(table.id, context)?;
            known = self.tables.get(table.id);
        }
        if known.is_none() {
            known = self.stored_columns(table.id, context)?;
        }
        let Some(counts) = known else { return Ok(false) };
        if !counts.covers(table)
            && let Some(statement) =
                statement::add_columns(table, table_name(table.id), counts.tags, counts.fields)
        {
            self.execute(&statement, "adding columns", context)?;
        }
        self.tables.remember(table.id, counts);
        self.tables.remember(table.id, ColumnCounts::of(table));
        Ok(true)
    }

    /// Whether there can be rows of the selection; then the table has all its columns.
    pub(crate) fn may_hold(
        &self,
        table: &Table,
        rows: &RowSelection,
        context: &QueryContext,
    ) -> Result<bool, EngineError> {
        context.check()?;
        Ok(!selects_nothing(rows) && self.complete_table(table, context)?)
    }

    /// Makes the table as it should be.
    pub(crate) fn create_table(&self, table: &Table) -> Result<(), EngineError> {
        let statement = statement::create_table(
            table,
            table_name(table.id),
            TableEngine::MergeTree,
            self.options.table_settings(),
        );
        self.execute(&statement, "creating a table", &QueryContext::unbounded())?;
        self.tables.remember(table.id, ColumnCounts::of(table));
        Ok(())
    }

    /// What the engine says; `None` when there is no such table.
    fn stored_columns(
        &self,
        id: TableId,
        context: &QueryContext,
    ) -> Result<Option<ColumnCounts>, EngineError> {
        let mut counts = None;
        for batch in self.rows(statement::column_names(&Database::default(), id), context)? {
            let counts: &mut ColumnCounts = counts.get_or_insert_default();
            answers::strings(&batch, 0)?.iter().for_each(|name| counts.add(name));
        }
        Ok(counts)
    }
}

/// The first connection starts the engine.
fn open_database(arguments: &[String]) -> Result<Connection, EngineError> {
    let connection = connect(arguments)?;
    connection
        .query(&Statement::CreateDatabase { database: Database::default() }.to_string(), OutputFormat::Null)
        .map_err(|error| EngineError::failed("creating the database", error))?;
    Ok(connection)
}

impl Drop for ChdbEngine {
    fn drop(&mut self) {
        self.query_pool.close();
        self.write_pool.close();
    }
}
