//! Reading one table: what to ask of the engine, and its answers as rows.

pub(crate) mod column_reader;
pub(crate) mod predicate;
pub(crate) mod row_plan;
pub(crate) mod shards;
mod slices;
pub(crate) mod table_rows;
pub(crate) mod tables;
