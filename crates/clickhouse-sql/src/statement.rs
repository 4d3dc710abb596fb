//! Statements that define and change data, and those that ask what exists.

use std::fmt;

use hyperbytedb_domain::catalog::{Table, TableId};
use hyperbytedb_domain::scan::RowSelection;

use crate::expr::{Expr, join};
use crate::quote;
use crate::scan::selected;
use crate::schema::{self, ColumnDef, Database, partition_id, time};
use crate::select::{Select, Settings, Source, TableName};

/// A statement other than a SELECT, ready to run.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    CreateDatabase {
        database: Database,
    },
    CreateTable {
        table: TableName,
        engine: TableEngine,
        columns: Vec<ColumnDef>,
        partition_by: Expr,
        settings: Settings,
    },
    /// What the engine keeps in a file of a table that it has.
    StoredTable {
        uuid: String,
        columns: Vec<ColumnDef>,
        partition_by: Expr,
        settings: Settings,
    },
    /// A table without rows of its own: what is stored in the tables of one name on all servers of a cluster.
    CreateDistributed {
        table: TableName,
        columns: Vec<ColumnDef>,
        cluster: String,
        stored: TableName,
    },
    /// A table that is nothing but its comment.
    CreateMarker {
        table: TableName,
        comment: String,
    },
    AddColumns {
        table: TableName,
        columns: Vec<ColumnDef>,
    },
    /// Rewrites the parts that hold such rows, in the background.
    Delete {
        table: TableName,
        conditions: Vec<Expr>,
        settings: Settings,
    },
    /// Passes over shards without a partition.
    DropPartitions {
        table: TableName,
        shards: Vec<u64>,
    },
    /// Merges a partition into one part.
    Optimize {
        table: TableName,
        shard: u64,
        settings: Settings,
    },
    /// Links the files of a table's parts, as they are at one moment, into `shadow/NAME` of the data path.
    Freeze {
        table: TableName,
        name: String,
    },
    /// Opens a table that is stored as detached; nothing where it is open.
    AttachTable {
        table: TableName,
    },
    /// Gone at once for those who come later; its files go when nobody reads them any more.
    DropTable {
        table: TableName,
    },
    /// Stops the statements that run with this `log_comment`.
    Kill {
        log_comment: String,
    },
    KillQuery {
        query_id: String,
    },
    /// The rows follow, as Arrow batches.
    InsertArrow {
        table: TableName,
    },
}

/// How a server stores the rows of a table. Rows of one series and time are merged field by field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableEngine {
    MergeTree,
    /// The servers of one shard keep each other's rows, by this path in their Keeper.
    Replicated {
        path: String,
    },
}

impl fmt::Display for TableEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MergeTree => f.write_str("AggregatingMergeTree"),
            Self::Replicated { path } => {
                f.write_str("ReplicatedAggregatingMergeTree(")?;
                quote::string(f, path)?;
                f.write_str(", '{replica}')")
            }
        }
    }
}

/// Creates the table with all its columns.
pub fn create_table(table: &Table, name: TableName, engine: TableEngine, settings: Settings) -> Statement {
    Statement::CreateTable {
        table: name,
        engine,
        columns: schema::columns(table),
        partition_by: schema::partition_key(),
        settings,
    }
}

/// The definition of a table of the embedded engine, as its file has it.
pub fn stored_table(uuid: &str, columns: Vec<ColumnDef>, settings: Settings) -> Statement {
    Statement::StoredTable { uuid: uuid.to_owned(), columns, partition_by: schema::partition_key(), settings }
}

/// Adds the columns of tags and fields past the first `tags` and `fields`; `None` when there are no others.
pub fn add_columns(table: &Table, name: TableName, tags: usize, fields: usize) -> Option<Statement> {
    let columns = schema::added_columns(table, tags, fields);
    (!columns.is_empty()).then_some(Statement::AddColumns { table: name, columns })
}

/// When a delete returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteSync {
    /// Once the engine has stored that it will: scans that apply unfinished deletes do not see the rows from then on.
    Stored = 0,
    /// When it is carried out on this server.
    Done = 1,
    /// When it is carried out on all servers that have the rows.
    DoneByReplicas = 2,
}

/// Deletes the rows of the selection.
pub fn delete(table: &Table, name: TableName, rows: &RowSelection, sync: DeleteSync) -> Statement {
    let mut conditions = selected(table, rows);
    if conditions.is_empty() {
        conditions.push(Expr::all(Vec::new()));
    }
    let settings = Settings::default().with("mutations_sync", sync as u64);
    Statement::Delete { table: name, conditions, settings }
}

/// One row (UInt8) if there is any row of the selection.
pub fn any_row(table: &Table, from: TableName, rows: &RowSelection) -> Select {
    let mut select = Select::new(vec![Expr::int(1)], Source::Table(from));
    select.conditions = selected(table, rows);
    select.limit = 1;
    select
}

/// The greatest time of each partition: (partition's id String, Int64).
pub fn max_times(from: TableName) -> Select {
    let columns = vec![Expr::column("_partition_id"), Expr::call("max", [time()])];
    let mut select = Select::new(columns, Source::Table(from));
    select.group_by = vec![Expr::column("_partition_id")];
    // Answered from what each part knows of its times.
    select.settings.set("optimize_use_projections", 1);
    select
}

fn system(table: &str) -> Source {
    Source::Table(Database::new("system").named(table))
}

fn equals(column: &str, text: &str) -> Expr {
    Expr::column(column).infix("=", Expr::string(text))
}

/// Rows of a system table about one table, or about all of the database.
fn about(database: &Database, id: Option<TableId>) -> Vec<Expr> {
    let table = id.map(|id| equals("table", &database.table(id).table));
    [equals("database", database.name())].into_iter().chain(table).collect()
}

/// Names of the columns of one table: String; nothing when it does not exist.
pub fn column_names(database: &Database, id: TableId) -> Select {
    let mut select = Select::new(vec![Expr::column("name")], system("columns"));
    select.conditions = about(database, Some(id));
    select
}

/// The partitions of one table or of all: (table String, partition's id String, rows UInt64, bytes UInt64).
pub fn partitions(database: &Database, id: Option<TableId>) -> Select {
    let sum = |column| Expr::call("sum", [Expr::column(column)]);
    let columns =
        vec![Expr::column("table"), Expr::column("partition_id"), sum("rows"), sum("bytes_on_disk")];
    let mut select = Select::new(columns, system("parts"));
    select.conditions = about(database, id);
    // A partition that was dropped has a part without rows until the engine cleans up.
    select.conditions.extend([Expr::column("active"), Expr::column("rows")]);
    select.group_by = vec![Expr::column("table"), Expr::column("partition_id")];
    select
}

/// What the engine counts of itself at this moment: (metric String, value Int64).
pub fn current_metrics(names: impl IntoIterator<Item = &'static str>) -> Select {
    let columns = vec![Expr::column("metric"), Expr::column("value")];
    let mut select = Select::new(columns, system("metrics"));
    select.conditions = vec![Expr::any(names.into_iter().map(|name| equals("metric", name)).collect())];
    select
}

/// Deletes that are stored but not yet carried out in all parts, of one table or of all: (table String, number UInt64,
/// parts to rewrite Int64).
pub fn unfinished_deletes(database: &Database, id: Option<TableId>) -> Select {
    let parts = Expr::call("sum", [Expr::column("parts_to_do")]);
    let columns = vec![Expr::column("table"), Expr::call("count", []), parts];
    let mut select = Select::new(columns, system("mutations"));
    select.conditions = about(database, id);
    select.conditions.push(Expr::call("not", [Expr::column("is_done")]));
    select.group_by = vec![Expr::column("table")];
    select
}

/// Ranges of blocks that the parts of a partition hold: (Int64, Int64), one row a part.
pub fn part_blocks(database: &Database, id: TableId, shard: u64) -> Select {
    let columns = vec![Expr::column("min_block_number"), Expr::column("max_block_number")];
    let mut select = Select::new(columns, system("parts"));
    select.conditions = about(database, Some(id));
    select.conditions.push(Expr::column("active"));
    select.conditions.push(equals("partition_id", &partition_id(shard)));
    select
}

impl fmt::Display for ColumnDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        quote::identifier(f, &self.name)?;
        write!(f, " {}", self.column_type)?;
        if !self.comment.is_empty() {
            f.write_str(" COMMENT ")?;
            quote::string(f, &self.comment)?;
        }
        if !self.codec.is_empty() {
            write!(f, " {}", self.codec)?;
        }
        Ok(())
    }
}

/// A partition where a statement takes one.
fn partition(f: &mut fmt::Formatter<'_>, shard: u64) -> fmt::Result {
    f.write_str("PARTITION ID ")?;
    quote::string(f, &partition_id(shard))
}

/// How rows are kept.
fn storage(
    f: &mut fmt::Formatter<'_>,
    engine: &TableEngine,
    partition_by: &Expr,
    settings: &Settings,
) -> fmt::Result {
    write!(f, "ENGINE = {engine} PARTITION BY {partition_by} ORDER BY (")?;
    join(f, &[schema::series(), time()], ", ")?;
    write!(f, ") TTL {} RECOMPRESS CODEC(ZSTD(1)){settings}", schema::history_from())
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateDatabase { database } => {
                f.write_str("CREATE DATABASE IF NOT EXISTS ")?;
                quote::identifier(f, database.name())?;
                f.write_str(" ENGINE = Atomic")
            }
            Self::CreateTable { table, engine, columns, partition_by, settings } => {
                write!(f, "CREATE TABLE IF NOT EXISTS {table} (")?;
                join(f, columns, ", ")?;
                f.write_str(") ")?;
                storage(f, engine, partition_by, settings)
            }
            Self::StoredTable { uuid, columns, partition_by, settings } => {
                f.write_str("ATTACH TABLE _ UUID ")?;
                quote::string(f, uuid)?;
                f.write_str("\n(\n")?;
                join(f, columns, ",\n")?;
                f.write_str("\n)\n")?;
                storage(f, &TableEngine::MergeTree, partition_by, settings)
            }
            Self::CreateDistributed { table, columns, cluster, stored } => {
                write!(f, "CREATE TABLE IF NOT EXISTS {table} (")?;
                join(f, columns, ", ")?;
                f.write_str(") ENGINE = Distributed(")?;
                for name in [cluster, &*stored.database, &stored.table] {
                    quote::string(f, name)?;
                    f.write_str(", ")?;
                }
                write!(f, "{})", schema::series())
            }
            Self::CreateMarker { table, comment } => {
                write!(f, "CREATE TABLE IF NOT EXISTS {table} (`nothing` UInt8) ENGINE = Null COMMENT ")?;
                quote::string(f, comment)
            }
            Self::AddColumns { table, columns } => {
                write!(f, "ALTER TABLE {table} ")?;
                for (i, column) in columns.iter().enumerate() {
                    write!(f, "{}ADD COLUMN IF NOT EXISTS {column}", if i > 0 { ", " } else { "" })?;
                }
                Ok(())
            }
            Self::Delete { table, conditions, settings } => {
                write!(f, "ALTER TABLE {table} DELETE WHERE ")?;
                join(f, conditions, " AND ")?;
                settings.fmt(f)
            }
            Self::DropPartitions { table, shards } => {
                write!(f, "ALTER TABLE {table} ")?;
                for (i, shard) in shards.iter().enumerate() {
                    f.write_str(if i > 0 { ", DROP " } else { "DROP " })?;
                    partition(f, *shard)?;
                }
                Ok(())
            }
            Self::Optimize { table, shard, settings } => {
                write!(f, "OPTIMIZE TABLE {table} ")?;
                partition(f, *shard)?;
                write!(f, " FINAL{settings}")
            }
            Self::Freeze { table, name } => {
                write!(f, "ALTER TABLE {table} FREEZE WITH NAME ")?;
                quote::string(f, name)
            }
            Self::AttachTable { table } => write!(f, "ATTACH TABLE IF NOT EXISTS {table}"),
            Self::DropTable { table } => write!(f, "DROP TABLE IF EXISTS {table}"),
            Self::Kill { log_comment } => {
                f.write_str("KILL QUERY WHERE Settings['log_comment'] = ")?;
                quote::string(f, log_comment)?;
                f.write_str(" ASYNC")
            }
            Self::KillQuery { query_id } => {
                f.write_str("KILL QUERY WHERE query_id = ")?;
                quote::string(f, query_id)?;
                f.write_str(" ASYNC")
            }
            Self::InsertArrow { table } => write!(f, "INSERT INTO {table} FORMAT ArrowStream"),
        }
    }
}
