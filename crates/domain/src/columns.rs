//! Names of the columns of the record batches that go to the engine, and of its tables.
//!
//! Names of tags and fields never become names of columns: they are numbered by table.

use crate::scan::{FieldId, TagId};

/// Nanoseconds since 1970, Int64.
pub const TIME_COLUMN: &str = "time";
/// The series id, UInt64.
pub const SERIES_COLUMN: &str = "sid";
/// The shard group's number, UInt64: the partition of the row.
pub const SHARD_COLUMN: &str = "shard";

/// Column of a tag.
pub fn tag_column(tag: TagId) -> String {
    format!("t{}", tag.0)
}

/// Column of a field.
pub fn field_column(field: FieldId) -> String {
    format!("f{}", field.0)
}
