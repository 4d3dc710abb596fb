//! The only place where ClickHouse SQL text is made.
//!
//! Statements are values built from typed parts ([`Expr`], [`Select`], [`statement`]) and become text through
//! `Display`. Function, setting and type names are `&'static str` in this source; everything else passes through
//! [`quote`], which quotes identifiers and literals in one place each. Nothing here knows which ClickHouse runs the
//! text: an embedded one and a remote one get the same statements.
//!
//! Storage of a [`Table`](hyperbytedb_domain::catalog::Table), see [`schema`]: database `hyperbyte`, table `m<id>` (on
//! several servers also `m<id>_all`, which stands for the rows of all of them), columns `time`, `sid`, `shard`, `t<n>` and `f<n>`, sorted by (sid, time), one partition a shard group. Names a user
//! chose appear only in column comments.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod aggregate;
pub mod cluster;
pub mod expr;
pub mod predicate;
pub mod quote;
pub mod raw;
pub mod scan;
pub mod schema;
pub mod select;
pub mod statement;

pub use expr::{Expr, Literal};
pub use scan::{digests, distinct_series, scan_select, stored_rows};
pub use select::{Select, SettingValue, Settings, TableName};
