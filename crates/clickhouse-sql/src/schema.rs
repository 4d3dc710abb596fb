//! How a measurement is stored: names and types of the table and its columns.

use std::sync::Arc;

use hyperbytedb_domain::FieldType;
use hyperbytedb_domain::catalog::{FieldDef, Table, TableId};
use hyperbytedb_domain::columns::{SERIES_COLUMN, SHARD_COLUMN, TIME_COLUMN, field_column, tag_column};
use hyperbytedb_domain::scan::{FieldId, TagId};

use crate::expr::Expr;
use crate::select::TableName;

/// The database of the embedded engine.
pub const DATABASE: &str = "hyperbyte";

/// The database that holds every table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database(Arc<str>);

impl Database {
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    /// The table that holds rows of a measurement.
    pub fn table(&self, id: TableId) -> TableName {
        self.named(format!("m{}", id.0))
    }

    /// The table that stands for the rows of a measurement on all servers of a cluster.
    pub fn distributed_table(&self, id: TableId) -> TableName {
        self.named(format!("m{}_all", id.0))
    }

    /// A table that is no measurement's.
    pub fn named(&self, table: impl Into<String>) -> TableName {
        TableName { database: self.0.clone(), table: table.into() }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self::new(DATABASE)
    }
}

const TAG_TYPE: &str = "LowCardinality(String)";
const FLOAT_TYPE: &str = "SimpleAggregateFunction(anyLast, Nullable(Float64))";
const INTEGER_TYPE: &str = "SimpleAggregateFunction(anyLast, Nullable(Int64))";
const UNSIGNED_TYPE: &str = "SimpleAggregateFunction(anyLast, Nullable(UInt64))";
const STRING_TYPE: &str = "SimpleAggregateFunction(anyLast, Nullable(String))";
const BOOLEAN_TYPE: &str = "SimpleAggregateFunction(anyLast, Nullable(Bool))";
const FIELD_TYPES: [&str; 5] = [FLOAT_TYPE, INTEGER_TYPE, UNSIGNED_TYPE, STRING_TYPE, BOOLEAN_TYPE];

/// Bytes of a user's name that a column comment shows.
const COMMENT_BYTES_MAX: usize = 128;

/// The table of a measurement in the embedded engine.
pub fn table_name(id: TableId) -> TableName {
    Database::default().table(id)
}

/// The id in a table's name; `None` when the name is not one of ours.
pub fn parse_table_name(name: &str) -> Option<TableId> {
    let id = TableId(name.strip_prefix('m')?.parse().ok()?);
    (table_name(id).table == name).then_some(id)
}

pub fn time() -> Expr {
    Expr::column(TIME_COLUMN)
}

pub fn series() -> Expr {
    Expr::column(SERIES_COLUMN)
}

pub fn shard() -> Expr {
    Expr::column(SHARD_COLUMN)
}

pub fn tag(id: TagId) -> Expr {
    Expr::column(tag_column(id))
}

pub fn field(id: FieldId) -> Expr {
    Expr::column(field_column(id))
}

/// 1 where a field has no value.
pub fn field_nulls(id: FieldId) -> Expr {
    Expr::Subcolumn { column: field_column(id), part: "null" }
}

/// A column of a CREATE TABLE or ADD COLUMN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDef {
    pub name: String,
    pub column_type: &'static str,
    /// With its keyword, or empty.
    pub codec: &'static str,
    /// Empty: none.
    pub comment: String,
}

/// Every column of the table, in order.
pub fn columns(table: &Table) -> Vec<ColumnDef> {
    let mut columns = own_columns().to_vec();
    columns.extend(added_columns(table, 0, 0));
    columns
}

/// Those that each table has.
fn own_columns() -> [ColumnDef; 3] {
    [
        plain(TIME_COLUMN, "Int64", "CODEC(Delta, ZSTD(1))"),
        plain(SERIES_COLUMN, "UInt64", ""),
        // The same in all rows of a part.
        plain(SHARD_COLUMN, "UInt64", "CODEC(ZSTD(1))"),
    ]
}

fn plain(name: &str, column_type: &'static str, codec: &'static str) -> ColumnDef {
    ColumnDef { name: name.to_owned(), column_type, codec, comment: String::new() }
}

/// A column by the name and the type that the engine has stored, with what it is ordered by among those of its table. `None`
/// when it is none of ours.
pub fn stored_column(name: &str, column_type: &str) -> Option<((usize, u32), ColumnDef)> {
    let own = own_columns().into_iter().enumerate().find(|(_, own)| own.name == name);
    if let Some((position, own)) = own {
        return (own.column_type == column_type).then_some(((position, 0), own));
    }
    let number = |prefix| name.strip_prefix(prefix)?.parse::<u32>().ok();
    let (order, known) = match (number('t'), number('f')) {
        (Some(tag), _) => ((3, tag), [TAG_TYPE].as_slice()),
        (_, Some(field)) => ((4, field), FIELD_TYPES.as_slice()),
        _ => return None,
    };
    let known = known.iter().find(|known| **known == column_type)?;
    Some((order, plain(name, known, "")))
}

/// The tag columns from `tags` on and the field columns from `fields` on.
pub fn added_columns(table: &Table, tags: usize, fields: usize) -> Vec<ColumnDef> {
    let tags = (0u32..).zip(&table.tags).skip(tags).map(|(i, name)| ColumnDef {
        name: tag_column(TagId(i)),
        column_type: TAG_TYPE,
        codec: "",
        comment: comment(name),
    });
    let fields = (0u32..).zip(&table.fields).skip(fields).map(|(i, field)| field_def(FieldId(i), field));
    tags.chain(fields).collect()
}

fn field_def(id: FieldId, field: &FieldDef) -> ColumnDef {
    ColumnDef {
        name: field_column(id),
        column_type: match field.field_type {
            FieldType::Float => FLOAT_TYPE,
            FieldType::Integer => INTEGER_TYPE,
            FieldType::Unsigned => UNSIGNED_TYPE,
            FieldType::String => STRING_TYPE,
            FieldType::Boolean => BOOLEAN_TYPE,
        },
        codec: "",
        comment: comment(&field.name),
    }
}

/// The beginning of a name, cut at a character.
fn comment(name: &str) -> String {
    let mut end = name.len().min(COMMENT_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}

/// The shard. `ignore` is always 0: it makes the engine keep the least and greatest time of each part, as it does for
/// columns of the partition key only, and so pass over parts by time.
pub fn partition_key() -> Expr {
    shard().infix("+", Expr::call("ignore", [time()]))
}

/// When a row becomes history, which is compressed more: at the end of its week, as a DateTime. Weeks begin on Mondays, as
/// shards do, so that the rows of a shard become history together.
pub fn history_from() -> Expr {
    const DAY_SECS: i64 = 86_400;
    let since_monday = time().infix("+", Expr::int(3 * DAY_SECS * 1_000_000_000));
    let week = Expr::call("intDiv", [since_monday, Expr::int(7 * DAY_SECS * 1_000_000_000)]);
    let end = week.infix("*", Expr::int(7 * DAY_SECS)).infix("+", Expr::int(4 * DAY_SECS));
    Expr::call("toDateTime", [end])
}

/// The id of a shard's partition.
pub fn partition_id(shard: u64) -> String {
    shard.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_names_round_trip() {
        for id in [0, 7, u64::MAX] {
            assert_eq!(parse_table_name(&table_name(TableId(id)).table), Some(TableId(id)));
        }
        for name in ["", "m", "x1", "m01", "m-1", "m1x", "m1_all"] {
            assert_eq!(parse_table_name(name), None, "{name}");
        }
    }

    #[test]
    fn comments_are_cut_at_a_character() {
        assert_eq!(comment("é"), "é");
        assert_eq!(comment(&"é".repeat(100)), "é".repeat(64));
        assert_eq!(comment(&format!("a{}", "é".repeat(100))), format!("a{}", "é".repeat(63)));
    }
}
