//! Statements that define and change data, and those that ask what exists.

use std::fmt;

use hyperbytedb_domain::catalog::{Table, TableId};
use hyperbytedb_domain::scan::RowSelection;

use crate::expr::{Expr, join};
use crate::quote;
use crate::scan::selected;
use crate::schema::{self, ColumnDef, DATABASE, partition_id, table_name, time};
use crate::select::{Select, Settings, Source, TableName};

/// A statement other than a SELECT, ready to run.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    CreateDatabase,
    CreateTable {
        table: TableName,
        columns: Vec<ColumnDef>,
        partition_by: Expr,
        settings: Settings,
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
}

/// Creates the table with all its columns. `settings`: beside those that the storage needs.
pub fn create_table(table: &Table, settings: Settings) -> Statement {
    // Tags follow from the series, so they need not be part of the key.
    let settings = settings.with("allow_dimensions_outside_sorting_key", 1);
    Statement::CreateTable {
        table: table_name(table.id),
        columns: schema::columns(table),
        partition_by: schema::partition_key(),
        settings,
    }
}

/// Adds the columns of tags and fields past the first `tags` and `fields`; `None` when there are no others.
pub fn add_columns(table: &Table, tags: usize, fields: usize) -> Option<Statement> {
    let columns = schema::added_columns(table, tags, fields);
    (!columns.is_empty()).then(|| Statement::AddColumns { table: table_name(table.id), columns })
}

/// Deletes the rows of the selection. Returns once the engine has stored that it will: scans that apply unfinished deletes
/// do not see the rows from then on.
pub fn delete(table: &Table, rows: &RowSelection) -> Statement {
    let mut conditions = selected(table, rows);
    if conditions.is_empty() {
        conditions.push(Expr::all(Vec::new()));
    }
    let settings = Settings::default().with("mutations_sync", 0);
    Statement::Delete { table: table_name(table.id), conditions, settings }
}

/// One row (UInt8) if there is any row of the selection.
pub fn any_row(table: &Table, rows: &RowSelection) -> Select {
    let mut select = Select::new(vec![Expr::int(1)], Source::Table(table_name(table.id)));
    select.conditions = selected(table, rows);
    select.limit = 1;
    select
}

/// The greatest time of each partition: (partition's id String, Int64).
pub fn max_times(id: TableId) -> Select {
    let columns = vec![Expr::column("_partition_id"), Expr::call("max", [time()])];
    let mut select = Select::new(columns, Source::Table(table_name(id)));
    select.group_by = vec![Expr::column("_partition_id")];
    // Answered from what each part knows of its times.
    select.settings.set("optimize_use_projections", 1);
    select
}

fn system(table: &str) -> Source {
    Source::Table(TableName { database: "system", table: table.to_owned() })
}

fn equals(column: &str, text: &str) -> Expr {
    Expr::column(column).infix("=", Expr::string(text))
}

fn in_table(column: &str, id: TableId) -> Vec<Expr> {
    vec![equals("database", DATABASE), equals(column, &table_name(id).table)]
}

/// Names of the columns of one table: String; nothing when it does not exist.
pub fn column_names(id: TableId) -> Select {
    let mut select = Select::new(vec![Expr::column("name")], system("columns"));
    select.conditions = in_table("table", id);
    select
}

/// The partitions of one table or of all: (table String, partition's id String, rows UInt64, bytes UInt64).
pub fn partitions(id: Option<TableId>) -> Select {
    let sum = |column| Expr::call("sum", [Expr::column(column)]);
    let columns =
        vec![Expr::column("table"), Expr::column("partition_id"), sum("rows"), sum("bytes_on_disk")];
    let mut select = Select::new(columns, system("parts"));
    select.conditions = match id {
        Some(id) => in_table("table", id),
        None => vec![equals("database", DATABASE)],
    };
    select.conditions.push(Expr::column("active"));
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
pub fn unfinished_deletes(id: Option<TableId>) -> Select {
    let parts = Expr::call("sum", [Expr::column("parts_to_do")]);
    let columns = vec![Expr::column("table"), Expr::call("count", []), parts];
    let mut select = Select::new(columns, system("mutations"));
    select.conditions = match id {
        Some(id) => in_table("table", id),
        None => vec![equals("database", DATABASE)],
    };
    select.conditions.push(Expr::call("not", [Expr::column("is_done")]));
    select.group_by = vec![Expr::column("table")];
    select
}

/// Ranges of blocks that the parts of a partition hold: (Int64, Int64), one row a part.
pub fn part_blocks(id: TableId, shard: u64) -> Select {
    let columns = vec![Expr::column("min_block_number"), Expr::column("max_block_number")];
    let mut select = Select::new(columns, system("parts"));
    select.conditions = in_table("table", id);
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

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateDatabase => {
                f.write_str("CREATE DATABASE IF NOT EXISTS ")?;
                quote::identifier(f, DATABASE)?;
                f.write_str(" ENGINE = Atomic")
            }
            Self::CreateTable { table, columns, partition_by, settings } => {
                write!(f, "CREATE TABLE IF NOT EXISTS {table} (")?;
                join(f, columns, ", ")?;
                write!(f, ") ENGINE = AggregatingMergeTree PARTITION BY {partition_by} ORDER BY (")?;
                join(f, &[schema::series(), time()], ", ")?;
                write!(f, ") TTL {} RECOMPRESS CODEC(ZSTD(1)){settings}", schema::history_from())
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
        }
    }
}
